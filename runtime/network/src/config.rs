//! What a network is: what a user asks for ([`Config`]) and what is kept on
//! disk and shown ([`Network`]).
//!
//! The JSON of a [`Network`] has the field names that Podman's network files
//! have, so that scripts over `network inspect` go on working.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::driver::{Driver, Ipam, IpamOptions};
use crate::error::{Error, Result};
use crate::options::{Mode, Options};
use crate::subnet::Subnet;

/// The name of the network that containers join when they name none.
pub const DEFAULT_NETWORK: &str = "sampan";

/// The domain in which the containers of a network find each other.
pub const DNS_DOMAIN: &str = "dns.sampan";

/// A network as a user asks for it; every field but the name may be left out.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// The network's name: a letter or digit, then letters, digits, `_`, `.`, `-`.
    pub name: String,
    /// The subnets; without any, a bridge gets a free one from our own pool.
    pub subnets: Vec<SubnetConfig>,
    /// Give the network an IPv6 subnet too (a stable unique local /64, if none is named).
    pub ipv6: bool,
    /// No way out of the network: no default route, nothing forwarded.
    pub internal: bool,
    /// Don't answer names on this network.
    pub disable_dns: bool,
    /// Upstream servers for names that aren't containers; empty means the host's own.
    pub dns_servers: Vec<IpAddr>,
    /// The kind of network.
    pub driver: Driver,
    /// Options of the driver.
    pub options: Options,
    /// Free text for the user.
    pub labels: BTreeMap<String, String>,
    /// The name of the bridge; absent means one of ours (`sampan1`, `sampan2`, …). For
    /// other drivers the parent interface; absent means the host's way out.
    pub interface: Option<String>,
    /// Who gives out addresses; absent means that we do, and for a macvlan network without
    /// subnets that a DHCP server does.
    pub ipam: Option<Ipam>,
}

/// One subnet of a network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubnetConfig {
    /// The block of addresses.
    pub subnet: Subnet,
    /// The host's own address in it; absent means the first, and none for an internal
    /// network that doesn't need one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// The part of it from which containers get their addresses; absent means all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_range: Option<LeaseRange>,
}

impl From<Subnet> for SubnetConfig {
    fn from(subnet: Subnet) -> Self {
        Self { subnet, gateway: None, lease_range: None }
    }
}

/// A range of addresses, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRange {
    /// The lowest address.
    pub start_ip: IpAddr,
    /// The highest address.
    pub end_ip: IpAddr,
}

impl LeaseRange {
    /// Reads `--ip-range`: a block (`10.86.5.128/25`) or two addresses
    /// (`10.86.5.10-10.86.5.99`).
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else.
    pub fn parse(text: &str) -> Result<Self> {
        if let Some((start, end)) = text.split_once('-') {
            if let (Ok(start_ip), Ok(end_ip)) = (start.trim().parse(), end.trim().parse()) {
                return Ok(Self { start_ip, end_ip });
            }
        } else if let Ok(block) = text.parse::<Subnet>() {
            let (first, last) = block.host_offsets();
            if let (Some(start_ip), Some(end_ip)) = (block.nth(first), block.nth(last)) {
                return Ok(Self { start_ip, end_ip });
            }
        }
        Err(Error::Invalid {
            what: "address range",
            value: text.to_owned(),
            why: "expected a block such as 10.86.5.128/25, or FIRST-LAST".to_owned(),
        })
    }
}

/// A network as it is kept in `networks/<name>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name.
    pub name: String,
    /// 64 hexadecimal digits: the SHA-256 sum of the name, as Podman has it.
    pub id: String,
    /// The kind of network.
    pub driver: Driver,
    /// The name of the bridge; for other drivers the parent interface, and empty if that
    /// is whatever interface leads out of the host.
    pub network_interface: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Its subnets; every one has its gateway filled in, but for internal networks that
    /// have no bridge of ours.
    pub subnets: Vec<SubnetConfig>,
    /// Whether it has an IPv6 subnet.
    pub ipv6_enabled: bool,
    /// Whether it has no way out.
    pub internal: bool,
    /// Whether its containers resolve each other's names.
    pub dns_enabled: bool,
    /// Upstream servers for other names; empty means the host's own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub network_dns_servers: Vec<IpAddr>,
    /// Free text for the user.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Options of the driver.
    #[serde(default)]
    pub options: Options,
    /// How addresses are given out.
    #[serde(default)]
    pub ipam_options: IpamOptions,
}

impl Network {
    /// The gateways of all its subnets: the addresses of the bridge.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, Subnet)> + '_ {
        self.subnets.iter().filter_map(|subnet| Some((subnet.gateway?, subnet.subnet)))
    }

    /// The bridge of the network, if it is ours to make, to address and to remove.
    pub fn own_bridge(&self) -> Option<&str> {
        let is_ours = self.driver == Driver::Bridge && self.options.mode != Some(Mode::Unmanaged);
        is_ours.then_some(self.network_interface.as_str())
    }

    /// Whether each container has a MAC address of its own; otherwise all have that of
    /// the parent interface.
    pub(crate) fn has_own_macs(&self) -> bool {
        self.driver != Driver::Ipvlan && self.options.mode != Some(Mode::Passthru)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_blocks_or_pairs() {
        let range = LeaseRange::parse("10.0.0.128/25").unwrap();
        assert_eq!(range.start_ip.to_string(), "10.0.0.129");
        assert_eq!(range.end_ip.to_string(), "10.0.0.254");
        assert!(LeaseRange::parse("10.0.0.5-10.0.0.9").is_ok());
        assert!(LeaseRange::parse("10.0.0.5").is_err());
    }
}
