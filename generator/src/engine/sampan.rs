//! Containers as sampan runs them: the container's first process is the service's main process,
//! and nothing of ours stays beside it.

use super::activation::{self, Woken};
use super::companion::Names;
use super::{ContainerPlan, HostUser};
use crate::command::CommandLine;
use crate::service::Service;
use crate::specifiers::resolve;
use crate::syntax::{values, words};
use std::borrow::Cow;

/// What `sampan run` writes to, for services that systemd shuts out of it.
const DIRECTORIES: &str = "-%t/sampan -%S/sampan -%C/sampan";

/// Completes the service of a container, and makes the units that go with it.
pub(super) fn container(service: &mut Service, plan: &ContainerPlan) -> Vec<Service> {
    let root = plan.root;
    service.add("Service", "Environment", "PODMAN_SYSTEMD_UNIT=%n");
    service.add("Service", "ExecStop", root.beside(&plan.base.with(["service", "stop", &plan.name])));
    // No "-" before it: when a SIGKILL was not asked for, this dies by a signal, and that must count.
    service.add("Service", "ExecStopPost", root.beside(&plan.base.with(["service", "cleanup", &plan.name])));
    if let Some(reload) = &plan.reload {
        service.add("Service", "ExecReload", root.beside(reload));
    }
    supervision(service, plan);
    limits(service, plan);
    host_user(service, root);
    service.set_default("Service", "SyslogIdentifier", "%N");
    service.add("Service", "LogExtraFields", words::quote(&format!("CONTAINER_NAME={}", plan.name)));
    service.add("Service", "ExecStart", root.start(&plan.run));
    // A oneshot service is over when it is started: there is nothing left to check.
    let mut units = if plan.oneshot { Vec::new() } else { health(service, plan) };
    if let Some(demand) = plan.on_demand.as_ref().filter(|demand| !demand.listeners.is_empty()) {
        let woken = Woken::Container { name: &plan.name, base: &plan.base };
        units.extend(activation::units(service, &woken, demand));
    }
    units
}

/// Only root can make a container, so our commands have root's privileges also where `User=` says
/// otherwise (systemd.service(5), "COMMAND LINES"); the container itself has none of them.
impl HostUser {
    /// The line that starts the container.
    fn start(self, command: &CommandLine) -> Cow<'_, str> {
        match self {
            Self::Root => command.value().into(),
            // Keeps the other settings of systemd.exec(5).
            Self::Named => format!("!{}", command.value()).into(),
            // DynamicUser= implies RestrictSUIDSGID=, whose filter takes openat2(2) away, which confines
            // paths in the container, and keeps image layers from being unpacked: "+" drops it.
            Self::Dynamic => format!("+{}", command.value()).into(),
        }
    }

    /// A line that acts on the running container.
    fn beside(self, command: &CommandLine) -> Cow<'_, str> {
        match self {
            Self::Root => command.value().into(),
            Self::Named | Self::Dynamic => format!("+{}", command.value()).into(),
        }
    }
}

/// What lets `sampan run` learn the unit's user, and write where it has to.
fn host_user(service: &mut Service, root: HostUser) {
    if root != HostUser::Root && service.last("Service", "RuntimeDirectory").is_none_or(str::is_empty) {
        // Its owner is the user: $USER has no number, and no group.
        service.add("Service", "RuntimeDirectory", "sampan-user-%N");
    }
    may_write(service);
}

/// Opens our directories to services for which `ProtectSystem=strict` has closed everything.
pub(super) fn may_write(service: &mut Service) {
    if service.last("Service", "ProtectSystem") == Some("strict") {
        service.add("Service", "ReadWritePaths", DIRECTORIES);
    }
}

/// How systemd watches the container's first process.
fn supervision(service: &mut Service, plan: &ContainerPlan) {
    service.add("Service", "Delegate", "yes");
    if !plan.oneshot {
        service.set("Service", "Type", "notify");
    }
    // Only the main process may speak for the service; it hands the role to the container itself.
    service.set("Service", "NotifyAccess", "main");
    // A process without handlers can only be stopped by SIGKILL: our own is no failure.
    service.add("Service", "SuccessExitStatus", "SIGKILL");
    stop_timeout(service, plan);
    // Delegate= would turn this into "continue", and an OOM kill would look like any SIGKILL.
    service.set_default("Service", "OOMPolicy", "stop");
    // The first process of a PID namespace ignores SIGABRT, systemd's own choice.
    let watched =
        service.last("Service", "WatchdogSec").is_some_and(|time| !matches!(time, "" | "0" | "infinity"));
    if watched {
        service.set_default("Service", "WatchdogSignal", "SIGKILL");
    }
}

