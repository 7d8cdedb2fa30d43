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
        if only_due && !is_due(attachment) {
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

fn is_due(attachment: &Attachment) -> bool {
    attachment
        .held()
        .is_none_or(|grant| grant.terms.times.is_some_and(|times| grant.age() >= times.renewal.into()))
}

/// Has the conversation that the time calls for, and notes the result in `attachment`.
fn one(
    networks: &Networks,
    attachment: &mut Attachment,
    dhcp: &Dhcp,
    netns: BorrowedFd<'_>,
) -> Result<Outcome> {
    let sockets = interface::reopen(attachment, netns)?;
    let id = identity::bytes(&dhcp.client);
    let client = client(&sockets, attachment, dhcp, &id);
    let until = Instant::now() + PATIENCE;
    let held = attachment.held().filter(|grant| !is_over(grant)).cloned();
    let failure = match &held {
        Some(grant) => match client.renew(&grant.terms, whom(grant), until) {
            Ok(granted) => return Ok(success(attachment, granted)),
            // The address isn't ours any more: another, at once.
            Err(Failure::Refused(why)) => {
                let outcome = anew(networks, &client, attachment, dhcp);
                return Ok(Outcome { words: format!("{why}; {}", outcome.words), ..outcome });
            }
            Err(failure) => failure,
        },
        None => return Ok(anew(networks, &client, attachment, dhcp)),
    };
    let left = held.and_then(|grant| Some(u64::from(grant.terms.times?.expiry).saturating_sub(grant.age())));
    let words = match failure {
        Failure::Silence(None) => format!("no DHCP server answers within {} s", PATIENCE.as_secs()),
        failure => failure.words(attachment),
    };
    let words = left.map_or(words.clone(), |left| format!("{words}; the address is good for {left} s more"));
    Ok(Outcome { succeeded: false, words })
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
    let (old, new) = (before.held(), after.held());
    if old == new {
        return Ok(());
    }
    let mut inside = namespace::within(netns, link::socket)?;
    match (old, new) {
        (old, Some(new)) => {
            let metric = attach::metric(&after.network, place);
            interface::configure(&mut inside, after, old.map(|old| &old.terms), &new.terms, metric)
        }
        (Some(old), None) => interface::deconfigure(&mut inside, after, &old.terms),
        (None, None) => Ok(()),
    }
}

/// Whether `/etc/hosts` and `/etc/resolv.conf` have to say something else.
fn files_differ(before: &Attachment, after: &Attachment) -> bool {
    let names = |attachment: &Attachment| {
        attachment.held().map(|grant| (grant.terms.dns_servers.clone(), grant.terms.search.clone()))
    };
    before.addresses != after.addresses || before.gateways != after.gateways || names(before) != names(after)
}
