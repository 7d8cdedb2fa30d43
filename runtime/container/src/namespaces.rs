//! The namespaces of a container: made new, joined by path, or the caller's own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::c_int;
use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Kind};
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::LinkNameSpaceType as Link;

use crate::channel::{self, Channel, Word};
use crate::error::{Call, Error, Result};
use crate::process;
use crate::rootfs::procfs::{self, Namespaced, Procfs};
use crate::sys::{self, Side};

/// What `linux.namespaces` says, with the joined ones opened.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    new: c_int,
    sibling: bool,
    joined: Vec<(Kind, OwnedFd)>,
}

/// The flag of clone3(2) and setns(2) for a kind of namespace.
pub(crate) fn flag(kind: Kind) -> c_int {
    match kind {
        Kind::Mount => libc::CLONE_NEWNS,
        Kind::Cgroup => libc::CLONE_NEWCGROUP,
        Kind::Uts => libc::CLONE_NEWUTS,
        Kind::Ipc => libc::CLONE_NEWIPC,
        Kind::User => libc::CLONE_NEWUSER,
        Kind::Pid => libc::CLONE_NEWPID,
        Kind::Network => libc::CLONE_NEWNET,
        Kind::Time => libc::CLONE_NEWTIME,
    }
}

impl Namespaces {
    pub(crate) fn new(linux: &Linux) -> Result<Self> {
        let mut namespaces = Namespaces::default();
        let mut seen = 0;
        for namespace in linux.namespaces().as_deref().unwrap_or_default() {
            let kind = namespace.typ();
            if seen & flag(kind) != 0 {
                return Err(Error::Invalid {
                    what: "linux.namespaces",
                    value: kind.to_string(),
                    reason: "it stands there twice".into(),
                });
            }
            seen |= flag(kind);
            match (namespace.path(), kind) {
                (_, Kind::Time) => return Err(unsupported("a time namespace", "clocks aren't virtualized")),
                (None, _) => namespaces.new |= flag(kind),
                (Some(_), Kind::Mount) => {
                    return Err(unsupported(
                        "joining an existing mount namespace",
                        "a container's root is made for it alone; share the others",
                    ));
                }
                (Some(path), _) => {
                    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                    let file = rustix::fs::open(path, flags, Mode::empty())
                        .call(|| format!("open({kind} namespace {})", path.display()))?;
                    namespaces.joined.push((kind, file));
                }
            }
        }
        if seen & libc::CLONE_NEWNS == 0 {
            return Err(unsupported(
                "a container in the host's mount namespace",
                "its mounts would be the host's; add a namespace of type mount",
            ));
        }
        Ok(namespaces)
    }

    /// Whether the process becomes a child of the caller's parent (`CLONE_PARENT`).
    pub(crate) fn set_sibling(&mut self, sibling: bool) {
        self.sibling = sibling;
    }

    pub(crate) fn is_new(&self, kind: Kind) -> bool {
        self.new & flag(kind) != 0
    }

    /// Whether the container's users are not the caller's: its user namespace is new or joined.
    pub(crate) fn has_own_users(&self) -> bool {
        self.is_new(Kind::User) || self.joined(Kind::User).is_some()
    }

    /// A joined namespace.
    pub(crate) fn joined(&self, kind: Kind) -> Option<&OwnedFd> {
        self.joined.iter().find(|(k, _)| *k == kind).map(|(_, file)| file)
    }

    /// Which of the namespaces that sysctls depend on are not the caller's.
    pub(crate) fn namespaced(&self) -> Namespaced {
        let own = |kind| self.is_new(kind) || self.joined(kind).is_some();
        Namespaced { ipc: own(Kind::Ipc), network: own(Kind::Network), uts: own(Kind::Uts) }
    }

