//! A container's life under systemd: who is its parent, what its exit means, how it stops.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{self, Shared, Skip, busybox, own_processes, shared, start, start_fails, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("start_stop::{name}"), case);
    vec![
        // Alone: sampand, which leaves when it is idle, may still be there after other tests.
        fixture::test("start_stop::nothing_of_ours_stays_beside_the_program", nothing_of_ours_stays),
        test("journal_lines_carry_the_unit", journal_lines_carry_the_unit),
        test("exit_code_arrives", exit_code_arrives),
        test("exit_code_arrives_100_of_100_times", exit_code_arrives_always),
        test("oneshot_waits_for_its_end", oneshot_waits_for_its_end),
        test("oneshot_that_fails_fails", oneshot_that_fails_fails),
        test("foreign_sigkill_restarts_on_failure", foreign_sigkill_restarts_on_failure),
        test("foreign_sigkill_restarts_on_abnormal", foreign_sigkill_restarts_on_abnormal),
        test("foreign_sigkill_without_restart_is_a_failure", foreign_sigkill_is_a_failure),
        test("asked_for_stop_does_not_restart", asked_for_stop_does_not_restart),
        test("daemon_reload_changes_nothing", daemon_reload_changes_nothing),
        test("daemon_reexec_changes_nothing", daemon_reexec_changes_nothing),
        test("stop_without_handler_takes_no_time", stop_without_handler_takes_no_time),
        test("stop_lets_the_handler_finish", stop_lets_the_handler_finish),
        test("stop_kills_after_its_timeout", stop_kills_after_its_timeout),
        test("stop_signal_of_the_file_is_sent", stop_signal_of_the_file_is_sent),
        test("restart_makes_a_new_process", restart_makes_a_new_process),
        test("template_instances_run_side_by_side", template_instances_run_side_by_side),
        test("instances_of_volumes_and_networks", instances_of_volumes_and_networks),
        test("bad_interpreter_is_said_in_words", bad_interpreter_is_said_in_words),
        test("oom_kill_is_a_failure", oom_kill_is_a_failure),
    ]
}

const ACTIVE: Duration = Duration::from_secs(10);

/// Asserts a unit's state and result.
fn ensure_state(machine: &Machine, unit: &str, state: &str, result: &str) -> Result<()> {
    let is = (machine.property(unit, "ActiveState")?, machine.property(unit, "Result")?);
    ensure!(is == (state.into(), result.into()), "{unit} is {is:?}, not {state}/{result}");
    Ok(())
}

fn nothing_of_ours_stays(machine: &Machine) -> Result<()> {
    busybox(machine, "quiet", "sleep 1000", "")?;
    start(machine, "quiet")?;
    let pid = machine.main_pid("quiet")?;
    machine.wait("the main process is the program", ACTIVE, |m| {
        Ok(m.shell(&format!("tr '\\0' ' ' </proc/{pid}/cmdline"))?.trim() == "sleep 1000")
    })?;
    let parent = machine.shell(&format!("ps -o ppid= -p {pid}"))?;
    ensure!(parent.trim() == "1", "its parent is {parent:?}, not systemd");
    let cgroup = machine.property("quiet", "ControlGroup")?;
    let inside =
        machine.shell(&format!("find /sys/fs/cgroup{cgroup} -name cgroup.procs -exec cat {{}} +"))?;
    ensure!(inside.trim() == pid.to_string(), "in the unit's cgroup: {inside:?}, not only {pid}");
    let ours = own_processes(machine)?;
    ensure!(ours.is_empty(), "processes of ours: {ours:?}");
    machine.ok(&["systemctl", "stop", "quiet"])?;
    uninstall(machine, &["quiet.container"])
}

fn journal_lines_carry_the_unit(machine: &Machine) -> Result<()> {
    busybox(
        machine,
        "talk",
        "sh -c 'echo to-stdout; echo to-stderr >&2; echo \"<3>urgent\"; sleep 1000'",
        "",
    )?;
    start(machine, "talk")?;
    machine.wait("three lines in the journal", ACTIVE, |m| {
        let lines = m.journal("talk")?;
        Ok(["to-stdout", "to-stderr", "urgent"].iter().all(|line| lines.lines().any(|l| l == *line)))
    })?;
    let entries = machine.ok(&["journalctl", "--no-pager", "--output=json", "--unit=talk"])?;
    let mut entries = entries.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    let entry = entries.find(|entry| entry["MESSAGE"] == "urgent").unwrap_or_default();
    ensure!(entry["_SYSTEMD_UNIT"] == "talk.service", "unit: {entry}");
    ensure!(entry["PRIORITY"] == "3", "priority: {entry}");
    ensure!(entry["CONTAINER_NAME"] == "systemd-talk", "container: {entry}");
    let writer = entry["_PID"].as_str().and_then(|pid| pid.parse().ok());
    ensure!(writer == Some(machine.main_pid("talk")?), "the writer: {entry}");
    machine.ok(&["systemctl", "stop", "talk"])?;
    uninstall(machine, &["talk.container"])
}

