//! What a server has granted, in the kernel: address, routes, packet size.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::BorrowedFd;

use super::arp::Arp;
use super::terms::Terms;
use super::wire::Wire;
use crate::attach;
use crate::error::{Error, Result};
use crate::kernel::netlink::{Batch, Socket};
use crate::kernel::{dynamic, link, namespace, sysctl};
use crate::lease::Attachment;
use crate::subnet::Subnet;

/// The sockets on a container's interface.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) wire: Wire,
    /// Absent where nobody is asked whether an address is free.
    pub(super) arp: Option<Arp>,
}

/// Brings the interface up, as one that listens to the routers of its network, and opens sockets on it.
pub(super) fn open(inside: &mut Socket, attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<Sockets> {
    let name = &attachment.interface;
    let index = index(inside, name)?;
    namespace::within(netns, || {
        // Before it comes up, or the first advertisement is lost.
        sysctl::accept_routers(name, !attachment.network.internal)?;
        up(inside, index, name)?;
        sockets(attachment)
    })
}

/// Brings the interface up.
fn up(inside: &mut Socket, index: u32, name: &str) -> Result<()> {
    attach::run_when_free(inside, |_| {
        let mut batch = Batch::default();
        link::up(&mut batch, index, name);
        Ok(batch)
    })
}

/// Opens sockets on an interface that is up.
pub(super) fn reopen(attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<Sockets> {
    namespace::within(netns, || sockets(attachment))
}

fn sockets(attachment: &Attachment) -> Result<Sockets> {
    let name = &attachment.interface;
    let open = || {
        let probes = !attachment.network.options.no_arp_probe;
        Ok(Sockets { wire: Wire::open(name)?, arp: probes.then(|| Arp::open(name)).transpose()? })
    };
    open().map_err(Error::kernel(format!("open a packet socket on interface {name}")))
}

/// Gives the interface what was granted; what it had before goes, if it is another address. `metric` is that of
/// its routes.
pub(super) fn configure(
    inside: &mut Socket,
    attachment: &Attachment,
    before: Option<&Terms>,
    terms: &Terms,
    metric: u32,
) -> Result<()> {
    let name = &attachment.interface;
    let index = index(inside, name)?;
    if let Some(before) = before.filter(|before| before.address != terms.address) {
        // First, or the new address is one that goes with the old.
        remove_address(inside, index, before)?;
    }
    if let (None, Some(mtu)) = (attachment.network.options.mtu, terms.mtu) {
        let mut batch = Batch::default();
        dynamic::set_mtu(&mut batch, index, mtu.into());
        if let Err(error) = inside.run(batch) {
            // Larger than the parent's: smaller packets do as well.
            log::warn!("the DHCP server {} asks for another MTU of {name}: {error}", terms.server);
        }
    }
    let everywhere = Subnet::new(Ipv4Addr::UNSPECIFIED.into(), 0)?;
    attach::run_when_free(inside, |_| {
        let mut batch = Batch::default();
        dynamic::lease_address(&mut batch, index, terms.address, terms.times.map(|times| times.expiry));
        for gateway in &attachment.gateways {
            if let IpAddr::V4(router) = *gateway {
                dynamic::replace_route(&mut batch, index, everywhere, Some(router), metric);
            }
        }
        for route in terms.routes.iter().filter(|_| !attachment.network.internal) {
            let router = Some(route.router).filter(|router| !router.is_unspecified());
            dynamic::replace_route(&mut batch, index, route.destination, router, metric);
        }
        Ok(batch)
    })
}

/// Takes what was granted away; the routes go with it.
pub(super) fn deconfigure(inside: &mut Socket, attachment: &Attachment, terms: &Terms) -> Result<()> {
    let index = index(inside, &attachment.interface)?;
    remove_address(inside, index, terms)
}

fn remove_address(inside: &mut Socket, index: u32, terms: &Terms) -> Result<()> {
    let mut batch = Batch::default();
    dynamic::remove_address(&mut batch, index, terms.address);
    inside.run(batch).map(drop)
}

fn index(inside: &Socket, name: &str) -> Result<u32> {
    link::index(inside, name)?.ok_or_else(|| {
        Error::kernel(format!("find interface {name} in the container"))(rustix::io::Errno::NODEV.into())
    })
}
