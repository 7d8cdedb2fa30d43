//! A container's service: a transient unit that is all that a generated one is.
//!
//! Transient units and not files below `/run/systemd/system`: they need no daemon-reload (which runs all generators
//! and takes up edits that an administrator hasn't reloaded yet), they survive one, systemd removes them itself, and
//! a name that is in use is refused instead of shadowed.
//!
//! How they hang on the unit that plays the YAML: `StopPropagatedFrom=` ends them with it. `BindsTo=` and `PartOf=`
//! would also pass on a restart, and systemd would start them again while the unit makes them anew. There is no
//! `After=`: the unit is still starting when its containers start, and would wait for itself. The unit's end waits
//! for theirs in `sampan kube down`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sampan_status::Error;
use sampan_status::systemd::{Property, Systemd, Transient};

use super::container::{ContainerPlan, Restart, Role};
use super::store;
use super::volumes::Places;
use crate::context::Context;

/// The longest name of a unit, UNIT_NAME_MAX of systemd.
const UNIT_NAME_MAX: usize = 255;
/// What systemd allows for a stop unless it is told otherwise (DefaultTimeoutStopSec=).
const STOP_TIMEOUT: u64 = 90;
/// What our own part of a stop may take beside the container's.
const MARGIN: u64 = 10;
/// The pause before a restart. A container that waits for another may fail for a while: it is never given up.
const RESTART: u64 = 1;
const SECOND: u64 = 1_000_000;
/// systemd forgets a transient unit that has ended as soon as nothing refers to it: within milliseconds.
const FORGET_TRIES: u32 = 20;
const FORGET_PAUSE: Duration = Duration::from_millis(50);

/// Who plays.
#[derive(Debug, Clone)]
pub(super) struct Caller<'a> {
    /// The directories.
    pub(super) context: &'a Context,
    /// `--module`, passed on.
    pub(super) modules: &'a [PathBuf],
    /// The unit that the containers belong to; none in a shell.
    pub(super) unit: Option<String>,
    /// Its slice.
    pub(super) slice: Option<String>,
    /// The YAML holds more than one pod.
    pub(super) is_one_of_many: bool,
}

impl Caller<'_> {
    /// The words that begin each of our command lines.
    pub(super) fn ours(&self) -> anyhow::Result<Vec<String>> {
        let program = std::env::current_exe().context("finding this program")?;
        let mut words = vec![program.display().to_string()];
        words.extend(self.context.as_options());
        for module in self.modules {
            words.extend(["--module".to_owned(), module.display().to_string()]);
        }
        Ok(words)
    }

    /// The name of a container's service: `web-app.service` of the unit `web.service`, `web-app@a.service` of
    /// `web@a.service`; with the pod's name between them if there are several pods.
    ///
    /// # Errors
    /// It is too long.
    pub(super) fn service(&self, pod: &str, container: &str) -> anyhow::Result<String> {
        let of_pod = format!("{pod}-{container}");
        let name = match self.unit.as_deref() {
            None => format!("sampan-{of_pod}.service"),
            Some(unit) => {
                let stem = unit.strip_suffix(".service").unwrap_or(unit);
                let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
                let word = if self.is_one_of_many { &of_pod } else { container };
                format!("{prefix}-{word}{instance}.service")
            }
        };
        ensure!(
            name.len() <= UNIT_NAME_MAX,
            "the service {name} would have a name of more than {UNIT_NAME_MAX} characters: shorten those of the pod, \
             the container or the unit"
        );
        Ok(name)
    }
}

/// The unit that systemd starts when a container of a unit has ended for good: `web-ended.service`, which the
/// generator has written beside `web.service`.
pub(super) fn ended(unit: &str) -> String {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
    format!("{prefix}-ended{instance}.service")
}

