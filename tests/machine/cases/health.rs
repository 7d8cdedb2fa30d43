//! Health checks: of the file and of the image, before and after the start, and what follows from them.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, busybox, install, sampan_json, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("health::{name}"), case);
    vec![
        test("the_images_check_is_made", image_check),
        test("the_files_word_counts_over_the_images", image_check_switched_off),
        test("startup_checks_come_first", startup_checks),
        test("a_start_that_fails_is_made_again", startup_fails),
        test("results_are_kept", results_are_kept),
        test("an_unhealthy_container_is_restarted", unhealthy_restarts),
        test("a_late_check_leaves_nothing_behind", late_check),
        test("a_long_stop_has_its_time", long_stop),
    ]
}

const PATIENCE: Duration = Duration::from_secs(15);
const CHECKED: &str = "localhost:5000/checked:latest";

fn wait_for(machine: &Machine, unit: &str, status: &str) -> Result<()> {
    let name = format!("systemd-{unit}");
    machine.wait(&format!("{unit} is {status}"), PATIENCE, |m| {
        let run = m.run(&["sampan", "inspect", "--format", "{{.State.Health.Status}}", &name])?;
        Ok(run.stdout.trim() == status)
    })
}

/// The timers of a unit that are active.
fn timers(machine: &Machine, unit: &str) -> Result<Vec<String>> {
    let pattern = format!("{unit}-health*.timer");
    let list =
        machine.ok(&["systemctl", "list-units", "--plain", "--no-legend", "--state=active", &pattern])?;
    Ok(list.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect())
}

fn image_check(machine: &Machine) -> Result<()> {
    install(machine, &[("own.container", &format!("[Container]\nImage={CHECKED}\n"))])?;
    for _ in 0..2 {
        start(machine, "own")?;
        wait_for(machine, "own", "healthy")?;
        machine.wait("its timer", PATIENCE, |m| Ok(timers(m, "own")? == ["own-health.timer"]))?;
        ensure!(machine.journal("own-health")?.contains("looked"), "its output is missing");
        machine.ok(&["sampan", "exec", "systemd-own", "touch", "/tmp/ill"])?;
        wait_for(machine, "own", "unhealthy")?;
        machine.ok(&["systemctl", "stop", "own"])?;
        machine.wait("no timer is left", PATIENCE, |m| Ok(timers(m, "own")?.is_empty()))?;
        let failed = machine.ok(&["systemctl", "list-units", "--plain", "--no-legend", "own-health*"])?;
        ensure!(failed.is_empty(), "units are left: {failed}");
    }
    // Without systemd's unit file, from a shell, too.
    machine.ok(&["sampan", "run", "-d", "--rm", "--name", "shell", CHECKED])?;
    machine.wait("healthy", PATIENCE, |m| {
        Ok(m.ok(&["sampan", "inspect", "--format", "{{.State.Health.Status}}", "shell"])?.trim() == "healthy")
    })?;
    machine.ok(&["sampan", "stop", "shell"])?;
    machine.wait("no timer is left", PATIENCE, |m| Ok(timers(m, "sampan-shell")?.is_empty()))?;
    uninstall(machine, &["own.container"])
}

fn image_check_switched_off(machine: &Machine) -> Result<()> {
    install(machine, &[("off.container", &format!("[Container]\nImage={CHECKED}\nHealthCmd=none\n"))])?;
    start(machine, "off")?;
    ensure!(timers(machine, "off")?.is_empty(), "{:?}", timers(machine, "off")?);
    let run = machine.run(&["sampan", "healthcheck", "run", "systemd-off"])?;
    ensure!(!run.success() && run.text().contains("no defined healthcheck"), "{}", run.text());
    machine.ok(&["systemctl", "stop", "off"])?;
    uninstall(machine, &["off.container"])
}

fn startup_checks(machine: &Machine) -> Result<()> {
    let more = "HealthCmd=echo regular\nHealthInterval=1s\nHealthStartupCmd=echo startup; test -e /tmp/up\n\
                HealthStartupInterval=1s\nHealthStartupSuccess=2";
    busybox(machine, "slow", "sleep 1000", more)?;
    start(machine, "slow")?;
    // systemd starts the timer when the service has started, and that is when `systemctl start` returns.
    machine
        .wait("the startup timer", PATIENCE, |m| Ok(timers(m, "slow")? == ["slow-health-startup.timer"]))?;
    machine.wait("a startup check", PATIENCE, |m| Ok(m.journal("slow-health")?.contains("startup")))?;
    wait_for(machine, "slow", "starting")?;
    ensure!(!machine.journal("slow-health")?.contains("regular"), "a regular check came too early");
    machine.ok(&["sampan", "exec", "systemd-slow", "touch", "/tmp/up"])?;
    wait_for(machine, "slow", "healthy")?;
    machine.wait("the regular timer alone", PATIENCE, |m| Ok(timers(m, "slow")? == ["slow-health.timer"]))?;
    machine.ok(&["systemctl", "stop", "slow"])?;
    machine.wait("no timer is left", PATIENCE, |m| Ok(timers(m, "slow")?.is_empty()))?;
    uninstall(machine, &["slow.container"])
}

