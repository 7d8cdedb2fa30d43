//! Which subnet a new network gets.
//!
//! Our pools lie beside those of Podman (10.88.0.0/16, 10.89.0.0 to 10.255.255.255)
//! and Docker (172.17.0.0 to 172.31.255.255, 192.168.0.0/16).

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use sha2::{Digest, Sha256};

use crate::config::{DEFAULT_NETWORK, Network};
use crate::error::{Error, Result};
use crate::foreign::Foreign;
use crate::kernel::link::Route;
use crate::subnet::Subnet;

/// The subnet of the default network, if nothing overlaps it: room for as many
/// containers as a bridge can have ports (1,023).
const DEFAULT_SUBNET: (Ipv4Addr, u8) = (Ipv4Addr::new(10, 87, 0, 0), 22);

/// Where other networks get theirs: a block, and the prefix length of its parts.
const POOLS: [(Ipv4Addr, u8, u8); 2] =
    [(Ipv4Addr::new(10, 84, 0, 0), 14, 24), (Ipv4Addr::new(172, 16, 0, 0), 16, 24)];

/// The prefix length of a subnet with room for a gateway and one container.
const SMALLEST_PART: u8 = 30;

/// A block of IPv4 addresses of which new networks get parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    base: Subnet,
    size: u8,
}

impl Pool {
    /// A pool; `size` is the prefix length of its parts.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a block of IPv6 addresses, and for parts that are wider than it or hold no container.
    pub fn new(base: Subnet, size: u8) -> Result<Self> {
        if base.is_ipv6() || !(base.prefix()..=SMALLEST_PART).contains(&size) {
            return Err(Error::Invalid {
                what: "subnet pool",
                value: format!("{base} in parts of /{size}"),
                why: format!(
                    "a pool is a block of IPv4 addresses, its size between the block's own and {SMALLEST_PART}"
                ),
            });
        }
        Ok(Self { base, size })
    }
}

/// What the host's administrator has chosen instead of what is built in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The name of the network that containers join when they name none. It is made when the first one does.
    pub network: String,
    /// The subnet of that network; absent means one of ours.
    pub subnet: Option<Subnet>,
    /// Where other networks get theirs; empty means the built-in ones.
    pub pools: Vec<Pool>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { network: DEFAULT_NETWORK.to_owned(), subnet: None, pools: Vec::new() }
    }
}

/// What a new subnet must keep clear of, and where it comes from.
#[derive(Debug)]
pub(crate) struct Neighbours<'a> {
    /// The other networks.
    pub(crate) networks: &'a [Network],
    /// The host's routes.
    pub(crate) routes: &'a [Route],
    /// What others have defined: a subnet of our choice keeps clear of it.
    pub(crate) foreign: &'a [Foreign],
    /// Where subnets come from.
    pub(crate) defaults: &'a Defaults,
}

