//! What the kernel asks of everyone who joins a bridge: a pair of interfaces between it and the namespace, an address
//! and a default route, by as few messages as there can be (rtnetlink(7)). No name, no port, no rule, no lease.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::thread;
use std::time::{Duration, Instant};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags,
    LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};
use netlink_sys::{Socket, protocols::NETLINK_ROUTE};
use nix::sched::{CloneFlags, setns};
use rustix::net::netdevice::name_to_index;

use crate::PAUSE;

const OUTER: &str = "floor";
const INNER: &str = "eth0";
const LOOPBACK: &str = "lo";
/// Of RFC 2544, for measurements; it leads nowhere.
const ADDRESS: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);

/// Joins the bridge of this name, in the namespace `host`, and leaves it: how long both took.
pub(crate) fn turn(host: BorrowedFd<'_>, bridge: &str, netns: BorrowedFd<'_>) -> [Duration; 2] {
    setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
    let inside = Socket::new(NETLINK_ROUTE).unwrap();
    setns(host, CloneFlags::CLONE_NEWNET).unwrap();
    let outside = Socket::new(NETLINK_ROUTE).unwrap();

    let start = Instant::now();
    let bridge = name_to_index(outside.as_fd(), bridge).unwrap();
    ask(&outside, RouteNetlinkMessage::NewLink(pair(bridge, netns)), NLM_F_CREATE | NLM_F_EXCL);
    let mut message = named(OUTER);
    let mode = AfSpecInet6::AddrGenMode(In6AddrGenMode::None);
    message.attributes.push(LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![mode])]));
    ask(&outside, RouteNetlinkMessage::SetLink(message), 0);
    ask(&outside, RouteNetlinkMessage::SetLink(up(OUTER)), 0);
    ask(&inside, RouteNetlinkMessage::SetLink(up(LOOPBACK)), 0);
    ask(&inside, RouteNetlinkMessage::SetLink(up(INNER)), 0);
    let index = name_to_index(inside.as_fd(), INNER).unwrap();
    ask(&inside, RouteNetlinkMessage::NewAddress(address(index)), NLM_F_CREATE | NLM_F_EXCL);
    ask(&inside, RouteNetlinkMessage::NewRoute(default_route()), NLM_F_CREATE | NLM_F_EXCL);
    let joined = start.elapsed();

    thread::sleep(PAUSE);
    let start = Instant::now();
    ask(&outside, RouteNetlinkMessage::DelLink(named(OUTER)), 0);
    [joined, start.elapsed()]
}

fn pair(bridge: u32, netns: BorrowedFd<'_>) -> LinkMessage {
    let mut inner = named(INNER);
    inner.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    let mut outer = named(OUTER);
    outer.attributes.push(LinkAttribute::Controller(bridge));
    outer.attributes.push(LinkAttribute::LinkInfo(vec![
        LinkInfo::Kind(InfoKind::Veth),
        LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(inner))),
    ]));
    outer
}

fn address(index: u32) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.family = AddressFamily::Inet;
    message.header.prefix_len = 16;
    message.header.index = index;
    message.attributes.push(AddressAttribute::Local(ADDRESS.into()));
    message.attributes.push(AddressAttribute::Address(ADDRESS.into()));
    message
}

fn default_route() -> RouteMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = AddressFamily::Inet;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Static;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes.push(RouteAttribute::Gateway(RouteAddress::Inet(GATEWAY)));
    message
}

fn named(name: &str) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message
}

fn up(name: &str) -> LinkMessage {
    let mut message = named(name);
    message.header.flags = LinkFlags::Up;
    message.header.change_mask = LinkFlags::Up;
    message
}

/// Sends one message, and waits until it is done.
fn ask(socket: &Socket, message: RouteNetlinkMessage, flags: u16) {
    let mut message = NetlinkMessage::from(message);
    message.header.flags = NLM_F_REQUEST | NLM_F_ACK | flags;
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let answer = NetlinkMessage::<RouteNetlinkMessage>::deserialize(&answer).unwrap();
    let NetlinkPayload::Error(answer) = answer.payload else { panic!("{answer:?}") };
    assert!(answer.code.is_none(), "{:?}", answer.to_io());
}
