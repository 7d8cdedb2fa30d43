//! From `linux.resources`, which speaks of version 1 of cgroups, to the files of version 2.

use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use crate::error::{Error, Result};

/// The weight of a new cgroup.
const DEFAULT_WEIGHT: &str = "100";

/// The period of a new cgroup in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;

/// A value for one file of a cgroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    pub(super) file: String,
    pub(super) value: String,
    /// What to do where the kernel has no such file.
    pub(super) absent: Absent,
}

/// What the absence of a file means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Absent {
    /// The limit can't be set.
    Refuse,
    /// The limit holds anyway.
    Fine,
    /// Another file takes this value.
    Instead(&'static str, String),
}

impl Limit {
    fn new(file: &str, value: impl ToString) -> Self {
        Limit { file: file.to_owned(), value: value.to_string(), absent: Absent::Refuse }
    }

    /// The file's name in the cgroup's directory, such as `memory.max`.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// What is written to it; several lines are written one by one.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// The controller that the file belongs to; the core's own files have none.
    pub(super) fn controller(&self) -> Option<&str> {
        let (controller, _) = self.file.split_once('.')?;
        (controller != "cgroup").then_some(controller)
    }
}

/// Everything that `resources` limits, in the order in which it has to be written. Rules for devices are none of
/// these.
///
/// # Errors
/// What version 2 of cgroups can't do, and values that can't be right.
pub fn limits(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let mut limits = Vec::new();
    if let Some(memory) = resources.memory() {
        memory_files(memory, &mut limits)?;
    }
    if let Some(cpu) = resources.cpu() {
        cpu_files(cpu, &mut limits)?;
    }
    if let Some(pids) = resources.pids() {
        // Podman says 0 for "no limit", and a container that may have no process at all is none.
        let limit = if pids.limit() == 0 { -1 } else { pids.limit() };
        limits.push(Limit::new("pids.max", or_max(limit)));
    }
    if let Some(io) = resources.block_io() {
        io_files(io, &mut limits)?;
    }
    for page in resources.hugepage_limits().iter().flatten() {
        let (reserved, used) =
            (format!("hugetlb.{}.rsvd.max", page.page_size()), format!("hugetlb.{}.max", page.page_size()));
        check_file("linux.resources.hugepageLimits.pageSize", &used)?;
        limits.push(Limit::new(&used, or_max(page.limit())));
        // Reservations are counted since 5.7.
        limits.push(Limit { absent: Absent::Fine, ..Limit::new(&reserved, or_max(page.limit())) });
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
    let network = resources.network().as_ref();
    if network
        .is_some_and(|n| n.class_id().is_some() || n.priorities().as_ref().is_some_and(|p| !p.is_empty()))
    {
        return Err(refused(
            "linux.resources.network",
            "cgroup version 2 has no controller for network classes and priorities",
        ));
    }
    let mut unified: Vec<_> = resources.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        check_file("linux.resources.unified", file)?;
        limits.push(Limit::new(file, value));
    }
    Ok(limits)
}

/// The same for a new cgroup. What that has anyway is no limit, and must not need a controller.
pub(super) fn of_new(resources: &LinuxResources) -> Result<Vec<Limit>> {
    let mut limits = limits(resources)?;
    let unified = resources.unified().as_ref();
    limits.retain(|limit| {
        let asked = unified.is_some_and(|u| u.contains_key(&limit.file));
        asked
            || match limit.file.as_str() {
                "cpu.weight" => limit.value != DEFAULT_WEIGHT,
                "cpu.idle" | "cpu.max.burst" => limit.value != "0",
                "cpu.max" => limit.value != format!("max {DEFAULT_PERIOD}"),
                "io.max" => !limit.value.ends_with("=max"),
                _ => limit.value != "max",
            }
    });
    Ok(limits)
}

fn refused(what: &str, reason: &str) -> Error {
    Error::Unsupported { what: what.to_owned(), reason: reason.to_owned() }
}

fn check_file(what: &'static str, file: &str) -> Result<()> {
    // The core's own files move, freeze and kill processes and hand on controllers; but for these.
    let of_the_core =
        file.starts_with("cgroup.") && !file.starts_with("cgroup.max.") && file != "cgroup.pressure";
    let named =
        file.split_once('.').is_some_and(|(controller, rest)| !controller.is_empty() && !rest.is_empty());
    if file.contains(['/', '\0']) || !named || of_the_core {
        return Err(Error::Invalid {
            what,
            value: file.to_owned(),
            reason: format!(
                "the specified key has not the form CONTROLLER.VALUE `{file}`: it names a file of a controller, like memory.high"
            ),
        });
    }
    Ok(())
}

