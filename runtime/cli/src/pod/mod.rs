//! `sampan pod`: containers that share a network, `/dev/shm` and a host name.
//!
//! Nothing runs for a pod: its namespaces are kept by mounts ([`sampan_container::shared`]), and its containers are
//! services like all others, which systemd binds to the pod's service. [`create`] makes a pod, [`remove`] gives it
//! back; [`state`] is what is known of it in between; [`members`] are the containers that come and go;
//! [`idle`] ends a pod whose last container has ended; [`list`] and [`inspect`] show them.
//!
//! Users: a pod with a user namespace keeps that one too, and its containers are born in it: the pod's network then
//! belongs to the containers' own root, who may bind port 80, mount `/sys` and change what is under `net.` in
//! sysctl(8), as in a container with a network of its own.

pub(crate) mod create;
mod idle;
mod inspect;
mod list;
mod members;
mod remove;
pub(crate) mod settled;
mod state;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use sampan_container::state::Status;
use sampan_status::systemd::Systemd;

pub(crate) use self::members::{join, leave};
pub(crate) use self::remove::containers;
use self::state::MISSING;
pub(crate) use self::state::{Pod, PodDir, Pods};
use crate::Coded;
use crate::context::Context;
use crate::run::unit;
use crate::{output, stop};

/// `sampan pod create|rm|ps|inspect|stop|start|restart|exists|prune`
#[derive(Debug, clap::Args)]
pub(crate) struct Command {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Make a pod
    Create(Box<create::Options>),
    /// Remove pods
    Rm(Remove),
    /// List pods
    #[command(visible_aliases = ["ls", "list"])]
    Ps(list::Options),
    /// Show all that is known of pods
    Inspect(inspect::Options),
    /// Stop the containers of pods, and the pods' services
    Stop(Stop),
    /// Start the services of pods' containers
    Start {
        /// Names or identifiers
        #[arg(value_name = "POD", required = true)]
        pods: Vec<String>,
    },
    /// Restart pods with their containers
    Restart {
        /// Names or identifiers
        #[arg(value_name = "POD", required = true)]
        pods: Vec<String>,
    },
    /// Exit with 0 if there is such a pod, with 1 if not
    Exists {
        /// The pod
        pod: String,
    },
    /// Remove all pods without running containers
    Prune {
        /// Don't ask
        #[arg(long, short)]
        force: bool,
    },
    /// What generated units call when a container of a pod has ended
    #[command(hide = true)]
    Idle {
        /// The pod
        pod: String,
    },
}

#[derive(Debug, clap::Args)]
struct Remove {
    /// All pods
    #[arg(long, short)]
    all: bool,
    /// Also stop and remove their containers; a pod that doesn't exist is no error
    #[arg(long, short)]
    force: bool,
    /// A pod that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Seconds to wait before killing containers that no unit has [default: their own]
    #[arg(long, short, value_name = "SECONDS")]
    time: Option<u32>,
    /// Names or identifiers
    #[arg(value_name = "POD", required_unless_present = "all", conflicts_with = "all")]
    pods: Vec<String>,
}

#[derive(Debug, clap::Args)]
struct Stop {
    /// All pods
    #[arg(long, short)]
    all: bool,
    /// A pod that doesn't exist is no error
    #[arg(long, short)]
    ignore: bool,
    /// Seconds to wait before killing containers that no unit has [default: their own]
    #[arg(long, short, value_name = "SECONDS")]
    time: Option<u32>,
    /// Names or identifiers
    #[arg(value_name = "POD", required_unless_present = "all", conflicts_with = "all")]
    pods: Vec<String>,
}

/// Does what the verb says.
pub(crate) fn command(command: Command, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    match command.verb {
        Verb::Create(options) => create::run(&options, context, modules),
        Verb::Rm(options) => remove_all(&options, context),
        Verb::Ps(options) => list::run(&options, context),
        Verb::Inspect(options) => inspect::run(&options, context),
        Verb::Stop(options) => stop_all(&options, context),
        Verb::Start { pods } => output::each(&pods, |name| start_one(name, context)),
        Verb::Restart { pods } => output::each(&pods, |name| restart_one(name, context)),
        Verb::Exists { pod } => Ok(ExitCode::from(u8::from(context.pods().get(&pod).is_err()))),
        Verb::Prune { force } => prune(force, context),
        Verb::Idle { pod } => idle::run(&pod, context),
    }
}

/// The names that the options mean.
fn chosen(names: &[String], all: bool, context: &Context) -> anyhow::Result<Vec<String>> {
    match all {
        true => Ok(context.pods().list()?.iter().map(|directory| directory.name().to_owned()).collect()),
        false => Ok(names.to_vec()),
    }
}

