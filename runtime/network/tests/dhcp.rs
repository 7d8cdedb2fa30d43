//! Addresses from a DHCP server: another machine on the host's link gives them.

mod host;

use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use host::dnsmasq::{RANGE, Server};
use host::{Container, Host, address, command, eventually, has, ip, on};
use sampan_network::{Config, Driver, Error, Ipam, Lease, Options};

/// The link to the other machine, see [`Host::neighbour`].
const PARENT: &str = "lan";

fn macvlan(host: &Host) {
    on_parent(host, Driver::Macvlan);
}

fn on_parent(host: &Host, driver: Driver) {
    let config = Config {
        name: "net".to_owned(),
        driver,
        interface: Some(PARENT.to_owned()),
        ipam: Some(Ipam::Dhcp),
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
}

/// The other machine, with a DHCP server on the link.
fn served(host: &Host) -> Option<(Container, Server)> {
    let neighbour = host.neighbour();
    let server = Server::start(host, &neighbour, RANGE)?;
    Some((neighbour, server))
}

fn lease_of(host: &Host, container: &Container) -> Lease {
    host.networks.lease(&container.holder.id).unwrap().unwrap()
}

fn inside(container: &Container, arguments: &'static str) -> String {
    container.run(move || command("ip", &arguments.split(' ').collect::<Vec<_>>()))
}

fn is_free_soon(server: &Server) {
    eventually("that the address came back", || server.leases().is_empty());
}

/// Starts, looks, renews, ends, and starts again.
fn live(host: &Host, neighbour: &Container, server: &Server) {
    let before = host.traces();
    let (web, _) = host.start("web", &[on("net")], &[]);
    let lease = lease_of(host, &web);
    let (own, place) = (address(&lease), &lease.attachments[0]);
    assert!(own.to_string().starts_with("192.0.2.5"), "{own}");
    assert_eq!(place.gateways, ["192.0.2.9".parse::<std::net::IpAddr>().unwrap()]);
    assert!(server.leases().contains(&format!("{own} web ff:")), "{}", server.leases());
    assert_eq!(lease.renewal_interval(), Some(Duration::from_secs(450)));

    let shown = inside(&web, "-d addr show dev eth0");
    assert!(
        shown.contains(&format!("inet {own}/24 brd 192.0.2.255")) && shown.contains("mtu 1400"),
        "{shown}"
    );
    let seconds = shown.split("valid_lft ").nth(1).and_then(|rest| rest.split("sec").next()).unwrap();
    assert!((3500..=3600).contains(&seconds.parse::<u32>().unwrap()), "{shown}");
    assert!(inside(&web, "route").contains("default via 192.0.2.9 dev eth0 proto dhcp"));
    web.serve(80);
    assert_eq!(neighbour.get(&format!("{own}:80")).as_deref(), Some("web sees 192.0.2.9"));

    // Not due, then asked for.
    assert_eq!(host.networks.renew(&web.holder.id, web.netns.as_fd(), true).unwrap(), []);
    let renewals = host.networks.renew(&web.holder.id, web.netns.as_fd(), false).unwrap();
    assert!(renewals[0].succeeded && !renewals[0].changed, "{renewals:?}");
    assert!(renewals[0].outcome.contains(&format!("192.0.2.9 grants {own}/24 for 3600 s")), "{renewals:?}");
    assert_ne!(lease_of(host, &web), lease, "the new time is noted");

    assert_eq!(host.networks.holders("net").unwrap(), *std::slice::from_ref(&web.holder.id));
    host.networks.release(&web.holder.id).unwrap();
    assert!(host.networks.holders("net").unwrap().is_empty());
    is_free_soon(server);
    // As when the last process has ended, but later: the kernel removes namespaces when it has time.
    let late = web.spawn(|| {
        thread::sleep(Duration::from_millis(300));
        Command::new("ip").args(["link", "del", "eth0"]).stderr(Stdio::null()).status()
    });
    // A container of this name has another id each time, and the same address.
    let (mut again, holder) = (host.container("web"), "ab".repeat(32));
    again.holder.id = holder;
    let reserved = host.networks.reserve(&again.holder, &[on("net")], &[]).unwrap();
    host.networks.attach(&reserved, again.netns.as_fd()).unwrap();
    let lease = lease_of(host, &again);
    assert_eq!((address(&lease), &lease.attachments[0].mac), (own, &place.mac));
    let _ = late.join().unwrap();
    host.networks.release(&again.holder.id).unwrap();
    let after = host.traces();
    let left: Vec<_> = after
        .lines()
        .filter(|line| {
            !before.contains(*line) && !line.contains("/.dhcp") && !line.ends_with("/addresses\",")
        })
        .collect();
    assert!(left.iter().all(|line| line.contains("[\"lo")), "{left:#?}");
    host.networks.remove("net", false).unwrap();
    assert!(!host.traces().contains(".dhcp"), "a network takes its memory along");
}

#[test]
fn a_macvlan_is_a_machine_of_its_parents_network() {
    let Some(host) = Host::new() else { return };
    let Some((neighbour, server)) = served(&host) else { return };
    macvlan(&host);
    live(&host, &neighbour, &server);
}

/// All of them have the parent's MAC address: the server tells them apart by their client identifiers, and its
/// answers are broadcast.
#[test]
fn so_is_an_ipvlan_with_the_mac_address_of_others() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    if !has("ipvlan", "link lan type ipvlan") {
        return;
    }
    let Some(server) = Server::start(&host, &neighbour, RANGE) else { return };
    on_parent(&host, Driver::Ipvlan);
    let (db, _) = host.start("db", &[on("net")], &[]);
    let (mail, _) = host.start("mail", &[on("net")], &[]);
    let (of_db, of_mail) = (lease_of(&host, &db), lease_of(&host, &mail));
    assert_eq!(of_db.attachments[0].mac, of_mail.attachments[0].mac);
    assert_ne!(address(&of_db), address(&of_mail));
    db.serve(80);
    let expected = format!("db sees {}", address(&of_mail));
    assert_eq!(mail.get(&format!("{}:80", address(&of_db))), Some(expected));
    for container in [&db, &mail] {
        let renewals = host.networks.renew(&container.holder.id, container.netns.as_fd(), false).unwrap();
        assert!(renewals[0].succeeded && !renewals[0].changed, "{renewals:?}");
        host.networks.release(&container.holder.id).unwrap();
        inside(container, "link del eth0");
    }
    is_free_soon(&server);
    live(&host, &neighbour, &server);
}