/// -1 is how version 1 says that there is no limit.
fn or_max(value: i64) -> String {
    if value < 0 { "max".into() } else { value.to_string() }
}

// The fields that are deprecated are refused.
#[allow(deprecated)]
fn memory_files(memory: &LinuxMemory, limits: &mut Vec<Limit>) -> Result<()> {
    let version_1 = [
        ("kernel", memory.kernel().is_some_and(|k| k > 0)),
        ("kernelTCP", memory.kernel_tcp().is_some_and(|k| k > 0)),
        ("swappiness", memory.swappiness().is_some()),
        ("disableOOMKiller", memory.disable_oom_killer() == Some(true)),
    ];
    if let Some((name, _)) = version_1.iter().find(|(_, present)| *present) {
        return Err(refused(&format!("linux.resources.memory.{name}"), "cgroup version 2 doesn't have it"));
    }
    // Before the limit: memory that is to go into swap needs room there.
    if let Some(swap) = swap(memory)? {
        // A kernel that doesn't count swap has no limit for it; and none to use, most likely.
        let absent = if ["0", "max"].contains(&swap.as_str()) { Absent::Fine } else { Absent::Refuse };
        limits.push(Limit { absent, ..Limit::new("memory.swap.max", swap) });
    }
    if let Some(limit) = memory.limit().filter(|&l| l != 0) {
        limits.push(Limit::new("memory.max", or_max(limit)));
    }
    if let Some(reservation) = memory.reservation().filter(|&r| r != 0) {
        limits.push(Limit::new("memory.low", or_max(reservation)));
    }
    Ok(())
}

/// The limit of swap. Version 1 counts memory and swap together, version 2 swap alone.
fn swap(memory: &LinuxMemory) -> Result<Option<String>> {
    let limit = memory.limit().filter(|&l| l != 0);
    match (memory.swap().filter(|&s| s != 0), limit) {
        // No limit of memory means none of both together.
        (None, Some(limit)) if limit < 0 => Ok(Some("max".into())),
        (None, _) => Ok(None),
        (Some(both), _) if both < 0 => Ok(Some("max".into())),
        (Some(both), Some(limit)) if limit > 0 && both >= limit => Ok(Some((both - limit).to_string())),
        (Some(both), _) => Err(Error::Invalid {
            what: "linux.resources.memory.swap",
            value: both.to_string(),
            reason: "memory and swap together can't be less than the limit of memory, which must be given"
                .into(),
        }),
    }
}

