//! A running container's processes: signals, and further programs in it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions};

use crate::error::{Call, Error, Result};
use crate::rootfs::procfs::Procfs;
use crate::sys;

pub use crate::exec::{Exec, Joined, exec, seal_executable};
pub use crate::resctrl::{remove_groups, update_groups};

/// Start time of a process in clock ticks since boot (field 22 of proc_pid_stat(5)): guards against reused ids.
pub fn start_time(pid: i32) -> Result<u64> {
    stat(pid).map(|(_, started)| started)
}

/// State letter and start time. A zombie has ended, though its id isn't free yet.
pub(crate) fn stat(pid: i32) -> Result<(char, u64)> {
    fields(pid, |f| Some((f.first()?.chars().next()?, f.get(19)?.parse().ok()?)))
}

/// Whether a child of this process has executed any instruction since its birth, as far as anybody can tell. The first
/// one needs a page that fork(2) doesn't copy, so it has had a page fault (fields 10 and 12 of proc_pid_stat(5)).
pub(crate) fn has_run(pid: i32) -> bool {
    let faults = |f: &[&str]| Some(f.get(7)?.parse::<u64>().ok()? + f.get(9)?.parse::<u64>().ok()?);
    fields(pid, faults).map_or(true, |faults| faults > 0)
}

/// The fields of proc_pid_stat(5) from the third on.
fn fields<T>(pid: i32, parse: impl FnOnce(&[&str]) -> Option<T>) -> Result<T> {
    let text = Procfs::host()?.read(&format!("{pid}/stat"))?;
    // The name in parentheses may contain anything, parentheses too: what counts comes after the last one.
    let fields = text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').collect::<Vec<_>>());
    fields.and_then(|fields| parse(&fields)).ok_or_else(|| Error::File {
        path: format!("/proc/{pid}/stat").into(),
        reason: "this is not the format of proc_pid_stat(5)".into(),
    })
}

/// Whether this error of [`stat`] means that the process is gone. Any other says nothing about it: a container must
/// not pass for ended because its process can't be looked at.
pub(crate) fn gone(error: &Error) -> bool {
    matches!(error.errno(), Some(libc::ENOENT | libc::ESRCH))
}

/// The PID namespace of a process, as stat(2) tells it from others: device and inode. `None`: the process is gone.
pub fn pid_namespace(pid: i32) -> Result<Option<(u64, u64)>> {
    let namespace = match Procfs::host()?.namespace(pid, "pid") {
        Err(error) if gone(&error) => return Ok(None),
        namespace => namespace?,
    };
    let stat = rustix::fs::fstat(&namespace).call(|| format!("stat(/proc/{pid}/ns/pid)"))?;
    Ok(Some((stat.st_dev, stat.st_ino)))
}

/// Whether the process has a handler for `signal` (`SigCgt` of proc_pid_status(5)). PID 1 of a PID namespace
/// ignores every signal that it has no handler for, except SIGKILL and SIGSTOP from outside of the namespace.
pub fn handles(pid: i32, signal: i32) -> Result<bool> {
    let text = Procfs::host()?.read(&format!("{pid}/status"))?;
    let caught = text.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let bit = u32::try_from(signal - 1).ok().and_then(|n| 1u64.checked_shl(n));
    match (caught, bit) {
        (Some(caught), Some(bit)) => Ok(caught & bit != 0),
        _ => Err(Error::Invalid {
            what: "signal",
            value: signal.to_string(),
            reason: "it is a number from 1 to 64".into(),
        }),
    }
}

/// A descriptor of the process `pid`, if it still is the one that started at `start_time`; `None` if it is gone.
pub fn open(pid: i32, start_time: Option<u64>) -> Result<Option<OwnedFd>> {
    let call = || format!("pidfd_open({pid})");
    // Neither a process group (a negative number) nor the host's first process is ever a container's.
    let number = Pid::from_raw(pid.max(0)).filter(|_| pid > 1).ok_or(Errno::INVAL).call(call)?;
    let pidfd = match rustix::process::pidfd_open(number, PidfdFlags::empty()) {
        Err(Errno::SRCH | Errno::INVAL) => return Ok(None),
        result => result.call(call)?,
    };
    // Compared after opening: what the descriptor stands for doesn't change any more.
    match (start_time, stat(pid)) {
        (Some(then), Ok((_, now))) if then != now => Ok(None),
        (Some(_), Err(error)) => gone(&error).then_some(None).ok_or(error),
        _ => Ok(Some(pidfd)),
    }
}

