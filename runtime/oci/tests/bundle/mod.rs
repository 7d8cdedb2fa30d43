//! A bundle with a static busybox as its root file system, and a runtime run on it in a private mount namespace,
//! with its state beside it: nothing of a test is left on the host. The runtime is `sampan-runtime` if nothing else
//! is said.

// Each test program uses its own part of this.
#![allow(dead_code)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Others refuse a tree that mixes both versions of cgroups; this shows them the second alone.
const ONE_HIERARCHY: &str =
    "if mountpoint -q /sys/fs/cgroup/unified; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi;";

const BUSYBOX: &str = "/bin/busybox";

const APPLETS: &[&str] = &[
    "cat", "chmod", "chown", "cut", "echo", "env", "false", "grep", "head", "hostname", "id", "ionice", "ln",
    "ls", "mkdir", "mknod", "mount", "ps", "pwd", "readlink", "sed", "seq", "sh", "sleep", "stat", "stty",
    "touch", "true", "tty", "uname", "wc",
];

/// Waits until something is so, on a machine that may be slow.
#[track_caller]
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what} never came true");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// An OCI runtime with runc's command line.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    pub(crate) name: &'static str,
    pub(crate) program: PathBuf,
}

impl Runtime {
    /// Ours.
    pub(crate) fn sampan() -> Self {
        Runtime { name: "sampan", program: env!("CARGO_BIN_EXE_sampan-runtime").into() }
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.name == "sampan"
    }
}

/// A bundle in a temporary directory.
pub(crate) struct Bundle {
    directory: tempfile::TempDir,
    runtime: Runtime,
    pub(crate) spec: Value,
    /// What the shell does that becomes the runtime, before each command.
    pub(crate) before: String,
}

/// What a command of the runtime did.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) status: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Ran {
    pub(crate) fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
        Ran {
            status: output.status.code().unwrap_or(-1),
            out: text(&output.stdout),
            err: text(&output.stderr),
        }
    }

    /// The output of a command that must have succeeded.
    #[track_caller]
    pub(crate) fn good(self) -> String {
        assert_eq!(self.status, 0, "{self:?}");
        self.out
    }
}

/// Why no container can be made here, if so.
pub(crate) fn reason_to_skip() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("containers are made by root here".into());
    }
    (!Path::new(BUSYBOX).exists()).then(|| format!("no static busybox at {BUSYBOX}"))
}

impl Bundle {
    /// A bundle with the default configuration; `None`, said visibly, where the test can't run.
    pub(crate) fn new() -> Option<Self> {
        if let Some(why) = reason_to_skip() {
            eprintln!("SKIP: {why}");
            return None;
        }
        Some(Bundle::of(&Runtime::sampan()))
    }

