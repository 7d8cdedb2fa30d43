//! A file system in memory that forgets: what is on disk after a power cut at some moment.
//!
//! Two kinds. The orderly one has a journal, as ext4 and xfs: changes of directories survive in the order in which
//! they were made, up to some moment that is not before the last sync. The unruly one promises nothing but what
//! fsync(2) says: of the changes since a directory was last synced any may have happened and any not. In both, content
//! that was not synced is lost: the file is empty, or cut, or whole by chance.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{FileType, Mode, XattrFlags};

use super::trace::Call;

/// How a file system behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manners {
    Orderly,
    Unruly,
}

/// Random numbers that a failed test can repeat.
#[derive(Debug)]
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }
}

#[derive(Debug, Clone)]
enum Kind {
    Directory,
    File(Vec<u8>),
    Symlink(Vec<u8>),
    /// A whiteout or FIFO.
    Node(FileType),
}

#[derive(Debug, Clone)]
struct Inode {
    kind: Kind,
    mode: u32,
    time: (i64, u32),
    attributes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Names in directories: each an inode's number.
type Names = BTreeMap<usize, BTreeMap<OsString, usize>>;

/// A change of names.
#[derive(Debug, Clone)]
enum Change {
    Add { directory: usize, name: OsString, inode: usize },
    Remove { directory: usize, name: OsString },
    Move { from: (usize, OsString), to: (usize, OsString), inode: usize },
}

impl Change {
    fn touches(&self, wanted: usize) -> bool {
        match self {
            Change::Add { directory, .. } | Change::Remove { directory, .. } => *directory == wanted,
            Change::Move { from, to, .. } => from.0 == wanted || to.0 == wanted,
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Change::Add { directory, name, inode } => {
                names.entry(*directory).or_default().insert(name.clone(), *inode);
            }
            Change::Remove { directory, name } => {
                names.entry(*directory).or_default().remove(name);
            }
            Change::Move { from, to, inode } => {
                let source = names.entry(from.0).or_default();
                if source.get(&from.1) == Some(inode) {
                    source.remove(&from.1);
                }
                names.entry(to.0).or_default().insert(to.1.clone(), *inode);
            }
        }
    }
}

/// The disk, with what the kernel has and what is safe.
#[derive(Debug, Clone)]
pub(super) struct Disk {
    root: PathBuf,
    inodes: Vec<Inode>,
    /// As the processes see it.
    names: Names,
    /// What survives for certain.
    safe_names: Names,
    safe_inodes: BTreeMap<usize, Inode>,
    /// Changes since, in their order.
    pending: Vec<Change>,
}

impl Disk {
    /// An empty disk whose file system begins at `root`.
    pub(super) fn new(root: &Path) -> Self {
        let top = Inode { kind: Kind::Directory, mode: 0o755, time: (0, 0), attributes: Vec::new() };
        let safe_inodes = BTreeMap::from([(0, top.clone())]);
        Self {
            root: root.to_owned(),
            inodes: vec![top],
            names: Names::new(),
            safe_names: Names::new(),
            safe_inodes,
            pending: Vec::new(),
        }
    }

    /// A call happens.
    pub(super) fn call(&mut self, call: &Call, manners: Manners) {
        match call {
            Call::Create(path) => {
                if self.find(path).is_none() {
                    self.add(path, Kind::File(Vec::new()), 0o600);
                }
            }
            Call::MakeDirectory(path) => self.add(path, Kind::Directory, 0o700),
            Call::Symlink { target, path } => self.add(path, Kind::Symlink(target.clone()), 0o777),
            Call::Node { path, kind } => {
                let mode = kind.rsplit_once('|').and_then(|(_, mode)| u32::from_str_radix(mode, 8).ok());
                let kind = if kind.contains("S_IFCHR") { FileType::CharacterDevice } else { FileType::Fifo };
                self.add(path, Kind::Node(kind), mode.unwrap_or(0o600));
            }
            Call::Write { path, offset, bytes } => self.write(path, *offset, bytes),
            Call::Truncate(path, length) => {
                if let Some(Kind::File(content)) = self.inode(path).map(|inode| &mut inode.kind) {
                    content.resize(*length as usize, 0);
                }
            }
            Call::Mode(path, mode) => {
                if let Some(inode) = self.inode(path) {
                    inode.mode = *mode;
                }
            }
            Call::Time(path, seconds, nanoseconds) => {
                if let Some(inode) = self.inode(path) {
                    inode.time = (*seconds, *nanoseconds);
                }
            }
            Call::Attribute { path, name, value } => {
                if let Some(inode) = self.inode(path) {
                    inode.attributes.push((name.clone(), value.clone()));
                }
            }
            Call::Link(from, to) => {
                if let (Some(inode), Some((directory, name))) = (self.find(from), self.place(to)) {
                    self.change(Change::Add { directory, name, inode });
                }
            }
            Call::Rename(from, to) => {
                if let (Some(inode), Some(from), Some(to)) =
                    (self.find(from), self.place(from), self.place(to))
                {
                    self.change(Change::Move { from, to, inode });
                }
            }
            Call::Remove(path) => {
                if let Some((directory, name)) = self.place(path) {
                    self.change(Change::Remove { directory, name });
                }
            }
            Call::Sync(path) => self.sync(path, manners),
            Call::SyncAll => {
                self.settle(|_| true);
                self.safe_inodes = self.inodes.iter().cloned().enumerate().collect();
            }
            Call::Mark(_) => {}
        }
    }

