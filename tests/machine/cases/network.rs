//! Networks, addresses, names and published ports.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, Shared, busybox, fetch, install, shared, start, uninstall};

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("network::{name}"), case);
    vec![
        test("published_on_one_address_only", published_on_one_address_only),
        test("a_range_of_ports_is_published", a_range_of_ports_is_published),
        test("udp_is_published", udp_is_published),
        test("host_port_is_chosen_if_none_is_named", host_port_is_chosen),
        test("client_address_is_preserved", client_address_is_preserved),
        test("host_network_is_the_hosts", host_network_is_the_hosts),
        test("no_network_has_loopback_only", no_network_has_loopback_only),
        test("default_bridge_reaches_the_host", default_bridge_reaches_the_host),
        test("names_resolve_within_a_network_only", names_resolve_within_a_network_only),
        test("two_networks_two_interfaces", two_networks_two_interfaces),
        test("fixed_address_is_given", fixed_address_is_given),
        test("aliases_resolve", aliases_resolve),
        test("internal_network_has_no_way_out", internal_network_has_no_way_out),
        test("macvlan_container_is_on_the_hosts_link", macvlan_container_is_on_the_hosts_link),
        test("a_parent_that_is_missing_is_told", a_parent_that_is_missing_is_told),
        test("an_option_of_another_driver_is_told_with_its_line", an_option_of_another_driver_is_told),
    ]
}

const READY: Duration = Duration::from_secs(10);

/// A container unit with the page of `nc`-like small servers; `more` are lines of `[Container]`.
fn web(machine: &Machine, name: &str, more: &str) -> Result<()> {
    let text = format!("[Container]\nImage=localhost:5000/web\nContainerName={name}\n{more}\n");
    install(machine, &[(&format!("{name}.container"), &text)])?;
    start(machine, name)
}

fn done(machine: &Machine, names: &[&str]) -> Result<()> {
    for name in names {
        machine.ok(&["systemctl", "stop", name])?;
        uninstall(machine, &[&format!("{name}.container")])?;
    }
    Ok(())
}

fn exec(machine: &Machine, name: &str, command: &str) -> Result<String> {
    machine.ok(&["sampan", "exec", name, "sh", "-c", command])
}

fn answers(machine: &Machine, url: &str) -> Result<()> {
    machine.wait(&format!("{url} answers"), READY, |m| {
        Ok(fetch(m, url).is_ok_and(|page| page.contains("It floats")))
    })
}

/// The first address of a container on a network.
fn address(machine: &Machine, name: &str) -> Result<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(machine.ok(&["sampan", "inspect", "--format", format, name])?.trim().to_owned())
}

fn published_on_one_address_only(machine: &Machine) -> Result<()> {
    machine.shell(
        "ip link add other0 type bridge; ip addr add 192.0.2.1/24 dev other0; ip link set other0 up",
    )?;
    web(machine, "one", "PublishPort=192.0.2.1:8090:80")?;
    answers(machine, "http://192.0.2.1:8090/")?;
    ensure!(fetch(machine, "http://127.0.0.1:8090/").is_err(), "another address answers too");
    machine.ok(&["ip", "link", "del", "other0"])?;
    done(machine, &["one"])
}

fn a_range_of_ports_is_published(machine: &Machine) -> Result<()> {
    let text = format!(
        "[Container]\nImage={BUSYBOX}\nPublishPort=8100-8102:7000-7002\n\
         Exec=sh -c 'for p in 7000 7001 7002; do (while :; do echo $p | nc -l -p $p; done) & done; wait'\n"
    );
    // `$` is systemd's in Exec=.
    install(machine, &[("range.container", &text.replace('$', "$$"))])?;
    start(machine, "range")?;
    for (host, inside) in [(8100, "7000"), (8101, "7001"), (8102, "7002")] {
        let script = format!("busybox nc -w 2 127.0.0.1 {host} </dev/null");
        machine.wait(&format!("port {host} answers"), READY, |m| {
            Ok(m.run(&["sh", "-c", &script])?.stdout.trim() == inside)
        })?;
    }
    done(machine, &["range"])
}

