//! `sampan healthcheck run`: one check of a container's health, and what follows from it.
//!
//! A timer calls it: one that the generator has written, or one that [`timers`] starts where only the image knows of
//! a check. [`check`] runs the command in the container, [`health`] draws the conclusion and keeps it in a file beside
//! the container's state.

mod check;
mod health;
pub(crate) mod timers;

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use jiff::Timestamp;
use sampan_container::process;
use sampan_container::state::{ContainerDir, Healthcheck, StartupCheck, State, Status};
use sampan_status::systemd::Systemd;

use self::check::Outcome;
pub(crate) use self::health::Health;
use self::timers::Timer;
use crate::context::Context;
use crate::run::unit;

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

/// Runs one check.
///
/// # Errors
/// There is no such container, it doesn't run, or it has no check.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    let Verb::Run { quiet, startup, container: name } = command.verb;
    process::seal_executable()?;
    let container = context.containers()?.get(&unit::container_name(&name))?;
    let state = container.read()?;
    let check =
        state.healthcheck.clone().with_context(|| format!("container {name} has no defined healthcheck"))?;
    if state.live_status() != Status::Running {
        bail!("container {name} is {}: there is nothing to check", state.live_status());
    }
    let before = Health::read(&container).unwrap_or_default();
    let one = One { context, name: &name, container: &container, state: &state, check: &check, quiet };
    let succeeded = match &check.startup {
        Some(first) if !before.has_started => one.startup(first, before, startup)?,
        _ => one.regular(&before, startup)?,
    };
    Ok(ExitCode::from(u8::from(!succeeded)))
}

/// One check of one container.
struct One<'a> {
    context: &'a Context,
    name: &'a str,
    container: &'a ContainerDir,
    state: &'a State,
    check: &'a Healthcheck,
    quiet: bool,
}

impl One<'_> {
    /// A regular check. With `is_waited_for` somebody waits for the first success, and a failure changes nothing.
    fn regular(&self, before: &Health, is_waited_for: bool) -> anyhow::Result<bool> {
        let outcome = self.run(&self.check.test, self.check.timeout)?;
        if is_waited_for && !outcome.succeeded() {
            return Ok(false);
        }
        let started = self.state.started.as_deref().and_then(|text| text.parse().ok());
        let mut after = before.after(outcome.succeeded(), self.check, started, Timestamp::now());
        after.keep(&outcome, self.check, &self.state.id)?;
        after.write(self.container)?;
        if !self.quiet && !outcome.succeeded() {
            println!("{}", after.status);
        }
        if after.status == "unhealthy" && before.status != "unhealthy" {
            self.act()?;
        }
        Ok(outcome.succeeded())
    }

    /// A check of whether the program has started. Its success ends the phase, its failures may restart the container.
    fn startup(&self, first: &StartupCheck, before: Health, is_waited_for: bool) -> anyhow::Result<bool> {
        let outcome = self.run(&first.test, first.timeout)?;
        let mut after = before.after_startup(outcome.succeeded(), first, Timestamp::now());
        after.keep(&outcome, self.check, &self.state.id)?;
        after.write(self.container)?;
        let unit = self.state.unit.as_deref();
        if after.has_started {
            if let Some(unit) = unit {
                timers::start(Timer::Regular, unit, self.check, self.name, self.context);
                timers::stop_startup(unit);
            }
            // Whoever waits for health waits for a regular check.
            return if is_waited_for { self.regular(&after, true) } else { Ok(true) };
        }
        if !outcome.succeeded() && first.retries > 0 && after.startup_failures >= first.retries {
            eprintln!("container {} has not started ({} checks failed)", self.name, after.startup_failures);
            if let Some(unit) = unit {
                Systemd::system()?.restart(unit)?;
            }
        }
        Ok(outcome.succeeded() && !is_waited_for)
    }

    fn run(&self, test: &[String], timeout: u64) -> anyhow::Result<Outcome> {
        let timeout = Duration::from_nanos(timeout);
        // What isn't kept is lost: somebody may want to read more of it in the journal.
        let size = usize::try_from(self.check.max_log_size).unwrap_or(usize::MAX).max(check::JOURNAL_SIZE);
        let outcome = check::run(self.context, self.container, self.state, test, timeout, size)?;
        if !self.quiet && !outcome.output.is_empty() {
            println!("{}", outcome.output.trim_end_matches('\n'));
        }
        Ok(outcome)
    }

    /// What follows from being unhealthy.
    fn act(&self) -> anyhow::Result<()> {
        eprintln!("container {} is unhealthy ({} checks failed)", self.name, self.check.retries);
        match (self.check.on_failure.as_str(), self.state.unit.as_deref()) {
            ("kill", _) => {
                let pidfd = match self.state.pid {
                    Some(pid) => process::open(pid, self.state.start_time)?,
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
}
