//! Removing trees that hostile layers filled.
//!
//! A tree may be nested so deeply that a recursion would run out of descriptors or stack, so none is
//! used: every directory found is first moved up to the top, then emptied there.

use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Removes a file or a whole tree; what is not there is no error. Symbolic links are removed, never
/// followed.
pub(crate) fn remove_all(path: &Path) -> Result<()> {
    let fail = |error: Errno| Error::io("remove", path, error);
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(error) => return Err(fail(error)),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let top = rustix::fs::open(path, flags, Mode::empty()).map_err(fail)?;
    let mut pending: Vec<OsString> = Vec::new();
    let mut counter = 0;
    empty(&top, None, &mut pending, &mut counter).map_err(fail)?;
    while let Some(name) = pending.pop() {
        let directory = open_for_removal(&top, &name).map_err(fail)?;
        empty(&directory, Some(&top), &mut pending, &mut counter).map_err(fail)?;
        rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR).map_err(fail)?;
    }
    match rustix::fs::rmdir(path) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(error) => Err(fail(error)),
    }
}

/// Unlinks the files of a directory and moves its directories to `top` (or leaves them there).
fn empty(
    directory: &OwnedFd,
    top: Option<&OwnedFd>,
    pending: &mut Vec<OsString>,
    counter: &mut u64,
) -> rustix::io::Result<()> {
    let mut directories = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") {
            continue;
        }
        let name = OsStr::from_bytes(name);
        if entry.file_type() == FileType::Directory {
            directories.push(name.to_owned());
            continue;
        }
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => directories.push(name.to_owned()),
            result => result?,
        }
    }
    for name in directories {
        let Some(top) = top else {
            pending.push(name);
            continue;
        };
        loop {
            *counter += 1;
            let moved = OsString::from(format!(".sampan-{counter}"));
            let flags = rustix::fs::RenameFlags::NOREPLACE;
            match rustix::fs::renameat_with(directory, &name, top, &moved, flags) {
                Err(Errno::EXIST) => continue,
                result => result?,
            }
            pending.push(moved);
            break;
        }
    }
    Ok(())
}

/// Opens a directory; without privileges it may first have to be made accessible.
fn open_for_removal(parent: &OwnedFd, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    if !rustix::process::geteuid().is_root() {
        rustix::fs::chmodat(parent, name, Mode::RWXU, AtFlags::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, name, flags, Mode::empty())
}
