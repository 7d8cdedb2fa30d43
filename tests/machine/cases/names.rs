//! Names: the name server's life, the host's own questions, `/etc/hosts` and `/etc/resolv.conf`.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, busybox, install, networking_machine, shared, start, test_in, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("names::{name}"), case);
    vec![
        test_in(networking_machine, "names::the_host_resolves_names_if_asked", the_host_resolves_names),
        test("a_killed_name_server_comes_back", a_killed_name_server_comes_back),
        test("hosts_and_resolv_conf_say_what_is_asked", hosts_and_resolv_conf),
        test("the_configuration_holds_for_all", the_configuration_holds_for_all),
    ]
}

const READY: Duration = Duration::from_secs(10);
const SLEEP: &str = "sleep infinity";

fn inside(machine: &Machine, name: &str, command: &str) -> Result<String> {
    machine.ok(&["sampan", "exec", &format!("systemd-{name}"), "sh", "-c", command])
}

fn address(machine: &Machine, name: &str) -> Result<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let name = format!("systemd-{name}");
    Ok(machine.ok(&["sampan", "inspect", "--format", format, &name])?.trim().to_owned())
}

fn done(machine: &Machine, names: &[&str]) -> Result<()> {
    for name in names {
        machine.ok(&["systemctl", "stop", name])?;
        uninstall(machine, &[&format!("{name}.container")])?;
    }
    Ok(())
}

fn the_host_resolves_names(machine: &Machine) -> Result<()> {
    machine.write("/etc/sampan/sampan.toml", "[network]\nhost_names = true\n")?;
    machine.shell("systemctl unmask systemd-resolved && systemctl start systemd-resolved")?;
    install(machine, &[("app.network", "[Network]\n"), ("other.network", "[Network]\n")])?;
    busybox(machine, "one", SLEEP, "Network=app.network\nNetworkAlias=api")?;
    busybox(machine, "two", SLEEP, "Network=other.network")?;
    start(machine, "one")?;
    start(machine, "two")?;
    // At once, on whichever network.
    for (name, container) in [("systemd-one", "one"), ("api", "one"), ("systemd-two", "two")] {
        let answer = machine.ok(&["resolvectl", "query", &format!("{name}.dns.sampan")])?;
        let address = address(machine, container)?;
        ensure!(answer.contains(&address), "{name} is {address}, not {answer}");
    }
    // The domain is for our names alone.
    let status = machine.ok(&["resolvectl", "status"])?;
    ensure!(status.contains("~dns.sampan") && status.contains("-DefaultRoute"), "{status}");
    machine.ok(&["systemctl", "restart", "systemd-resolved"])?;
    machine.ok(&["resolvectl", "query", "systemd-one.dns.sampan"])?;
    done(machine, &["two"])?;
    let gone = machine.run(&["resolvectl", "query", "systemd-two.dns.sampan"])?;
    ensure!(!gone.success(), "it is still known: {}", gone.text());
    // Without resolved a start is none the worse, and says what is missing.
    machine.shell("systemctl stop systemd-resolved && systemctl mask systemd-resolved")?;
    machine.ok(&["systemctl", "restart", "one"])?;
    let log = machine.journal("one")?;
    ensure!(log.contains("host_names") && log.contains("\"systemd-app\""), "{log}");
    done(machine, &["one"])
}

/// The name server's process.
fn server(machine: &Machine) -> Result<String> {
    Ok(machine.ok(&["systemctl", "show", "--value", "-p", "MainPID", "sampan-dns"])?.trim().to_owned())
}

fn a_killed_name_server_comes_back(machine: &Machine) -> Result<()> {
    install(machine, &[("app.network", "[Network]\n")])?;
    for name in ["one", "two"] {
        busybox(machine, name, SLEEP, "Network=app.network")?;
        start(machine, name)?;
    }
    let own = address(machine, "one")?;
    for signal in ["KILL", "TERM", "ABRT"] {
        let before = server(machine)?;
        machine.ok(&["kill", "-s", signal, &before])?;
        machine.wait("the name server is back", READY, |m| {
            let now = server(m)?;
            Ok(now != "0"
                && now != before
                && inside(m, "two", "nslookup systemd-one").is_ok_and(|a| a.contains(&own)))
        })?;
    }
    let status = machine.ok(&["systemctl", "status", "--no-pager", "sampan-dns"])?;
    ensure!(status.contains("Names of sampan's container networks"), "{status}");
    done(machine, &["one", "two"])?;
    machine.wait("the name server has ended", READY, |m| {
        Ok(!m.run(&["systemctl", "is-active", "--quiet", "sampan-dns"])?.success())
    })
}

