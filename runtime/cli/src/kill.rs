//! `sampan kill`: a signal for the container's first process.

use std::os::fd::AsFd;
use std::process::ExitCode;

use anyhow::bail;
use sampan_container::process;

use crate::context::Context;
use crate::run::signal;
use crate::stop::{choose, each};

/// `sampan kill [options] CONTAINER…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All running containers
    #[arg(long, short)]
    all: bool,
    /// The signal, by name or number
    #[arg(long, short, value_name = "SIGNAL", default_value = "KILL")]
    signal: String,
    /// Names or identifiers
    #[arg(value_name = "CONTAINER", required_unless_present = "all", conflicts_with = "all")]
    containers: Vec<String>,
}

/// Sends the signal to each.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let signal = signal::parse(&options.signal)?;
    let chosen = choose(&context.containers()?, &options.containers, options.all, false)?;
    each(chosen, |word, container| {
        let state = container.read()?;
        let pidfd = match state.pid {
            Some(pid) => process::open(pid, state.start_time)?,
            None => None,
        };
        let sent = match &pidfd {
            Some(pidfd) => process::signal(pidfd.as_fd(), signal)?,
            None => false,
        };
        if !sent && !options.all {
            bail!("can only kill running containers. {word} is in state {}", state.live_status());
        }
        println!("{word}");
        Ok(())
    })
}