/// Opens a child of this process by the number that its maker has said: whoever may trace the child itself could have
/// said another one.
pub(crate) fn open_child(pid: i32) -> Result<OwnedFd> {
    let pidfd = open(pid, None)?.ok_or_else(|| Error::Died("it was killed at birth".into()))?;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), options)
        .call(|| format!("waitid({pid}), which should be a child of this process"))?;
    Ok(pidfd)
}

/// Sends `signal` to the process. `false`: it was gone already.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    match sys::pidfd_send_signal(pidfd, signal) {
        Ok(()) => Ok(true),
        Err(e) if e.raw_os_error() == Some(libc::ESRCH) => Ok(false),
        Err(e) => Err(e).call(|| format!("pidfd_send_signal({signal})")),
    }
}

/// Waits until the process has ended, at most `timeout`. `false`: it still runs.
pub fn wait(pidfd: BorrowedFd<'_>, timeout: Option<Duration>) -> Result<bool> {
    let call = || "poll(pidfd)".to_owned();
    let deadline = timeout.map(|t| std::time::Instant::now() + t);
    loop {
        let left = deadline.map(|d| d.saturating_duration_since(std::time::Instant::now()));
        let left = left.map(Timespec::try_from).transpose().map_err(io::Error::other).call(call)?;
        let mut fds = [PollFd::new(&pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Err(Errno::INTR) => {}
            result => return Ok(result.call(call)? > 0),
        }
    }
}

/// Waits for the end of a child. Returns its exit status, or 128 plus the number of the signal that ended it.
pub fn wait_exit(pidfd: BorrowedFd<'_>) -> Result<i32> {
    sys::wait_exit(pidfd).call(|| "waitid(P_PIDFD)".into())
}

/// What is known about the end of a process, in words.
pub(crate) fn end_of(pidfd: &OwnedFd) -> String {
    // Its descriptors are closed before it has ended: some time before, on a machine with much to do.
    match wait(pidfd.as_fd(), Some(Duration::from_secs(5))) {
        Ok(true) => "was it killed, or out of memory?".into(),
        _ => "it closed its connection".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_itself() {
        let pid = std::process::id() as i32;
        let started = start_time(pid).unwrap();
        assert!(open(pid, Some(started)).unwrap().is_some());
        assert!(open(pid, Some(started + 1)).unwrap().is_none());
    }

    #[test]
    fn handlers_are_seen() {
        let pid = std::process::id() as i32;
        // The Rust runtime handles SIGSEGV, to tell about stack overflows, and nothing handles SIGUSR2.
        assert!(handles(pid, libc::SIGSEGV).unwrap());
        assert!(!handles(pid, libc::SIGUSR2).unwrap());
        assert!(handles(pid, 0).is_err() && handles(pid, 65).is_err());
    }

    #[test]
    fn only_children_are_opened_as_such() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        open_child(child.id() as i32).unwrap();
        child.kill().unwrap();
        // A child, too, as long as nobody has asked how it ended.
        open_child(child.id() as i32).unwrap();
        child.wait().unwrap();
        let parent = rustix::process::getppid().unwrap().as_raw_pid();
        for other in [parent, std::process::id() as i32] {
            assert!(open_child(other).is_err(), "{other}");
        }
    }

    #[test]
    fn an_ended_process_is_waited_for() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let pidfd = open(child.id() as i32, None).unwrap().unwrap();
        assert!(!wait(pidfd.as_fd(), Some(Duration::from_millis(5))).unwrap());
        assert!(!sys::is_being_killed(pidfd.as_fd()) && has_run(child.id() as i32));
        assert!(signal(pidfd.as_fd(), libc::SIGKILL).unwrap());
        assert!(sys::is_being_killed(pidfd.as_fd()), "from the signal on");
        assert!(wait(pidfd.as_fd(), None).unwrap());
        assert!(sys::is_being_killed(pidfd.as_fd()), "nobody has waited");
        child.wait().unwrap();
        assert!(sys::is_being_killed(pidfd.as_fd()), "it is gone");
        assert!(!signal(pidfd.as_fd(), libc::SIGKILL).unwrap());
    }
}
