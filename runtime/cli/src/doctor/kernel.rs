//! What the kernel has, and how it is set (sysctl(8), ip-sysctl.rst).

use std::fs;
use std::path::Path;

use super::{Finding, Host, Severity};

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings = Vec::new();
    findings.extend(cgroups());
    findings.extend(overlay());
    findings.extend(forwarding(host));
    findings.extend(reverse_path(host));
    findings.extend(bridged_packets());
    Ok(findings)
}

fn setting(path: &str) -> Option<String> {
    Some(fs::read_to_string(Path::new("/proc/sys").join(path)).ok()?.trim().to_owned())
}

fn cgroups() -> Option<Finding> {
    (!Path::new("/sys/fs/cgroup/cgroup.controllers").exists()).then(|| {
        Finding::new(
            "cgroup-v1",
            Severity::Error,
            "/sys/fs/cgroup",
            "this host has control groups of version 1, and sampan works with version 2",
            "Boot the kernel with systemd.unified_cgroup_hierarchy=1.",
        )
    })
}

fn overlay() -> Option<Finding> {
    let known = fs::read_to_string("/proc/filesystems").ok()?;
    let is_known = known.lines().any(|line| line.split_whitespace().last() == Some("overlay"));
    // It may be a module that nobody has needed yet.
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    let module = Path::new("/lib/modules").join(release.trim()).join("kernel/fs/overlayfs");
    (!is_known && !module.exists()).then(|| {
        Finding::new(
            "no-overlay",
            Severity::Error,
            "the kernel",
            "it has no overlay file system, which containers' root directories are made of",
            "Install the kernel's modules, then: modprobe overlay",
        )
    })
}

fn forwarding(host: &Host<'_>) -> Vec<Finding> {
    let families = [(false, "net/ipv4/ip_forward"), (true, "net/ipv6/conf/all/forwarding")];
    let is_needed = |ipv6: bool| {
        host.used().iter().any(|network| {
            network.own_bridge().is_some()
                && !network.internal
                && network.subnets.iter().any(|config| config.subnet.is_ipv6() == ipv6)
        })
    };
    families
        .into_iter()
        .filter(|(ipv6, path)| is_needed(*ipv6) && setting(path).as_deref() == Some("0"))
        .map(|(_, path)| {
            let name = path.replace('/', ".");
            Finding::new(
                "no-forwarding",
                Severity::Error,
                name.clone(),
                "the host forwards no packets: containers have no way out, and no published port leads anywhere",
                format!(
                    "Switched off since they started: look for {name} in /etc/sysctl.d and /etc/sysctl.conf.\n\
                     To switch it on again: sampan network reload --all"
                ),
            )
        })
        .collect()
}

/// Strict reverse path filtering drops what comes in by another interface than answers
/// would leave by: a container on two networks answers by the first.
fn reverse_path(host: &Host<'_>) -> Vec<Finding> {
    let value = |interface: &str| {
        setting(&format!("net/ipv4/conf/{interface}/rp_filter")).and_then(|text| text.parse::<u8>().ok())
    };
    let all = value("all").unwrap_or(0);
    let on_several = host
        .leases
        .iter()
        .filter(|lease| lease.attachments.iter().filter(|at| at.network.own_bridge().is_some()).count() > 1);
    let mut findings = Vec::new();
    for lease in on_several {
        for bridge in lease.attachments.iter().filter_map(|at| at.network.own_bridge()) {
            if all.max(value(bridge).unwrap_or(0)) == 1 {
                findings.push(Finding::new(
                    "strict-reverse-path",
                    Severity::Warning,
                    format!("net.ipv4.conf.{bridge}.rp_filter"),
                    format!(
                        "container {:?} is on several networks and answers by one of them; the host drops \
                         answers from its other addresses",
                        lease.holder.name
                    ),
                    format!("Loose filtering lets them pass: sysctl net.ipv4.conf.{bridge}.rp_filter=2"),
                ));
            }
        }
    }
    findings
}

fn bridged_packets() -> Option<Finding> {
    (setting("net/bridge/bridge-nf-call-iptables").as_deref() == Some("1")).then(|| {
        Finding::new(
            "bridged-packets-filtered",
            Severity::Note,
            "net.bridge.bridge-nf-call-iptables",
            "packets between containers of one network pass the host's firewall too (module br_netfilter)",
            "Kubernetes and older Dockers want it so. If nobody needs it: sysctl net.bridge.bridge-nf-call-iptables=0",
        )
    })
}
