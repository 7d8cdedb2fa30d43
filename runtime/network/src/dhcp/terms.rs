//! What a server grants, once it makes sense.
//!
//! Whoever answers first on a network is the server, so nothing here may do more harm
//! than a wrong network: addresses are such as a host can have, names are such as can
//! stand in `resolv.conf`, and times have an end or none.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::message::{Answer, code};
use crate::lease::Address;
use crate::subnet::Subnet;

/// A lease time without end (RFC 2131, section 3.3).
const FOREVER: u32 = u32::MAX;
/// More than `resolv.conf` has room for.
const MOST_SERVERS: usize = 3;
const MOST_DOMAINS: usize = 6;
const MOST_ROUTES: usize = 64;
const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;
/// Every host takes packets of this length (RFC 791); a smaller largest one is a mistake.
const SMALLEST_MTU: u16 = 576;
/// No network is larger than this.
const SHORTEST_PREFIX: u8 = 8;

/// What a DHCP server has granted to an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The address, and the network it is in.
    pub address: Address,
    /// Routers to everywhere else; the first is used.
    pub routers: Vec<Ipv4Addr>,
    /// Ways to certain networks (RFC 3442); an unspecified router means that the network is on the link.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub routes: Vec<Route>,
    /// Servers that answer names.
    pub dns_servers: Vec<IpAddr>,
    /// Domains to look for names in, that of the network first.
    pub search: Vec<String>,
    /// The largest packet, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The server.
    pub server: Ipv4Addr,
    /// How long it is granted; absent means without end.
    pub times: Option<Times>,
}

/// A way to a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    /// The network.
    pub destination: Subnet,
    /// Who forwards packets to it.
    pub router: Ipv4Addr,
}

/// How long an address is granted, in seconds since the server said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// When to ask this server for more.
    pub renewal: u32,
    /// When to ask any server.
    pub rebinding: u32,
    /// When the address is no longer ours.
    pub expiry: u32,
}

impl Terms {
    /// Reads an offer or an acknowledgement.
    ///
    /// # Errors
    /// What makes no sense, in words.
    pub(super) fn read(answer: &Answer) -> Result<Self, String> {
        let server = answer.server().filter(|server| is_host(*server));
        let server = server.ok_or("it doesn't say which server it is of")?;
        let address = network_of(answer)?;
        let IpAddr::V4(own) = address.address else { return Err("it has no IPv4 address".to_owned()) };
        let is_router = |router: &Ipv4Addr| {
            // On a network of one address the router is elsewhere.
            let is_near = address.subnet.contains((*router).into()) || address.subnet.prefix() == 32;
            is_host(*router) && *router != own && is_near
        };
        let (routers, routes) = match answer.option(code::CLASSLESS_ROUTES).map(classless_routes) {
            // Who sends these means them instead of the others (RFC 3442).
            Some(Some(routes)) => {
                let (default, others): (Vec<_>, Vec<_>) = routes
                    .into_iter()
                    .filter(|route| route.router.is_unspecified() || is_router(&route.router))
                    .partition(|route| route.destination.prefix() == 0);
                let routers = default.iter().map(|route| route.router);
                (routers.filter(|router| !router.is_unspecified()).collect(), others)
            }
            _ => (answer.addresses(code::ROUTER).filter(is_router).take(MOST_SERVERS).collect(), Vec::new()),
        };
        let servers = answer.addresses(code::DNS_SERVER).filter(|server| is_host(*server));
        let mtu = answer.option(code::MTU).and_then(|bytes| Some(u16::from_be_bytes(bytes.try_into().ok()?)));
        Ok(Self {
            address,
            routers,
            routes,
            dns_servers: servers.map(IpAddr::from).take(MOST_SERVERS).collect(),
            search: domains(answer),
            mtu: mtu.filter(|mtu| *mtu >= SMALLEST_MTU),
            server,
            times: times(answer)?,
        })
    }
}

/// The address and its network.
fn network_of(answer: &Answer) -> Result<Address, String> {
    let own = answer.address;
    if !is_host(own) {
        return Err(format!("{own} is not an address that a host can have"));
    }
    let mask = answer.address(code::SUBNET_MASK).ok_or("it has no subnet mask")?;
    let bits = u32::from(mask);
    let prefix = bits.leading_ones() as u8;
    if bits.count_ones() != u32::from(prefix) {
        return Err(format!("the subnet mask {mask} has gaps"));
    }
    if prefix < SHORTEST_PREFIX {
        return Err(format!("the subnet mask {mask} makes a network larger than any"));
    }
    let subnet = Subnet::new(own.into(), prefix).map_err(|error| error.to_string())?;
    if prefix < 31 && (subnet.address() == own || subnet.last() == own) {
        return Err(format!("{own} is the network's own or its broadcast address (subnet mask {mask})"));
    }
    Ok(Address { address: own.into(), subnet })
}

