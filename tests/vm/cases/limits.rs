//! Every limit of `linux.resources` arrives in the kernel's files, is changed live by `update`, is known to systemd
//! where it made the cgroup, and limits.

use std::fs;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::bundle::{Bundle, Driver, Skip, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("memory", memory),
        both!("pids", pids),
        both!("pids_limit_forks", pids_limit_forks),
        both!("cpu", cpu),
        both!("cpu_idle_and_back", cpu_idle_and_back),
        both!("cpu_burst_with_its_quota", cpu_burst_with_its_quota),
        both!("cpu_quota_throttles", cpu_quota_throttles),
        both!("cpuset", cpuset),
        both!("io_rates", io_rates),
        both!("io_weight_without_bfq", io_weight_without_bfq),
        both!("io_weight_with_bfq", io_weight_with_bfq),
        both!("hugetlb", hugetlb),
        both!("rdma", rdma),
        both!("unified", unified),
        both!("nothing_but_what_was_asked_for", nothing_but_what_was_asked_for),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn with(resources: Value) -> Value {
    json!({"linux": {"resources": resources}})
}

/// Starts a container that waits, with these limits.
fn start(bundle: &Bundle, resources: Value) -> Result<()> {
    bundle.write("exec sleep 1000", &with(resources))?;
    bundle.start()
}

fn memory(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 16 << 20}}))?;
    bundle.expect(&[
        ("memory.max", "67108864"),
        ("memory.swap.max", "33554432"),
        ("memory.low", "16777216"),
    ])?;
    bundle.expect_properties(&[
        ("MemoryMax", "67108864"),
        ("MemorySwapMax", "33554432"),
        ("MemoryLow", "16777216"),
    ])?;
    bundle.update(&["--memory", "128m", "--memory-swap", "-1", "--memory-reservation", "32m"])?;
    bundle.expect(&[("memory.max", "134217728"), ("memory.swap.max", "max"), ("memory.low", "33554432")])?;
    bundle.expect_properties(&[("MemoryMax", "134217728"), ("MemorySwapMax", "infinity")])?;
    bundle.update_to(&json!({"memory": {"limit": 50 << 20, "swap": 50 << 20}}))?;
    bundle.expect(&[("memory.max", "52428800"), ("memory.swap.max", "0"), ("memory.low", "33554432")])?;
    bundle.update(&["--memory", "-1"])?;
    bundle.expect_to_stay(&[("memory.max", "max")])
}

fn pids(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"pids": {"limit": 40}}))?;
    bundle.expect(&[("pids.max", "40")])?;
    bundle.expect_properties(&[("TasksMax", "40")])?;
    bundle.update(&["--pids-limit", "50"])?;
    bundle.expect(&[("pids.max", "50")])?;
    bundle.expect_properties(&[("TasksMax", "50")])?;
    bundle.update(&["--pids-limit", "-1"])?;
    bundle.expect_to_stay(&[("pids.max", "max")])
}

fn pids_limit_forks(bundle: &Bundle) -> Result<()> {
    // Started in the background, so that each is a process more.
    bundle.write(
        "for i in 1 2 3 4 5 6 7 8; do sleep 1000 & done; echo all",
        &with(json!({"pids": {"limit": 4}})),
    )?;
    bundle.start()?;
    bundle.machine.wait("a refused fork", crate::bundle::LONG, |_| {
        Ok(fs::read_to_string("/srv/log")?.contains("can't fork"))
    })?;
    Ok(())
}

fn cpu(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"cpu": {"shares": 512, "quota": 20000, "period": 50000}}))?;
    bundle.expect(&[("cpu.weight", "59"), ("cpu.max", "20000 50000")])?;
    bundle.expect_properties(&[
        ("CPUWeight", "59"),
        ("CPUQuotaPerSecUSec", "400ms"),
        ("CPUQuotaPeriodUSec", "50ms"),
    ])?;
    bundle.update(&["--cpu-share", "2048", "--cpu-quota", "30000"])?;
    bundle.expect(&[("cpu.weight", "174"), ("cpu.max", "30000 50000")])?;
    bundle.update(&["--cpu-period", "100000"])?;
    bundle.expect(&[("cpu.max", "30000 100000")])?;
    bundle.update(&["--cpu-quota", "-1"])?;
    bundle.expect_to_stay(&[("cpu.max", "max 100000")])
}

fn cpu_idle_and_back(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"cpu": {"idle": 1}}))?;
    bundle.expect(&[("cpu.idle", "1")])?;
    bundle.update(&["--cpu-idle", "0", "--cpu-share", "512"])?;
    bundle.expect(&[("cpu.idle", "0"), ("cpu.weight", "59")])?;
    bundle.update(&["--cpu-idle", "1"])?;
    bundle.expect_to_stay(&[("cpu.idle", "1")])
}

