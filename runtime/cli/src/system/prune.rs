//! `sampan system prune`: ended containers, images, and volumes if asked to.

use std::process::ExitCode;

use sampan_container::state::Status;

use crate::context::Context;
use crate::images::prune::{self as images, Choice};
use crate::output::{self, human};
use crate::{release, users};

/// `sampan system prune [options]`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Networks stay: those of .network files belong to services that are active. Images are chosen as \
                        sampan image prune does."
)]
pub(crate) struct Options {
    #[command(flatten)]
    choice: Choice,
    /// Also volumes that no container uses
    #[arg(long)]
    volumes: bool,
    /// Don't ask
    #[arg(long, short)]
    force: bool,
}

/// Removes.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let wanted = options.choice.wanted()?;
    anyhow::ensure!(
        !(options.volumes && options.choice.has_until()),
        "--volumes: with the filter \"until\" it isn't known which volumes are meant; use sampan volume prune"
    );
    let mut warning = "WARNING! This will remove:\n  - all containers that have ended\n".to_owned();
    if options.volumes {
        warning += "  - all volumes that no container uses\n";
    }
    warning += "  - ";
    warning += options.choice.what();
    if !options.force && !output::confirm(&warning)? {
        return Ok(ExitCode::SUCCESS);
    }
    let ended = containers(options, context)?;
    print("Deleted Containers", &ended)?;
    if options.volumes {
        print("Deleted Volumes", &volumes(context)?)?;
    }
    let pruned = images::prune(&options.choice, &wanted, context)?;
    print("Deleted Images", &images::lines(&pruned))?;
    output::lines([format!("Total reclaimed space: {}", human::size(pruned.collected.bytes))])?;
    images::remark(&pruned);
    Ok(ExitCode::SUCCESS)
}

fn print(heading: &str, removed: &[String]) -> anyhow::Result<()> {
    if removed.is_empty() {
        return Ok(());
    }
    output::lines(std::iter::once(heading).chain(removed.iter().map(String::as_str)))
}

/// Removes containers that have ended; returns their names.
fn containers(options: &Options, context: &Context) -> anyhow::Result<Vec<String>> {
    let mut removed = Vec::new();
    let has_ended = |state: &sampan_container::state::State| {
        state.live_status() == Status::Stopped && options.choice.fits(&state.labels, &state.created)
    };
    for (container, _) in users::of(context, has_ended)? {
        // One that is being started or cleaned up is somebody's.
        let Some(_lock) = container.try_lock()? else { continue };
        if container.read().is_ok_and(|state| has_ended(&state)) {
            release::release(context, &container)?;
            removed.push(container.name().to_owned());
        }
    }
    for name in release::left_layers(context)? {
        release::remove_left_layer(context, &name)?;
        removed.push(name);
    }
    Ok(removed)
}

/// Removes volumes that no container uses; returns their names.
fn volumes(context: &Context) -> anyhow::Result<Vec<String>> {
    let volumes = context.volumes();
    let mut removed = Vec::new();
    for volume in volumes.list()? {
        let is_its =
            |mount: &sampan_container::state::UserMount| mount.name.as_deref() == Some(volume.name());
        if users::of(context, |state| state.mounts.iter().any(is_its))?.is_empty() {
            volumes.remove(&volume)?;
            removed.push(volume.name().to_owned());
        }
    }
    Ok(removed)
}
