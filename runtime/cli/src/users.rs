//! Containers that use an image, a network or a volume, which can't be removed before they are.

use std::collections::HashSet;
use std::time::Duration;

use sampan_container::state::{ContainerDir, State};

use crate::context::Context;
use crate::{release, stop};

/// The containers whose state says so.
///
/// # Errors
/// The containers can't be listed.
pub(crate) fn of(
    context: &Context,
    uses: impl Fn(&State) -> bool,
) -> anyhow::Result<Vec<(ContainerDir, State)>> {
    let containers = context.containers()?.list()?.into_iter();
    // One that can't be read is being made or removed: it is gone or busy in a moment.
    let states = containers.filter_map(|container| Some((container.read().ok()?, container)));
    Ok(states.filter(|(state, _)| uses(state)).map(|(state, container)| (container, state)).collect())
}

/// Ids of the images that containers use, and of those that are mounted. Whoever removes images asks while holding the right to it, or one that is
/// about to be used is not among them.
///
/// # Errors
/// The containers can't be listed.
pub(crate) fn images(context: &Context) -> anyhow::Result<HashSet<String>> {
    let users = of(context, |state| state.image.is_some())?;
    let of_containers = users.into_iter().filter_map(|(_, state)| Some(state.image?.id));
    Ok(of_containers.chain(crate::images::mounted(context)?).collect())
}

/// The ids of those containers.
pub(crate) fn ids(users: &[(ContainerDir, State)]) -> Vec<String> {
    users.iter().map(|(_, state)| state.id.clone()).collect()
}

/// Stops and removes them, as `rm --force` does; `time` is how long one may take to end instead of its own.
///
/// # Errors
/// One doesn't end or can't be removed.
pub(crate) fn remove(
    context: &Context,
    users: Vec<(ContainerDir, State)>,
    time: Option<Duration>,
) -> anyhow::Result<()> {
    for (container, state) in users {
        stop::stop(&state, time)?;
        // A unit's own clean-up may have been here already.
        if container.path().exists() {
            let _lock = container.lock()?;
            release::release(context, &container)?;
        }
    }
    Ok(())
}
