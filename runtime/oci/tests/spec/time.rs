//! config-linux.md: time namespaces and their offsets.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};
use crate::sockets::holder;

pub(crate) fn cases() -> Vec<Case> {
    let none =
        || (!std::path::Path::new("/proc/self/ns/time").exists()).then(|| "no time namespaces".to_owned());
    vec![
        case("linux/time/new", "config-linux.md#namespaces: time", new).needs(none),
        case("linux/time/joined", "config-linux.md#namespaces: time", joined).needs(none),
        case("linux/time/inherited", "config-linux.md#namespaces", inherited).needs(none),
        case("linux/time/offsets", "config-linux.md#offset-for-time-namespace", offsets).needs(none),
        case("linux/time/of_exec", "config-linux.md#namespaces: time", of_exec).needs(none),
        case("linux/time/unknown_clock", "config.md#valid-values", unknown_clock).needs(none),
    ]
}

fn link(path: &str) -> String {
    fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

fn new(bundle: &mut Bundle) {
    bundle.namespace("time", None);
    let out =
        bundle.script("readlink /proc/self/ns/time; readlink /proc/self/ns/time_for_children").run().good();
    let (own, children) = out.trim().split_once('\n').unwrap();
    assert_ne!(own, link("/proc/self/ns/time"));
    assert_eq!(own, children);
}

fn joined(bundle: &mut Bundle) {
    let holder = holder(&["--time", "--fork", "--kill-child"], "");
    let path = format!("/proc/{}/ns/time_for_children", holder.id());
    bundle.namespace("time", Some(&path));
    assert_eq!(bundle.args(&["readlink", "/proc/self/ns/time"]).run().good().trim(), link(&path));
}

fn inherited(bundle: &mut Bundle) {
    let out = bundle.args(&["readlink", "/proc/self/ns/time"]).run().good();
    assert_eq!(out.trim(), link("/proc/self/ns/time"));
}

fn offsets(bundle: &mut Bundle) {
    bundle.namespace("time", None);
    bundle.spec["linux"]["timeOffsets"] = json!({
        "monotonic": {"secs": 172_800, "nanosecs": 5}, "boottime": {"secs": 604_800},
    });
    let out =
        bundle.script("sed 's/  */ /g' /proc/self/timens_offsets; cut -d. -f1 /proc/uptime").run().good();
    let (table, uptime) = out.trim().rsplit_once('\n').unwrap();
    assert_eq!(table, "monotonic 172800 5\nboottime 604800 0");
    assert!(uptime.parse::<u64>().unwrap() >= 604_800, "{out}");
}

fn of_exec(bundle: &mut Bundle) {
    bundle.namespace("time", None);
    bundle.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 604_800}});
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let out = running.exec(&[], &["cut", "-d.", "-f1", "/proc/uptime"]).good();
    assert!(out.trim().parse::<u64>().unwrap() >= 604_800, "{out}");
}

fn unknown_clock(bundle: &mut Bundle) {
    bundle.namespace("time", None);
    bundle.spec["linux"]["timeOffsets"] = json!({"sundial": {"secs": 1}});
    bundle.refused();
}
