//! Connecting a container: from a lease to flowing packets.
//!
//! The order of things is here, and the same for every network: the interface,
//! its addresses and routes, the firewall, the names. How the interface comes to be is
//! the driver's own: a pair of interfaces in `bridge`, an interface on one of the host's
//! in `macvlan`.

pub(crate) mod bridge;
mod macvlan;

use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::config::Network;
use crate::converge;
use crate::dhcp;
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::firewall::{Firewall, connections, elements};
use crate::kernel::netlink::{Batch, Socket};
use crate::kernel::{link, namespace, sysctl};
use crate::lease::{Attachment, Lease};
use crate::networks::Networks;

/// The metric of the first network's default route; later ones come after it.
const FIRST_METRIC: u32 = 100;

/// The same for networks that lead out without the host: they come before bridges.
const FIRST_DIRECT_METRIC: u32 = 50;

/// How long the address of a container that has ended may be in use.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two looks at it.
const PAUSE: Duration = Duration::from_millis(10);

/// Both ends of the work: the host, and the container's network namespace.
struct Sides<'a> {
    host: Socket,
    inside: Socket,
    netns: BorrowedFd<'a>,
}

/// See [`Networks::attach`].
pub(crate) fn attach(networks: &Networks, lease: &Lease, netns: BorrowedFd<'_>) -> Result<()> {
    connect(networks, lease, 0..lease.attachments.len(), netns)
}

/// Connects some of a lease's networks, by their places in it: all of them at the
/// start, a single one for a container that runs.
pub(crate) fn connect(
    networks: &Networks,
    lease: &Lease,
    places: Range<usize>,
    netns: BorrowedFd<'_>,
) -> Result<()> {
    let first = places.start;
    let attachments = lease.attachments.get(places.clone()).unwrap_or_default();
    // The socket made inside stays there: all else is done from here.
    let inside = namespace::within(netns, || {
        // New interfaces of the container take this over.
        let ipv6 = attachments.iter().any(|attachment| attachment.network.ipv6_enabled);
        sysctl::settle_ipv6("default", ipv6)?;
        link::socket()
    })?;
    let mut sides = Sides { host: link::socket()?, inside, netns };
    sysctl::forward_packets(forwarded(attachments))?;
    for attachment in attachments {
        make_interface(&mut sides, attachment, lease)?;
    }
    let metric_of = |attachment: &Attachment, place| metric(&attachment.network, place);
    let joined = dhcp::join(networks, lease, places.clone(), &mut sides.inside, netns, metric_of)?;
    let lease = joined.as_ref().unwrap_or(lease);
    let attachments = lease.attachments.get(places).unwrap_or_default();
    // Addresses before ports and names: both lead to them.
    configure(&mut sides.inside, attachments, first)?;
    open_firewall(networks, lease, attachments)?;
    let now = networks.lease(&lease.holder.id)?.unwrap_or_else(|| lease.clone());
    if now.attachments != lease.attachments {
        converge::catch_up(lease, &now, netns)?;
    }
    connections::forget(&now);
    networks.names.join(&now)
}

/// The addresses whose packets the host has to forward.
pub(crate) fn forwarded<'a>(
    attachments: impl IntoIterator<Item = &'a Attachment>,
) -> impl Iterator<Item = IpAddr> {
    attachments
        .into_iter()
        .filter(|attachment| attachment.network.own_bridge().is_some() && !attachment.network.internal)
        .flat_map(|attachment| &attachment.addresses)
        .map(|address| address.address)
}

/// Takes the interface of one network away from a container that runs on, and with it
/// its addresses and routes; it is no error if it is gone. Published ports and names
/// are the caller's.
pub(crate) fn disconnect(attachment: &Attachment, netns: BorrowedFd<'_>) -> Result<()> {
    let mut batch = Batch::default();
    match attachment.host_end() {
        Some(host_end) => {
            link::remove(&mut batch, [host_end].into_iter());
            link::socket()?.run(batch)
        }
        None => {
            link::remove(&mut batch, [attachment.interface.as_str()].into_iter());
            namespace::within(netns, link::socket)?.run(batch)
        }
    }
    .map(drop)
}

/// The driver's part.
fn make_interface(sides: &mut Sides<'_>, attachment: &Attachment, lease: &Lease) -> Result<()> {
    match attachment.network.driver {
        Driver::Bridge => bridge::connect(sides, attachment, lease),
        Driver::Macvlan | Driver::Ipvlan => macvlan::connect(sides, attachment),
    }
}

/// The container's side: loopback, addresses and default routes. `first` is the place
/// of the first attachment among all of the container.
fn configure(inside: &mut Socket, attachments: &[Attachment], first: usize) -> Result<()> {
    run_when_free(inside, |inside| {
        let mut batch = Batch::default();
        link::loopback_up(&mut batch);
        for (place, attachment) in (first..).zip(attachments) {
            if attachment.dhcp.is_some() {
                // It has all of it from the server.
                continue;
            }
            let name = &attachment.interface;
            let index = link::index(inside, name)?
                .ok_or_else(|| missing(&format!("find interface {name} in the container")))?;
            for address in &attachment.addresses {
                link::add_address(&mut batch, index, address.address, address.subnet);
            }
            // Routes want the interface up.
            link::up(&mut batch, index, name);
            for gateway in &attachment.gateways {
                link::add_default_route(&mut batch, index, *gateway, metric(&attachment.network, place));
            }
        }
        Ok(batch)
    })
}

/// Does in the container what another interface on the same parent may stand in the way
/// of: the kernel takes its time to dismantle the namespace of a container that has
/// ended, and until then the same one, started again, finds its own address in use.
///
/// Every message that `batch` makes must be one that can be done twice.
pub(crate) fn run_when_free(inside: &mut Socket, batch: impl Fn(&Socket) -> Result<Batch>) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let messages = batch(inside)?;
        match inside.run(messages) {
            Err(Error::Kernel { operation, cause }) if cause.kind() == ErrorKind::AddrInUse => {
                if Instant::now() > deadline {
                    let words = format!(
                        "{cause}; another interface on the same parent has the address, of a container that \
                         has not ended or that was given the same one"
                    );
                    return Err(Error::Kernel { operation, cause: io::Error::new(cause.kind(), words) });
                }
                sleep(PAUSE);
            }
            result => return result.map(drop),
        }
    }
}

/// The metric of a network's default routes; the lowest is the one that is taken.
pub(crate) fn metric(network: &Network, place: usize) -> u32 {
    let first = match network.driver {
        Driver::Bridge => FIRST_METRIC,
        Driver::Macvlan | Driver::Ipvlan => FIRST_DIRECT_METRIC,
    };
    let own = || first.saturating_add(u32::try_from(place).unwrap_or(u32::MAX));
    network.options.metric.unwrap_or_else(own)
}

fn missing(operation: &str) -> Error {
    Error::kernel(operation)(rustix::io::Errno::NODEV.into())
}

/// Adds the elements of the container and of these networks to the firewall's table.
fn open_firewall(networks: &Networks, lease: &Lease, attachments: &[Attachment]) -> Result<()> {
    let mut all: Vec<_> =
        attachments.iter().flat_map(|attachment| elements::of_network(&attachment.network)).collect();
    all.extend(elements::of_lease(lease));
    if all.is_empty() {
        return Ok(());
    }
    let mut firewall = Firewall::open()?;
    if !firewall.has_table()? {
        let lock = networks.lock()?;
        if !firewall.has_table()? {
            // Our own lease is among those that it loads.
            return firewall.load_table(&elements::of_leases(&networks.leases()?), &lock);
        }
    }
    firewall.add(&all)
}
