//! containerd runs containers through `sampan-runtime`: an image of the registry, by `ctr`, with the cgroups made
//! by the runtime and by systemd.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{clients_machine, fetch, test_in};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test_in(clients_machine, &format!("containerd::{name}"), case);
    vec![
        test("a_service_lives_and_ends", |machine| service(machine, &[], "/sys/fs/cgroup/default/web")),
        test("a_service_in_a_scope_of_systemd", in_a_scope),
        test("a_program_ends_with_its_status", program),
    ]
}

/// What makes `ctr run` use this runtime.
const RUNTIME: &[&str] = &["--runc-binary", "/usr/bin/sampan-runtime"];

const NGINX: &str = "localhost:5000/nginx:latest";

fn pull(machine: &Machine, image: &str) -> Result<()> {
    machine.ok(&["ctr", "images", "pull", "--plain-http", image]).map(drop)
}

fn run(machine: &Machine, options: &[&str], rest: &[&str]) -> Result<sampan_machine_tests::Run> {
    machine.run(&[&["ctr", "run"], options, RUNTIME, rest].concat())
}

/// The status that containerd has of a task: `RUNNING`.
fn status(machine: &Machine, name: &str) -> Result<String> {
    let list = machine.ok(&["ctr", "task", "ls"])?;
    let line = list.lines().find(|line| line.split_whitespace().next() == Some(name));
    Ok(line.and_then(|line| line.split_whitespace().nth(2)).unwrap_or_default().to_owned())
}

fn service(machine: &Machine, options: &[&str], cgroup: &str) -> Result<()> {
    pull(machine, NGINX)?;
    let made = run(machine, &[&["--detach", "--net-host"], options].concat(), &[NGINX, "web"])?;
    ensure!(made.success(), "{}", made.text());
    machine.wait("the page", Duration::from_secs(20), |m| {
        Ok(fetch(m, "http://localhost").is_ok_and(|page| page.contains("Welcome to nginx")))
    })?;
    ensure!(status(machine, "web")? == "RUNNING");
    ensure!(machine.path(cgroup).exists(), "no cgroup {cgroup}");
    exec(machine)?;
    let processes = machine.ok(&["ctr", "task", "ps", "web"])?;
    ensure!(processes.lines().count() >= 3, "the master and its workers: {processes}");
    let metrics = machine.ok(&["ctr", "task", "metrics", "web"])?;
    ensure!(metrics.contains("pids.current"), "{metrics}");

    machine.ok(&["ctr", "task", "pause", "web"])?;
    ensure!(status(machine, "web")? == "PAUSED");
    let paused = machine.run(&["curl", "-sS", "--max-time", "3", "http://localhost"])?;
    ensure!(!paused.success(), "it answers while it is paused");
    machine.ok(&["ctr", "task", "resume", "web"])?;
    fetch(machine, "http://localhost")?;

    machine.ok(&["ctr", "task", "kill", "--signal", "SIGTERM", "web"])?;
    machine.wait("its end", Duration::from_secs(10), |m| Ok(status(m, "web")? == "STOPPED"))?;
    machine.ok(&["ctr", "task", "rm", "web"])?;
    machine.ok(&["ctr", "container", "rm", "web"])?;
    ensure!(!machine.path(cgroup).exists(), "left: {cgroup}");
    let left = machine.shell("ls -A /run/containerd/runc/default")?;
    ensure!(left.is_empty(), "state is left: {left}");
    Ok(())
}

fn exec(machine: &Machine) -> Result<()> {
    let exec = |id: &str, program: &[&str]| {
        machine.run(&[&["ctr", "task", "exec", "--exec-id", id, "web"], program].concat())
    };
    let version = exec("one", &["nginx", "-v"])?;
    ensure!(version.success() && version.text().contains("nginx version"), "{}", version.text());
    let seven = exec("two", &["sh", "-c", "exit 7"])?;
    ensure!(seven.code == Some(7), "{seven:?}");
    let missing = exec("three", &["no-such-program"])?;
    ensure!(!missing.success() && missing.text().contains("not found"), "{}", missing.text());
    ensure!(status(machine, "web")? == "RUNNING");
    Ok(())
}

/// As `SystemdCgroup = true` of containerd's configuration, which Kubernetes demands.
fn in_a_scope(machine: &Machine) -> Result<()> {
    let options = ["--runc-systemd-cgroup", "--cgroup", "system.slice:ctr:web"];
    service(machine, &options, "/sys/fs/cgroup/system.slice/ctr-web.scope")?;
    let unit = machine.property("ctr-web.scope", "LoadState")?;
    ensure!(unit == "not-found", "the scope is left: {unit}");
    Ok(())
}

fn program(machine: &Machine) -> Result<()> {
    let image = "localhost:5000/busybox:latest";
    pull(machine, image)?;
    let hello = run(machine, &["--rm"], &[image, "hello", "echo", "hello"])?;
    ensure!(hello.success() && hello.stdout == "hello\n", "{}", hello.text());
    let seven = run(machine, &["--rm"], &[image, "seven", "sh", "-c", "exit 7"])?;
    ensure!(seven.code == Some(7), "{seven:?}");
    let missing = run(machine, &["--rm"], &[image, "missing", "no-such-program"])?;
    ensure!(!missing.success() && missing.text().contains("not found"), "{}", missing.text());
    // A terminal for `ctr` comes from script(1).
    let command = format!("ctr run --rm --tty {} {image} terminal tty", RUNTIME.join(" "));
    let terminal = machine.ok(&["script", "--quiet", "--return", "--command", &command, "/dev/null"])?;
    ensure!(terminal.contains("/dev/pts/0"), "{terminal}");
    let left = machine.ok(&["ctr", "container", "ls", "--quiet"])?;
    ensure!(left.is_empty(), "containers are left: {left}");
    Ok(())
}
