//! Limits as properties of a systemd unit, so that systemd knows them, shows them, and doesn't undo them.
//!
//! Rules for devices are not among them: `DeviceAllow=` can't say what `linux.resources.devices` can (later rules
//! win, making nodes is allowed apart from opening them), and of two programs each would forbid what only the other
//! knows. As long as no `DevicePolicy=` is set, systemd attaches none and leaves ours alone.

use anyhow::{Context, Result, bail, ensure};
use sampan_container::cgroup::Limit;
use sampan_oci::{Properties, Value};

/// `infinity` of systemd.
const INFINITY: u64 = u64::MAX;

/// systemd keeps a quota as whole per cents: microseconds per second.
const QUOTA_STEP: u64 = 10_000;

/// What systemd has a property for. The rest is left to the cgroup's files, which are written in any case.
pub(crate) fn of_limits(limits: &[Limit]) -> Result<Properties> {
    convert(limits, has_bfq)
}

/// The same; `bfq` says whether that I/O scheduler is there.
fn convert(limits: &[Limit], bfq: fn() -> bool) -> Result<Properties> {
    let mut properties = Properties::new();
    for limit in limits {
        let context = || format!("the limit {}={}", limit.file(), limit.value());
        let mut add = |name: &str, value| properties.insert(name.to_owned(), value);
        let number = || number(limit.value()).with_context(context);
        match limit.file() {
            "memory.max" => drop(add("MemoryMax", Value::Number(number()?))),
            "memory.high" => drop(add("MemoryHigh", Value::Number(number()?))),
            "memory.low" => drop(add("MemoryLow", Value::Number(number()?))),
            "memory.min" => drop(add("MemoryMin", Value::Number(number()?))),
            "memory.swap.max" => drop(add("MemorySwapMax", Value::Number(number()?))),
            // systemd knows no zero here, and nothing could be started with it.
            "pids.max" => drop(add("TasksMax", Value::Number(number()?.max(1)))),
            "cpu.weight" => drop(add("CPUWeight", Value::Number(number()?))),
            "cpu.max" => {
                let (quota, period) = quota(limit.value()).with_context(context)?;
                add("CPUQuotaPerSecUSec", Value::Number(quota));
                add("CPUQuotaPeriodUSec", Value::Number(period));
            }
            "cpuset.cpus" => {
                drop(add("AllowedCPUs", Value::Bytes(bits(limit.value()).with_context(context)?)))
            }
            "cpuset.mems" => {
                add("AllowedMemoryNodes", Value::Bytes(bits(limit.value()).with_context(context)?));
            }
            "io.bfq.weight" => {
                let convert = if bfq() { as_systemd_has_it } else { as_the_file_has_it };
                weigh(&mut properties, limit.value(), 1000, convert).with_context(context)?;
            }
            "io.weight" => weigh(&mut properties, limit.value(), 10_000, |w| w).with_context(context)?,
            "io.max" => throttle(&mut properties, limit.value()).with_context(context)?,
            _ => {}
        }
    }
    // systemd says so by the weight (since 252), and that goes before any other weight.
    if limits.iter().any(|l| l.file() == "cpu.idle" && l.value().trim() == "1") {
        properties.insert("CPUWeight".into(), Value::Number(0));
    }
    Ok(properties)
}

fn number(text: &str) -> Result<u64> {
    match text.trim() {
        "max" => Ok(INFINITY),
        text => text.parse().context("it is a number or max"),
    }
}

/// `QUOTA [PERIOD]` in microseconds, as quota per second and period. Rounded up to what systemd keeps: else the
/// next reload would make it less.
fn quota(text: &str) -> Result<(u64, u64)> {
    let mut words = text.split_ascii_whitespace();
    let quota = number(words.next().unwrap_or("max"))?;
    let period = words.next().map_or(Ok(100_000), str::parse).context("the period is a number")?;
    ensure!(period > 0 && words.next().is_none(), "it is a quota and a period");
    if quota == INFINITY {
        return Ok((INFINITY, period));
    }
    let per_second = u128::from(quota) * 1_000_000 / u128::from(period);
    let per_second = u64::try_from(per_second).context("the quota is too large")?;
    Ok((per_second.div_ceil(QUOTA_STEP).saturating_mul(QUOTA_STEP), period))
}

