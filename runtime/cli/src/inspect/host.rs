//! What `podman inspect` calls `HostConfig`: what a container was asked to have of the host.

use std::collections::BTreeMap;

use oci_spec::runtime::{LinuxNamespaceType, Process, Spec};
use sampan_container::state::State;
use serde_json::{Map, Value, json};

use super::container::ports;

/// The whole section.
pub(super) fn config(state: &State, spec: &Spec, process: &Process) -> Value {
    let parts = [
        asked_for(state, process),
        mounts(state, spec),
        isolation(state, spec, process),
        limits(spec, process),
    ];
    let fields = parts.into_iter().filter_map(|part| match part {
        Value::Object(fields) => Some(fields),
        _ => None,
    });
    Value::Object(fields.flatten().collect::<Map<_, _>>())
}

/// What is told on the command line and nowhere else.
fn asked_for(state: &State, process: &Process) -> Value {
    json!({
        "CgroupManager": "systemd",
        "ContainerIDFile": "",
        "LogConfig": {"Type": "journald", "Config": null, "Path": "", "Tag": "", "Size": "0B"},
        "PortBindings": ports(&state.ports),
        "RestartPolicy": {"Name": state.restart.as_deref().unwrap_or("no"), "MaximumRetryCount": 0},
        "AutoRemove": state.remove,
        "Annotations": state.annotations,
        "CapAdd": [],
        "CapDrop": [],
        "Dns": [],
        "DnsOptions": [],
        "DnsSearch": [],
        "ExtraHosts": [],
        "GroupAdd": process.user().additional_gids().clone().unwrap_or_default(),
        "Cgroup": "",
        "Cgroups": "default",
        "CgroupParent": "",
        "Links": null,
        "PublishAllPorts": false,
        "Runtime": "sampan",
    })
}

fn mounts(state: &State, spec: &Spec) -> Value {
    let (tmpfs, binds): (Vec<_>, Vec<_>) = state.mounts.iter().partition(|mount| mount.kind == "tmpfs");
    let bind = |mount: &sampan_container::state::UserMount| {
        let source = mount.name.as_deref().unwrap_or(&mount.source);
        format!("{source}:{}:{}", mount.destination, mount.options.join(","))
    };
    let tmpfs: BTreeMap<_, _> =
        tmpfs.into_iter().map(|mount| (&mount.destination, mount.options.join(","))).collect();
    json!({
        "Binds": binds.into_iter().map(bind).collect::<Vec<_>>(),
        "Tmpfs": tmpfs,
        "Devices": [],
        "VolumeDriver": "",
        "VolumesFrom": null,
        "ReadonlyRootfs": spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or_default(),
        "ShmSize": shm_size(spec),
    })
}

fn isolation(state: &State, spec: &Spec, process: &Process) -> Value {
    let masked = spec.linux().as_ref().and_then(|linux| linux.masked_paths().as_ref());
    let options: &[&str] =
        if process.no_new_privileges() == Some(true) { &["no-new-privileges"] } else { &[] };
    json!({
        "NetworkMode": network_mode(state, spec),
        "CgroupMode": mode(spec, LinuxNamespaceType::Cgroup),
        "IpcMode": mode(spec, LinuxNamespaceType::Ipc),
        "PidMode": mode(spec, LinuxNamespaceType::Pid),
        "UTSMode": mode(spec, LinuxNamespaceType::Uts),
        "UsernsMode": if mode(spec, LinuxNamespaceType::User) == "private" { "private" } else { "" },
        "Privileged": masked.is_none_or(Vec::is_empty),
        "SecurityOpt": options,
    })
}

fn limits(spec: &Spec, process: &Process) -> Value {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    let memory = resources.and_then(|resources| resources.memory().as_ref());
    let processor = resources.and_then(|resources| resources.cpu().as_ref());
    let processes = resources.and_then(|resources| resources.pids().as_ref());
    let limits =
        process.rlimits().iter().flatten().map(
            |limit| json!({"Name": limit.typ().to_string(), "Soft": limit.soft(), "Hard": limit.hard()}),
        );
    json!({
        "CpuShares": processor.and_then(|cpu| cpu.shares()).unwrap_or_default(),
        "CpuPeriod": processor.and_then(|cpu| cpu.period()).unwrap_or_default(),
        "CpuQuota": processor.and_then(|cpu| cpu.quota()).unwrap_or_default(),
        "CpusetCpus": processor.and_then(|cpu| cpu.cpus().clone()).unwrap_or_default(),
        "CpusetMems": processor.and_then(|cpu| cpu.mems().clone()).unwrap_or_default(),
        "Memory": memory.and_then(|memory| memory.limit()).unwrap_or_default(),
        "MemoryReservation": memory.and_then(|memory| memory.reservation()).unwrap_or_default(),
        "MemorySwap": memory.and_then(|memory| memory.swap()).unwrap_or_default(),
        "OomKillDisable": false,
        "OomScoreAdj": process.oom_score_adj().unwrap_or_default(),
        "PidsLimit": processes.map(|pids| pids.limit()).unwrap_or_default(),
        "Ulimits": limits.collect::<Vec<_>>(),
    })
}

/// The size of `/dev/shm` in bytes; 0 if it has no limit of its own.
fn shm_size(spec: &Spec) -> u64 {
    let mut mounts = spec.mounts().iter().flatten();
    let shm = mounts.find(|mount| mount.destination().as_os_str() == "/dev/shm");
    let options = shm.and_then(|mount| mount.options().as_ref()).into_iter().flatten();
    let size = options.filter_map(|option| option.strip_prefix("size=")).next_back().unwrap_or("0");
    let (digits, unit) = size.split_at(size.find(|c: char| !c.is_ascii_digit()).unwrap_or(size.len()));
    let factor = match unit {
        "k" | "K" => 1 << 10,
        "m" | "M" => 1 << 20,
        "g" | "G" => 1 << 30,
        _ => 1,
    };
    digits.parse::<u64>().unwrap_or_default().saturating_mul(factor)
}

/// Whether a namespace is the container's own.
fn mode(spec: &Spec, kind: LinuxNamespaceType) -> &'static str {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    let found = namespaces.and_then(|all| all.iter().find(|namespace| namespace.typ() == kind));
    match found {
        None => "host",
        Some(namespace) if namespace.path().is_some() => "ns",
        Some(_) => "private",
    }
}

fn network_mode(state: &State, spec: &Spec) -> String {
    match (state.networks.is_empty(), mode(spec, LinuxNamespaceType::Network)) {
        (false, _) => "bridge".to_owned(),
        (true, "private") => "none".to_owned(),
        (true, other) => other.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::{MountBuilder, SpecBuilder};

    use super::*;

    #[test]
    fn sizes_of_shm_have_units() {
        for (size, bytes) in [("65536k", 64 << 20), ("1g", 1 << 30), ("4096", 4096), ("", 0)] {
            let options = vec!["nosuid".to_owned(), format!("size={size}")];
            let shm = MountBuilder::default().destination("/dev/shm").options(options).build().unwrap();
            let spec = SpecBuilder::default().mounts(vec![shm]).build().unwrap();
            assert_eq!(shm_size(&spec), bytes, "{size}");
        }
    }

    #[test]
    fn the_network_mode_is_told_by_namespaces_and_networks() {
        let spec = Spec::default();
        assert_eq!(network_mode(&State::default(), &spec), "none");
        let networks = [("a".to_owned(), Default::default())].into();
        assert_eq!(network_mode(&State { networks, ..State::default() }, &spec), "bridge");
    }
}
