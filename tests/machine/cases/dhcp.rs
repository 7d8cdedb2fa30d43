//! `IPAMDriver=dhcp`: containers that are machines of a network with a DHCP server.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{BUSYBOX, busybox, install, networking_machine, sampan_json, start, test_in};

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| test_in(networking_machine, &format!("dhcp::{name}"), case);
    vec![
        test("a_container_has_its_address_from_the_server", a_container),
        test("so_has_a_pod", a_pod),
        test("without_a_server_the_status_says_so", without_a_server),
    ]
}

const SOON: Duration = Duration::from_secs(20);
const LAN: &str = "[Network]\nDriver=macvlan\nInterfaceName=lan\nIPAMDriver=dhcp\n";

/// The link to another machine, and on that one a DHCP server that wants to be asked again after four seconds.
fn lan(machine: &Machine) -> Result<()> {
    machine.shell(
        "ip netns add router && ip link add lan type veth peer name lan0 netns router && ip link set lan up && \
         ip -n router addr add 192.0.2.1/24 dev lan0 && ip -n router addr add 198.51.100.1/24 dev lan0 && \
         ip -n router link set lan0 up && ip -n router link set lo up",
    )?;
    serve(machine, "192.0.2", "one.example")
}

fn serve(machine: &Machine, net: &str, domain: &str) -> Result<()> {
    machine.shell(&format!(
        "systemctl stop lan-dhcp 2>&1 || true; rm -f /run/leases; systemd-run --quiet --collect --unit=lan-dhcp \
         ip netns exec router dnsmasq --keep-in-foreground --conf-file=/dev/null --port=0 --no-ping --user=root \
         --interface=lan0 --bind-interfaces --dhcp-authoritative --dhcp-leasefile=/run/leases --domain={domain} \
         --dhcp-range={net}.50,{net}.59,255.255.255.0,2m --dhcp-option=option:dns-server,{net}.2 \
         --dhcp-option=option:T1,4"
    ))?;
    machine.wait("the DHCP server runs", SOON, |m| {
        Ok(m.shell("ip netns exec router ss -Hlun sport = :67").is_ok_and(|text| text.contains(":67")))
    })
}

fn address(machine: &Machine) -> Result<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(machine.ok(&["sampan", "inspect", "--format", format, "systemd-web"])?.trim().to_owned())
}

fn inside(machine: &Machine, command: &str) -> Result<String> {
    machine.ok(&["sampan", "exec", "systemd-web", "sh", "-c", command])
}

fn timers(machine: &Machine) -> Result<String> {
    machine.ok(&["systemctl", "list-units", "--all", "--plain", "--no-legend", "*-dhcp-*.timer"])
}

fn knows(machine: &Machine, net: &str, domain: &str) -> Result<()> {
    let own = address(machine)?;
    ensure!(own.starts_with(&format!("{net}.5")), "address {own}");
    let shown = inside(machine, "ip addr show dev eth0; ip route")?;
    ensure!(shown.contains(&format!("inet {own}/24")), "{shown}");
    ensure!(shown.contains(&format!("default via {net}.1")), "{shown}");
    let names = inside(machine, "cat /etc/resolv.conf /etc/hosts")?;
    ensure!(names.contains(&format!("search {domain}\nnameserver {net}.2\n")), "{names}");
    ensure!(names.lines().any(|line| line.starts_with(&own) && line.contains("web")), "{names}");
    machine.shell(&format!("ip netns exec router busybox ping -c 1 -W 3 {own}")).map(drop)
}

