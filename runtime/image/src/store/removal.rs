//! Removing images, and keeping them from it.
//!
//! Between finding an image and writing down the container that uses it, a start holds [`Hold`]. Whoever removes
//! images holds [`Removal`], and asks then, not before, which containers there are. So an image that is about to be
//! used is never removed, and neither waits for a pull.
//!
//! What is kept without being asked: every image that a name leads to, the one before it (what a unit goes back to
//! when the new one is bad), and every image that a container uses.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

use super::images::names_of;
use super::{Collected, Image, Removed, Store, StoreLock};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::registries::Registries;

/// How long a removal waits for starts that are under way; each holds its images for milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it looks.
const POLL: Duration = Duration::from_millis(20);

/// While it lives no image is removed. Readers of an image that nobody is written down as using hold one.
#[derive(Debug)]
pub struct Hold {
    _lock: StoreLock,
}

/// The right to remove images; while it lives no container starts from an image.
#[derive(Debug)]
pub struct Removal<'a> {
    pub(super) store: &'a Store,
    _lock: StoreLock,
}

/// What a [`Removal::prune`] may take.
#[derive(Clone, Copy)]
pub struct Prune<'a> {
    /// Also images with a name, and those that a name led to before. Without it only what no name leads to or led
    /// to before.
    pub all: bool,
    /// Ids of images that containers use: none of them is removed.
    pub in_use: &'a HashSet<String>,
    /// Whether an image that could go is wanted all the same.
    pub keep: &'a dyn Fn(&Image) -> bool,
}

impl std::fmt::Debug for Prune<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prune").field("all", &self.all).field("in_use", &self.in_use).finish_non_exhaustive()
    }
}

/// What a [`Removal::prune`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids of the images that are gone, and the names they had.
    pub images: Vec<(String, Vec<String>)>,
    /// Ids of images without a name that were kept because a name led to them before.
    pub previous: Vec<String>,
    /// Layers that went with them, and those that no image had.
    pub collected: Collected,
}

impl Store {
    /// Keeps images from being removed. Waits while someone removes some, which takes milliseconds.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn hold(&self) -> Result<Hold> {
        let lock = self.flock("use.lock", FlockOperation::LockShared)?;
        Ok(Hold { _lock: lock.ok_or_else(|| self.busy("use.lock"))? })
    }

    /// Whether the image is still there: with a [`Hold`], for as long as that lives.
    pub fn has(&self, image: &Image) -> bool {
        Digest::from_hex(&image.id).is_some_and(|config| self.image_record_path(&config).exists())
    }

    /// The right to remove images. Waits for starts that are under way.
    ///
    /// # Errors
    /// [`Error::Io`]; "resource temporarily unavailable" when one takes unreasonably long.
    pub fn removal(&self) -> Result<Removal<'_>> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(lock) = self.flock("use.lock", FlockOperation::NonBlockingLockExclusive)? {
                return Ok(Removal { store: self, _lock: lock });
            }
            if Instant::now() > deadline {
                return Err(self.busy("use.lock"));
            }
            std::thread::sleep(POLL);
        }
    }
}

impl Removal<'_> {
    /// Removes a name; with the last one (or when `name` is an id) the image, and the layers that no
    /// other image uses.
    ///
    /// `in_use` names the containers that use the image: with any, it is not removed (names other
    /// than the last are). `force` removes all names of an id, and an image in use.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::InUse`], [`Error::SeveralNames`], [`Error::Io`].
    pub fn remove(
        &self,
        name: &str,
        registries: &Registries,
        in_use: &[String],
        force: bool,
    ) -> Result<Removed> {
        let store = self.store;
        let lock = store.lock_records()?;
        let Some((mut record, by_name)) = store.find_record(name, registries)? else {
            return Err(Error::NoSuchImage(name.to_owned()));
        };
        record.names = names_of(&store.name_records()?, &record.config);
        let mut removed = Removed::default();
        if let Some(used) = by_name.filter(|_| record.names.len() > 1) {
            store.remove_name(&used)?;
            record.names.retain(|other| *other != used);
            store.write_image_record(&record)?;
            removed.untagged.push(used);
            return Ok(removed);
        }
        if !in_use.is_empty() && !force {
            return Err(Error::InUse { image: name.to_owned(), containers: in_use.to_vec() });
        }
        if record.names.len() > 1 && !force {
            return Err(Error::SeveralNames { image: name.to_owned(), names: record.names });
        }
        self.forget(&record.config, &record.names)?;
        drop(lock);
        removed.untagged = record.names;
        removed.deleted = Some(record.config.hex());
        removed.collected = store.collect_garbage()?;
        Ok(removed)
    }

    /// Removes images that nothing needs, and what no image has. While a pull runs, layers stay until the next time.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn prune(&self, prune: &Prune<'_>) -> Result<Pruned> {
        let store = self.store;
        let mut pruned = Pruned::default();
        let lock = store.lock_records()?;
        let names = store.name_records()?;
        let previous: HashSet<Digest> = names.iter().filter_map(|name| name.previous).collect();
        // An update that is at work, or was killed at it, may have to go back.
        let on_trial = names.iter().filter(|name| name.trial.is_some());
        let on_trial: HashSet<Digest> =
            on_trial.flat_map(|name| [Some(name.image), name.previous]).flatten().collect();
        for record in store.image_records()? {
            let id = record.config.hex();
            let own = names_of(&names, &record.config);
            let is_needed = prune.in_use.contains(&id) || on_trial.contains(&record.config);
            if is_needed || (!prune.all && !own.is_empty()) {
                continue;
            }
            if !prune.all && previous.contains(&record.config) {
                pruned.previous.push(id);
                continue;
            }
            // One that isn't whole is no image to anybody.
            let image = store.load(record.clone()).ok().flatten();
            if image
                .map(|image| Image { names: own.clone(), ..image })
                .is_some_and(|image| (prune.keep)(&image))
            {
                continue;
            }
            self.forget(&record.config, &own)?;
            pruned.images.push((id, own));
        }
        drop(lock);
        pruned.collected = store.collect_garbage()?;
        Ok(pruned)
    }

    /// Removes an image's record and the names that lead to it; the caller holds the lock of the records.
    pub(super) fn forget(&self, config: &Digest, names: &[String]) -> Result<()> {
        // The record first: names that lead nowhere are no names, an image without names is one.
        let path = self.store.image_record_path(config);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &path, error));
            }
            _ => {}
        }
        names.iter().try_for_each(|name| self.store.remove_name(name))
    }
}
