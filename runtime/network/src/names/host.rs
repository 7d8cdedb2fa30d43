//! The names of containers on the host itself: systemd-resolved asks our server for them.
//!
//! The bridge becomes a link of resolved's with a domain of its own. That configuration goes with the bridge, and
//! resolved keeps it over a restart of itself. Interface: org.freedesktop.resolve1(5).

use std::net::IpAddr;
use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, DynamicType, block_on};

use crate::config::{DNS_DOMAIN, Network};
use crate::kernel::link;

const NAME: &str = "org.freedesktop.resolve1";
const PATH: &str = "/org/freedesktop/resolve1";
const INTERFACE: &str = "org.freedesktop.resolve1.Manager";

/// How long resolved may take for a call; a start waits for it.
const PATIENCE: Duration = Duration::from_secs(3);

const AF_INET: i32 = 2;
const AF_INET6: i32 = 10;

/// Sends the host's questions for our domain to the network's server. What can't be done is told in the log: the
/// containers have their names all the same.
pub(super) fn route(network: &Network) {
    let Some(bridge) = network.own_bridge() else { return };
    if let Err(why) = configure(network, bridge) {
        log::warn!(
            "the host can't resolve names of network {:?}: systemd-resolved doesn't take {bridge} ({why}); is it \
             running? host_names in /etc/sampan/sampan.toml asks for it",
            network.name
        );
    }
}

fn configure(network: &Network, bridge: &str) -> Result<(), String> {
    let in_words = |error: crate::error::Error| error.to_string();
    let index = link::index(&link::socket().map_err(in_words)?, bridge).map_err(in_words)?;
    let index = index.and_then(|index| i32::try_from(index).ok()).ok_or("there is no such interface")?;
    let servers: Vec<(i32, Vec<u8>)> = network.gateways().map(|(address, _)| server(address)).collect();
    let apply = || -> zbus::Result<()> {
        let bus = block_on(Builder::system().method_timeout(PATIENCE).build())?;
        // Before the domain: else the link's first questions had nobody to go to.
        call(&bus, "SetLinkDNS", &(index, servers))?;
        // A domain to route by, not one to search in.
        call(&bus, "SetLinkDomains", &(index, &[(DNS_DOMAIN, true)][..]))?;
        call(&bus, "SetLinkDefaultRoute", &(index, false))
    };
    apply().map_err(|error| error.to_string())
}

fn server(address: IpAddr) -> (i32, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn call(bus: &Connection, method: &str, body: &(impl serde::Serialize + DynamicType)) -> zbus::Result<()> {
    block_on(bus.call_method(Some(NAME), PATH, Some(INTERFACE), method, body)).map(drop)
}
