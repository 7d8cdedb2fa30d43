//! The sets and maps of the table, with the types of their keys and values: what
//! `table.nft` declares, once more as values.
//!
//! Keys and values are laid out as nftables does it for concatenated types: every
//! part in network byte order, padded to four bytes.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use super::elements::Element;
use crate::port::Protocol;

/// The size of the type `ifname`.
const IFNAMSIZ: usize = 16;

/// A set, or, with data, a map.
#[derive(Debug)]
pub(super) struct Set {
    /// Its name in the table.
    pub(super) name: &'static str,
    key: &'static [Part],
    data: &'static [Part],
}

/// A part of a concatenated type, by the name that nft(8) has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    InetProto,
    InetService,
    Ipv4Addr,
    Ipv6Addr,
    IfName,
}

use Part::{IfName, InetProto, InetService, Ipv4Addr, Ipv6Addr};

/// All of them.
pub(super) const SETS: [Set; 14] = [
    Set { name: "published4", key: &[InetProto, InetService], data: &[Ipv4Addr, InetService] },
    Set { name: "published6", key: &[InetProto, InetService], data: &[Ipv6Addr, InetService] },
    Set { name: "published4_at", key: &[Ipv4Addr, InetProto, InetService], data: &[Ipv4Addr, InetService] },
    Set { name: "published6_at", key: &[Ipv6Addr, InetProto, InetService], data: &[Ipv6Addr, InetService] },
    Set { name: "bridges", key: &[IfName], data: &[] },
    Set { name: "loops", key: &[IfName, IfName], data: &[] },
    Set { name: "neighbours4", key: &[Ipv4Addr, Ipv4Addr], data: &[] },
    Set { name: "neighbours6", key: &[Ipv6Addr, Ipv6Addr], data: &[] },
    Set { name: "guarded", key: &[IfName], data: &[] },
    Set { name: "resolvers4", key: &[Ipv4Addr], data: &[] },
    Set { name: "resolvers6", key: &[Ipv6Addr], data: &[] },
    Set { name: "internal", key: &[IfName], data: &[] },
    Set { name: "isolated", key: &[IfName], data: &[] },
    Set { name: "strict", key: &[IfName], data: &[] },
];

/// The set of this name.
pub(super) fn find(name: &str) -> Option<&'static Set> {
    SETS.iter().find(|set| set.name == name)
}

impl fmt::Display for Element {
    /// As nft(8) wants it and lists it: `tcp . 8080 : 10.87.0.2 . 80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(set) = find(self.set) else {
            return Err(fmt::Error);
        };
        f.write_str(&text(set.key, &self.key, self.key_end.as_deref()))?;
        match &self.data {
            Some(data) => write!(f, " : {}", text(set.data, data, None)),
            None => Ok(()),
        }
    }
}

/// The parts one after the other; those of an interval with both of their ends.
fn text(parts: &[Part], mut first: &[u8], mut last: Option<&[u8]>) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            text.push_str(" . ");
        }
        text.push_str(&part.text(first));
        if let Some(end) = last {
            // Writing to a String can't fail.
            let _ = write!(text, "-{}", part.text(end));
        }
        first = first.get(part.size()..).unwrap_or_default();
        last = last.map(|end| end.get(part.size()..).unwrap_or_default());
    }
    text
}

impl Part {
    /// Its length in bytes, padding included.
    fn size(self) -> usize {
        match self {
            Self::InetProto | Self::InetService | Self::Ipv4Addr => 4,
            Self::Ipv6Addr | Self::IfName => IFNAMSIZ,
        }
    }

    /// The value that `bytes` begin with; `?` if they are too short for it.
    fn text(self, bytes: &[u8]) -> String {
        let text = match self {
            Self::InetProto => bytes.first().map(|number| protocol(*number)),
            Self::InetService => bytes.first_chunk().map(|port| u16::from_be_bytes(*port).to_string()),
            Self::Ipv4Addr => bytes.first_chunk().map(|octets: &[u8; 4]| IpAddr::from(*octets).to_string()),
            Self::Ipv6Addr => bytes.first_chunk().map(|octets: &[u8; 16]| IpAddr::from(*octets).to_string()),
            Self::IfName => bytes
                .get(..IFNAMSIZ)
                .map(|name| format!("\"{}\"", String::from_utf8_lossy(name).trim_end_matches('\0'))),
        };
        text.unwrap_or_else(|| "?".to_owned())
    }
}

/// The name of a protocol that we publish, the number of another.
fn protocol(number: u8) -> String {
    [Protocol::Tcp, Protocol::Udp, Protocol::Sctp]
        .iter()
        .find(|protocol| protocol.number() == number)
        .map_or_else(|| number.to_string(), Protocol::to_string)
}

pub(super) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

pub(super) fn port_number(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

pub(super) fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_those_of_the_table() {
        let word = |part: &Part| match part {
            InetProto => "inet_proto",
            InetService => "inet_service",
            Ipv4Addr => "ipv4_addr",
            Ipv6Addr => "ipv6_addr",
            IfName => "ifname",
        };
        let kind = |parts: &[Part]| parts.iter().map(word).collect::<Vec<_>>().join(" . ");
        let declared: Vec<String> = include_str!("table.nft")
            .lines()
            .filter_map(|line| {
                let line = line.trim();
                let line = line.strip_prefix("map ").or_else(|| line.strip_prefix("set "))?;
                let (name, rest) = line.split_once(" { type ")?;
                Some(format!("{name} {}", rest.split(';').next()?))
            })
            .collect();
        let known = SETS.iter().map(|set| match set.data {
            [] => format!("{} {}", set.name, kind(set.key)),
            data => format!("{} {} : {}", set.name, kind(set.key), kind(data)),
        });
        assert_eq!(declared, known.collect::<Vec<_>>());
    }

    #[test]
    fn elements_are_spelled_as_nft_does() {
        let element = |set, key: &[u8], key_end: Option<&[u8]>, data: Option<&[u8]>| Element {
            set,
            key: key.to_vec(),
            key_end: key_end.map(<[u8]>::to_vec),
            data: data.map(<[u8]>::to_vec),
        };
        let port = element(
            "published4_at",
            &[127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0],
            None,
            Some(&[10, 0, 0, 2, 0, 80, 0, 0]),
        );
        assert_eq!(port.to_string(), "127.0.0.1 . tcp . 8080 : 10.0.0.2 . 80");
        let subnet =
            element("neighbours4", &[10, 0, 0, 0, 10, 0, 0, 0], Some(&[10, 0, 0, 255, 10, 0, 0, 255]), None);
        assert_eq!(subnet.to_string(), "10.0.0.0-10.0.0.255 . 10.0.0.0-10.0.0.255");
        assert_eq!(element("bridges", &interface_name("sampan0"), None, None).to_string(), "\"sampan0\"");
        assert_eq!(element("bridges", &[1], None, None).to_string(), "?");
    }
}
