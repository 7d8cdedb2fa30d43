//! firewalld: whether it knows our bridges, and lets published ports pass.

use std::process::Command;

use anyhow::Context as _;
use sampan_network::Network;

use super::{Finding, Host, Severity};

/// The zone that the package brings; it has every interface whose name begins so.
const ZONE: &str = "sampan";

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    // Not installed, or it doesn't run.
    if !Command::new("firewall-cmd").arg("--state").output().is_ok_and(|output| output.status.success()) {
        return Ok(Vec::new());
    }
    let zones = ask(&["--get-zones"])?;
    if !zones.split_whitespace().any(|zone| zone == ZONE) {
        return Ok(vec![Finding::new(
            "firewalld-zone-missing",
            Severity::Error,
            "firewalld",
            "it doesn't know the zone sampan, and rejects what containers send",
            "The zone is in /usr/lib/firewalld/zones/sampan.xml: firewall-cmd --reload",
        )]);
    }
    let mut findings = zone(host)?;
    findings.extend(strict_ports(host));
    Ok(findings)
}

/// What `firewall-cmd` answers.
fn ask(arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new("firewall-cmd").args(arguments).output().context("running firewall-cmd")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn zone(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let settings = ask(&["--zone", ZONE, "--list-all"])?;
    let target = settings.lines().find_map(|line| line.trim().strip_prefix("target: "));
    let mut findings = Vec::new();
    if target.is_some_and(|target| target != "ACCEPT") {
        findings.push(Finding::new(
            "firewalld-zone-rejects",
            Severity::Error,
            "firewalld's zone sampan",
            format!("its target is {}: containers have no way out", target.unwrap_or_default()),
            "firewall-cmd --permanent --zone=sampan --set-target=ACCEPT, then firewall-cmd --reload",
        ));
    }
    let interfaces = ask(&["--zone", ZONE, "--list-interfaces"])?;
    let has = |bridge: &str| {
        interfaces.split_whitespace().any(|interface| match interface.strip_suffix('+') {
            Some(prefix) => bridge.starts_with(prefix),
            None => interface == bridge,
        })
    };
    for bridge in host.used().into_iter().filter_map(Network::own_bridge).filter(|bridge| !has(bridge)) {
        let elsewhere = ask(&["--get-zone-of-interface", bridge])?;
        findings.push(match elsewhere.trim() {
            "" | "no zone" => Finding::new(
                "firewalld-unknown-bridge",
                Severity::Error,
                format!("bridge {bridge}"),
                "it is in no zone of firewalld, which rejects what its containers send",
                "sampan network reload --all binds it to the zone sampan",
            ),
            zone => Finding::new(
                "firewalld-other-zone",
                Severity::Note,
                format!("bridge {bridge}"),
                format!("it is in the zone {zone} of firewalld, which decides what its containers reach"),
                format!(
                    "If that isn't meant: firewall-cmd --permanent --zone=sampan --change-interface={bridge}"
                ),
            ),
        });
    }
    Ok(findings)
}

/// firewalld.conf(5), from 2.3 on: what others have redirected isn't accepted.
fn strict_ports(host: &Host<'_>) -> Option<Finding> {
    let conf = std::fs::read_to_string("/etc/firewalld/firewalld.conf").ok()?;
    let is_on = conf.lines().any(|line| {
        line.split_once('=').is_some_and(|(key, value)| {
            key.trim() == "StrictForwardPorts" && matches!(value.trim(), "yes" | "true")
        })
    });
    let mut published: Vec<&str> = host
        .leases
        .iter()
        .filter(|lease| !lease.ports.is_empty())
        .map(|lease| lease.holder.name.as_str())
        .collect();
    published.sort_unstable();
    if !is_on || published.is_empty() {
        return None;
    }
    Some(Finding::new(
        "firewalld-strict-ports",
        Severity::Error,
        "/etc/firewalld/firewalld.conf",
        format!("StrictForwardPorts=yes rejects the published ports of {}", published.join(", ")),
        "Open each of them in firewalld (firewall-cmd --zone=public --add-forward-port=…, with the container's \
         fixed IP=), or set StrictForwardPorts=no.",
    ))
}
