//! Time namespaces: a container's own clocks, those of another one, and programs that are executed there.

mod bundle;

use std::fs;

use bundle::Bundle;
use serde_json::json;

/// A bundle with a time namespace; `None`, said visibly, where the kernel has none.
fn bundle() -> Option<Bundle> {
    let mut bundle = Bundle::new()?;
    if fs::symlink_metadata("/proc/self/ns/time").is_err() {
        eprintln!("SKIP: this kernel has no time namespaces");
        return None;
    }
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time"}));
    Some(bundle)
}

fn add_users(bundle: &mut Bundle) {
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
}

/// Seconds since boot as `/proc/uptime` says them.
fn uptime(text: &str) -> i64 {
    text.split('.').next().unwrap().trim().parse().unwrap()
}

fn host() -> i64 {
    uptime(&fs::read_to_string("/proc/uptime").unwrap())
}

#[test]
fn the_clock_has_its_offset() {
    let Some(mut bundle) = bundle() else { return };
    bundle.spec["linux"]["timeOffsets"] =
        json!({"boottime": {"secs": 1_000_000}, "monotonic": {"secs": 2_000_000, "nanosecs": 5}});
    let script = "cat /proc/uptime; cat /proc/self/timens_offsets; readlink /proc/self/ns/time";
    for users in [false, true] {
        if users {
            add_users(&mut bundle);
        }
        let before = host();
        let out = bundle.script(script).run().good();
        let passed = uptime(&out) - before;
        assert!((1_000_000..1_000_060).contains(&passed), "{out}");
        let lines: Vec<Vec<&str>> = out.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[1], ["monotonic", "2000000", "5"], "{out}");
        assert_eq!(lines[2], ["boottime", "1000000", "0"], "{out}");
        let own = fs::read_link("/proc/self/ns/time").unwrap();
        assert_ne!(lines[3][0], own.to_str().unwrap());
    }
}

#[test]
fn without_offsets_the_namespace_is_new_all_the_same() {
    let Some(mut bundle) = bundle() else { return };
    let out = bundle.args(&["readlink", "/proc/self/ns/time"]).run().good();
    assert_ne!(out.trim(), fs::read_link("/proc/self/ns/time").unwrap().to_str().unwrap());
}

#[test]
fn clocks_are_shared_by_path_and_with_exec() {
    let (Some(mut first), Some(mut second)) = (bundle(), Bundle::new()) else { return };
    first.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 3_000_000}});
    first.args(&["sleep", "1000"]);
    let running = first.start();
    let path = format!("/proc/{}/ns/time", first.pid());
    let namespace = fs::read_link(&path).unwrap().to_str().unwrap().to_owned();
    let script = "readlink /proc/self/ns/time; cat /proc/uptime";
    let check = |out: &str| {
        let (link, time) = out.split_once('\n').unwrap();
        assert_eq!(link, namespace);
        assert!(uptime(time) >= 3_000_000, "{out}");
    };
    check(&running.exec(&[], &["sh", "-c", script]).good());
    second.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "time", "path": path}));
    check(&second.script(script).run().good());
    // In a user namespace of its own a process couldn't join what belongs to the host.
    add_users(&mut second);
    check(&second.script(script).run().good());
}

#[test]
fn offsets_for_clocks_of_others_are_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("new namespace of type time"), "{ran:?}");
}
