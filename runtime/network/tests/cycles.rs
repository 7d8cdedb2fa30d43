//! A thousand containers come and go, and nothing stays: no link, element, lease, claim,
//! file, flow or descriptor. (It counts the descriptors of the process: hence alone here.)

mod host;

use std::fs;
use std::net::UdpSocket;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;

use host::{Host, container, get, is_closed, on, open, parse};
use sampan_network::DEFAULT_NETWORK;

/// 200 one after the other, and then 8 times 100 at once.
#[test]
fn a_thousand_come_and_go() {
    let Some(host) = Host::new() else { return };
    let (stays, _) = host.start("stays", &[on(DEFAULT_NETWORK)], &["8080:80"]);
    cycle(host.directory(), "warm", 1);
    let (before, descriptors) = (host.traces(), open_files());
    cycle(host.directory(), "alone", 200);
    thread::scope(|scope| {
        for number in 0..8 {
            let directory = host.directory();
            scope.spawn(move || cycle(directory, &format!("at once {number}").replace(' ', ""), 100));
        }
    });
    assert_eq!(host.traces(), before);
    assert_eq!(open_files(), descriptors);
    // One that was forgotten by nobody would live for thirty seconds.
    assert_eq!(udp_flows(), [""; 0]);
    assert!(is_closed("127.0.0.1:8080"));
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

/// The flows of UDP that this namespace's conntrack has; the host says some things of its own
/// over other protocols.
fn udp_flows() -> Vec<String> {
    let flows = fs::read_to_string("/proc/thread-self/net/nf_conntrack").unwrap();
    flows.lines().filter(|flow| flow.contains(" udp ")).map(str::to_owned).collect()
}
