//! Writes units and links into the directory that systemd gives to its generators.

use crate::diagnostic::{Diagnostic, Severity};
use crate::install::Link;
use crate::{GeneratedUnit, Outcome};
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// Writes everything. Each unit is created exclusively and written at once: a name that another
/// generator took is a finding, never an overwrite. Nothing is created if there are no units.
pub fn write(outcome: &Outcome, directory: &Path) -> Vec<Diagnostic> {
    if outcome.units.is_empty() {
        return Vec::new();
    }
    if let Err(error) = fs::create_dir_all(directory) {
        return vec![failure(directory, format!("the output directory can't be created: {error}"))];
    }
    let mut findings = Vec::new();
    let mut made = HashSet::new();
    for unit in &outcome.units {
        let path = directory.join(&unit.name);
        match write_unit(unit, &path) {
            Ok(()) => {
                for link in &unit.links {
                    let finding = write_link(link, unit, directory, &mut made).err();
                    findings.extend(finding.map(|(path, reason)| failure(&path, reason)));
                }
            }
            Err(error) => findings.push(unwritten(unit, &path, &error)),
        }
    }
    findings
}

fn write_unit(unit: &GeneratedUnit, path: &Path) -> io::Result<()> {
    log::debug!("writing {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(unit.text.as_bytes())
}

fn unwritten(unit: &GeneratedUnit, path: &Path, error: &io::Error) -> Diagnostic {
    if error.kind() != ErrorKind::AlreadyExists {
        return failure(path, format!("the unit can't be written: {error}"));
    }
    let source = unit.source.display();
    failure(path, format!("another generator wrote this unit already; the one from {source} is left out"))
        .help("rename the file, or give it a ServiceName= of its own")
}

/// Makes a link and the directory that it is in; the directories that were made are remembered.
fn write_link(
    link: &Link,
    unit: &GeneratedUnit,
    directory: &Path,
    made: &mut HashSet<String>,
) -> Result<(), (PathBuf, String)> {
    let path = directory.join(&link.path);
    let parent = link.path.rsplit_once('/').map(|(parent, _)| parent);
    if let Some(parent) = parent.filter(|parent| made.insert((*parent).to_owned())) {
        let parent = directory.join(parent);
        fs::create_dir_all(&parent)
            .map_err(|error| (parent, format!("the directory can't be created: {error}")))?;
    }
    match symlink(&link.target, &path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err((path, format!("the link can't be made: {error}")))
        }
        Err(_) if fs::read_link(&path).is_ok_and(|target| target != Path::new(&link.target)) => {
            let source = unit.source.display();
            Err((path, format!("the name is taken, so [Install] of {source} has no effect here")))
        }
        _ => Ok(()),
    }
}

fn failure(path: &Path, reason: String) -> Diagnostic {
    Diagnostic::whole(Severity::Error, path, reason)
}
