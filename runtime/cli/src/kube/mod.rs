//! `sampan kube`: Kubernetes YAML becomes pods whose containers are services of their own.
//!
//! The way of a file: [`yaml`] reads it into a tree that knows its lines; [`read`] and the table in [`model`] make
//! objects of that, which [`objects`] sorts by kind; [`plan`], with [`container`], [`environment`], [`volumes`],
//! [`probes`] and [`quantity`], turns each pod into words for `sampan pod create` and `sampan run`, without touching
//! the host. Then [`play`] acts: a [`record`] of what will be there, [volumes on the host](store), the pod, and a
//! transient [`service`] for each container. [`down`] takes back what the record says.
//!
//! Nothing of ours stays: the unit of a `.kube` file is one that has done its work, its containers are systemd's own
//! children, and a unit beside it ends it with the last of them.

mod container;
mod down;
mod environment;
mod model;
mod objects;
mod options;
mod plan;
mod play;
mod probes;
mod quantity;
mod read;
mod record;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod volumes;
mod yaml;

use std::path::PathBuf;
use std::process::ExitCode;

pub(crate) use self::play::unit_of;
use crate::context::Context;

/// `sampan kube play|down`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make the pods that Kubernetes YAML describes, and start their containers
    Play(Box<options::Play>),
    /// End and remove what `play` has made
    Down(options::Down),
    /// What generated units call when a container has ended
    #[command(hide = true)]
    Ended {
        /// The unit that has played the YAML
        unit: String,
    },
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Play(options) => play::run(&options, context, modules),
        Verb::Down(options) => down::run(&options, context),
        Verb::Ended { unit } => down::ended(&unit, context),
    }
}
