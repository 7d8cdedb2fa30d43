//! What it costs to join a bridge network with one published port, beside 0, 100
//! and 1,000 containers, and what netavark takes for the same.
//!
//! ```text
//! cargo run --release --example joining_cost [CONTAINERS…]
//! ```
//!
//! It runs in a network namespace of its own, as root, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first mistake")]

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use sampan_network::{DEFAULT_NETWORK, Holder, Networks, Request, loopback_up, parse_ports};

const ROUNDS: usize = 30;
const NETAVARK: [&str; 2] = ["/usr/libexec/podman/netavark", "/usr/lib/podman/netavark"];

fn main() {
    if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
        eprintln!("SKIP: no private network namespace ({error}); run as root");
        return;
    }
    loopback_up(own_netns().as_fd()).unwrap();
    let mut crowds: Vec<usize> = std::env::args().skip(1).filter_map(|n| n.parse().ok()).collect();
    if crowds.is_empty() {
        crowds = vec![0, 100, 1000];
    }
    println!("median of {ROUNDS}, in ms   reserve   attach  release");
    for crowd in crowds {
        ours(crowd);
    }
    let program = std::env::var("NETAVARK").ok();
    match program.as_deref().into_iter().chain(NETAVARK).find(|path| Path::new(path).exists()) {
        Some(program) => theirs(program),
        None => println!("netavark is not installed"),
    }
}

/// Our own cost beside `crowd` other containers.
fn ours(crowd: usize) {
    let directory = tempfile::tempdir().unwrap();
    let networks =
        Networks::open(&directory.path().join("lib"), &directory.path().join("run/network")).unwrap();
    let mut others = Vec::new();
    for number in 0..crowd {
        let netns = new_netns();
        let holder = holder(number + 1);
        let lease = networks.reserve(&holder, &[request()], &ports(20_000 + number)).unwrap();
        networks.attach(&lease, netns.as_fd()).unwrap();
        others.push((holder, netns));
    }
    let mut times = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let netns = new_netns();
        let holder = holder(0);
        let start = Instant::now();
        let lease = networks.reserve(&holder, &[request()], &ports(8080)).unwrap();
        let reserved = Instant::now();
        networks.attach(&lease, netns.as_fd()).unwrap();
        let attached = Instant::now();
        networks.release(&holder.id).unwrap();
        times[0].push(reserved - start);
        times[1].push(attached - reserved);
        times[2].push(attached.elapsed());
    }
    let [reserve, attach, release] = times.map(median);
    println!("sampan beside {crowd:>5}      {reserve:8.2} {attach:8.2} {release:8.2}");
    for (holder, _) in others {
        networks.release(&holder.id).unwrap();
    }
}

/// The same by netavark, with addresses chosen already, as Podman does it.
fn theirs(program: &str) {
    let directory = tempfile::tempdir().unwrap();
    let mut times = [const { Vec::new() }; 2];
    for round in 0..ROUNDS + 1 {
        let netns = new_netns();
        let path = format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd());
        let run = |verb: &str| {
            let start = Instant::now();
            let mut child = Command::new(program)
                .arg("--config")
                .arg(directory.path())
                .args([verb, &path])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            child.stdin.take().unwrap().write_all(NETAVARK_OPTIONS.as_bytes()).unwrap();
            let status = child.wait().unwrap();
            (start.elapsed(), status.success())
        };
        let (setup, set_up) = run("setup");
        let (teardown, torn_down) = run("teardown");
        if !(set_up && torn_down) {
            println!("{program} failed");
            return;
        }
        // The first round makes its tables, as ours does before any container.
        if round > 0 {
            times[0].push(setup);
            times[1].push(teardown);
        }
    }
    let [setup, teardown] = times.map(median);
    println!("netavark beside     0             {setup:8.2} {teardown:8.2}   ({program})");
}

const NETAVARK_OPTIONS: &str = r#"{
    "container_id": "2d0fe608dc86d7ba65dcec724a335b618328f08daa62afd2ee7fa9d41f74e5a9",
    "container_name": "web",
    "networks": { "podman": { "interface_name": "eth0", "static_ips": ["10.88.0.2"] } },
    "network_info": { "podman": {
        "name": "podman",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podman0",
        "subnets": [ { "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" } ],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": { "driver": "host-local" }
    } },
    "port_mappings": [ {
        "host_ip": "", "container_port": 80, "host_port": 8080, "range": 1, "protocol": "tcp"
    } ]
}"#;

fn request() -> Request {
    Request { network: DEFAULT_NETWORK.to_owned(), ..Request::default() }
}

fn ports(port: usize) -> Vec<sampan_network::PortMapping> {
    parse_ports(&format!("{port}:80")).unwrap()
}

fn holder(number: usize) -> Holder {
    Holder { id: format!("{number:064}"), name: format!("c{number}") }
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

fn new_netns() -> OwnedFd {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        own_netns()
    });
    made.join().unwrap()
}

fn own_netns() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}
