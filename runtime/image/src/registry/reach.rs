//! Where a registry may lead us.
//!
//! Blobs are redirected to storage and tokens come from other hosts, so a registry names hosts to
//! talk to. One out on the internet must not make us knock at what only this machine or its network
//! reaches: services on loopback, the cloud's metadata at 169.254.169.254, a router. A registry that
//! is in such a place itself may lead to others there, and any to a private address whose name has a
//! certificate. Names are judged by the addresses that they
//! resolve to, at the moment of the connection: a name that means another address the second time
//! (DNS rebinding) gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::NextTimeout;

/// How near to this machine an address is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reach {
    /// Anywhere on the internet.
    Public,
    /// A network that is not routed on the internet.
    Private,
    /// This machine, its link (with the metadata of clouds), or no single host.
    Local,
}

impl Reach {
    fn from_level(level: u8) -> Self {
        match level {
            1 => Reach::Private,
            2 => Reach::Local,
            // Far, or not known yet.
            _ => Reach::Public,
        }
    }

    /// Of an address
    /// ([IANA's special-purpose registries](https://www.iana.org/assignments/iana-ipv4-special-registry/)).
    pub(super) fn of(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => embedded(address).map_or_else(|| Self::of_v6(address), Self::of_v4),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        let [first, second, third, _] = address.octets();
        let shared = first == 100 && (64..128).contains(&second);
        let benchmark = first == 198 && (second == 18 || second == 19);
        let protocols = (first, second, third) == (192, 0, 0);
        if first == 0 || first == 127 || first >= 224 || address.is_link_local() {
            Reach::Local
        } else if address.is_private() || shared || benchmark || protocols {
            Reach::Private
        } else {
            Reach::Public
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let first = address.segments()[0];
        let local = address.is_loopback() || address.is_unspecified() || address.is_multicast();
        if local || address.is_unicast_link_local() {
            Reach::Local
        } else if address.is_unique_local() || first & 0xffc0 == 0xfec0 {
            Reach::Private
        } else {
            Reach::Public
        }
    }

    /// Of a host that is an address or `localhost`; `None` for a name that has to be resolved.
    pub(super) fn of_host(host: &str) -> Option<Self> {
        let bare = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
        match bare.parse() {
            Ok(address) => Some(Self::of(address)),
            Err(_) => {
                let name = bare.to_ascii_lowercase();
                (name == "localhost" || name.ends_with(".localhost")).then_some(Reach::Local)
            }
        }
    }
}

/// The IPv4 address that is meant by an IPv6 address: mapped, compatible, NAT64 or 6to4.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let pair = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => Some(pair(high, low)),
        // Not ::1 and ::, which are addresses of their own.
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => Some(pair(high, low)),
        [0x2002, high, low, ..] => Some(pair(high, low)),
        _ => None,
    }
}

/// Where the registry itself is: the farthest of all addresses that its name has had. It never
/// comes nearer, so that a name that means loopback for a moment gains nothing.
#[derive(Debug, Clone)]
pub(super) struct Place(Arc<AtomicU8>);

impl Place {
    pub(super) fn new(host: &str) -> Self {
        Self(Arc::new(AtomicU8::new(Reach::of_host(host).map_or(u8::MAX, |reach| reach as u8))))
    }

    /// The registry's name has this address.
    fn saw(&self, address: IpAddr) {
        self.0.fetch_min(Reach::of(address) as u8, Ordering::Relaxed);
    }

    pub(super) fn reach(&self) -> Reach {
        Reach::from_level(self.0.load(Ordering::Relaxed))
    }
}

/// Whom a connection is for.
#[derive(Debug, Clone)]
pub(super) enum Role {
    /// The registry itself, which is wherever its name leads.
    Registry,
    /// A host that the registry named. These are exempt: hosts that `registries.conf` names.
    Other(Arc<[String]>),
}

/// Resolves names, and for hosts that a registry named leaves out addresses it may not lead to.
#[derive(Debug)]
pub(super) struct Guard {
    resolver: DefaultResolver,
    place: Place,
    role: Role,
}

impl Guard {
    pub(super) fn new(place: Place, role: Role) -> Self {
        Self { resolver: DefaultResolver::default(), place, role }
    }
}

impl Resolver for Guard {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.resolver.resolve(uri, config, timeout)?;
        // The proxy is the administrator's choice, and says nothing of where the registry is.
        if config.proxy().is_some_and(|proxy| proxy.uri() == uri) {
            return Ok(found);
        }
        let host = uri.host().unwrap_or_default();
        match &self.role {
            Role::Registry => {
                found.iter().for_each(|address| self.place.saw(address.ip()));
                Ok(found)
            }
            Role::Other(exempt) if exempt.iter().any(|name| name.eq_ignore_ascii_case(host)) => Ok(found),
            Role::Other(_) => {
                // A name with a certificate is nobody's router: clouds have storage at private addresses.
                let is_proven = uri.scheme_str() == Some("https") && Reach::of_host(host).is_none();
                let limit = self.place.reach().max(if is_proven { Reach::Private } else { Reach::Public });
                let mut allowed = self.resolver.empty();
                for address in found.iter().filter(|address| Reach::of(address.ip()) <= limit) {
                    allowed.push(*address);
                }
                match allowed.first().or(found.first()) {
                    Some(address) if allowed.is_empty() => {
                        let refused = Refused { host: host.to_owned(), address: address.ip() };
                        Err(ureq::Error::Other(Box::new(refused)))
                    }
                    _ => Ok(allowed),
                }
            }
        }
    }
}

