//! `sampan network rm` and `prune`.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::ensure;
use sampan_container::state::{ContainerDir, State};
use sampan_network::{Error, Network, Networks};

use super::list::is_older;
use super::{MISSING, definition, find};
use crate::context::Context;
use crate::output::filter::Filters;
use crate::{Coded, output, users};

/// podman-network-rm(1), "Exit Status": a container is on it.
const IN_USE: u8 = 2;

#[derive(Debug, clap::Args)]
pub(super) struct Remove {
    /// Also stop and remove the containers on them; one that doesn't exist is no error
    #[arg(long, short)]
    force: bool,
    /// With --force: seconds for a container to end, instead of its own; a service has those of its unit
    #[arg(long, short, value_name = "SECONDS", requires = "force")]
    time: Option<u32>,
    /// Their names or ids
    #[arg(value_name = "NETWORK", required = true)]
    names: Vec<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Prune {
    /// Only some: label=, until= (a moment, or how long ago, as 24h)
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Don't ask
    #[arg(long, short)]
    force: bool,
}

/// Removes them one after the other.
pub(super) fn run(options: &Remove, context: &Context) -> anyhow::Result<ExitCode> {
    output::each(&options.names, |name| remove(name, options, context))
}

/// The containers that hold addresses of a network.
fn users_of(
    networks: &Networks,
    network: &Network,
    context: &Context,
) -> anyhow::Result<Vec<(ContainerDir, State)>> {
    let holders = networks.holders(&network.name)?;
    if holders.is_empty() {
        return Ok(Vec::new());
    }
    users::of(context, |state| holders.contains(&state.id))
}

fn remove(name: &str, options: &Remove, context: &Context) -> anyhow::Result<()> {
    let force = options.force;
    let time = options.time.map(|seconds| Duration::from_secs(seconds.into()));
    let networks = context.networks()?;
    let network = match find(&networks, name) {
        Ok(network) => network,
        Err(Error::NoNetwork(_)) if force => return Ok(()),
        Err(Error::NoNetwork(_)) => {
            let message = format!("unable to find network with name or ID {name}: network not found");
            return Err(Coded { code: MISSING, message }.into());
        }
        Err(error) => return Err(error.into()),
    };
    ensure!(network.name != networks.default_name()?, "default network {} cannot be removed", network.name);
    if force {
        users::remove(context, users_of(&networks, &network, context)?, time)?;
    }
    match networks.remove(&network.name, force) {
        Ok(()) => {
            definition::forget(&network.name, context)?;
            output::lines([name])
        }
        Err(error @ Error::NetworkInUse { .. }) => {
            Err(Coded { code: IN_USE, message: format!("{error}: network is being used") }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// Removes those that nobody is on.
pub(super) fn prune(options: &Prune, context: &Context) -> anyhow::Result<ExitCode> {
    let filters = Filters::parse(&options.filter, &["label", "until"])?;
    let until = filters.until()?;
    let question = "WARNING! This will remove all networks not used by at least one container.";
    if !options.force && !output::confirm(question)? {
        return Ok(ExitCode::SUCCESS);
    }
    let networks = context.networks()?;
    let default = networks.default_name()?;
    for network in networks.list()? {
        let is_young = until.is_some_and(|until| !is_older(&network, until));
        if network.name == default || is_young || !filters.labels(&network.labels) {
            continue;
        }
        match networks.remove(&network.name, false) {
            Ok(()) => {
                definition::forget(&network.name, context)?;
                output::lines([&network.name])?;
            }
            Err(Error::NetworkInUse { .. } | Error::NoNetwork(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(ExitCode::SUCCESS)
}