/// Answers each datagram on port 9000.
const UDP_SERVER: &str = r#"use IO::Socket::INET;
my $socket = IO::Socket::INET->new(LocalPort => 9000, Proto => "udp") or die;
while ($socket->recv(my $datagram, 100)) { $socket->send("got $datagram") }
"#;

/// Asks port 9001 of the loopback, waits a second for the answer.
const UDP_CLIENT: &str = r#"use IO::Socket::INET;
my $socket = IO::Socket::INET->new(PeerAddr => "127.0.0.1:9001", Proto => "udp") or die;
$socket->send("datagram"); alarm 1; $socket->recv(my $answer, 100); print $answer;
"#;

fn udp_is_published(machine: &Machine) -> Result<()> {
    machine.write("/srv/udp/server.pl", UDP_SERVER)?;
    machine.write("/srv/udp/client.pl", UDP_CLIENT)?;
    let text = "[Container]\nImage=localhost:5000/debian\nVolume=/srv/udp:/srv/udp\n\
                Exec=perl /srv/udp/server.pl\nPublishPort=9001:9000/udp\n";
    install(machine, &[("udp.container", text)])?;
    start(machine, "udp")?;
    machine.wait("the datagram is answered", READY, |m| {
        Ok(m.run(&["perl", "/srv/udp/client.pl"])?.stdout == "got datagram")
    })?;
    done(machine, &["udp"])
}

fn host_port_is_chosen(machine: &Machine) -> Result<()> {
    web(machine, "chosen", "PublishPort=80")?;
    let format = "{{(index (index .NetworkSettings.Ports \"80/tcp\") 0).HostPort}}";
    let port = machine.ok(&["sampan", "inspect", "--format", format, "chosen"])?;
    let port: u16 = port.trim().parse()?;
    ensure!(port >= 1024, "port {port}");
    answers(machine, &format!("http://127.0.0.1:{port}/"))?;
    done(machine, &["chosen"])
}

fn client_address_is_preserved(machine: &Machine) -> Result<()> {
    // A client in a network of its own, as if on another host.
    machine.shell(
        "ip netns add far; ip link add near0 type veth peer name far0 netns far; \
         ip addr add 198.51.100.1/24 dev near0; ip link set near0 up; \
         ip -n far addr add 198.51.100.9/24 dev far0; ip -n far link set far0 up; ip -n far link set lo up; \
         ip -n far route add default via 198.51.100.1",
    )?;
    let text = "[Container]\nImage=localhost:5000/nginx\nContainerName=seen\nPublishPort=8110:80\n";
    install(machine, &[("seen.container", text)])?;
    start(machine, "seen")?;
    let ask =
        ["ip", "netns", "exec", "far", "curl", "-s", "--max-time", "3", "http://198.51.100.1:8110/address"];
    machine.wait("the far client gets an answer", READY, |m| Ok(m.run(&ask)?.success()))?;
    let seen = machine.ok(&ask)?;
    ensure!(seen.trim() == "198.51.100.9", "the server saw {seen}");
    machine.shell("ip netns del far; ip link del near0 2>/dev/null || :")?;
    done(machine, &["seen"])
}

fn host_network_is_the_hosts(machine: &Machine) -> Result<()> {
    busybox(machine, "onhost", "httpd -f -p 8120 -h /bin", "Network=host")?;
    start(machine, "onhost")?;
    let pid = machine.main_pid("onhost")?;
    let same = machine.shell(&format!("readlink /proc/1/ns/net /proc/{pid}/ns/net | uniq | wc -l"))?;
    ensure!(same.trim() == "1", "it has a network namespace of its own");
    done(machine, &["onhost"])
}

