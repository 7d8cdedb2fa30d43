//! Who reaches what, and what the other end sees of him: one table.

mod host;

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use host::{Container, Host, ip, on};
use sampan_network::{Config, Lease};

/// Rows: who asks. Columns: what is asked for. Cells: the address that the server sees:
/// `own` of the one who asks, `gate` the gateway of the server's network, `host` the
/// host's on the outside link; `-` is out of reach. A rule of the firewall that goes
/// missing makes a cell wrong.
///
/// `front`, `open`, … are containers, each on the network of that name, asked at their own
/// addresses. `port` is front's published port at the host's outside address, `udp` a
/// published UDP port there, `at-isolated` and `at-internal` are ports of those
/// containers, `loopback` is front's port on 127.0.0.1 (or ::1), `outside` another machine.
const IPV4: &str = "
from        front  open  isolated  strict  internal  port  udp   at-isolated  at-internal  loopback  outside
host        gate   gate  gate      gate    gate      host  host  host         gate         gate      host
outside     own    own   own       own     -         own   own   own          -            -         own
front       own    own   own       -       -         gate  gate  own          -            -         host
front2      own    own   own       -       -         gate  gate  own          -            -         host
open        own    own   own       -       -         own   own   own          -            -         host
isolated    own    own   own       -       -         own   own   gate         -            -         host
isolated2   own    own   -         -       -         own   own   -            -            -         host
strict      -      -     -         own     -         -     -     -            -            -         host
internal    -      -     -         -       own       -     -     -            gate         -         -
internal2   -      -     -         -       own       -     -     -            gate         -         -
";

/// The same, but for the host's loopback address: the kernel carries no packets of ::1 to
/// a container, so that clients of `localhost` go on to IPv4.
const IPV6: &str = "
from        front  open  isolated  strict  internal  port  udp   at-isolated  at-internal  loopback  outside
host        gate   gate  gate      gate    gate      host  host  host         gate         -         host
outside     own    own   own       own     -         own   own   own          -            -         own
front       own    own   own       -       -         gate  gate  own          -            -         host
front2      own    own   own       -       -         gate  gate  own          -            -         host
open        own    own   own       -       -         own   own   own          -            -         host
isolated    own    own   own       -       -         own   own   gate         -            -         host
isolated2   own    own   -         -       -         own   own   -            -            -         host
strict      -      -     -         own     -         -     -     -            -            -         host
internal    -      -     -         -       own       -     -     -            gate         -         -
internal2   -      -     -         -       own       -     -     -            gate         -         -
";

const PORT: u16 = 80;
const UDP_PORT: u16 = 53;
const OUTSIDE_PORT: u16 = 7;
/// How long something is waited for that should come, where many want a processor, and that shouldn't.
const PATIENCE: Duration = Duration::from_secs(30);
const NEVER: Duration = Duration::from_secs(4);

/// The name, its network, the network's isolation, and the container's published ports.
const CONTAINERS: [(&str, &str, &str, &[&str]); 8] = [
    ("front", "front", "", &["8080:80", "5353:53/udp"]),
    ("front2", "front", "", &[]),
    ("open", "open", "", &[]),
    ("isolated", "isolated", "true", &["8081:80"]),
    ("isolated2", "isolated2", "true", &[]),
    ("strict", "strict", "strict", &[]),
    ("internal", "internal", "internal", &["8082:80"]),
    ("internal2", "internal", "internal", &[]),
];

/// Everyone, and what can be asked for.
struct World {
    host: Host,
    outside: Container,
    containers: Vec<(Container, Lease)>,
}

#[test]
fn everyone_reaches_what_he_should_over_ipv4() {
    if let Some(world) = World::new() {
        world.compare(IPV4, false);
    }
}

#[test]
fn everyone_reaches_what_he_should_over_ipv6() {
    if let Some(world) = World::new() {
        world.compare(IPV6, true);
    }
}

