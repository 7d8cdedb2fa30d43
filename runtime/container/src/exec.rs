//! Running a further program in a container.
//!
//! The container's processes are hostile and can see every process of their PID namespace. So a new one must be
//! confined *before* it is in there: a first process of ours joins every namespace but that one, enters the
//! cgroup, gives up capabilities, loads the filter, finds the program; only its child, which inherits all of
//! that, is born in the container's PID namespace, and does nothing but execute. Neither is dumpable, so their
//! memory, descriptors and `/proc/<pid>/exe` are closed to the container (CVE-2016-9962). For a container that has
//! `CAP_SYS_PTRACE` that is no obstacle: therefore the child has no descriptor but its own, and its executable is to
//! be a sealed copy in memory, which the caller sees to (CVE-2019-5736; [`seal_executable`]).

use std::ffi::CString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use oci_spec::runtime::{Linux, LinuxNamespace, LinuxNamespaceType as Kind, PosixRlimit, Process, Spec};
use rustix::fs::{MemfdFlags, Mode};
use rustix::process::DumpableBehavior;
use rustix::thread::ThreadNameSpaceType as Types;

use crate::birth;
use crate::channel::{self, Channel, Word};
use crate::credentials::Credentials;
use crate::error::{Call, Error, Result};
use crate::limits;
use crate::program::{Launch, Program};
use crate::resctrl::Groups;
use crate::rootfs::procfs::Procfs;
use crate::scheduling::{self, Affinity, Habits, Scheduling};
use crate::seccomp::Filter;
use crate::security::{self, Labels};
use crate::streams::Owner;
use crate::sys::{self, Side, Strings};
use crate::{process, rootless, terminal};

/// A program to run in a running container. Make one with [`Exec::new`] and change its fields.
pub struct Exec<'a> {
    /// The container's first process, in the caller's PID namespace.
    pub pid: i32,
    /// When that process started ([`crate::process::start_time`]), if known: nothing is joined if the number is another
    /// process's by now.
    pub start_time: Option<u64>,
    /// The container's `Spec`: which namespaces it has, its labels.
    pub spec: &'a Spec,
    /// The program: arguments, environment, user, directory, capabilities, terminal.
    pub process: &'a Process,
    /// The container's filter.
    pub filter: Option<Filter>,
    /// How many of the caller's descriptors from 3 on the program keeps.
    pub preserve_fds: u32,
    /// As in [`crate::Creation::gives_streams`].
    pub gives_streams: bool,
    /// As in [`crate::Creation::keeps_groups`].
    pub keeps_groups: bool,
    /// Whether the program waits for [`Joined::release`], for callers who have to be ready when it runs.
    pub waits: bool,
    /// As in [`crate::Creation::default_rlimits`].
    pub default_rlimits: Vec<PosixRlimit>,
    /// The cgroup (version 2 directory) of the container's first process, to be born into; none: the caller's.
    /// See [`crate::cgroup::of`].
    pub cgroup: Option<OwnedFd>,
}

impl<'a> Exec<'a> {
    /// A program without filter and extra descriptors, in the caller's cgroup.
    pub fn new(pid: i32, spec: &'a Spec, process: &'a Process) -> Self {
        Exec {
            pid,
            start_time: None,
            spec,
            process,
            filter: None,
            preserve_fds: 0,
            gives_streams: false,
            keeps_groups: false,
            waits: false,
            default_rlimits: Vec::new(),
            cgroup: None,
        }
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
    channel: Option<Channel>,
    terminal: Option<OwnedFd>,
    listener: Option<OwnedFd>,
}

/// Puts the calling program beyond the reach of containers: executes it anew from a sealed copy in memory,
/// with the same arguments, unless it runs from one already. Call it before [`exec`] where anybody in the container's
/// PID namespace may trace processes; it copies the whole program, which costs milliseconds.
///
/// A container that shares a process's PID namespace and has `CAP_SYS_PTRACE` can open that process's
/// `/proc/<pid>/exe`; writing to a sealed copy does nothing to the host's file (CVE-2019-5736).
pub fn seal_executable() -> Result<()> {
    let call = || "execute a sealed copy of this program".to_owned();
    let own = Procfs::host()?.own_executable()?;
    let wanted = sys::trampoline::SEALED;
    if rustix::fs::fcntl_get_seals(&own).is_ok_and(|seals| seals.contains(wanted)) {
        return Ok(());
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = match rustix::fs::memfd_create(c"sampan", flags | MemfdFlags::EXEC) {
        // Before 6.3 there is no such flag, and every memory file may be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(c"sampan", flags),
        copy => copy,
    }
    .call(call)?;
    let mut left = rustix::fs::fstat(&own).call(call)?.st_size as usize;
    while left > 0 {
        match rustix::fs::sendfile(&copy, &own, None, left).call(call)? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof)).call(call),
            copied => left -= copied,
        }
    }
    sys::trampoline::seal(&copy).call(call)?;
    let words = |words: Vec<std::ffi::OsString>| -> Result<Strings> {
        let words = words.into_iter().map(|w| CString::new(w.into_vec()).map_err(io::Error::other));
        words.collect::<io::Result<_>>().call(call).map(Strings::new)
    };
    let arguments = words(std::env::args_os().collect())?;
    let env = std::env::vars_os().map(|(mut key, value)| {
        key.push("=");
        key.push(value);
        key
    });
    let env = words(env.collect())?;
    Err(sys::fexecve(copy.as_fd(), &arguments, &env)).call(call)
}

