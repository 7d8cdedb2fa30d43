//! How much iperf3 carries between two containers, and through a published port, and what a packet costs on the way.
//!
//! ```text
//! throughput ROUNDS MIB
//! ```
//!
//! `tests/bench/network` calls it. The candidates take turns, beside a plain pair of interfaces (veth(4)) between two
//! network namespaces, and beside a floor: a host with a bridge, routing and one rule that leads a port to a
//! container, and nothing of ours. What lies between the floor and a published port is what sampan costs; what lies
//! between the plain pair and the floor is the kernel's, whoever asks for it.
//!
//! It prints lines `NAME MILLISECONDS`: first how long iperf3 takes for one GiB, sending `MIB` each time; then, behind
//! an empty line, the processor time of 1,000 packets ([`packets`]), which hardly varies from run to run and tells
//! rules apart that iperf3 can't. It needs root, iproute2, nftables and iperf3, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first mistake")]

mod iperf;
mod machines;
mod packets;

use std::os::fd::AsFd;

use machines::{Netns, cable, enter, new_netns};
use sampan_network::{DEFAULT_NETWORK, Holder, Networks, Request, parse_ports};

/// Where servers listen, and the port of the host that leads there.
const SERVER_PORT: u16 = 5201;
const HOST_PORT: u16 = 8080;

/// The addresses of the plain pair, and of each host and the machine outside of it.
const PLAIN: [&str; 2] = ["192.0.2.1", "192.0.2.2"];
const OUTSIDE: [&str; 2] = ["198.51.100.9", "198.51.100.1"];

/// How many rounds of packets there are for one of iperf3, which takes thirty times as long.
const ROUNDS_OF_PACKETS: usize = 5;

/// Who sends to whom.
struct Candidate<'a> {
    name: &'static str,
    client: &'a Netns,
    server: &'a Netns,
    /// What the client connects to.
    address: &'a str,
    port: u16,
}

fn main() {
    let arguments: Vec<usize> =
        std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let [rounds, mebibytes] = arguments.as_slice() else {
        eprintln!("usage: throughput ROUNDS MIB");
        std::process::exit(2);
    };
    let (host, floor) = (new_netns(), machines::floor());
    enter(&host);
    // Where br_netfilter is loaded, as Kubernetes wants it, packets between the ports of a bridge pass the firewall
    // too. Other hosts are measured here, and may not have the file.
    let _ = std::fs::write("/proc/sys/net/bridge/bridge-nf-call-iptables", "0");
    let directory = tempfile::tempdir().unwrap();
    let networks =
        Networks::open(&directory.path().join("lib"), &directory.path().join("run/network")).unwrap();
    let join = |number: usize, ports: &str| {
        let netns = new_netns();
        let holder = Holder { id: format!("{number:064}"), name: format!("c{number}") };
        let request = Request { network: DEFAULT_NETWORK.to_owned(), ..Request::default() };
        let lease = networks.reserve(&holder, &[request], &parse_ports(ports).unwrap()).unwrap();
        networks.attach(&lease, netns.as_fd()).unwrap();
        (netns, lease.attachments[0].addresses[0].address.to_string())
    };
    let (server, server_at) = join(1, &format!("{HOST_PORT}:{SERVER_PORT}"));
    let (client, _) = join(2, "80");
    let (left, right, outside, beyond) = (new_netns(), new_netns(), new_netns(), new_netns());
    cable(&left, PLAIN[0], &right, PLAIN[1]);
    cable(&outside, OUTSIDE[0], &host, OUTSIDE[1]);
    cable(&beyond, OUTSIDE[0], &floor.host, OUTSIDE[1]);

    let candidate = |name, client, server, address, port| Candidate { name, client, server, address, port };
    measure(
        &[
            candidate("a_plain_pair", &left, &right, PLAIN[1], SERVER_PORT),
            candidate("between_containers", &client, &server, &server_at, SERVER_PORT),
            candidate("floor,_from_the_host", &floor.host, &floor.container, OUTSIDE[1], HOST_PORT),
            candidate("published_port,_from_the_host", &host, &server, OUTSIDE[1], HOST_PORT),
            candidate("floor,_from_outside", &beyond, &floor.container, OUTSIDE[1], HOST_PORT),
            candidate("published_port,_from_outside", &outside, &server, OUTSIDE[1], HOST_PORT),
        ],
        *rounds,
        *mebibytes,
    );
    enter(&host);
    for number in [1, 2] {
        networks.release(&format!("{number:064}")).unwrap();
    }
}

fn measure(candidates: &[Candidate<'_>], rounds: usize, mebibytes: usize) {
    let servers = iperf::Server::start_all(candidates);
    for candidate in turns(candidates.len(), rounds).map(|at| &candidates[at]) {
        let milliseconds = iperf::time_of_a_gibibyte(candidate, mebibytes);
        println!("1_GiB,_{} {milliseconds:.1}", candidate.name);
    }
    drop(servers);
    println!();
    packets::pin();
    let mut connections: Vec<packets::Connection> =
        candidates.iter().map(packets::Connection::open).collect();
    for at in turns(candidates.len(), rounds * ROUNDS_OF_PACKETS) {
        let milliseconds = connections[at].time_of_a_thousand();
        println!("1000_packets,_{} {milliseconds:.3}", candidates[at].name);
    }
}

/// Whose turn it is. Each round begins with another one: what is left in the caches isn't always for the same.
fn turns(candidates: usize, rounds: usize) -> impl Iterator<Item = usize> {
    (0..rounds).flat_map(move |round| (0..candidates).map(move |turn| (round + turn) % candidates))
}
