//! The network namespaces of what runs.

use std::cell::LazyCell;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::thread;

use anyhow::{Context as _, anyhow};

use oci_spec::runtime::LinuxNamespaceType;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use sampan_container::state::State;
use sampan_container::{process, shared};

use crate::context::Context;

/// Leads from the id under which a container or pod holds a lease to its network
/// namespace; to none if it doesn't run. What runs is looked up once.
pub(crate) fn of_holders(context: &Context) -> impl Fn(&str) -> Option<OwnedFd> {
    let states = LazyCell::new(|| {
        let containers = context.containers().and_then(|all| Ok(all.list()?)).unwrap_or_default();
        let states = containers.into_iter().filter_map(|container| container.read().ok());
        states.map(|state| (state.id.clone(), state)).collect::<HashMap<_, _>>()
    });
    move |id| match states.get(id) {
        Some(state) => of_container(state),
        None => of_pod(context, id),
    }
}

/// The network namespace of a pod; `None` if there is none.
fn of_pod(context: &Context, id: &str) -> Option<OwnedFd> {
    let pods = context.pods().list().ok()?;
    let pod = pods.iter().find(|pod| pod.read().is_ok_and(|pod| pod.id == id))?;
    let path = shared::path(pod.path(), LinuxNamespaceType::Network)?;
    Some(File::open(path).ok()?.into())
}

/// The network namespace of a container; `None` if it doesn't run.
pub(crate) fn of_container(state: &State) -> Option<OwnedFd> {
    let is_there = || process::open(state.pid?, state.start_time).ok().flatten();
    is_there()?;
    let namespace = File::open(format!("/proc/{}/ns/net", state.pid?)).ok()?;
    // The number might have passed to another process in between.
    is_there()?;
    Some(namespace.into())
}

/// Makes sure that the file at `path` is a network namespace, by going there.
///
/// # Errors
/// There is none, or it is something else.
pub(crate) fn check(path: &Path) -> anyhow::Result<()> {
    let file = File::open(path).with_context(|| {
        format!("there is no network namespace {}: `ip netns add` makes one below /run/netns", path.display())
    })?;
    let entered =
        thread::spawn(move || move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)));
    match entered.join() {
        Ok(Err(rustix::io::Errno::INVAL)) => Err(anyhow!("{} is no network namespace", path.display())),
        Ok(entered) => entered.with_context(|| format!("entering the network namespace {}", path.display())),
        Err(_) => Err(anyhow!("entering the network namespace {} has failed", path.display())),
    }
}
