//! `sampan stop`: through systemd where a unit has the container, so that the unit doesn't restart it.

use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use nix::sys::signal::Signal;
use sampan_container::process;
use sampan_container::state::{ContainerDir, Containers, State, Status};
use sampan_status::systemd::Systemd;

use crate::context::Context;
use crate::service;

/// `sampan stop [options] CONTAINER…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Stop all running containers
    #[arg(long, short)]
    all: bool,
    /// A container that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Seconds to wait before killing a container that no unit has [default: its own]
    #[arg(long, short, value_name = "SECONDS")]
    time: Option<u32>,
    /// Names or identifiers
    #[arg(value_name = "CONTAINER", required_unless_present = "all", conflicts_with = "all")]
    containers: Vec<String>,
}

/// Stops each, printing what was asked for; the first error is the result, after all have been tried.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let containers = context.containers()?;
    let chosen = choose(&containers, &options.containers, options.all, options.ignore)?;
    let time = options.time.map(|seconds| Duration::from_secs(seconds.into()));
    each(chosen, |name, container| {
        stop(&container.read()?, time)?;
        println!("{name}");
        Ok(())
    })
}

/// The containers that these words mean, each with the word; with `all` the running ones.
///
/// # Errors
/// A word that means none, unless `ignore`.
pub(crate) fn choose(
    containers: &Containers,
    words: &[String],
    all: bool,
    ignore: bool,
) -> anyhow::Result<Vec<(String, ContainerDir)>> {
    if all {
        return Ok(containers
            .list()?
            .into_iter()
            .map(|container| (container.name().to_owned(), container))
            .collect());
    }
    let mut chosen = Vec::new();
    for word in words {
        match containers.get(word) {
            Ok(container) => chosen.push((word.clone(), container)),
            Err(sampan_container::Error::NoSuchContainer(_)) if ignore => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(chosen)
}

/// Does something to each container, all of them even if one fails; prints all errors but the last, which is returned.
///
/// # Errors
/// The last one.
pub(crate) fn each(
    chosen: Vec<(String, ContainerDir)>,
    mut action: impl FnMut(&str, &ContainerDir) -> anyhow::Result<()>,
) -> anyhow::Result<ExitCode> {
    let mut failed: Option<anyhow::Error> = None;
    for (word, container) in chosen {
        if let Err(error) = action(&word, &container)
            && let Some(earlier) = failed.replace(error)
        {
            eprintln!("Error: {earlier:#}");
        }
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

/// Ends the container; nothing to do if it has ended.
///
/// # Errors
/// systemd's job failed, or the process doesn't end.
pub(crate) fn stop(state: &State, time: Option<Duration>) -> anyhow::Result<()> {
    if state.live_status() == Status::Stopped {
        return Ok(());
    }
    if let Some(unit) = state.unit.as_deref().filter(|unit| unit.ends_with(".service")) {
        let systemd = Systemd::system().with_context(|| format!("connecting to systemd to stop {unit}"))?;
        return Ok(systemd.stop(unit)?);
    }
    let Some(pid) = state.pid else { return Ok(()) };
    let Some(pidfd) = process::open(pid, state.start_time)? else { return Ok(()) };
    let signal = service::stop_signal(state);
    if process::handles(pid, signal)? {
        process::signal(pidfd.as_fd(), signal)?;
        let time = time.unwrap_or(Duration::from_secs(state.stop_timeout.into()));
        if process::wait(pidfd.as_fd(), Some(time))? {
            return Ok(());
        }
    }
    process::signal(pidfd.as_fd(), Signal::SIGKILL as i32)?;
    process::wait(pidfd.as_fd(), Some(Duration::from_secs(10)))?;
    Ok(())
}
