//! After a stop, and after something of ours was killed at any moment, nothing is left.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;
use sampan_machine_tests::leftovers::Inventory;

use crate::fixture::{fetch, install, start, test};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test(&format!("leftovers::{name}"), case);
    vec![
        test("a_stop_leaves_nothing", a_stop_leaves_nothing),
        test("ends_of_every_kind_leave_nothing", ends_of_every_kind_leave_nothing),
        test("run_killed_at_any_system_call", run_killed_at_any_system_call),
        test("unit_killed_at_any_time", unit_killed_at_any_time),
        test("a_killed_cleanup_is_in_nobodys_way", a_killed_cleanup_is_in_nobodys_way),
        test("shutdown_stops_containers_in_order", shutdown_stops_containers_in_order),
    ]
}

/// A container with all that could stay behind: network, port, volume, tmpfs, writable layer.
const FULL: &str = "[Container]\nImage=localhost:5000/web\nContainerName=full\nNetwork=full.network\n\
    Network=other.network\nPublishPort=8300:80\nPublishPort=8301:81/udp\nVolume=full.volume:/data\n\
    Tmpfs=/scratch\nEntrypoint=sh\nExec=-c 'trap \"exit 0\" INT; httpd -f -p 80 -h /www & wait'\n";

/// Installs the full container, with its volume and networks made by a first start and stop.
fn prepare(machine: &Machine) -> Result<()> {
    install(
        machine,
        &[
            ("full.container", FULL),
            ("full.network", "[Network]\n"),
            ("other.network", "[Network]\n"),
            ("full.volume", "[Volume]\n"),
        ],
    )?;
    cycle(machine)
}

/// Starts the full container and sees that it works. (A signal before its shell has set the
/// trap would be lost: the kernel gives a namespace's first process none that it doesn't handle.)
fn serve(machine: &Machine) -> Result<()> {
    start(machine, "full")?;
    machine.wait("its page", Duration::from_secs(10), |m| Ok(fetch(m, "http://127.0.0.1:8300/").is_ok()))
}

/// Starts the full container, sees that it works, stops it.
fn cycle(machine: &Machine) -> Result<()> {
    serve(machine)?;
    machine.ok(&["systemctl", "stop", "full"]).map(drop)
}

/// Nothing may be there that wasn't before; what ends by itself gets three seconds for that.
pub fn nothing_new(machine: &Machine, before: &Inventory, what: &str) -> Result<()> {
    let mut left = Vec::new();
    let gone = machine.wait("nothing is left", Duration::from_secs(3), |m| {
        left = Inventory::take(m)?.since(before);
        Ok(left.is_empty())
    });
    ensure!(gone.is_ok(), "{what} left behind: {left:#?}");
    Ok(())
}

fn a_stop_leaves_nothing(machine: &Machine) -> Result<()> {
    let pristine = Inventory::take(machine)?;
    prepare(machine)?;
    // Image, volume and the networks' files stay, on purpose; of the rest not even the first
    // start leaves anything.
    let kinds = ["mount", "link", "address", "route", "cgroup", "process", "network namespace", "unit"];
    let left = Inventory::take(machine)?.since(&pristine);
    let left: Vec<_> =
        left.iter().filter(|l| kinds.iter().any(|k| l.starts_with(&format!("{k}:")))).collect();
    ensure!(left.is_empty(), "the first start left behind: {left:#?}");
    let before = Inventory::take(machine)?;
    for _ in 0..3 {
        cycle(machine)?;
    }
    nothing_new(machine, &before, "starts and stops")
}

fn ends_of_every_kind_leave_nothing(machine: &Machine) -> Result<()> {
    prepare(machine)?;
    let before = Inventory::take(machine)?;
    for (what, command) in [
        ("the end of the program", "kill -INT $(systemctl show -P MainPID full)"),
        ("a foreign SIGKILL", "kill -KILL $(systemctl show -P MainPID full)"),
        ("systemctl kill", "systemctl kill -s KILL full"),
        ("sampan stop", "sampan stop full"),
        ("sampan rm --force", "sampan rm --force full"),
    ] {
        serve(machine)?;
        machine.shell(command)?;
        machine.wait("the unit ends", Duration::from_secs(10), |m| {
            Ok(["failed", "inactive"].contains(&m.property("full", "ActiveState")?.as_str()))
        })?;
        machine.ok(&["systemctl", "reset-failed"])?;
        nothing_new(machine, &before, what)?;
    }
    Ok(())
}

/// Stands in for `sampan`: `run` is killed when it enters the system call whose number, counted
/// from its start, is in the file /run/kill-at; with "count" there, its calls are counted.
/// (`strace -D` keeps the traced process where systemd put it, as the unit's main process.)
const KILLER: &str = r#"#!/bin/sh
at=$(cat /run/kill-at 2>/dev/null)
case "$1:$at" in
run:count) exec strace -D -o /run/trace /usr/bin/sampan.real "$@" ;;
run:[0-9]*) exec strace -D -o /dev/null -e inject=all:signal=KILL:when=$at /usr/bin/sampan.real "$@" ;;
esac
exec /usr/bin/sampan.real "$@"
"#;

