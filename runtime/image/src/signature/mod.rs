//! Signatures of images: where they are, and what they prove.
//!
//! * `places` reads `registries.d`: in which directory or on which server the signatures of a registry's images
//!   are (the registry's client and the transports fetch them from there).
//! * `simple` verifies signatures by GnuPG: `openpgp` brings keys into a keyring, `gpg` runs the host's `gpgv`.
//! * `sigstore` verifies cosign's: `public_key` is the arithmetic (by rustls' provider), `certificate` the authorities
//!   that vouch for keys, `rekor` the proof that a transparency log has seen the signature.
//! * `payload` is what both kinds claim.
//!
//! Whether a claim is enough is decided by [`policy`](crate::policy).

mod certificate;
mod der;
mod gpg;
mod openpgp;
mod payload;
mod places;
mod public_key;
mod rekor;
pub(crate) mod sigstore;
pub(crate) mod simple;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json::{At, shown};

pub(crate) use certificate::{Authority, Subject};
pub(crate) use payload::Payload;
pub(crate) use places::{Lookaside, Places};

/// Largest signature, in bytes.
pub(crate) const MAX_SIGNATURE: u64 = 4 << 20;
/// Largest sum of an image's signatures, in bytes.
pub(crate) const MAX_SIGNATURES_SIZE: u64 = 16 << 20;
/// Most signatures of an image that are looked at.
pub(crate) const MAX_SIGNATURES: usize = 128;
/// What the file of a sigstore signature begins with, beside images in directories.
const SIGSTORE_FILE: &[u8] = b"\0sigstore-json\n";
/// What the file of a simple signature may begin with; usually it does not.
const SIMPLE_FILE: &[u8] = b"\0simple-signing\n";

/// Bytes of a key or certificate, and the file that they are from.
pub(crate) type Origin = (String, Vec<u8>);

/// A signature as it came: nothing of it is verified.
#[derive(Debug, Clone)]
pub(crate) enum Signature {
    /// An OpenPGP message.
    Simple(Vec<u8>),
    /// A payload whose signature is in the annotations.
    Sigstore(Sigstore),
    /// Neither, and why not.
    Unknown(String),
}

/// A sigstore signature or another attachment of an image.
#[derive(Debug, Clone)]
pub(crate) struct Sigstore {
    pub(crate) media_type: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) annotations: BTreeMap<String, String>,
}

/// A signature and where it was found.
#[derive(Debug, Clone)]
pub(crate) struct Located {
    pub(crate) place: String,
    pub(crate) signature: Signature,
}

/// The signatures of one image.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signatures {
    pub(crate) found: Vec<Located>,
    /// Where they were looked for, for messages.
    pub(crate) places: Vec<String>,
    size: u64,
}

impl Signatures {
    /// None, in this place.
    pub(crate) fn none(place: String) -> Self {
        Self { places: vec![place], ..Self::default() }
    }

    /// Adds one; an error if there is no end to them.
    pub(crate) fn push(&mut self, place: String, signature: Signature) -> Result<(), String> {
        self.size += match &signature {
            Signature::Simple(bytes) => bytes.len() as u64,
            Signature::Sigstore(sigstore) => sigstore.payload.len() as u64,
            Signature::Unknown(_) => 0,
        };
        // SECURITY: whoever serves signatures could serve them for ever.
        if self.found.len() >= MAX_SIGNATURES || self.size > MAX_SIGNATURES_SIZE {
            return Err(format!(
                "the image has more signatures than anybody makes (at most {MAX_SIGNATURES}, of \
                 {MAX_SIGNATURES_SIZE} bytes, are read)"
            ));
        }
        self.found.push(Located { place, signature });
        Ok(())
    }
}

impl Signature {
    /// From a file, whose first bytes say of which kind it is.
    pub(crate) fn from_file(bytes: Vec<u8>) -> Self {
        if let Some(json) = bytes.strip_prefix(SIGSTORE_FILE) {
            return sigstore_file(json).map_or_else(Self::Unknown, Self::Sigstore);
        }
        if let Some(message) = bytes.strip_prefix(SIMPLE_FILE) {
            return Self::Simple(message.to_vec());
        }
        if simple::is_message(&bytes) {
            return Self::Simple(bytes);
        }
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(16)]).into_owned();
        Self::Unknown(format!("it is no signature (it begins with {:?})", shown(&begin)))
    }
}

/// Base 64; lines may be broken, as some programs do.
pub(crate) fn from_base64(text: &str) -> Result<Vec<u8>, base64::DecodeError> {
    if !text.contains(['\n', '\r']) {
        return STANDARD.decode(text);
    }
    STANDARD.decode(text.replace(['\n', '\r'], ""))
}

fn sigstore_file(json: &[u8]) -> Result<Sigstore, String> {
    let mut fields = At::parse(json)?.object()?;
    let media_type = fields.need("mimeType")?.text()?;
    let payload = fields.need("payload")?.text()?;
    let payload = from_base64(&payload).map_err(|error| format!("payload: it is not base 64: {error}"))?;
    let mut annotations = BTreeMap::new();
    if let Some(at) = fields.take("annotations").filter(|at| !at.is_null()) {
        for (key, value) in at.entries()? {
            annotations.insert(key, value.text()?);
        }
    }
    fields.end()?;
    Ok(Sigstore { media_type, payload, annotations })
}
