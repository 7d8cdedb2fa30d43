//! `create` and `run`.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Capability, LinuxNamespace, LinuxNamespaceType, Process, Spec};
use rustix::fs::{FileType, Mode, OFlags};
use sampan_container::activation::Sockets;
use sampan_container::cgroup::Cgroup;
use sampan_container::hooks::Hooks;
use sampan_container::state::{ContainerDir, Lock, State, Status};
use sampan_container::{Creation, Held, Parent, mount, process, seccomp};

use crate::args::{CgroupManager, Create, Global, Run};
use crate::foreground::Signals;
use crate::notify::Relay;
use crate::{annotations, bundle, cgroup, console, delete, messages, notify, start, tracers, users};

/// Name of the FIFO that a created container waits at.
pub(crate) const FIFO: &str = "exec.fifo";

/// Name of the FIFO that tells whoever starts a container how its `startContainer` hooks went.
pub(crate) const STARTED: &str = "started.fifo";

/// A container in the making: its process is ready, and waits.
struct Made {
    dir: ContainerDir,
    state: State,
    hooks: Hooks,
    held: Held,
    _lock: Lock,
}

/// Creates a container whose program waits for `start`.
pub(crate) fn create(global: &Global, options: &Create) -> Result<u8> {
    let Made { dir, mut state, mut held, _lock: lock, .. } = make(global, options, true)?;
    state.status = Status::Created;
    let result = hand_over_terminal(&mut held, options)
        .and_then(|()| Ok(dir.write(&state)?))
        .and_then(|()| write_pid_file(options.pid_file.as_deref(), held.pid()))
        .and_then(|()| Ok(held.release()?));
    if let Err(error) = result {
        drop(lock);
        delete::delete_and_tell(global, &dir, true)?;
        return Err(error);
    }
    Ok(0)
}

/// Creates and starts a container, waits for its end and deletes it.
pub(crate) fn run(global: &Global, options: &Run) -> Result<u8> {
    let Made { dir, mut state, hooks, held, _lock: lock } = make(global, &options.create, false)?;
    let pidfd = held.pidfd().try_clone_to_owned().context("dup(pidfd)")?;
    let begun = begin(options, &dir, &mut state, &hooks, held);
    drop(lock);
    let (terminal, signals) = match begun {
        Ok(Some(foreground)) => foreground,
        Ok(None) => return Ok(0),
        Err(error) => {
            delete::delete_and_tell(global, &dir, true)?;
            return Err(error);
        }
    };
    match terminal {
        Some(master) => {
            console::relay(&master, pidfd.as_fd(), &signals).context("relay of the terminal")?;
        }
        None => signals.wait(pidfd.as_fd())?,
    }
    let status = process::wait_exit(pidfd.as_fd())?;
    if !options.keep {
        delete::remove(&dir, &state)?;
        delete::tell(global, &hooks);
    }
    Ok(u8::try_from(status).unwrap_or(u8::MAX))
}

/// Starts a container that was made. What comes back is for the foreground: the terminal to relay, and our signals.
fn begin(
    options: &Run,
    dir: &ContainerDir,
    state: &mut State,
    hooks: &Hooks,
    mut held: Held,
) -> Result<Option<(Option<OwnedFd>, Signals)>> {
    let terminal = match (&options.create.console_socket, options.detach) {
        (None, false) => held.take_terminal(),
        _ => {
            hand_over_terminal(&mut held, &options.create)?;
            None
        }
    };
    let (pid, relay) = (held.pid(), Relay::open(dir)?);
    write_pid_file(options.create.pid_file.as_deref(), pid)?;
    let signals = (!options.detach).then(Signals::take).transpose()?;
    // Without a program the process says so and ends: unheard, if nobody waits for that.
    match hooks.around_start() || state.command.is_empty() {
        true => held.start()?,
        false => held.release()?,
    }
    // Beside the program, which runs by now. Until this is written the container is one in creation, with a process.
    start::is_running(dir, state)?;
    hooks.poststart(pid)?;
    match (relay, &signals) {
        (Some(relay), None) => relay.wait(pid, state.start_time)?,
        (Some(relay), Some(_)) => relay.wait_beside(pid, state.start_time)?,
        (None, _) => {}
    }
    Ok(signals.map(|signals| (terminal, signals)))
}

