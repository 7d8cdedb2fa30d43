//! Who is started on demand, while it runs: a container, or a pod with its containers.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use oci_spec::runtime::LinuxNamespaceType;
use sampan_container::state::Status;
use sampan_container::{process, shared};
use sampan_network::{is_listened_on, is_listened_on_in};

use crate::context::Context;
use crate::pod::{self, Pod, PodDir};
use crate::run::unit;

/// The file whose lock is the [`Turn`]. It has a byte for each time a pod's containers were stopped for want of clients.
const TURN: &str = "on-demand.lock";

/// A running container, or a pod.
#[derive(Debug)]
pub(super) struct Woken {
    pub(super) name: String,
    /// The holder of the lease.
    pub(super) id: String,
    /// Its service.
    pub(super) unit: Option<String>,
    directory: PathBuf,
    pub(super) life: Life,
}

/// How it is seen whether it still runs.
#[derive(Debug)]
pub(super) enum Life {
    Container { pid: i32, pidfd: OwnedFd, stop_timeout: u32 },
    Pod { directory: PodDir, pod: Box<Pod>, network: File, stops: u64 },
}

/// A process of a pod's container.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) unit: Option<String>,
    pub(super) stop_timeout: u32,
    pidfd: OwnedFd,
}

impl Member {
    pub(super) fn has_ended(&self) -> anyhow::Result<bool> {
        Ok(process::wait(self.pidfd.as_fd(), Some(Duration::ZERO))?)
    }
}

impl Woken {
    /// The container of this name, if it runs.
    pub(super) fn container(name: &str, context: &Context) -> anyhow::Result<Option<Self>> {
        let Ok(directory) = context.containers()?.get(&unit::container_name(name)) else { return Ok(None) };
        let Ok(state) = directory.read() else { return Ok(None) };
        let Some(pid) = state.pid else { return Ok(None) };
        let Some(pidfd) = process::open(pid, state.start_time)? else { return Ok(None) };
        Ok(Some(Self {
            name: state.name,
            id: state.id,
            unit: state.unit,
            directory: directory.path().to_owned(),
            life: Life::Container { pid, pidfd, stop_timeout: state.stop_timeout },
        }))
    }

    /// The pod of this name, if there is one.
    pub(super) fn pod(name: &str, context: &Context) -> anyhow::Result<Option<Self>> {
        let found = context.pods().list()?.into_iter().find(|directory| directory.name() == name);
        let Some(directory) = found else { return Ok(None) };
        // Counted before anything else is looked at: whatever is stopped from now on is noticed.
        let stops = stops(directory.path());
        let Some(pod) = directory.read().ok().filter(|pod| pod.is_complete) else { return Ok(None) };
        let path = shared::path(directory.path(), LinuxNamespaceType::Network);
        let Some(network) = path.and_then(|path| File::open(path).ok()) else { return Ok(None) };
        Ok(Some(Self {
            name: pod.name.clone(),
            id: pod.id.clone(),
            unit: pod.unit.clone(),
            directory: directory.path().to_owned(),
            life: Life::Pod { directory, pod: Box::new(pod), network, stops },
        }))
    }

    /// Where notes about it are kept as long as it lives.
    pub(super) fn path(&self) -> &Path {
        &self.directory
    }

    /// Whether it has ended, or a pod's containers were stopped since.
    pub(super) fn is_over(&self) -> anyhow::Result<bool> {
        self.is_over_within(Duration::ZERO)
    }

    /// The same, after waiting for that at most so long.
    pub(super) fn is_over_within(&self, patience: Duration) -> anyhow::Result<bool> {
        match &self.life {
            Life::Container { pidfd, .. } => Ok(process::wait(pidfd.as_fd(), Some(patience))?),
            Life::Pod { directory, pod, stops: seen, .. } => {
                std::thread::sleep(patience);
                let is_same = directory.read().is_ok_and(|now| now.id == pod.id && now.is_complete);
                Ok(!is_same || stops(directory.path()) != *seen)
            }
        }
    }

    /// Whether it is a pod in which no container runs.
    pub(super) fn is_deserted(&self, context: &Context) -> anyhow::Result<bool> {
        let Life::Pod { pod, .. } = &self.life else { return Ok(false) };
        let inside = pod::containers(context, pod)?;
        Ok(inside.iter().all(|(_, state)| state.live_status() == Status::Stopped))
    }

    /// Whether a program listens on a TCP port, where packets from outside reach it.
    pub(super) fn listens(&self, port: u16) -> anyhow::Result<bool> {
        match &self.life {
            Life::Container { pid, .. } => Ok(is_listened_on(*pid, port)),
            Life::Pod { network, .. } => Ok(is_listened_on_in(network.as_fd(), port)?),
        }
    }

    /// The processes of a pod's containers; none of a container.
    pub(super) fn members(&self, context: &Context) -> anyhow::Result<Vec<Member>> {
        let Life::Pod { pod, .. } = &self.life else { return Ok(Vec::new()) };
        let mut members = Vec::new();
        for (_, state) in pod::containers(context, pod)? {
            let Some(pid) = state.pid else { continue };
            if let Some(pidfd) = process::open(pid, state.start_time)? {
                members.push(Member { unit: state.unit, stop_timeout: state.stop_timeout, pidfd });
            }
        }
        Ok(members)
    }
}

fn stops(directory: &Path) -> u64 {
    fs::metadata(directory.join(TURN)).map_or(0, |file| file.len())
}

/// The right to decide where the ports lead.
#[derive(Debug)]
pub(super) struct Turn {
    file: File,
}

impl Turn {
    /// Waits for it. `None`: whose ports they were is gone.
    pub(super) fn take(woken: &Woken) -> anyhow::Result<Option<Self>> {
        let path = woken.path().join(TURN);
        let file = match File::options().append(true).create(true).open(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            file => file.with_context(|| format!("opening {}", path.display()))?,
        };
        file.lock().with_context(|| format!("locking {}", path.display()))?;
        Ok(Some(Self { file }))
    }

    /// Tells whoever waits for it that its containers aren't those that it has seen.
    pub(super) fn note_stop(&mut self) -> anyhow::Result<()> {
        self.file.write_all(b".").context("noting that the containers of a pod were stopped")
    }
}
