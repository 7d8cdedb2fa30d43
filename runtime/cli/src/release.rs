//! Giving back what a container holds: address, ports, names, writable layer, state.
//!
//! Idempotent, in an order that can be broken off anywhere: the state goes last, so that what is left can be found
//! again. The end of a unit, `sampan rm` and the next start of the same name all come here.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context as _;
use sampan_container::process;
use sampan_container::state::{ContainerDir, State};

use crate::context::Context;
use crate::pod;

/// The kernel ends a process within milliseconds; one that sits in a broken file system never ends.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// Ends the container's first process if it lives, and gives everything back. The caller holds the lock.
///
/// # Errors
/// The process doesn't end, or something can't be given back; the state is then still there.
pub(crate) fn release(context: &Context, container: &ContainerDir) -> anyhow::Result<()> {
    // Without a readable state the container was never made: there is a directory at the most.
    if let Ok(state) = container.read() {
        kill(&state)?;
        release_resources(context, container, &state)?;
    }
    let layer = context.writable_layer(container.name());
    match std::fs::remove_dir_all(&layer) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("removing the writable layer {}", layer.display()));
        }
        _ => {}
    }
    container.remove().with_context(|| format!("removing the state of {}", container.name()))
}

/// Gives back what a container that has ended must not hold any longer: its networks. State and layer stay.
///
/// # Errors
/// The network's.
pub(crate) fn release_resources(
    context: &Context,
    container: &ContainerDir,
    state: &State,
) -> anyhow::Result<()> {
    pod::leave(context, state)?;
    if state.pod.is_some() || (state.networks.is_empty() && !container.path().join(LEASED).exists()) {
        return Ok(());
    }
    context
        .networks()?
        .release(&state.id)
        .with_context(|| format!("releasing the networks of {}", container.name()))
}

/// Stands from before the reservation on: a start that is killed in between holds addresses that no state names.
pub(crate) const LEASED: &str = "leased";

/// SIGKILL, and the certainty that it has worked.
///
/// # Errors
/// The process is still there after [`KILL_TIMEOUT`].
pub(crate) fn kill(state: &State) -> anyhow::Result<()> {
    let Some(pid) = state.pid else { return Ok(()) };
    let Some(pidfd) = process::open(pid, state.start_time)? else { return Ok(()) };
    process::signal(pidfd.as_fd(), nix::libc::SIGKILL)?;
    anyhow::ensure!(
        process::wait(pidfd.as_fd(), Some(KILL_TIMEOUT))?,
        "process {pid} of container {} does not end: see /proc/{pid}/stack for what it waits for",
        state.name
    );
    Ok(())
}
