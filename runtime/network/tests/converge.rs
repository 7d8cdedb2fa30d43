//! A definition that changes while containers hold the network.

mod host;

use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use host::{Container, Host, address, command, container, get, name_server, on, open};
use sampan_network::{Config, Converged, Isolate, Subnet};

const DIRECTORY: &str = "SAMPAN_TEST_CONVERGE";

fn network(name: &str, subnet: &str) -> Config {
    Config {
        name: name.to_owned(),
        subnets: vec![subnet.parse::<Subnet>().unwrap().into()],
        disable_dns: true,
        ..Config::default()
    }
}

/// Converges with the containers' namespaces at hand.
fn converge(host: &Host, config: &Config, containers: &[&Container]) -> Converged {
    let namespaces = |id: &str| {
        let container = containers.iter().find(|container| container.holder.id == id)?;
        container.netns.try_clone().ok()
    };
    host.networks.converge(config, &namespaces).unwrap()
}

fn release(host: &Host, containers: &[&Container]) {
    for container in containers {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// The first of a container's links, as `ip` sees it.
fn mtu_inside(container: &Container, interface: &'static str) -> String {
    container.run(move || {
        let text = command("ip", &["-o", "link", "show", interface]);
        text.split(" mtu ").nth(1).unwrap().split(' ').next().unwrap().to_owned()
    })
}

#[test]
fn isolation_and_the_way_out_change_under_running_containers() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    neighbour.serve(7000);
    let (mut a, mut b) = (network("a", "10.50.1.0/24"), network("b", "10.50.2.0/24"));
    for config in [&a, &b] {
        host.networks.create(config, false).unwrap();
    }
    let (one, _) = host.start("one", &[on("a")], &["8080:80"]);
    let (two, lease) = host.start("two", &[on("b")], &[]);
    one.serve(80);
    two.serve(80);
    let other = format!("{}:80", address(&lease));
    assert!(one.get(&other).is_some());
    a.options.isolate = Isolate::Isolated;
    b.options.isolate = Isolate::Isolated;
    for config in [&a, &b] {
        let converged = converge(&host, config, &[]);
        assert_eq!(converged.changed.len(), 1, "{converged}");
        assert!(converged.waiting.is_empty() && converged.to_string().contains("isolate"), "{converged}");
    }
    assert!(one.is_kept_from(&other), "isolated");
    // A table that is filled from the leases says the same.
    host.networks.reload_firewall().unwrap();
    assert!(one.is_kept_from(&other), "isolated after a reload");
    a.options.isolate = Isolate::No;
    converge(&host, &a, &[]);
    assert!(one.get(&other).is_some(), "no longer isolated");

    assert!(one.get("192.0.2.9:7000").is_some());
    a.internal = true;
    converge(&host, &a, &[]);
    assert!(one.is_kept_from("192.0.2.9:7000"), "cut off");
    a.internal = false;
    let words = converge(&host, &a, &[]).to_string();
    assert!(words.contains("started again"), "{words}");
    assert!(one.get("192.0.2.9:7000").is_some(), "open again");
    assert!(get("127.0.0.1:8080").is_some(), "still published");
    release(&host, &[&one, &two]);
    assert_nothing_left(&host);
}

#[test]
fn the_mtu_changes_on_both_ends() {
    let Some(host) = Host::new() else { return };
    let mut a = network("a", "10.50.1.0/24");
    host.networks.create(&a, false).unwrap();
    let (one, lease) = host.start("one", &[on("a")], &[]);
    for mtu in [Some(1400), Some(1450), None] {
        a.options.mtu = mtu;
        converge(&host, &a, &[&one]);
        let wanted = mtu.map_or("1500".to_owned(), |mtu| mtu.to_string());
        let link = |name: &str| command("ip", &["link", "show", name]);
        for name in ["sampan1", &lease.attachments[0].host_interface] {
            assert!(link(name).contains(&format!("mtu {wanted} ")), "{}", link(name));
        }
        assert_eq!(mtu_inside(&one, "eth0"), wanted);
    }
    release(&host, &[&one]);
    assert_nothing_left(&host);
}

#[test]
fn a_subnet_waits_for_its_holders_and_needs_no_further_word() {
    let Some(host) = Host::new() else { return };
    let old = network("a", "10.50.1.0/24");
    let mut new = network("a", "10.60.1.0/24");
    new.labels.insert("tier".to_owned(), "web".to_owned());
    host.networks.create(&old, false).unwrap();
    let (one, _) = host.start("one", &[on("a")], &[]);
    let converged = converge(&host, &new, &[]);
    let text = converged.to_string();
    for words in ["Label= from unset to tier=web", "10.50.1.0/24 to 10.60.1.0/24", "container \"one\" holds"]
    {
        assert!(text.contains(words), "{words}: {text}");
    }
    // Who comes meanwhile reaches those who are there.
    one.serve(80);
    let (two, lease) = host.start("two", &[on("a")], &[]);
    assert!(address(&lease).to_string().starts_with("10.50.1."), "{lease:?}");
    assert!(two.get("10.50.1.2:80").is_some());
    // Nobody else gets the subnet that is waited for, nor the interface's name.
    let error = host.networks.create(&network("b", "10.60.1.128/25"), false).unwrap_err().to_string();
    assert!(error.contains("network \"a\""), "{error}");
    // The same again says the same, and one of them gone is not enough.
    assert_eq!(converge(&host, &new, &[]).waiting.len(), 2);
    release(&host, &[&one]);
    assert_eq!(host.networks.get("a").unwrap().subnets[0].subnet.to_string(), "10.50.1.0/24");
    release(&host, &[&two]);
    assert_eq!(host.networks.get("a").unwrap().subnets[0].subnet.to_string(), "10.60.1.0/24");
    assert!(host.networks.wanted("a").unwrap().is_none());
    let (three, lease) = host.start("three", &[on("a")], &[]);
    assert_eq!(address(&lease).to_string(), "10.60.1.2");
    release(&host, &[&three]);
    assert_nothing_left(&host);
}

#[test]
fn a_change_that_is_taken_back_is_forgotten() {
    let Some(host) = Host::new() else { return };
    let old = network("a", "10.50.1.0/24");
    host.networks.create(&old, false).unwrap();
    let (one, _) = host.start("one", &[on("a")], &[]);
    assert!(!converge(&host, &network("a", "10.60.1.0/24"), &[]).waiting.is_empty());
    assert!(converge(&host, &old, &[]).to_string().is_empty());
    release(&host, &[&one]);
    assert_eq!(host.networks.get("a").unwrap().subnets[0].subnet.to_string(), "10.50.1.0/24");
    // A network that is removed takes along what it waited for.
    let (one, _) = host.start("one", &[on("a")], &[]);
    converge(&host, &network("a", "10.60.1.0/24"), &[]);
    host.networks.remove("a", true).unwrap();
    release(&host, &[&one]);
    host.networks.create(&old, false).unwrap();
    assert_eq!(host.networks.get("a").unwrap().subnets[0].subnet.to_string(), "10.50.1.0/24");
    assert_nothing_left(&host);
}

#[test]
fn a_further_subnet_is_for_those_who_come() {
    let Some(host) = Host::new() else { return };
    let mut a = network("a", "10.50.1.0/24");
    host.networks.create(&a, false).unwrap();
    let (one, _) = host.start("one", &[on("a")], &[]);
    one.serve(80);
    a.subnets.push("fd00:50::/64".parse::<Subnet>().unwrap().into());
    let converged = converge(&host, &a, &[]);
    assert!(converged.waiting.is_empty(), "{converged}");
    let (two, lease) = host.start("two", &[on("a")], &["8080:80"]);
    two.serve(80);
    assert_eq!(lease.attachments[0].addresses.len(), 2);
    assert!(two.get("10.50.1.2:80").is_some());
    assert!(get(&format!("[{}]:80", lease.attachments[0].addresses[1].address)).is_some(), "by IPv6");
    // Nobody has an address of the first one of them any more.
    release(&host, &[&two]);
    a.subnets.pop();
    assert!(converge(&host, &a, &[]).waiting.is_empty());
    assert!(!command("ip", &["addr", "show", "sampan1"]).contains("fd00:50::1"));
    release(&host, &[&one]);
    assert_nothing_left(&host);
}

#[test]
fn the_servers_for_other_names_change() {
    let Some(host) = Host::new() else { return };
    let mut a = Config { disable_dns: false, ..network("a", "10.50.1.0/24") };
    host.networks.create(&a, false).unwrap();
    let (one, lease) = host.start("one", &[on("a")], &[]);
    if lease.dns_servers.is_empty() || name_server(host.directory()).is_none() {
        eprintln!("SKIP: aardvark-dns is not installed");
        return release(&host, &[&one]);
    }
    a.dns_servers = vec!["192.0.2.53".parse().unwrap()];
    a.internal = true;
    converge(&host, &a, &[]);
    let file = host.directory().join("run/dns/a%int");
    let text = std::fs::read_to_string(&file).unwrap();
    // Without a way out nobody else is asked.
    assert_eq!(text.lines().next(), Some("10.50.1.1 255.255.255.255"));
    assert!(text.contains("one"), "{text}");
    assert_eq!(host::resolve("10.50.1.1".parse().unwrap(), "one"), [address(&lease)]);
    release(&host, &[&one]);
    assert!(!file.exists());
    assert_nothing_left(&host);
}

/// The other process of the next test; nothing when the tests are run as usual.
#[test]
fn elsewhere() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let networks = open(directory.as_ref());
    let mut config = network("a", "10.50.1.0/24");
    for round in 0_u32.. {
        config.internal = round % 2 == 0;
        config.options.isolate = if round % 3 == 0 { Isolate::Strict } else { Isolate::No };
        config.options.mtu = Some(1400 + round % 5);
        config.subnets.truncate(1);
        if round % 4 == 0 {
            config.subnets.push("10.50.2.0/24".parse::<Subnet>().unwrap().into());
        }
        networks.converge(&config, &|_| None).unwrap();
    }
}

