//! Pods as sampan makes them: a service that has done its work when the namespaces are there, and for which nothing
//! runs.

use super::PodPlan;
use super::activation::{self, Woken};
use super::companion::Names;
use crate::service::Service;
use crate::specifiers::resolve;

/// What is put behind the name of a pod's service for the unit that ends it.
const IDLE: &str = "-idle";

/// Completes the service of a pod, and makes the units that go with it: the one that ends it with its last container,
/// and those that start it on demand.
pub(super) fn service(service: &mut Service, plan: &PodPlan) -> Vec<Service> {
    let PodPlan { name, base, create, stop_timeout, stops_when_idle, members, on_demand } = plan;
    let remove = base.with(["pod", "rm", "--ignore", "--force", &format!("--time={stop_timeout}"), name]);
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.set("Service", "Type", "oneshot");
    service.set("Service", "RemainAfterExit", "yes");
    service.add("Service", "ExecStart", create.value());
    // Runs also when the one above has failed or was killed.
    service.add("Service", "ExecStopPost", remove.value());
    service.set_default("Service", "Restart", "on-failure");
    super::sampan::may_write(service);
    let mut units = if *stops_when_idle { vec![idle(&service.name, plan)] } else { Vec::new() };
    if let Some(demand) = on_demand.as_ref().filter(|demand| !demand.listeners.is_empty()) {
        units.extend(activation::units(service, &Woken::Pod { name, base, members }, demand));
    }
    units
}

/// The unit that the services of the pod's containers start when they have ended.
pub(super) fn idle_unit(pod: &str) -> String {
    Names::of(pod).unit(IDLE, "service")
}

fn idle(pod: &str, plan: &PodPlan) -> Service {
    let names = Names::of(pod);
    let watched = names.watched();
    let mut idle = Service::new(names.file(IDLE, "service"));
    idle.add("Unit", "Description", format!("End of {watched} with its last container"));
    // Also while the machine shuts down, when containers end as well: it conflicts with nothing.
    idle.add("Unit", "DefaultDependencies", "no");
    // Each end counts, also the sixth within ten seconds: the last one must be seen.
    idle.add("Unit", "StartLimitIntervalSec", "0");
    idle.add("Service", "Type", "oneshot");
    let identifier = watched.trim_end_matches(".service");
    idle.add("Service", "SyslogIdentifier", crate::syntax::words::quote(identifier));
    // Keeps out systemd's own lines about each start, and lets the one about the end through.
    idle.add("Service", "LogLevelMax", "notice");
    idle.add("Service", "SyslogLevel", "notice");
    let name = resolve(&plan.name, &watched);
    idle.add("Service", "ExecStart", plan.base.with(["pod", "idle", &name]).value());
    idle
}
