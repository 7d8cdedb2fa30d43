//! A visit to a mount namespace of the caller's own, for mounts that only a path can name.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, OpenTreeFlags, mount_change, open_tree};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Call, Result};
use crate::rootfs::procfs::{self, Procfs};

/// The caller's own mount namespace, to come back to; dropped, the private one ends with all that was mounted there.
#[derive(Debug)]
pub(crate) struct Private {
    home: OwnedFd,
    directory: OwnedFd,
}

impl Private {
    /// Enters a copy of the host's mounts. What is mounted from here on nobody else sees. The caller must have one
    /// thread: the namespace is the thread's, the file system context the process's.
    ///
    /// # Errors
    /// unshare(2)'s and mount(2)'s.
    pub(crate) fn enter() -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, c".", flags, Mode::empty()).call(|| "open(.)".into())?;
        let private = Self { home: Procfs::host()?.namespace(procfs::own_pid(), "mnt")?, directory };
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).call(|| "unshare(CLONE_NEWNS)".into())?;
        let slave = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        mount_change("/", slave).call(|| "mount(/, MS_REC | MS_SLAVE)".into())?;
        Ok(private)
    }

    /// Goes home with a mount made here, detached.
    ///
    /// # Errors
    /// open_tree(2)'s and setns(2)'s.
    pub(crate) fn leave_with(self, mounted: &Path) -> Result<OwnedFd> {
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        let mount = open_tree(CWD, mounted, flags).call(|| format!("open_tree({})", mounted.display()))?;
        self.leave()?;
        Ok(mount)
    }

    /// Goes home.
    ///
    /// # Errors
    /// setns(2)'s.
    pub(crate) fn leave(self) -> Result<()> {
        let home = Some(LinkNameSpaceType::Mount);
        move_into_link_name_space(self.home.as_fd(), home).call(|| "setns(home, CLONE_NEWNS)".into())?;
        // setns(2) has put root and directory to the namespace's own.
        rustix::process::fchdir(&self.directory).call(|| "fchdir(home)".into())
    }
}
