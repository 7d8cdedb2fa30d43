//! From what a user asks for to a whole network: checks and fills in a
//! [`Config`].

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::config::{Config, DEFAULT_NETWORK, LeaseRange, Network, SubnetConfig};
use crate::driver::IpamOptions;
use crate::error::{Error, Result};
use crate::kernel::link::LONGEST_NAME;
use crate::pool::Neighbours;

/// The bridge of the default network.
const DEFAULT_INTERFACE: &str = "sampan0";

/// The default network, as if a user had asked for it. It answers no names, as
/// Podman's default network doesn't.
pub(crate) fn default_network() -> Config {
    Config { name: DEFAULT_NETWORK.to_owned(), disable_dns: true, ..Config::default() }
}

/// Makes a network of a configuration; `interface_exists` tells of interfaces of
/// the host.
///
/// # Errors
/// [`Error::Invalid`] for what can't be, [`Error::Overlap`] and
/// [`Error::NoSubnet`] for what isn't free.
pub(crate) fn define(
    config: &Config,
    neighbours: &Neighbours<'_>,
    interface_exists: impl Fn(&str) -> Result<bool>,
) -> Result<Network> {
    check_name(&config.name)?;
    let network_interface = interface(config, neighbours.networks, interface_exists)?;
    let mut subnets = config.subnets.clone();
    for subnet in &subnets {
        neighbours.check(&config.name, subnet.subnet)?;
    }
    if let Some((a, b)) = first_overlap(&subnets) {
        return Err(Error::Overlap {
            network: config.name.clone(),
            subnet: a.subnet.to_string(),
            other: format!("its own subnet {}", b.subnet),
        });
    }
    if subnets.is_empty() {
        subnets.push(neighbours.free_ipv4(&config.name)?.into());
    }
    if config.ipv6 && !subnets.iter().any(|subnet| subnet.subnet.is_ipv6()) {
        subnets.push(neighbours.free_ipv6(&config.name)?.into());
    }
    for subnet in &mut subnets {
        complete(subnet)?;
    }
    Ok(Network {
        name: config.name.clone(),
        id: hexadecimal(&Sha256::digest(&config.name)),
        driver: config.driver,
        network_interface,
        created: jiff::Timestamp::now().to_string(),
        ipv6_enabled: subnets.iter().any(|subnet| subnet.subnet.is_ipv6()),
        subnets,
        internal: config.internal,
        dns_enabled: !config.disable_dns,
        network_dns_servers: config.dns_servers.clone(),
        labels: config.labels.clone(),
        options: config.options.clone(),
        ipam_options: IpamOptions { driver: config.ipam.unwrap_or_default() },
    })
}

/// The configuration with what it leaves open as the existing network has it: the
/// interface, and the subnets that were chosen for it.
pub(crate) fn keep(config: &Config, existing: &Network) -> Config {
    let mut config = config.clone();
    if config.driver != existing.driver {
        return config;
    }
    config.interface.get_or_insert_with(|| existing.network_interface.clone());
    if config.subnets.is_empty() {
        let wanted = |subnet: &&SubnetConfig| config.ipv6 || !subnet.subnet.is_ipv6();
        config.subnets = existing.subnets.iter().filter(wanted).cloned().collect();
        config.subnets.iter_mut().for_each(|subnet| subnet.lease_range = None);
    }
    config
}

/// Refuses what can't be the name of a network (and of its file).
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
        && name.len() <= 128;
    match (good, name) {
        (_, "host" | "none" | "private" | "slirp4netns" | "pasta" | "container" | "ns") => {
            Err(Error::Invalid {
                what: "network name",
                value: name.to_owned(),
                why: "this word has a meaning of its own in Network=".to_owned(),
            })
        }
        (true, _) => Ok(()),
        (false, _) => Err(Error::Invalid {
            what: "network name",
            value: name.to_owned(),
            why: "a name is a letter or digit, then letters, digits, _ . - (128 at most)".to_owned(),
        }),
    }
}

/// Refuses what can't be the name of an interface (the kernel's `dev_valid_name`), or
/// would be a pattern to nft(8).
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check_interface(name: &str) -> Result<()> {
    let good = (1..=LONGEST_NAME).contains(&name.len())
        && name != "."
        && name != ".."
        && !name.bytes().any(|b| b"/:%*\"\\".contains(&b) || !b.is_ascii_graphic());
    if good {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "interface name",
        value: name.to_owned(),
        why: format!("1 to {LONGEST_NAME} characters, without space, / : % * \" \\"),
    })
}

