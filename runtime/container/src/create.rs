//! Making the container's first process, and holding it until everything else is ready.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Capability, Linux, LinuxNamespaceType, PosixRlimit, Process, Spec};

use crate::activation::Sockets;
use crate::channel::{self, Channel, Word};
use crate::clocks;
use crate::credentials::Credentials;
use crate::error::{Call, Error, Result};
use crate::hooks::Hooks;
use crate::mapping::Mappings;
use crate::namespaces::{self, Namespaces};
use crate::netdev;
use crate::process;
use crate::program::Program;
use crate::resctrl;
use crate::rootfs::borrowed::Borrowed;
use crate::rootfs::idmap::Mapper;
use crate::rootfs::mounts::Common;
use crate::rootfs::{devices, mounts, options};
use crate::rootless::{self, Late, Rootfs};
use crate::scheduling::{Habits, Scheduling};
use crate::seccomp::Filter;
use crate::security::Labels;
use crate::setup::{self, Plan};
use crate::sys::Side;

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
    /// Whether there is no program yet: `spec.process.args` isn't read, and whoever starts the container finds that out.
    pub without_program: bool,
    /// What becomes the container's `/`: a detached mount, or see [`crate::mount::root`].
    pub root: Rootfs,
    /// Whose child the process becomes.
    pub parent: Parent,
    /// The system call filter; `spec.linux.seccomp` isn't read here: see [`crate::seccomp::from_spec`].
    pub filter: Option<Filter>,
    /// The sockets that the program gets from 3 on; the caller's are closed when the process is made.
    pub sockets: Sockets,
    /// How many of the caller's descriptors the program keeps, from 3 on or behind the sockets.
    pub preserve_fds: u32,
    /// Whether the pipes and files that the caller has as standard streams become the program's user's, who can open
    /// them again then (`/dev/stdout`). Not for files that others have open, too, such as those of a unit.
    pub gives_streams: bool,
    /// Whether the program keeps the caller's supplementary groups instead of those of `spec.process.user`: a user without
    /// root's privileges has access to files by groups that can't be mapped.
    pub keeps_groups: bool,
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
    /// Whether the caller has seen to `linux.resources` (see [`crate::cgroup`]). If not, a `Spec` that limits
    /// anything is refused.
    pub resources_applied: bool,
    /// Give the program a new session keyring, so that it doesn't share the caller's.
    pub new_keyring: bool,
    /// Where the process waits after [`Held::release`] for one more byte, sent by whoever starts the container
    /// after the caller has ended: a FIFO opened for reading and writing.
    pub start: Option<OwnedFd>,
    /// Where the process says, after the `startContainer` hooks, that it executes its program: a byte of 0, or else why
    /// not, in words. It must be open for reading elsewhere by then.
    pub started: Option<OwnedFd>,
}

