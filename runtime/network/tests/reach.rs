//! Who reaches what, and what the other end sees of him: one table.

mod host;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use host::{Container, Host, can_make, ip, lacks, on, sctp};
use sampan_network::{Config, Driver, Lease, LeaseRange, Subnet, SubnetConfig};
use tempfile::TempDir;

/// Rows: who asks. Columns: what is asked for. Cells: the address that the server sees:
/// `own` of the one who asks, `gate` the gateway of the server's network, `host` the
/// host's on the link to the other machine; `-` is out of reach. `gate4` is `gate` over
/// IPv4 and out of reach over IPv6; all else is the same over both. A rule of the
/// firewall that goes missing makes a cell wrong.
///
/// `front`, `open`, … are containers, each on the network of that name, asked at their own
/// addresses; those whose name ends in 2 are beside the first one, but for `isolated2`,
/// which has an isolated network of its own. `macvlan` and `ipvlan` are containers on the
/// host's two links to `outside`, the other machine, and `macvlan-there` and
/// `ipvlan-there` are containers of that machine on the same links.
///
/// A host and the containers on one of its links don't hear each other: that is the kernel's way.
///
/// `tcp`, `udp` and `sctp` are ports that front has published, asked for at the host's
/// address on the first link; `local` and `local-sctp` the same at 127.0.0.1 (or ::1).
/// `at-isolated` and `at-internal` are ports of those containers. The kernel carries
/// no packets of ::1 to a container: clients of `localhost` go on to IPv4.
const TABLE: &str = "
from           front  open  isolated  strict  internal  outside  macvlan  macvlan-there  ipvlan  ipvlan-there
host           gate   gate  gate      gate    gate      host     -        host           -       host
outside        own    own   own       own     -         own      own      -              own     -
front          own    own   own       -       -         host     -        host           -       host
front2         own    own   own       -       -         host     -        host           -       host
open           own    own   own       -       -         host     -        host           -       host
isolated       own    own   own       -       -         host     -        host           -       host
isolated2      own    own   -         -       -         host     -        host           -       host
strict         -      -     -         own     -         host     -        host           -       host
internal       -      -     -         -       own       -        -        -              -       -
internal2      -      -     -         -       own       -        -        -              -       -
macvlan        -      -     -         -       -         own      own      own            -       -
macvlan2       -      -     -         -       -         own      own      own            -       -
macvlan-there  own    own   own       own     -         -        own      own            -       own
ipvlan         -      -     -         -       -         own      -        -              own     own
ipvlan2        -      -     -         -       -         own      -        -              own     own
ipvlan-there   own    own   own       own     -         -        -        own            own     own

from           tcp   udp   sctp  at-isolated  at-internal  local  local-sctp
host           host  host  host  host         gate         gate4  gate4
outside        own   own   own   own          -            -      -
front          gate  gate  gate  own          -            -      -
front2         gate  gate  gate  own          -            -      -
open           own   own   own   own          -            -      -
isolated       own   own   own   gate         -            -      -
isolated2      own   own   own   -            -            -      -
strict         -     -     -     -            -            -      -
internal       -     -     -     -            gate         -      -
internal2      -     -     -     -            gate         -      -
macvlan        -     -     -     -            -            -      -
macvlan2       -     -     -     -            -            -      -
macvlan-there  own   own   own   own          -            -      -
ipvlan         -     -     -     -            -            -      -
ipvlan2        -     -     -     -            -            -      -
ipvlan-there   own   own   own   own          -            -      -
";

const PORT: u16 = 80;
const UDP_PORT: u16 = 53;
const SCTP_PORT: u16 = 38412;
const OUTSIDE_PORT: u16 = 7;
/// How long something is waited for that should come, where many want a processor, and that shouldn't.
const PATIENCE: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_secs(4);

/// Containers on bridges: the name, its network, the network's isolation, and the published ports.
const CONTAINERS: [(&str, &str, &str, &[&str]); 8] = [
    ("front", "front", "", &["8080:80", "5353:53/udp", "3868:38412/sctp"]),
    ("front2", "front", "", &[]),
    ("open", "open", "", &[]),
    ("isolated", "isolated", "true", &["8081:80"]),
    ("isolated2", "isolated2", "true", &[]),
    ("strict", "strict", "strict", &[]),
    ("internal", "internal", "internal", &["8082:80"]),
    ("internal2", "internal", "internal", &[]),
];

/// A link between the host and the other machine, and the driver of the containers on it.
struct Link {
    driver: Driver,
    name: &'static str,
    ipv4: &'static str,
    ipv6: &'static str,
}

const LINKS: [Link; 2] = [
    Link { driver: Driver::Macvlan, name: "lan", ipv4: "192.0.2.", ipv6: "fd00:2::" },
    Link { driver: Driver::Ipvlan, name: "side", ipv4: "198.51.100.", ipv6: "fd00:3::" },
];

/// Everyone, and what can be asked for.
struct World {
    host: Host,
    outside: Container,
    /// The other machine's files.
    files: TempDir,
    containers: Vec<(Container, Lease)>,
    /// What this kernel can't do: rows and columns with these names are left out.
    missing: Vec<&'static str>,
}

