//! Sockets that systemd passes to a service: taken from the caller, given to the container's program.
//!
//! The protocol is that of sd_listen_fds(3): descriptors from 3 on, `LISTEN_FDS` with their number, `LISTEN_PID` with
//! the process that they are for, `LISTEN_FDNAMES`. Until the program has them they are close-on-exec, so that nobody
//! else does: no hook, no name server, no other program that is run meanwhile. `LISTEN_PIDFDID` isn't passed on: it is
//! of the process that was meant, and only an addition to `LISTEN_PID`.

use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::FdFlags;

use crate::error::{Call, Result};
use crate::sys;

/// The variable with the process that the sockets are for.
const PID: &str = "LISTEN_PID";
const COUNT: &str = "LISTEN_FDS";

const NAMES: &str = "LISTEN_FDNAMES";

/// Whom a connection comes from (systemd.socket(5), `Accept=`).
const PEER: [&str; 2] = ["REMOTE_ADDR", "REMOTE_PORT"];

/// The variables of the protocol, which mean something to one process only.
pub const VARIABLES: [&str; 6] = [COUNT, PID, "LISTEN_PIDFDID", NAMES, "REMOTE_ADDR", "REMOTE_PORT"];

/// Sockets that were passed to this process. Dropping them closes them.
#[derive(Debug, Default)]
pub struct Sockets {
    count: u32,
    descriptors: Vec<OwnedFd>,
    variables: Vec<String>,
}

impl Sockets {
    /// Takes the sockets that were passed to this process. `to_anyone` takes those too that name no process: some
    /// callers mean whom they call.
    ///
    /// What this process has opened itself is close-on-exec and never taken for one that was said to come and didn't.
    pub fn take(to_anyone: bool) -> Self {
        let is_ours = match std::env::var(PID) {
            Ok(pid) => pid == std::process::id().to_string(),
            Err(_) => to_anyone,
        };
        let count = std::env::var(COUNT).ok().and_then(|count| count.parse().ok()).filter(|_| is_ours);
        let count = count.unwrap_or(0);
        let mut variables = Vec::new();
        if count > 0 {
            variables.extend([format!("{COUNT}={count}"), format!("{PID}=1")]);
            variables.extend(variable(NAMES));
        }
        // A connection may be the standard input instead.
        if count > 0
            || std::env::var("SYSTEMD_EXEC_PID").is_ok_and(|pid| pid == std::process::id().to_string())
        {
            variables.extend(PEER.into_iter().filter_map(variable));
        }
        Self { count, descriptors: sys::descriptors::take_passed(count), variables }
    }

    /// How many descriptors from 3 on are the program's, as the caller has said.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Whether none were passed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What the program's environment says of them, `NAME=VALUE`. It is the first process of its PID namespace; where it
    /// turns out not to be, its process puts its own number there.
    pub fn variables(&self) -> &[String] {
        &self.variables
    }

    /// Gives them to what the calling process executes next: they stay open from here on.
    ///
    /// # Errors
    /// fcntl(2)'s.
    pub fn give(self) -> Result<()> {
        self.descriptors.into_iter().try_for_each(|socket| {
            rustix::io::fcntl_setfd(&socket, FdFlags::empty())
                .call(|| "fcntl(F_SETFD) of a passed socket".into())?;
            let _ = socket.into_raw_fd();
            Ok(())
        })
    }

    /// The sockets, without those that were said to come and didn't.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd)
    }
}

/// An entry of this process's environment.
fn variable(name: &str) -> Option<String> {
    Some(format!("{name}={}", std::env::var(name).ok()?))
}
