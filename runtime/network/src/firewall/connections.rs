//! Flows that the kernel remembers (conntrack), where they outlive a change.
//!
//! A UDP client that sends again and again from the same port keeps its flow alive,
//! and a flow keeps its destination: it would go on sending to a container that is
//! gone, or to nobody although a container has published the port since. So the
//! flows of a UDP port are forgotten whenever it is published or withdrawn. (TCP
//! clients notice and connect again.)

use std::fs;
use std::net::IpAddr;
use std::time::Duration;

use netlink_packet_route::AddressFamily;
use rustix::io::Errno;

use super::message::{put, put_nested};
use crate::error::Result;
use crate::kernel::netlink::{Batch, Socket, attribute};
use crate::lease::Lease;
use crate::port::{PortMapping, Protocol};

const NFNL_SUBSYS_CTNETLINK: u16 = 1;
const IPCTNL_MSG_CT_GET: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 1;
const IPCTNL_MSG_CT_DELETE: u16 = NFNL_SUBSYS_CTNETLINK << 8 | 2;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TUPLE_IP: u16 = 1;
const CTA_IP_V4_SRC: u16 = 1;
const CTA_IP_V6_SRC: u16 = 3;
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_SRC_PORT: u16 = 2;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_PROTOINFO_TCP: u16 = 1;
const CTA_PROTOINFO_TCP_STATE: u16 = 1;
const CTA_TIMEOUT: u16 = 7;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
const CTA_FILTER_REPLY_FLAGS: u16 = 2;
const CTA_FILTER_F_CTA_IP_SRC: u32 = 1;
const CTA_FILTER_F_CTA_PROTO_NUM: u32 = 1 << 3;

/// Length of `struct nfgenmsg`; its first byte is the address family.
const GENERIC_HEADER: usize = 4;

/// Forgets the flows to the published UDP ports of a container. A kernel that can't
/// is no reason to refuse a start or a stop: it is told in the log.
pub(crate) fn forget(lease: &Lease) {
    let ports: Vec<&PortMapping> = lease.ports.iter().filter(|port| port.protocol == Protocol::Udp).collect();
    if ports.is_empty() {
        return;
    }
    if let Err(error) = forget_flows(lease, &ports) {
        log::warn!(
            "UDP clients of container {:?} that keep sending may not find it: {error}",
            lease.holder.name
        );
    }
}

/// The kernel goes through all of its table for each family, often 262,144 places and some
/// milliseconds: only for those that the container has addresses of.
fn forget_flows(lease: &Lease, ports: &[&PortMapping]) -> Result<()> {
    let mut socket = Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
    let mut flows = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let ipv6 = family == AddressFamily::Inet6;
        let mut addresses = lease.attachments.iter().flat_map(|attachment| &attachment.addresses);
        if !addresses.any(|address| address.address.is_ipv6() == ipv6) {
            continue;
        }
        let request = udp_flows(family.into());
        flows.extend(socket.dump_raw(IPCTNL_MSG_CT_GET, &request, "list the UDP flows")?);
    }
    let mut batch = Batch::default();
    for (_, flow) in flows {
        let Some(deletion) = deletion(&flow, ports) else {
            continue;
        };
        // A flow may end by itself in between.
        batch.push_raw(
            IPCTNL_MSG_CT_DELETE,
            0,
            &deletion,
            &[Errno::NOENT],
            "forget a UDP flow to a published port",
        );
        if batch.is_full() {
            socket.run(std::mem::take(&mut batch))?;
        }
    }
    socket.run(batch).map(drop)
}

/// A request for all flows of UDP of a family; the kernel picks them out, from 5.8 on.
fn udp_flows(family: u8) -> Vec<u8> {
    let mut payload = vec![family, 0, 0, 0];
    put_nested(&mut payload, CTA_TUPLE_ORIG, |tuple| {
        put_nested(tuple, CTA_TUPLE_PROTO, |protocol| {
            put(protocol, CTA_PROTO_NUM, &[Protocol::Udp.number()]);
        });
    });
    put_nested(&mut payload, CTA_FILTER, |filter| {
        put(filter, CTA_FILTER_ORIG_FLAGS, &CTA_FILTER_F_CTA_PROTO_NUM.to_ne_bytes());
    });
    payload
}

/// The request that deletes this flow, if it goes to one of the ports.
///
/// The destination's address doesn't matter: to forget a flow too many costs one
/// look at the rules.
fn deletion(flow: &[u8], ports: &[&PortMapping]) -> Option<Vec<u8>> {
    let attributes = flow.get(GENERIC_HEADER..)?;
    let tuple = attribute(attributes, CTA_TUPLE_ORIG)?;
    let protocol = attribute(tuple, CTA_TUPLE_PROTO)?;
    let number = attribute(protocol, CTA_PROTO_NUM)?;
    let port = u16::from_be_bytes(attribute(protocol, CTA_PROTO_DST_PORT)?.try_into().ok()?);
    let is_ours = number == [Protocol::Udp.number()]
        && ports
            .iter()
            .any(|mapping| port.checked_sub(mapping.host_port).is_some_and(|step| step < mapping.range));
    if !is_ours {
        return None;
    }
    let mut payload = vec![flow[0], 0, 0, 0];
    put_nested(&mut payload, CTA_TUPLE_ORIG, |inner| inner.extend_from_slice(tuple));
    if let Some(id) = attribute(attributes, CTA_ID) {
        put(&mut payload, CTA_ID, id);
    }
    Some(payload)
}

