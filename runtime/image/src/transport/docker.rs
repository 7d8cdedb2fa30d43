//! `docker-archive:` images: the tar file that `docker save` and `podman save` write.
//!
//! It has no manifest in the registry's sense. One is made here from `manifest.json`, so that the
//! rest of the way is the same: the configuration and the layers are named by the digests that the
//! configuration itself states, and verified against them.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use super::archive::Archive;
use super::{Document, Transport};
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_CONFIG, MAX_LAYERS, MAX_MANIFEST, Manifest};
use crate::reference::Reference;
use crate::source::ArchiveSelect;
use crate::store::Store;

/// An image of `manifest.json`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An archive and the image chosen in it.
pub(crate) struct DockerArchive {
    archive: Arc<Archive>,
    location: String,
    names: Vec<String>,
    manifest: Vec<u8>,
    /// Digest and member of each blob.
    members: Vec<(Digest, String)>,
}

impl DockerArchive {
    pub(super) fn open(path: &Path, select: ArchiveSelect, store: &Store) -> Result<Self> {
        Self::of(Arc::new(Archive::open(path, store)?), &select)
    }

    /// An image of an archive that is open already.
    pub(crate) fn of(archive: Arc<Archive>, select: &ArchiveSelect) -> Result<Self> {
        let location = format!("docker-archive:{}", archive.path().display());
        let bad = |what: &str, reason: String| Error::corrupt(what, &location, reason);
        let item = choose(items(&archive, &location)?, select, &location)?;
        if item.layers.len() > MAX_LAYERS {
            return Err(bad("manifest.json", format!("it lists more than {MAX_LAYERS} layers")));
        }
        let config = read_member(&archive, &item.config, MAX_CONFIG, &location)?;
        let mut members = vec![(Digest::of(&config), item.config)];
        let config =
            descriptor("application/vnd.oci.image.config.v1+json", members[0].0, config.len() as u64);
        let mut layers = Vec::new();
        for member in item.layers {
            let size = archive
                .size(&member)
                .ok_or_else(|| bad("manifest.json", format!("layer \"{member}\" is not in the archive")))?;
            let digest = digest_of(&archive, &member, &location)?;
            layers.push(descriptor("application/vnd.oci.image.layer.v1.tar", digest, size));
            members.push((digest, member));
        }
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let manifest = serde_json::to_vec(&Manifest { schema_version: 2, media_type, config, layers })
            .map_err(|error| bad("manifest.json", error.to_string()))?;
        let tags = item.repo_tags.unwrap_or_default();
        let names = tags.iter().filter_map(|tag| Reference::parse(tag).ok()).map(|name| name.to_string());
        Ok(Self { archive, location, names: names.collect(), manifest, members })
    }
}

/// How many images an archive has.
pub(crate) fn count(archive: &Archive) -> Result<usize> {
    items(archive, &format!("docker-archive:{}", archive.path().display())).map(|items| items.len())
}

fn items(archive: &Archive, location: &str) -> Result<Vec<Item>> {
    let bytes = read_member(archive, "manifest.json", MAX_MANIFEST, location)?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::corrupt("manifest.json", location, error.to_string()))
}

impl Transport for DockerArchive {
    fn root(&self) -> Result<Document> {
        Ok(Document { bytes: self.manifest.clone(), names: self.names.clone() })
    }

    fn manifest(&self, _descriptor: &Descriptor) -> Result<Vec<u8>> {
        Err(Error::corrupt("archive", &self.location, "it has no index"))
    }

    fn blob(&self, descriptor: &Descriptor, what: &'static str) -> Result<Box<dyn Read + Send + '_>> {
        let found = self.members.iter().find(|(digest, _)| *digest == descriptor.digest);
        let (_, member) = found.ok_or_else(|| Error::corrupt(what, &self.location, "it is missing"))?;
        Ok(Box::new(self.archive.member(member)?))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations: None }
}

fn choose(mut items: Vec<Item>, select: &ArchiveSelect, location: &str) -> Result<Item> {
    let count = items.len();
    let has = |item: &Item, name: &Reference| {
        let tags = item.repo_tags.as_deref().unwrap_or_default();
        tags.iter().any(|tag| Reference::parse(tag).is_ok_and(|tag| tag == *name))
    };
    let position = match select {
        ArchiveSelect::Only if count == 1 => Some(0),
        ArchiveSelect::Only => None,
        ArchiveSelect::Name(name) => items.iter().position(|item| has(item, name)),
        ArchiveSelect::Index(index) => Some(*index).filter(|index| *index < count),
    };
    match position {
        Some(position) => Ok(items.swap_remove(position)),
        None => Err(Error::NotFound {
            reference: match select {
                ArchiveSelect::Only => String::new(),
                ArchiveSelect::Name(name) => name.to_string(),
                ArchiveSelect::Index(index) => format!("@{index}"),
            },
            location: location.to_owned(),
            detail: format!("it has {count} images; write which one after a colon (name or @position)"),
        }),
    }
}

fn read_member(archive: &Archive, name: &str, bound: u64, location: &str) -> Result<Vec<u8>> {
    let mut reader = archive.member(name)?;
    if reader.size() > bound {
        return Err(Error::corrupt(name, location, format!("it has more than {bound} bytes")));
    }
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).map_err(|error| Error::io("read", archive.path(), error))?;
    Ok(bytes)
}

/// A layer's digest. Its diff id would do where it is not compressed, but whether it is must be
/// seen anyway, and reading it once more is cheap beside unpacking.
fn digest_of(archive: &Archive, member: &str, location: &str) -> Result<Digest> {
    let mut reader = archive.member(member)?;
    let mut hasher = Hasher::new();
    let mut buffer = vec![0; 1 << 17];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(hasher.finish()),
            Ok(count) => hasher.update(&buffer[..count]),
            Err(error) => return Err(Error::corrupt("layer", location, error.to_string())),
        }
    }
}
