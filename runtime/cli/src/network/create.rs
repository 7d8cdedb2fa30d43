//! `sampan network create`.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use sampan_network::{
    Config, Converged, DEFAULT_NETWORK, Driver, Error, Ipam, LeaseRange, Networks, Options, Subnet,
    SubnetConfig,
};

use super::definition;
use crate::blame::Key;
use crate::context::Context;
use crate::{namespace, output};

/// Flags take `=false` too, as generated units write them.
#[derive(Debug, clap::Args)]
pub(super) struct Create {
    /// The kind of network: bridge, or on an interface of the host macvlan or ipvlan
    #[arg(long, short, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Option of the driver: mtu=, metric=, no_default_route=, mode=; for bridge isolate=, vlan=,
    /// vrf=; for macvlan bclim=; for macvlan and ipvlan parent=; with IPAM driver dhcp arp_probe=
    #[arg(long, short, value_name = "NAME=VALUE")]
    opt: Vec<String>,
    /// A block of addresses, such as 10.1.2.0/24; may be repeated
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The host's address in the subnet of the same place
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    gateway: Vec<IpAddr>,
    /// The part of the subnet of the same place that containers get: CIDR or FIRST-LAST
    #[arg(long, value_name = "RANGE")]
    ip_range: Vec<String>,
    /// Give it an IPv6 subnet too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    ipv6: bool,
    /// No way out of the network
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    internal: bool,
    /// Don't answer names on this network
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    disable_dns: bool,
    /// A server for names that are no containers'; may be repeated
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    dns: Vec<IpAddr>,
    /// Note something about the network
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// The name of the bridge, or of the parent interface of macvlan and ipvlan
    #[arg(long, value_name = "NAME")]
    interface_name: Option<String>,
    /// Who gives out addresses: host-local, dhcp (a server on the parent's link), or none
    #[arg(long, value_name = "DRIVER")]
    ipam_driver: Option<String>,
    /// A network that exists is no error
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", action = clap::ArgAction::Set, value_name = "BOOL")]
    ignore: bool,
    /// Its name; without one, the first of sampan1, sampan2, … that is free
    name: Option<String>,
}

/// Makes the network, or brings it to what the options say.
pub(super) fn run(options: &Create, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let config = config(options, &networks)?;
    if !options.ignore {
        let network = networks.create(&config, false).map_err(|error| blame(error, options))?;
        output::lines([network.name])?;
        return Ok(ExitCode::SUCCESS);
    }
    let converged = converge(&config, &networks, context).map_err(|error| blame(error, options))?;
    definition::note(&config.name, context)?;
    output::lines([&config.name])?;
    let words = converged.to_string();
    words.lines().for_each(|line| eprintln!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// Makes a network what it shall be, or as much of it as its containers allow.
pub(super) fn converge(config: &Config, networks: &Networks, context: &Context) -> Result<Converged, Error> {
    networks.converge(config, &namespace::of_holders(context))
}

/// What the options ask for.
pub(super) fn config(options: &Create, networks: &Networks) -> anyhow::Result<Config> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None => free_name(networks)?,
    };
    let driver = Driver::parse(&options.driver).map_err(|error| blame(error, options))?;
    let mut driver_options = Options::default();
    for (name, value) in output::assignments(&options.opt) {
        driver_options.set(driver, &name, &value).map_err(|error| blame(error, options))?;
    }
    Ok(Config {
        name,
        subnets: subnets(options)?,
        ipv6: options.ipv6,
        internal: options.internal,
        disable_dns: options.disable_dns,
        dns_servers: options.dns.clone(),
        driver,
        options: driver_options,
        labels: output::assignments(&options.label),
        interface: options.interface_name.clone().filter(|name| !name.is_empty()),
        ipam: Ipam::parse(options.ipam_driver.as_deref().unwrap_or_default())
            .map_err(|error| blame(error, options))?,
    })
}

/// The error, marked with the line of the `.network` file that it is about.
pub(super) fn blame(error: Error, options: &Create) -> anyhow::Error {
    let key = match &error {
        Error::Overlap { subnet, .. } => Some(Key::new("Subnet", subnet.clone())),
        Error::NoInterface { what, .. } => options.key_that_names(what),
        Error::Invalid { what, value, .. } => key_of(what).map(|key| Key::new(key, value.clone())),
        _ => None,
    };
    let error = anyhow::Error::from(error);
    match key {
        Some(key) => error.context(key),
        None => error,
    }
}

