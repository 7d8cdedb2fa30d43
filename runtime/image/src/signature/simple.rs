//! Simple signing: a JSON payload in an OpenPGP message, `signedBy` in a policy.

use super::Origin;
use super::gpg::Keyring;
use super::openpgp;
use super::payload::{Payload, SIMPLE};
use crate::error::{Error, Result};
use crate::store::Store;

/// A keyring of everything that a requirement names.
///
/// # Errors
/// [`Error::Config`] for what is not a key, [`Error::Missing`] without GnuPG, [`Error::Io`].
pub(crate) fn keyring(keys: &[Origin], store: &Store) -> Result<Keyring> {
    let mut all = Vec::new();
    for (origin, bytes) in keys {
        all.extend(openpgp::keyring(bytes).map_err(|reason| Error::Config {
            path: origin.into(),
            reason: format!("it is no OpenPGP keyring: {reason}"),
        })?);
    }
    Keyring::new(&all, store.scratch()?)
}

/// The claim of a signature that one of the keys has made; `Err` says what is wrong with the signature.
///
/// # Errors
/// The outer one: GnuPG could not be run.
pub(crate) fn verify(keyring: &Keyring, message: &[u8]) -> Result<Result<Payload, String>> {
    if !is_message(message) {
        return Ok(Err("it is no binary OpenPGP message".to_owned()));
    }
    // SECURITY: the payload is parsed after GnuPG has vouched for all of it, not a byte earlier.
    let verified = keyring.verify(message)?;
    Ok(verified.and_then(|payload| Payload::parse(&payload, SIMPLE)))
}

/// Whether it begins as a signed message may: compressed data, a one-pass signature or a signature. Armor and
/// cleartext signatures, which GnuPG would take too, begin otherwise, and the format excludes them.
pub(super) fn is_message(bytes: &[u8]) -> bool {
    matches!(bytes.first(), Some(0x88..=0x8b | 0x90..=0x92 | 0xa0..=0xa3 | 0xc2 | 0xc4 | 0xc8))
}
