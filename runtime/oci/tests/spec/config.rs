//! config.md: version, annotations, host and domain name, extensibility and valid values.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Case, Invalid, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("config/version/unsupported", "config.md#specification-version, #valid-values", version),
        case("config/version/later_minor", "config.md#specification-version", later_minor),
        case("config/hostname", "config.md#hostname", hostname),
        case("config/domainname", "config.md#domainname", domainname),
        case("config/annotations/any_key", "config.md#annotations", annotations),
        case("config/extensibility/unknown_properties", "config.md#extensibility", unknown_properties),
        case("config/linux_defaults/file_systems", "config-linux.md#default-filesystems", file_systems),
    ];
    let invalid: [Invalid; 10] = [
        ("rlimit", "/process/rlimits", || json!([{"type": "RLIMIT_NOTHING", "soft": 1, "hard": 1}])),
        ("scheduler", "/process/scheduler", || json!({"policy": "SCHED_NOTHING"})),
        ("io_class", "/process/ioPriority", || json!({"class": "IOPRIO_CLASS_NOTHING", "priority": 1})),
        ("io_priority", "/process/ioPriority", || json!({"class": "IOPRIO_CLASS_BE", "priority": 8})),
        ("namespace", "/linux/namespaces", || json!([{"type": "mount"}, {"type": "nothing"}])),
        ("propagation", "/linux/rootfsPropagation", || json!("sideways")),
        ("personality", "/linux/personality", || json!({"domain": "LINUX99"})),
        ("seccomp_action", "/linux/seccomp", || json!({"defaultAction": "SCMP_ACT_NOTHING"})),
        (
            "device_type",
            "/linux/devices",
            || json!([{"path": "/dev/x", "type": "q", "major": 1, "minor": 3}]),
        ),
        ("device_access", "/linux/resources", || json!({"devices": [{"allow": true, "access": "q"}]})),
    ];
    for (name, pointer, value) in invalid {
        cases.push(case(format!("config/valid_values/{name}"), "config.md#valid-values", move |bundle| {
            let (parent, key) = pointer.rsplit_once('/').unwrap();
            bundle.spec.pointer_mut(parent).unwrap()[key] = value();
            bundle.refused();
        }));
    }
    cases
}

fn version(bundle: &mut Bundle) {
    for version in [json!("2.0.0"), json!("1.0"), json!("one"), Value::Null] {
        bundle.spec["ociVersion"] = version;
        bundle.refused();
    }
}

fn later_minor(bundle: &mut Bundle) {
    for version in ["1.0.0", "1.0.2-dev", "1.1.0", "1.2.0", "1.3.0"] {
        bundle.spec["ociVersion"] = json!(version);
        bundle.args(&["true"]).run().good();
    }
}

fn hostname(bundle: &mut Bundle) {
    bundle.spec["hostname"] = json!("mrsdalloway");
    assert_eq!(bundle.args(&["hostname"]).run().good(), "mrsdalloway\n");
}

fn domainname(bundle: &mut Bundle) {
    bundle.spec["domainname"] = json!("foobarbaz.test");
    assert_eq!(bundle.args(&["cat", "/proc/sys/kernel/domainname"]).run().good(), "foobarbaz.test\n");
}

fn annotations(bundle: &mut Bundle) {
    bundle.spec["annotations"] = json!({"org.opencontainers.unheard": "of", "empty": "", "a b": "c"});
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    assert_eq!(bundle.state()["annotations"], bundle.spec["annotations"]);
}

fn unknown_properties(bundle: &mut Bundle) {
    for pointer in
        ["", "/process", "/process/user", "/process/capabilities", "/root", "/linux", "/linux/resources"]
    {
        bundle.spec.pointer_mut(pointer).unwrap()["unheardOf"] = json!({"a": [1]});
    }
    bundle.spec["mounts"][0]["unheardOf"] = json!(true);
    bundle.spec["linux"]["namespaces"][0]["unheardOf"] = json!(1);
    bundle.spec["hooks"] = json!({"unheardOf": [{"path": "/no/such/program"}]});
    bundle.spec["windows"] = json!({"layerFolders": ["C:\\layer"]});
    assert_eq!(bundle.args(&["echo", "ran"]).run().good(), "ran\n");
}

/// They come from the default configuration, which is each runtime's own otherwise: here it is ours for all.
fn file_systems(bundle: &mut Bundle) {
    let out = bundle.args(&["cat", "/proc/self/mounts"]).run().good();
    for (path, kind) in [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        assert!(out.lines().any(|l| l.split(' ').skip(1).take(2).eq([path, kind])), "{path}: {out}");
    }
}
