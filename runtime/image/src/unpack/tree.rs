//! Writes entries below a directory descriptor.
//!
//! The parent of every entry is opened by the kernel with the layer's root as `/`
//! (`RESOLVE_IN_ROOT`): symbolic links that the layer itself made (`bin -> usr/bin`) are followed as
//! in the running container, and nothing can lead outside. The entry is then made relative to that
//! descriptor under a single name, never following a link there.
//!
//! Directories get owner, mode and time at the end: a read-only directory must still be filled, and
//! filling changes its time.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::archive::{Entry, Kind};
use super::parents::split;
use super::survey::{Checksum, Known};
use super::{Failure, Limits};

/// Prefix of whiteout entries
/// ([OCI layer spec](https://github.com/opencontainers/image-spec/blob/main/layer.md#whiteouts)).
const WHITEOUT: &[u8] = b".wh.";
/// Name of the entry that makes its directory opaque.
const OPAQUE: &[u8] = b".wh..wh..opq";
/// The directory being filled.
pub(super) struct Tree<'a> {
    pub(super) root: BorrowedFd<'a>,
    trash: BorrowedFd<'a>,
    pub(super) limits: &'a Limits,
    /// Whether owners, devices and `trusted.` attributes can be set.
    privileged: bool,
    pub(super) parents: VecDeque<(Vec<u8>, Rc<OwnedFd>)>,
    directories: HashMap<Vec<u8>, Metadata>,
    trashed: u64,
    devices: u64,
    /// Directories made for paths that lacked them.
    pub(super) made: u64,
    /// Bytes of the paths in `directories`.
    remembered: usize,
    bytes: u64,
    known: Known,
}

#[derive(Clone, Copy)]
struct Metadata {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
}

impl Metadata {
    fn of(entry: &Entry) -> Self {
        Self { mode: entry.mode, uid: entry.uid, gid: entry.gid, mtime: entry.mtime }
    }
}

impl<'a> Tree<'a> {
    pub(super) fn new(root: BorrowedFd<'a>, trash: BorrowedFd<'a>, limits: &'a Limits) -> Self {
        let privileged = rustix::process::geteuid().is_root();
        if !privileged {
            log::warn!("not root: owners and device nodes of layers are not kept");
        }
        Self {
            root,
            trash,
            limits,
            privileged,
            parents: VecDeque::new(),
            directories: HashMap::new(),
            trashed: 0,
            devices: 0,
            made: 0,
            remembered: 0,
            bytes: 0,
            known: Known::everything(),
        }
    }

    pub(super) fn count_bytes(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// Gives the directories their owner, mode and time; returns the bytes of content written, and what a survey
    /// needs not read again.
    pub(super) fn finish(mut self) -> Result<(u64, Known), Failure> {
        self.parents.clear();
        let mut directories: Vec<_> = std::mem::take(&mut self.directories).into_iter().collect();
        // Children first: without privileges a parent may become unsearchable.
        directories.sort_unstable_by(|(a, _), (b, _)| b.cmp(a));
        for (path, metadata) in directories {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match self.open(&path, flags) {
                Ok(directory) => self.apply(directory.as_fd(), &path, metadata)?,
                // A later entry put something else there.
                Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
                Err(error) => return Err(Failure::write("open", &path, error)),
            }
        }
        Ok((self.bytes, self.known))
    }

    /// Makes a directory, or takes the one that is there.
    pub(super) fn directory(&mut self, entry: &Entry) -> Result<(), Failure> {
        if !entry.path.is_empty() {
            let (parent, name) = self.parent(&entry.path)?;
            self.make_directory(&parent, name, &entry.path)?;
        }
        if !entry.xattrs.is_empty() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let directory =
                self.open(&entry.path, flags).map_err(|error| Failure::write("open", &entry.path, error))?;
            self.set_xattrs(directory.as_fd(), entry)?;
        }
        self.remember(entry)
    }

