//! PAX extended headers: `<length> <key>=<value>\n` records
//! ([pax(1)](https://pubs.opengroup.org/onlinepubs/9799919799/utilities/pax.html), "pax Header Block").
//!
//! Values are binary (extended attributes), so records are cut by their length, never at newlines.

use super::{Failure, Limits};

/// The extended header of one entry.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    /// Seconds and nanoseconds.
    pub(super) mtime: Option<(i64, u32)>,
    /// Name and value.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: SparseHeader,
}

/// What GNU tar says of a sparse file in formats 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct SparseHeader {
    /// The file's name; `path` is then a made-up one.
    pub(super) name: Option<Vec<u8>>,
    pub(super) major: Option<u64>,
    pub(super) real_size: Option<u64>,
    /// `offset,length,…` of format 0.1.
    pub(super) map: Option<Vec<(u64, u64)>>,
}

impl Pax {
    pub(super) fn parse(mut bytes: &[u8], limits: &Limits) -> Result<Self, Failure> {
        let mut pax = Pax::default();
        while !bytes.is_empty() && bytes[0] != 0 {
            let (key, value, rest) = record(bytes)
                .ok_or_else(|| Failure::Hostile("malformed PAX record in an extended header".into()))?;
            pax.set(key, value, limits)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn set(&mut self, key: &[u8], value: &[u8], limits: &Limits) -> Result<(), Failure> {
        let number = || number(value).ok_or_else(|| bad_value(key));
        match key {
            b"path" => self.path = Some(value.to_vec()),
            b"GNU.sparse.name" => self.sparse.name = Some(value.to_vec()),
            b"linkpath" => self.link = Some(value.to_vec()),
            b"size" => self.size = Some(number()?),
            b"uid" => self.uid = Some(number()?),
            b"gid" => self.gid = Some(number()?),
            b"mtime" => self.mtime = Some(time(value).ok_or_else(|| bad_value(key))?),
            b"GNU.sparse.major" => self.sparse.major = Some(number()?),
            b"GNU.sparse.realsize" | b"GNU.sparse.size" => self.sparse.real_size = Some(number()?),
            b"GNU.sparse.map" => self.sparse.map = Some(pairs(value).ok_or_else(|| bad_value(key))?),
            b"GNU.sparse.offset" => {
                return Err(Failure::Hostile("sparse format 0.0 is not supported; use 1.0".into()));
            }
            _ => {
                if let Some(name) = key.strip_prefix(b"SCHILY.xattr.") {
                    self.xattr(name, value, limits)?;
                }
            }
        }
        Ok(())
    }

    fn xattr(&mut self, name: &[u8], value: &[u8], limits: &Limits) -> Result<(), Failure> {
        if name.is_empty() || name.len() > 255 || name.contains(&0) {
            return Err(Failure::Hostile("an extended attribute has an impossible name".into()));
        }
        if value.len() > limits.xattr || self.xattrs.len() >= limits.xattrs {
            return Err(Failure::Hostile(format!(
                "extended attributes exceed the bound of {} with {} bytes each",
                limits.xattrs, limits.xattr
            )));
        }
        self.xattrs.push((name.to_vec(), value.to_vec()));
        Ok(())
    }
}

fn bad_value(key: &[u8]) -> Failure {
    Failure::Hostile(format!("bad value of the PAX key \"{}\"", key.escape_ascii()))
}

/// Splits the first record off.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(number(&bytes[..space])?).ok()?;
    let body = bytes.get(space + 1..length)?;
    let body = body.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    Some((&body[..equals], &body[equals + 1..], &bytes[length..]))
}

/// A decimal number of digits only (`parse` alone would allow a sign).
fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    str::from_utf8(text).ok()?.parse().ok()
}

/// Decimal seconds with an optional sign and fraction.
fn time(text: &[u8]) -> Option<(i64, u32)> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = i64::try_from(number(parts.next()?)?).ok()?;
    let mut nanoseconds = 0;
    let mut scale = 100_000_000;
    for digit in parts.next().unwrap_or_default() {
        if !digit.is_ascii_digit() {
            return None;
        }
        nanoseconds += u32::from(digit - b'0') * scale;
        scale /= 10;
    }
    Some(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

/// `a,b,a,b,…`
fn pairs(text: &[u8]) -> Option<Vec<(u64, u64)>> {
    let numbers: Vec<u64> = text.split(|byte| *byte == b',').map(number).collect::<Option<_>>()?;
    numbers.len().is_multiple_of(2).then(|| numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record_of(key: &str, value: &[u8]) -> Vec<u8> {
        let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
        let mut length = body.len();
        while length.to_string().len() + body.len() != length {
            length = length.to_string().len() + body.len();
        }
        [length.to_string().as_bytes(), &body].concat()
    }

    #[test]
    fn values_may_contain_newlines_and_equal_signs() {
        let value = b"\x01\x00\x00\x02\x0a\n=\n\x00";
        let bytes = [record_of("SCHILY.xattr.security.capability", value), record_of("size", b"42")].concat();
        let pax = Pax::parse(&bytes, &Limits::for_layer(0)).unwrap();
        assert_eq!(pax.xattrs, [(b"security.capability".to_vec(), value.to_vec())]);
        assert_eq!(pax.size, Some(42));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"x"[..],
            b"5",
            b"99 a=b\n",
            b"6 a=b",
            b"3 \n",
            b"-7 a=b\n",
            b"0 a=b\n",
            b"1 a=b\n",
            b"6 ab\n\n",
        ] {
            assert!(Pax::parse(bad, &Limits::for_layer(0)).is_err(), "{bad:?}");
        }
        for (key, value) in [("size", "-1"), ("size", "18446744073709551616"), ("mtime", "x"), ("uid", "+1")]
        {
            let bytes = record_of(key, value.as_bytes());
            assert!(Pax::parse(&bytes, &Limits::for_layer(0)).is_err(), "{key}={value}");
        }
    }

    #[test]
    fn times_have_sign_and_fraction() {
        assert_eq!(time(b"12.5"), Some((12, 500_000_000)));
        assert_eq!(time(b"12.1234567891"), Some((12, 123_456_789)));
        assert_eq!(time(b"-1.25"), Some((-2, 750_000_000)));
        assert_eq!(time(b"-3"), Some((-3, 0)));
    }
}
