//! Networks as their user changes them: `.network` files that are edited, and the commands.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, busybox, install, shared, start, uninstall};

const READY: Duration = Duration::from_secs(20);

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("networks::{name}"), case);
    vec![
        test("an_edited_network_is_followed_by_the_next_start", an_edited_network_is_followed),
        test("a_network_comes_to_a_running_container_and_goes", a_network_comes_and_goes),
        test("a_pod_is_connected_with_all_its_containers", a_pod_is_connected),
        test("another_containers_network_is_joined", anothers_network_is_joined),
        test("a_file_that_is_no_network_namespace_is_refused", no_network_namespace_is_refused),
        test("the_administrators_pools_are_used", administrators_pools_are_used),
        test("a_networks_servers_are_changed", networks_servers_are_changed),
        test("networks_are_chosen_by_their_age", networks_are_chosen_by_age),
        test("ports_are_listed", ports_are_listed),
        test("a_reload_changes_what_can_and_names_who_holds_the_rest", a_reload_names_who_holds_the_rest),
    ]
}

/// A container that serves its programs on port 80.
fn server(machine: &Machine, name: &str, more: &str) -> Result<()> {
    busybox(machine, name, "httpd -f -p 80 -h /bin", &format!("ContainerName={name}\n{more}"))?;
    start(machine, name)
}

fn done(machine: &Machine, names: &[&str], files: &[&str]) -> Result<()> {
    for name in names {
        machine.ok(&["systemctl", "stop", name])?;
        uninstall(machine, &[&format!("{name}.container")])?;
    }
    uninstall(machine, files)
}

/// Whether a container gets something from another one.
fn reaches(machine: &Machine, from: &str, address: &str) -> Result<()> {
    let url = format!("http://{address}/busybox");
    machine.ok(&["sampan", "exec", from, "timeout", "5", "wget", "-q", "-O", "/dev/null", &url]).map(drop)
}

/// The first address of a container.
fn address(machine: &Machine, name: &str) -> Result<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(machine.ok(&["sampan", "inspect", "--format", format, name])?.trim().to_owned())
}

/// Edits the file and reloads systemd, as `install` does.
fn edit(machine: &Machine, text: &str) -> Result<()> {
    install(machine, &[("edited.network", text)])
}

