//! Interfaces on a parent interface: macvlan and ipvlan (ip-link(8)).

use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoIpVlan, InfoKind, InfoMacVlan, IpVlanMode, LinkAttribute, LinkInfo, LinkMessage,
    MacVlanMode,
};
use rustix::io::Errno;

use crate::kernel::netlink::Batch;

/// An interface that is to be made on a parent.
#[derive(Debug)]
pub(crate) struct Child<'a> {
    /// Its name.
    pub(crate) name: &'a str,
    /// The index of its parent.
    pub(crate) parent: u32,
    /// The parent's name, for an error.
    pub(crate) parent_name: &'a str,
    /// Its MAC address; absent means the parent's.
    pub(crate) mac: Option<[u8; 6]>,
    /// The largest packet, in bytes; absent means what the parent carries.
    pub(crate) mtu: Option<u32>,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What an interface on a parent can be.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// One with a MAC address of its own.
    Macvlan {
        /// How it reaches its siblings.
        mode: MacVlanMode,
        /// From how many receivers on broadcasts are handed to a thread.
        broadcast_limit: Option<i32>,
    },
    /// One with the parent's MAC address.
    Ipvlan(IpVlanMode),
}

impl Kind {
    fn info(self) -> (InfoKind, InfoData) {
        match self {
            Self::Macvlan { mode, broadcast_limit } => {
                let mut data = vec![InfoMacVlan::Mode(mode)];
                data.extend(broadcast_limit.map(InfoMacVlan::BcCutoff));
                (InfoKind::MacVlan, InfoData::MacVlan(data))
            }
            Self::Ipvlan(mode) => (InfoKind::IpVlan, InfoData::IpVlan(vec![InfoIpVlan::Mode(mode)])),
        }
    }
}

/// Makes the interface in the namespace `netns`; it never is in the host's.
///
/// NOTE: kernels before 6.14 also refuse a name that an interface of the host has,
/// so it needs one that nobody else has, and is renamed by [`rename`].
pub(crate) fn add(batch: &mut Batch, child: &Child<'_>, netns: BorrowedFd<'_>) {
    let (kind, data) = child.kind.info();
    let operation = format!("make a {kind} interface on {}", child.parent_name);
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(child.name.to_owned()));
    message.attributes.push(LinkAttribute::Link(child.parent));
    message.attributes.push(LinkAttribute::NetNsFd(netns.as_raw_fd()));
    message.attributes.extend(child.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    message.attributes.extend(child.mtu.map(LinkAttribute::Mtu));
    message.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind), LinkInfo::Data(data)]));
    batch.push(&RouteNetlinkMessage::NewLink(message), NLM_F_CREATE | NLM_F_EXCL, &[], operation);
}

/// Gives an interface that is down another name.
pub(crate) fn rename(batch: &mut Batch, index: u32, name: &str) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    batch.push(&RouteNetlinkMessage::SetLink(message), 0, &[], format!("name an interface {name}"));
}

/// Removes an interface; one that is gone already is no error.
pub(crate) fn remove(batch: &mut Batch, index: u32, name: &str) {
    let mut message = LinkMessage::default();
    message.header.index = index;
    batch.push(
        &RouteNetlinkMessage::DelLink(message),
        0,
        &[Errno::NODEV],
        format!("remove interface {name}"),
    );
}
