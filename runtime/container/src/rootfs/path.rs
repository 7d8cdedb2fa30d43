//! Paths inside a rootfs that someone hostile has made and may change while we look.
//!
//! Every path is resolved once, to a descriptor. Where it exists, openat2(2) does that with `RESOLVE_IN_ROOT`:
//! `..` and absolute links end at the root, links of procfs aren't followed. Where directories must be made,
//! one component is made and opened at a time, below a descriptor, and never through a link that we did not
//! read ourselves (CVE-2021-30465, CVE-2024-45310: a link exchanged between check and use made directories on
//! the host, or mounted over them).

use std::collections::VecDeque;
use std::ffi::{CStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::error::{Call, Error, Result};

/// As many links as the kernel follows in one path.
const MAX_LINKS: usize = 40;

/// How often openat2 is tried again when a rename elsewhere made it answer EAGAIN.
const TRIES: usize = 128;

/// Whether links in a path are followed (inside the root) or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Links {
    Follow,
    Refuse,
}

/// What a mount point must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Directory,
    File,
}

/// A directory that paths are resolved in as if it were `/`.
#[derive(Debug)]
pub(crate) struct Root<'a> {
    fd: BorrowedFd<'a>,
}

impl<'a> Root<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>) -> Self {
        Root { fd }
    }

    /// Opens what `path` leads to. `None`: it does not exist.
    pub(crate) fn find(&self, path: &Path, flags: OFlags, links: Links) -> Result<Option<OwnedFd>> {
        match self.openat2(path, flags, links) {
            Ok(file) => Ok(Some(file)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(Errno::LOOP) if links == Links::Refuse => Err(linked(path)),
            Err(e) => Err(e).call(|| format!("openat2(rootfs, {})", path.display())),
        }
    }

    /// Opens what `path` leads to as a place only (`O_PATH`).
    pub(crate) fn find_path(&self, path: &Path, links: Links) -> Result<Option<OwnedFd>> {
        self.find(path, OFlags::PATH, links)
    }

    /// The same, but a link at its end is the place itself.
    pub(crate) fn find_itself(&self, path: &Path, links: Links) -> Result<Option<OwnedFd>> {
        self.find(path, OFlags::PATH | OFlags::NOFOLLOW, links)
    }

    /// Makes a symbolic link with this target, which is not looked at. One that is there already is good.
    pub(crate) fn link(&self, path: &Path, target: &CStr, links: Links) -> Result<()> {
        let call = || format!("symlink({target:?}, (rootfs, {}))", path.display());
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EXIST).call(call);
        };
        let directory = self.mount_point(directory, Kind::Directory, links)?;
        match rustix::fs::symlinkat(target, &directory, name) {
            Err(Errno::EXIST) => match rustix::fs::readlinkat(&directory, name, Vec::new()) {
                Ok(there) if there.as_c_str() == target => Ok(()),
                _ => Err(Errno::EXIST).call(call),
            },
            result => result.call(call),
        }
    }

    /// The place that `path` leads to, with missing directories (0755) and, for [`Kind::File`], a missing
    /// file made.
    pub(crate) fn mount_point(&self, path: &Path, kind: Kind, links: Links) -> Result<OwnedFd> {
        if let Some(place) = self.find_path(path, links)? {
            return Ok(place);
        }
        self.walk(path, kind, links).map_err(|e| match e {
            Errno::LOOP if links == Links::Refuse => linked(path),
            e => Error::Call {
                call: format!("create mount point (rootfs, {})", path.display()),
                source: e.into(),
            },
        })
    }

    fn openat2(&self, path: &Path, flags: OFlags, links: Links) -> Result<OwnedFd, Errno> {
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        if links == Links::Refuse {
            resolve |= ResolveFlags::NO_SYMLINKS;
        }
        let path = if path.as_os_str().is_empty() { Path::new("/") } else { path };
        for _ in 1..TRIES {
            match rustix::fs::openat2(self.fd, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Goes along `path` one component at a time and makes what is missing. `..` goes back to the descriptor
    /// that we came from, so no rename can lead it out of the root.
    fn walk(&self, path: &Path, kind: Kind, links: Links) -> Result<OwnedFd, Errno> {
        let mut rest = components(path);
        let mut trail: Vec<OwnedFd> = Vec::new();
        let mut followed = 0;
        while let Some(name) = rest.pop_front() {
            if name == ".." {
                trail.pop();
                continue;
            }
            let here = trail.last().map_or(self.fd, |d| d.as_fd());
            let last = rest.is_empty();
            let next = match open_one(here, &name) {
                Err(Errno::NOENT) if last && kind == Kind::File => {
                    make_file(here, &name)?;
                    open_one(here, &name)?
                }
                Err(Errno::NOENT) => {
                    make_directory(here, &name)?;
                    open_one(here, &name)?
                }
                next => next?,
            };
            if file_type(&next)? != FileType::Symlink {
                trail.push(next);
                continue;
            }
            followed += 1;
            if links == Links::Refuse || followed > MAX_LINKS {
                return Err(Errno::LOOP);
            }
            let target = rustix::fs::readlinkat(&next, c"", Vec::new())?;
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            if target.is_absolute() {
                trail.clear();
            }
            for name in components(&target).into_iter().rev() {
                rest.push_front(name);
            }
        }
        match trail.pop() {
            Some(place) => Ok(place),
            None => self.openat2(Path::new("/"), OFlags::PATH, Links::Refuse),
        }
    }
}

fn linked(path: &Path) -> Error {
    Error::Invalid {
        what: "rootfs path",
        value: path.display().to_string(),
        reason:
            "a symbolic link stands here in the image, where what is mounted or written could land elsewhere; it must be mounted on ordinary directory"
                .into(),
    }
}

fn components(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name.to_owned()),
            Component::ParentDir => Some("..".into()),
            Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
        })
        .collect()
}

