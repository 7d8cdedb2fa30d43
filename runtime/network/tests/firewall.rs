//! The table `inet sampan` under real packets: what it keeps apart, and how it is replaced.

mod host;

use std::io::ErrorKind;
use std::net::{TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use host::{Container, Host, address, command, get, get_udp, ip, is_closed, on, resolve};
use sampan_network::{Config, DEFAULT_NETWORK, Driver, Lease};

fn says(name: &str, peer: &str) -> Option<String> {
    Some(format!("{name} sees {peer}"))
}

/// A network with a container that serves, and publishes a port.
fn serving(host: &Host, name: &str, isolate: Option<&str>, internal: bool, port: &str) -> (Container, Lease) {
    let mut config =
        Config { name: name.to_owned(), internal, ipv6: true, disable_dns: true, ..Config::default() };
    if let Some(isolate) = isolate {
        config.options.set(Driver::Bridge, "isolate", isolate).unwrap();
    }
    host.networks.create(&config, false).unwrap();
    let (container, lease) = host.start(name, &[on(name)], &[port]);
    container.serve(80);
    (container, lease)
}

/// Isolation counts for published ports too: otherwise every published port of the host
/// would be a door into a network that is kept from all others.
#[test]
fn networks_are_kept_apart_at_published_ports_too() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let (open, open_lease) = serving(&host, "open", None, false, "8001:80");
    let (other, _) = serving(&host, "other", None, false, "8002:80");
    let (isolated, _) = serving(&host, "isolated", Some("true"), false, "8003:80");
    let (isolated2, _) = serving(&host, "isolated2", Some("true"), false, "8004:80");
    let (strict, _) = serving(&host, "strict", Some("strict"), false, "8005:80");
    let (internal, _) = serving(&host, "internal", None, true, "8006:80");
    let expected = [
        (&open, 8002, true),
        (&open, 8003, true),
        (&isolated, 8001, true),
        (&isolated, 8004, false),
        (&isolated2, 8003, false),
        (&strict, 8001, false),
        (&open, 8005, false),
        (&internal, 8001, false),
        (&open, 8006, false),
        (&neighbour, 8006, false),
        (&neighbour, 8003, true),
        (&neighbour, 8005, true),
    ];
    for host_address in ["192.0.2.1", "[fd00:2::1]"] {
        // All at once: what is dropped is waited for.
        let asked = expected.map(|(from, port, reaches)| {
            let address = format!("{host_address}:{port}");
            from.spawn(move || if reaches { get(&address).is_some() } else { !is_closed(&address) })
        });
        for (answer, (from, port, reaches)) in asked.into_iter().zip(expected) {
            let name = &from.holder.name;
            assert_eq!(answer.join().unwrap(), reaches, "{name} at {host_address}:{port}");
        }
        assert!(get(&format!("{host_address}:8006")).is_some(), "the host into an internal network");
    }
    // Across networks the client's address is preserved.
    assert_eq!(open.get("192.0.2.1:8002"), says("other", &address(&open_lease).to_string()));
    for container in [open, other, isolated, isolated2, strict, internal] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// Sends from an address of its own choice, and then from its `own`, which is heard in any case; tells whether the
/// neighbour heard of the former.
fn is_heard(from: &Container, source: &'static str, own: &'static str, neighbour: &Container) -> bool {
    let socket = neighbour.run(|| UdpSocket::bind("192.0.2.9:0").unwrap());
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let address = socket.local_addr().unwrap();
    from.run(move || {
        for (source, word) in [(source, b"first"), (own, b"after")] {
            UdpSocket::bind((source, 0)).unwrap().send_to(word, address).unwrap();
        }
    });
    let mut word = [0; 5];
    socket.recv_from(&mut word).unwrap();
    word == *b"first"
}

#[test]
fn containers_have_the_addresses_that_were_given() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let (liar, lease) = host.start("liar", &[on(DEFAULT_NETWORK)], &[]);
    let own: &'static str = address(&lease).to_string().leak();
    liar.run(|| {
        // Somebody outside, and the host itself.
        ip("addr add 203.0.113.5/32 dev eth0");
        ip("addr add 192.0.2.1/32 dev eth0");
    });
    assert!(is_heard(&liar, own, own, &neighbour));
    assert!(!is_heard(&liar, "203.0.113.5", own, &neighbour), "an address of somebody outside");
    assert!(!is_heard(&liar, "192.0.2.1", own, &neighbour), "an address of the host");
    // A container that is a gateway to others: the host knows that they are behind it.
    ip(&format!("route add 203.0.113.0/24 via {own}"));
    assert!(is_heard(&liar, "203.0.113.5", own, &neighbour), "what the host routes to it");
    host.networks.release(&liar.holder.id).unwrap();
}

