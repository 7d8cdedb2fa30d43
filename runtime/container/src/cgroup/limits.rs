//! From `linux.resources`, which speaks of version 1 of cgroups, to the files of version 2.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use crate::error::{Error, Result};

/// The weight of a new cgroup.
const DEFAULT_WEIGHT: &str = "100";

/// A value for one file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    pub(super) file: String,
    pub(super) value: String,
}

impl Limit {
    fn new(file: &str, value: impl ToString) -> Self {
        Limit { file: file.to_owned(), value: value.to_string() }
    }

    /// The controller that the file belongs to; the core's own files have none.
    pub(super) fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        (controller != "cgroup").then_some(controller)
    }
}

/// Everything that limits something, in a fixed order. Rules for devices are none of these.
pub(super) fn files(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let mut limits = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_files(memory, &mut limits)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_files(cpu, &mut limits)?;
    }
    if let Some(pids) = resources.pids().filter(|p| p.limit() != 0) {
        limits.push(Limit::new("pids.max", or_max(pids.limit())));
    }
    if let Some(io) = resources.block_io() {
        io_files(io, &mut limits)?;
    }
    for page in resources.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.max", page.page_size());
        check_file(&file)?;
        limits.push(Limit::new(&file, page.limit()));
    }
    let mut rdma: Vec<_> = resources.rdma().iter().flatten().collect();
    rdma.sort_by_key(|(device, _)| *device);
    for (device, limit) in rdma {
        let part = |name: &str, value: Option<u32>| value.map(|v| format!(" {name}={v}")).unwrap_or_default();
        let handles = part("hca_handle", limit.hca_handles());
        limits.push(Limit::new(
            "rdma.max",
            format!("{device}{handles}{}", part("hca_object", limit.hca_objects())),
        ));
    }
    if resources.network().is_some() {
        return Err(refused(
            "linux.resources.network",
            "cgroup version 2 has no controller for network classes",
        ));
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        check_file(file)?;
        limits.push(Limit::new(file, value));
    }
    // What a new cgroup has anyway is no limit, and must not need a controller.
    limits.retain(|limit| match limit.file.as_str() {
        "cpu.weight" => limit.value != DEFAULT_WEIGHT,
        "memory.swap.max" => true,
        _ => limit.value != "max",
    });
    Ok(limits)
}

fn refused(what: &str, reason: &str) -> Error {
    Error::Unsupported { what: what.to_owned(), reason: reason.to_owned() }
}

fn check_file(file: &str) -> Result<()> {
    if file.contains('/') || !file.contains('.') || file.starts_with("cgroup.") {
        return Err(Error::Invalid {
            what: "linux.resources.unified",
            value: file.to_owned(),
            reason: "it names no file of a controller, like memory.high".into(),
        });
    }
    Ok(())
}

/// -1 is how version 1 says that there is no limit.
fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

