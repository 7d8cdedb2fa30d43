//! config.md: root.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/root/path", "config.md#root: path", path),
        case("config/root/missing", "config.md#root", missing),
        case("config/root/no_directory", "config.md#root: path", no_directory),
        case("config/root/readonly", "config.md#root: readonly", readonly),
        case("config/root/writable", "config.md#root: readonly", writable),
    ]
}

fn path(bundle: &mut Bundle) {
    bundle.spec["root"]["path"] = json!("rootfs");
    fs::write(bundle.rootfs("marker"), "here").unwrap();
    assert_eq!(bundle.args(&["cat", "/marker"]).run().good(), "here");
    bundle.spec["root"]["path"] = json!(bundle.rootfs(""));
    assert_eq!(bundle.run().good(), "here");
}

fn missing(bundle: &mut Bundle) {
    bundle.spec.as_object_mut().unwrap().remove("root");
    bundle.refused();
}

fn no_directory(bundle: &mut Bundle) {
    bundle.spec["root"]["path"] = json!("no-such-directory");
    bundle.refused();
    assert!(!bundle.path().join("no-such-directory").exists());
    fs::write(bundle.path().join("file"), "").unwrap();
    bundle.spec["root"]["path"] = json!("file");
    bundle.refused();
}

fn readonly(bundle: &mut Bundle) {
    bundle.spec["root"]["readonly"] = json!(true);
    let ran = bundle.script("touch /x /tmp/x; echo > /bin/busybox; touch /dev/shm/x && echo mounted").run();
    assert_eq!(ran.out, "mounted\n", "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 3, "{ran:?}");
    assert!(!bundle.rootfs("x").exists());
}

fn writable(bundle: &mut Bundle) {
    for value in [json!(false), json!(null)] {
        bundle.spec["root"]["readonly"] = value;
        if bundle.spec["root"]["readonly"].is_null() {
            bundle.spec["root"].as_object_mut().unwrap().remove("readonly");
        }
        bundle.script("echo text > /x").run().good();
        fs::remove_file(bundle.rootfs("x")).unwrap();
    }
}
