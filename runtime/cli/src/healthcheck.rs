//! `sampan healthcheck run`: one check of a container's health, and what follows from it.
//!
//! The generator's timer calls it; the outcome is a file beside the container's state.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use sampan_container::process;
use sampan_container::state::{ContainerDir, Healthcheck, State, Status};
use sampan_status::systemd::Systemd;
use serde::{Deserialize, Serialize};

use crate::Coded;
use crate::context::Context;
use crate::exec::{self, Program};
use crate::run::health;

/// `sampan healthcheck run [options] CONTAINER`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Run the check once: exit code 0 if it succeeded, 1 if not
    Run {
        /// Say nothing
        #[arg(long)]
        quiet: bool,
        /// On the way to the first success: a failure doesn't count, and nothing follows from it
        #[arg(long, hide = true)]
        startup: bool,
        /// The container
        container: String,
    },
}

/// What the last checks found. Podman's words: `starting`, `healthy`, `unhealthy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    /// The verdict.
    pub(crate) status: String,
    /// Failures in a row.
    pub(crate) failing_streak: u32,
    /// When the last check was (RFC 3339).
    pub(crate) last: String,
}

const FILE: &str = "health.json";

impl Health {
    /// What is known; `None` before the first check.
    pub(crate) fn read(container: &ContainerDir) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(container.path().join(FILE)).ok()?).ok()
    }

    fn write(&self, container: &ContainerDir) -> anyhow::Result<()> {
        let path = container.path().join(FILE);
        let new = path.with_extension("new");
        std::fs::write(&new, serde_json::to_vec(self)?)
            .with_context(|| format!("writing {}", new.display()))?;
        std::fs::rename(&new, &path).with_context(|| format!("renaming {}", new.display()))
    }

    /// The next verdict, after a check at `now` of a container that started at `started`.
    fn after(
        &self,
        succeeded: bool,
        check: &Healthcheck,
        started: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let last = now.to_string();
        if succeeded {
            return Self { status: "healthy".into(), failing_streak: 0, last };
        }
        let period = i64::try_from(check.start_period / 1_000_000).unwrap_or(i64::MAX);
        let is_starting = self.status != "healthy"
            && self.status != "unhealthy"
            && started.is_some_and(|started| now.as_millisecond() - started.as_millisecond() < period);
        let failing_streak = if is_starting { self.failing_streak } else { self.failing_streak + 1 };
        let status = match self.status.as_str() {
            _ if failing_streak >= check.retries.max(1) => "unhealthy",
            "" => "starting",
            same => same,
        };
        Self { status: status.into(), failing_streak, last }
    }
}

/// Runs one check.
///
/// # Errors
/// There is no such container, it doesn't run, or it has no check.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    let Verb::Run { quiet, startup, container: name } = command.verb;
    process::seal_executable()?;
    let container = context.containers()?.get(&name)?;
    let state = container.read()?;
    let check =
        state.healthcheck.clone().with_context(|| format!("container {name} has no defined healthcheck"))?;
    if state.live_status() != Status::Running {
        bail!("container {name} is {}: there is nothing to check", state.live_status());
    }
    let succeeded = run(context, &container, &state, &check)?;
    if startup && !succeeded {
        return Ok(ExitCode::FAILURE);
    }
    let before = Health::read(&container).unwrap_or_default();
    let started = state.started.as_deref().and_then(|text| text.parse().ok());
    let after = before.after(succeeded, &check, started, Timestamp::now());
    after.write(&container)?;
    if !quiet && !succeeded {
        println!("{}", after.status);
    }
    if after.status == "unhealthy" && before.status != "unhealthy" {
        act(&name, &state, &check)?;
    }
    Ok(ExitCode::from(u8::from(!succeeded)))
}

fn run(
    context: &Context,
    container: &ContainerDir,
    state: &State,
    check: &Healthcheck,
) -> anyhow::Result<bool> {
    let program = Program {
        arguments: health::arguments(&check.test),
        environment: &[],
        user: None,
        directory: None,
        privileged: false,
        terminal: false,
        preserve_fds: 0,
    };
    let joined = match exec::join(context, container, state, &container.read_spec()?, &program) {
        Ok(joined) => joined,
        // A check that can't be executed has failed; the journal of the check says why.
        Err(error) if error.is::<Coded>() => {
            eprintln!("{error}");
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    if !process::wait(joined.pidfd(), Some(Duration::from_nanos(check.timeout)))? {
        process::signal(joined.pidfd(), nix::libc::SIGKILL)?;
        joined.wait()?;
        return Ok(false);
    }
    Ok(joined.wait()? == 0)
}

fn act(name: &str, state: &State, check: &Healthcheck) -> anyhow::Result<()> {
    eprintln!("container {name} is unhealthy ({} checks failed)", check.retries);
    let unit = state.unit.as_deref();
    match (check.on_failure.as_str(), unit) {
        ("kill", _) => {
            let pidfd = match state.pid {
                Some(pid) => process::open(pid, state.start_time)?,
                None => None,
            };
            if let Some(pidfd) = pidfd {
                process::signal(pidfd.as_fd(), nix::libc::SIGKILL)?;
            }
            Ok(())
        }
        ("restart", Some(unit)) => Ok(Systemd::system()?.restart(unit)?),
        ("stop", Some(unit)) => Ok(Systemd::system()?.stop(unit)?),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_only_after_the_start_period() {
        let check = Healthcheck { retries: 2, start_period: 10_000_000_000, ..Healthcheck::default() };
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| Timestamp::from_second(start.as_second() + seconds).unwrap();
        let mut health = Health::default();
        for (seconds, succeeded, status) in [
            (1, false, "starting"),
            (9, false, "starting"),
            (11, false, "starting"),
            (12, false, "unhealthy"),
            (13, true, "healthy"),
            (14, false, "healthy"),
            (15, false, "unhealthy"),
        ] {
            health = health.after(succeeded, &check, Some(start), at(seconds));
            assert_eq!(health.status, status, "at {seconds} s");
        }
    }
}
