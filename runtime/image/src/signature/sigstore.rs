//! Signatures as cosign makes them: a JSON payload with its signature in an annotation, `sigstoreSigned` in a policy.
//!
//! The key is one that the policy names, or one whose certificate an authority of the policy has given: for minutes,
//! as Fulcio does, so that the time counts at which a log saw the signature, or for long.

use super::certificate::{Authority, Certificate};
use super::payload::{COSIGN, Payload};
use super::public_key::PublicKey;
use super::rekor::{self, Logged};
use super::{Origin, Sigstore, from_base64};
use crate::error::{Error, Result};

/// Media type of a payload.
pub(crate) const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
/// The signature, in base 64.
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";
/// The transparency log's proof.
const BUNDLE: &str = "dev.sigstore.cosign/bundle";

/// The certificate of the key, in PEM.
const CERTIFICATE: &str = "dev.sigstore.cosign/certificate";
/// Those between it and its authority.
const CHAIN: &str = "dev.sigstore.cosign/chain";

/// Whom a requirement trusts.
#[derive(Debug)]
pub(crate) struct Verifier {
    trust: Trust,
    /// Transparency logs, of which one has to have seen the signature.
    logs: Option<Vec<PublicKey>>,
}

/// Who may sign.
#[derive(Debug)]
enum Trust {
    Keys(Vec<PublicKey>),
    Authority(Authority),
}

impl Verifier {
    /// Signatures by these keys: PEM files with where each is from.
    ///
    /// # Errors
    /// [`Error::Config`] for what is not a public key that can be used.
    pub(crate) fn by_keys(keys: &[Origin], logs: Option<&[Origin]>) -> Result<Self> {
        let keys = keys.iter().map(key).collect::<Result<_>>()?;
        Ok(Self { trust: Trust::Keys(keys), logs: logs.map(log_keys).transpose()? })
    }

    /// Signatures by keys that the authority has certified.
    ///
    /// # Errors
    /// As [`Verifier::by_keys`].
    pub(crate) fn by_authority(authority: Authority, logs: Option<&[Origin]>) -> Result<Self> {
        Ok(Self { trust: Trust::Authority(authority), logs: logs.map(log_keys).transpose()? })
    }

    /// The claim of a signature by one that is trusted; `Err` says what is wrong with it.
    pub(crate) fn verify(&self, signature: &Sigstore) -> Result<Payload, String> {
        if signature.media_type != MEDIA_TYPE {
            let media_type = crate::json::shown(&signature.media_type);
            return Err(format!("it is an attachment of another kind ({media_type})"));
        }
        let text = annotation(signature, SIGNATURE)?;
        let bytes = from_base64(text).map_err(|error| format!("its annotation is not base 64: {error}"))?;
        let logged = self.logs.as_ref().map(|logs| {
            let bundle = annotation(signature, BUNDLE)
                .map_err(|reason| format!("{reason}, the proof of a transparency log"))?;
            rekor::logged(bundle, logs, &bytes, &signature.payload)
        });
        let keys = self.keys(signature, logged.transpose()?.as_ref())?;
        // SECURITY: the payload is parsed after a key has vouched for all of it, not a byte earlier.
        if !keys.iter().any(|key| key.verifies(&signature.payload, &bytes)) {
            return Err("it was not made by a key that the policy trusts, or not for this payload".to_owned());
        }
        Payload::parse(&signature.payload, COSIGN)
    }

    /// The keys that may have made the signature; if a log has it, the one that the log says, if it is trusted.
    fn keys(&self, signature: &Sigstore, logged: Option<&Logged>) -> Result<Vec<PublicKey>, String> {
        let another = || "its log entry is about another key".to_owned();
        match &self.trust {
            Trust::Keys(keys) => match logged {
                None => Ok(keys.clone()),
                Some(logged) => {
                    let key = keys.iter().find(|key| key.der() == logged.der).ok_or_else(another)?;
                    Ok(vec![key.clone()])
                }
            },
            Trust::Authority(authority) => {
                let certificate = annotation(signature, CERTIFICATE)?;
                let chain = signature.annotations.get(CHAIN).map(String::as_str);
                let certificate = Certificate::parse(certificate, chain)?;
                if logged.is_some_and(|logged| logged.der != certificate.der()) {
                    return Err(another());
                }
                // A certificate of minutes was good when the log saw the signature; any other one has to be now.
                authority.certified(&certificate, logged.map(|logged| logged.time)).map(|key| vec![key])
            }
        }
    }
}

fn annotation<'s>(signature: &'s Sigstore, key: &str) -> Result<&'s str, String> {
    signature.annotations.get(key).map(String::as_str).ok_or_else(|| format!("it has no annotation {key}"))
}

fn key((origin, bytes): &Origin) -> Result<PublicKey> {
    PublicKey::parse(bytes).map_err(|reason| Error::Config { path: origin.into(), reason })
}

/// Keys of transparency logs.
fn log_keys(logs: &[Origin]) -> Result<Vec<PublicKey>> {
    let log = |one: &Origin| match key(one)? {
        key if key.is_ecdsa() => Ok(key),
        _ => Err(Error::Config {
            path: (&one.0).into(),
            reason: "the key of a transparency log has to be of ECDSA".to_owned(),
        }),
    };
    logs.iter().map(log).collect()
}
