//! Names: what `aardvark-dns` answers to the containers of a network.
//!
//! A change of names has two halves. [`Names::publish`] writes the files of the networks (`zone`); whoever needs the
//! change to be known, as every start and stop does, then [settles](Names::settle) it (`settle`): the server is told
//! to read its files again (`server`), once for all who are waiting, and asked what it knows (`query`). Where it listens
//! is the bridge's matter (`listen`). If the host wants to know the names as well, it is told where to ask for them (`host`).

mod host;
pub(crate) mod listen;
mod query;
mod server;
mod settle;
mod zone;

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use crate::config::Network;
use crate::error::{Error, Result};
use crate::files::{self, Lock};
use crate::lease::{Attachment, Lease};
use server::Server;
use zone::{MARKER, Zone};

pub(crate) use settle::Pending;

/// How the file of a network without a way out ends.
const INTERNAL: &str = "%int";

/// The name server's directory.
#[derive(Debug)]
pub(crate) struct Names {
    server: Server,
    /// Held while a file is changed.
    lock: PathBuf,
    /// Held while the server reads; tells how long it took it.
    reading: PathBuf,
    /// How many changes there have been.
    counter: PathBuf,
    scratch: PathBuf,
    /// Whether the host resolves the names, too.
    pub(crate) on_host: bool,
}

impl Names {
    /// The directory `dns` beside `runtime_dir`.
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self {
            server: Server::new(runtime_dir.with_file_name("dns")),
            lock: runtime_dir.join("dns.lock"),
            reading: runtime_dir.join("dns.reading"),
            counter: runtime_dir.join("dns.changes"),
            scratch: runtime_dir.join(".dns"),
            on_host: false,
        }
    }

    /// Whether the server is installed.
    pub(crate) fn available(&self) -> bool {
        self.server.is_installed()
    }

    /// Makes the container's names known in its networks, and waits until they are
    /// answered.
    pub(crate) fn join(&self, lease: &Lease) -> Result<()> {
        let pending = self.publish(lease)?;
        self.settle(&pending)?;
        if self.on_host {
            pending.first_in.iter().for_each(host::route);
        }
        Ok(())
    }

    /// Writes down the names of a lease as they are now.
    pub(crate) fn publish(&self, lease: &Lease) -> Result<Pending> {
        let mut pending = Pending::default();
        if lease.dns_servers.is_empty() {
            return Ok(pending);
        }
        files::make_directory(self.server.directory())?;
        let _lock = Lock::acquire(&self.lock)?;
        for attachment in answering(lease) {
            let line = zone::line(lease, attachment);
            if !self.is_asked(lease, &attachment.network) {
                continue;
            }
            if !self.path(&attachment.network).exists() {
                pending.first_in.push(attachment.network.clone());
            }
            let asked = self.rewrite(&attachment.network, &lease.holder.id, Some(line))?;
            pending.add(self.path(&attachment.network), asked);
        }
        Ok(pending)
    }

    /// Forgets the container's names: when it returns, nobody is told them any more.
    pub(crate) fn leave(&self, lease: &Lease) -> Result<()> {
        if lease.dns_servers.is_empty() || !self.server.directory().exists() {
            return Ok(());
        }
        let mut pending = Pending::default();
        {
            let _lock = Lock::acquire(&self.lock)?;
            // Of a start that was killed while it wrote.
            files::remove(&self.scratch)?;
            for attachment in answering(lease) {
                let asked = self.rewrite(&attachment.network, &lease.holder.id, None)?;
                pending.add(self.path(&attachment.network), asked);
            }
        }
        if !self.server.is_running() {
            // It will read the files as they are now.
            if !self.server.has_networks() {
                self.server.call_off();
            }
            return Ok(());
        }
        if pending.is_empty() {
            // Nobody is left who could ask.
            self.server.notify();
        }
        self.settle(&pending)
    }

    /// Gives the server a network's definition anew: where to listen, whom to ask, and
    /// whether there is a way out.
    pub(crate) fn renew(&self, before: &Network, now: &Network) -> Result<()> {
        let (old, new) = (self.path(before), self.path(now));
        let mut pending = Pending::default();
        {
            let _lock = Lock::acquire(&self.lock)?;
            // Of a change that was killed between the two.
            let mut zone = Zone::read(if old.exists() { &old } else { &new })?;
            let is_changed = self.renew_header(&mut zone, now);
            if zone.is_empty() || (old == new && !is_changed) {
                return Ok(());
            }
            zone.generation = self.next_generation()?;
            zone.write(&new, &self.scratch)?;
            if old != new {
                files::remove(&old)?;
            }
            pending.add(new, zone.question());
        }
        self.settle(&pending)
    }

    /// Forgets a network that nobody holds.
    pub(crate) fn forget(&self, network: &Network) -> Result<()> {
        let path = self.path(network);
        if !path.exists() {
            return Ok(());
        }
        let _lock = Lock::acquire(&self.lock)?;
        files::remove(&path)?;
        self.server.notify();
        Ok(())
    }

    /// Whether the container was told to ask a server of this network: on a bridge of others there may have been none.
    fn is_asked(&self, lease: &Lease, network: &Network) -> bool {
        self.servers(network).is_ok_and(|all| all.iter().any(|server| lease.dns_servers.contains(server)))
    }

    /// Replaces, adds or takes out the line of a container; returns whom to ask for which generation of the file,
    /// absent if there is none any more. The caller holds the lock.
    fn rewrite(&self, network: &Network, id: &str, line: Option<String>) -> Result<Option<(IpAddr, u32)>> {
        let path = self.path(network);
        let mut zone = Zone::read(&path)?;
        let is_changed = zone.change(id, line) | self.renew_header(&mut zone, network);
        if zone.is_empty() {
            files::remove(&path)?;
            return Ok(None);
        }
        if is_changed {
            zone.generation = self.next_generation()?;
            zone.write(&path, &self.scratch)?;
        }
        Ok(zone.question())
    }

    /// Sets the first line as it should be now; tells whether that changes anything. Without a place to listen it
    /// stays: the file is of no use then, but it is a whole one.
    fn renew_header(&self, zone: &mut Zone, network: &Network) -> bool {
        self.servers(network).is_ok_and(|servers| zone.set_header(zone::header(network, &servers)))
    }

    /// A number that no file had before.
    fn next_generation(&self) -> Result<u32> {
        let last: u32 = files::read_json(&self.counter)?.unwrap_or(0);
        let next = last.wrapping_add(1);
        let text = next.to_string();
        files::write(&self.counter, &self.scratch, text.as_bytes(), files::Durability::Volatile)?;
        Ok(next)
    }

    /// The server takes a network whose name ends so for one without a way out.
    fn path(&self, network: &Network) -> PathBuf {
        let suffix = if network.internal { INTERNAL } else { "" };
        self.server.directory().join(format!("{}{suffix}", network.name))
    }
}

/// Refuses what can't be a name in DNS, or would break the server's files.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check(name: &str) -> Result<()> {
    let invalid = |why: &str| Error::Invalid {
        what: "name of a container",
        value: name.to_owned(),
        why: why.to_owned(),
    };
    let good = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if !good {
        return Err(invalid("a name is made of letters, digits, _ . -"));
    }
    if name.eq_ignore_ascii_case(MARKER) {
        return Err(invalid("sampan itself asks the name server for this name"));
    }
    Ok(())
}

fn answering(lease: &Lease) -> impl Iterator<Item = &Attachment> {
    lease.attachments.iter().filter(|attachment| attachment.network.dns_enabled)
}
