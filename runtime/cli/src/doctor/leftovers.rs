//! What containers that are gone have left: leases, bridges.

use std::collections::HashSet;
use std::fs;

use sampan_network::Network;

use super::{Finding, Host, Severity};

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = leases(host)?;
    findings.extend(bridges(host)?);
    Ok(findings)
}

fn leases(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut known = HashSet::new();
    for container in host.context.containers()?.list()? {
        // One that can't be read is being made or removed.
        known.extend(container.read().ok().map(|state| state.id));
    }
    for pod in host.context.pods().list()? {
        known.extend(pod.read().ok().map(|state| state.id));
    }
    // A build holds the lock of its lease.
    let is_build = |id: &str| host.context.runroot().join(format!("{id}.lock")).exists();
    let gone = host.leases.iter().map(|lease| &lease.holder);
    let gone = gone.filter(|holder| !known.contains(&holder.id) && !is_build(&holder.id));
    Ok(gone
        .map(|holder| {
            Finding::new(
                "stale-lease",
                Severity::Warning,
                format!("the lease of container {:?}", holder.name),
                "the container is gone, and its addresses and ports are still taken",
                format!(
                    "The next start of a container of that name gives them back, and so does any start that wants \
                     one of them. Its id is {}; if it is starting right now, all is well.",
                    holder.id
                ),
            )
        })
        .collect())
}

fn bridges(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut known: HashSet<String> = HashSet::new();
    let held = host.leases.iter().flat_map(|lease| &lease.attachments).map(|at| &at.network);
    known.extend(held.filter_map(Network::own_bridge).map(str::to_owned));
    known.extend(host.networks.list()?.iter().filter_map(Network::own_bridge).map(str::to_owned));
    let mut findings = Vec::new();
    for entry in fs::read_dir("/sys/class/net")?.flatten() {
        let Ok(name) = entry.file_name().into_string() else { continue };
        if name.starts_with("sampan") && entry.path().join("bridge").exists() && !known.contains(&name) {
            findings.push(Finding::new(
                "stray-bridge",
                Severity::Warning,
                format!("bridge {name}"),
                "it belongs to no network",
                format!("If nothing else uses it: ip link delete {name}"),
            ));
        }
    }
    Ok(findings)
}
