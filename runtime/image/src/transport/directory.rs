//! `dir:` images: `manifest.json` beside blobs that are named by the digits of their digest.

use std::io::Read;
use std::path::Path;

use super::layout::{Files, OpenFile, read_bounded};
use super::{Document, Transport};
use crate::error::Result;
use crate::manifest::Descriptor;

/// A directory as `skopeo copy … dir:path` writes it.
pub(super) struct Directory {
    files: Files,
    location: String,
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Self> {
        Ok(Self { files: Files::open(path)?, location: format!("dir:{}", path.display()) })
    }
}

impl Transport for Directory {
    fn root(&self) -> Result<Document> {
        let bytes = read_bounded(&self.files, "manifest.json", &self.location)?;
        Ok(Document { bytes, names: Vec::new() })
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let name = format!("{}.manifest.json", descriptor.digest.hex());
        read_bounded(&self.files, &name, &self.location)
    }

    fn blob(&self, descriptor: &Descriptor, _what: &'static str) -> Result<Box<dyn Read + Send + '_>> {
        self.files.open_file(&descriptor.digest.hex())
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}
