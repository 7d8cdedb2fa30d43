//! `sampan rm`: removes containers with their writable layers and anonymous volumes.

use std::process::ExitCode;

use sampan_container::state::{State, Status};

use crate::Coded;
use crate::context::Context;
use crate::release;
use crate::stop::{choose, each, stop};

/// podman-rm(1), "Exit Status": no such container.
const MISSING: u8 = 1;
/// The same: the container is running or paused.
const RUNNING: u8 = 2;

/// `sampan rm [options] CONTAINER…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// All containers
    #[arg(long, short)]
    all: bool,
    /// Stop running containers first
    #[arg(long, short)]
    force: bool,
    /// A container that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Also remove anonymous volumes; they always go with their container
    #[arg(long, short)]
    volumes: bool,
    /// Names or identifiers
    #[arg(value_name = "CONTAINER", required_unless_present = "all", conflicts_with = "all")]
    containers: Vec<String>,
}

/// Removes each.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let containers = context.containers()?;
    let chosen = choose(&containers, &options.containers, options.all, options.ignore || options.force)
        .map_err(|error| Coded { code: MISSING, message: format!("{error:#}") })?;
    each(chosen, |word, container| {
        // A start that was killed early has left a directory and no state.
        let state = match container.read() {
            Err(sampan_container::Error::NoSuchContainer(_)) => {
                State { status: Status::Stopped, ..State::default() }
            }
            state => state?,
        };
        let status = state.live_status();
        if status != Status::Stopped && !options.force {
            let message = format!(
                "cannot remove container {word} as it is {status} - running or paused containers cannot be removed \
                 without force"
            );
            return Err(Coded { code: RUNNING, message }.into());
        }
        stop(&state, None)?;
        // A unit's own clean-up may have been here already.
        if container.path().exists() {
            let _lock = container.lock()?;
            release::release(context, container)?;
        }
        println!("{word}");
        Ok(())
    })
}
