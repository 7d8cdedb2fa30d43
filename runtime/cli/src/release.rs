//! Giving back what a container holds: address, ports, names, writable layer, state.
//!
//! Idempotent, in an order that can be broken off anywhere: the state goes last, so that what is left can be found
//! again. The end of a unit, `sampan rm` and the next start of the same name all come here.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::Context as _;
use sampan_container::state::{ContainerDir, State};
use sampan_container::{Error, process};

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
    remove_layer(context, container.name())?;
    container.remove().with_context(|| format!("removing the state of {}", container.name()))
}

/// Removes the writable layer of a container; none is no error.
///
/// A power cut takes the state of all containers and leaves their layers. A new container of the name must not begin
/// with them: what was not synced is damaged, and the kernel mounts no overlay where a volatile one was.
///
/// # Errors
/// rmdir(2)'s and unlink(2)'s.
pub(crate) fn remove_layer(context: &Context, name: &str) -> anyhow::Result<()> {
    let layer = context.writable_layer(name);
    match std::fs::remove_dir_all(&layer) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing the writable layer {}", layer.display()))
        }
        _ => Ok(()),
    }
}

/// The names of containers that are gone and have left a writable layer, as a power cut leaves them.
///
/// # Errors
/// The directory of the layers can't be read.
pub(crate) fn left_layers(context: &Context) -> anyhow::Result<Vec<String>> {
    let directory = context.writable_layer("");
    let entries = match std::fs::read_dir(&directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {}", directory.display()))?,
    };
    // The layers first: a container's state is there before its layer is.
    let names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let containers = context.containers()?;
    let is_gone = |name: &String| matches!(containers.get(name), Err(Error::NoSuchContainer(_)));
    Ok(names.into_iter().filter(is_gone).collect())
}

/// Removes what [`left_layers`] found, unless a container has taken the name since.
///
/// # Errors
/// See [`remove_layer`].
pub(crate) fn remove_left_layer(context: &Context, name: &str) -> anyhow::Result<()> {
    // Who has the name has the layer.
    match context.containers()?.create(name) {
        Ok(container) => {
            let _lock = container.lock()?;
            let removed = remove_layer(context, name);
            container.remove().with_context(|| format!("letting go of the name {name}"))?;
            removed
        }
        Err(Error::Exists(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
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
