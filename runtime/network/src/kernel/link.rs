//! Links, addresses and routes (rtnetlink(7)), as messages for a [`Batch`].

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, Parseable};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    AfSpecBridge, AfSpecInet, AfSpecInet6, AfSpecUnspec, BridgeVlanInfo, BridgeVlanInfoFlags, In6AddrGenMode,
    InetDevConf, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;
use rustix::net::netdevice::name_to_index;

use crate::error::{Error, Result};
use crate::kernel::netlink::{Batch, Socket};
use crate::mac::Mac;
use crate::subnet::Subnet;

/// The longest name of an interface, in bytes (`IFNAMSIZ` less the final zero).
pub(crate) const LONGEST_NAME: usize = 15;

/// An address must have a way back, by whatever interface (ip-sysctl.rst in the kernel's documentation).
const RP_FILTER_LOOSE: i32 = 2;

/// The index of the loopback interface in every namespace.
const LOOPBACK: u32 = 1;

/// The group of interfaces that are about to be removed. Who puts one there wants it
/// gone, so it does no harm if another process is the one to remove it.
const REMOVED_GROUP: u32 = 0x5a6d_fade;

/// Opens a socket for links, addresses and routes of the calling thread's namespace.
pub(crate) fn socket() -> Result<Socket> {
    Socket::open(netlink_sys::protocols::NETLINK_ROUTE)
}

/// The index of the interface of this name in the socket's namespace.
pub(crate) fn index(socket: &Socket, name: &str) -> Result<Option<u32>> {
    match name_to_index(socket, name) {
        Ok(index) => Ok(Some(index)),
        Err(Errno::NODEV) => Ok(None),
        Err(errno) => Err(Error::kernel(format!("look up interface {name}"))(errno.into())),
    }
}

/// An interface, and how it goes about packets.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its index.
    pub(crate) index: u32,
    /// Whether it is a bridge that we have made: nobody else gives one such an address.
    pub(crate) is_own_bridge: bool,
    is_up: bool,
    ipv4: Vec<AfSpecInet>,
    ipv6: Vec<AfSpecInet6>,
}

impl Found {
    fn of(message: LinkMessage) -> Self {
        let mut found = Self {
            index: message.header.index,
            is_own_bridge: is_own_bridge(&message.attributes),
            is_up: message.header.flags.contains(LinkFlags::Up),
            ipv4: Vec::new(),
            ipv6: Vec::new(),
        };
        for attribute in message.attributes {
            let LinkAttribute::AfSpecUnspec(families) = attribute else { continue };
            for family in families {
                match family {
                    AfSpecUnspec::Inet(attributes) => found.ipv4 = attributes,
                    AfSpecUnspec::Inet6(attributes) => found.ipv6 = attributes,
                    _ => {}
                }
            }
        }
        found
    }

    /// Whether [`settle_ipv6`](crate::kernel::sysctl::settle_ipv6) would change nothing.
    pub(crate) fn has_settled_ipv6(&self, link_local: bool) -> bool {
        let mode = if link_local { In6AddrGenMode::Eui64 } else { In6AddrGenMode::None };
        self.ipv6.contains(&AfSpecInet6::AddrGenMode(mode))
            && self.ipv6.iter().any(|attribute| {
                matches!(attribute, AfSpecInet6::DevConf(conf) if conf.accept_ra == 0 && conf.accept_dad == 0)
            })
    }

    /// Whether [`bridge_up`] would change nothing. To do it again isn't free: the kernel announces a change, and goes
    /// through all IPv6 routes of the host.
    pub(crate) fn is_bridge_up(&self, route_localnet: bool) -> bool {
        let is_set = |conf: &InetDevConf| {
            conf.rp_filter == RP_FILTER_LOOSE && (conf.route_localnet == 1 || !route_localnet)
        };
        self.is_up
            && self
                .ipv4
                .iter()
                .any(|attribute| matches!(attribute, AfSpecInet::DevConf(conf) if is_set(conf)))
    }
}

