//! A running machine: commands in it, files in it, its journal, its end.

use std::fs;
use std::io::{PipeWriter, pipe};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::output;
use crate::place::Place;

/// How long a machine may take from its first process to the state `running`.
const BOOT: Duration = Duration::from_secs(180);

/// How long it may take to shut down before it is killed.
const SHUTDOWN: Duration = Duration::from_secs(120);

/// What a machine boots from.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Folders that together are its root file system, the topmost first.
    pub layers: Vec<PathBuf>,
    /// More files, by their absolute path.
    pub files: Vec<(String, String)>,
    /// The program `sampan-machine`, which sets machines up.
    pub program: PathBuf,
}

/// A systemd that runs as the first process of private namespaces. Dropping it ends it at once
/// and leaves nothing of it on the host.
#[derive(Debug)]
pub struct Machine {
    place: Place,
    pid: i32,
    keeper: Option<Keeper>,
}

/// The process outside that cleans up after the machine. It ends the machine when the other end
/// of its standard input is closed, by us or because we died.
#[derive(Debug)]
struct Keeper {
    process: Child,
    _alive: PipeWriter,
}

impl Machine {
    /// Boots a machine that lives as long as the value returned, and waits until systemd has
    /// reached the state `running`.
    pub fn boot(name: &str, options: &Options) -> Result<Machine> {
        let (input, alive) = pipe()?;
        let place = start(name, options)?;
        let mut command = keeper(&place, options)?;
        let process = command.arg("--watch").stdin(input).spawn().context("start the keeper")?;
        // Dropped by an error below: that ends what was started.
        let mut machine = Machine { place, pid: 0, keeper: Some(Keeper { process, _alive: alive }) };
        machine.wait_for_boot()?;
        Ok(machine)
    }

    /// Boots a machine that stays when this process ends, until someone stops it by its name.
    pub fn boot_detached(name: &str, options: &Options) -> Result<Machine> {
        let place = start(name, options)?;
        keeper(&place, options)?.stdin(Stdio::null()).spawn().context("start the keeper")?;
        let mut machine = Machine { place, pid: 0, keeper: None };
        machine.wait_for_boot()?;
        Ok(machine)
    }

    /// The machine that runs detached under this name.
    pub fn find(name: &str) -> Result<Machine> {
        let place = Place::new(name)?;
        let pid = place.pid().with_context(|| format!("no machine {name} is running"))?;
        Ok(Machine { place, pid, keeper: None })
    }

    /// The machine that this process runs in: a virtual one, whose first process is the systemd to
    /// test. It stays when the value is dropped.
    pub fn here() -> Result<Machine> {
        Ok(Machine { place: Place::new("here")?, pid: 1, keeper: None })
    }

    /// The machine's name, also its host name.
    pub fn name(&self) -> &str {
        self.place.name()
    }

    /// Waits for the first process, then for systemd to be done with booting.
    fn wait_for_boot(&mut self) -> Result<()> {
        let deadline = Instant::now() + BOOT;
        let mut state = String::new();
        while Instant::now() < deadline {
            if self.pid == 0 {
                self.pid = self.place.pid().unwrap_or_default();
            } else {
                let answer = self.run(&["systemctl", "is-system-running", "--wait"])?;
                state = answer.stdout.trim().to_owned();
                if state == "running" {
                    return Ok(());
                }
            }
            if !self.place.exists() || state == "degraded" {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let failed = if self.pid == 0 { Run::default() } else { self.run(&["systemctl", "--failed"])? };
        let log = fs::read_to_string(self.place.log()).unwrap_or_default();
        bail!("the machine {} is not running but {state:?}\n{}{log}", self.place.name(), failed.text())
    }

    /// A command inside the machine, as root, with a plain environment.
    ///
    /// It runs beside systemd's units, in no cgroup of the machine; what must be a unit's process
    /// is started by `systemd-run` or `systemctl`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.pid));
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--root", "--wd", "--"]);
        match arguments {
            // Entered already.
            [program, rest @ ..] if self.pid == 1 => {
                command = Command::new(program);
                command.args(rest).current_dir("/");
            }
            _ => drop(command.args(arguments)),
        }
        command.env_clear();
        command.env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command.envs([("HOME", "/root"), ("TERM", "dumb"), ("LC_ALL", "C.UTF-8"), ("SYSTEMD_PAGER", "")]);
        command
    }

    /// Runs a command to its end, whatever its exit status.
    pub fn run(&self, arguments: &[&str]) -> Result<Run> {
        Ok(Run::from(output(&mut self.command(arguments))?))
    }

    /// Runs a command that must succeed; returns its standard output.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let run = self.run(arguments)?;
        if run.code != Some(0) {
            bail!("{}: exit status {:?}\n{}", arguments.join(" "), run.code, run.text());
        }
        Ok(run.stdout)
    }

