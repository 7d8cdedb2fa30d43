//! The store: images and unpacked layers below one directory.
//!
//! ```text
//! blobs/sha256/<digest>     manifests, configurations and files of artifacts, as they came
//! layers/<26 characters>/   unpacked layers, named by the beginning of their diff id in base 32
//! layers/<…>.json           the layer's whole diff id and size; written before the directory
//! layers/<…>.recipe         how the layer's archive is made again of the directory
//! images/<id>.json          one record per image
//! artifacts/<digest of name> one record per artifact
//! names/<digest of name>    one record per name: which image it leads to
//! tmp/                      what is being written; everything in it may be deleted
//! trash/                    what is being deleted
//! lock, records.lock, use.lock, trash.lock    flock(2) files
//! ```
//!
//! There is no database. Every file and directory is complete before it is renamed to its name, and
//! what it refers to is there before it, so a process may die at any moment (and the machine too:
//! what is renamed was synced). Deletion goes the other way round: what refers to a thing is gone,
//! and synced, before the thing is moved to `trash/`, and that is synced before it is taken apart.
//! Readers take no lock.
//!
//! `lock` is held shared by whoever writes and exclusively (never waiting for it) by whoever
//! deletes; `records.lock` serialises changes of records. Each layer being fetched has a lock of its own (see [`staging`]).
//! `use.lock` is held shared from finding an image until the container that uses it is written down ([`Hold`]), and
//! exclusively by whoever removes images ([`Removal`]), so that none is removed under a start. `check` (fsck) finds
//! what breaks these rules all the same: disks lie, and people have root.

mod check;
mod garbage;
mod images;
mod label;
pub(crate) mod layer;
mod names;
mod record;
mod removal;
mod staging;
#[cfg(test)]
mod tests;
mod trash;
mod trial;

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags};
use rustix::io::Errno;

use crate::digest::Digest;
use crate::error::{Error, Result};

pub use check::{Broken, Checked, Depth, Fault, Repaired};
pub use garbage::{Collected, Usage};
pub use images::{Image, Removed};
use record::TrialRecord;
pub(crate) use record::{ImageRecord, NameRecord};
pub use removal::{Hold, Prune, Pruned, Removal};
pub(crate) use staging::{Staged, Staging};
pub(crate) use trash::remove_all;
pub use trial::Trial;

/// Where images live unless the caller says otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/sampan";

/// Images and layers below one directory, usually [`DEFAULT_ROOT`]. Any number of processes may
/// have it open.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// A lock on the whole store; released when dropped.
#[derive(Debug)]
pub(crate) struct StoreLock {
    _file: File,
}

/// A directory in `tmp/` for this process alone; removed when dropped.
#[derive(Debug)]
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Should this fail: tmp/ is cleaned at the next opening.
        let _ = trash::remove_all(&self.0);
    }
}

/// The right to change records, and to write in `tmp/` for that.
#[derive(Debug)]
pub(crate) struct RecordsLock {
    _records: StoreLock,
    _shared: StoreLock,
}

/// What a store consists of.
const DIRECTORIES: [&str; 8] =
    ["blobs", "blobs/sha256", "layers", "images", "names", "artifacts", "tmp", "trash"];

impl Store {
    /// Opens the store below `root`, making its directories if need be, and removes what an
    /// interrupted pull left (unless another one is running).
    ///
    /// # Errors
    /// [`Error::Io`] when a directory cannot be made or read, [`Error::NoSpace`].
    pub fn open(root: &Path) -> Result<Self> {
        let store = Self { root: root.to_owned() };
        if DIRECTORIES.iter().any(|name| !root.join(name).is_dir()) {
            store.make_directories()?;
        }
        store.clean()?;
        Ok(store)
    }

