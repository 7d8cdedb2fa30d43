//! The birth of a process in a cgroup: at once, by clone3(2); or, where the kernel kills it for that, beside it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::c_int;
use rustix::fs::{Mode, OFlags};

use crate::channel;
use crate::process;
use crate::sys::{self, Side};

/// [`sys::clone3`], proof against [`clone_past_kill_seq`]'s kernels. On others that takes one call on a descriptor.
pub(crate) fn clone3(flags: c_int, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Side> {
    let side = sys::clone3(flags, exit_signal, cgroup)?;
    let (Side::Parent { pid, pidfd }, Some(cgroup)) = (&side, cgroup) else {
        return Ok(side);
    };
    // That kernel has sent the signal before clone3(2) comes back. A child that was killed later, for want of memory or
    // by somebody, may have begun with its work, which must not be done twice.
    if !sys::is_being_killed(pidfd.as_fd()) || process::has_run(*pid) {
        return Ok(side);
    }
    if flags & libc::CLONE_PARENT == 0 {
        // Ours to wait for. Where the caller ignores SIGCHLD nobody has to.
        let _ = sys::wait_exit(pidfd.as_fd());
    }
    clone_past_kill_seq(flags, exit_signal, cgroup)
}

/// Clones a process into the caller's cgroup, where it waits until it has been moved into `cgroup`.
///
/// For Linux 6.18, and maybe every one since 6.14 ("cgroup: fix race between fork and cgroup.kill"; Debian's 6.1.192 is
/// well): a process that is born during a write to `cgroup.kill` is to die, too, which the kernel knows by counting
/// these writes (`kill_seq`). With `CLONE_INTO_CGROUP` it takes the count of the *caller's* cgroup before the birth
/// (`cgroup_css_set_fork`) and that of the new one after it (`cgroup_post_fork`). If one has been killed more often than
/// the other, its parents included, every child gets SIGKILL.
///
/// A move doesn't ask for the limit of processes, but the child that died has; all others hold from the move on, and
/// nothing has been done before.
fn clone_past_kill_seq(flags: c_int, exit_signal: c_int, cgroup: BorrowedFd<'_>) -> io::Result<Side> {
    let failed = |error: io::Error| io::Error::new(error.kind(), format!("move into the cgroup: {error}"));
    let file = OFlags::WRONLY | OFlags::CLOEXEC;
    let processes = rustix::fs::openat(cgroup, c"cgroup.procs", file, Mode::empty());
    let processes = processes.map_err(|error| failed(error.into()))?;
    let (ours, theirs) = channel::pair()?;
    // The root of a cgroup namespace is where its maker is: made after the move.
    match sys::clone3(flags & !libc::CLONE_NEWCGROUP, exit_signal, None)? {
        Side::Child => {
            drop((ours, processes));
            let moved = theirs.wait().unwrap_or(false);
            if !moved || (flags & libc::CLONE_NEWCGROUP != 0 && sys::unshare_cgroups().is_err()) {
                sys::exit(125);
            }
            Ok(Side::Child)
        }
        Side::Parent { pid, pidfd } => {
            drop(theirs);
            let moved = move_to(&processes, pid).and_then(|()| ours.go_on());
            if let Err(error) = moved {
                // It reads the end of file, and ends.
                drop(ours);
                if flags & libc::CLONE_PARENT == 0 {
                    let _ = sys::wait_exit(pidfd.as_fd());
                }
                return Err(failed(error));
            }
            Ok(Side::Parent { pid, pidfd })
        }
    }
}

fn move_to(processes: &OwnedFd, pid: i32) -> io::Result<()> {
    rustix::io::write(processes, pid.to_string().as_bytes())?;
    Ok(())
}
