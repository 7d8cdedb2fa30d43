//! Writes units and links into the directory that systemd gives to its generators.

use crate::GeneratedUnit;
use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::install::Link;
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat, symlinkat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// A directory that units are written into. It is created with the first unit.
#[derive(Debug)]
pub struct Output {
    directory: PathBuf,
    /// The directory itself, once it exists.
    opened: Option<OwnedFd>,
    /// The directories for links that exist.
    made: HashSet<String>,
    /// What could not be written.
    pub findings: Vec<Diagnostic>,
}

impl Output {
    /// An output directory; nothing is created yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), opened: None, made: HashSet::new(), findings: Vec::new() }
    }

    /// Writes a unit and its links. The unit is created exclusively and written at once: a name
    /// that another generator took is a finding, never an overwrite.
    pub fn write(&mut self, unit: &GeneratedUnit<'_>) {
        let Self { directory, opened, made, findings } = self;
        let opened = match opened {
            Some(opened) => opened,
            None => match create(directory) {
                Ok(new) => opened.insert(new),
                Err(error) => {
                    if findings.is_empty() {
                        let reason = format!("the directory can't be created: {error}");
                        findings.push(failure(directory, reason));
                    }
                    return;
                }
            },
        };
        if let Err(error) = write_unit(unit, opened) {
            return findings.push(unwritten(unit, &directory.join(unit.name), &error));
        }
        for wanted in unit.links {
            let linked = make_parent(wanted, directory, made).and_then(|()| link(wanted, unit, opened));
            if let Err(reason) = linked {
                findings.push(failure(&directory.join(&wanted.path), reason));
            }
        }
    }
}

fn create(directory: &Path) -> io::Result<OwnedFd> {
    fs::create_dir_all(directory)?;
    Ok(openat(CWD, directory, OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Makes the directory that a link is in, once.
fn make_parent(link: &Link, directory: &Path, made: &mut HashSet<String>) -> Result<(), String> {
    match link.path.rsplit_once('/') {
        Some((parent, _)) if !made.contains(parent) => {
            let path = directory.join(parent);
            fs::create_dir_all(&path)
                .map_err(|error| format!("the directory {} can't be created: {error}", path.display()))?;
            made.insert(parent.to_owned());
            Ok(())
        }
        _ => Ok(()),
    }
}

fn link(link: &Link, unit: &GeneratedUnit<'_>, directory: &OwnedFd) -> Result<(), String> {
    match symlinkat(&*link.target, directory, &*link.path) {
        Err(Errno::EXIST) => {
            let target = readlinkat(directory, &*link.path, Vec::new());
            if target.is_ok_and(|target| target.as_bytes() == link.target.as_bytes()) {
                return Ok(());
            }
            let source = unit.source.display();
            Err(format!("the name is taken, so [Install] of {source} has no effect here"))
        }
        Err(error) => Err(format!("the link can't be made: {}", io::Error::from(error))),
        Ok(()) => Ok(()),
    }
}

fn write_unit(unit: &GeneratedUnit<'_>, directory: &OwnedFd) -> io::Result<()> {
    log::debug!("writing {}", unit.name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, unit.name, flags, Mode::from_raw_mode(0o666))?;
    File::from(file).write_all(unit.text.as_bytes())
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
