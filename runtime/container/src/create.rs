//! Making the container's first process, and holding it until everything else is ready.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{PosixRlimit, Spec};

use crate::error::{Error, Result};
use crate::seccomp::Filter;

/// Whose child the container's process becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parent {
    /// The caller's own parent, normally systemd: `CLONE_PARENT`. The caller can't wait for it.
    Systemd,
    /// The caller, who gets `SIGCHLD` and must wait for it.
    Caller,
}

/// Everything that [`create`] needs. Make one with [`Creation::new`] and change its fields.
pub struct Creation<'a> {
    /// The container, as the OCI runtime specification describes it. `root.path` isn't read: see `root`.
    pub spec: &'a Spec,
    /// A detached mount (of [`crate::mount`]) that becomes the container's `/`.
    pub root: OwnedFd,
    /// Whose child the process becomes.
    pub parent: Parent,
    /// The system call filter; `spec.linux.seccomp` isn't read here: see [`crate::seccomp::from_spec`].
    pub filter: Option<Filter>,
    /// How many of the caller's descriptors from 3 on the program keeps.
    pub preserve_fds: u32,
    /// Limits for what `spec.process.rlimits` doesn't name. They are lowered to the inherited hard limit
    /// where raising it isn't permitted; what the `Spec` names must be fulfilled exactly.
    pub default_rlimits: Vec<PosixRlimit>,
    /// A cgroup (version 2 directory) to be born into; none: the caller's.
    pub cgroup: Option<OwnedFd>,
    /// The container's id, for hooks.
    pub id: &'a str,
    /// The bundle directory, for hooks.
    pub bundle: &'a Path,
    /// Keep the caller's root mount below, and only chroot(2): for roots on a ramdisk, that can't be pivoted.
    pub no_pivot: bool,
}

impl<'a> Creation<'a> {
    /// A child of systemd, without filter, extra descriptors or cgroup of its own.
    pub fn new(spec: &'a Spec, root: OwnedFd) -> Self {
        Creation {
            spec,
            root,
            parent: Parent::Systemd,
            filter: None,
            preserve_fds: 0,
            default_rlimits: Vec::new(),
            cgroup: None,
            id: "",
            bundle: Path::new("/"),
            no_pivot: false,
        }
    }
}

impl fmt::Debug for Creation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Creation").field("id", &self.id).field("parent", &self.parent).finish_non_exhaustive()
    }
}

/// A container's first process that sets itself up, or has done so and waits.
///
/// Dropping it ends the process: it reads end of file where it waits for the word to go on.
#[derive(Debug)]
pub struct Held {
    pid: i32,
    pidfd: OwnedFd,
}

/// Clones the container's first process, which at once begins to set itself up.
pub fn create(creation: Creation<'_>) -> Result<Held> {
    drop(creation);
    Err(Error::Setup("not yet".into()))
}

impl Held {
    /// The process id, in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// The process as a descriptor (pidfd_open(2)).
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The network namespace of the process. It exists from the start: its interfaces can be made while
    /// the process still sets itself up.
    pub fn network_namespace(&self) -> Result<OwnedFd> {
        Err(Error::Setup("not yet".into()))
    }

    /// Waits until the set-up is complete and the program was found to be executable. The process then blocks.
    /// Runs the `prestart` and `createRuntime` hooks on the way.
    ///
    /// # Errors
    /// What the process itself reported ([`Error::Setup`], [`Error::NotExecutable`]).
    pub fn wait_ready(&mut self) -> Result<()> {
        Err(Error::Setup("not yet".into()))
    }

    /// The master side of the terminal, if `process.terminal` asked for one; only after [`Held::wait_ready`].
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        None
    }

    /// Lets the process execute its program. What `execve` still refuses goes to the process's standard error,
    /// and it ends with 127 or 126.
    pub fn release(self) -> Result<()> {
        Ok(())
    }
}
