//! `sampan-runtime` with systemd's cgroup driver: containers are scopes, and nothing of them is left.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;
use serde_json::{Value, json};

use crate::fixture::{Shared, Skip, shared};
use crate::leftovers::nothing_new;

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("oci::{name}"), case);
    vec![
        test("a_scope_in_the_slice_that_was_asked_for", a_scope_in_its_slice),
        test("limits_are_systemds_too", limits_are_systemds_too),
        test("a_limit_that_cannot_be_kept_is_refused", a_limit_that_cannot_be_kept),
        test("annotations_command_nothing_but_the_scope", annotations),
        test("an_end_by_itself_frees_the_name", an_end_by_itself),
        test("a_scope_of_someone_else_is_left_alone", someone_elses_scope),
        test("a_user_has_scopes_of_their_own", a_users_scope),
        test("killed_at_any_system_call", killed_at_any_system_call),
    ]
}

const RUNTIME: &[&str] = &["sampan-runtime", "--systemd-cgroup"];

/// Writes a bundle that runs `script`; `change` is merged into its configuration.
fn bundle(machine: &Machine, script: &str, change: &Value) -> Result<()> {
    machine.shell(
        "rm -rf /srv/bundle; mkdir -p /srv/bundle/rootfs/bin; cp /bin/busybox /srv/bundle/rootfs/bin/
        for a in sh sleep grep cat; do ln -s busybox /srv/bundle/rootfs/bin/$a; done
        sampan-runtime spec --bundle /srv/bundle",
    )?;
    let text = machine.ok(&["cat", "/srv/bundle/config.json"])?;
    let mut spec: Value = serde_json::from_str(&text)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
    merge(&mut spec, change);
    machine.write("/srv/bundle/config.json", &spec.to_string())
}

fn merge(into: &mut Value, from: &Value) {
    match from.as_object() {
        Some(members) if into.is_object() => {
            members.iter().for_each(|(key, value)| merge(&mut into[key], value));
        }
        _ => *into = from.clone(),
    }
}

fn runtime(machine: &Machine, arguments: &[&str]) -> Result<String> {
    machine.ok(&[RUNTIME, arguments].concat())
}

/// Creates and starts the container; returns its process.
fn run(machine: &Machine, id: &str) -> Result<i32> {
    // Its output to files: it would keep a pipe open.
    machine.shell(&format!(
        "{} run --detach --bundle /srv/bundle --pid-file /srv/pid {id} </dev/null >/srv/log 2>&1 || {{ cat /srv/log; exit 1; }}",
        RUNTIME.join(" ")
    ))?;
    machine.ok(&["cat", "/srv/pid"])?.parse().context("a process id")
}

fn delete(machine: &Machine, id: &str) -> Result<()> {
    runtime(machine, &["delete", "--force", id]).map(drop)
}

/// What there is before; the directory for containers has to be made once.
fn inventory(machine: &Machine) -> Result<Inventory> {
    machine.ok(&["sampan-runtime", "list"])?;
    Inventory::take(machine)
}

/// The scopes of containers that systemd knows of.
fn scopes(machine: &Machine) -> Result<String> {
    machine.ok(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "--type=scope"])
}

