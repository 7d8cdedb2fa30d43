//! Finding, naming and removing images.

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::{ImageRecord, NameRecord, Store, trash};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::healthcheck::Healthcheck;
use crate::reference::Reference;
use crate::registries::Registries;

/// Shortest beginning of an id that finds an image, in digits.
const MIN_ID_PREFIX: usize = 3;

/// An image in the store, ready to run.
#[derive(Debug, Clone)]
pub struct Image {
    /// Image id: the configuration's digest, 64 hexadecimal digits.
    pub id: String,
    /// Digest of the manifest it was pulled by.
    pub digest: Digest,
    /// Names (`registry/path:tag`) that lead to it, sorted.
    pub names: Vec<String>,
    /// `registry/path@digest` names that it was pulled by, sorted.
    pub repo_digests: Vec<String>,
    /// Unpacked size of all layers in bytes.
    pub size: u64,
    /// When it was built, RFC 3339, as its configuration says.
    pub created: Option<String>,
    /// The image configuration.
    pub config: ImageConfiguration,
    /// The check of a container's health that the configuration names, in Docker's extension of it.
    pub healthcheck: Option<Healthcheck>,
    /// Layer directories for overlayfs, topmost first, each once.
    pub layers: Vec<PathBuf>,
    /// Whether a link in it leads to `/dev/stdout` or `/dev/stderr`: its programs open their output anew.
    pub links_to_output: bool,
}

/// What [`Store::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that no longer exist.
    pub untagged: Vec<String>,
    /// Id of the image, if it is gone.
    pub deleted: Option<String>,
    /// Layers that went with it.
    pub collected: Collected,
}

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layer directories removed.
    pub layers: usize,
    /// Bytes of file content in them.
    pub bytes: u64,
}

impl Store {
    /// Finds an image by name, short name (as `registries.conf` resolves it, and below
    /// `localhost/`), `name@digest`, id or the unique beginning of an id.
    ///
    /// By a name it reads three small files, and one per layer. An image of which a layer is
    /// missing is not found.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] for an id prefix of several images, [`Error::Io`], [`Error::Corrupt`].
    pub fn find(&self, name: &str, registries: &Registries) -> Result<Option<Image>> {
        match self.find_record(name, registries)? {
            Some((record, _)) => self.load(record),
            None => Ok(None),
        }
    }

