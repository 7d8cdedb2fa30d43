//! What it costs to join a bridge network with one published port, and to leave it,
//! beside other containers; what the kernel takes of it, and netavark for the same.
//!
//! ```text
//! joining_cost ROUNDS CROWD[,CROWD…] [NAME=NETAVARK…]
//! ```
//!
//! `tests/bench/network` calls it, and makes tables of the lines `NAME MILLISECONDS` that it prints; empty lines
//! separate their subjects. The candidates take turns. Each has a network namespace of its own for a host, with its own
//! crowd in it. It needs root, and leaves nothing behind.

#![allow(clippy::unwrap_used, reason = "a measurement ends at the first mistake")]

mod floor;

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use sampan_network::{DEFAULT_NETWORK, Holder, Networks, PortMapping, Request, loopback_up, parse_ports};
use tempfile::TempDir;

/// A tmpfs, as `/run` is, where leases lie.
const RUN: &str = "/dev/shm";

/// The kernel does away with what the one before had, before the next one's turn.
const PAUSE: Duration = Duration::from_millis(30);

/// The bridge of the default network.
const BRIDGE: &str = "sampan0";

/// The first argument of the process that joins once.
const TURN: &str = "turn";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [TURN, directory, netns] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        return turn(Path::new(directory), File::open(netns).unwrap().as_fd());
    }
    let [rounds, crowds, peers @ ..] = arguments.as_slice() else {
        eprintln!("usage: joining_cost ROUNDS CROWD[,CROWD…] [NAME=NETAVARK…]");
        std::process::exit(2);
    };
    let rounds: usize = rounds.parse().unwrap();
    for crowd in crowds.split(',') {
        measure(rounds, crowd.parse().unwrap(), peers);
    }
}

fn measure(rounds: usize, crowd: usize, peers: &[String]) {
    let sampan = Sampan::new(crowd);
    let mut peers: Vec<Netavark> =
        peers.iter().filter_map(|peer| Netavark::new(peer.split_once('=').unwrap(), crowd)).collect();
    let (mut parts, mut join, mut leave) = (String::new(), String::new(), String::new());
    // Kept to the end: the kernel holds its locks for long while it takes one down.
    let mut namespaces = Vec::new();
    let mut namespace = || {
        namespaces.push(new_netns());
        thread::sleep(PAUSE);
        namespaces.last().unwrap().try_clone().unwrap()
    };
    for round in 0..=rounds {
        // The first one warms up, and isn't counted.
        let line = |text: &mut String, name: String, time: Duration| {
            if round > 0 {
                writeln!(text, "{name} {:.3}", time.as_secs_f64() * 1000.0).unwrap();
            }
        };
        let bare = namespace();
        let start = Instant::now();
        loopback_up(bare.as_fd()).unwrap();
        line(&mut parts, format!("no_network,_beside_{crowd}"), start.elapsed());
        let [reserve, attach, release] = sampan.turn(&namespace());
        line(&mut parts, format!("join,_beside_{crowd}"), reserve + attach);
        line(&mut parts, "of_it:_reserve".to_owned(), reserve);
        line(&mut parts, "of_it:_attach".to_owned(), attach);
        line(&mut join, format!("sampan,_join_beside_{crowd}"), reserve + attach);
        line(&mut leave, format!("sampan,_leave_beside_{crowd}"), release);
        let [join_floor, leave_floor] = floor::turn(sampan.host.as_fd(), BRIDGE, namespace().as_fd());
        line(&mut join, format!("floor,_join_beside_{crowd}"), join_floor);
        line(&mut leave, format!("floor,_leave_beside_{crowd}"), leave_floor);
        for peer in &mut peers {
            let [setup, teardown] = peer.turn(&namespace());
            line(&mut join, format!("{},_setup_beside_{crowd}", peer.name), setup);
            line(&mut leave, format!("{},_teardown_beside_{crowd}", peer.name), teardown);
        }
    }
    println!("{parts}\n{join}\n{leave}");
}

/// Ours: the calls that `sampan run` makes, in a process each time, as it is one.
struct Sampan {
    host: OwnedFd,
    _crowd: Vec<OwnedFd>,
    directory: TempDir,
}

impl Sampan {
    fn new(crowd: usize) -> Self {
        let host = new_host();
        let directory = tempfile::tempdir_in(RUN).unwrap();
        let networks = open(directory.path());
        let crowd = (1..=crowd)
            .map(|number| {
                let netns = new_netns();
                let lease = networks.reserve(&holder(number), &[request()], &ports(20_000 + number)).unwrap();
                networks.attach(&lease, netns.as_fd()).unwrap();
                netns
            })
            .collect();
        Self { host, _crowd: crowd, directory }
    }