    fn sync(&mut self, path: &Path, manners: Manners) {
        let Some(number) = self.find(path) else { return };
        self.safe_inodes.insert(number, self.inodes[number].clone());
        match manners {
            // The journal is written up to here.
            Manners::Orderly => self.settle(|_| true),
            Manners::Unruly => self.settle(|change| change.touches(number)),
        }
    }

    /// Makes changes certain.
    fn settle(&mut self, is_safe: impl Fn(&Change) -> bool) {
        let names = &mut self.safe_names;
        self.pending.retain(|change| {
            let safe = is_safe(change);
            if safe {
                change.apply(names);
            }
            !safe
        });
    }

    fn change(&mut self, change: Change) {
        change.apply(&mut self.names);
        self.pending.push(change);
    }

    fn add(&mut self, path: &Path, kind: Kind, mode: u32) {
        let Some((directory, name)) = self.place(path) else { return };
        self.inodes.push(Inode { kind, mode, time: (0, 0), attributes: Vec::new() });
        let inode = self.inodes.len() - 1;
        self.change(Change::Add { directory, name, inode });
    }

    fn write(&mut self, path: &Path, offset: Option<u64>, bytes: &[u8]) {
        let Some(Kind::File(content)) = self.inode(path).map(|inode| &mut inode.kind) else { return };
        let start = offset.map_or(content.len(), |offset| offset as usize);
        content.resize(content.len().max(start + bytes.len()), 0);
        content[start..start + bytes.len()].copy_from_slice(bytes);
    }

    fn inode(&mut self, path: &Path) -> Option<&mut Inode> {
        let number = self.find(path)?;
        self.inodes.get_mut(number)
    }

    /// The inode at a path; nothing outside of this disk has one.
    fn find(&self, path: &Path) -> Option<usize> {
        let mut number = 0;
        for component in path.strip_prefix(&self.root).ok()?.components() {
            match component {
                Component::CurDir => {}
                Component::Normal(name) => number = *self.names.get(&number)?.get(name)?,
                _ => return None,
            }
        }
        Some(number)
    }

    /// Directory and name of a path.
    fn place(&self, path: &Path) -> Option<(usize, OsString)> {
        Some((self.find(path.parent()?)?, path.file_name()?.to_owned()))
    }

    /// What is found after a power cut now, written into a directory.
    pub(super) fn cut(&self, manners: Manners, dice: &mut Dice, into: &Path) {
        let mut names = self.safe_names.clone();
        let survivors = dice.below(self.pending.len() + 1);
        for (index, change) in self.pending.iter().enumerate() {
            let survives = match manners {
                Manners::Orderly => index < survivors,
                Manners::Unruly => dice.below(2) == 0,
            };
            if survives {
                change.apply(&mut names);
            }
        }
        self.write_out(0, &names, dice, into, 0);
    }

    fn write_out(&self, directory: usize, names: &Names, dice: &mut Dice, into: &Path, depth: usize) {
        // A directory moved into one below it by changes out of order: no file system shows that.
        if depth > 40 {
            return;
        }
        for (name, number) in names.get(&directory).into_iter().flatten() {
            let path = into.join(name);
            let inode = self.after_cut(*number, dice);
            match &inode.kind {
                Kind::Directory => {
                    fs::create_dir(&path).unwrap();
                    self.write_out(*number, names, dice, &path, depth + 1);
                }
                Kind::File(content) => fs::write(&path, content).unwrap(),
                Kind::Symlink(target) => {
                    use std::os::unix::ffi::OsStrExt;
                    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(target), &path).unwrap();
                    set_time(&path, inode.time);
                    continue;
                }
                Kind::Node(kind) => {
                    rustix::fs::mknodat(rustix::fs::CWD, &path, *kind, Mode::RWXU, 0).unwrap();
                }
            }
            for (name, value) in &inode.attributes {
                rustix::fs::setxattr(&path, &name[..], value, XattrFlags::empty()).unwrap();
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(inode.mode)).unwrap();
            set_time(&path, inode.time);
        }
    }

    /// An inode as the disk has it.
    fn after_cut(&self, number: usize, dice: &mut Dice) -> Inode {
        if let Some(safe) = self.safe_inodes.get(&number) {
            return safe.clone();
        }
        let mut inode = self.inodes[number].clone();
        if dice.below(2) == 0 {
            inode.attributes.clear();
            inode.mode = 0o700;
        }
        if let Kind::File(content) = &mut inode.kind {
            match dice.below(4) {
                0 => content.truncate(content.len() / 2),
                1 => {}
                2 => content.fill(0),
                _ => content.clear(),
            }
        }
        inode
    }
}

fn set_time(path: &Path, (seconds, nanoseconds): (i64, u32)) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds.into() };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(rustix::fs::CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
