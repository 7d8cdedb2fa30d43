//! Public keys as PEM files have them, and signatures by them: ECDSA on P-256 and P-384, RSA and Ed25519, with
//! SHA-256 as cosign does. The arithmetic is that of the TLS library's provider.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::{AlgorithmIdentifier, SignatureVerificationAlgorithm, alg_id};

use super::der::{self, BIT_STRING, SEQUENCE};

/// A public key that signatures are verified with.
#[derive(Clone)]
pub(crate) struct PublicKey {
    /// `SubjectPublicKeyInfo`.
    der: Vec<u8>,
    /// The key itself.
    bits: Vec<u8>,
    algorithm: &'static dyn SignatureVerificationAlgorithm,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey").finish_non_exhaustive()
    }
}

impl PublicKey {
    /// Reads the one key of a PEM file.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is no PEM file")?;
        let (label, der) = pem(text)?;
        match label {
            "PUBLIC KEY" => Self::from_der(der),
            "RSA PUBLIC KEY" => {
                let whole = rsa(&der).ok_or("its RSA key is malformed")?;
                Self::from_der(whole)
            }
            "PGP PUBLIC KEY BLOCK" => Err("it is an OpenPGP key; signedBy takes those".to_owned()),
            other => Err(format!("it has a {}, not a PUBLIC KEY", crate::json::shown(other))),
        }
    }

    /// Reads a `SubjectPublicKeyInfo`.
    pub(super) fn from_der(der: Vec<u8>) -> Result<Self, String> {
        let parts = der::only(&der, SEQUENCE).and_then(|info| {
            let (algorithm, rest) = der::element(info, SEQUENCE)?;
            // A bit string's first byte counts the bits of the last that are none.
            let (0, bits) =
                der::only(rest, BIT_STRING)?.split_first().map(|(unused, bits)| (*unused, bits))?
            else {
                return None;
            };
            Some((algorithm.to_vec(), bits.to_vec()))
        });
        let (identifier, bits) = parts.ok_or("its public key is malformed")?;
        let algorithm = algorithm(&identifier).ok_or(
            "its public key is of a kind that is not verified here; ECDSA on P-256 or P-384, RSA and Ed25519 are",
        )?;
        Ok(Self { der, bits, algorithm })
    }

    /// Whether this key has made the signature.
    pub(super) fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        self.algorithm.verify_signature(&self.bits, message, signature).is_ok()
    }

    /// Whether it is an elliptic curve's, as the keys of transparency logs are.
    pub(super) fn is_ecdsa(&self) -> bool {
        self.algorithm.signature_alg_id() == alg_id::ECDSA_SHA256
    }

    /// `SubjectPublicKeyInfo`.
    pub(super) fn der(&self) -> &[u8] {
        &self.der
    }
}

/// The algorithm that verifies signatures by keys of this kind, with SHA-256 where there is a choice.
fn algorithm(identifier: &[u8]) -> Option<&'static dyn SignatureVerificationAlgorithm> {
    let hash = |found: AlgorithmIdentifier| {
        [alg_id::ECDSA_SHA256, alg_id::RSA_PKCS1_SHA256, alg_id::ED25519].contains(&found)
    };
    let provider = rustls::crypto::ring::default_provider();
    provider
        .signature_verification_algorithms
        .all
        .iter()
        .copied()
        .find(|one| one.public_key_alg_id().as_ref() == identifier && hash(one.signature_alg_id()))
}

/// A PKCS #1 key as `SubjectPublicKeyInfo`.
fn rsa(key: &[u8]) -> Option<Vec<u8>> {
    let algorithm = der::encode(SEQUENCE, alg_id::RSA_ENCRYPTION.as_ref())?;
    let bits = der::encode(BIT_STRING, &[&[0], key].concat())?;
    der::encode(SEQUENCE, &[algorithm, bits].concat())
}

/// Label and content of the only block of a PEM text.
pub(super) fn pem(text: &str) -> Result<(&str, Vec<u8>), String> {
    let mut blocks = pems(text)?.into_iter();
    let first = blocks.next().ok_or("it has no \"-----BEGIN PUBLIC KEY-----\"")?;
    match blocks.next() {
        None => Ok(first),
        Some(_) => Err("it has several keys; put each into a file of its own, for keyPaths".to_owned()),
    }
}

