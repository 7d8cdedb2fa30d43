//! Content digests: validated on the way in, computed while streaming.
//!
//! Only `sha256:` with 64 lower-case hexadecimal digits is accepted, so that a digest can be used
//! in a path or URL without further care (an unchecked one was a path traversal elsewhere:
//! CVE-2024-3727).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A SHA-256 content digest, `sha256:<64 hex digits>`
/// ([OCI descriptor](https://github.com/opencontainers/image-spec/blob/main/descriptor.md#digests)).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Digest of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The 64 hexadecimal digits, without the algorithm.
    pub fn hex(&self) -> String {
        use fmt::Write as _;
        let mut text = String::with_capacity(64);
        for byte in self.0 {
            let _ = write!(text, "{byte:02x}");
        }
        text
    }

    /// The first 130 bits in lower-case base 32 (26 characters): a directory name short enough
    /// that 128 of them fit into one page of mount options.
    pub(crate) fn short(&self) -> String {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        (0..26)
            .map(|index| {
                let bit = index * 5;
                let pair = u16::from_be_bytes([self.0[bit / 8], self.0[bit / 8 + 1]]);
                let value = (pair >> (11 - bit % 8)) & 31;
                char::from(ALPHABET[usize::from(value)])
            })
            .collect()
    }

    /// Parses the 64 hexadecimal digits alone.
    pub(crate) fn from_hex(hex: &str) -> Option<Self> {
        let digits = hex.as_bytes();
        if digits.len() != 64 {
            return None;
        }
        let nibble = |digit: u8| match digit {
            b'0'..=b'9' => Some(digit - b'0'),
            b'a'..=b'f' => Some(digit - b'a' + 10),
            _ => None,
        };
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Some(Self(bytes))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Text that is not a `sha256:` digest.
#[derive(Debug, Clone, thiserror::Error)]
#[error("\"{0}\" is not a digest of the form sha256:<64 hexadecimal digits>")]
pub struct InvalidDigest(String);

impl FromStr for Digest {
    type Err = InvalidDigest;

    fn from_str(text: &str) -> Result<Self, InvalidDigest> {
        text.strip_prefix("sha256:")
            .and_then(Self::from_hex)
            .ok_or_else(|| InvalidDigest(text.chars().take(100).collect()))
    }
}

impl serde::Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Computes a [`Digest`] piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Hasher(Sha256);

impl Hasher {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_canonical_sha256_is_accepted() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(good.parse::<Digest>().unwrap().to_string(), good);
        for bad in [
            "",
            "sha256:",
            "sha256:0a",
            "sha512:0a",
            &good.to_uppercase(),
            &format!("sha256:{}/../../etc/passwd", "0a".repeat(32)),
            &format!("sha256:../{}", "0a".repeat(30)),
            &format!("sha256:{}é", "0a".repeat(31)),
        ] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
    }

    #[test]
    fn short_names_have_26_characters_and_differ() {
        let a = Digest::of(b"a").short();
        let b = Digest::of(b"b").short();
        assert_eq!(a.len(), 26);
        assert_ne!(a, b);
        // RFC 4648 of ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb
        assert_eq!(a, "zklycewkdo64v6wcggzzui64jw");
    }
}