fn no_network_has_loopback_only(machine: &Machine) -> Result<()> {
    busybox(machine, "alone", "sleep 1000", "Network=none\nContainerName=alone")?;
    start(machine, "alone")?;
    let links = exec(machine, "alone", "ls /sys/class/net; ip addr show lo")?;
    ensure!(links.starts_with("lo\n1:") && links.contains("127.0.0.1"), "its links: {links}");
    done(machine, &["alone"])
}

fn default_bridge_reaches_the_host(machine: &Machine) -> Result<()> {
    busybox(machine, "plain", "sleep 1000", "ContainerName=plain")?;
    start(machine, "plain")?;
    let own = address(machine, "plain")?;
    ensure!(own.parse::<std::net::Ipv4Addr>().is_ok(), "its address: {own:?}");
    ensure!(exec(machine, "plain", "ip -4 addr show")?.contains(&own), "the address is not inside");
    machine
        .ok(&["ping", "-c1", "-W2", &own])
        .or_else(|_| machine.ok(&["busybox", "ping", "-c1", "-W2", &own]))?;
    done(machine, &["plain"])
}

fn names_resolve_within_a_network_only(machine: &Machine) -> Result<()> {
    install(machine, &[("in.network", "[Network]\n"), ("out.network", "[Network]\n")])?;
    web(machine, "named", "Network=in.network")?;
    web(machine, "friend", "Network=in.network")?;
    web(machine, "stranger", "Network=out.network")?;
    let page = exec(machine, "friend", "timeout 5 wget -q -O- http://named/")?;
    ensure!(page.contains("It floats"), "by name: {page}");
    let own = address(machine, "named")?;
    ensure!(exec(machine, "friend", "nslookup named")?.contains(&own), "another address");
    ensure!(
        exec(machine, "stranger", "timeout 5 wget -q -O- http://named/").is_err(),
        "a stranger resolves it"
    );
    done(machine, &["named", "friend", "stranger"])
}

fn two_networks_two_interfaces(machine: &Machine) -> Result<()> {
    install(machine, &[("left.network", "[Network]\n"), ("right.network", "[Network]\n")])?;
    web(machine, "both", "Network=left.network\nNetwork=right.network")?;
    let links = exec(machine, "both", "ls /sys/class/net")?;
    ensure!(links.split_whitespace().collect::<Vec<_>>() == ["eth0", "eth1", "lo"], "its links: {links}");
    web(machine, "onleft", "Network=left.network")?;
    web(machine, "onright", "Network=right.network")?;
    for name in ["onleft", "onright"] {
        ensure!(
            exec(machine, name, "timeout 5 wget -q -O- http://both/")?.contains("It floats"),
            "from {name}"
        );
    }
    done(machine, &["both", "onleft", "onright"])
}

fn fixed_address_is_given(machine: &Machine) -> Result<()> {
    install(machine, &[("fixed.network", "[Network]\nSubnet=10.123.0.0/24\nGateway=10.123.0.1\n")])?;
    web(machine, "fixed", "Network=fixed.network\nIP=10.123.0.77")?;
    ensure!(address(machine, "fixed")? == "10.123.0.77", "another address");
    answers(machine, "http://10.123.0.77/")?;
    done(machine, &["fixed"])
}

fn aliases_resolve(machine: &Machine) -> Result<()> {
    install(machine, &[("alias.network", "[Network]\n")])?;
    web(machine, "aliased", "Network=alias.network\nNetworkAlias=other-name")?;
    web(machine, "asker", "Network=alias.network")?;
    ensure!(
        exec(machine, "asker", "timeout 5 wget -q -O- http://other-name/")?.contains("It floats"),
        "by alias"
    );
    done(machine, &["aliased", "asker"])
}

fn internal_network_has_no_way_out(machine: &Machine) -> Result<()> {
    install(machine, &[("inner.network", "[Network]\nInternal=true\n")])?;
    web(machine, "inner", "Network=inner.network")?;
    let routes = exec(machine, "inner", "ip route")?;
    ensure!(!routes.contains("default"), "its routes: {routes}");
    done(machine, &["inner"])
}