fn a_container(machine: &Machine) -> Result<()> {
    lan(machine)?;
    install(machine, &[("lan.network", LAN)])?;
    busybox(machine, "web", "sleep 1000", "Network=lan.network\nHostName=www")?;
    start(machine, "web")?;
    knows(machine, "192.0.2", "one.example")?;
    ensure!(machine.shell("cat /run/leases")?.contains(" www "), "the host name is told");

    // The timer renews, and says so in the journal of the container's service.
    machine.wait("its timer", SOON, |m| Ok(timers(m)?.starts_with("web-dhcp-1s.timer")))?;
    machine.wait("the address is renewed", SOON, |m| {
        Ok(m.journal("web.service")?.contains("network systemd-lan, eth0: 192.0.2.1 grants 192.0.2.5"))
    })?;
    let said = machine.ok(&["sampan", "network", "renew", "systemd-web"])?;
    ensure!(said.contains("192.0.2.1 grants 192.0.2.5") && said.contains("for 120 s"), "{said}");

    let network = sampan_json(machine, &["network", "inspect", "systemd-lan"])?;
    let members = network[0]["containers"].as_object().into_iter().flat_map(|all| all.values());
    let shown: Vec<_> = members.map(|member| &member["interfaces"]["eth0"]["dhcp"]).collect();
    ensure!(shown.len() == 1 && shown[0]["server"] == "192.0.2.1", "{network:#}");
    ensure!(shown[0]["expires"].as_str() > shown[0]["renews"].as_str(), "{network:#}");

    // The network becomes another.
    serve(machine, "198.51.100", "two.example")?;
    machine.wait("there is another address", SOON, |m| Ok(address(m)?.starts_with("198.51.100.")))?;
    knows(machine, "198.51.100", "two.example")?;
    ensure!(!inside(machine, "ip addr; cat /etc/hosts")?.contains("192.0.2."), "the old one is gone");

    machine.ok(&["systemctl", "stop", "web"])?;
    machine.wait("the address is given back", SOON, |m| Ok(m.shell("cat /run/leases")?.trim().is_empty()))?;
    machine.wait("no timer is left", SOON, |m| Ok(timers(m)?.is_empty()))?;
    let refused = machine.run(&["sampan", "network", "renew", "systemd-web"])?;
    ensure!(!refused.success(), "{}", refused.text());
    ensure!(machine.property("web.service", "Result")? == "success", "stopped as asked for");
    Ok(())
}

fn a_pod(machine: &Machine) -> Result<()> {
    lan(machine)?;
    let pod = "[Pod]\nPodName=app\nNetwork=lan.network\n";
    let container = format!("[Container]\nImage={BUSYBOX}\nPod=app.pod\nExec=sleep 1000\n");
    install(machine, &[("lan.network", LAN), ("app.pod", pod), ("web.container", &container)])?;
    start(machine, "web")?;
    let shown = inside(machine, "ip addr show dev eth0; cat /etc/resolv.conf /etc/hosts")?;
    ensure!(shown.contains("inet 192.0.2.5") && shown.contains("nameserver 192.0.2.2"), "{shown}");
    ensure!(shown.lines().any(|line| line.starts_with("192.0.2.5") && line.contains("app")), "{shown}");
    machine.wait("its timer", SOON, |m| Ok(timers(m)?.starts_with("app-pod-dhcp-1s.timer")))?;
    let wrong = machine.run(&["sampan", "network", "renew", "systemd-web"])?;
    ensure!(wrong.text().contains("sampan network renew app"), "{}", wrong.text());
    machine.wait("the address is renewed", SOON, |m| {
        Ok(m.journal("app-pod.service")?.contains("192.0.2.1 grants 192.0.2.5"))
    })?;
    machine.ok(&["systemctl", "stop", "app-pod"])?;
    machine.wait("the address is given back", SOON, |m| Ok(m.shell("cat /run/leases")?.trim().is_empty()))?;
    machine.wait("no timer is left", SOON, |m| Ok(timers(m)?.is_empty()))?;
    Ok(())
}

fn without_a_server(machine: &Machine) -> Result<()> {
    lan(machine)?;
    machine.ok(&["systemctl", "stop", "lan-dhcp"])?;
    install(machine, &[("lan.network", LAN)])?;
    busybox(machine, "web", "sleep 1000", "Network=lan.network")?;
    ensure!(!machine.run(&["systemctl", "start", "web"])?.success(), "it has no address");
    machine.ok(&["journalctl", "--sync"])?;
    let status = machine.run(&["systemctl", "status", "web", "--no-pager", "--lines=20"])?.text();
    ensure!(status.contains("no DHCP server answered within 10 s: is lan connected"), "{status}");
    ensure!(machine.ok(&["sampan", "ps", "--all", "--quiet"])?.trim().is_empty(), "nothing is left");

    // Killed while it waits for an answer, and started again.
    machine.ok(&["systemctl", "start", "--no-block", "web"])?;
    machine.wait("it asks for an address", SOON, |m| {
        Ok(m.run(&["sh", "-c", "ls /run/sampan/network/leases/*.json"])?.success())
    })?;
    std::thread::sleep(Duration::from_millis(500));
    machine.ok(&["systemctl", "kill", "--signal=KILL", "web"])?;
    machine.wait("the unit is over", SOON, |m| Ok(m.property("web.service", "ActiveState")? == "failed"))?;
    serve(machine, "192.0.2", "one.example")?;
    start(machine, "web")?;
    knows(machine, "192.0.2", "one.example")?;
    Ok(())
}
