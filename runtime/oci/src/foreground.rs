//! A program in the foreground: what is sent to this one is meant for it, as with runc. Signals are passed on, but
//! those that a shell sends to stop a job and those that say that this program is broken; the size of our terminal
//! goes to the program's.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags};
use sampan_container::process;

/// Signals that stay what they are: faults of this program, the end of a child, and what stops a job.
const OURS: &[Signal] = &[
    Signal::SIGABRT,
    Signal::SIGBUS,
    Signal::SIGCHLD,
    Signal::SIGFPE,
    Signal::SIGILL,
    Signal::SIGSEGV,
    Signal::SIGSYS,
    Signal::SIGTRAP,
    Signal::SIGTSTP,
    Signal::SIGTTIN,
    Signal::SIGTTOU,
];

/// The signals of this program, as a descriptor.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// From here on signals wait to be passed on. Call it when the program exists: before, they end us both.
    pub(crate) fn take() -> Result<Self> {
        let mut set = SigSet::all();
        for &signal in OURS {
            set.remove(signal);
        }
        set.thread_block().context("sigprocmask(SIG_BLOCK)")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        SignalFd::with_flags(&set, flags).map(Signals).context("signalfd()")
    }

    /// Passes on what has come in the meantime.
    pub(crate) fn pass(&self, pidfd: BorrowedFd<'_>, terminal: Option<&OwnedFd>) -> Result<()> {
        while let Some(info) = self.0.read_signal().context("read(signalfd)")? {
            let signal = info.ssi_signo as i32;
            match terminal {
                Some(master) if signal == libc::SIGWINCH => resize(master),
                _ => drop(process::signal(pidfd, signal)?),
            }
        }
        Ok(())
    }

    /// Waits for the end of a program without a terminal of ours.
    pub(crate) fn wait(&self, pidfd: BorrowedFd<'_>) -> Result<()> {
        loop {
            let mut fds = [PollFd::new(&self.0, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result.map_err(io::Error::from).context("poll(pidfd)")?,
            };
            let [signalled, ended] = fds.map(|fd| !fd.revents().is_empty());
            if ended {
                return Ok(());
            }
            if signalled {
                self.pass(pidfd, None)?;
            }
        }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Gives a terminal the size of ours.
pub(crate) fn resize(master: &OwnedFd) {
    if let Ok(size) = rustix::termios::tcgetwinsize(rustix::stdio::stdin()) {
        let _ = rustix::termios::tcsetwinsize(master, size);
    }
}