fn cpu_files(cpu: &LinuxCpu, limits: &mut Vec<Limit>) -> Result<()> {
    if cpu.realtime_runtime().is_some_and(|r| r != 0) || cpu.realtime_period().is_some_and(|p| p != 0) {
        return Err(refused(
            "linux.resources.cpu.realtimeRuntime or realtimePeriod",
            "cgroup version 2 has no limits for real-time scheduling",
        ));
    }
    // An idle cgroup has no weight: the kernel refuses to set one. One that ceases to be idle gets it afterwards.
    if let Some(idle) = cpu.idle() {
        limits.push(Limit::new("cpu.idle", idle));
    }
    if let Some(shares) = cpu.shares().filter(|&s| s != 0 && cpu.idle() != Some(1)) {
        limits.push(Limit::new("cpu.weight", weight(shares)));
    }
    let quota = cpu.quota().filter(|&q| q != 0);
    let period = cpu.period().filter(|&p| p != 0);
    // Before the quota, because it can't be more than that; where it is to grow, it is written again afterwards.
    if let Some(burst) = cpu.burst() {
        limits.push(Limit::new("cpu.max.burst", burst));
    }
    if quota.is_some() || period.is_some() {
        let quota = or_max(quota.unwrap_or(-1));
        limits.push(Limit::new("cpu.max", format!("{quota} {}", period.unwrap_or(DEFAULT_PERIOD))));
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
///
/// By series instead of libm: these would be its only functions in the program, and to load it costs each start nine
/// system calls.
fn weight(shares: u64) -> u64 {
    let l = log2(shares.clamp(2, 262_144));
    let exponent = (l * l + 125.0 * l) / 612.0 - 7.0 / 34.0;
    let weight = exp(exponent * std::f64::consts::LN_10) - 1e-6;
    let whole = weight as u64;
    whole + u64::from((whole as f64) < weight)
}

/// The logarithm of a number above zero, to 12 digits: its power of two, and for the rest the series of the area
/// hyperbolic tangent.
fn log2(number: u64) -> f64 {
    let power = number.ilog2();
    let rest = number as f64 / (1u64 << power) as f64;
    let t = (rest - 1.0) / (rest + 1.0);
    let (mut term, mut sum) = (t, 0.0);
    for n in 0..14 {
        sum += term / f64::from(2 * n + 1);
        term *= t * t;
    }
    f64::from(power) + 2.0 * sum / std::f64::consts::LN_2
}

/// e to the power of a number between -1 and 16, to 12 digits: the series at a sixteenth, four times squared.
fn exp(number: f64) -> f64 {
    let x = number / 16.0;
    let (mut term, mut sum) = (1.0, 1.0);
    for n in 1..18 {
        term *= x / f64::from(n);
        sum += term;
    }
    (0..4).fold(sum, |power, _| power * power)
}

fn io_files(io: &LinuxBlockIo, limits: &mut Vec<Limit>) -> Result<()> {
    let leaf = |w: Option<u16>| w.is_some_and(|w| w != 0);
    let devices = io.weight_device().as_deref().unwrap_or_default();
    if leaf(io.leaf_weight()) || devices.iter().any(|d| leaf(d.leaf_weight())) {
        return Err(refused("linux.resources.blockIO.leafWeight", "cgroup version 2 doesn't have it"));
    }
    // The scheduler BFQ takes weights as they were in version 1, from 1 to 1000; else there is the kernel's own
    // cost model, with weights from 1 to 10000.
    let mut weigh = |device: &str, weight: u16| {
        let converted = 1 + (u64::from(weight.clamp(10, 1000)) - 10) * 9999 / 990;
        limits.push(Limit {
            absent: Absent::Instead("io.weight", format!("{device} {converted}")),
            ..Limit::new("io.bfq.weight", format!("{device} {weight}"))
        });
    };
    if let Some(weight) = io.weight().filter(|&w| w != 0) {
        weigh("default", weight);
    }
    for device in devices {
        if let Some(weight) = device.weight().filter(|&w| w != 0) {
            weigh(&format!("{}:{}", device.major(), device.minor()), weight);
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
            // In version 1, zero took the limit away.
            let rate = if device.rate() == 0 { "max".to_owned() } else { device.rate().to_string() };
            let value = format!("{}:{} {key}={rate}", device.major(), device.minor());
            limits.push(Limit::new("io.max", value));
        }
    }
    Ok(())
}

/// What an update means for a container that has `before`: version 2 has one file for what version 1 has two, so a
/// missing half is what it was.
pub(super) fn complete(update: &LinuxResources, before: Option<&LinuxResources>) -> LinuxResources {
    let mut whole = update.clone();
    if let Some(cpu) = update.cpu() {
        let old = before.and_then(|b| b.cpu().as_ref());
        let mut cpu = cpu.clone();
        if cpu.quota().is_some_and(|q| q != 0) && cpu.period().is_none_or(|p| p == 0) {
            cpu.set_period(old.and_then(|o| o.period()));
        } else if cpu.period().is_some_and(|p| p != 0) && cpu.quota().is_none_or(|q| q == 0) {
            cpu.set_quota(old.and_then(|o| o.quota()));
        }
        whole.set_cpu(Some(cpu));
    }
    if let Some(memory) = update.memory() {
        let old = before.and_then(|b| b.memory().as_ref());
        let mut memory = *memory;
        let (limit, swap) = (memory.limit().filter(|&l| l != 0), memory.swap().filter(|&s| s != 0));
        if limit.is_some_and(|l| l > 0) && swap.is_none() {
            memory.set_swap(old.and_then(|o| o.swap()));
        } else if limit.is_none() && swap.is_some_and(|s| s > 0) {
            memory.set_limit(old.and_then(|o| o.limit()));
        }
        whole.set_memory(Some(memory));
    }
    if let Some(io) = update.block_io().as_ref().filter(|io| io.weight().is_some_and(|w| w != 0)) {
        // BFQ takes a weight for all devices for one that each of them has, whatever it had before.
        let old = before.and_then(|b| b.block_io().as_ref()).and_then(|old| old.weight_device().clone());
        let mut io = io.clone();
        if io.weight_device().is_none() {
            io.set_weight_device(old);
        }
        whole.set_block_io(Some(io));
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(limits: Vec<Limit>) -> Vec<(String, String)> {
        limits.into_iter().map(|l| (l.file, l.value)).collect()
    }

    fn all(json: &str) -> Result<Vec<(String, String)>> {
        limits(&serde_json::from_str(json).unwrap()).map(pairs)
    }

    fn new(json: &str) -> Vec<(String, String)> {
        of_new(&serde_json::from_str(json).unwrap()).map(pairs).unwrap()
    }

    fn one(file: &str, value: &str) -> (String, String) {
        (file.to_owned(), value.to_owned())
    }

    #[test]
    fn memory() {
        let cases: [(&str, &[(&str, &str)]); 7] = [
            (r#"{"limit":0,"swap":0,"reservation":0}"#, &[]),
            (r#"{"limit":1000}"#, &[("memory.max", "1000")]),
            (
                r#"{"limit":1000,"swap":3000,"reservation":10}"#,
                &[("memory.swap.max", "2000"), ("memory.max", "1000"), ("memory.low", "10")],
            ),
            (r#"{"limit":1000,"swap":1000}"#, &[("memory.swap.max", "0"), ("memory.max", "1000")]),
            (r#"{"limit":-1}"#, &[("memory.swap.max", "max"), ("memory.max", "max")]),
            (r#"{"swap":-1}"#, &[("memory.swap.max", "max")]),
            // Old clients still say that kernel memory has no limit.
            (
                r#"{"kernel":-1,"kernelTCP":0,"disableOOMKiller":false,"reservation":-1}"#,
                &[("memory.low", "max")],
            ),
        ];
        for (json, wanted) in cases {
            let wanted: Vec<_> = wanted.iter().map(|(f, v)| one(f, v)).collect();
            assert_eq!(all(&format!(r#"{{"memory":{json}}}"#)).unwrap(), wanted, "{json}");
        }
        for json in [
            r#"{"swap":10}"#,
            r#"{"limit":10,"swap":9}"#,
            r#"{"limit":-1,"swap":9}"#,
            r#"{"swappiness":10}"#,
            r#"{"kernel":10}"#,
            r#"{"disableOOMKiller":true}"#,
        ] {
            assert!(all(&format!(r#"{{"memory":{json}}}"#)).is_err(), "{json}");
        }
    }

    #[test]
    fn processors() {
        let cases: [(&str, &[(&str, &str)]); 7] = [
            (r#"{"shares":0,"quota":0,"period":0,"cpus":"","mems":""}"#, &[]),
            (r#"{"shares":512,"quota":50000}"#, &[("cpu.weight", "59"), ("cpu.max", "50000 100000")]),
            (r#"{"quota":-1}"#, &[("cpu.max", "max 100000")]),
            (r#"{"period":5000}"#, &[("cpu.max", "max 5000")]),
            (r#"{"quota":5000,"burst":100}"#, &[("cpu.max.burst", "100"), ("cpu.max", "5000 100000")]),
            (r#"{"idle":1,"shares":7}"#, &[("cpu.idle", "1")]),
            (
                r#"{"idle":0,"shares":1024,"cpus":"0-1","mems":"0"}"#,
                &[("cpu.idle", "0"), ("cpu.weight", "100"), ("cpuset.cpus", "0-1"), ("cpuset.mems", "0")],
            ),
        ];
        for (json, wanted) in cases {
            let wanted: Vec<_> = wanted.iter().map(|(f, v)| one(f, v)).collect();
            assert_eq!(all(&format!(r#"{{"cpu":{json}}}"#)).unwrap(), wanted, "{json}");
        }
        for (shares, wanted) in [(2, 1), (1024, 100), (262_144, 10_000), (1, 1), (u64::MAX, 10_000)] {
            assert_eq!(weight(shares), wanted, "{shares}");
        }
        for shares in 2..=262_144 {
            let l = (shares as f64).log2();
            let exact = (10f64.powf((l * l + 125.0 * l) / 612.0 - 7.0 / 34.0) - 1e-6).ceil() as u64;
            assert_eq!(weight(shares), exact, "{shares}");
        }
        assert!(all(r#"{"cpu":{"realtimeRuntime":5}}"#).is_err());
        assert!(all(r#"{"cpu":{"realtimePeriod":5}}"#).is_err());
    }

    #[test]
    fn everything_else() {
        assert_eq!(all(r#"{"pids":{"limit":-1}}"#).unwrap(), [one("pids.max", "max")]);
        assert_eq!(all(r#"{"pids":{"limit":7}}"#).unwrap(), [one("pids.max", "7")]);
        assert_eq!(all(r#"{"pids":{"limit":0}}"#).unwrap(), [one("pids.max", "max")]);
        assert_eq!(
            all(r#"{"hugepageLimits":[{"pageSize":"2MB","limit":9}]}"#).unwrap(),
            [one("hugetlb.2MB.max", "9"), one("hugetlb.2MB.rsvd.max", "9")]
        );
        assert_eq!(
            all(r#"{"rdma":{"b":{"hcaHandles":3},"a":{"hcaHandles":1,"hcaObjects":2}}}"#).unwrap(),
            [one("rdma.max", "a hca_handle=1 hca_object=2"), one("rdma.max", "b hca_handle=3")]
        );
        assert_eq!(
            all(r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
                "throttleWriteIOPSDevice":[{"major":8,"minor":1,"rate":0}]}}"#)
            .unwrap(),
            [one("io.max", "8:0 rbps=600"), one("io.max", "8:1 wiops=max")]
        );
        assert_eq!(
            all(r#"{"unified":{"memory.high":"max","io.max":"8:0 rbps=1\n8:1 rbps=1"}}"#).unwrap(),
            [one("io.max", "8:0 rbps=1\n8:1 rbps=1"), one("memory.high", "max")]
        );
    }

    #[test]
    fn weights_of_devices_have_two_names() {
        let json = r#"{"blockIO":{"weight":1000,"weightDevice":[{"major":8,"minor":0,"weight":10}]}}"#;
        let limits = limits(&serde_json::from_str(json).unwrap()).unwrap();
        let instead: Vec<_> = limits.iter().map(|l| (l.value.as_str(), l.absent.clone())).collect();
        assert_eq!(
            instead,
            [
                ("default 1000", Absent::Instead("io.weight", "default 10000".into())),
                ("8:0 10", Absent::Instead("io.weight", "8:0 1".into())),
            ]
        );
        assert!(all(r#"{"blockIO":{"leafWeight":10}}"#).is_err());
    }

    #[test]
    fn a_new_cgroup_needs_no_controller_for_what_is_default() {
        assert_eq!(
            new(r#"{"cpu":{"shares":1024,"quota":-1,"period":100000,"idle":0,"burst":0},"pids":{"limit":-1},
                "memory":{"limit":-1},"network":{},"hugepageLimits":[],"blockIO":{}}"#),
            []
        );
        // What is asked for by the name of its file is written whatever it is.
        assert_eq!(new(r#"{"unified":{"memory.max":"max"}}"#), [one("memory.max", "max")]);
    }

    #[test]
    fn what_version_2_lacks_is_refused() {
        for json in [
            r#"{"unified":{"../../x":"1"}}"#,
            r#"{"unified":{"cgroup.procs":"1"}}"#,
            r#"{"unified":{"cgroup.subtree_control":"+cpu"}}"#,
            r#"{"unified":{"memory":"1"}}"#,
            r#"{"unified":{".max":"1"}}"#,
            r#"{"hugepageLimits":[{"pageSize":"../2MB","limit":9}]}"#,
            r#"{"network":{"classID":1}}"#,
            r#"{"network":{"priorities":[{"name":"lo","priority":1}]}}"#,
        ] {
            assert!(all(json).is_err(), "{json}");
        }
        assert!(all(r#"{"unified":{"cgroup.max.descendants":"1"}}"#).is_ok());
    }

    #[test]
    fn an_update_is_completed_by_what_was() {
        let whole = |update: &str, before: &str| {
            let (update, before) =
                (serde_json::from_str(update).unwrap(), serde_json::from_str(before).unwrap());
            pairs(limits(&complete(&update, Some(&before))).unwrap())
        };
        let before = r#"{"cpu":{"quota":5000,"period":20000},"memory":{"limit":1000,"swap":3000}}"#;
        assert_eq!(whole(r#"{"cpu":{"quota":6000}}"#, before), [one("cpu.max", "6000 20000")]);
        assert_eq!(whole(r#"{"cpu":{"period":30000}}"#, before), [one("cpu.max", "5000 30000")]);
        assert_eq!(whole(r#"{"cpu":{"shares":1024}}"#, before), [one("cpu.weight", "100")]);
        let both = [one("memory.swap.max", "1000"), one("memory.max", "2000")];
        assert_eq!(whole(r#"{"memory":{"limit":2000}}"#, before), both);
        let both = [one("memory.swap.max", "3000"), one("memory.max", "1000")];
        assert_eq!(whole(r#"{"memory":{"swap":4000}}"#, before), both);
        assert_eq!(whole(r#"{"memory":{"limit":2000}}"#, "{}"), [one("memory.max", "2000")]);
        let before = r#"{"blockIO":{"weight":500,"weightDevice":[{"major":8,"minor":0,"weight":300}]}}"#;
        let both = [one("io.bfq.weight", "default 200"), one("io.bfq.weight", "8:0 300")];
        assert_eq!(whole(r#"{"blockIO":{"weight":200}}"#, before), both);
        let other = r#"{"blockIO":{"throttleReadBpsDevice":[{"major":8,"minor":0,"rate":7}]}}"#;
        assert_eq!(whole(other, before), [one("io.max", "8:0 rbps=7")]);
    }
}
