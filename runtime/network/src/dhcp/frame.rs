//! Ethernet frames with an IPv4 packet with a UDP datagram, as DHCP before there is
//! an address has to write them itself (RFC 894, 791, 768).

use std::net::Ipv4Addr;

/// The port of clients.
pub(super) const CLIENT_PORT: u16 = 68;
/// The port of servers and relays.
pub(super) const SERVER_PORT: u16 = 67;
/// To everyone on the link.
pub(super) const EVERYONE: [u8; 6] = [0xff; 6];

const ETHERNET: usize = 14;
const IPV4: usize = 20;
const UDP: usize = 8;
const IPV4_TYPE: [u8; 2] = [0x08, 0x00];
const UDP_PROTOCOL: u8 = 17;
const DONT_FRAGMENT: u16 = 0x4000;
const FRAGMENT: u16 = 0x3fff;
const TIME_TO_LIVE: u8 = 64;

/// Who sends a datagram, and to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) source_mac: [u8; 6],
    pub(super) destination_mac: [u8; 6],
    pub(super) source: Ipv4Addr,
    pub(super) destination: Ipv4Addr,
}

/// A client's message as a frame.
pub(super) fn encode(way: &Way, message: &[u8]) -> Vec<u8> {
    let size = |bytes: usize| u16::try_from(bytes).unwrap_or(u16::MAX).to_be_bytes();
    let mut frame = Vec::with_capacity(ETHERNET + IPV4 + UDP + message.len());
    frame.extend(way.destination_mac);
    frame.extend(way.source_mac);
    frame.extend(IPV4_TYPE);

    frame.extend([0x45, 0]);
    frame.extend(size(IPV4 + UDP + message.len()));
    frame.extend([0, 0]);
    frame.extend(DONT_FRAGMENT.to_be_bytes());
    frame.extend([TIME_TO_LIVE, UDP_PROTOCOL, 0, 0]);
    frame.extend(way.source.octets());
    frame.extend(way.destination.octets());
    let header = checksum(sum(&frame[ETHERNET..]));
    frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&header);

    frame.extend(CLIENT_PORT.to_be_bytes());
    frame.extend(SERVER_PORT.to_be_bytes());
    frame.extend(size(UDP + message.len()));
    frame.extend([0, 0]);
    frame.extend(message);
    let datagram = &frame[ETHERNET + IPV4..];
    let pseudo = u32::from(UDP_PROTOCOL) + datagram.len() as u32;
    let addresses = sum(&way.source.octets()) + sum(&way.destination.octets());
    let sum = checksum(addresses + pseudo + sum(datagram));
    // A sum of zero would mean that there is none.
    let sum = if sum == [0, 0] { [0xff, 0xff] } else { sum };
    frame[ETHERNET + IPV4 + 6..ETHERNET + IPV4 + 8].copy_from_slice(&sum);
    frame
}

/// A server's message in a frame, and its way; absent for all other frames.
///
/// The datagram's checksum is not looked at: where the server is on this very host, or
/// the card works it out, it is not there yet.
pub(super) fn decode(frame: &[u8]) -> Option<(Way, &[u8])> {
    let (header, packet) = frame.split_at_checked(ETHERNET)?;
    let (first, _) = packet.split_at_checked(IPV4)?;
    let length = usize::from(first[0] & 0x0f) * 4;
    let total = usize::from(u16::from_be_bytes([first[2], first[3]]));
    let fragment = u16::from_be_bytes([first[6], first[7]]) & FRAGMENT;
    if header[12..] != IPV4_TYPE
        || first[0] >> 4 != 4
        || length < IPV4
        || first[9] != UDP_PROTOCOL
        || fragment != 0
    {
        return None;
    }
    // Short packets come with padding.
    let packet = packet.get(..total)?;
    let datagram = packet.get(length..)?;
    if checksum(sum(&packet[..length])) != [0, 0] {
        return None;
    }
    let (udp, _) = datagram.split_at_checked(UDP)?;
    let port = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    let message = datagram.get(UDP..usize::from(port(4)))?;
    if (port(0), port(2)) != (SERVER_PORT, CLIENT_PORT) {
        return None;
    }
    let way = Way {
        destination_mac: *header.first_chunk()?,
        source_mac: *header[6..].first_chunk()?,
        source: Ipv4Addr::from(*first[12..].first_chunk::<4>()?),
        destination: Ipv4Addr::from(*first[16..].first_chunk::<4>()?),
    };
    Some((way, message))
}

/// The sum of 16-bit words (RFC 1071); what a frame holds can't overflow it.
pub(super) fn sum(bytes: &[u8]) -> u32 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    bytes.chunks(2).map(word).sum()
}

/// The checksum of a sum.
pub(super) fn checksum(mut sum: u32) -> [u8; 2] {
    while sum > 0xffff {
        sum = (sum >> 16) + (sum & 0xffff);
    }
    (!(sum as u16)).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WAY: Way = Way {
        source_mac: [2, 0, 0, 0, 0, 9],
        destination_mac: EVERYONE,
        source: Ipv4Addr::UNSPECIFIED,
        destination: Ipv4Addr::BROADCAST,
    };

    /// A server's frame.
    fn answer(message: &[u8]) -> Vec<u8> {
        let mut frame = encode(&WAY, message);
        frame.swap(35, 37);
        frame
    }

    #[test]
    fn frames_carry_messages() {
        let mut frame = answer(b"hello");
        assert_eq!(decode(&frame), Some((WAY, &b"hello"[..])));
        frame.extend([0; 20]);
        assert_eq!(decode(&frame).unwrap().1, b"hello", "with padding");
        assert_eq!(decode(&encode(&WAY, b"hello")), None, "a client's");
        for length in 0..ETHERNET + IPV4 + UDP + 5 {
            assert_eq!(decode(&frame[..length]), None, "{length} bytes");
        }
        frame[ETHERNET + 8] ^= 1;
        assert_eq!(decode(&frame), None, "damaged");
    }

    #[test]
    fn checksums_are_those_of_the_standard() {
        // The header of RFC 1071's readers' favourite example.
        let header =
            [0x45, 0, 0, 0x73, 0, 0, 0x40, 0, 0x40, 0x11, 0, 0, 0xc0, 0xa8, 0, 1, 0xc0, 0xa8, 0, 0xc7];
        assert_eq!(checksum(sum(&header)), [0xb8, 0x61]);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), real in any::<bool>()) {
            if real && bytes.len() >= ETHERNET + 12 {
                bytes[12..ETHERNET].copy_from_slice(&IPV4_TYPE);
                bytes[ETHERNET] = 0x40 | bytes[ETHERNET] & 0x0f;
                bytes[ETHERNET + 9] = UDP_PROTOCOL;
            }
            let _ = decode(&bytes);
        }
    }
}
