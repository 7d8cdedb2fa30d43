//! config-linux.md: control groups, `cgroupsPath` and the list of allowed devices.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case, lacks};

pub(crate) fn cases() -> Vec<Case> {
    let fuse = || {
        let none = (!Path::new("/dev/fuse").exists())
            .then(|| "no /dev/fuse, the device that any process may open".into());
        none.or_else(|| lacks(caps::Capability::CAP_MKNOD))
    };
    vec![
        case("linux/cgroups_path/absolute", "config-linux.md#cgroups-path", absolute),
        case("linux/cgroups_path/nested", "config-linux.md#cgroups-path", nested),
        case("linux/cgroups_path/same_place", "config-linux.md#cgroups-path", same_place),
        case("linux/cgroups_path/unset", "config-linux.md#cgroups-path", unset),
        case("linux/cgroups_path/of_exec", "config-linux.md#control-groups", of_exec),
        case("linux/cgroups_path/escaping", "config-linux.md#cgroups-path", escaping),
        case("linux/cgroups/devices", "config-linux.md#allowed-device-list", devices).needs(fuse),
        case("linux/cgroups/devices_in_order", "config-linux.md#allowed-device-list", devices_in_order)
            .needs(fuse),
    ]
}

/// The cgroup of a process in the hierarchy of the second version.
fn of(pid: i32) -> String {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
}

fn absolute(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    assert_eq!(of(bundle.pid()), bundle.spec["linux"]["cgroupsPath"]);
    let members = fs::read_to_string(bundle.cgroup().join("cgroup.procs")).unwrap();
    assert!(members.lines().any(|pid| pid == bundle.pid().to_string()), "{members}");
}

fn nested(bundle: &mut Bundle) {
    let parent = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let parent_folder = bundle.cgroup();
    bundle.spec["linux"]["cgroupsPath"] = json!(format!("{parent}/in/side"));
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let found = of(bundle.pid());
    drop(running);
    // What was made on the way belongs to nobody else; not all runtimes remove it.
    let left = bundle.cgroup().exists();
    let _ = fs::remove_dir(parent_folder.join("in"));
    let _ = fs::remove_dir(parent_folder);
    assert_eq!(found, format!("{parent}/in/side"));
    assert!(!left, "it is left");
}

fn same_place(bundle: &mut Bundle) {
    let mut places = Vec::new();
    let absolute = bundle.spec["linux"]["cgroupsPath"].clone();
    // Other runtimes' trials are done at the same time, and a cgroup is one container's.
    let relative = json!(format!("relative-{}", absolute.as_str().unwrap().trim_start_matches('/')));
    for path in [absolute, relative] {
        bundle.spec["linux"]["cgroupsPath"] = path;
        for _ in 0..2 {
            bundle.args(&["sleep", "1000"]);
            let _running = bundle.start();
            places.push(of(bundle.pid()));
        }
    }
    assert_eq!((&places[0], &places[2]), (&places[1], &places[3]));
    assert_ne!(places[0], places[2]);
}

fn unset(bundle: &mut Bundle) {
    bundle.spec["linux"].as_object_mut().unwrap().remove("cgroupsPath");
    // The runtime's own choice rests on the name, which no other test may have then.
    bundle.args(&["echo", "ran"]).write();
    let name = bundle.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    let path = bundle.path().to_str().unwrap().to_owned();
    assert_eq!(bundle.runtime(&["run", "--bundle", &path, &name]).good(), "ran\n");
}

fn of_exec(bundle: &mut Bundle) {
    bundle.without_namespace("cgroup");
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let out = running.exec(&[], &["grep", "^0:", "/proc/self/cgroup"]).good();
    assert_eq!(out, format!("0::{}\n", bundle.spec["linux"]["cgroupsPath"].as_str().unwrap()));
}

/// The path is below the mount point: if not refused, `..` doesn't lead out of it.
fn escaping(bundle: &mut Bundle) {
    let name = bundle.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
    bundle.spec["linux"]["cgroupsPath"] = json!(format!("/../../../../../tmp/sampan-{name}"));
    let _ = bundle.args(&["true"]).run();
    let outside = Path::new("/tmp").join(format!("sampan-{name}"));
    assert!(!outside.exists());
}

fn with_mknod(bundle: &mut Bundle) {
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
}

/// For nodes that the container makes itself, too.
fn devices(bundle: &mut Bundle) {
    with_mknod(bundle);
    bundle.spec["linux"]["resources"]["devices"] = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "access": "m"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ]);
    let script = "mknod /tmp/fuse c 10 229; mknod /tmp/mem c 1 1
        (: < /tmp/fuse) && echo read; (: < /tmp/mem); (: > /tmp/fuse); exit 0";
    let ran = bundle.script(script).run();
    assert_eq!(ran.out, "read\n", "{ran:?}");
    assert_eq!(ran.err.matches("Operation not permitted").count(), 2, "{ran:?}");
}

/// "The runtime MUST apply entries in the listed order."
fn devices_in_order(bundle: &mut Bundle) {
    with_mknod(bundle);
    bundle.spec["linux"]["resources"]["devices"] = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "rwm"},
        {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "w"},
    ]);
    let script = "mknod /tmp/fuse c 10 229; (: < /tmp/fuse) && echo read; (: > /tmp/fuse); exit 0";
    let ran = bundle.script(script).run();
    assert_eq!(ran.out, "read\n", "{ran:?}");
    assert_eq!(ran.err.matches("Operation not permitted").count(), 1, "{ran:?}");
}
