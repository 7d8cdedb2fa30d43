//! The driver `bridge`: a bridge on the host, and a pair of interfaces between it and
//! the container (veth(4)).
//!
//! The bridge is the network's own, made for the first container. With
//! `mode=unmanaged` it is somebody else's, and nothing of it is changed: it gets a
//! port, no more.

use std::io::ErrorKind;

use netlink_packet_route::link::InfoKind;
use rustix::io::Errno;

use crate::attach::{Sides, missing};
use crate::config::Network;
use crate::error::{Error, Result};
use crate::firewall::elements;
use crate::kernel::interface::Interface;
use crate::kernel::link::Found;
use crate::kernel::netlink::{Batch, Socket};
use crate::kernel::{interface, link, sysctl};
use crate::lease::{Attachment, Lease};
use crate::mac::Mac;
use crate::parent;

/// The largest packet of a veth or bridge interface if nothing else is asked for.
pub(crate) const USUAL_MTU: u32 = 1500;

/// Makes the pair of interfaces between the bridge and the container, and the bridge
/// itself if it is the network's own.
pub(super) fn connect(sides: &mut Sides<'_>, attachment: &Attachment, lease: &Lease) -> Result<()> {
    match attachment.network.own_bridge() {
        Some(name) => connect_to_own(sides, attachment, name, lease),
        None => connect_to_foreign(sides, attachment),
    }
}

fn connect_to_own(sides: &mut Sides<'_>, attachment: &Attachment, name: &str, lease: &Lease) -> Result<()> {
    let network = &attachment.network;
    let mtu = mtu(&mut sides.host, network)?;
    let bridge = make(&mut sides.host, network, name, mtu)?;
    let mut batch = Batch::default();
    // Also for a bridge that was there: its maker may have been killed half-way.
    for (gateway, subnet) in network.gateways() {
        link::add_address(&mut batch, bridge.index, gateway, subnet);
    }
    let is_on_loopback = elements::is_on_loopback(lease);
    if !bridge.is_bridge_up(is_on_loopback) {
        link::bridge_up(&mut batch, bridge.index, name, is_on_loopback);
    }
    add_pair(&mut batch, sides, attachment, bridge.index, mtu)?;
    if !lease.ports.is_empty() {
        link::allow_hairpin(&mut batch, &attachment.host_interface);
    }
    sides.host.run(batch).map_err(|error| full(error, network))?;
    bring_up(sides, attachment)
}

/// A port on a bridge that isn't ours.
fn connect_to_foreign(sides: &mut Sides<'_>, attachment: &Attachment) -> Result<()> {
    let network = &attachment.network;
    let bridge = parent::named(&mut sides.host, network, "bridge", &network.network_interface)?;
    if bridge.kind != Some(InfoKind::Bridge) {
        return Err(Error::Invalid {
            what: "interface",
            value: bridge.name,
            why: format!("network {:?} has mode=unmanaged and wants a bridge; this is none", network.name),
        });
    }
    let vlan = vlan(network, &bridge)?;
    let mtu = network.options.mtu.or(bridge.mtu);
    let mut batch = Batch::default();
    add_pair(&mut batch, sides, attachment, bridge.index, mtu)?;
    sides.host.run(batch).map_err(|error| full(error, network))?;
    if let Some((vlan, default)) = vlan {
        // While the pair is down: nothing is said in the other VLAN.
        let port = link::index(&sides.host, &attachment.host_interface)?;
        let port = port.ok_or_else(|| missing(&format!("find interface {}", attachment.host_interface)))?;
        let mut batch = Batch::default();
        link::set_vlan(&mut batch, port, &attachment.host_interface, vlan, default);
        sides.host.run(batch)?;
    }
    bring_up(sides, attachment)
}

/// Brings the host's end of the pair up, once all else is settled: what is changed after that is announced. (The
/// container's end follows with its addresses.)
fn bring_up(sides: &mut Sides<'_>, attachment: &Attachment) -> Result<()> {
    let name = &attachment.host_interface;
    sysctl::keep_without_ipv6(name)?;
    let mut batch = Batch::default();
    link::up_named(&mut batch, name);
    sides.host.run(batch).map(drop)
}

