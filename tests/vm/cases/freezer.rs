//! `pause` and `resume`: the kernel says that all processes are frozen, and they are.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use crate::bundle::{Bundle, ID, LONG, both};

pub fn tests() -> Vec<Trial> {
    [
        both!("pause_and_resume", pause_and_resume),
        both!("a_paused_container_can_be_deleted", a_paused_container_can_be_deleted),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Counts into a file as fast as it can.
const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/tmp/count; done";

fn count() -> Result<String> {
    Ok(std::fs::read_to_string("/srv/bundle/rootfs/tmp/count").unwrap_or_default())
}

fn pause_and_resume(bundle: &Bundle) -> Result<()> {
    let _ = std::fs::remove_file("/srv/bundle/rootfs/tmp/count");
    bundle.write(COUNT, &json!({"root": {"readonly": false}}))?;
    bundle.start()?;
    bundle.machine.wait("it counts", LONG, |_| Ok(!count()?.is_empty()))?;
    bundle.ok(&["pause", ID])?;
    bundle.expect(&[("cgroup.freeze", "1"), ("cgroup.events", "frozen 1")])?;
    ensure!(bundle.status()? == "paused");
    let before = (count()?, bundle.number("cpu.stat", "usage_usec")?);
    let refused = bundle.exec(&["echo", "beside it"])?;
    ensure!(!refused.success() && refused.stderr.contains("paused"), "{}", refused.text());
    ensure!((count()?, bundle.number("cpu.stat", "usage_usec")?) == before, "it runs on");
    // What is given to it now holds when it goes on.
    bundle.update(&["--pids-limit", "77"])?;
    bundle.expect(&[("pids.max", "77"), ("cgroup.events", "frozen 1")])?;
    bundle.ok(&["resume", ID])?;
    bundle.expect(&[("cgroup.freeze", "0"), ("cgroup.events", "frozen 0")])?;
    ensure!(bundle.status()? == "running");
    bundle.machine.wait("it goes on", LONG, |_| Ok(!["", &before.0].contains(&count()?.as_str())))
}

fn a_paused_container_can_be_deleted(bundle: &Bundle) -> Result<()> {
    bundle.write("exec sleep 1000", &json!({}))?;
    bundle.start()?;
    let cgroup = bundle.cgroup()?;
    bundle.ok(&["pause", ID])?;
    bundle.ok(&["delete", "--force", ID])?;
    ensure!(!cgroup.exists(), "its cgroup is left");
    Ok(())
}