impl Create {
    /// The key that names the interface of which these words are.
    fn key_that_names(&self, words: &str) -> Option<Key> {
        let is_named = |value: &str| words.split_whitespace().any(|word| word.trim_matches(',') == value);
        let option = self.opt.iter().find(|option| option.split_once('=').is_some_and(|(_, v)| is_named(v)));
        let name = self.interface_name.as_ref().filter(|name| is_named(name));
        let option = option.map(|option| Key::new("Options", option.clone()));
        option.or_else(|| name.map(|name| Key::new("InterfaceName", name.clone())))
    }
}

/// The key that has this kind of value.
fn key_of(what: &str) -> Option<&'static str> {
    Some(match what {
        "network option" => "Options",
        "network driver" => "Driver",
        "IPAM driver" => "IPAMDriver",
        "interface name" => "InterfaceName",
        "gateway" => "Gateway",
        "address range" => "IPRange",
        "DNS server of a network" => "DNS",
        _ => return None,
    })
}

/// The first name of ours that no network has.
fn free_name(networks: &Networks) -> anyhow::Result<String> {
    let taken: Vec<String> = networks.list()?.into_iter().map(|network| network.name).collect();
    let mut names = (1..).map(|number| format!("{DEFAULT_NETWORK}{number}"));
    names.find(|name| !taken.contains(name)).context("no name is left")
}

/// Gateways and ranges belong to the subnets by their place among the options.
fn subnets(options: &Create) -> anyhow::Result<Vec<SubnetConfig>> {
    let count = options.subnet.len();
    if count == 0 && (!options.gateway.is_empty() || !options.ip_range.is_empty()) {
        bail!("cannot set gateway or range without subnet: add --subnet (Subnet=)");
    }
    ensure!(options.gateway.len() <= count, "cannot set more gateways than subnets");
    ensure!(options.ip_range.len() <= count, "cannot set more ranges than subnets");
    let subnet = |(place, text): (usize, &String)| {
        let subnet: Subnet = text.parse()?;
        let lease_range = options.ip_range.get(place).map(|range| LeaseRange::parse(range)).transpose()?;
        Ok(SubnetConfig { subnet, gateway: options.gateway.get(place).copied(), lease_range })
    };
    options.subnet.iter().enumerate().map(subnet).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        create: Create,
    }

    fn create(words: &[&str]) -> Create {
        Line::try_parse_from(std::iter::once(&"create").chain(words)).unwrap().create
    }

    #[test]
    fn flags_may_say_false() {
        let options = create(&["--ignore", "--internal=false", "--ipv6=true", "name"]);
        assert!(options.ignore && !options.internal && options.ipv6);
        assert_eq!(options.name.as_deref(), Some("name"));
    }

    #[test]
    fn errors_are_marked_with_their_key() {
        let directory = tempfile::tempdir().unwrap();
        let networks = Networks::open(&directory.path().join("lib"), &directory.path().join("run")).unwrap();
        let key = |words: &[&str]| {
            let error = config(&create(words), &networks).unwrap_err();
            error.downcast_ref::<Key>().unwrap().to_string()
        };
        assert_eq!(key(&["--driver", "macvlan", "--opt", "vlan=7"]), "Options=vlan=7");
        assert_eq!(key(&["--driver", "overlay"]), "Driver=overlay");
        assert_eq!(key(&["--ipam-driver", "static"]), "IPAMDriver=static");
    }

    #[test]
    fn gateways_and_ranges_belong_to_subnets_by_place() {
        let line = [
            "--subnet",
            "10.1.0.0/24",
            "--subnet",
            "10.2.0.0/24",
            "--gateway",
            "10.1.0.9",
            "--ip-range",
            "10.1.0.128/25",
        ];
        let subnets = subnets(&create(&line)).unwrap();
        assert_eq!(subnets.len(), 2);
        assert_eq!(subnets[0].gateway.map(|gateway| gateway.to_string()).as_deref(), Some("10.1.0.9"));
        assert!(subnets[0].lease_range.is_some() && subnets[1].gateway.is_none());
    }

    #[test]
    fn more_gateways_than_subnets_are_refused() {
        let wrong = |words: &[&str]| subnets(&create(words)).unwrap_err().to_string();
        assert!(wrong(&["--gateway", "10.1.0.1"]).contains("without subnet"));
        assert!(
            wrong(&["--subnet", "10.1.0.0/24", "--gateway", "10.1.0.1,10.1.0.2"]).contains("more gateways")
        );
        assert!(wrong(&["--subnet", "10.1.0.0"]).contains("10.1.0.0"));
    }
}