fn converge_elsewhere(host: &Host) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "elsewhere", "--nocapture"])
        .env(DIRECTORY, host.directory())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

#[test]
fn killed_in_the_middle_of_a_change() {
    let Some(host) = Host::new() else { return };
    let config = network("a", "10.50.1.0/24");
    host.networks.create(&config, false).unwrap();
    for step in 0..40_u64 {
        let (one, _) = host.start("one", &[on("a")], &["8080:80"]);
        one.serve(80);
        let mut child = converge_elsewhere(&host);
        thread::sleep(Duration::from_micros(8000 + step * 511));
        child.kill().unwrap();
        child.wait().unwrap();
        if step % 2 == 0 {
            // Nobody asks again: what the change has made is given back.
            release(&host, &[&one]);
            assert_nothing_left(&host);
            converge(&host, &config, &[]);
        } else {
            assert!(converge(&host, &config, &[]).waiting.is_empty(), "step {step}");
            let lease = host.networks.lease(&one.holder.id).unwrap().unwrap();
            assert_eq!(lease.attachments[0].network, host.networks.get("a").unwrap(), "step {step}");
            assert!(get("127.0.0.1:8080").is_some(), "step {step}");
            let traces = host.traces();
            assert!(!traces.contains("strict {\n\t\ttype ifname\n\t\telements"), "step {step}: {traces}");
            release(&host, &[&one]);
        }
        assert_nothing_left(&host);
    }
}

