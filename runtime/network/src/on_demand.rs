//! Containers and pods that are started when somebody connects.
//!
//! Their ports are reserved with everything else, but lead to the container only while its programs listen. Before and
//! after that connections wait in a socket that systemd holds; the firewall takes packets before any socket sees them,
//! so that [`publish`] and [`withdraw`] decide, at one moment, who gets the next connection. A lease names the ports that
//! don't lead to the container ([`Lease::withheld`]): whoever loads the table anew leaves them out.

use std::fs;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::Result;
use crate::files::{self, Durability};
use crate::firewall::{Firewall, connections, elements};
use crate::host_port::{LISTEN, parse_address};
use crate::kernel::namespace;
use crate::lease::Lease;
use crate::networks::Networks;
use crate::port::PortMapping;

/// Every port by itself: each is published when its own program listens.
pub(crate) fn withhold(lease: &mut Lease) {
    lease.withheld = lease.ports.iter().flat_map(PortMapping::singles).collect();
}

/// See [`Networks::publish`].
pub(crate) fn publish(networks: &Networks, id: &str, container_port: Option<u16>) -> Result<()> {
    let lock = networks.lock()?;
    let Some(mut lease) = networks.lease(id)? else { return Ok(()) };
    lease.withheld.retain(|port| container_port.is_some_and(|number| number != port.container_port));
    files::write_json(&networks.lease_path(id), &lease, Durability::Volatile)?;
    let mut firewall = Firewall::open()?;
    match firewall.has_table()? {
        true => firewall.add(&elements::of_lease(&lease)),
        false => firewall.load_table(&elements::of_leases(&networks.leases()?), &lock),
    }
}

/// See [`Networks::withdraw`].
pub(crate) fn withdraw(networks: &Networks, id: &str) -> Result<()> {
    let _lock = networks.lock()?;
    let Some(mut lease) = networks.lease(id)? else { return Ok(()) };
    let published = elements::of_lease(&lease);
    withhold(&mut lease);
    files::write_json(&networks.lease_path(id), &lease, Durability::Volatile)?;
    Firewall::open()?.remove(&published)
}

/// See [`Networks::quiet_for`].
pub(crate) fn quiet_for(lease: &Lease) -> Result<Option<Duration>> {
    let addresses = lease.attachments.iter().flat_map(|attachment| &attachment.addresses);
    let mut quiet = None;
    for address in addresses {
        let ports = lease.ports.iter().flat_map(PortMapping::singles).map(|port| port.container_port);
        let flows = connections::quiet_for(address.address, &ports.collect::<Vec<_>>())?;
        quiet = quiet.into_iter().chain(flows).min();
    }
    Ok(quiet)
}

/// Whether a program in the network namespace of a process listens on a TCP port, where packets from outside reach it
/// (proc_pid_net(5)).
pub fn is_listened_on(pid: i32, port: u16) -> bool {
    listens(&format!("/proc/{pid}/net"), port)
}

/// The same for a network namespace, in which there need not be a process.
///
/// # Errors
/// [`Error::Kernel`](crate::Error::Kernel): the thread can't go there.
pub fn is_listened_on_in(netns: BorrowedFd<'_>, port: u16) -> Result<bool> {
    namespace::within(netns, || Ok(listens("/proc/thread-self/net", port)))
}

fn listens(directory: &str, port: u16) -> bool {
    ["tcp", "tcp6"].iter().any(|file| {
        let text = fs::read_to_string(format!("{directory}/{file}")).unwrap_or_default();
        text.lines()
            .skip(1)
            .filter_map(listener)
            .any(|(address, number)| number == port && !address.is_loopback())
    })
}

fn listener(line: &str) -> Option<(IpAddr, u16)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (address, port) = fields.next()?.rsplit_once(':')?;
    (fields.nth(1)? == LISTEN).then_some(())?;
    Some((parse_address(address)?, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn only_what_others_reach_is_listened_on() {
        let own = i32::try_from(std::process::id()).unwrap();
        for (address, is_reached) in [("127.0.0.1:0", false), ("0.0.0.0:0", true), ("[::]:0", true)] {
            let socket = TcpListener::bind(address).unwrap();
            let port = socket.local_addr().unwrap().port();
            assert_eq!(is_listened_on(own, port), is_reached, "{address}");
            drop(socket);
            assert!(!is_listened_on(own, port), "{address}");
        }
    }
}