impl Neighbours<'_> {
    /// Refuses a subnet that the user named if it shares addresses with another
    /// network, or with a link of the host.
    ///
    /// A route by a gateway counts only if it is as narrow as the subnet: to take
    /// a subnet out of a wide one (`10.0.0.0/8` into a tunnel) is good practice.
    ///
    /// # Errors
    /// [`Error::Overlap`] with the other's name.
    pub(crate) fn check(&self, name: &str, subnet: Subnet) -> Result<()> {
        let by_gateway_and_wider =
            |route: &Route| !route.direct && route.destination.prefix() < subnet.prefix();
        let other = self.network_at(subnet).or_else(|| {
            self.routes
                .iter()
                .find(|route| route.destination.overlaps(&subnet) && !by_gateway_and_wider(route))
                .map(|route| format!("the host's route to {}", route.destination))
        });
        if other.is_none()
            && let Some(foreign) = self.foreign.iter().find(|foreign| foreign.overlaps(&subnet))
        {
            // Whoever comes from Podman has the same file with the same subnet.
            log::warn!(
                "subnet {subnet} of network {name:?} is also that of Podman's network {:?}: only one of them can be up",
                foreign.name
            );
        }
        match other {
            None => Ok(()),
            Some(other) => {
                Err(Error::Overlap { network: name.to_owned(), subnet: subnet.to_string(), other })
            }
        }
    }

    /// A free IPv4 subnet for the network `name`: of the pools, or the default network's own.
    ///
    /// # Errors
    /// [`Error::NoSubnet`] if there is none left.
    pub(crate) fn free_ipv4(&self, name: &str) -> Result<Subnet> {
        let default = match self.defaults.subnet {
            Some(subnet) => subnet,
            None => Subnet::new(DEFAULT_SUBNET.0.into(), DEFAULT_SUBNET.1)?,
        };
        if name == self.defaults.network {
            if self.is_free(default) {
                return Ok(default);
            }
            if self.defaults.subnet.is_some() {
                log::warn!(
                    "default_subnet {default} of containers.conf is taken on this host: network {name:?} gets another subnet"
                );
            }
        }
        let pools = match &self.defaults.pools[..] {
            [] => {
                let pool = |(address, prefix, part): (Ipv4Addr, _, _)| {
                    Pool::new(Subnet::new(address.into(), prefix)?, part)
                };
                POOLS.into_iter().map(pool).collect::<Result<Vec<_>>>()?
            }
            chosen => chosen.to_vec(),
        };
        for Pool { base, size } in pools {
            let step = 1_u128 << (32 - size);
            for address in (0..).map_while(|n| base.nth(n * step)) {
                let subnet = Subnet::new(address, size)?;
                if !subnet.overlaps(&default) && self.is_free(subnet) {
                    return Ok(subnet);
                }
            }
        }
        Err(Error::NoSubnet(name.to_owned()))
    }

    /// The IPv6 subnet of the network `name`: a unique local /64 (RFC 4193) that
    /// depends on the machine and the name alone, so that it stays the same when
    /// the network is made anew.
    ///
    /// # Errors
    /// [`Error::NoSubnet`] if even neighbouring ones are taken.
    pub(crate) fn free_ipv6(&self, name: &str) -> Result<Subnet> {
        const ATTEMPTS: u16 = 256;
        let machine = fs::read("/etc/machine-id").unwrap_or_default();
        let global = Sha256::new()
            .chain_update(b"sampan unique local prefix ")
            .chain_update(machine.trim_ascii())
            .finalize();
        let local = Sha256::digest(name);
        let number = u16::from_be_bytes([local[0], local[1]]);
        for attempt in 0..ATTEMPTS {
            let mut octets = [0; 16];
            octets[0] = 0xfd;
            octets[1..6].copy_from_slice(&global[..5]);
            octets[6..8].copy_from_slice(&number.wrapping_add(attempt).to_be_bytes());
            let subnet = Subnet::new(IpAddr::from(Ipv6Addr::from(octets)), 64)?;
            if self.is_free(subnet) {
                return Ok(subnet);
            }
        }
        Err(Error::NoSubnet(name.to_owned()))
    }

    fn is_free(&self, subnet: Subnet) -> bool {
        self.network_at(subnet).is_none()
            && !self.routes.iter().any(|route| route.destination.overlaps(&subnet))
            && !self.foreign.iter().any(|foreign| foreign.overlaps(&subnet))
    }

    fn network_at(&self, subnet: Subnet) -> Option<String> {
        self.networks.iter().find_map(|network| {
            network
                .subnets
                .iter()
                .find(|other| other.subnet.overlaps(&subnet))
                .map(|other| format!("{} of network {:?}", other.subnet, network.name))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    fn route(destination: &str, direct: bool) -> Route {
        Route { destination: destination.parse().unwrap(), direct, interface: None }
    }

    static BUILT_IN: LazyLock<Defaults> = LazyLock::new(Defaults::default);

    fn with_routes(routes: &[Route]) -> Neighbours<'_> {
        Neighbours { networks: &[], routes, foreign: &[], defaults: &BUILT_IN }
    }

    #[test]
    fn the_administrators_pools_replace_ours() {
        let pool = |base: &str, size| Pool::new(base.parse().unwrap(), size);
        let defaults = Defaults {
            network: "main".to_owned(),
            subnet: "10.200.0.0/16".parse().ok(),
            pools: vec![pool("10.201.0.0/23", 24).unwrap(), pool("10.202.0.0/16", 20).unwrap()],
        };
        let free = |name: &str, taken: &[&str]| {
            let routes: Vec<_> = taken.iter().map(|subnet| route(subnet, true)).collect();
            let neighbours = Neighbours { defaults: &defaults, ..with_routes(&routes) };
            neighbours.free_ipv4(name).unwrap().to_string()
        };
        assert_eq!(free("main", &[]), "10.200.0.0/16");
        assert_eq!(free("web", &[]), "10.201.0.0/24");
        assert_eq!(free("web", &["10.201.0.0/24"]), "10.201.1.0/24");
        assert_eq!(free("web", &["10.201.0.0/16", "10.202.3.0/24"]), "10.202.16.0/20");
        assert_eq!(free("main", &["10.200.7.0/24"]), "10.201.0.0/24");
        for (base, size) in [("10.0.0.0/24", 23), ("10.0.0.0/24", 31), ("fd00::/48", 64)] {
            let text = pool(base, size).unwrap_err().to_string();
            assert!(text.contains(base), "{text}");
        }
    }

    #[test]
    fn the_default_network_has_its_own_subnet() {
        let free = with_routes(&[]).free_ipv4(DEFAULT_NETWORK).unwrap();
        assert_eq!(free.to_string(), "10.87.0.0/22");
        let taken = [route("10.87.2.0/24", true)];
        let free = with_routes(&taken).free_ipv4(DEFAULT_NETWORK).unwrap();
        assert_eq!(free.to_string(), "10.84.0.0/24");
    }

    #[test]
    fn other_networks_keep_clear_of_routes() {
        let routes = [route("10.84.0.0/24", true), route("10.84.1.128/25", true)];
        let free = with_routes(&routes).free_ipv4("web").unwrap();
        assert_eq!(free.to_string(), "10.84.2.0/24");
        let routes = [route("10.0.0.0/8", false)];
        let free = with_routes(&routes).free_ipv4("web").unwrap();
        assert_eq!(free.to_string(), "172.16.0.0/24");
        let routes = [route("10.0.0.0/8", false), route("172.16.0.0/12", false)];
        let error = with_routes(&routes).free_ipv4("web").unwrap_err();
        assert!(matches!(error, Error::NoSubnet(_)), "{error}");
    }

    #[test]
    fn what_podman_has_defined_is_not_chosen_but_may_be_named() {
        let text = r#"{"name":"app","subnets":[{"subnet":"10.84.0.0/23"}]}"#;
        let foreign = [serde_json::from_str::<Foreign>(text).unwrap()];
        let neighbours = Neighbours { foreign: &foreign, ..with_routes(&[]) };
        assert_eq!(neighbours.free_ipv4("web").unwrap().to_string(), "10.84.2.0/24");
        neighbours.check("web", "10.84.0.0/24".parse().unwrap()).unwrap();
    }

    /// Podman: 10.88.0.0/16, 10.89.0.0 to 10.255.255.255; Docker: 172.17.0.0 to 172.31.255.255, 192.168.0.0/16.
    #[test]
    fn our_pools_keep_clear_of_podmans_and_dockers() {
        let own = POOLS.map(|(address, prefix, _)| Subnet::new(address.into(), prefix).unwrap());
        let default = Subnet::new(DEFAULT_SUBNET.0.into(), DEFAULT_SUBNET.1).unwrap();
        let podmans = (88..=255).map(|second| format!("10.{second}.0.0/16"));
        let dockers = (17..=31).map(|second| format!("172.{second}.0.0/16"));
        for theirs in podmans.chain(dockers).chain(["192.168.0.0/16".to_owned()]) {
            let theirs: Subnet = theirs.parse().unwrap();
            assert!(own.iter().chain([&default]).all(|own| !own.overlaps(&theirs)), "{theirs}");
        }
    }

    #[test]
    fn a_named_subnet_may_lie_in_a_wide_routed_one() {
        let wide = [route("10.0.0.0/8", false)];
        let subnet = "10.5.0.0/24".parse().unwrap();
        with_routes(&wide).check("web", subnet).unwrap();
        for route in [route("10.0.0.0/8", true), route("10.5.0.64/26", false)] {
            let text =
                with_routes(std::slice::from_ref(&route)).check("web", subnet).unwrap_err().to_string();
            assert!(text.contains(&route.destination.to_string()), "{text}");
        }
    }

    #[test]
    fn the_ipv6_subnet_is_stable_and_local() {
        let one = with_routes(&[]).free_ipv6("web").unwrap();
        assert_eq!(one, with_routes(&[]).free_ipv6("web").unwrap());
        assert_ne!(one, with_routes(&[]).free_ipv6("db").unwrap());
        assert!(one.to_string().starts_with("fd") && one.prefix() == 64);
    }
}
