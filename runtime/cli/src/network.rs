//! `sampan network`: makes, shows and removes networks.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use sampan_container::state::{ContainerDir, State};
use sampan_network::{
    Config, DEFAULT_NETWORK, Driver, Error, Ipam, Lease, LeaseRange, Network, Networks, Options, Subnet,
    SubnetConfig,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::Coded;
use crate::blame::Key;
use crate::context::Context;
use crate::dhcp;
use crate::output::filter::{Filters, matches};
use crate::output::{self, Format};
use crate::users;

/// podman-network-rm(1), "Exit Status": there is no such network.
const MISSING: u8 = 1;
/// The same: a container is on it.
const IN_USE: u8 = 2;

/// `sampan network create|ls|inspect|rm|exists|prune|renew`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a network
    Create(Box<Create>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(List),
    /// Show all that is known of networks
    Inspect(Inspect),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(Remove),
    /// Exit with 0 if there is such a network, with 1 if not
    Exists {
        /// The network
        name: String,
    },
    /// Remove all networks that no container is on
    Prune(Prune),
    /// Ask the DHCP servers of a container's networks for more time, as its timer does
    Renew(dhcp::Renew),
}

/// Flags take `=false` too, as generated units write them.
#[derive(Debug, clap::Args)]
struct Create {
    /// The kind of network: bridge, or on an interface of the host macvlan or ipvlan
    #[arg(long, short, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// Option of the driver: mtu=, metric=, no_default_route=, mode=; for bridge isolate=, vlan=,
    /// vrf=; for macvlan bclim=; for macvlan and ipvlan parent=
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

#[derive(Debug, clap::Args)]
struct List {
    /// Only some: name=, id=, label=, driver=, dangling=true|false
    #[arg(long, short, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// json, or a Go template for each network
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Without the headings
    #[arg(long, short)]
    noheading: bool,
    /// The names alone
    #[arg(long, short)]
    quiet: bool,
}

#[derive(Debug, clap::Args)]
struct Inspect {
    /// json, or a Go template for each network
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// Their names or ids
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// Also stop and remove the containers on them; one that doesn't exist is no error
    #[arg(long, short)]
    force: bool,
    /// Their names or ids
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Prune {
    /// Only some: label=
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    force: bool,
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Create(options) => create(&options, context),
        Verb::Ls(options) => list(&options, context),
        Verb::Inspect(options) => inspect(&options, context),
        Verb::Rm(options) => output::each(&options.names, |name| remove(name, options.force, context)),
        Verb::Exists { name } => match find(&context.networks()?, &name) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(Error::NoNetwork(_)) => Ok(ExitCode::from(MISSING)),
            Err(error) => Err(error.into()),
        },
        Verb::Prune(options) => prune(&options, context),
        Verb::Renew(options) => dhcp::renew(&options, context),
    }
}

/// The network that a user means: Podman's names for its default network mean ours.
pub(crate) fn find(networks: &Networks, name: &str) -> Result<Network, Error> {
    match networks.get(name) {
        Err(Error::NoNetwork(_)) if matches!(name, "podman" | "bridge" | "default") => {
            networks.get(DEFAULT_NETWORK)
        }
        other => other,
    }
}

fn create(options: &Create, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => free_name(&networks)?,
    };
    let driver = Driver::parse(&options.driver)?;
    let mut driver_options = Options::default();
    for (name, value) in output::assignments(&options.opt) {
        driver_options.set(driver, &name, &value)?;
    }
    let config = Config {
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
        ipam: Ipam::parse(options.ipam_driver.as_deref().unwrap_or_default())?,
    };
    let network = networks.create(&config, options.ignore).map_err(blame)?;
    output::lines([network.name])?;
    Ok(ExitCode::SUCCESS)
}

/// An overlap is the subnet's line in the `.network` file.
fn blame(error: sampan_network::Error) -> anyhow::Error {
    match &error {
        sampan_network::Error::Overlap { subnet, .. } => {
            let key = Key::new("Subnet", subnet.clone());
            anyhow::Error::from(error).context(key)
        }
        _ => error.into(),
    }
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

/// A network as `inspect` shows it: what is kept, and who is on it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    network: &'a Network,
    containers: BTreeMap<&'a str, Member<'a>>,
}

/// A container on a network.
#[derive(Debug, Serialize)]
struct Member<'a> {
    name: &'a str,
    interfaces: BTreeMap<&'a str, Interface<'a>>,
}

#[derive(Debug, Serialize)]
struct Interface<'a> {
    subnets: Vec<Value>,
    mac_address: &'a str,
}