/// The VLAN that the network asks for, and the one that the bridge puts its ports into.
fn vlan(network: &Network, bridge: &Interface) -> Result<Option<(u16, u16)>> {
    let Some(vlan) = network.options.vlan else {
        return Ok(None);
    };
    let default = bridge.default_vlan.ok_or_else(|| Error::Invalid {
        what: "network option",
        value: format!("vlan={vlan}"),
        why: format!(
            "the bridge {0} of network {1:?} doesn't tell VLANs apart: `ip link set {0} type bridge \
             vlan_filtering 1`",
            bridge.name, network.name
        ),
    })?;
    Ok(Some((vlan, default)))
}

fn add_pair(
    batch: &mut Batch,
    sides: &Sides<'_>,
    attachment: &Attachment,
    bridge: u32,
    mtu: Option<u32>,
) -> Result<()> {
    let mac: Mac = attachment.mac.parse()?;
    let pair =
        link::Pair { name: &attachment.host_interface, bridge, peer: &attachment.interface, mac: mac.0, mtu };
    link::add_pair(batch, &pair, sides.netns);
    Ok(())
}

/// The largest packet of the network: as asked for, else what the host's way out can
/// carry, if that is less than the usual; absent means the kernel's default.
pub(crate) fn mtu(host: &mut Socket, network: &Network) -> Result<Option<u32>> {
    if network.options.mtu.is_some() || network.internal {
        return Ok(network.options.mtu);
    }
    let way_out = interface::way_out(host)?;
    Ok(way_out.and_then(|interface| interface.mtu).filter(|mtu| *mtu < USUAL_MTU))
}

/// The network's bridge, which is made if it isn't there. Nobody
/// takes it away from us: our lease was written before.
fn make(host: &mut Socket, network: &Network, name: &str, mtu: Option<u32>) -> Result<Found> {
    let mut found = link::find(host, name)?;
    if found.is_none() {
        // With a fixed address the bridge keeps it when ports come and go, and with
        // it the neighbours' ARP entries.
        let mac =
            network.gateways().next().map_or(Mac([0x5a, 0x6d, 0, 0, 0, 1]), |(gateway, _)| Mac::of(gateway));
        let bridge =
            link::Bridge { name, mac: mac.0, mtu, vlan: network.options.vlan, vrf: vrf(host, network)? };
        let mut batch = Batch::default();
        link::add_bridge(&mut batch, &bridge);
        host.run(batch).map_err(|error| in_words(error, network))?;
        found = link::find(host, name)?;
    }
    let found = found.ok_or_else(|| missing(&format!("find bridge {name}")))?;
    if !found.is_own_bridge {
        // Made since the network was defined.
        return Err(Error::Invalid {
            what: "interface name",
            value: name.to_owned(),
            why: format!(
                "the host has an interface of this name that isn't the bridge of network {:?}; give the network another, \
                 or to use it as it is, write Options=mode=unmanaged",
                network.name
            ),
        });
    }
    // Every container looks, because its maker may not have come to it yet.
    if !found.has_settled_ipv6(network.ipv6_enabled) {
        sysctl::settle_ipv6(name, network.ipv6_enabled)?;
    }
    Ok(found)
}

/// The index of the VRF that the network asks for.
fn vrf(host: &mut Socket, network: &Network) -> Result<Option<u32>> {
    let Some(name) = &network.options.vrf else {
        return Ok(None);
    };
    let vrf = parent::named(host, network, "VRF", name)?;
    if vrf.kind == Some(InfoKind::Vrf) {
        return Ok(Some(vrf.index));
    }
    Err(Error::Invalid {
        what: "network option",
        value: format!("vrf={name}"),
        why: format!(
            "the interface {name} is no VRF; make one with `ip link add NAME type vrf table NUMBER`"
        ),
    })
}

/// A bridge that has as many ports as there can be (`BR_MAX_PORTS` in the kernel, of which
/// none has the number 0).
fn full(error: Error, network: &Network) -> Error {
    const MOST: usize = 1023;
    match error {
        Error::Kernel { cause, .. } if cause.raw_os_error() == Some(Errno::XFULL.raw_os_error()) => {
            Error::NoPlace { network: network.name.clone(), most: MOST }
        }
        error => error,
    }
}

/// A kernel whose bridges don't know VLANs.
fn in_words(error: Error, network: &Network) -> Error {
    match (error, network.options.vlan) {
        (Error::Kernel { cause, .. }, Some(vlan)) if cause.kind() == ErrorKind::Unsupported => {
            Error::Invalid {
                what: "network option",
                value: format!("vlan={vlan}"),
                why: "bridges of this kernel can't tell VLANs apart (it lacks CONFIG_BRIDGE_VLAN_FILTERING)"
                    .to_owned(),
            }
        }
        (error, _) => error,
    }
}
