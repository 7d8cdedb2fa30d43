//! Podman runs and builds through `sampan-runtime`, with each of its cgroup managers.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::{Machine, Run};

use crate::fixture::{BUSYBOX, clients_machine, fetch, test_in};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test_in(clients_machine, &format!("podman::{name}"), case);
    vec![
        test("a_service_with_cgroupfs", |machine| service(&Podman::new(machine, "cgroupfs")?)),
        test("a_service_with_systemd", |machine| service(&Podman::new(machine, "systemd")?)),
        test("programs_and_their_options", programs),
        test("an_image_is_built", build),
    ]
}

/// Podman in a machine, told which runtime to use.
struct Podman<'a> {
    machine: &'a Machine,
    manager: &'static str,
}

impl<'a> Podman<'a> {
    fn new(machine: &'a Machine, manager: &'static str) -> Result<Self> {
        // A limit that Podman sets unasked, which can't be kept where the host has bound the controllers.
        machine.write("/etc/containers/containers.conf", "[containers]\npids_limit = 0\n")?;
        Ok(Podman { machine, manager })
    }

    fn run(&self, arguments: &[&str]) -> Result<Run> {
        let manager = format!("--cgroup-manager={}", self.manager);
        let podman = ["podman", "--runtime", "/usr/bin/sampan-runtime", &manager];
        self.machine.run(&[&podman, arguments].concat())
    }

    fn ok(&self, arguments: &[&str]) -> Result<String> {
        let run = self.run(arguments)?;
        ensure!(run.success(), "podman {}: {:?}\n{}", arguments.join(" "), run.code, run.text());
        Ok(run.stdout)
    }

    fn state(&self) -> Result<String> {
        self.ok(&["inspect", "--format", "{{.State.Status}}", "web"]).map(|text| text.trim().to_owned())
    }

    /// Runs a program in busybox, without a network.
    fn busybox(&self, options: &[&str], program: &[&str]) -> Result<String> {
        self.ok(&[&["run", "--quiet", "--rm", "--network", "none"], options, &[BUSYBOX], program].concat())
    }
}

fn serves(machine: &Machine) -> Result<()> {
    machine.wait("the page", Duration::from_secs(20), |m| {
        Ok(fetch(m, "http://localhost").is_ok_and(|page| page.contains("Welcome to nginx")))
    })
}

fn service(podman: &Podman) -> Result<()> {
    podman.ok(&["run", "--detach", "--name", "web", "--network", "host", "localhost:5000/nginx"])?;
    serves(podman.machine)?;
    let runtime = podman.ok(&["inspect", "--format", "{{.OCIRuntime}}", "web"])?;
    ensure!(runtime.trim() == "/usr/bin/sampan-runtime", "{runtime}");
    ensure!(podman.run(&["exec", "web", "sh", "-c", "exit 7"])?.code == Some(7));
    ensure!(podman.run(&["exec", "web", "no-such-program"])?.code == Some(127));
    ensure!(podman.ok(&["exec", "--user", "33", "web", "id", "-u"])? == "33\n");
    ensure!(podman.ok(&["top", "web"])?.contains("nginx: worker"), "no worker");

    podman.ok(&["pause", "web"])?;
    ensure!(podman.state()? == "paused");
    podman.ok(&["unpause", "web"])?;
    ensure!(podman.state()? == "running");
    podman.ok(&["stop", "web"])?;
    ensure!(podman.state()? == "exited");
    podman.ok(&["start", "web"])?;
    serves(podman.machine)?;
    podman.ok(&["restart", "web"])?;
    serves(podman.machine)?;
    podman.ok(&["kill", "web"])?;
    podman.ok(&["rm", "--force", "web"])?;
    podman.machine.wait("nothing is left", Duration::from_secs(10), |m| {
        let left =
            m.shell("find /sys/fs/cgroup -name '*libpod*' -type d -exec cat {}/cgroup.procs \\; 2>&1 || :")?;
        Ok(left.is_empty())
    })
}

fn programs(machine: &Machine) -> Result<()> {
    let podman = Podman::new(machine, "systemd")?;
    ensure!(podman.busybox(&[], &["echo", "hello"])? == "hello\n");
    ensure!(podman.busybox(&["--tty"], &["tty"])?.trim() == "/dev/pts/0");
    let confined =
        ["--read-only", "--user", "5:6", "--cap-drop", "all", "--security-opt", "no-new-privileges"];
    let out = podman.busybox(
        &confined,
        &["sh", "-c", "id -u; grep -E '^(CapBnd|NoNew|Seccomp:)' /proc/self/status; touch /x 2>&1; true"],
    )?;
    for word in ["5\n", "CapBnd:\t0000000000000000", "NoNewPrivs:\t1", "Seccomp:\t2", "Read-only file system"]
    {
        ensure!(out.contains(word), "{word}: {out}");
    }
    let mapped = ["--uidmap", "0:100000:1000", "--gidmap", "0:100000:1000"];
    let out = podman.busybox(&mapped, &["sh", "-c", "id -u; cat /proc/self/uid_map"])?;
    ensure!(out.split_whitespace().eq(["0", "0", "100000", "1000"]), "{out}");
    let shared = ["--pid", "host", "--ipc", "host", "--uts", "host"];
    ensure!(podman.busybox(&shared, &["hostname"])?.trim() == machine.name());
    let out = podman.busybox(&["--privileged"], &["grep", "Seccomp:", "/proc/self/status"])?;
    ensure!(out.contains("Seccomp:\t0"), "{out}");
    machine.write("/srv/volume/file", "text")?;
    ensure!(podman.busybox(&["--volume", "/srv/volume:/volume:ro"], &["cat", "/volume/file"])? == "text");
    let missing = podman.run(&["run", "--rm", "--network", "none", BUSYBOX, "no-such-program"])?;
    ensure!(missing.code == Some(127), "{missing:?}");
    Ok(())
}

fn build(machine: &Machine) -> Result<()> {
    let podman = Podman::new(machine, "systemd")?;
    let file = format!("FROM {BUSYBOX}\nRUN echo built >/word\nCMD [\"cat\", \"/word\"]\n");
    machine.write("/srv/mine/Containerfile", &file)?;
    podman.ok(&["build", "--isolation", "oci", "--network", "none", "--tag", "mine", "/srv/mine"])?;
    ensure!(podman.ok(&["run", "--rm", "--network", "none", "mine"])? == "built\n");
    Ok(())
}
