//! The firewall: one nftables table, `inet sampan`, made of maps and sets.
//!
//! [`table.nft`](table) holds every rule there ever is; `nft` loads it once per
//! boot, with the elements of all containers. Publishing a port adds an element to a map, over netlink and without
//! any process, so a start costs the same beside 10 or 1,000 other containers.
//!
//! - [`elements`]: which elements a network and a container have;
//! - [`connections`]: flows that outlive a change of where a port leads;
//! - [`sets`]: the sets and maps, and how an element is spelled;
//! - [`firewalld`]: what a host's own firewall must know of a bridge;
//! - [`message`]: how an element looks in a netlink message;
//! - [`Firewall`]: adds, compares and removes them.

pub(crate) mod connections;
pub(crate) mod elements;
pub(crate) mod firewalld;
mod message;
mod sets;
mod table;

use netlink_packet_core::NLM_F_CREATE;
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::files::Lock;
use crate::kernel::netlink::{Batch, Socket};
use elements::Element;

/// How many elements one message carries; all of them stay below the 64 KiB that
/// an attribute can hold.
const ELEMENTS_PER_MESSAGE: usize = 256;

/// What a transaction as a whole does, in words.
const TRANSACTION: &str = "change table inet sampan";

/// A connection to nf_tables in the calling thread's network namespace.
#[derive(Debug)]
pub(crate) struct Firewall {
    socket: Socket,
}

impl Firewall {
    /// Connects.
    pub(crate) fn open() -> Result<Self> {
        Ok(Self { socket: Socket::open(netlink_sys::protocols::NETLINK_NETFILTER)? })
    }

    /// Whether our table is there, complete and in this version's layout.
    pub(crate) fn has_table(&mut self) -> Result<bool> {
        let mut batch = Batch::default();
        batch.push_raw(
            message::GET_CHAIN,
            0,
            &message::chain(table::MARKER),
            &[Errno::NOENT],
            "look for table inet sampan",
        );
        Ok(!self.socket.run(batch)?.is_empty())
    }

    /// Loads our table with these elements, in place of any older one and without a
    /// moment in between. `lock` is the one of the runtime directory.
    pub(crate) fn load_table(&mut self, elements: &[Element], lock: &Lock) -> Result<()> {
        table::load(elements, lock)
    }

    /// Adds elements; one that is there already is left as it is.
    ///
    /// A key that leads elsewhere is a remainder of a crash, because the lease of
    /// the caller says that it owns the key: it is replaced.
    pub(crate) fn add(&mut self, elements: &[Element]) -> Result<()> {
        match self.change(message::NEW_ELEMENTS, NLM_F_CREATE, elements, "add") {
            Err(Error::Kernel { cause, .. })
                if cause.kind() == std::io::ErrorKind::ResourceBusy
                    || cause.kind() == std::io::ErrorKind::AlreadyExists =>
            {
                let stale = self.current(elements)?;
                self.change(message::DELETE_ELEMENTS, 0, &stale, "replace")?;
                self.change(message::NEW_ELEMENTS, NLM_F_CREATE, elements, "add")
            }
            result => result,
        }
    }

    /// Removes those of the elements that are there with these very values.
    pub(crate) fn remove(&mut self, elements: &[Element]) -> Result<()> {
        // A second release of the same container may be under way: look again
        // if an element vanished between the look and the removal.
        const ATTEMPTS: usize = 3;
        let mut attempt = 0;
        loop {
            let current = self.current(elements)?;
            let ours: Vec<Element> =
                current.into_iter().filter(|element| elements.contains(element)).collect();
            attempt += 1;
            match self.change(message::DELETE_ELEMENTS, 0, &ours, "remove") {
                Err(Error::Kernel { cause, .. })
                    if cause.kind() == std::io::ErrorKind::NotFound && attempt < ATTEMPTS => {}
                result => return result,
            }
        }
    }

    /// What the table has under the keys of these elements.
    pub(crate) fn current(&mut self, elements: &[Element]) -> Result<Vec<Element>> {
        let mut found = Vec::new();
        let mut rest = elements.iter().peekable();
        while rest.peek().is_some() {
            let mut batch = Batch::default();
            let mut asked = Vec::new();
            while !batch.is_full()
                && let Some(element) = rest.next()
            {
                batch.push_raw(
                    message::GET_ELEMENTS,
                    0,
                    &message::elements(element.set, std::slice::from_ref(&element.without_data())),
                    &[Errno::NOENT],
                    format!("look up {} in {}", element, element.set),
                );
                asked.push(element);
            }
            for (_, answer) in self.socket.run(batch)? {
                found.extend(message::parse_element(&answer));
            }
        }
        Ok(found)
    }

    /// One transaction that adds or deletes all of the elements, or none.
    fn change(&mut self, message_type: u16, flags: u16, elements: &[Element], verb: &str) -> Result<()> {
        if elements.is_empty() {
            return Ok(());
        }
        let mut batch = begin();
        for group in elements.chunk_by(|a, b| a.set == b.set) {
            for chunk in group.chunks(ELEMENTS_PER_MESSAGE) {
                let more = match chunk.len() {
                    1 => String::new(),
                    n => format!(" and {} more", n - 1),
                };
                batch.push_raw(
                    message_type,
                    flags,
                    &message::elements(chunk[0].set, chunk),
                    &[],
                    format!("{verb} {}{more} in {}", chunk[0], chunk[0].set),
                );
            }
        }
        self.commit(batch)
    }

    fn commit(&mut self, mut batch: Batch) -> Result<()> {
        batch.push_silent(message::BATCH_END, &message::batch(), TRANSACTION);
        self.socket.run(batch).map(drop)
    }
}

fn begin() -> Batch {
    let mut batch = Batch::default();
    batch.push_silent(message::BATCH_BEGIN, &message::batch(), TRANSACTION);
    batch
}
