//! Mappings of user and group ids (user_namespaces(7)): written for a container's user namespace, or for a namespace
//! that exists for the sake of its mappings, which a mount can be given (mount_setattr(2), `MOUNT_ATTR_IDMAP`).

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::{Linux, LinuxIdMapping};

use crate::error::{Call, Error, Result};
use crate::rootfs::procfs::Procfs;
use crate::sys::{self, Side};

/// Mappings of users and of groups.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mappings {
    pub(crate) users: Vec<LinuxIdMapping>,
    pub(crate) groups: Vec<LinuxIdMapping>,
}

impl Mappings {
    /// Those of the container.
    pub(crate) fn of(linux: &Linux) -> Self {
        let list = |mappings: &Option<Vec<LinuxIdMapping>>| mappings.clone().unwrap_or_default();
        Mappings { users: list(linux.uid_mappings()), groups: list(linux.gid_mappings()) }
    }

    /// Writes the mappings of the new user namespace that the process `pid` is in. If the caller is privileged in the
    /// parent namespace, any mapping is permitted and no helper program is needed.
    pub(crate) fn write(&self, pid: i32) -> Result<()> {
        let procfs = Procfs::host()?;
        for (file, mappings) in [("uid_map", &self.users), ("gid_map", &self.groups)] {
            if mappings.is_empty() {
                return Err(Error::Invalid {
                    what: "uidMappings, gidMappings",
                    value: "[]".into(),
                    reason: "a new user namespace needs at least one mapping of each".into(),
                });
            }
            let text: String = mappings.iter().map(line).collect();
            match procfs.write(&format!("{pid}/{file}"), &text) {
                Err(e) if e.errno() == Some(libc::EPERM) => {
                    crate::rootless::write_mapping(pid, file, mappings)?;
                }
                result => result?,
            }
        }
        Ok(())
    }

    /// A user namespace with these mappings. It lives as long as the descriptor; the process that it began with is
    /// gone.
    pub(crate) fn namespace(&self) -> Result<OwnedFd> {
        let call = || "clone3(CLONE_NEWUSER)".to_owned();
        match sys::clone3(libc::CLONE_NEWUSER, libc::SIGCHLD, None).call(call)? {
            Side::Child => loop {
                // Waits to be killed; its parent's end kills it too.
                let _ = nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL);
                nix::unistd::pause();
            },
            Side::Parent { pid, pidfd } => {
                let opened = self.write(pid).and_then(|()| Procfs::host()?.namespace(pid, "user"));
                sys::pidfd_send_signal(pidfd.as_fd(), libc::SIGKILL).call(|| format!("kill({pid})"))?;
                sys::wait_exit(pidfd.as_fd()).call(|| format!("waitid({pid})"))?;
                opened
            }
        }
    }
}

pub(crate) fn line(mapping: &LinuxIdMapping) -> String {
    format!("{} {} {}\n", mapping.container_id(), mapping.host_id(), mapping.size())
}
