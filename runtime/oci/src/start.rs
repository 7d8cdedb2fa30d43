//! `start`.

use std::os::fd::OwnedFd;

use anyhow::{Context, Result, bail};
use rustix::fs::{Mode, OFlags};
use sampan_container::hooks::Hooks;
use sampan_container::state::{ContainerDir, Status};

use crate::args::Global;
use crate::create::FIFO;
use crate::notify::Relay;

/// Starts the program of a created container.
pub(crate) fn start(global: &Global, id: &str) -> Result<u8> {
    let dir = global.container(id)?;
    release(&dir, Relay::wait)?;
    Ok(0)
}

/// Lets the container's process execute its program, and runs the hooks that follow. `ready` waits for its word, if
/// it is to have one.
pub(crate) fn release(
    dir: &ContainerDir,
    ready: impl FnOnce(Relay, i32, Option<u64>) -> Result<()>,
) -> Result<()> {
    let lock = dir.lock()?;
    let mut state = dir.read()?;
    match state.live_status() {
        Status::Created => {}
        Status::Stopped => bail!("cannot start a container that has stopped: {:?}", state.name),
        status => bail!("cannot start an already running container: {:?} is {status}", state.name),
    }
    let relay = Relay::open(dir)?;
    let path = dir.path().join(FIFO);
    let context = || format!("open({})", path.display());
    // Without a reader this would block: the process is gone if nobody has the FIFO open.
    let fifo: OwnedFd =
        rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .with_context(context)?;
    rustix::io::write(&fifo, b"g").with_context(|| format!("write({})", path.display()))?;
    std::fs::remove_file(&path).with_context(|| format!("unlink({})", path.display()))?;
    state.status = Status::Running;
    state.started = Some(jiff::Timestamp::now().to_string());
    dir.write(&state)?;
    drop(lock);
    let spec = dir.read_spec()?;
    if let Some(pid) = state.pid {
        Hooks::new(&spec, &state.id, &state.bundle).poststart(pid)?;
        if let Some(relay) = relay {
            ready(relay, pid, state.start_time)?;
        }
    }
    Ok(())
}
