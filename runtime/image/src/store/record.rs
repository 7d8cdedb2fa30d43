//! The JSON files of the store.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Store;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::unpack::Contents;

/// `images/<id>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ImageRecord {
    /// Digest of the configuration.
    pub(crate) config: Digest,
    /// Digest of the manifest.
    pub(crate) manifest: Digest,
    /// Unpacked bytes of all layers.
    pub(crate) size: u64,
    /// Diff ids from the lowest layer to the topmost, each once.
    pub(crate) layers: Vec<Digest>,
    /// Names that led here when the record was written; the files in `names/` are the truth.
    pub(crate) names: Vec<String>,
    /// `registry/path@digest` names that it was pulled by.
    pub(crate) repo_digests: Vec<String>,
    /// Whether a link in a layer leads to `/dev/stdout` or `/dev/stderr`; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) links_to_output: Option<bool>,
}

/// `names/<digest of the name>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NameRecord {
    /// The whole reference.
    pub(crate) name: String,
    /// Digest of the image's configuration.
    pub(crate) image: Digest,
    /// Digest that the registry has for the name: of an index, or of the manifest itself. Absent
    /// when the name was given here.
    pub(crate) digest: Option<Digest>,
    /// Digest of the configuration of the image that had the name before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) previous: Option<Digest>,
    /// Services are about to prove that they run with it. An update that was killed is seen here by the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) trial: Option<TrialRecord>,
}

impl NameRecord {
    /// A name that leads to an image, without a past.
    pub(crate) fn new(name: String, image: Digest, digest: Option<Digest>) -> Self {
        Self { name, image, digest, previous: None, trial: None }
    }
}

/// Who is given an image, see [`super::trial`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrialRecord {
    /// The services that are restarted, and with each the services of its containers.
    pub(crate) units: BTreeMap<String, Vec<String>>,
    /// Whether the name is on the way back.
    #[serde(default)]
    pub(crate) returning: bool,
}

/// `layers/<…>.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// Bytes of file content.
    pub(crate) size: u64,
    /// Whether a link in it leads to `/dev/stdout` or `/dev/stderr`.
    #[serde(default)]
    pub(crate) links_to_output: bool,
    /// What its directory held when it was unpacked; absent in records of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) contents: Option<Contents>,
}

impl LayerRecord {
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        read(path)
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        to_json(self)
    }
}

impl Store {
    pub(crate) fn image_record(&self, config: &Digest) -> Result<Option<ImageRecord>> {
        read(&self.image_record_path(config))
    }

    pub(crate) fn name_record(&self, name: &str) -> Result<Option<NameRecord>> {
        let record: Option<NameRecord> = read(&self.name_record_path(name))?;
        Ok(record.filter(|record| record.name == name))
    }

    pub(super) fn write_image_record(&self, record: &ImageRecord) -> Result<()> {
        self.write_if_changed(&self.image_record_path(&record.config), &to_json(record))
    }

    pub(super) fn write_name_record(&self, record: &NameRecord) -> Result<()> {
        self.write_if_changed(&self.name_record_path(&record.name), &to_json(record))
    }

    pub(super) fn image_record_path(&self, config: &Digest) -> std::path::PathBuf {
        self.root.join("images").join(config.hex()).with_extension("json")
    }

    pub(super) fn name_record_path(&self, name: &str) -> std::path::PathBuf {
        self.root.join("names").join(Digest::of(name.as_bytes()).hex()).with_extension("json")
    }

    /// All records of names, sorted by name.
    pub(super) fn name_records(&self) -> Result<Vec<NameRecord>> {
        let mut records: Vec<NameRecord> = self.read_all("names")?;
        records.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(records)
    }

    /// All records of images, sorted by id.
    pub(super) fn image_records(&self) -> Result<Vec<ImageRecord>> {
        let mut records: Vec<ImageRecord> = self.read_all("images")?;
        records.sort_by_key(|record| record.config);
        Ok(records)
    }

    fn read_all<T: DeserializeOwned>(&self, directory: &str) -> Result<Vec<T>> {
        let path = self.root.join(directory);
        let mut records = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(|error| Error::io("read", &path, error))? {
            let entry = entry.map_err(|error| Error::io("read", &path, error))?;
            // One that was removed meanwhile is none.
            records.extend(read(&entry.path())?);
        }
        Ok(records)
    }

    fn write_if_changed(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if std::fs::read(path).is_ok_and(|old| old == bytes) {
            return Ok(());
        }
        self.write_file(path, bytes)
    }
}

fn to_json(record: &impl Serialize) -> Vec<u8> {
    // Structs of strings and numbers always have a JSON form.
    let mut bytes = serde_json::to_vec_pretty(record).unwrap_or_default();
    bytes.push(b'\n');
    bytes
}

pub(super) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path, error)),
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|error| {
        let reason = format!("{error}; remove the file and pull the image again");
        Error::corrupt("record", path.display().to_string(), reason)
    })
}
