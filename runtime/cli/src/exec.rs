//! `sampan exec`: another program in a running container, under the container's own confinement.

use std::os::fd::AsFd;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use oci_spec::runtime::{Capability, LinuxCapabilities, Process, Spec, UserBuilder};
use sampan_container::activation;
use sampan_container::process::{self, Exec};
use sampan_container::state::{ContainerDir, State, Status};
use sampan_container::{seccomp, user};

use crate::Coded;
use crate::context::Context;
use crate::run::user_namespace::Mappings;
use crate::run::{output, security};
use crate::terminal;

/// `sampan exec [options] CONTAINER COMMAND…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Leave, and let the program run on
    #[arg(long, short)]
    detach: bool,
    /// Environment variable
    #[arg(long, short, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Keep standard input open
    #[arg(long, short)]
    interactive: bool,
    /// Give the program a terminal
    #[arg(long, short)]
    tty: bool,
    /// Give the program all capabilities that the container may have
    #[arg(long)]
    privileged: bool,
    /// User and group, by name or number
    #[arg(long, short, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// Working directory
    #[arg(long, short, value_name = "DIR")]
    workdir: Option<String>,
    /// Pass on this many descriptors from 3 on
    #[arg(long, value_name = "N", default_value_t = 0)]
    preserve_fds: u32,
    /// The container, then the command and its arguments
    #[arg(value_name = "CONTAINER COMMAND", required = true, num_args = 2.., trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<String>,
}

/// Runs the command and ends with its status.
///
/// # Errors
/// The container doesn't run, or the program can't be started: 126 and 127 as in podman-exec(1).
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    // Before anything of the container is near: from here on nothing in it can reach this program's file.
    process::seal_executable()?;
    let [name, command @ ..] = &options.arguments[..] else { bail!("exec needs a container and a command") };
    let container = context.containers()?.get(name)?;
    let (state, spec) = (container.read()?, container.read_spec()?);
    if state.live_status() != Status::Running {
        bail!("can only create exec sessions on running containers: {name} is {}", state.live_status());
    }
    let program = Program {
        arguments: command.to_vec(),
        environment: &options.env,
        user: options.user.as_deref(),
        directory: options.workdir.as_deref(),
        privileged: options.privileged,
        terminal: options.tty,
        preserve_fds: options.preserve_fds,
    };
    if !options.interactive && !options.tty {
        output::close_input()?;
    }
    let mut joined = join(context, &container, &state, &spec, &program)?;
    if options.detach {
        return Ok(ExitCode::SUCCESS);
    }
    let status = match joined.take_terminal() {
        Some(master) => terminal::attach(master, || Ok(joined.wait()?))?,
        None => joined.wait()?,
    };
    Ok(ExitCode::from(u8::try_from(status).unwrap_or(255)))
}

/// A program to run in a container; what is left open is as in the container's own process.
#[derive(Debug)]
pub(crate) struct Program<'a> {
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: &'a [String],
    pub(crate) user: Option<&'a str>,
    pub(crate) directory: Option<&'a str>,
    pub(crate) privileged: bool,
    pub(crate) terminal: bool,
    pub(crate) preserve_fds: u32,
}

/// Starts it. The calling program must be sealed ([`process::seal_executable`]).
///
/// # Errors
/// An unknown user, or a program that can't be executed.
pub(crate) fn join(
    context: &Context,
    container: &ContainerDir,
    state: &State,
    spec: &Spec,
    program: &Program<'_>,
) -> anyhow::Result<process::Joined> {
    let pid = state.pid.with_context(|| format!("container {} has no process", container.name()))?;
    let process = describe(spec, program, pid)?;
    let capabilities = spec.process().as_ref().and_then(|p| p.capabilities().as_ref()?.bounding().clone());
    let profile = security::recall_profile(container.path())?;
    let filter = seccomp::load(&profile, &capabilities.unwrap_or_default(), &context.seccomp_cache())?;
    let mut exec = Exec::new(pid, spec, &process);
    exec.start_time = state.start_time;
    exec.filter = filter;
    exec.preserve_fds = program.preserve_fds;
    process::exec(exec)
        .map_err(|error| Coded { code: error.exit_status(), message: error.to_string() }.into())
}

