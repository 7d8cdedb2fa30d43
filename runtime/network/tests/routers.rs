//! Router advertisements (RFC 4861) of a machine on the host's link: who takes his IPv6 addresses from them.

mod host;

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::thread;
use std::time::Duration;

use host::dnsmasq::{RANGE, Server};
use host::{Container, Host, command, eventually, has, ip, on};
use nix::net::if_::if_nametoindex;
use rustix::net::sockopt::{set_ipv6_multicast_hops, set_ipv6_multicast_loop};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, ipproto, sendto, socket_with};
use sampan_network::{Config, Driver, Ipam, Subnet};

/// What the router announces; [`Host::neighbour`] is at 9 there too.
const PREFIX: &str = "fd00:5::";

/// Announces the prefix on `lan0` and itself as the way to everywhere, for two minutes.
fn advertise(router: &Container) {
    router.run(|| {
        ip(&format!("addr add {PREFIX}9/64 dev lan0 nodad"));
        let socket =
            socket_with(AddressFamily::INET6, SocketType::RAW, SocketFlags::CLOEXEC, Some(ipproto::ICMPV6))
                .unwrap();
        // As far as the next machine: that is how receivers know that it is from their link.
        set_ipv6_multicast_hops(&socket, 255).unwrap();
        set_ipv6_multicast_loop(&socket, false).unwrap();
        let everyone: Ipv6Addr = "ff02::1".parse().unwrap();
        let everyone = SocketAddr::from(SocketAddrV6::new(everyone, 0, 0, if_nametoindex("lan0").unwrap()));
        let message = advertisement();
        thread::spawn(move || {
            for _ in 0..600 {
                // It fails until the link-local address is sure to be the router's own.
                let _ = sendto(&socket, &message, SendFlags::empty(), &everyone);
                thread::sleep(Duration::from_millis(200));
            }
        });
    });
}

/// A router of half an hour, and a prefix of an hour.
fn advertisement() -> Vec<u8> {
    const ROUTER_ADVERTISEMENT: u8 = 134;
    const PREFIX_INFORMATION: u8 = 3;
    const ON_LINK_AND_AUTONOMOUS: u8 = 0xc0;
    let mut message = vec![ROUTER_ADVERTISEMENT, 0, 0, 0, 64, 0];
    message.extend(1800_u16.to_be_bytes());
    message.extend([0; 8]);
    message.extend([PREFIX_INFORMATION, 4, 64, ON_LINK_AND_AUTONOMOUS]);
    message.extend([3600_u32.to_be_bytes(), 3600_u32.to_be_bytes(), [0; 4]].concat());
    message.extend(PREFIX.parse::<Ipv6Addr>().unwrap().octets());
    message
}

fn create(host: &Host, name: &str, driver: Driver, change: impl Fn(&mut Config)) {
    let mut config = Config { name: name.to_owned(), driver, ..Config::default() };
    config.interface = Some("lan".to_owned());
    config.ipam = Some(Ipam::Dhcp);
    change(&mut config);
    host.networks.create(&config, false).unwrap();
}

fn inside(container: &Container, arguments: &'static str) -> String {
    container.run(move || command("ip", &arguments.split(' ').collect::<Vec<_>>()))
}

/// The address that a container has made of the prefix, as soon as it is sure to be its own.
fn autoconfigured(container: &Container) -> String {
    let mut address = None;
    eventually(&format!("an address of {PREFIX}/64"), || {
        let shown = inside(container, "-6 -o addr show dev eth0 scope global -tentative");
        let mut words = shown.split_whitespace();
        address = words.find(|word| word.starts_with(PREFIX)).map(str::to_owned);
        address.is_some()
    });
    address.unwrap().split('/').next().unwrap().to_owned()
}

/// Two containers of a network, which are machines on its link.
fn take_part(host: &Host, router: &Container, driver: Driver) {
    create(host, "open", driver, |_| {});
    let (one, _) = host.start("one", &[on("open")], &[]);
    let (two, _) = host.start("two", &[on("open")], &[]);
    let (of_one, of_two) = (autoconfigured(&one), autoconfigured(&two));
    assert_ne!(of_one, of_two);
    assert_eq!(one.get(&format!("[{PREFIX}9]:8000")), Some(format!("neighbour sees {of_one}")));
    two.serve(80);
    assert_eq!(router.get(&format!("[{of_two}]:80")), Some(format!("two sees {PREFIX}9")));
    assert_eq!(one.get(&format!("[{of_two}]:80")), Some(format!("two sees {of_one}")));
    let routes = inside(&one, "-6 route show default");
    assert!(routes.contains("via fe80:") && routes.contains("proto ra"), "{routes}");
}

/// A router with a DHCP server beside it.
fn router(host: &Host) -> Option<(Container, Server)> {
    let router = host.neighbour();
    router.serve(8000);
    let server = Server::start(host, &router, RANGE)?;
    advertise(&router);
    Some((router, server))
}

#[test]
fn macvlan_containers_with_dhcp_are_neighbours_of_the_router() {
    let Some(host) = Host::new() else { return };
    let Some((router, _server)) = router(&host) else { return };
    take_part(&host, &router, Driver::Macvlan);
}

/// They have one MAC address, and an address each all the same.
#[test]
fn so_are_ipvlan_containers() {
    let Some(host) = Host::new() else { return };
    let Some((router, _server)) = router(&host) else { return };
    if has("ipvlan", "link lan type ipvlan") {
        take_part(&host, &router, Driver::Ipvlan);
    }
}

/// CVE-2020-10749: whoever is on the link could make himself the router of others.
#[test]
fn containers_with_addresses_of_ours_hear_no_router() {
    let Some(host) = Host::new() else { return };
    let Some((_router, _server)) = router(&host) else { return };
    create(&host, "ours", Driver::Macvlan, |config| {
        config.ipam = None;
        let subnets = ["192.0.2.0/24", "fd00:2::/64"];
        config.subnets = subnets.map(|subnet| subnet.parse::<Subnet>().unwrap().into()).to_vec();
    });
    create(&host, "closed", Driver::Macvlan, |config| config.internal = true);
    let (ours, _) = host.start("ours", &[on("ours")], &[]);
    // It comes up later, and has heard the router.
    let (closed, _) = host.start("closed", &[on("closed")], &[]);
    autoconfigured(&closed);
    assert_eq!(inside(&closed, "-6 route show default"), "", "a network without a way out");
    let shown = inside(&ours, "-6 addr show dev eth0") + &inside(&ours, "-6 route");
    assert!(!shown.contains(PREFIX) && !shown.contains("proto ra"), "{shown}");
    assert!(shown.contains("default via fd00:2::1"), "{shown}");
}
