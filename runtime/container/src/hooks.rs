//! Hooks: programs of the administrator that run at fixed points of a container's life (OCI runtime-spec,
//! "POSIX-platform Hooks"). Each gets the container's state as JSON on its standard input.

use std::collections::HashMap;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use oci_spec::runtime::{ContainerState, Hook, Process, Spec, State as OciState};
use rustix::fs::{Access, MemfdFlags, Mode, OFlags};

use crate::error::{Call, Error, Result};
use crate::process;
use crate::program::Program;
use crate::sys::{self, Side};

/// The hooks of one container, and what they are told about it.
#[derive(Clone, Debug)]
pub struct Hooks {
    hooks: Option<oci_spec::runtime::Hooks>,
    version: String,
    annotations: Option<HashMap<String, String>>,
    /// The environment of the container's program.
    env: Option<Vec<String>>,
    id: String,
    bundle: PathBuf,
    output: Output,
}

/// Where hooks of the host write to instead of the caller's standard streams: the files of crun's annotations.
#[derive(Clone, Debug, Default)]
struct Output {
    paths: [Option<PathBuf>; 2],
    files: Option<Arc<[Option<OwnedFd>; 2]>>,
}

/// The annotations that name these files, for standard output and standard error.
const OUTPUT: [&str; 2] = ["run.oci.hooks.stdout", "run.oci.hooks.stderr"];

impl Output {
    fn new(spec: &Spec) -> Self {
        let annotations = spec.annotations().as_ref();
        let path = |name: &str| annotations.and_then(|all| all.get(name)).map(PathBuf::from);
        Output { paths: OUTPUT.map(path), files: None }
    }

    /// Opens the files, once: to append to, and made for their owner alone if they aren't there.
    fn open(&self) -> Result<Arc<[Option<OwnedFd>; 2]>> {
        if let Some(files) = &self.files {
            return Ok(files.clone());
        }
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
        let open = |path: &Option<PathBuf>| {
            let open = |path| rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
            let call =
                || format!("open(output of hooks {})", path.as_deref().unwrap_or(Path::new("")).display());
            path.as_deref().map(open).transpose().call(call)
        };
        let [out, error] = &self.paths;
        Ok(Arc::new([open(out)?, open(error)?]))
    }
}

impl Hooks {
    /// The hooks in `spec` of the container `id`, whose bundle is in the directory `bundle`.
    pub fn new(spec: &Spec, id: &str, bundle: &Path) -> Self {
        let hooks = spec.hooks().clone();
        Hooks {
            annotations: hooks.as_ref().and_then(|_| spec.annotations().clone()),
            env: hooks.as_ref().and_then(|h| {
                h.start_container().as_ref()?;
                spec.process().as_ref()?.env().clone()
            }),
            version: spec.version().clone(),
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            output: if hooks.is_some() { Output::new(spec) } else { Output::default() },
            hooks,
        }
    }

    /// Opens the files that hooks write to, for those that will run in the container's process, too.
    pub(crate) fn open_output(&mut self) -> Result<()> {
        if self.hooks.is_some() {
            self.output.files = Some(self.output.open()?);
        }
        Ok(())
    }

    /// Checks what can be checked before any of them runs.
    ///
    /// # Errors
    /// A path that isn't absolute, a timeout that is none, an environment without values.
    pub(crate) fn check(&self) -> Result<()> {
        let Some(hooks) = &self.hooks else {
            return Ok(());
        };
        let lists = [
            hooks.create_runtime(),
            hooks.create_container(),
            hooks.start_container(),
            hooks.poststart(),
            hooks.poststop(),
        ];
        let prestart = self.prestart();
        let all = lists.into_iter().flat_map(|list| list.iter().flatten()).chain(&prestart);
        for hook in all {
            let invalid = |reason: &str| Error::Invalid {
                what: "hooks",
                value: hook.path().display().to_string(),
                reason: reason.to_owned(),
            };
            if !hook.path().is_absolute() {
                return Err(invalid("the path of a hook is absolute"));
            }
            if hook.timeout().is_some_and(|seconds| seconds <= 0) {
                return Err(invalid("its timeout is a number of seconds greater than 0"));
            }
            if hook.env().iter().flatten().any(|entry| !entry.contains('=')) {
                return Err(invalid("an entry of its environment is KEY=VALUE"));
            }
        }
        Ok(())
    }

