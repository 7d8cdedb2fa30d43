//! The few questions and orders that moving a device takes, one message each (rtnetlink(7)).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_EXCL, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage,
    NetlinkPayload,
};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rustix::net::netdevice::name_to_index;

use crate::error::{Call, Result};

/// A socket of the network namespace that it was opened in.
pub(super) struct Socket(netlink_sys::Socket);

/// A device as far as it matters here.
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) up: bool,
}

/// An address that goes along.
pub(super) struct Address(AddressMessage);

impl Socket {
    pub(super) fn open() -> Result<Self> {
        let open = || {
            let mut socket = netlink_sys::Socket::new(netlink_sys::protocols::NETLINK_ROUTE)?;
            socket.bind_auto()?;
            Ok::<_, io::Error>(Socket(socket))
        };
        open().call(|| "socket(AF_NETLINK, NETLINK_ROUTE)".into())
    }

    /// Sends a message, and returns what comes before its acknowledgement or the end of the list.
    fn ask(&self, message: Message, flags: u16) -> io::Result<Vec<Message>> {
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        let mut packet = NetlinkMessage::new(header, NetlinkPayload::from(message));
        packet.finalize();
        let mut bytes = vec![0; packet.buffer_len()];
        packet.serialize(&mut bytes);
        self.0.send(&bytes, 0)?;
        let mut answers = Vec::new();
        loop {
            let (received, _) = self.0.recv_from_full()?;
            let mut rest = received.as_slice();
            while !rest.is_empty() {
                let packet = NetlinkMessage::<Message>::deserialize(rest).map_err(io::Error::other)?;
                match packet.payload {
                    NetlinkPayload::InnerMessage(message) => answers.push(message),
                    NetlinkPayload::Error(refusal) => {
                        return match refusal.code {
                            None => Ok(answers),
                            Some(code) => Err(io::Error::from_raw_os_error(code.get().abs())),
                        };
                    }
                    NetlinkPayload::Done(_) => return Ok(answers),
                    _ => {}
                }
                let length = usize::try_from(packet.header.length).unwrap_or(usize::MAX);
                rest = rest.get(length.next_multiple_of(4).max(16)..).unwrap_or_default();
            }
        }
    }

    /// The device of this name.
    pub(super) fn find(&self, name: &str) -> Result<Option<Link>> {
        let call = || format!("look up network device {name}");
        let index = match name_to_index(&self.0, name) {
            Err(rustix::io::Errno::NODEV) => return Ok(None),
            index => index.call(call)?,
        };
        let mut message = LinkMessage::default();
        message.header.index = index;
        let answers = self.ask(Message::GetLink(message), NLM_F_ACK).call(call)?;
        let flags = answers.into_iter().find_map(|answer| match answer {
            Message::NewLink(link) => Some(link.header.flags),
            _ => None,
        });
        Ok(flags.map(|flags| Link { index, up: flags.contains(LinkFlags::Up) }))
    }

    /// The numbers of all devices.
    pub(super) fn indices(&self) -> Result<Vec<u32>> {
        let answers = self.ask(Message::GetLink(LinkMessage::default()), NLM_F_DUMP);
        let links = answers.call(|| "list network devices".into())?;
        let index = |answer: Message| match answer {
            Message::NewLink(link) => Some(link.header.index),
            _ => None,
        };
        Ok(links.into_iter().filter_map(index).collect())
    }

    /// The permanent addresses of global scope that a device has.
    pub(super) fn addresses(&self, index: u32) -> Result<Vec<Address>> {
        let answers = self.ask(Message::GetAddress(AddressMessage::default()), NLM_F_DUMP);
        let all = answers.call(|| format!("list the addresses of network device {index}"))?;
        let wanted = |answer: Message| match answer {
            Message::NewAddress(address) => {
                let kept = address.header.index == index
                    && address.header.scope == AddressScope::Universe
                    && flags(&address).contains(AddressFlags::Permanent);
                kept.then_some(Address(address))
            }
            _ => None,
        };
        Ok(all.into_iter().filter_map(wanted).collect())
    }

    /// Moves a device to another namespace, where it is called `new`. For errors it is called `name`.
    pub(super) fn send_away(
        &self,
        index: u32,
        new: &str,
        namespace: BorrowedFd<'_>,
        name: &str,
    ) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.attributes.push(LinkAttribute::NetNsFd(namespace.as_raw_fd()));
        message.attributes.push(LinkAttribute::IfName(new.to_owned()));
        self.ask(Message::SetLink(message), NLM_F_ACK)
            .call(|| format!("move network device {name} to another namespace as {new}"))?;
        Ok(())
    }

    /// Adds an address that a device called `old` had to one that is called `new`.
    pub(super) fn add_address(&self, index: u32, address: &Address, old: &str, new: &str) -> Result<()> {
        let mut message = address.0.clone();
        message.header.index = index;
        // What the kernel finds out for itself.
        let mut kept = flags(&message);
        kept.remove(
            AddressFlags::Permanent
                | AddressFlags::Tentative
                | AddressFlags::Dadfailed
                | AddressFlags::Secondary,
        );
        message.header.flags = Default::default();
        message.attributes.retain(|attribute| match attribute {
            AddressAttribute::Flags(_) | AddressAttribute::CacheInfo(_) => false,
            // The label is the device's name unless someone has added something to it.
            AddressAttribute::Label(label) => label != old,
            _ => true,
        });
        for attribute in &mut message.attributes {
            if let AddressAttribute::Label(label) = attribute
                && let Some(rest) = label.strip_prefix(old)
            {
                *label = format!("{new}{rest}");
            }
        }
        message.attributes.push(AddressAttribute::Flags(kept));
        self.ask(Message::NewAddress(message), NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL)
            .call(|| format!("add the addresses of network device {old} to {new}"))?;
        Ok(())
    }

    /// Brings a device up.
    pub(super) fn bring_up(&self, index: u32, name: &str) -> Result<()> {
        let mut message = LinkMessage::default();
        message.header.index = index;
        message.header.flags = LinkFlags::Up;
        message.header.change_mask = LinkFlags::Up;
        self.ask(Message::SetLink(message), NLM_F_ACK).call(|| format!("bring network device {name} up"))?;
        Ok(())
    }
}

/// All flags of an address: the header has room for eight only.
fn flags(message: &AddressMessage) -> AddressFlags {
    let wide = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Flags(flags) => Some(*flags),
        _ => None,
    });
    wide.unwrap_or_else(|| AddressFlags::from_bits_retain(u32::from(message.header.flags.bits())))
}