impl<'a> Creation<'a> {
    /// A child of systemd, without filter, extra descriptors or cgroup of its own.
    pub fn new(spec: &'a Spec, root: impl Into<Rootfs>) -> Self {
        Creation {
            spec,
            without_program: false,
            root: root.into(),
            parent: Parent::Systemd,
            filter: None,
            sockets: Sockets::default(),
            preserve_fds: 0,
            gives_streams: false,
            keeps_groups: false,
            default_rlimits: Vec::new(),
            cgroup: None,
            id: "",
            bundle: Path::new("/"),
            no_pivot: false,
            resources_applied: false,
            new_keyring: true,
            start: None,
            started: None,
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
    channel: Channel,
    network: Option<OwnedFd>,
    hooks: Hooks,
    clocks: Option<String>,
    scheduling: Scheduling,
    borrowed: Option<Borrowed>,
    devices: Vec<netdev::Device>,
    rdt: Option<resctrl::Groups>,
    score: Option<i32>,
    terminal: Option<OwnedFd>,
    listener: Option<OwnedFd>,
}

/// Clones the container's first process, which at once begins to set itself up.
///
/// The calling process must have one thread: its copy goes on in the middle of the program, and locks held by
/// other threads would stay locked in it forever. With more threads this fails.
///
/// # Errors
/// Whatever can be known to be wrong before anything was made: values, missing sources of bind mounts, what isn't
/// supported.
pub fn create(mut creation: Creation<'_>) -> Result<Held> {
    let (parent, cgroup) = (creation.parent, creation.cgroup.take());
    let linux = required(creation.spec.linux(), "linux")?;
    let id = creation.id;
    let mut plan = plan(creation, linux)?;
    let clocks = clocks::offsets(linux, &plan.namespaces)?;
    plan.sets_clocks = clocks.is_some();
    let scheduling = Scheduling::new(plan.process)?;
    let devices = netdev::wanted(linux, &plan.namespaces)?;
    plan.awaits_devices = !devices.is_empty() && plan.hooks.in_container();
    let borrowed =
        plan.place.as_deref().map(|place| Borrowed::new(plan.spec, place, &plan.root)).transpose()?;
    plan.hooks.open_output()?;
    let hooks = plan.hooks.clone();
    hooks.check()?;
    let network = plan
        .namespaces
        .joined(LinuxNamespaceType::Network)
        .map(OwnedFd::try_clone)
        .transpose()
        .call(|| "dup(network namespace)".into())?;
    let (ours, theirs) = channel::pair().call(|| "socketpair()".into())?;
    let exit_signal = match parent {
        Parent::Systemd => 0, // CLONE_PARENT: the same signal as for the caller itself
        Parent::Caller => libc::SIGCHLD,
    };
    plan.namespaces.set_sibling(parent == Parent::Systemd);
    plan.namespaces.postpone_processes();
    let cgroup = cgroup.as_ref().map(AsFd::as_fd);
    let late = plan.late.is_some();
    let rdt = linux.intel_rdt().as_ref().map(|rdt| resctrl::Groups::create(rdt, id)).transpose()?;
    let side = plan.namespaces.clone_process(exit_signal, cgroup);
    let (pid, pidfd) = match side.map_err(|error| if late { explain(error) } else { error })? {
        Side::Child => {
            drop(ours);
            setup::run(plan, theirs)
        }
        Side::Parent { pid, pidfd } => (pid, pidfd),
    };
    let held = Held {
        pid,
        pidfd,
        channel: ours,
        network,
        hooks,
        clocks,
        scheduling,
        borrowed,
        devices,
        rdt,
        score: plan.process.oom_score_adj(),
        terminal: None,
        listener: None,
    };
    held.adjust(&plan, linux)?;
    Ok(held)
}

fn explain(error: Error) -> Error {
    match error.errno() {
        Some(libc::EPERM) => Error::Unsupported {
            what: format!("a container without root's privileges ({error})"),
            reason:
                "it needs a user namespace in linux.namespaces, which the kernel must permit (sampan-runtime \
                     spec --rootless writes such a configuration)"
                    .into(),
        },
        _ => error,
    }
}

fn required<'s, T>(value: &'s Option<T>, what: &'static str) -> Result<&'s T> {
    value.as_ref().ok_or_else(|| Error::Invalid {
        what,
        value: "absent".into(),
        reason: "a container can't be made without it".into(),
    })
}

/// Checks and opens everything that can be checked and opened before there is a process.
fn plan<'a>(creation: Creation<'a>, linux: &'a Linux) -> Result<Plan<'a>> {
    let spec = creation.spec;
    let process = required(spec.process(), "process")?;
    refuse_unsupported(spec, linux, process, creation.resources_applied)?;
    let mut namespaces = Namespaces::new(linux)?;
    namespaces.keep_groups(creation.keeps_groups);
    setup::check_sysctls(spec, namespaces.namespaced())?;
    setup::check_names(spec, namespaces.namespaced())?;
    let labels = Labels::new(process)?;
    let propagation = linux.rootfs_propagation().as_deref().filter(|p| !p.is_empty());
    let propagation = propagation
        .map(|name| {
            options::propagation(name).ok_or_else(|| Error::Invalid {
                what: "linux.rootfsPropagation",
                value: name.to_owned(),
                reason: "it is (r)private, (r)slave, (r)shared or (r)unbindable".into(),
            })
        })
        .transpose()?;
    for (what, paths) in
        [("linux.maskedPaths", linux.masked_paths()), ("linux.readonlyPaths", linux.readonly_paths())]
    {
        if let Some(path) = paths.iter().flatten().find(|path| !path.starts_with('/')) {
            let reason = "the path is absolute in the container".into();
            return Err(Error::Invalid { what, value: path.clone(), reason });
        }
    }
    let place = place(&creation, &namespaces)?;
    let hooks = Hooks::new(spec, creation.id, creation.bundle);
    let root_path = spec.root().as_ref().map(|root| creation.bundle.join(root.path()));
    let (mounts, devices, root, late) = prepare(creation.root, spec, linux, &namespaces, propagation)?;
    Ok(Plan {
        spec,
        process,
        mounts,
        devices,
        program: (!creation.without_program).then(|| Program::new(process)).transpose()?,
        credentials: Credentials::new(process, namespaces.has_own_users())?
            .keep_groups(creation.keeps_groups),
        keeps_groups: creation.keeps_groups,
        labels,
        propagation,
        shown: root_path.filter(|_| hooks.on_host() || hooks.in_container()),
        hooks,
        habits: Habits::new(Some(linux))?,
        sets_clocks: false,
        awaits_devices: false,
        place,
        namespaces,
        root,
        late,
        filter: creation.filter,
        default_rlimits: creation.default_rlimits,
        first: 3u32.saturating_add(creation.sockets.count()).saturating_add(creation.preserve_fds),
        sockets: creation.sockets,
        gives_streams: creation.gives_streams,
        no_pivot: creation.no_pivot,
        new_keyring: creation.new_keyring,
        start: creation.start,
        started: creation.started,
    })
}

/// Where the root is mounted in a mount namespace that isn't the container's own: over its own directory.
fn place(creation: &Creation<'_>, namespaces: &Namespaces) -> Result<Option<PathBuf>> {
    if namespaces.has_own_mounts() {
        return Ok(None);
    }
    let path = creation.spec.root().as_ref().map(|root| creation.bundle.join(root.path()));
    let path = path.filter(|path| !path.as_os_str().is_empty()).ok_or_else(|| Error::Invalid {
        what: "root.path",
        value: String::new(),
        reason: "without a mount namespace of its own a container's root is mounted over this directory"
            .into(),
    })?;
    Ok(Some(path))
}

/// Mounts, devices and the root; or what of it the container's process has to prepare, with a place holder for
/// the root.
type Prepared<'a> = (Vec<mounts::Prepared>, Vec<devices::Device>, OwnedFd, Option<Late<'a>>);

fn prepare<'a>(
    root: Rootfs,
    spec: &'a Spec,
    linux: &'a Linux,
    namespaces: &Namespaces,
    propagation: Option<(u64, bool)>,
) -> Result<Prepared<'a>> {
    let all = spec.mounts().as_deref().unwrap_or_default();
    let devices = linux.devices().as_deref().unwrap_or_default();
    match root {
        Rootfs::Mount(root) => {
            let common = Common { propagation, ..Common::default() };
            let mapper = Mapper::new(linux, namespaces);
            let mounts = all.iter().map(|m| mounts::prepare(m, common, &mapper)).collect::<Result<_>>()?;
            let new = namespaces.is_new(LinuxNamespaceType::User).then_some(linux);
            let devices = devices::prepare(devices, namespaces.has_own_users(), new)?;
            Ok((mounts, devices, root, None))
        }
        Rootfs::Directory(directory) => {
            let flags =
                rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
            let root = rustix::fs::open(&directory, flags, rustix::fs::Mode::empty())
                .call(|| format!("open(rootfs {})", directory.display()))?;
            Ok((Vec::new(), Vec::new(), root, Some(Late { directory, mounts: all, devices, linux })))
        }
    }
}