impl World {
    fn new() -> Option<Self> {
        let host = Host::new()?;
        let outside = host.neighbour();
        serve(&outside, OUTSIDE_PORT);
        let containers = CONTAINERS
            .into_iter()
            .map(|(name, network, kind, ports)| {
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
                host.networks.create(&config, true).unwrap();
                let (container, lease) = host.start(name, &[on(network)], ports);
                if config.internal {
                    // Of its own making: it mustn't help.
                    let gateways: Vec<IpAddr> =
                        lease.attachments[0].network.gateways().map(|(gateway, _)| gateway).collect();
                    container.run(move || {
                        gateways.iter().for_each(|gateway| ip(&format!("route add default via {gateway}")));
                    });
                }
                serve(&container, PORT);
                serve_udp(&container, UDP_PORT);
                (container, lease)
            })
            .collect();
        Some(Self { host, outside, containers })
    }

    /// All cells at once, because each `-` takes its time.
    fn compare(&self, table: &'static str, ipv6: bool) {
        let mut lines = table.trim().lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let columns = lines.next().unwrap();
        let cells: Vec<_> = lines
            .flat_map(|row| {
                assert_eq!(row.len(), columns.len(), "{row:?}");
                let from = row[0];
                columns.iter().zip(row).skip(1).map(|(to, cell)| (from, *to, cell)).collect::<Vec<_>>()
            })
            .map(|(from, to, expected)| {
                let patience = if expected == "-" { NEVER } else { PATIENCE };
                (from, to, expected, self.ask(from, to, ipv6, patience))
            })
            .collect();
        assert!(cells.len() > 100);
        let wrong: Vec<String> = cells
            .into_iter()
            .filter_map(|(from, to, expected, answer)| {
                let seen = answer.join().unwrap();
                let (what, as_expected) = match seen {
                    None => ("-".to_owned(), expected == "-"),
                    Some(peer) => (peer.to_string(), self.address(expected, from, to, ipv6) == Some(peer)),
                };
                (!as_expected).then(|| format!("{from} -> {to}: expected {expected}, found {what}"))
            })
            .collect();
        assert!(wrong.is_empty(), "{wrong:#?}");
        for (container, _) in &self.containers {
            self.host.networks.release(&container.holder.id).unwrap();
        }
        assert!(!self.host.traces().contains("elements"), "{}", self.host.traces());
    }

    /// Asks from where `from` is; the answer is the address that the server saw.
    fn ask(
        &self,
        from: &str,
        to: &str,
        ipv6: bool,
        patience: Duration,
    ) -> thread::JoinHandle<Option<IpAddr>> {
        let outside = outside_link(ipv6)[0];
        let (address, port) = match to {
            "port" => (outside, 8080),
            "udp" => (outside, 5353),
            "at-isolated" => (outside, 8081),
            "at-internal" => (outside, 8082),
            "loopback" if ipv6 => ("::1".parse().unwrap(), 8080),
            "loopback" => ("127.0.0.1".parse().unwrap(), 8080),
            "outside" => (outside_link(ipv6)[1], OUTSIDE_PORT),
            container => (self.of(container, ipv6).unwrap(), PORT),
        };
        let target = SocketAddr::new(address, port);
        let ask = if to == "udp" { get_udp } else { get };
        match from {
            "host" => thread::spawn(move || ask(target, patience)),
            "outside" => self.outside.spawn(move || ask(target, patience)),
            name => self.container(name).0.spawn(move || ask(target, patience)),
        }
    }

    /// The address that a word of the table means.
    fn address(&self, word: &str, from: &str, to: &str, ipv6: bool) -> Option<IpAddr> {
        match word {
            "own" if from == "outside" => Some(outside_link(ipv6)[1]),
            "own" => self.of(from, ipv6),
            "host" => Some(outside_link(ipv6)[0]),
            "gate" => {
                let server = match to {
                    "port" | "udp" | "loopback" => "front",
                    to => to.trim_start_matches("at-"),
                };
                let network = &self.container(server).1.attachments[0].network;
                network.gateways().map(|(gateway, _)| gateway).find(|gateway| gateway.is_ipv6() == ipv6)
            }
            _ => None,
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

/// The host's address on the link to the outside, and that of the other machine.
fn outside_link(ipv6: bool) -> [IpAddr; 2] {
    if ipv6 { ["fd00:2::1", "fd00:2::9"] } else { ["192.0.2.1", "192.0.2.9"] }
        .map(|address| address.parse().unwrap())
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
