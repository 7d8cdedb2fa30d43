//! The namespaces of a container: made new, joined by path, or the caller's own.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::c_int;
use oci_spec::runtime::{Linux, LinuxNamespaceType as Kind};
use rustix::fs::{Mode, OFlags};
use rustix::process::DumpableBehavior;
use rustix::thread::LinkNameSpaceType as Link;

use crate::birth;
use crate::channel::{self, Channel, Word};
use crate::error::{Call, Error, Result};
use crate::process;
use crate::rootfs::mounts;
use crate::rootfs::procfs::{self, Namespaced, Procfs};
use crate::sys::{self, Side};

/// What `linux.namespaces` says, with the joined ones opened.
#[derive(Debug, Default)]
pub(crate) struct Namespaces {
    new: c_int,
    sibling: bool,
    keeps_groups: bool,
    last: bool,
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
            // An empty path is none: callers in Go write it so.
            match namespace.path().as_ref().filter(|path| !path.as_os_str().is_empty()) {
                None => namespaces.new |= flag(kind),
                Some(path) if !path.is_absolute() => {
                    return Err(Error::Invalid {
                        what: "linux.namespaces",
                        value: path.display().to_string(),
                        reason: "the path of a namespace is absolute".into(),
                    });
                }
                Some(path) => {
                    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
                    let file = rustix::fs::open(path, flags, Mode::empty())
                        .call(|| format!("open({kind} namespace {})", path.display()))?;
                    namespaces.joined.push((kind, file));
                }
            }
        }
        namespaces.refuse_impossible()?;
        Ok(namespaces)
    }

    /// A user namespace has power over the mount namespaces that were made in it, and over no other.
    fn refuse_impossible(&self) -> Result<()> {
        let unsupported = |what: &str, reason: &str| {
            Err(Error::Unsupported { what: what.to_owned(), reason: reason.to_owned() })
        };
        match (self.is_new(Kind::Mount), self.joined(Kind::Mount).is_some()) {
            (false, true) if self.is_new(Kind::User) => unsupported(
                "a new user namespace in a joined mount namespace",
                "it has no power over that one's mounts; join the user namespace that it belongs to",
            ),
            (false, false) if self.has_own_users() => unsupported(
                "a user namespace in the host's mount namespace",
                "it has no power over the host's mounts; add a namespace of type mount",
            ),
            _ => Ok(()),
        }
    }

    /// Whether the mounts of the container are nobody else's. If not, its root is a mount among others there.
    pub(crate) fn has_own_mounts(&self) -> bool {
        self.is_new(Kind::Mount)
    }

    /// What the process is born into. Not a time namespace: its clocks are set before a process is in it.
    fn born(&self) -> c_int {
        self.new & !libc::CLONE_NEWTIME
    }

    /// Whether a process between joins what is joined. In a user namespace of its own the container's process could
    /// join none but those that belong to it, and a pod's network is often the host's.
    fn are_entered_between(&self) -> bool {
        self.joined(Kind::User).is_some() || (self.is_new(Kind::User) && !self.joined.is_empty())
    }

    /// Whether the process keeps the caller's supplementary groups.
    pub(crate) fn keep_groups(&mut self, keeps: bool) {
        self.keeps_groups = keeps;
    }

    /// Whether the process becomes a child of the caller's parent (`CLONE_PARENT`).
    pub(crate) fn set_sibling(&mut self, sibling: bool) {
        self.sibling = sibling;
    }

    /// Leaves a joined PID namespace to the end, where that can be done: the process sets the container up outside of
    /// it, and only its child, which does nothing but execute the program, is born in it. The others in there may have
    /// `CAP_SYS_PTRACE`, and would take over whoever still has the host's privileges (CVE-2016-9962).
    ///
    /// It can't be done if a user namespace is entered before, which has no power over the PID namespace; nor for a
    /// child of the caller's parent, which would see the first process end; nor before Linux 6.18, where nobody can
    /// make a procfs for the namespace but a process in it.
    pub(crate) fn postpone_processes(&mut self) {
        let postpones = |namespace: &OwnedFd| mounts::shows_others(namespace.as_fd());
        self.last = !self.sibling && !self.has_own_users() && self.joined(Kind::Pid).is_some_and(postpones);
    }

    /// The PID namespace that is entered last.
    pub(crate) fn postponed(&self) -> Option<BorrowedFd<'_>> {
        self.joined(Kind::Pid).filter(|_| self.last).map(AsFd::as_fd)
    }

    /// Has the next child be born in the PID namespace that is entered last.
    pub(crate) fn enter_postponed(&self) -> Result<()> {
        self.enter(|kind| kind == Kind::Pid)
    }

    pub(crate) fn is_new(&self, kind: Kind) -> bool {
        self.new & flag(kind) != 0
    }

    /// Whether the container's users are not the caller's: its user namespace is new or joined.
    pub(crate) fn has_own_users(&self) -> bool {
        self.has_own(Kind::User)
    }

    /// Whether a namespace of this kind isn't the caller's.
    pub(crate) fn has_own(&self, kind: Kind) -> bool {
        self.is_new(kind) || self.joined(kind).is_some()
    }

    /// A joined namespace.
    pub(crate) fn joined(&self, kind: Kind) -> Option<&OwnedFd> {
        self.joined.iter().find(|(k, _)| *k == kind).map(|(_, file)| file)
    }

    /// Which of the namespaces that sysctls depend on are not the caller's.
    pub(crate) fn namespaced(&self) -> Namespaced {
        let own = |kind| self.has_own(kind);
        Namespaced { ipc: own(Kind::Ipc), network: own(Kind::Network), uts: own(Kind::Uts) }
    }

    /// Joins every namespace that was given by path, but those that the process was born in.
    pub(crate) fn join(&self) -> Result<()> {
        if self.are_entered_between() {
            return Ok(());
        }
        self.enter(|kind| ![Kind::Pid, Kind::User].contains(&kind))
    }

    /// Joins the namespaces of the kinds that `which` wants. The mount namespace comes last: it takes root and working
    /// directory along.
    fn enter(&self, which: impl Fn(Kind) -> bool) -> Result<()> {
        let last = |kind: &Kind| *kind == Kind::Mount;
        let wanted = || self.joined.iter().filter(|(kind, _)| which(*kind));
        let first = wanted().filter(|(kind, _)| !last(kind));
        for (kind, file) in first.chain(wanted().filter(|(kind, _)| last(kind))) {
            let link = match kind {
                Kind::Cgroup => Link::ControlGroup,
                Kind::Uts => Link::HostNameAndNISDomainName,
                Kind::Ipc => Link::InterProcessCommunication,
                Kind::Network => Link::Network,
                Kind::Pid => Link::ProcessID,
                Kind::User => Link::User,
                Kind::Mount => Link::Mount,
                Kind::Time => Link::Time,
            };
            rustix::thread::move_into_link_name_space(file.as_fd(), Some(link))
                .call(|| format!("setns({kind})"))?;
        }
        Ok(())
    }

    /// Clones the container's process into these namespaces, as far as they are new or are born into.
    pub(crate) fn clone_process(&self, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
        match self.are_entered_between() {
            true => self.clone_through(exit_signal, cgroup),
            false => self.clone_directly(exit_signal, cgroup),
        }
    }

    /// A user namespace can't be left again, and new namespaces belong to the one that their maker is in. So a
    /// process between enters it, and before, with the caller's power, all others that are joined; clones the
    /// container's process there as its own sibling (`CLONE_PARENT`), says its number, and ends. It is in no namespace where the container could see it.
    fn clone_through(&self, exit_signal: c_int, cgroup: Option<BorrowedFd<'_>>) -> Result<Side> {
        let (ours, theirs) = channel::pair().call(|| "socketpair()".into())?;
        let flags = if self.sibling { libc::CLONE_PARENT } else { 0 };
        let between = birth::clone3(flags, exit_signal, cgroup).call(|| format!("clone3({flags:#x})"))?;
        let Side::Parent { pidfd: between, .. } = between else {
            drop(ours);
            return self.enter_and_clone(&theirs);
        };
        drop(theirs);
        let word = ours.hear().call(|| "hear from the process in the user namespace".into())?;
        if !self.sibling {
            // It ends right after its word. systemd, as its parent, needs no help with that.
            sys::wait_exit(between.as_fd()).call(|| "wait for the process in the user namespace".into())?;
        }
        match word {
            Some(Word::Joined(pid)) if self.sibling => {
                let pidfd = process::open(pid, None)?;
                let pidfd = pidfd.ok_or_else(|| Error::Died("it was killed at birth".into()))?;
                Ok(Side::Parent { pid, pidfd })
            }
            Some(Word::Joined(pid)) => Ok(Side::Parent { pid, pidfd: process::open_child(pid)? }),
            Some(Word::Failed(_, reason)) => Err(Error::Setup(reason)),
            _ => Err(Error::Died("while joining a user namespace".into())),
        }
    }

    /// The way of the process between. Comes back only in the container's process.
    fn enter_and_clone(&self, channel: &Channel) -> Result<Side> {
        // Before it is in there: others of that namespace must not look into this process (CVE-2016-9962).
        let born = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
            .call(|| "prctl(PR_SET_DUMPABLE)".into())
            .and_then(|()| self.enter(|kind| kind != Kind::User))
            .and_then(|()| match self.joined(Kind::User) {
                Some(_) => match self.keeps_groups {
                    true => Ok(()),
                    false => crate::credentials::drop_groups(),
                }
                .and_then(|()| self.enter(|kind| kind == Kind::User))
                .and_then(|()| crate::setup::become_root(self.keeps_groups)),
                None => Ok(()),
            })
            .and_then(|()| {
                // No exit signal of its own: with CLONE_PARENT it is the maker's.
                let flags = self.born() | libc::CLONE_PARENT;
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
        let flags = self.born() | if self.sibling { libc::CLONE_PARENT } else { 0 };
        let clone = || birth::clone3(flags, exit_signal, cgroup).call(|| format!("clone3({flags:#x})"));
        let Some(file) = self.joined(Kind::Pid).filter(|_| !self.last) else {
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

/// The network namespace of a process.
pub(crate) fn network_of(pid: i32) -> Result<OwnedFd> {
    Procfs::host()?.namespace(pid, "net")
}
