//! Leases whose holders are gone: a container's cleanup was killed, and nothing starts under its name again.
//!
//! Such a lease does no harm until somebody wants what it names, and that is when it is looked for: a
//! start that finds no free address, or whose address or port has a holder, asks whether the holders
//! that stand in its way are gone, gives their leases back and tries again. A start that finds what it wants
//! looks at nobody, however many there are.
//!
//! Whether a holder is gone is not known here but by whoever starts containers, see
//! [`Networks::with_obituaries`](crate::Networks::with_obituaries); without its word nobody is.

use std::any::Any;
use std::fmt;

use crate::error::{Error, Result};
use crate::lease::Holder;
use crate::networks::Networks;
use crate::release;

/// The certainty that a holder is gone, for as long as this is kept: it may hold a lock that a holder of this id
/// would need.
pub type Gone = Box<dyn Any>;

type Word = dyn Fn(&Holder) -> Option<Gone> + Send + Sync;

/// Tells whether a holder is gone.
pub(crate) struct Obituaries(pub(crate) Box<Word>);

impl Default for Obituaries {
    fn default() -> Self {
        Self(Box::new(|_| None))
    }
}

impl fmt::Debug for Obituaries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Obituaries")
    }
}

/// Does `attempt`, which doesn't hold the lock when it returns, and again for as long as leases of the dead
/// stood in its way: each turn gives back one at least, so it ends.
pub(crate) fn past_the_dead<T>(networks: &Networks, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    loop {
        let error = match attempt() {
            Err(error) => error,
            done => return done,
        };
        // The first error is the one to tell, not what else is wrong with the leases of others.
        match give_back(networks, &error) {
            Ok(0) => return Err(error),
            Ok(_) => {}
            Err(other) => {
                log::warn!("looking for leases whose containers are gone: {other}");
                return Err(error);
            }
        }
    }
}

/// Gives back the leases of the dead among those that stand in the way; how many.
fn give_back(networks: &Networks, error: &Error) -> Result<usize> {
    let mut count = 0;
    for id in in_the_way(networks, error)? {
        let Some(lease) = networks.lease(&id)? else { continue };
        // Kept until all is given back.
        let Some(_gone) = (networks.obituaries.0)(&lease.holder) else { continue };
        log::warn!(
            "container {:?} ({}) is gone, and its cleanup was killed: what it held of networks is given back",
            lease.holder.name,
            id.get(..12).unwrap_or(&id)
        );
        release::release(networks, &id)?;
        count += 1;
    }
    Ok(count)
}

/// The ids of those who have what is missing.
fn in_the_way(networks: &Networks, error: &Error) -> Result<Vec<String>> {
    let claims = &networks.claims;
    Ok(match error {
        Error::NoAddress { network, .. } => claims.holders(network)?,
        Error::AddressInUse { network, address, .. } => {
            claims.address_holder(network, *address)?.into_iter().collect()
        }
        Error::PortInUse { address, port, protocol, .. } => {
            claims.port_holder(*protocol, *port, *address)?.into_iter().collect()
        }
        Error::NoPort { .. } => networks.leases()?.into_iter().map(|lease| lease.holder.id).collect(),
        _ => Vec::new(),
    })
}