/// A name server in a container, published on every address, must not catch the questions
/// that other containers ask their gateway.
#[test]
fn a_published_port_53_leaves_the_others_their_names() {
    let Some(host) = Host::new() else { return };
    let config = Config { name: "named".to_owned(), ..Config::default() };
    let network = host.networks.create(&config, false).unwrap();
    let gateway = network.subnets[0].gateway.unwrap();
    // The name server has the gateway's port already when it starts.
    let (client, _) = host.start("client", &[on("named")], &[]);
    let (server, lease) = host.start("server", &[on("named")], &["53:53/udp"]);
    server.serve_udp(53);
    let names = client.run(move || resolve(gateway, "server.dns.sampan"));
    assert_eq!(names, [address(&lease)]);
    let by_port = host.neighbour().run(|| get_udp("192.0.2.1:53"));
    assert_eq!(by_port, says("server", "192.0.2.9"));
    for container in [server, client] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// The kernel forwards nothing that comes from a link-local address.
#[test]
fn link_local_clients_are_refused_at_once() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let (web, _) = serving(&host, "dual", None, false, "8080:80");
    assert!(neighbour.get("[fd00:2::1]:8080").is_some());
    ip("addr add fe80::1/64 dev lan nodad");
    let refused = neighbour.run(|| {
        ip("addr add fe80::9/64 dev lan0 nodad");
        let index = interface_index("lan0");
        let address = std::net::SocketAddrV6::new("fe80::1".parse().unwrap(), 8080, 0, index);
        TcpStream::connect_timeout(&address.into(), Duration::from_secs(30)).unwrap_err().kind()
    });
    assert_eq!(refused, ErrorKind::ConnectionRefused);
    host.networks.release(&web.holder.id).unwrap();
}

/// Not from `/sys`: it shows the interfaces of the namespace that it was mounted in.
fn interface_index(name: &str) -> u32 {
    let text = command("ip", &["-o", "link", "show", name]);
    text.split(':').next().unwrap().trim().parse().unwrap()
}

#[test]
fn a_bridge_carries_loopback_packets_only_where_a_port_needs_it() {
    let Some(host) = Host::new() else { return };
    let _neighbour = host.neighbour();
    let setting = || std::fs::read_to_string("/proc/sys/net/ipv4/conf/sampan0/route_localnet").unwrap();
    let (plain, _) = host.start("plain", &[on(DEFAULT_NETWORK)], &["192.0.2.1:8081:80", "[::1]:8082:80"]);
    assert_eq!(setting(), "0\n");
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    assert_eq!(setting(), "1\n");
    for container in [plain, web] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// As after `nft flush ruleset`, or `systemctl restart nftables`.
#[test]
fn a_flushed_ruleset_is_restored() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    host.networks.reload_firewall().unwrap();
    assert_eq!(command("nft", &["list", "ruleset"]), "", "without containers nothing is loaded");
    let (web, _) = serving(&host, "dual", None, false, "8080:80");
    let whole = command("nft", &["-s", "list", "ruleset"]);
    command("nft", &["flush", "ruleset"]);
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "0").unwrap();
    assert!(neighbour.is_kept_from("192.0.2.1:8080"));
    host.networks.reload_firewall().unwrap();
    assert_eq!(neighbour.get("192.0.2.1:8080"), says("dual", "192.0.2.9"));
    assert_eq!(command("nft", &["-s", "list", "ruleset"]), whole);
    host.networks.release(&web.holder.id).unwrap();
}

/// The first start after an update finds the table of the version before.
#[test]
fn a_table_of_an_older_layout_is_replaced() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    web.serve(80);
    let old = "delete table inet sampan; add table inet sampan; add chain inet sampan layout_1; \
               add chain inet sampan forward { type filter hook forward priority filter; policy drop; }; \
               add map inet sampan published4 { type inet_proto . inet_service : ipv4_addr . inet_service; }";
    command("nft", &[old]);
    assert!(neighbour.is_kept_from("192.0.2.1:8080"));
    let (other, _) = host.start("other", &[on(DEFAULT_NETWORK)], &["8081:80"]);
    other.serve(80);
    for (port, name) in [(8080, "web"), (8081, "other")] {
        assert_eq!(neighbour.get(&format!("192.0.2.1:{port}")), says(name, "192.0.2.9"));
    }
    for container in [web, other] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// New connections at every moment, while the table is replaced again and again.
#[test]
fn a_reload_has_no_gap() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    web.serve(80);
    let shared = std::sync::Arc::new((AtomicBool::new(false), AtomicUsize::new(0)));
    let of_client = shared.clone();
    let client = neighbour.spawn(move || {
        let (done, answered) = &*of_client;
        while !done.load(Ordering::Relaxed) {
            let seen = get("192.0.2.1:8080");
            assert_eq!(seen, says("web", "192.0.2.9"), "after {answered:?} answers");
            answered.fetch_add(1, Ordering::Relaxed);
        }
    });
    let (done, answered) = &*shared;
    let mut reloads = 0;
    while (reloads < 30 || answered.load(Ordering::Relaxed) < 30) && !client.is_finished() {
        host.networks.reload_firewall().unwrap();
        reloads += 1;
    }
    done.store(true, Ordering::Relaxed);
    client.join().unwrap();
    host.networks.release(&web.holder.id).unwrap();
}

/// A reload reads the leases while a container is being released: what it puts back must
/// go with the lease.
#[test]
fn a_reload_brings_nothing_back() {
    let Some(host) = Host::new() else { return };
    let (_stays, lease) = host.start("stays", &[on(DEFAULT_NETWORK)], &[]);
    let done = AtomicBool::new(false);
    let networks = host::open(host.directory());
    let netns = host::own_netns();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            nix::sched::setns(netns, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
            while !done.load(Ordering::Relaxed) {
                networks.reload_firewall().unwrap();
            }
        });
        for round in 0..15 {
            let name = format!("round{round}");
            let (container, _) = host.start(&name, &[on(DEFAULT_NETWORK)], &["8080-8089:80-89"]);
            host.networks.release(&container.holder.id).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    let rules = command("nft", &["list", "map", "inet", "sampan", "published4"]);
    assert!(!rules.contains("elements"), "{rules}");
    host.networks.release(&lease.holder.id).unwrap();
}