/// Whether a single host that others reach can have this address.
pub(super) fn is_host(address: Ipv4Addr) -> bool {
    !(address.octets()[0] == 0
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        // 240.0.0.0/4 and the broadcast address (RFC 1112).
        || address.octets()[0] >= 240)
}

/// The times of an answer, with those of RFC 2131, section 4.4.5, for what is left out or in disorder.
fn times(answer: &Answer) -> Result<Option<Times>, String> {
    let expiry = answer.seconds(code::LEASE_TIME).ok_or("it doesn't say for how long")?;
    if expiry == FOREVER {
        return Ok(None);
    }
    if expiry < 2 {
        return Err(format!("it is good for {expiry} s only"));
    }
    let usual = Times { renewal: expiry / 2, rebinding: expiry - expiry / 8, expiry };
    let renewal = answer.seconds(code::RENEWAL_TIME).unwrap_or(usual.renewal);
    let rebinding = answer.seconds(code::REBINDING_TIME).unwrap_or(usual.rebinding);
    let in_order = 0 < renewal && renewal < rebinding && rebinding <= expiry;
    Ok(Some(if in_order { Times { renewal, rebinding, expiry } } else { usual }))
}

/// Pairs of a destination, of which only the significant bytes are there, and a router.
/// Absent if they are no such pairs.
fn classless_routes(mut bytes: &[u8]) -> Option<Vec<Route>> {
    let mut routes = Vec::new();
    while let [prefix, rest @ ..] = bytes {
        let (significant, rest) = rest.split_at_checked(usize::from(prefix.div_ceil(8)))?;
        let (router, rest) = rest.split_first_chunk::<4>()?;
        let mut octets = [0; 4];
        octets.get_mut(..significant.len())?.copy_from_slice(significant);
        let destination = Subnet::new(IpAddr::from(octets), *prefix).ok()?;
        if routes.len() < MOST_ROUTES {
            routes.push(Route { destination, router: Ipv4Addr::from(*router) });
        }
        bytes = rest;
    }
    Some(routes)
}

/// The domains to search: that of the network, then the search list.
fn domains(answer: &Answer) -> Vec<String> {
    let own = answer.option(code::DOMAIN).and_then(domain);
    let list = answer.option(code::SEARCH).map(search_list).unwrap_or_default();
    let mut domains: Vec<String> = Vec::new();
    for name in own.into_iter().chain(list) {
        if !domains.contains(&name) && domains.len() < MOST_DOMAINS {
            domains.push(name);
        }
    }
    domains
}

/// A domain as it is written; absent if it can't be one.
fn domain(bytes: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0').trim_end_matches('.');
    let is_label = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && !label.starts_with('-')
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    (text.len() <= LONGEST_NAME && text.split('.').all(is_label)).then(|| text.to_ascii_lowercase())
}

/// Domains as DNS writes them, with pointers to what stands before (RFC 3397). What can't be read ends the list.
fn search_list(bytes: &[u8]) -> Vec<String> {
    let mut domains = Vec::new();
    let mut at = 0;
    while at < bytes.len() && domains.len() < MOST_DOMAINS {
        let Some((name, next)) = compressed(bytes, at) else { break };
        domains.extend(domain(name.as_bytes()));
        at = next;
    }
    domains
}

