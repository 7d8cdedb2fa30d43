//! Giving back everything of a container.
//!
//! Every step may have been done before, by an earlier release or by nobody
//! because of a crash. The lease goes last: as long as it is there, a release
//! can be repeated.

use crate::config::Network;
use crate::converge;
use crate::dhcp;
use crate::error::Result;
use crate::files;
use crate::firewall::{Firewall, connections, elements};
use crate::kernel::link;
use crate::kernel::netlink::Batch;
use crate::lease::Attachment;
use crate::networks::Networks;

/// See [`Networks::release`].
pub(crate) fn release(networks: &Networks, id: &str) -> Result<()> {
    let Some(lease) = networks.lease(id)? else {
        return forget_scratch(networks);
    };
    // First what leads others to the container, then its links, then its claims:
    // nothing must lead to an address that a new container may have.
    //
    // Whoever closes a connection to nf_tables waits until the kernel has done away with
    // what was removed, 10 ms and more: this one stays open while the links go, which takes
    // as long, and by then there is nothing to wait for.
    let mut firewall = Firewall::open()?;
    firewall.remove(&elements::all_of_lease(&lease))?;
    connections::forget(&lease);
    networks.names.leave(&lease)?;
    for attachment in &lease.attachments {
        dhcp::leave(networks, attachment);
    }
    let mut links: Vec<&str> = lease.attachments.iter().filter_map(Attachment::host_end).collect();
    let mut is_last = false;
    for attachment in &lease.attachments {
        is_last |= !networks.claims.is_held_besides(&attachment.network.name, id)?;
    }
    if !is_last {
        // The kernel takes its time: the others needn't wait for it.
        remove_links(&links)?;
        links.clear();
    }

    let _lock = networks.lock()?;
    // One of its networks may have changed since, and with it what the firewall has; and a
    // reload may have put back what was removed.
    let Some(now) = networks.lease(id)? else {
        return Ok(());
    };
    firewall.remove(&elements::all_of_lease(&now))?;
    if now.attachments != lease.attachments {
        networks.names.leave(&now)?;
    }
    let lease = now;
    networks.claims.give_back(&lease)?;
    let mut empty = Vec::new();
    for attachment in &lease.attachments {
        if !networks.claims.is_held(&attachment.network.name)? {
            empty.push(&attachment.network);
        }
    }
    dismantle(networks, &mut firewall, &empty, links)?;
    for network in empty {
        converge::settle_free(networks, &network.name)?;
    }
    // Of a change that was killed while it wrote a lease.
    files::remove(&files::scratch(&networks.lease_path(id)))?;
    files::remove(&networks.lease_path(id))
}

/// Removes what a start left that was killed before its lease had a name.
fn forget_scratch(networks: &Networks) -> Result<()> {
    let scratch = files::scratch(&networks.lease_path("any"));
    if !scratch.exists() {
        return Ok(());
    }
    // Or it is another's, who is about to give it its name.
    let _lock = networks.lock()?;
    files::remove(&scratch)
}

/// Removes the bridges of networks that nobody holds, and the firewall's elements
/// and names for them; `links` go with them. The caller holds the lock.
pub(crate) fn dismantle<'a>(
    networks: &Networks,
    firewall: &mut Firewall,
    empty: &[&'a Network],
    mut links: Vec<&'a str>,
) -> Result<()> {
    let elements: Vec<_> = empty.iter().flat_map(|network| elements::of_network(network)).collect();
    if !elements.is_empty() {
        firewall.remove(&elements)?;
    }
    let mut host = link::socket()?;
    for bridge in empty.iter().filter_map(|network| network.own_bridge()) {
        // Somebody may have made another interface of that name since.
        if link::find(&mut host, bridge)?.is_some_and(|found| found.is_own_bridge) {
            links.push(bridge);
        }
    }
    remove_links(&links)?;
    for network in empty {
        networks.names.forget(network)?;
        networks.claims.forget(&network.name)?;
    }
    Ok(())
}

/// Removes interfaces of the host; those that are gone are no error.
pub(crate) fn remove_links(links: &[&str]) -> Result<()> {
    if links.is_empty() {
        return Ok(());
    }
    let mut batch = Batch::default();
    link::remove(&mut batch, links.iter().copied());
    link::socket()?.run(batch).map(drop)
}
