//! Real packets: through published ports, between containers, between networks.

mod host;

use std::net::{IpAddr, Ipv4Addr, UdpSocket};
use std::time::Duration;

use host::{Host, address, command, get, get_udp, ip, is_closed, on};
use sampan_network::{Config, DEFAULT_NETWORK, Driver, Error, Options, Subnet};

fn says(name: &str, peer: &str) -> Option<String> {
    Some(format!("{name} sees {peer}"))
}

/// With `br_netfilter`, packets between the ports of a bridge pass the firewall as
/// well, and take another way through it.
#[test]
fn a_published_port_is_reached_from_everywhere() {
    for filter in ["0", "1"] {
        let Some(host) = Host::new() else { return };
        let setting = "/proc/sys/net/bridge/bridge-nf-call-iptables";
        match std::fs::write(setting, filter) {
            Ok(()) => {}
            Err(_) if filter == "0" => {}
            Err(error) => {
                eprintln!("SKIP: the half with br_netfilter, which isn't loaded ({error})");
                return;
            }
        }
        reach_a_published_port(&host, filter == "1");
    }
}

fn reach_a_published_port(host: &Host, filtered: bool) {
    let neighbour = host.neighbour();
    let before = host.networks.get(DEFAULT_NETWORK).map(|_| host.traces());
    let (web, lease) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80", "5353:53/udp"]);
    let (other, other_lease) = host.start("other", &[on(DEFAULT_NETWORK)], &[]);
    web.serve(80);
    web.serve_udp(53);
    let gateway = "10.87.0.1";

    // From the host: on its own address, on its loopback address, on the bridge's.
    assert_eq!(get("192.0.2.1:8080"), says("web", "192.0.2.1"));
    assert_eq!(get("127.0.0.1:8080"), says("web", gateway));
    assert_eq!(get("10.87.0.1:8080"), says("web", gateway));
    assert_eq!(get_udp("127.0.0.1:5353"), says("web", gateway));
    assert_eq!(get_udp("192.0.2.1:5353"), says("web", "192.0.2.1"));
    // From another machine: its address is preserved.
    assert_eq!(neighbour.get("192.0.2.1:8080"), says("web", "192.0.2.9"));
    // From a neighbour on the bridge, and from the container itself (hairpin).
    let (seen, own) = (other.get("192.0.2.1:8080"), web.get("192.0.2.1:8080"));
    assert!(seen.is_some() && own.is_some(), "{seen:?} {own:?}");
    if !filtered {
        assert_eq!((seen, own), (says("web", gateway), says("web", gateway)));
    }
    // Straight.
    let straight = format!("{}:80", address(&lease));
    let peer = address(&other_lease).to_string();
    assert_eq!(other.get(&straight), says("web", &peer));
    assert!(is_closed("192.0.2.1:8081"));

    host.networks.release(&web.holder.id).unwrap();
    assert!(is_closed("192.0.2.1:8080"));
    host.networks.release(&other.holder.id).unwrap();
    let after = host.traces();
    let table_before = before.unwrap();
    // The table itself is all that stays, with empty maps and sets.
    assert!(!after.contains("elements"), "{after}");
    let files = |traces: &str| traces[traces.rfind("[\n").unwrap()..].to_owned();
    let leftovers: Vec<String> = files(&after)
        .lines()
        .filter(|line| !files(&table_before).contains(*line))
        .map(str::to_owned)
        .collect();
    assert!(
        leftovers.iter().all(|line| line.ends_with("/addresses\",") || line.ends_with("/ports\",")),
        "{leftovers:?}"
    );
    assert_eq!(after.lines().next(), table_before.lines().next());
}

#[test]
fn a_port_on_one_address_is_reached_there_alone() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let ports = ["127.0.0.1:8080:80", "192.0.2.1:8081:80"];
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &ports);
    web.serve(80);
    assert!(get("127.0.0.1:8080").is_some());
    assert!(is_closed("192.0.2.1:8080"));
    assert!(get("192.0.2.1:8081").is_some());
    assert!(is_closed("127.0.0.1:8081"));
    assert!(neighbour.get("192.0.2.1:8081").is_some());
    // A neighbour that sends packets for the host's loopback address to its link:
    // the port is the host's alone.
    neighbour.run(|| send_loopback_packets_by("192.0.2.1", "lan0"));
    assert!(neighbour.is_kept_from("127.0.0.1:8080"));
    host.networks.release(&web.holder.id).unwrap();
}