/// Starts a container's service and waits until it has started; that of an init container until it has ended.
///
/// # Errors
/// It didn't start: what it said is part of the error.
pub(super) fn start(
    systemd: &Systemd,
    caller: &Caller<'_>,
    plan: &ContainerPlan,
    service: &str,
    places: &Places,
) -> anyhow::Result<()> {
    let ours = caller.ours()?;
    let environment = places.memory.join(store::environment_name(&plan.short));
    let environment = (!plan.secrets.is_empty()).then_some(environment);
    if let Some(path) = &environment {
        store::environment(path, &plan.secrets)?;
    }
    let mut properties = properties(caller, &ours, plan, service);
    let beside = match &plan.check {
        Some(check) => {
            let stem = service.strip_suffix(".service").unwrap_or(service);
            let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
            let health = format!("{prefix}-health{instance}");
            properties.push(Property::list("Wants", &[format!("{health}.timer")]));
            health_units(&health, service, &ours, plan, check.period)
        }
        None => Vec::new(),
    };
    let begun = jiff::Timestamp::now();
    let command = command(&ours, plan, environment.as_deref());
    let mut tries = 0..FORGET_TRIES;
    let started = loop {
        let started = systemd.start_service_with(service, &command, &properties, &beside);
        if !matches!(started, Err(Error::UnitExists(_))) || tries.next().is_none() {
            break started;
        }
        std::thread::sleep(FORGET_PAUSE);
    };
    started.with_context(|| {
        let said = journal(service, begun);
        let what = if plan.role == Role::Init { "the init container" } else { "the container" };
        let verb = if plan.role == Role::Init { "failed" } else { "did not start" };
        format!("{what} {} {verb} (journalctl -u {service}){said}", plan.name)
    })
}

/// `sampan run …`: systemd expands variables in it, which nobody asked for (systemd.service(5), "COMMAND LINES").
///
/// The secret variables are in a file that it reads for the container. In its own environment (`EnvironmentFile=`) a
/// variable such as `LD_PRELOAD` would give the YAML this program, and with it the host's root.
fn command(ours: &[String], plan: &ContainerPlan, environment: Option<&Path>) -> Vec<String> {
    let mut words = ours.to_vec();
    words.extend(["run", "--replace", "--rm", "--cgroups=split"].map(str::to_owned));
    if plan.role != Role::Init {
        words.extend(["--sdnotify=conmon", "-d"].map(str::to_owned));
    }
    if let Some(memory) = plan.memory {
        words.extend(["--memory".to_owned(), memory.to_string()]);
    }
    if let Some(cpu) = plan.cpu {
        words.extend(["--cpus".to_owned(), format!("{}.{:03}", cpu / 1000, cpu % 1000)]);
    }
    if let Some(path) = environment {
        words.extend(["--env-nul".to_owned(), path.display().to_string().replace('$', "$$")]);
    }
    let expanded = plan.words.iter().chain(&plan.program).map(|word| word.replace('$', "$$"));
    words.extend(expanded);
    words
}

fn properties(caller: &Caller<'_>, ours: &[String], plan: &ContainerPlan, service: &str) -> Vec<Property> {
    let verb = |verb: &str| [ours, &["service".into(), verb.into(), plan.name.clone()]].concat();
    let image = plan.program.first().map_or("", String::as_str);
    let mut all = vec![
        Property::text("Description", &format!("Container {} ({image})", plan.name)),
        Property::text("Type", if plan.role == Role::Init { "oneshot" } else { "notify" }),
        Property::text("NotifyAccess", "main"),
        Property::text("KillMode", "mixed"),
        Property::text("CollectMode", "inactive"),
        Property::boolean("Delegate", true),
        Property::text("OOMPolicy", "stop"),
        Property::list("Environment", &[format!("PODMAN_SYSTEMD_UNIT={service}")]),
        Property::exec("ExecStop", &verb("stop")),
        Property::exec("ExecStopPost", &verb("cleanup")),
        Property::exit_status("SuccessExitStatus", &[], &[nix::libc::SIGKILL]),
        Property::text("SyslogIdentifier", service.trim_end_matches(".service")),
        Property::log_fields(&[format!("CONTAINER_NAME={}", plan.name)]),
    ];
    if plan.stop_timeout + MARGIN > STOP_TIMEOUT {
        all.push(Property::number("TimeoutStopUSec", (plan.stop_timeout + MARGIN) * SECOND));
    }
    if plan.role != Role::Init && plan.restart != Restart::No {
        all.push(Property::text("Restart", plan.restart.directive()));
        all.push(Property::number("RestartUSec", RESTART * SECOND));
        all.push(Property::number("StartLimitIntervalUSec", 0));
    }
    if let Some(unit) = &caller.unit {
        all.push(Property::list("StopPropagatedFrom", std::slice::from_ref(unit)));
    }
    if let Some(ended) = caller.unit.as_deref().filter(|_| plan.role == Role::Main).map(ended) {
        all.push(Property::list("OnSuccess", std::slice::from_ref(&ended)));
        all.push(Property::list("OnFailure", &[ended]));
    }
    if let Some(slice) = &caller.slice {
        all.push(Property::text("Slice", slice));
    }
    all.extend(plan.memory.map(|bytes| Property::number("MemoryMax", bytes)));
    // Microseconds of each second.
    all.extend(plan.cpu.map(|thousandths| Property::number("CPUQuotaPerSecUSec", thousandths * 1000)));
    all.extend(plan.cpu_weight.map(|weight| Property::number("CPUWeight", weight)));
    all
}