    /// All whole images, sorted by id.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn images(&self) -> Result<Vec<Image>> {
        let names = self.name_records()?;
        let mut images = Vec::new();
        for mut record in self.image_records()? {
            record.names = names_of(&names, &record.config);
            images.extend(self.load(record)?);
        }
        Ok(images)
    }

    /// Gives an image a further name; the name is taken from the image that had it.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`] when the image was removed meanwhile, [`Error::Io`],
    /// [`Error::InvalidReference`] for a name with a digest.
    pub fn tag(&self, image: &Image, name: &Reference) -> Result<()> {
        if name.digest().is_some() {
            return Err(Error::reference(&name.to_string(), "a tag cannot have a digest"));
        }
        let _lock = self.lock_records()?;
        let gone = || Error::NoSuchImage(image.id.clone());
        let config = Digest::from_hex(&image.id).ok_or_else(gone)?;
        let record = self.image_record(&config)?.ok_or_else(gone)?;
        self.set_name(&NameRecord { name: name.to_string(), image: record.config, digest: None })
    }

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
        let lock = self.lock_records()?;
        let Some((mut record, by_name)) = self.find_record(name, registries)? else {
            return Err(Error::NoSuchImage(name.to_owned()));
        };
        record.names = names_of(&self.name_records()?, &record.config);
        let mut removed = Removed::default();
        if let Some(used) = by_name.filter(|_| record.names.len() > 1) {
            self.remove_name(&used)?;
            record.names.retain(|other| *other != used);
            self.write_image_record(&record)?;
            removed.untagged.push(used);
            return Ok(removed);
        }
        if !in_use.is_empty() && !force {
            return Err(Error::InUse { image: name.to_owned(), containers: in_use.to_vec() });
        }
        if record.names.len() > 1 && !force {
            return Err(Error::SeveralNames { image: name.to_owned(), names: record.names });
        }
        // The record first: names that lead nowhere are no names, an image without names is one.
        let path = self.image_record_path(&record.config);
        std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
        for name in &record.names {
            self.remove_name(name)?;
        }
        drop(lock);
        removed.untagged = record.names;
        removed.deleted = Some(record.config.hex());
        removed.collected = self.collect_garbage()?;
        Ok(removed)
    }

    /// Removes layers and blobs that no image uses. Does nothing while a pull is running: the next
    /// collection gets them.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn collect_garbage(&self) -> Result<Collected> {
        let Some(_lock) = self.try_lock_exclusive()? else { return Ok(Collected::default()) };
        let records = self.image_records()?;
        let layers: HashSet<_> =
            records.iter().flat_map(|record| &record.layers).map(Digest::short).collect();
        let images = records.iter().flat_map(|record| [record.config.hex(), record.manifest.hex()]);
        let blobs: HashSet<_> = images.chain(self.artifact_blobs()?).collect();
        let collected = self.collect_layers(&layers)?;
        for path in self.entries("blobs/sha256")? {
            if !path.file_name().is_some_and(|name| blobs.contains(&*name.to_string_lossy())) {
                trash::remove_all(&path)?;
            }
        }
        Ok(collected)
    }

    /// Records a complete image and its names; everything it refers to must be there and synced.
    pub(crate) fn add_image(&self, image: ImageRecord, names: &[NameRecord]) -> Result<Image> {
        let _lock = self.lock_records()?;
        let config = image.config;
        let mut record = image;
        if let Some(old) = self.image_record(&config)? {
            record.names = old.names;
            record.repo_digests.extend(old.repo_digests);
        }
        record.repo_digests.sort();
        record.repo_digests.dedup();
        self.write_image_record(&record)?;
        for name in names {
            self.set_name(name)?;
        }
        let missing = || Error::NoSuchImage(config.hex());
        let record = self.image_record(&config)?.ok_or_else(missing)?;
        self.load(record)?.ok_or_else(missing)
    }

    /// Moves a name to an image. The name's own file is the truth and changes in one step; the
    /// lists in the images' records follow.
    fn set_name(&self, name: &NameRecord) -> Result<()> {
        let old = self.name_record(&name.name)?;
        self.write_name_record(name)?;
        if let Some(old) = old.filter(|old| old.image != name.image)
            && let Some(mut record) = self.image_record(&old.image)?
        {
            record.names.retain(|other| *other != name.name);
            self.write_image_record(&record)?;
        }
        if let Some(mut record) = self.image_record(&name.image)?
            && !record.names.contains(&name.name)
        {
            record.names.push(name.name.clone());
            record.names.sort();
            self.write_image_record(&record)?;
        }
        Ok(())
    }

    pub(super) fn remove_name(&self, name: &str) -> Result<()> {
        let path = self.name_record_path(name);
        std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))
    }

    /// The record that a name or id leads to, and the full name if it was one.
    pub(super) fn find_record(
        &self,
        name: &str,
        registries: &Registries,
    ) -> Result<Option<(ImageRecord, Option<String>)>> {
        let candidates = registries.resolve_locally(name);
        for reference in &candidates {
            let text = reference.to_string();
            if let Some(found) = self.name_record(&text)?
                && let Some(record) = self.image_record(&found.image)?
            {
                return Ok(Some((record, Some(text))));
            }
        }
        if let Some(record) = self.find_by_id(name.strip_prefix("sha256:").unwrap_or(name))? {
            return Ok(Some((record, None)));
        }
        let with_digest = candidates.into_iter().filter(|reference| reference.digest().is_some());
        for reference in with_digest {
            let text = reference.to_string();
            let found = self.image_records()?.into_iter().find(|record| record.repo_digests.contains(&text));
            if let Some(record) = found {
                return Ok(Some((record, None)));
            }
        }
        Ok(None)
    }

    fn find_by_id(&self, prefix: &str) -> Result<Option<ImageRecord>> {
        let hexadecimal = prefix.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if !hexadecimal || !(MIN_ID_PREFIX..=64).contains(&prefix.len()) {
            return Ok(None);
        }
        if let Some(whole) = Digest::from_hex(prefix) {
            return self.image_record(&whole);
        }
        let mut found: Vec<_> = self
            .image_records()?
            .into_iter()
            .filter(|record| record.config.hex().starts_with(prefix))
            .collect();
        if found.len() > 1 {
            let ids = found.iter().map(|record| record.config.hex()[..12].to_owned()).collect();
            return Err(Error::Ambiguous { prefix: prefix.to_owned(), ids });
        }
        Ok(found.pop())
    }

    /// The image of a record; `None` when a layer or the configuration is missing.
    pub(super) fn load(&self, record: ImageRecord) -> Result<Option<Image>> {
        let mut layers = Vec::with_capacity(record.layers.len());
        let mut links_to_output = false;
        for diff_id in record.layers.iter().rev() {
            let Some(layer) = self.layer(diff_id)? else {
                log::warn!("image {}: layer {diff_id} is missing; pull it again", record.config.hex());
                return Ok(None);
            };
            links_to_output |= layer.links_to_output;
            layers.push(self.layer_path(diff_id));
        }
        let path = self.blob_path(&record.config);
        let Ok(bytes) = std::fs::read(&path) else {
            log::warn!("image {}: its configuration is missing; pull it again", record.config.hex());
            return Ok(None);
        };
        if Digest::of(&bytes) != record.config {
            let reason = "it does not have its digest; remove it and pull the image again";
            return Err(Error::corrupt("configuration", path.display().to_string(), reason));
        }
        let config: ImageConfiguration = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt("configuration", path.display().to_string(), error.to_string())
        })?;
        Ok(Some(Image {
            id: record.config.hex(),
            digest: record.manifest,
            names: record.names,
            repo_digests: record.repo_digests,
            size: record.size,
            created: config.created().clone(),
            healthcheck: Healthcheck::of(&bytes),
            config,
            layers,
            links_to_output,
        }))
    }

    fn collect_layers(&self, wanted: &HashSet<String>) -> Result<Collected> {
        let mut collected = Collected::default();
        for path in self.entries("layers")? {
            let Some(name) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else {
                continue;
            };
            if wanted.contains(&name) {
                continue;
            }
            if path.extension().is_some() {
                // The record of a directory that exists goes after it.
                if !path.with_extension("").exists() {
                    trash::remove_all(&path)?;
                }
                continue;
            }
            let record = path.with_extension("json");
            let size = super::record::LayerRecord::read(&record).ok().flatten().map_or(0, |layer| layer.size);
            // Out of sight in one step, however long the removal takes.
            let doomed = self.root.join("tmp").join(format!("{name}.removed"));
            trash::remove_all(&doomed)?;
            std::fs::rename(&path, &doomed).map_err(|error| Error::io("remove", &path, error))?;
            trash::remove_all(&record)?;
            trash::remove_all(&path.with_extension(super::layer::RECIPE))?;
            trash::remove_all(&doomed)?;
            collected.layers += 1;
            collected.bytes += size;
        }
        Ok(collected)
    }

    pub(crate) fn entries(&self, directory: &str) -> Result<Vec<PathBuf>> {
        let path = self.root.join(directory);
        std::fs::read_dir(&path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|error| Error::io("read", &path, error))
    }
}

fn names_of(names: &[NameRecord], config: &Digest) -> Vec<String> {
    names.iter().filter(|name| name.image == *config).map(|name| name.name.clone()).collect()
}