fn an_edited_network_is_followed(machine: &Machine) -> Result<()> {
    edit(machine, "[Network]\nSubnet=10.121.1.0/24\n")?;
    server(machine, "follower", "Network=edited.network")?;
    ensure!(address(machine, "follower")?.starts_with("10.121.1."), "the first subnet");
    edit(machine, "[Network]\nSubnet=10.121.2.0/24\nLabel=tier=back\n")?;
    // The network's own unit stays active, and isn't run again.
    machine.ok(&["systemctl", "restart", "follower"])?;
    let own = address(machine, "follower")?;
    ensure!(own.starts_with("10.121.2."), "its address is {own}");
    let labels = machine.ok(&["sampan", "network", "inspect", "-f", "{{.labels.tier}}", "systemd-edited"])?;
    ensure!(labels.trim() == "back", "its labels: {labels}");
    machine.wait("the network unit's status tells the change", READY, |m| {
        let status = m.run(&["systemctl", "status", "--no-pager", "-l", "edited-network"])?.stdout;
        Ok(status.contains("Subnet= from 10.121.1.0/24 to 10.121.2.0/24"))
    })?;
    // A mistake in the new definition keeps no container from starting, and is told.
    edit(machine, "[Network]\nSubnet=10.121.3.0/24\nGateway=10.99.0.1\n")?;
    machine.ok(&["systemctl", "restart", "follower"])?;
    machine.wait("the mistake is told", READY, |m| {
        let journal = m.ok(&["journalctl", "-o", "cat", "-u", "follower"])?;
        Ok(journal.contains("10.99.0.1") && journal.contains("edited-network"))
    })?;
    done(machine, &["follower"], &["edited.network"])?;
    machine.ok(&["systemctl", "stop", "edited-network"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-edited"]).map(drop)
}

fn a_reload_names_who_holds_the_rest(machine: &Machine) -> Result<()> {
    edit(machine, "[Network]\nSubnet=10.121.1.0/24\n")?;
    for name in ["first", "second"] {
        server(machine, name, "Network=edited.network")?;
    }
    edit(machine, "[Network]\nSubnet=10.121.4.0/24\nOptions=mtu=1400\n")?;
    machine.ok(&["systemctl", "reload", "edited-network"])?;
    for words in
        ["mtu= from unset to 1400", "10.121.1.0/24 to 10.121.4.0/24", "\"first\", container \"second\""]
    {
        machine.wait(&format!("its journal says {words}"), READY, |m| {
            Ok(m.ok(&["journalctl", "-o", "cat", "-u", "edited-network"])?.contains(words))
        })?;
    }
    let link = machine.ok(&["sampan", "exec", "first", "ip", "link", "show", "eth0"])?;
    ensure!(link.contains("mtu 1400"), "inside: {link}");
    // One of them comes back into the network as it is, and reaches the other.
    machine.ok(&["systemctl", "restart", "first"])?;
    let other = address(machine, "second")?;
    ensure!(other.starts_with("10.121.1.") && address(machine, "first")?.starts_with("10.121.1."));
    reaches(machine, "first", &other)?;
    // The network's restart is that of its containers.
    machine.ok(&["systemctl", "restart", "edited-network"])?;
    for name in ["first", "second"] {
        machine.wait(&format!("{name} runs again"), READY, |m| {
            Ok(m.run(&["systemctl", "is-active", name])?.success())
        })?;
        let own = address(machine, name)?;
        ensure!(own.starts_with("10.121.4."), "{name}: {own}");
    }
    done(machine, &["first", "second"], &["edited.network"])?;
    machine.ok(&["systemctl", "stop", "edited-network"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-edited"]).map(drop)
}

fn a_network_comes_and_goes(machine: &Machine) -> Result<()> {
    install(machine, &[("here.network", "[Network]\n"), ("there.network", "[Network]\n")])?;
    server(machine, "guest", "Network=here.network\nPublishPort=8131:80")?;
    server(machine, "host", "Network=there.network")?;
    let connect = ["sampan", "network", "connect", "--alias", "visitor", "systemd-there", "guest"];
    machine.ok(&connect)?;
    ensure!(!machine.run(&connect)?.success(), "connected twice");
    for (from, name) in [("host", "guest"), ("host", "visitor"), ("guest", "host")] {
        reaches(machine, from, name)?;
    }
    let format = "{{range $name, $network := .NetworkSettings.Networks}}{{$name}} {{end}}";
    let shown = machine.ok(&["sampan", "inspect", "-f", format, "guest"])?;
    ensure!(shown.trim() == "systemd-here systemd-there", "inspect: {shown}");
    let files = machine.ok(&["sampan", "exec", "guest", "cat", "/etc/hosts", "/etc/resolv.conf"])?;
    ensure!(files.matches("guest").count() >= 2 && files.matches("nameserver 10.").count() >= 2, "{files}");
    machine.ok(&["sampan", "network", "disconnect", "systemd-here", "guest"])?;
    let links = machine.ok(&["sampan", "exec", "guest", "ls", "/sys/class/net"])?;
    ensure!(links.split_whitespace().collect::<Vec<_>>() == ["eth1", "lo"], "its links: {links}");
    machine.wait("the port leads to the other network", READY, |m| {
        Ok(m.run(&["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8131/busybox"])?.success())
    })?;
    let wrong = machine.run(&["sampan", "network", "disconnect", "systemd-here", "guest"])?;
    ensure!(wrong.stderr.contains("is not connected"), "disconnected twice: {}", wrong.stderr);
    machine.ok(&["sampan", "network", "disconnect", "-f", "systemd-here", "guest"])?;
    // The next start is that of the file.
    machine.ok(&["systemctl", "restart", "guest"])?;
    let shown = machine.ok(&["sampan", "inspect", "-f", format, "guest"])?;
    ensure!(shown.trim() == "systemd-here", "inspect: {shown}");
    let alone = ["sampan", "network", "connect", "systemd-here", "alone"];
    server(machine, "alone", "Network=none")?;
    let refused = machine.run(&alone)?.stderr;
    ensure!(refused.contains("Network=none"), "without a network: {refused}");
    done(machine, &["guest", "host", "alone"], &["here.network", "there.network"])
}

fn a_pod_is_connected(machine: &Machine) -> Result<()> {
    let units = [
        ("far.network", "[Network]\n"),
        ("near.network", "[Network]\n"),
        ("crew.pod", "[Pod]\nPodName=crew\nNetwork=near.network\n"),
    ];
    install(machine, &units)?;
    server(machine, "sailor", "Pod=crew.pod")?;
    server(machine, "port", "Network=far.network")?;
    let refused = machine.run(&["sampan", "network", "connect", "systemd-far", "sailor"])?.stderr;
    ensure!(refused.contains("name the pod"), "a container of a pod: {refused}");
    machine.ok(&["sampan", "network", "connect", "systemd-far", "crew"])?;
    for (from, name) in [("sailor", "port"), ("port", "crew"), ("port", "sailor")] {
        reaches(machine, from, name)?;
    }
    machine.ok(&["sampan", "network", "disconnect", "systemd-far", "crew"])?;
    ensure!(reaches(machine, "sailor", "port").is_err(), "still connected");
    machine.ok(&["systemctl", "stop", "crew-pod"])?;
    done(machine, &["sailor", "port"], &["crew.pod", "near.network", "far.network"])
}

fn administrators_pools_are_used(machine: &Machine) -> Result<()> {
    let conf = "/etc/containers/containers.conf.d/networks.conf";
    let write =
        |text: &str| machine.shell(&format!("mkdir -p $(dirname {conf})\nprintf %s '{text}' >{conf}"));
    write(
        "[network]\ndefault_network = \"main\"\ndefault_subnet = \"10.122.0.0/24\"\nnetwork_backend = \"x\"\n\
         default_subnet_pools = [{base = \"10.123.0.0/16\", size = 28}]\n",
    )?;
    server(machine, "plain", "")?;
    let own = address(machine, "plain")?;
    ensure!(own.starts_with("10.122.0."), "its address is {own}");
    let names = machine.ok(&["sampan", "network", "ls", "--quiet"])?;
    ensure!(names.lines().any(|name| name == "main"), "networks: {names}");
    let refused = machine.run(&["sampan", "network", "rm", "main"])?.stderr;
    ensure!(refused.contains("default network main"), "{refused}");
    let told = machine.run(&["sampan", "network", "create", "pooled"])?;
    ensure!(told.success(), "{}", told.text());
    for place in [told.stderr, machine.run(&["sampan", "doctor"])?.stdout] {
        let words = ["networks.conf:4", "network_backend = \"x\" in [network] has no effect"];
        ensure!(words.iter().all(|word| place.contains(word)), "{place}");
    }
    let subnet =
        machine.ok(&["sampan", "network", "inspect", "-f", "{{(index .subnets 0).subnet}}", "pooled"])?;
    ensure!(subnet.trim() == "10.123.0.0/28", "its subnet: {subnet}");
    write("[network]\ndefault_subnet = \"10.0.0.0\"\n")?;
    let refused = machine.run(&["sampan", "network", "create", "wrong"])?.stderr;
    ensure!(refused.contains("containers.conf") && refused.contains("10.0.0.0"), "{refused}");
    machine.ok(&["rm", conf])?;
    done(machine, &["plain"], &[])?;
    machine.ok(&["sampan", "network", "rm", "pooled", "main"]).map(drop)
}

fn networks_servers_are_changed(machine: &Machine) -> Result<()> {
    let create = [
        "sampan",
        "network",
        "create",
        "--ipv6",
        "--label",
        "a=b",
        "--opt",
        "mtu=1400",
        "--dns",
        "192.0.2.1",
    ];
    machine.ok(&[&create[..], &["served"]].concat())?;
    server(machine, "asker", "Network=served")?;
    let inspect = || -> Result<String> {
        let format = "{{.network_dns_servers}} {{.labels}} {{.options}} {{.network_interface}} {{.subnets}}";
        machine.ok(&["sampan", "network", "inspect", "-f", format, "served"])
    };
    let before = inspect()?;
    let update = [
        "sampan",
        "network",
        "update",
        "--dns-drop",
        "192.0.2.1",
        "--dns-add",
        "192.0.2.2,192.0.2.3",
        "served",
    ];
    let told = machine.run(&update)?;
    ensure!(
        told.success() && told.stderr.contains("DNS= from 192.0.2.1 to 192.0.2.2 192.0.2.3"),
        "{}",
        told.stderr
    );
    let after = inspect()?;
    ensure!(after == before.replace("192.0.2.1", "192.0.2.2 192.0.2.3"), "from {before} to {after}");
    done(machine, &["asker"], &[])?;
    let refused = machine.run(&["sampan", "network", "update", "--dns-add", "192.0.2.2", "sampan"])?.stderr;
    ensure!(refused.contains("answers no names"), "{refused}");
    machine.ok(&["sampan", "network", "rm", "served"]).map(drop)
}

fn networks_are_chosen_by_age(machine: &Machine) -> Result<()> {
    machine.ok(&["sampan", "network", "create", "--label", "age=test", "young"])?;
    let list = |until: &str| {
        let filter = format!("until={until}");
        machine.ok(&["sampan", "network", "ls", "-q", "--filter", "label=age=test", "--filter", &filter])
    };
    ensure!(list("1h")?.is_empty() && list("2100-01-01T00:00:00Z")?.trim() == "young");
    let prune = |until: &str| {
        let filter = format!("until={until}");
        machine.ok(&["sampan", "network", "prune", "-f", "--filter", "label=age=test", "--filter", &filter])
    };
    ensure!(prune("1h")?.is_empty(), "a young network was removed");
    // A container without a service ends when it is told to, or in the time that it is given.
    machine.shell(
        "sampan run --name lasting --network young --stop-timeout 600 localhost:5000/busybox \\
             sh -c 'trap : TERM; while :; do sleep 1; done' </dev/null >/dev/null 2>&1 &",
    )?;
    machine.wait("the container runs", READY, |m| {
        Ok(m.run(&["sampan", "exec", "lasting", "true"])?.success())
    })?;
    ensure!(
        !machine.run(&["sampan", "network", "rm", "--time", "1", "young"])?.success(),
        "--time without --force"
    );
    machine.ok(&["timeout", "20", "sampan", "network", "rm", "--force", "--time", "1", "young"])?;
    ensure!(list("2100-01-01T00:00:00Z")?.is_empty(), "it is still there");
    Ok(())
}

fn ports_are_listed(machine: &Machine) -> Result<()> {
    server(machine, "listed", "PublishPort=127.0.0.1:8140-8141:80-81\nPublishPort=8142:53/udp")?;
    let ports = machine.ok(&["sampan", "port", "listed"])?;
    let rows = ["80/tcp -> 127.0.0.1:8140", "81/tcp -> 127.0.0.1:8141", "53/udp -> 0.0.0.0:8142"];
    ensure!(ports.lines().collect::<Vec<_>>() == rows, "its ports: {ports}");
    ensure!(machine.ok(&["sampan", "port", "listed", "53/udp"])?.trim() == "0.0.0.0:8142");
    ensure!(machine.ok(&["sampan", "port", "--all"])?.contains("\t80/tcp -> 127.0.0.1:8140"));
    let missing = machine.run(&["sampan", "port", "listed", "53"])?;
    ensure!(!missing.success() && missing.stderr.contains("53/tcp"), "{}", missing.stderr);
    done(machine, &["listed"], &[])?;
    // All that are exposed, but for one that has its port already.
    let exposed = "ExposeHostPort=80-81\nExposeHostPort=53/udp\nPublishPort=8143:81\n";
    server(machine, "listed", &format!("{exposed}PodmanArgs=-P"))?;
    let ports = machine.ok(&["sampan", "port", "listed"])?;
    ensure!(ports.lines().count() == 3 && ports.contains("81/tcp -> 0.0.0.0:8143"), "its ports: {ports}");
    ensure!(ports.contains("53/udp -> 0.0.0.0:"), "its ports: {ports}");
    let port = machine.ok(&["sampan", "port", "listed", "80/tcp"])?;
    let url = format!("http://{}/busybox", port.trim().replace("0.0.0.0", "127.0.0.1"));
    machine.wait("the port leads to the program", READY, |m| {
        Ok(m.run(&["curl", "-sf", "-o", "/dev/null", &url])?.success())
    })?;
    done(machine, &["listed"], &[])?;
    server(machine, "listed", exposed)?;
    let ports = machine.ok(&["sampan", "port", "listed"])?;
    ensure!(ports.trim() == "81/tcp -> 0.0.0.0:8143", "without -P: {ports}");
    done(machine, &["listed"], &[])
}

fn anothers_network_is_joined(machine: &Machine) -> Result<()> {
    install(machine, &[("joined.network", "[Network]\n")])?;
    server(machine, "owner", "Network=joined.network\nPublishPort=8150:81")?;
    busybox(machine, "sidecar", "httpd -f -p 81 -h /bin", "ContainerName=sidecar\nNetwork=owner.container")?;
    start(machine, "sidecar")?;
    // By the owner's loopback, its name, and its port.
    reaches(machine, "sidecar", "127.0.0.1")?;
    reaches(machine, "sidecar", "owner")?;
    machine.wait("the owner's port leads to the sidecar", READY, |m| {
        Ok(m.run(&["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8150/busybox"])?.success())
    })?;
    let files = ["owner", "sidecar"]
        .map(|name| machine.ok(&["sampan", "exec", name, "cat", "/etc/hosts", "/etc/resolv.conf"]));
    let [owner, sidecar] = files;
    ensure!(owner? == sidecar?, "the sidecar has other files about names");
    // A new owner has a new network, and the sidecar is there again.
    machine.ok(&["systemctl", "restart", "owner"])?;
    machine.wait("the sidecar is in the new network", READY, |m| {
        Ok(m.run(&["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8150/busybox"])?.success())
    })?;
    // So it is when the owner dies, and systemd starts it again.
    let drop_in = "/etc/containers/systemd/owner.container.d/restart.conf";
    machine.write(drop_in, "[Service]\nRestart=always\nRestartSec=100ms\n")?;
    machine.ok(&["systemctl", "daemon-reload"])?;
    let before = machine.ok(&["systemctl", "show", "-P", "MainPID", "owner"])?;
    machine.ok(&["kill", "-9", before.trim()])?;
    machine.wait("the owner runs again", READY, |m| {
        let now = m.ok(&["systemctl", "show", "-P", "MainPID", "owner"])?;
        Ok(now != before && now.trim() != "0")
    })?;
    machine.wait("the sidecar is in the network of the owner's next life", READY, |m| {
        Ok(m.run(&["curl", "-sf", "-o", "/dev/null", "http://127.0.0.1:8150/busybox"])?.success())
    })?;
    let both = "for c in owner sidecar; do readlink /proc/$(systemctl show -P MainPID $c)/ns/net; done | uniq | wc -l";
    ensure!(machine.shell(both)?.trim() == "1", "they are in two networks");
    // An ordinary stop of the owner is one of the sidecar.
    machine.ok(&["systemctl", "stop", "owner"])?;
    ensure!(!machine.run(&["systemctl", "is-active", "sidecar"])?.success(), "the sidecar is left alone");
    machine.shell("rm -r /etc/containers/systemd/owner.container.d")?;
    done(machine, &["sidecar", "owner"], &["joined.network"])?;
    // The files about names are the owner's.
    let run = [
        "sampan",
        "run",
        "--rm",
        "--network",
        "container:owner",
        "--dns",
        "192.0.2.53",
        "localhost:5000/busybox",
    ];
    let refused = machine.run(&run)?.stderr;
    ensure!(refused.contains("DNS=192.0.2.53") && refused.contains("container owner"), "{refused}");
    // Of a container that doesn't run.
    let run = ["sampan", "run", "--rm", "--network", "container:owner", "localhost:5000/busybox", "true"];
    let refused = machine.run(&run)?.stderr;
    ensure!(refused.contains("owner"), "{refused}");
    Ok(())
}

fn no_network_namespace_is_refused(machine: &Machine) -> Result<()> {
    machine.shell("ip netns add given; ip netns exec given ip link set lo up")?;
    let run = |path: &str| {
        let network = format!("ns:{path}");
        machine.run(&[
            "sampan",
            "run",
            "--rm",
            "--network",
            &network,
            "localhost:5000/busybox",
            "ls",
            "/sys/class/net",
        ])
    };
    let given = run("/run/netns/given")?;
    ensure!(given.stdout.trim() == "lo", "in the namespace: {given:?}");
    for (path, words) in [("/proc/1/ns/uts", "no network namespace"), ("/run/netns/none", "ip netns add")] {
        let refused = run(path)?;
        ensure!(!refused.success() && refused.stderr.contains(words), "{path}: {}", refused.stderr);
    }
    machine.shell("ip netns del given").map(drop)
}
