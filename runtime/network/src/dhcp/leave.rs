//! The end: the address goes back to the server.

use super::wire::Wire;
use super::{Dhcp, Grant, client, identity, memory};
use crate::error::{Error, Result};
use crate::kernel::link;
use crate::lease::Attachment;
use crate::mac::Mac;
use crate::networks::Networks;
use crate::parent;

/// Tells the server that the address is free, in one frame that nobody answers. The interface is gone with its
/// namespace by now, so it is the host's end of the same network that sends it. Whatever fails, the address
/// is free when its time is over.
pub(crate) fn leave(networks: &Networks, attachment: &Attachment) {
    let (Some(Dhcp { client, .. }), Some(grant)) = (&attachment.dhcp, attachment.held()) else { return };
    if let Err(error) = tell(attachment, client, grant) {
        log::debug!(
            "the DHCP server {} doesn't hear that {} is free: {error}",
            grant.terms.server,
            grant.terms.address
        );
        return;
    }
    memory::remember(networks, &attachment.network.name, client, &grant.terms, false);
}

fn tell(attachment: &Attachment, client: &str, grant: &Grant) -> Result<()> {
    let (own, server): (Mac, Mac) = (attachment.mac.parse()?, grant.server_mac.parse()?);
    let parent = parent::find(&mut link::socket()?, &attachment.network)?;
    let wire = Wire::open(&parent.name);
    wire.and_then(|wire| client::release(&wire, own.0, &identity::bytes(client), &grant.terms, server.0))
        .map_err(Error::kernel(format!("send by interface {}", parent.name)))
}
