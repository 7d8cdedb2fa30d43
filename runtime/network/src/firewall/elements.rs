//! Which elements of the table's maps and sets a network and a container have.

use std::net::IpAddr;

use super::sets::{interface_name, octets, port_number};
use crate::config::Network;
use crate::lease::Lease;
use crate::options::Isolate;
use crate::port::PortMapping;

/// An element of a set, or, with data, of a map.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
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

/// All elements of these leases, each once, those of a set side by side.
pub(crate) fn of_leases(leases: &[Lease]) -> Vec<Element> {
    let mut all: Vec<Element> = leases
        .iter()
        .flat_map(|lease| {
            let networks = lease.attachments.iter().flat_map(|attachment| of_network(&attachment.network));
            networks.chain(of_lease(lease))
        })
        .collect();
    all.sort();
    all.dedup();
    all
}

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
    // The routes of a VRF aren't those of the host.
    if !network.subnets.is_empty() && network.options.vrf.is_none() {
        elements.push(member("guarded", &name));
    }
    if network.dns_enabled {
        elements.extend(network.gateways().map(|(gateway, _)| {
            member(if gateway.is_ipv6() { "resolvers6" } else { "resolvers4" }, &octets(gateway))
        }));
    }
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

/// The elements of a container: its published ports, without those that are withheld.
pub(crate) fn of_lease(lease: &Lease) -> Vec<Element> {
    let mut elements = all_of_lease(lease);
    if !lease.withheld.is_empty() {
        let withheld = of_ports(lease, &lease.withheld);
        elements.retain(|element| !withheld.contains(element));
    }
    elements
}

/// The elements that a container could have: those that are to go when it does.
pub(crate) fn all_of_lease(lease: &Lease) -> Vec<Element> {
    of_ports(lease, &lease.ports)
}

fn of_ports(lease: &Lease, ports: &[PortMapping]) -> Vec<Element> {
    let targets = [lease.target(false), lease.target(true)];
    let mut elements: Vec<Element> = targets
        .into_iter()
        .flatten()
        .flat_map(|target| ports.iter().flat_map(move |port| published(port, target)))
        .collect();
    elements.sort_by_key(|element| element.set);
    elements
}

/// Whether the host reaches a port of the lease on its loopback address, which takes
/// `route_localnet` (ip-sysctl.rst in the kernel's documentation) on the bridges.
pub(crate) fn is_on_loopback(lease: &Lease) -> bool {
    lease.ports.iter().any(|port| match port.host_ip {
        None => true,
        Some(IpAddr::V4(address)) => address.is_unspecified() || address.is_loopback(),
        Some(IpAddr::V6(_)) => false,
    })
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
