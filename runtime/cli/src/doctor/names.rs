//! The name server, aardvark-dns.

use std::fs;
use std::path::Path;

use super::{Finding, Host, Severity};

/// Where distributions have it; the same as in `sampan-dns.service`.
const PROGRAMS: [&str; 3] =
    ["/usr/libexec/podman/aardvark-dns", "/usr/lib/podman/aardvark-dns", "/usr/bin/aardvark-dns"];

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    if !PROGRAMS.iter().any(|program| Path::new(program).exists()) {
        return Ok(vec![Finding::new(
            "no-name-server",
            Severity::Warning,
            "aardvark-dns",
            "it isn't installed: containers don't find each other by name",
            "Install the package aardvark-dns.",
        )]);
    }
    let needed = host.leases.iter().any(|lease| {
        !lease.dns_servers.is_empty() && lease.attachments.iter().any(|at| at.network.dns_enabled)
    });
    if !needed || runs(&host.context.runroot().join("dns/aardvark.pid")) {
        return Ok(Vec::new());
    }
    Ok(vec![Finding::new(
        "name-server-down",
        Severity::Error,
        "sampan-dns.service",
        "it doesn't run, although there are networks with names: containers can't resolve any",
        "Look at systemctl status sampan-dns.service, and start it: systemctl restart sampan-dns.service",
    )])
}

fn runs(pid_file: &Path) -> bool {
    let command =
        fs::read_to_string(pid_file).and_then(|pid| fs::read_to_string(format!("/proc/{}/comm", pid.trim())));
    command.is_ok_and(|command| command.trim_end() == "aardvark-dns")
}
