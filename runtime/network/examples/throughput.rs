//! How much iperf3 carries between two containers, and through a published port, beside a
//! plain pair of interfaces (veth(4)) between two network namespaces.
//!
//! ```text
//! throughput ROUNDS SECONDS
//! ```
//!
//! `tests/bench/network` calls it. It prints lines `NAME MILLISECONDS`: how long one GiB takes. The candidates
//! take turns. It needs root, iproute2 and iperf3, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first mistake")]

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns, unshare};
use sampan_network::{DEFAULT_NETWORK, Holder, Networks, Request, loopback_up, parse_ports};

const IPERF_PORT: u16 = 5201;
const GIB_IN_BITS: f64 = 8.0 * 1024.0 * 1024.0 * 1024.0;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [rounds, seconds] = arguments.as_slice() else {
        eprintln!("usage: throughput ROUNDS SECONDS");
        std::process::exit(2);
    };
    let host = new_netns();
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
    let (server, server_at) = join(1, "8080:5201");
    let (client, _) = join(2, "80");
    // Two machines with a cable, and a third one that has a cable to the host.
    let (left, right) = (pair("192.0.2.1/24", "192.0.2.2/24", None), "192.0.2.2");
    let (outside, _) = pair("198.51.100.9/24", "198.51.100.1/24", Some(&host));
    enter(&host);

    let servers = [Server::start(&server), Server::start(&left.1)];
    thread::sleep(Duration::from_millis(300));
    let candidates = [
        ("a_plain_pair", &left.0, right, IPERF_PORT),
        ("container_to_container", &client, server_at.as_str(), IPERF_PORT),
        ("host_to_published_port", &host, "198.51.100.1", 8080),
        ("outside_to_published_port", &outside, "198.51.100.1", 8080),
    ];
    for _ in 0..rounds.parse().unwrap() {
        for (name, netns, address, port) in &candidates {
            enter(netns);
            let milliseconds = GIB_IN_BITS / carried(address, *port, seconds) * 1000.0;
            println!("1_GiB,_{name} {milliseconds:.1}");
        }
    }
    drop(servers);
    enter(&host);
    for number in [1, 2] {
        networks.release(&format!("{number:064}")).unwrap();
    }
}

/// An iperf3 server, until it is dropped.
struct Server(Child);

impl Server {
    fn start(netns: &OwnedFd) -> Self {
        enter(netns);
        Self(Command::new("iperf3").arg("-s").stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Bits per second that arrive.
fn carried(address: &str, port: u16, seconds: &str) -> f64 {
    let output = Command::new("iperf3")
        .args(["-c", address, "-p", &port.to_string(), "-t", seconds, "-J"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["end"]["sum_received"]["bits_per_second"].as_f64().unwrap()
}

/// Two namespaces with a pair of interfaces and these addresses; the second is `other`,
/// if that is given.
fn pair(first: &str, second: &str, other: Option<&OwnedFd>) -> (OwnedFd, OwnedFd) {
    let other = other.map_or_else(new_netns, |netns| netns.try_clone().unwrap());
    let netns = new_netns();
    enter(&netns);
    // A process inside is the name of a namespace for ip(8).
    let mut inside = Command::new("sleep").arg("60").spawn().unwrap();
    enter(&other);
    ip(&format!("link add cable type veth peer name cable netns {}", inside.id()));
    for (netns, address) in [(&other, second), (&netns, first)] {
        enter(netns);
        ip(&format!("addr add {address} dev cable"));
        ip("link set cable up");
    }
    inside.kill().unwrap();
    inside.wait().unwrap();
    (netns, other)
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

fn enter(netns: &OwnedFd) {
    setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
}

fn new_netns() -> OwnedFd {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let netns: OwnedFd = File::open("/proc/thread-self/ns/net").unwrap().into();
        loopback_up(netns.as_fd()).unwrap();
        netns
    });
    made.join().unwrap()
}
