//! What a network is: what a user asks for ([`Config`]) and what is kept on
//! disk and shown ([`Network`]).
//!
//! The JSON of a [`Network`] has the field names that Podman's network files
//! have, so that scripts over `network inspect` go on working.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
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
    /// The subnets; without any, a free one is taken from our own pool.
    pub subnets: Vec<SubnetConfig>,
    /// Give the network an IPv6 subnet too (a stable unique local /64, if none is named).
    pub ipv6: bool,
    /// No way out of the network: no default route, nothing forwarded.
    pub internal: bool,
    /// Don't answer names on this network.
    pub disable_dns: bool,
    /// Upstream servers for names that aren't containers; empty means the host's own.
    pub dns_servers: Vec<IpAddr>,
    /// The kind of network; empty means `bridge`.
    pub driver: String,
    /// Options of the driver.
    pub options: Options,
    /// Free text for the user.
    pub labels: BTreeMap<String, String>,
    /// The name of the bridge interface; absent means one of ours (`sampan1`, `sampan2`, …).
    pub interface: Option<String>,
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

/// The options of the bridge driver (`podman network create --opt`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>", into = "BTreeMap<String, String>")]
pub struct Options {
    /// The largest packet, in bytes, of the bridge and its containers; absent means
    /// 1500, or less if the host's way out carries less.
    pub mtu: Option<u32>,
    /// Which other networks are kept away.
    pub isolate: Isolate,
    /// The metric of the default route; absent means the kernel's (100 in Podman).
    pub metric: Option<u32>,
    /// Give containers no default route.
    pub no_default_route: bool,
}

/// How a network is kept from other networks of ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Isolate {
    /// Not at all: packets are routed between networks.
    #[default]
    No,
    /// From each other isolated network.
    Isolated,
    /// From each other network.
    Strict,
}

impl Options {
    /// Sets one option as `--opt NAME=VALUE` spells it; Docker's spellings
    /// (`com.docker.network.driver.mtu`) are known too.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an unknown option or a value of the wrong kind.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let invalid = |why: &str| Error::Invalid {
            what: "network option",
            value: format!("{name}={value}"),
            why: why.to_owned(),
        };
        match name {
            "mtu" | "com.docker.network.driver.mtu" => {
                let mtu = value.parse().ok().filter(|mtu| (68..=65535).contains(mtu));
                self.mtu = Some(mtu.ok_or_else(|| invalid("an MTU is 68 to 65535 bytes"))?);
            }
            "isolate" => {
                self.isolate = match value {
                    "strict" => Isolate::Strict,
                    _ if boolean(value).ok_or_else(|| invalid("expected true, false or strict"))? => {
                        Isolate::Isolated
                    }
                    _ => Isolate::No,
                }
            }
            "com.docker.network.bridge.enable_icc" => {
                return Err(invalid(
                    "containers of one bridge always reach each other; use one network per group",
                ));
            }
            "metric" => {
                self.metric = Some(value.parse().map_err(|_| invalid("a metric is a number"))?);
            }
            "no_default_route" => {
                self.no_default_route = boolean(value).ok_or_else(|| invalid("expected true or false"))?;
            }
            _ => {
                return Err(invalid("the bridge driver knows mtu, isolate, metric and no_default_route"));
            }
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

impl TryFrom<BTreeMap<String, String>> for Options {
    type Error = Error;

    fn try_from(map: BTreeMap<String, String>) -> Result<Self> {
        let mut options = Self::default();
        for (name, value) in &map {
            options.set(name, value)?;
        }
        Ok(options)
    }
}

impl From<Options> for BTreeMap<String, String> {
    fn from(options: Options) -> Self {
        let isolate = match options.isolate {
            Isolate::No => None,
            Isolate::Isolated => Some("true".to_owned()),
            Isolate::Strict => Some("strict".to_owned()),
        };
        [
            ("mtu", options.mtu.map(|mtu| mtu.to_string())),
            ("isolate", isolate),
            ("metric", options.metric.map(|metric| metric.to_string())),
            ("no_default_route", options.no_default_route.then(|| "true".to_owned())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect()
    }
}

/// The kind of network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge on the host, with one veth pair per container.
    Bridge,
}

impl Driver {
    /// The driver of this name; empty means [`Driver::Bridge`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a driver that this version doesn't have.
    pub fn parse(name: &str) -> Result<Self> {
        let why = match name {
            "" | "bridge" => return Ok(Self::Bridge),
            "macvlan" | "ipvlan" => "this version has the driver bridge only",
            _ => "there is no such driver; the driver is bridge",
        };
        Err(Error::Invalid { what: "network driver", value: name.to_owned(), why: why.to_owned() })
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bridge => f.write_str("bridge"),
        }
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
    /// The name of the bridge interface.
    pub network_interface: String,
    /// When it was made, RFC 3339.
    pub created: String,
    /// Its subnets; every one has its gateway filled in.
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
    pub ipam_options: BTreeMap<String, String>,
}

impl Network {
    /// The gateways of all its subnets: the addresses of the bridge.
    pub fn gateways(&self) -> impl Iterator<Item = (IpAddr, Subnet)> + '_ {
        self.subnets.iter().filter_map(|subnet| Some((subnet.gateway?, subnet.subnet)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_round_trip_through_their_spelling() {
        let mut options = Options::default();
        options.set("com.docker.network.driver.mtu", "9000").unwrap();
        options.set("isolate", "strict").unwrap();
        let json = serde_json::to_string(&options).unwrap();
        assert_eq!(json, r#"{"isolate":"strict","mtu":"9000"}"#);
        assert_eq!(serde_json::from_str::<Options>(&json).unwrap(), options);
    }

    #[test]
    fn wrong_options_say_what_is_right() {
        let mut options = Options::default();
        let error = options.set("mtu", "12").unwrap_err().to_string();
        assert!(error.contains("mtu=12") && error.contains("68"), "{error}");
        assert!(options.set("vlan", "3").unwrap_err().to_string().contains("isolate"));
        assert!(options.set("isolate", "maybe").is_err());
    }

    #[test]
    fn other_drivers_are_refused_in_words() {
        let error = Driver::parse("macvlan").unwrap_err().to_string();
        assert!(error.contains("macvlan") && error.contains("bridge"), "{error}");
    }

    #[test]
    fn ranges_are_blocks_or_pairs() {
        let range = LeaseRange::parse("10.0.0.128/25").unwrap();
        assert_eq!(range.start_ip.to_string(), "10.0.0.129");
        assert_eq!(range.end_ip.to_string(), "10.0.0.254");
        assert!(LeaseRange::parse("10.0.0.5-10.0.0.9").is_ok());
        assert!(LeaseRange::parse("10.0.0.5").is_err());
    }
}
