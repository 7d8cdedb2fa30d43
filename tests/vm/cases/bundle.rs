//! A container to test: a bundle with busybox, run by `sampan-runtime` with one of its cgroup drivers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::{Completion, Failed, Trial};
pub use sampan_machine_tests::skip::Skip;
use sampan_machine_tests::{Machine, Run};
use serde_json::{Value, json};

/// Set by `tests/vm/inside`, in the machine.
const HERE: &str = "SAMPAN_MACHINE_HERE";

/// The container's name.
pub const ID: &str = "web";

/// The scope that systemd's driver makes for it.
pub const SCOPE: &str = "sampan-web.scope";

const BUNDLE: &str = "/srv/bundle";

const APPLETS: &[&str] = &[
    "cat", "dd", "echo", "false", "grep", "head", "mknod", "readlink", "sh", "sleep", "tail", "touch", "true",
];

/// Who makes the container's cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Driver {
    /// The runtime itself.
    Cgroupfs,
    /// systemd, as a scope.
    Systemd,
}

/// A machine and a way to run containers in it.
#[derive(Debug)]
pub struct Bundle {
    pub machine: Machine,
    pub driver: Driver,
    /// On one processor only. Each processor that a container runs on takes memory for it in advance, up to 256 KiB,
    /// and gives that back a moment after it is missed: too late now and then where processors are emulated.
    pub pinned: bool,
}

/// A test in the machine. The container of the name [`ID`] is deleted after it.
pub fn test(name: &str, case: fn(&Machine) -> Result<()>) -> Trial {
    Trial::ignorable_test(name, move || {
        if std::env::var_os(HERE).is_none() {
            return Ok(Completion::ignored_with("needs the virtual machine of tests/vm/run"));
        }
        let machine = Machine::here().map_err(|error| Failed::from(format!("{error:#}")))?;
        let result = case(&machine);
        let _ = machine.run(&["sampan-runtime", "delete", "--force", ID]);
        let Err(error) = result else { return Ok(Completion::Completed) };
        if let Some(Skip(reason)) = error.downcast_ref::<Skip>() {
            return Ok(Completion::ignored_with(reason));
        }
        let log = fs::read_to_string("/srv/log").unwrap_or_default();
        Err(Failed::from(format!("{error:#}\n-- the container wrote --\n{log}")))
    })
}

/// One test for each driver: `NAME::cgroupfs` and `NAME::systemd`.
pub fn with_drivers(name: &str, cases: [fn(&Machine) -> Result<()>; 2]) -> [Trial; 2] {
    [test(&format!("{name}::cgroupfs"), cases[0]), test(&format!("{name}::systemd"), cases[1])]
}

/// The case `$case`, a function of a [`Bundle`], with both drivers.
macro_rules! both {
    ($name:literal, $case:path) => {
        $crate::bundle::with_drivers(
            concat!(module_path!(), "::", $name).split_once("::").map_or($name, |(_, name)| name),
            [
                |machine| $case(&mut $crate::bundle::Bundle::new(machine, $crate::bundle::Driver::Cgroupfs)?),
                |machine| $case(&mut $crate::bundle::Bundle::new(machine, $crate::bundle::Driver::Systemd)?),
            ],
        )
    };
}
pub(crate) use both;

impl Bundle {
    /// The bundle's root file system; its configuration comes with [`Bundle::write`].
    pub fn new(_: &Machine, driver: Driver) -> Result<Bundle> {
        let bin = Path::new(BUNDLE).join("rootfs/bin");
        if !bin.exists() {
            fs::create_dir_all(&bin)?;
            fs::create_dir(Path::new(BUNDLE).join("rootfs/tmp"))?;
            fs::copy("/bin/busybox", bin.join("busybox"))?;
            for applet in APPLETS {
                std::os::unix::fs::symlink("busybox", bin.join(applet))?;
            }
        }
        let _ = fs::remove_file("/srv/log");
        Ok(Bundle { machine: Machine::here()?, driver, pinned: false })
    }

    /// Writes a configuration that runs `script`; `change` is merged into it.
    pub fn write(&self, script: &str, change: &Value) -> Result<()> {
        let default = Path::new("/srv/default.json");
        if !default.exists() {
            self.machine.ok(&["sampan-runtime", "spec", "--file", "/srv/default.json"])?;
        }
        let mut spec: Value = serde_json::from_slice(&fs::read(default)?)?;
        spec["process"]["terminal"] = json!(false);
        spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        if self.driver == Driver::Cgroupfs {
            spec["linux"]["cgroupsPath"] = json!("/sampan-test/web");
        }
        merge(&mut spec, change);
        Ok(fs::write(Path::new(BUNDLE).join("config.json"), spec.to_string())?)
    }

    /// The command line of the runtime, with the driver's option.
    pub fn runtime(&self, arguments: &[&str]) -> Result<Run> {
        let mut command = if self.pinned { vec!["taskset", "--cpu-list", "0"] } else { Vec::new() };
        command.push("sampan-runtime");
        if self.driver == Driver::Systemd {
            command.push("--systemd-cgroup");
        }
        command.extend(arguments);
        self.machine.run(&command)
    }

