//! Giving back what a pod holds: networks, names, namespaces, memory, state.
//!
//! Idempotent, in an order that can be broken off anywhere: the directory goes last, so that what is left can be
//! found again. The end of a pod's unit, `sampan pod rm` and the next start of the same name all come here.

use anyhow::Context as _;
use sampan_container::shared;
use sampan_container::state::{ContainerDir, State};
use sampan_status::systemd::Systemd;

use super::state::{Pod, PodDir};
use crate::context::Context;
use crate::run::unit;
use crate::{Coded, users};

/// podman-pod-rm(1), "Exit Status": the pod has containers.
const IN_USE: u8 = 2;

/// The containers of a pod.
///
/// # Errors
/// The containers can't be listed.
pub(crate) fn containers(context: &Context, pod: &Pod) -> anyhow::Result<Vec<(ContainerDir, State)>> {
    users::of(context, |state| state.pod.as_ref().is_some_and(|own| own.id == pod.id))
}

/// Removes a pod; with `force` after stopping and removing its containers. A pod whose service runs is removed by
/// that service's end, so that systemd knows.
///
/// # Errors
/// The pod has containers and `force` isn't given; one of them doesn't end.
pub(super) fn remove(context: &Context, directory: &PodDir, force: bool) -> anyhow::Result<()> {
    if let Ok(pod) = directory.read() {
        let inside = containers(context, &pod)?;
        if !inside.is_empty() && !force {
            let message = format!(
                "pod {} contains containers and cannot be removed without force: {}",
                pod.name,
                users::ids(&inside).join(", ")
            );
            return Err(Coded { code: IN_USE, message }.into());
        }
        if let Some(unit) = pod.unit.as_deref().filter(|unit| unit::own_unit().as_deref() != Some(unit)) {
            let systemd =
                Systemd::system().with_context(|| format!("connecting to systemd to stop {unit}"))?;
            match systemd.stop(unit) {
                // Its file is gone, and nobody but us is left to clean up.
                Ok(()) | Err(sampan_status::Error::NoSuchUnit(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    let Some(_lock) = directory.lock()? else { return Ok(()) };
    with_containers(context, directory)
}

/// Removes a pod and its containers. The caller holds the lock.
///
/// # Errors
/// A container doesn't end, or something can't be given back; the pod is then still there.
pub(super) fn with_containers(context: &Context, directory: &PodDir) -> anyhow::Result<()> {
    if let Ok(mut pod) = directory.read() {
        // From now on nobody starts in it.
        pod.is_complete = false;
        directory.write(&pod)?;
        users::remove(context, containers(context, &pod)?, None)?;
    }
    release(context, directory)
}

/// Gives everything of a pod back. The caller holds the lock.
///
/// # Errors
/// The network's, umount(2)'s.
pub(super) fn release(context: &Context, directory: &PodDir) -> anyhow::Result<()> {
    if let Ok(pod) = directory.read() {
        let released = context.networks()?.release(&pod.id);
        released.with_context(|| format!("releasing the networks of the pod {}", pod.name))?;
    }
    shared::let_go(directory.path())?;
    directory.remove()
}