/// What the process that joins needs, opened by the caller.
struct Entry<'a> {
    process: &'a Process,
    pidfd: OwnedFd,
    types: Types,
    userns: bool,
    root: Option<OwnedFd>,
    habits: Habits,
    program: Program,
    credentials: Credentials,
    labels: Labels,
    mount_label: Option<&'a str>,
    filter: Option<Filter>,
    default_rlimits: Vec<PosixRlimit>,
    preserve_fds: u32,
    gives_streams: bool,
    keeps_groups: bool,
}

/// Runs a program in a container: joins all of the container's namespaces and its cgroup and takes on its
/// confinement, before anything of the container can see it.
///
/// The calling process must have one thread, as for [`crate::create`].
///
/// # Errors
/// [`Error::NotExecutable`] if there is no such program, [`Error::Setup`] for what the new process reported.
pub fn exec(mut exec: Exec<'_>) -> Result<Joined> {
    let cgroup = exec.cgroup.take();
    let (outside, waits) = (Outside::new(&exec)?, exec.waits);
    let entry = entry(exec)?;
    let (ours, theirs) = channel::pair().call(|| "socketpair()".into())?;
    let cgroup = cgroup.as_ref().map(AsFd::as_fd);
    let cpus = outside.affinity.visit()?;
    let side = match birth::clone3(0, libc::SIGCHLD, cgroup) {
        // A cgroup that this user can't use: the container has none of its own then, but its caller's.
        Err(e)
            if e.kind() == io::ErrorKind::PermissionDenied
                && cgroup.is_some()
                && rootless::unprivileged() =>
        {
            sys::clone3(0, libc::SIGCHLD, None)
        }
        side => side,
    }
    .call(|| "clone3(0)".into());
    if let Ok(Side::Child) = side {
        drop(ours);
        join(entry, theirs);
    }
    scheduling::go_back(cpus)?;
    let Side::Parent { pidfd: first, .. } = side? else {
        return Err(Error::Died("as a child that goes its own way".into()));
    };
    drop(theirs);
    let result = hear(ours, &outside).and_then(|mut joined| {
        if !waits {
            joined.release()?;
        }
        Ok(joined)
    });
    // The first process has done its part, or failed; either way it ends by itself.
    sys::wait_exit(first.as_fd()).call(|| "wait for the joining process".into())?;
    result
}

/// What the caller does to the process that becomes the program, while that waits.
struct Outside {
    affinity: Affinity,
    scheduling: Scheduling,
    groups: Option<Groups>,
}

impl Outside {
    fn new(exec: &Exec<'_>) -> Result<Self> {
        let process = exec.process;
        let rdt = exec.spec.linux().as_ref().and_then(|l| l.intel_rdt().as_ref());
        Ok(Outside {
            groups: rdt.map(|_| Groups::of(exec.pid)).transpose()?,
            affinity: Affinity::new(process.exec_cpu_affinity().as_ref())?,
            scheduling: Scheduling::new(process)?,
        })
    }

    fn apply(&self, pid: i32) -> Result<()> {
        if let Some(groups) = &self.groups {
            groups.add(pid)?;
        }
        self.affinity.finally(pid)?;
        self.scheduling.apply(pid)
    }
}

fn hear(channel: Channel, outside: &Outside) -> Result<Joined> {
    let (mut terminal, mut listener) = (None, None);
    loop {
        match channel.hear().call(|| "hear from the joining process".into())? {
            Some(Word::Terminal(master)) => terminal = Some(master),
            Some(Word::Joined(pid)) => {
                let pidfd = process::open_child(pid)?;
                outside.apply(pid)?;
                return Ok(Joined { pid, pidfd, channel: Some(channel), terminal, listener });
            }
            Some(Word::Failed(status @ (126 | 127), reason)) => {
                return Err(Error::NotExecutable { status, reason });
            }
            Some(Word::Failed(_, reason)) => return Err(Error::Setup(reason)),
            Some(Word::Listener(fd)) => listener = Some(fd),
            Some(Word::Clocks | Word::Hooks | Word::Ready) => {}
            None => return Err(Error::Died("while joining the container".into())),
        }
    }
}

