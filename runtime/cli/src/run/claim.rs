//! The name, and with it the right to make the container.

use anyhow::{Context as _, bail};
use sampan_container::Error;
use sampan_container::state::{ContainerDir, Containers, Lock, Status, check_name};

use super::id;
use super::options::Options;
use super::supervise::End;
use super::unit;
use crate::context::Context;
use crate::release;

/// Somebody else may take the name between our clean-up and our claim; more often than this it isn't chance.
const TRIES: usize = 20;

/// A container's directory, locked by us for as long as this process lives: until systemd has the container, or until
/// the end of one that is run in a shell or by a oneshot unit.
#[derive(Debug)]
pub(crate) struct Claim {
    id: String,
    container: ContainerDir,
    _lock: Lock,
}

/// Takes the name; a dead container that was to be removed, or any with `--replace`, gives way.
///
/// # Errors
/// The name is in use, or what holds it can't be removed.
pub(crate) fn claim(options: &Options, context: &Context) -> anyhow::Result<Claim> {
    let id = id::random()?;
    let name = options.name.as_deref().map_or_else(|| id[..12].into(), unit::container_name);
    check_name(&name)?;
    let containers = context.containers()?;
    for _ in 0..TRIES {
        match containers.create(&name) {
            Ok(container) => {
                let lock = container.lock()?;
                // Between the two steps a clean-up may have taken the new directory for a leftover.
                if container.path().join("lock").exists() {
                    release::remove_layer(context, &name)?;
                    return Ok(Claim { id, container, _lock: lock });
                }
            }
            Err(Error::Exists(_)) => give_way(options, context, &containers, &name)?,
            Err(error) => return Err(error.into()),
        }
    }
    bail!(
        "the name \"{name}\" is taken again as often as it is freed: does another unit use ContainerName={name}?"
    )
}

fn give_way(options: &Options, context: &Context, containers: &Containers, name: &str) -> anyhow::Result<()> {
    let container = match containers.get(name) {
        Err(Error::NoSuchContainer(_)) => return Ok(()),
        other => other?,
    };
    let Some(_lock) = container.try_lock()? else {
        bail!("container \"{name}\" is being started by another process: wait for it, or choose another name")
    };
    if let Ok(state) = container.read() {
        let is_leftover = state.remove && state.live_status() == Status::Stopped;
        let is_unfinished = matches!(state.status, Status::Creating | Status::Created);
        if !(options.replace || is_leftover || is_unfinished) {
            let unit = state.unit.map_or(String::new(), |unit| format!(", of unit {unit}"));
            bail!(
                "the name \"{name}\" is in use by container {}{unit}: remove that one (`sampan rm {name}`), choose \
                 another name, or use --replace",
                &state.id[..12.min(state.id.len())]
            );
        }
    }
    release::release(context, &container).with_context(|| format!("removing the earlier container {name}"))
}

impl Claim {
    /// 64 hexadecimal digits.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The container's name.
    pub(crate) fn name(&self) -> &str {
        self.container.name()
    }

    /// The directory of the state.
    pub(crate) fn container(&self) -> &ContainerDir {
        &self.container
    }

    /// Gives everything back: the start has failed.
    ///
    /// # Errors
    /// See [`release::release`].
    pub(crate) fn release(&self, context: &Context) -> anyhow::Result<()> {
        release::release(context, &self.container)
    }

    /// The container of a shell has ended: removes it, or notes how it ended.
    ///
    /// # Errors
    /// See [`release::release`].
    pub(crate) fn ended(&self, context: &Context, remove: bool, end: End) -> anyhow::Result<()> {
        if remove {
            return self.release(context);
        }
        let mut state = self.container.read()?;
        release::release_resources(context, &self.container, &state)?;
        state.status = Status::Stopped;
        state.exit_code = match end {
            End::Exited(code) => Some(code.into()),
            End::Killed(signal) | End::Stopped(signal) => Some(128 + signal),
            End::HandedOver => None,
        };
        state.finished = Some(jiff::Timestamp::now().to_string());
        self.container.write(&state)?;
        Ok(())
    }
}
