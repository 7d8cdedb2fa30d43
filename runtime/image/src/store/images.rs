//! Finding, naming and removing images.

use std::path::PathBuf;

use oci_spec::image::ImageConfiguration;

use super::{Collected, ImageRecord, NameRecord, Store};
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

impl Store {
    /// Finds an image by name, short name (as `registries.conf` resolves it, and below
    /// `localhost/`), `name@digest`, id or the unique beginning of an id.
    ///
    /// By a name it reads three small files, however many layers there are. An image of which a layer is
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
        self.set_name(NameRecord::new(name.to_string(), record.config, None))
    }

    /// Records a complete image and its names; everything it refers to must be there and synced.
    pub(crate) fn add_image(&self, image: ImageRecord, names: &[NameRecord]) -> Result<Image> {
        let _lock = self.lock_records()?;
        let config = image.config;
        let mut record = image;
        if let Some(old) = readable(self.image_record(&config))? {
            record.names = old.names;
            record.repo_digests.extend(old.repo_digests);
        }
        record.repo_digests.sort();
        record.repo_digests.dedup();
        self.write_image_record(&record)?;
        for name in names {
            self.set_name(name.clone())?;
        }
        let missing = || Error::NoSuchImage(config.hex());
        let record = self.image_record(&config)?.ok_or_else(missing)?;
        self.load(record)?.ok_or_else(missing)
    }

    /// Moves a name to an image. The name's own file is the truth and changes in one step; the
    /// lists in the images' records follow.
    pub(super) fn set_name(&self, mut name: NameRecord) -> Result<()> {
        let old = readable(self.name_record(&name.name))?;
        if let Some(old) = &old {
            match old.image == name.image {
                true => (name.previous, name.trial) = (old.previous, name.trial.or(old.trial.clone())),
                false => name.previous = Some(old.image),
            }
        }
        self.write_name_record(&name)?;
        if let Some(old) = old.filter(|old| old.image != name.image)
            && let Some(mut record) = readable(self.image_record(&old.image))?
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
        let mut links_to_output = record.links_to_output.unwrap_or(false);
        for diff_id in record.layers.iter().rev() {
            let path = self.layer_path(diff_id);
            // A directory has its record before it is there, and the image's says all that a start wants to know.
            let is_there = match record.links_to_output {
                Some(_) => path.is_dir(),
                None => self.layer(diff_id)?.is_some_and(|layer| {
                    links_to_output |= layer.links_to_output;
                    true
                }),
            };
            if !is_there {
                log::warn!("image {}: layer {diff_id} is missing; pull it again", record.config.hex());
                return Ok(None);
            }
            layers.push(path);
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

    pub(crate) fn entries(&self, directory: &str) -> Result<Vec<PathBuf>> {
        let path = self.root.join(directory);
        std::fs::read_dir(&path)
            .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect())
            .map_err(|error| Error::io("read", &path, error))
    }
}

/// A damaged record says nothing, and whoever writes it anew has mended it.
fn readable<T>(record: Result<Option<T>>) -> Result<Option<T>> {
    match record {
        Err(error @ Error::Corrupt { .. }) => {
            log::warn!("{error}");
            Ok(None)
        }
        record => record,
    }
}

pub(super) fn names_of(names: &[NameRecord], config: &Digest) -> Vec<String> {
    names.iter().filter(|name| name.image == *config).map(|name| name.name.clone()).collect()
}
