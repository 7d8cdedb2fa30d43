//! The way through a tree of cgroups: a container that may make some can nest them deeper than a path can say and than
//! this process may have descriptors. So it has one, of the directory where it is, and the names that led there. Nobody
//! moves a cgroup elsewhere (version 2 has no rename), so `..` is the way back.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

/// A directory of cgroups.
pub(super) struct Descent {
    here: OwnedFd,
}

fn open(at: impl std::os::fd::AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// What has gone meanwhile needs neither be listed nor removed.
fn unless_gone<T>(result: rustix::io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(Errno::NOENT | Errno::NODEV) => Ok(None),
        result => Ok(Some(result?)),
    }
}

impl Descent {
    pub(super) fn new(directory: &Path) -> io::Result<Self> {
        Ok(Descent { here: open(rustix::fs::CWD, directory)? })
    }

    /// The cgroups in this one.
    fn children(&self) -> io::Result<Vec<CString>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.here)? {
            let entry = entry?;
            let name = entry.file_name();
            if entry.file_type() == FileType::Directory && ![c".", c".."].contains(&name) {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The processes in this one itself.
    pub(super) fn processes(&self) -> io::Result<Vec<i32>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Some(file) = unless_gone(rustix::fs::openat(&self.here, c"cgroup.procs", flags, Mode::empty()))?
        else {
            return Ok(Vec::new());
        };
        let mut text = String::new();
        match File::from(file).read_to_string(&mut text) {
            // It was removed between opening and reading; or it is threaded: the one that it belongs to lists its processes.
            Err(e) if [Some(libc::ENODEV), Some(libc::EOPNOTSUPP)].contains(&e.raw_os_error()) => {}
            result => drop(result?),
        }
        Ok(text.lines().filter_map(|line| line.parse().ok()).collect())
    }

    /// Comes by this one and all below it.
    pub(super) fn visit(mut self, each: &mut dyn FnMut(&Descent) -> io::Result<()>) -> io::Result<()> {
        each(&self)?;
        let mut left = vec![self.children()?];
        while let Some(names) = left.last_mut() {
            match names.pop() {
                Some(name) => {
                    let Some(below) = unless_gone(open(&self.here, &name))? else { continue };
                    self.here = below;
                    each(&self)?;
                    left.push(unless_empty(self.children())?);
                }
                None => {
                    left.pop();
                    if !left.is_empty() {
                        self.here = open(&self.here, c"..")?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Removes all cgroups in this one, the innermost first.
    pub(super) fn remove_below(mut self) -> io::Result<()> {
        let mut way: Vec<CString> = Vec::new();
        let mut left = vec![self.children()?];
        while let Some(names) = left.last_mut() {
            match names.pop() {
                Some(name) => match rustix::fs::unlinkat(&self.here, &name, AtFlags::REMOVEDIR) {
                    Ok(()) | Err(Errno::NOENT) => {}
                    Err(Errno::BUSY) => {
                        let Some(below) = unless_gone(open(&self.here, &name))? else { continue };
                        self.here = below;
                        left.push(unless_empty(self.children())?);
                        way.push(name);
                    }
                    Err(error) => return Err(error.into()),
                },
                None => {
                    left.pop();
                    let Some(name) = way.pop() else { continue };
                    self.here = open(&self.here, c"..")?;
                    unless_gone(rustix::fs::unlinkat(&self.here, &name, AtFlags::REMOVEDIR))?;
                }
            }
        }
        Ok(())
    }
}

/// A cgroup that was removed while it was read has none in it.
fn unless_empty(children: io::Result<Vec<CString>>) -> io::Result<Vec<CString>> {
    match children {
        Err(e) if [Some(libc::ENOENT), Some(libc::ENODEV)].contains(&e.raw_os_error()) => Ok(Vec::new()),
        children => children,
    }
}