/// A change beside starts and ends of containers: whoever comes last, the traces
/// are those of the definition, and none at the end.
#[test]
fn changed_while_containers_come_and_go() {
    let Some(host) = Host::new() else { return };
    host.networks.create(&network("a", "10.50.1.0/24"), false).unwrap();
    let mut child = converge_elsewhere(&host);
    for round in 0..40 {
        let one = container("one");
        let lease = host.networks.reserve(&one.holder, &[on("a")], &host::parse(&["8080:80"])).unwrap();
        host.networks.attach(&lease, one.netns.as_fd()).unwrap();
        one.serve(80);
        assert!(get("127.0.0.1:8080").is_some(), "round {round}");
        release(&host, &[&one]);
    }
    assert!(child.try_wait().unwrap().is_none(), "the other process has failed");
    child.kill().unwrap();
    child.wait().unwrap();
    converge(&host, &network("a", "10.50.1.0/24"), &[]);
    assert_nothing_left(&host);
}

fn assert_nothing_left(host: &Host) {
    let traces = host.traces();
    for word in
        ["veth", "sampan1", "elements = {", "/leases/", "/ports/", "/addresses/", "wanted/a.json", "dns/a"]
    {
        let found: Vec<&str> = traces.lines().filter(|line| line.contains(word)).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}