    /// The directory it was opened with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn make_directories(&self) -> Result<()> {
        let above: Vec<_> = self.root.ancestors().skip(1).collect();
        let there = above.iter().take_while(|path| !path.exists()).count();
        make_directory(&self.root, 0o711)?;
        // 0700: programs of images, setuid ones among them, are not for the host's users.
        for name in DIRECTORIES {
            make_directory(&self.root.join(name), 0o700)?;
        }
        label::give(&self.root)?;
        // A power cut must not take the directories from around a complete image.
        for path in [self.root.join("blobs"), self.root.clone()] {
            sync_directory(&path)?;
        }
        above.iter().take(there + 1).filter(|path| path.is_dir()).try_for_each(|path| sync_directory(path))
    }

    /// Removes everything in `tmp/` if no pull is running.
    fn clean(&self) -> Result<()> {
        let tmp = self.root.join("tmp");
        let mut entries = std::fs::read_dir(&tmp).map_err(|error| Error::io("read", &tmp, error))?;
        if entries.next().is_none() {
            return Ok(());
        }
        match self.try_lock_exclusive()? {
            Some(_lock) => self.clean_locked(),
            None => Ok(()),
        }
    }

    fn clean_locked(&self) -> Result<()> {
        let tmp = self.root.join("tmp");
        for entry in std::fs::read_dir(&tmp).map_err(|error| Error::io("read", &tmp, error))? {
            let entry = entry.map_err(|error| Error::io("read", &tmp, error))?;
            trash::remove_all(&entry.path())?;
        }
        Ok(())
    }

    /// Keeps everyone from deleting. Waits while someone is deleting.
    pub(crate) fn lock_shared(&self) -> Result<StoreLock> {
        self.flock("lock", FlockOperation::LockShared)?.ok_or_else(|| self.busy("lock"))
    }

    /// The right to delete, if no pull is running and nobody else is deleting.
    pub(crate) fn try_lock_exclusive(&self) -> Result<Option<StoreLock>> {
        self.flock("lock", FlockOperation::NonBlockingLockExclusive)
    }

    /// The right to change records. Waits for whoever else has it.
    pub(crate) fn lock_records(&self) -> Result<RecordsLock> {
        let shared = self.lock_shared()?;
        let records = self.flock("records.lock", FlockOperation::LockExclusive)?;
        let records = records.ok_or_else(|| self.busy("records.lock"))?;
        Ok(RecordsLock { _records: records, _shared: shared })
    }

    fn busy(&self, name: &str) -> Error {
        Error::io("lock", &self.root.join(name), Errno::WOULDBLOCK)
    }

    fn flock(&self, name: &str, operation: FlockOperation) -> Result<Option<StoreLock>> {
        let path = self.root.join(name);
        let file = open_lock(&path)?;
        loop {
            match rustix::fs::flock(&file, operation) {
                Ok(()) => return Ok(Some(StoreLock { _file: file })),
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(Error::io("lock", &path, error)),
            }
        }
    }

    /// An unnamed file in the store, for what must be on disk but is not kept.
    pub(crate) fn unnamed_file(&self) -> Result<File> {
        let directory = self.root.join("tmp");
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        rustix::fs::open(&directory, flags, Mode::from_raw_mode(0o600))
            .map(File::from)
            .map_err(|error| Error::io("make a file in", &directory, error))
    }

    /// A directory for a program's files, which nobody else can look into. The caller holds the store's lock.
    pub(crate) fn scratch(&self) -> Result<Scratch> {
        let path = self.root.join(format!("tmp/{}", unique_name()));
        make_directory(&path, 0o700)?;
        // Programs are given the path, and have another working directory.
        let path = std::path::absolute(&path).map_err(|error| Error::io("resolve", &path, error))?;
        Ok(Scratch(path))
    }

    /// Writes a file whole: temporary name, sync, rename, sync of the directory.
    pub(crate) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        self.write_renamed(path, bytes, |file| file.sync_all())?;
        sync_parent(path)
    }

    /// Writes a file under a temporary name and renames it; on failure nothing stays.
    fn write_renamed(
        &self,
        path: &Path,
        bytes: &[u8],
        sync: impl Fn(&File) -> std::io::Result<()>,
    ) -> Result<()> {
        let temporary = self.root.join(format!("tmp/{}", unique_name()));
        let mut file =
            File::create_new(&temporary).map_err(|error| Error::io("create", &temporary, error))?;
        let result = file
            .write_all(bytes)
            .and_then(|()| sync(&file))
            .and_then(|()| std::fs::rename(&temporary, path))
            .map_err(|error| Error::io("write", path, error));
        if result.is_err() {
            // Should this fail too: tmp/ is cleaned at the next opening.
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }

    /// Path of a manifest or configuration.
    pub(crate) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// Keeps a verified manifest or configuration. One that is there but was damaged is replaced.
    pub(crate) fn keep_blob(&self, digest: &Digest, bytes: &[u8]) -> Result<()> {
        let path = self.blob_path(digest);
        match std::fs::read(&path) {
            Ok(there) if there == bytes => Ok(()),
            _ => self.write_file(&path, bytes),
        }
    }

    /// Whether a blob of this size is there; nothing half-written ever has its name.
    pub(crate) fn has_blob(&self, digest: &Digest, size: u64) -> bool {
        std::fs::metadata(self.blob_path(digest)).is_ok_and(|metadata| metadata.len() == size)
    }

    /// Keeps a blob that `fetch` writes and verifies.
    pub(crate) fn fetch_blob(
        &self,
        digest: &Digest,
        fetch: impl FnOnce(&mut File) -> Result<()>,
    ) -> Result<()> {
        let (path, temporary) = (self.blob_path(digest), self.root.join(format!("tmp/{}", unique_name())));
        let mut file =
            File::create_new(&temporary).map_err(|error| Error::io("create", &temporary, error))?;
        let result = fetch(&mut file).and_then(|()| {
            let kept = file.sync_all().and_then(|()| std::fs::rename(&temporary, &path));
            kept.map_err(|error| Error::io("write", &path, error))
        });
        if result.is_err() {
            // Should this fail too: tmp/ is cleaned at the next opening.
            let _ = std::fs::remove_file(&temporary);
        }
        result.and_then(|()| sync_parent(&path))
    }

    /// Directory of an unpacked layer.
    pub(crate) fn layer_path(&self, diff_id: &Digest) -> PathBuf {
        self.root.join("layers").join(diff_id.short())
    }
}

fn make_directory(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(mode);
    builder.create(path).map_err(|error| Error::io("create", path, error))
}

fn open_lock(path: &Path) -> Result<File> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::open(path, flags, Mode::from_raw_mode(0o600))
        .map(File::from)
        .map_err(|error| Error::io("open", path, error))
}

fn open_directory(path: &Path) -> Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).map_err(|error| Error::io("open", path, error))
}

fn sync_parent(path: &Path) -> Result<()> {
    path.parent().map_or(Ok(()), sync_directory)
}

fn sync_directory(path: &Path) -> Result<()> {
    // The place of a store may be reached through a link, so here one is followed.
    let directory = File::open(path).map_err(|error| Error::io("open", path, error))?;
    rustix::fs::fsync(directory.as_fd()).map_err(|error| Error::io("sync", path, error))
}

/// A name that no other process or thread uses.
fn unique_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}