/// The name that begins at a place, and the place behind it (RFC 1035, section 4.1.4).
fn compressed(bytes: &[u8], start: usize) -> Option<(String, usize)> {
    const POINTER: u8 = 0xc0;
    let (mut name, mut at, mut end) = (String::new(), start, None);
    loop {
        let length = *bytes.get(at)?;
        match length {
            0 => return Some((name, end.unwrap_or(at + 1))),
            POINTER.. => {
                let target = usize::from(length & !POINTER) << 8 | usize::from(*bytes.get(at + 1)?);
                // Only backwards, so that it comes to an end.
                if target >= at {
                    return None;
                }
                end.get_or_insert(at + 2);
                at = target;
            }
            _ => {
                let label = bytes.get(at + 1..at + 1 + usize::from(length))?;
                if !name.is_empty() {
                    name.push('.');
                }
                name.push_str(std::str::from_utf8(label).ok()?);
                at += 1 + label.len();
            }
        }
        if name.len() > LONGEST_NAME {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::message::Kind;
    use super::super::message::tests::{MAC, answer};
    use super::*;

    const SERVER: (u8, &[u8]) = (code::SERVER, &[10, 0, 0, 1]);
    const MASK: (u8, &[u8]) = (code::SUBNET_MASK, &[255, 255, 255, 0]);
    const HOUR: (u8, &[u8]) = (code::LEASE_TIME, &[0, 0, 0x0e, 0x10]);

    fn read(address: [u8; 4], options: &[(u8, &[u8])]) -> Result<Terms, String> {
        let bytes = answer(Kind::Ack, address, options);
        Terms::read(&Answer::parse(&bytes, 7, MAC).unwrap())
    }

    #[test]
    fn a_whole_answer() {
        let terms = read(
            [10, 0, 0, 5],
            &[
                SERVER,
                MASK,
                HOUR,
                (code::ROUTER, &[10, 0, 0, 254]),
                (code::DNS_SERVER, &[10, 0, 0, 2, 9, 9, 9, 9]),
                (code::DOMAIN, b"Lan.example.\0"),
                (code::SEARCH, b"\x03lan\x07example\0\x04corp\xc0\x04"),
                (code::MTU, &[0x05, 0x78]),
            ],
        )
        .unwrap();
        assert_eq!(terms.address.to_string(), "10.0.0.5/24");
        assert_eq!(terms.routers, [Ipv4Addr::new(10, 0, 0, 254)]);
        assert_eq!(terms.dns_servers.len(), 2);
        assert_eq!(terms.search, ["lan.example", "corp.example"]);
        assert_eq!(terms.mtu, Some(1400));
        assert_eq!(terms.times, Some(Times { renewal: 1800, rebinding: 3150, expiry: 3600 }));
    }

    #[test]
    fn addresses_that_make_no_sense_are_refused() {
        for (address, mask, word) in [
            ([0, 0, 0, 0], [255, 255, 255, 0], "can have"),
            ([127, 0, 0, 5], [255, 0, 0, 0], "can have"),
            ([169, 254, 0, 5], [255, 255, 0, 0], "can have"),
            ([224, 0, 0, 5], [255, 255, 255, 0], "can have"),
            ([255, 255, 255, 255], [255, 255, 255, 0], "can have"),
            ([10, 0, 0, 5], [255, 0, 255, 0], "gaps"),
            ([10, 0, 0, 5], [0, 0, 0, 255], "gaps"),
            ([10, 0, 0, 5], [0, 0, 0, 0], "larger"),
            ([10, 0, 0, 0], [255, 255, 255, 0], "broadcast"),
            ([10, 0, 0, 255], [255, 255, 255, 0], "broadcast"),
        ] {
            let error = read(address, &[SERVER, HOUR, (code::SUBNET_MASK, &mask)]).unwrap_err();
            assert!(error.contains(word), "{address:?}: {error}");
        }
        assert!(read([10, 0, 0, 5], &[SERVER, HOUR]).unwrap_err().contains("mask"));
        assert!(read([10, 0, 0, 5], &[MASK, HOUR]).unwrap_err().contains("server"));
        assert!(
            read([10, 0, 0, 5], &[MASK, HOUR, (code::SERVER, &[255; 4])]).unwrap_err().contains("server")
        );
        assert!(read([10, 0, 0, 5], &[SERVER, MASK]).unwrap_err().contains("how long"));
        let moment = (code::LEASE_TIME, &[0, 0, 0, 1][..]);
        assert!(read([10, 0, 0, 5], &[SERVER, MASK, moment]).unwrap_err().contains("1 s"));
    }

    #[test]
    fn routers_elsewhere_and_nonsense_among_servers_are_left_out() {
        let options = [
            SERVER,
            MASK,
            HOUR,
            (code::ROUTER, &[10, 9, 9, 9, 10, 0, 0, 5, 10, 0, 0, 1][..]),
            (code::DNS_SERVER, &[127, 0, 0, 1, 8, 8, 8, 8]),
            (code::MTU, &[0, 68]),
        ];
        let terms = read([10, 0, 0, 5], &options).unwrap();
        assert_eq!(terms.routers, [Ipv4Addr::new(10, 0, 0, 1)]);
        assert_eq!(terms.dns_servers, [IpAddr::from([8, 8, 8, 8])]);
        assert_eq!(terms.mtu, None);
        // A network of one address, as clouds have it.
        let options =
            [SERVER, HOUR, (code::SUBNET_MASK, &[255; 4][..]), (code::ROUTER, &[172, 31, 1, 1][..])];
        assert_eq!(read([10, 0, 0, 5], &options).unwrap().routers, [Ipv4Addr::new(172, 31, 1, 1)]);
    }

    #[test]
    fn times_in_disorder_are_replaced() {
        let seconds = |code, seconds: &'static [u8; 4]| (code, &seconds[..]);
        let options = [
            SERVER,
            MASK,
            HOUR,
            seconds(code::RENEWAL_TIME, &[0, 0, 0x0f, 0]),
            seconds(code::REBINDING_TIME, &[0, 0, 0, 9]),
        ];
        assert_eq!(read([10, 0, 0, 5], &options).unwrap().times.unwrap().renewal, 1800);
        let forever = (code::LEASE_TIME, &[255; 4][..]);
        assert_eq!(read([10, 0, 0, 5], &[SERVER, MASK, forever]).unwrap().times, None);
    }

    #[test]
    fn names_that_could_break_a_file_are_left_out() {
        for name in [&b"a b"[..], b"a\nnameserver 6.6.6.6", b"-x", b"a..b", b"", b"\xff", b"a;b"] {
            assert_eq!(domain(name), None, "{name:?}");
        }
        assert_eq!(domain(b"a_b.c-d").unwrap(), "a_b.c-d");
        assert_eq!(domain(&[b'a'; 64]), None);
    }

    #[test]
    fn pointers_come_to_an_end() {
        assert!(search_list(b"\xc0\x00").is_empty());
        assert!(search_list(b"\x01a\xc0\x00").is_empty());
        assert!(search_list(b"\x01a\xc0\x05\0\x01b\xc0\x00").is_empty());
        assert_eq!(search_list(b"\x01a\0\x01b\xc0\x00\x05x"), ["a", "b.a"]);
    }

    #[test]
    fn classless_routes_replace_routers() {
        let routes = (
            code::CLASSLESS_ROUTES,
            &[0, 10, 0, 0, 2, 16, 172, 16, 10, 0, 0, 3, 24, 10, 7, 7, 0, 0, 0, 0][..],
        );
        let options = [SERVER, MASK, HOUR, (code::ROUTER, &[10, 0, 0, 1][..]), routes];
        let terms = read([10, 0, 0, 5], &options).unwrap();
        assert_eq!(terms.routers, [Ipv4Addr::new(10, 0, 0, 2)]);
        let shown: Vec<_> =
            terms.routes.iter().map(|route| format!("{} {}", route.destination, route.router)).collect();
        assert_eq!(shown, ["172.16.0.0/16 10.0.0.3", "10.7.7.0/24 0.0.0.0"]);
        for wrong in [&[33, 1, 1, 1, 1, 1, 10, 0, 0, 2][..], &[24, 10, 0], &[0, 10]] {
            assert_eq!(classless_routes(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_granted_makes_sense(
            address in any::<[u8; 4]>(),
            options in proptest::collection::vec((1u8..130, proptest::collection::vec(any::<u8>(), 0..40)), 0..12),
            bits in any::<u8>(),
        ) {
            let mask = u32::MAX.checked_shl((bits % 33).into()).unwrap_or(0).to_be_bytes();
            let mut all = vec![SERVER, HOUR, (code::SUBNET_MASK, &mask[..])];
            all.extend(options.iter().map(|(code, value)| (*code, &value[..])));
            let bytes = answer(Kind::Ack, address, &all);
            let Some(answer) = Answer::parse(&bytes, 7, MAC) else { return Ok(()) };
            if let Ok(terms) = Terms::read(&answer) {
                let IpAddr::V4(own) = terms.address.address else { panic!("an IPv6 address") };
                prop_assert!(is_host(own) && terms.address.subnet.prefix() >= SHORTEST_PREFIX);
                prop_assert!(terms.search.iter().all(|name| domain(name.as_bytes()).as_ref() == Some(name)));
                prop_assert!(terms.dns_servers.len() <= MOST_SERVERS);
                if let Some(times) = terms.times {
                    prop_assert!(0 < times.renewal && times.renewal < times.rebinding);
                    prop_assert!(times.rebinding <= times.expiry);
                }
            }
        }
    }
}
