//! The cases in which `sampan run` stays: `Type=oneshot`, `Notify=` until the container is ready, a shell.
//!
//! Here the container is an ordinary child. systemd skips `ExecStop=` while a unit is starting, so SIGTERM is
//! ours to act on: it is forwarded as the container's stop signal, and after the stop time-out follows SIGKILL.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitId, WaitIdOptions, WaitIdStatus, waitid};
use sampan_container::process;
use sampan_container::state::Healthcheck;

use super::relay::{Heard, Relay};
use super::unit::Unit;

/// What is passed on; SIGCHLD and the like are not.
const FORWARDED: [Signal; 8] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGQUIT,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGCONT,
    Signal::SIGWINCH,
];

/// A container that we are the parent of.
#[derive(Debug)]
pub(crate) struct Supervised<'a> {
    pub(crate) unit: Option<&'a Unit>,
    pub(crate) name: &'a str,
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
    pub(crate) stop_signal: i32,
    pub(crate) stop_timeout: Duration,
    /// `Notify=true`: the container says when it is ready.
    pub(crate) relay: Option<Relay>,
    /// `Notify=healthy`: its health check says so.
    pub(crate) health: Option<&'a Healthcheck>,
}

/// Why supervision is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The container has ended with this status.
    Exited(u8),
    /// The container was ended by this signal.
    Killed(i32),
    /// The same, and we were asked to end it.
    Stopped(i32),
    /// It is ready, and systemd's from now on.
    HandedOver,
}

/// Holds signals back; call it before the container is released, so that none is lost.
///
/// # Errors
/// signalfd(2)'s.
pub(crate) fn hold_signals() -> anyhow::Result<SignalFd> {
    let mut set = SigSet::empty();
    for signal in FORWARDED {
        set.add(signal);
    }
    set.thread_block().context("blocking signals")?;
    SignalFd::with_flags(&set, SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK).context("signalfd")
}

impl Supervised<'_> {
    /// Stays until the container has ended, or is ready and systemd has it.
    ///
    /// # Errors
    /// poll(2)'s or waitid(2)'s, or systemd doesn't answer.
    pub(crate) fn stay(mut self, signals: &SignalFd) -> anyhow::Result<End> {
        let mut kill_at: Option<Instant> = None;
        let mut is_asked = false;
        let mut checks = self.health.map(Checks::new);
        loop {
            let deadline = [kill_at, checks.as_ref().map(Checks::next)].into_iter().flatten().min();
            let (ended, signalled, spoke) = self.wait(signals, deadline)?;
            if spoke && self.listen()? || checks.as_mut().is_some_and(|checks| checks.turn(self.name)) {
                checks = None;
                if let Some(end) = self.leave()? {
                    return Ok(end);
                }
            }
            if ended {
                let end = status(self.pidfd.as_fd(), WaitIdOptions::EXITED)?
                    .context("the container's status is lost")?;
                return Ok(match end {
                    End::Killed(signal) if is_asked => End::Stopped(signal),
                    end => end,
                });
            }
            if signalled {
                while let Some(signal) = signals.read_signal().context("reading a signal")? {
                    kill_at = self.forward(signal.ssi_signo)?.or(kill_at);
                    is_asked |= kill_at.is_some();
                }
            }
            if kill_at.is_some_and(|at| at <= Instant::now()) {
                process::signal(self.pidfd.as_fd(), Signal::SIGKILL as i32)?;
                kill_at = None;
            }
        }
    }

    /// Whether the container has ended, a signal came, the relay has something.
    fn wait(&self, signals: &SignalFd, deadline: Option<Instant>) -> anyhow::Result<(bool, bool, bool)> {
        let timeout = deadline.map(|at| {
            let left = at.saturating_duration_since(Instant::now());
            Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() }
        });
        let mut fds = vec![PollFd::new(&self.pidfd, PollFlags::IN), PollFd::new(signals, PollFlags::IN)];
        if let Some(relay) = &self.relay {
            fds.push(PollFd::new(relay, PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("waiting for the container"),
        }
        let is_set = |position: usize| fds.get(position).is_some_and(|fd| !fd.revents().is_empty());
        Ok((is_set(0), is_set(1), is_set(2)))
    }

    /// Passes the container's words on; true at the first READY.
    fn listen(&mut self) -> anyhow::Result<bool> {
        let Some(relay) = &mut self.relay else { return Ok(false) };
        let mut is_ready = false;
        while let Some(heard) = relay.receive(self.pid)? {
            is_ready |= heard == Heard::Ready;
        }
        Ok(is_ready)
    }

    /// Ready: gives the container to systemd, unless there is a watchdog to relay or no systemd.
    fn leave(&mut self) -> anyhow::Result<Option<End>> {
        let Some(unit) = self.unit else { return Ok(None) };
        if unit.has_watchdog && self.relay.is_some() {
            unit.ready(&format!("Container {} is ready", self.name))?;
            return Ok(None);
        }
        unit.hand_over(self.pid, &format!("Container {}, process {}", self.name, self.pid))?;
        // Between its last word and the hand-over it may have ended, and then only its parent can tell how.
        let already = status(
            self.pidfd.as_fd(),
            WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT,
        )?;
        Ok(Some(already.unwrap_or(End::HandedOver)))
    }

    fn forward(&self, number: u32) -> anyhow::Result<Option<Instant>> {
        let number = i32::try_from(number)?;
        if number != Signal::SIGTERM as i32 {
            process::signal(self.pidfd.as_fd(), number)?;
            return Ok(None);
        }
        // The first process of a PID namespace ignores what it has no handler for: then waiting is in vain.
        let is_handled = process::handles(self.pid, self.stop_signal).unwrap_or(false);
        let (signal, wait) = if is_handled {
            (self.stop_signal, self.stop_timeout)
        } else {
            (Signal::SIGKILL as i32, Duration::ZERO)
        };
        process::signal(self.pidfd.as_fd(), signal)?;
        Ok(Some(Instant::now() + wait))
    }
}

