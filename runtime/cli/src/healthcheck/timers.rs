//! The timers that call for checks.
//!
//! The generator writes them beside the service where the file has `HealthCmd=`. Where only the image or `PodmanArgs=`
//! names a check they are transient units, made by systemd-run(1): a D-Bus connection of our own would leave a thread,
//! and a container's process is cloned from one thread.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sampan_container::state::Healthcheck;

use crate::context::Context;

/// Where generators write, systemd.generator(7).
const GENERATED: &str = "/run/systemd/generator";

/// Which checks a timer calls for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// Until the program has started.
    Startup,
    /// From then on.
    Regular,
}

impl Timer {
    /// The unit's name without its extension: `web-health`, `web-health@one`.
    fn stem(self, service: &str) -> String {
        let stem = service.strip_suffix(".service").unwrap_or(service);
        let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
        match self {
            Self::Startup => format!("{prefix}-health-startup{instance}"),
            Self::Regular => format!("{prefix}-health{instance}"),
        }
    }

    fn interval(self, check: &Healthcheck) -> Duration {
        let startup = check.startup.as_ref().map(|startup| startup.interval);
        Duration::from_nanos(match self {
            Self::Startup => startup.unwrap_or_default(),
            Self::Regular => check.interval,
        })
    }
}

/// Starts the timer of a new container's first checks, unless the generator has written it: then the service wants it.
///
/// Nobody waits for systemd-run(1): it ends when the timer runs, for which systemd waits until the service has started,
/// and that takes us.
pub(crate) fn begin(service: &str, check: &Healthcheck, name: &str, context: &Context) {
    let first = match &check.startup {
        Some(startup) if startup.interval > 0 => Timer::Startup,
        _ => Timer::Regular,
    };
    if is_generated(first, service) || first.interval(check).is_zero() {
        return;
    }
    if let Err(error) = transient(first, service, check, name, context).spawn() {
        log::warn!("the health of {name} is not checked: running systemd-run: {error}");
    }
}

/// Starts a timer. A check that isn't made is no reason to end a container: what goes wrong is logged.
pub(crate) fn start(timer: Timer, service: &str, check: &Healthcheck, name: &str, context: &Context) {
    if timer.interval(check).is_zero() {
        return;
    }
    let mut command = if is_generated(timer, service) {
        systemctl("start", &timer.stem(service))
    } else {
        transient(timer, service, check, name, context)
    };
    if let Err(error) = execute(&mut command) {
        log::warn!("the health of {name} is not checked: {error:#}");
    }
}

/// Ends the startup checks.
pub(crate) fn stop_startup(service: &str) {
    if let Err(error) = execute(&mut systemctl("stop", &Timer::Startup.stem(service))) {
        log::debug!("startup checks go on: {error:#}");
    }
}

fn is_generated(timer: Timer, service: &str) -> bool {
    let stem = timer.stem(service);
    let template = stem.split_once('@').map(|(prefix, _)| format!("{prefix}@"));
    let exists = |stem: &str| Path::new(GENERATED).join(format!("{stem}.timer")).exists();
    exists(&stem) || template.is_some_and(|template| exists(&template))
}

fn systemctl(verb: &str, stem: &str) -> Command {
    let mut command = Command::new("systemctl");
    command.args(["--no-block", "--quiet", verb, &format!("{stem}.timer")]);
    command
}

/// A timer that lives as long as the service, and the service that it calls for. Of what an image says only a number
/// goes into it, the interval: its command is executed in the container (CVE-2024-3154 is about the rest).
fn transient(timer: Timer, service: &str, check: &Healthcheck, name: &str, context: &Context) -> Command {
    let interval = format!("{}us", timer.interval(check).as_micros());
    let mut command = Command::new("systemd-run");
    command.args(["--no-block", "--quiet", "--collect", "--unit", &timer.stem(service)]);
    command.args([format!("--on-active={interval}"), format!("--on-unit-active={interval}")]);
    for property in ["BindsTo", "After"] {
        command.arg(format!("--timer-property={property}={service}"));
    }
    command.arg(format!("--timer-property=AccuracySec={}us", accuracy(timer.interval(check)).as_micros()));
    command.arg("--timer-property=CollectMode=inactive-or-failed");
    for property in ["Requisite", "After"] {
        command.arg(format!("--property={property}={service}"));
    }
    // As in the generator's: systemd's own lines about each start stay out of the journal.
    command.args([
        // Checks in short intervals are more starts than systemd allows by default.
        "--property=StartLimitIntervalSec=0",
        "--property=Type=oneshot",
        "--property=LogLevelMax=notice",
        "--property=SyslogLevel=notice",
    ]);
    command.arg(format!("--property=SyslogIdentifier={}", service.trim_end_matches(".service")));
    command.arg("--").arg("/usr/bin/sampan").args(context.as_options()).args(["healthcheck", "run", name]);
    command
}

/// How late a check may come: a second, of short intervals a tenth.
fn accuracy(interval: Duration) -> Duration {
    (interval / 10).clamp(Duration::from_millis(1), Duration::from_secs(1))
}

fn execute(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_intervals_are_kept_to_a_tenth() {
        for (interval, expected) in [(1, 1), (2000, 200), (10_000, 1000), (60_000, 1000)] {
            assert_eq!(accuracy(Duration::from_millis(interval)), Duration::from_millis(expected));
        }
    }

    #[test]
    fn timers_are_named_after_the_service() {
        assert_eq!(Timer::Regular.stem("web.service"), "web-health");
        assert_eq!(Timer::Startup.stem("web@a@b.service"), "web-health-startup@a@b");
    }
}