fn a_scope_in_its_slice(machine: &Machine) -> Result<()> {
    for (path, unit, slice) in [
        ("", "sampan-web.scope", "system.slice"),
        ("machine.slice:libpod:web", "libpod-web.scope", "machine.slice"),
        ("kube-pods-a.slice:cri:web", "cri-web.scope", "kube.slice/kube-pods.slice/kube-pods-a.slice"),
    ] {
        let before = inventory(machine)?;
        let change = json!({"linux": {"cgroupsPath": path}});
        bundle(machine, "cat /proc/self/cgroup; sleep 1000", &change)?;
        let pid = run(machine, "web")?;
        let cgroup = format!("/{slice}/{unit}");
        ensure!(machine.property(unit, "ActiveState")? == "active");
        ensure!(
            machine.property(unit, "ControlGroup")? == cgroup,
            "{}",
            machine.property(unit, "ControlGroup")?
        );
        ensure!(machine.property(unit, "Delegate")? == "yes");
        ensure!(machine.property(unit, "Description")? == "sampan container web");
        ensure!(machine.property(unit, "CollectMode")? == "inactive-or-failed");
        // The container's process, and nobody who has helped to make it.
        let status = machine.ok(&["systemctl", "status", unit])?;
        ensure!(status.contains("sleep 1000") && !status.contains("sampan-runtime"), "{status}");
        let own = machine.ok(&["cat", &format!("/proc/{pid}/cgroup")])?;
        ensure!(own.lines().any(|l| l == format!("0::{cgroup}")), "{own}");
        // Its cgroup namespace begins there.
        machine.wait("its output", Duration::from_secs(5), |m| {
            Ok(m.ok(&["cat", "/srv/log"])?.contains("0::/\n"))
        })?;
        let listed: Value = serde_json::from_str(&runtime(machine, &["ps", "--format", "json", "web"])?)?;
        ensure!(listed.as_array().is_some_and(|l| l.contains(&json!(pid))), "{listed}");
        runtime(machine, &["pause", "web"])?;
        runtime(machine, &["resume", "web"])?;
        // The driver is remembered: later commands need no option.
        machine.ok(&["sampan-runtime", "kill", "web", "KILL"])?;
        machine.wait("the end", Duration::from_secs(5), |m| {
            Ok(m.ok(&["sampan-runtime", "state", "web"])?.contains("stopped"))
        })?;
        machine.ok(&["sampan-runtime", "delete", "web"])?;
        ensure!(!scopes(machine)?.contains(unit), "{}", scopes(machine)?);
        // Slices are systemd's and stay.
        for part in slice.split('/').filter(|s| s.starts_with("kube")).rev() {
            machine.ok(&["systemctl", "stop", part])?;
        }
        if slice != "machine.slice" {
            nothing_new(machine, &before, "a container as a scope")?;
        }
    }
    Ok(())
}

fn limits_are_systemds_too(machine: &Machine) -> Result<()> {
    let controllers = machine.ok(&["cat", "/sys/fs/cgroup/cgroup.controllers"])?;
    if !controllers.contains("pids") || !controllers.contains("memory") {
        return Err(Skip("the host has bound the controllers to cgroup version 1".into()).into());
    }
    let resources = json!({"pids": {"limit": 40}, "memory": {"limit": 64 << 20, "swap": 64 << 20}, "cpu": {"shares": 512}});
    bundle(machine, "sleep 1000", &json!({"linux": {"resources": resources}}))?;
    run(machine, "web")?;
    let file = |name: &str| -> Result<String> {
        Ok(machine
            .ok(&["cat", &format!("/sys/fs/cgroup/system.slice/sampan-web.scope/{name}")])?
            .trim()
            .to_owned())
    };
    let unit = |name| machine.property("sampan-web.scope", name);
    ensure!(file("pids.max")? == "40" && unit("TasksMax")? == "40");
    ensure!(file("memory.max")? == "67108864" && unit("MemoryMax")? == "67108864");
    ensure!(unit("MemorySwapMax")? == "0");
    ensure!(file("cpu.weight")? == "59" && unit("CPUWeight")? == "59");
    runtime(machine, &["update", "--pids-limit", "50", "--memory", "128m", "--memory-swap", "256m", "web"])?;
    ensure!(file("pids.max")? == "50" && unit("TasksMax")? == "50");
    ensure!(file("memory.max")? == "134217728" && unit("MemorySwapMax")? == "134217728");
    // What systemd reads anew is what it was told.
    machine.ok(&["systemctl", "daemon-reload"])?;
    ensure!(file("pids.max")? == "50" && file("memory.max")? == "134217728");
    delete(machine, "web")
}

