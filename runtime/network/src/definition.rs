//! From what a user asks for to a whole network: checks and fills in a
//! [`Config`].

use std::net::IpAddr;

use sha2::{Digest, Sha256};

use crate::config::{Config, DEFAULT_NETWORK, LeaseRange, Network, SubnetConfig};
use crate::driver::{Driver, Ipam, IpamOptions};
use crate::error::{Error, Result};
use crate::kernel::link::LONGEST_NAME;
use crate::options::Mode;
use crate::pool::Neighbours;

/// The bridge of the default network.
const DEFAULT_INTERFACE: &str = "sampan0";

/// The default network, as if a user had asked for it. It answers no names, as
/// Podman's default network doesn't.
pub(crate) fn default_network(name: &str) -> Config {
    Config { name: name.to_owned(), disable_dns: true, ..Config::default() }
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
    let ipam = ipam(config)?;
    let network_interface = interface(config, neighbours.networks, interface_exists)?;
    check_siblings(config, &network_interface, neighbours.networks)?;
    let subnets = subnets(config, ipam, neighbours)?;
    let has_ipv6 = subnets.iter().any(|subnet| subnet.subnet.is_ipv6());
    // The name server listens on the bridge's addresses, and tells addresses of ours. Those of a VRF are none of the
    // host's own: nobody can listen there.
    let can_answer =
        config.driver == Driver::Bridge && ipam == Ipam::HostLocal && config.options.vrf.is_none();
    if !can_answer && !config.dns_servers.is_empty() {
        let addresses: Vec<_> = config.dns_servers.iter().map(ToString::to_string).collect();
        return Err(Error::Invalid {
            what: "DNS server of a network",
            value: addresses.join(","),
            why:
                "only a bridge with addresses of ours, outside of VRFs, has a name server; write DNS= in the \
                  [Container] section"
                    .to_owned(),
        });
    }
    if config.options.no_arp_probe && ipam != Ipam::Dhcp {
        return Err(Error::Invalid {
            what: "network option",
            value: "arp_probe=false".to_owned(),
            why: "only addresses of a DHCP server are probed for; remove it, or use IPAMDriver=dhcp"
                .to_owned(),
        });
    }
    Ok(Network {
        name: config.name.clone(),
        id: hexadecimal(&Sha256::digest(&config.name)),
        driver: config.driver,
        network_interface,
        created: jiff::Timestamp::now().to_string(),
        ipv6_enabled: has_ipv6 || (config.ipv6 && ipam != Ipam::HostLocal),
        subnets,
        internal: config.internal,
        dns_enabled: can_answer && !config.disable_dns,
        network_dns_servers: config.dns_servers.clone(),
        labels: config.labels.clone(),
        options: config.options.clone(),
        ipam_options: IpamOptions { driver: ipam },
    })
}

/// Whether the network has a bridge of its own.
fn is_managed(config: &Config) -> bool {
    config.driver == Driver::Bridge && config.options.mode != Some(Mode::Unmanaged)
}

/// Who gives out the addresses: as Podman has it, a DHCP server does for a macvlan
/// network without a subnet.
fn ipam(config: &Config) -> Result<Ipam> {
    let refuse = |value: &str, why: &str| {
        Err(Error::Invalid { what: "IPAM driver", value: value.to_owned(), why: why.to_owned() })
    };
    let has_subnets = !config.subnets.is_empty();
    let name_one = "name the subnet of the parent's link with Subnet= (--subnet)";
    match (config.ipam, config.driver) {
        (None, Driver::Macvlan) if !has_subnets => Ok(Ipam::Dhcp),
        (None | Some(Ipam::HostLocal), Driver::Macvlan | Driver::Ipvlan) if !has_subnets => {
            refuse("host-local", name_one)
        }
        (None | Some(Ipam::HostLocal), _) => Ok(Ipam::HostLocal),
        (Some(Ipam::Dhcp), Driver::Bridge) if is_managed(config) => {
            refuse("dhcp", "there is no DHCP server on a bridge of ours; it needs Options=mode=unmanaged")
        }
        (Some(Ipam::Dhcp), Driver::Ipvlan) if matches!(config.options.mode, Some(Mode::L3 | Mode::L3s)) => {
            refuse(
                "dhcp",
                "with mode=l3 and l3s no broadcast reaches a DHCP server; use mode=l2, or a subnet",
            )
        }
        (Some(Ipam::Dhcp), _) if has_subnets => {
            refuse("dhcp", "the DHCP server knows the subnet; remove Subnet=, or use host-local")
        }
        (Some(Ipam::None), _) if has_subnets => refuse(
            "none",
            "without addresses there is no use for a subnet; remove Subnet=, or use host-local",
        ),
        (Some(other), _) => Ok(other),
    }
}

