//! The firewall of container networks beside the host's own: firewalld, and plain nftables.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{busybox, fetch, install, networking_machine, sampan_json, start, test, test_in};

pub fn tests() -> Vec<Trial> {
    let beside_firewalld = |name: &str, case| test_in(networking_machine, &format!("firewall::{name}"), case);
    vec![
        beside_firewalld("firewalld_lets_containers_pass", firewalld_lets_containers_pass),
        beside_firewalld("firewalld_gets_to_know_other_bridges", firewalld_gets_to_know_other_bridges),
        test("firewall::nftables_gives_the_table_back", nftables_gives_the_table_back),
        test("firewall::a_flushed_ruleset_is_reloaded", a_flushed_ruleset_is_reloaded),
        beside_firewalld("doctor_names_what_is_in_the_way", doctor_names_what_is_in_the_way),
    ]
}

const READY: Duration = Duration::from_secs(10);

/// A machine elsewhere, whose way to the containers leads by the host; it serves on port 7.
fn far(machine: &Machine) -> Result<()> {
    machine.shell(
        "ip netns add far; ip link add near0 type veth peer name far0 netns far; \
         ip addr add 198.51.100.1/24 dev near0; ip link set near0 up; \
         ip -n far addr add 198.51.100.9/24 dev far0; ip -n far link set far0 up; ip -n far link set lo up; \
         ip -n far route add default via 198.51.100.1; echo afar >/run/far.html; \
         systemd-run --quiet -p NetworkNamespacePath=/run/netns/far busybox httpd -f -p 7 -h /run",
    )?;
    machine.wait("the far machine serves", READY, |m| {
        Ok(m.run(&["ip", "netns", "exec", "far", "curl", "-sf", "http://198.51.100.9:7/far.html"])?.success())
    })
}

/// What a client elsewhere gets from a port of the host.
fn from_afar(machine: &Machine, port: u16) -> Result<String> {
    let url = format!("http://198.51.100.1:{port}/index.html");
    machine.ok(&["ip", "netns", "exec", "far", "curl", "-sS", "--fail", "--max-time", "3", &url])
}

fn inside(machine: &Machine, name: &str, command: &str) -> Result<String> {
    machine.ok(&["sampan", "exec", name, "sh", "-c", command])
}

/// A container `NAME` that serves its own name, published on `port`; `more` are lines of
/// `[Container]`.
fn web(machine: &Machine, name: &str, port: u16, more: &str) -> Result<()> {
    let exec = format!("sh -c 'mkdir -p /www; echo {name} >/www/index.html; exec httpd -f -p 80 -h /www'");
    busybox(machine, name, &exec, &format!("ContainerName={name}\nPublishPort={port}:80\n{more}"))?;
    start(machine, name)
}

/// The whole way, both directions: a published port, the way out, and names.
fn all_is_well(machine: &Machine, when: &str) -> Result<()> {
    for (name, port) in [("one", 8110), ("two", 8111)] {
        let seen = from_afar(machine, port)?;
        ensure!(seen.trim() == name, "{when}: port {port} has {seen:?}");
        let local = fetch(machine, &format!("http://127.0.0.1:{port}/index.html"))?;
        ensure!(local.trim() == name, "{when}: the host finds {local:?} at port {port}");
        let out = inside(machine, name, "timeout 5 wget -q -O- http://198.51.100.9:7/far.html")?;
        ensure!(out.trim() == "afar", "{when}: {name} has no way out: {out:?}");
    }
    // By name, and across networks by address of the host.
    let named = inside(machine, "one", "timeout 5 wget -q -O- http://one-alias/index.html")?;
    ensure!(named.trim() == "one", "{when}: by name: {named:?}");
    let across = inside(machine, "one", "timeout 5 wget -q -O- http://198.51.100.1:8111/index.html")?;
    ensure!(across.trim() == "two", "{when}: across networks: {across:?}");
    Ok(())
}

