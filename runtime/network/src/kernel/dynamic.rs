//! What a DHCP server changes while a container runs (rtnetlink(7)): addresses with an
//! end, routes and packet sizes that replace others.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressMessage, AddressScope, CacheInfo};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::kernel::netlink::Batch;
use crate::lease::Address;
use crate::subnet::Subnet;

/// The kernel's time without end.
const INFINITY: u32 = u32::MAX;

/// Gives an interface an IPv4 address that the kernel takes away when its time (seconds from now; absent means
/// without end) is over; one that the interface has gets the new time.
pub(crate) fn lease_address(batch: &mut Batch, index: u32, address: Address, seconds: Option<u32>) {
    let seconds = seconds.unwrap_or(INFINITY);
    let mut lifetime = CacheInfo::default();
    lifetime.ifa_valid = seconds;
    lifetime.ifa_preferred = seconds;
    let mut message = address_message(index, address);
    message.attributes.push(AddressAttribute::CacheInfo(lifetime));
    if let IpAddr::V4(last) = address.subnet.last()
        && address.subnet.prefix() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(last));
    }
    batch.push(
        &RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_REPLACE,
        &[],
        format!("add address {address}"),
    );
}

/// Takes an address away; the routes that need it go too. It is no error if it is gone.
pub(crate) fn remove_address(batch: &mut Batch, index: u32, address: Address) {
    batch.push(
        &RouteNetlinkMessage::DelAddress(address_message(index, address)),
        0,
        &[Errno::ADDRNOTAVAIL],
        format!("remove address {address}"),
    );
}

fn address_message(index: u32, address: Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = address.subnet.prefix();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address.address));
    message.attributes.push(AddressAttribute::Address(address.address));
    message
}

/// Makes `router`, or the link itself, the way to a network, in the place of another way of this metric. A
/// router outside of the interface's subnet is taken to be on the link.
pub(crate) fn replace_route(
    batch: &mut Batch,
    index: u32,
    network: Subnet,
    router: Option<Ipv4Addr>,
    metric: u32,
) {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Dhcp;
    message.header.scope = if router.is_some() { RouteScope::Universe } else { RouteScope::Link };
    message.header.kind = RouteType::Unicast;
    message.header.destination_prefix_length = network.prefix();
    if let (IpAddr::V4(address), true) = (network.address(), network.prefix() > 0) {
        message.attributes.push(RouteAttribute::Destination(RouteAddress::Inet(address)));
    }
    if let Some(router) = router {
        message.header.flags = RouteFlags::Onlink;
        message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(router)));
    }
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::Priority(metric));
    batch.push(
        &RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_REPLACE,
        &[],
        match router {
            Some(router) => format!("add the route to {network} by {router}"),
            None => format!("add the route to {network}"),
        },
    );
}

/// Sets the largest packet, in bytes.
pub(crate) fn set_mtu(batch: &mut Batch, index: u32, mtu: u32) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::Mtu(mtu));
    batch.push(&RouteNetlinkMessage::SetLink(message), 0, &[], format!("set the MTU {mtu}"));
}