/// The interface of this name in the socket's namespace.
pub(crate) fn find(socket: &mut Socket, name: &str) -> Result<Option<Found>> {
    let mut batch = Batch::default();
    let request = RouteNetlinkMessage::GetLink(named(name));
    batch.push(&request, 0, &[Errno::NODEV], format!("look up interface {name}"));
    let answers = socket.run(batch)?;
    Ok(answers.iter().find_map(|(_, payload)| LinkMessage::parse(payload.as_slice()).ok().map(Found::of)))
}

fn is_own_bridge(attributes: &[LinkAttribute]) -> bool {
    let is_bridge = attributes.iter().any(|attribute| {
        matches!(attribute, LinkAttribute::LinkInfo(infos) if infos.contains(&LinkInfo::Kind(InfoKind::Bridge)))
    });
    let mac = attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Address(mac) => mac.as_slice().try_into().ok().map(Mac),
        _ => None,
    });
    is_bridge && mac.is_some_and(|mac| mac.goes_with_an_address())
}

/// A bridge that is to be made.
#[derive(Debug)]
pub(crate) struct Bridge<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// Its MAC address.
    pub(crate) mac: [u8; 6],
    /// The largest packet, in bytes.
    pub(crate) mtu: Option<u32>,
    /// The VLAN that the bridge itself and its ports are in.
    pub(crate) vlan: Option<u16>,
    /// The index of the VRF that it is a part of.
    pub(crate) vrf: Option<u32>,
}

/// Makes a bridge; one that exists is left as it is.
///
/// It doesn't listen to who is in which multicast group: everyone gets everything, as on a bridge that listens where
/// nobody asks for members (bridge(8), `mcast_querier`). One that listens starts all ports anew for each that comes.
pub(crate) fn add_bridge(batch: &mut Batch, bridge: &Bridge<'_>) {
    let mut info = vec![LinkInfo::Kind(InfoKind::Bridge)];
    let mut data = vec![InfoBridge::MulticastSnooping(false)];
    if let Some(vlan) = bridge.vlan {
        data.extend([InfoBridge::VlanFiltering(true), InfoBridge::VlanDefaultPvid(vlan)]);
    }
    info.push(LinkInfo::Data(InfoData::Bridge(data)));
    let mut message = named(bridge.name);
    message.attributes.push(LinkAttribute::Address(bridge.mac.to_vec()));
    message.attributes.extend(bridge.mtu.map(LinkAttribute::Mtu));
    message.attributes.extend(bridge.vrf.map(LinkAttribute::Controller));
    message.attributes.push(LinkAttribute::LinkInfo(info));
    batch.push(
        &RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
        &[Errno::EXIST],
        format!("make bridge {}", bridge.name),
    );
}

/// Puts a port of a bridge into one VLAN, and takes it out of the one that it was put
/// into by the bridge (`default`, 0 for none). Its packets carry no tag.
pub(crate) fn set_vlan(batch: &mut Batch, port: u32, name: &str, vlan: u16, default: u16) {
    let message = |flags, vid| {
        let mut message = LinkMessage::default();
        message.header.interface_family = AddressFamily::Bridge;
        message.header.index = port;
        let info = AfSpecBridge::VlanInfo(BridgeVlanInfo { flags, vid });
        message.attributes.push(LinkAttribute::AfSpecBridge(vec![info]));
        message
    };
    let untagged = BridgeVlanInfoFlags::Pvid | BridgeVlanInfoFlags::Untagged;
    batch.push(
        &RouteNetlinkMessage::SetLink(message(untagged, vlan)),
        0,
        &[],
        format!("put interface {name} into VLAN {vlan}"),
    );
    if default != 0 && default != vlan {
        batch.push(
            &RouteNetlinkMessage::DelLink(message(BridgeVlanInfoFlags::empty(), default)),
            0,
            &[],
            format!("take interface {name} out of VLAN {default}"),
        );
    }
}

/// Brings an interface up.
pub(crate) fn up(batch: &mut Batch, index: u32, name: &str) {
    bring_up(batch, index, name, None);
}

