//! Which elements of the table's maps and sets a network and a container have.
//!
//! Keys and values are laid out as nftables does it for concatenated types:
//! every part in network byte order, padded to four bytes.

use std::fmt;
use std::net::IpAddr;

use crate::config::Network;
use crate::lease::Lease;
use crate::options::Isolate;
use crate::port::PortMapping;

/// The size of the type `ifname`.
const IFNAMSIZ: usize = 16;

/// An element of a set, or, with data, of a map.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// The set or map.
    pub(crate) set: &'static str,
    /// The key, or the first key of an interval.
    pub(crate) key: Vec<u8>,
    /// The last key of an interval.
    pub(crate) key_end: Option<Vec<u8>>,
    /// What the key leads to.
    pub(crate) data: Option<Vec<u8>>,
}

impl Element {
    /// The same key alone, to look it up.
    pub(super) fn without_data(&self) -> Self {
        Self { data: None, ..self.clone() }
    }
}

impl fmt::Debug for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the element ")?;
        for byte in &self.key {
            write!(f, "{byte:02x}")?;
        }
        write!(f, " of {}", self.set)
    }
}

/// The names of the sets and maps, as `table.nft` has them.
pub(super) const SETS: [&str; 11] = [
    "published4",
    "published6",
    "published4_at",
    "published6_at",
    "bridges",
    "loops",
    "neighbours4",
    "neighbours6",
    "internal",
    "isolated",
    "strict",
];

/// The elements of a network: they are there as long as its bridge is. Packets of
/// networks without a bridge of ours don't pass through the table.
pub(crate) fn of_network(network: &Network) -> Vec<Element> {
    let Some(bridge) = network.own_bridge() else {
        return Vec::new();
    };
    let name = interface_name(bridge);
    let member = |set, key: &[u8]| Element { set, key: key.to_vec(), key_end: None, data: None };
    let mut elements = vec![member("bridges", &name), member("loops", &[name.as_slice(), &name].concat())];
    elements.extend(network.subnets.iter().map(|config| {
        let subnet = config.subnet;
        let (first, last) = (octets(subnet.address()), octets(subnet.last()));
        let set = if subnet.is_ipv6() { "neighbours6" } else { "neighbours4" };
        Element {
            key_end: Some([last.as_slice(), &last].concat()),
            ..member(set, &[first.as_slice(), &first].concat())
        }
    }));
    if network.internal {
        elements.push(member("internal", &name));
    }
    match network.options.isolate {
        Isolate::No => {}
        Isolate::Isolated => elements.push(member("isolated", &name)),
        Isolate::Strict => elements.push(member("strict", &name)),
    }
    elements
}

/// The elements of a container: its published ports.
///
/// They lead to the first address of each family, of a network that isn't
/// internal if there is one.
pub(crate) fn of_lease(lease: &Lease) -> Vec<Element> {
    let target = |ipv6: bool| {
        let mut attachments: Vec<_> =
            lease.attachments.iter().filter(|at| at.network.own_bridge().is_some()).collect();
        attachments.sort_by_key(|attachment| attachment.network.internal);
        attachments
            .iter()
            .flat_map(|attachment| &attachment.addresses)
            .map(|address| address.address)
            .find(|address| address.is_ipv6() == ipv6)
    };
    let targets = [target(false), target(true)];
    let mut elements: Vec<Element> = targets
        .into_iter()
        .flatten()
        .flat_map(|target| lease.ports.iter().flat_map(move |port| published(port, target)))
        .collect();
    elements.sort_by_key(|element| element.set);
    elements
}

fn published(port: &PortMapping, target: IpAddr) -> Vec<Element> {
    let ipv6 = target.is_ipv6();
    let (set, address) = match port.host_ip {
        Some(address) if address.is_ipv6() != ipv6 => return Vec::new(),
        Some(address) if !address.is_unspecified() => {
            let set = if ipv6 { "published6_at" } else { "published4_at" };
            (set, Some(address))
        }
        _ => (if ipv6 { "published6" } else { "published4" }, None),
    };
    (0..port.range)
        .map(|step| {
            let mut key = address.map_or_else(Vec::new, octets);
            key.extend([port.protocol.number(), 0, 0, 0]);
            key.extend(port_number(port.host_port.wrapping_add(step)));
            let mut data = octets(target);
            data.extend(port_number(port.container_port.wrapping_add(step)));
            Element { set, key, key_end: None, data: Some(data) }
        })
        .collect()
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn port_number(port: u16) -> [u8; 4] {
    let [high, low] = port.to_be_bytes();
    [high, low, 0, 0]
}

fn interface_name(name: &str) -> Vec<u8> {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(IFNAMSIZ, 0);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::port::parse_ports;

    fn published_at(text: &str, target: &str) -> Vec<Element> {
        let target = target.parse().unwrap();
        parse_ports(text).unwrap().iter().flat_map(|port| published(port, target)).collect()
    }

    #[test]
    fn parts_are_padded_to_four_bytes() {
        let elements = published_at("127.0.0.1:8080:80", "10.0.0.2");
        assert_eq!(elements[0].set, "published4_at");
        assert_eq!(elements[0].key, [127, 0, 0, 1, 6, 0, 0, 0, 0x1f, 0x90, 0, 0]);
        assert_eq!(elements[0].data.as_deref(), Some(&[10, 0, 0, 2, 0, 80, 0, 0][..]));
    }

    #[test]
    fn an_address_is_published_in_its_family() {
        assert!(published_at("127.0.0.1:8080:80", "fd00::2").is_empty());
        assert!(published_at("[::]:8080:80", "10.0.0.2").is_empty());
        assert_eq!(published_at("8080:80", "fd00::2")[0].set, "published6");
        assert_eq!(published_at("0.0.0.0:8080-8082:80-82/udp", "10.0.0.2").len(), 3);
    }
}