/// Nothing that a `Spec` asks for is ignored silently: what isn't done here is an error.
fn refuse_unsupported(spec: &Spec, linux: &Linux, process: &Process, limited: bool) -> Result<()> {
    if spec.vm().is_some() {
        return Err(Error::Unsupported {
            what: "vm".to_owned(),
            reason: "containers are processes of the host's kernel here, not virtual machines".into(),
        });
    }
    match linux.resources() {
        Some(resources) if !limited => {
            let bounding = process.capabilities().as_ref().and_then(|c| c.bounding().as_ref());
            let mut namespaces = linux.namespaces().iter().flatten();
            let own_users = namespaces.any(|n| n.typ() == LinuxNamespaceType::User);
            let mknod = bounding.is_none_or(|set| set.contains(&Capability::Mknod));
            crate::cgroup::refuse_limits(resources, mknod && !own_users)
        }
        _ => Ok(()),
    }
}

impl Held {
    /// What must be done to the process from outside, right after its birth.
    fn adjust(&self, plan: &Plan<'_>, linux: &Linux) -> Result<()> {
        self.mark()?;
        if plan.namespaces.is_new(LinuxNamespaceType::User) {
            Mappings::of(linux).write(self.pid)?;
            self.channel.go_on().call(|| "tell the container's process to go on".into())?;
        }
        Ok(())
    }

    /// What a process has that only another one can give it.
    fn mark(&self) -> Result<()> {
        if let Some(score) = self.score {
            // From outside: in a user namespace the process may not write its own file of procfs.
            rootless::set_score(self.pid, score)?;
        }
        match &self.rdt {
            Some(groups) => groups.add(self.pid),
            None => Ok(()),
        }
    }

