//! Network namespaces that stand for machines, cables between them, and the floor.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Command, Stdio};
use std::thread;

use nix::sched::{CloneFlags, setns, unshare};
use sampan_network::loopback_up;

use crate::{HOST_PORT, SERVER_PORT};

/// A network namespace.
pub(crate) type Netns = OwnedFd;

const CONTAINER: &str = "10.99.0.2";
const GATEWAY: &str = "10.99.0.1";

/// A host that publishes a port of a container with as little as there can be.
pub(crate) struct Floor {
    pub(crate) host: Netns,
    pub(crate) container: Netns,
}

pub(crate) fn floor() -> Floor {
    let floor = Floor { host: new_netns(), container: new_netns() };
    cable(&floor.container, CONTAINER, &floor.host, GATEWAY);
    enter(&floor.host);
    // The address goes from the cable's end to a bridge that has it as its port.
    for arguments in [
        "link set cable name port",
        "addr flush dev port",
        "link add bridge type bridge",
        "link set port master bridge up",
        &format!("addr add {GATEWAY}/24 dev bridge"),
        "link set bridge up",
    ] {
        ip(arguments);
    }
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").unwrap();
    let rule = format!("tcp dport {HOST_PORT} dnat to {CONTAINER}:{SERVER_PORT}");
    nft(&format!(
        "table ip floor {{\n\
         chain in {{\ntype nat hook prerouting priority dstnat\n{rule}\n}}\n\
         chain out {{\ntype nat hook output priority -100\n{rule}\n}}\n}}\n"
    ));
    enter(&floor.container);
    ip(&format!("route add default via {GATEWAY}"));
    floor
}

/// Connects two machines by a pair of interfaces with these addresses.
pub(crate) fn cable(one: &Netns, at: &str, other: &Netns, other_at: &str) {
    enter(one);
    // A process inside is the name of a namespace for ip(8).
    let mut inside = Command::new("sleep").arg("60").spawn().unwrap();
    enter(other);
    ip(&format!("link add cable type veth peer name cable netns {}", inside.id()));
    for (netns, address) in [(one, at), (other, other_at)] {
        enter(netns);
        ip(&format!("addr add {address}/24 dev cable"));
        ip("link set cable up");
    }
    inside.kill().unwrap();
    inside.wait().unwrap();
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

fn nft(script: &str) {
    let mut nft = Command::new("nft").args(["-f", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    nft.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(nft.wait().unwrap().success(), "nft -f - with {script}");
}

/// Takes the calling thread into a namespace.
pub(crate) fn enter(netns: &Netns) {
    setns(netns, CloneFlags::CLONE_NEWNET).unwrap();
}

pub(crate) fn new_netns() -> Netns {
    let made = thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        let netns: OwnedFd = File::open("/proc/thread-self/ns/net").unwrap().into();
        loopback_up(netns.as_fd()).unwrap();
        netns
    });
    made.join().unwrap()
}
