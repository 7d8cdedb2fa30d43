//! `sampan system`: how much there is, what can go, and whether what is there is whole.

mod df;
mod fsck;
mod prune;

use std::process::ExitCode;

use crate::context::Context;

/// `sampan system df|fsck|prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Show how much space images, containers and volumes take
    Df(df::Options),
    /// Find what is damaged in the image store, and mend it
    Fsck(fsck::Options),
    /// Remove what nothing uses: ended containers, images, and volumes if asked to
    Prune(prune::Options),
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Df(options) => df::run(&options, context),
        Verb::Fsck(options) => fsck::run(&options, context),
        Verb::Prune(options) => prune::run(&options, context),
    }
}
