//! Kubernetes YAML as sampan plays it: a service that has done its work when all containers are up. Each of them is a
//! service of its own, and nothing runs for this one.

use super::KubePlan;
use super::companion::Names;
use crate::service::Service;
use crate::syntax::words;

/// What is put behind the name of the service for the unit that ends it. `sampan kube play` knows it as well.
const ENDED: &str = "-ended";

/// Completes the service, and makes the unit that ends it with its last container.
pub(super) fn service(service: &mut Service, plan: &KubePlan) -> Vec<Service> {
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.set("Service", "Type", "oneshot");
    service.set("Service", "RemainAfterExit", "yes");
    // systemd refuses these for what is done when it has started. The YAML says when a container is restarted.
    if matches!(service.last("Service", "Restart"), Some("always" | "on-success")) {
        service.set("Service", "Restart", "on-failure");
    }
    service.set_default("Service", "SyslogIdentifier", "%N");
    service.add("Service", "ExecStart", plan.play.value());
    // Runs also when the one above has failed or was killed.
    service.add("Service", "ExecStopPost", plan.down.value());
    super::sampan::may_write(service);
    vec![ended(&service.name, plan)]
}

/// The unit that the containers' services start when they have ended for good.
fn ended(kube: &str, plan: &KubePlan) -> Service {
    let names = Names::of(kube);
    let watched = names.watched();
    let mut ended = Service::new(names.file(ENDED, "service"));
    ended.add("Unit", "Description", format!("End of {watched} with its last container"));
    // Also while the machine shuts down, when containers end as well: it conflicts with nothing.
    ended.add("Unit", "DefaultDependencies", "no");
    // Each end counts, also the sixth within ten seconds: the last one must be seen.
    ended.add("Unit", "StartLimitIntervalSec", "0");
    // A container may end while others are still being started.
    ended.add("Unit", "After", watched.as_str());
    ended.add("Service", "Type", "oneshot");
    // The unit's end stops this one, which may have begun it.
    ended.add("Service", "SuccessExitStatus", "SIGTERM");
    let identifier = watched.trim_end_matches(".service");
    ended.add("Service", "SyslogIdentifier", words::quote(identifier));
    // Keeps out systemd's own lines about each start, and lets the one about the end through.
    ended.add("Service", "LogLevelMax", "notice");
    ended.add("Service", "SyslogLevel", "notice");
    ended.add("Service", "ExecStart", plan.base.with(["kube", "ended", &watched]).value());
    ended
}
