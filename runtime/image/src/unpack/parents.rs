//! The way to an entry's parent.
//!
//! The kernel opens it with the layer's root as `/` (`RESOLVE_IN_ROOT`). Where it is missing it is
//! made, component by component, along the same way: a link is followed inside the layer, `..` goes
//! up by name and never above the root.

use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::Failure;
use super::tree::{Tree, file_type, open_directory, set_mode};

/// How many parents stay open; archives are grouped by directory.
const CACHED_PARENTS: usize = 8;
/// How many dangling directory links are followed while missing parents are made.
const MAX_LINKS: usize = 40;
/// Most directories looked up for one missing parent: what its path and some links explain. With
/// more, an archive of links to `../../..` would cost hours.
const MAX_STEPS: usize = 65536;
/// How directories are opened on the way to an entry.
const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Tree<'_> {
    /// Opens the parent of a path, making what is missing, and returns it with the last component.
    pub(super) fn parent<'p>(&mut self, path: &'p [u8]) -> Result<(Rc<OwnedFd>, &'p [u8]), Failure> {
        let (directory, name) = split(path);
        if let Some((_, parent)) = self.parents.iter().find(|(cached, _)| cached == directory) {
            return Ok((Rc::clone(parent), name));
        }
        let parent = Rc::new(self.open_or_make(directory)?);
        if self.parents.len() == CACHED_PARENTS {
            self.parents.pop_front();
        }
        self.parents.push_back((directory.to_vec(), Rc::clone(&parent)));
        Ok((parent, name))
    }

    /// Opens a directory of the layer; missing components are made with mode 0755, as Docker does.
    fn open_or_make(&mut self, path: &[u8]) -> Result<OwnedFd, Failure> {
        match self.open(path, DIRECTORY) {
            Ok(directory) => Ok(directory),
            // NOTDIR: a component is a file, or a whiteout that the layer fills again.
            Err(Errno::NOENT | Errno::NOTDIR) => self.make_path(path),
            Err(error) => Err(Failure::write("open", path, error)),
        }
    }

    /// Goes down a path and makes what is missing, also where a dangling link points to
    /// (`bin -> usr/bin` where `usr/bin` belongs to a lower layer). A loop and no recursion: links
    /// that lead a thousand directories deep through other links would use up a thread's stack.
    fn make_path(&mut self, path: &[u8]) -> Result<OwnedFd, Failure> {
        let mut directory = self.reopen(&[])?;
        // Where `directory` is, without links and `..`; and what is still to go, in reverse.
        let mut here: Vec<Vec<u8>> = Vec::new();
        let mut ahead: Vec<Vec<u8>> = components(path).rev().collect();
        let (mut links, mut steps) = (0, 0);
        while let Some(name) = ahead.pop() {
            steps += if name == b".." { here.len() } else { 1 };
            if steps > MAX_STEPS {
                return Err(Failure::hostile(path, "it leads through too many directories"));
            }
            if name == b".." {
                // By name from the root, which is its own parent: never by the kernel's `..`.
                here.pop();
                directory = self.reopen(&here)?;
                continue;
            }
            here.push(name);
            let name = &here[here.len() - 1];
            match file_type(&directory, name) {
                Some(FileType::Directory) => directory = open_child(&directory, name, path)?,
                Some(FileType::Symlink) => {
                    links += 1;
                    if links > MAX_LINKS {
                        return Err(Failure::hostile(path, "too many levels of symbolic links"));
                    }
                    let target = rustix::fs::readlinkat(&directory, OsStr::from_bytes(name), Vec::new())
                        .map_err(|error| Failure::write("readlink", path, error))?;
                    ahead.extend(components(target.as_bytes()).rev());
                    here.pop();
                    if target.as_bytes().starts_with(b"/") {
                        here.clear();
                        directory = self.reopen(&here)?;
                    }
                }
                Some(FileType::CharacterDevice) | None => {
                    self.count_made(path)?;
                    self.make_directory(&directory, name, path)?;
                    directory = open_child(&directory, name, path)?;
                    set_mode(directory.as_fd(), path, 0o755)?;
                }
                Some(_) => {
                    let file = here.join(&b'/');
                    return Err(Failure::hostile(&file, "it is used as a directory, but is a file"));
                }
            }
        }
        Ok(directory)
    }

    /// Opens a directory by components that are no links.
    fn reopen(&self, here: &[Vec<u8>]) -> Result<OwnedFd, Failure> {
        let path = here.join(&b'/');
        self.open(&path, DIRECTORY | OFlags::NOFOLLOW).map_err(|error| Failure::write("open", &path, error))
    }

    /// Directories that no entry names cost an inode as well: one entry can ask for a thousand.
    fn count_made(&mut self, path: &[u8]) -> Result<(), Failure> {
        self.made += 1;
        if self.made > self.limits.entries {
            let reason =
                format!("it needs more than {} directories that are no entries", self.limits.entries);
            return Err(Failure::hostile(path, &reason));
        }
        Ok(())
    }

    /// Resolves a path with the layer as root directory.
    pub(super) fn open(&self, path: &[u8], flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        let path = if path.is_empty() { b"." } else { path };
        loop {
            match rustix::fs::openat2(self.root, OsStr::from_bytes(path), flags, Mode::empty(), resolve) {
                // A rename elsewhere on the system raced with ".." in a link's target.
                Err(Errno::AGAIN | Errno::INTR) => {}
                result => return result,
            }
        }
    }
}

/// Parent and last component of a normalised path.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|byte| *byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

/// The components of a path or of a link's target, without those that mean nothing.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = Vec<u8>> {
    path.split(|byte| *byte == b'/').filter(|name| !matches!(*name, b"" | b".")).map(<[u8]>::to_vec)
}

/// Opens a directory that was just seen or made, to be gone on from; `path` is for messages. The
/// descriptor is none of `O_PATH`: the mode of what was made is set by it.
fn open_child(parent: &OwnedFd, name: &[u8], path: &[u8]) -> Result<OwnedFd, Failure> {
    open_directory(parent, name).map_err(|error| Failure::write("open", path, error))
}
