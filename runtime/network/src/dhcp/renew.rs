//! More time for an address, before its own is over (RFC 2131, section 4.4.5).

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::client::{Client, Failure, Granted, Whom};
use super::join::{client, note, write};
use super::terms::Times;
use super::{Dhcp, Grant, PATIENCE, identity, interface, memory};
use crate::attach;
use crate::error::Result;
use crate::kernel::{link, namespace};
use crate::lease::Attachment;
use crate::mac::Mac;
use crate::networks::Networks;

/// What asking for more time came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// The network.
    pub network: String,
    /// The container's interface in it.
    pub interface: String,
    /// Whether the interface has an address that is good for longer now.
    pub succeeded: bool,
    /// In words.
    pub outcome: String,
    /// Whether address, router or name servers are others now.
    pub changed: bool,
}

/// See [`Networks::renew`].
pub(crate) fn renew(
    networks: &Networks,
    id: &str,
    netns: BorrowedFd<'_>,
    only_due: bool,
) -> Result<Vec<Renewal>> {
    let Some(lease) = networks.lease(id)? else { return Ok(Vec::new()) };
    let mut renewals = Vec::new();
    for (place, attachment) in lease.attachments.iter().enumerate() {
        let Some(dhcp) = &attachment.dhcp else { continue };
        if only_due && !is_due(dhcp) {
            continue;
        }
        let mut after = attachment.clone();
        let outcome = one(networks, &mut after, dhcp, netns)?;
        if let Some(dhcp) = &mut after.dhcp {
            dhcp.outcome.clone_from(&outcome.words);
        }
        if !write(networks, id, &after)? {
            // It was released meanwhile: whoever did it saw to all of it.
            continue;
        }
        apply(attachment, &after, place, netns)?;
        renewals.push(Renewal {
            network: after.network.name.clone(),
            interface: after.interface.clone(),
            succeeded: outcome.succeeded,
            outcome: outcome.words,
            changed: files_differ(attachment, &after),
        });
    }
    Ok(renewals)
}

struct Outcome {
    succeeded: bool,
    words: String,
}

fn is_due(dhcp: &Dhcp) -> bool {
    match &dhcp.granted {
        Some(grant) => grant.terms.times.is_some_and(|times| grant.age() >= times.renewal.into()),
        None => true,
    }
}

/// Has the conversation that the time calls for, and notes the result in `attachment`.
fn one(
    networks: &Networks,
    attachment: &mut Attachment,
    dhcp: &Dhcp,
    netns: BorrowedFd<'_>,
) -> Result<Outcome> {
    let wire = interface::reopen(attachment, netns)?;
    let id = identity::bytes(&dhcp.client);
    let client = client(&wire, attachment, dhcp, &id);
    let until = Instant::now() + PATIENCE;
    let failure = match &dhcp.granted {
        Some(grant) if !is_over(grant) => match client.renew(&grant.terms, whom(grant), until) {
            Ok(granted) => return Ok(success(attachment, granted)),
            // The address isn't ours any more: another, at once.
            Err(Failure::Refused(why)) => {
                let outcome = anew(networks, &client, attachment, dhcp);
                return Ok(Outcome { words: format!("{why}; {}", outcome.words), ..outcome });
            }
            Err(failure) => failure,
        },
        _ => return Ok(anew(networks, &client, attachment, dhcp)),
    };
    let left = dhcp.granted.as_ref().map_or(0, |grant| {
        grant.terms.times.map_or(0, |times| u64::from(times.expiry).saturating_sub(grant.age()))
    });
    let words = match failure {
        Failure::Silence(None) => format!("no DHCP server answers within {} s", PATIENCE.as_secs()),
        failure => failure.words(attachment),
    };
    Ok(Outcome { succeeded: false, words: format!("{words}; the address is good for {left} s more") })
}

/// A new address, or none.
fn anew(networks: &Networks, client: &Client<'_>, attachment: &mut Attachment, dhcp: &Dhcp) -> Outcome {
    let mut previous = memory::recall(networks, &attachment.network.name, &dhcp.client);
    if let Some(previous) = &mut previous {
        previous.is_held = false;
    }
    match client.acquire(previous, Instant::now() + PATIENCE) {
        Ok(granted) => success(attachment, granted),
        Err(failure) => {
            let words = failure.words(attachment);
            note(attachment, None);
            Outcome { succeeded: false, words: format!("the interface has no address any more: {words}") }
        }
    }
}

fn success(attachment: &mut Attachment, granted: Granted) -> Outcome {
    note(attachment, Some(Grant::new(granted)));
    let words = attachment.dhcp.as_ref().map(|dhcp| dhcp.outcome.clone()).unwrap_or_default();
    Outcome { succeeded: true, words }
}

fn is_over(grant: &Grant) -> bool {
    grant.terms.times.is_some_and(|times| grant.age() >= times.expiry.into())
}

/// The server itself until it has had its time, then anyone.
fn whom(grant: &Grant) -> Whom {
    let is_late = |times: Times| grant.age() >= times.rebinding.into();
    match grant.server_mac.parse::<Mac>() {
        Ok(mac) if !grant.terms.times.is_some_and(is_late) => Whom::Server(mac.0),
        _ => Whom::Anyone,
    }
}

/// Makes the kernel's interface as the attachment is now.
fn apply(before: &Attachment, after: &Attachment, place: usize, netns: BorrowedFd<'_>) -> Result<()> {
    let terms = |attachment: &Attachment| {
        attachment.dhcp.as_ref().and_then(|dhcp| Some(dhcp.granted.as_ref()?.terms.clone()))
    };
    let (old, new) = (terms(before), terms(after));
    let granted_at = |attachment: &Attachment| {
        attachment.dhcp.as_ref().and_then(|dhcp| dhcp.granted.as_ref().map(|grant| grant.since.clone()))
    };
    if granted_at(before) == granted_at(after) {
        return Ok(());
    }
    let mut inside = namespace::within(netns, link::socket)?;
    match (old, new) {
        (old, Some(new)) => {
            let metric = attach::metric(&after.network, place);
            interface::configure(&mut inside, after, old.as_ref(), &new, metric)
        }
        (Some(old), None) => interface::deconfigure(&mut inside, after, &old),
        (None, None) => Ok(()),
    }
}

/// Whether `/etc/hosts` and `/etc/resolv.conf` have to say something else.
fn files_differ(before: &Attachment, after: &Attachment) -> bool {
    let names = |attachment: &Attachment| {
        attachment.dhcp.as_ref().and_then(|dhcp| {
            let terms = &dhcp.granted.as_ref()?.terms;
            Some((terms.dns_servers.clone(), terms.search.clone()))
        })
    };
    before.addresses != after.addresses || before.gateways != after.gateways || names(before) != names(after)
}
