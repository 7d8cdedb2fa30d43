//! A running container's processes: signals, and further programs in it.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{Process, Spec};

use crate::error::{Error, Result};
use crate::seccomp::Filter;

/// Start time of a process in clock ticks since boot (field 22 of proc_pid_stat(5)): guards against reused ids.
pub fn start_time(pid: i32) -> Result<u64> {
    let _ = pid;
    Err(Error::Setup("not yet".into()))
}

/// Whether the process has a handler for `signal` (`SigCgt` of proc_pid_status(5)). PID 1 of a PID namespace
/// ignores every signal from inside or outside that it has no handler for, except SIGKILL and SIGSTOP from outside.
pub fn handles(pid: i32, signal: i32) -> Result<bool> {
    let _ = (pid, signal);
    Err(Error::Setup("not yet".into()))
}

/// A descriptor of the process `pid`, if it still is the one that started at `start_time`; `None` if it is gone.
pub fn open(pid: i32, start_time: Option<u64>) -> Result<Option<OwnedFd>> {
    let _ = (pid, start_time);
    Err(Error::Setup("not yet".into()))
}

/// Sends `signal` to the process. `false`: it was gone already.
pub fn signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<bool> {
    let _ = (pidfd, signal);
    Err(Error::Setup("not yet".into()))
}

/// Waits until the process has ended, at most `timeout`. `false`: it still runs.
pub fn wait(pidfd: BorrowedFd<'_>, timeout: Option<std::time::Duration>) -> Result<bool> {
    let _ = (pidfd, timeout);
    Err(Error::Setup("not yet".into()))
}

/// Puts the calling program beyond the reach of containers: executes it anew from a sealed copy in memory,
/// with the same arguments, unless it runs from one already. Call it first thing in a program that will [`exec`].
pub fn seal_executable() -> Result<()> {
    Err(Error::Setup("not yet".into()))
}

/// A program to run in a running container. Make one with [`Exec::new`] and change its fields.
pub struct Exec<'a> {
    /// The container's first process, in the caller's PID namespace.
    pub pid: i32,
    /// The container's `Spec`: which namespaces it has, its labels, no_new_privs.
    pub spec: &'a Spec,
    /// The program: arguments, environment, user, directory, capabilities, terminal.
    pub process: &'a Process,
    /// The container's filter.
    pub filter: Option<Filter>,
    /// How many of the caller's descriptors from 3 on the program keeps.
    pub preserve_fds: u32,
}

impl<'a> Exec<'a> {
    /// A program without filter and extra descriptors.
    pub fn new(pid: i32, spec: &'a Spec, process: &'a Process) -> Self {
        Exec { pid, spec, process, filter: None, preserve_fds: 0 }
    }
}

impl fmt::Debug for Exec<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exec").field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// A program that runs in a container: a child of the caller.
#[derive(Debug)]
pub struct Joined {
    pid: i32,
    pidfd: OwnedFd,
    terminal: Option<OwnedFd>,
}

/// Runs a program in a container: joins all of the container's namespaces and its cgroup and takes on its
/// confinement, before anything of the container can see it.
pub fn exec(exec: Exec<'_>) -> Result<Joined> {
    drop(exec);
    Err(Error::Setup("not yet".into()))
}

impl Joined {
    /// The process id, in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process as a descriptor.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The master side of the terminal, if `process.terminal` asked for one.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// Waits for the end. Returns the exit status, or 128 plus the number of the signal that ended it.
    pub fn wait(self) -> Result<i32> {
        Err(Error::Setup("not yet".into()))
    }
}
