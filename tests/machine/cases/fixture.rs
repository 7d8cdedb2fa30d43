//! What every test starts from: a machine with the product, a registry and the images.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use libtest_mimic::{Completion, Failed, Trial};
use sampan_machine_tests::cache::Cache;
pub use sampan_machine_tests::skip::Skip;
use sampan_machine_tests::{Machine, Options, images, registry, root, shipped};

/// Where units are dropped.
pub const UNITS: &str = "/etc/containers/systemd";

/// The small image that most tests run.
pub const BUSYBOX: &str = "localhost:5000/busybox:latest";

/// What all machines boot from.
struct World {
    options: Options,
    product: PathBuf,
    cache: Cache,
}

static WORLD: OnceLock<Result<World, String>> = OnceLock::new();

/// Builds what machines boot from, once per run.
fn world() -> Result<&'static World> {
    let world = WORLD.get_or_init(|| build().map_err(|error| format!("{error:#}")));
    world.as_ref().map_err(|error| anyhow!("the tests' machines can't be built: {error}"))
}

fn build() -> Result<World> {
    let cache = Cache::open()?;
    let root = root::build(&cache)?;
    let small = images::build(&cache, "images-small", images::SMALL, &root)?;
    let real = images::build(&cache, "images-real", images::REAL, &root)?;
    let recipe = format!("{} {} {}", registry::RECIPE, small.display(), real.display());
    let served = cache.entry("registry", &recipe, |layer| registry::install(layer, &[&small, &real]))?;
    let product = tempfile::Builder::new().prefix("sampan-product.").tempdir()?.keep();
    shipped::install(&product)?;
    let layers = vec![product.clone(), served, root];
    let program = PathBuf::from(env!("CARGO_BIN_EXE_sampan-machine"));
    Ok(World { options: Options { layers, program, ..Options::default() }, product, cache })
}

/// Ends the machines and removes what this run has made on the host, after its last test.
pub fn end() {
    idle().clear();
    if let Some(Ok(world)) = WORLD.get() {
        let _ = std::fs::remove_dir_all(&world.product);
    }
}

/// Says that the tests run inside a virtual machine: its systemd is the one to test, and nothing
/// is booted. It must hold what other machines boot from, and takes one test at a time.
const HERE: &str = "SAMPAN_MACHINE_HERE";

fn is_here() -> bool {
    std::env::var_os(HERE).is_some()
}

/// Boots a machine of its own for one test, or for the tests of one [`Shared`].
pub fn machine() -> Result<Machine> {
    if is_here() {
        let machine = Machine::here()?;
        serve(&machine)?;
        return Ok(machine);
    }
    boot(&world()?.options)
}

/// A machine in which images can be built.
pub fn building_machine() -> Result<Machine> {
    on_root(root::building)
}

/// A machine with containerd and Podman.
pub fn clients_machine() -> Result<Machine> {
    on_root(root::clients)
}

/// A machine with firewalld, systemd-resolved, a DHCP server and iperf3, none of them started.
pub fn networking_machine() -> Result<Machine> {
    on_root(root::networking)
}

/// A machine whose interfaces NetworkManager looks after.
pub fn managed_machine() -> Result<Machine> {
    on_root(root::network_manager)
}

/// A machine that boots from another root.
fn on_root(root: fn(&Cache) -> Result<PathBuf>) -> Result<Machine> {
    let world = world()?;
    let mut options = world.options.clone();
    options.layers.pop();
    options.layers.push(root(&world.cache)?);
    boot(&options)
}

fn boot(options: &Options) -> Result<Machine> {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let machine = Machine::boot(&name, options)?;
    serve(&machine)?;
    Ok(machine)
}

/// Starts the machine's registry.
fn serve(machine: &Machine) -> Result<()> {
    machine.ok(&["systemctl", "start", "registry"])?;
    machine.wait("the registry answers", Duration::from_secs(20), |m| {
        Ok(m.run(&["curl", "-sf", "http://localhost:5000/v2/"])?.success())
    })
}

/// Why no machine can be booted here at all, if so.
fn reason_to_skip() -> Option<String> {
    if is_here() {
        return None;
    }
    if !std::path::Path::new("/usr/bin/apt-get").exists() {
        return Some(
            "the images and their registry are made of Debian's packages, which need apt-get".into(),
        );
    }
    if !nix::unistd::geteuid().is_root() {
        return Some("needs root, to boot a systemd in namespaces".into());
    }
    if std::env::var_os(shipped::RPMS).is_none() && std::env::var_os(shipped::FILES).is_none() {
        return Some(format!("{} is not set: run it by `make test`", shipped::RPMS));
    }
    None
}

/// A test with a machine of its own.
pub fn test(name: &str, case: fn(&Machine) -> Result<()>) -> Trial {
    test_in(machine, name, case)
}

/// A test with a machine that `boot` makes.
pub fn test_in(boot: fn() -> Result<Machine>, name: &str, case: fn(&Machine) -> Result<()>) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = reason_to_skip() {
            return Ok(Completion::ignored_with(reason));
        }
        let machine = boot().map_err(|error| Failed::from(format!("{error:#}")))?;
        outcome(case(&machine), &machine)
    })
}

/// Machines that the tests of a subject use one after the other: as many as run at once. A failed
/// test doesn't hand its machine on.
#[derive(Debug)]
pub struct Shared {
    subject: &'static str,
}

/// Machines that no test uses, each with its subject; the longest idle first.
static IDLE: Mutex<VecDeque<(&str, Machine)>> = Mutex::new(VecDeque::new());

/// How many machines may be idle. Each takes a part of the host's 128 inotify instances, without
/// which the next machine doesn't come up.
const MOST_IDLE: usize = 3;

