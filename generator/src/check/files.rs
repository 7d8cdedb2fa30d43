//! Files and directories that take no effect: drop-ins of nothing, names that stand twice.

use super::Findings;
use super::scene::Scene;
use crate::diagnostic::{Diagnostic, Severity, rules, suggest};
use crate::keys::UnitType;
use crate::load::dropin_names;
use std::collections::{BTreeSet, HashSet};
use std::fs;
use std::path::Path;

/// A drop-in directory belongs to a file, or to all files of a type.
pub(super) fn dropins(scene: &Scene<'_>, findings: &mut Findings) {
    let mut known: HashSet<String> =
        UnitType::ALL.iter().map(|kind| format!("{}.d", kind.extension())).collect();
    for unit in &scene.units {
        known.extend(dropin_names(unit.kind, unit.stem(), unit.template()));
    }
    for directory in &scene.dropins {
        let Some(name) = directory.file_name().and_then(|name| name.to_str()) else { continue };
        if known.contains(name) {
            misnamed(directory, findings);
            continue;
        }
        let unit = name.trim_end_matches(".d");
        if UnitType::of(unit).is_some() {
            let reason = format!("there is no file \"{unit}\" that these drop-ins belong to");
            let diagnostic = Diagnostic::whole(&rules::ORPHAN_DROP_IN, Severity::Warning, directory, reason);
            let names = scene.units.iter().map(|unit| unit.name);
            findings.push(match suggest(unit, names) {
                Some(meant) => diagnostic.help(format!("did you mean \"{meant}.d\"?")),
                None => diagnostic.help("rename the directory after its file, or remove it"),
            });
        } else if let Some(service) = unit.strip_suffix(".service") {
            let reason = format!("drop-ins of {service}.service are not read here");
            let diagnostic = Diagnostic::whole(&rules::ORPHAN_DROP_IN, Severity::Warning, directory, reason);
            let owner = scene
                .units
                .iter()
                .find(|file| scene.book.get(file.name).is_some_and(|card| card.service() == service));
            findings.push(diagnostic.help(match owner {
                Some(owner) => {
                    format!("call the directory {}.d, or put it into /etc/systemd/system", owner.name)
                }
                None => "put the directory into /etc/systemd/system".to_owned(),
            }));
        }
    }
}

/// Files in a drop-in directory that are not read because of their names.
fn misnamed(directory: &Path, findings: &mut Findings) {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    for path in paths {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_backup =
            name.starts_with('.') || name.ends_with('~') || name.to_lowercase().starts_with("readme");
        if path.extension().is_none_or(|extension| extension != "conf") && !is_backup {
            let reason = "the name of a drop-in ends in .conf, so this file is not read";
            let diagnostic = Diagnostic::whole(&rules::ORPHAN_DROP_IN, Severity::Warning, &path, reason);
            findings.push(diagnostic.help(format!("call it {name}.conf, or move it away")));
        }
    }
}

/// Of several files of one name the first counts.
pub(super) fn shadowed(scene: &Scene<'_>, findings: &mut Findings) {
    for (name, path) in &scene.files {
        let Some(first) = scene.files.iter().find(|(other, _)| other == name) else { continue };
        if first.1 != *path {
            let reason = format!("the file has no effect: {} counts", first.1.display());
            let diagnostic = Diagnostic::whole(&rules::SHADOWED_FILE, Severity::Note, path, reason);
            findings.push(diagnostic.help("rename it if it is to be another unit"));
        }
    }
}

/// A file whose type is misspelled is not read at all.
pub(super) fn misspelled(scene: &Scene<'_>, findings: &mut Findings) {
    let roots = scene.options.roots.iter().filter_map(|root| fs::canonicalize(&root.path).ok());
    let parents = scene.files.iter().filter_map(|(_, path)| path.parent().map(Path::to_owned));
    let directories: BTreeSet<_> = roots.chain(parents).collect();
    for directory in directories {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Some(name) = path.file_name().and_then(|name| name.to_str()) else { continue };
            let Some((stem, extension)) = name.rsplit_once('.').filter(|(stem, _)| !stem.is_empty()) else {
                continue;
            };
            let known = UnitType::ALL.map(UnitType::extension);
            if known.contains(&extension) || extension.len() < 4 || !path.is_file() {
                continue;
            }
            let Some(meant) = suggest(extension, known) else { continue };
            let reason = format!("files that end in .{extension} are not read");
            let diagnostic = Diagnostic::whole(&rules::UNKNOWN_FILE_TYPE, Severity::Warning, &path, reason);
            findings.push(diagnostic.help(format!("did you mean \"{stem}.{meant}\"?")));
        }
    }
}
