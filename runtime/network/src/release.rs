//! Giving back everything of a container.
//!
//! Every step may have been done before, by an earlier release or by nobody
//! because of a crash. The lease goes last: as long as it is there, a release
//! can be repeated.

use crate::config::Network;
use crate::error::Result;
use crate::files;
use crate::firewall::{Firewall, elements};
use crate::kernel::link;
use crate::kernel::netlink::Batch;
use crate::networks::Networks;

/// See [`Networks::release`].
pub(crate) fn release(networks: &Networks, id: &str) -> Result<()> {
    let Some(lease) = networks.lease(id)? else {
        return Ok(());
    };
    // First what leads others to the container, then its links, then its claims:
    // nothing must lead to an address that a new container may have.
    Firewall::open()?.remove(&elements::of_lease(&lease))?;
    networks.names.leave(&lease)?;
    let mut batch = Batch::default();
    for attachment in &lease.attachments {
        link::remove(&mut batch, &attachment.host_interface);
    }
    link::socket()?.run(batch)?;

    let _lock = networks.lock()?;
    networks.claims.give_back(&lease)?;
    for attachment in &lease.attachments {
        if !networks.claims.is_held(&attachment.network.name)? {
            dismantle(networks, &attachment.network)?;
        }
    }
    files::remove(&networks.lease_path(id))
}

/// Removes the bridge of a network that nobody holds, and the firewall's elements
/// for it. The caller holds the lock.
pub(crate) fn dismantle(networks: &Networks, network: &Network) -> Result<()> {
    Firewall::open()?.remove(&elements::of_network(network))?;
    let mut batch = Batch::default();
    link::remove(&mut batch, &network.network_interface);
    link::socket()?.run(batch)?;
    networks.names.forget(network)?;
    networks.claims.forget(&network.name)
}
