//! `exec`.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec};
use sampan_container::cgroup::{self, Cgroup};
use sampan_container::process::{self, Exec as Program};
use sampan_container::state::{ContainerDir, Lock, State, Status};
use sampan_container::{document, seccomp};

use crate::annotations;
use crate::args::{Exec, Global};
use crate::console;
use crate::create::{is_seen, may_trace, write_pid_file};
use crate::foreground::Signals;
use crate::notify;
use crate::tracers;

/// Runs a further program in a running container.
pub(crate) fn exec(global: &Global, options: &Exec) -> Result<u8> {
    let dir = global.container(&options.id)?;
    // From here on nobody in the container gets a program that may trace us.
    let joining = dir.lock_joining(false)?;
    let (state, spec) = (dir.read()?, dir.read_spec()?);
    if dir.has_tracers() || is_seen(&spec) {
        // Before anything of the container is touched: after that this program is out of its reach.
        process::seal_executable()?;
    }
    match (state.live_status(), state.pid) {
        (Status::Running | Status::Created, Some(pid)) => {
            run(global, options, (&dir, &spec), &state, pid, Some(joining))
        }
        // It ends up frozen, and must not keep others waiting until then.
        (Status::Paused, Some(pid)) if options.ignore_paused => {
            process::seal_executable()?;
            drop(joining);
            run(global, options, (&dir, &spec), &state, pid, None)
        }
        (Status::Paused, _) => bail!(
            "cannot exec in a paused container: {:?}; resume it first, or use --ignore-paused and resume it later",
            state.name
        ),
        (status, _) => {
            bail!("cannot exec in a stopped container: {:?} is {status}, container not running", state.name)
        }
    }
}

/// `joining` is held until the program is executed.
fn run(
    global: &Global,
    options: &Exec,
    (dir, spec): (&ContainerDir, &Spec),
    state: &State,
    pid: i32,
    joining: Option<Lock>,
) -> Result<u8> {
    let mut program = program(options, spec)?;
    if state.cgroup.is_none() && crate::cgroup::take_mknod(spec, &mut program)? {
        log::warn!("the container has no cgroup, and so no rules for devices: CAP_MKNOD is left out");
    }
    let mut joining = joining;
    if may_trace(&program) {
        tracers::announce(global, spec, true)?;
    }
    if may_trace(&program) && !is_seen(spec) && !dir.has_tracers() {
        if state.status == Status::Created {
            bail!(
                "container {:?} isn't started, and its configuration doesn't give CAP_SYS_PTRACE: a program with it could reach the runtime; start the container first",
                state.name
            );
        }
        drop(joining.take());
        dir.announce_tracers()?;
        joining = Some(dir.lock_joining(false)?);
    }
    if options.console_socket.is_some() && program.terminal() != Some(true) {
        bail!("--console-socket is given, but the program has no terminal");
    }
    let mut exec = Program::new(pid, spec, &program);
    exec.start_time = state.start_time;
    exec.preserve_fds = options.preserve_fds;
    exec.gives_streams = true;
    exec.keeps_groups = annotations::keeps_groups(spec);
    exec.waits = !options.detach;
    exec.cgroup = match options.cgroup.as_deref().filter(|p| !p.is_empty()) {
        Some(path) => Some(below(state, path)?),
        None => cgroup::of(pid)?,
    };
    let filter = spec.linux().as_ref().and_then(|l| l.seccomp().as_ref());
    if let Some(filter) = filter {
        exec.filter = seccomp::from_spec(filter, global.seccomp_cache().as_deref())?;
    }
    let mut joined = process::exec(exec)?;
    // What is sent to us is the program's from its first moment on; until now it ends us both.
    let signals = (!options.detach).then(Signals::take).transpose()?;
    if signals.is_some() {
        joined.release()?;
    }
    if joining.is_some() {
        joined.executed()?;
        drop(joining);
    }
    if let Some(listener) = joined.take_listener() {
        console::send_listener(spec, state, joined.pid(), &listener)?;
    }
    write_pid_file(options.pid_file.as_deref(), joined.pid())?;
    match (joined.take_terminal(), &options.console_socket) {
        (Some(master), Some(socket)) => console::send(socket, &master)?,
        (Some(master), None) => match &signals {
            None => bail!("a terminal and --detach need --console-socket"),
            Some(signals) => {
                console::relay(&master, joined.pidfd(), signals).context("relay of the terminal")?;
            }
        },
        (None, _) => {}
    }
    let Some(signals) = signals else {
        return Ok(0);
    };
    signals.wait(joined.pidfd())?;
    Ok(u8::try_from(joined.wait()?).unwrap_or(u8::MAX))
}