fn open_one(here: BorrowedFd<'_>, name: &OsString) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(here, name, flags, Mode::empty())
}

fn make_directory(here: BorrowedFd<'_>, name: &OsString) -> Result<(), Errno> {
    match rustix::fs::mkdirat(here, name, Mode::from_raw_mode(0o755)) {
        Err(Errno::EXIST) | Ok(()) => Ok(()),
        Err(e) => Err(e),
    }
}

fn make_file(here: BorrowedFd<'_>, name: &OsString) -> Result<(), Errno> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::WRONLY;
    match rustix::fs::openat(here, name, flags, Mode::from_raw_mode(0o644)) {
        Err(Errno::EXIST) | Ok(_) => Ok(()),
        Err(e) => Err(e),
    }
}

/// The type of the file behind a descriptor.
pub(crate) fn file_type(file: impl AsFd) -> Result<FileType, Errno> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(dir: &Path) -> OwnedFd {
        rustix::fs::open(dir, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).unwrap()
    }

    #[test]
    fn directories_are_made_inside_the_root_only() {
        let top = tempfile::tempdir().unwrap();
        let rootfs = top.path().join("rootfs");
        fs::create_dir(&rootfs).unwrap();
        symlink("/outside", rootfs.join("absolute")).unwrap();
        symlink("../../outside", rootfs.join("relative")).unwrap();
        let fd = open(&rootfs);
        let root = Root::new(fd.as_fd());
        for path in ["/absolute/a", "/relative/b", "/../../outside/c"] {
            root.mount_point(Path::new(path), Kind::Directory, Links::Follow).unwrap();
        }
        for name in ["a", "b", "c"] {
            assert!(rootfs.join("outside").join(name).is_dir(), "{name}");
        }
        assert!(!top.path().join("outside").exists());
    }

    #[test]
    fn links_are_refused_where_they_must_not_be() {
        let rootfs = tempfile::tempdir().unwrap();
        symlink("elsewhere", rootfs.path().join("proc")).unwrap();
        let fd = open(rootfs.path());
        let root = Root::new(fd.as_fd());
        let error = root.mount_point(Path::new("/proc"), Kind::Directory, Links::Refuse).unwrap_err();
        assert!(error.to_string().contains("symbolic link"), "{error}");
        assert!(!rootfs.path().join("elsewhere").exists());
    }

    #[test]
    fn a_circle_of_links_ends() {
        let rootfs = tempfile::tempdir().unwrap();
        symlink("b", rootfs.path().join("a")).unwrap();
        symlink("a", rootfs.path().join("b")).unwrap();
        let fd = open(rootfs.path());
        let root = Root::new(fd.as_fd());
        let path = Path::new("/a/x");
        assert!(root.mount_point(path, Kind::File, Links::Follow).is_err());
    }

    #[test]
    fn a_missing_file_is_made() {
        let rootfs = tempfile::tempdir().unwrap();
        let fd = open(rootfs.path());
        let root = Root::new(fd.as_fd());
        let path = Path::new("/etc/hosts");
        root.mount_point(path, Kind::File, Links::Follow).unwrap();
        assert!(rootfs.path().join("etc/hosts").is_file());
    }
}
