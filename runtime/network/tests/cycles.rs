//! A thousand containers come and go, and nothing stays: no link, element, lease, claim,
//! file, flow or descriptor. (It counts the descriptors of the process: hence alone here.)

mod host;

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use host::{Host, container, get, on, open, parse};
use sampan_network::DEFAULT_NETWORK;

/// 200 one after the other, and then 8 times 100 at once.
#[test]
fn a_thousand_come_and_go() {
    let Some(host) = Host::new() else { return };
    let (stays, _) = host.start("stays", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    cycle(host.directory(), "warm", 1);
    let (before, descriptors, flows) = (host.traces(), open_files(), remembered_flows());
    cycle(host.directory(), "alone", 200);
    thread::scope(|scope| {
        for number in 0..8 {
            let directory = host.directory();
            scope.spawn(move || cycle(directory, &format!("at once {number}").replace(' ', ""), 100));
        }
    });
    assert_eq!(host.traces(), before);
    assert_eq!(open_files(), descriptors);
    // A packet that waits for the link-layer address of a container that is gone keeps its flow
    // for three seconds; a flow that was forgotten by nobody lives for thirty.
    let deadline = Instant::now() + Duration::from_secs(6);
    while remembered_flows() != flows && Instant::now() < deadline {
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(remembered_flows(), flows);
    assert!(get("127.0.0.1:8080").is_none());
    stays.serve(80);
    assert!(get("127.0.0.1:8080").is_some());
    host.networks.release(&stays.holder.id).unwrap();
}

/// One container, time and again: published over TCP and UDP, with a client that has sent
/// a packet to it.
fn cycle(directory: &Path, name: &str, times: usize) {
    let networks = open(directory);
    let container = container(name);
    for _ in 0..times {
        let ports = parse(&["80", "53/udp"]);
        let lease = networks.reserve(&container.holder, &[on(DEFAULT_NETWORK)], &ports).unwrap();
        networks.attach(&lease, container.netns.as_fd()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        client.send_to(b"hello", ("127.0.0.1", lease.ports[1].host_port)).unwrap();
        networks.release(&container.holder.id).unwrap();
    }
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// How many flows this namespace's conntrack has.
fn remembered_flows() -> String {
    let count = fs::read_to_string("/proc/sys/net/netfilter/nf_conntrack_count").unwrap();
    count.trim().to_owned()
}