/// A cgroup by its path below the container's own.
fn below(state: &State, path: &str) -> Result<OwnedFd> {
    if path.contains(':') {
        bail!("--cgroup {path:?}: cgroup version 2 has no controllers with paths of their own");
    }
    let own = state.cgroup.as_ref();
    let own = own.with_context(|| format!("container {:?} has no cgroup of its own", state.name))?;
    Cgroup::existing(own)?.open_below(Path::new(path)).with_context(|| format!("--cgroup {path:?}"))
}

/// The process: from a file, or the container's own with what the options change.
fn program(options: &Exec, spec: &Spec) -> Result<Process> {
    if let Some(path) = &options.process {
        // May be a pipe: then it is the caller who is waited for.
        let file = File::open(path).with_context(|| format!("read {}", path.display()))?;
        let text = document::read_from(path, file)?;
        let mut process: Process =
            sampan_container::config::process(&text).with_context(|| path.display().to_string())?;
        if options.tty {
            process.set_terminal(Some(true));
        }
        return Ok(process);
    }
    if options.command.is_empty() {
        bail!("no program is given: write it after the container's name");
    }
    let mut process = spec.process().clone().context("the container's config.json has no \"process\"")?;
    process.set_args(Some(options.command.clone())).set_terminal(Some(options.tty));
    if let Some(cwd) = &options.cwd {
        process.set_cwd(cwd.clone());
    }
    let mut env = process.env().clone().unwrap_or_default();
    // The container's readiness is its first process's to tell.
    env.retain(|entry| !notify::is_variable(entry));
    // Of two entries of one name programs see the first.
    for entry in &options.env {
        let name = entry.split('=').next();
        env.retain(|other| other.split('=').next() != name);
        env.push(entry.clone());
    }
    process.set_env(Some(env));
    if options.no_new_privs {
        process.set_no_new_privileges(Some(true));
    }
    if let Some(label) = &options.process_label {
        process.set_selinux_label(Some(label.clone()));
    }
    if let Some(profile) = &options.apparmor {
        process.set_apparmor_profile(Some(profile.clone()));
    }
    set_user(&mut process, options)?;
    add_capabilities(&mut process, &options.cap)?;
    Ok(process)
}

fn set_user(process: &mut Process, options: &Exec) -> Result<()> {
    let mut user = process.user().clone();
    if let Some(text) = &options.user {
        let (uid, gid) = ids(text)?;
        let gid_before = user.gid();
        user.set_uid(uid).set_gid(gid.unwrap_or(gid_before));
        if gid.is_none() {
            user.set_additional_gids(None);
        }
    }
    if !options.additional_gids.is_empty() {
        user.set_additional_gids(Some(options.additional_gids.clone()));
    }
    process.set_user(user);
    Ok(())
}

/// `UID` or `UID:GID`. Anything else is an error: a number that can't be read must not become 0.
fn ids(text: &str) -> Result<(u32, Option<u32>)> {
    let number = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let id = part.parse::<u32>().ok().filter(|&id| digits && id != u32::MAX);
        id.with_context(|| {
            format!("--user {text:?}: it is UID or UID:GID, with numbers from 0 to 4294967294")
        })
    };
    match text.split_once(':') {
        Some((uid, gid)) => Ok((number(uid)?, Some(number(gid)?))),
        None => Ok((number(text)?, None)),
    }
}

/// Adds to the bounding, effective and permitted set, never to the inheritable one.
fn add_capabilities(process: &mut Process, names: &[String]) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let mut sets = process.capabilities().clone().unwrap_or_else(|| {
        let mut none = LinuxCapabilities::default();
        none.set_ambient(None)
            .set_inheritable(None)
            .set_bounding(None)
            .set_effective(None)
            .set_permitted(None);
        none
    });
    for name in names {
        let short = name.to_uppercase();
        let short = short.strip_prefix("CAP_").unwrap_or(&short);
        let capability: Capability =
            short.parse().with_context(|| format!("--cap {name:?}: no such capability"))?;
        let with = |set: &Option<std::collections::HashSet<Capability>>| {
            let mut set = set.clone().unwrap_or_default();
            set.insert(capability);
            Some(set)
        };
        let (bounding, effective, permitted) =
            (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
        sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted);
    }
    process.set_capabilities(Some(sets));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_numbers_or_errors() {
        assert_eq!(ids("1").unwrap(), (1, None));
        assert_eq!(ids("1:2").unwrap(), (1, Some(2)));
        for text in ["", ":", "1:", ":1", "root", "-1", "+1", "4294967295", "1:2:3", "0x0", " 0"] {
            assert!(ids(text).is_err(), "{text:?}");
        }
    }
}
