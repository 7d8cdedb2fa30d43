//! `User=` and `DynamicUser=` in `[Service]`: the container's root is that user of the host.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, install, sampan_json, shared, start, start_fails, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("users::{name}"), case);
    vec![
        test("named_user_is_the_containers_root", named_user),
        test("dynamic_user_owns_its_state", dynamic_user),
        test("subordinate_ids_are_the_other_users", subordinate_ids),
        test("keep_id_keeps_the_number", keep_id),
        test("a_user_that_is_not_mapped_is_refused", unmapped_user),
        test("a_strict_file_system_is_no_obstacle", strict_file_system),
        test("ready_and_healthy_and_reloaded", ready_healthy_reloaded),
        test("no_privilege_of_the_host_is_left", no_privilege),
    ]
}

const PATIENCE: Duration = Duration::from_secs(10);

/// Installs `name.container` that runs `script` in busybox's shell.
fn container(machine: &Machine, name: &str, script: &str, more: &str, service: &str) -> Result<()> {
    let text = format!(
        "[Container]\nImage={BUSYBOX}\nExec=sh -c '{script}'\n{more}\n[Service]\nRestart=on-failure\nRestartSec=0\n{service}\n"
    );
    install(machine, &[(&format!("{name}.container"), &text)])
}

/// What `ps` says about the unit's main process.
fn main_process(machine: &Machine, unit: &str, column: &str) -> Result<String> {
    let pid = machine.main_pid(unit)?.to_string();
    Ok(machine.ok(&["ps", "-o", &format!("{column}="), "-p", &pid])?.trim().to_owned())
}

/// A line that the container's program has printed.
fn wait_for(machine: &Machine, unit: &str, line: &str) -> Result<()> {
    machine.wait(&format!("{unit} prints {line:?}"), PATIENCE, |m| {
        Ok(m.journal(unit)?.lines().any(|printed| printed == line))
    })
}

/// Nothing of the container is left on the host.
fn ensure_gone(machine: &Machine, unit: &str) -> Result<()> {
    let state = machine.property(unit, "ActiveState")?;
    ensure!(state == "inactive", "{unit} is {state}");
    let listed = machine.ok(&["sampan", "ps", "--all", "--quiet"])?;
    ensure!(listed.trim().is_empty(), "containers are left: {listed}");
    for path in ["/var/lib/sampan/containers", "/run/sampan/containers"] {
        let left = machine.shell(&format!("ls -A {path} 2>/dev/null"))?;
        ensure!(!left.contains(unit), "{path} holds {left}");
    }
    Ok(())
}

fn named_user(machine: &Machine) -> Result<()> {
    machine.shell("rm -rf /srv/user; mkdir -p /srv/user; chown www-data:www-data /srv/user")?;
    let script = "id -u; echo mine >/data/file; stat -c owner-%%u /data/file /etc/passwd; touch /etc/new && echo writes; sleep 1000";
    container(machine, "named", script, "Volume=/srv/user:/data\nPublishPort=8099:80", "User=www-data")?;
    start(machine, "named")?;
    wait_for(machine, "named", "writes")?;
    let printed = machine.journal("named")?;
    ensure!(printed.lines().any(|line| line == "0"), "not root inside: {printed}");
    ensure!(printed.lines().filter(|line| *line == "owner-0").count() == 2, "owners: {printed}");
    ensure!(main_process(machine, "named", "user")? == "www-data", "the process is another user's");
    ensure!(machine.ok(&["stat", "-c", "%U:%G", "/srv/user/file"])?.trim() == "www-data:www-data", "owner");
    let listed = sampan_json(machine, &["ps", "--format", "json"])?;
    ensure!(listed[0]["Names"][0] == "systemd-named" && listed[0]["State"] == "running", "{listed}");
    let inside =
        machine.ok(&["sampan", "exec", "systemd-named", "sh", "-c", "id -u; cat /proc/self/uid_map"])?;
    ensure!(inside.split_whitespace().eq(["0", "0", "33", "1"]), "exec: {inside}");

    let first = machine.main_pid("named")?;
    machine.ok(&["kill", "-KILL", &first.to_string()])?;
    machine.wait("a new process", PATIENCE, |m| {
        let pid = m.main_pid("named")?;
        Ok(pid != 0 && pid != first && m.property("named", "ActiveState")? == "active")
    })?;
    ensure!(main_process(machine, "named", "user")? == "www-data", "another user's after the restart");
    machine.ok(&["systemctl", "restart", "named"])?;
    machine.ok(&["systemctl", "stop", "named"])?;
    ensure_gone(machine, "named")?;
    uninstall(machine, &["named.container"])
}

fn dynamic_user(machine: &Machine) -> Result<()> {
    let script = "echo $(id -u)-$(cat /data/count 2>/dev/null); echo x >>/data/count; echo done; sleep 1000";
    let service = "DynamicUser=yes\nStateDirectory=dynamic";
    container(machine, "dynamic", script, "Volume=%S/dynamic:/data", service)?;
    for expected in ["0-", "0-x"] {
        start(machine, "dynamic")?;
        wait_for(machine, "dynamic", expected)?;
        let uid: u32 = main_process(machine, "dynamic", "uid")?.parse()?;
        ensure!((61184..=65519).contains(&uid), "{uid} is no dynamic user");
        let owner = machine.ok(&["stat", "-L", "-c", "%u", "/var/lib/dynamic/count"])?;
        ensure!(owner.trim() == uid.to_string(), "its state is {owner}'s, not {uid}'s");
        let pid = machine.main_pid("dynamic")?;
        let status = machine.shell(&format!("grep NoNewPrivs /proc/{pid}/status"))?;
        ensure!(status.trim().ends_with('1'), "{status}");
        machine.ok(&["systemctl", "stop", "dynamic"])?;
        ensure_gone(machine, "dynamic")?;
    }
    uninstall(machine, &["dynamic.container"])
}

