//! `dir:` images: `manifest.json` beside blobs that are named by the digits of their digest,
//! and signatures in `signature-1` and so on.

use std::fmt::Display;
use std::io::Read;
use std::path::Path;

use super::layout::{Files, OpenFile, read_bounded};
use super::{Document, Transport};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::Descriptor;
use crate::signature::{MAX_SIGNATURE, Signature, Signatures};

/// A directory as `skopeo copy … dir:path` writes it.
pub(crate) struct Directory {
    files: Files,
    location: String,
}

impl Directory {
    pub(crate) fn open(path: &Path) -> Result<Self> {
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

    fn signatures(&self, manifest: &Digest, instance: bool) -> Result<Signatures> {
        let name = |number: &dyn Display| match instance {
            true => format!("{}.signature-{number}", manifest.hex()),
            false => format!("signature-{number}"),
        };
        let mut signatures = Signatures::default();
        signatures.places.push(format!("{}/{}", self.location, name(&"N")));
        for number in 1.. {
            let name = name(&number);
            let Some(bytes) = self.files.read_if_there(&name, MAX_SIGNATURE)? else { break };
            let place = format!("{}/{name}", self.location);
            let added = signatures.push(place, Signature::from_file(bytes));
            added.map_err(|reason| Error::corrupt("signatures", &self.location, reason))?;
        }
        Ok(signatures)
    }
}
