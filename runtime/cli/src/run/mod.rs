//! `sampan run`: from options to a process that is systemd's own child.
//!
//! [`run`] decides how long we stay; [`start`] is the order of things. The parts: [`options`] (podman-run's
//! vocabulary), [`image`] (find or fetch), [`spec`] and its neighbours [`process`], [`environment`], [`security`], [`selinux`],
//! [`mounts`], [`volumes`], [`artifacts`], [`member`] (what a pod shares), [`files`], [`secrets`], [`output`] (options and image configuration become an OCI runtime Spec),
//! [`network`] (what to reserve), [`limits`] (the unit's resource control), [`unit`] (what systemd is told),
//! [`supervise`] and [`relay`] (the cases in which we stay for a while).
//!
//! Whatever happens before the container is released can be repeated: a start begins by giving back what an earlier
//! one of the same name left behind, so being killed at any step costs nothing.

mod artifacts;
mod claim;
mod detached;
mod environment;
mod expose;
pub(crate) mod files;
pub(crate) mod groups;
pub(crate) mod health;
pub(crate) mod id;
mod image;
mod limits;
mod member;
pub(crate) mod mounts;
pub(crate) mod network;
mod options;
pub(crate) mod output;
mod process;
mod relay;
mod scope;
mod secrets;
pub(crate) mod security;
mod selinux;
mod service_user;
pub(crate) mod signal;
pub(crate) mod size;
mod spec;
mod start;
pub(crate) mod supervise;
mod tree;
pub(crate) mod unit;
pub(crate) mod user_namespace;
pub(crate) mod volumes;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use sampan_container::activation::Sockets;

pub(crate) use self::options::Options;
use self::start::{Started, Surroundings};
use self::supervise::Supervised;
use self::unit::Unit;
use crate::blame::Blamed as _;
use crate::containers_conf;
use crate::context::Context;
use crate::healthcheck::timers;

/// Who looks after the container once it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stay {
    /// systemd, at once: the container is its child.
    No,
    /// We, until the container says that it is ready or its health check does.
    UntilReady,
    /// We, until it has ended.
    UntilExit,
}

/// Runs the container as the options and the surroundings say.
///
/// # Errors
/// Whatever keeps it from starting; nothing of it is left then.
pub(crate) fn run(options: Options, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    // An option that doesn't exist is where the image is expected.
    if let Some(option) = options.arguments.first().filter(|first| first.starts_with('-')) {
        return Err(anyhow::anyhow!("sampan run has no option {option}")).blame("PodmanArgs", option);
    }
    if options.detach && options.tty {
        anyhow::bail!(
            "a terminal (-t) needs somebody who holds its other end: leave out -t, or -d (Notify=, Type= of a unit)"
        );
    }
    let sockets = Sockets::take(false);
    let unit = Unit::current();
    let conf = containers_conf::load(modules)?;
    if options.detach && unit.is_none() {
        return detached::run(&options, context, modules);
    }
    if unit.is_none() {
        scope::enter()?;
    }
    let stay = stay(&options, unit.as_ref());
    let base = image::find(&options, context, unit.as_ref())?;
    context.close_containers_files()?;
    let claim = claim::claim(&options, context)?;
    let surroundings = Surroundings { unit: unit.as_ref(), is_ours: stay != Stay::No, sockets };
    let started = start::start(&options, context, &conf, &base, &claim, surroundings)
        .and_then(|started| finish(&options, context, started, &claim, unit.as_ref(), stay));
    match started {
        Ok(end) => {
            if stay == Stay::UntilExit {
                claim.ended(context, options.rm, end)?;
            }
            Ok(end.mirror(unit.is_some()))
        }
        Err(error) => {
            // The error says why; what a failed clean-up leaves, the next start removes.
            if let Err(leftover) = claim.release(context) {
                log::warn!("{leftover:#}");
            }
            Err(error)
        }
    }
}

fn stay(options: &Options, unit: Option<&Unit>) -> Stay {
    match unit {
        Some(unit) if unit.listens && matches!(options.sdnotify.as_str(), "container" | "healthy") => {
            Stay::UntilReady
        }
        Some(unit) if unit.listens && options.detach => Stay::No,
        _ => Stay::UntilExit,
    }
}

/// Everything is set up and the program waits: tells systemd, lets it go, and stays as long as needed.
fn finish(
    options: &Options,
    context: &Context,
    started: Started,
    claim: &claim::Claim,
    unit: Option<&Unit>,
    stay: Stay,
) -> anyhow::Result<supervise::End> {
    let Started { held, relay, health, stop_signal } = started;
    let pid = held.pid();
    if let Some(path) = &options.pidfile {
        std::fs::write(path, pid.to_string()).with_context(|| format!("writing {}", path.display()))?;
    }
    if let Some(path) = &options.cidfile {
        std::fs::write(path, claim.id()).with_context(|| format!("writing {}", path.display()))?;
    }
    if let (Some(check), Some(service)) = (&health, unit.and_then(|unit| unit.name.as_deref())) {
        // A service that is over with its program has no time for checks.
        if stay != Stay::UntilExit {
            timers::begin(service, check, claim.name(), context);
        }
    }
    if let (Stay::No, Some(unit)) = (stay, unit) {
        // First systemd, then the program: told after the exec, it loses the status of one that ends at once.
        unit.hand_over(pid, &format!("Container {}, process {pid}", claim.name()))?;
        held.release()?;
        return Ok(supervise::End::HandedOver);
    }
    let signals = supervise::hold_signals()?;
    let pidfd = held.pidfd().try_clone_to_owned()?;
    let terminal = started_terminal(held)?;
    let supervised = Supervised {
        unit: unit.filter(|_| stay == Stay::UntilReady),
        name: claim.name(),
        pid,
        pidfd,
        stop_signal,
        stop_timeout: Duration::from_secs(options.stop_timeout.into()),
        relay,
        health: health.as_ref().filter(|_| stay == Stay::UntilReady && options.sdnotify == "healthy"),
    };
    match terminal {
        Some(master) => crate::terminal::attach(master, || supervised.stay(&signals)),
        None => supervised.stay(&signals),
    }
}

/// Lets the program go; its terminal, if it has one, is ours to serve.
fn started_terminal(mut held: sampan_container::Held) -> anyhow::Result<Option<std::os::fd::OwnedFd>> {
    let terminal = held.take_terminal();
    held.release()?;
    Ok(terminal)
}