/// systemd must wait longer than the container's stop takes, or it kills before the time is over.
fn stop_timeout(service: &mut Service, plan: &ContainerPlan) {
    // The shortest default that distributions ship is 45 s.
    const DEFAULT: u64 = 45;
    // For clean-up after the container's end.
    const MORE: u64 = 15;
    let is_set = ["TimeoutStopSec", "TimeoutSec"].iter().any(|key| service.has("Service", key));
    if let Some(seconds) = plan.stop_timeout.filter(|seconds| !is_set && seconds + MORE > DEFAULT) {
        service.add("Service", "TimeoutStopSec", (seconds + MORE).to_string());
    }
}

/// The container's limits are the service's, unless the file sets those itself.
fn limits(service: &mut Service, plan: &ContainerPlan) {
    let memory = plan.memory.as_deref().and_then(values::bytes).filter(|bytes| *bytes > 0);
    if let Some(bytes) = memory {
        service.set_default("Service", "MemoryMax", &bytes.to_string());
    }
    let tasks = match plan.pids_limit.as_deref().map(str::parse::<i64>) {
        Some(Ok(limit)) if limit > 0 => limit.to_string(),
        Some(Ok(_)) => "infinity".to_owned(),
        _ => return,
    };
    service.set_default("Service", "TasksMax", &tasks);
}

/// Timers, and a service that they start to check the container's health while it runs.
fn health(service: &mut Service, plan: &ContainerPlan) -> Vec<Service> {
    let own = service.name.clone();
    let names = Names::of(&own);
    let watched = names.watched();
    let timer = |suffix: &str, interval: &String| {
        let mut timer = Service::new(names.file(suffix, "timer"));
        timer.add("Unit", "Description", format!("Health check timer of {watched}"));
        timer.add("Unit", "BindsTo", watched.as_str());
        timer.add("Unit", "After", watched.as_str());
        timer.add("Timer", "OnActiveSec", interval);
        timer.add("Timer", "OnUnitActiveSec", interval);
        timer.add("Timer", "AccuracySec", accuracy(interval));
        timer.add("Timer", "Unit", names.unit("-health", "service"));
        timer
    };
    let regular = plan.health_interval.as_ref().map(|interval| timer("-health", interval));
    let startup = plan.startup_interval.as_ref().map(|interval| timer("-health-startup", interval));
    // The check that ends the start also starts the other timer.
    let Some(first) = startup.as_ref().map(|_| "-health-startup").or(regular.as_ref().map(|_| "-health"))
    else {
        return Vec::new();
    };
    service.add("Unit", "Wants", names.unit(first, "timer"));

    let mut check = Service::new(names.file("-health", "service"));
    let container_name = resolve(&plan.name, &watched);
    check.add("Unit", "Description", format!("Health check of {watched}"));
    check.add("Unit", "Requisite", watched.as_str());
    check.add("Unit", "After", watched.as_str());
    // Checks in short intervals are more starts than systemd allows by default.
    check.add("Unit", "StartLimitIntervalSec", "0");
    check.add("Service", "Type", "oneshot");
    check.add("Service", "SyslogIdentifier", words::quote(watched.trim_end_matches(".service")));
    // Keeps out systemd's own lines about each start, and lets the check's output through.
    check.add("Service", "LogLevelMax", "notice");
    check.add("Service", "SyslogLevel", "notice");
    check.add("Service", "ExecStart", plan.base.with(["healthcheck", "run", &container_name]).value());
    startup.into_iter().chain(regular).chain([check]).collect()
}

/// How late a check may come, so that systemd can wake up for several timers at once: a second, of short intervals
/// a tenth.
fn accuracy(interval: &str) -> String {
    match values::time_span(interval) {
        Some(seconds) if seconds < 10.0 => format!("{}ms", ((seconds * 100.0) as u64).max(1)),
        _ => "1s".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_intervals_are_kept_to_a_tenth() {
        for (interval, expected) in
            [("1s", "100ms"), ("2m", "1s"), ("10", "1s"), ("250ms", "25ms"), ("1us", "1ms"), ("%i", "1s")]
        {
            assert_eq!(accuracy(interval), expected, "{interval}");
        }
    }
}