/// Two containers in two networks; the first can be found by name.
fn two_containers(machine: &Machine, second_network: &str) -> Result<()> {
    far(machine)?;
    install(machine, &[("a.network", "[Network]\n"), ("b.network", second_network)])?;
    web(machine, "one", 8110, "Network=a.network\nNetworkAlias=one-alias")?;
    web(machine, "two", 8111, "Network=b.network")
}

fn start_firewalld(machine: &Machine) -> Result<()> {
    machine.ok(&["systemctl", "unmask", "firewalld"])?;
    machine.ok(&["systemctl", "start", "firewalld"])?;
    firewalld_runs(machine)
}

fn firewalld_runs(machine: &Machine) -> Result<()> {
    machine.wait("firewalld runs", Duration::from_secs(30), |m| {
        Ok(m.run(&["firewall-cmd", "--state"])?.success())
    })
}

const FIREWALLD: [&[&str]; 3] = [
    &["firewall-cmd", "--reload"],
    &["firewall-cmd", "--complete-reload"],
    &["systemctl", "restart", "firewalld"],
];

fn firewalld_lets_containers_pass(machine: &Machine) -> Result<()> {
    two_containers(machine, "[Network]\n")?;
    all_is_well(machine, "without firewalld")?;
    start_firewalld(machine)?;
    all_is_well(machine, "with firewalld started after the containers")?;
    for command in FIREWALLD {
        machine.ok(command)?;
        firewalld_runs(machine)?;
        all_is_well(machine, &format!("after {}", command.join(" ")))?;
    }
    // A container that starts beside it, and the proof that there is something to survive.
    machine.ok(&["systemctl", "restart", "one"])?;
    all_is_well(machine, "after a restart of a container")?;
    machine.ok(&["firewall-cmd", "--zone=sampan", "--remove-interface=sampan+"])?;
    let blocked = inside(machine, "one", "timeout 3 wget -q -O- http://198.51.100.9:7/far.html");
    ensure!(blocked.is_err(), "firewalld filters nothing");
    Ok(())
}

