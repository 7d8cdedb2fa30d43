//! NetworkManager beside us: what is ours it leaves alone.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{busybox, fetch, install, managed_machine, start, test_in};

pub fn tests() -> Vec<Trial> {
    vec![test_in(managed_machine, "network_manager::it_leaves_containers_alone", it_leaves_containers_alone)]
}

const READY: Duration = Duration::from_secs(20);

/// NetworkManager looks at an interface when udev has: without one it takes none. Of udev's rules only those about
/// networks, because the host's devices are to be seen here too.
fn start_udev(machine: &Machine) -> Result<()> {
    machine.shell(
        "systemctl stop NetworkManager; cd /usr/lib/udev/rules.d && ls | grep -v -e net -e nm- -e sampan | xargs rm; \
         systemctl unmask systemd-udevd; systemctl start systemd-udevd && \
         udevadm trigger --subsystem-match=net --action=add && udevadm settle --timeout=20 && \
         systemctl start NetworkManager",
    )?;
    Ok(())
}

/// The devices in a state, by NetworkManager's words.
fn devices(machine: &Machine, is_wanted: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let list = machine.ok(&["nmcli", "-g", "DEVICE,STATE", "device"])?;
    let rows = list.lines().filter_map(|line| line.split_once(':'));
    Ok(rows.filter(|(_, state)| is_wanted(state)).map(|(name, _)| name.to_owned()).collect())
}

fn it_leaves_containers_alone(machine: &Machine) -> Result<()> {
    start_udev(machine)?;
    install(machine, &[("a.network", "[Network]\n"), ("b.network", "[Network]\nInterfaceName=web0\n")])?;
    for (name, port) in [("a", 8120), ("b", 8121)] {
        let exec =
            format!("sh -c 'mkdir -p /www; echo {name} >/www/index.html; exec httpd -f -p 80 -h /www'");
        busybox(machine, name, &exec, &format!("Network={name}.network\nPublishPort={port}:80"))?;
        start(machine, name)?;
    }
    // What it takes an interest in, for comparison.
    machine.shell("ip link add eth7 type veth peer name eth8; ip link set eth7 up; ip link set eth8 up")?;
    let reachable = |when: &str| -> Result<()> {
        machine.wait(&format!("NetworkManager manages eth7 and not ours {when}"), READY, |m| {
            let managed = devices(m, |state| state != "unmanaged")?;
            let others = ["lo", "eth7", "eth8"];
            ensure!(
                managed.iter().all(|name| others.contains(&name.as_str())),
                "{when}: it manages {managed:?}"
            );
            Ok(managed.iter().any(|name| name == "eth7"))
        })?;
        let left_alone = devices(machine, |state| state == "unmanaged")?;
        for ours in ["sampan1", "web0"] {
            ensure!(left_alone.iter().any(|name| name == ours), "{when}: no {ours} in {left_alone:?}");
        }
        ensure!(left_alone.iter().filter(|name| name.starts_with("veth")).count() == 2, "{left_alone:?}");
        answers(machine, when)
    };
    reachable("at first")?;
    machine.ok(&["systemctl", "restart", "NetworkManager"])?;
    reachable("after a restart of it")?;
    machine.ok(&["nmcli", "networking", "off"])?;
    machine.wait("NetworkManager has let go of eth7", READY, |m| {
        Ok(devices(m, |state| state == "unmanaged")?.iter().any(|name| name == "eth7"))
    })?;
    answers(machine, "with networking off")?;
    machine.ok(&["nmcli", "networking", "on"])?;
    reachable("with networking on again")?;
    machine.ok(&["systemctl", "restart", "a"])?;
    reachable("after a restart of a container")?;
    let log = machine.ok(&["journalctl", "--no-pager", "-u", "NetworkManager"])?;
    let clients: Vec<&str> = log.lines().filter(|line| line.contains("dhcp4 (")).collect();
    ensure!(clients.iter().any(|line| line.contains("(eth7)")), "no DHCP client at all: {log}");
    for ours in ["(sampan", "(web0", "(veth"] {
        ensure!(!clients.iter().any(|line| line.contains(ours)), "a DHCP client: {clients:?}");
    }
    Ok(())
}

/// Both containers, by the host's ports and by their bridges.
fn answers(machine: &Machine, when: &str) -> Result<()> {
    for (name, port) in [("a", 8120), ("b", 8121)] {
        let page = fetch(machine, &format!("http://127.0.0.1:{port}/index.html"))?;
        ensure!(page.trim() == name, "{when}: {name} is {page:?}");
    }
    Ok(())
}
