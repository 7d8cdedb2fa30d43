//! Network devices of the host that become a container's, in a network namespace that stands for the host's.

mod bundle;

use std::process::{Command, Output, Stdio};

use bundle::Bundle;
use serde_json::json;

/// A network namespace that ends with this value.
struct Host(std::process::Child);

impl Host {
    /// `None`, said visibly, where there is no ip(8).
    fn new() -> Option<Self> {
        if Command::new("ip").arg("-V").output().is_err() {
            eprintln!("SKIP: no ip(8) to make devices with");
            return None;
        }
        let mut child = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
        Some(Host(child))
    }

    fn run(&self, command: &str) -> Output {
        let net = format!("--net=/proc/{}/ns/net", self.0.id());
        Command::new("nsenter").args([&net, "sh", "-ec", command]).output().unwrap()
    }

    fn ip(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs the bundle with this network as the host's.
    fn start(&self, bundle: &Bundle) -> bundle::Ran {
        let net = format!("nsenter --net=/proc/{}/ns/net", self.0.id());
        bundle.run_by(&net)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What `ip` sees in a container: busybox has its own.
const SHOW: &str = "/bin/busybox ip -o addr; /bin/busybox ip -o link";

#[test]
fn a_device_arrives_with_its_addresses() {
    let (Some(mut bundle), Some(host)) = (Bundle::new(), Host::new()) else { return };
    host.ip("ip link add wan type veth peer name pa; ip link set wan address 02:00:00:00:00:07 mtu 1400
        ip addr add 192.0.2.7/24 dev wan; ip addr add 2001:db8::7/64 dev wan nodad
        ip addr add 192.0.2.8/32 dev wan valid_lft 1000 preferred_lft 500; ip link set wan up; ip link set pa up");
    bundle.spec["linux"]["netDevices"] = json!({"wan": {"name": "inside"}});
    bundle.script(SHOW);
    let out = host.start(&bundle).good();
    for part in ["inet 192.0.2.7/24", "inet6 2001:db8::7/64", "mtu 1400", "02:00:00:00:00:07"] {
        assert!(out.lines().any(|l| l.contains("inside") && l.contains(part)), "{part}: {out}");
    }
    assert!(!out.contains("192.0.2.8"), "not permanent: {out}");
    assert!(out.lines().any(|l| l.contains("inside") && l.contains("UP")), "{out}");
}

#[test]
fn names_are_kept_or_templates() {
    let (Some(mut bundle), Some(host)) = (Bundle::new(), Host::new()) else { return };
    host.ip("ip link add wan type veth peer name pa; ip link add lan type veth peer name pc");
    bundle.spec["linux"]["netDevices"] =
        json!({"wan": {}, "pa": {"name": "eth%d"}, "lan": {"name": "eth%d"}});
    bundle.script("ls /sys/class/net");
    assert_eq!(host.start(&bundle).good(), "eth0\neth1\nlo\nwan\n");
}

#[test]
fn a_device_that_cannot_come_leaves_the_others() {
    let (Some(mut bundle), Some(host)) = (Bundle::new(), Host::new()) else { return };
    host.ip("ip link add wan type veth peer name pa; ip addr add 192.0.2.7/24 dev wan; ip link set wan up");
    let before = || {
        host.ip("ip -o link show wan | grep -o '<.*UP.*>' | grep -o ',UP'; ip -o -4 addr show dev wan | grep -o 192.0.2.7/24")
    };
    assert_eq!(before(), ",UP\n192.0.2.7/24\n");
    let cases = [
        (json!({"wan": {}, "nowhere": {}}), "no network device of this name"),
        (json!({"wan": {"name": "lo"}}), "has a device of this name already"),
        // Loopback devices are never moved, which only the kernel says: the other one has been on its way.
        (json!({"wan": {}, "lo": {"name": "x"}}), "move network device lo"),
        (json!({"wan": {"name": "a/b"}}), "no name of a network device"),
    ];
    bundle.args(&["true"]);
    for (devices, words) in cases {
        bundle.spec["linux"]["netDevices"] = devices.clone();
        let ran = host.start(&bundle);
        assert!(ran.status == 1 && ran.err.contains(words), "{devices}: {ran:?}");
        assert_eq!(before(), ",UP\n192.0.2.7/24\n", "{devices}");
    }
    bundle.spec["linux"]["netDevices"] = json!({"wan": {}});
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "network");
    bundle.drop_mount("/sys");
    bundle.drop_mount("/sys/fs/cgroup");
    let ran = host.start(&bundle);
    assert!(ran.status == 1 && ran.err.contains("namespace of type network only"), "{ran:?}");
}

#[test]
fn hooks_see_the_device() {
    let (Some(mut bundle), Some(host)) = (Bundle::new(), Host::new()) else { return };
    host.ip("ip link add wan type veth peer name pa");
    bundle.spec["linux"]["netDevices"] = json!({"wan": {}});
    let log = bundle.path().join("log");
    let script = format!("/bin/busybox ip -o link > {}", log.display());
    bundle.spec["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    bundle.args(&["true"]);
    host.start(&bundle).good();
    let seen = std::fs::read_to_string(log).unwrap();
    assert!(seen.contains(": wan"), "{seen}");
}
