//! `state`, `list` and `features`.

use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sampan_container::state::{ContainerDir, State, Status};
use sampan_container::{defaults, features as can};
use serde::Serialize;
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

/// The state in the words of the OCI runtime specification, with what runc adds, in runc's order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Description<'a> {
    oci_version: &'a str,
    id: &'a str,
    /// 0 once the container has stopped.
    pid: i32,
    status: Status,
    bundle: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    rootfs: Option<&'a Path>,
    created: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    annotations: &'a BTreeMap<String, String>,
    owner: String,
}

impl<'a> Description<'a> {
    fn new(state: &'a State, owner: String) -> Self {
        let status = state.live_status();
        Description {
            oci_version: &state.oci_version,
            id: &state.id,
            pid: if status == Status::Stopped { 0 } else { state.pid.unwrap_or(0) },
            status,
            bundle: &state.bundle,
            rootfs: state.rootfs.as_deref(),
            created: &state.created,
            annotations: &state.annotations,
            owner,
        }
    }
}

pub(crate) fn state(global: &Global, id: &str) -> Result<u8> {
    let dir = global.container(id)?;
    let mut state = dir.read()?;
    if state.live_status() == Status::Creating && wait_for_maker(&dir)? {
        state = dir.read()?;
    }
    write(&(serde_json::to_string_pretty(&Description::new(&state, String::new()))? + "\n"))
}

/// Waits a moment for who makes the container, because callers of others see none before it is created, and count on
/// that. Its hooks, which could be those who ask, see it in creation. Whether it has come to an end.
fn wait_for_maker(dir: &ContainerDir) -> Result<bool> {
    // What is left of a creation after its hooks takes milliseconds, and many times that on a machine with much to do.
    const PATIENCE: Duration = Duration::from_secs(5);
    const PAUSE: Duration = Duration::from_millis(5);
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if dir.try_lock()?.is_some() {
            return Ok(true);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}

pub(crate) fn list(global: &Global, options: &List) -> Result<u8> {
    let mut states = Vec::new();
    for dir in global.containers()?.list()? {
        // A container that is being deleted right now is none.
        if let Ok(state) = dir.read() {
            states.push((state, owner(dir.path())));
        }
    }
    if options.quiet {
        return write(&states.iter().map(|(state, _)| state.id.clone() + "\n").collect::<String>());
    }
    let all: Vec<_> = states.iter().map(|(state, owner)| Description::new(state, owner.clone())).collect();
    if options.format == ListFormat::Json {
        return write(&serde_json::to_string(&all)?);
    }
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = all.iter().map(|d| {
        let (bundle, created) = (d.bundle.display().to_string(), d.created.to_owned());
        [d.id.to_owned(), d.pid.to_string(), d.status.to_string(), bundle, created, d.owner.clone()]
    });
    write(&table([head].into_iter().chain(rows).collect()))
}

/// Columns as wide as what is in them, and at least 12, as runc has them.
fn table(rows: Vec<[String; 6]>) -> String {
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, field) in row.iter().enumerate() {
            let widest = rows.iter().map(|r| r[column].chars().count()).max().unwrap_or(0);
            line += &format!("{field:<width$}", width = (widest + 3).max(12));
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Whose container it is: the name of the directory's owner, or their number.
fn owner(path: &Path) -> String {
    let Ok(uid) = std::fs::metadata(path).map(|m| m.uid()) else {
        return String::new();
    };
    let user = nix::unistd::User::from_uid(uid.into()).ok().flatten();
    user.map_or_else(|| uid.to_string(), |user| user.name)
}

pub(crate) fn features() -> Result<u8> {
    let mut capabilities: Vec<_> = caps::all().into_iter().map(|c| c.to_string()).collect();
    capabilities.sort();
    print(&json!({
        "ociVersionMin": "1.0.0",
        "ociVersionMax": defaults::OCI_VERSION,
        "hooks": can::hooks(),
        "mountOptions": can::mount_options(),
        "linux": {
            "namespaces": can::namespaces(),
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
            "intelRdt": can::intel_rdt(),
            "mountExtensions": can::mount_extensions(),
            "netDevices": can::net_devices(),
            "memoryPolicy": can::memory_policy(),
        },
        "annotations": {
            "org.sampan1.runtime.version": env!("CARGO_PKG_VERSION"),
            "org.sampan1.runtime.checkpoint.enabled": "true",
            "io.github.seccomp.libseccomp.version": can::libseccomp_version().unwrap_or_default(),
        },
        // Properties of scopes, as far as a container may set them; what hooks write to, and which groups are kept.
        "potentiallyUnsafeConfigAnnotations": ["org.systemd.property.", crate::annotations::PREFIX],
    }))
}
