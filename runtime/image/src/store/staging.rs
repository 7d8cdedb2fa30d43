//! Layers on their way in.
//!
//! A layer is unpacked into `tmp/<short>/root` under the flock of `tmp/<short>.lock`. Whoever wants
//! the same layer meanwhile waits for that lock and reads from the lock file how many bytes the
//! holder has received. Finished layers are made visible in batches: one `syncfs`, then the renames.
//! A thread holds at most one layer lock while it waits for another, so there is no deadlock.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use rustix::io::Errno;

use super::record::LayerRecord;
use super::{Store, make_directory, open_directory, open_lock, sync_parent, trash};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::unpack::Unpacked;

/// How often a waiting process looks.
const POLL: Duration = Duration::from_millis(50);

/// The right and the place to unpack one layer. Dropped without [`Staging::finish`], it leaves
/// nothing behind.
#[derive(Debug)]
pub(crate) struct Staging<'a> {
    store: &'a Store,
    diff_id: Digest,
    lock: File,
    received: AtomicU64,
}

/// A layer that is unpacked and verified but not yet visible.
#[derive(Debug)]
pub(crate) struct Staged<'a> {
    staging: Staging<'a>,
    unpacked: Unpacked,
}

impl Store {
    /// The record of a layer that is there, whole.
    pub(crate) fn layer(&self, diff_id: &Digest) -> Result<Option<LayerRecord>> {
        let path = self.layer_path(diff_id);
        if !path.is_dir() {
            return Ok(None);
        }
        let record = match LayerRecord::read(&path.with_extension("json")) {
            // A layer that can't be vouched for is none: it is fetched again.
            Err(error @ Error::Corrupt { .. }) => {
                log::warn!("{error}");
                None
            }
            read => read?,
        };
        // The directory's name holds only the beginning of the digest.
        Ok(record.filter(|record| record.diff_id == *diff_id))
    }

    /// Waits for the right to unpack a layer; `None` when another process brought it meanwhile.
    /// `waiting` is told the bytes that the other process has received so far.
    ///
    /// # Errors
    /// [`Error::Stalled`] when it has received none for as long as `patience`.
    pub(crate) fn stage(
        &self,
        diff_id: Digest,
        patience: Duration,
        waiting: &dyn Fn(u64),
    ) -> Result<Option<Staging<'_>>> {
        let path = self.root.join(format!("tmp/{}.lock", diff_id.short()));
        let mut seen = (0, Instant::now());
        let lock = loop {
            let lock = open_lock(&path)?;
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_linked(&lock) => break lock,
                // The holder finished and removed the file between our open and flock.
                Ok(()) => continue,
                Err(Errno::WOULDBLOCK) => {
                    let mut bytes = [0; 8];
                    if lock.read_exact_at(&mut bytes, 0).is_ok() {
                        let bytes = u64::from_ne_bytes(bytes);
                        waiting(bytes);
                        if bytes != seen.0 {
                            seen = (bytes, Instant::now());
                        }
                    }
                    if seen.1.elapsed() >= patience {
                        return Err(Error::Stalled {
                            registry: "another process, which fetches the same layer,".to_owned(),
                            what: format!("layer {diff_id}"),
                            timeout: patience,
                        });
                    }
                    std::thread::sleep(POLL);
                }
                Err(Errno::INTR) => {}
                Err(error) => return Err(Error::io("lock", &path, error)),
            }
        };
        let staging = Staging { store: self, diff_id, lock, received: AtomicU64::new(0) };
        if self.layer(&diff_id)?.is_some() {
            return Ok(None);
        }
        staging.clear()?;
        Ok(Some(staging))
    }

    /// Makes layers visible: everything synced once, then renamed.
    pub(crate) fn commit(&self, layers: Vec<Staged<'_>>) -> Result<()> {
        let Some(first) = layers.first() else { return Ok(()) };
        for layer in &layers {
            let record = LayerRecord {
                diff_id: layer.staging.diff_id,
                size: layer.unpacked.bytes,
                links_to_output: layer.unpacked.links_to_output,
                contents: Some(layer.unpacked.contents),
            };
            let path = self.layer_path(&record.diff_id).with_extension("json");
            // Synced with everything else, below.
            self.write_renamed(&path, &record.to_json(), |_| Ok(()))?;
        }
        let directory = open_directory(&self.root.join("layers"))?;
        rustix::fs::syncfs(&directory).map_err(|error| Error::io("sync", &self.root, error))?;
        for layer in &layers {
            let path = self.layer_path(&layer.staging.diff_id);
            // Without a record, or with another's whose digest begins alike: nobody's.
            self.throw_away(&path)?;
            let recipe = path.with_extension(super::layer::RECIPE);
            match std::fs::rename(layer.staging.path().join("recipe"), &recipe) {
                // Made without one: it can run, but not be saved.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => trash::remove_all(&recipe)?,
                renamed => renamed.map_err(|error| Error::io("create", &recipe, error))?,
            }
            std::fs::rename(layer.staging.path().join("root"), &path)
                .map_err(|error| Error::io("create", &path, error))?;
        }
        sync_parent(&self.layer_path(&first.staging.diff_id))
    }
}

impl<'a> Staging<'a> {
    /// Directories to unpack into: the layer's root, and one for what entries replace.
    pub(crate) fn directories(&self) -> Result<(OwnedFd, OwnedFd)> {
        let path = self.path();
        make_directory(&path, 0o700)?;
        for (name, mode) in [("root", 0o755), ("trash", 0o700)] {
            make_directory(&path.join(name), mode)?;
        }
        let root = open_directory(&path.join("root"))?;
        // The umask has no say in what a layer without an entry for its root looks like.
        rustix::fs::fchmod(&root, rustix::fs::Mode::from_raw_mode(0o755))
            .map_err(|error| Error::io("chmod", &path, error))?;
        Ok((root, open_directory(&path.join("trash"))?))
    }

    /// The file for the recipe that makes the layer's archive again.
    pub(crate) fn recipe(&self) -> Result<std::io::BufWriter<File>> {
        let path = self.path().join("recipe");
        let file = File::create_new(&path).map_err(|error| Error::io("create", &path, error))?;
        Ok(std::io::BufWriter::new(file))
    }

    /// Tells waiting processes how far this one is.
    pub(crate) fn received(&self, bytes: u64) {
        let total = self.received.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Only a display depends on it.
        let _ = self.lock.write_all_at(&total.to_ne_bytes(), 0);
    }

    /// The layer is unpacked and verified.
    pub(crate) fn finish(self, unpacked: Unpacked) -> Staged<'a> {
        Staged { staging: self, unpacked }
    }

    /// The store's directory, for messages.
    pub(crate) fn store_root(&self) -> &std::path::Path {
        &self.store.root
    }

    fn path(&self) -> PathBuf {
        self.store.root.join("tmp").join(self.diff_id.short())
    }

    /// Removes what an interrupted pull left.
    fn clear(&self) -> Result<()> {
        // Whoever waited reads from the beginning.
        self.lock.set_len(0).map_err(|error| Error::io("write", &self.path(), error))?;
        trash::remove_all(&self.path())
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        let removed = trash::remove_all(&self.path());
        if let Err(error) = removed {
            log::warn!("{error}; it is removed at the next pull");
        }
        // Waiters look at the layer again, so the file's identity does not matter any more.
        let _ = std::fs::remove_file(self.path().with_extension("lock"));
    }
}

/// Whether a lock file still has its name.
fn is_linked(file: &File) -> bool {
    rustix::fs::fstat(file).is_ok_and(|status| status.st_nlink > 0)
}
