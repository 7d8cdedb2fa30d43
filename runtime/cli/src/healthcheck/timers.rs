//! The timers that call for checks.
//!
//! The generator writes them beside the service where the file has `HealthCmd=`. Where only the image or `PodmanArgs=`
//! names a check they are transient units.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use sampan_container::state::Healthcheck;

use crate::context::Context;
use crate::timer::{self, Transient, execute, systemctl};

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
        timer::stem(
            service,
            match self {
                Self::Startup => "health-startup",
                Self::Regular => "health",
            },
        )
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

/// A timer that lives as long as the service, and the service that it calls for. Of what an image says only a number
/// goes into it, the interval: its command is executed in the container (CVE-2024-3154 is about the rest).
fn transient(timer: Timer, service: &str, check: &Healthcheck, name: &str, context: &Context) -> Command {
    let stem = timer.stem(service);
    let interval = timer.interval(check);
    Transient { stem: &stem, service, interval, arguments: &["healthcheck", "run", name] }.command(context)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_are_named_after_the_service() {
        assert_eq!(Timer::Regular.stem("web.service"), "web-health");
        assert_eq!(Timer::Startup.stem("web@a@b.service"), "web-health-startup@a@b");
    }
}