/// The network's subnets, complete; chosen, if it needs some and names none.
fn subnets(config: &Config, ipam: Ipam, neighbours: &Neighbours<'_>) -> Result<Vec<SubnetConfig>> {
    let mut subnets = config.subnets.clone();
    if is_managed(config) {
        for subnet in &subnets {
            neighbours.check(&config.name, subnet.subnet)?;
        }
    }
    if let Some((a, b)) = first_overlap(&subnets) {
        return Err(Error::Overlap {
            network: config.name.clone(),
            subnet: a.subnet.to_string(),
            other: format!("its own subnet {}", b.subnet),
        });
    }
    if ipam == Ipam::HostLocal && config.driver == Driver::Bridge {
        if subnets.is_empty() {
            subnets.push(neighbours.free_ipv4(&config.name)?.into());
        }
        if config.ipv6 && !subnets.iter().any(|subnet| subnet.subnet.is_ipv6()) {
            subnets.push(neighbours.free_ipv6(&config.name)?.into());
        }
    }
    let needs_gateway = is_managed(config) || !config.internal;
    for subnet in &mut subnets {
        complete(subnet, needs_gateway)?;
    }
    Ok(subnets)
}

/// The configuration with what it leaves open as the existing network has it: the
/// interface, and the subnets that were chosen for it. What was chosen for another
/// kind of network doesn't count.
pub(crate) fn keep(config: &Config, existing: &Network) -> Config {
    let mut config = config.clone();
    if !is_managed(&config) || existing.own_bridge().is_none() {
        return config;
    }
    if named_interface(&config).is_none() {
        config.interface = Some(existing.network_interface.clone());
    }
    if config.subnets.is_empty() && config.ipam.unwrap_or_default() == Ipam::HostLocal {
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

/// The interface that a configuration names, in either spelling.
fn named_interface(config: &Config) -> Option<&str> {
    let option = match config.driver {
        Driver::Bridge => &config.options.bridge_name,
        Driver::Macvlan | Driver::Ipvlan => &config.options.parent,
    };
    config.interface.as_deref().or(option.as_deref()).filter(|name| !name.is_empty())
}

/// The network's interface: its own bridge, another's, or the parent; empty for the
/// parent that is found at each start.
fn interface(config: &Config, networks: &[Network], exists: impl Fn(&str) -> Result<bool>) -> Result<String> {
    let named = named_interface(config);
    if let Some(name) = named {
        check_interface(name)?;
    }
    let option = config.options.bridge_name.as_deref().or(config.options.parent.as_deref());
    if let (Some(name), Some(option)) = (named, option)
        && name != option
    {
        return Err(Error::Invalid {
            what: "interface name",
            value: name.to_owned(),
            why: format!("Options= names another, {option:?}; keep one of them"),
        });
    }
    match named {
        _ if is_managed(config) => own_bridge(config, named, networks, exists),
        Some(name) => Ok(name.to_owned()),
        None if config.driver == Driver::Bridge => Err(Error::Invalid {
            what: "network option",
            value: "mode=unmanaged".to_owned(),
            why: "name the bridge that is there with InterfaceName= (--interface-name)".to_owned(),
        }),
        None => Ok(String::new()),
    }
}

/// The name of a bridge of ours, which nobody else may have.
fn own_bridge(
    config: &Config,
    named: Option<&str>,
    networks: &[Network],
    exists: impl Fn(&str) -> Result<bool>,
) -> Result<String> {
    let owner = |name: &str| {
        networks
            .iter()
            .find(|network| network.network_interface == name)
            .map(|network| format!("network {:?}", network.name))
    };
    if let Some(name) = named {
        let why = match owner(name) {
            Some(owner) => format!("{owner} has an interface of this name already"),
            None if exists(name)? => {
                "the host has an interface of this name already; to use it as it is, write Options=mode=unmanaged"
                    .to_owned()
            }
            None => return Ok(name.to_owned()),
        };
        return Err(Error::Invalid { what: "interface name", value: name.to_owned(), why });
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

/// All ipvlan interfaces of one parent work in one mode: the last one made would
/// change it for the others.
fn check_siblings(config: &Config, parent: &str, networks: &[Network]) -> Result<()> {
    let mode = |mode: Option<Mode>| mode.unwrap_or(Mode::L2);
    let other = networks.iter().find(|network| {
        config.driver == Driver::Ipvlan
            && network.driver == Driver::Ipvlan
            && network.network_interface == parent
            && mode(network.options.mode) != mode(config.options.mode)
    });
    match other {
        None => Ok(()),
        Some(other) => Err(Error::Invalid {
            what: "network option",
            value: format!("mode={}", mode(config.options.mode)),
            why: format!(
                "network {:?} is on the same parent with mode={}, and a parent has one ipvlan mode",
                other.name,
                mode(other.options.mode)
            ),
        }),
    }
}

fn first_overlap(subnets: &[SubnetConfig]) -> Option<(&SubnetConfig, &SubnetConfig)> {
    subnets.iter().enumerate().find_map(|(place, a)| {
        subnets[place + 1..].iter().find(|b| a.subnet.overlaps(&b.subnet)).map(|b| (a, b))
    })
}

/// Fills in the gateway, if there is to be one, and checks that all addresses lie in the
/// subnet.
fn complete(config: &mut SubnetConfig, needs_gateway: bool) -> Result<()> {
    let subnet = config.subnet;
    let outside = |what, address: IpAddr| Error::Invalid {
        what,
        value: address.to_string(),
        why: format!("it isn't in the subnet {subnet}"),
    };
    match config.gateway {
        Some(gateway) if !subnet.contains(gateway) => return Err(outside("gateway", gateway)),
        Some(_) => {}
        None if needs_gateway => config.gateway = subnet.nth(subnet.host_offsets().0),
        None => {}
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
    use std::sync::LazyLock;

    use super::*;
    use crate::options::Options;
    use crate::pool::Defaults;

    static BUILT_IN: LazyLock<Defaults> = LazyLock::new(Defaults::default);

    fn nobody() -> Neighbours<'static> {
        Neighbours { networks: &[], routes: &[], foreign: &[], defaults: &BUILT_IN }
    }

    fn named(name: &str) -> Config {
        Config { name: name.to_owned(), ..Config::default() }
    }

    #[test]
    fn the_default_network_is_complete() {
        let network = define(&default_network(DEFAULT_NETWORK), &nobody(), |_| Ok(false)).unwrap();
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
    fn on_parent(driver: Driver, ipam: Option<Ipam>, subnet: Option<&str>) -> Result<Network> {
        let subnets = subnet.map(|text| text.parse::<crate::Subnet>().unwrap().into()).into_iter().collect();
        define(&Config { driver, ipam, subnets, ..named("lan") }, &nobody(), |_| Ok(true))
    }

    #[test]
    fn a_parent_has_its_links_subnet_or_a_dhcp_server() {
        let lan = Some("192.0.2.0/24");
        let network = on_parent(Driver::Macvlan, None, lan).unwrap();
        assert_eq!((network.ipam_options.driver, network.dns_enabled), (Ipam::HostLocal, false));
        assert_eq!(network.subnets[0].gateway, Some("192.0.2.1".parse().unwrap()));
        assert_eq!(network.network_interface, "");
        assert_eq!(network.own_bridge(), None);
        let network = on_parent(Driver::Macvlan, None, None).unwrap();
        assert_eq!((network.ipam_options.driver, network.subnets.len()), (Ipam::Dhcp, 0));
        let wrong = |driver, ipam, subnet| on_parent(driver, ipam, subnet).unwrap_err().to_string();
        assert!(wrong(Driver::Ipvlan, None, None).contains("Subnet="));
        assert!(wrong(Driver::Macvlan, Some(Ipam::HostLocal), None).contains("Subnet="));
        assert!(wrong(Driver::Macvlan, Some(Ipam::Dhcp), lan).contains("remove Subnet="));
        on_parent(Driver::Ipvlan, Some(Ipam::Dhcp), None).unwrap();
        assert!(wrong(Driver::Bridge, Some(Ipam::Dhcp), None).contains("mode=unmanaged"));
        assert!(wrong(Driver::Bridge, Some(Ipam::None), lan).contains("remove Subnet="));
        let servers = Config { dns_servers: vec!["192.0.2.53".parse().unwrap()], ..named("lan") };
        define(&servers, &nobody(), |_| Ok(false)).unwrap();
        let servers = Config { driver: Driver::Macvlan, ..servers };
        let text = define(&servers, &nobody(), |_| Ok(true)).unwrap_err().to_string();
        assert!(text.contains("192.0.2.53") && text.contains("[Container]"), "{text}");
    }

    #[test]
    fn only_what_a_server_grants_is_probed_for() {
        let with = |ipam| {
            let mut config = Config { ipam, driver: Driver::Macvlan, ..named("lan") };
            config.options.set(Driver::Macvlan, "arp_probe", "false").unwrap();
            define(&config, &nobody(), |_| Ok(true))
        };
        assert!(with(Some(Ipam::Dhcp)).unwrap().options.no_arp_probe);
        let text = with(Some(Ipam::None)).unwrap_err().to_string();
        assert!(text.contains("arp_probe=false") && text.contains("IPAMDriver=dhcp"), "{text}");
    }

    #[test]
    fn an_interface_has_two_spellings_and_one_name() {
        let with = |driver, interface: Option<&str>, option: (&str, &str)| {
            let mut config = Config { driver, interface: interface.map(str::to_owned), ..named("lan") };
            config.options.set(driver, option.0, option.1).unwrap();
            define(&config, &nobody(), |_| Ok(false)).map(|network| network.network_interface)
        };
        assert_eq!(with(Driver::Macvlan, None, ("parent", "eth1")).unwrap(), "eth1");
        assert_eq!(with(Driver::Macvlan, Some("eth1"), ("parent", "eth1")).unwrap(), "eth1");
        let text = with(Driver::Macvlan, Some("eth2"), ("parent", "eth1")).unwrap_err().to_string();
        assert!(text.contains("eth1") && text.contains("eth2"), "{text}");
        let docker = ("com.docker.network.bridge.name", "app0");
        assert_eq!(with(Driver::Bridge, None, docker).unwrap(), "app0");
        let text = with(Driver::Bridge, None, ("mode", "unmanaged")).unwrap_err().to_string();
        assert!(text.contains("InterfaceName="), "{text}");
        assert_eq!(with(Driver::Bridge, Some("br0"), ("mode", "unmanaged")).unwrap(), "br0");
    }

    #[test]
    fn what_was_chosen_for_another_kind_of_network_is_not_kept() {
        let bridge = define(&named("lan"), &nobody(), |_| Ok(false)).unwrap();
        let kept = keep(&named("lan"), &bridge);
        assert_eq!((kept.interface.as_deref(), kept.subnets.len()), (Some("sampan1"), 1));
        let macvlan = on_parent(Driver::Macvlan, None, Some("192.0.2.0/24")).unwrap();
        let kept = keep(&named("lan"), &macvlan);
        assert_eq!((kept.interface, kept.subnets.len()), (None, 0));
        let kept = keep(&Config { driver: Driver::Macvlan, ..named("lan") }, &bridge);
        assert_eq!((kept.interface, kept.subnets.len()), (None, 0));
    }
}
