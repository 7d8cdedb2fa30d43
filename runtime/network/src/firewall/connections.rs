//! Flows that the kernel remembers (conntrack), where they outlive a change.
//!
//! A UDP client that sends again and again from the same port keeps its flow alive,
//! and a flow keeps its destination: it would go on sending to a container that is
//! gone, or to nobody although a container has published the port since. So the
//! flows of a UDP port are forgotten whenever it is published or withdrawn. (TCP
//! clients notice and connect again.)

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
const CTA_TUPLE_PROTO: u16 = 2;
const CTA_PROTO_NUM: u16 = 1;
const CTA_PROTO_DST_PORT: u16 = 3;
const CTA_ID: u16 = 12;
const CTA_FILTER: u16 = 25;
const CTA_FILTER_ORIG_FLAGS: u16 = 1;
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
    if let Err(error) = forget_flows(&ports) {
        log::warn!(
            "UDP clients of container {:?} that keep sending may not find it: {error}",
            lease.holder.name
        );
    }
}

fn forget_flows(ports: &[&PortMapping]) -> Result<()> {
    let mut socket = Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)?;
    let mut flows = Vec::new();
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
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