fn hosts_and_resolv_conf(machine: &Machine) -> Result<()> {
    install(machine, &[("app.network", "[Network]\nSubnet=10.123.1.0/24\nIPv6=true\n")])?;
    busybox(
        machine,
        "asker",
        SLEEP,
        "Network=app.network\nHostName=front\nAddHost=db;database:10.9.9.9\nAddHost=six:fd00::9\n\
         AddHost=box:host-gateway\nDNS=192.0.2.53\nDNSSearch=example.org\nDNSOption=ndots:2",
    )?;
    busybox(machine, "alone", SLEEP, "Network=none\nDNS=none\nPodmanArgs=--no-hostname")?;
    busybox(machine, "onhost", SLEEP, "Network=host\nAddHost=box:host-gateway")?;
    for name in ["asker", "alone", "onhost"] {
        start(machine, name)?;
    }
    let hosts = inside(machine, "asker", "cat /etc/hosts")?;
    let own = address(machine, "asker")?;
    for line in [
        "10.9.9.9\tdb database",
        "fd00::9\tsix",
        "10.123.1.1\tbox",
        "127.0.0.1\tlocalhost",
        "10.123.1.1\thost.containers.internal host.docker.internal",
        &format!("{own}\tfront systemd-asker"),
    ] {
        ensure!(hosts.lines().any(|other| other.starts_with(line)), "{line:?} is missing in {hosts}");
    }
    let resolv = inside(machine, "asker", "cat /etc/resolv.conf")?;
    let lines: Vec<&str> = resolv.lines().collect();
    ensure!(lines[0] == "search dns.sampan example.org" && lines[1] == "nameserver 10.123.1.1", "{resolv}");
    ensure!(lines.last() == Some(&"options ndots:2") && !resolv.contains("192.0.2.53"), "{resolv}");
    ensure!(inside(machine, "asker", "hostname")?.trim() == "front", "its own name");
    // A name that the user chose is one for the neighbours.
    busybox(machine, "neighbour", SLEEP, "Network=app.network")?;
    start(machine, "neighbour")?;
    ensure!(inside(machine, "neighbour", "nslookup front")?.contains(&own), "by the host name");

    let hosts = inside(machine, "alone", "cat /etc/hosts")?;
    ensure!(hosts.contains("127.0.0.1\t") && hosts.contains(" systemd-alone"), "{hosts}");
    let mounts = inside(machine, "alone", "cat /proc/self/mountinfo")?;
    ensure!(!mounts.contains("/etc/resolv.conf") && !mounts.contains("/etc/hostname"), "{mounts}");
    let hosts = inside(machine, "onhost", "cat /etc/hosts")?;
    ensure!(hosts.contains("\tbox") && !hosts.contains("systemd-onhost"), "{hosts}");
    done(machine, &["asker", "alone", "onhost", "neighbour"])
}

fn the_configuration_holds_for_all(machine: &Machine) -> Result<()> {
    machine.write(
        "/etc/containers/containers.conf",
        "[containers]\nbase_hosts_file = \"image\"\nhost_containers_internal_ip = \"192.0.2.7\"\n\
         container_name_as_hostname = true\ndns_servers = [\"192.0.2.53\"]\ndns_searches = [\"example.net\"]\n\
         dns_options = [\"timeout:1\"]\n",
    )?;
    busybox(machine, "plain", SLEEP, "DNS=192.0.2.54\nAddHost=box:host-gateway")?;
    start(machine, "plain")?;
    let resolv = inside(machine, "plain", "cat /etc/resolv.conf")?;
    let wanted = "search example.net\nnameserver 192.0.2.53\nnameserver 192.0.2.54\noptions timeout:1\n";
    ensure!(resolv == wanted, "{resolv}");
    let hosts = inside(machine, "plain", "cat /etc/hosts")?;
    ensure!(
        hosts.contains("192.0.2.7\tbox\n") && hosts.contains("192.0.2.7\thost.containers.internal"),
        "{hosts}"
    );
    ensure!(inside(machine, "plain", "hostname")?.trim() == "systemd-plain", "its name is its host name");
    machine.shell("rm /etc/containers/containers.conf")?;
    done(machine, &["plain"])
}