impl<'a> Shown<'a> {
    fn new(network: &'a Network, leases: &'a [Lease]) -> Self {
        let member = |lease: &'a Lease| {
            let attached = lease.attachments.iter().filter(|at| at.network.id == network.id);
            let interfaces: BTreeMap<_, _> = attached
                .map(|at| {
                    let gateway = |v4: bool| at.gateways.iter().find(|gateway| gateway.is_ipv4() == v4);
                    let subnets = at.addresses.iter().map(|address| {
                        json!({"ipnet": address.to_string(), "gateway": gateway(address.address.is_ipv4())})
                    });
                    (at.interface.as_str(), Interface { subnets: subnets.collect(), mac_address: &at.mac })
                })
                .collect();
            let member = Member { name: &lease.holder.name, interfaces };
            (!member.interfaces.is_empty()).then_some((lease.holder.id.as_str(), member))
        };
        Self { network, containers: leases.iter().filter_map(member).collect() }
    }
}

/// A network as `inspect` shows it.
pub(crate) fn shown(networks: &Networks, network: &Network) -> anyhow::Result<Value> {
    let leases = networks.leases()?;
    Ok(serde_json::to_value(Shown::new(network, &leases))?)
}

fn list(options: &List, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["name", "id", "label", "driver", "dangling"])?;
    let networks = context.networks()?;
    // The default network is always there, though its file is only made when somebody asks for it.
    networks.get(DEFAULT_NETWORK)?;
    let mut shown = Vec::new();
    for network in networks.list()? {
        let dangling = networks.holders(&network.name)?.is_empty();
        if filters.any("name", |name| matches(&network.name, name))
            && filters.any("id", |id| network.id.starts_with(id))
            && filters.any("driver", |driver| network.driver.to_string() == driver)
            && filters.any("dangling", |wanted| wanted == dangling.to_string())
            && filters.labels(&network.labels)
        {
            shown.push(network);
        }
    }
    if options.quiet {
        output::lines(shown.iter().map(|network| &network.name))?;
        return Ok(ExitCode::SUCCESS);
    }
    match Format::of(options.format.as_deref(), "{{.ID}}\t{{.Name}}\t{{.Driver}}")? {
        Format::Json => output::json(&shown)?,
        Format::Listing(listing) => {
            let rows =
                shown.iter().map(|network| row(network, options.no_trunc)).collect::<Result<_, _>>()?;
            listing.print(rows, !options.noheading, &[("ID", "NETWORK ID")])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// What templates of `network ls` see: Podman's Go names, which differ from the JSON names.
fn row(network: &Network, whole: bool) -> anyhow::Result<Value> {
    let mut row = serde_json::to_value(network)?;
    row["ID"] = json!(output::short_id(&network.id, whole));
    row["Label"] = json!(network.labels);
    row["Labels"] = json!(output::pairs(&network.labels));
    if let Value::Object(fields) = &mut row {
        fields.remove("id");
        fields.remove("labels");
    }
    Ok(row)
}

fn inspect(options: &Inspect, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let leases = networks.leases()?;
    let found: Vec<Network> =
        options.names.iter().map(|name| find(&networks, name)).collect::<Result<_, _>>()?;
    let all: Vec<_> = found.iter().map(|network| Shown::new(network, &leases)).collect();
    match output::template_or_json(options.format.as_deref()) {
        None => output::json(&all)?,
        Some(format) => {
            let rows = all.iter().map(serde_json::to_value).collect::<Result<_, _>>()?;
            output::Listing::parse(format)?.print(rows, false, &[])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The containers that hold addresses of a network.
fn users_of(
    networks: &Networks,
    network: &Network,
    context: &Context,
) -> anyhow::Result<Vec<(ContainerDir, State)>> {
    let holders = networks.holders(&network.name)?;
    if holders.is_empty() {
        return Ok(Vec::new());
    }
    users::of(context, |state| holders.contains(&state.id))
}

fn remove(name: &str, force: bool, context: &Context) -> anyhow::Result<()> {
    let networks = context.networks()?;
    let network = match find(&networks, name) {
        Ok(network) => network,
        Err(Error::NoNetwork(_)) if force => return Ok(()),
        Err(Error::NoNetwork(_)) => {
            let message = format!("unable to find network with name or ID {name}: network not found");
            return Err(Coded { code: MISSING, message }.into());
        }
        Err(error) => return Err(error.into()),
    };
    ensure!(network.name != DEFAULT_NETWORK, "default network {} cannot be removed", network.name);
    if force {
        users::remove(context, users_of(&networks, &network, context)?)?;
    }
    match networks.remove(&network.name, force) {
        Ok(()) => output::lines([name]),
        Err(error @ Error::NetworkInUse { .. }) => {
            Err(Coded { code: IN_USE, message: format!("{error}: network is being used") }.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn prune(options: &Prune, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["label"])?;
    let question = "WARNING! This will remove all networks not used by at least one container.";
    if !options.force && !output::confirm(question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let networks = context.networks()?;
    for network in networks.list()? {
        if network.name == DEFAULT_NETWORK || !filters.labels(&network.labels) {
            continue;
        }
        match networks.remove(&network.name, false) {
            Ok(()) => output::lines([&network.name])?,
            Err(Error::NetworkInUse { .. } | Error::NoNetwork(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
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
