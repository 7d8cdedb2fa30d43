//! Whether the holder of a network's lease is gone: nobody is in its namespace, and nobody is on the way there.
//!
//! The end of a service gives a lease back, and so does the next start of the same name. If that cleanup is killed and
//! no start comes, the lease stays, and somebody else finds its address or port taken. Taking it must never hit a
//! container that lives, so the word is only given on proof:
//!
//! - Ids of containers and pods are random, and no later one has the same: who is gone once is gone for good, and
//!   what is given back by its id is nobody else's.
//! - A container's directory is made and locked before its lease is, and removed after it. Its lock is held by whoever
//!   starts it, until its first process is written down, and by whoever cleans up. So a lease whose id is in the state
//!   of no directory of its name, with nobody having the lock, is of a start that was killed; one whose id is there
//!   has an owner until the first process has ended. Whether that is so is told by number and start time.
//! - A pod's directory names its id before there is a lease, and its removal writes down first that it isn't complete.
//!   One that is complete is there, whatever became of its service.
//! - A build has the same id each time, and holds a lock for as long as it lives: that one is taken, and
//!   kept until the lease is given back.
//!
//! Whatever can't be read is no proof.

use std::fs::{File, TryLockError};
use std::io::ErrorKind;

use anyhow::Context as _;
use sampan_container::Error;
use sampan_container::state::{State, Status};
use sampan_network::{Gone, Holder};

use crate::context::Context;

/// The certainty that a holder is gone; absent if it lives, or if that isn't certain.
pub(crate) fn gone(context: &Context, holder: &Holder) -> Option<Gone> {
    let certain = || -> anyhow::Result<Option<Gone>> {
        if may_be_container(context, holder)? || may_be_pod(context, holder)? {
            return Ok(None);
        }
        build(context, holder)
    };
    certain().unwrap_or_else(|error| {
        log::debug!("whether container {:?} is gone can't be told: {error:#}", holder.name);
        None
    })
}

/// Whether it is a container that lives or is about to.
fn may_be_container(context: &Context, holder: &Holder) -> anyhow::Result<bool> {
    let container = match context.containers()?.get(&holder.name) {
        // By name, and not by the beginning of an id.
        Ok(container) if container.name() == holder.name => container,
        Ok(_) | Err(Error::NoSuchContainer(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    let lives = |state: &State| {
        state.id == holder.id && state.pid.is_some() && state.live_status() != Status::Stopped
    };
    // Without its lock first: who starts a container of this name just now would find it taken.
    if container.read().is_ok_and(|state| lives(&state)) {
        return Ok(true);
    }
    let lock = match container.try_lock() {
        Ok(lock) => lock,
        Err(Error::NoSuchContainer(_)) => return Ok(false),
        Err(error) => return Err(error.into()),
    };
    if lock.is_none() {
        return Ok(true);
    }
    // With the lock in hand: whoever writes a state has it.
    Ok(match container.read() {
        // Without a process its start was killed, or its end has let go of its networks already.
        Ok(state) => lives(&state),
        Err(Error::NoSuchContainer(_)) => false,
        // Damaged: nobody knows whose it is.
        Err(_) => true,
    })
}

/// Whether it is a pod that is there or is being made.
fn may_be_pod(context: &Context, holder: &Holder) -> anyhow::Result<bool> {
    for directory in context.pods().list()? {
        if directory.name() != holder.name {
            continue;
        }
        if !directory.is_at_rest()? {
            return Ok(true);
        }
        // One that can't be read was killed before there was a lease, or is one that has come just now.
        return Ok(directory.read().is_ok_and(|pod| pod.id == holder.id && pod.is_complete));
    }
    Ok(false)
}

/// The lock of the build that has this id, if nobody has it.
fn build(context: &Context, holder: &Holder) -> anyhow::Result<Option<Gone>> {
    let path = context.runroot().join(format!("{}.lock", holder.id));
    let file = match File::options().write(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Some(Box::new(()))),
        file => file.with_context(|| format!("opening {}", path.display()))?,
    };
    match file.try_lock() {
        Ok(()) => Ok(Some(Box::new(file))),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("locking {}", path.display())),
    }
}
