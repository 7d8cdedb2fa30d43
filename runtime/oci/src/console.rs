//! Terminals: handing the master to who manages the container, or relaying it to our own.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use oci_spec::runtime::Spec;
use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::termios::{OptionalActions, Termios};
use sampan_container::state::State;

use crate::foreground::{self, Signals};

/// Sends the master to the socket that the caller listens at, as runc does: its name as data, and the descriptor.
pub(crate) fn send(socket: &Path, master: &OwnedFd) -> Result<()> {
    send_with(socket, b"/dev/ptmx", master).with_context(|| format!("console socket {}", socket.display()))
}

/// Sends the listener of a filter to the agent that decides about system calls (OCI runtime-spec, "The Container
/// Process State"): the state as data, and the descriptor.
pub(crate) fn send_listener(spec: &Spec, state: &State, pid: i32, listener: &OwnedFd) -> Result<()> {
    let seccomp = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    let socket = seccomp.and_then(|s| s.listener_path().as_ref());
    let socket = socket.context("the seccomp filter notifies, but linux.seccomp.listenerPath is not set")?;
    let message = serde_json::json!({
        "ociVersion": state.oci_version,
        "fds": ["seccompFd"],
        "pid": pid,
        "metadata": seccomp.and_then(|s| s.listener_metadata().clone()).unwrap_or_default(),
        "state": {
            "ociVersion": state.oci_version,
            "id": state.id,
            "status": state.live_status().to_string(),
            "pid": state.pid.unwrap_or(pid),
            "bundle": state.bundle,
            "annotations": state.annotations,
        },
    });
    send_with(socket, message.to_string().as_bytes(), listener)
        .with_context(|| format!("seccomp listener {}", socket.display()))
}

fn send_with(socket: &Path, data: &[u8], fd: &OwnedFd) -> io::Result<()> {
    let address = SocketAddrUnix::new(socket)?;
    let flags = SocketFlags::CLOEXEC;
    let connection = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&connection, &address)?;
    let fds = [fd.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    rustix::net::sendmsg(&connection, &[IoSlice::new(data)], &mut control, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// Our own terminal in raw mode; as before when dropped.
struct Raw(Option<Termios>);

impl Raw {
    fn new() -> Self {
        let stdin = rustix::stdio::stdin();
        let before = rustix::termios::tcgetattr(stdin).ok();
        if let Some(before) = &before {
            let mut raw = before.clone();
            raw.make_raw();
            let _ = rustix::termios::tcsetattr(stdin, OptionalActions::Now, &raw);
        }
        Raw(before)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, before);
        }
    }
}

/// Relays between our standard streams and the master until the process behind `pidfd` has ended and everything
/// it wrote is out.
pub(crate) fn relay(master: &OwnedFd, pidfd: BorrowedFd<'_>, signals: &Signals) -> Result<()> {
    let _raw = Raw::new();
    let stdin = rustix::stdio::stdin();
    foreground::resize(master);
    let mut input = true;
    loop {
        let wanted = if input { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(master, PollFlags::IN),
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin, wanted),
            PollFd::new(signals, PollFlags::IN),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let [from_master, ended, from_stdin, signalled] = fds.map(|fd| !fd.revents().is_empty());
        if signalled {
            signals.pass(pidfd, Some(master))?;
        }
        if from_master && !copy(master.as_fd(), rustix::stdio::stdout())? {
            return Ok(());
        }
        if input && from_stdin {
            input = copy(stdin, master.as_fd())?;
        }
        if ended && !from_master {
            return Ok(());
        }
    }
}

/// Copies what is there. `false`: there is no more.
fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> io::Result<bool> {
    let mut buffer = [0; 8192];
    let length = match rustix::io::read(from, &mut buffer) {
        // How the master of a terminal says that nobody has the slave open any more.
        Err(rustix::io::Errno::IO) => return Ok(false),
        result => result?,
    };
    let mut rest = &buffer[..length];
    while !rest.is_empty() {
        let written = rustix::io::write(to, rest)?;
        rest = &rest[written..];
    }
    Ok(length > 0)
}
