//! Capabilities, kernel parameters, resource limits and devices.

use super::Findings;
use super::scene::{Value, View};
use super::values::wrong;
use crate::diagnostic::{Severity, rules, suggest};

/// Capabilities, capabilities(7), without `CAP_`.
const CAPABILITIES: [&str; 42] = [
    "ALL",
    "AUDIT_CONTROL",
    "AUDIT_READ",
    "AUDIT_WRITE",
    "BLOCK_SUSPEND",
    "BPF",
    "CHECKPOINT_RESTORE",
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "IPC_LOCK",
    "IPC_OWNER",
    "KILL",
    "LEASE",
    "LINUX_IMMUTABLE",
    "MAC_ADMIN",
    "MAC_OVERRIDE",
    "MKNOD",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_RAW",
    "PERFMON",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYSLOG",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_CHROOT",
    "SYS_MODULE",
    "SYS_NICE",
    "SYS_PACCT",
    "SYS_PTRACE",
    "SYS_RAWIO",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "WAKE_ALARM",
];
/// Limits, setrlimit(2), in lower case without `RLIMIT_`.
const LIMITS: [&str; 16] = [
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
    "as",
];
/// Kernel parameters that belong to a namespace, and so can be set for a container.
const NAMESPACED: [&str; 8] = [
    "kernel.msg",
    "kernel.sem",
    "kernel.shm",
    "kernel.shm_rmid_forced",
    "fs.mqueue.",
    "net.",
    "user.",
    "kernel.domainname",
];
/// All of it.
pub(super) fn privileges(view: &View<'_, '_>, findings: &mut Findings) {
    for key in ["AddCapability", "DropCapability"] {
        view.values(key).iter().for_each(|value| capability(value, findings));
    }
    view.values("Sysctl").iter().for_each(|value| sysctl(value, findings));
    view.values("Ulimit").iter().for_each(|value| limit(value, findings));
    view.values("AddDevice").iter().for_each(|value| device(value, findings));
}

fn capability(value: &Value<'_>, findings: &mut Findings) {
    let upper = value.text.to_uppercase();
    let name = upper.strip_prefix("CAP_").unwrap_or(&upper);
    if CAPABILITIES.contains(&name) || value.is_dynamic() {
        return;
    }
    let reason = format!("there is no capability \"{}\"", value.text);
    let diagnostic = value.place.diagnose(&rules::BAD_CAPABILITY, Severity::Error, reason);
    findings.push(match suggest(name, CAPABILITIES) {
        Some(meant) => diagnostic.help(format!("did you mean CAP_{meant}?")).fix(format!("CAP_{meant}")),
        None if value.text.contains(',') => diagnostic.help("separate capabilities by blanks"),
        None => diagnostic.help("see capabilities(7) for their names"),
    });
}

fn sysctl(value: &Value<'_>, findings: &mut Findings) {
    match value.text.split_once('=') {
        None => wrong(
            &rules::BAD_SYSCTL,
            value,
            format!("\"{}\" has no value", value.text),
            "write Sysctl=NAME=VALUE",
            findings,
        ),
        Some((name, _)) if !NAMESPACED.iter().any(|start| name.replace('/', ".").starts_with(start)) => {
            let reason = format!("{name} is the same for the whole host, a container can't have its own");
            wrong(&rules::BAD_SYSCTL, value, reason, "set it on the host, in /etc/sysctl.d", findings);
        }
        Some(_) => {}
    }
}

fn limit(value: &Value<'_>, findings: &mut Findings) {
    if value.text == "host" || value.is_dynamic() {
        return;
    }
    let help = "write NAME=SOFT[:HARD], such as nofile=1024:4096, or host";
    let Some((name, limits)) = value.text.split_once('=') else {
        return wrong(&rules::BAD_ULIMIT, value, format!("\"{}\" is no limit", value.text), help, findings);
    };
    let lower = name.to_lowercase();
    if !LIMITS.contains(&lower.strip_prefix("rlimit_").unwrap_or(&lower)) {
        wrong(&rules::BAD_ULIMIT, value, format!("there is no limit of the name \"{name}\""), help, findings);
    }
    let numbers: Vec<Option<i64>> = limits
        .split(':')
        .map(|text| if text == "unlimited" { Some(-1) } else { text.parse().ok() })
        .collect();
    match numbers[..] {
        [Some(_)] => {}
        [Some(soft), Some(hard)] if hard < 0 || (0..=hard).contains(&soft) => {}
        [Some(_), Some(_)] => wrong(
            &rules::BAD_ULIMIT,
            value,
            "the soft limit is above the hard one".to_owned(),
            help,
            findings,
        ),
        _ => wrong(&rules::BAD_ULIMIT, value, format!("\"{limits}\" is no limit"), help, findings),
    }
}

fn device(value: &Value<'_>, findings: &mut Findings) {
    let text = value.text.strip_prefix('-').unwrap_or(&value.text);
    let is_cdi = text.split_once('=').is_some_and(|(kind, _)| kind.contains('/') && !kind.starts_with('/'));
    if !text.starts_with('/') && !is_cdi {
        let help =
            "write [-]HOST[:CONTAINER][:rwm], such as /dev/fuse, or a CDI name such as nvidia.com/gpu=all";
        return wrong(&rules::BAD_DEVICE, value, format!("\"{text}\" is no device"), help, findings);
    }
    let permissions = text.rsplit(':').next().filter(|last| *last != text && !last.starts_with('/'));
    if permissions.is_some_and(|letters| letters.is_empty() || !letters.chars().all(|c| "rwm".contains(c)))
        && !is_cdi
    {
        wrong(
            &rules::BAD_DEVICE,
            value,
            "permissions of a device are letters of rwm".to_owned(),
            "write such as /dev/fuse:rw",
            findings,
        );
    }
}
