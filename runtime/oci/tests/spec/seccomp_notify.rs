//! config-linux.md: `SCMP_ACT_NOTIFY` and the container process state.

use serde_json::{Value, json};

use crate::bundle::Bundle;
use crate::harness::{Case, case};
use crate::sockets;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("linux/seccomp/notify/state", "config-linux.md#the-container-process-state", state),
        case("linux/seccomp/notify/of_exec", "config-linux.md#the-container-process-state", of_exec),
        case("linux/seccomp/notify/nobody_listens", "config-linux.md#seccomp: listenerPath", nobody_listens),
        case("linux/seccomp/notify/no_listener", "config-linux.md#seccomp: listenerPath", no_listener),
    ]
}

fn filter(bundle: &mut Bundle) {
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": bundle.path().join("agent"),
        "listenerMetadata": "MKNOD=/dev/null",
        "syscalls": [{"names": ["acct"], "action": "SCMP_ACT_NOTIFY"}],
    });
    bundle.args(&["sleep", "1000"]);
}

/// One state a connection, with one descriptor, which is a filter's listener.
fn received(listener: &std::os::unix::net::UnixListener) -> Value {
    let (data, fds) = sockets::receive(listener);
    let state: Value = serde_json::from_slice(&data).unwrap();
    assert_eq!(state["fds"], json!(["seccompFd"]), "{state}");
    assert_eq!(fds.len(), 1);
    let link =
        std::fs::read_link(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fds[0]))).unwrap();
    assert!(link.to_str().unwrap().contains("seccomp"), "{link:?}");
    assert_eq!(state["metadata"], "MKNOD=/dev/null", "{state}");
    assert!(state["ociVersion"].is_string() && state["state"]["ociVersion"].is_string(), "{state}");
    assert_eq!(state["state"]["id"], "test", "{state}");
    state
}

fn state(bundle: &mut Bundle) {
    filter(bundle);
    bundle.spec["annotations"] = json!({"key": "value"});
    let listener = sockets::listen(&bundle.path().join("agent"));
    let _running = bundle.start();
    let state = received(&listener);
    assert_eq!(state["pid"], bundle.pid(), "{state}");
    assert_eq!(state["state"]["pid"], bundle.pid(), "{state}");
    assert_eq!(state["state"]["status"], "creating", "{state}");
    assert_eq!(state["state"]["bundle"], json!(std::fs::canonicalize(bundle.path()).unwrap()), "{state}");
    assert_eq!(state["state"]["annotations"]["key"], "value", "{state}");
}

fn of_exec(bundle: &mut Bundle) {
    filter(bundle);
    let listener = sockets::listen(&bundle.path().join("agent"));
    let running = bundle.start();
    received(&listener);
    assert_eq!(running.exec(&[], &["echo", "ran"]).good(), "ran\n");
    let state = received(&listener);
    assert_eq!(state["state"]["status"], "running", "{state}");
    assert_eq!(state["state"]["pid"], bundle.pid(), "{state}");
    assert_ne!(state["pid"], bundle.pid(), "{state}");
}

fn nobody_listens(bundle: &mut Bundle) {
    filter(bundle);
    bundle.refused();
}

fn no_listener(bundle: &mut Bundle) {
    filter(bundle);
    bundle.spec["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerPath");
    bundle.spec["linux"]["seccomp"].as_object_mut().unwrap().remove("listenerMetadata");
    bundle.refused();
}