/// Brings a bridge up; `route_localnet` also lets it carry packets of 127.0.0.0/8, which
/// a port published on the host's loopback address needs.
///
/// A container on two networks answers by one of them, whichever it was asked by: to a
/// host that filters strictly by the way back (`rp_filter` is 1 on RHEL) that is no way.
/// Who may send as whom is decided by the firewall's table.
pub(crate) fn bridge_up(batch: &mut Batch, index: u32, name: &str, route_localnet: bool) {
    let mut conf = InetDevConf::default();
    conf.rp_filter = RP_FILTER_LOOSE;
    conf.route_localnet = i32::from(route_localnet);
    bring_up(batch, index, name, Some(conf));
}

fn bring_up(batch: &mut Batch, index: u32, name: &str, conf: Option<InetDevConf>) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    set_up(&mut message);
    message.attributes.extend(conf.map(|conf| {
        LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet(vec![AfSpecInet::DevConfRequest(conf)])])
    }));
    batch.push(&RouteNetlinkMessage::SetLink(message), 0, &[], format!("bring up interface {name}"));
}

/// Brings up the interface of this name.
pub(crate) fn up_named(batch: &mut Batch, name: &str) {
    let mut message = named(name);
    set_up(&mut message);
    batch.push(&RouteNetlinkMessage::SetLink(message), 0, &[], format!("bring up interface {name}"));
}

/// Brings up the loopback interface.
pub(crate) fn loopback_up(batch: &mut Batch) {
    up(batch, LOOPBACK, "lo");
}

/// Both ends of a veth pair (veth(4)).
#[derive(Debug)]
pub(crate) struct Pair<'a> {
    /// The host's end.
    pub(crate) name: &'a str,
    /// The index of the bridge that it becomes a port of.
    pub(crate) bridge: u32,
    /// The end in the container.
    pub(crate) peer: &'a str,
    /// The MAC address of that end.
    pub(crate) mac: [u8; 6],
    /// The largest packet, in bytes.
    pub(crate) mtu: Option<u32>,
}

/// Makes a pair, one end in the namespace `netns` from the first moment. Both ends are down.
pub(crate) fn add_pair(batch: &mut Batch, pair: &Pair<'_>, netns: BorrowedFd<'_>) {
    let mut peer = named(pair.peer);
    peer.attributes.push(LinkAttribute::Address(pair.mac.to_vec()));
    peer.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    peer.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));

    let mut message = named(pair.name);
    message.attributes.push(LinkAttribute::Controller(pair.bridge));
    message.attributes.extend(pair.mtu.map(LinkAttribute::Mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
    ]));
    batch.push(
        &RouteNetlinkMessage::NewLink(message),
        NLM_F_CREATE | NLM_F_EXCL,
        &[],
        format!("make the pair of interfaces {} and {}", pair.name, pair.peer),
    );
}

/// Lets a bridge send packets back through the port that they came from, to a
/// container that reaches itself by a port of the host. Only where `br_netfilter`
/// redirects packets before the host could route them; harmless elsewhere.
pub(crate) fn allow_hairpin(batch: &mut Batch, port: &str) {
    let mut message = named(port);
    message.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::PortKind(InfoPortKind::Bridge),
        LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(true)])),
    ]));
    batch.push(
        &RouteNetlinkMessage::NewLink(message),
        0,
        &[],
        format!("set the hairpin mode of interface {port}"),
    );
}

/// Removes interfaces; those that are gone already are no error.
///
/// The kernel waits for all its readers each time it removes an interface, 10 ms
/// and more: so they are put in a group first, which goes in one piece.
pub(crate) fn remove<'a>(batch: &mut Batch, names: impl Iterator<Item = &'a str>) {
    let mut group = LinkMessage::default();
    group.attributes.push(LinkAttribute::Group(REMOVED_GROUP));
    for name in names {
        let mut message = named(name);
        message.attributes.push(LinkAttribute::Group(REMOVED_GROUP));
        batch.push(
            &RouteNetlinkMessage::SetLink(message),
            0,
            &[Errno::NODEV],
            format!("remove interface {name}"),
        );
    }
    batch.push(&RouteNetlinkMessage::DelLink(group), 0, &[Errno::NODEV], "remove interfaces");
}

