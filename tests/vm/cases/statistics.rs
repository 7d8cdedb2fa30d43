//! `events --stats` says what the kernel counts.

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use crate::bundle::{Bundle, ID, LONG, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("limits_and_use", limits_and_use),
        both!("block_devices", block_devices),
        both!("failed_charges", failed_charges),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn data(bundle: &Bundle) -> Result<Value> {
    let text = bundle.ok(&["events", "--stats", ID])?;
    let event: Value = serde_json::from_str(&text).with_context(|| text.clone())?;
    ensure!(event["type"] == "stats" && event["id"] == ID, "{text}");
    Ok(event["data"].clone())
}

fn limits_and_use(bundle: &Bundle) -> Result<()> {
    let resources = json!({"memory": {"limit": 64 << 20, "swap": 96 << 20}, "pids": {"limit": 40},
        "cpu": {"quota": 50000, "period": 50000}, "hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
    let script = "x=$(head -c 3000000 /dev/zero | tail -c 3000000); sleep 1000 & echo ready; wait";
    bundle.write(script, &json!({"linux": {"resources": resources}}))?;
    bundle.start()?;
    bundle.wait_for_line("ready")?;
    let data = data(bundle)?;
    ensure!(data["memory"]["usage"]["limit"] == 64 << 20, "{data}");
    ensure!(data["memory"]["swap"]["limit"] == 96 << 20, "{data}");
    ensure!(data["pids"] == json!({"current": 2, "limit": 40}), "{data}");
    let current: u64 = bundle.file("memory.current")?.parse()?;
    let usage = data["memory"]["usage"]["usage"].as_u64().unwrap_or_default();
    ensure!(usage > 0 && usage.abs_diff(current) < 8 << 20, "{usage} of {current}");
    let raw = data["memory"]["raw"]["anon"].as_u64().unwrap_or_default();
    ensure!(raw > 0, "{data}");
    ensure!(data["cpu"]["usage"]["total"].as_u64() > Some(0), "{data}");
    ensure!(data["cpu"]["throttling"]["periods"].as_u64() > Some(0), "{data}");
    ensure!(data["hugetlb"]["2MB"] == json!({"usage": 0, "failcnt": 0}), "{data}");
    Ok(())
}

/// A megabyte is read from the second disk, past the page cache.
fn block_devices(bundle: &Bundle) -> Result<()> {
    let number = std::fs::read_to_string("/sys/block/vdb/dev")?;
    let (major, minor) = number.trim().split_once(':').context("a device number")?;
    let (major, minor): (u32, u32) = (major.parse()?, minor.parse()?);
    let device = json!({"path": "/dev/disk", "type": "b", "major": major, "minor": minor, "fileMode": 0o600});
    let allowed = json!([{"allow": false, "access": "rwm"}, {"allow": true, "type": "b", "major": major, "minor": minor, "access": "r"}]);
    let change = json!({"linux": {"devices": [device], "resources": {"devices": allowed}}});
    bundle.write(
        "dd if=/dev/disk of=/dev/null bs=1M count=1 iflag=direct && echo read; exec sleep 1000",
        &change,
    )?;
    std::fs::write("/proc/sys/vm/drop_caches", "1")?;
    bundle.start()?;
    bundle.wait_for_line("read")?;
    let is = |entry: &Value| entry["major"] == major && entry["minor"] == minor && entry["op"] == "Read";
    bundle.machine.wait("the bytes that were read", LONG, |_| {
        let data = data(bundle)?;
        let entries = data["blkio"]["ioServiceBytesRecursive"].as_array().cloned().unwrap_or_default();
        Ok(entries.iter().any(|e| is(e) && e["value"].as_u64() >= Some(1 << 20)))
    })
}

fn failed_charges(bundle: &Bundle) -> Result<()> {
    bundle.write(
        "exec sleep 1000",
        &json!({"linux": {"resources": {"memory": {"limit": 8 << 20, "swap": 8 << 20}}}}),
    )?;
    bundle.start()?;
    ensure!(data(bundle)?["memory"]["usage"]["failcnt"] == 0);
    bundle.exec(&["sh", "-c", "x=$(head -c 40000000 /dev/zero | tail)"])?;
    let data = data(bundle)?;
    ensure!(data["memory"]["usage"]["failcnt"].as_u64() > Some(0), "{data}");
    let peak = data["memory"]["usage"]["max"].as_u64().unwrap_or_default();
    ensure!((4 << 20..=8 << 20).contains(&peak), "{data}");
    Ok(())
}
