//! What the container's process does between its birth and its program: one straight line of steps.
//!
//! The caller has checked and opened all that can be checked and opened outside ([`Plan`]). Everything here
//! happens in the new process, in its new namespaces; [`run`] is the order, and says why it is that order.
//!
//! How the container is kept away from this process and its executable: nothing of the container runs before
//! the last step. If the PID namespace is shared with other containers they could see this process, so it isn't
//! dumpable: `/proc/<pid>/exe`, `fd` and `mem` are closed to everyone without `CAP_SYS_PTRACE` over the
//! host (CVE-2016-9962). For those who have it this process isn't there at all, where that can be done: its child is,
//! which executes the program ([`Birth`]). For what the program itself could be, see [`crate::sys::trampoline`].

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, PosixRlimit, Process, Spec};
use rustix::mount::{MountPropagationFlags, UnmountFlags};
use rustix::process::DumpableBehavior;

use crate::activation::Sockets;
use crate::channel::{Channel, Word};
use crate::clocks;
use crate::credentials::Credentials;
use crate::error::{Call, Error, Result};
use crate::hooks::Hooks;
use crate::limits;
use crate::namespaces::Namespaces;
use crate::program::{Launch, Program};
use crate::rootfs::covers;
use crate::rootfs::devices::{self, Device};
use crate::rootfs::masks::{self, Masks};
use crate::rootfs::mounts::{self, Common, Prepared};
use crate::rootfs::procfs::{Namespaced, Procfs};
use crate::rootfs::{Kind, Links, Root, borrowed};
use crate::rootless::{self, Late};
use crate::scheduling::Habits;
use crate::seccomp::Filter;
use crate::security::{self, Labels};
use crate::streams::Owner;
use crate::sys::{self, MountAttr};
use crate::terminal;

/// Everything that the process needs, prepared by the caller.
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) process: &'a Process,
    pub(crate) root: OwnedFd,
    /// Mounts, devices and root that this process has to prepare itself.
    pub(crate) late: Option<Late<'a>>,
    pub(crate) namespaces: Namespaces,
    pub(crate) mounts: Vec<Prepared>,
    pub(crate) devices: Vec<Device>,
    /// None: there is none to execute.
    pub(crate) program: Option<Program>,
    pub(crate) credentials: Credentials,
    pub(crate) filter: Option<Filter>,
    pub(crate) labels: Labels,
    pub(crate) hooks: Hooks,
    pub(crate) habits: Habits,
    /// Whether the caller sets the clocks of a new time namespace.
    pub(crate) sets_clocks: bool,
    /// Whether the caller has network devices to give before hooks run.
    pub(crate) awaits_devices: bool,
    /// Where the root is mounted, if its mount namespace isn't the container's own.
    pub(crate) place: Option<PathBuf>,
    pub(crate) default_rlimits: Vec<PosixRlimit>,
    /// The first descriptor that isn't the program's.
    pub(crate) first: u32,
    /// Those of the program's that systemd has passed.
    pub(crate) sockets: Sockets,
    /// Whether the caller's pipes and files on the standard streams become the program's user's.
    pub(crate) gives_streams: bool,
    /// Whether the program keeps the caller's supplementary groups.
    pub(crate) keeps_groups: bool,
    pub(crate) no_pivot: bool,
    pub(crate) new_keyring: bool,
    pub(crate) start: Option<OwnedFd>,
    pub(crate) started: Option<OwnedFd>,
    /// Where hooks look for the root: they know the path of the bundle's.
    pub(crate) shown: Option<PathBuf>,
    /// Propagation of the finished root, from `linux.rootfsPropagation`.
    pub(crate) propagation: Option<(u64, bool)>,
}

