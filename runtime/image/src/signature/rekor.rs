//! The proof that a transparency log has seen a signature: the "signed entry timestamp" that cosign puts beside it.
//!
//! The log signs a small document over the entry, in canonical JSON
//! ([RFC 8785](https://www.rfc-editor.org/rfc/rfc8785)); the entry names the key, the signature and the digest of
//! the payload, which have to be those at hand.

use serde::Deserialize;

use super::from_base64;
use super::public_key::{PublicKey, pem};
use crate::digest::Digest;
use crate::json::{At, Fields};

/// Whole numbers up to here have one form in canonical JSON.
const MAX_EXACT: i64 = 1 << 53;

/// What the log has signed.
struct Entry {
    canonical: String,
    time: i64,
    body: Vec<u8>,
}

/// The parts of a `hashedrekord` that matter. Others may be there: the log's own signature is over all of it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Record {
    kind: String,
    api_version: String,
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    data: Data,
    signature: Signed,
}

#[derive(Deserialize)]
struct Data {
    hash: Hash,
}

#[derive(Deserialize)]
struct Hash {
    algorithm: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Signed {
    content: String,
    public_key: Content,
}

#[derive(Deserialize)]
struct Content {
    content: String,
}

/// What a log knows of a signature.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logged {
    /// The key or certificate that has made it.
    pub(super) der: Vec<u8>,
    /// When the log saw it, in seconds since 1970.
    pub(super) time: i64,
}

/// Checks that one of the logs has this signature of this payload. By whose key it is, the caller has to compare.
pub(super) fn logged(
    bundle: &str,
    logs: &[PublicKey],
    signature: &[u8],
    payload: &[u8],
) -> Result<Logged, String> {
    let (entry, timestamp) = parse(bundle)?;
    if !logs.iter().any(|log| log.verifies(entry.canonical.as_bytes(), &timestamp)) {
        return Err("no log that the policy names has signed the proof beside it".to_owned());
    }
    // SECURITY: from here on the log vouches for the entry; it still has to be that of this signature.
    let record: Record = serde_json::from_slice(&entry.body)
        .map_err(|error| format!("its log entry is malformed: {error}"))?;
    if (record.kind.as_str(), record.api_version.as_str()) != ("hashedrekord", "0.0.1") {
        return Err("its log entry is not a hashedrekord 0.0.1".to_owned());
    }
    if decode(&record.spec.signature.content, "signature")? != signature {
        return Err("its log entry is about another signature".to_owned());
    }
    let hash = record.spec.data.hash;
    if hash.algorithm != "sha256" || Digest::from_hex(&hash.value) != Some(Digest::of(payload)) {
        return Err("its log entry is about another payload".to_owned());
    }
    let public = decode(&record.spec.signature.public_key.content, "public key")?;
    let (_, der) = std::str::from_utf8(&public)
        .map_err(|_| "the key in its log entry is no PEM".to_owned())
        .and_then(|text| pem(text).map_err(|error| format!("the key in its log entry: {error}")))?;
    Ok(Logged { der, time: entry.time })
}

/// The entry and the log's signature of it.
fn parse(bundle: &str) -> Result<(Entry, Vec<u8>), String> {
    let bad = |error: String| format!("the log's proof beside it: {error}");
    let read = || {
        let mut fields = At::parse(bundle.as_bytes())?.object()?;
        let timestamp = decode(&fields.need("SignedEntryTimestamp")?.text()?, "SignedEntryTimestamp")?;
        let mut payload = fields.need("Payload")?.object()?;
        fields.end()?;
        let body = plain(&mut payload, "body")?;
        let time = exact(&mut payload, "integratedTime")?;
        let id = plain(&mut payload, "logID")?;
        let index = exact(&mut payload, "logIndex")?;
        payload.end()?;
        // Keys in the order of their UTF-16 code units, no spaces; the strings need no escapes.
        let canonical =
            format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":{index}}}"#);
        Ok((Entry { canonical, time, body: decode(&body, "body")? }, timestamp))
    };
    read().map_err(bad)
}