fn exit_code_arrives(machine: &Machine) -> Result<()> {
    busybox(machine, "seven", "sh -c 'sleep 0.3; exit 7'", "")?;
    start(machine, "seven")?;
    machine.wait("the unit fails", ACTIVE, |m| Ok(m.property("seven", "ActiveState")? == "failed"))?;
    ensure_state(machine, "seven", "failed", "exit-code")?;
    let status = machine.property("seven", "ExecMainStatus")?;
    ensure!(status == "7", "ExecMainStatus is {status}");
    uninstall(machine, &["seven.container"])
}

fn exit_code_arrives_always(machine: &Machine) -> Result<()> {
    busybox(machine, "short@", "sh -c 'exit %i'", "")?;
    let mut wrong = Vec::new();
    for code in 1..=100 {
        let unit = format!("short@{code}.service");
        // A program that has ended before systemd looks may count as started or not.
        machine.run(&["systemctl", "start", &unit])?;
        machine.wait("the unit ends", ACTIVE, |m| Ok(m.property(&unit, "ActiveState")? == "failed"))?;
        let shown = machine.ok(&[
            "systemctl",
            "show",
            "-P",
            "ExecMainCode",
            "-P",
            "ExecMainStatus",
            "-P",
            "Result",
            &unit,
        ])?;
        // systemctl has an order of its own.
        if shown.split_whitespace().collect::<Vec<_>>() != ["exit-code", "1", &code.to_string()] {
            wrong.push(format!("{code}: {shown:?}"));
        }
    }
    ensure!(wrong.is_empty(), "{} of 100 wrong: {wrong:?}", wrong.len());
    uninstall(machine, &["short@.container"])
}

fn oneshot_waits_for_its_end(machine: &Machine) -> Result<()> {
    busybox(machine, "once", "sh -c 'sleep 0.5; echo done-once'", "[Service]\nType=oneshot")?;
    start(machine, "once")?;
    ensure_state(machine, "once", "inactive", "success")?;
    ensure!(machine.journal("once")?.contains("done-once"), "its output is missing");
    uninstall(machine, &["once.container"])
}

fn oneshot_that_fails_fails(machine: &Machine) -> Result<()> {
    busybox(machine, "once", "sh -c 'exit 9'", "[Service]\nType=oneshot")?;
    start_fails(machine, "once")?;
    ensure_state(machine, "once", "failed", "exit-code")?;
    let status = machine.property("once", "ExecMainStatus")?;
    ensure!(status == "9", "ExecMainStatus is {status}");
    uninstall(machine, &["once.container"])
}

/// Kills a running container's first process from outside; returns its pid.
fn kill(machine: &Machine, unit: &str) -> Result<i32> {
    let pid = machine.main_pid(unit)?;
    ensure!(pid > 1, "{unit} has no main process");
    machine.ok(&["kill", "-KILL", &pid.to_string()])?;
    Ok(pid)
}

/// With `policy`, a foreign SIGKILL must bring a new process.
fn restarts(machine: &Machine, policy: &str) -> Result<()> {
    busybox(machine, "again", "sleep 1000", &format!("[Service]\nRestart={policy}\nRestartSec=0"))?;
    start(machine, "again")?;
    let first = kill(machine, "again")?;
    machine.wait("a new main process", ACTIVE, |m| {
        let pid = m.main_pid("again")?;
        Ok(pid != 0 && pid != first && m.property("again", "ActiveState")? == "active")
    })?;
    let count = machine.property("again", "NRestarts")?;
    ensure!(count == "1", "NRestarts is {count}");
    machine.ok(&["systemctl", "stop", "again"])?;
    ensure_state(machine, "again", "inactive", "success")?;
    uninstall(machine, &["again.container"])
}

fn foreign_sigkill_restarts_on_failure(machine: &Machine) -> Result<()> {
    restarts(machine, "on-failure")
}

fn foreign_sigkill_restarts_on_abnormal(machine: &Machine) -> Result<()> {
    restarts(machine, "on-abnormal")
}

fn foreign_sigkill_is_a_failure(machine: &Machine) -> Result<()> {
    busybox(machine, "killed", "sleep 1000", "")?;
    start(machine, "killed")?;
    kill(machine, "killed")?;
    machine.wait("the unit fails", ACTIVE, |m| Ok(m.property("killed", "ActiveState")? == "failed"))?;
    uninstall(machine, &["killed.container"])
}

