//! What a layer's directory holds, as a digest: found out once when it was unpacked, and again by whoever wants to
//! know whether it still is what it was.
//!
//! The digest of the tree covers names, types, modes, owners, sizes, times, link targets, device numbers and the
//! extended attributes that unpacking sets; labels of SELinux, which the host gives, are not among them. That needs
//! no look into the files. The digest of the data is made of a CRC-32 of each file, in the tree's order: enough
//! against disks and power cuts. Against people who may write here no record beside the layer would help.
//!
//! While unpacking, both cost next to nothing: the checksums are made of what passes by anyway, and what is surveyed
//! is in the kernel's caches.

use std::collections::{HashMap, HashSet};
use std::ffi::{CString, OsStr};
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use flate2::Crc;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, SeekFrom, Stat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::digest::{Digest, Hasher};

/// Buffer for files.
const BUFFER: usize = 256 * 1024;
/// Longest list of names of attributes, longest value (`XATTR_LIST_MAX`, `XATTR_SIZE_MAX`).
const ATTRIBUTES: usize = 65536;

/// A layer's directory in short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Contents {
    /// Entries below the root.
    pub(crate) entries: u64,
    /// Digest of everything but the files' content.
    pub(crate) tree: Digest,
    /// Digest of the files' content; absent where it was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) data: Option<Digest>,
}

/// How a directory differs from what was noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Mismatch {
    Entries { noted: u64, found: u64 },
    Tree,
    Data,
}

impl Contents {
    /// Compares with what is there now; the data only where both have it.
    pub(crate) fn differs(&self, now: &Self) -> Option<Mismatch> {
        if self.entries != now.entries {
            return Some(Mismatch::Entries { noted: self.entries, found: now.entries });
        }
        if self.tree != now.tree {
            return Some(Mismatch::Tree);
        }
        let differs = self.data.zip(now.data).is_some_and(|(noted, now)| noted != now);
        differs.then_some(Mismatch::Data)
    }
}

/// What is known of the files already, by inode number.
#[derive(Debug)]
pub(crate) struct Known {
    /// Checksums.
    pub(super) files: HashMap<u64, u32>,
    /// Inodes that have attributes; `None`: look at each.
    attributed: Option<HashSet<u64>>,
    /// Read what is not known.
    read: bool,
}

impl Known {
    /// Nothing is known; the files' content is read if `read` says so.
    pub(crate) fn nothing(read: bool) -> Self {
        Self { files: HashMap::new(), attributed: None, read }
    }

    /// While unpacking: everything that comes to be is noted.
    pub(super) fn everything() -> Self {
        Self { files: HashMap::new(), attributed: Some(HashSet::new()), read: true }
    }

    /// Something got an extended attribute.
    pub(super) fn attribute(&mut self, fd: BorrowedFd<'_>) -> rustix::io::Result<()> {
        let status = rustix::fs::fstat(fd)?;
        self.attributed.get_or_insert_default().insert(status.st_ino);
        Ok(())
    }
}

/// The checksum of a file whose pieces come in order, with holes between them.
#[derive(Debug, Default)]
pub(crate) struct Checksum {
    crc: Crc,
    end: u64,
}

impl Checksum {
    /// The next piece.
    pub(super) fn add_at(&mut self, offset: u64, bytes: &[u8]) {
        self.add_hole_to(offset);
        self.crc.update(bytes);
        self.end += bytes.len() as u64;
    }

    /// Zeros up to an offset, without looking at each.
    pub(super) fn add_hole_to(&mut self, offset: u64) {
        let mut left = offset.saturating_sub(self.end);
        self.end = self.end.max(offset);
        // The checksum of 2^n zeros is that of two times 2^(n-1).
        let mut zeros = Crc::new();
        zeros.update(&[0]);
        while left > 0 {
            if left & 1 == 1 {
                self.crc.combine(&zeros);
            }
            left >>= 1;
            if left > 0 {
                let mut twice = Crc::new();
                twice.combine(&zeros);
                twice.combine(&zeros);
                zeros = twice;
            }
        }
    }

    pub(super) fn sum(&self) -> u32 {
        self.crc.sum()
    }
}

/// Surveys a layer's directory.
///
/// A tree may be deeper than there are descriptors or stack: one directory is open at a time, and the way up is `..`.
/// Nobody but root may change anything below a layer, so that leads back.
///
/// # Errors
/// The kernel's: what can't be read can't be vouched for.
pub(crate) fn survey(root: BorrowedFd<'_>, known: &Known) -> rustix::io::Result<Contents> {
    let mut walk = Walk { known, tree: Hasher::new(), data: Hasher::new(), has_data: true, entries: 0 };
    let mut directory = rustix::fs::openat(root, ".", DIRECTORY, Mode::empty())?;
    walk.note(b"", &rustix::fs::fstat(&directory)?);
    walk.attributes(directory.as_fd(), rustix::fs::fstat(&directory)?.st_ino)?;
    let mut pending = vec![names(&directory)?];
    while let Some(level) = pending.last_mut() {
        let Some(name) = level.pop() else {
            pending.pop();
            walk.tree.update(b"\0up");
            if !pending.is_empty() {
                directory = rustix::fs::openat(&directory, "..", DIRECTORY, Mode::empty())?;
            }
            continue;
        };
        if let Some(below) = walk.entry(&directory, &name)? {
            directory = below;
            pending.push(names(&directory)?);
        }
    }
    let data = walk.has_data.then(|| walk.data.finish());
    Ok(Contents { entries: walk.entries, tree: walk.tree.finish(), data })
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

struct Walk<'a> {
    known: &'a Known,
    tree: Hasher,
    data: Hasher,
    has_data: bool,
    entries: u64,
}

