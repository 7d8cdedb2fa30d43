//! The driver `bridge`: a bridge on the host, and a pair of interfaces between it and
//! the container (veth(4)).

use crate::attach::{Sides, missing};
use crate::config::Network;
use crate::error::Result;
use crate::firewall::elements;
use crate::kernel::netlink::{Batch, Socket};
use crate::kernel::{link, sysctl};
use crate::lease::{Attachment, Lease};
use crate::mac::Mac;

/// The largest packet of a veth or bridge interface if nothing else is asked for.
pub(crate) const USUAL_MTU: u32 = 1500;

/// Makes the bridge, and the pair of interfaces between it and the container.
pub(super) fn connect(sides: &mut Sides<'_>, attachment: &Attachment, lease: &Lease) -> Result<()> {
    let network = &attachment.network;
    let mtu = mtu(&mut sides.host, network)?;
    let bridge = bridge(&mut sides.host, attachment, mtu)?;
    let mac: Mac = attachment.mac.parse()?;
    let mut batch = Batch::default();
    // Also for a bridge that was there: its maker may have been killed half-way.
    for (gateway, subnet) in network.gateways() {
        link::add_address(&mut batch, bridge, gateway, subnet);
    }
    link::up(&mut batch, bridge, &network.network_interface, elements::is_on_loopback(lease));
    let pair =
        link::Pair { name: &attachment.host_interface, bridge, peer: &attachment.interface, mac: mac.0, mtu };
    link::add_pair(&mut batch, &pair, sides.netns);
    if !lease.ports.is_empty() {
        link::allow_hairpin(&mut batch, &attachment.host_interface);
    }
    sides.host.run(batch).map(drop)
}

/// The largest packet of the network: as asked for, else what the host's way out can
/// carry, if that is less than the usual; absent means the kernel's default.
pub(crate) fn mtu(host: &mut Socket, network: &Network) -> Result<Option<u32>> {
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
