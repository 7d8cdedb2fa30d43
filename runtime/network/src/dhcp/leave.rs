//! The end: the address goes back to the server.

use std::io;

use super::wire::Wire;
use super::{Dhcp, Grant, client, identity, memory};
use crate::driver::Driver;
use crate::lease::Attachment;
use crate::mac::Mac;
use crate::networks::Networks;

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
    match networks.lock() {
        Ok(_lock) => {
            memory::remember(networks, &attachment.network.name, client, &grant.terms, false);
        }
        Err(error) => log::debug!("{error}"),
    }
}

fn tell(attachment: &Attachment, client: &str, grant: &Grant) -> io::Result<()> {
    let wrong = |error: crate::Error| io::Error::other(error);
    let own: Mac = attachment.mac.parse().map_err(wrong)?;
    let server: Mac = grant.server_mac.parse().map_err(wrong)?;
    let wire = Wire::open(&attachment.network.network_interface)?;
    // ipvlan(4)'s interfaces have their parent's.
    let own = if attachment.network.driver == Driver::Ipvlan { wire.mac() } else { own.0 };
    client::release(&wire, own, &identity::bytes(client), &grant.terms, server.0)
}
