//! `sampan network inspect`.

use std::collections::BTreeMap;
use std::process::ExitCode;

use sampan_network::{Dhcp, Grant, Lease, Network, Networks};
use serde::Serialize;
use serde_json::{Value, json};

use super::{explain, find};
use crate::context::Context;
use crate::output;

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// Say in words what the firewall does: who reaches whom, and where published ports lead
    #[arg(long, conflicts_with = "format")]
    explain: bool,
    /// json, or a Go template for each network
    #[arg(long, short, value_name = "FORMAT")]
    format: Option<String>,
    /// Their names or ids
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
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
    #[serde(skip_serializing_if = "Option::is_none")]
    dhcp: Option<Value>,
}

/// What the network's DHCP server has granted, and what the last conversation with it came to.
fn granted(dhcp: &Dhcp) -> Value {
    let grant = dhcp.granted.as_ref();
    json!({
        "client_id": dhcp.client,
        "hostname": dhcp.hostname,
        "server": grant.map(|grant| grant.terms.server),
        "since": grant.map(|grant| &grant.since),
        "renews": grant.and_then(Grant::renews),
        "expires": grant.and_then(Grant::expires),
        "outcome": dhcp.outcome,
    })
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
                    let dhcp = at.dhcp.as_ref().map(granted);
                    (
                        at.interface.as_str(),
                        Interface { subnets: subnets.collect(), mac_address: &at.mac, dhcp },
                    )
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

/// Shows them.
pub(super) fn run(options: &Inspect, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let leases = networks.leases()?;
    let found: Vec<Network> =
        options.names.iter().map(|name| find(&networks, name)).collect::<Result<_, _>>()?;
    if options.explain {
        output::emit(&explain::text(&found, &networks.list()?, &leases, &|network| {
            networks.name_servers(network)
        }))?;
        return Ok(ExitCode::SUCCESS);
    }
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
