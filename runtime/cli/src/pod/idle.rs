//! The end of a pod whose last container has ended (`ExitPolicy=stop`).
//!
//! Called by a unit beside the pod's, which systemd starts when a container's service has ended for good
//! (`OnSuccess=`, `OnFailure=`: not when it will be restarted). Whether there is another container that runs, or is
//! about to, systemd knows better than our state: it has the jobs.

use std::process::ExitCode;

use anyhow::Context as _;
use sampan_container::state::{ContainerDir, State, Status};
use sampan_status::systemd::Systemd;

use super::state::ExitPolicy;
use super::{remove, settled};
use crate::context::Context;

/// Stops the service of a pod without running containers, unless its policy is to stay.
pub(super) fn run(name: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let found = context.pods().list()?.into_iter().find(|directory| directory.name() == name);
    // No pod: it was what ended its containers.
    let Some(pod) = found.and_then(|directory| directory.read().ok()) else { return Ok(ExitCode::SUCCESS) };
    let Some(unit) = pod.unit.as_deref().filter(|_| pod.exit_policy == ExitPolicy::Stop) else {
        return Ok(ExitCode::SUCCESS);
    };
    let systemd = Systemd::system().with_context(|| format!("connecting to systemd to stop {unit}"))?;
    let members = systemd.unit(unit)?.bound_by;
    if settled::ended(unit, &members, &systemd)?.is_none() {
        return Ok(ExitCode::SUCCESS);
    }
    // One that no unit has.
    let is_up = |(_, state): &(ContainerDir, State)| state.live_status() != Status::Stopped;
    if remove::containers(context, &pod)?.iter().any(is_up) {
        return Ok(ExitCode::SUCCESS);
    }
    println!("the last container of the pod {name} has ended: stopping {unit} (ExitPolicy=stop)");
    systemd.stop(unit)?;
    Ok(ExitCode::SUCCESS)
}