/// Makes the container's directory, cgroup and process, and waits until that is ready; `waits`, if it is for `start`
/// to let the program go. Nothing is left over if any of that fails.
fn make(global: &Global, options: &Create, waits: bool) -> Result<Made> {
    let mut bundle = bundle::read(&options.bundle, options.config.as_deref())?;
    if bundle.spec.process().is_none() {
        if !waits {
            bail!("config.json has no \"process\": there is no program to run");
        }
        bundle.spec.set_process(Some(nobody()));
    }
    users::complete(&mut bundle.spec);
    annotations::check(&bundle.spec);
    if is_seen(&bundle.spec) {
        // Begins this program anew, from a copy; from there on this does nothing.
        process::seal_executable()?;
    }
    if global.cgroup_manager() == CgroupManager::Disabled {
        do_without_rules(global, &mut bundle.spec)?;
    }
    let dir = global.containers()?.create(&options.id)?;
    let lock = dir.lock()?;
    if let Err(error) =
        tracers::announce(global, &bundle.spec, bundle.spec.process().as_ref().is_some_and(may_trace))
    {
        dir.remove()?;
        return Err(error);
    }
    let sockets = Sockets::take(true);
    sockets.variables().iter().for_each(|entry| notify::add_variable(&mut bundle.spec, entry));
    let fifo = waits.then(|| make_fifo(&dir, FIFO)).transpose();
    let made = fifo.and_then(|fifo| {
        notify::prepare(&dir, &mut bundle.spec)?;
        make_in(global, options, &bundle, &dir, fifo, sockets)
    });
    match made {
        Ok((held, state)) => {
            let hooks = Hooks::new(&bundle.spec, &state.id, &state.bundle);
            Ok(Made { dir, state, hooks, held, _lock: lock })
        }
        Err(error) => {
            drop(lock);
            // As if it had been deleted: `poststop` hooks take back what the others did (runtime.md, "Lifecycle").
            delete::delete_and_tell(global, &dir, true)?;
            Err(error)
        }
    }
}

/// What waits for the start of a container whose configuration has no process: nobody who may do anything.
fn nobody() -> Process {
    let mut process = Process::default();
    process
        .set_args(None)
        .set_env(None)
        .set_cwd("/".into())
        .set_capabilities(None)
        .set_rlimits(None)
        .set_no_new_privileges(Some(true));
    process
}

/// Without a cgroup there are no rules for devices: the program gets no `CAP_MKNOD`, and so no other devices than those
/// that are made for it. Podman asks for both with `--cgroups=disabled`.
fn do_without_rules(global: &Global, spec: &mut Spec) -> Result<()> {
    if let Some(mut process) = spec.process().clone()
        && cgroup::take_mknod(spec, &mut process)?
    {
        messages::warning(
            global,
            "without a cgroup the rules for devices can't be applied: CAP_MKNOD is left out",
        );
        spec.set_process(Some(process));
    }
    Ok(())
}

/// Whether programs of containers may get to see the container's process before it has executed its own program, and
/// its executable with it, which is this one (CVE-2019-5736): those of others in a PID namespace that it shares, and in
/// its own namespace those that are executed between `create` and `start`, if they may trace processes.
pub(crate) fn is_seen(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_deref()).unwrap_or_default();
    // An empty path is none: callers in Go write it so.
    let new = |n: &LinuxNamespace| n.path().as_ref().is_none_or(|path| path.as_os_str().is_empty());
    let own = |kind| namespaces.iter().any(|n| n.typ() == kind && new(n));
    if !own(LinuxNamespaceType::Pid) {
        return true;
    }
    !own(LinuxNamespaceType::User) && spec.process().as_ref().is_some_and(may_trace)
}

/// Whether the program has `CAP_SYS_PTRACE`, or could get it.
pub(crate) fn may_trace(process: &Process) -> bool {
    let sets = process.capabilities().as_ref();
    let all = sets.into_iter().flat_map(|s| [s.bounding(), s.permitted(), s.inheritable(), s.ambient()]);
    all.flatten().any(|set| set.contains(&Capability::SysPtrace))
}

