//! A host of the test's own: a private network namespace, with containers and
//! outside peers that are network namespaces too.
//!
//! Namespaces belong to threads, so each test is its own host.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test program uses a part of it"
)]

pub mod dnsmasq;
pub mod sctp;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use sampan_network::{Config, Holder, Lease, Networks, PortMapping, Request, loopback_up, parse_ports};
use tempfile::TempDir;

/// How long a packet may take that should arrive, where many want a processor.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one is waited for that shouldn't.
const NEVER: Duration = Duration::from_secs(3);

pub struct Host {
    directory: TempDir,
    pub networks: Networks,
}

/// A container's network namespace.
pub struct Container {
    pub holder: Holder,
    pub netns: OwnedFd,
}

impl Host {
    /// Moves the calling thread into a network namespace of its own; absent, with a
    /// word why, where that can't be done.
    pub fn new() -> Option<Self> {
        if let Err(error) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("SKIP: no private network namespace ({error}); run as root");
            return None;
        }
        loopback_up(own_netns().as_fd()).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let networks = open(directory.path());
        Some(Self { directory, networks })
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn container(&self, name: &str) -> Container {
        container(name)
    }

    /// Reserves and attaches.
    pub fn start(&self, name: &str, requests: &[Request], ports: &[&str]) -> (Container, Lease) {
        let container = container(name);
        let lease = self.networks.reserve(&container.holder, requests, &parse(ports)).unwrap();
        self.networks.attach(&lease, container.netns.as_fd()).unwrap();
        (container, lease)
    }

    /// Another machine, on the link `lan` of the host: 192.0.2.1 and fd00:2::1 are the
    /// host's, .9 and ::9 its own.
    pub fn neighbour(&self) -> Container {
        let neighbour = container("neighbour");
        neighbour.run(|| ip("link set lo up"));
        self.link(&neighbour, "lan", "192.0.2.", "fd00:2::");
        neighbour.run(|| {
            ip("route add default via 192.0.2.1");
            ip("route add default via fd00:2::1");
        });
        neighbour
    }

    /// A link to another machine, whose end is called `<name>0`. The addresses begin so;
    /// the host's end in 1, the other's in 9.
    pub fn link(&self, there: &Container, name: &'static str, ipv4: &'static str, ipv6: &'static str) {
        ip(&format!("link add {name} type veth peer name {name}0"));
        ip(&format!("link set {name}0 netns {}", there.clone_into_named()));
        let set_up = move |name: &str, last: u8| {
            ip(&format!("addr add {ipv4}{last}/24 dev {name}"));
            ip(&format!("addr add {ipv6}{last}/64 dev {name} nodad"));
            ip(&format!("link set {name} up"));
        };
        set_up(name, 1);
        there.run(move || set_up(&format!("{name}0"), 9));
    }

    /// Everything that a container could leave behind.
    pub fn traces(&self) -> String {
        let links = command("ip", &["-br", "link"]);
        let rules = command("nft", &["list", "ruleset"]);
        let mut files = Vec::new();
        list(self.directory.path(), &mut files);
        files.sort();
        let names: Vec<&str> = links.lines().filter_map(|line| line.split_whitespace().next()).collect();
        format!("{names:?}\n{rules}\n{files:#?}")
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(pid) = name_server(self.directory.path()) {
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL);
        }
    }
}

/// The process of the name server that was started for this directory.
pub fn name_server(directory: &Path) -> Option<nix::unistd::Pid> {
    let text = fs::read_to_string(directory.join("run/dns/aardvark.pid")).ok()?;
    Some(nix::unistd::Pid::from_raw(text.trim().parse().ok()?))
}

pub fn open(directory: &Path) -> Networks {
    Networks::open(&directory.join("lib"), &directory.join("run/network")).unwrap()
}

fn list(directory: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            list(&path, files);
        }
        files.push(path);
    }
}

pub fn holder(name: &str) -> Holder {
    let id = format!("{:0<64}", name.bytes().map(|b| format!("{b:x}")).collect::<String>());
    Holder { id, name: name.to_owned() }
}

pub fn container(name: &str) -> Container {
    let netns = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        own_netns()
    });
    Container { holder: holder(name), netns: netns.join().unwrap() }
}