impl Walk<'_> {
    /// Takes an entry in; returns it opened if it is a directory.
    fn entry(&mut self, parent: &OwnedFd, name: &CString) -> rustix::io::Result<Option<OwnedFd>> {
        let status = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?;
        self.entries += 1;
        self.note(name.to_bytes(), &status);
        match FileType::from_raw_mode(status.st_mode) {
            FileType::Directory => {
                let directory = rustix::fs::openat(parent, name, DIRECTORY, Mode::empty())?;
                self.attributes(directory.as_fd(), status.st_ino)?;
                return Ok(Some(directory));
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(parent, name, Vec::new())?;
                self.text(target.to_bytes());
            }
            FileType::RegularFile => self.file(parent, name, &status)?,
            _ => {}
        }
        Ok(None)
    }

    fn note(&mut self, name: &[u8], status: &Stat) {
        self.text(name);
        let kind = FileType::from_raw_mode(status.st_mode);
        // What a directory takes is the file system's matter, and when a whiteout was made is nobody's.
        let size = if kind == FileType::Directory { 0 } else { status.st_size as u64 };
        let is_whiteout = kind == FileType::CharacterDevice && status.st_rdev == 0;
        let time = if is_whiteout { [0, 0] } else { [status.st_mtime as u64, status.st_mtime_nsec] };
        self.tree.update(&status.st_mode.to_le_bytes());
        self.tree.update(&status.st_uid.to_le_bytes());
        self.tree.update(&status.st_gid.to_le_bytes());
        for number in [size, status.st_rdev, time[0], time[1]] {
            self.tree.update(&number.to_le_bytes());
        }
    }

    /// With its length: two texts are not two others that read the same one after the other.
    fn text(&mut self, text: &[u8]) {
        self.tree.update(&(text.len() as u64).to_le_bytes());
        self.tree.update(text);
    }

    fn file(&mut self, parent: &OwnedFd, name: &CString, status: &Stat) -> rustix::io::Result<()> {
        let may_have_attributes = self.may_have_attributes(status.st_ino);
        let noted = self.known.files.get(&status.st_ino).copied();
        let must_read = noted.is_none() && self.known.read;
        if may_have_attributes || must_read {
            let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
            let file = File::from(rustix::fs::openat(parent, name, flags, Mode::empty())?);
            self.attributes(file.as_fd(), status.st_ino)?;
            if must_read {
                let sum = checksum(&file, status.st_size as u64)?;
                self.data.update(&sum.to_le_bytes());
            }
        }
        match noted {
            Some(sum) => self.data.update(&sum.to_le_bytes()),
            None => self.has_data &= must_read,
        }
        Ok(())
    }

    fn may_have_attributes(&self, inode: u64) -> bool {
        self.known.attributed.as_ref().is_none_or(|attributed| attributed.contains(&inode))
    }

    fn attributes(&mut self, fd: BorrowedFd<'_>, inode: u64) -> rustix::io::Result<()> {
        if !self.may_have_attributes(inode) {
            return Ok(());
        }
        let mut list = [0; 1024];
        let list = match rustix::fs::flistxattr(fd, &mut list) {
            Ok(length) => list[..length].to_vec(),
            Err(Errno::OPNOTSUPP) => return Ok(()),
            Err(Errno::RANGE) => {
                let mut list = vec![0; ATTRIBUTES];
                let length = rustix::fs::flistxattr(fd, &mut list[..])?;
                list.truncate(length);
                list
            }
            Err(error) => return Err(error),
        };
        let mut names: Vec<&[u8]> = list.split(|byte| *byte == 0).filter(|name| is_ours(name)).collect();
        names.sort_unstable();
        for name in names {
            let mut value = vec![0; ATTRIBUTES];
            let length = rustix::fs::fgetxattr(fd, OsStr::from_bytes(name), &mut value[..])?;
            self.text(name);
            self.text(&value[..length]);
        }
        Ok(())
    }
}

/// Attributes that unpacking sets; others are the host's.
fn is_ours(name: &[u8]) -> bool {
    name == b"security.capability" || name.starts_with(b"user.") || name.starts_with(b"trusted.overlay.")
}

