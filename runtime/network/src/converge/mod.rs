//! Bringing a network to what its definition says by now.
//!
//! `networks/<name>.json` is the network as it is. Where the definition says more
//! than can be true while containers hold the network, `networks/wanted/<name>.json`
//! is the network as it shall be; it becomes true when nobody holds it any more: at
//! the release of the last container, else at the next reservation.
//!
//! A change is written down before it begins and struck out when it is done: who is
//! killed in between leaves a `wanted` file, and the next one goes on from there,
//! forwards. Every step can be done twice.
//!
//! 1. the `wanted` file;
//! 2. the copies of the network in the leases, from which containers are released
//!    and the firewall's table is filled;
//! 3. firewall, bridge, names, containers' interfaces;
//! 4. the network's own file, and away with `wanted` if nothing waits.
//!
//! [`change`] decides what changes at once and what waits.

mod change;

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

pub use change::Change;
use change::Plan;

use crate::attach::bridge;
use crate::config::{Config, Network};
use crate::definition::check_name;
use crate::error::Result;
use crate::files::{self, Durability};
use crate::firewall::elements::{self, Element};
use crate::firewall::{Firewall, connections};
use crate::kernel::netlink::Batch;
use crate::kernel::{link, namespace, sysctl};
use crate::lease::{Attachment, Lease};
use crate::networks::Networks;
use crate::release;

/// Leads from the id of a container or pod to its network namespace, if it has one.
pub type Namespaces<'a> = &'a dyn Fn(&str) -> Option<OwnedFd>;

/// What became of a definition.
#[derive(Clone, Debug)]
pub struct Converged {
    /// The network as it is now.
    pub network: Network,
    /// Whether it was made by this.
    pub is_new: bool,
    /// What has changed.
    pub changed: Vec<Change>,
    /// What waits until nobody holds the network.
    pub waiting: Vec<Change>,
    /// The containers that hold it, in words.
    pub holders: Vec<String>,
}

impl Converged {
    fn new(network: Network, is_new: bool) -> Self {
        Self { network, is_new, changed: Vec::new(), waiting: Vec::new(), holders: Vec::new() }
    }
}

impl fmt::Display for Converged {
    /// A sentence each for what has changed and what waits; nothing if nothing did.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join =
            |changes: &[Change]| changes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let name = &self.network.name;
        if !self.changed.is_empty() {
            write!(f, "network {name:?} has changed: {}", join(&self.changed))?;
        }
        let opened = |change: &Change| change.property == "Internal" && change.after == "false";
        if !self.holders.is_empty() && self.changed.iter().any(opened) {
            f.write_str("; who joined it while it was internal has no way out until it is started again")?;
        }
        if !self.waiting.is_empty() {
            let separator = if self.changed.is_empty() { "" } else { "\n" };
            write!(
                f,
                "{separator}network {name:?} can't change while {} {} it: {}; this is done as soon as nobody holds it",
                self.holders.join(", "),
                if self.holders.len() == 1 { "holds" } else { "hold" },
                join(&self.waiting)
            )?;
        }
        Ok(())
    }
}

/// See [`Networks::converge`].
pub(crate) fn converge(
    networks: &Networks,
    config: &Config,
    namespaces: Namespaces<'_>,
) -> Result<Converged> {
    check_name(&config.name)?;
    let _lock = networks.lock()?;
    let existing = match networks.read(&config.name)? {
        // What someone began comes first, or its traces would be nobody's.
        Some(existing) => Some(settle(networks, existing, namespaces)?.network),
        None => None,
    };
    let wanted = networks.define(config, existing.as_ref())?;
    let Some(existing) = existing else {
        // Of a network that was removed by force.
        forget(networks, &wanted.name)?;
        files::write_json(&networks.path(&wanted.name), &wanted, Durability::Durable)?;
        return Ok(Converged::new(wanted, true));
    };
    if existing == wanted {
        forget(networks, &wanted.name)?;
        return Ok(Converged::new(existing, false));
    }
    files::make_directory(&wanted_directory(networks))?;
    files::write_json(&wanted_path(networks, &wanted.name), &wanted, Durability::Durable)?;
    settle(networks, existing, namespaces)
}