/// How long ago the last packet of a TCP flow that these ports of an address answer was; absent if there is no such flow.
pub(crate) fn quiet_for(address: IpAddr, ports: &[u16]) -> Result<Option<Duration>> {
    let mut socket = Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
    let flows = socket.dump_raw(IPCTNL_MSG_CT_GET, &tcp_flows(address), "list the TCP flows")?;
    let lives = Lives::read();
    let quiet = flows.iter().filter_map(|(_, flow)| {
        let flow = Flow::parse(flow.get(GENERIC_HEADER..)?)?;
        ports.contains(&flow.port).then(|| lives.age(&flow))
    });
    Ok(quiet.min().map(|seconds| Duration::from_secs(seconds.into())))
}

/// A request for all TCP flows that this address answers.
fn tcp_flows(address: IpAddr) -> Vec<u8> {
    let (family, kind, octets) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, CTA_IP_V4_SRC, address.octets().to_vec()),
        IpAddr::V6(address) => (AddressFamily::Inet6, CTA_IP_V6_SRC, address.octets().to_vec()),
    };
    let mut payload = vec![family.into(), 0, 0, 0];
    put_nested(&mut payload, CTA_TUPLE_REPLY, |tuple| {
        put_nested(tuple, CTA_TUPLE_IP, |ip| put(ip, kind, &octets));
        put_nested(tuple, CTA_TUPLE_PROTO, |protocol| {
            put(protocol, CTA_PROTO_NUM, &[Protocol::Tcp.number()]);
        });
    });
    put_nested(&mut payload, CTA_FILTER, |filter| {
        let flags = CTA_FILTER_F_CTA_IP_SRC | CTA_FILTER_F_CTA_PROTO_NUM;
        put(filter, CTA_FILTER_REPLY_FLAGS, &flags.to_ne_bytes());
    });
    payload
}

/// What of a TCP flow tells when it was last used.
#[derive(Debug, PartialEq, Eq)]
struct Flow {
    /// The port that answers.
    port: u16,
    /// `enum tcp_conntrack` of linux/netfilter/nf_conntrack_tcp.h.
    state: u8,
    /// In how many seconds it is forgotten, unless there is another packet.
    left: u32,
}

impl Flow {
    fn parse(attributes: &[u8]) -> Option<Self> {
        let reply = attribute(attributes, CTA_TUPLE_REPLY)?;
        let port = attribute(attribute(reply, CTA_TUPLE_PROTO)?, CTA_PROTO_SRC_PORT)?;
        let info = attribute(attribute(attributes, CTA_PROTOINFO)?, CTA_PROTOINFO_TCP)?;
        Some(Self {
            port: u16::from_be_bytes(port.try_into().ok()?),
            state: *attribute(info, CTA_PROTOINFO_TCP_STATE)?.first()?,
            left: u32::from_be_bytes(attribute(attributes, CTA_TIMEOUT)?.try_into().ok()?),
        })
    }
}

/// How long the kernel remembers a TCP flow after its last packet, in seconds: by its state, and while data is not
/// acknowledged (nf_conntrack-sysctl of the kernel's documentation).
#[derive(Debug)]
struct Lives {
    by_state: [u32; 10],
    pending: [u32; 2],
}

impl Lives {
    fn read() -> Self {
        let read = |name: &str| {
            let path = format!("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_{name}");
            fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
        };
        let states = [
            "syn_sent",
            "syn_sent",
            "syn_recv",
            "established",
            "fin_wait",
            "close_wait",
            "last_ack",
            "time_wait",
            "close",
            "syn_sent",
        ];
        Self { by_state: states.map(read), pending: ["unacknowledged", "max_retrans"].map(read) }
    }

    /// How many seconds ago a flow's last packet was, at the least: which of the lives it has isn't told, and what is
    /// left of it is rounded down.
    fn age(&self, flow: &Flow) -> u32 {
        let life = self.by_state.get(usize::from(flow.state)).into_iter().chain(&self.pending);
        life.filter_map(|life| life.checked_sub(flow.left)).min().unwrap_or(0).saturating_sub(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flow_is_as_old_as_its_life_is_over() {
        let lives =
            Lives { by_state: [120, 120, 60, 432_000, 120, 60, 30, 120, 10, 120], pending: [300, 300] };
        let age = |state, left| lives.age(&Flow { port: 80, state, left });
        assert_eq!(age(3, 431_999), 0, "just now");
        assert_eq!(age(3, 431_899), 100, "established");
        assert_eq!(age(3, 289), 10, "established, and data is under way");
        assert_eq!(age(7, 29), 90, "closed");
        assert_eq!(age(200, 500_000), 0, "unknown: never old");
    }
}
