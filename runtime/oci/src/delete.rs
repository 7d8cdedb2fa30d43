//! `delete`.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sampan_container::hooks::Hooks;
use sampan_container::state::{ContainerDir, State, Status};
use sampan_container::{Error, process};

use crate::args::{Delete, Global};
use crate::cgroup;
use crate::sys::Pattern;

/// How long a killed process may take to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Deletes a container.
pub(crate) fn delete(global: &Global, options: &Delete) -> Result<u8> {
    if options.regex {
        return delete_matching(global, options);
    }
    let dir = match global.containers()?.get(&options.id) {
        // A name that can't be one's is one's that doesn't exist.
        Err(Error::NoSuchContainer(_)) if options.force => return Ok(0),
        dir => dir?,
    };
    delete_and_tell(global, &dir, options.force)?;
    Ok(0)
}

/// Deletes all containers with names that match. What one of them is in the way of doesn't keep the others.
fn delete_matching(global: &Global, options: &Delete) -> Result<u8> {
    let pattern = Pattern::new(&options.id).context("--regex")?;
    let mut failed = 0;
    for dir in global.containers()?.list()?.iter().filter(|dir| pattern.matches(dir.name())) {
        if let Err(error) = delete_and_tell(global, dir, options.force) {
            crate::messages::error(global, &crate::messages::words(&error));
            failed = 1;
        }
    }
    Ok(failed)
}

/// Deletes a container and runs the hooks for that.
pub(crate) fn delete_and_tell(global: &Global, dir: &ContainerDir, force: bool) -> Result<()> {
    let _lock = dir.lock()?;
    let state = match dir.read() {
        // Its maker was killed before it could write anything.
        Err(Error::NoSuchContainer(_)) => return Ok(dir.remove()?),
        state => state?,
    };
    let spec = if state.hooks { dir.read_spec().ok() } else { None };
    end(&state, force)?;
    remove(dir, &state)?;
    if let Some(spec) = spec {
        tell(global, &Hooks::new(&spec, &state.id, &state.bundle));
    }
    Ok(())
}

/// Runs the hooks for a container that has been deleted. What goes wrong there is only reported.
pub(crate) fn tell(global: &Global, hooks: &Hooks) {
    for error in hooks.poststop() {
        crate::messages::warning(global, &error.to_string());
    }
}

/// Ends the container's first process, and with it those of its PID namespace. Without `force`, only of a container
/// that was created and never started.
fn end(state: &State, force: bool) -> Result<()> {
    let status = state.live_status();
    if !force && matches!(status, Status::Running | Status::Paused) {
        bail!(
            "cannot delete container {:?} that is not stopped: it is {status}; stop it first, or use --force",
            state.name
        );
    }
    // What is frozen can be killed, too, in version 2.
    let pidfd = match state.pid {
        Some(pid) => process::open(pid, state.start_time)?,
        None => None,
    };
    if let Some(pidfd) = pidfd {
        process::signal(pidfd.as_fd(), libc::SIGKILL)?;
        if !process::wait(pidfd.as_fd(), Some(PATIENCE))? {
            bail!("container {:?}: its first process doesn't end", state.name);
        }
    }
    Ok(())
}

/// Removes all that there is of a container whose first process has ended: its cgroup with whoever is left in there,
/// groups of resctrl, mounts, and its directory.
pub(crate) fn remove(dir: &ContainerDir, state: &State) -> Result<()> {
    cgroup::remove(state, PATIENCE)?;
    if state.resource_groups
        && let Some(rdt) = dir.read_spec()?.linux().as_ref().and_then(|l| l.intel_rdt().as_ref())
    {
        process::remove_groups(rdt, &state.id)?;
    }
    if let (Some(mount), Some(rootfs)) = (state.root_mount, &state.rootfs) {
        sampan_container::mount::take_down(&dir.read_spec()?, rootfs, mount)?;
    }
    Ok(dir.remove()?)
}
