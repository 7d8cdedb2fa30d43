//! Whose the standard streams of a program are.
//!
//! A program opens its own output again by name (`/dev/stdout`), and may do so only if the file behind belongs to it.
//! So, as with runc, a terminal made for the container is the program's user's, and in containers of the OCI command
//! line so are the pipes, and the files to be written to, that the caller gave it. A unit's files belong to the host:
//! systemd opened them, and others may have them open, too.
//!
//! Never a device, or a file that is only read: neither becomes anyone's by being shown to a container, and the null
//! device is everybody's (CVE-2026-88265). Nothing is looked up by a name that the container could have chosen.

use std::os::fd::{AsFd, BorrowedFd};

use oci_spec::runtime::Process;
use rustix::fs::{FileType, Gid, OFlags, Uid};
use rustix::io::Errno;

use crate::error::{Call, Result};

/// The user and the group of a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Owner {
    uid: u32,
    gid: u32,
}

impl Owner {
    pub(crate) fn of(process: &Process) -> Self {
        Owner { uid: process.user().uid(), gid: process.user().gid() }
    }

    /// Makes the container's own terminal the user's. Its group is the file system's choice (`gid=` of devpts).
    pub(crate) fn take_terminal(self, slave: impl AsFd) -> Result<()> {
        match self.uid {
            0 => Ok(()),
            _ => self.chown(slave.as_fd(), None),
        }
    }

    /// Makes the caller's pipes and files the user's.
    pub(crate) fn take_streams(self) -> Result<()> {
        if self.uid == 0 {
            return Ok(());
        }
        for stream in [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()] {
            // One that is closed is no one's.
            let Ok(stat) = rustix::fs::fstat(stream) else { continue };
            if stat.st_uid == self.uid {
                continue;
            }
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Fifo => self.chown(stream, Some(self.gid))?,
                FileType::RegularFile if is_written(stream) => self.chown(stream, None)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn chown(self, file: BorrowedFd<'_>, gid: Option<u32>) -> Result<()> {
        match rustix::fs::fchown(file, Some(Uid::from_raw(self.uid)), gid.map(Gid::from_raw)) {
            // Files of those whom a user namespace doesn't know, or of a file system that is read-only or has no
            // owners: the program has them open all the same.
            Err(Errno::PERM | Errno::INVAL | Errno::ROFS) => Ok(()),
            result => result.call(|| format!("fchown(standard stream, {})", self.uid)),
        }
    }
}

fn is_written(file: BorrowedFd<'_>) -> bool {
    let mode = |flags: OFlags| flags & OFlags::RWMODE;
    rustix::fs::fcntl_getfl(file).is_ok_and(|flags| [OFlags::WRONLY, OFlags::RDWR].contains(&mode(flags)))
}
