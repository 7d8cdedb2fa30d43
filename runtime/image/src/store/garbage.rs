//! Layers and blobs that no image has.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use rustix::fs::FlockOperation;

use super::record::LayerRecord;
use super::{Store, StoreLock, sync_directory, trash, unique_name};
use crate::digest::Digest;
use crate::error::{Error, Result};

/// Characters in the name of a layer's directory.
pub(super) const LAYER_NAME: usize = 26;
/// Extensions of the files beside it.
pub(super) const LAYER_FILES: [&str; 2] = ["json", super::layer::RECIPE];
/// Characters in the name of a blob.
pub(super) const BLOB_NAME: usize = 64;

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layer directories removed.
    pub layers: usize,
    /// Bytes of file content in them.
    pub bytes: u64,
}

/// How much the store holds, in bytes of file content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// All layers.
    pub layers: u64,
    /// Layers that only images have which nobody uses, or none.
    pub reclaimable: u64,
}

/// What is in the store and refers to nothing, or nothing refers to.
#[derive(Debug, Default)]
pub(super) struct Garbage {
    /// Layer directories, with the bytes in them.
    pub(super) layers: Vec<(PathBuf, u64)>,
    /// Records and recipes of layers that aren't there.
    pub(super) records: Vec<PathBuf>,
    /// Manifests, configurations, files of artifacts.
    pub(super) blobs: Vec<PathBuf>,
    /// What interrupted processes left in `tmp/` and `trash/`.
    pub(super) leftovers: Vec<PathBuf>,
}

impl Garbage {
    fn is_empty(&self) -> bool {
        self.layers.is_empty()
            && self.records.is_empty()
            && self.blobs.is_empty()
            && self.leftovers.is_empty()
    }
}

impl Store {
    /// Removes layers and blobs that no image uses. Does nothing while a pull is running: the next
    /// collection gets them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn collect_garbage(&self) -> Result<Collected> {
        let Some(lock) = self.try_lock_exclusive()? else { return Ok(Collected::default()) };
        let garbage = self.garbage(&lock)?;
        let mut collected = Collected::default();
        if !garbage.is_empty() {
            // Nothing that refers to it may come back when the power fails.
            for name in ["images", "names", "artifacts"] {
                sync_directory(&self.root.join(name))?;
            }
        }
        for (path, bytes) in &garbage.layers {
            self.throw_away(path)?;
            for extension in LAYER_FILES {
                trash::remove_all(&path.with_extension(extension))?;
            }
            collected.layers += 1;
            collected.bytes += bytes;
        }
        for path in garbage.records.iter().chain(&garbage.blobs) {
            trash::remove_all(path)?;
        }
        for path in garbage.leftovers.iter().filter(|path| !path.starts_with(self.root.join("trash"))) {
            self.throw_away(path)?;
        }
        drop(lock);
        // However long it takes: nobody waits for it.
        self.empty_trash()?;
        Ok(collected)
    }

    /// What nothing refers to. The lock says that no pull is about to.
    pub(super) fn garbage(&self, _exclusive: &StoreLock) -> Result<Garbage> {
        let records = self.image_records()?;
        let layers: HashSet<_> =
            records.iter().flat_map(|record| &record.layers).map(Digest::short).collect();
        let images = records.iter().flat_map(|record| [record.config.hex(), record.manifest.hex()]);
        let blobs: HashSet<_> = images.chain(self.artifact_blobs()?).collect();
        let mut garbage = Garbage::default();
        for path in self.entries("layers")? {
            let Some(name) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else {
                continue;
            };
            // What we don't make is not ours to remove.
            if layers.contains(&name) || name.len() != LAYER_NAME {
                continue;
            }
            if path.extension().is_none() {
                let record = LayerRecord::read(&path.with_extension("json"));
                garbage.layers.push((path, record.ok().flatten().map_or(0, |layer| layer.size)));
            } else if !path.with_extension("").exists() {
                // The files of a directory that exists go after it.
                garbage.records.push(path);
            }
        }
        let is_unused = |path: &PathBuf| {
            path.file_name()
                .is_some_and(|name| name.len() == BLOB_NAME && !blobs.contains(&*name.to_string_lossy()))
        };
        garbage.blobs = self.entries("blobs/sha256")?.into_iter().filter(is_unused).collect();
        garbage.leftovers = self.entries("tmp")?;
        garbage.leftovers.extend(self.entries("trash")?);
        Ok(garbage)
    }

    /// Takes something out of sight in one step, to be removed by [`Store::empty_trash`].
    pub(super) fn throw_away(&self, path: &Path) -> Result<()> {
        // A process that had our number may have left something there.
        let time = std::time::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
        let doomed = self.root.join("trash").join(format!("{}-{time}", unique_name()));
        match std::fs::rename(path, &doomed) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            result => result.map_err(|error| Error::io("remove", path, error)),
        }
    }

    /// Takes apart what was thrown away, by whomever; one process at a time.
    pub(super) fn empty_trash(&self) -> Result<()> {
        let Some(_lock) = self.flock("trash.lock", FlockOperation::NonBlockingLockExclusive)? else {
            return Ok(());
        };
        let doomed = self.entries("trash")?;
        if doomed.is_empty() {
            return Ok(());
        }
        // Where these came from they must not be seen again, half-empty, after a power cut.
        for name in ["layers", "tmp", "trash"] {
            sync_directory(&self.root.join(name))?;
        }
        doomed.iter().try_for_each(|path| trash::remove_all(path))
    }

    /// How much the layers take, each counted once, and what of it only unused images have; `in_use` are the ids of
    /// used ones.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn usage(&self, in_use: &HashSet<String>) -> Result<Usage> {
        let records = self.image_records()?;
        let used = records.iter().filter(|record| in_use.contains(&record.config.hex()));
        let used: HashSet<_> = used.flat_map(|record| &record.layers).map(Digest::short).collect();
        let mut usage = Usage::default();
        for path in self.entries("layers")? {
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            // A damaged record tells no size; the check of the store finds it.
            let Ok(Some(record)) = LayerRecord::read(&path) else { continue };
            usage.layers += record.size;
            if !used.contains(&record.diff_id.short()) {
                usage.reclaimable += record.size;
            }
        }
        Ok(usage)
    }
}
