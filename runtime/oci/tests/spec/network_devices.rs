//! config-linux.md: network devices.

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

const SECTION: &str = "config-linux.md#network-devices";

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("linux/net_devices/moved", SECTION, moved).needs(no_veth),
        case("linux/net_devices/renamed", SECTION, renamed).needs(no_veth),
        case("linux/net_devices/addresses_stay", SECTION, addresses_stay).needs(no_veth),
        case("linux/net_devices/name_in_use", SECTION, name_in_use).needs(no_veth),
        case("linux/net_devices/missing", SECTION, missing).needs(no_veth),
    ]
}

fn no_veth() -> Option<String> {
    let script = "ip link add name a type veth peer name b";
    let tried = std::process::Command::new("unshare").args(["--net", "sh", "-c", script]).output();
    let made = tried.is_ok_and(|output| output.status.success());
    (!made).then(|| "no pairs of network devices (veth) can be made".to_owned())
}

/// A network of the test's own for the runtime, with the pair of devices `outside` and `device`.
fn pair(bundle: &mut Bundle) {
    let commands = "ip link add name device type veth peer name outside; ip link set outside up
        ip address add 192.0.2.7/24 dev device; ip address add 2001:db8::7/64 dev device nodad; exec \"$@\"";
    bundle.before = format!("set -- unshare --net sh -c '{commands}' sh \"$@\";");
}

const LIST: &[&str] = &["ls", "/sys/class/net"];

fn moved(bundle: &mut Bundle) {
    pair(bundle);
    bundle.spec["linux"]["netDevices"] = json!({"device": {}});
    let out = bundle.script("ls /sys/class/net; cat /sys/class/net/device/flags").run().good();
    // Its lowest bit is IFF_UP.
    assert_eq!(out, "device\nlo\n0x1003\n");
}

fn renamed(bundle: &mut Bundle) {
    pair(bundle);
    for (name, wanted) in [("inside0", "inside0\nlo\n"), ("eth%d", "eth0\nlo\n")] {
        bundle.spec["linux"]["netDevices"] = json!({"device": {"name": name}});
        assert_eq!(bundle.args(LIST).run().good(), wanted);
    }
}

fn addresses_stay(bundle: &mut Bundle) {
    pair(bundle);
    bundle.spec["linux"]["netDevices"] = json!({"device": {"name": "eth0"}});
    let out = bundle.script("cat /proc/net/fib_trie /proc/net/if_inet6").run().good();
    assert!(out.contains("192.0.2.7") && out.contains("20010db8000000000000000000000007"), "{out}");
}

fn name_in_use(bundle: &mut Bundle) {
    pair(bundle);
    bundle.spec["linux"]["netDevices"] = json!({"device": {"name": "lo"}});
    bundle.refused();
}

fn missing(bundle: &mut Bundle) {
    pair(bundle);
    bundle.spec["linux"]["netDevices"] = json!({"nosuchdevice": {}});
    bundle.refused();
}