    /// Joins every namespace that was given by path, but those that are joined by being born in them: the PID
    /// namespace, and the user namespace, which owns all that are new.
    pub(crate) fn join(&self) -> Result<()> {
        for (kind, file) in self.joined.iter().filter(|(kind, _)| ![Kind::Pid, Kind::User].contains(kind)) {
            let link = match kind {
                Kind::Cgroup => Link::ControlGroup,
                Kind::Uts => Link::HostNameAndNISDomainName,
                Kind::Ipc => Link::InterProcessCommunication,
                _ => Link::Network,
            };
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(link))
                .call(|| format!("setns({kind})"))?;
        }
        Ok(())
    }

    /// Clones the container's process into these namespaces, as far as they are new or are born into.
    pub(crate) fn clone_process(&self, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
        match self.joined(Kind::User) {
            Some(users) => self.clone_through(users, exit_signal, cgroup),
            None => self.clone_directly(exit_signal, cgroup),
        }
    }

    /// A user namespace can't be left again, and new namespaces belong to the one that their maker is in. So a
    /// process between enters it, clones the container's process there as its own sibling (`CLONE_PARENT`), says
    /// its number, and ends. It is in no namespace where the container could see it.
    fn clone_through(
        &self,
        users: &OwnedFd,
        exit_signal: c_int,
        cgroup: Option<BorrowedFd<'_>>,
    ) -> Result<Side> {
        let (ours, theirs) = channel::pair().call(|| "socketpair()".into())?;
        let flags = if self.sibling { libc::CLONE_PARENT } else { 0 };
        let between = sys::clone3(flags, exit_signal, cgroup).call(|| format!("clone3({flags:#x})"))?;
        let Side::Parent { pidfd: between, .. } = between else {
            drop(ours);
            return self.enter_and_clone(users, &theirs);
        };
        drop(theirs);
        let word = ours.hear().call(|| "hear from the process in the user namespace".into())?;
        if !self.sibling {
            // It ends right after its word. systemd, as its parent, needs no help with that.
            sys::wait_exit(between.as_fd()).call(|| "wait for the process in the user namespace".into())?;
        }
        match word {
            Some(Word::Joined(pid)) => {
                let pidfd = process::open(pid, None)?;
                let pidfd = pidfd.ok_or_else(|| Error::Died("it was killed at birth".into()))?;
                Ok(Side::Parent { pid, pidfd })
            }
            Some(Word::Failed(_, reason)) => Err(Error::Setup(reason)),
            _ => Err(Error::Died("while joining a user namespace".into())),
        }
    }

    /// The way of the process between. Comes back only in the container's process.
    fn enter_and_clone(&self, users: &OwnedFd, channel: &Channel) -> Result<Side> {
        // Before it is in there: others of that namespace must not look into this process (CVE-2016-9962).
        let born = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .call(|| "prctl(PR_SET_DUMPABLE)".into())
            .and_then(|()| crate::credentials::drop_groups())
            .and_then(|()| {
                rustix::thread::move_into_link_name_space(users.as_fd(), Some(Link::User))
                    .call(|| "setns(user)".into())
            })
            .and_then(|()| crate::setup::become_root())
            .and_then(|()| {
                // No exit signal of its own: with CLONE_PARENT it is the maker's.
                let flags = self.new | libc::CLONE_PARENT;
                sys::clone3(flags, 0, None).call(|| format!("clone3({flags:#x})"))
            });
        let word = match born {
            Ok(Side::Child) => return Ok(Side::Child),
            Ok(Side::Parent { pid, .. }) => Word::Joined(pid),
            Err(error) => Word::Failed(error.exit_status(), error.to_string()),
        };
        // If the caller is gone there is nobody to tell: the container's process finds that out, too.
        let _ = channel.say(&word);
        sys::exit(0)
    }

    fn clone_directly(&self, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
        let flags = self.new | if self.sibling { libc::CLONE_PARENT } else { 0 };
        let clone = || sys::clone3(flags, exit_signal, cgroup).call(|| format!("clone3({flags:#x})"));
        let Some(file) = self.joined(Kind::Pid) else {
            return clone();
        };
        // setns(2) on a PID namespace says where the caller's next children are born, and nothing else.
        let own = Procfs::host()?.namespace(procfs::own_pid(), "pid")?;
        let enter = |file: &OwnedFd| {
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(Link::ProcessID))
                .call(|| "setns(pid)".into())
        };
        enter(file)?;
        match clone() {
            Ok(Side::Child) => Ok(Side::Child),
            result => {
                enter(&own)?;
                result
            }
        }
    }
}

fn unsupported(what: &str, reason: &str) -> Error {
    Error::Unsupported { what: what.into(), reason: reason.into() }
}

/// Writes the mappings of a new user namespace (user_namespaces(7)). If the caller is privileged in the parent
/// namespace, any mapping is permitted and no helper program is needed.
pub(crate) fn write_mappings(pid: i32, linux: &Linux) -> Result<()> {
    let procfs = Procfs::host()?;
    for (file, mappings) in [("uid_map", linux.uid_mappings()), ("gid_map", linux.gid_mappings())] {
        let mappings = mappings.as_deref().unwrap_or_default();
        if mappings.is_empty() {
            return Err(Error::Invalid {
                what: "linux.uidMappings, linux.gidMappings",
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

pub(crate) fn line(mapping: &LinuxIdMapping) -> String {
    format!("{} {} {}\n", mapping.container_id(), mapping.host_id(), mapping.size())
}

/// The network namespace of a process.
pub(crate) fn network_of(pid: i32) -> Result<OwnedFd> {
    Procfs::host()?.namespace(pid, "net")
}