fn idle() -> MutexGuard<'static, VecDeque<(&'static str, Machine)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// No machine yet; a test that finds none boots one.
    pub const fn new(subject: &'static str) -> Shared {
        Shared { subject }
    }

    fn take(&self) -> Option<Machine> {
        let mut idle = idle();
        let at = idle.iter().position(|(subject, _)| *subject == self.subject)?;
        idle.remove(at).map(|(_, machine)| machine)
    }

    fn give_back(&self, machine: Machine) {
        let mut idle = idle();
        idle.push_back((self.subject, machine));
        let least = if idle.len() > MOST_IDLE { idle.pop_front() } else { None };
        drop(idle); // ending a machine takes a moment
        drop(least);
    }
}

/// A test in a machine that served others before. It must leave the machine as it was.
pub fn shared(on: &'static Shared, name: &str, case: fn(&Machine) -> Result<()>) -> Trial {
    Trial::ignorable_test(name, move || {
        if let Some(reason) = reason_to_skip() {
            return Ok(Completion::ignored_with(reason));
        }
        // Out of its place while in use: a panic drops it.
        let machine = match on.take() {
            Some(machine) => machine,
            None => machine().map_err(|error| Failed::from(format!("{error:#}")))?,
        };
        let outcome = outcome(case(&machine), &machine);
        if outcome.is_ok() {
            on.give_back(machine);
        }
        outcome
    })
}

/// Turns a test's result into libtest's, with the end of the journal where it failed.
fn outcome(result: Result<()>, machine: &Machine) -> Result<Completion, Failed> {
    let Err(error) = result else { return Ok(Completion::Completed) };
    if let Some(Skip(reason)) = error.downcast_ref::<Skip>() {
        return Ok(Completion::ignored_with(reason));
    }
    let journal = machine.run(&["journalctl", "--no-pager", "--lines=40", "--output=short-precise"]);
    let journal = journal.map(|run| run.stdout).unwrap_or_default();
    Err(Failed::from(format!("{error:#}\n-- the journal's end --\n{journal}")))
}

/// Drops files (such as `web.container`) where administrators do, and reloads systemd.
pub fn install(machine: &Machine, files: &[(&str, &str)]) -> Result<()> {
    for (name, text) in files {
        machine.write(&format!("{UNITS}/{name}"), text)?;
    }
    machine.ok(&["systemctl", "daemon-reload"]).map(drop)
}

/// Installs `NAME.container` that runs `exec` in busybox; `more` are lines of any section.
pub fn busybox(machine: &Machine, name: &str, exec: &str, more: &str) -> Result<()> {
    let text = format!("[Container]\nImage={BUSYBOX}\nExec={exec}\n{more}\n");
    install(machine, &[(&format!("{name}.container"), &text)])
}

/// Removes dropped files and reloads systemd.
pub fn uninstall(machine: &Machine, files: &[&str]) -> Result<()> {
    for name in files {
        std::fs::remove_file(machine.path(&format!("{UNITS}/{name}")))?;
    }
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.ok(&["systemctl", "reset-failed"]).map(drop)
}

/// Starts a unit, which must succeed; else the error holds `systemctl status` and the journal.
pub fn start(machine: &Machine, unit: &str) -> Result<()> {
    let run = machine.run(&["systemctl", "start", unit])?;
    if run.success() {
        return Ok(());
    }
    let status = machine.run(&["systemctl", "status", "--full", "--lines=20", unit])?;
    Err(anyhow!("systemctl start {unit}: {}\n{}", run.text(), status.text()))
}

/// Starts a unit, which must fail; returns what its administrator can read about it: the answer,
/// `systemctl status` and the unit's journal.
///
/// systemd before 254 connects a service's output before it moves the process into the service's
/// cgroup. Where journald looks at that moment, it takes the lines for systemd's own, and `status`
/// lacks them; rare, but then the unit is started once more.
pub fn start_fails(machine: &Machine, unit: &str) -> Result<String> {
    let mut told = String::new();
    for _ in 0..3 {
        let run = machine.run(&["systemctl", "start", unit])?;
        anyhow::ensure!(!run.success(), "systemctl start {unit} succeeded");
        machine.ok(&["journalctl", "--sync"])?;
        let status = machine.run(&["systemctl", "status", "--full", "--lines=50", unit])?.text();
        let mut journal = status.lines().skip_while(|line| !line.is_empty()).skip(1);
        let is_complete = journal.any(|line| !line.contains("systemd[1]: "));
        told = format!("{}{status}", run.text());
        if is_complete {
            break;
        }
    }
    Ok(told)
}

/// The answer of `sampan ARGUMENTS`, parsed as JSON.
pub fn sampan_json(machine: &Machine, arguments: &[&str]) -> Result<serde_json::Value> {
    let mut command = vec!["sampan"];
    command.extend(arguments);
    let text = machine.ok(&command)?;
    serde_json::from_str(&text)
        .with_context(|| format!("sampan {} printed no JSON: {text}", arguments.join(" ")))
}

/// The names of all processes in the machine that belong to the product.
pub fn own_processes(machine: &Machine) -> Result<Vec<String>> {
    let list = machine.ok(&["ps", "-e", "-o", "args="])?;
    Ok(list
        .lines()
        .filter(|line| line.contains("sampan") && !line.contains("ps -e"))
        .map(str::to_owned)
        .collect())
}

/// Fetches a URL from inside the machine, that is from the containers' host.
pub fn fetch(machine: &Machine, url: &str) -> Result<String> {
    machine.ok(&["curl", "-sS", "--fail", "--max-time", "30", url])
}