fn asked_for_stop_does_not_restart(machine: &Machine) -> Result<()> {
    busybox(machine, "stay", "sleep 1000", "[Service]\nRestart=on-failure\nRestartSec=0")?;
    start(machine, "stay")?;
    machine.ok(&["systemctl", "stop", "stay"])?;
    std::thread::sleep(Duration::from_millis(300));
    ensure_state(machine, "stay", "inactive", "success")?;
    ensure!(machine.property("stay", "NRestarts")? == "0", "it was restarted");
    uninstall(machine, &["stay.container"])
}

/// After `command`, the container must be what it was, and its exit code still arrive.
fn changes_nothing(machine: &Machine, command: &str) -> Result<()> {
    let exec = "sh -c 'trap \"exit 5\" USR1; echo ready; while :; do sleep 0.1; done'";
    busybox(machine, "same", exec, "")?;
    start(machine, "same")?;
    machine.wait("its handler is set", ACTIVE, |m| Ok(m.journal("same")?.contains("ready")))?;
    let pid = machine.main_pid("same")?;
    let id = machine.ok(&["sampan", "inspect", "--format", "{{.Id}} {{.State.Status}}", "systemd-same"])?;
    machine.ok(&["systemctl", command])?;
    ensure_state(machine, "same", "active", "success")?;
    ensure!(machine.main_pid("same")? == pid, "the main process changed");
    let after =
        machine.ok(&["sampan", "inspect", "--format", "{{.Id}} {{.State.Status}}", "systemd-same"])?;
    ensure!(after == id, "the container was {id:?} and is {after:?}");
    machine.ok(&["kill", "-USR1", &pid.to_string()])?;
    machine.wait("the unit ends", ACTIVE, |m| Ok(m.property("same", "ActiveState")? == "failed"))?;
    let status = machine.property("same", "ExecMainStatus")?;
    ensure!(status == "5", "ExecMainStatus is {status}");
    uninstall(machine, &["same.container"])
}

fn daemon_reload_changes_nothing(machine: &Machine) -> Result<()> {
    changes_nothing(machine, "daemon-reload")
}

fn daemon_reexec_changes_nothing(machine: &Machine) -> Result<()> {
    changes_nothing(machine, "daemon-reexec")
}

fn stop_without_handler_takes_no_time(machine: &Machine) -> Result<()> {
    busybox(machine, "deaf", "sleep 1000", "StopTimeout=300")?;
    for _ in 0..3 {
        start(machine, "deaf")?;
        let begun = Instant::now();
        machine.ok(&["systemctl", "stop", "deaf"])?;
        let taken = begun.elapsed();
        ensure!(taken < Duration::from_secs(100), "the stop took {taken:?}");
        ensure_state(machine, "deaf", "inactive", "success")?;
    }
    uninstall(machine, &["deaf.container"])
}

fn stop_lets_the_handler_finish(machine: &Machine) -> Result<()> {
    let exec =
        "sh -c 'trap \"sleep 0.7; echo tidied; exit 0\" TERM; echo ready; while :; do sleep 0.1; done'";
    busybox(machine, "tidy", exec, "")?;
    start(machine, "tidy")?;
    machine.wait("its handler is set", ACTIVE, |m| Ok(m.journal("tidy")?.contains("ready")))?;
    machine.ok(&["systemctl", "stop", "tidy"])?;
    ensure_state(machine, "tidy", "inactive", "success")?;
    ensure!(machine.journal("tidy")?.contains("tidied"), "the handler did not finish");
    uninstall(machine, &["tidy.container"])
}

fn stop_kills_after_its_timeout(machine: &Machine) -> Result<()> {
    let exec = "sh -c 'trap \"echo no\" TERM; echo ready; while :; do sleep 0.1; done'";
    busybox(machine, "stubborn", exec, "StopTimeout=1")?;
    start(machine, "stubborn")?;
    machine.wait("its handler is set", ACTIVE, |m| Ok(m.journal("stubborn")?.contains("ready")))?;
    let begun = Instant::now();
    machine.ok(&["systemctl", "stop", "stubborn"])?;
    let taken = begun.elapsed();
    // systemd itself would kill fifteen seconds later, and call that a failure.
    let expected = Duration::from_millis(900)..Duration::from_secs(16);
    ensure!(expected.contains(&taken), "the stop took {taken:?}, not about 1 s");
    ensure_state(machine, "stubborn", "inactive", "success")?;
    ensure!(machine.journal("stubborn")?.lines().any(|l| l == "no"), "it never saw the signal");
    uninstall(machine, &["stubborn.container"])
}

fn stop_signal_of_the_file_is_sent(machine: &Machine) -> Result<()> {
    let exec = "sh -c 'trap \"echo got-usr2; exit 0\" USR2; echo ready; while :; do sleep 0.1; done'";
    busybox(machine, "usr", exec, "StopSignal=SIGUSR2")?;
    start(machine, "usr")?;
    machine.wait("its handler is set", ACTIVE, |m| Ok(m.journal("usr")?.contains("ready")))?;
    machine.ok(&["systemctl", "stop", "usr"])?;
    ensure_state(machine, "usr", "inactive", "success")?;
    ensure!(machine.journal("usr")?.contains("got-usr2"), "another signal came");
    uninstall(machine, &["usr.container"])
}