impl Container {
    /// Runs something inside.
    pub fn run<T: Send + 'static>(&self, inside: impl FnOnce() -> T + Send + 'static) -> T {
        self.spawn(inside).join().unwrap()
    }

    /// Runs something inside, beside the test.
    pub fn spawn<T: Send + 'static>(&self, inside: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let netns = self.netns.try_clone().unwrap();
        thread::spawn(move || {
            setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
            inside()
        })
    }

    /// Moves the calling thread inside, for good.
    pub fn enter(&self) {
        setns(&self.netns, CloneFlags::CLONE_NEWNET).unwrap();
    }

    pub fn netns(&self) -> BorrowedFd<'_> {
        self.netns.as_fd()
    }

    /// Starts a container on this machine, which is a host of its own with these files.
    pub fn start(&self, directory: PathBuf, config: Config, name: &'static str) -> (Self, Lease) {
        self.run(move || {
            let networks = open(&directory);
            networks.create(&config, false).unwrap();
            let container = container(name);
            let lease = networks.reserve(&container.holder, &[on(&config.name)], &[]).unwrap();
            networks.attach(&lease, container.netns.as_fd()).unwrap();
            (container, lease)
        })
    }

    /// A TCP server that tells each client its name and the client's address.
    pub fn serve(&self, port: u16) {
        let name = self.holder.name.clone();
        let listener = self.run(move || {
            TcpListener::bind(("::", port)).or_else(|_| TcpListener::bind(("0.0.0.0", port))).unwrap()
        });
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let peer = stream.peer_addr().unwrap().ip().to_canonical();
                let _ = write!(stream, "{name} sees {peer}");
            }
        });
    }

    /// A UDP server that does the same.
    pub fn serve_udp(&self, port: u16) {
        let name = self.holder.name.clone();
        let socket = self.run(move || UdpSocket::bind(("0.0.0.0", port)).unwrap());
        thread::spawn(move || {
            let mut buffer = [0; 64];
            while let Ok((_, peer)) = socket.recv_from(&mut buffer) {
                let _ = socket.send_to(format!("{name} sees {}", peer.ip()).as_bytes(), peer);
            }
        });
    }

    pub fn get(&self, address: &str) -> Option<String> {
        let address = address.to_owned();
        self.run(move || get(&address))
    }

    /// Whether nothing answers a TCP client inside.
    pub fn is_kept_from(&self, address: &str) -> bool {
        let address = address.to_owned();
        self.run(move || is_closed(&address))
    }

    /// A process number that `ip link set netns` understands: a sleeper inside.
    fn clone_into_named(&self) -> u32 {
        self.run(|| {
            // It may live on a little, and holds nothing of the test.
            let mut sleep = Command::new("sleep");
            let child = sleep.arg("60").stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            let pid = child.id();
            thread::spawn(move || {
                let mut child = child;
                let _ = child.wait();
            });
            pid
        })
    }
}

/// What a TCP server says that can be reached; see [`is_closed`] for one that can't.
pub fn get(address: &str) -> Option<String> {
    get_within(PATIENCE, address)
}

/// Whether no TCP server answers.
pub fn is_closed(address: &str) -> bool {
    get_within(NEVER, address).is_none()
}

/// What a TCP server says within this time.
pub fn get_within(patience: Duration, address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let mut stream = TcpStream::connect_timeout(&address, patience).ok()?;
    stream.set_read_timeout(Some(patience)).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}

/// What a UDP server says that can be reached.
pub fn get_udp(address: &str) -> Option<String> {
    let address: SocketAddr = address.parse().unwrap();
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.send_to(b"hello", address).ok()?;
    let mut buffer = [0; 64];
    let (length, _) = socket.recv_from(&mut buffer).ok()?;
    Some(String::from_utf8_lossy(&buffer[..length]).into_owned())
}

pub fn parse(ports: &[&str]) -> Vec<PortMapping> {
    ports.iter().flat_map(|text| parse_ports(text).unwrap()).collect()
}

pub fn on(network: &str) -> Request {
    Request { network: network.to_owned(), ..Request::default() }
}

pub fn address(lease: &Lease) -> IpAddr {
    lease.attachments[0].addresses[0].address
}

pub fn ip(arguments: &str) {
    let arguments: Vec<&str> = arguments.split(' ').collect();
    command("ip", &arguments);
}

pub fn command(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until something is so.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < end, "{what} never came true");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Whether the kernel can make such a link; says in words if not.
pub fn has(what: &str, link: &str) -> bool {
    let has = can_make(link);
    if !has {
        lacks(what);
    }
    has
}

/// Whether the kernel can make such a link.
pub fn can_make(link: &str) -> bool {
    let link = format!("link add name probe {link}");
    let arguments: Vec<&str> = link.split(' ').collect();
    let made = Command::new("ip").args(&arguments).output().unwrap().status.success();
    if made {
        ip("link del probe");
    }
    made
}

/// Says that the kernel lacks something. The virtual machine's has all that the tests ask for (`tests/vm`).
pub fn lacks(what: &str) {
    assert!(std::env::var_os("SAMPAN_MACHINE_HERE").is_none(), "the virtual machine's kernel lost {what}");
    eprintln!("SKIP: this kernel has no {what}");
}

pub fn own_netns() -> OwnedFd {
    File::open("/proc/thread-self/ns/net").unwrap().into()
}

/// What a name server answers to `name`: addresses, or none.
pub fn resolve(server: IpAddr, name: &str) -> Vec<IpAddr> {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut question = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        question.push(label.len().try_into().unwrap());
        question.extend(label.as_bytes());
    }
    question.extend(b"\0\0\x01\0\x01");
    socket.send_to(&question, (server, 53)).unwrap();
    let mut answer = [0; 512];
    let length = socket.recv(&mut answer).unwrap_or(0);
    // Every record of type A ends in its length, 4, and the address.
    answer[question.len().min(length)..length]
        .windows(6)
        .filter(|window| window[..2] == [0, 4])
        .map(|window| IpAddr::from([window[2], window[3], window[4], window[5]]))
        .collect()
}