fn status(pidfd: BorrowedFd<'_>, options: WaitIdOptions) -> anyhow::Result<Option<End>> {
    let status = waitid(WaitId::PidFd(pidfd), options).context("reading the container's status")?;
    Ok(status.as_ref().map(end))
}

fn end(status: &WaitIdStatus) -> End {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => End::Exited(code as u8),
        (None, Some(signal)) => End::Killed(signal),
        (None, None) => End::Exited(255),
    }
}

impl End {
    /// Ends this process as the container has ended: under systemd by the same signal, in a shell with 128 and more.
    pub(crate) fn mirror(self, is_unit: bool) -> ExitCode {
        match self {
            Self::HandedOver => ExitCode::SUCCESS,
            Self::Exited(code) => ExitCode::from(code),
            Self::Stopped(_) if is_unit => ExitCode::SUCCESS,
            Self::Stopped(number) | Self::Killed(number) => {
                if let Some(signal) = Signal::try_from(number).ok().filter(|_| is_unit) {
                    die_by(signal);
                }
                ExitCode::from(128u8.saturating_add(u8::try_from(number).unwrap_or(127)))
            }
        }
    }
}

/// Ends this process by a signal, without a core file. Returns only if the signal is ignored.
pub(crate) fn die_by(signal: Signal) {
    let _ = rustix::process::setrlimit(
        rustix::process::Resource::Core,
        rustix::process::Rlimit { current: Some(0), maximum: Some(0) },
    );
    let mut set = SigSet::empty();
    set.add(signal);
    let _ = set.thread_unblock();
    let _ = raise(signal);
}

/// Health checks on the way to the first success.
#[derive(Debug)]
struct Checks {
    interval: Duration,
    next: Instant,
    running: Option<Child>,
}

impl Checks {
    /// A check looks after its program this often.
    const POLL: Duration = Duration::from_millis(20);

    fn new(health: &Healthcheck) -> Self {
        // An interval is for the long run; a start waits for the first success.
        let interval =
            Duration::from_nanos(health.interval).clamp(Duration::from_millis(100), Duration::from_secs(5));
        Self { interval, next: Instant::now() + Self::POLL, running: None }
    }

    fn next(&self) -> Instant {
        self.next
    }

    /// Starts or looks after a check; true when one has succeeded.
    fn turn(&mut self, name: &str) -> bool {
        if self.next > Instant::now() {
            return false;
        }
        self.next = Instant::now() + Self::POLL;
        let Some(child) = &mut self.running else {
            self.running = Command::new("/proc/self/exe")
                .args(["healthcheck", "run", "--quiet", "--startup", name])
                .spawn()
                .ok();
            return false;
        };
        match child.try_wait() {
            Ok(None) => false,
            Ok(Some(status)) if status.success() => true,
            Ok(Some(_)) | Err(_) => {
                self.running = None;
                self.next = Instant::now() + self.interval;
                false
            }
        }
    }
}