#[test]
fn so_is_a_port_of_a_bridge_of_the_host() {
    let Some(host) = Host::new() else { return };
    let Some((neighbour, server)) = served(&host) else { return };
    for line in ["link add br0 type bridge", "link set br0 up", "link set lan master br0"] {
        ip(line);
    }
    let mut options = Options::default();
    options.set(Driver::Bridge, "mode", "unmanaged").unwrap();
    let config = Config {
        name: "net".to_owned(),
        options,
        interface: Some("br0".to_owned()),
        ipam: Some(Ipam::Dhcp),
        ..Config::default()
    };
    host.networks.create(&config, false).unwrap();
    live(&host, &neighbour, &server);
}

#[test]
fn a_container_that_runs_comes_and_goes() {
    let Some(host) = Host::new() else { return };
    let Some((_neighbour, server)) = served(&host) else { return };
    macvlan(&host);
    let (web, _) = host.start("web", &[on(sampan_network::DEFAULT_NETWORK)], &[]);
    let lease = host.networks.connect(&web.holder.id, &on("net"), web.netns.as_fd()).unwrap();
    let own = lease.attachments[1].addresses[0].address.to_string();
    assert!(lease.is_dynamic() && own.starts_with("192.0.2.5"), "{own}");
    assert!(inside(&web, "addr show dev eth1").contains(&own));
    let lease = host.networks.disconnect(&web.holder.id, "net", Some(web.netns.as_fd())).unwrap();
    assert!(!lease.is_dynamic());
    is_free_soon(&server);
    assert!(!inside(&web, "addr").contains(&own));
}

#[test]
fn a_network_that_becomes_another_gives_another_address() {
    let Some(host) = Host::new() else { return };
    let Some((neighbour, server)) = served(&host) else { return };
    macvlan(&host);
    let (web, _) = host.start("web", &[on("net")], &[]);
    let old = address(&lease_of(&host, &web));
    drop(server);
    std::fs::remove_file(host.directory().join("dhcp.leases")).unwrap();
    neighbour.run(|| ip("addr add 198.51.100.9/24 dev lan0"));
    let range = "--dhcp-range=198.51.100.50,198.51.100.59,255.255.255.0,1h";
    let Some(_server) = Server::start(&host, &neighbour, range) else { return };
    let renewals = host.networks.renew(&web.holder.id, web.netns.as_fd(), false).unwrap();
    assert!(renewals[0].succeeded && renewals[0].changed, "{renewals:?}");
    let new = address(&lease_of(&host, &web));
    assert!(new.to_string().starts_with("198.51.100.5"), "{new}");
    let shown = inside(&web, "addr show dev eth0");
    assert!(shown.contains(&new.to_string()) && !shown.contains(&old.to_string()), "{shown}");
    assert!(inside(&web, "route").contains("default via 198.51.100.9"));
}