/// The way of the container's process. Never returns: it executes the program or ends.
pub(crate) fn run(plan: Plan<'_>, channel: Channel) -> ! {
    let failed = |error: &Error| {
        let word = Word::Failed(error.exit_status(), error.to_string());
        if channel.say(&word).is_err() {
            // Once released, nobody listens there any more; standard error is the journal.
            let words = format!("sampan: {error}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
        }
        sys::exit(error.exit_status())
    };
    let name = plan.program.as_ref().map(Program::name).unwrap_or_default();
    match set_up(plan, &channel) {
        Err(error) => failed(&error),
        Ok(None) => sys::exit(125),
        Ok(Some(launch)) => {
            let error = launch.execute();
            // Only the trampoline itself can be refused here: by the filter, or where memory files can't be
            // executed. Nobody listens to the channel any more; standard error is the journal.
            let words = format!(
                "sampan: {name:?} can't be executed: execveat of the sealed launcher: {error}; does the seccomp profile allow execveat, and is vm.memfd_noexec below 2?\n"
            );
            let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
            sys::exit(126)
        }
    }
}

/// All steps but the last. `None`: the caller is gone.
fn set_up(mut plan: Plan<'_>, channel: &Channel) -> Result<Option<Launch>> {
    // First: what we inherited. Signals that the caller blocks or ignores (Rust ignores SIGPIPE) would stay so
    // for the program, and no descriptor may reach a hook or the program by accident (CVE-2024-21626).
    sys::reset_signals().call(|| "reset signals".into())?;
    sys::cloexec_from(plan.first).call(|| "close_range(CLOSE_RANGE_CLOEXEC)".into())?;
    let has_sockets = !plan.sockets.is_empty();
    std::mem::take(&mut plan.sockets).give()?;
    // An unprivileged caller may write the mappings of a dumpable process only. Until then there is nobody who
    // could look into this one but the caller's own user.
    let open = plan.late.is_some() && plan.namespaces.is_new(LinuxNamespaceType::User);
    if !open {
        close_to_others()?;
    }

    // In a user namespace nobody is anybody until the caller has written the mappings.
    if plan.namespaces.is_new(LinuxNamespaceType::User) {
        if !wait(channel)? {
            return Ok(None);
        }
        become_root(plan.keeps_groups)?;
    }
    // The session before the terminal, which belongs to a session's leader.
    rustix::process::setsid().call(|| "setsid()".into())?;
    // Namespaces given by path before all that shows or sets something of a namespace.
    plan.namespaces.join()?;
    if plan.namespaces.is_new(LinuxNamespaceType::Time) && !clocks::enter(plan.sets_clocks, channel)? {
        return Ok(None);
    }
    set_names(plan.spec)?;
    if plan.namespaces.is_new(LinuxNamespaceType::Network) {
        bring_up_loopback()?;
    }

    // Labels and sysctls through procfs that nobody else has, opened while no mount of the container is there.
    let label = open_label(&plan)?;
    rustix::process::umask(rustix::fs::Mode::empty());
    if let Some(late) = plan.late.take() {
        rootless::prepare(&mut plan, &late)?;
    }
    match &plan.place {
        None => enter_mount_namespace(&plan.root, plan.shown.as_deref())?,
        Some(place) => borrowed::attach(&plan.root, place)?,
    }
    let slave = build_root(&mut plan, channel)?;

    // The hooks of the host see the finished mounts, and may change them, before masks cover anything.
    if plan.hooks.on_host() || plan.awaits_devices {
        say(channel, &Word::Hooks)?;
        if !wait(channel)? {
            return Ok(None);
        }
    }
    plan.hooks.create_container()?;
    if plan.shown.is_some() {
        covers::refuse(&plan.root, place_of(plan.shown.as_deref()))?;
    }
    close_root(&plan)?;

    // The host's tree goes away. From here on a path is one of the container.
    pivot(&plan)?;
    let terminal = slave.is_some();
    match slave {
        Some(slave) => {
            match plan.namespaces.postponed() {
                // The last process will be the leader of a session of its own.
                Some(_) => terminal::make_standard(&slave)?,
                None => terminal::take_over(&slave)?,
            }
            Owner::of(plan.process).take_terminal(&slave)?;
        }
        None => {
            devices::take_null(&Root::new(plan.root.as_fd()))?;
            if plan.gives_streams {
                Owner::of(plan.process).take_streams()?;
            }
        }
    }
    let last = Last {
        first: plan.first,
        has_sockets,
        process: plan.process,
        credentials: plan.credentials.clone(),
        filter: plan.filter.take(),
        start: plan.start.take(),
        started: plan.started.take(),
        hooks: plan.hooks.clone(),
        birth: plan.namespaces.postponed().map(|_| Birth::new(terminal)).transpose()?,
    };
    if last.birth.is_some() {
        plan.namespaces.enter_postponed()?;
    }
    let launch = finish(plan, label)?;
    confine_and_wait(launch, last, channel)
}

/// What still counts when everything of the plan is made.
struct Last<'a> {
    /// The first descriptor that isn't the program's.
    first: u32,
    /// Whether systemd has passed some of those below.
    has_sockets: bool,
    process: &'a Process,
    credentials: Credentials,
    filter: Option<Filter>,
    start: Option<OwnedFd>,
    started: Option<OwnedFd>,
    hooks: Hooks,
    birth: Option<Birth>,
}

/// A child that goes on in this process's place: it alone is in the PID namespace that is joined. Whoever may trace it
/// there finds what a program of the container has, and an executable that is a sealed copy.
struct Birth {
    /// Whether the standard streams are the container's terminal.
    terminal: bool,
    alone: sys::Alone,
}