fn firewalld_gets_to_know_other_bridges(machine: &Machine) -> Result<()> {
    start_firewalld(machine)?;
    two_containers(machine, "[Network]\nInterfaceName=web0\n")?;
    all_is_well(machine, "on a bridge of another name")?;
    for command in FIREWALLD {
        machine.ok(command)?;
        firewalld_runs(machine)?;
        all_is_well(machine, &format!("after {}", command.join(" ")))?;
    }
    machine.ok(&["systemctl", "stop", "two"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-b"])?;
    for permanent in ["--zone=sampan", "--permanent"] {
        let interfaces = machine.ok(&["firewall-cmd", permanent, "--zone=sampan", "--list-interfaces"])?;
        ensure!(interfaces.trim() == "sampan+", "{permanent}: {interfaces}");
    }
    // One that was made while firewalld didn't run, and one that belongs to the administrator.
    machine.ok(&["systemctl", "stop", "firewalld"])?;
    machine.ok(&["sampan", "network", "create", "--interface-name", "late0", "late"])?;
    machine.ok(&["systemctl", "start", "firewalld"])?;
    machine.wait("the zone has the bridge that was made before", READY, |m| {
        Ok(m.run(&["firewall-cmd", "--get-zone-of-interface=late0"])?.stdout.trim() == "sampan")
    })?;
    machine.ok(&["firewall-cmd", "--zone=dmz", "--add-interface=mine0"])?;
    machine.ok(&["sampan", "network", "create", "--interface-name", "mine0", "mine"])?;
    let zone = machine.ok(&["firewall-cmd", "--get-zone-of-interface=mine0"])?;
    ensure!(zone.trim() == "dmz", "the administrator's bridge was moved to {zone}");
    Ok(())
}

/// The rules of an administrator, as distributions ship the file.
const RULES: &str = "flush ruleset\ntable inet mine {\n\tchain input {\n\t\ttype filter hook input priority 0; \
                     policy accept;\n\t}\n}\n";

fn nftables_gives_the_table_back(machine: &Machine) -> Result<()> {
    two_containers(machine, "[Network]\n")?;
    machine.write("/etc/nftables.conf", &format!("#!/usr/sbin/nft -f\n{RULES}"))?;
    // Each of them flushes the ruleset.
    for verb in ["start", "restart", "reload", "stop", "start", "stop"] {
        machine.ok(&["systemctl", verb, "nftables"])?;
        let rules = machine.ok(&["nft", "list", "tables"])?;
        ensure!(rules.contains("table inet mine") == (verb != "stop"), "{verb}: {rules}");
        machine.wait(&format!("the table is back after {verb}"), READY, |m| {
            Ok(m.ok(&["nft", "list", "tables"])?.contains("table inet sampan"))
        })?;
        all_is_well(machine, &format!("after systemctl {verb} nftables"))?;
    }
    Ok(())
}

fn a_flushed_ruleset_is_reloaded(machine: &Machine) -> Result<()> {
    two_containers(machine, "[Network]\n")?;
    machine.ok(&["nft", "flush", "ruleset"])?;
    ensure!(from_afar(machine, 8110).is_err(), "the ports are published by other means");
    let ids = machine.ok(&["sampan", "network", "reload", "--all"])?;
    ensure!(ids.lines().count() == 2, "it reloaded {ids:?}");
    all_is_well(machine, "after network reload --all")?;
    machine.ok(&["nft", "flush", "ruleset"])?;
    let id = machine.ok(&["sampan", "network", "reload", "two"])?;
    ensure!(id.trim().len() == 64, "it reloaded {id:?}");
    all_is_well(machine, "after network reload of one container")?;
    let unknown = machine.run(&["sampan", "network", "reload", "nobody"])?;
    ensure!(unknown.code == Some(125) && unknown.text().contains("nobody"), "{}", unknown.text());
    let nothing = machine.run(&["sampan", "network", "reload"])?;
    ensure!(!nothing.success() && nothing.text().contains("--all"), "{}", nothing.text());
    Ok(())
}

/// What the doctor says about one rule: its subject, reason and help.
fn diagnosis(machine: &Machine, rule: &str) -> Result<String> {
    let run = machine.run(&["sampan", "doctor", "--format", "json"])?;
    let all: serde_json::Value = serde_json::from_str(&run.stdout)?;
    let found = all.as_array().into_iter().flatten().find(|finding| finding["rule"] == rule);
    let Some(finding) = found else { return Ok(String::new()) };
    let is_error = finding["severity"] == "error";
    ensure!(!is_error || run.code == Some(1), "an error, and exit status {:?}", run.code);
    Ok(format!("{} {} {}", finding["subject"], finding["reason"], finding["help"]))
}

/// Makes the host ill, asks, does what the doctor says where that is a command, and asks again.
fn doctor_names_what_is_in_the_way(machine: &Machine) -> Result<()> {
    let well = |when: &str| -> Result<()> {
        let run = machine.run(&["sampan", "doctor"])?;
        ensure!(run.success(), "{when}: {}", run.text());
        Ok(())
    };
    well("a new host")?;
    two_containers(machine, "[Network]\n")?;
    well("with containers")?;

    // As Docker does it.
    machine.shell("iptables -P FORWARD DROP; iptables -N DOCKER-USER; iptables -A FORWARD -j DOCKER-USER")?;
    let said = diagnosis(machine, "foreign-forward")?;
    ensure!(said.contains("chain FORWARD of table ip filter") && said.contains("sampan1, sampan2"), "{said}");
    ensure!(from_afar(machine, 8110).is_err(), "the chain drops nothing");
    for rule in
        ["iptables -I DOCKER-USER -i sampan+ -j ACCEPT", "iptables -I DOCKER-USER -o sampan+ -j ACCEPT"]
    {
        ensure!(said.contains(rule), "no advice: {said}");
        machine.shell(rule)?;
    }
    well("after Docker's chain was told")?;
    all_is_well(machine, "after Docker's chain was told")?;
    // As RHEL's iptables-services does it.
    machine.shell("iptables -P FORWARD ACCEPT; iptables -F FORWARD; iptables -A FORWARD -j REJECT")?;
    let said = diagnosis(machine, "foreign-forward")?;
    ensure!(said.contains("chain FORWARD of table ip filter"), "{said}");
    machine.shell("iptables -F FORWARD")?;
    // In a table of the administrator's own.
    machine.shell("nft 'add table inet mine; add chain inet mine transit { type filter hook forward priority 0; policy drop; }'")?;
    let said = diagnosis(machine, "foreign-forward")?;
    ensure!(said.contains("chain transit of table inet mine"), "{said}");
    let told = machine.run(&["sampan", "doctor"])?.text();
    for command in told.lines().map(str::trim).filter(|line| line.starts_with("nft insert rule")) {
        machine.shell(command)?;
    }
    well("after the administrator's chain was told")?;
    all_is_well(machine, "after the administrator's chain was told")?;
    machine.shell("nft delete table inet mine")?;

    machine.ok(&["nft", "delete", "element", "inet", "sampan", "published4", "{ tcp . 8110 }"])?;
    let said = diagnosis(machine, "table-incomplete")?;
    ensure!(said.contains("tcp . 8110") && said.contains("published4"), "{said}");
    machine.ok(&["nft", "delete", "table", "inet", "sampan"])?;
    ensure!(!diagnosis(machine, "table-missing")?.is_empty(), "a missing table");
    machine.shell("echo 0 >/proc/sys/net/ipv4/ip_forward")?;
    ensure!(!diagnosis(machine, "no-forwarding")?.is_empty(), "no forwarding");
    machine.ok(&["sampan", "network", "reload", "--all"])?;
    well("after a reload")?;

    // The firewall has the port, no socket: nothing hinders another program.
    machine.ok(&["systemd-run", "--unit=rival", "python3", "-m", "http.server", "8110"])?;
    machine.wait("a listener beside the container", Duration::from_secs(20), |machine| {
        Ok(!diagnosis(machine, "port-shadowed")?.is_empty())
    })?;
    let said = diagnosis(machine, "port-shadowed")?;
    ensure!(said.contains("8110/tcp") && said.contains("rival.service") && said.contains("one"), "{said}");
    machine.ok(&["systemctl", "stop", "rival"])?;
    well("without the rival")?;

    machine.ok(&["systemctl", "stop", "sampan-dns"])?;
    ensure!(!diagnosis(machine, "name-server-down")?.is_empty(), "no name server");
    machine.ok(&["systemctl", "restart", "one"])?;
    well("after a start")?;
    machine.shell("ip link add sampan77 type bridge; ip route add 10.84.0.128/25 dev near0")?;
    ensure!(diagnosis(machine, "stray-bridge")?.contains("sampan77"), "a stray bridge");
    ensure!(diagnosis(machine, "subnet-overlaps-route")?.contains("10.84.0.128/25"), "an overlap");
    machine.shell("ip link del sampan77; ip route del 10.84.0.128/25 dev near0")?;

    start_firewalld(machine)?;
    well("beside firewalld")?;
    machine.ok(&["firewall-cmd", "--zone=sampan", "--remove-interface=sampan+"])?;
    ensure!(!diagnosis(machine, "firewalld-unknown-bridge")?.is_empty(), "a bridge in no zone");
    machine.ok(&["firewall-cmd", "--reload"])?;
    machine.shell("echo StrictForwardPorts=yes >>/etc/firewalld/firewalld.conf")?;
    let said = diagnosis(machine, "firewalld-strict-ports")?;
    ensure!(said.contains("one, two"), "{said}");
    ensure!(sampan_json(machine, &["network", "inspect", "systemd-a"])?.is_array(), "inspect is JSON");
    let told = machine.ok(&["sampan", "network", "inspect", "--explain", "systemd-a"])?;
    ensure!(told.contains("port 8110/tcp on every address of the host leads to 10.84.0."), "{told}");
    Ok(())
}
