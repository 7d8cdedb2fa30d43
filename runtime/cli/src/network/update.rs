//! `sampan network update`: other servers for names, also while containers are on the network.

use std::net::IpAddr;
use std::process::ExitCode;

use anyhow::ensure;
use sampan_network::{Config, Network};

use super::{create, find};
use crate::context::Context;

/// What the manual says behind the options.
const MANUAL: &str = "\
Containers that run ask the new servers from then on, by the network's own name server. A network that a .network file \
makes stays so until that file is edited; write DNS= there.";

#[derive(Debug, clap::Args)]
#[command(after_long_help = MANUAL)]
pub(super) struct Update {
    /// Servers to ask for names that are no containers'
    #[arg(long, value_name = "IP", value_delimiter = ',', required_unless_present = "dns_drop")]
    dns_add: Vec<IpAddr>,
    /// Servers not to ask any more; without any left, the host's are asked
    #[arg(long, value_name = "IP", value_delimiter = ',')]
    dns_drop: Vec<IpAddr>,
    /// Its name or id
    network: String,
}

/// Makes the network one with these servers.
pub(super) fn run(options: &Update, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let network = find(&networks, &options.network)?;
    ensure!(
        network.dns_enabled,
        "network {} answers no names, so there is no server of it that could ask others (DisableDNS=, --disable-dns)",
        network.name
    );
    // What waits for its containers to end is wanted as before.
    let wanted = networks.wanted(&network.name)?.unwrap_or(network);
    let servers = servers(&wanted.network_dns_servers, options);
    let converged =
        create::converge(&Config { dns_servers: servers, ..definition(wanted) }, &networks, context)?;
    converged.to_string().lines().for_each(|line| eprintln!("{line}"));
    Ok(ExitCode::SUCCESS)
}

/// Those that stay, then the new ones, each once.
fn servers(now: &[IpAddr], options: &Update) -> Vec<IpAddr> {
    let mut servers: Vec<IpAddr> = Vec::new();
    for server in now.iter().filter(|server| !options.dns_drop.contains(server)).chain(&options.dns_add) {
        if !servers.contains(server) {
            servers.push(*server);
        }
    }
    servers
}

/// The definition that makes the same network.
fn definition(network: Network) -> Config {
    Config {
        name: network.name,
        subnets: network.subnets,
        ipv6: network.ipv6_enabled,
        internal: network.internal,
        disable_dns: !network.dns_enabled,
        dns_servers: network.network_dns_servers,
        driver: network.driver,
        options: network.options,
        labels: network.labels,
        interface: Some(network.network_interface).filter(|name| !name.is_empty()),
        ipam: Some(network.ipam_options.driver),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        update: Update,
    }

    #[test]
    fn servers_come_once_and_go() {
        let now: Vec<IpAddr> = ["192.0.2.1", "192.0.2.2"].map(|text| text.parse().unwrap()).to_vec();
        let of = |words: &[&str]| {
            let line = Line::try_parse_from(["update"].iter().chain(words).chain(&["net"])).unwrap();
            servers(&now, &line.update).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&["--dns-add", "192.0.2.2,fd00::1"]), ["192.0.2.1", "192.0.2.2", "fd00::1"]);
        assert_eq!(of(&["--dns-drop", "192.0.2.1", "--dns-add", "192.0.2.3"]), ["192.0.2.2", "192.0.2.3"]);
        assert!(of(&["--dns-drop", "192.0.2.1,192.0.2.2"]).is_empty());
        assert!(Line::try_parse_from(["update", "net"]).is_err(), "nothing to do");
    }
}