    /// Whether hooks run on the host while the container is made.
    pub(crate) fn on_host(&self) -> bool {
        !self.prestart().is_empty() || !self.create_runtime().is_empty()
    }

    /// Whether hooks run in the container while it is made.
    pub(crate) fn in_container(&self) -> bool {
        self.hooks
            .as_ref()
            .is_some_and(|h| h.create_container().as_ref().is_some_and(|list| !list.is_empty()))
    }

    /// Whether hooks run right before or after the program is executed.
    pub fn around_start(&self) -> bool {
        !self.list(|h| h.start_container()).is_empty() || !self.list(|h| h.poststart()).is_empty()
    }

    fn list(&self, pick: impl FnOnce(&oci_spec::runtime::Hooks) -> &Option<Vec<Hook>>) -> Vec<Hook> {
        let hooks = self.hooks.as_ref();
        hooks.and_then(|h| pick(h).clone()).unwrap_or_default()
    }

    // Deprecated in the specification, and still what most hooks in use are.
    #[allow(deprecated)]
    fn prestart(&self) -> Vec<Hook> {
        self.list(|h| h.prestart())
    }

    fn create_runtime(&self) -> Vec<Hook> {
        self.list(|h| h.create_runtime())
    }

    /// `prestart` and `createRuntime`: in the caller, once the container's namespaces and mounts are made.
    pub(crate) fn run_on_host(&self, pid: i32) -> Result<()> {
        self.run("prestart", &self.prestart(), ContainerState::Created, Some(pid))?;
        self.run("createRuntime", &self.create_runtime(), ContainerState::Created, Some(pid))
    }

    /// `createContainer`: in the container's namespaces, with the host's root still there; therefore not yet in a PID
    /// namespace that others are in, where that can be helped.
    pub(crate) fn create_container(&self) -> Result<()> {
        let hooks = self.list(|h| h.create_container());
        self.run("createContainer", &hooks, ContainerState::Created, Some(own_pid()))
    }

    /// `startContainer`: in the container, right before its program.
    pub(crate) fn start_container(&self) -> Result<()> {
        let hooks = self.list(|h| h.start_container());
        self.run(START_CONTAINER, &hooks, ContainerState::Created, Some(own_pid()))
    }

    /// `poststart`: in the caller, after the program was started. A failure ends the container: the caller stops and
    /// deletes it (OCI runtime-spec, "Lifecycle", step 9).
    pub fn poststart(&self, pid: i32) -> Result<()> {
        let hooks = self.list(|h| h.poststart());
        self.run("poststart", &hooks, ContainerState::Running, Some(pid))
    }

    /// `poststop`: in the caller, after the container was deleted. Every hook runs, whatever the others did.
    /// Returns what went wrong.
    pub fn poststop(&self) -> Vec<Error> {
        let hooks = self.list(|h| h.poststop());
        hooks
            .iter()
            .filter_map(|hook| self.run_one("poststop", hook, ContainerState::Stopped, None).err())
            .collect()
    }

    fn run(&self, point: &str, hooks: &[Hook], status: ContainerState, pid: Option<i32>) -> Result<()> {
        for hook in hooks {
            self.run_one(point, hook, status, pid)?;
        }
        Ok(())
    }

    fn state(&self, status: ContainerState, pid: Option<i32>) -> Result<Vec<u8>> {
        let mut state = OciState::default();
        state
            .set_version(self.version.clone())
            .set_id(self.id.clone())
            .set_status(status)
            .set_pid(pid)
            .set_bundle(self.bundle.clone())
            .set_annotations(self.annotations.clone());
        serde_json::to_vec(&state)
            .map_err(|e| Error::File { path: "state of the hook".into(), reason: e.to_string() })
    }

    fn run_one(&self, point: &str, hook: &Hook, status: ContainerState, pid: Option<i32>) -> Result<()> {
        let call = || format!("{point} hook {}", hook.path().display());
        let failed = |how: String| {
            Err(Error::File { path: hook.path().clone(), reason: format!("{point} hook {how}") })
        };
        let state = self.state(status, pid)?;
        let input = input(&state).call(call)?;
        let pidfd = match point {
            START_CONTAINER => spawn_inside(hook, self.env.as_deref(), input)?,
            _ => spawn_on_host(hook, &self.bundle, input, self.output.open()?.as_ref())?,
        };
        let limit = hook.timeout().map(|seconds| Duration::from_secs(seconds.unsigned_abs()));
        if !process::wait(pidfd.as_fd(), limit)? {
            process::signal(pidfd.as_fd(), libc::SIGKILL)?;
            process::wait_exit(pidfd.as_fd())?;
            return failed(format!("had not ended after {} s", limit.unwrap_or_default().as_secs()));
        }
        match process::wait_exit(pidfd.as_fd())? {
            0 => Ok(()),
            status => failed(format!("failed with exit code {status}")),
        }
    }
}

