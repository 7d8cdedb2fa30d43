//! `sampan network reload`: the firewall again, after another program has flushed it.

use std::process::ExitCode;

use anyhow::ensure;

use crate::context::Context;
use crate::output;

/// What the manual says behind the options.
const MANUAL: &str = "\
Published ports, ways out and isolation of all networks are one nftables table, inet sampan, which is loaded anew \
with what all containers have: in one transaction, so that no packet finds a part of it. Forwarding of packets is \
switched on again where a network needs it, and firewalld, if it runs, gets to know bridges with names of your \
choice (InterfaceName=).

It is needed after nft flush ruleset, or nft -f with a file that begins so. systemctl start, restart, reload \
and stop of nftables or firewalld do it themselves (sampan-firewall@.service).";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MANUAL)]
#[group(required = true, multiple = false)]
pub(super) struct Options {
    /// For all containers
    #[arg(long, short)]
    all: bool,
    /// For these; what belongs to others is made right as well
    #[arg(value_name = "CONTAINER")]
    containers: Vec<String>,
}

/// Reloads, and prints the ids of the containers, as podman-network-reload(1) does.
pub(super) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let mut ids: Vec<String> = Vec::new();
    for name in &options.containers {
        let id = context.containers()?.get(name)?.read()?.id;
        // Of a container in a pod, the pod has the networks.
        ensure!(!ids.contains(&id), "container {name} is named twice");
        ids.push(id);
    }
    networks.reload_firewall()?;
    if options.all {
        ids.extend(networks.leases()?.into_iter().map(|lease| lease.holder.id));
    }
    output::lines(ids)?;
    Ok(ExitCode::SUCCESS)
}
