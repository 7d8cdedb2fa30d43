//! The known attacks on container runtimes, performed; one file per subject. Each test names the advisory that it guards
//! against; a root file system, a volume, a bundle or a running container is the attacker. Which defence each of them
//! meets is written down in `runtime/container/SECURITY.md`.

#[path = "../bundle/mod.rs"]
mod bundle;

mod descriptors;
mod devices;
mod exec;
mod executable;
mod identity;
mod mounts;
mod parser;
mod procfs;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bundle::{Bundle, eventually};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::{Value, json};

/// All names below a directory.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            all.extend(tree(&entry.path()));
        }
    }
    all.sort();
    all
}

/// Exchanges two names as fast as it can until stopped.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Exchange {
    fn start(a: PathBuf, b: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Exchange { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Does something several hundred times, or for ten seconds on a slow machine.
fn race(mut round: impl FnMut()) {
    let end = Instant::now() + Duration::from_secs(10);
    let mut rounds = 0;
    while rounds < 300 && Instant::now() < end {
        round();
        rounds += 1;
    }
    eprintln!("{rounds} rounds");
}

fn executable(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

fn runtime_bytes() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_sampan-runtime")).unwrap()
}

/// Gives the container's program a capability.
fn add_capability(bundle: &mut Bundle, name: &str) {
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set].as_array_mut().unwrap().push(json!(name));
    }
}

/// Gives the container a user namespace of its own.
fn own_users(bundle: &mut Bundle) {
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let mapping = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    bundle.spec["linux"]["uidMappings"] = mapping.clone();
    bundle.spec["linux"]["gidMappings"] = mapping;
    // The root of the namespace needs a way to its root file system, which is to be its own.
    executable(bundle.path());
    std::os::unix::fs::chown(bundle.rootfs(""), Some(100_000), Some(100_000)).unwrap();
}

/// Puts the attacker that is written in C into the image, as `/bin/spy`. Without it, says so and is false.
fn spy(bundle: &Bundle) -> bool {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/hostile/spy.c");
    let built =
        Command::new("cc").args(["-static", "-O1", "-o"]).arg(bundle.rootfs("bin/spy")).arg(source).output();
    let built = built.is_ok_and(|output| output.status.success());
    if !built {
        eprintln!("SKIP: there is no C compiler with a static C library for the attacker");
    }
    built
}

/// Runs the container as [`Bundle::run_after`] does, with options.
fn run_with(bundle: &Bundle, before: &str, options: &[&str]) -> bundle::Ran {
    fs::write(bundle.path().join("config.json"), serde_json::to_vec(&bundle.spec).unwrap()).unwrap();
    let mut arguments = vec!["run", "--bundle", bundle.path().to_str().unwrap()];
    arguments.extend(options);
    arguments.push("test");
    ran(bundle.command(before, &arguments))
}

/// Runs a command that has to end soon.
#[track_caller]
fn ran(mut command: Command) -> bundle::Ran {
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let end = Instant::now() + Duration::from_secs(180);
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > end {
            child.kill().unwrap();
            panic!("it hangs: {command:?}");
        }
        thread::sleep(Duration::from_millis(2));
    }
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    bundle::Ran {
        status: output.status.code().unwrap_or(-1),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

/// Creates the container from a shell that has done something, such as to leak descriptors. Its process id is in the
/// file `pid`, as after [`Bundle::create`].
#[track_caller]
fn create_leaking(bundle: &Bundle, before: &str) {
    fs::write(bundle.path().join("config.json"), bundle.spec.to_string()).unwrap();
    let (path, pid_file) = (bundle.path(), bundle.path().join("pid"));
    let arguments =
        ["create", "--bundle", path.to_str().unwrap(), "--pid-file", pid_file.to_str().unwrap(), "test"];
    // The container's process would keep a pipe open.
    let mut command = bundle.command(&format!("{before} exec >/dev/null 2>&1;"), &arguments);
    assert!(command.stdin(Stdio::null()).status().unwrap().success());
}