fn make_in(
    global: &Global,
    options: &Create,
    bundle: &bundle::Bundle,
    dir: &ContainerDir,
    fifo: Option<OwnedFd>,
    sockets: Sockets,
) -> Result<(Held, State)> {
    let spec = &bundle.spec;
    let process = spec.process().as_ref().context("config.json has no \"process\"")?;
    let terminal = process.terminal() == Some(true);
    if options.console_socket.is_some() && !terminal {
        bail!("--console-socket is given, but process.terminal is not set");
    }
    let linux = spec.linux().as_ref().context("config.json has no \"linux\"")?;
    let mut state = new_state(options, bundle, spec);
    // What doesn't end with the process is written down before it is made: we could be killed in between.
    state.resource_groups = linux.intel_rdt().is_some();
    if state.resource_groups {
        dir.write_spec(spec)?;
    }
    let made = cgroup::make(global, spec, &mut state, |state| Ok(dir.write(state)?))?;

    let root = mount::root(&bundle.rootfs, spec).context("root.path of config.json")?;
    state.root_mount = mount::borrowed(&root, spec)?;
    if state.root_mount.is_some() {
        dir.write_spec(spec)?;
        dir.write(&state)?;
    }
    let mut creation = Creation::new(spec, root);
    creation.parent = Parent::Caller;
    creation.id = &options.id;
    creation.bundle = &bundle.path;
    creation.no_pivot = options.no_pivot;
    creation.new_keyring = !options.no_new_keyring;
    creation.sockets = sockets;
    creation.preserve_fds = options.preserve_fds;
    creation.gives_streams = true;
    creation.without_program = process.args().is_none();
    creation.keeps_groups = annotations::keeps_groups(spec);
    creation.resources_applied = made.cgroup.is_some();
    creation.cgroup = made.cgroup.as_ref().map(Cgroup::open).transpose()?;
    let hooks = spec.hooks().as_ref().and_then(|h| h.start_container().as_ref());
    if fifo.is_some() && hooks.is_some_and(|hooks| !hooks.is_empty()) {
        creation.started = Some(make_fifo(dir, STARTED)?);
    }
    creation.start = fifo;
    if let Some(filter) = linux.seccomp() {
        // What a filter from the cache was made without nobody knows any more.
        let cache = global.seccomp_cache().filter(|_| !annotations::refuses_unknown_calls(spec));
        creation.filter = seccomp::from_spec(filter, cache.as_deref())?;
        annotations::check_calls(spec, creation.filter.as_ref())?;
        for name in creation.filter.iter().flat_map(|f| f.unknown()) {
            log::debug!("the installed libseccomp doesn't know the system call {name}");
        }
    }
    let mut held = sampan_container::create(creation).map_err(|error| made.explain(error))?;
    // From here on there is a process to be ended: written down at once, and while the process sets itself up, which
    // takes longer than this. If we are killed before, it ends by itself.
    state.pid = Some(held.pid());
    state.start_time = Some(process::start_time(held.pid())?);
    // The hooks in it first: without a state they have nothing to be told about.
    dir.write_spec(spec)?;
    dir.write(&state)?;
    if let Err(error) = made.limit(spec) {
        // If the process has failed, that is the reason: with it goes its scope.
        held.wait_ready()?;
        return Err(error);
    }
    held.wait_ready()?;
    if state.pid != Some(held.pid()) {
        state.pid = Some(held.pid());
        state.start_time = Some(process::start_time(held.pid())?);
        dir.write(&state)?;
    }
    if let Some(listener) = held.take_listener() {
        console::send_listener(spec, &state, held.pid(), &listener)?;
    }
    Ok((held, state))
}

pub(crate) fn new_state(options: &Create, bundle: &bundle::Bundle, spec: &Spec) -> State {
    let annotations: BTreeMap<_, _> = spec.annotations().clone().unwrap_or_default().into_iter().collect();
    let args = spec.process().as_ref().and_then(|p| p.args().clone());
    State {
        oci_version: spec.version().clone(),
        id: options.id.clone(),
        name: options.id.clone(),
        status: Status::Creating,
        created: jiff::Timestamp::now().to_string(),
        bundle: bundle.path.clone(),
        rootfs: Some(bundle.rootfs.clone()),
        command: args.unwrap_or_default(),
        annotations,
        hostname: spec.hostname().clone().unwrap_or_default(),
        hooks: spec.hooks().is_some(),
        ..State::default()
    }
}

/// Opened for both directions: the container's process then waits for a byte instead of for an opener.
fn make_fifo(dir: &ContainerDir, name: &str) -> Result<OwnedFd> {
    let path = dir.path().join(name);
    rustix::fs::mknodat(rustix::fs::CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0)
        .with_context(|| format!("mkfifo({})", path.display()))?;
    rustix::fs::open(&path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .with_context(|| format!("open({})", path.display()))
}

fn hand_over_terminal(held: &mut Held, options: &Create) -> Result<()> {
    match (held.take_terminal(), &options.console_socket) {
        (Some(master), Some(socket)) => console::send(socket, &master),
        (Some(_), None) => bail!("process.terminal is set: give --console-socket for its other end"),
        (None, _) => Ok(()),
    }
}

/// Writes a process id where the caller wants it, all at once: it may be watching the file.
pub(crate) fn write_pid_file(path: Option<&Path>, pid: i32) -> Result<()> {
    let Some(path) = path else {
        return Ok(());
    };
    // In a directory that others write to, too, the name may be taken, by a link for instance.
    let mut new = path.as_os_str().to_owned();
    new.push(format!(".{}.new", std::process::id()));
    let options = OpenOptions::new().write(true).create_new(true).mode(0o644).clone();
    options
        .open(&new)
        .and_then(|mut file| file.write_all(pid.to_string().as_bytes()))
        .and_then(|()| fs::rename(&new, path))
        .with_context(|| format!("write {}", path.display()))
}
