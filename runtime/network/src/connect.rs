//! A network more, or one less, for a container that runs.
//!
//! The lease is changed first when the container gets something, and last when it
//! gives something back: whoever is killed in between leaves a lease that names too
//! much, and a disconnection or the container's release takes it away.

use std::os::fd::BorrowedFd;

use crate::attach;
use crate::error::{Error, Result};
use crate::files::{self, Durability};
use crate::firewall::{Firewall, connections, elements};
use crate::lease::{Lease, Request};
use crate::networks::Networks;
use crate::{converge, dhcp, reclaim, release, reserve};

/// See [`Networks::connect`].
pub(crate) fn connect(
    networks: &Networks,
    id: &str,
    request: &Request,
    netns: BorrowedFd<'_>,
) -> Result<Lease> {
    // The default network may have to be made, which takes the lock as well.
    let network = networks.get(&request.network)?.name;
    // Outside: whether the claims were taken, and so whether there is something to give back.
    let lease = reclaim::past_the_dead(networks, || {
        let _lock = networks.lock()?;
        let mut lease = held(networks, id)?;
        reserve::add(networks, &mut lease, request, &network)?;
        reserve::set_name_servers(networks, &mut lease);
        files::write_json(&networks.lease_path(id), &lease, Durability::Volatile)?;
        let taken = networks.claims.take(&part(&lease, lease.attachments.len() - 1));
        Ok(taken.map(|()| lease))
    })?;
    let attached = lease.and_then(|lease| {
        let place = lease.attachments.len() - 1;
        attach::connect(networks, &lease, place..place + 1, netns)
    });
    if let Err(error) = attached {
        // The first error is the one to tell; what stays, the container's release removes.
        let _ = disconnect(networks, id, &network, Some(netns));
        return Err(error);
    }
    let _lock = networks.lock()?;
    held(networks, id)
}

/// See [`Networks::disconnect`].
pub(crate) fn disconnect(
    networks: &Networks,
    id: &str,
    network: &str,
    netns: Option<BorrowedFd<'_>>,
) -> Result<Lease> {
    let _lock = networks.lock()?;
    let old = held(networks, id)?;
    let Some(place) = old.attachments.iter().position(|attachment| attachment.network.name == network) else {
        return Err(Error::Invalid {
            what: "network",
            value: network.to_owned(),
            why: format!("container {:?} is not connected to it", old.holder.name),
        });
    };
    let mut new = old.clone();
    let attachment = new.attachments.remove(place);
    reserve::set_name_servers(networks, &mut new);
    let gone = part(&old, place);
    // First what leads others to the container, then its interface, then its claims.
    let mut firewall = Firewall::open()?;
    if firewall.has_table()? {
        converge::replace(&mut firewall, &elements::of_lease(&old), &elements::of_lease(&new))?;
    }
    connections::forget(&old);
    networks.names.leave(&gone)?;
    dhcp::leave(networks, &attachment);
    match netns {
        Some(netns) => attach::disconnect(&attachment, netns)?,
        None => release::remove_links(&attachment.host_end().into_iter().collect::<Vec<_>>())?,
    }
    networks.claims.give_back(&gone)?;
    files::write_json(&networks.lease_path(id), &new, Durability::Volatile)?;
    if !networks.claims.is_held(network)? {
        release::dismantle(networks, &mut firewall, &[&attachment.network], Vec::new())?;
        converge::settle_free(networks, network)?;
    }
    Ok(new)
}

/// The lease of a container that has a network of ours.
fn held(networks: &Networks, id: &str) -> Result<Lease> {
    networks.lease(id)?.ok_or_else(|| Error::Invalid {
        what: "container",
        value: id.get(..12).unwrap_or(id).to_owned(),
        why: "it has no network of ours (Network=none, host, container: or ns:), or doesn't run".to_owned(),
    })
}

/// The lease with one of its networks, and without ports.
fn part(lease: &Lease, place: usize) -> Lease {
    Lease { attachments: vec![lease.attachments[place].clone()], ports: Vec::new(), ..lease.clone() }
}