    /// The same, which must succeed; returns its output.
    pub fn ok(&self, arguments: &[&str]) -> Result<String> {
        let run = self.runtime(arguments)?;
        ensure!(run.success(), "sampan-runtime {}: {:?} {}", arguments.join(" "), run.code, run.text());
        Ok(run.stdout)
    }

    /// Runs the container to its end.
    pub fn run(&self) -> Result<Run> {
        self.runtime(&["run", "--bundle", BUNDLE, ID])
    }

    /// Creates the container and starts it; it writes into `/srv/log`.
    pub fn start(&self) -> Result<()> {
        self.create()?;
        self.ok(&["start", ID]).map(drop)
    }

    /// Creates it only.
    pub fn create(&self) -> Result<()> {
        let option = if self.driver == Driver::Systemd { "--systemd-cgroup" } else { "" };
        let pin = if self.pinned { "taskset --cpu-list 0" } else { "" };
        // Its output to a file: it would keep a pipe open.
        self.machine
            .shell(&format!(
                "{pin} sampan-runtime {option} create --bundle {BUNDLE} --pid-file /srv/pid {ID} </dev/null >/srv/log 2>&1 ||
                 {{ cat /srv/log; exit 1; }}"
            ))
            .map(drop)
    }

    /// A program in it.
    pub fn exec(&self, program: &[&str]) -> Result<Run> {
        self.runtime(&[&["exec", ID], program].concat())
    }

    /// `update`, with these options.
    pub fn update(&self, options: &[&str]) -> Result<()> {
        self.ok(&[&["update"], options, &[ID]].concat()).map(drop)
    }

    /// `update`, with these resources of the specification.
    pub fn update_to(&self, resources: &Value) -> Result<()> {
        fs::write("/srv/resources.json", resources.to_string())?;
        self.update(&["--resources", "/srv/resources.json"])
    }

    /// Its status: `running`.
    pub fn status(&self) -> Result<String> {
        let state: Value = serde_json::from_str(&self.ok(&["state", ID])?)?;
        Ok(state["status"].as_str().unwrap_or_default().to_owned())
    }

    /// Waits for its status.
    pub fn wait_for(&self, status: &str) -> Result<()> {
        self.machine.wait(&format!("the container is {status}"), LONG, |_| Ok(self.status()? == status))
    }

    /// Waits for a line of its output.
    pub fn wait_for_line(&self, line: &str) -> Result<()> {
        let has = || Ok(fs::read_to_string("/srv/log")?.lines().any(|l| l == line));
        self.machine.wait(&format!("the line {line:?}"), LONG, |_| has())
    }

    /// Its first process, as seen by the machine.
    pub fn pid(&self) -> Result<i32> {
        fs::read_to_string("/srv/pid")?.parse().context("a process id")
    }

    /// The folder of its cgroup.
    pub fn cgroup(&self) -> Result<PathBuf> {
        let text = fs::read_to_string(format!("/proc/{}/cgroup", self.pid()?))?;
        let own = text.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup")?;
        let expected = match self.driver {
            Driver::Cgroupfs => "sampan-test/web".to_owned(),
            Driver::Systemd => format!("system.slice/{SCOPE}"),
        };
        ensure!(own == expected, "the cgroup is {own}, not {expected}");
        Ok(Path::new("/sys/fs/cgroup").join(own))
    }

    /// A file of its cgroup.
    pub fn file(&self, name: &str) -> Result<String> {
        let path = self.cgroup()?.join(name);
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        Ok(text.trim_end().to_owned())
    }

    /// A number behind a word in such a file: `oom_kill` of `memory.events`.
    pub fn number(&self, name: &str, key: &str) -> Result<u64> {
        let text = self.file(name)?;
        let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
        value.with_context(|| format!("{name} has no {key}: {text}"))?.parse().context("a number")
    }

    /// Compares files of its cgroup, and says all that differs.
    pub fn expect(&self, files: &[(&str, &str)]) -> Result<()> {
        let mut wrong = Vec::new();
        for (name, value) in files {
            let found = self.file(name)?;
            if !found.lines().any(|line| line == *value) {
                wrong.push(format!("{name} is {found:?}, not {value:?}"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { bail!("{}", wrong.join("\n")) }
    }

    /// The same, also after systemd has read its units anew, the container's among them.
    pub fn expect_to_stay(&self, files: &[(&str, &str)]) -> Result<()> {
        self.expect(files)?;
        if self.driver == Driver::Cgroupfs {
            return Ok(());
        }
        self.machine.ok(&["systemctl", "daemon-reload"])?;
        self.expect(files).context("after a daemon-reload")
    }

    /// Compares properties of its scope; nothing with the other driver.
    pub fn expect_properties(&self, properties: &[(&str, &str)]) -> Result<()> {
        if self.driver == Driver::Cgroupfs {
            return Ok(());
        }
        for (name, value) in properties {
            let found = self.machine.property(SCOPE, name)?;
            ensure!(found == *value, "systemd's {name} is {found:?}, not {value:?}");
        }
        Ok(())
    }
}

/// How long anything may take, outside of emulation.
pub const LONG: Duration = Duration::from_secs(10);

fn merge(into: &mut Value, from: &Value) {
    match from.as_object() {
        Some(members) if into.is_object() => {
            members.iter().for_each(|(key, value)| merge(&mut into[key], value));
        }
        _ => *into = from.clone(),
    }
}
