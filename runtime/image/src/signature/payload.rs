//! What a signature claims: the JSON document that both kinds carry
//! ([container-signature(5)](https://github.com/containers/image/blob/main/docs/containers-signature.5.md)).

use std::str::FromStr as _;

use crate::digest::Digest;
use crate::json::{At, shown};

/// `critical.type` of a signature by GnuPG.
pub(super) const SIMPLE: &str = "atomic container signature";
/// `critical.type` of a signature by cosign.
pub(super) const COSIGN: &str = "cosign container image signature";

/// The claim of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Payload {
    /// The manifest that it is about.
    pub(crate) digest: Digest,
    /// The name that it gives the image, as written.
    pub(crate) reference: String,
}

impl Payload {
    /// Reads a payload that has been verified, never one that has not: unknown members of `critical` mean
    /// something that this version does not understand, and so refuse the signature.
    pub(super) fn parse(verified: &[u8], kind: &str) -> Result<Self, String> {
        Self::read(verified, kind).map_err(|error| format!("its payload: {error}"))
    }

    fn read(verified: &[u8], kind: &str) -> Result<Self, String> {
        let mut fields = At::parse(verified)?.object()?;
        let mut critical = fields.need("critical")?.object()?;
        optional(fields.need("optional")?, kind)?;
        fields.end()?;
        let found = critical.need("type")?.text()?;
        if found != kind {
            return Err(format!("critical.type: it is \"{}\", not \"{kind}\"", shown(&found)));
        }
        let mut image = critical.need("image")?.object()?;
        let digest = image.need("docker-manifest-digest")?.text()?;
        image.end()?;
        let mut identity = critical.need("identity")?.object()?;
        let reference = identity.need("docker-reference")?.text()?;
        identity.end()?;
        critical.end()?;
        let digest = Digest::from_str(&digest)
            .map_err(|error| format!("critical.image.docker-manifest-digest: {error}"))?;
        Ok(Self { digest, reference })
    }
}

/// Anybody may add members here; the two that are known have types.
fn optional(at: At, kind: &str) -> Result<(), String> {
    // cosign writes null for nothing.
    if at.is_null() && kind == COSIGN {
        return Ok(());
    }
    let mut fields = at.object()?;
    fields.take("creator").map(At::text).transpose()?;
    fields.take("timestamp").map(At::integer).transpose()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(optional: &str, critical: &str) -> String {
        let digest = Digest::of(b"x");
        format!(
            r#"{{"critical":{{"type":"{SIMPLE}","image":{{"docker-manifest-digest":"{digest}"}},
            "identity":{{"docker-reference":"q.io/x:1"}}{critical}}},"optional":{optional}}}"#
        )
    }

    #[test]
    fn the_critical_part_is_strict_and_the_optional_one_open() {
        let parse = |text: &str| Payload::parse(text.as_bytes(), SIMPLE);
        let good = parse(&document(r#"{"creator":"x","timestamp":1.0,"more":{"a":[1]}}"#, "")).unwrap();
        assert_eq!(good, Payload { digest: Digest::of(b"x"), reference: "q.io/x:1".into() });
        for bad in [
            document("null", ""),
            document("{}", r#","more":1"#),
            document(r#"{"creator":1}"#, ""),
            document(r#"{"timestamp":"1"}"#, ""),
            document(r#"{"timestamp":1.5}"#, ""),
            document("{}", r#","type":"atomic container signature""#),
            document("{}", "") + "{}",
            document("{}", "").replace("docker-reference", "docker-name"),
            document("{}", "").replace("sha256:", "sha512:"),
            document("{}", "").replace(SIMPLE, COSIGN),
            document("{}", "").replace(r#""q.io/x:1""#, "1"),
            document("{}", "").replace(r#""optional":{}"#, r#""optional":{},"more":{}"#),
            "[]".to_owned(),
            String::new(),
        ] {
            assert!(parse(&bad).is_err(), "{bad}");
        }
        let cosign = document("null", "").replace(SIMPLE, COSIGN);
        assert!(Payload::parse(cosign.as_bytes(), COSIGN).is_ok());
    }
}