/// A host that the registry may not lead to.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) host: String,
    pub(super) address: IpAddr,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if Reach::of(self.address) == Reach::Private { "private" } else { "internal" };
        write!(f, "it leads to the {kind} address {}", self.address)?;
        if self.host.trim_matches(['[', ']']) != self.address.to_string() {
            write!(f, " ({})", self.host)?;
        }
        write!(f, "; if that is meant, name the host in a [[registry]] table of registries.conf")
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_placed() {
        for (reach, hosts) in [
            (
                Reach::Local,
                &[
                    "localhost",
                    "LOCALHOST.",
                    "x.localhost",
                    "127.9.9.9",
                    "0.0.0.0",
                    "169.254.169.254",
                    "224.0.0.1",
                    "255.255.255.255",
                    "[::1]",
                    "[::]",
                    "[fe80::1]",
                    "[ff02::1]",
                    "[::ffff:127.0.0.1]",
                    "[::127.0.0.1]",
                    "[64:ff9b::169.254.169.254]",
                    "[2002:7f00:1::]",
                ][..],
            ),
            (
                Reach::Private,
                &[
                    "10.0.0.1",
                    "172.31.0.1",
                    "192.168.1.1",
                    "100.64.0.1",
                    "198.18.0.1",
                    "[fd00::1]",
                    "[fec0::1]",
                    "[::ffff:10.0.0.1]",
                    "[64:ff9b::10.0.0.1]",
                ],
            ),
            (Reach::Public, &["8.8.8.8", "172.32.0.1", "100.128.0.1", "[2001:db8::1]", "[64:ff9b::8.8.8.8]"]),
        ] {
            for host in hosts {
                assert_eq!(Reach::of_host(host), Some(reach), "{host}");
            }
        }
        for name in ["quay.io", "localhost.example.com", "notlocalhost", "127.1", "0x7f.1", "2130706433"] {
            assert_eq!(Reach::of_host(name), None, "{name}: has to be resolved");
        }
    }

    #[test]
    fn a_name_is_judged_by_what_it_resolves_to() {
        let resolve_url = |role: Role, registry: &str, url: String| {
            let guard = Guard::new(Place::new(registry), role);
            let uri: Uri = url.parse().unwrap();
            let timeout = NextTimeout {
                after: std::time::Duration::from_secs(10).into(),
                reason: ureq::Timeout::Resolve,
                ..NextTimeout::default()
            };
            let found = guard.resolve(&uri, &Config::default(), timeout);
            (found.map(|found| found.len()).map_err(|error| error.to_string()), guard.place.reach())
        };
        let resolve =
            |role, registry: &str, host: &str| resolve_url(role, registry, format!("https://{host}/x"));
        let other = || Role::Other(Arc::new([]));
        // A private address behind a name, which has to show a certificate for it.
        assert!(resolve(other(), "quay.io", "10.1").0.is_ok());
        assert!(resolve_url(other(), "quay.io", "http://10.1/x".to_owned()).0.is_err());
        // Spellings that only the resolver understands.
        for host in
            ["localhost", "127.1", "2130706433", "0x7f000001", "127.0.0.1", "169.254.169.254", "10.0.0.1"]
        {
            let (found, _) = resolve(other(), "quay.io", host);
            let message = found.expect_err(host);
            assert!(message.contains("address") && message.contains("registries.conf"), "{host}: {message}");
            let (found, reach) = resolve(other(), "127.0.0.1", host);
            assert!(found.is_ok() && reach == Reach::Local, "{host}: {found:?}");
        }
        assert!(resolve(other(), "10.0.0.9", "10.0.0.1").0.is_ok());
        assert!(resolve(other(), "10.0.0.9", "127.0.0.1").0.is_err());
        assert!(resolve(Role::Other(Arc::new(["10.0.0.1".to_owned()])), "quay.io", "10.0.0.1").0.is_ok());
        assert_eq!(resolve(Role::Registry, "quay.io", "127.1").1, Reach::Local);
        assert_eq!(resolve(Role::Registry, "quay.io", "8.8.8.8").1, Reach::Public);
        let place = Place::new("quay.io");
        for (address, reach) in
            [("10.0.0.1", Reach::Private), ("8.8.8.8", Reach::Public), ("::1", Reach::Public)]
        {
            place.saw(address.parse().unwrap());
            assert_eq!(place.reach(), reach, "{address}");
        }
    }
}