/// `0-3,7` as bits, the lowest byte first.
fn bits(list: &str) -> Result<Vec<u8>> {
    /// More processors than any kernel is built for.
    const MOST: usize = 8192;
    let mut bits = Vec::new();
    for range in list.split(',').map(str::trim).filter(|r| !r.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (usize, usize) = (first.trim().parse()?, last.trim().parse()?);
        ensure!(first <= last && last < MOST, "{range:?} is no range of numbers below {MOST}");
        if bits.len() <= last / 8 {
            bits.resize(last / 8 + 1, 0);
        }
        for number in first..=last {
            bits[number / 8] |= 1 << (number % 8);
        }
    }
    ensure!(!bits.is_empty(), "it names no number");
    Ok(bits)
}

/// systemd finds a device by its path.
fn device(numbers: &str) -> Result<String> {
    let (major, minor) = numbers.split_once(':').context("a device is MAJOR:MINOR")?;
    let (major, minor): (u32, u32) = (major.parse()?, minor.parse()?);
    Ok(format!("/dev/block/{major}:{minor}"))
}

fn append(properties: &mut Properties, name: &str, device: String, number: u64) {
    match properties.entry(name.to_owned()).or_insert_with(|| Value::Devices(Vec::new())) {
        Value::Devices(devices) => devices.push((device, number)),
        other => *other = Value::Devices(vec![(device, number)]),
    }
}

/// Whether the scheduler BFQ is there, and with it the file `io.bfq.weight` of cgroups.
fn has_bfq() -> bool {
    let disks = std::fs::read_dir("/sys/block").into_iter().flatten().flatten();
    let schedulers = disks.map(|disk| std::fs::read_to_string(disk.path().join("queue/scheduler")));
    schedulers
        .flatten()
        .any(|text| text.split_whitespace().any(|name| name.trim_matches(['[', ']']) == "bfq"))
}

/// What systemd makes a weight of BFQ's of, and writes at its next reload: it maps 100 to 10000 on 100 to 1000.
fn as_systemd_has_it(weight: u64) -> u64 {
    if weight <= 100 { weight } else { 100 + (weight - 100) * 11 }
}

/// What is written to `io.weight` where there is no BFQ.
fn as_the_file_has_it(weight: u64) -> u64 {
    1 + (weight.max(10) - 10) * 9999 / 990
}

/// Lines of `WEIGHT`, `default WEIGHT` or `MAJOR:MINOR WEIGHT`, with weights from 1 to `most`; systemd's go to 10000.
fn weigh(properties: &mut Properties, text: &str, most: u64, convert: fn(u64) -> u64) -> Result<()> {
    for line in text.lines() {
        let (of, weight) = line.trim().rsplit_once(' ').unwrap_or(("default", line.trim()));
        let weight: u64 = weight.parse()?;
        ensure!((1..=most).contains(&weight), "a weight is a number from 1 to {most}");
        let weight = convert(weight);
        match of {
            "default" => drop(properties.insert("IOWeight".into(), Value::Number(weight))),
            numbers => append(properties, "IODeviceWeight", device(numbers)?, weight),
        }
    }
    Ok(())
}

