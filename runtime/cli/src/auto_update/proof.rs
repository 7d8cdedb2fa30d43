//! Whether containers run with the image that they were given: ready, and healthy where they have a check.
//!
//! READY=1 is systemd's part. Without `Notify=` it comes before the program has done anything, so a container without a
//! health check has to run for a while.

use std::time::{Duration, Instant};

use sampan_container::state::{ContainerDir, Healthcheck, State, Status};
use sampan_status::systemd::{Systemd, Unit};

use super::change::Moved;
use crate::context::Context;
use crate::healthcheck::Health;

/// How long a container without a health check has to run.
const SETTLED: Duration = Duration::from_secs(10);
/// How long a container may be on its way, and the longest wait for its health.
const LIMIT: Duration = Duration::from_secs(1200);
/// Between the end of the restart and the first sign of a pod's container.
const GRACE: Duration = Duration::from_secs(3);
/// How often is looked.
const POLL: Duration = Duration::from_millis(200);

/// What has to be proven.
pub(super) struct Proof<'a> {
    pub(super) systemd: &'a Systemd,
    pub(super) context: &'a Context,
    /// The services of the containers.
    pub(super) members: &'a [String],
    /// The images that they run.
    pub(super) moved: &'a [Moved],
}

/// What a service does that another process may have restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It was stopped in an orderly way.
    Stopped,
    /// It has the wanted images, or is about to show it.
    Runs,
    /// It has others.
    RunsAnother,
}

/// What is known of one container's service so far.
struct Watch<'a> {
    unit: &'a str,
    /// systemd's number of the run, and since when it is seen.
    run: Option<(String, Instant)>,
    /// How often it was restarted when this began.
    restarts: Option<u32>,
}

impl Proof<'_> {
    /// What a service does now.
    ///
    /// # Errors
    /// It has failed; why.
    pub(super) fn standing(&self, unit: &str) -> Result<Standing, String> {
        let mut standing = Standing::Runs;
        for name in std::iter::once(unit).chain(self.members.iter().map(String::as_str)) {
            let state = self.state(name)?;
            match state.active_state.as_str() {
                "failed" => return Err(ended(name, &state)),
                "activating" if state.sub_state.starts_with("auto-restart") => {
                    return Err(ended(name, &state));
                }
                "inactive" if name == unit => return Ok(Standing::Stopped),
                _ => {}
            }
            let container = self.container(name);
            if container.is_some_and(|(_, state)| self.is_from(&state, |moved| &moved.from)) {
                standing = Standing::RunsAnother;
            }
        }
        Ok(standing)
    }

    /// Waits until all have proven it. `is_resumed`: how often systemd has restarted them before doesn't count.
    ///
    /// # Errors
    /// One has not; why.
    pub(super) fn wait(&self, is_resumed: bool) -> Result<(), String> {
        let begun = Instant::now();
        let first = if is_resumed { None } else { Some(0) };
        let mut watches: Vec<_> =
            self.members.iter().map(|unit| Watch { unit, run: None, restarts: first }).collect();
        loop {
            let mut waiting = Vec::new();
            for mut watch in watches {
                if !self.look(&mut watch, begun)? {
                    waiting.push(watch);
                }
            }
            let Some(first) = waiting.first() else { return Ok(()) };
            if begun.elapsed() > LIMIT {
                return Err(format!("{} was not ready and healthy within {} s", first.unit, LIMIT.as_secs()));
            }
            watches = waiting;
            std::thread::sleep(POLL);
        }
    }

    /// Whether one has proven it.
    fn look(&self, watch: &mut Watch<'_>, begun: Instant) -> Result<bool, String> {
        let unit = self.state(watch.unit)?;
        let restarts = *watch.restarts.get_or_insert(unit.restarts);
        if unit.restarts > restarts || unit.sub_state.starts_with("auto-restart") {
            return Err(ended(watch.unit, &unit));
        }
        match unit.active_state.as_str() {
            "failed" => return Err(ended(watch.unit, &unit)),
            // A job that is done, be it RemainAfterExit=.
            "inactive" if unit.is_oneshot && unit.result == "success" && !unit.has_job => return Ok(true),
            "active" if unit.sub_state == "exited" => return Ok(true),
            "inactive" if !unit.has_job && begun.elapsed() > GRACE => return Err(ended(watch.unit, &unit)),
            "active" | "reloading" => {}
            _ => return Ok(false),
        }
        let since = match &watch.run {
            Some((run, since)) if *run == unit.invocation_id => *since,
            // Its own health check, or somebody, has restarted it.
            Some(_) => return Err(format!("{} was restarted while it was to prove itself", watch.unit)),
            None => {
                let now = Instant::now();
                watch.run = Some((unit.invocation_id.clone(), now));
                now
            }
        };
        let Some((container, state)) = self.container(watch.unit) else { return Ok(false) };
        if self.is_from(&state, |moved| &moved.from) {
            return Err(format!(
                "the container {} runs the image {} again: it is not the one that its name leads to here (Pull=, or \
                 another unit file, decides otherwise)",
                state.name,
                state.image.map(|image| image.id).unwrap_or_default()
            ));
        }
        is_well(&container, &state, since)
    }

    fn state(&self, unit: &str) -> Result<Unit, String> {
        self.systemd.unit(unit).map_err(|error| error.to_string())
    }

    /// The container of a service, if it runs.
    fn container(&self, unit: &str) -> Option<(ContainerDir, State)> {
        let all = self.context.containers().ok()?.list().ok()?;
        all.into_iter().find_map(|container| {
            let state = container.read().ok()?;
            let runs = matches!(state.live_status(), Status::Running | Status::Paused);
            (runs && state.unit.as_deref() == Some(unit)).then_some((container, state))
        })
    }

    /// Whether a container has one of the names, and this image of it.
    fn is_from(&self, state: &State, image: impl Fn(&Moved) -> &String) -> bool {
        state.image.as_ref().is_some_and(|its| {
            self.moved.iter().any(|moved| moved.name == its.name && *image(moved) == its.id)
        })
    }
}