/// Brings a network as near to what is wanted of it as its holders allow. The caller
/// holds the lock.
///
/// # Errors
/// Those of the files, the kernel and the firewall; the next call goes on.
pub(crate) fn settle(
    networks: &Networks,
    existing: Network,
    namespaces: Namespaces<'_>,
) -> Result<Converged> {
    let Some(wanted) = wanted(networks, &existing.name)? else {
        return Ok(Converged::new(existing, false));
    };
    if !networks.claims.is_held(&existing.name)? {
        let plan = Plan::new(&existing, &wanted, |_| false)?;
        // Nothing of it is in the kernel unless something crashed: then with the
        // interface that it had.
        release::dismantle(networks, &mut Firewall::open()?, &[&existing, &plan.now], Vec::new())?;
        files::write_json(&networks.path(&wanted.name), &wanted, Durability::Durable)?;
        forget(networks, &wanted.name)?;
        return Ok(Converged {
            changed: plan.changed.into_iter().chain(plan.waiting).collect(),
            ..Converged::new(wanted, false)
        });
    }
    let mut holders = Vec::new();
    for id in networks.claims.holders(&existing.name)? {
        holders.extend(networks.lease(&id)?);
    }
    let is_used = |subnet: &crate::Subnet| {
        holders
            .iter()
            .flat_map(|lease| of(lease, &existing.name))
            .any(|attachment| attachment.addresses.iter().any(|address| address.subnet == *subnet))
    };
    let plan = Plan::new(&existing, &wanted, is_used)?;
    let mut named: Vec<String> = holders.iter().map(|lease| networks.describe(&lease.holder.id)).collect();
    named.sort();
    if !plan.changed.is_empty() {
        apply(networks, &existing, &plan.now, &holders, namespaces)?;
        files::write_json(&networks.path(&existing.name), &plan.now, Durability::Durable)?;
    }
    if plan.waiting.is_empty() {
        forget(networks, &existing.name)?;
    }
    Ok(Converged {
        changed: plan.changed,
        waiting: plan.waiting,
        holders: named,
        ..Converged::new(plan.now, false)
    })
}

/// Lets a network that nobody holds any more become what it shall be. The caller
/// holds the lock.
pub(crate) fn settle_free(networks: &Networks, name: &str) -> Result<()> {
    if wanted(networks, name)?.is_none() {
        return Ok(());
    }
    match networks.read(name)? {
        Some(existing) => {
            let converged = settle(networks, existing, &|_| None)?;
            log::warn!("{converged}");
            Ok(())
        }
        // It was removed by force.
        None => forget(networks, name),
    }
}

/// What a network shall be as soon as nobody holds it; absent if it is so already.
pub(crate) fn wanted(networks: &Networks, name: &str) -> Result<Option<Network>> {
    files::read_json(&wanted_path(networks, name))
}

/// Forgets what was wanted of a network that is removed.
pub(crate) fn forget(networks: &Networks, name: &str) -> Result<()> {
    files::remove(&wanted_path(networks, name))
}

/// All networks that wait for their holders, as they shall be.
pub(crate) fn all_wanted(networks: &Networks) -> Result<Vec<Network>> {
    let mut all = Vec::new();
    for file in files::names(&wanted_directory(networks))? {
        if let Some(name) = file.strip_suffix(".json") {
            all.extend(wanted(networks, name)?);
        }
    }
    Ok(all)
}

fn wanted_directory(networks: &Networks) -> PathBuf {
    networks.config_dir.join("wanted")
}

fn wanted_path(networks: &Networks, name: &str) -> PathBuf {
    wanted_directory(networks).join(format!("{name}.json"))
}

/// A lease's places in a network.
fn of<'a>(lease: &'a Lease, network: &'a str) -> impl Iterator<Item = &'a Attachment> {
    lease.attachments.iter().filter(move |attachment| attachment.network.name == network)
}

/// Makes `now` true of a network that containers hold and that was `before`.
fn apply(
    networks: &Networks,
    before: &Network,
    now: &Network,
    holders: &[Lease],
    namespaces: Namespaces<'_>,
) -> Result<()> {
    // Who is about to attach reads its lease again when it is done: see `attach`.
    let mut leases = Vec::new();
    for lease in holders {
        let renewed = renewed(lease, now);
        files::write_json(&networks.lease_path(&lease.holder.id), &renewed, Durability::Volatile)?;
        leases.push(renewed);
    }
    let mut firewall = Firewall::open()?;
    if firewall.has_table()? {
        replace(&mut firewall, &elements::of_network(before), &elements::of_network(now))?;
        for (old, new) in holders.iter().zip(&leases) {
            let (old, new) = (elements::of_lease(old), elements::of_lease(new));
            if old != new {
                replace(&mut firewall, &old, &new)?;
            }
        }
        leases.iter().for_each(connections::forget);
    }
    if now.own_bridge().is_some() {
        change_bridge(before, now, &leases)?;
    }
    networks.names.renew(before, now)?;
    if before.options.mtu != now.options.mtu {
        change_inside(now, &leases, namespaces);
    }
    Ok(())
}

