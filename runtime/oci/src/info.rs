//! `state`, `list` and `features`.

use std::io::Write;

use anyhow::{Context, Result};
use sampan_container::state::{State, Status};
use sampan_container::{defaults, features as can};
use serde_json::{Value, json};

use crate::args::{Global, List, ListFormat};

pub(crate) fn print(value: &Value) -> Result<u8> {
    write(&(serde_json::to_string_pretty(value)? + "\n"))
}

/// Writes to standard output. A reader that has seen enough is no error.
pub(crate) fn write(text: &str) -> Result<u8> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        result => result.map(|()| 0).context("write(standard output)"),
    }
}

/// The state in the words of the OCI runtime specification, with what runc adds.
fn describe(state: &State) -> Value {
    let status = state.live_status();
    json!({
        "ociVersion": state.oci_version,
        "id": state.id,
        "pid": if status == Status::Stopped { 0 } else { state.pid.unwrap_or(0) },
        "status": status.to_string(),
        "bundle": state.bundle,
        "rootfs": state.rootfs,
        "created": state.created,
        "annotations": state.annotations,
        "owner": "",
    })
}

pub(crate) fn state(global: &Global, id: &str) -> Result<u8> {
    let state = global.container(id)?.read()?;
    print(&describe(&state))
}

pub(crate) fn list(global: &Global, options: &List) -> Result<u8> {
    let mut states = Vec::new();
    for dir in global.containers()?.list()? {
        // A container that is being deleted right now is none.
        if let Ok(state) = dir.read() {
            states.push(state);
        }
    }
    if options.quiet {
        return write(&states.iter().map(|state| state.id.clone() + "\n").collect::<String>());
    }
    if options.format == ListFormat::Json {
        return print(&states.iter().map(describe).collect());
    }
    let mut text = format!("{:<24} {:<8} {:<8} {:<32} CREATED\n", "ID", "PID", "STATUS", "BUNDLE");
    for state in states {
        text += &format!(
            "{:<24} {:<8} {:<8} {:<32} {}\n",
            state.id,
            state.pid.unwrap_or(0),
            state.live_status().to_string(),
            state.bundle.display().to_string(),
            state.created
        );
    }
    write(&text)
}

pub(crate) fn features() -> Result<u8> {
    let mut capabilities: Vec<_> = caps::all().into_iter().map(|c| c.to_string()).collect();
    capabilities.sort();
    print(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": defaults::OCI_VERSION,
        "hooks": ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"],
        "mountOptions": can::mount_options(),
        "linux": {
            "namespaces": ["cgroup", "ipc", "mount", "network", "pid", "user", "uts"],
            "capabilities": capabilities,
            "cgroup": {"v1": false, "v2": true, "systemd": true, "systemdUser": true, "rdma": true},
            "seccomp": {
                "enabled": true,
                "actions": can::seccomp_actions(),
                "operators": can::seccomp_operators(),
                "archs": can::seccomp_architectures(),
                "knownFlags": can::seccomp_flags(),
                "supportedFlags": can::seccomp_flags(),
            },
            "apparmor": {"enabled": true},
            "selinux": {"enabled": true},
            "intelRdt": {"enabled": false},
            "mountExtensions": {"idmap": {"enabled": false}},
            "netDevices": {"enabled": false},
            "memoryPolicy": {},
        },
    }))
}
