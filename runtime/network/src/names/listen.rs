//! Where a network's name server listens: the addresses that its containers ask.
//!
//! On a bridge of ours that is where the host is on it. A bridge of others has the addresses that somebody gave it,
//! and a server of somebody's may listen there already, as libvirt's does.

use std::net::IpAddr;

use super::query::DNS_PORT;
use super::server::PID_FILE;
use super::zone::Zone;
use super::{INTERNAL, Names};
use crate::config::{Network, SubnetConfig};
use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::host_port;
use crate::kernel::{interface, link};
use crate::networks::Networks;
use crate::port::Protocol;

/// See [`Networks::name_servers`].
pub(crate) fn servers(networks: &Networks, network: &Network) -> std::result::Result<Vec<IpAddr>, String> {
    if !network.dns_enabled {
        return Err("the network answers no names".to_owned());
    }
    let servers = networks.names.servers(network)?;
    if network.own_bridge().is_some() {
        return Ok(servers);
    }
    // What comes from a bridge of others is redirected to published ports as what comes from any machine.
    for server in &servers {
        let holder = networks.claims.port_holder(Protocol::Udp, DNS_PORT, Some(*server));
        if let Some(id) = holder.map_err(|error| error.to_string())? {
            return Err(format!("{} has published port {DNS_PORT} of {server}", networks.describe(&id)));
        }
    }
    Ok(servers)
}

impl Names {
    /// The addresses on which the network's server listens or can listen, in the order of its subnets.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(super) fn servers(&self, network: &Network) -> std::result::Result<Vec<IpAddr>, String> {
        if network.own_bridge().is_some() {
            return Ok(network.gateways().map(|(address, _)| address).collect());
        }
        let candidates = on_bridge_of_others(network)?;
        let (free, taken): (Vec<_>, Vec<_>) = candidates
            .into_iter()
            .map(|address| (address, self.other_server(network, address)))
            .partition(|(_, other)| other.is_none());
        match (free.is_empty(), taken.first()) {
            (true, Some((address, Some(other)))) => {
                Err(format!("port {DNS_PORT} of {address} belongs to {other}"))
            }
            _ => Ok(free.into_iter().map(|(address, _)| address).collect()),
        }
    }

    /// Lets the running server read its files again, or starts it.
    ///
    /// Servers from 1.11 on end at their start if there is one address they can't listen on, and all names with them:
    /// those that the host has lost are taken out of the files first. A network without any left is given up until its
    /// next container starts.
    pub(super) fn refresh(&self) -> Result<()> {
        if self.server.notify() {
            return Ok(());
        }
        {
            let _lock = Lock::acquire(&self.lock)?;
            let there = interface::addresses(&mut link::socket()?)?;
            for file in files::names(self.server.directory())?.iter().filter(|file| *file != PID_FILE) {
                let path = self.server.directory().join(file);
                let mut zone = Zone::read(&path)?;
                if !zone.retain_servers(|address| there.contains(&address)) {
                    continue;
                }
                match zone.question() {
                    Some(_) => zone.write(&path, &self.scratch)?,
                    None => files::remove(&path)?,
                }
            }
        }
        self.server.start()
    }

    /// Who serves names on this address of the host, if it isn't our server for this very network.
    fn other_server(&self, network: &Network, address: IpAddr) -> Option<String> {
        let files = files::names(self.server.directory()).unwrap_or_default();
        let mut others = files.iter().filter(|file| {
            // The rest is the server's note of its process.
            file.strip_suffix(INTERNAL).unwrap_or(file) != network.name && *file != PID_FILE
        });
        let is_there = |file: &&String| {
            Zone::read(&self.server.directory().join(file)).is_ok_and(|zone| zone.listens_on(address))
        };
        if let Some(file) = others.find(is_there) {
            return Some(format!(
                "the name server of network {:?}",
                file.strip_suffix(INTERNAL).unwrap_or(file)
            ));
        }
        [Protocol::Udp, Protocol::Tcp].into_iter().find_map(|protocol| {
            let is_free = host_port::check(protocol, DNS_PORT, Some(address), &|_| false);
            let holder = match is_free {
                Ok(()) => return None,
                Err(Error::PortInUse { holder, .. }) => holder,
                Err(error) => error.to_string(),
            };
            (!self.server.has_socket(protocol, DNS_PORT, address)).then_some(holder)
        })
    }
}

/// The addresses of a bridge that isn't ours in the subnets of the network.
fn on_bridge_of_others(network: &Network) -> std::result::Result<Vec<IpAddr>, String> {
    let in_words = |error: Error| error.to_string();
    let name = &network.network_interface;
    let mut host = link::socket().map_err(in_words)?;
    let bridge = interface::find(&mut host, name).map_err(in_words)?;
    let bridge = bridge.ok_or_else(|| format!("the host has no bridge {name}"))?;
    if let Some(vlan) = network.options.vlan.filter(|vlan| bridge.default_vlan != Some(*vlan)) {
        return Err(format!("the host itself is not in VLAN {vlan} of the bridge {name}"));
    }
    let all = interface::usable_addresses(&mut host, bridge.index).map_err(in_words)?;
    let within = |config: &SubnetConfig| {
        all.iter().copied().filter(|address| config.subnet.contains(*address)).collect::<Vec<_>>()
    };
    let addresses: Vec<IpAddr> = network.subnets.iter().flat_map(within).collect();
    if addresses.is_empty() {
        let subnets: Vec<String> = network.subnets.iter().map(|config| config.subnet.to_string()).collect();
        return Err(format!("the host's bridge {name} has no address in {}", subnets.join(" or ")));
    }
    Ok(addresses)
}
