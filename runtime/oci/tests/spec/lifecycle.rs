//! runtime.md: the state, the steps of the lifecycle, and errors.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::bundle::{Bundle, eventually};
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("runtime/state/required_properties", "runtime.md#state", required_properties),
        case("runtime/state/follows_the_lifecycle", "runtime.md#state", follows_the_lifecycle),
        case("runtime/state/of_no_container", "runtime.md#query-state", of_no_container),
        case(
            "runtime/lifecycle/the_program_waits_for_start",
            "runtime.md#lifecycle, step 2",
            waits_for_start,
        ),
        case("runtime/lifecycle/create_makes_the_environment", "runtime.md#lifecycle, step 2", environment),
        case("runtime/lifecycle/later_changes_of_the_bundle", "runtime.md#lifecycle, step 2", later_changes),
        case("runtime/errors/nothing_is_left", "runtime.md#errors", nothing_is_left),
    ]
}

fn required_properties(bundle: &mut Bundle) {
    bundle.spec["annotations"] = json!({"com.example.key": "value"});
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    let state = bundle.state();
    assert_eq!(state["ociVersion"].as_str().unwrap().split('.').next(), Some("1"), "{state}");
    assert_eq!((&state["id"], &state["status"]), (&json!("test"), &json!("running")));
    assert_eq!(state["pid"], json!(bundle.pid()));
    assert_eq!(state["bundle"], json!(fs::canonicalize(bundle.path()).unwrap()));
    assert_eq!(state["annotations"]["com.example.key"], "value", "{state}");
    let command = fs::read_to_string(format!("/proc/{}/cmdline", bundle.pid())).unwrap();
    assert_eq!(command, "sleep\x001000\0", "the process id is another's");
}

fn follows_the_lifecycle(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]).create();
    assert_eq!(bundle.status(), "created");
    let pid = bundle.state()["pid"].as_i64().unwrap();
    assert!(Path::new(&format!("/proc/{pid}")).exists(), "a created container has a process");
    bundle.runtime(&["start", "test"]).good();
    assert_eq!(bundle.status(), "running");
    bundle.runtime(&["kill", "test", "KILL"]).good();
    bundle.wait_for("stopped");
    bundle.runtime(&["delete", "test"]).good();
    assert_ne!(bundle.runtime(&["state", "test"]).status, 0);
}

fn of_no_container(bundle: &mut Bundle) {
    for arguments in [&["state"][..], &["state", "nobody"]] {
        let ran = bundle.runtime(arguments);
        assert!(ran.status != 0 && !ran.err.is_empty(), "{arguments:?}: {ran:?}");
    }
}

fn waits_for_start(bundle: &mut Bundle) {
    bundle.script("touch /tmp/executed; sleep 1000").create();
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!bundle.rootfs("tmp/executed").exists(), "it was executed before start");
    bundle.runtime(&["start", "test"]).good();
    eventually("the program", || bundle.rootfs("tmp/executed").exists());
    bundle.runtime(&["delete", "--force", "test"]).good();
}

fn environment(bundle: &mut Bundle) {
    bundle.spec["hostname"] = json!("inside");
    bundle.args(&["sleep", "1000"]).create();
    let pid = bundle.pid();
    let link = |pid: &str, kind: &str| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    for kind in ["pid", "net", "ipc", "uts", "mnt"] {
        assert_ne!(link(&pid.to_string(), kind), link("self", kind), "{kind}");
    }
    let mounts = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap();
    let cgroup = bundle.cgroup().exists();
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert!(mounts.contains(" /dev/shm ") && mounts.contains(" /proc "), "{mounts}");
    assert!(cgroup, "no cgroup");
}

fn later_changes(bundle: &mut Bundle) {
    bundle.script("echo before; sleep 1000").create();
    let config = fs::read_to_string(bundle.path().join("config.json")).unwrap();
    fs::write(bundle.path().join("config.json"), config.replace("echo before", "echo after")).unwrap();
    bundle.runtime(&["start", "test"]).good();
    eventually("its word", || !bundle.log().is_empty());
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert_eq!(bundle.log(), "before\n");
}

fn nothing_is_left(bundle: &mut Bundle) {
    // Noticed late: the cgroup, the process and its namespaces are there by then.
    bundle.add_mount("bind", "/no/such/source", "/tmp", &["bind"]);
    bundle.refused();
    bundle.drop_mount("/tmp");
    bundle.spec["linux"]["sysctl"] = json!({"kernel.no_such_parameter": "1"});
    bundle.refused();
    bundle.spec["linux"]["sysctl"] = json!({});
    bundle.args(&["true"]).run().good();
}
