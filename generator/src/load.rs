//! Reads the Quadlet files that were found, and the drop-ins of each.
//!
//! Only the texts stay in memory: [`Loaded::unit`] parses a file whenever it is asked for, which
//! costs less than to keep thousands of parsed files.

use crate::diagnostic::{Diagnostic, Severity, Source, rules};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::overlay::Overlay;
use crate::regular;
use crate::search::{Found, FoundFile};
use crate::unit::{self, UnitFile};
use rustix::fs::{CWD, Mode, OFlags, openat};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// The files that were read.
#[derive(Debug)]
pub(crate) struct Loaded {
    pub(crate) engine: Engine,
    /// The Quadlet files, one of each name.
    pub(crate) files: Vec<File>,
    /// The drop-ins; one may belong to many files.
    dropins: Vec<Text>,
    /// What is wrong with files that no unit comes of.
    pub(crate) notes: Vec<Diagnostic>,
}

/// A Quadlet file that was read.
#[derive(Debug)]
pub(crate) struct File {
    pub(crate) kind: UnitType,
    pub(crate) name: String,
    text: Text,
    /// Its drop-ins in the order in which they are merged, by their places in [`Loaded::dropins`].
    dropins: Vec<usize>,
}

/// A file's text; an empty one, and the reason, if it can't be read.
#[derive(Debug)]
struct Text {
    source: Source,
    error: Option<Diagnostic>,
}

impl Text {
    /// What is wrong with it, if that makes Podman's Quadlet leave the file out.
    fn refused(&self, engine: Engine) -> Option<Vec<Diagnostic>> {
        if engine == Engine::Sampan {
            return None;
        }
        let mut wrong: Vec<_> = self.error.iter().cloned().collect();
        wrong.extend(unit::mistakes(&self.source, engine.fold()));
        wrong.iter().any(|mistake| mistake.severity == Severity::Error).then_some(wrong)
    }
}

impl File {
    /// Where it was found.
    pub(crate) fn path(&self) -> &Path {
        &self.text.source.path
    }
}

impl Loaded {
    /// A file with its drop-ins.
    pub(crate) fn unit<'t>(&'t self, file: &'t File) -> UnitFile<'t> {
        let mut unit = UnitFile::new(file.kind, &file.name, file.path());
        for text in [&file.text].into_iter().chain(file.dropins.iter().map(|at| &self.dropins[*at])) {
            unit.merge(&text.source, self.engine.fold());
            unit.mistakes.extend(text.error.clone());
        }
        unit
    }

    /// The texts of all files and drop-ins.
    pub(crate) fn sources(&self) -> impl Iterator<Item = &Source> {
        self.files.iter().map(|file| &file.text).chain(&self.dropins).map(|text| &text.source)
    }

    /// Where the drop-ins of a file are, in the order in which they are merged.
    pub(crate) fn dropins<'t>(&'t self, file: &'t File) -> impl Iterator<Item = &'t Path> {
        file.dropins.iter().map(|at| self.dropins[*at].source.path.as_path())
    }

    /// All files, each with its drop-ins.
    pub(crate) fn units(&self) -> impl Iterator<Item = UnitFile<'_>> {
        self.files.iter().map(|file| self.unit(file))
    }

    /// Finds the drop-ins of each file. Podman's Quadlet leaves a broken one out and reports it.
    fn add_dropins(&mut self, directories: &HashMap<String, Vec<PathBuf>>, reader: &mut Reader<'_>) {
        if directories.is_empty() {
            return;
        }
        let mut known = HashMap::new();
        for file in &mut self.files {
            for path in dropins(file.kind, &file.name, directories, reader) {
                let at = *known.entry(path).or_insert_with_key(|path| {
                    self.dropins.push(reader.dropin(path));
                    self.dropins.len() - 1
                });
                match self.dropins[at].refused(self.engine) {
                    None => file.dropins.push(at),
                    Some(mistakes) => self.notes.extend(mistakes),
                }
            }
        }
    }
}

/// Reads every file that counts: the first of its name. For sampan a file that can't be read counts
/// too, so that its service can say why. For Podman the next of that name counts, and the other
/// files of that directory are lost, as they are to Podman's Quadlet.
pub(crate) fn load(mut found: Found, engine: Engine, overlay: &Overlay) -> Loaded {
    let mut loaded =
        Loaded { engine, files: Vec::new(), dropins: Vec::new(), notes: std::mem::take(&mut found.notes) };
    let mut reader = Reader { overlay, buffer: vec![0; 8192], directory: None, listed: HashMap::new() };
    let mut seen = HashSet::new();
    let mut broken = BTreeSet::new();
    for file in &found.files {
        if seen.contains(file.name.as_str()) {
            continue;
        }
        let text = reader.unit(&found, file);
        if let Some(mistakes) = text.refused(engine) {
            loaded.notes.extend(mistakes);
            broken.insert(found.directory_of(file));
            continue;
        }
        seen.insert(file.name.as_str());
        // To sampan the name of a link to /dev/null is taken, and nothing comes of it.
        let empty = text.source.text.is_empty() && text.error.is_none();
        if !(empty && engine == Engine::Sampan && regular::is_null(&text.source.path)) {
            let (kind, name) = (file.kind, file.name.clone());
            loaded.files.push(File { kind, name, text, dropins: Vec::new() });
        }
    }
    loaded.files.retain(|file| file.path().parent().is_none_or(|directory| !broken.contains(directory)));
    for directory in broken {
        let reason = "Podman reads no file of this directory, because of the mistake in one of them";
        loaded.notes.push(
            Diagnostic::whole(&rules::DIRECTORY_LOST, Severity::Warning, directory, reason)
                .help("mend that file, or move it away"),
        );
    }
    loaded.add_dropins(&found.dropins, &mut reader);
    loaded
}

