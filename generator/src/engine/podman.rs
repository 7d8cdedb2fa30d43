//! Containers, pods and Kubernetes YAML as Podman's Quadlet writes them: conmon stays as the main process, `podman rm` cleans
//! up.

use super::{ContainerPlan, KubePlan, PodPlan};
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

/// Completes the service of a pod: the conmon of its infra container is the main process.
pub(super) fn pod(service: &mut Service, plan: &PodPlan) {
    let PodPlan { name, base, create, stop_timeout, .. } = plan;
    let stop = base.with(["pod", "stop", "--ignore", &format!("--time={stop_timeout}"), name]);
    let remove = base.with(["pod", "rm", "--ignore", "--force", name]);
    service.add("Service", "ExecStart", base.with(["pod", "start", name]).value());
    service.add("Service", "ExecStop", stop.value());
    service.add("Service", "ExecStopPost", remove.value());
    service.add("Service", "ExecStartPre", create.value());
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.set("Service", "Type", "forking");
    service.set("Service", "PIDFile", "%t/%N.pid");
    service.set_default("Service", "Restart", "on-failure");
}

/// Completes the service of Kubernetes YAML: the conmon of its service container is the main process.
pub(super) fn kube(service: &mut Service, plan: &KubePlan) {
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    if !plan.oneshot {
        service.set("Service", "Type", "notify");
        service.set("Service", "NotifyAccess", "all");
    }
    service.set_default("Service", "SyslogIdentifier", "%N");
    service.add("Service", "ExecStart", plan.play.value());
    service.add("Service", "ExecStopPost", plan.down.value());
}