fn subordinate_ids(machine: &Machine) -> Result<()> {
    machine.shell("echo www-data:300000:1000 >>/etc/subuid; echo www-data:400000:1000 >>/etc/subgid")?;
    let script = "id -u; stat -c %%u /bin/busybox; cat /proc/self/uid_map; echo end; sleep 1000";
    container(machine, "sub", script, "User=1000:1000", "User=www-data")?;
    start(machine, "sub")?;
    wait_for(machine, "sub", "end")?;
    ensure!(main_process(machine, "sub", "uid")? == "300999", "uid {}", main_process(machine, "sub", "uid")?);
    ensure!(main_process(machine, "sub", "gid")? == "400999", "gid {}", main_process(machine, "sub", "gid")?);
    machine.ok(&["systemctl", "stop", "sub"])?;
    machine.shell("sed -i /www-data/d /etc/subuid /etc/subgid")?;
    ensure_gone(machine, "sub")?;
    uninstall(machine, &["sub.container"])
}

fn keep_id(machine: &Machine) -> Result<()> {
    machine.shell("echo www-data:300000:1000 >>/etc/subuid; echo www-data:400000:1000 >>/etc/subgid")?;
    container(
        machine,
        "kept",
        "echo I am $(id -u):$(id -g); sleep 1000",
        "UserNS=keep-id",
        "User=www-data\nRestart=no",
    )?;
    start(machine, "kept")?;
    wait_for(machine, "kept", "I am 33:33")?;
    ensure!(main_process(machine, "kept", "user")? == "www-data", "another user's");
    machine.ok(&["systemctl", "stop", "kept"])?;
    machine.shell("sed -i /www-data/d /etc/subuid /etc/subgid")?;
    let said = start_fails(machine, "kept")?;
    ensure!(said.contains("/etc/subuid has no range for \"www-data\""), "{said}");
    machine.ok(&["systemctl", "stop", "kept"])?;
    uninstall(machine, &["kept.container"])
}

fn unmapped_user(machine: &Machine) -> Result<()> {
    container(machine, "unmapped", "sleep 1000", "User=1000", "User=www-data\nRestart=no")?;
    let said = start_fails(machine, "unmapped")?;
    ensure!(said.contains("no user 1000") && said.contains("/etc/subuid"), "{said}");
    ensure!(said.contains("unmapped.container:"), "the line is missing: {said}");
    uninstall(machine, &["unmapped.container"])
}

fn strict_file_system(machine: &Machine) -> Result<()> {
    let service =
        "User=www-data\nProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nStateDirectory=strict";
    container(
        machine,
        "strict",
        "echo ok >/data/file; echo end; sleep 1000",
        "Volume=%S/strict:/data",
        service,
    )?;
    start(machine, "strict")?;
    wait_for(machine, "strict", "end")?;
    ensure!(machine.ok(&["cat", "/var/lib/strict/file"])? == "ok\n", "nothing was written");
    machine.ok(&["systemctl", "stop", "strict"])?;
    ensure_gone(machine, "strict")?;
    uninstall(machine, &["strict.container"])
}

fn ready_healthy_reloaded(machine: &Machine) -> Result<()> {
    let script = "trap \"echo reloaded\" HUP; echo up; while :; do sleep 0.1; done";
    let more = "Notify=healthy\nHealthCmd=test $(id -u) = 0\nHealthInterval=1s\nReloadSignal=HUP";
    container(machine, "health", script, more, "User=www-data")?;
    start(machine, "health")?;
    wait_for(machine, "health", "up")?;
    let health =
        machine.ok(&["sampan", "inspect", "--format", "{{.State.Health.Status}}", "systemd-health"])?;
    ensure!(health.trim() == "healthy", "{health}");
    machine.ok(&["systemctl", "reload", "health"])?;
    wait_for(machine, "health", "reloaded")?;
    machine.ok(&["systemctl", "stop", "health"])?;
    ensure_gone(machine, "health")?;
    uninstall(machine, &["health.container"])
}

fn no_privilege(machine: &Machine) -> Result<()> {
    machine.shell("mkdir -p /srv/host; echo secret >/srv/host/root-only; chmod 600 /srv/host/root-only; chmod 755 /srv/host")?;
    let script = "cat /host/root-only 2>/dev/null && echo read; chown 5 /tmp 2>/dev/null && echo chowned; \
                  mknod /tmp/d b 8 0 2>/dev/null && echo made; echo end; sleep 1000";
    container(machine, "weak", script, "Volume=/srv/host:/host\nAddCapability=all", "User=www-data")?;
    start(machine, "weak")?;
    wait_for(machine, "weak", "end")?;
    let printed = machine.journal("weak")?;
    ensure!(
        !["read", "chowned", "made", "secret"].iter().any(|word| printed.lines().any(|l| l == *word)),
        "{printed}"
    );
    let pid = machine.main_pid("weak")?;
    let namespace = |pid: &str| machine.ok(&["readlink", &format!("/proc/{pid}/ns/user")]);
    ensure!(namespace(&pid.to_string())? != namespace("1")?, "it has the host's user namespace");
    // Its user on the host has no power over it, though the number is the same.
    let traced = machine.run(&[
        "setpriv",
        "--reuid=33",
        "--regid=33",
        "--clear-groups",
        "cat",
        &format!("/proc/{pid}/environ"),
    ])?;
    ensure!(!traced.success(), "www-data reads its memory");
    machine.ok(&["systemctl", "stop", "weak"])?;
    ensure_gone(machine, "weak")?;
    uninstall(machine, &["weak.container"])
}