/// Whether a container that has run since `since` is well.
fn is_well(container: &ContainerDir, state: &State, since: Instant) -> Result<bool, String> {
    let check = state.healthcheck.as_ref().filter(|check| is_made(check));
    let Some(check) = check else { return Ok(since.elapsed() >= SETTLED) };
    match Health::read(container).unwrap_or_default().status.as_str() {
        "healthy" => Ok(true),
        "unhealthy" => Err(format!("the container {} is unhealthy", state.name)),
        _ if since.elapsed() > patience(check) => {
            let waited = patience(check).as_secs();
            Err(format!("the container {} has not become healthy within {waited} s", state.name))
        }
        _ => Ok(false),
    }
}

/// Whether anybody makes the check: with `HealthInterval=disable` nobody does.
fn is_made(check: &Healthcheck) -> bool {
    !check.test.is_empty() && check.interval > 0
}

/// The time in which a check must have succeeded, or failed for good.
fn patience(check: &Healthcheck) -> Duration {
    let rounds = u64::from(check.retries.max(1)) + 1;
    let mut nanos = check
        .start_period
        .saturating_add(rounds.saturating_mul(check.interval.saturating_add(check.timeout)));
    if let Some(startup) = &check.startup {
        let rounds = u64::from(startup.retries.max(startup.success).max(1)) + 1;
        let startup = rounds.saturating_mul(startup.interval.saturating_add(startup.timeout));
        nanos = nanos.saturating_add(startup);
    }
    // systemd's timers have their inaccuracy.
    (Duration::from_nanos(nanos) + Duration::from_secs(5)).min(LIMIT)
}

fn ended(name: &str, unit: &Unit) -> String {
    // systemd forgets how a run has ended when it begins the next one.
    let how = if unit.restarts > 0 && unit.result == "success" {
        "and Restart= has started it again".to_owned()
    } else {
        format!("({})", words(unit))
    };
    format!("{name} has ended {how}: journalctl -u {name}")
}

/// What a unit that didn't start has ended with, as a supplement; empty if that is unknown.
pub(super) fn result(systemd: &Systemd, name: &str) -> String {
    match systemd.unit(name) {
        Ok(unit) if unit.result != "success" => format!(" ({}): journalctl -u {name}", words(&unit)),
        _ => String::new(),
    }
}

fn words(unit: &Unit) -> String {
    match unit.exec_main_code {
        0 => unit.result.clone(),
        nix::libc::CLD_EXITED => format!("{}, status {}", unit.result, unit.exec_main_status),
        _ => format!("{}, signal {}", unit.result, unit.exec_main_status),
    }
}

#[cfg(test)]
mod tests {
    use sampan_container::state::StartupCheck;

    use super::*;

    #[test]
    fn patience_covers_all_that_a_check_may_take() {
        const SECOND: u64 = 1_000_000_000;
        let check = Healthcheck {
            start_period: 60 * SECOND,
            interval: 30 * SECOND,
            timeout: 10 * SECOND,
            retries: 3,
            ..Healthcheck::default()
        };
        assert_eq!(patience(&check), Duration::from_secs(60 + 4 * 40 + 5));
        let startup =
            StartupCheck { interval: SECOND, timeout: SECOND, retries: 9, ..StartupCheck::default() };
        let both = Healthcheck { startup: Some(startup), ..check.clone() };
        assert_eq!(patience(&both), Duration::from_secs(60 + 4 * 40 + 20 + 5));
        assert_eq!(patience(&Healthcheck { interval: u64::MAX, ..check }), LIMIT);
    }
}
