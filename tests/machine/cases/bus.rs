//! `org.sampan1` on the system bus, as `busctl` sees it.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{busybox, own_processes, start, test};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test(&format!("bus::{name}"), case);
    vec![
        test("lists_containers_on_demand", lists_containers_on_demand),
        test("signals_every_change", signals_every_change),
        test("acting_needs_permission", acting_needs_permission),
    ]
}

const MANAGER: [&str; 3] = ["org.sampan1", "/org/sampan1", "org.sampan1.Manager"];

fn call(machine: &Machine, method: &str) -> Result<String> {
    let mut command = vec!["busctl", "--json=short", "call"];
    command.extend(MANAGER);
    command.push(method);
    machine.ok(&command)
}

fn lists_containers_on_demand(machine: &Machine) -> Result<()> {
    ensure!(own_processes(machine)?.is_empty(), "something runs before anyone asked");
    busybox(machine, "listed", "sleep 1000", "ContainerName=listed")?;
    start(machine, "listed")?;
    let list: serde_json::Value = serde_json::from_str(&call(machine, "ListContainers")?)?;
    let container = &list["data"][0][0];
    ensure!(container["Name"]["data"] == "listed", "{list}");
    ensure!(container["State"]["data"] == "running", "{list}");
    ensure!(container["Unit"]["data"] == "listed.service", "{list}");
    ensure!(container["Pid"]["data"] == machine.main_pid("listed")?, "{list}");
    let path = machine.ok(&[
        "busctl",
        "--json=short",
        "call",
        MANAGER[0],
        MANAGER[1],
        MANAGER[2],
        "GetContainer",
        "s",
        "listed",
    ])?;
    ensure!(path.contains("/org/sampan1/container/"), "{path}");
    let object = machine.ok(&["busctl", "tree", "--list", "org.sampan1"])?;
    ensure!(object.contains("/org/sampan1/container/"), "the tree: {object}");
    Ok(())
}

fn signals_every_change(machine: &Machine) -> Result<()> {
    busybox(machine, "seen", "sleep 1000", "ContainerName=seen")?;
    call(machine, "ListContainers")?;
    let output = tempfile::NamedTempFile::new()?;
    let mut monitor = machine
        .command(&[
            "busctl",
            "--json=short",
            "--match=type='signal',interface='org.sampan1.Manager'",
            "monitor",
        ])
        .stdin(Stdio::null())
        .stdout(output.as_file().try_clone()?)
        .stderr(Stdio::null())
        .spawn()?;
    // The monitor doesn't say when it begins to see.
    let probe = ["busctl", "emit", "/org/sampan1", "org.sampan1.Manager", "Probe"];
    machine.wait("the monitor sees signals", Duration::from_secs(60), |m| {
        m.ok(&probe)?;
        Ok(std::fs::read_to_string(output.path())?.contains("Probe"))
    })?;
    call(machine, "ListContainers")?;
    start(machine, "seen")?;
    let has = |old: &str, new: &str| {
        let text = std::fs::read_to_string(output.path()).unwrap_or_default();
        text.lines().any(|line| {
            line.contains("StateChanged") && line.contains(&format!("[\"seen\",\"{old}\",\"{new}\"]"))
                || line.contains("StateChanged")
                    && new == "running"
                    && line.contains("\"seen\"")
                    && line.contains("\"running\"]")
        })
    };
    let running =
        machine.wait("the signal of its start", Duration::from_secs(5), |_| Ok(has("created", "running")));
    machine.ok(&["systemctl", "stop", "seen"])?;
    let stopped = machine.wait("the signal of its end", Duration::from_secs(5), |_| {
        let text = std::fs::read_to_string(output.path()).unwrap_or_default();
        Ok(text
            .lines()
            .any(|l| l.contains("StateChanged") && l.contains("\"seen\",\"") && l.contains("\"\"]")))
    });
    monitor.kill()?;
    monitor.wait()?;
    let text = std::fs::read_to_string(output.path())?;
    ensure!(running.is_ok() && stopped.is_ok(), "{running:?} {stopped:?}; the bus showed:\n{text}");
    Ok(())
}

fn acting_needs_permission(machine: &Machine) -> Result<()> {
    busybox(machine, "guarded", "sleep 1000", "ContainerName=guarded")?;
    start(machine, "guarded")?;
    let as_alice = |words: &str| {
        let mut command = vec![
            "setpriv",
            "--reuid=alice",
            "--regid=alice",
            "--init-groups",
            "busctl",
            "--json=short",
            "call",
        ];
        command.extend(words.split(' '));
        machine.run(&command)
    };
    let read = as_alice("org.sampan1 /org/sampan1 org.sampan1.Manager ListContainers")?;
    ensure!(read.stdout.contains("guarded"), "reading is open to all: {}", read.text());
    let path = as_alice("org.sampan1 /org/sampan1 org.sampan1.Manager GetContainer s guarded")?.stdout;
    let path: serde_json::Value = serde_json::from_str(&path)?;
    let path = path["data"][0].as_str().unwrap_or_default().to_owned();
    let stop = as_alice(&format!("org.sampan1 {path} org.sampan1.Container Stop"))?;
    ensure!(!stop.success(), "anyone may stop a container");
    ensure!(machine.property("guarded", "ActiveState")? == "active", "it was stopped");
    machine.ok(&["busctl", "call", "org.sampan1", &path, "org.sampan1.Container", "Stop"])?;
    ensure!(machine.property("guarded", "ActiveState")? == "inactive", "root could not stop it");
    Ok(())
}