fn interface(config: &Config, networks: &[Network], exists: impl Fn(&str) -> Result<bool>) -> Result<String> {
    let owner = |name: &str| {
        networks
            .iter()
            .find(|network| network.network_interface == name)
            .map(|network| format!("network {:?}", network.name))
    };
    if let Some(name) = &config.interface {
        check_interface(name)?;
        let owner = match owner(name) {
            None if exists(name)? => Some("the host".to_owned()),
            owner => owner,
        };
        return match owner {
            None => Ok(name.clone()),
            Some(owner) => Err(Error::Invalid {
                what: "interface name",
                value: name.clone(),
                why: format!("{owner} has an interface of this name already"),
            }),
        };
    }
    if config.name == DEFAULT_NETWORK && owner(DEFAULT_INTERFACE).is_none() {
        return Ok(DEFAULT_INTERFACE.to_owned());
    }
    for number in 1.. {
        let name = format!("sampan{number}");
        if owner(&name).is_none() && !exists(&name)? {
            return Ok(name);
        }
    }
    Err(Error::NoSubnet(config.name.clone()))
}

fn first_overlap(subnets: &[SubnetConfig]) -> Option<(&SubnetConfig, &SubnetConfig)> {
    subnets.iter().enumerate().find_map(|(place, a)| {
        subnets[place + 1..].iter().find(|b| a.subnet.overlaps(&b.subnet)).map(|b| (a, b))
    })
}

/// Fills in the gateway, and checks that all addresses lie in the subnet.
fn complete(config: &mut SubnetConfig) -> Result<()> {
    let subnet = config.subnet;
    let outside = |what, address: IpAddr| Error::Invalid {
        what,
        value: address.to_string(),
        why: format!("it isn't in the subnet {subnet}"),
    };
    match config.gateway {
        Some(gateway) if !subnet.contains(gateway) => return Err(outside("gateway", gateway)),
        Some(_) => {}
        None => config.gateway = subnet.nth(subnet.host_offsets().0),
    }
    if let Some(LeaseRange { start_ip, end_ip }) = config.lease_range {
        for address in [start_ip, end_ip] {
            if !subnet.contains(address) {
                return Err(outside("address range", address));
            }
        }
        if subnet.offset(start_ip) > subnet.offset(end_ip) {
            return Err(Error::Invalid {
                what: "address range",
                value: format!("{start_ip}-{end_ip}"),
                why: "the first address must not be above the last".to_owned(),
            });
        }
    }
    Ok(())
}

/// The digits of some bytes.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Options;

    fn nobody() -> Neighbours<'static> {
        Neighbours { networks: &[], routes: &[] }
    }

    fn named(name: &str) -> Config {
        Config { name: name.to_owned(), ..Config::default() }
    }

    #[test]
    fn the_default_network_is_complete() {
        let network = define(&default_network(), &nobody(), |_| Ok(false)).unwrap();
        assert_eq!(network.network_interface, "sampan0");
        assert!(!network.dns_enabled && !network.internal && !network.ipv6_enabled);
        let gateways: Vec<_> = network.gateways().map(|(ip, _)| ip.to_string()).collect();
        assert_eq!(gateways, ["10.87.0.1"]);
    }

    #[test]
    fn dual_stack_adds_a_local_subnet() {
        let config = Config {
            ipv6: true,
            subnets: vec!["10.50.0.0/24".parse::<crate::Subnet>().unwrap().into()],
            ..named("web")
        };
        let network = define(&config, &nobody(), |name| Ok(name == "sampan1")).unwrap();
        assert_eq!(network.network_interface, "sampan2");
        assert_eq!(network.subnets.len(), 2);
        assert!(network.ipv6_enabled);
    }

    #[test]
    fn json_has_podmans_names_and_comes_back() {
        let mut config = named("web");
        config.options = Options { mtu: Some(1400), ..Options::default() };
        let network = define(&config, &nobody(), |_| Ok(false)).unwrap();
        let json = serde_json::to_value(&network).unwrap();
        assert_eq!(json["driver"], "bridge");
        assert_eq!(json["subnets"][0]["subnet"], "10.84.0.0/24");
        assert_eq!(json["options"]["mtu"], "1400");
        assert_eq!(json["ipam_options"]["driver"], "host-local");
        assert_eq!(serde_json::from_value::<Network>(json).unwrap(), network);
    }

    #[test]
    fn mistakes_are_refused() {
        let subnet: SubnetConfig = "10.5.0.0/24".parse::<crate::Subnet>().unwrap().into();
        let with = |change: fn(&mut SubnetConfig)| {
            let mut subnet = subnet.clone();
            change(&mut subnet);
            let config = Config { subnets: vec![subnet], ..named("web") };
            define(&config, &nobody(), |_| Ok(false)).unwrap_err().to_string()
        };
        let text = with(|s| s.gateway = Some("10.6.0.1".parse().unwrap()));
        assert!(text.contains("10.6.0.1") && text.contains("10.5.0.0/24"), "{text}");
        let text = with(|s| s.lease_range = LeaseRange::parse("10.5.0.9-10.5.0.3").ok());
        assert!(text.contains("above"), "{text}");
        for name in ["", "../x", "a b", "-x", "host"] {
            assert!(define(&named(name), &nobody(), |_| Ok(false)).is_err(), "{name:?}");
        }
        let twice = Config { subnets: vec![subnet.clone(), subnet], ..named("web") };
        let text = define(&twice, &nobody(), |_| Ok(false)).unwrap_err().to_string();
        assert!(text.contains("its own subnet"), "{text}");
    }
}
