//! The start: from an interface without an address to one that has what the server grants.

use std::net::IpAddr;
use std::ops::Range;
use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::client::Client;
use super::interface::Sockets;
use super::{Dhcp, Grant, PATIENCE, identity, interface, memory};
use crate::driver::Driver;
use crate::error::Result;
use crate::kernel::netlink::Socket;
use crate::lease::{Attachment, Lease};
use crate::networks::Networks;

/// Gets the addresses of those networks of a lease that have them from a DHCP server, and gives them to the
/// interfaces. The lease as it is then, and as it is written; absent if there are no such networks.
///
/// # Errors
/// [`Error::Dhcp`](crate::Error::Dhcp) if there is no server, or none that grants an address.
pub(crate) fn join(
    networks: &Networks,
    lease: &Lease,
    places: Range<usize>,
    inside: &mut Socket,
    netns: BorrowedFd<'_>,
    metric: impl Fn(&Attachment, usize) -> u32,
) -> Result<Option<Lease>> {
    let mut joined: Option<Lease> = None;
    for place in places {
        let Some(attachment) = lease.attachments.get(place) else { continue };
        let Some(dhcp) = &attachment.dhcp else { continue };
        let grant = acquire(networks, attachment, dhcp, inside, netns)?;
        let lease = joined.get_or_insert_with(|| lease.clone());
        let attachment = &mut lease.attachments[place];
        note(attachment, Some(grant));
        if let Some(grant) = attachment.held() {
            // First on paper, so that a release finds it.
            write(networks, &lease.holder.id, attachment)?;
            interface::configure(inside, attachment, None, &grant.terms, metric(attachment, place))?;
        }
    }
    Ok(joined)
}

fn acquire(
    networks: &Networks,
    attachment: &Attachment,
    dhcp: &Dhcp,
    inside: &mut Socket,
    netns: BorrowedFd<'_>,
) -> Result<Grant> {
    let sockets = interface::open(inside, attachment, netns)?;
    let id = identity::bytes(&dhcp.client);
    let client = client(&sockets, attachment, dhcp, &id);
    let previous = memory::recall(networks, &attachment.network.name, &dhcp.client);
    let granted = client.acquire(previous, Instant::now() + PATIENCE);
    Ok(Grant::new(granted.map_err(|failure| failure.into_error(attachment))?))
}

/// The client of an attachment.
pub(super) fn client<'a>(
    sockets: &'a Sockets,
    attachment: &Attachment,
    dhcp: &'a Dhcp,
    id: &'a [u8],
) -> Client<'a> {
    Client {
        wire: &sockets.wire,
        arp: sockets.arp.as_ref(),
        id,
        hostname: dhcp.hostname.as_deref(),
        // It has the MAC address of others: frames are told apart by IP addresses, of which it has none yet.
        broadcast: attachment.network.driver == Driver::Ipvlan,
    }
}

/// Writes what was granted into the attachment; `None` says that it has lost what it had.
pub(super) fn note(attachment: &mut Attachment, grant: Option<Grant>) {
    let options = &attachment.network.options;
    let has_way_out = !attachment.network.internal && !options.no_default_route;
    let router = grant.as_ref().filter(|_| has_way_out).and_then(|grant| grant.terms.routers.first());
    attachment.gateways = router.map(|router| IpAddr::from(*router)).into_iter().collect();
    attachment.addresses = grant.iter().map(|grant| grant.terms.address).collect();
    if let (Some(dhcp), Some(grant)) = (&mut attachment.dhcp, grant) {
        let terms = &grant.terms;
        let until = terms.times.map_or_else(String::new, |times| format!(" for {} s", times.expiry));
        dhcp.outcome = format!("{} grants {}{until}", terms.server, terms.address);
        dhcp.granted = Some(grant);
    }
}

/// Writes the attachment into the lease of its holder, unless that is gone or has changed; tells whether it has.
pub(super) fn write(networks: &Networks, id: &str, attachment: &Attachment) -> Result<bool> {
    let Some(dhcp) = &attachment.dhcp else { return Ok(false) };
    let _lock = networks.lock()?;
    let Some(mut lease) = networks.lease(id)? else { return Ok(false) };
    let is_it = |other: &&mut Attachment| {
        other.interface == attachment.interface
            && other.dhcp.as_ref().is_some_and(|other| other.client == dhcp.client)
    };
    let Some(place) = lease.attachments.iter_mut().find(is_it) else { return Ok(false) };
    // The network itself may have changed meanwhile.
    place.addresses.clone_from(&attachment.addresses);
    place.gateways.clone_from(&attachment.gateways);
    place.dhcp.clone_from(&attachment.dhcp);
    networks.write_lease(&lease)?;
    if let Some(grant) = attachment.held() {
        memory::remember(networks, &attachment.network.name, &dhcp.client, &grant.terms, true);
    }
    Ok(true)
}
