//! Looking at the interfaces that there are.

use std::net::{IpAddr, Ipv4Addr};

use netlink_packet_core::Parseable;
use netlink_packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};
use netlink_packet_route::link::{
    InfoBridge, InfoData, InfoKind, InfoMacVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use rustix::io::Errno;

use crate::error::Result;
use crate::kernel::netlink::{Answer, Batch, Socket};

/// An address that is nobody's (RFC 5737): its route is the one to everywhere.
const ANYWHERE: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

/// An interface, as far as we ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its number.
    pub(crate) index: u32,
    /// Its name.
    pub(crate) name: String,
    /// Its kind, for one that is made of software.
    pub(crate) kind: Option<InfoKind>,
    /// Whether somebody brought it up.
    pub(crate) is_up: bool,
    /// The largest packet, in bytes.
    pub(crate) mtu: Option<u32>,
    /// Its MAC address.
    pub(crate) mac: Option<[u8; 6]>,
    /// For a bridge that filters VLANs, the one of ports that are told nothing else;
    /// 0 means none.
    pub(crate) default_vlan: Option<u16>,
    /// For a macvlan, its limit of receivers of broadcasts, if it isn't the usual one.
    pub(crate) broadcast_limit: Option<i32>,
}

impl Interface {
    fn of(message: LinkMessage) -> Self {
        let mut interface = Self {
            index: message.header.index,
            name: String::new(),
            kind: None,
            is_up: message.header.flags.contains(LinkFlags::Up),
            mtu: None,
            mac: None,
            default_vlan: None,
            broadcast_limit: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => interface.name = name,
                LinkAttribute::Mtu(mtu) => interface.mtu = Some(mtu),
                LinkAttribute::Address(mac) => interface.mac = mac.try_into().ok(),
                LinkAttribute::LinkInfo(infos) => interface.learn(infos),
                _ => {}
            }
        }
        interface
    }

    fn learn(&mut self, infos: Vec<LinkInfo>) {
        let (mut filters, mut default_vlan) = (false, 0);
        for info in infos {
            match info {
                LinkInfo::Kind(kind) => self.kind = Some(kind),
                LinkInfo::Data(InfoData::Bridge(data)) => {
                    for detail in data {
                        match detail {
                            InfoBridge::VlanFiltering(on) => filters = on,
                            InfoBridge::VlanDefaultPvid(vlan) => default_vlan = vlan,
                            _ => {}
                        }
                    }
                }
                LinkInfo::Data(InfoData::MacVlan(data)) => {
                    self.broadcast_limit = data.iter().find_map(|detail| match detail {
                        InfoMacVlan::BcCutoff(limit) => Some(*limit),
                        _ => None,
                    });
                }
                _ => {}
            }
        }
        self.default_vlan = filters.then_some(default_vlan);
    }
}

/// The interface of this name in the socket's namespace.
pub(crate) fn find(socket: &mut Socket, name: &str) -> Result<Option<Interface>> {
    let mut request = LinkMessage::default();
    request.attributes.push(LinkAttribute::IfName(name.to_owned()));
    get(socket, request, format!("look up interface {name}"))
}

/// The interface that leads out of the host; absent without a way out.
pub(crate) fn way_out(socket: &mut Socket) -> Result<Option<Interface>> {
    let mut request = RouteMessage::default();
    request.header.address_family = AddressFamily::Inet;
    request.header.destination_prefix_length = 32;
    let destination = RouteAttribute::Destination(RouteAddress::Inet(ANYWHERE));
    request.attributes.push(destination);
    let mut batch = Batch::default();
    batch.push(
        &RouteNetlinkMessage::GetRoute(request),
        0,
        &[Errno::NETUNREACH, Errno::HOSTUNREACH, Errno::ACCESS, Errno::INVAL],
        "look up the way out of the host",
    );
    let answers = socket.run(batch)?;
    let index = answers.iter().find_map(|(_, payload)| {
        let message = RouteMessage::parse(payload.as_slice()).ok()?;
        message.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Oif(index) => Some(*index),
            _ => None,
        })
    });
    let Some(index) = index else {
        return Ok(None);
    };
    let mut request = LinkMessage::default();
    request.header.index = index;
    get(socket, request, format!("look up interface {index}"))
}

/// All interfaces of the socket's namespace, by number.
pub(crate) fn all(socket: &mut Socket) -> Result<Vec<Interface>> {
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let answers = socket.dump(&request, "list the interfaces")?;
    let mut interfaces: Vec<Interface> = answers.iter().filter_map(parse).collect();
    interfaces.sort_by_key(|interface| interface.index);
    Ok(interfaces)
}

/// All addresses of the socket's namespace.
pub(crate) fn addresses(socket: &mut Socket) -> Result<Vec<IpAddr>> {
    Ok(address_messages(socket)?.iter().filter_map(address).collect())
}

/// The addresses of an interface that a program can listen on: an IPv6 address can't be used until nobody else on the
/// link has turned out to have it.
pub(crate) fn usable_addresses(socket: &mut Socket, index: u32) -> Result<Vec<IpAddr>> {
    let unusable = AddressHeaderFlags::Tentative | AddressHeaderFlags::Dadfailed;
    let mut messages = address_messages(socket)?;
    messages.retain(|message| message.header.index == index && !message.header.flags.intersects(unusable));
    Ok(messages.iter().filter_map(address).collect())
}

fn address_messages(socket: &mut Socket) -> Result<Vec<AddressMessage>> {
    let request = RouteNetlinkMessage::GetAddress(AddressMessage::default());
    let answers = socket.dump(&request, "list the host's addresses")?;
    Ok(answers.iter().filter_map(|(_, payload)| AddressMessage::parse(payload.as_slice()).ok()).collect())
}

fn address(message: &AddressMessage) -> Option<IpAddr> {
    message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Address(address) => Some(*address),
        _ => None,
    })
}

fn get(socket: &mut Socket, request: LinkMessage, operation: String) -> Result<Option<Interface>> {
    let mut batch = Batch::default();
    batch.push(&RouteNetlinkMessage::GetLink(request), 0, &[Errno::NODEV], operation);
    Ok(socket.run(batch)?.iter().find_map(parse))
}

fn parse((_, payload): &Answer) -> Option<Interface> {
    LinkMessage::parse(payload.as_slice()).ok().map(Interface::of)
}