fn cpu_burst_with_its_quota(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"cpu": {"quota": 20000, "period": 50000, "burst": 10000}}))?;
    bundle.expect(&[("cpu.max", "20000 50000"), ("cpu.max.burst", "10000")])?;
    // A burst is never more than the quota, whichever is written first.
    bundle.update(&["--cpu-quota", "40000", "--cpu-burst", "30000"])?;
    bundle.expect(&[("cpu.max", "40000 50000"), ("cpu.max.burst", "30000")])?;
    bundle.update(&["--cpu-quota", "10000", "--cpu-burst", "1000"])?;
    bundle.expect(&[("cpu.max", "10000 50000"), ("cpu.max.burst", "1000")])?;
    let refused = bundle.update(&["--cpu-burst", "90000"]).expect_err("a burst above the quota").to_string();
    ensure!(refused.contains("the limit cpu.max.burst=90000"), "{refused}");
    bundle.expect_to_stay(&[("cpu.max.burst", "1000")])
}

fn cpu_quota_throttles(bundle: &Bundle) -> Result<()> {
    bundle.write("while :; do :; done", &with(json!({"cpu": {"quota": 5000, "period": 50000}})))?;
    bundle.start()?;
    bundle.machine.wait("periods with the quota used up", crate::bundle::LONG, |_| {
        Ok(bundle.number("cpu.stat", "nr_throttled")? > 2)
    })
}

fn cpuset(bundle: &Bundle) -> Result<()> {
    let allowed = || -> Result<String> {
        let run = bundle.exec(&["grep", "Cpus_allowed_list", "/proc/self/status"])?;
        Ok(run.stdout.trim().trim_start_matches("Cpus_allowed_list:").trim().to_owned())
    };
    start(bundle, json!({"cpu": {"cpus": "1", "mems": "0"}}))?;
    bundle.expect(&[("cpuset.cpus", "1"), ("cpuset.mems", "0"), ("cpuset.cpus.effective", "1")])?;
    bundle.expect_properties(&[("AllowedCPUs", "1"), ("AllowedMemoryNodes", "0")])?;
    ensure!(allowed()? == "1", "{}", allowed()?);
    bundle.update(&["--cpuset-cpus", "0"])?;
    bundle.expect(&[("cpuset.cpus", "0")])?;
    ensure!(allowed()? == "0", "{}", allowed()?);
    bundle.update(&["--cpuset-cpus", "0-1"])?;
    bundle.expect_to_stay(&[("cpuset.cpus", "0-1")])?;
    let refused = bundle.update(&["--cpuset-cpus", "0-7"]);
    // The kernel takes processors that aren't there, and grants those that are.
    if let Err(error) = refused {
        ensure!(error.to_string().contains("cpuset.cpus"), "{error}");
    }
    ensure!(bundle.file("cpuset.cpus.effective")? == "0-1");
    Ok(())
}

/// The second disk: nothing is on it.
fn disk() -> Result<(u32, u32)> {
    let text = fs::read_to_string("/sys/block/vdb/dev").context("the machine's second disk")?;
    let (major, minor) = text.trim().split_once(':').context("a device number")?;
    Ok((major.parse()?, minor.parse()?))
}

/// Chooses the scheduler of the second disk.
fn scheduler(name: &str) -> Result<()> {
    fs::write("/sys/block/vdb/queue/scheduler", name).with_context(|| format!("the I/O scheduler {name}"))
}

fn io_rates(bundle: &Bundle) -> Result<()> {
    let (major, minor) = disk()?;
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    start(
        bundle,
        json!({"blockIO": {
            "throttleReadBpsDevice": rate(1 << 20), "throttleWriteBpsDevice": rate(2 << 20),
            "throttleReadIOPSDevice": rate(100), "throttleWriteIOPSDevice": rate(77)}}),
    )?;
    let line = format!("{major}:{minor} rbps=1048576 wbps=2097152 riops=100 wiops=77");
    bundle.expect(&[("io.max", &line)])?;
    let device = format!("/dev/block/{major}:{minor}");
    bundle.expect_properties(&[
        ("IOReadBandwidthMax", &format!("{device} 1048576")),
        ("IOWriteIOPSMax", &format!("{device} 77")),
    ])?;
    bundle.update_to(
        &json!({"blockIO": {"throttleReadBpsDevice": rate(0), "throttleWriteIOPSDevice": rate(50)}}),
    )?;
    let line = format!("{major}:{minor} rbps=max wbps=2097152 riops=100 wiops=50");
    bundle.expect_to_stay(&[("io.max", &line)])
}