fn a_limit_that_cannot_be_kept(machine: &Machine) -> Result<()> {
    if machine.ok(&["cat", "/sys/fs/cgroup/cgroup.controllers"])?.contains("pids") {
        return Err(Skip("every limit can be kept here".into()).into());
    }
    let before = inventory(machine)?;
    // systemd takes such a property and does nothing about it.
    bundle(machine, "sleep 1000", &json!({"linux": {"resources": {"pids": {"limit": 40}}}}))?;
    let error = run(machine, "web").expect_err("a limit without a controller").to_string();
    ensure!(
        error.contains("the limit pids.max=40 can't be done: the requested cgroup controller `pids`"),
        "{error}"
    );
    nothing_new(machine, &before, "a refusal")?;
    bundle(machine, "sleep 1000", &json!({}))?;
    run(machine, "web")?;
    let tasks = machine.property("sampan-web.scope", "TasksMax")?;
    let update = machine.run(&[RUNTIME, &["update", "--pids-limit", "50", "web"]].concat())?;
    ensure!(!update.success() && update.stderr.contains("cgroup controller `pids`"), "{}", update.text());
    ensure!(machine.property("sampan-web.scope", "TasksMax")? == tasks);
    delete(machine, "web")?;
    nothing_new(machine, &before, "an update that was refused")
}

/// CVE-2024-3154: whoever may annotate a container must not command systemd.
fn annotations(machine: &Machine) -> Result<()> {
    let before = inventory(machine)?;
    for (name, value) in [
        ("SuccessAction", "'poweroff-force'"),
        ("ExecStopPost", "[('/bin/sh', ['sh'], false)]"),
        ("Slice", "'user.slice'"),
        ("TimeoutStopUSec", "uint64 18446744073709551615"),
        ("Description", "'a\nb'"),
    ] {
        bundle(
            machine,
            "sleep 1000",
            &json!({"annotations": {format!("org.systemd.property.{name}"): value}}),
        )?;
        let error = run(machine, "web").expect_err(name).to_string();
        ensure!(error.contains(&format!("org.systemd.property.{name}")), "{error}");
        nothing_new(machine, &before, name)?;
    }
    // What CRI-O asks for.
    let annotations = json!({
        "org.systemd.property.CollectMode": "'inactive-or-failed'",
        "org.systemd.property.TimeoutStopUSec": "uint64 7000000",
        "org.systemd.property.After": "['dbus.service']",
        "org.systemd.property.DefaultDependencies": "true",
    });
    bundle(machine, "sleep 1000", &json!({"annotations": annotations}))?;
    run(machine, "web")?;
    ensure!(machine.property("sampan-web.scope", "TimeoutStopUSec")? == "7s");
    ensure!(machine.property("sampan-web.scope", "After")?.contains("dbus.service"));
    ensure!(machine.property("sampan-web.scope", "DefaultDependencies")? == "yes");
    delete(machine, "web")?;
    nothing_new(machine, &before, "a container with properties")
}

fn an_end_by_itself(machine: &Machine) -> Result<()> {
    let before = inventory(machine)?;
    bundle(machine, "sleep 1000", &json!({}))?;
    for end in [
        "kill -KILL $(cat /srv/pid)",
        "systemctl kill -s KILL sampan-web.scope",
        "systemctl stop sampan-web.scope",
    ] {
        run(machine, "web")?;
        machine.shell(end)?;
        machine.wait("the end of its scope", Duration::from_secs(5), |m| {
            Ok(!scopes(m)?.contains("sampan-web"))
        })?;
        delete(machine, "web")?;
        nothing_new(machine, &before, end)?;
    }
    // And one that waits for nobody: run, to its end.
    bundle(machine, "exit 7", &json!({}))?;
    for _ in 0..5 {
        let run = machine.run(&[RUNTIME, &["run", "--bundle", "/srv/bundle", "web"]].concat())?;
        ensure!(run.code == Some(7), "{}", run.text());
    }
    nothing_new(machine, &before, "a run")
}

fn someone_elses_scope(machine: &Machine) -> Result<()> {
    machine.shell("systemd-run --scope --unit=sampan-web sleep 1000 >/dev/null 2>&1 </dev/null &")?;
    machine.wait("the scope", Duration::from_secs(5), |m| {
        Ok(m.property("sampan-web.scope", "ActiveState")? == "active")
    })?;
    bundle(machine, "sleep 1000", &json!({}))?;
    let error = run(machine, "web").expect_err("a scope of this name").to_string();
    ensure!(error.contains("there is a unit sampan-web.scope already"), "{error}");
    ensure!(machine.property("sampan-web.scope", "ActiveState")? == "active");
    machine.ok(&["systemctl", "stop", "sampan-web.scope"]).map(drop)
}

