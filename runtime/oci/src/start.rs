//! `start`.

use std::os::fd::{AsFd, OwnedFd};

use anyhow::{Context, Result, anyhow, bail};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use sampan_container::hooks::Hooks;
use sampan_container::process;
use sampan_container::state::{ContainerDir, State, Status};

use crate::args::Global;
use crate::create::{FIFO, STARTED};
use crate::delete;
use crate::notify::Relay;

/// Starts the program of a created container: lets its process execute it, and runs the hooks that follow.
pub(crate) fn start(global: &Global, id: &str) -> Result<u8> {
    let dir = global.container(id)?;
    // Whoever still creates it has the lock.
    let lock = dir.lock()?;
    let mut state = dir.read()?;
    let pid = match (state.live_status(), state.pid) {
        (Status::Created, Some(pid)) => pid,
        (Status::Stopped, _) => bail!("cannot start a container that has stopped: {:?}", state.name),
        (status, _) => bail!("cannot start an already running container: {:?} is {status}", state.name),
    };
    if state.command.is_empty() {
        return Err(end_without_program(&state, pid));
    }
    let relay = Relay::open(&dir)?;
    let path = dir.path().join(FIFO);
    let context = || format!("open({})", path.display());
    // Without a reader this would block: the process is gone if nobody has the FIFO open.
    let fifo: OwnedFd =
        rustix::fs::open(&path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())
            .with_context(context)?;
    let started = open_started(&dir)?;
    rustix::io::write(&fifo, b"g").with_context(|| format!("write({})", path.display()))?;
    std::fs::remove_file(&path).with_context(|| format!("unlink({})", path.display()))?;
    is_running(&dir, &mut state)?;
    drop(lock);
    if state.hooks {
        let hooks = Hooks::new(&dir.read_spec()?, &state.id, &state.bundle);
        if let Err(error) = around(&hooks, &fifo, started.as_ref(), pid) {
            // "Stop the container, and continue the lifecycle at step 12" (runtime.md): it is destroyed.
            delete::delete_and_tell(global, &dir, true)?;
            return Err(error);
        }
    }
    match relay {
        Some(relay) => relay.wait(pid, state.start_time).map(|()| 0),
        None => Ok(0),
    }
}

/// "This operation MUST generate an error if `process` was not set" (runtime.md, "Start"). The container's process has
/// nothing else to wait for, and ends.
fn end_without_program(state: &State, pid: i32) -> anyhow::Error {
    let ended = process::open(pid, state.start_time).and_then(|pidfd| match pidfd {
        Some(pidfd) => {
            process::signal(pidfd.as_fd(), libc::SIGKILL)?;
            process::wait(pidfd.as_fd(), Some(delete::PATIENCE)).map(drop)
        }
        None => Ok(()),
    });
    match ended {
        Ok(()) => anyhow!(
            "cannot start container {:?}: its configuration has no \"process\"; delete it, and create it with one",
            state.name
        ),
        Err(error) => error.into(),
    }
}

/// Writes down that the program runs.
pub(crate) fn is_running(dir: &ContainerDir, state: &mut State) -> Result<()> {
    state.status = Status::Running;
    state.started = Some(jiff::Timestamp::now().to_string());
    Ok(dir.write(state)?)
}

/// The hooks around the execution of the program: waits for those before it, in the container, and runs those after.
fn around(hooks: &Hooks, fifo: &OwnedFd, started: Option<&OwnedFd>, pid: i32) -> Result<()> {
    if let Some(started) = started {
        wait_started(started)?;
    }
    if hooks.around_start() {
        // The container's process has the other end until it executes the program, or ends.
        let mut end = [PollFd::new(fifo, PollFlags::empty())];
        rustix::io::retry_on_intr(|| rustix::event::poll(&mut end, None)).context("poll(exec.fifo)")?;
    }
    Ok(hooks.poststart(pid)?)
}

/// Opens what tells about the `startContainer` hooks, if there are any.
fn open_started(dir: &ContainerDir) -> Result<Option<OwnedFd>> {
    let path = dir.path().join(STARTED);
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(&path, flags, Mode::empty()) {
        Err(Errno::NOENT) => Ok(None),
        file => file.map(Some).with_context(|| format!("open({})", path.display())),
    }
}

/// Waits until the hooks are done. The container's process has it open for writing until it executes its program.
fn wait_started(started: &OwnedFd) -> Result<()> {
    let mut words = [0; 4096];
    let ready = || rustix::event::poll(&mut [PollFd::new(started, PollFlags::IN)], None);
    rustix::io::retry_on_intr(ready).context("poll(FIFO of the start)")?;
    let length = rustix::io::read(started, &mut words).context("read(FIFO of the start)")?;
    match &words[..length] {
        [0, ..] => Ok(()),
        [] => bail!("the container's process ended before its program was executed"),
        words => bail!("{}", String::from_utf8_lossy(words)),
    }
}