/// Reads files and directories.
#[derive(Debug)]
struct Reader<'a> {
    overlay: &'a Overlay,
    buffer: Vec<u8>,
    /// The directory that files are read from, held open so that each takes one step to find.
    directory: Option<(usize, OwnedFd)>,
    /// The drop-ins in each directory that was looked at.
    listed: HashMap<PathBuf, Vec<OsString>>,
}

impl Reader<'_> {
    /// The text of a Quadlet file.
    fn unit(&mut self, found: &Found, file: &FoundFile) -> Text {
        let path = found.path_of(file);
        log::debug!("Loading source unit file {}", path.display());
        if !file.is_regular {
            return self.text(path, None);
        }
        if self.directory.as_ref().is_none_or(|(at, _)| *at != file.directory) {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let opened = openat(CWD, found.directory_of(file), flags, Mode::empty());
            self.directory = opened.ok().map(|opened| (file.directory, opened));
        }
        self.text(path, Some(&file.name))
    }

    /// The text of a drop-in.
    fn dropin(&mut self, path: &Path) -> Text {
        log::debug!("Loading source drop-in file {}", path.display());
        self.text(path.to_owned(), None)
    }

    /// The text of a file; its name in the open directory is given if it is known to be regular.
    fn text(&mut self, path: PathBuf, known: Option<&str>) -> Text {
        let bytes = match (self.overlay.text(&path), known, &self.directory) {
            (Some(text), ..) => Ok(text.as_bytes().to_vec()),
            (None, Some(name), Some((_, directory))) => {
                regular::read_known(directory, name, &mut self.buffer)
            }
            (None, ..) => regular::read(&path),
        };
        let error = bytes.as_ref().err().map(|error| cannot_read(&path, error));
        Text { source: Source::new(path, bytes.unwrap_or_default()), error }
    }

    /// The names of the drop-ins in a directory.
    fn dropins(&mut self, directory: &Path) -> &[OsString] {
        self.listed.entry(directory.to_owned()).or_insert_with(|| {
            let on_disk =
                fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.file_name());
            let overlaid = self.overlay.files_of(directory).filter_map(|path| path.file_name());
            let is_dropin = |name: &OsString| Path::new(name).extension().is_some_and(|end| end == "conf");
            on_disk.chain(overlaid.map(OsString::from)).filter(is_dropin).collect()
        })
    }
}

fn cannot_read(path: &Path, error: &io::Error) -> Diagnostic {
    let reason = format!("the file can't be read: {error}");
    let diagnostic = Diagnostic::whole(&rules::UNREADABLE, Severity::Error, path, reason);
    let help = match (error.kind(), fs::read_link(path)) {
        (io::ErrorKind::Unsupported, Ok(target)) => {
            format!("it is a link to {}; let it lead to a text file, or to /dev/null", target.display())
        }
        (io::ErrorKind::Unsupported | io::ErrorKind::FileTooLarge, _) => {
            "put a text file in its place, or remove it".to_owned()
        }
        (_, Ok(target)) => format!("it is a link to {}; create that, or remove the link", target.display()),
        (_, Err(_)) => "check the file and its permissions".to_owned(),
    };
    diagnostic.help(help)
}

/// The drop-ins of a unit in the order in which they are merged: by file name; of equal names the
/// one in the most specific directory.
fn dropins(
    kind: UnitType,
    name: &str,
    directories: &HashMap<String, Vec<PathBuf>>,
    reader: &mut Reader<'_>,
) -> Vec<PathBuf> {
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let mut files = BTreeMap::new();
    for name in dropin_names(kind, stem, stem.split_once('@')) {
        for directory in directories.get(&name).into_iter().flatten() {
            for file in reader.dropins(directory) {
                files.entry(file.clone()).or_insert_with(|| directory.join(file));
            }
        }
    }
    files.into_values().collect()
}

/// The names of a unit's drop-in directories, the most specific first (systemd.unit(5)):
/// `a-b@i.container.d`, `a-b@.container.d`, `a-@.container.d`, `a-.container.d`, `container.d`.
pub(crate) fn dropin_names(kind: UnitType, stem: &str, template: Option<(&str, &str)>) -> Vec<String> {
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
