//! `sampan rm`: removes containers with their writable layers and anonymous volumes. A name that ends as a
//! unit file's does (`web.container`) means that file, if there is one.

use std::process::ExitCode;

use sampan_container::state::{State, Status};

use sampan_generator::keys::UnitType;

use crate::Coded;
use crate::context::Context;
use crate::quadlet;
use crate::release;
use crate::stop::{choose, each, stop};

/// podman-rm(1), "Exit Status": no such container.
const MISSING: u8 = 1;
/// The same: the container is running or paused.
const RUNNING: u8 = 2;

/// `sampan rm [options] CONTAINER|FILE…`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A name that ends in .container, .network and so on means the unit file: it is removed with \
                        its drop-ins. More of that kind: sampan quadlet rm."
)]
pub(crate) struct Options {
    /// All containers
    #[arg(long, short)]
    all: bool,
    /// Stop running containers, or the unit file's service, first
    #[arg(long, short)]
    force: bool,
    /// A container that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Also remove anonymous volumes; they always go with their container
    #[arg(long, short)]
    volumes: bool,
    /// After removing unit files, have systemd read the units
    #[arg(long)]
    reload: bool,
    /// Containers by name or identifier, or unit files
    #[arg(value_name = "CONTAINER|FILE", required_unless_present = "all", conflicts_with = "all")]
    containers: Vec<String>,
}

/// Removes each.
pub(crate) fn run(mut options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let (files, containers) = options
        .containers
        .into_iter()
        .partition(|name| UnitType::of(name).is_some() && !is_container(name, context));
    options.containers = containers;
    let removed = remove_files(files, &options);
    if options.containers.is_empty() && !options.all {
        return removed;
    }
    if let Err(error) = removed {
        eprintln!("Error: {error:#}");
        remove_containers(&options, context)?;
        return Ok(ExitCode::FAILURE);
    }
    remove_containers(&options, context)
}

/// Whether a name that ends as a unit file's does means a container: there is one, and no such file.
fn is_container(name: &str, context: &Context) -> bool {
    let is_one = context.containers().is_ok_and(|containers| containers.get(name).is_ok());
    is_one && !quadlet::rm::is_installed(name)
}

fn remove_files(names: Vec<String>, options: &Options) -> anyhow::Result<ExitCode> {
    if names.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let (force, ignore, reload) = (options.force, options.ignore, options.reload);
    quadlet::rm::run(quadlet::rm::Options { force, ignore, reload, names, ..Default::default() })
}

fn remove_containers(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
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