    /// Keeps what a directory gets at the end. In memory, hence bounded: two million long paths are
    /// gigabytes, and compress to almost nothing.
    fn remember(&mut self, entry: &Entry) -> Result<(), Failure> {
        if self.directories.insert(entry.path.clone(), Metadata::of(entry)).is_none() {
            self.remembered += entry.path.len();
        }
        if self.remembered > self.limits.directories {
            let bound = self.limits.directories / 1_000_000;
            return Err(Failure::Hostile(format!("the names of its directories exceed {bound} MB")));
        }
        Ok(())
    }

    /// Makes an empty file, replacing what has its name.
    pub(super) fn create_file(&mut self, entry: &Entry) -> Result<File, Failure> {
        let (parent, name) = self.parent(&entry.path)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        self.replacing("create", &parent, name, &entry.path, |parent, name| {
            rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o600))
        })
        .map(File::from)
    }

    /// Owner, attributes, mode and time of a file that has its content. In this order: a change of
    /// owner clears setuid bits and capabilities, and any change sets the time.
    pub(super) fn finish_file(
        &mut self,
        entry: &Entry,
        file: &File,
        checksum: &Checksum,
    ) -> Result<(), Failure> {
        let file = file.as_fd();
        let status =
            rustix::fs::fstat(file).map_err(|error| Failure::write("look at", &entry.path, error))?;
        self.known.files.insert(status.st_ino, checksum.sum());
        self.set_owner(file, &entry.path, entry.uid, entry.gid)?;
        self.set_xattrs(file, entry)?;
        set_mode(file, &entry.path, entry.mode)?;
        set_time(file, &entry.path, entry.mtime)
    }

    pub(super) fn symlink(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Failure> {
        let (parent, name) = self.parent(&entry.path)?;
        self.replacing("symlink", &parent, name, &entry.path, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)
        })?;
        self.finish_at(&parent, name, entry)
    }

    /// Makes a second name; the first is looked up inside the layer like any other path.
    pub(super) fn hard_link(&mut self, entry: &Entry, target: &[u8]) -> Result<(), Failure> {
        if target == entry.path {
            return Ok(());
        }
        let (directory, target_name) = split(target);
        let missing = || {
            Failure::hostile(
                &entry.path,
                &format!("hard link to \"{}\", which is not in the layer", super::printable(target)),
            )
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let target_parent = self.open(directory, flags).map_err(|_| missing())?;
        let status =
            rustix::fs::statat(&target_parent, OsStr::from_bytes(target_name), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|_| missing())?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            return Err(Failure::hostile(&entry.path, "hard link to a directory"));
        }
        let (parent, name) = self.parent(&entry.path)?;
        if is_same(&parent, name, &status) {
            return Ok(());
        }
        self.replacing("link", &parent, name, &entry.path, |parent, name| {
            rustix::fs::linkat(&target_parent, OsStr::from_bytes(target_name), parent, name, AtFlags::empty())
        })
    }

    /// Makes a device node or FIFO.
    pub(super) fn node(&mut self, entry: &Entry) -> Result<(), Failure> {
        let (kind, device) = match entry.kind {
            Kind::Char { major, minor } => (FileType::CharacterDevice, rustix::fs::makedev(major, minor)),
            Kind::Block { major, minor } => (FileType::BlockDevice, rustix::fs::makedev(major, minor)),
            _ => (FileType::Fifo, 0),
        };
        if kind != FileType::Fifo {
            self.devices += 1;
            if self.devices > self.limits.devices {
                return Err(Failure::Hostile(format!("more than {} device nodes", self.limits.devices)));
            }
            if !self.privileged && device != 0 {
                return Ok(());
            }
        }
        let (parent, name) = self.parent(&entry.path)?;
        self.replacing("mknod", &parent, name, &entry.path, |parent, name| {
            rustix::fs::mknodat(parent, name, kind, Mode::from_raw_mode(0o600), device)
        })?;
        let mode = Mode::from_raw_mode(entry.mode);
        rustix::fs::chmodat(&*parent, OsStr::from_bytes(name), mode, AtFlags::empty())
            .map_err(|error| Failure::write("chmod", &entry.path, error))?;
        self.finish_at(&parent, name, entry)
    }

    /// Handles `.wh.` entries: true if the entry was one.
    pub(super) fn whiteout(&mut self, entry: &Entry) -> Result<bool, Failure> {
        let (directory, name) = split(&entry.path);
        let Some(hidden) = name.strip_prefix(WHITEOUT) else { return Ok(false) };
        if name == OPAQUE {
            let (parent, _) = self.parent(&entry.path)?;
            self.set_opaque(&parent, directory)?;
            return Ok(true);
        }
        if hidden.starts_with(WHITEOUT) {
            // Bookkeeping of aufs (.wh..wh.plnk, .wh..wh.aufs), not content.
            return Ok(true);
        }
        if matches!(hidden, b"" | b"." | b"..") {
            return Err(Failure::hostile(&entry.path, "a whiteout must name an entry"));
        }
        let (parent, _) = self.parent(&entry.path)?;
        let path = [directory, b"/", hidden].concat();
        match file_type(&parent, hidden) {
            // The layer brings the name anew: only what lower layers have there is hidden.
            Some(FileType::Directory) => {
                let directory =
                    open_directory(&parent, hidden).map_err(|error| Failure::write("open", &path, error))?;
                self.set_opaque(&directory, &path)?;
            }
            Some(_) => {}
            None => make_whiteout(&parent, hidden)
                .map_err(|error| Failure::write("make the whiteout of", &path, error))?,
        }
        Ok(true)
    }

    /// `mkdirat`; a directory that is there is taken, anything else is replaced. A directory in
    /// place of a whiteout is opaque: what lower layers have below it stays hidden.
    pub(super) fn make_directory(
        &mut self,
        parent: &OwnedFd,
        name: &[u8],
        path: &[u8],
    ) -> Result<(), Failure> {
        let fail = |error| Failure::write("mkdir", path, error);
        let make = || rustix::fs::mkdirat(parent, OsStr::from_bytes(name), Mode::from_raw_mode(0o700));
        match make() {
            Err(Errno::EXIST) => {}
            result => return result.map_err(fail),
        }
        let kind = file_type(parent, name);
        if kind == Some(FileType::Directory) {
            return Ok(());
        }
        let hidden = kind == Some(FileType::CharacterDevice) && is_whiteout(parent, name);
        self.discard(parent, name, path)?;
        make().map_err(fail)?;
        if hidden {
            let directory = open_directory(parent, name).map_err(fail)?;
            self.set_opaque(&directory, path)?;
        }
        Ok(())
    }

    /// Runs a call that makes `name`; if the name is taken, removes what has it and tries again.
    fn replacing<T>(
        &mut self,
        operation: &'static str,
        parent: &Rc<OwnedFd>,
        name: &[u8],
        path: &[u8],
        make: impl Fn(&OwnedFd, &OsStr) -> rustix::io::Result<T>,
    ) -> Result<T, Failure> {
        let name = OsStr::from_bytes(name);
        match make(parent, name) {
            Err(Errno::EXIST) => {
                self.discard(parent, name.as_bytes(), path)?;
                make(parent, name)
            }
            result => result,
        }
        .map_err(|error| Failure::write(operation, path, error))
    }

    /// Removes an entry; a directory is moved to the trash whole.
    fn discard(&mut self, parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<(), Failure> {
        let name = OsStr::from_bytes(name);
        // Cached parents may be below what goes away.
        self.parents.clear();
        match rustix::fs::unlinkat(parent, name, AtFlags::empty()) {
            Err(Errno::ISDIR | Errno::PERM) => {
                self.trashed += 1;
                rustix::fs::renameat(parent, name, self.trash, self.trashed.to_string())
                    .map_err(|error| Failure::write("replace", path, error))
            }
            result => result.map_err(|error| Failure::write("replace", path, error)),
        }
    }

    fn apply(&self, fd: BorrowedFd<'_>, path: &[u8], metadata: Metadata) -> Result<(), Failure> {
        self.set_owner(fd, path, metadata.uid, metadata.gid)?;
        set_mode(fd, path, metadata.mode)?;
        set_time(fd, path, metadata.mtime)
    }

    /// What is made by root belongs to 0:0 already (no parent is setgid before the end).
    fn set_owner(&self, fd: BorrowedFd<'_>, path: &[u8], uid: u32, gid: u32) -> Result<(), Failure> {
        if !self.privileged || (uid, gid) == (0, 0) {
            return Ok(());
        }
        rustix::fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
            .map_err(|error| Failure::write("chown", path, error))
    }

    /// Owner and time of something that cannot be opened.
    fn finish_at(&self, parent: &OwnedFd, name: &[u8], entry: &Entry) -> Result<(), Failure> {
        let name = OsStr::from_bytes(name);
        if self.privileged && (entry.uid, entry.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(entry.uid), Gid::from_raw(entry.gid));
            rustix::fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
                .map_err(|error| Failure::write("chown", &entry.path, error))?;
        }
        rustix::fs::utimensat(parent, name, &timestamps(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|error| Failure::write("set the time of", &entry.path, error))
    }

    /// Sets `security.capability` and `user.` attributes. What overlayfs itself interprets is
    /// refused; other names mean nothing inside an image (labels, ACLs of the builder) and are left.
    fn set_xattrs(&mut self, fd: BorrowedFd<'_>, entry: &Entry) -> Result<(), Failure> {
        for (name, value) in &entry.xattrs {
            if name.starts_with(b"trusted.overlay.") || name.starts_with(b"user.overlay.") {
                let reason = format!("it sets \"{}\", which is overlayfs's own", name.escape_ascii());
                return Err(Failure::hostile(&entry.path, &reason));
            }
            let wanted = name.starts_with(b"user.") || (name == b"security.capability" && self.privileged);
            if !wanted {
                continue;
            }
            match rustix::fs::fsetxattr(fd, OsStr::from_bytes(name), value, XattrFlags::empty()) {
                // A file system without user attributes (tmpfs before 6.6).
                Err(Errno::OPNOTSUPP) if name.starts_with(b"user.") => {}
                result => {
                    result.and_then(|()| self.known.attribute(fd)).map_err(|error| {
                        Failure::write("set an extended attribute of", &entry.path, error)
                    })?;
                }
            }
        }
        Ok(())
    }

    /// Marks a directory as opaque for overlayfs.
    fn set_opaque(&mut self, directory: &OwnedFd, path: &[u8]) -> Result<(), Failure> {
        let name = if self.privileged { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        // The parent may be an O_PATH descriptor, which has no attributes of its own.
        let directory = rustix::fs::openat(
            directory,
            ".",
            OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
            Mode::empty(),
        )
        .map_err(|error| Failure::write("open", path, error))?;
        rustix::fs::fsetxattr(&directory, name, b"y", XattrFlags::empty())
            .and_then(|()| self.known.attribute(directory.as_fd()))
            .map_err(|error| Failure::write("make opaque", path, error))
    }
}

pub(super) fn file_type(parent: &OwnedFd, name: &[u8]) -> Option<FileType> {
    rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
        .ok()
        .map(|status| FileType::from_raw_mode(status.st_mode))
}

fn is_whiteout(parent: &OwnedFd, name: &[u8]) -> bool {
    rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| status.st_rdev == 0)
}