/// Gives an interface an address, without IPv6's waiting for duplicates: our own
/// leases see to it that there are none.
pub(crate) fn add_address(batch: &mut Batch, index: u32, address: IpAddr, subnet: Subnet) {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = subnet.prefix();
    message.header.scope = AddressScope::Universe;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address));
    message.attributes.push(AddressAttribute::Address(address));
    if address.is_ipv6() {
        let flags = AddressAttribute::Flags(AddressFlags::Nodad);
        message.attributes.push(flags);
    } else if let IpAddr::V4(last) = subnet.last()
        && subnet.prefix() < 31
    {
        message.attributes.push(AddressAttribute::Broadcast(last));
    }
    batch.push(
        &RouteNetlinkMessage::NewAddress(message),
        NLM_F_CREATE | NLM_F_EXCL,
        &[Errno::EXIST],
        format!("add address {address}/{}", subnet.prefix()),
    );
}

/// Takes an address from an interface; one that it doesn't have is no error.
pub(crate) fn remove_address(batch: &mut Batch, index: u32, address: IpAddr, subnet: Subnet) {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = subnet.prefix();
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(address));
    batch.push(
        &RouteNetlinkMessage::DelAddress(message),
        0,
        &[Errno::ADDRNOTAVAIL, Errno::NODEV],
        format!("remove address {address}/{}", subnet.prefix()),
    );
}

/// Sets the largest packet of an interface, in bytes; one that is gone is no error.
pub(crate) fn set_mtu(batch: &mut Batch, name: &str, mtu: u32) {
    let mut message = named(name);
    message.attributes.push(LinkAttribute::Mtu(mtu));
    batch.push(
        &RouteNetlinkMessage::SetLink(message),
        0,
        &[Errno::NODEV],
        format!("set the MTU of interface {name} to {mtu}"),
    );
}

/// Makes `gateway` the way to everywhere else.
pub(crate) fn add_default_route(batch: &mut Batch, index: u32, gateway: IpAddr, metric: u32) {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    let address = match gateway {
        IpAddr::V4(address) => RouteAddress::Inet(address),
        IpAddr::V6(address) => RouteAddress::Inet6(address),
    };
    message.attributes.push(RouteAttribute::Gateway(address));
    message.attributes.push(RouteAttribute::Oif(index));
    message.attributes.push(RouteAttribute::Priority(metric));
    batch.push(
        &RouteNetlinkMessage::NewRoute(message),
        NLM_F_CREATE | NLM_F_EXCL,
        &[Errno::EXIST],
        format!("add the default route by {gateway}"),
    );
}

/// A route of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Route {
    /// Where it leads.
    pub(crate) destination: Subnet,
    /// Whether its destination is on a link of the host itself, without a gateway.
    pub(crate) direct: bool,
    /// The index of the interface that it leads out by; absent if there are several.
    pub(crate) interface: Option<u32>,
}

/// The unicast routes of the main table, of both families, but for default routes
/// and link-local ones.
pub(crate) fn routes(socket: &mut Socket) -> Result<Vec<Route>> {
    let mut routes = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        let answers = socket.dump(&RouteNetlinkMessage::GetRoute(request), "list the host's routes")?;
        for (_, payload) in answers {
            if let Ok(message) = RouteMessage::parse(payload.as_slice()) {
                routes.extend(route(&message));
            }
        }
    }
    Ok(routes)
}

fn route(message: &RouteMessage) -> Option<Route> {
    let mut destination = None;
    let mut direct = true;
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address)) => {
                destination = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address)) => {
                destination = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Gateway(_) | RouteAttribute::Via(_) => direct = false,
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    let link_local = matches!(destination?, IpAddr::V6(a) if a.is_unicast_link_local());
    if message.header.table != RouteHeader::RT_TABLE_MAIN
        || message.header.kind != RouteType::Unicast
        || message.header.destination_prefix_length == 0
        || link_local
    {
        return None;
    }
    Some(Route {
        destination: Subnet::new(destination?, message.header.destination_prefix_length).ok()?,
        direct,
        interface,
    })
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn set_up(message: &mut LinkMessage) {
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}