impl Birth {
    fn new(terminal: bool) -> Result<Self> {
        Ok(Birth { terminal, alone: sys::Alone::prove().call(|| "clone(CLONE_PARENT)".into())? })
    }

    /// Comes back in the child only, when the caller knows of it. `false`: the caller is gone.
    fn give(&self, channel: &Channel) -> Result<bool> {
        match sys::fork_sibling(&self.alone).call(|| "clone(CLONE_PARENT)".into())? {
            0 => {
                // Its own session, because that of its maker ends right now and takes a terminal along.
                rustix::process::setsid().call(|| "setsid()".into())?;
                if self.terminal {
                    rustix::process::ioctl_tiocsctty(rustix::stdio::stdin())
                        .call(|| "ioctl(TIOCSCTTY)".into())?;
                }
                wait(channel)
            }
            pid => {
                // The number is that of our own PID namespace: the joined one applies to children only.
                let _ = channel.say(&Word::Joined(pid));
                sys::exit(0)
            }
        }
    }
}

/// Gives up what is left of the host, and waits for the start.
fn confine_and_wait(mut launch: Option<Launch>, last: Last<'_>, channel: &Channel) -> Result<Option<Launch>> {
    // What is still open is the caller's: directories of the host, perhaps. Nothing of this container runs yet, but
    // others in its PID namespace do, and programs that someone executes in it before its start (CVE-2016-9962).
    let waiting = last.start.iter().chain(&last.started).map(AsFd::as_fd);
    let keep = launch.iter().map(AsFd::as_fd).chain([channel.as_fd()]).chain(waiting);
    sys::descriptors::close_others(last.first, &keep.collect::<Vec<_>>()).call(|| "close_range()".into())?;
    // Last, because everything before would have to pass the filter. What is opened from here on is close-on-exec.
    security::confine(last.process, &last.credentials, last.filter.as_ref(), channel)?;
    if let Some(birth) = &last.birth
        && !birth.give(channel)?
    {
        return Ok(None);
    }
    if let Some(launch) = launch.as_mut().filter(|_| last.has_sockets) {
        launch.set_listener();
    }
    say(channel, &Word::Ready)?;
    if !wait(channel)? {
        return Ok(None);
    }
    if let Some(start) = &last.start {
        // Opened by the caller for both directions, so this is no end of file but a wait, without a path.
        rustix::io::retry_on_intr(|| rustix::io::read(start, &mut [0u8]))
            .call(|| "wait for the start".into())?;
    }
    let Some(launch) = launch else {
        return Err(Error::Setup("the configuration has no process: there is no program to execute".into()));
    };
    let hooks = last.hooks.start_container();
    if let Some(started) = &last.started {
        let words = hooks.as_ref().err().map_or_else(|| "\0".to_owned(), Error::to_string);
        rustix::io::write(started, words.as_bytes()).call(|| "tell who starts the container".into())?;
    }
    hooks?;
    Ok(Some(launch))
}

/// What is left once the root is the container's: from process attributes to the identity and the program.
fn finish(plan: Plan<'_>, label: Option<OwnedFd>) -> Result<Option<Launch>> {
    let linux = plan.spec.linux().as_ref();
    // Limits before the user changes: raising one takes a capability.
    limits::set(plan.process, &plan.default_rlimits)?;
    plan.habits.take_on()?;
    if plan.new_keyring {
        security::join_keyring()?;
    }
    if let Some((propagation, recursive)) = plan.propagation {
        let attributes = MountAttr { propagation, ..MountAttr::default() };
        sys::mount_setattr(plan.root.as_fd(), recursive, &attributes)
            .call(|| "propagation of the root".into())?;
    }
    let umask = plan.process.user().umask().unwrap_or(0o022);
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(umask));
    // Memory files are labelled as the container's own files: the program's domain may execute those.
    let mount_label = linux.and_then(|l| l.mount_label().as_deref());
    let make = |program: &Program| security::trampoline(&program.name(), mount_label, plan.labels.selinux());
    let trampoline = plan.program.as_ref().map(make).transpose()?;
    // The label applies to the next execve, which is the program's; the file was opened long ago.
    if let Some(label) = label {
        plan.labels.apply(&label)?;
    }

    // Identity, then everything that must be judged with that identity.
    plan.credentials.assume()?;
    close_to_others()?;
    let (Some(mut program), Some(trampoline)) = (plan.program, trampoline) else {
        return Ok(None);
    };
    program.enter_cwd()?;
    program.set_home(|| crate::user::home(plan.process.user().uid()));
    let path = program.find()?;
    program.prepare(path, trampoline).map(Some)
}