fn io_weight_without_bfq(bundle: &Bundle) -> Result<()> {
    scheduler("none")?;
    start(bundle, json!({"blockIO": {"weight": 500}}))?;
    bundle.expect(&[("io.weight", "default 4950")])?;
    bundle.expect_properties(&[("IOWeight", "4950")])?;
    bundle.update(&["--blkio-weight", "200"])?;
    bundle.expect(&[("io.weight", "default 1920")])?;
    // One device's weight takes something that weighs it.
    let (major, minor) = disk()?;
    let one = json!({"blockIO": {"weightDevice": [{"major": major, "minor": minor, "weight": 300}]}});
    let refused = bundle.update_to(&one).expect_err("a weight that nothing would keep").to_string();
    ensure!(refused.contains("has neither the scheduler BFQ nor a cost model"), "{refused}");
    bundle.expect_to_stay(&[("io.weight", "default 1920")])
}

fn io_weight_with_bfq(bundle: &Bundle) -> Result<()> {
    scheduler("bfq")?;
    let (major, minor) = disk()?;
    let devices = json!([{"major": major, "minor": minor, "weight": 300}]);
    let result = start(bundle, json!({"blockIO": {"weight": 500, "weightDevice": devices}})).and_then(|()| {
        bundle.expect(&[
            ("io.bfq.weight", "default 500"),
            ("io.bfq.weight", &format!("{major}:{minor} 300")),
        ])?;
        bundle.update(&["--blkio-weight", "200"])?;
        bundle.expect_to_stay(&[
            ("io.bfq.weight", "default 200"),
            ("io.bfq.weight", &format!("{major}:{minor} 300")),
        ])
    });
    scheduler("none")?;
    result
}

fn hugetlb(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]}))?;
    bundle.expect(&[("hugetlb.2MB.max", "4194304"), ("hugetlb.2MB.rsvd.max", "4194304")])?;
    bundle.update_to(&json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 8 << 20}]}))?;
    bundle.expect_to_stay(&[("hugetlb.2MB.max", "8388608"), ("hugetlb.2MB.rsvd.max", "8388608")])?;
    let odd = json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]});
    let refused = bundle.update_to(&odd).expect_err("a size that there isn't").to_string();
    ensure!(refused.contains("the kernel has no file hugetlb.3MB.max"), "{refused}");
    Ok(())
}

/// The controller is there; that a device of it is, too, takes hardware or a driver that this kernel lacks. What is
/// asked for a device that isn't there is refused, in the kernel's words.
fn rdma(bundle: &Bundle) -> Result<()> {
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?;
    if !controllers.contains("rdma") {
        return Err(Skip("this kernel has no rdma controller".into()).into());
    }
    bundle.write("true", &with(json!({"rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}}})))?;
    let run = bundle.run()?;
    let words = "the limit rdma.max=mlx5_1 hca_handle=3 hca_object=10000 can't be done";
    ensure!(!run.success() && run.stderr.contains(words), "{}", run.text());
    Ok(())
}

fn unified(bundle: &Bundle) -> Result<()> {
    start(
        bundle,
        json!({"unified": {"memory.high": "60000000", "memory.min": "4096000", "memory.oom.group": "1",
            "pids.max": "33", "cpu.weight": "77", "cgroup.max.descendants": "5"}}),
    )?;
    bundle.expect(&[
        ("memory.high", "59998208"),
        ("memory.min", "4096000"),
        ("memory.oom.group", "1"),
        ("pids.max", "33"),
        ("cpu.weight", "77"),
        ("cgroup.max.descendants", "5"),
    ])?;
    bundle.update_to(&json!({"unified": {"memory.high": "max", "pids.max": "44"}}))?;
    bundle.expect_to_stay(&[("memory.high", "max"), ("pids.max", "44"), ("cpu.weight", "77")])?;
    let odd = bundle.update_to(&json!({"unified": {"memory.nothing": "1"}}));
    let refused = odd.expect_err("a file that there isn't").to_string();
    ensure!(refused.contains("the kernel has no file memory.nothing"), "{refused}");
    Ok(())
}

fn nothing_but_what_was_asked_for(bundle: &Bundle) -> Result<()> {
    start(bundle, json!({}))?;
    // systemd has a default for this one.
    if bundle.driver == Driver::Cgroupfs {
        bundle.expect(&[("pids.max", "max")])?;
    }
    bundle.expect(&[
        ("memory.max", "max"),
        ("memory.high", "max"),
        ("memory.low", "0"),
        ("cpu.max", "max 100000"),
        ("cpu.weight", "100"),
    ])
}