/// A timer and its service that check the container's health while it runs, as the generator writes them.
fn health_units(
    health: &str,
    service: &str,
    ours: &[String],
    plan: &ContainerPlan,
    period: u64,
) -> Vec<Transient> {
    let watched = [service.to_owned()];
    let check = ["healthcheck".into(), "run".into(), plan.name.clone()];
    let period = period * SECOND;
    vec![
        Transient {
            name: format!("{health}.service"),
            properties: vec![
                Property::text("Description", &format!("Health check of {service}")),
                Property::list("Requisite", &watched),
                Property::list("After", &watched),
                // Checks in short periods are more starts than systemd allows by default.
                Property::number("StartLimitIntervalUSec", 0),
                Property::text("Type", "oneshot"),
                Property::text("CollectMode", "inactive-or-failed"),
                Property::text("SyslogIdentifier", service.trim_end_matches(".service")),
                // Keeps out systemd's own lines about each start, and lets the check's output through: notice.
                Property::level("LogLevelMax", 5),
                Property::level("SyslogLevel", 5),
                Property::exec("ExecStart", &[ours, &check].concat()),
            ],
        },
        Transient {
            name: format!("{health}.timer"),
            properties: vec![
                Property::text("Description", &format!("Health check timer of {service}")),
                Property::list("BindsTo", &watched),
                Property::list("After", &watched),
                Property::timers(&[("OnActiveSec", period), ("OnUnitActiveSec", period)]),
                Property::number("AccuracyUSec", (period / 10).clamp(1, SECOND)),
            ],
        },
    ]
}

/// The last lines that a service has written since then, each behind a line break; empty if there are none.
fn journal(service: &str, since: jiff::Timestamp) -> String {
    let mut command = std::process::Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--output=cat", "--lines=8", "--unit", service]);
    command.arg(format!("--since=@{}", since.as_second()));
    // systemd's own lines say no more than the error does.
    let lines = command.arg(format!("_SYSTEMD_UNIT={service}")).output();
    let text = lines.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().map(|line| format!("\n  | {line}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_named_after_their_unit() {
        let context = Context::new("/r".into(), "/s".into());
        let name = |unit: Option<&str>, is_one_of_many| {
            let unit = unit.map(str::to_owned);
            let caller = Caller { context: &context, modules: &[], unit, slice: None, is_one_of_many };
            (caller.service("p", "c").unwrap(), caller.unit.as_deref().map(ended))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), Some(b.to_owned()));
        assert_eq!(name(None, false), ("sampan-p-c.service".to_owned(), None));
        assert_eq!(name(Some("web.service"), false), pair("web-c.service", "web-ended.service"));
        assert_eq!(name(Some("web.service"), true), pair("web-p-c.service", "web-ended.service"));
        // Not web@a-c.service, which would be another instance of the template.
        assert_eq!(name(Some("web@a.service"), false), pair("web-c@a.service", "web-ended@a.service"));
    }
}
