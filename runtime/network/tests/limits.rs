//! Up to the limits: what can't be had is said in words, and nothing is leaked.

mod host;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;
use std::thread;

use host::{Container, Host, container, ip, on, open, parse};
use sampan_network::{Config, DEFAULT_NETWORK, Error, Lease, Result, Subnet};

/// A network with room for few.
fn small_network(host: &Host, subnet: &str) {
    let config = Config {
        name: "small".to_owned(),
        subnets: vec![subnet.parse::<Subnet>().unwrap().into()],
        disable_dns: true,
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
}

/// Starts all of them at once; those that can't are released, as a failed start is.
fn start_at_once(host: &Host, containers: &[Container]) -> Vec<Result<Lease>> {
    thread::scope(|scope| {
        let starts: Vec<_> = containers
            .iter()
            .map(|container| {
                scope.spawn(move || {
                    let networks = open(host.directory());
                    let started = networks
                        .reserve(&container.holder, &[on("small")], &[])
                        .and_then(|lease| networks.attach(&lease, container.netns.as_fd()).map(|()| lease));
                    if started.is_err() {
                        networks.release(&container.holder.id).unwrap();
                    }
                    started
                })
            })
            .collect();
        starts.into_iter().map(|start| start.join().unwrap()).collect()
    })
}

#[test]
fn twelve_want_the_five_addresses_of_a_network() {
    let Some(host) = Host::new() else { return };
    small_network(&host, "10.50.0.0/29");
    let containers: Vec<Container> = (0..12).map(|number| container(&format!("c{number}"))).collect();
    let started = start_at_once(&host, &containers);
    let addresses: BTreeSet<_> = started.iter().flatten().map(host::address).collect();
    assert_eq!(addresses.len(), 5, "{started:?}");
    for error in started.iter().filter_map(|start| start.as_ref().err()) {
        let text = error.to_string();
        assert!(matches!(error, Error::NoAddress { .. }), "{text}");
        assert!(text.contains("\"small\"") && text.contains("10.50.0.0/29"), "{text}");
    }
    // Nothing of the others is there.
    let traces = host.traces();
    assert_eq!((traces.matches("\"veth").count(), traces.matches("/leases/").count()), (5, 5), "{traces}");
    // A stop makes room for one.
    let (lucky, unlucky): (Vec<_>, Vec<_>) =
        containers.iter().zip(&started).partition(|(_, start)| start.is_ok());
    host.networks.release(&lucky[0].0.holder.id).unwrap();
    let again = &unlucky[0].0;
    let lease = host.networks.reserve(&again.holder, &[on("small")], &[]).unwrap();
    host.networks.attach(&lease, again.netns.as_fd()).unwrap();
    for container in &containers {
        host.networks.release(&container.holder.id).unwrap();
    }
    nothing_left(&host);
}

#[test]
fn ten_ports_for_twelve_containers() {
    let Some(host) = Host::new() else { return };
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40009").unwrap();
    let start = |number: usize| {
        let container = container(&format!("c{number}"));
        host.networks.reserve(&container.holder, &[on(DEFAULT_NETWORK)], &parse(&["80"]))
    };
    let ports: BTreeSet<u16> = (0..10).map(|number| start(number).unwrap().ports[0].host_port).collect();
    assert_eq!(ports, (40000..=40009).collect());
    let text = start(10).unwrap_err().to_string();
    assert!(text.contains("40000 to 40009") && text.contains("80/tcp"), "{text}");
    // A port that was asked for by its number may lie elsewhere, and UDP has its own.
    let eleventh = container("c11").holder;
    let ports = parse(&["30000:80", "53/udp"]);
    host.networks.reserve(&eleventh, &[on(DEFAULT_NETWORK)], &ports).unwrap();
    host.networks.release(&container("c3").holder.id).unwrap();
    start(10).unwrap();
    for number in 0..12 {
        host.networks.release(&container(&format!("c{number}")).holder.id).unwrap();
    }
    nothing_left(&host);
}

#[test]
fn a_bridge_carries_a_thousand_and_23() {
    let Some(host) = Host::new() else { return };
    small_network(&host, "10.48.0.0/16");
    let (first, lease) = host.start("first", &[on("small")], &[]);
    let bridge = &lease.attachments[0].network.network_interface;
    let lines: Vec<String> = (1..1023)
        .map(|n| format!("link add full{n} type veth peer name peer{n}\nlink set full{n} master {bridge}\n"))
        .collect();
    let batch = host.directory().join("batch");
    fs::write(&batch, lines.concat()).unwrap();
    ip(&format!("-batch {}", batch.display()));
    fs::remove_file(&batch).unwrap();
    let before = host.traces();
    let last = container("last");
    let lease = host.networks.reserve(&last.holder, &[on("small")], &[]).unwrap();
    let text = host.networks.attach(&lease, last.netns.as_fd()).unwrap_err().to_string();
    assert!(text.contains("\"small\"") && text.contains("1023"), "{text}");
    host.networks.release(&last.holder.id).unwrap();
    assert_eq!(host.traces(), before);
    // One port less, and it has a place.
    ip("link set full7 nomaster");
    let lease = host.networks.reserve(&last.holder, &[on("small")], &[]).unwrap();
    host.networks.attach(&lease, last.netns.as_fd()).unwrap();
    for container in [first, last] {
        host.networks.release(&container.holder.id).unwrap();
    }
    nothing_left(&host);
}

fn nothing_left(host: &Host) {
    let traces = host.traces();
    let names = traces.lines().next().unwrap();
    for word in ["\"veth", "sampan"] {
        assert!(!names.contains(word), "{names}");
    }
    for word in ["elements = {", "/leases/", "/ports/", "/addresses/"] {
        let found: Vec<&str> = traces.lines().filter(|line| line.contains(word)).collect();
        assert!(found.is_empty(), "{word}: {found:?}");
    }
}