fn run_killed_at_any_system_call(machine: &Machine) -> Result<()> {
    prepare(machine)?;
    let before = Inventory::take(machine)?;
    machine.shell("mv /usr/bin/sampan /usr/bin/sampan.real")?;
    machine.write("/usr/bin/sampan", KILLER)?;
    machine.shell("chmod 755 /usr/bin/sampan; echo count >/run/kill-at")?;
    cycle(machine)?;
    let calls: usize = machine.shell("wc -l </run/trace")?.trim().parse()?;
    ensure!(calls > 50, "only {calls} system calls were traced");
    machine.shell("rm /run/trace")?;
    let steps = 40;
    for step in 0..steps {
        // From the first to the last call; its own exit is the last one.
        let at = 1 + step * (calls - 1) / (steps - 1);
        machine.write("/run/kill-at", &at.to_string())?;
        machine.run(&["systemctl", "start", "full"])?;
        machine.shell("rm /run/kill-at; systemctl stop full; systemctl reset-failed")?;
        nothing_new(machine, &before, &format!("a kill at system call {at} of {calls}"))?;
        if step % 4 == 0 {
            cycle(machine)?;
        }
    }
    cycle(machine)?;
    nothing_new(machine, &before, "the last start")
}

/// The only address of a network, and a published port, of a container whose cleanup never came to anything: the next
/// who wants them gets them, and from one that lives nobody does.
fn a_killed_cleanup_is_in_nobodys_way(machine: &Machine) -> Result<()> {
    let container = |name| {
        format!(
            "[Container]\nImage=localhost:5000/web\nContainerName={name}\nNetwork=tiny.network\n\
             PublishPort=8310:80\nEntrypoint=sh\n\
             Exec=-c 'trap \"exit 0\" INT; echo {name} >/tmp/index.html; httpd -f -p 80 -h /tmp & wait'\n"
        )
    };
    let (one, two, three) = (container("one"), container("two"), container("three"));
    let network = ("tiny.network", "[Network]\nSubnet=10.99.0.0/30\n");
    install(
        machine,
        &[network, ("one.container", &one), ("two.container", &two), ("three.container", &three)],
    )?;
    let answers = |name: &str| {
        machine.wait("its page", Duration::from_secs(20), |m| {
            Ok(fetch(m, "http://127.0.0.1:8310/").is_ok_and(|page| page.trim() == name))
        })
    };
    start(machine, "one")?;
    machine.ok(&["systemctl", "stop", "one"])?;
    let before = Inventory::take(machine)?;
    start(machine, "one")?;
    answers("one")?;
    machine.write("/run/systemd/system/one.service.d/killed.conf", "[Service]\nExecStopPost=\n")?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    machine.shell("systemctl kill -s KILL one")?;
    machine.wait("the unit ends", Duration::from_secs(10), |m| {
        Ok(["failed", "inactive"].contains(&m.property("one", "ActiveState")?.as_str()))
    })?;
    let leases = machine.shell("cat /run/sampan/network/leases/*.json")?;
    ensure!(leases.contains("\"one\""), "the lease stays: {leases}");
    start(machine, "two")?;
    answers("two")?;
    let leases = machine.shell("cat /run/sampan/network/leases/*.json")?;
    ensure!(!leases.contains("\"one\""), "given back: {leases}");
    ensure!(start(machine, "three").is_err(), "two has the only address");
    answers("two")?;
    machine.shell("rm -r /run/systemd/system/one.service.d; systemctl daemon-reload")?;
    // Its own next start takes nothing away from the second either.
    ensure!(start(machine, "one").is_err(), "two has the only address");
    answers("two")?;
    machine.ok(&["systemctl", "stop", "two"])?;
    start(machine, "one")?;
    answers("one")?;
    machine.shell("systemctl stop one; systemctl reset-failed")?;
    nothing_new(machine, &before, "a killed cleanup")
}

fn unit_killed_at_any_time(machine: &Machine) -> Result<()> {
    prepare(machine)?;
    let before = Inventory::take(machine)?;
    for delay in 0..25 {
        machine.shell(&format!(
            "systemctl start --no-block full; sleep 0.{:03}; systemctl kill -s KILL full || :; \
             while [ $(systemctl show -P SubState full) = start ]; do sleep 0.01; done; \
             systemctl stop full; systemctl reset-failed",
            delay * 4
        ))?;
        nothing_new(machine, &before, &format!("a kill after {} ms", delay * 4))?;
    }
    cycle(machine)
}

fn shutdown_stops_containers_in_order(machine: &Machine) -> Result<()> {
    // What ran when the machine went down must not keep it from going down.
    prepare(machine)?;
    start(machine, "full")?;
    let begun = std::time::Instant::now();
    machine
        .ok(&["systemctl", "isolate", "rescue.target"])
        .or_else(|_| machine.ok(&["systemctl", "stop", "full"]))?;
    machine.wait("the container stops", Duration::from_secs(60), |m| {
        Ok(m.property("full", "ActiveState")? == "inactive")
    })?;
    ensure!(begun.elapsed() < Duration::from_secs(60), "it took {:?}", begun.elapsed());
    Ok(())
}
