//! runtime.md: the operations create, start, kill and delete.

use std::fs;
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::bundle::{Bundle, eventually};
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("runtime/create/needs_id_and_bundle", "runtime.md#create", needs_id_and_bundle),
        case("runtime/create/an_id_in_use", "runtime.md#create", id_in_use),
        case("runtime/create/an_invalid_id", "runtime.md#create", invalid_id),
        case("runtime/start/needs_a_container", "runtime.md#start", start_needs_a_container),
        case("runtime/start/only_once", "runtime.md#start", start_only_once),
        case("runtime/start/needs_a_process", "runtime.md#create, #start", start_needs_a_process),
        case("runtime/start/needs_a_process_of_run", "runtime.md#start", run_needs_a_process),
        case("runtime/kill/sends_the_signal", "runtime.md#kill", kill_sends),
        case("runtime/kill/a_created_container", "runtime.md#kill", kill_created),
        case("runtime/kill/a_stopped_container", "runtime.md#kill", kill_stopped),
        case("runtime/kill/needs_a_container", "runtime.md#kill", kill_needs_a_container),
        case("runtime/delete/only_what_has_stopped", "runtime.md#delete", delete_running),
        case("runtime/delete/needs_a_container", "runtime.md#delete", delete_needs_a_container),
        case("runtime/delete/removes_what_create_made", "runtime.md#delete", delete_removes),
        case("runtime/delete/keeps_what_others_made", "runtime.md#delete", delete_keeps),
        case("runtime/delete/frees_the_id", "runtime.md#delete", delete_frees_the_id),
    ]
}

#[track_caller]
fn error(bundle: &Bundle, arguments: &[&str]) {
    // Not by a pipe, which the process of a container that was made all the same would keep open.
    let log = fs::File::create(bundle.path().join("log")).unwrap();
    let mut command = bundle.command("", arguments);
    let status = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    assert!(!status.success(), "{arguments:?} succeeded: {}", bundle.log());
}

fn needs_id_and_bundle(bundle: &mut Bundle) {
    bundle.args(&["true"]).run().good();
    let path = bundle.path().to_str().unwrap();
    error(bundle, &["create", "--bundle", path]);
    let empty = bundle.folder("empty");
    error(bundle, &["create", "--bundle", empty.to_str().unwrap(), "test"]);
    error(bundle, &["create", "--bundle", "/no/such/bundle", "test"]);
    bundle.gone();
}

fn id_in_use(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    let path = bundle.path().to_str().unwrap();
    error(bundle, &["create", "--bundle", path, "test"]);
    error(bundle, &["run", "--bundle", path, "test"]);
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.state()["pid"], bundle.pid());
}

fn invalid_id(bundle: &mut Bundle) {
    bundle.args(&["true"]).run().good();
    let path = bundle.path().to_str().unwrap();
    let ids = ["", "..", "a/b", "/a", "../a"];
    let tried = std::panic::catch_unwind(|| {
        for id in ids {
            error(bundle, &["create", "--bundle", path, id]);
        }
    });
    if let Err(panic) = tried {
        for id in ids {
            bundle.runtime(&["delete", "--force", id]);
        }
        std::panic::resume_unwind(panic);
    }
    assert_eq!(fs::read_dir(bundle.path().join("state")).into_iter().flatten().count(), 0);
    assert!(!bundle.path().join("a").exists());
}

fn start_needs_a_container(bundle: &mut Bundle) {
    error(bundle, &["start"]);
    error(bundle, &["start", "nobody"]);
}

fn start_only_once(bundle: &mut Bundle) {
    bundle.script("echo x >> /tmp/starts; sleep 1000");
    let _running = bundle.start();
    let starts = || fs::read_to_string(bundle.rootfs("tmp/starts")).unwrap_or_default().matches('x').count();
    eventually("the program", || starts() > 0);
    error(bundle, &["start", "test"]);
    assert_eq!(bundle.status(), "running");
    bundle.runtime(&["kill", "test", "KILL"]).good();
    bundle.wait_for("stopped");
    error(bundle, &["start", "test"]);
    assert_eq!(bundle.status(), "stopped");
    assert_eq!(starts(), 1);
}

