//! Resource limits: the unit's own, set by systemd.
//!
//! Generated units carry them as directives, and then there is nothing to do here. Limits that came another way
//! (`PodmanArgs=--cpus=2`, a shell) are set as runtime properties of the unit that we run in, by systemctl(1): a
//! D-Bus connection of our own would leave a thread, and the container's process is cloned from one thread.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, bail, ensure};

use super::options::Options;
use super::size;
use crate::blame::Blamed as _;

/// Where cgroup version 2 is mounted.
const CGROUPS: &str = "/sys/fs/cgroup";

/// One limit: a directive of systemd.resource-control(5), and what its file in the cgroup shows when it holds.
#[derive(Debug, PartialEq, Eq)]
struct Limit {
    assignment: String,
    file: &'static str,
    shown: String,
}

/// Sets on `unit` the limits that don't hold yet.
///
/// # Errors
/// A malformed value, no unit to set them on, or systemd's refusal.
pub(crate) fn apply(options: &Options, unit: Option<&str>) -> anyhow::Result<()> {
    let limits = limits(options)?;
    if limits.is_empty() {
        return Ok(());
    }
    ensure!(
        options.cgroups != "disabled",
        "--cgroups=disabled contradicts a limit (Memory=, PidsLimit=, --cpus)"
    );
    let unit =
        unit.context("limits (Memory=, PidsLimit=, --cpus) are set by systemd, which does not run here")?;
    let cgroup = own_cgroup();
    let controllers = fs::read_to_string(Path::new(CGROUPS).join("cgroup.controllers")).unwrap_or_default();
    let needs_setting = |limit: &Limit| {
        let controller = limit.file.split('.').next().unwrap_or_default();
        if !controllers.split_whitespace().any(|name| name == controller) {
            log::warn!(
                "{} is not enforced: this host has no cgroup controller {controller}",
                limit.assignment
            );
            return false;
        }
        let shown = cgroup.as_deref().and_then(|path| {
            let path = Path::new(CGROUPS).join(path.trim_start_matches('/')).join(limit.file);
            fs::read_to_string(path).ok()
        });
        shown.is_none_or(|shown| shown.trim() != limit.shown)
    };
    let missing: Vec<String> =
        limits.into_iter().filter(needs_setting).map(|limit| limit.assignment).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("systemctl");
    let output = command.args(["set-property", "--runtime", unit]).args(&missing).output();
    let output = output.context("running systemctl to set limits")?;
    ensure!(
        output.status.success(),
        "setting {} on {unit}: {}",
        missing.join(" "),
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

fn limits(options: &Options) -> anyhow::Result<Vec<Limit>> {
    let mut limits = memory(options)?;
    if let Some(cpus) = options.cpus {
        ensure!(cpus > 0.0, "--cpus={cpus}: a positive number");
        let percent = (cpus * 100.0).round();
        let shown = format!("{} 100000", percent as u64 * 1000);
        limits.push(Limit { assignment: format!("CPUQuota={percent}%"), file: "cpu.max", shown });
    }
    if let Some(shares) = options.cpu_shares {
        ensure!((2..=262_144).contains(&shares), "--cpu-shares={shares}: 2 to 262144");
        // cgroup v1's scale onto v2's, as all OCI runtimes do it.
        limits.push(limit("CPUWeight", "cpu.weight", Some(1 + (shares - 2) * 9999 / 262_142)));
    }
    if let Some(list) = &options.cpuset_cpus {
        let assignment = format!("AllowedCPUs={list}");
        limits.push(Limit { assignment, file: "cpuset.cpus", shown: list.clone() });
    }
    match options.pids_limit {
        None | Some(0) => {}
        Some(-1) => limits.push(limit("TasksMax", "pids.max", None)),
        Some(number) => {
            let number = u64::try_from(number).context("-1 or a positive number").blame("PidsLimit", "")?;
            limits.push(limit("TasksMax", "pids.max", Some(number)));
        }
    }
    Ok(limits)
}

fn memory(options: &Options) -> anyhow::Result<Vec<Limit>> {
    let mut limits = Vec::new();
    let memory = options.memory.as_deref().map(size::bytes).transpose().blame("Memory", "")?;
    if let Some(memory) = memory {
        limits.push(limit("MemoryMax", "memory.max", Some(whole_pages(memory))));
    }
    match options.memory_swap.as_deref() {
        None => {}
        Some("-1") => limits.push(limit("MemorySwapMax", "memory.swap.max", None)),
        Some(text) => {
            let both = size::bytes(text).context("--memory-swap")?;
            let Some(swap) = both.checked_sub(memory.context("--memory-swap needs --memory (Memory=)")?)
            else {
                bail!("--memory-swap={text} counts memory and swap together and can't be less than --memory");
            };
            limits.push(limit("MemorySwapMax", "memory.swap.max", Some(swap)));
        }
    }
    if let Some(text) = &options.memory_reservation {
        limits.push(limit(
            "MemoryLow",
            "memory.low",
            Some(size::bytes(text).context("--memory-reservation")?),
        ));
    }
    Ok(limits)
}

/// The kernel rounds down, and shows what it has rounded.
fn whole_pages(bytes: u64) -> u64 {
    let page = rustix::param::page_size() as u64;
    bytes / page * page
}

/// `None` is no limit.
fn limit(directive: &str, file: &'static str, value: Option<u64>) -> Limit {
    let (asked, shown) = match value {
        Some(value) => (value.to_string(), value.to_string()),
        None => ("infinity".to_owned(), "max".to_owned()),
    };
    Limit { assignment: format!("{directive}={asked}"), file, shown }
}

fn own_cgroup() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_become_directives() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let of = |arguments: &[&str]| {
            let line = <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments).chain(&["i"]));
            limits(&line.options)
                .map(|limits| limits.into_iter().map(|l| format!("{} {}", l.assignment, l.shown)).collect())
        };
        let all: Vec<String> =
            of(&["-m", "64m", "--memory-swap=128m", "--cpus", "1.5", "--pids-limit", "-1"]).unwrap();
        let expected = [
            "MemoryMax=67108864 67108864",
            "MemorySwapMax=67108864 67108864",
            "CPUQuota=150% 150000 100000",
            "TasksMax=infinity max",
        ];
        assert_eq!(all, expected);
        for wrong in [&["-m", "x"][..], &["--memory-swap", "1g"], &["--cpus", "-1"], &["--cpu-shares", "1"]] {
            assert!(of(wrong).is_err(), "{wrong:?}");
        }
    }
}
