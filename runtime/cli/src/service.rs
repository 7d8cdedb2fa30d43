//! `sampan service`: what generated units call when they stop, and those beside them. People use `systemctl stop` and `sampan stop`.
//!
//! The first process of a PID namespace ignores every signal that it has no handler for. `stop` therefore asks
//! first whether the stop signal can arrive, and kills at once where it can't. The unit counts SIGKILL as success
//! (`SuccessExitStatus=SIGKILL`), and `cleanup` puts right what that would hide: a SIGKILL that was not ours is a
//! failure. DESIGN: an asked-for stop ends `inactive`, a foreign `kill -9` restarts.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use sampan_container::Error;
use sampan_container::process;
use sampan_container::state::{ContainerDir, State};

use crate::context::Context;
use crate::on_demand::{forward, idle};
use crate::release;
use crate::run::{output, signal, supervise, unit};

/// Holds the `$INVOCATION_ID` of the run of the unit that we ended by SIGKILL.
const OURS: &str = "killed-by-stop";

/// `sampan service stop|cleanup NAME`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// ExecStop=: end the main process, politely where it listens
    Stop {
        /// The container
        name: String,
    },
    /// Lead clients that wait for a container or pod to it
    Forward(forward::Options),
    /// Stop a container or pod that nobody uses
    Idle(idle::Options),
    /// ExecStopPost=: give back what the container held
    Cleanup {
        /// The container
        name: String,
    },
}

/// Runs the verb in a unit's surroundings: `$MAINPID`, `$INVOCATION_ID`, `$SERVICE_RESULT`, `$EXIT_STATUS`.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Stop { name } => stop(&name, context),
        Verb::Forward(options) => forward::run(&options, context),
        Verb::Idle(options) => idle::run(&options, context),
        Verb::Cleanup { name } => cleanup(&name, context),
    }
}

fn find(name: &str, context: &Context) -> anyhow::Result<Option<ContainerDir>> {
    match context.containers()?.get(&unit::container_name(name)) {
        Ok(container) => Ok(Some(container)),
        Err(Error::NoSuchContainer(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn stop(name: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let Some(container) = find(name, context)? else { return Ok(ExitCode::SUCCESS) };
    // ExecStop= also runs after the main process has ended by itself; then there is nothing to stop.
    if let Some(main) = std::env::var("MAINPID").ok().and_then(|text| text.parse::<i32>().ok()) {
        end(main, &container)?;
    }
    await_copier(&container);
    Ok(ExitCode::SUCCESS)
}

/// The last lines are on their way to the journal; systemd would kill whoever carries them.
fn await_copier(container: &ContainerDir) {
    let copier = std::fs::read_to_string(container.path().join(output::COPIER)).ok();
    let Some(pid) = copier.and_then(|text| text.parse().ok()) else { return };
    if let Ok(Some(pidfd)) = process::open(pid, None) {
        // It ends by itself as soon as nobody can write any more; if not, systemd ends it.
        let _ = process::wait(pidfd.as_fd(), Some(Duration::from_millis(500)));
    }
}

/// Ends the main process, politely where it listens.
fn end(main: i32, container: &ContainerDir) -> anyhow::Result<()> {
    let state = container.read()?;
    if state.pid != Some(main) {
        // The main process is `sampan run` itself, which acts on systemd's SIGTERM.
        return Ok(());
    }
    let Some(pidfd) = process::open(main, state.start_time)? else { return Ok(()) };
    let signal = stop_signal(&state);
    if process::handles(main, signal)? {
        process::signal(pidfd.as_fd(), signal)?;
        let timeout = Duration::from_secs(state.stop_timeout.into());
        if process::wait(pidfd.as_fd(), Some(timeout))? {
            return Ok(());
        }
    }
    // Only now, after the process was seen alive: the mark must not cover a SIGKILL that came before.
    std::fs::write(container.path().join(OURS), invocation()).context("noting that the SIGKILL is ours")?;
    process::signal(pidfd.as_fd(), Signal::SIGKILL as i32)?;
    process::wait(pidfd.as_fd(), Some(Duration::from_secs(10)))?;
    Ok(())
}

fn cleanup(name: &str, context: &Context) -> anyhow::Result<ExitCode> {
    let mut is_ours = false;
    if let Some(container) = find(name, context)? {
        // Asked before the lock too: whoever holds the name now may hold the lock for as long as it runs.
        let _lock = if is_foreign(&container) { None } else { Some(container.lock()?) };
        if !is_foreign(&container) {
            is_ours =
                std::fs::read_to_string(container.path().join(OURS)).is_ok_and(|mark| mark == invocation());
            release::release(context, &container)?;
        }
    }
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    if variable("SERVICE_RESULT") == "oom-kill" {
        eprintln!("{}", out_of_memory(name, unit::own_limit("memory.max")));
    }
    let is_killed = variable("EXIT_CODE") == "killed" && variable("EXIT_STATUS") == "KILL";
    if is_killed && !is_ours && variable("SERVICE_RESULT") == "success" {
        // An unclean signal makes on-failure, on-abnormal and on-abort restart alike; an exit code wouldn't.
        eprintln!("container {name} was killed by SIGKILL, and not by us: the unit fails");
        supervise::die_by(Signal::SIGABRT);
    }
    Ok(ExitCode::SUCCESS)
}

/// What systemd calls "a process of this unit", and whose limit it was: `limit` in bytes is the unit's own.
fn out_of_memory(name: &str, limit: Option<u64>) -> String {
    let killed = format!("container {name} was killed for want of memory");
    match limit {
        Some(bytes) if bytes % (1 << 20) == 0 => {
            format!(
                "{killed}: it may have {} MiB; Memory= or MemoryMax= of its file is the limit",
                bytes >> 20
            )
        }
        Some(bytes) => {
            format!(
                "{killed}: it may have {} KiB; Memory= or MemoryMax= of its file is the limit",
                bytes >> 10
            )
        }
        None => format!("{killed}: it has no limit of its own, so its slice or the machine had none left"),
    }
}

/// Another unit, or a shell, may hold the name by now, or ours was refused because it does.
fn is_foreign(container: &ContainerDir) -> bool {
    container.read().is_ok_and(|state| state.invocation_id.is_none_or(|id| id != invocation()))
}

fn invocation() -> String {
    std::env::var("INVOCATION_ID").unwrap_or_default()
}

/// The signal that asks the program to end.
pub(crate) fn stop_signal(state: &State) -> i32 {
    state.stop_signal.as_deref().and_then(|text| signal::parse(text).ok()).unwrap_or(Signal::SIGTERM as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_memory_was_used_up() {
        assert!(
            out_of_memory("web", Some(32 << 20))
                .contains("container web was killed for want of memory: it may have 32 MiB")
        );
        assert!(out_of_memory("web", Some(516 << 10)).contains("it may have 516 KiB"));
        assert!(out_of_memory("web", None).contains("no limit of its own"));
    }
}