fn is_same(parent: &OwnedFd, name: &[u8], other: &rustix::fs::Stat) -> bool {
    rustix::fs::statat(parent, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|status| (status.st_dev, status.st_ino) == (other.st_dev, other.st_ino))
}

pub(super) fn open_directory(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(parent, OsStr::from_bytes(name), flags, Mode::empty())
}

/// A whiteout of overlayfs is a character device 0:0.
fn make_whiteout(parent: &OwnedFd, name: &[u8]) -> rustix::io::Result<()> {
    let name = OsStr::from_bytes(name);
    rustix::fs::mknodat(parent, name, FileType::CharacterDevice, Mode::empty(), 0)
}

pub(super) fn set_mode(fd: BorrowedFd<'_>, path: &[u8], mode: u32) -> Result<(), Failure> {
    rustix::fs::fchmod(fd, Mode::from_raw_mode(mode)).map_err(|error| Failure::write("chmod", path, error))
}

fn set_time(fd: BorrowedFd<'_>, path: &[u8], mtime: (i64, u32)) -> Result<(), Failure> {
    rustix::fs::futimens(fd, &timestamps(mtime))
        .map_err(|error| Failure::write("set the time of", path, error))
}

fn timestamps((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    Timestamps { last_access: time, last_modification: time }
}