/// Another machine on the host's link, with an address that nobody has granted it.
fn squatter(address: &str) -> Container {
    let squatter = host::container("squatter");
    ip(&format!("link add link {PARENT} name squat0 type macvlan mode bridge"));
    let fd = std::os::fd::AsRawFd::as_raw_fd(&squatter.netns);
    ip(&format!("link set squat0 netns /proc/{}/fd/{fd}", std::process::id()));
    let address = format!("addr add {address}/24 dev squat0");
    squatter.run(move || {
        ip(&address);
        ip("link set squat0 up");
    });
    squatter
}

#[test]
fn an_address_that_somebody_has_set_by_hand_is_not_used() {
    let Some(host) = Host::new() else { return };
    let Some((_neighbour, server)) = served(&host) else { return };
    macvlan(&host);
    let (web, _) = host.start("web", &[on("net")], &[]);
    let taken = address(&lease_of(&host, &web));
    host.networks.release(&web.holder.id).unwrap();
    is_free_soon(&server);
    drop(web);
    let _squatter = squatter(&taken.to_string());
    // It asks for the address that it had, and the server knows no better.
    let (web, _) = host.start("web", &[on("net")], &[]);
    let own = address(&lease_of(&host, &web));
    assert!(own.to_string().starts_with("192.0.2.5") && own != taken, "{own}");
    assert!(!inside(&web, "addr show dev eth0").contains(&taken.to_string()));
    let leases = server.leases();
    assert!(
        leases.contains(&format!("{own} ")) && !leases.contains(&format!("{taken} ")),
        "declined: {leases}"
    );
    host.networks.release(&web.holder.id).unwrap();
}

#[test]
fn without_a_server_the_error_says_where_to_look() {
    let Some(host) = Host::new() else { return };
    let _neighbour = host.neighbour();
    macvlan(&host);
    let web = host.container("web");
    let lease = host.networks.reserve(&web.holder, &[on("net")], &[]).unwrap();
    let start = Instant::now();
    let error = host.networks.attach(&lease, web.netns.as_fd()).unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(60), "{:?}", start.elapsed());
    assert!(matches!(error, Error::Dhcp { .. }));
    let text = error.to_string();
    for word in ["eth0", "\"net\"", "no DHCP server answered within 10 s", PARENT] {
        assert!(text.contains(word), "{text}");
    }
    host.networks.release(&web.holder.id).unwrap();
    assert!(!host.networks.holders("net").unwrap().contains(&web.holder.id));
}

/// A server that grants each request for twelve seconds, and one address after the other.
fn hasty(neighbour: &Container) {
    let socket = neighbour.run(|| UdpSocket::bind("0.0.0.0:67").unwrap());
    socket.set_broadcast(true).unwrap();
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        let mut last = 70;
        while let Ok((length, _)) = socket.recv_from(&mut buffer) {
            if length < 243 || (buffer[242] != 1 && buffer[242] != 3) {
                continue;
            }
            last += u8::from(buffer[242] == 1);
            let kind = if buffer[242] == 1 { 2 } else { 5 };
            let mut answer = buffer[..240].to_vec();
            answer[0] = 2;
            answer[16..20].copy_from_slice(&[192, 0, 2, last]);
            answer
                .extend([53, 1, kind, 54, 4, 192, 0, 2, 9, 51, 4, 0, 0, 0, 12, 1, 4, 255, 255, 255, 0, 255]);
            let _ = socket.send_to(&answer, "255.255.255.255:68");
        }
    });
}

#[test]
fn an_address_ends_with_its_time_unless_it_is_renewed() {
    let Some(host) = Host::new() else { return };
    let neighbour = host.neighbour();
    hasty(&neighbour);
    macvlan(&host);
    let (web, _) = host.start("web", &[on("net")], &[]);
    let has = |address: &str| inside(&web, "addr show dev eth0").contains(address);
    assert!(has("192.0.2.71"));
    // Half of the time is over: it is due. Together it is more than all the time of the first grant.
    for _ in 0..3 {
        let mut renewals = Vec::new();
        eventually("that it is due", || {
            renewals = host.networks.renew(&web.holder.id, web.netns.as_fd(), true).unwrap();
            !renewals.is_empty()
        });
        assert!(renewals[0].succeeded && !renewals[0].changed, "{renewals:?}");
        assert!(has("192.0.2.71"));
    }
    eventually("the end of what nobody has renewed", || !has("192.0.2.71"));
    let renewals = host.networks.renew(&web.holder.id, web.netns.as_fd(), true).unwrap();
    assert!(renewals[0].succeeded && renewals[0].changed, "{renewals:?}");
    assert!(has("192.0.2.72"));
    assert_eq!(address(&lease_of(&host, &web)).to_string(), "192.0.2.72");
}