/// Base 64 or hexadecimal digits: text that JSON writes in one way only.
fn plain(fields: &mut Fields, key: &str) -> Result<String, String> {
    let at = fields.need(key)?;
    let odd = at.bad("it has characters that it cannot have");
    let text = at.text()?;
    let usual = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=');
    if text.bytes().all(usual) { Ok(text) } else { Err(odd) }
}

fn exact(fields: &mut Fields, key: &str) -> Result<i64, String> {
    let at = fields.need(key)?;
    let large = at.bad("it is too large");
    let number = at.integer()?;
    if (-MAX_EXACT..=MAX_EXACT).contains(&number) { Ok(number) } else { Err(large) }
}

fn decode(text: &str, what: &str) -> Result<Vec<u8>, String> {
    from_base64(text).map_err(|error| format!("its {what} is not base 64: {error}"))
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;

    use super::super::public_key::tests::openssl;
    use super::*;

    /// A bundle as cosign writes it, signed by the log in file `log`.
    fn bundle(path: &std::path::Path, public: &[u8], signature: &[u8], payload: &[u8]) -> Option<String> {
        let record = serde_json::json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": Digest::of(payload).hex()}},
                "signature": {"content": STANDARD.encode(signature),
                    "publicKey": {"content": STANDARD.encode(public)}}
            }
        });
        let body = STANDARD.encode(record.to_string());
        let canonical =
            format!(r#"{{"body":"{body}","integratedTime":1700000000,"logID":"c0ffee","logIndex":7}}"#);
        let timestamp = openssl(path, "dgst -sha256 -sign log", canonical.as_bytes())?;
        // Another order and spaces: what is signed is the canonical form.
        let bundle = format!(
            r#"{{ "SignedEntryTimestamp": "{}", "Payload": {{"logIndex": 7, "body": "{body}",
            "integratedTime": 1700000000, "logID": "c0ffee"}} }}"#,
            STANDARD.encode(timestamp)
        );
        Some(bundle)
    }

    #[test]
    fn a_log_entry_has_to_be_about_this_signature() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        for name in ["log", "key", "other"] {
            let arguments = format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}");
            if openssl(path, &arguments, b"").is_none() {
                return;
            }
        }
        let public = |name: &str| openssl(path, &format!("pkey -in {name} -pubout"), b"").unwrap();
        let parse = |name: &str| PublicKey::parse(&public(name)).unwrap();
        let logs = [parse("other"), parse("log")];
        let good = bundle(path, &public("key"), b"signature", b"payload").unwrap();
        let check = logged;
        let found = check(&good, &logs, b"signature", b"payload").unwrap();
        assert_eq!(found, Logged { der: parse("key").der().to_vec(), time: 1_700_000_000 });
        for (bundle, logs, signature, payload, wanted) in [
            (good.clone(), &logs[..1], &b"signature"[..], &b"payload"[..], "no log"),
            (good.clone(), &logs, b"another", b"payload", "another signature"),
            (good.clone(), &logs, b"signature", b"another", "another payload"),
            (good.replace("\"logIndex\": 7", "\"logIndex\": 8"), &logs, b"signature", b"payload", "no log"),
            (good.replace("c0ffee", "\\u0022"), &logs, b"signature", b"payload", "characters"),
            (good.replace("\"logID\"", "\"logId\""), &logs, b"signature", b"payload", "logID"),
            (good.replace(": 7,", ": 7, \"x\": 1,"), &logs, b"signature", b"payload", "not known"),
            (good.replace("1700000000", "1e300"), &logs, b"signature", b"payload", "whole number"),
            ("{}".to_owned(), &logs, b"signature", b"payload", "missing"),
        ] {
            let error = check(&bundle, logs, signature, payload).unwrap_err();
            assert!(error.contains(wanted), "{error}");
        }
    }
}
