//! Writes units and links into the directory that systemd gives to its generators.

use crate::GeneratedUnit;
use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::install::Link;
use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

/// A directory that units are written into. It is created with the first unit.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    /// The directories for links that exist, and the output directory itself as "".
    made: HashSet<String>,
    /// What could not be written.
    pub findings: Vec<Diagnostic>,
}

impl Output {
    /// An output directory; nothing is created yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), made: HashSet::new(), findings: Vec::new() }
    }

    /// Writes a unit and its links. The unit is created exclusively and written at once: a name
    /// that another generator took is a finding, never an overwrite.
    pub fn write(&mut self, unit: &GeneratedUnit<'_>) {
        if let Err(finding) = self.directory("").map_err(|(path, reason)| failure(&path, reason)) {
            if self.findings.is_empty() {
                self.findings.push(finding);
            }
            return;
        }
        let path = self.directory.join(unit.name);
        if let Err(error) = write_unit(unit, &path) {
            return self.findings.push(unwritten(unit, &path, &error));
        }
        for link in unit.links {
            if let Err((path, reason)) = self.link(link, unit) {
                self.findings.push(failure(&path, reason));
            }
        }
    }

    /// Makes a directory below the output directory, once.
    fn directory(&mut self, below: &str) -> Result<(), (PathBuf, String)> {
        if self.made.contains(below) {
            return Ok(());
        }
        let path = self.directory.join(below);
        fs::create_dir_all(&path)
            .map_err(|error| (path, format!("the directory can't be created: {error}")))?;
        self.made.insert(below.to_owned());
        Ok(())
    }

    fn link(&mut self, link: &Link, unit: &GeneratedUnit<'_>) -> Result<(), (PathBuf, String)> {
        if let Some((parent, _)) = link.path.rsplit_once('/') {
            self.directory(parent)?;
        }
        let path = self.directory.join(&link.path);
        match symlink(&link.target, &path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                Err((path, format!("the link can't be made: {error}")))
            }
            Err(_) if fs::read_link(&path).map_or(true, |target| target != Path::new(&link.target)) => {
                let source = unit.source.display();
                Err((path, format!("the name is taken, so [Install] of {source} has no effect here")))
            }
            _ => Ok(()),
        }
    }
}

fn write_unit(unit: &GeneratedUnit<'_>, path: &Path) -> io::Result<()> {
    log::debug!("writing {}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(unit.text.as_bytes())
}

fn unwritten(unit: &GeneratedUnit<'_>, path: &Path, error: &io::Error) -> Diagnostic {
    if error.kind() != ErrorKind::AlreadyExists {
        return failure(path, format!("the unit can't be written: {error}"));
    }
    let source = unit.source.display();
    failure(path, format!("another generator wrote this unit already; the one from {source} is left out"))
        .help("rename the file, or give it a ServiceName= of its own")
}

fn failure(path: &Path, reason: String) -> Diagnostic {
    Diagnostic::whole(&rules::NOT_WRITTEN, Severity::Error, path, reason)
}