fn say(channel: &Channel, word: &Word) -> Result<()> {
    channel.say(word).call(|| format!("tell the caller {word:?}"))
}

fn wait(channel: &Channel) -> Result<bool> {
    channel.wait().call(|| "wait for the caller".into())
}

/// Nobody may look into this process from here on, until it changes its user: that undoes it where `fs.suid_dumpable`
/// says so (proc_sys_fs(5)).
fn close_to_others() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call(|| "prctl(PR_SET_DUMPABLE)".into())
}

/// Root of the new user namespace, with none of the caller's groups unless it `keeps` them, and closed to others.
pub(crate) fn become_root(keeps_groups: bool) -> Result<()> {
    use rustix::process::{Gid, Uid};
    let (uid, gid) = (Uid::ROOT, Gid::ROOT);
    if !keeps_groups {
        crate::credentials::set_groups(&[])?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).call(|| "setgid(0)".into())?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).call(|| "setuid(0)".into())?;
    close_to_others()
}

/// Names are set in a UTS namespace of the container's own, new or joined: without, they would be the host's.
pub(crate) fn check_names(spec: &Spec, own: Namespaced) -> Result<()> {
    for (what, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        if let Some(name) = name.as_ref().filter(|name| !own.uts && !name.is_empty()) {
            return Err(Error::Invalid {
                what,
                value: name.clone(),
                reason: "it would be the host's: a name needs a namespace of type uts".into(),
            });
        }
    }
    Ok(())
}

fn set_names(spec: &Spec) -> Result<()> {
    if let Some(name) = spec.hostname().as_ref().filter(|name| !name.is_empty()) {
        rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))?;
    }
    if let Some(name) = spec.domainname().as_ref().filter(|name| !name.is_empty()) {
        rustix::system::setdomainname(name.as_bytes()).call(|| format!("setdomainname({name:?})"))?;
    }
    Ok(())
}

/// A network of one's own is no use without its loopback device, and nobody else sees to it: the others do it, too.
fn bring_up_loopback() -> Result<()> {
    match sys::bring_up_loopback() {
        // Without CAP_NET_ADMIN it stays down, as nothing in the Spec asks for it.
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => Ok(()),
        result => result.call(|| "ioctl(lo, SIOCSIFFLAGS, IFF_UP)".into()),
    }
}

/// Writes the sysctls and opens the file for the label.
fn open_label(plan: &Plan<'_>) -> Result<Option<OwnedFd>> {
    let sysctls = plan.spec.linux().as_ref().and_then(|l| l.sysctl().as_ref());
    let sysctls: std::collections::BTreeMap<_, _> = sysctls.into_iter().flatten().collect();
    if sysctls.is_empty() && plan.labels.is_empty() {
        return Ok(None);
    }
    let procfs = Procfs::new()?;
    for (name, value) in sysctls {
        procfs.write_sysctl(name, value)?;
    }
    plan.labels.open(&procfs)
}

/// Cuts the copied mount tree off from the host's and puts the new root into it, over `/`, where no directory is
/// needed for it; for hooks, which may want to find it and mount something there, over the directory `shown`. Private
/// before anything is attached, or the host would get it too.
fn enter_mount_namespace(root: &OwnedFd, shown: Option<&Path>) -> Result<()> {
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .call(|| "mount(/, MS_REC|MS_PRIVATE)".into())?;
    attach_root(root, shown)
}

/// Where the root is put: `shown`, if there is such a directory.
fn place_of(shown: Option<&Path>) -> &Path {
    shown.filter(|directory| directory.is_dir()).unwrap_or(Path::new("/"))
}

fn attach_root(root: &OwnedFd, shown: Option<&Path>) -> Result<()> {
    let place = place_of(shown);
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, rustix::fs::Mode::empty())
        .call(|| format!("open({})", place.display()))?;
    mounts::attach(root, &directory, place)
}

/// Puts another root in the place of the one that is there, which goes away with all that was mounted in it. Not over it:
/// [`pivot`] detaches one mount, and that must be the host's root.
fn exchange_root(plan: &mut Plan<'_>, root: OwnedFd) -> Result<()> {
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let here = rustix::fs::open(c".", flags, rustix::fs::Mode::empty()).call(|| "open(.)".into())?;
    rustix::process::fchdir(&plan.root).call(|| "chdir(root)".into())?;
    rustix::mount::unmount(c".", UnmountFlags::DETACH).call(|| "umount(root)".into())?;
    rustix::process::fchdir(&here).call(|| "chdir(back)".into())?;
    plan.root = root;
    attach_root(&plan.root, plan.shown.as_deref())
}

