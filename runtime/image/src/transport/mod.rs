//! Sources other than registries: directories and archives.
//!
//! Every transport, and the registry client too, is a [`Transport`]: it hands out one manifest (or
//! index) and any number of blobs. It need not verify anything: the reader of each blob is wrapped
//! by the code that does (`fetch`), the same for all.

pub(crate) mod archive;
pub(crate) mod directory;
pub(crate) mod docker;
pub(crate) mod layout;
mod storage;

use std::io::Read;

use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::Descriptor;
use crate::signature::Signatures;
use crate::source::Source;
use crate::store::Store;

/// A manifest or index as it came.
#[derive(Debug)]
pub(crate) struct Document {
    /// The bytes that the digest is of.
    pub(crate) bytes: Vec<u8>,
    /// Names that the source itself gives the image.
    pub(crate) names: Vec<String>,
}

/// Something that images can be read from; used by several threads at once.
pub(crate) trait Transport: Sync {
    /// The manifest or index that the source stands for.
    fn root(&self) -> Result<Document>;

    /// A manifest that an index of this source points to.
    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>>;

    /// The bytes of a blob, neither verified nor bounded yet.
    fn blob(&self, descriptor: &Descriptor, what: &'static str) -> Result<Box<dyn Read + Send + '_>>;

    /// Registry or path, for messages.
    fn location(&self) -> String;

    /// The signatures of a manifest, none of them verified. `instance`: an index of this source led to it.
    fn signatures(&self, manifest: &Digest, instance: bool) -> Result<Signatures> {
        let _ = (manifest, instance);
        // Archives and image layouts have no place for them.
        Ok(Signatures::none(format!("{}, which can hold none", self.location())))
    }

    /// Digest of what the source stands for, if it can be had without reading it (a `HEAD`
    /// request): an image known by it need not be read at all.
    fn known_digest(&self) -> Result<Option<Digest>> {
        Ok(None)
    }
}

/// Opens a directory or archive; `None` for a registry.
pub(crate) fn open(source: &Source, store: &Store) -> Result<Option<Box<dyn Transport>>> {
    Ok(Some(match source {
        Source::Registry { .. } => return Ok(None),
        Source::OciLayout { path, name } => Box::new(layout::directory(path, name.clone().into())?),
        Source::OciArchive { path, name } => Box::new(layout::archive(path, name.clone().into(), store)?),
        Source::DockerArchive { path, select } => {
            Box::new(docker::DockerArchive::open(path, select.clone(), store)?)
        }
        Source::ContainersStorage(named) => Box::new(storage::Storage::open(named)?),
        Source::Directory { path } => Box::new(directory::Directory::open(path)?),
    }))
}