/// A pod, or `None` if there is none and that is no error.
fn find(name: &str, ignore: bool, context: &Context) -> anyhow::Result<Option<PodDir>> {
    let is_missing = |error: &anyhow::Error| error.downcast_ref::<Coded>().is_some_and(|c| c.code == MISSING);
    match context.pods().get(name) {
        Err(error) if ignore && is_missing(&error) => Ok(None),
        found => found.map(Some),
    }
}

fn remove_all(options: &Remove, context: &Context) -> anyhow::Result<ExitCode> {
    let names = chosen(&options.pods, options.all, context)?;
    let caller = unit::generated_unit();
    output::each(&names, |name| {
        let Some(directory) = find(name, options.ignore || options.force, context)? else { return Ok(()) };
        if caller.as_deref().is_some_and(|caller| belongs_elsewhere(directory.read().ok().as_ref(), caller)) {
            return Ok(());
        }
        if options.force
            && let Ok(pod) = directory.read()
        {
            stop_containers(&pod, options.time, context)?;
        }
        remove::remove(context, &directory, options.force)?;
        output::lines([name])
    })
}

/// Whether a pod isn't the calling unit's. A unit's end gives back the unit's own pod, and not one that another has
/// made under the same name (`PodName=`).
fn belongs_elsewhere(pod: Option<&Pod>, caller: &str) -> bool {
    pod.is_some_and(|pod| pod.unit.as_deref() != Some(caller))
}

/// Ends the containers that no unit has within that time; systemd sees to the others.
fn stop_containers(pod: &Pod, time: Option<u32>, context: &Context) -> anyhow::Result<()> {
    for (_, state) in remove::containers(context, pod)? {
        stop::stop(&state, time.map(|seconds| Duration::from_secs(seconds.into())))?;
    }
    Ok(())
}

fn stop_all(options: &Stop, context: &Context) -> anyhow::Result<ExitCode> {
    let names = chosen(&options.pods, options.all, context)?;
    output::each(&names, |name| {
        let Some(directory) = find(name, options.ignore, context)? else { return Ok(()) };
        let pod = directory.read()?;
        if let Some(unit) = &pod.unit {
            systemd(unit)?.stop(unit)?;
        }
        stop_containers(&pod, options.time, context)?;
        output::lines([name])
    })
}

fn systemd(unit: &str) -> anyhow::Result<Systemd> {
    Systemd::system().with_context(|| format!("connecting to systemd for {unit}"))
}

/// The unit that made a pod.
fn unit_of(name: &str, context: &Context) -> anyhow::Result<String> {
    let pod = context.pods().get(name)?.read()?;
    match pod.unit {
        Some(unit) => Ok(unit),
        None => bail!(
            "the pod {name} was made by `sampan pod create` and not by a service: start containers in it with \
             `sampan run --pod {name}`"
        ),
    }
}

fn start_one(name: &str, context: &Context) -> anyhow::Result<()> {
    let unit = unit_of(name, context)?;
    let systemd = systemd(&unit)?;
    systemd.start(&unit)?;
    for member in systemd.unit(&unit)?.bound_by {
        systemd.start(&member)?;
    }
    output::lines([name])
}

fn restart_one(name: &str, context: &Context) -> anyhow::Result<()> {
    let unit = unit_of(name, context)?;
    systemd(&unit)?.restart(&unit)?;
    output::lines([name])
}

fn prune(force: bool, context: &Context) -> anyhow::Result<ExitCode> {
    let question = "WARNING! This will remove all pods without running containers.";
    if !force && !output::confirm(question)? {
        return Ok(ExitCode::SUCCESS);
    }
    for directory in context.pods().list()? {
        let Ok(pod) = directory.read() else { continue };
        let inside = remove::containers(context, &pod)?;
        if inside.iter().all(|(_, state)| state.live_status() == Status::Stopped) {
            remove::remove(context, &directory, true)?;
            output::lines([&pod.id])?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two units with the same `PodName=`: the end of the first must not remove the second one's pod.
    #[test]
    fn a_units_end_removes_its_own_pod_only() {
        let pod = |unit: Option<&str>| Pod { unit: unit.map(str::to_owned), ..Pod::default() };
        assert!(!belongs_elsewhere(Some(&pod(Some("a-pod.service"))), "a-pod.service"));
        assert!(belongs_elsewhere(Some(&pod(Some("b-pod.service"))), "a-pod.service"));
        assert!(belongs_elsewhere(Some(&pod(None)), "a-pod.service"));
        // What was never finished is anybody's to tidy up.
        assert!(!belongs_elsewhere(None, "a-pod.service"));
    }
}
