//! `state`, `list`, `ps` and `features`.

use std::io::Write;

use anyhow::{Context, Result, bail};
use sampan_container::cgroup::Cgroup;
use sampan_container::state::{State, Status};
use sampan_container::{defaults, features as can};
use serde_json::{Value, json};

use crate::args::{Global, List, ListFormat, Ps};

fn print(value: &Value) -> Result<u8> {
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

pub(crate) fn ps(global: &Global, options: &Ps) -> Result<u8> {
    let state = global.container(&options.id)?.read()?;
    let Some(path) = &state.cgroup else {
        bail!("container {:?} has no cgroup of its own: its processes can't be told from others", state.name);
    };
    let mut pids = Cgroup::existing(path)?.processes()?;
    pids.sort_unstable();
    if options.format == ListFormat::Json {
        return print(&json!(pids));
    }
    let mut text = format!("{:<8} COMMAND\n", "PID");
    for pid in pids {
        let command = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        // The container's own words: no control character of theirs reaches a terminal.
        let words =
            command.split(|&b| b == 0).map(|w| String::from_utf8_lossy(w).replace(char::is_control, "?"));
        text += &format!("{pid:<8} {}\n", words.collect::<Vec<_>>().join(" ").trim_end());
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
            "cgroup": {"v1": false, "v2": true, "systemd": false, "systemdUser": false, "rdma": true},
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