fn restart_makes_a_new_process(machine: &Machine) -> Result<()> {
    busybox(machine, "anew", "sleep 1000", "")?;
    start(machine, "anew")?;
    let first = machine.main_pid("anew")?;
    machine.ok(&["systemctl", "restart", "anew"])?;
    let second = machine.main_pid("anew")?;
    ensure!(second != first && second != 0, "{first} became {second}");
    machine.ok(&["systemctl", "stop", "anew"])?;
    uninstall(machine, &["anew.container"])
}

fn template_instances_run_side_by_side(machine: &Machine) -> Result<()> {
    busybox(machine, "many@", "sh -c 'echo instance %i of %N; sleep 1000'", "Environment=WHO=%i")?;
    for instance in ["many@a", "many@b"] {
        start(machine, instance)?;
    }
    ensure!(machine.main_pid("many@a")? != machine.main_pid("many@b")?, "one process for both");
    machine.wait("both speak", ACTIVE, |m| {
        Ok(m.journal("many@a")?.contains("instance a") && m.journal("many@b")?.contains("instance b"))
    })?;
    machine.ok(&["systemctl", "stop", "many@a", "many@b"])?;
    uninstall(machine, &["many@.container"])
}

fn instances_of_volumes_and_networks(machine: &Machine) -> Result<()> {
    let more = "Volume=room@%i.volume:/room\nNetwork=wire@shared.network";
    fixture::install(machine, &[("room@.volume", "[Volume]\n"), ("wire@.network", "[Network]\n")])?;
    busybox(machine, "guest@", "sh -c 'echo %i >/room/name; sleep 1000'", more)?;
    for instance in ["guest@a", "guest@b"] {
        start(machine, instance)?;
    }
    let volumes = machine.ok(&["sampan", "volume", "ls", "--quiet"])?;
    ensure!(volumes.contains("systemd-room-a") && volumes.contains("systemd-room-b"), "{volumes}");
    machine.wait("both have written", ACTIVE, |m| {
        Ok(m.shell("cat /var/lib/sampan/volumes/systemd-room-[ab]/_data/name 2>/dev/null || :")? == "a\nb\n")
    })?;
    let networks = machine.ok(&[
        "sampan",
        "inspect",
        "--format",
        "{{json .NetworkSettings.Networks}}",
        "systemd-guest_a",
    ])?;
    ensure!(networks.contains("systemd-wire-shared"), "{networks}");
    machine.ok(&["systemctl", "stop", "guest@a", "guest@b", "wire-network@shared"])?;
    machine.ok(&["systemctl", "stop", "room-volume@a", "room-volume@b"])?;
    uninstall(machine, &["guest@.container", "room@.volume", "wire@.network"])
}

fn bad_interpreter_is_said_in_words(machine: &Machine) -> Result<()> {
    machine.shell(
        "mkdir -p /srv/bad; printf '#!/no/such/interpreter\\n' >/srv/bad/run; chmod 755 /srv/bad/run",
    )?;
    busybox(machine, "interpreter", "/bad/run", "Volume=/srv/bad:/bad")?;
    machine.run(&["systemctl", "start", "interpreter"])?;
    machine.wait("the unit fails", ACTIVE, |m| Ok(m.property("interpreter", "ActiveState")? == "failed"))?;
    let said = machine.journal("interpreter")?;
    ensure!(said.contains("/bad/run") && said.to_lowercase().contains("no such file"), "it said: {said}");
    let status = machine.property("interpreter", "ExecMainStatus")?;
    ensure!(status == "127", "ExecMainStatus is {status}");
    uninstall(machine, &["interpreter.container"])
}

fn oom_kill_is_a_failure(machine: &Machine) -> Result<()> {
    let controllers = machine.ok(&["cat", "/sys/fs/cgroup/cgroup.controllers"])?;
    if !controllers.split_whitespace().any(|name| name == "memory") {
        return Err(Skip("the host gives cgroup2 no memory controller".into()).into());
    }
    // tail keeps all of an endless line in memory.
    busybox(machine, "greedy", "tail /dev/zero", "[Service]\nMemoryMax=32M\nMemorySwapMax=0")?;
    machine.run(&["systemctl", "start", "greedy"])?;
    machine.wait("the unit fails", ACTIVE, |m| Ok(m.property("greedy", "ActiveState")? == "failed"))?;
    ensure_state(machine, "greedy", "failed", "oom-kill")?;
    uninstall(machine, &["greedy.container"])
}