fn memory_files(memory: &LinuxMemory, limits: &mut Vec<Limit>) -> Result<()> {
    let version_1 = [
        ("kernel", memory.kernel().is_some()),
        ("kernelTCP", memory.kernel_tcp().is_some()),
        ("swappiness", memory.swappiness().is_some()),
        ("disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    if let Some((name, _)) = version_1.iter().find(|(_, present)| *present) {
        return Err(refused(&format!("linux.resources.memory.{name}"), "cgroup version 2 doesn't have it"));
    }
    let limit = memory.limit().filter(|&l| l != 0);
    if let Some(limit) = limit {
        limits.push(Limit::new("memory.max", or_max(limit)));
    }
    if let Some(reservation) = memory.reservation().filter(|&r| r > 0) {
        limits.push(Limit::new("memory.low", reservation));
    }
    // Version 1 counts memory and swap together, version 2 swap alone.
    match (memory.swap().filter(|&s| s != 0), limit) {
        (None, _) => {}
        (Some(swap), _) if swap < 0 => limits.push(Limit::new("memory.swap.max", "max")),
        (Some(swap), Some(limit)) if limit > 0 && swap >= limit => {
            limits.push(Limit::new("memory.swap.max", swap - limit));
        }
        (Some(swap), _) => {
            return Err(Error::Invalid {
                what: "linux.resources.memory.swap",
                value: swap.to_string(),
                reason:
                    "memory and swap together can't be less than the limit of memory, which must be given"
                        .into(),
            });
        }
    }
    Ok(())
}

fn cpu_files(cpu: &LinuxCpu, limits: &mut Vec<Limit>) -> Result<()> {
    if cpu.realtime_runtime().is_some_and(|r| r != 0) || cpu.realtime_period().is_some_and(|p| p != 0) {
        return Err(refused("linux.resources.cpu.realtimeRuntime", "cgroup version 2 doesn't have it"));
    }
    if let Some(shares) = cpu.shares().filter(|&s| s != 0) {
        limits.push(Limit::new("cpu.weight", weight(shares)));
    }
    let quota = cpu.quota().filter(|&q| q != 0);
    let period = cpu.period().filter(|&p| p != 0);
    if quota.is_some_and(|q| q > 0) || period.is_some() {
        let quota = or_max(quota.unwrap_or(-1));
        limits.push(Limit::new("cpu.max", format!("{quota} {}", period.unwrap_or(100_000))));
    }
    if let Some(burst) = cpu.burst() {
        limits.push(Limit::new("cpu.max.burst", burst));
    }
    if let Some(idle) = cpu.idle() {
        limits.push(Limit::new("cpu.idle", idle));
    }
    for (file, list) in [("cpuset.cpus", cpu.cpus()), ("cpuset.mems", cpu.mems())] {
        if let Some(list) = list.as_deref().filter(|l| !l.is_empty()) {
            limits.push(Limit::new(file, list));
        }
    }
    Ok(())
}

/// Shares go from 2 to 262144, weights from 1 to 10000, and the defaults, 1024 and 100, must meet: a curve through
/// these three points, the one that Kubernetes, runc and crun have agreed on.
fn weight(shares: u64) -> u64 {
    let l = (shares.clamp(2, 262_144) as f64).log2();
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    (10f64.powf(exponent) - 1e-6).ceil() as u64
}

fn io_files(io: &LinuxBlockIo, limits: &mut Vec<Limit>) -> Result<()> {
    if io.leaf_weight().is_some_and(|w| w != 0) {
        return Err(refused("linux.resources.blockIO.leafWeight", "cgroup version 2 doesn't have it"));
    }
    // Weights of version 1 go from 10 to 1000.
    let convert = |weight: u16| 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
    if let Some(weight) = io.weight().filter(|&w| w != 0) {
        limits.push(Limit::new("io.weight", format!("default {}", convert(weight))));
    }
    for device in io.weight_device().iter().flatten() {
        if let Some(weight) = device.weight().filter(|&w| w != 0) {
            let value = format!("{}:{} {}", device.major(), device.minor(), convert(weight));
            limits.push(Limit::new("io.weight", value));
        }
    }
    let throttled: [(&str, &Option<Vec<LinuxThrottleDevice>>); 4] = [
        ("rbps", io.throttle_read_bps_device()),
        ("wbps", io.throttle_write_bps_device()),
        ("riops", io.throttle_read_iops_device()),
        ("wiops", io.throttle_write_iops_device()),
    ];
    for (key, devices) in throttled {
        for device in devices.iter().flatten() {
            let value = format!("{}:{} {key}={}", device.major(), device.minor(), device.rate());
            limits.push(Limit::new("io.max", value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(json: &str) -> Result<Vec<(String, String)>> {
        let resources: LinuxResources = serde_json::from_str(json).unwrap();
        Ok(files(&resources)?.into_iter().map(|l| (l.file, l.value)).collect())
    }

    fn one(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn version_1_becomes_version_2() {
        assert_eq!(limits("{}").unwrap(), []);
        assert_eq!(limits(r#"{"pids":{"limit":-1}}"#).unwrap(), []);
        assert_eq!(limits(r#"{"pids":{"limit":7}}"#).unwrap(), [one("pids.max", "7")]);
        assert_eq!(
            limits(r#"{"memory":{"limit":1000,"swap":3000,"reservation":10}}"#).unwrap(),
            [one("memory.max", "1000"), one("memory.low", "10"), one("memory.swap.max", "2000")]
        );
        assert_eq!(
            limits(r#"{"cpu":{"shares":512,"quota":50000}}"#).unwrap(),
            [one("cpu.weight", "59"), one("cpu.max", "50000 100000")]
        );
        assert_eq!(limits(r#"{"cpu":{"shares":1024}}"#).unwrap(), []);
        assert_eq!(weight(2), 1);
        assert_eq!(weight(1024), 100);
        assert_eq!(weight(262_144), 10_000);
    }

    #[test]
    fn what_version_2_lacks_is_refused() {
        assert!(limits(r#"{"memory":{"swappiness":10}}"#).is_err());
        assert!(limits(r#"{"memory":{"swap":10}}"#).is_err());
        assert!(limits(r#"{"unified":{"../../x":"1"}}"#).is_err());
        assert!(limits(r#"{"unified":{"cgroup.procs":"1"}}"#).is_err());
    }
}
