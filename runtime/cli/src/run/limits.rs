//! Resource limits: the unit's own, set by systemd.
//!
//! Generated units carry them as directives, and then there is nothing to do here. Limits that came another way
//! (`PodmanArgs=--cpus=2`, a shell) are set as runtime properties of the unit that we run in.

use std::fs;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use sampan_status::systemd::{Property, Systemd};

use super::options::Options;
use super::size;

/// One limit: systemd's property (systemd.resource-control(5)), and the file in which it shows.
#[derive(Debug)]
struct Limit {
    property: Property,
    file: &'static str,
    shown: String,
}

/// Moves this process, and with it the container to come, from the shell's cgroup into a scope of its own. `None`
/// where no systemd runs: the container stays in the caller's cgroup.
///
/// # Errors
/// systemd's refusal.
pub(crate) fn enter_scope(name: &str) -> anyhow::Result<Option<String>> {
    // sd_booted(3)
    if !Path::new("/run/systemd/system").exists() {
        return Ok(None);
    }
    // With our process identifier: a container of the same name that ends just now still has its scope.
    let scope = format!("sampan-{name}-{}.scope", std::process::id());
    let systemd = Systemd::system().context("connecting to systemd for a scope")?;
    let properties =
        [Property::text("Description", &format!("Container {name}")), Property::boolean("Delegate", true)];
    systemd
        .start_scope(&scope, &[std::process::id()], &properties)
        .with_context(|| format!("starting {scope}"))?;
    Ok(Some(scope))
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
    let holds = |limit: &Limit| {
        let path = cgroup.as_deref()?;
        let text = fs::read_to_string(
            Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/')).join(limit.file),
        )
        .ok()?;
        Some(text.trim() == limit.shown)
    };
    let missing: Vec<Property> =
        limits.into_iter().filter(|limit| holds(limit) != Some(true)).map(|limit| limit.property).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let systemd = Systemd::system().context("connecting to systemd to set the limits")?;
    systemd.set_unit_properties(unit, &missing).with_context(|| format!("setting limits of {unit}"))
}

fn limits(options: &Options) -> anyhow::Result<Vec<Limit>> {
    let mut limits = Vec::new();
    let mut add = |name: &'static str, file, value: u64| {
        limits.push(Limit { property: Property::number(name, value), file, shown: value.to_string() });
    };
    let memory = options.memory.as_deref().map(size::bytes).transpose().context("Memory=")?;
    if let Some(memory) = memory {
        add("MemoryMax", "memory.max", memory);
    }
    match options.memory_swap.as_deref() {
        None => {}
        Some("-1") => add("MemorySwapMax", "memory.swap.max", u64::MAX),
        Some(text) => {
            let both = size::bytes(text).context("--memory-swap")?;
            let Some(swap) = both.checked_sub(memory.context("--memory-swap needs --memory (Memory=)")?)
            else {
                bail!("--memory-swap={text} counts memory and swap together and can't be less than --memory");
            };
            add("MemorySwapMax", "memory.swap.max", swap);
        }
    }
    if let Some(text) = &options.memory_reservation {
        add("MemoryLow", "memory.low", size::bytes(text).context("--memory-reservation")?);
    }
    if let Some(shares) = options.cpu_shares {
        ensure!((2..=262_144).contains(&shares), "--cpu-shares={shares}: 2 to 262144");
        // cgroup v1's scale onto v2's, as all OCI runtimes do it.
        add("CPUWeight", "cpu.weight", 1 + (shares - 2) * 9999 / 262_142);
    }
    match options.pids_limit {
        None | Some(0) => {}
        Some(-1) => add("TasksMax", "pids.max", u64::MAX),
        Some(limit) => {
            add("TasksMax", "pids.max", u64::try_from(limit).context("PidsLimit=: -1 or a positive number")?)
        }
    }
    if let Some(cpus) = options.cpus {
        ensure!(cpus > 0.0, "--cpus={cpus}: a positive number");
        let per_second = (cpus * 1e6) as u64;
        let shown = format!("{} 100000", per_second / 10);
        limits.push(Limit {
            property: Property::number("CPUQuotaPerSecUSec", per_second),
            file: "cpu.max",
            shown,
        });
    }
    if let Some(list) = &options.cpuset_cpus {
        let property = Property::bytes("AllowedCPUs", processor_mask(list)?);
        limits.push(Limit { property, file: "cpuset.cpus", shown: list.clone() });
    }
    Ok(limits)
}

/// `0-3,5` as the bit mask that systemd takes, lowest processor first.
fn processor_mask(list: &str) -> anyhow::Result<Vec<u8>> {
    const MOST: usize = 8192;
    let usage = || format!("--cpuset-cpus={list}: write processors and ranges, as in 0-3,5");
    let mut mask = Vec::new();
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) =
            (first.trim().parse().with_context(usage)?, last.trim().parse().with_context(usage)?);
        ensure!(first <= last && last < MOST, usage());
        mask.resize(mask.len().max(last / 8 + 1), 0u8);
        for processor in first..=last {
            mask[processor / 8] |= 1 << (processor % 8);
        }
    }
    Ok(mask)
}

fn own_cgroup() -> Option<String> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    text.lines().find_map(|line| line.strip_prefix("0::")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_become_bits() {
        assert_eq!(processor_mask("0-3,5").unwrap(), [0b10_1111]);
        assert_eq!(processor_mask("9").unwrap(), [0, 0b10]);
        for wrong in ["", "a", "3-1", "99999"] {
            assert!(processor_mask(wrong).is_err(), "{wrong}");
        }
    }
}
