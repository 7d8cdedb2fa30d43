//! Reads the Quadlet files that were found, and merges the drop-ins of each.

use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::overlay::Overlay;
use crate::search::{Found, FoundFile};
use crate::unit::{Parsed, UnitFile};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// The files that were read.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The units, one of each name, with their drop-ins.
    pub(crate) units: Vec<UnitFile>,
    /// What is wrong with files that no unit came of.
    pub(crate) notes: Vec<Diagnostic>,
}

/// Reads every file that counts: the first of its name. For sampan a file that can't be read counts
/// too, so that its service can say why. For Podman the next of that name counts, and the other
/// files of that directory are lost, as they are to Podman's Quadlet.
pub(crate) fn load(found: Found, engine: Engine, overlay: &Overlay) -> Loaded {
    let mut loaded = Loaded { units: Vec::new(), notes: found.notes };
    let mut buffer = [0; 8192];
    let mut seen = HashSet::new();
    let mut broken = BTreeSet::new();
    for file in &found.files {
        if seen.contains(file.name.as_str()) {
            continue;
        }
        match read(file, engine, overlay, &mut buffer) {
            Outcome::Unit(unit) => loaded.units.push(*unit),
            Outcome::Masked => {}
            Outcome::Lost(notes) => {
                loaded.notes.extend(notes);
                broken.insert(file.path.parent());
                continue;
            }
        }
        seen.insert(file.name.as_str());
    }
    loaded.units.retain(|unit| !broken.contains(&unit.path.parent()));
    for directory in broken.into_iter().flatten() {
        let reason = "Podman reads no file of this directory, because of the mistake in one of them";
        loaded.notes.push(
            Diagnostic::whole(&rules::DIRECTORY_LOST, Severity::Warning, directory, reason)
                .help("mend that file, or move it away"),
        );
    }
    for unit in &mut loaded.units {
        for dropin in dropins(unit, &found.dropins, overlay) {
            merge(unit, read_file(&dropin, overlay, &mut buffer), &dropin, engine, &mut loaded.notes);
        }
    }
    loaded
}

enum Outcome {
    Unit(Box<UnitFile>),
    /// A link to /dev/null: the name is taken, and nothing comes of it.
    Masked,
    Lost(Vec<Diagnostic>),
}

fn read(file: &FoundFile, engine: Engine, overlay: &Overlay, buffer: &mut [u8]) -> Outcome {
    log::debug!("Loading source unit file {}", file.path.display());
    let (parsed, error) = match read_file(&file.path, overlay, buffer) {
        Ok(bytes) => {
            let masked = bytes.is_empty() && engine == Engine::Sampan && is_null(&file.path);
            if masked {
                return Outcome::Masked;
            }
            (Parsed::new(&file.path, bytes, engine.fold()), None)
        }
        Err(error) => {
            (Parsed::new(&file.path, Vec::new(), engine.fold()), Some(cannot_read(&file.path, &error)))
        }
    };
    if engine == Engine::Podman && (error.is_some() || parsed.is_broken()) {
        return Outcome::Lost(error.into_iter().chain(parsed.mistakes).collect());
    }
    let mut unit = UnitFile::new(file.kind, &file.name, &file.path, parsed);
    unit.mistakes.extend(error);
    Outcome::Unit(Box::new(unit))
}

/// Reads a file, a small one with a single read(2) into the buffer.
fn read_file(path: &Path, overlay: &Overlay, buffer: &mut [u8]) -> std::io::Result<Vec<u8>> {
    if let Some(text) = overlay.text(path) {
        return Ok(text.as_bytes().to_vec());
    }
    let mut file = fs::File::open(path)?;
    let length = file.read(buffer)?;
    let mut bytes = buffer[..length].to_vec();
    if length == buffer.len() {
        file.read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn is_null(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|target| target == Path::new("/dev/null"))
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Diagnostic {
    let diagnostic = Diagnostic::whole(
        &rules::UNREADABLE,
        Severity::Error,
        path,
        format!("the file can't be read: {error}"),
    );
    match fs::read_link(path) {
        Ok(target) => {
            diagnostic.help(format!("it is a link to {}; create that, or remove the link", target.display()))
        }
        Err(_) => diagnostic.help("check the file and its permissions"),
    }
}

/// Merges a drop-in. Podman's Quadlet leaves a broken one out and reports it.
fn merge(
    unit: &mut UnitFile,
    read: std::io::Result<Vec<u8>>,
    path: &Path,
    engine: Engine,
    notes: &mut Vec<Diagnostic>,
) {
    log::debug!("Loading source drop-in file {}", path.display());
    match read {
        Ok(bytes) => {
            let parsed = Parsed::new(path, bytes, engine.fold());
            if engine == Engine::Podman && parsed.is_broken() {
                notes.extend(parsed.mistakes);
            } else {
                unit.merge(parsed);
            }
        }
        Err(error) if engine == Engine::Podman => notes.push(cannot_read(path, &error)),
        Err(error) => unit.mistakes.push(cannot_read(path, &error)),
    }
}

/// The drop-ins of a unit in the order in which they are merged: by file name; of equal names the
/// one in the most specific directory.
fn dropins(unit: &UnitFile, directories: &HashMap<String, Vec<PathBuf>>, overlay: &Overlay) -> Vec<PathBuf> {
    if directories.is_empty() {
        return Vec::new();
    }
    let mut files = BTreeMap::new();
    for name in dropin_names(unit.kind, unit.stem(), unit.template()) {
        for directory in directories.get(&name).into_iter().flatten() {
            let on_disk = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
            for path in on_disk.chain(overlay.files_of(directory).map(Path::to_owned)) {
                if path.extension().is_some_and(|extension| extension == "conf")
                    && let Some(file) = path.file_name()
                {
                    files.entry(file.to_owned()).or_insert(path);
                }
            }
        }
    }
    files.into_values().collect()
}

/// The names of a unit's drop-in directories, the most specific first (systemd.unit(5)):
/// `a-b@i.container.d`, `a-b@.container.d`, `a-@.container.d`, `a-.container.d`, `container.d`.
fn dropin_names(kind: UnitType, stem: &str, template: Option<(&str, &str)>) -> Vec<String> {
    let extension = kind.extension();
    let mut names = vec![format!("{stem}.{extension}.d")];
    let base = template.map_or(stem, |(base, _)| base);
    if template.is_some_and(|(_, instance)| !instance.is_empty()) {
        names.push(format!("{base}@.{extension}.d"));
    }
    for (dash, _) in base.rmatch_indices('-') {
        let truncated = &base[..=dash];
        if template.is_some() {
            names.push(format!("{truncated}@.{extension}.d"));
        }
        names.push(format!("{truncated}.{extension}.d"));
    }
    names.push(format!("{extension}.d"));
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drop_in_directories_from_special_to_general() {
        assert_eq!(
            dropin_names(UnitType::Container, "a-b@i", Some(("a-b", "i"))),
            ["a-b@i.container.d", "a-b@.container.d", "a-@.container.d", "a-.container.d", "container.d"]
        );
        assert_eq!(
            dropin_names(UnitType::Pod, "a-b-c", None),
            ["a-b-c.pod.d", "a-b-.pod.d", "a-.pod.d", "pod.d"]
        );
    }
}