    /// The process id, in the caller's PID namespace. In a PID namespace that is joined it is another one after
    /// [`Held::wait_ready`].
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
        match &self.network {
            Some(joined) => joined.try_clone().call(|| "dup(network namespace)".into()),
            None => namespaces::network_of(self.pid),
        }
    }

    /// Waits until the set-up is complete and the program was found to be executable. The process then blocks.
    /// Runs the `prestart` and `createRuntime` hooks on the way.
    ///
    /// # Errors
    /// What the process itself reported ([`Error::Setup`], [`Error::NotExecutable`]).
    pub fn wait_ready(&mut self) -> Result<()> {
        loop {
            let word = self.channel.hear().call(|| "hear from the container's process".into())?;
            match word {
                Some(Word::Ready) => {
                    self.give_devices()?;
                    return self.scheduling.apply(self.pid);
                }
                Some(Word::Clocks) => {
                    clocks::write(self.pid, self.clocks.as_deref().unwrap_or_default())?;
                    self.channel.go_on().call(|| "tell the container's process to go on".into())?;
                }
                Some(Word::Hooks) => {
                    self.give_devices()?;
                    self.hooks.run_on_host(self.pid)?;
                    self.channel.go_on().call(|| "tell the container's process to go on".into())?;
                }
                Some(Word::Terminal(master)) => self.terminal = Some(master),
                Some(Word::Listener(listener)) => self.listener = Some(listener),
                Some(Word::Failed(status @ (126 | 127), reason)) => {
                    return Err(Error::NotExecutable { status, reason });
                }
                Some(Word::Failed(_, reason)) => return Err(Error::Setup(reason)),
                Some(Word::Joined(pid)) => self.replace(pid)?,
                None => return Err(Error::Died(process::end_of(&self.pidfd))),
            }
        }
    }

    /// The process that has set the container up ends, and its child goes on in a PID namespace that it joins.
    fn replace(&mut self, pid: i32) -> Result<()> {
        let child = process::open_child(pid)?;
        let first = std::mem::replace(&mut self.pidfd, child);
        self.pid = pid;
        process::wait_exit(first.as_fd())?;
        // The first one may not have had them yet when this one was born.
        self.mark()?;
        self.channel.go_on().call(|| "tell the container's process to go on".into())
    }

    /// Gives the container the host's network devices, once: before hooks, which may want to see them, or last.
    fn give_devices(&mut self) -> Result<()> {
        match std::mem::take(&mut self.devices) {
            devices if devices.is_empty() => Ok(()),
            devices => netdev::give(&devices, self.network_namespace()?.as_fd()),
        }
    }

    /// The master side of the terminal, if `process.terminal` asked for one; only after [`Held::wait_ready`].
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// The listener of the filter, if it notifies (`SCMP_ACT_NOTIFY`); only after [`Held::wait_ready`].
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Lets the process execute its program, and waits until it has: for its `startContainer` hooks.
    ///
    /// # Errors
    /// What one of them did wrong; the process has ended then.
    pub fn start(mut self) -> Result<()> {
        self.channel.go_on().call(|| "release the container's process".into())?;
        match self.channel.hear().call(|| "hear from the container's process".into())? {
            Some(Word::Failed(_, reason)) => Err(Error::Setup(reason)),
            // It has executed its program, or ended: its end of the channel is closed. What it has stays.
            _ => {
                self.borrowed = None;
                self.rdt = None;
                Ok(())
            }
        }
    }

    /// Lets the process execute its program. What `execve` still refuses goes to the process's standard error,
    /// and it ends with 127 or 126.
    pub fn release(mut self) -> Result<()> {
        self.borrowed = None;
        self.rdt = None;
        self.channel.go_on().call(|| "release the container's process".into())
    }
}

/// What doesn't end with the process: groups of resctrl, and a root that isn't in a mount namespace of its own.
impl Drop for Held {
    fn drop(&mut self) {
        if let Some(groups) = &self.rdt
            && let Err(error) = groups.remove()
        {
            log::warn!("a group of resctrl is left over: {error}");
        }
        let Some(borrowed) = &self.borrowed else { return };
        // Before it mounts anything after that.
        let _ = process::signal(self.pidfd.as_fd(), libc::SIGKILL);
        let _ = process::wait(self.pidfd.as_fd(), None);
        if let Err(error) = borrowed.take_down() {
            log::warn!("a container's root is left over: {error}");
        }
    }
}