/// A link whose other end stands for other machines.
fn macvlan_container_is_on_the_hosts_link(machine: &Machine) -> Result<()> {
    machine.shell(
        "ip link add uplink type veth peer name beyond; ip link set uplink up; ip link set beyond up; \
         ip addr add 198.51.100.9/24 dev beyond",
    )?;
    let network = "[Network]\nDriver=macvlan\nInterfaceName=uplink\nSubnet=198.51.100.0/24\n\
                   Gateway=198.51.100.9\nIPRange=198.51.100.32/28\nOptions=mode=bridge\n";
    install(machine, &[("link.network", network)])?;
    web(machine, "onlink", "Network=link.network:ip=198.51.100.40\nPublishPort=8099:80")?;
    answers(machine, "http://198.51.100.40/")?;
    ensure!(address(machine, "onlink")? == "198.51.100.40");
    let route = exec(machine, "onlink", "ip route show default")?;
    ensure!(route.contains("198.51.100.9"), "{route}");
    let journal = machine.journal("onlink")?;
    ensure!(journal.contains("publishes ports") && journal.contains("own address"), "{journal}");
    let shown = machine.ok(&["sampan", "network", "inspect", "systemd-link"])?;
    for part in ["\"driver\": \"macvlan\"", "\"network_interface\": \"uplink\"", "198.51.100.40/24"] {
        ensure!(shown.contains(part), "no {part} in {shown}");
    }
    // After a kill of the container nothing of it is on the link, and the next start has its address.
    machine.ok(&["systemctl", "kill", "-s", "KILL", "onlink"])?;
    machine.wait("it has ended", READY, |m| Ok(m.property("onlink", "ActiveState")? != "active"))?;
    ensure!(fetch(machine, "http://198.51.100.40/").is_err(), "it still answers");
    let links = machine.ok(&["ip", "-br", "link", "show", "type", "macvlan"])?;
    ensure!(links.trim().is_empty(), "{links}");
    machine.run(&["systemctl", "reset-failed", "onlink"])?;
    start(machine, "onlink")?;
    answers(machine, "http://198.51.100.40/")?;
    done(machine, &["onlink"])?;
    machine.ok(&["systemctl", "stop", "link-network"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-link"])?;
    uninstall(machine, &["link.network"])?;
    machine.ok(&["ip", "link", "del", "uplink"]).map(drop)
}

/// What `systemctl status` says of a network that can't be made.
fn refusal(machine: &Machine, text: &str) -> Result<String> {
    install(machine, &[("wrong.network", text)])?;
    ensure!(!machine.run(&["systemctl", "start", "wrong-network"])?.success(), "it was made: {text}");
    machine.ok(&["journalctl", "--sync"])?;
    let status = machine.run(&["systemctl", "status", "--full", "--lines=20", "wrong-network"])?.text();
    machine.run(&["systemctl", "reset-failed", "wrong-network"])?;
    uninstall(machine, &["wrong.network"])?;
    Ok(status)
}

fn a_parent_that_is_missing_is_told(machine: &Machine) -> Result<()> {
    let status =
        refusal(machine, "[Network]\nDriver=macvlan\nInterfaceName=eth77\nSubnet=198.51.100.0/24\n")?;
    for part in ["wrong.network:3:15", "no parent interface eth77", "there are: "] {
        ensure!(status.contains(part), "no {part:?} in {status}");
    }
    Ok(())
}

fn an_option_of_another_driver_is_told(machine: &Machine) -> Result<()> {
    let status = refusal(machine, "[Network]\nDriver=macvlan\nSubnet=198.51.100.0/24\nOptions=vlan=7\n")?;
    for part in ["wrong.network:4:9", "option of bridge", "macvlan knows mtu"] {
        ensure!(status.contains(part), "no {part:?} in {status}");
    }
    Ok(())
}
