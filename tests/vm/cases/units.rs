//! Unit files: their limits are the service's, and what is killed for want of memory says so.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::bundle::{LONG, test};

pub fn tests() -> Vec<Trial> {
    vec![
        test("units::limits_of_the_file", limits_of_the_file),
        test("units::an_oom_kill_is_told", an_oom_kill_is_told),
        test("units::an_oom_kill_beside_the_program_is_told", an_oom_kill_beside_the_program_is_told),
    ]
}

/// Installs `NAME.container`, which runs busybox.
pub fn install(machine: &Machine, name: &str, lines: &str) -> Result<()> {
    machine.ok(&["systemctl", "start", "registry"])?;
    machine.wait("the registry answers", LONG, |m| {
        Ok(m.run(&["curl", "-sf", "http://localhost:5000/v2/"])?.success())
    })?;
    let text = format!("[Container]\nImage=localhost:5000/busybox:latest\n{lines}\n");
    machine.write(&format!("/etc/containers/systemd/{name}.container"), &text)?;
    machine.ok(&["systemctl", "daemon-reload"]).map(drop)
}

/// Stops the service and removes its file.
pub fn uninstall(machine: &Machine, name: &str) -> Result<()> {
    machine.ok(&["systemctl", "stop", name])?;
    std::fs::remove_file(format!("/etc/containers/systemd/{name}.container"))?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.run(&["systemctl", "reset-failed"]).map(drop)
}

/// The service's status, after it has failed by an OOM kill.
fn failure(machine: &Machine, name: &str) -> Result<String> {
    machine.run(&["systemctl", "start", name])?;
    machine.wait("the unit fails", LONG, |m| Ok(m.property(name, "ActiveState")? == "failed"))?;
    let result = machine.property(name, "Result")?;
    machine.ok(&["journalctl", "--sync"])?;
    let status = machine.run(&["systemctl", "status", "--full", "--lines=30", name])?.text();
    ensure!(result == "oom-kill", "the result is {result}: {status}");
    Ok(status)
}

fn limits_of_the_file(machine: &Machine) -> Result<()> {
    let more = "Exec=sleep 1000\nMemory=48m\nPidsLimit=20\nPodmanArgs=--cpus=0.5 --memory-reservation=16m\n\
        [Service]\nCPUWeight=40\nIOWeight=70\nAllowedCPUs=1";
    install(machine, "limited", more)?;
    machine.ok(&["systemctl", "start", "limited"])?;
    let main = machine.main_pid("limited")?;
    let text = std::fs::read_to_string(format!("/proc/{main}/cgroup"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).context("no cgroup")?;
    let cgroup = Path::new("/sys/fs/cgroup").join(own);
    // A limit may stand at the container's own cgroup or at its service's.
    let file = |name: &str| -> Result<Vec<String>> {
        let mut found = Vec::new();
        for folder in cgroup.ancestors().take_while(|f| f.to_string_lossy().contains("limited.service")) {
            found.push(std::fs::read_to_string(folder.join(name)).unwrap_or_default().trim().to_owned());
        }
        Ok(found)
    };
    for (name, value) in [
        ("memory.max", "50331648"),
        ("memory.low", "16777216"),
        ("pids.max", "20"),
        ("cpu.max", "50000 100000"),
        ("cpu.weight", "40"),
        ("io.weight", "default 70"),
        ("cpuset.cpus", "1"),
    ] {
        ensure!(file(name)?.iter().any(|found| found == value), "{name} is {:?}, not {value}", file(name)?);
    }
    uninstall(machine, "limited")
}

fn an_oom_kill_is_told(machine: &Machine) -> Result<()> {
    install(machine, "greedy", "Exec=tail /dev/zero\nMemory=32m\n[Service]\nMemorySwapMax=0")?;
    let status = failure(machine, "greedy")?;
    ensure!(status.contains("killed for want of memory") && status.contains("32 MiB"), "{status}");
    uninstall(machine, "greedy")
}

fn an_oom_kill_beside_the_program_is_told(machine: &Machine) -> Result<()> {
    let lines = "Exec=sh -c 'tail /dev/zero; sleep 1000'\n[Service]\nMemoryMax=32M\nMemorySwapMax=0";
    install(machine, "parent", lines)?;
    let status = failure(machine, "parent")?;
    ensure!(status.contains("killed for want of memory") && status.contains("32 MiB"), "{status}");
    uninstall(machine, "parent")
}
