//! config-linux.md: devices and default devices.

use std::process::Command;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case, lacks};

pub(crate) fn cases() -> Vec<Case> {
    let fuse =
        || (!std::path::Path::new("/dev/fuse").exists()).then(|| "the host has no /dev/fuse".to_owned());
    let mknod = || lacks(caps::Capability::CAP_MKNOD);
    vec![
        case("linux/devices/listed", "config-linux.md#devices", listed).needs(mknod),
        case("linux/devices/outside_dev", "config-linux.md#devices: path", outside_dev).needs(mknod),
        case("linux/devices/there_already", "config-linux.md#devices: path", there_already).needs(mknod),
        case("linux/devices/another_file_is_there", "config-linux.md#devices: path", another_file)
            .needs(mknod),
        case("linux/devices/another_device_is_there", "config-linux.md#devices: path", another_device)
            .needs(mknod),
        case("linux/devices/in_a_user_namespace", "config-linux.md#devices", in_a_user_namespace).needs(fuse),
        case("linux/devices/made_for_a_user_namespace", "config-linux.md#devices", made_for_users)
            .needs(mknod),
        case("linux/devices/of_an_unmapped_owner", "config-linux.md#devices", of_an_unmapped_owner)
            .needs(mknod),
        case("linux/default_devices/nodes", "config-linux.md#default-devices", nodes),
        case("linux/default_devices/usable", "config-linux.md#default-devices", usable),
        case("linux/default_devices/ptmx", "config-linux.md#default-devices: /dev/ptmx", ptmx),
    ]
}

fn listed(bundle: &mut Bundle) {
    bundle.spec["linux"]["devices"] = json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640, "uid": 3, "gid": 4},
        {"path": "/dev/block", "type": "b", "major": 7, "minor": 0, "fileMode": 0o600},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 8, "fileMode": 0o644},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o622, "uid": 1, "gid": 2},
    ]);
    let out =
        bundle.script("stat -c '%n %F %t,%T %a %u:%g' /dev/fuse /dev/block /dev/unbuffered /dev/pipe").run();
    for line in [
        "/dev/fuse character special file a,e5 640 3:4",
        "/dev/block block special file 7,0 600 0:0",
        "/dev/unbuffered character special file 1,8 644 0:0",
        "/dev/pipe fifo 0,0 622 1:2",
    ] {
        assert!(out.out.lines().any(|l| l == line), "{line}: {out:?}");
    }
}

fn outside_dev(bundle: &mut Bundle) {
    bundle.spec["linux"]["devices"] =
        json!([{"path": "/some/where/zero", "type": "c", "major": 1, "minor": 5, "fileMode": 0o666}]);
    let out = bundle.args(&["stat", "-c", "%t,%T %a", "/some/where/zero"]).run().good();
    assert_eq!(out, "1,5 666\n");
}

fn make(bundle: &Bundle, arguments: &[&str]) {
    assert!(Command::new("mknod").arg(bundle.rootfs("node")).args(arguments).status().unwrap().success());
}

const NODE: &str = "/node";

fn there_already(bundle: &mut Bundle) {
    make(bundle, &["c", "1", "3"]);
    bundle.spec["linux"]["devices"] =
        json!([{"path": NODE, "type": "c", "major": 1, "minor": 3, "fileMode": 0o666}]);
    assert_eq!(bundle.args(&["stat", "-c", "%t,%T", NODE]).run().good(), "1,3\n");
}

fn another_file(bundle: &mut Bundle) {
    std::fs::write(bundle.rootfs("node"), "text").unwrap();
    bundle.spec["linux"]["devices"] = json!([{"path": NODE, "type": "c", "major": 1, "minor": 3}]);
    bundle.refused();
    assert_eq!(std::fs::read_to_string(bundle.rootfs("node")).unwrap(), "text");
}

fn another_device(bundle: &mut Bundle) {
    make(bundle, &["c", "1", "5"]);
    bundle.spec["linux"]["devices"] = json!([{"path": NODE, "type": "c", "major": 1, "minor": 3}]);
    bundle.refused();
}

fn in_a_user_namespace(bundle: &mut Bundle) {
    // It can't be made there: the host has it, too.
    bundle.users(0, 65_536);
    bundle.spec["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    assert_eq!(bundle.args(&["stat", "-c", "%t,%T", "/dev/fuse"]).run().good(), "a,e5\n");
}

/// The host has no node of that name; number, mode and owner are those that were asked for.
fn made_for_users(bundle: &mut Bundle) {
    bundle.users(100_000, 1000);
    bundle.before = "umask 077;".into();
    std::fs::write(bundle.rootfs("dev/made"), "").unwrap();
    bundle.spec["linux"]["devices"] = json!([
        {"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "fileMode": 0o642, "uid": 10, "gid": 11},
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o606, "uid": 0, "gid": 0},
    ]);
    let script = "stat -c '%F %t,%T %a %u:%g' /dev/made /dev/null; head -c 2 /dev/made | wc -c; echo x > /dev/null && echo written";
    let out = bundle.script(script).run().good();
    let file = "character special file";
    assert_eq!(out, format!("{file} 1,5 642 10:11\n{file} 1,3 606 0:0\n2\nwritten\n"));
    assert!(!std::path::Path::new("/dev/made").exists());
}

fn of_an_unmapped_owner(bundle: &mut Bundle) {
    bundle.users(100_000, 10);
    bundle.spec["linux"]["devices"] =
        json!([{"path": "/dev/made", "type": "c", "major": 1, "minor": 5, "uid": 10, "gid": 0}]);
    bundle.refused();
}

const DEFAULTS: &[(&str, &str)] = &[
    ("null", "1,3"),
    ("zero", "1,5"),
    ("full", "1,7"),
    ("random", "1,8"),
    ("urandom", "1,9"),
    ("tty", "5,0"),
];

fn nodes(bundle: &mut Bundle) {
    let script = "cd /dev; for d in null zero full random urandom tty; do stat -c '%n %F %t,%T %a' $d; done";
    let out = bundle.script(script).run().good();
    for (name, number) in DEFAULTS {
        let line = format!("{name} character special file {number} 666");
        assert!(out.lines().any(|l| l == line), "{line}: {out}");
    }
}

fn usable(bundle: &mut Bundle) {
    // Denied by default in the cgroup, but for what is supplied.
    bundle.spec["linux"]["resources"] = json!({"devices": [{"allow": false, "access": "rwm"}]});
    let script =
        "echo x > /dev/null && for d in zero random urandom full; do head -c 1 < /dev/$d > /dev/null; done
        (echo x > /dev/full) 2>&1 | grep -o 'No space left on device'";
    let ran = bundle.script(script).run();
    assert!(ran.out.contains("No space left on device"), "{ran:?}");
    assert!(!ran.err.contains("not permitted"), "{ran:?}");
}

fn ptmx(bundle: &mut Bundle) {
    let script = "readlink /dev/ptmx || stat -c %t,%T /dev/ptmx; stat -c %t,%T -L /dev/ptmx; (: < /dev/ptmx) && echo opened";
    let out = bundle.script(script).run().good();
    let first = out.lines().next().unwrap();
    assert!(["pts/ptmx", "/dev/pts/ptmx", "5,2"].contains(&first), "{out}");
    assert!(out.ends_with("5,2\nopened\n"), "{out}");
}