    /// How long it took to reserve, to attach and to release.
    fn turn(&self, netns: &OwnedFd) -> [Duration; 3] {
        setns(&self.host, CloneFlags::CLONE_NEWNET).unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .arg(TURN)
            .arg(self.directory.path())
            .arg(path_of(netns))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", output.status);
        let times = String::from_utf8(output.stdout).unwrap();
        let times: Vec<_> = times.lines().map(|line| Duration::from_nanos(line.parse().unwrap())).collect();
        times.try_into().unwrap()
    }
}

/// Joins with `netns` and leaves; prints how long each part took, in nanoseconds.
fn turn(directory: &Path, netns: BorrowedFd<'_>) {
    let networks = open(directory);
    let holder = holder(0);
    let start = Instant::now();
    let lease = networks.reserve(&holder, &[request()], &ports(8080)).unwrap();
    let reserved = start.elapsed();
    networks.attach(&lease, netns).unwrap();
    let attached = start.elapsed();
    thread::sleep(PAUSE);
    let start = Instant::now();
    networks.release(&holder.id).unwrap();
    for time in [reserved, attached - reserved, start.elapsed()] {
        println!("{}", time.as_nanos());
    }
}

fn open(directory: &Path) -> Networks {
    Networks::open(&directory.join("lib"), &directory.join("run/network")).unwrap()
}

/// By which another process finds what is open here.
fn path_of(netns: &OwnedFd) -> String {
    format!("/proc/{}/fd/{}", std::process::id(), netns.as_raw_fd())
}

/// netavark, with addresses chosen already, as Podman calls it: a process each time.
struct Netavark {
    name: String,
    program: PathBuf,
    host: OwnedFd,
    _crowd: Vec<OwnedFd>,
    directory: TempDir,
}

impl Netavark {
    /// Absent, with its own words, if it doesn't work here.
    fn new((name, program): (&str, &str), crowd: usize) -> Option<Self> {
        let mut peer = Self {
            name: name.to_owned(),
            program: program.into(),
            host: new_host(),
            _crowd: Vec::new(),
            directory: tempfile::tempdir_in(RUN).unwrap(),
        };
        for number in 1..=crowd {
            let netns = new_netns();
            if let Err(words) = peer.run("setup", &netns, number) {
                eprintln!("{program} doesn't work here: {words}");
                return None;
            }
            peer._crowd.push(netns);
        }
        Some(peer)
    }

    fn turn(&mut self, netns: &OwnedFd) -> [Duration; 2] {
        setns(&self.host, CloneFlags::CLONE_NEWNET).unwrap();
        let start = Instant::now();
        self.run("setup", netns, 0).unwrap();
        let setup = start.elapsed();
        thread::sleep(PAUSE);
        let start = Instant::now();
        self.run("teardown", netns, 0).unwrap();
        [setup, start.elapsed()]
    }

    fn run(&self, verb: &str, netns: &OwnedFd, number: usize) -> Result<(), String> {
        let mut child = Command::new(&self.program)
            .arg("--config")
            .arg(self.directory.path())
            .args([verb, &path_of(netns)])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        child.stdin.take().unwrap().write_all(netavark_options(number).as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        if output.status.success() {
            return Ok(());
        }
        Err(format!("{}: {}", output.status, String::from_utf8_lossy(&output.stdout).trim()))
    }
}

/// What Podman tells netavark (its `NetworkOptions`) of the container with this number.
fn netavark_options(number: usize) -> String {
    let address = format!("10.88.{}.{}", number / 250, number % 250 + 2);
    let port = if number == 0 { 8080 } else { 20_000 + number };
    format!(
        r#"{{
    "container_id": "{number:064x}",
    "container_name": "c{number}",
    "networks": {{ "podman": {{ "interface_name": "eth0", "static_ips": ["{address}"] }} }},
    "network_info": {{ "podman": {{
        "name": "podman",
        "id": "2f259bab93aaaaa2542ba43ef33eb990d0999ee1b9924b557b7be53c0b7a1bb9",
        "driver": "bridge",
        "network_interface": "podman0",
        "subnets": [ {{ "subnet": "10.88.0.0/16", "gateway": "10.88.0.1" }} ],
        "ipv6_enabled": false,
        "internal": false,
        "dns_enabled": false,
        "ipam_options": {{ "driver": "host-local" }}
    }} }},
    "port_mappings": [ {{
        "host_ip": "", "container_port": 80, "host_port": {port}, "range": 1, "protocol": "tcp"
    }} ]
}}"#
    )
}

fn request() -> Request {
    Request { network: DEFAULT_NETWORK.to_owned(), ..Request::default() }
}

fn ports(port: usize) -> Vec<PortMapping> {
    parse_ports(&format!("{port}:80")).unwrap()
}

fn holder(number: usize) -> Holder {
    Holder { id: format!("{number:064}"), name: format!("c{number}") }
}

/// Moves the calling thread to a new host: a network namespace with loopback.
fn new_host() -> OwnedFd {
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    let host = own_netns();
    loopback_up(host.as_fd()).unwrap();
    host
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