fn describe(spec: &Spec, program: &Program<'_>, pid: i32) -> anyhow::Result<Process> {
    let mut process = spec.process().clone().context("the container's Spec has no process")?;
    process.set_args(Some(program.arguments.clone()));
    process.set_terminal(Some(program.terminal));
    if let Some(directory) = program.directory {
        process.set_cwd(Path::new(directory).to_path_buf());
    }
    let mut environment = process.env().clone().unwrap_or_default();
    for entry in program.environment {
        let name = entry.split('=').next().unwrap_or("");
        environment.retain(|known| known.split('=').next() != Some(name));
        match std::env::var(entry) {
            _ if entry.contains('=') => environment.push(entry.clone()),
            Ok(value) => environment.push(format!("{entry}={value}")),
            Err(_) => {}
        }
    }
    if program.terminal && !environment.iter().any(|entry| entry.starts_with("TERM=")) {
        environment.push("TERM=xterm".to_owned());
    }
    // The first process's relay and descriptors are its own.
    environment.retain(|entry| {
        let name = entry.split('=').next().unwrap_or_default();
        name != "NOTIFY_SOCKET" && !activation::VARIABLES.contains(&name)
    });
    if let Some(text) = program.user {
        become_user(&mut process, spec, text, pid)?;
        if let Some(home) = environment.iter_mut().find(|entry| entry.starts_with("HOME=")) {
            *home = format!("HOME={}", home_of(text, pid)?);
        }
    }
    process.set_env(Some(environment));
    if program.privileged {
        let bounding =
            process.capabilities().as_ref().and_then(|sets| sets.bounding().clone()).unwrap_or_default();
        let mut sets = LinuxCapabilities::default();
        sets.set_bounding(Some(bounding.clone()));
        sets.set_effective(Some(bounding.clone()));
        sets.set_permitted(Some(bounding));
        sets.set_inheritable(None);
        sets.set_ambient(None);
        process.set_capabilities(Some(sets));
    }
    Ok(process)
}

fn resolve(text: &str, pid: i32) -> anyhow::Result<user::User> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    // The magic link is the kernel's own, in the host's procfs; the names below it stay inside.
    let root = openat(
        CWD,
        format!("/proc/{pid}/root"),
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .with_context(|| format!("opening the root of process {pid}"))?;
    Ok(user::resolve(root.as_fd(), text, &[])?)
}

fn home_of(text: &str, pid: i32) -> anyhow::Result<String> {
    Ok(resolve(text, pid)?.home.display().to_string())
}

fn become_user(process: &mut Process, spec: &Spec, text: &str, pid: i32) -> anyhow::Result<()> {
    let mut found = resolve(text, pid)?;
    if let Some(mappings) = Mappings::of(spec) {
        mappings.ensure_has(found.uid, found.gid)?;
        found.additional_gids.retain(|gid| mappings.has_group(*gid));
    }
    let umask = process.user().umask();
    let mut user = UserBuilder::default()
        .uid(found.uid)
        .gid(found.gid)
        .additional_gids(found.additional_gids)
        .build()?;
    user.set_umask(umask);
    process.set_user(user);
    let mut sets = process.capabilities().clone().unwrap_or_default();
    // Another user has none but by name; root has what the container may have. Never inheritable (CVE-2022-29162).
    let held = if found.uid == 0 {
        sets.bounding().clone()
    } else {
        Some(std::collections::HashSet::<Capability>::new())
    };
    sets.set_effective(held.clone());
    sets.set_permitted(held);
    sets.set_inheritable(None);
    sets.set_ambient(None);
    process.set_capabilities(Some(sets));
    Ok(())
}