/// The lease with the network as it is now. Whether its container answers to names
/// was settled when it joined.
fn renewed(lease: &Lease, now: &Network) -> Lease {
    let mut lease = lease.clone();
    for attachment in &mut lease.attachments {
        if attachment.network.name == now.name {
            let dns_enabled = attachment.network.dns_enabled;
            attachment.network = Network { dns_enabled, ..now.clone() };
        }
    }
    lease
}

/// What a container has attached by a lease that has been changed meanwhile becomes
/// what the lease says `now`. Who changes a network changes the leases first, so
/// whoever looks at its lease after the last step misses no change.
pub(crate) fn catch_up(lease: &Lease, now: &Lease, netns: BorrowedFd<'_>) -> Result<()> {
    let all = |lease: &Lease| -> Vec<_> {
        let networks = lease.attachments.iter().map(|attachment| &attachment.network);
        networks.flat_map(elements::of_network).chain(elements::of_lease(lease)).collect()
    };
    let mut elements = [all(lease), all(now)];
    elements.iter_mut().for_each(|elements| elements.sort_by_key(|element| element.set));
    replace(&mut Firewall::open()?, &elements[0], &elements[1])?;
    let leases = std::slice::from_ref(now);
    for (old, new) in lease.attachments.iter().zip(&now.attachments) {
        let (old, new) = (&old.network, &new.network);
        if old != new && new.own_bridge().is_some() {
            change_bridge(old, new, leases)?;
        }
        if old.options.mtu != new.options.mtu {
            change_inside(new, leases, &|_| netns.try_clone_to_owned().ok());
        }
    }
    Ok(())
}

/// Takes out what is no longer so, and puts in what is now; the rest isn't touched.
pub(crate) fn replace(firewall: &mut Firewall, old: &[Element], new: &[Element]) -> Result<()> {
    let without = |these: &[Element], those: &[Element]| -> Vec<Element> {
        these.iter().filter(|element| !those.contains(element)).cloned().collect()
    };
    firewall.remove(&without(old, new))?;
    firewall.add(&without(new, old))
}

/// The bridge and the host's ends of its pairs.
fn change_bridge(before: &Network, now: &Network, leases: &[Lease]) -> Result<()> {
    let mut socket = link::socket()?;
    let name = &now.network_interface;
    let Some(bridge) = link::index(&socket, name)? else {
        // Whoever makes it has our lease.
        return Ok(());
    };
    if before.ipv6_enabled != now.ipv6_enabled {
        sysctl::settle_ipv6(name, now.ipv6_enabled)?;
    }
    if !now.internal {
        sysctl::forward_packets(now.gateways().map(|(address, _)| address))?;
    }
    let mut batch = Batch::default();
    for (gateway, subnet) in before.gateways().filter(|old| now.gateways().all(|new| new != *old)) {
        link::remove_address(&mut batch, bridge, gateway, subnet);
    }
    for (gateway, subnet) in now.gateways() {
        link::add_address(&mut batch, bridge, gateway, subnet);
    }
    if before.options.mtu != now.options.mtu || before.internal != now.internal {
        let mtu = bridge::mtu(&mut socket, now)?.unwrap_or(bridge::USUAL_MTU);
        let ends = leases.iter().flat_map(|lease| of(lease, &now.name)).filter_map(Attachment::host_end);
        for name in ends.chain([name.as_str()]) {
            if batch.is_full() {
                socket.run(std::mem::take(&mut batch))?;
            }
            link::set_mtu(&mut batch, name, mtu);
        }
    }
    socket.run(batch).map(drop)
}

/// The containers' ends. A container that ends meanwhile, or can't be entered, is
/// no reason to leave the others as they were.
fn change_inside(now: &Network, leases: &[Lease], namespaces: Namespaces<'_>) {
    for lease in leases {
        let Some(namespace) = namespaces(&lease.holder.id) else { continue };
        let changed = || {
            let mtu = match now.own_bridge() {
                Some(_) => bridge::mtu(&mut link::socket()?, now)?.unwrap_or(bridge::USUAL_MTU),
                // Where an interface sits upon another one, its default is the other's.
                None => now.options.mtu.unwrap_or(0),
            };
            if mtu == 0 {
                return Ok(());
            }
            let mut socket = namespace::within(namespace.as_fd(), link::socket)?;
            let mut batch = Batch::default();
            for attachment in of(lease, &now.name) {
                link::set_mtu(&mut batch, &attachment.interface, mtu);
            }
            socket.run(batch).map(drop)
        };
        if let Err(error) = changed() {
            let name = &lease.holder.name;
            log::warn!("container {name:?} keeps the MTU that it has until it is started again: {error}");
        }
    }
}