/// Labels and contents of all blocks of a PEM text ([RFC 7468](https://www.rfc-editor.org/rfc/rfc7468)).
pub(super) fn pems(text: &str) -> Result<Vec<(&str, Vec<u8>)>, String> {
    let mut lines = text.lines().map(str::trim_end);
    let mut blocks = Vec::new();
    while let Some(first) = lines.by_ref().find(|line| line.starts_with("-----BEGIN ")) {
        let label = first
            .strip_prefix("-----BEGIN ")
            .and_then(|rest| rest.strip_suffix("-----"))
            .ok_or("its first line is malformed")?;
        let end = format!("-----END {label}-----");
        let mut data = String::new();
        loop {
            match lines.next() {
                Some(line) if line == end => break,
                Some(line) => data.push_str(line),
                None => return Err(format!("it is cut off: \"{end}\" is missing")),
            }
        }
        let bytes = match STANDARD.decode(&data) {
            // An armored OpenPGP key has headers; its label says enough.
            Err(_) if label.starts_with("PGP ") => Vec::new(),
            bytes => bytes.map_err(|error| format!("it is not base 64: {error}"))?,
        };
        blocks.push((label, bytes));
    }
    Ok(blocks)
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::Write as _;
    use std::path::Path;
    use std::process::{Command, Stdio};

    use super::*;

    /// Runs openssl with a text on its input; `None`, visibly, without it.
    pub(in crate::signature) fn openssl(directory: &Path, arguments: &str, input: &[u8]) -> Option<Vec<u8>> {
        let spawned = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut child) = spawned else {
            eprintln!("SKIP: openssl is not installed");
            return None;
        };
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
        Some(output.stdout)
    }

    #[test]
    fn every_kind_of_key_verifies_what_openssl_signs() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let message = b"a message";
        std::fs::write(path.join("message"), message).unwrap();
        for (name, algorithm, sign) in [
            ("p256", "EC -pkeyopt ec_paramgen_curve:P-256", "dgst -sha256 -sign p256"),
            ("p384", "EC -pkeyopt ec_paramgen_curve:P-384", "dgst -sha256 -sign p384"),
            ("rsa", "RSA -pkeyopt rsa_keygen_bits:2048", "dgst -sha256 -sign rsa"),
            ("ed", "ED25519", "pkeyutl -sign -rawin -inkey ed -in message"),
        ] {
            if openssl(path, &format!("genpkey -algorithm {algorithm} -out {name}"), b"").is_none() {
                return;
            }
            let public = openssl(path, &format!("pkey -in {name} -pubout"), b"").unwrap();
            let key = PublicKey::parse(&public).unwrap_or_else(|error| panic!("{name}: {error}"));
            let signature = openssl(path, sign, message).unwrap();
            assert!(key.verifies(message, &signature), "{name}");
            assert!(!key.verifies(b"another", &signature), "{name}");
            let mut spoilt = signature.clone();
            *spoilt.last_mut().unwrap() ^= 1;
            assert!(!key.verifies(message, &spoilt), "{name}");
            assert!(!key.verifies(message, b""), "{name}");
            assert_eq!(key.is_ecdsa(), name.starts_with('p'));
        }
        let pkcs1 = openssl(path, "rsa -in rsa -RSAPublicKey_out", b"").unwrap();
        let spki = openssl(path, "pkey -in rsa -pubout", b"").unwrap();
        assert_eq!(PublicKey::parse(&pkcs1).unwrap().der(), PublicKey::parse(&spki).unwrap().der());
        let twice = [&spki[..], &spki[..]].concat();
        assert!(PublicKey::parse(&twice).unwrap_err().contains("several keys"));
        let secret = std::fs::read(path.join("rsa")).unwrap();
        assert!(PublicKey::parse(&secret).unwrap_err().contains("PRIVATE KEY"));
        openssl(path, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 -out p521", b"").unwrap();
        let public = openssl(path, "pkey -in p521 -pubout", b"").unwrap();
        assert!(PublicKey::parse(&public).unwrap_err().contains("not verified here"));
    }

    #[test]
    fn what_is_no_key_is_said_so() {
        for bad in [
            &b""[..],
            b"\xff\xff",
            b"-----BEGIN PUBLIC KEY",
            b"-----BEGIN PUBLIC KEY-----\n",
            b"-----BEGIN PUBLIC KEY-----\n%\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
            b"-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: 1\n\nAAAA\n-----END PGP PUBLIC KEY BLOCK-----\n",
        ] {
            assert!(PublicKey::parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }
}