#[test]
fn everyone_reaches_what_he_should_over_ipv4() {
    if let Some(world) = World::new() {
        world.compare(false);
    }
}

#[test]
fn everyone_reaches_what_he_should_over_ipv6() {
    if let Some(world) = World::new() {
        world.compare(true);
    }
}

impl World {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        let outside = host.neighbour();
        serve(&outside, OUTSIDE_PORT);
        let [_, side] = &LINKS;
        host.link(&outside, side.name, side.ipv4, side.ipv6);
        let features = [("ipvlan", can_make("link lan type ipvlan")), ("sctp", sctp::is_there())];
        let missing: Vec<_> =
            features.iter().filter(|(_, is_there)| !is_there).map(|(name, _)| *name).collect();
        if !missing.is_empty() {
            lacks(&format!("{}: those cells of the table are left out", missing.join(" and no ")));
        }
        let files = tempfile::tempdir().unwrap();
        let mut world = Self { host, outside, files, containers: Vec::new(), missing };
        CONTAINERS
            .iter()
            .for_each(|(name, network, kind, ports)| world.on_bridge(name, network, kind, ports));
        LINKS.iter().for_each(|link| world.on_link(link));
        Some(world)
    }

    fn on_bridge(&mut self, name: &str, network: &str, kind: &str, ports: &[&str]) {
        let mut config = Config {
            name: network.to_owned(),
            ipv6: true,
            internal: kind == "internal",
            disable_dns: true,
            ..Config::default()
        };
        if !config.internal && !kind.is_empty() {
            config.options.set(config.driver, "isolate", kind).unwrap();
        }
        self.host.networks.create(&config, true).unwrap();
        let (container, lease) = self.host.start(name, &[on(network)], ports);
        if config.internal {
            // Of its own making: it mustn't help.
            let gateways: Vec<IpAddr> =
                lease.attachments[0].network.gateways().map(|(gateway, _)| gateway).collect();
            container.run(move || {
                gateways.iter().for_each(|gateway| ip(&format!("route add default via {gateway}")));
            });
        }
        self.add(container, lease);
    }

    /// Two containers of the host on the link, and one of the other machine.
    fn on_link(&mut self, link: &Link) {
        let [here, second, there] = match link.driver {
            driver if self.is_missing(driver.name()) => return,
            Driver::Ipvlan => ["ipvlan", "ipvlan2", "ipvlan-there"],
            _ => ["macvlan", "macvlan2", "macvlan-there"],
        };
        let config = link.network(link.name.to_owned(), 10);
        self.host.networks.create(&config, false).unwrap();
        for name in [here, second] {
            let (container, lease) = self.host.start(name, &[on(link.name)], &[]);
            self.add(container, lease);
        }
        let files = self.files.path().join(link.name);
        let (container, lease) =
            self.outside.start(files, link.network(format!("{}0", link.name), 20), there);
        self.add(container, lease);
    }

    fn add(&mut self, container: Container, lease: Lease) {
        serve(&container, PORT);
        serve_udp(&container, UDP_PORT);
        if !self.is_missing("sctp") {
            sctp::serve(&container, SCTP_PORT);
        }
        self.containers.push((container, lease));
    }

    fn is_missing(&self, name: &str) -> bool {
        self.missing.iter().any(|missing| name.contains(missing))
    }

    /// All cells at once, because each `-` takes its time.
    fn compare(&self, ipv6: bool) {
        let cells: Vec<_> = TABLE.trim().split("\n\n").flat_map(cells).collect();
        assert!(cells.len() > 250);
        let answers: Vec<_> = cells
            .into_iter()
            .filter(|(from, to, _)| !self.is_missing(from) && !self.is_missing(to))
            .map(|(from, to, expected)| {
                let address = self.address(expected, from, to, ipv6);
                let patience = if address.is_some() { PATIENCE } else { NEVER };
                (from, to, address, self.ask(from, to, ipv6, patience))
            })
            .collect();
        let wrong: Vec<String> = answers
            .into_iter()
            .filter_map(|(from, to, expected, answer)| {
                let word = |address: Option<IpAddr>| address.map_or("-".to_owned(), |it| it.to_string());
                let seen = answer.join().unwrap();
                let difference = || format!("expected {}, found {}", word(expected), word(seen));
                (seen != expected).then(|| format!("{from} -> {to}: {}", difference()))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (container, _) in self.containers.iter().filter(|(container, _)| !is_there(container)) {
            self.host.networks.release(&container.holder.id).unwrap();
        }
        assert!(!self.host.traces().contains("elements"), "{}", self.host.traces());
    }

    /// Asks from where `from` is; the answer is the address that the server saw.
    fn ask(&self, from: &str, to: &str, ipv6: bool, patience: Duration) -> JoinHandle<Option<IpAddr>> {
        let published = addresses(&LINKS[0], ipv6)[0];
        let local = if ipv6 { "::1" } else { "127.0.0.1" }.parse().unwrap();
        let (address, port) = match to {
            "tcp" => (published, 8080),
            "udp" => (published, 5353),
            "sctp" => (published, 3868),
            "at-isolated" => (published, 8081),
            "at-internal" => (published, 8082),
            "local" => (local, 8080),
            "local-sctp" => (local, 3868),
            "outside" => (addresses(link_of(from), ipv6)[1], OUTSIDE_PORT),
            container => (self.of(container, ipv6).unwrap(), PORT),
        };
        let target = SocketAddr::new(address, port);
        let ask = match to {
            "udp" => get_udp,
            "sctp" | "local-sctp" => sctp::get,
            _ => get,
        };
        match from {
            "host" => thread::spawn(move || ask(target, patience)),
            "outside" => self.outside.spawn(move || ask(target, patience)),
            name => self.container(name).0.spawn(move || ask(target, patience)),
        }
    }

    /// The address that a word of the table means.
    fn address(&self, word: &str, from: &str, to: &str, ipv6: bool) -> Option<IpAddr> {
        match word {
            "own" if from == "outside" => Some(addresses(link_of(to), ipv6)[1]),
            "own" => self.of(from, ipv6),
            "host" => Some(addresses(link_of(to), ipv6)[0]),
            "gate4" if ipv6 => None,
            "gate" | "gate4" => {
                let server = match to {
                    "tcp" | "udp" | "sctp" | "local" | "local-sctp" => "front",
                    to => to.trim_start_matches("at-"),
                };
                let network = &self.container(server).1.attachments[0].network;
                network.gateways().map(|(gateway, _)| gateway).find(|gateway| gateway.is_ipv6() == ipv6)
            }
            "-" => None,
            word => panic!("the table has no meaning for {word}"),
        }
    }

    fn container(&self, name: &str) -> &(Container, Lease) {
        self.containers.iter().find(|(container, _)| container.holder.name == name).unwrap()
    }

    fn of(&self, name: &str, ipv6: bool) -> Option<IpAddr> {
        let lease = &self.container(name).1;
        lease.attachments[0].addresses.iter().map(|a| a.address).find(|address| address.is_ipv6() == ipv6)
    }
}

impl Link {
    /// A network on one end of the link, which gives out ten addresses from `first` on.
    fn network(&self, parent: String, first: u8) -> Config {
        let subnet = |start: &str, prefix: u8| SubnetConfig {
            lease_range: Some(LeaseRange::parse(&format!("{start}{first}-{start}{}", first + 9)).unwrap()),
            ..format!("{start}0/{prefix}").parse::<Subnet>().unwrap().into()
        };
        Config {
            name: self.name.to_owned(),
            driver: self.driver,
            interface: Some(parent),
            subnets: vec![subnet(self.ipv4, 24), subnet(self.ipv6, 64)],
            ..Config::default()
        }
    }
}

/// One part of the table: who asks, what for, and the word for what comes of it.
fn cells(part: &'static str) -> Vec<(&'static str, &'static str, &'static str)> {
    let mut lines = part.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    lines
        .flat_map(|row| {
            assert_eq!(row.len(), columns.len(), "{row:?}");
            let to_cell = |(to, cell): (&&'static str, &&'static str)| (row[0], *to, *cell);
            columns.iter().zip(&row).skip(1).map(to_cell).collect::<Vec<_>>()
        })
        .collect()
}

/// Whether it is a container of the other machine.
fn is_there(container: &Container) -> bool {
    container.holder.name.ends_with("-there")
}

/// The link that this one is on; all others are taken to be on the first.
fn link_of(name: &str) -> &'static Link {
    LINKS.iter().find(|link| name.starts_with(link.driver.name())).unwrap_or(&LINKS[0])
}

