//! Writes units and links into the directory that systemd gives to its generators.

use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::install::Link;
use rustix::fs::{CWD, Mode, OFlags, openat, readlinkat, symlinkat};
use rustix::io::Errno;
use std::collections::HashSet;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Writes units into a directory, which is created with the first of them.
#[derive(Debug)]
pub(crate) struct Units {
    directory: PathBuf,
    /// The directory itself, once it exists.
    opened: Option<OwnedFd>,
    /// What could not be written.
    pub(crate) findings: Vec<Diagnostic>,
}

impl Units {
    /// An output directory; nothing is created yet.
    pub(crate) fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), opened: None, findings: Vec::new() }
    }

    /// Writes a unit. It is created exclusively and written at once: a name that another generator
    /// took is a finding, never an overwrite. Returns whether it is written.
    pub(crate) fn write(&mut self, name: &str, text: &str, source: &Path) -> bool {
        let Self { directory, opened, findings } = self;
        let opened = match opened {
            Some(opened) => opened,
            None => match create(directory) {
                Ok(new) => opened.insert(new),
                Err(error) => {
                    if findings.is_empty() {
                        let reason = format!("the directory can't be created: {error}");
                        findings.push(failure(directory, reason));
                    }
                    return false;
                }
            },
        };
        let written = write_unit(name, text, opened);
        findings.extend(written.as_ref().err().map(|error| unwritten(source, &directory.join(name), error)));
        written.is_ok()
    }
}

/// Makes the links of units that are written. Those beside the units come last, when all units are
/// there, so that a name that is a unit's as well is always the unit's.
#[derive(Debug)]
pub(crate) struct Links {
    directory: PathBuf,
    /// The directory itself, once it was needed.
    opened: Option<OwnedFd>,
    /// The directories for links that exist.
    made: HashSet<String>,
    /// The links beside the units, and the files that ask for them.
    postponed: Vec<(Link, PathBuf)>,
    findings: Vec<Diagnostic>,
}

impl Links {
    /// The links in an output directory.
    pub(crate) fn new(directory: &Path) -> Self {
        let directory = directory.to_owned();
        Self { directory, opened: None, made: HashSet::new(), postponed: Vec::new(), findings: Vec::new() }
    }

    /// Makes the links of a unit that is written, for the file that it comes from.
    pub(crate) fn make(&mut self, links: &[Link], source: &Path) {
        for link in links {
            if link.path.contains('/') {
                self.link(link, source);
            } else {
                self.postponed.push((link.clone(), source.to_owned()));
            }
        }
    }

    /// Makes the links beside the units; returns what could not be linked.
    pub(crate) fn finish(mut self) -> Vec<Diagnostic> {
        for (link, source) in std::mem::take(&mut self.postponed) {
            self.link(&link, &source);
        }
        self.findings
    }

    fn link(&mut self, wanted: &Link, source: &Path) {
        if let Err(reason) = self.try_link(wanted, source) {
            self.findings.push(failure(&self.directory.join(&wanted.path), reason));
        }
    }

    fn try_link(&mut self, wanted: &Link, source: &Path) -> Result<(), String> {
        make_parent(wanted, &self.directory, &mut self.made)?;
        let opened = match &mut self.opened {
            Some(opened) => opened,
            opened => opened.insert(create(&self.directory).map_err(|error| error.to_string())?),
        };
        link(wanted, source, opened)
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

fn link(link: &Link, source: &Path, directory: &OwnedFd) -> Result<(), String> {
    match symlinkat(&*link.target, directory, &*link.path) {
        Err(Errno::EXIST) => {
            let target = readlinkat(directory, &*link.path, Vec::new());
            if target.is_ok_and(|target| target.as_bytes() == link.target.as_bytes()) {
                return Ok(());
            }
            let source = source.display();
            Err(format!("the name is taken, so [Install] of {source} has no effect here"))
        }
        Err(error) => Err(format!("the link can't be made: {}", io::Error::from(error))),
        Ok(()) => Ok(()),
    }
}

fn write_unit(name: &str, text: &str, directory: &OwnedFd) -> io::Result<()> {
    log::debug!("writing {name}");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::from_raw_mode(0o666))?;
    File::from(file).write_all(text.as_bytes())
}

fn unwritten(source: &Path, path: &Path, error: &io::Error) -> Diagnostic {
    if error.kind() != ErrorKind::AlreadyExists {
        return failure(path, format!("the unit can't be written: {error}"));
    }
    let source = source.display();
    failure(path, format!("another generator wrote this unit already; the one from {source} is left out"))
        .help("rename the file, or give it a ServiceName= of its own")
}

fn failure(path: &Path, reason: String) -> Diagnostic {
    Diagnostic::whole(&rules::NOT_WRITTEN, Severity::Error, path, reason)
}