fn entry(exec: Exec<'_>) -> Result<Entry<'_>> {
    let linux = exec.spec.linux().as_ref();
    let mut types = Types::empty();
    for namespace in linux.and_then(|l| l.namespaces().as_ref()).into_iter().flatten() {
        types |= match namespace.typ() {
            Kind::Mount => Types::MOUNT,
            Kind::Cgroup => Types::CONTROL_GROUP,
            Kind::Uts => Types::HOST_NAME_AND_NIS_DOMAIN_NAME,
            Kind::Ipc => Types::INTER_PROCESS_COMMUNICATION,
            Kind::User => Types::USER,
            Kind::Pid => Types::PROCESS_ID,
            Kind::Network => Types::NETWORK,
            Kind::Time => Types::TIME,
        };
    }
    let pidfd = process::open(exec.pid, exec.start_time)?.ok_or_else(|| Error::WrongState {
        name: exec.pid.to_string(),
        status: "stopped".into(),
        reason: "a program can be executed in a running container only".into(),
    })?;
    Ok(Entry {
        process: exec.process,
        root: root(exec.pid, linux)?,
        habits: Habits::new(linux)?,
        pidfd,
        types,
        userns: types.contains(Types::USER),
        program: Program::new(exec.process)?,
        credentials: Credentials::new(exec.process, types.contains(Types::USER))?
            .keep_groups(exec.keeps_groups),
        keeps_groups: exec.keeps_groups,
        labels: Labels::new(exec.process)?,
        mount_label: linux.and_then(|l| l.mount_label().as_deref()),
        filter: exec.filter,
        default_rlimits: exec.default_rlimits,
        preserve_fds: exec.preserve_fds,
        gives_streams: exec.gives_streams,
    })
}

/// The root of the container's process, if that isn't the root of its mount namespace.
fn root(pid: i32, linux: Option<&Linux>) -> Result<Option<OwnedFd>> {
    let mut namespaces = linux.and_then(|l| l.namespaces().as_ref()).into_iter().flatten();
    let path = |namespace: &LinuxNamespace| namespace.path().clone().unwrap_or_default();
    if namespaces.any(|n| n.typ() == Kind::Mount && path(n).as_os_str().is_empty()) {
        return Ok(None);
    }
    Procfs::host()?.root(pid).map(Some)
}

/// The way of the joining process. Never returns.
fn join(entry: Entry<'_>, channel: Channel) -> ! {
    let name = entry.program.name();
    let first = 3u32.saturating_add(entry.preserve_fds);
    let alone = sys::Alone::prove().call(|| "clone(CLONE_PARENT)".into());
    let born = alone.and_then(|alone| Ok((alone, confine(entry, &channel)?)));
    let born = born.and_then(|(alone, (launch, terminal))| {
        // A process of the container with CAP_SYS_PTRACE may look into the child, dumpable or not, from its birth on. It
        // must find nothing of the host there: directories that the caller has open, above all (CVE-2016-9962).
        let keep = [launch.as_fd(), channel.as_fd()].into_iter().chain(terminal.as_ref().map(|t| t.as_fd()));
        sys::descriptors::close_others(first, &keep.collect::<Vec<_>>()).call(|| "close_range()".into())?;
        let pid = sys::fork_sibling(&alone).call(|| "clone(CLONE_PARENT)".into())?;
        Ok((pid, launch, terminal))
    });
    match born {
        Ok((pid @ 1.., ..)) => {
            // The number is that of our own PID namespace: the container's applies to children only.
            let _ = channel.say(&Word::Joined(pid));
            sys::exit(0)
        }
        Ok((_, launch, terminal)) => {
            // Its own session, because the session of its maker ends right now and takes a terminal along.
            let session = rustix::process::setsid().map(|_| ());
            let session = session.and_then(|()| match &terminal {
                Some(slave) => rustix::process::ioctl_tiocsctty(slave),
                None => Ok(()),
            });
            if !channel.wait().unwrap_or(false) {
                sys::exit(125);
            }
            let error = match session {
                Ok(()) => launch.execute(),
                Err(error) => error.into(),
            };
            let words =
                format!("sampan: {name:?} can't be executed: setsid, TIOCSCTTY or execveat: {error}\n");
            let _ = rustix::io::write(rustix::stdio::stderr(), words.as_bytes());
            sys::exit(126)
        }
        Err(error) => {
            let _ = channel.say(&Word::Failed(error.exit_status(), error.to_string()));
            sys::exit(1)
        }
    }
}

/// Everything up to the birth of the process that will be the program.
fn confine(entry: Entry<'_>, channel: &Channel) -> Result<(Launch, Option<OwnedFd>)> {
    // As in `setup`: what was inherited first, and nobody may look into this process from here on.
    sys::reset_signals().call(|| "reset signals".into())?;
    sys::cloexec_from(3u32.saturating_add(entry.preserve_fds))
        .call(|| "close_range(CLOSE_RANGE_CLOEXEC)".into())?;
    if let Some(score) = entry.process.oom_score_adj() {
        // Its child has it from here. Later it wouldn't be this process's own file any more.
        rootless::set_score(std::process::id() as i32, score)?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call(|| "prctl(PR_SET_DUMPABLE)".into())?;
    let label = match entry.labels.is_empty() {
        true => None,
        false => entry.labels.open(&Procfs::new()?)?,
    };
    limits::set(entry.process, &entry.default_rlimits)?;

    if entry.userns && !entry.keeps_groups {
        crate::credentials::drop_groups()?;
    }
    // All at once and by the descriptor of the process: either it still is the container's, or nothing is joined.
    // The PID namespace applies to our child only.
    rustix::thread::move_into_thread_name_spaces(entry.pidfd.as_fd(), entry.types)
        .call(|| "setns(container)".into())?;
    if entry.userns {
        crate::setup::become_root(entry.keeps_groups)?;
    }
    if let Some(root) = &entry.root {
        rustix::process::fchdir(root).call(|| "fchdir(the container's root)".into())?;
        rustix::process::chroot(c".").call(|| "chroot(the container's root)".into())?;
    }
    entry.habits.take_on()?;
    let mut slave = None;
    if entry.process.terminal() == Some(true) {
        // The container's devpts: the terminal must have a name in there. Opened without following links, and
        // checked to be a terminal's multiplexer by unlocking it.
        let pair = terminal::open_in_container(entry.process.console_size())?;
        channel.say(&Word::Terminal(pair.master)).call(|| "hand over the terminal".into())?;
        terminal::make_standard(&pair.slave)?;
        Owner::of(entry.process).take_terminal(&pair.slave)?;
        slave = Some(pair.slave);
    } else if entry.gives_streams {
        Owner::of(entry.process).take_streams()?;
    }
    let umask = entry.process.user().umask().unwrap_or(0o022);
    rustix::process::umask(Mode::from_raw_mode(umask));
    let trampoline = security::trampoline(&entry.program.name(), entry.mount_label, entry.labels.selinux())?;
    if let Some(label) = label {
        entry.labels.apply(&label)?;
    }

    entry.credentials.assume()?;
    let mut program = entry.program;
    program.enter_cwd()?;
    program.set_home(|| crate::user::home(entry.process.user().uid()));
    let path = program.find()?;
    let launch = program.prepare(path, trampoline)?;
    security::confine(entry.process, &entry.credentials, entry.filter.as_ref(), channel)?;
    // Again: a change of the user undoes it where fs.suid_dumpable says so.
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .call(|| "prctl(PR_SET_DUMPABLE)".into())?;
    Ok((launch, slave))
}

impl Joined {
    /// The process id, in the caller's PID namespace.
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Lets the process execute its program.
    ///
    /// # Errors
    /// sendmsg(2)'s.
    pub fn release(&mut self) -> Result<()> {
        match &self.channel {
            Some(channel) => channel.go_on().call(|| "release the joining process".into()),
            None => Ok(()),
        }
    }

    /// Waits until the process has executed its program or has ended. Until then whoever may trace it in the container
    /// can find the caller's executable behind it.
    ///
    /// # Errors
    /// recvmsg(2)'s.
    pub fn executed(&mut self) -> Result<()> {
        match self.channel.take() {
            // The other end is closed by either.
            Some(channel) => channel.hear().map(drop).call(|| "wait for the program's execution".into()),
            None => Ok(()),
        }
    }

    /// The process as a descriptor.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// The master side of the terminal, if `process.terminal` asked for one.
    pub fn take_terminal(&mut self) -> Option<OwnedFd> {
        self.terminal.take()
    }

    /// The listener of the filter, if it notifies (`SCMP_ACT_NOTIFY`).
    pub fn take_listener(&mut self) -> Option<OwnedFd> {
        self.listener.take()
    }

    /// Waits for the end. Returns the exit status, or 128 plus the number of the signal that ended it.
    pub fn wait(self) -> Result<i32> {
        sys::wait_exit(self.pidfd.as_fd()).call(|| format!("waitid({})", self.pid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_of_that_number_is_not_joined() {
        let (spec, process) = (Spec::default(), Process::default());
        let mut wrong = Exec::new(std::process::id() as i32, &spec, &process);
        wrong.start_time = Some(1);
        assert!(matches!(exec(wrong), Err(Error::WrongState { .. })));
    }
}