fn startup_fails(machine: &Machine) -> Result<()> {
    let more = "HealthCmd=true\nHealthStartupCmd=false\nHealthStartupInterval=1s\nHealthStartupRetries=2";
    busybox(machine, "never", "sleep 1000", more)?;
    start(machine, "never")?;
    let first = machine.main_pid("never")?;
    machine.wait("a new process", PATIENCE, |m| {
        let pid = m.main_pid("never")?;
        Ok(pid != 0 && pid != first)
    })?;
    machine.ok(&["systemctl", "stop", "never"])?;
    uninstall(machine, &["never.container"])
}

fn results_are_kept(machine: &Machine) -> Result<()> {
    machine.shell("mkdir -p /srv/results")?;
    let common = "HealthCmd=echo one-two-three; exit 3\nHealthInterval=disable\nHealthMaxLogCount=2\nHealthMaxLogSize=7";
    busybox(machine, "kept", "sleep 1000", common)?;
    start(machine, "kept")?;
    for _ in 0..3 {
        ensure!(!machine.run(&["sampan", "healthcheck", "run", "systemd-kept"])?.success(), "it succeeded");
    }
    let shown = sampan_json(machine, &["inspect", "systemd-kept"])?;
    let log = &shown[0]["State"]["Health"]["Log"];
    ensure!(log.as_array().is_some_and(|log| log.len() == 2), "{log}");
    ensure!(log[1]["Output"] == "one-two" && log[1]["ExitCode"] == 3, "{log}");
    machine.ok(&["systemctl", "stop", "kept"])?;
    busybox(machine, "kept", "sleep 1000", &format!("{common}\nHealthLogDestination=/srv/results"))?;
    start(machine, "kept")?;
    machine.run(&["sampan", "healthcheck", "run", "systemd-kept"])?;
    let written = machine.shell("cat /srv/results/*-healthcheck.log")?;
    ensure!(written.contains("one-two") && !written.contains("one-two-"), "{written}");
    machine.ok(&["systemctl", "stop", "kept"])?;
    uninstall(machine, &["kept.container"])
}

fn unhealthy_restarts(machine: &Machine) -> Result<()> {
    let more = "HealthCmd=test ! -e /tmp/ill\nHealthInterval=1s\nHealthRetries=1\nHealthOnFailure=restart";
    busybox(machine, "ill", "sleep 1000", more)?;
    start(machine, "ill")?;
    let first = machine.main_pid("ill")?;
    machine.ok(&["sampan", "exec", "systemd-ill", "touch", "/tmp/ill"])?;
    machine.wait("a new process", PATIENCE, |m| {
        let pid = m.main_pid("ill")?;
        Ok(pid != 0 && pid != first && m.property("ill", "ActiveState")? == "active")
    })?;
    machine.ok(&["systemctl", "stop", "ill"])?;
    uninstall(machine, &["ill.container"])
}

/// A shell that is killed alone leaves its child in the container, one with every check.
fn late_check(machine: &Machine) -> Result<()> {
    let more = "HealthCmd=sleep 777; true\nHealthInterval=disable\nHealthTimeout=1s";
    busybox(machine, "late", "sleep 1000", more)?;
    start(machine, "late")?;
    let run = machine.run(&["sampan", "healthcheck", "run", "systemd-late"])?;
    ensure!(!run.success(), "a check that takes too long succeeded: {}", run.text());
    machine.wait("the end of all that the check has started", PATIENCE, |m| {
        Ok(!m.ok(&["sampan", "exec", "systemd-late", "ps"])?.contains("777"))
    })?;
    machine.ok(&["systemctl", "stop", "late"])?;
    uninstall(machine, &["late.container"])
}

fn long_stop(machine: &Machine) -> Result<()> {
    busybox(machine, "long", "sleep 1000", "StopTimeout=200")?;
    let time = machine.property("long", "TimeoutStopUSec")?;
    ensure!(time == "3min 35s", "systemd waits {time}");
    uninstall(machine, &["long.container"])
}