/// Lines of `MAJOR:MINOR rbps=N wbps=N riops=N wiops=N`.
fn throttle(properties: &mut Properties, text: &str) -> Result<()> {
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let device = device(words.next().unwrap_or_default())?;
        for word in words {
            let (key, value) = word.split_once('=').context("a limit is KEY=NUMBER")?;
            let name = match key {
                "rbps" => "IOReadBandwidthMax",
                "wbps" => "IOWriteBandwidthMax",
                "riops" => "IOReadIOPSMax",
                "wiops" => "IOWriteIOPSMax",
                _ => bail!("{key:?} is none of rbps, wbps, riops and wiops"),
            };
            append(properties, name, device.clone(), number(value)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sampan_container::cgroup;

    use super::*;

    fn of(json: &str) -> Result<Properties> {
        convert(&cgroup::limits(&serde_json::from_str(json)?)?, || false)
    }

    fn is(json: &str, wanted: &[(&str, Value)]) {
        let wanted: Properties = wanted.iter().map(|(n, v)| ((*n).to_owned(), v.clone())).collect();
        assert_eq!(of(json).unwrap(), wanted, "{json}");
    }

    #[test]
    fn memory_and_tasks() {
        use Value::Number as N;
        is(
            r#"{"memory":{"limit":1000,"swap":3000,"reservation":10}}"#,
            &[("MemoryMax", N(1000)), ("MemorySwapMax", N(2000)), ("MemoryLow", N(10))],
        );
        is(r#"{"memory":{"limit":-1}}"#, &[("MemoryMax", N(INFINITY)), ("MemorySwapMax", N(INFINITY))]);
        is(r#"{"pids":{"limit":0}}"#, &[("TasksMax", N(INFINITY))]);
        is(r#"{"pids":{"limit":-1}}"#, &[("TasksMax", N(INFINITY))]);
        is(
            r#"{"unified":{"memory.high":"5","memory.min":"max","misc.max":"x 1","pids.max":"0"}}"#,
            &[("MemoryHigh", N(5)), ("MemoryMin", N(INFINITY)), ("TasksMax", N(1))],
        );
        assert!(of(r#"{"unified":{"memory.high":"lots"}}"#).is_err());
    }

    #[test]
    fn processors() {
        use Value::{Bytes, Number as N};
        is(r#"{"cpu":{"shares":512}}"#, &[("CPUWeight", N(59))]);
        is(r#"{"cpu":{"shares":512,"idle":1}}"#, &[("CPUWeight", N(0))]);
        is(r#"{"cpu":{"idle":0}}"#, &[]);
        is(
            r#"{"cpu":{"quota":50000}}"#,
            &[("CPUQuotaPerSecUSec", N(500_000)), ("CPUQuotaPeriodUSec", N(100_000))],
        );
        // A third of a processor is 34 per cent for systemd.
        is(
            r#"{"cpu":{"quota":10000,"period":30000}}"#,
            &[("CPUQuotaPerSecUSec", N(340_000)), ("CPUQuotaPeriodUSec", N(30_000))],
        );
        is(
            r#"{"cpu":{"quota":-1,"period":5000}}"#,
            &[("CPUQuotaPerSecUSec", N(INFINITY)), ("CPUQuotaPeriodUSec", N(5000))],
        );
        is(
            r#"{"cpu":{"cpus":"0-2,9","mems":"0"}}"#,
            &[("AllowedCPUs", Bytes(vec![7, 2])), ("AllowedMemoryNodes", Bytes(vec![1]))],
        );
        for json in [r#"{"cpu":{"cpus":"2-1"}}"#, r#"{"cpu":{"cpus":"x"}}"#, r#"{"cpu":{"mems":"99999"}}"#] {
            assert!(of(json).is_err(), "{json}");
        }
    }

    #[test]
    fn block_devices() {
        use Value::{Devices, Number as N};
        let disk = |number| Devices(vec![("/dev/block/8:0".to_owned(), number)]);
        is(
            r#"{"blockIO":{"weight":1000,"weightDevice":[{"major":8,"minor":0,"weight":10}],
                "throttleReadBpsDevice":[{"major":8,"minor":0,"rate":600}],
                "throttleWriteBpsDevice":[{"major":8,"minor":0,"rate":0}],
                "throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":7}]}}"#,
            &[
                ("IOWeight", N(10_000)),
                ("IODeviceWeight", disk(1)),
                ("IOReadBandwidthMax", disk(600)),
                ("IOWriteBandwidthMax", disk(INFINITY)),
                ("IOReadIOPSMax", disk(7)),
            ],
        );
        is(
            r#"{"unified":{"io.max":"8:0 rbps=1 wiops=2\n8:16 rbps=max","io.weight":"50"}}"#,
            &[
                (
                    "IOReadBandwidthMax",
                    Devices(vec![("/dev/block/8:0".into(), 1), ("/dev/block/8:16".into(), INFINITY)]),
                ),
                ("IOWriteIOPSMax", disk(2)),
                ("IOWeight", N(50)),
            ],
        );
        // systemd writes 100 + (weight - 100) / 11 for the scheduler BFQ, above 100.
        for (weight, wanted) in [(1000, 10_000), (500, 4500), (200, 1200), (100, 100), (10, 10)] {
            let limits = serde_json::from_str(&format!(r#"{{"blockIO":{{"weight":{weight}}}}}"#)).unwrap();
            let properties = convert(&cgroup::limits(&limits).unwrap(), || true).unwrap();
            assert_eq!(properties, Properties::from([("IOWeight".to_owned(), N(wanted))]), "{weight}");
        }
        assert!(of(r#"{"unified":{"io.max":"/dev/sda rbps=1"}}"#).is_err());
        assert!(of(r#"{"unified":{"io.weight":"0"}}"#).is_err());
    }
}