/// The names in a directory, the last one first.
fn names(directory: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

/// Reads a file's data and leaves its holes out.
fn checksum(file: &File, size: u64) -> rustix::io::Result<u32> {
    let mut checksum = Checksum::default();
    let mut buffer = vec![0; BUFFER.min(usize::try_from(size).unwrap_or(BUFFER).max(1))];
    while checksum.end < size {
        let data = match rustix::fs::seek(file, SeekFrom::Data(checksum.end)) {
            Ok(data) => data,
            // Nothing but a hole up to the end.
            Err(Errno::NXIO) => size,
            // A file system that doesn't tell.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => checksum.end,
            Err(error) => return Err(error),
        };
        checksum.add_hole_to(data.min(size));
        let hole = match rustix::fs::seek(file, SeekFrom::Hole(checksum.end)) {
            Ok(hole) => hole.min(size),
            Err(_) => size,
        };
        rustix::fs::seek(file, SeekFrom::Start(checksum.end))?;
        while checksum.end < hole {
            let wanted = buffer.len().min((hole - checksum.end) as usize);
            let mut file = file;
            let count = file
                .read(&mut buffer[..wanted])
                .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
            if count == 0 {
                return Ok(checksum.sum());
            }
            checksum.add_at(checksum.end, &buffer[..count]);
        }
    }
    Ok(checksum.sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        for (start, hole, end) in [(0, 0, 0), (0, 1, 0), (3, 70_000, 5), (1, 65_536, 0), (5, 4_095, 9)] {
            let mut plain = Crc::new();
            let (before, after) = (vec![7; start], vec![9; end]);
            plain.update(&before);
            plain.update(&vec![0; hole]);
            plain.update(&after);
            let mut checksum = Checksum::default();
            checksum.add_at(0, &before);
            checksum.add_at((start + hole) as u64, &after);
            assert_eq!(checksum.sum(), plain.sum(), "{start} {hole} {end}");
        }
        // An exbibyte of them takes no longer.
        Checksum::default().add_hole_to(1 << 60);
    }

    #[test]
    fn a_file_on_disk_has_the_checksum_of_its_bytes() {
        use std::os::unix::fs::FileExt;
        let directory = tempfile::tempdir().unwrap();
        let file = File::create_new(directory.path().join("file")).unwrap();
        file.write_all_at(b"data", 1 << 20).unwrap();
        file.write_all_at(&[5; 300_000], 3 << 20).unwrap();
        file.set_len(9 << 20).unwrap();
        let bytes = std::fs::read(directory.path().join("file")).unwrap();
        let mut crc = Crc::new();
        crc.update(&bytes);
        let file = File::open(directory.path().join("file")).unwrap();
        assert_eq!(checksum(&file, 9 << 20).unwrap(), crc.sum());
    }

    fn contents(directory: &std::path::Path, read: bool) -> Contents {
        survey(File::open(directory).unwrap().as_fd(), &Known::nothing(read)).unwrap()
    }

    #[test]
    fn every_change_shows() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("a/b")).unwrap();
        std::fs::write(path("a/b/file"), "content").unwrap();
        std::fs::write(path("c"), "").unwrap();
        symlink("c", path("link")).unwrap();
        let time = std::time::UNIX_EPOCH;
        let quiet = |name: &str| File::open(path(name)).unwrap().set_modified(time).unwrap();
        let quiet_all = || ["a/b/file", "a/b", "a", "c", "."].into_iter().for_each(quiet);
        quiet_all();
        let noted = contents(directory.path(), true);
        assert_eq!(noted.entries, 5);
        assert_eq!(noted.differs(&contents(directory.path(), true)), None);
        assert_eq!(contents(directory.path(), false).data, None);

        // Of the same length and time: only the data tells.
        std::fs::write(path("a/b/file"), "CONTENT").unwrap();
        quiet_all();
        assert_eq!(noted.differs(&contents(directory.path(), false)), None);
        assert_eq!(noted.differs(&contents(directory.path(), true)), Some(Mismatch::Data));
        std::fs::write(path("a/b/file"), "content").unwrap();
        quiet_all();
        assert_eq!(noted.differs(&contents(directory.path(), true)), None);

        let mode = |mode| std::fs::set_permissions(path("c"), PermissionsExt::from_mode(mode)).unwrap();
        mode(0o4755);
        assert_eq!(noted.differs(&contents(directory.path(), false)), Some(Mismatch::Tree));
        mode(0o644);
        File::options().write(true).open(path("a/b/file")).unwrap().set_len(3).unwrap();
        quiet_all();
        assert_eq!(noted.differs(&contents(directory.path(), false)), Some(Mismatch::Tree));
        std::fs::remove_file(path("a/b/file")).unwrap();
        let found = Some(Mismatch::Entries { noted: 5, found: 4 });
        assert_eq!(noted.differs(&contents(directory.path(), false)), found);
    }

    #[test]
    fn a_tree_deeper_than_descriptors_is_surveyed() {
        let directory = tempfile::tempdir().unwrap();
        let deep = directory.path().join("d/".repeat(1500));
        std::fs::create_dir_all(deep).unwrap();
        assert_eq!(contents(directory.path(), true).entries, 1500);
    }
}
