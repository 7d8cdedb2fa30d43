//! Copying what is in a directory of the image into the tmpfs that will cover it (`tmpcopyup`).
//!
//! Both sides are descriptors, no link is followed: what the image says about its own files is copied, never
//! what a link in it points to.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Uid};

/// Deeper trees than this aren't copied: recursion is bounded.
const MAX_DEPTH: usize = 64;

/// Copies the contents, owners and modes of the directory `from` into the directory `to`.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<()> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let from = rustix::fs::openat(from, c".", flags, Mode::empty())?;
    let to = rustix::fs::openat(to, c".", flags, Mode::empty())?;
    directory(from.as_fd(), to.as_fd(), MAX_DEPTH)
}

fn directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other("too many directories in one another"));
    }
    for entry in Dir::read_from(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if name == c"." || name == c".." {
            continue;
        }
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        one(from, to, name, &stat, depth)?;
    }
    let stat = rustix::fs::fstat(from)?;
    rustix::fs::fchown(to, owner(&stat).0, owner(&stat).1)?;
    rustix::fs::fchmod(to, Mode::from_raw_mode(stat.st_mode & 0o7777))?;
    Ok(())
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)))
}

fn one(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, stat: &Stat, depth: usize) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode & 0o7777);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let old = rustix::fs::openat(from, name, flags, Mode::empty())?;
            rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700))?;
            let new = rustix::fs::openat(to, name, flags, Mode::empty())?;
            return directory(old.as_fd(), new.as_fd(), depth - 1);
        }
        FileType::RegularFile => {
            let new = regular(from, to, name)?;
            rustix::fs::fchown(&new, owner(stat).0, owner(stat).1)?;
            rustix::fs::fchmod(&new, mode)?;
            return Ok(());
        }
        FileType::Symlink => {
            let target = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(target.as_c_str(), to, name)?;
        }
        kind => rustix::fs::mknodat(to, name, kind, mode, stat.st_rdev)?,
    }
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(to, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(())
}

fn regular(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr) -> io::Result<OwnedFd> {
    // O_NONBLOCK: the file may have become a FIFO since we looked.
    let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let old = rustix::fs::openat(from, name, read, Mode::empty())?;
    let write = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = rustix::fs::openat(to, name, write, Mode::from_raw_mode(0o600))?;
    let mut old = std::fs::File::from(old);
    let mut new = std::fs::File::from(new);
    io::copy(&mut old, &mut new)?;
    Ok(new.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn links_are_copied_as_links() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::create_dir(from.path().join("sub")).unwrap();
        fs::write(from.path().join("sub/file"), "text").unwrap();
        fs::set_permissions(from.path().join("sub"), PermissionsExt::from_mode(0o750)).unwrap();
        symlink("/etc/shadow", from.path().join("link")).unwrap();
        let (old, new) = (fs::File::open(from.path()).unwrap(), fs::File::open(to.path()).unwrap());
        copy(old.as_fd(), new.as_fd()).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("sub/file")).unwrap(), "text");
        assert_eq!(fs::metadata(to.path().join("sub")).unwrap().permissions().mode() & 0o777, 0o750);
        assert_eq!(fs::read_link(to.path().join("link")).unwrap().to_str(), Some("/etc/shadow"));
    }
}
