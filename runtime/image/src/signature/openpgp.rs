//! OpenPGP keys as files have them: armored or not, several in one ([RFC 4880](https://www.rfc-editor.org/rfc/rfc4880)).
//!
//! `gpgv` reads binary keyrings alone. Nothing here decides about trust: it brings keys into that form, and says
//! early what is not one.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";
/// Tag of the packet that a public key begins with.
const PUBLIC_KEY: u8 = 6;

/// The keys of a file as a binary keyring.
pub(super) fn keyring(bytes: &[u8]) -> Result<Vec<u8>, String> {
    // A packet's first byte has its highest bit set, text has not (RFC 4880, 4.2).
    let binary = match bytes.first() {
        None => return Err("it is empty".to_owned()),
        Some(first) if first & 0x80 != 0 => bytes.to_vec(),
        Some(_) => dearmor(bytes)?,
    };
    match count(&binary)? {
        0 => Err("it has no public key".to_owned()),
        _ => Ok(binary),
    }
}

/// All blocks of an armored file; text around them (as RPM keys have) is skipped.
fn dearmor(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().map(str::trim_end);
    let mut all = Vec::new();
    while lines.by_ref().any(|line| line == BEGIN) {
        // Headers end with an empty line.
        if !lines.by_ref().any(str::is_empty) {
            return Err("the headers of its armor do not end".to_owned());
        }
        let (mut data, mut sum, mut ended) = (String::new(), None, false);
        for line in lines.by_ref() {
            match line.strip_prefix('=') {
                _ if line == END => {
                    ended = true;
                    break;
                }
                Some(base64) if base64.len() == 4 && !data.is_empty() => sum = Some(base64.to_owned()),
                _ => data.push_str(line),
            }
        }
        if !ended {
            return Err(format!("it is cut off: \"{END}\" is missing"));
        }
        let block = STANDARD.decode(&data).map_err(|error| format!("its armor is not base 64: {error}"))?;
        if let Some(sum) = sum
            && STANDARD.decode(&sum).ok().as_deref() != Some(&crc24(&block)[..])
        {
            return Err("the checksum of its armor is wrong".to_owned());
        }
        all.extend(block);
    }
    if all.is_empty() { Err(format!("it has no \"{BEGIN}\"")) } else { Ok(all) }
}

/// The armor's checksum (RFC 4880, 6.1).
fn crc24(bytes: &[u8]) -> [u8; 3] {
    let mut crc: u32 = 0x00b7_04ce;
    for byte in bytes {
        crc ^= u32::from(*byte) << 16;
        for _ in 0..8 {
            crc <<= 1;
            if crc & 0x0100_0000 != 0 {
                crc ^= 0x0186_4cfb;
            }
        }
    }
    let [_, high, middle, low] = crc.to_be_bytes();
    [high, middle, low]
}

/// How many public keys there are; an error if the packets do not fit the file.
fn count(mut bytes: &[u8]) -> Result<usize, String> {
    let mut keys = 0;
    while !bytes.is_empty() {
        let (tag, header, length) = header(bytes).ok_or("it is not a series of OpenPGP packets")?;
        keys += usize::from(tag == PUBLIC_KEY);
        bytes = header
            .checked_add(length)
            .and_then(|end| bytes.get(end..))
            .ok_or("its last OpenPGP packet is cut off")?;
    }
    Ok(keys)
}

/// Tag, length of the header and length of the body of the first packet (RFC 4880, 4.2).
fn header(bytes: &[u8]) -> Option<(u8, usize, usize)> {
    let first = *bytes.first()?;
    if first & 0x80 == 0 {
        return None;
    }
    let number = |from: usize, count: usize| {
        let digits = bytes.get(from..from + count)?;
        Some(digits.iter().fold(0_usize, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    if first & 0x40 == 0 {
        let octets = match first & 3 {
            0 => 1,
            1 => 2,
            2 => 4,
            // A length that is not known: keys have one.
            _ => return None,
        };
        return Some(((first >> 2) & 15, 1 + octets, number(1, octets)?));
    }
    let tag = first & 0x3f;
    match *bytes.get(1)? {
        short @ 0..=191 => Some((tag, 2, usize::from(short))),
        long @ 192..=223 => Some((tag, 3, ((usize::from(long) - 192) << 8) + number(2, 1)? + 192)),
        255 => Some((tag, 6, number(2, 4)?)),
        // Partial lengths are for data.
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn armored(binary: &[u8], sum: bool) -> String {
        let sum = if sum { format!("={}\n", STANDARD.encode(crc24(binary))) } else { String::new() };
        format!("pub 4096R/x\n\n{BEGIN}\nVersion: x\n\n{}\n{sum}{END}\n", STANDARD.encode(binary))
    }

    #[test]
    fn armor_is_taken_off() {
        // An old and a new header, each of a public key with two bytes.
        let keys = [0x98, 2, 1, 1, 0xc6, 2, 1, 1];
        assert_eq!(keyring(&keys).unwrap(), keys);
        let two = armored(&keys, true) + &armored(&keys, false);
        assert_eq!(keyring(two.as_bytes()).unwrap(), [keys, keys].concat());
        assert_eq!(keyring(two.replace('\n', "\r\n").as_bytes()).unwrap().len(), 16);
        // RFC 9580, 6.1 and others: the sum of nothing is its start.
        assert_eq!(crc24(b""), [0xb7, 0x04, 0xce]);
        assert_eq!(crc24(b"123456789"), [0x21, 0xcf, 0x02]);
    }

    #[test]
    fn what_is_no_key_is_said_so() {
        let keys = [0x98, 2, 1, 1];
        let wrong_sum = armored(&keys, true).replace(&STANDARD.encode(crc24(&keys)), "AAAA");
        let cut = armored(&keys, true).replace(END, "");
        for bad in [
            &b""[..],
            b"hello",
            b"\x98",
            b"\x98\x05\x01",
            // A user id alone, a secret key alone, a length that is not known, a partial one.
            b"\xb4\x01x",
            b"\x94\x01x",
            b"\x9b\x01",
            b"\xc6\xe1\x01",
            b"\xc6\xff\xff\xff\xff\xff\x01",
            wrong_sum.as_bytes(),
            cut.as_bytes(),
        ] {
            assert!(keyring(bad).is_err(), "{bad:x?}");
        }
    }
}