/// CVE-2020-8558: a bridge that carries the host's loopback packets must not carry a
/// container's.
#[test]
fn the_hosts_loopback_is_out_of_reach() {
    let Some(host) = Host::new() else { return };
    let secret = std::net::TcpListener::bind("127.0.0.1:9999").unwrap();
    std::thread::spawn(move || secret.incoming().for_each(drop));
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    let (other, _) = host.start("other", &[on(DEFAULT_NETWORK)], &[]);
    web.serve(80);
    other.run(|| send_loopback_packets_by("10.87.0.1", "eth0"));
    assert!(get("127.0.0.1:8080").is_some() && get("127.0.0.1:9999").is_some());
    assert!(other.is_kept_from("127.0.0.1:9999"));
    assert!(other.is_kept_from("127.0.0.1:8080"));
    for container in [web, other] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// Makes the calling thread's namespace send packets for 127.0.0.0/8 to a gateway.
fn send_loopback_packets_by(gateway: &str, interface: &str) {
    ip(&format!("route add 127.0.0.0/8 via {gateway} dev {interface} table 7"));
    ip("rule add to 127.0.0.0/8 table 7 priority 0");
    ip("rule add table local priority 10");
    ip("rule del priority 0 table local");
    std::fs::write("/proc/sys/net/ipv4/conf/all/route_localnet", "1").unwrap();
}

#[test]
fn ipv6_works_like_ipv4() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let config = Config { name: "dual".to_owned(), ipv6: true, disable_dns: true, ..Config::default() };
    let network = host.networks.create(&config, false).unwrap();
    let accept_ra = || std::fs::read_to_string("/proc/sys/net/ipv6/conf/lan/accept_ra").unwrap();
    assert_eq!(accept_ra(), "1\n");
    let (web, lease) = host.start("web", &[on("dual")], &["8080:80"]);
    // The host forwards now, and goes on listening to its own routers.
    assert_eq!(accept_ra(), "2\n");
    let (other, _) = host.start("other", &[on("dual")], &[]);
    web.serve(80);
    assert_eq!(lease.attachments[0].addresses.len(), 2);
    let gateway = network.subnets[1].gateway.unwrap().to_string();
    assert_eq!(get("[fd00:2::1]:8080"), says("web", "fd00:2::1"));
    assert_eq!(neighbour.get("[fd00:2::1]:8080"), says("web", "fd00:2::9"));
    assert_eq!(neighbour.get("192.0.2.1:8080"), says("web", "192.0.2.9"));
    assert_eq!(other.get("[fd00:2::1]:8080"), says("web", &gateway));
    assert_eq!(web.get("[fd00:2::1]:8080"), says("web", &gateway));
    // The kernel can't: refused at once, so that clients of "localhost" go on to IPv4.
    let refused = std::net::TcpStream::connect("[::1]:8080").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    // Out of the host, behind its address.
    neighbour.serve(7);
    assert_eq!(web.get("[fd00:2::9]:7"), says("neighbour", "fd00:2::1"));
    assert_eq!(web.get("192.0.2.9:7"), says("neighbour", "192.0.2.1"));
    for container in [web, other] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

/// Or a container could make itself its neighbours' router (CVE-2020-10749, CVE-2020-13401); also on an interface that
/// comes later. The host's end of a pair is no machine of that network at all.
#[test]
fn a_containers_ipv6_addresses_come_from_us_alone() {
    let Some(host) = Host::new() else { return };
    let config = Config { name: "dual".to_owned(), ipv6: true, disable_dns: true, ..Config::default() };
    host.networks.create(&config, false).unwrap();
    let setting = |path: String| std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{path}")).unwrap();
    for (network, link_local) in [(DEFAULT_NETWORK, false), ("dual", true)] {
        let (container, lease) = host.start(network, &[on(network)], &["8080:80"]);
        let attachment = &lease.attachments[0];
        let interface = attachment.interface.clone();
        let generation = if link_local { "0\n" } else { "1\n" };
        container.run(move || {
            for name in ["default", interface.as_str()] {
                assert_eq!(setting(format!("{name}/accept_ra")), "0\n");
                assert_eq!(setting(format!("{name}/accept_dad")), "0\n");
                assert_eq!(setting(format!("{name}/addr_gen_mode")), generation);
            }
        });
        assert_eq!(setting(format!("{}/disable_ipv6", attachment.host_interface)), "1\n");
        assert_eq!(
            command("ip", &["-6", "route", "show", "table", "all", "dev", &attachment.host_interface]),
            ""
        );
        host.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn multicast_reaches_the_neighbours() {
    let Some(host) = Host::new() else { return };
    let config = Config { name: "dual".to_owned(), ipv6: true, disable_dns: true, ..Config::default() };
    host.networks.create(&config, false).unwrap();
    let (sender, _) = host.start("sender", &[on("dual")], &[]);
    for (group, name) in [("239.1.2.3", "first"), ("ff05::1:3", "second")] {
        let group: IpAddr = group.parse().unwrap();
        let (receiver, _) = host.start(name, &[on("dual")], &[]);
        let socket = receiver.run(move || match group {
            IpAddr::V4(group) => {
                let socket = UdpSocket::bind("0.0.0.0:5000").unwrap();
                socket.join_multicast_v4(&group, &Ipv4Addr::UNSPECIFIED).unwrap();
                socket
            }
            IpAddr::V6(group) => {
                let socket = UdpSocket::bind("[::]:5000").unwrap();
                socket.join_multicast_v6(&group, 0).unwrap();
                socket
            }
        });
        socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        sender.run(move || {
            let any = if group.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
            UdpSocket::bind(any).unwrap().send_to(b"all", (group, 5000)).unwrap();
        });
        assert_eq!(socket.recv(&mut [0; 8]).unwrap(), 3);
        host.networks.release(&receiver.holder.id).unwrap();
    }
    host.networks.release(&sender.holder.id).unwrap();
}

#[test]
fn networks_are_kept_apart_as_asked() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    neighbour.serve(7);
    let make = |name: &str, isolate: Option<&str>, internal| {
        let mut config = Config { name: name.to_owned(), internal, disable_dns: true, ..Config::default() };
        if let Some(isolate) = isolate {
            config.options.set(Driver::Bridge, "isolate", isolate).unwrap();
        }
        host.networks.create(&config, false).unwrap();
        let (container, lease) = host.start(name, &[on(name)], &[]);
        container.serve(80);
        (container, format!("{}:80", address(&lease)))
    };
    let (open, open_at) = make("open", None, false);
    let (open2, open2_at) = make("open2", None, false);
    let (isolated, isolated_at) = make("isolated", Some("true"), false);
    let (isolated2, isolated2_at) = make("isolated2", Some("true"), false);
    let (strict, strict_at) = make("strict", Some("strict"), false);
    let (internal, internal_at) = make("internal", None, true);

    assert!(open.get(&open2_at).is_some() && open2.get(&open_at).is_some());
    assert!(open.get(&isolated_at).is_some() && isolated.get(&open_at).is_some());
    assert!(isolated.is_kept_from(&isolated2_at));
    assert!(isolated2.is_kept_from(&isolated_at));
    assert!(strict.is_kept_from(&open_at));
    assert!(open.is_kept_from(&strict_at));
    assert!(internal.is_kept_from(&open_at));
    assert!(open.is_kept_from(&internal_at));
    // The way out of the host, and the host's way in.
    for container in [&open, &isolated, &strict] {
        assert!(container.get("192.0.2.9:7").is_some(), "{}", container.holder.name);
    }
    assert!(internal.is_kept_from("192.0.2.9:7"));
    assert!(get(&internal_at).is_some() && get(&strict_at).is_some());
    // Neighbours on an internal network see each other, whatever the bridge does.
    let (second, _) = host.start("second", &[on("internal")], &[]);
    assert!(second.get(&internal_at).is_some());
    // A default route of one's own making doesn't lead out either.
    second.run(|| ip("route add default via 10.84.5.1"));
    assert!(second.is_kept_from("192.0.2.9:7"));
    for container in [open, open2, isolated, isolated2, strict, internal, second] {
        host.networks.release(&container.holder.id).unwrap();
    }
    assert!(!host.traces().contains("elements"));
}

#[test]
fn several_networks_at_once() {
    let Some(host) = Host::new() else { return };
    for name in ["front", "back"] {
        let config = Config { name: name.to_owned(), disable_dns: true, ..Config::default() };
        host.networks.create(&config, false).unwrap();
    }
    let neighbour = host.neighbour();
    // As RHEL has it: packets must come by the interface that leads back.
    std::fs::write("/proc/sys/net/ipv4/conf/default/rp_filter", "1").unwrap();
    let (both, lease) = host.start("both", &[on("front"), on("back")], &["8080:80"]);
    let (front, _) = host.start("front", &[on("front")], &[]);
    let (back, _) = host.start("back", &[on("back")], &[]);
    both.serve(80);
    let at = |place: usize| format!("{}:80", lease.attachments[place].addresses[0].address);
    assert_eq!(lease.attachments[1].interface, "eth1");
    assert!(front.get(&at(0)).is_some() && back.get(&at(1)).is_some());
    assert!(get("127.0.0.1:8080").is_some());
    // It answers over its first network, whichever it was asked by.
    assert!(neighbour.get(&at(0)).is_some() && neighbour.get(&at(1)).is_some());
    let routes = both.run(|| command("ip", &["route"]));
    assert_eq!(routes.matches("default").count(), 2, "{routes}");
    for container in [both, front, back] {
        host.networks.release(&container.holder.id).unwrap();
    }
}

#[test]
fn options_reach_the_interfaces() {
    let Some(host) = Host::new() else { return };
    let config = Config {
        name: "jumbo".to_owned(),
        interface: Some("jumbo0".to_owned()),
        disable_dns: true,
        options: Options { mtu: Some(9000), ..Options::default() },
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
    let mut request = on("jumbo");
    request.mac = Some("02:11:22:33:44:55".to_owned());
    request.interface = Some("net0".to_owned());
    request.ip = Some("10.84.0.77".parse().unwrap());
    let (container, lease) = host.start("big", &[request.clone()], &[]);
    assert_eq!(address(&lease).to_string(), "10.84.0.77");
    let inside = container.run(|| command("ip", &["addr", "show", "net0"]));
    for word in ["mtu 9000", "02:11:22:33:44:55", "10.84.0.77/24", "10.84.0.255"] {
        assert!(inside.contains(word), "{word}: {inside}");
    }
    assert!(command("ip", &["link", "show", "jumbo0"]).contains("mtu 9000"));
    // The fixed address is taken now.
    let second = host.container("second");
    let error = host.networks.reserve(&second.holder, &[request], &[]).unwrap_err();
    assert!(matches!(error, Error::AddressInUse { .. }), "{error}");
    assert!(error.to_string().contains("\"big\""), "{error}");
    host.networks.release(&container.holder.id).unwrap();
}

/// As on a cloud host with an overlay network: larger packets would be lost on the way.
#[test]
fn packets_fit_the_hosts_way_out() {
    let Some(host) = Host::new() else { return };
    let _neighbour = host.neighbour();
    ip("link set lan mtu 1400");
    ip("route add default via 192.0.2.9");
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &[]);
    let inside = web.run(|| command("ip", &["link", "show", "eth0"]));
    assert!(inside.contains("mtu 1400"), "{inside}");
    host.networks.release(&web.holder.id).unwrap();
}

#[test]
fn subnets_of_the_host_are_kept_clear_of() {
    let Some(host) = Host::new() else { return };
    ip("link add busy type bridge");
    ip("addr add 10.84.0.1/23 dev busy");
    ip("link set busy up");
    let config = |name: &str, subnet: &str| Config {
        name: name.to_owned(),
        subnets: vec![subnet.parse::<Subnet>().unwrap().into()],
        ..Config::default()
    };
    let error = host.networks.create(&config("a", "10.84.1.0/24"), false).unwrap_err();
    assert!(error.to_string().contains("route to 10.84.0.0/23"), "{error}");
    let free = Config { name: "b".to_owned(), ..Config::default() };
    let network = host.networks.create(&free, false).unwrap();
    assert_eq!(network.subnets[0].subnet.to_string(), "10.84.2.0/24");
    let error = host.networks.create(&config("c", "10.84.2.128/25"), false).unwrap_err();
    assert!(error.to_string().contains("network \"b\""), "{error}");
    assert!(matches!(host.networks.create(&free, false), Err(Error::NetworkExists(_))));
    assert_eq!(host.networks.create(&free, true).unwrap(), network);
    host.networks.remove("b", false).unwrap();
    assert!(matches!(host.networks.get("b"), Err(Error::NoNetwork(_))));
}

#[test]
fn a_changed_network_converges_when_nobody_holds_it() {
    let Some(host) = Host::new() else { return };
    let mut config = Config { name: "web".to_owned(), disable_dns: true, ..Config::default() };
    let first = host.networks.create(&config, true).unwrap();
    assert_eq!(host.networks.create(&config, true).unwrap(), first);
    let (web, _) = host.start("web", &[on("web")], &[]);
    assert_eq!(host.networks.create(&config, true).unwrap(), first);
    config.options.mtu = Some(1400);
    config.ipv6 = true;
    // What waits, and what becomes true at once, is `converge.rs`'s.
    host.networks.release(&web.holder.id).unwrap();
    let second = host.networks.create(&config, true).unwrap();
    assert_eq!(second.subnets[0], first.subnets[0]);
    assert_eq!(second.network_interface, first.network_interface);
    assert!(second.ipv6_enabled && second.options.mtu == Some(1400));
    config.subnets = vec!["10.50.0.0/24".parse::<Subnet>().unwrap().into()];
    let third = host.networks.create(&config, true).unwrap();
    assert_eq!(third.subnets[0].subnet.to_string(), "10.50.0.0/24");
    assert_eq!(host.networks.get("web").unwrap(), third);
}

/// A UDP client that goes on sending from one port reaches whoever has the port now.
#[test]
fn udp_flows_follow_the_port() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    let client = neighbour.run(|| std::net::UdpSocket::bind("0.0.0.0:4000").unwrap());
    let ask = |patience: u64| {
        client.set_read_timeout(Some(Duration::from_secs(patience))).unwrap();
        client.send_to(b"hello", "192.0.2.1:5353").ok()?;
        let mut buffer = [0; 64];
        let (length, _) = client.recv_from(&mut buffer).ok()?;
        Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
    };
    // Before anybody has it: the flow is remembered as one to the host itself.
    assert_eq!(ask(2), None);
    for name in ["first", "second"] {
        let (container, _) = host.start(name, &[on(DEFAULT_NETWORK)], &["5353:53/udp"]);
        container.serve_udp(53);
        assert_eq!(ask(30), says(name, "192.0.2.9"));
        // Another container stays, so that the address isn't used again at once.
        let (other, _) = host.start(&format!("beside{name}"), &[on(DEFAULT_NETWORK)], &[]);
        host.networks.release(&container.holder.id).unwrap();
        assert_eq!(ask(2), None);
        drop(other);
    }
    for name in ["besidefirst", "besidesecond"] {
        host.networks.release(&host.container(name).holder.id).unwrap();
    }
}

/// As in a unit with `ProtectKernelTunables=yes`.
#[test]
fn a_read_only_proc_is_no_obstacle() {
    use nix::mount::{MsFlags, mount};
    let Some(host) = Host::new() else { return };
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    mount(Some("/proc/sys"), "/proc/sys", none, MsFlags::MS_BIND, none).unwrap();
    let read_only = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(none, "/proc/sys", none, read_only, none).unwrap();
    assert!(std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").is_err());
    let (web, _) = host.start("web", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    web.serve(80);
    assert!(get("127.0.0.1:8080").is_some());
    assert_eq!(std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(), "1\n");
    host.networks.release(&web.holder.id).unwrap();
}
