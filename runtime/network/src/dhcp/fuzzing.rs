//! What is demanded of everything that reads frames: see [`crate::fuzzing::frame`].

use std::net::{IpAddr, Ipv4Addr};

use super::message::{Answer, COOKIE, Kind};
use super::terms::{Terms, is_host};
use super::{arp, frame};

/// Of our question.
const XID: u32 = 0x5a6d_0001;
const MAC: [u8; 6] = [2, 0x5a, 0x6d, 0, 0, 1];
/// The address that we ask for, and probe for.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 77);

/// Where the parts of a DHCP frame begin, if the IPv4 header has no options.
const IPV4: usize = 14;
const UDP: usize = 34;
const MESSAGE: usize = 42;

/// Reads a frame in all ways in which one is read.
pub(crate) fn fuzz(flags: u8, bytes: &[u8]) {
    let mut bytes = bytes.to_vec();
    if flags & 1 != 0 {
        put_right(&mut bytes);
    }
    if flags & 2 != 0 {
        put_arp_right(&mut bytes);
    }
    if let Some(owner) = arp::owner(&bytes, MAC, ADDRESS) {
        // Who declines an address for a frame that doesn't name it would never get one.
        assert!(owner != MAC && bytes[12..14] == [0x08, 0x06] && bytes[22..28] == owner);
        assert!(bytes[28..32] == ADDRESS.octets() || bytes[38..42] == ADDRESS.octets());
    }
    // As it comes, and as a message whose frame was all right.
    message(&bytes);
    if let Some((way, inner)) = frame::decode(&bytes) {
        assert!(bytes[12..14] == [0x08, 0x00] && bytes[IPV4 + 9] == 17, "no UDP over IPv4");
        assert!(bytes.starts_with(&[way.destination_mac, way.source_mac].concat()));
        let start = IPV4 + usize::from(bytes[IPV4] & 0x0f) * 4;
        assert_eq!(bytes[start..start + 4], [0, 67, 0, 68], "not from a server to a client");
        assert_eq!(bytes.get(start + 8..start + 8 + inner.len()), Some(inner), "not all of it has arrived");
        message(inner);
    }
}

/// A message, and what it would grant.
fn message(bytes: &[u8]) {
    let Some(answer) = Answer::parse(bytes, XID, MAC) else { return };
    assert!(bytes[0] == 2 && bytes[4..8] == XID.to_be_bytes() && bytes[28..34] == MAC, "not ours");
    assert_eq!(Answer::parse(bytes, XID ^ 1, MAC), None, "another question's");
    assert_eq!(Answer::parse(bytes, XID, [0; 6]), None, "another interface's");
    assert!(matches!(answer.kind, Kind::Offer | Kind::Ack | Kind::Nak), "no server says this");
    if let Some(words) = answer.words() {
        assert!(!words.is_empty() && !words.chars().any(char::is_control), "{words:?}");
    }
    match Terms::read(&answer) {
        Ok(terms) => granted(&answer, &terms),
        Err(why) => assert!(why.len() > 10 && !why.chars().any(char::is_control), "{why:?}"),
    }
}

/// What goes into the kernel, into the lease and into `/etc/resolv.conf`.
fn granted(answer: &Answer, terms: &Terms) {
    let IpAddr::V4(own) = terms.address.address else { panic!("an IPv6 address") };
    let subnet = terms.address.subnet;
    assert!(own == answer.address && is_host(own) && is_host(terms.server), "{terms:?}");
    assert!(subnet.prefix() >= 8 && subnet.contains(own.into()), "{subnet}");
    assert!(subnet.prefix() > 30 || (subnet.address() != own && subnet.last() != own), "{own} of {subnet}");
    for router in terms.routers.iter().chain(terms.routes.iter().map(|route| &route.router)) {
        let is_near = subnet.contains((*router).into()) || subnet.prefix() == 32;
        let is_link = router.is_unspecified() && !terms.routers.contains(router);
        assert!(is_link || (is_host(*router) && *router != own && is_near), "{router} of {subnet}");
    }
    assert!(terms.routes.len() <= 64 && terms.dns_servers.len() <= 3 && terms.search.len() <= 6);
    assert!(terms.routes.iter().all(|route| route.destination.prefix() > 0), "{:?}", terms.routes);
    for name in &terms.search {
        let is_fit = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
        assert!((1..=253).contains(&name.len()) && name.bytes().all(is_fit), "{name:?}");
        assert!(!name.starts_with(['.', '-']) && !name.contains(".."), "{name:?}");
    }
    assert!(terms.mtu.is_none_or(|mtu| mtu >= 576), "{:?}", terms.mtu);
    if let Some(times) = terms.times {
        assert!(0 < times.renewal && times.renewal < times.rebinding && times.rebinding <= times.expiry);
    }
    // The lease says the same when it is read again.
    let text = serde_json::to_string(terms).expect("terms are JSON");
    assert_eq!(serde_json::from_str::<Terms>(&text).ok().as_ref(), Some(terms));
}

/// Makes all but message and options those of an answer to our question.
fn put_right(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(MESSAGE + 243), 0);
    let length = u16::try_from(bytes.len() - IPV4).unwrap_or(u16::MAX);
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes[IPV4..IPV4 + 2].copy_from_slice(&[0x45, 0]);
    bytes[IPV4 + 2..IPV4 + 4].copy_from_slice(&length.to_be_bytes());
    bytes[IPV4 + 6..IPV4 + 12].copy_from_slice(&[0, 0, 64, 17, 0, 0]);
    let sum = frame::checksum(frame::sum(&bytes[IPV4..UDP]));
    bytes[IPV4 + 10..IPV4 + 12].copy_from_slice(&sum);
    bytes[UDP..UDP + 4].copy_from_slice(&[0, 67, 0, 68]);
    bytes[UDP + 4..UDP + 6].copy_from_slice(&(length - 20).to_be_bytes());
    bytes[MESSAGE..MESSAGE + 3].copy_from_slice(&[2, 1, 6]);
    bytes[MESSAGE + 4..MESSAGE + 8].copy_from_slice(&XID.to_be_bytes());
    bytes[MESSAGE + 28..MESSAGE + 34].copy_from_slice(&MAC);
    bytes[MESSAGE + 236..MESSAGE + 240].copy_from_slice(&COOKIE);
}

/// Makes the type of the frame, and the form of what is in it, those of ARP.
fn put_arp_right(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().max(42), 0);
    bytes[12..20].copy_from_slice(&[0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::{code, tests::answer};
    use super::*;

    proptest! {
        /// Every demand, on messages that are nearly right and on bytes that are nothing.
        #[test]
        fn no_frame_breaks_a_demand(
            flags in 0_u8..4,
            kind in prop_oneof![Just(Kind::Offer), Just(Kind::Ack), Just(Kind::Nak)],
            options in proptest::collection::vec((1_u8..130, proptest::collection::vec(any::<u8>(), 0..40)), 0..8),
            noise in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        ) {
            let mut all: Vec<(u8, &[u8])> = vec![
                (code::SERVER, &[10, 3, 0, 1]),
                (code::SUBNET_MASK, &[255, 255, 255, 0]),
                (code::LEASE_TIME, &[0, 0, 14, 16]),
            ];
            all.extend(options.iter().map(|(code, value)| (*code, &value[..])));
            let mut bytes = vec![0; MESSAGE];
            bytes.extend(answer(kind, ADDRESS.octets(), &all));
            for (index, byte) in noise {
                let at = index.index(bytes.len());
                bytes[at] = byte;
            }
            fuzz(flags, &bytes);
            fuzz(flags, &bytes[..bytes.len() / 3]);
        }
    }
}