/// The host's address on the link, and that of the other machine.
fn addresses(link: &Link, ipv6: bool) -> [IpAddr; 2] {
    let start = if ipv6 { link.ipv6 } else { link.ipv4 };
    [1, 9].map(|last| format!("{start}{last}").parse().unwrap())
}

/// A server of both families that tells each client his address.
fn serve(container: &Container, port: u16) {
    let listener = container.run(move || TcpListener::bind(("::", port)).unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let peer = stream.peer_addr().unwrap().ip().to_canonical();
            let _ = stream.write_all(peer.to_string().as_bytes());
        }
    });
}

fn serve_udp(container: &Container, port: u16) {
    let socket = container.run(move || UdpSocket::bind(("::", port)).unwrap());
    thread::spawn(move || {
        let mut buffer = [0; 64];
        while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(peer.ip().to_canonical().to_string().as_bytes(), peer);
        }
    });
}

fn get(target: SocketAddr, patience: Duration) -> Option<IpAddr> {
    let mut stream = TcpStream::connect_timeout(&target, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    text.parse().ok()
}

fn get_udp(target: SocketAddr, patience: Duration) -> Option<IpAddr> {
    let own = if target.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
    let socket = UdpSocket::bind(own).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    socket.send_to(b"hello", target).ok()?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}
