//! Containers as Podman's Quadlet writes them: conmon stays as the main process, `podman rm` cleans
//! up.

use super::ContainerPlan;
use crate::service::Service;

/// Completes the service of a container.
pub(super) fn container(service: &mut Service, plan: &ContainerPlan) {
    let remove = plan.base.with(["rm", "-v", "-f", "-i", &plan.name]);
    let remove = remove.value();
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.add("Service", "ExecStop", remove);
    // Runs also when the main process was killed, when ExecStop= doesn't.
    service.add("Service", "ExecStopPost", format!("-{remove}"));
    if let Some(reload) = &plan.reload {
        service.add("Service", "ExecReload", reload.value());
    }
    service.add("Service", "Delegate", "yes");
    if !plan.oneshot {
        service.set("Service", "Type", "notify");
        service.set("Service", "NotifyAccess", "all");
    }
    service.set_default("Service", "SyslogIdentifier", "%N");
    service.add("Service", "ExecStart", plan.run.value());
}