/// Mounts, devices, links and the terminal, in the order of the `Spec`. Returns the terminal's slave.
fn build_root(plan: &mut Plan<'_>, channel: &Channel) -> Result<Option<OwnedFd>> {
    let mounts = std::mem::take(&mut plan.mounts);
    let mut devpts = None;
    let mut dev_is_bound = false;
    for mount in mounts {
        if mount.is_root(plan.place.is_some())? {
            let root = mount.into_root(&plan.root, plan.common())?;
            exchange_root(plan, root)?;
            continue;
        }
        let (root, common) = (Root::new(plan.root.as_fd()), plan.common());
        let is_devpts = mount.is_new("devpts") && mount.destination() == Path::new("/dev/pts");
        dev_is_bound |= mount.is_bind() && mount.destination() == Path::new("/dev");
        let mount = mount.attach(&root, common)?;
        if is_devpts {
            devpts = mount;
        }
    }
    let root = Root::new(plan.root.as_fd());
    // A /dev that is someone else's directory already has what its owner wants it to have.
    if !dev_is_bound {
        for device in &plan.devices {
            devices::make(&root, device)?;
        }
        devices::link(&root, devpts.is_some())?;
    }
    let mut slave = None;
    if plan.process.terminal() == Some(true) {
        let pair = terminal::open(devpts.as_ref(), plan.process.console_size())?;
        devices::console(&root, &pair.slave)?;
        say(channel, &Word::Terminal(pair.master))?;
        slave = Some(pair.slave);
    }
    // The working directory is made if the image lacks it, as other runtimes do; later the root may be read-only.
    root.mount_point(plan.process.cwd(), Kind::Directory, Links::Follow)?;
    Ok(slave)
}

/// Takes away what the container must not see or change.
fn close_root(plan: &Plan<'_>) -> Result<()> {
    let root = Root::new(plan.root.as_fd());
    let Some(linux) = plan.spec.linux() else {
        return Ok(());
    };
    // Read-only first: a path that is in both lists ends up masked.
    for path in linux.readonly_paths().iter().flatten() {
        masks::read_only(&root, Path::new(path))?;
    }
    let mut masks = Masks::default();
    for path in linux.masked_paths().iter().flatten() {
        masks.mask(&root, Path::new(path), plan.common().label)?;
    }
    if plan.spec.root().as_ref().and_then(|r| r.readonly()) == Some(true) {
        let attributes = MountAttr {
            set: rustix::mount::MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(),
            ..MountAttr::default()
        };
        sys::mount_setattr(plan.root.as_fd(), false, &attributes)
            .call(|| "make the root read-only".into())?;
    }
    Ok(())
}

/// Makes the new root the root. `pivot_root(".", ".")` puts the old one over the new, from where it is detached
/// at once (pivot_root(2), NOTES), together with what covers it. Where the old root can't be pivoted, or is the root of
/// others, the process is only locked into the new.
fn pivot(plan: &Plan<'_>) -> Result<()> {
    rustix::process::fchdir(&plan.root).call(|| "chdir(new root)".into())?;
    if plan.no_pivot || plan.place.is_some() {
        rustix::process::chroot(c".").call(|| "chroot(new root)".into())?;
    } else {
        rustix::process::pivot_root(c".", c".").call(|| "pivot_root(\".\", \".\")".into())?;
        covers::detach(&plan.root)?;
    }
    rustix::process::chdir(c"/").call(|| "chdir(/)".into())
}

impl Plan<'_> {
    pub(crate) fn common(&self) -> Common<'_> {
        let linux = self.spec.linux().as_ref();
        let label = linux.and_then(|l| l.mount_label().as_deref());
        Common {
            label: label.filter(|l| !l.is_empty() && self.labels.selinux()),
            propagation: self.propagation,
            own_users: self.namespaces.has_own_users(),
            own_cgroups: self.namespaces.has_own(LinuxNamespaceType::Cgroup),
            own_processes: self.namespaces.has_own(LinuxNamespaceType::Pid),
            own_queues: self.namespaces.has_own(LinuxNamespaceType::Ipc),
            processes: self.namespaces.postponed(),
        }
    }
}

/// Which sysctls the container may have: those of its own namespaces.
pub(crate) fn check_sysctls(spec: &Spec, own: Namespaced) -> Result<()> {
    let linux = spec.linux().as_ref();
    for name in linux.and_then(|l| l.sysctl().as_ref()).into_iter().flat_map(|s| s.keys()) {
        crate::rootfs::procfs::check_sysctl(name, own)?;
    }
    Ok(())
}
