//! `sampan network`: makes, shows, changes and removes networks, and connects containers that run.
//!
//! A file for each verb, or for two that undo each other. Beside them [`explain`] says in words what `inspect` shows,
//! [`definition`] follows the units that networks come from, and [`resolution`] keeps the files about names of a
//! container whose networks change.

mod connect;
mod create;
pub(crate) mod definition;
mod explain;
mod inspect;
mod list;
mod reload;
mod remove;
pub(crate) mod resolution;
mod update;

use std::process::ExitCode;

use sampan_network::{Error, Network, Networks};

pub(crate) use self::inspect::shown;
use crate::context::Context;
use crate::dhcp;

/// podman-network-rm(1), "Exit Status": there is no such network.
const MISSING: u8 = 1;

/// `sampan network create|ls|inspect|rm|exists|update|prune|connect|disconnect|reload|renew`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a network
    Create(Box<create::Create>),
    /// List networks
    #[command(visible_alias = "list")]
    Ls(list::List),
    /// Show all that is known of networks
    Inspect(inspect::Inspect),
    /// Remove networks
    #[command(visible_alias = "remove")]
    Rm(remove::Remove),
    /// Exit with 0 if there is such a network, with 1 if not
    Exists {
        /// The network
        name: String,
    },
    /// Change the servers that a network asks for names
    Update(update::Update),
    /// Remove all networks that no container is on
    Prune(remove::Prune),
    /// Connect a running container or pod to a network
    Connect(connect::Connect),
    /// Take a network away from a running container or pod
    Disconnect(connect::Disconnect),
    /// Load the firewall of all networks again, after another program has flushed it
    Reload(reload::Options),
    /// Ask the DHCP servers of a container's networks for more time, as its timer does
    Renew(dhcp::Renew),
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Create(options) => create::run(&options, context),
        Verb::Ls(options) => list::run(&options, context),
        Verb::Inspect(options) => inspect::run(&options, context),
        Verb::Rm(options) => remove::run(&options, context),
        Verb::Exists { name } => match find(&context.networks()?, &name) {
            Ok(_) => Ok(ExitCode::SUCCESS),
            Err(Error::NoNetwork(_)) => Ok(ExitCode::from(MISSING)),
            Err(error) => Err(error.into()),
        },
        Verb::Update(options) => update::run(&options, context),
        Verb::Prune(options) => remove::prune(&options, context),
        Verb::Connect(options) => connect::connect(&options, context),
        Verb::Disconnect(options) => connect::disconnect(&options, context),
        Verb::Reload(options) => reload::run(&options, context),
        Verb::Renew(options) => dhcp::renew(&options, context),
    }
}

/// The network that a user means: Podman's names for its default network mean ours.
pub(crate) fn find(networks: &Networks, name: &str) -> Result<Network, Error> {
    match networks.get(name) {
        Err(Error::NoNetwork(_)) if matches!(name, "podman" | "bridge" | "default") => {
            networks.get(&networks.default_name()?)
        }
        other => other,
    }
}
