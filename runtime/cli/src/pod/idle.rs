//! The end of a pod whose last container has ended (`ExitPolicy=stop`).
//!
//! Called by a unit beside the pod's, which systemd starts when a container's service has ended for good
//! (`OnSuccess=`, `OnFailure=`: not when it will be restarted). Whether there is another container that runs, or is
//! about to, systemd knows better than our state: it has the jobs.

use std::process::ExitCode;

use anyhow::Context as _;
use sampan_container::state::Status;
use sampan_status::systemd::Systemd;

use super::remove;
use super::state::ExitPolicy;
use crate::context::Context;

/// Stops the service of a pod without running containers, unless its policy is to stay.
pub(super) fn run(name: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let found = context.pods().list()?.into_iter().find(|directory| directory.name() == name);
    // No pod: it was what ended its containers.
    let Some(pod) = found.and_then(|directory| directory.read().ok()) else { return Ok(ExitCode::SUCCESS) };
    let Some(unit) = pod.unit.as_deref().filter(|_| pod.exit_policy == ExitPolicy::Stop) else {
        return Ok(ExitCode::SUCCESS);
    };
    let lives =
        remove::containers(context, &pod)?.iter().any(|(_, state)| state.live_status() != Status::Stopped);
    if lives {
        return Ok(ExitCode::SUCCESS);
    }
    let systemd = Systemd::system().with_context(|| format!("connecting to systemd to stop {unit}"))?;
    let service = systemd.unit(unit)?;
    if service.has_job || service.active_state != "active" {
        return Ok(ExitCode::SUCCESS);
    }
    for bound in &service.bound_by {
        let member = systemd.unit(bound)?;
        if member.has_job || !matches!(member.active_state.as_str(), "inactive" | "failed") {
            return Ok(ExitCode::SUCCESS);
        }
    }
    println!("the last container of the pod {name} has ended: stopping {unit} (ExitPolicy=stop)");
    systemd.stop(unit)?;
    Ok(ExitCode::SUCCESS)
}
