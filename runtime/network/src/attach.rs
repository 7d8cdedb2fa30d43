//! Connecting a container: from a lease to flowing packets.

use std::os::fd::BorrowedFd;

use crate::error::{Error, Result};
use crate::firewall::{Firewall, connections, elements};
use crate::kernel::netlink::{Batch, Socket};
use crate::kernel::{link, namespace, sysctl};
use crate::lease::{Attachment, Lease};
use crate::mac::Mac;
use crate::networks::Networks;

/// The metric of the first network's default route; later ones come after it.
const FIRST_METRIC: u32 = 100;

/// The largest packet of a veth or bridge interface if nothing else is asked for.
const USUAL_MTU: u32 = 1500;

/// See [`Networks::attach`].
pub(crate) fn attach(networks: &Networks, lease: &Lease, netns: BorrowedFd<'_>) -> Result<()> {
    // The socket made inside stays there: all else is done from here.
    let mut inside = namespace::within(netns, || {
        // New interfaces of the container take this over.
        let ipv6 = lease.attachments.iter().any(|attachment| attachment.network.ipv6_enabled);
        sysctl::settle_ipv6("default", ipv6)?;
        link::socket()
    })?;
    let mut host = link::socket()?;
    sysctl::forward_packets(
        lease
            .attachments
            .iter()
            .filter(|attachment| !attachment.network.internal)
            .flat_map(|attachment| &attachment.addresses)
            .map(|address| address.address),
    )?;
    for attachment in &lease.attachments {
        connect(&mut host, attachment, !lease.ports.is_empty(), netns)?;
    }
    // Addresses before ports and names: both lead to them.
    configure(&mut inside, &lease.attachments)?;
    open_firewall(networks, lease)?;
    connections::forget(lease);
    networks.names.join(lease)
}

/// The host's side: the bridge, and the pair of interfaces between it and the
/// container. `published` tells whether the container has ports that the host
/// reaches on its loopback address.
fn connect(host: &mut Socket, attachment: &Attachment, published: bool, netns: BorrowedFd<'_>) -> Result<()> {
    let network = &attachment.network;
    let mtu = mtu(host, attachment)?;
    let bridge = bridge(host, attachment, mtu)?;
    let mac: Mac = attachment.mac.parse()?;
    let mut batch = Batch::default();
    // Also for a bridge that was there: its maker may have been killed half-way.
    for (gateway, subnet) in network.gateways() {
        link::add_address(&mut batch, bridge, gateway, subnet);
    }
    link::up(&mut batch, bridge, &network.network_interface, published);
    let pair =
        link::Pair { name: &attachment.host_interface, bridge, peer: &attachment.interface, mac: mac.0, mtu };
    link::add_pair(&mut batch, &pair, netns);
    if published {
        link::allow_hairpin(&mut batch, &attachment.host_interface);
    }
    host.run(batch).map(drop)
}

/// The largest packet of the network: as asked for, else what the host's way out can
/// carry, if that is less than the usual; absent means the kernel's default.
fn mtu(host: &mut Socket, attachment: &Attachment) -> Result<Option<u32>> {
    let network = &attachment.network;
    if network.options.mtu.is_some() || network.internal {
        return Ok(network.options.mtu);
    }
    Ok(link::way_out_mtu(host)?.filter(|mtu| *mtu < USUAL_MTU))
}

/// The index of the network's bridge, which is made if it isn't there. Nobody
/// takes it away from us: our lease was written before.
fn bridge(host: &mut Socket, attachment: &Attachment, mtu: Option<u32>) -> Result<u32> {
    let network = &attachment.network;
    let name = &network.network_interface;
    let mut index = link::index(host, name)?;
    if index.is_none() {
        // With a fixed address the bridge keeps it when ports come and go, and with
        // it the neighbours' ARP entries.
        let mac =
            network.gateways().next().map_or(Mac([0x5a, 0x6d, 0, 0, 0, 1]), |(gateway, _)| Mac::of(gateway));
        let mut batch = Batch::default();
        link::add_bridge(&mut batch, name, mac.0, mtu);
        host.run(batch)?;
        index = link::index(host, name)?;
    }
    // Every container does it, because its maker may not have come to it yet.
    sysctl::settle_ipv6(name, network.ipv6_enabled)?;
    index.ok_or_else(|| missing(&format!("find bridge {name}")))
}

fn missing(operation: &str) -> Error {
    Error::kernel(operation)(rustix::io::Errno::NODEV.into())
}

/// The container's side: loopback, addresses and default routes.
fn configure(inside: &mut Socket, attachments: &[Attachment]) -> Result<()> {
    let mut batch = Batch::default();
    link::loopback_up(&mut batch);
    for (place, attachment) in (0..).zip(attachments) {
        let name = &attachment.interface;
        let index = link::index(inside, name)?
            .ok_or_else(|| missing(&format!("find interface {name} in the container")))?;
        for address in &attachment.addresses {
            link::add_address(&mut batch, index, address.address, address.subnet);
        }
        // Routes want the interface up.
        link::up(&mut batch, index, name, false);
        let metric = attachment.network.options.metric;
        for gateway in &attachment.gateways {
            let metric = metric.unwrap_or(FIRST_METRIC + place);
            link::add_default_route(&mut batch, index, *gateway, metric);
        }
    }
    inside.run(batch).map(drop)
}

/// Adds the elements of the container and of its networks to the firewall's table.
fn open_firewall(networks: &Networks, lease: &Lease) -> Result<()> {
    if lease.attachments.is_empty() {
        return Ok(());
    }
    let mut firewall = Firewall::open()?;
    if !firewall.has_table()? {
        let _lock = networks.lock()?;
        if !firewall.has_table()? {
            // Our own lease is among those that it loads.
            return networks.load_table(&mut firewall);
        }
    }
    let mut all: Vec<_> =
        lease.attachments.iter().flat_map(|attachment| elements::of_network(&attachment.network)).collect();
    all.extend(elements::of_lease(lease));
    firewall.add(&all)
}