    /// The same for any runtime, where there is no [`reason_to_skip`].
    pub(crate) fn of(runtime: &Runtime) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir(directory.path().join("rootfs/tmp")).unwrap();
        fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        let ours = Runtime::sampan();
        let mut bundle = Bundle { directory, runtime: ours, spec: Value::Null, before: String::new() };
        bundle.runtime(&["spec", "--bundle", bundle.path().to_str().unwrap()]).good();
        bundle.runtime = runtime.clone();
        let text = fs::read(bundle.path().join("config.json")).unwrap();
        bundle.spec = serde_json::from_slice(&text).unwrap();
        if !bundle.is_ours() {
            // Older ones of others know no later version; nothing else of the default is newer than this.
            bundle.spec["ociVersion"] = json!("1.0.2");
        }
        bundle.spec["process"]["terminal"] = json!(false);
        let unique = bundle.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        bundle.spec["linux"]["cgroupsPath"] = json!(format!("/sampan-test-{unique}"));
        bundle.spec["process"]["env"] = json!(["PATH=/bin", "HOME=/"]);
        bundle
    }

    pub(crate) fn is_ours(&self) -> bool {
        self.runtime.is_ours()
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.path().join("rootfs").join(path)
    }

    /// Sets the program to a shell with this script.
    pub(crate) fn script(&mut self, script: &str) -> &mut Self {
        self.args(&["/bin/sh", "-c", script])
    }

    pub(crate) fn args(&mut self, args: &[&str]) -> &mut Self {
        self.spec["process"]["args"] = json!(args);
        self
    }

    pub(crate) fn add_mount(&mut self, kind: &str, source: &str, destination: &str, options: &[&str]) {
        let mount = json!({"type": kind, "source": source, "destination": destination, "options": options});
        self.spec["mounts"].as_array_mut().unwrap().push(mount);
    }

    pub(crate) fn drop_mount(&mut self, destination: &str) {
        self.spec["mounts"].as_array_mut().unwrap().retain(|m| m["destination"] != destination);
    }

    pub(crate) fn write(&self) {
        let text = serde_json::to_vec_pretty(&self.spec).unwrap();
        fs::write(self.path().join("config.json"), text).unwrap();
    }

    /// The runtime with these arguments, to be run through a shell that may do something before (`exec "$@"`).
    pub(crate) fn command(&self, before: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        let view = if self.is_ours() { "" } else { ONE_HIERARCHY };
        let script = format!("{view} {} {before} exec \"$@\"", self.before);
        command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
        command.arg(&self.runtime.program).arg("--root").arg(self.path().join("state"));
        if self.is_ours() {
            command.arg("--seccomp-cache").arg(self.path().join("cache"));
        }
        command.args(arguments);
        command
    }

    /// Runs the runtime in the mount namespace of this path, instead of one for itself.
    pub(crate) fn command_in(&self, namespace: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new("nsenter");
        command
            .arg(format!("--mount={namespace}"))
            .args([env!("CARGO_BIN_EXE_sampan-runtime"), "--root"])
            .arg(self.path().join("state"))
            .arg("--seccomp-cache")
            .arg(self.path().join("cache"))
            .args(arguments);
        command.stdin(std::process::Stdio::null()).output().unwrap()
    }

    /// Runs the runtime.
    pub(crate) fn runtime(&self, arguments: &[&str]) -> Ran {
        Ran::new(self.command("", arguments).stdin(std::process::Stdio::null()).output().unwrap())
    }

    /// Runs the container, waits for its end and deletes it.
    pub(crate) fn run(&self) -> Ran {
        self.run_after("")
    }

    /// The same with something done in the shell that becomes the runtime.
    pub(crate) fn run_after(&self, before: &str) -> Ran {
        self.write();
        let arguments = ["run", "--bundle", self.path().to_str().unwrap(), "test"];
        let ran =
            Ran::new(self.command(before, &arguments).stdin(std::process::Stdio::null()).output().unwrap());
        let left = fs::read_dir(self.path().join("state")).into_iter().flatten().count();
        assert_eq!(left, 0, "left over: {ran:?}");
        ran
    }

    /// The same by way of another program, which executes the runtime.
    pub(crate) fn run_by(&self, program: &str) -> Ran {
        self.run_after(&format!("set -- {program} -- \"$@\";"))
    }

    /// Creates and starts the container in the background, and waits until its program is executed: `start` may end
    /// before that.
    #[track_caller]
    pub(crate) fn start(&self) -> Running<'_> {
        self.create();
        let executable = || fs::read_link(format!("/proc/{}/exe", self.pid())).ok();
        let before = executable();
        self.runtime(&["start", "test"]).good();
        let running = Running(self);
        eventually("the program", || before.is_none() || executable() != before);
        running
    }

    #[track_caller]
    pub(crate) fn create(&self) {
        self.write();
        let path = self.path().to_str().unwrap();
        // Output to a file: the container's process would keep a pipe open.
        let log = fs::File::create(self.path().join("log")).unwrap();
        let pid_file = self.path().join("pid");
        let arguments = ["create", "--bundle", path, "--pid-file", pid_file.to_str().unwrap(), "test"];
        let mut command = self.command("", &arguments);
        let status =
            command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status();
        assert!(status.unwrap().success(), "{}", self.log());
    }

    /// A command that must fail, with these words, and leave nothing.
    #[track_caller]
    pub(crate) fn create_fails(&self, arguments: &[&str], words: &str) {
        self.write();
        let ran = self.runtime(arguments);
        assert!(ran.status != 0 && ran.err.contains(words), "{ran:?}");
        assert_eq!(fs::read_dir(self.path().join("state")).unwrap().count(), 0, "left over: {ran:?}");
    }

    /// Waits until a created container has written this to its log.
    #[track_caller]
    pub(crate) fn wait_for_log(&self, words: &str) {
        eventually(&format!("{words:?} in the log"), || self.log().contains(words));
    }

    /// What a created container and its creation wrote.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    pub(crate) fn pid(&self) -> i32 {
        fs::read_to_string(self.path().join("pid")).unwrap().parse().unwrap()
    }

    pub(crate) fn state(&self) -> Value {
        serde_json::from_str(&self.runtime(&["state", "test"]).good()).unwrap()
    }

    pub(crate) fn status(&self) -> String {
        self.state()["status"].as_str().unwrap().to_owned()
    }

    /// Waits until the container has this status.
    #[track_caller]
    pub(crate) fn wait_for(&self, status: &str) {
        eventually(&format!("the status {status}"), || self.status() == status);
    }
}

/// A running container, deleted at the end.
pub(crate) struct Running<'a>(&'a Bundle);

impl Running<'_> {
    pub(crate) fn exec(&self, options: &[&str], program: &[&str]) -> Ran {
        let arguments: Vec<&str> =
            ["exec"].into_iter().chain(options.iter().copied()).chain(["test"]).collect();
        let arguments: Vec<&str> = arguments.into_iter().chain(program.iter().copied()).collect();
        self.0.runtime(&arguments)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.runtime(&["delete", "--force", "test"]);
    }
}
