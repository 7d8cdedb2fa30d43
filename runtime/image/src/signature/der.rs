//! The little of DER that public keys and certificates need
//! ([X.690, 10](https://www.itu.int/rec/T-REC-X.690), [RFC 5280, 4.1](https://www.rfc-editor.org/rfc/rfc5280#section-4.1)).

pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const BIT_STRING: u8 = 0x03;
pub(super) const OCTET_STRING: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const UTF8: u8 = 0x0c;

/// Tag of the first element.
pub(super) fn tag(bytes: &[u8]) -> Option<u8> {
    bytes.first().copied()
}

/// The first element whole, which must have this tag, and what follows it.
pub(super) fn whole(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = element(bytes, tag)?;
    bytes.split_at_checked(bytes.len() - rest.len())
}

/// The content of the first element, which must have this tag, and what follows it. Lengths have to be the
/// shortest that are possible.
pub(super) fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    if found != tag {
        return None;
    }
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&length, rest) = rest.split_first()?;
            (usize::from(length), rest)
        }
        0x82 => {
            let (length, rest) = rest.split_first_chunk::<2>()?;
            (usize::from(u16::from_be_bytes(*length)), rest)
        }
        // More than 64 KiB: no key.
        _ => return None,
    };
    let shortest = match first {
        0x81 => length > 0x7f,
        0x82 => length > 0xff,
        _ => true,
    };
    shortest.then(|| rest.split_at_checked(length)).flatten()
}

/// The content of the only element.
pub(super) fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    element(bytes, tag).filter(|(_, rest)| rest.is_empty()).map(|(content, _)| content)
}

/// An element with this content, of at most 64 KiB.
pub(super) fn encode(tag: u8, content: &[u8]) -> Option<Vec<u8>> {
    let length = u16::try_from(content.len()).ok()?;
    let [high, low] = length.to_be_bytes();
    let mut bytes = match length {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    bytes.extend(content);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_read_as_they_are_written() {
        for length in [0, 1, 0x7f, 0x80, 0xff, 0x100, 0xffff] {
            let content = vec![7; length];
            let bytes = encode(SEQUENCE, &content).unwrap();
            assert_eq!(only(&bytes, SEQUENCE), Some(&content[..]), "{length}");
            assert_eq!(only(&bytes, BIT_STRING), None);
            assert_eq!(only(&[&bytes[..], &[0]].concat(), SEQUENCE), None);
            assert_eq!(element(&bytes[..bytes.len() - 1], SEQUENCE), None);
        }
        for bad in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x81, 1, 0],
            &[0x30, 0x82, 0, 1, 0],
            &[0x30, 0x84, 0, 0, 0, 0],
        ] {
            assert_eq!(element(bad, SEQUENCE), None, "{bad:x?}");
        }
    }
}