fn a_users_scope(machine: &Machine) -> Result<()> {
    let before = inventory(machine)?;
    machine.ok(&["loginctl", "enable-linger", "alice"])?;
    let uid = machine.ok(&["id", "-u", "alice"])?.trim().to_owned();
    let manager = format!("user@{uid}.service");
    machine.wait("the user's systemd", Duration::from_secs(10), |m| {
        Ok(m.property(&manager, "ActiveState")? == "active")
    })?;
    bundle(machine, "", &json!({}))?;
    machine.shell("rm -rf /home/alice/bundle; cp -a /srv/bundle /home/alice; rm /home/alice/bundle/config.json; chown -R alice: /home/alice/bundle")?;
    let by_alice = |script: &str| {
        let script = format!("export XDG_RUNTIME_DIR=/run/user/{uid}; cd bundle; {script}");
        machine.run(&["runuser", "-l", "alice", "-c", &script])
    };
    let run = by_alice("sampan-runtime spec --rootless")?;
    ensure!(run.success(), "{}", run.text());
    let text = machine.ok(&["cat", "/home/alice/bundle/config.json"])?;
    let mut spec: Value = serde_json::from_str(&text)?;
    spec["process"]["terminal"] = json!(false);
    spec["process"]["args"] = json!(["/bin/sh", "-c", "grep ^0: /proc/self/cgroup; sleep 1000"]);
    machine.write("/home/alice/bundle/config.json", &spec.to_string())?;

    // A session is not below the user's systemd.
    let run = by_alice("sampan-runtime --systemd-cgroup run --detach web")?;
    ensure!(!run.success() && run.stderr.contains("systemd-run --user --scope"), "{}", run.text());
    let run = by_alice(
        "systemd-run --user --scope --quiet sampan-runtime --systemd-cgroup run --detach web </dev/null >log 2>&1",
    )?;
    let log = machine.ok(&["cat", "/home/alice/bundle/log"])?;
    ensure!(run.success(), "{log}{}", run.text());
    let status = by_alice("systemctl --user status sampan-web.scope")?;
    let place = format!("/{manager}/user.slice/sampan-web.scope");
    ensure!(status.stdout.contains(&place) && status.stdout.contains("sleep 1000"), "{}", status.text());
    let run = by_alice(
        "sampan-runtime delete --force web; systemctl --user list-units --all --no-legend 'sampan-*'",
    )?;
    ensure!(run.success() && run.stdout.is_empty(), "{}", run.text());
    machine.ok(&["loginctl", "disable-linger", "alice"])?;
    machine.wait("the end of the user's systemd", Duration::from_secs(20), |m| {
        Ok(m.property(&manager, "ActiveState")? == "inactive")
    })?;
    nothing_new(machine, &before, "a user's container")
}

fn killed_at_any_system_call(machine: &Machine) -> Result<()> {
    bundle(machine, "sleep 1000", &json!({}))?;
    let before = inventory(machine)?;
    let traced = |options: &str| {
        format!(
            "strace {options} {} run --detach --bundle /srv/bundle web </dev/null >/dev/null 2>&1",
            RUNTIME.join(" ")
        )
    };
    machine.shell(&traced("-o /run/trace"))?;
    delete(machine, "web")?;
    let calls: usize = machine.shell("wc -l </run/trace; rm /run/trace")?.trim().parse()?;
    ensure!(calls > 50, "only {calls} system calls were traced");
    let steps = 40;
    for step in 0..steps {
        let at = 1 + step * (calls - 1) / (steps - 1);
        machine.shell(&format!(
            "{} || :",
            traced(&format!("-o /dev/null -e inject=all:signal=KILL:when={at}"))
        ))?;
        // As its caller does then; and the name is free.
        delete(machine, "web")?;
        nothing_new(machine, &before, &format!("a kill at system call {at} of {calls}"))?;
        if step % 8 == 0 {
            run(machine, "web")?;
            delete(machine, "web")?;
        }
    }
    run(machine, "web")?;
    delete(machine, "web")?;
    nothing_new(machine, &before, "the last start")
}
