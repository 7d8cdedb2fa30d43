//! The commands that work with unit files: `sampan generate`, `diff`, `install`, `list`, `cat`, and
//! `sampan rm` of a unit file. `sampan quadlet …` is the same code under the names that
//! podman-quadlet(1) has.
//!
//! [`place`] says which folders, which engine and which systemd are meant; [`find`] what a word on the
//! command line names. What is installed, and what is wrong with it, comes from the generator's own
//! library, so that these commands and the boot never disagree. `applications` keeps account of files
//! that were installed together.

mod applications;
pub(crate) mod cat;
pub(crate) mod diff;
mod find;
pub(crate) mod generate;
pub(crate) mod install;
pub(crate) mod list;
pub(crate) mod place;
pub(crate) mod rm;
mod transaction;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use sampan_generator::Diagnostic;

/// `sampan quadlet install|list|print|rm`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Install unit files, as sampan install does, and reload systemd
    Install(install::QuadletOptions),
    /// List unit files, as sampan list does
    #[command(visible_alias = "ls")]
    List(list::Options),
    /// Show unit files with their drop-ins, as sampan cat does
    #[command(visible_alias = "cat")]
    Print(cat::Options),
    /// Remove unit files and applications, and reload systemd
    Rm(rm::QuadletOptions),
}

/// Runs the verb.
pub(crate) fn command(command: Command) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Install(options) => install::run(options.into()),
        Verb::List(options) => list::run(options),
        Verb::Print(options) => cat::run(options),
        Verb::Rm(options) => rm::run(options.into()),
    }
}

/// Prints what is wrong to standard error, in colour on a terminal.
fn tell<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>) {
    let colours = std::io::stderr().is_terminal();
    for diagnostic in diagnostics {
        eprintln!("{}", diagnostic.render(colours));
    }
}
