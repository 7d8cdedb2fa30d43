//! Signatures as cosign makes them: a JSON payload with its signature in an annotation, `sigstoreSigned` in a policy.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::payload::{COSIGN, Payload};
use super::public_key::PublicKey;
use super::{Sigstore, rekor};
use crate::error::{Error, Result};

/// Media type of a payload.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The signature, in base 64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The transparency log's proof.
const BUNDLE: &str = "dev.sigstore.cosign/bundle";

/// The keys that a requirement names.
#[derive(Debug)]
pub(crate) struct Verifier {
    keys: Vec<PublicKey>,
    /// Transparency logs, of which one has to have seen the signature.
    logs: Option<Vec<PublicKey>>,
}

impl Verifier {
    /// Reads PEM files with where each is from.
    ///
    /// # Errors
    /// [`Error::Config`] for what is not a public key that can be used.
    pub(crate) fn new(keys: &[(String, Vec<u8>)], logs: Option<&[(String, Vec<u8>)]>) -> Result<Self> {
        let parse = |(origin, bytes): &(String, Vec<u8>)| {
            PublicKey::parse(bytes).map_err(|reason| (origin.clone(), reason))
        };
        let log = |one: &(String, Vec<u8>)| {
            parse(one).and_then(|key| match key.is_ecdsa() {
                true => Ok(key),
                false => Err((one.0.clone(), "the key of a transparency log has to be of ECDSA".to_owned())),
            })
        };
        let read = || {
            let keys = keys.iter().map(parse).collect::<Result<_, _>>()?;
            let logs = logs.map(|logs| logs.iter().map(log).collect::<Result<_, _>>()).transpose()?;
            Ok(Self { keys, logs })
        };
        read().map_err(|(origin, reason): (String, String)| Error::Config { path: origin.into(), reason })
    }

    /// The claim of a signature that one of the keys has made; `Err` says what is wrong with it.
    pub(crate) fn verify(&self, signature: &Sigstore) -> Result<Payload, String> {
        if signature.media_type != MEDIA_TYPE {
            let media_type = crate::json::shown(&signature.media_type);
            return Err(format!("it is an attachment of another kind ({media_type})"));
        }
        let annotation = |key: &str| signature.annotations.get(key);
        let text = annotation(SIGNATURE).ok_or_else(|| format!("it has no annotation {SIGNATURE}"))?;
        let bytes =
            STANDARD.decode(text).map_err(|error| format!("its annotation is not base 64: {error}"))?;
        let logged;
        let keys = match &self.logs {
            None => &self.keys[..],
            Some(logs) => {
                let bundle = annotation(BUNDLE)
                    .ok_or_else(|| format!("it has no proof of a transparency log (annotation {BUNDLE})"))?;
                logged = rekor::logged(bundle, logs, &self.keys, &bytes, &signature.payload)?.clone();
                std::slice::from_ref(&logged)
            }
        };
        // SECURITY: the payload is parsed after a key has vouched for all of it, not a byte earlier.
        if !keys.iter().any(|key| key.verifies(&signature.payload, &bytes)) {
            return Err("it was not made by a key that the policy names, or not for this payload".to_owned());
        }
        Payload::parse(&signature.payload, COSIGN)
    }
}
