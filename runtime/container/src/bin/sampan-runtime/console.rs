//! Terminals: handing the master to who manages the container, or relaying it to our own.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags,
    SocketType,
};
use rustix::termios::{OptionalActions, Termios};

/// Sends the master to the socket that the caller listens at, as runc does: its name as data, and the descriptor.
pub(crate) fn send(socket: &Path, master: &OwnedFd) -> Result<()> {
    let context = || format!("console socket {}", socket.display());
    let address = SocketAddrUnix::new(socket).with_context(context)?;
    let connection =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
            .with_context(context)?;
    rustix::net::connect(&connection, &address).with_context(context)?;
    let fds = [master.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let name = [IoSlice::new(b"/dev/ptmx")];
    rustix::net::sendmsg(&connection, &name, &mut control, SendFlags::NOSIGNAL).with_context(context)?;
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
pub(crate) fn relay(master: &OwnedFd, pidfd: BorrowedFd<'_>) -> io::Result<()> {
    let _raw = Raw::new();
    let stdin = rustix::stdio::stdin();
    if let Ok(size) = rustix::termios::tcgetwinsize(stdin) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
    let mut input = true;
    loop {
        let wanted = if input { PollFlags::IN } else { PollFlags::empty() };
        let mut fds = [
            PollFd::new(master, PollFlags::IN),
            PollFd::new(&pidfd, PollFlags::IN),
            PollFd::from_borrowed_fd(stdin, wanted),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result?,
        };
        let [from_master, ended, from_stdin] = fds.map(|fd| !fd.revents().is_empty());
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