/// The one hook that is a program of the container.
const START_CONTAINER: &str = "startContainer";

/// The container's process as the hooks that run beside it see it: 1 if its PID namespace is its own, as in runc.
fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_pid()
}

/// Executes a program of the host, in the bundle's directory, as with runc, which works in there; if that is gone, in
/// the caller's. It gets the state and the standard streams, and no other descriptor: what the caller inherited or
/// keeps for the container's program (`preserve_fds`) is none of a hook's business.
///
/// A hook without an environment of its own has the caller's, as with runc and crun. That of the container, which some
/// give to `createContainer`, comes from the image, and would reach into a program of the host (CVE-2025-23266).
fn spawn_on_host(
    hook: &Hook,
    bundle: &Path,
    input: OwnedFd,
    [output, errors]: &[Option<OwnedFd>; 2],
) -> Result<OwnedFd> {
    let path = hook.path();
    let process = described(hook, path.display().to_string());
    rustix::fs::access(path, Access::EXEC_OK).call(|| format!("execute hook {}", path.display()))?;
    let mut program = Program::new(&process)?;
    if hook.env().is_none() {
        program.inherit_env();
    }
    let (name, arguments, env) = program.on_host(path)?;
    match sys::clone3(0, libc::SIGCHLD, None).call(|| format!("clone3(hook {})", path.display()))? {
        Side::Parent { pidfd, .. } => Ok(pidfd),
        Side::Child => {
            let _ = rustix::process::chdir(bundle);
            let ready = rustix::stdio::dup2_stdin(&input).is_ok()
                && output.as_ref().is_none_or(|file| rustix::stdio::dup2_stdout(file).is_ok())
                && errors.as_ref().is_none_or(|file| rustix::stdio::dup2_stderr(file).is_ok())
                && sys::reset_signals().is_ok()
                && sys::descriptors::close_others(3, &[]).is_ok();
            if ready {
                sys::execve(&name, &arguments, &env);
            }
            sys::exit(126)
        }
    }
}

/// A hook as a process, for [`Program`], which checks arguments and environment.
fn described(hook: &Hook, name: String) -> Process {
    let mut process = Process::default();
    process
        .set_args(Some(hook.args().clone().filter(|a| !a.is_empty()).unwrap_or_else(|| vec![name])))
        .set_env(hook.env().clone())
        .set_cwd("/".into());
    process
}

/// Executes a program of the container as its own program is executed, by way of the launcher: it could be a script
/// that names `/proc/self/exe` as its interpreter, too (CVE-2019-5736). Without an environment of its own it has `env`.
fn spawn_inside(hook: &Hook, env: Option<&[String]>, input: OwnedFd) -> Result<OwnedFd> {
    let name = hook.path().display().to_string();
    let mut process = described(hook, name.clone());
    if hook.env().is_none() {
        process.set_env(env.map(<[String]>::to_vec));
    }
    let trampoline = sys::trampoline::make(&name).call(|| "memfd_create(launcher)".into())?;
    let launch = Program::new(&process)?.prepare(hook.path().clone(), trampoline)?;
    match sys::clone3(0, libc::SIGCHLD, None).call(|| format!("clone3(hook {name})"))? {
        Side::Parent { pidfd, .. } => Ok(pidfd),
        Side::Child => {
            if rustix::stdio::dup2_stdin(&input).is_ok() && sys::cloexec_from(3).is_ok() {
                launch.execute();
            }
            sys::exit(126)
        }
    }
}

/// The state as a file in memory: a hook that doesn't read it harms nobody, as it would with a pipe.
fn input(state: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create(c"state", MemfdFlags::CLOEXEC)?;
    let mut file = std::fs::File::from(file);
    file.write_all(state)?;
    file.seek(SeekFrom::Start(0))?;
    Ok(file.into())
}