/// `create` applies everything but `process`, which only the start needs.
fn start_needs_a_process(bundle: &mut Bundle) {
    bundle.spec.as_object_mut().unwrap().remove("process");
    bundle.create();
    assert_eq!(bundle.status(), "created");
    assert!(bundle.cgroup().exists());
    error(bundle, &["start", "test"]);
    bundle.runtime(&["delete", "--force", "test"]).good();
    bundle.gone();
}

fn run_needs_a_process(bundle: &mut Bundle) {
    bundle.spec.as_object_mut().unwrap().remove("process");
    bundle.refused();
}

fn kill_sends(bundle: &mut Bundle) {
    let script = "trap 'echo usr1 >> /tmp/signals' USR1; trap 'echo term >> /tmp/signals; exit' TERM
        touch /tmp/ready; while :; do sleep 0.02; done";
    bundle.script(script);
    let _running = bundle.start();
    let wait = |file: &str, text: &str| {
        eventually(text, || fs::read_to_string(bundle.rootfs(file)).is_ok_and(|t| t == text));
    };
    wait("tmp/ready", "");
    bundle.runtime(&["kill", "test", "USR1"]).good();
    wait("tmp/signals", "usr1\n");
    bundle.runtime(&["kill", "test", "SIGTERM"]).good();
    wait("tmp/signals", "usr1\nterm\n");
    bundle.wait_for("stopped");
}

fn kill_created(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]).create();
    bundle.runtime(&["kill", "test", "9"]).good();
    bundle.wait_for("stopped");
    bundle.runtime(&["delete", "test"]).good();
}

fn kill_stopped(bundle: &mut Bundle) {
    bundle.args(&["true"]);
    let _running = bundle.start();
    bundle.wait_for("stopped");
    error(bundle, &["kill", "test", "TERM"]);
    assert_eq!(bundle.status(), "stopped");
}

fn kill_needs_a_container(bundle: &mut Bundle) {
    error(bundle, &["kill"]);
    error(bundle, &["kill", "nobody", "KILL"]);
}

fn delete_running(bundle: &mut Bundle) {
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    error(bundle, &["delete", "test"]);
    assert_eq!(bundle.status(), "running");
    assert!(Path::new(&format!("/proc/{}", bundle.pid())).exists());
}

fn delete_needs_a_container(bundle: &mut Bundle) {
    error(bundle, &["delete"]);
    error(bundle, &["delete", "nobody"]);
}

fn delete_removes(bundle: &mut Bundle) {
    bundle.args(&["true"]);
    let running = bundle.start();
    bundle.wait_for("stopped");
    bundle.runtime(&["delete", "test"]).good();
    bundle.gone();
    std::mem::forget(running);
}

fn delete_keeps(bundle: &mut Bundle) {
    let volume = bundle.folder("volume");
    fs::write(volume.join("file"), "text").unwrap();
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    let mut holder = crate::sockets::holder(&["--net"], "");
    bundle.namespace("network", Some(&holder.namespace("net")));
    bundle.script("echo more >> /volume/file; touch /tmp/made").run().good();
    assert_eq!(fs::read_to_string(volume.join("file")).unwrap(), "textmore\n");
    assert!(bundle.rootfs("tmp/made").exists() && bundle.path().join("config.json").exists());
    assert!(holder.lives(), "the process whose namespace was joined is gone");
}

fn delete_frees_the_id(bundle: &mut Bundle) {
    bundle.spec["hostname"] = json!("first");
    assert_eq!(bundle.args(&["hostname"]).run().good(), "first\n");
    bundle.spec["hostname"] = json!("second");
    assert_eq!(bundle.run().good(), "second\n");
}