    /// Runs a shell script that must succeed; returns its standard output.
    pub fn shell(&self, script: &str) -> Result<String> {
        self.ok(&["sh", "-ec", script])
    }

    /// Writes a file inside, and the folders on the way to it. `path` is absolute.
    pub fn write(&self, path: &str, content: &str) -> Result<()> {
        let path = self.path(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))
    }

    /// A path inside as the host can open it; the machine must have no absolute link on the way.
    pub fn path(&self, path: &str) -> PathBuf {
        Path::new("/proc").join(self.pid.to_string()).join("root").join(path.trim_start_matches('/'))
    }

    /// One property of a unit, such as `ActiveState`.
    pub fn property(&self, unit: &str, name: &str) -> Result<String> {
        let value = self.ok(&["systemctl", "show", "--value", "--property", name, unit])?;
        Ok(value.trim_end_matches('\n').to_owned())
    }

    /// A unit's main process, as seen inside; 0 if it has none.
    pub fn main_pid(&self, unit: &str) -> Result<i32> {
        self.property(unit, "MainPID")?.parse().context("parse MainPID")
    }

    /// The messages that the journal has of a unit, one a line.
    pub fn journal(&self, unit: &str) -> Result<String> {
        self.ok(&["journalctl", "--sync"])?;
        self.ok(&["journalctl", "--no-pager", "--output=cat", "--unit", unit])
    }

    /// Waits until `condition` holds; an error that names `what` after `limit`, which is a minute at least: what takes
    /// a second here may take many where others want the processors too.
    pub fn wait(
        &self,
        what: &str,
        limit: Duration,
        mut condition: impl FnMut(&Machine) -> Result<bool>,
    ) -> Result<()> {
        let limit = limit.max(Duration::from_secs(60));
        // An emulated machine takes ten times as long.
        let limit = if self.pid == 1 { 10 * limit } else { limit };
        let deadline = Instant::now() + limit;
        while !condition(self)? {
            if Instant::now() > deadline {
                bail!("waited {limit:?} in vain: {what}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Shuts the machine down as `systemctl poweroff` does, and waits until nothing is left of it.
    pub fn stop(mut self) -> Result<()> {
        let keeper = self.keeper.take();
        // Its connection may end before the answer comes.
        let _ = self.run(&["systemctl", "poweroff", "--no-wall"]);
        let deadline = Instant::now() + SHUTDOWN;
        while self.place.exists() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
        let late = self.place.exists();
        if late {
            kill(Pid::from_raw(self.pid), Signal::SIGKILL).context("kill the machine")?;
        }
        if let Some(mut keeper) = keeper {
            keeper.process.wait()?;
        }
        if late {
            bail!("the machine {} did not shut down within {SHUTDOWN:?}", self.place.name());
        }
        Ok(())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if let Some(Keeper { mut process, _alive }) = self.keeper.take() {
            drop(_alive);
            let _ = process.wait();
        }
    }
}

/// What a command inside a machine printed and returned.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// The exit status; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Run {
    /// Both outputs, standard output first.
    pub fn text(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }

    /// Whether the exit status is 0.
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

impl From<Output> for Run {
    fn from(output: Output) -> Run {
        Run {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// Makes the machine's folder and cgroup, and its files.
fn start(name: &str, options: &Options) -> Result<Place> {
    let place = Place::new(name)?;
    place.create()?;
    for (path, content) in &options.files {
        let path = place.files().join(path.trim_start_matches('/'));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, content).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(place)
}

/// The command that starts a machine's keeper.
fn keeper(place: &Place, options: &Options) -> Result<Command> {
    let log = fs::File::create(place.log())?;
    let mut command = Command::new(&options.program);
    command.arg("keep").arg(place.name()).arg(place.files()).args(&options.layers);
    // An interrupt from the terminal is for us; the keeper has to clean up after that.
    command.stdout(log.try_clone()?).stderr(log).process_group(0);
    Ok(command)
}
