//! nf_tables messages about elements (linux/netfilter/nf_tables.h).
//!
//! Only what adding, finding and removing elements needs: the rules themselves
//! are loaded by `nft`.

use super::elements::Element;
use super::sets;
use crate::kernel::netlink::attribute;

const NFNL_SUBSYS_NFTABLES: u16 = 10;
const NFPROTO_INET: u8 = 1;

/// Starts a transaction.
pub(super) const BATCH_BEGIN: u16 = 0x10;
/// Commits a transaction.
pub(super) const BATCH_END: u16 = 0x11;
/// `NFT_MSG_GETCHAIN`.
pub(super) const GET_CHAIN: u16 = NFNL_SUBSYS_NFTABLES << 8 | 4;
/// `NFT_MSG_NEWSETELEM`.
pub(super) const NEW_ELEMENTS: u16 = NFNL_SUBSYS_NFTABLES << 8 | 12;
/// `NFT_MSG_GETSETELEM`.
pub(super) const GET_ELEMENTS: u16 = NFNL_SUBSYS_NFTABLES << 8 | 13;
/// `NFT_MSG_DELSETELEM`.
pub(super) const DELETE_ELEMENTS: u16 = NFNL_SUBSYS_NFTABLES << 8 | 14;

const NFTA_CHAIN_TABLE: u16 = 1;
const NFTA_CHAIN_NAME: u16 = 3;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_KEY_END: u16 = 10;
const NFTA_DATA_VALUE: u16 = 1;
const NLA_F_NESTED: u16 = 1 << 15;

const TABLE: &str = "sampan";

/// Length of `struct nfgenmsg`.
const GENERIC_HEADER: usize = 4;

/// The payload of [`BATCH_BEGIN`] and [`BATCH_END`].
pub(super) fn batch() -> Vec<u8> {
    let [high, low] = NFNL_SUBSYS_NFTABLES.to_be_bytes();
    vec![0, 0, high, low]
}

/// The payload of [`GET_CHAIN`].
pub(super) fn chain(name: &str) -> Vec<u8> {
    let mut payload = generic_header();
    put_text(&mut payload, NFTA_CHAIN_TABLE, TABLE);
    put_text(&mut payload, NFTA_CHAIN_NAME, name);
    payload
}

/// The payload of a message about elements of one set or map.
pub(super) fn elements(set: &str, elements: &[Element]) -> Vec<u8> {
    let mut payload = generic_header();
    put_text(&mut payload, NFTA_SET_ELEM_LIST_TABLE, TABLE);
    put_text(&mut payload, NFTA_SET_ELEM_LIST_SET, set);
    put_nested(&mut payload, NFTA_SET_ELEM_LIST_ELEMENTS, |list| {
        for element in elements {
            put_nested(list, NFTA_LIST_ELEM, |item| {
                put_value(item, NFTA_SET_ELEM_KEY, &element.key);
                if let Some(end) = &element.key_end {
                    put_value(item, NFTA_SET_ELEM_KEY_END, end);
                }
                if let Some(data) = &element.data {
                    put_value(item, NFTA_SET_ELEM_DATA, data);
                }
            });
        }
    });
    payload
}

/// Reads the first element of an answer to [`GET_ELEMENTS`].
pub(super) fn parse_element(payload: &[u8]) -> Option<Element> {
    let attributes = payload.get(GENERIC_HEADER..)?;
    let set = attribute(attributes, NFTA_SET_ELEM_LIST_SET)?;
    let set = std::str::from_utf8(set).ok()?.trim_end_matches('\0');
    let item = attribute(attribute(attributes, NFTA_SET_ELEM_LIST_ELEMENTS)?, NFTA_LIST_ELEM)?;
    let value = |kind| attribute(attribute(item, kind)?, NFTA_DATA_VALUE).map(<[u8]>::to_vec);
    Some(Element {
        set: sets::find(set)?.name,
        key: value(NFTA_SET_ELEM_KEY)?,
        key_end: value(NFTA_SET_ELEM_KEY_END),
        data: value(NFTA_SET_ELEM_DATA),
    })
}

fn generic_header() -> Vec<u8> {
    vec![NFPROTO_INET, 0, 0, 0]
}

fn put_value(payload: &mut Vec<u8>, kind: u16, value: &[u8]) {
    put_nested(payload, kind, |inner| put(inner, NFTA_DATA_VALUE, value));
}

fn put_text(payload: &mut Vec<u8>, kind: u16, text: &str) {
    put(payload, kind, &[text.as_bytes(), b"\0"].concat());
}

pub(super) fn put(payload: &mut Vec<u8>, kind: u16, value: &[u8]) {
    put_with(payload, kind, |inner| inner.extend_from_slice(value));
}

pub(super) fn put_nested(payload: &mut Vec<u8>, kind: u16, inner: impl FnOnce(&mut Vec<u8>)) {
    put_with(payload, kind | NLA_F_NESTED, inner);
}

/// Writes an attribute: its length and type, its value, padding.
fn put_with(payload: &mut Vec<u8>, kind: u16, value: impl FnOnce(&mut Vec<u8>)) {
    let start = payload.len();
    payload.extend([0, 0]);
    payload.extend(kind.to_ne_bytes());
    value(payload);
    let length = u16::try_from(payload.len() - start).unwrap_or(u16::MAX);
    payload[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    payload.resize(payload.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_survives_the_round_trip() {
        let element = Element {
            set: "published4",
            key: vec![6, 0, 0, 0, 0x1f, 0x90, 0, 0],
            key_end: None,
            data: Some(vec![10, 86, 0, 2, 0, 80, 0, 0]),
        };
        let payload = elements("published4", std::slice::from_ref(&element));
        assert_eq!(parse_element(&payload), Some(element));
        assert_eq!(payload.len() % 4, 0);
    }

    #[test]
    fn a_full_message_fits_its_attribute() {
        let element =
            Element { set: "published6_at", key: vec![0; 24], key_end: None, data: Some(vec![0; 20]) };
        let all = vec![element; super::super::ELEMENTS_PER_MESSAGE];
        assert!(elements("published6_at", &all).len() < usize::from(u16::MAX));
    }
}
