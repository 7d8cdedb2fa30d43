//! `events`: what a container uses, now and then, and that it has run out of memory; a JSON object a line, in runc's
//! shape, which its callers read.

use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use sampan_container::cgroup::Cgroup;
use sampan_container::cgroup::stats::{Memory, OutOfMemory, Pressure, Stall, Stats};
use sampan_container::process;
use sampan_container::state::{State, Status};
use serde_json::{Value, json};

use crate::args::table::{Take, text};
use crate::args::{Events, Global};
use crate::info::write;

/// The time between two reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval(Duration);

impl Default for Interval {
    fn default() -> Self {
        Interval(Duration::from_secs(5))
    }
}

impl Take for Interval {
    fn take(&mut self, value: &OsStr) -> Result<()> {
        self.0 = duration(text(value)?).map_err(anyhow::Error::msg)?;
        Ok(())
    }
}

/// Numbers with units, as runc reads them: `1m30s`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time above zero, such as 500ms, 5s or 1m30s");
    let (mut total, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return Err(wrong()),
        };
        total += number.parse::<f64>().map_err(|_| wrong())? * seconds;
        rest = after;
    }
    Duration::try_from_secs_f64(total).ok().filter(|d| !d.is_zero()).ok_or_else(wrong)
}

/// Prints statistics and events until the container ends.
pub(crate) fn events(global: &Global, options: &Events) -> Result<u8> {
    let state = global.container(&options.id)?.read()?;
    if state.live_status() == Status::Stopped {
        bail!("container {:?} is not running", state.name);
    }
    let path = state.cgroup.as_ref();
    let path = path.with_context(|| {
        format!("container {:?} has no cgroup of its own, in which something would be counted", state.name)
    })?;
    let cgroup = Cgroup::existing(path)?;
    if options.stats {
        return report(&state, &cgroup.stats()?);
    }
    let Some(pidfd) = process::open(state.pid.unwrap_or_default(), state.start_time)? else {
        return Ok(0);
    };
    watch(&state, &cgroup, &pidfd, options.interval.0)
}

fn watch(state: &State, cgroup: &Cgroup, pidfd: &OwnedFd, interval: Duration) -> Result<u8> {
    let notes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK).context("inotify_init1()")?;
    let file = cgroup.directory().join("memory.events");
    // Without the controller nobody is killed for what the container uses.
    if file.exists() {
        inotify::add_watch(&notes, &file, WatchFlags::MODIFY)
            .with_context(|| format!("inotify_add_watch({})", file.display()))?;
    }
    let mut seen = cgroup.out_of_memory().unwrap_or_default();
    let mut next = Instant::now() + interval;
    loop {
        let left = Timespec::try_from(next.saturating_duration_since(Instant::now()))?;
        let mut fds = [PollFd::new(&notes, PollFlags::IN), PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, Some(&left)) {
            Err(rustix::io::Errno::INTR) => continue,
            result => result.context("poll()")?,
        };
        let [noted, ended] = fds.map(|fd| !fd.revents().is_empty());
        if noted {
            let mut buffer = [0; 4096];
            while rustix::io::read(&notes, &mut buffer).is_ok_and(|length| length > 0) {}
        }
        seen = tell_kills(state, cgroup, seen)?;
        if ended {
            return Ok(0);
        }
        if Instant::now() >= next {
            match cgroup.stats() {
                Ok(stats) => report(state, &stats)?,
                // Gone between the end of its last process and our hearing of it.
                Err(_) => return Ok(0),
            };
            next = Instant::now() + interval;
        }
    }
}

/// One event for each process that was killed since.
fn tell_kills(state: &State, cgroup: &Cgroup, seen: OutOfMemory) -> Result<OutOfMemory> {
    let Ok(now) = cgroup.out_of_memory() else { return Ok(seen) };
    for _ in seen.kills..now.kills {
        write(&format!("{}\n", json!({"type": "oom", "id": state.id})))?;
    }
    Ok(now)
}

fn report(state: &State, stats: &Stats) -> Result<u8> {
    write(&format!("{}\n", json!({"type": "stats", "id": state.id, "data": describe(stats)})))
}

/// The object `data` of runc's events. Of processors it lists no single ones, which version 2 doesn't count.
fn describe(stats: &Stats) -> Value {
    let cpu = &stats.cpu;
    let both = Memory {
        usage: stats.memory.usage.saturating_add(stats.swap.usage),
        // As version 1 counts: memory and swap together.
        limit: stats.swap.limit.zip(stats.memory.limit).map(|(swap, memory)| swap.saturating_add(memory)),
        peak: 0,
        failures: stats.swap.failures,
    };
    let entries = |of: fn(&sampan_container::cgroup::stats::Io) -> [u64; 2]| -> Value {
        let one = |io| {
            let (io, [read, written]): (&sampan_container::cgroup::stats::Io, _) = (io, of(io));
            [("Read", read), ("Write", written)]
                .map(|(op, value)| json!({"major": io.major, "minor": io.minor, "op": op, "value": value}))
        };
        stats.io.iter().flat_map(one).collect()
    };
    let hugetlb: serde_json::Map<_, _> = stats
        .hugetlb
        .iter()
        .map(|(size, pages)| (size.clone(), json!({"usage": pages.usage, "failcnt": pages.failures})))
        .collect();
    json!({
        "cpu": with_psi(json!({
            "usage": {"total": cpu.total, "kernel": cpu.system, "user": cpu.user},
            "throttling": {
                "periods": cpu.periods,
                "throttledPeriods": cpu.throttled_periods,
                "throttledTime": cpu.throttled,
            },
        }), cpu.pressure.as_ref()),
        "cpuset": {
            "cpu_exclusive": 0, "mem_hardwall": 0, "mem_exclusive": 0, "memory_migrate": 0,
            "memory_spread_page": 0, "memory_spread_slab": 0, "memory_pressure": 0,
            "sched_load_balance": 0, "sched_relax_domain_level": 0,
        },
        "memory": with_psi(json!({
            "cache": stats.memory_stat.get("file").copied().unwrap_or(0),
            "usage": memory(&stats.memory),
            "swap": memory(&both),
            "kernel": memory(&Memory { limit: Some(0), ..Memory::default() }),
            "kernelTCP": memory(&Memory { limit: Some(0), ..Memory::default() }),
            "raw": stats.memory_stat,
        }), stats.memory_pressure.as_ref()),
        "pids": {"current": stats.pids, "limit": stats.pids_limit.unwrap_or(0)},
        "blkio": with_psi(json!({
            "ioServiceBytesRecursive": entries(|io| [io.read_bytes, io.written_bytes]),
            "ioServicedRecursive": entries(|io| [io.reads, io.writes]),
        }), stats.io_pressure.as_ref()),
        "hugetlb": hugetlb,
        "intel_rdt": {},
        // The container's network is its manager's business.
        "network_interfaces": null,
    })
}

fn memory(memory: &Memory) -> Value {
    json!({
        "limit": memory.limit.unwrap_or(u64::MAX),
        "usage": memory.usage,
        "max": memory.peak,
        "failcnt": memory.failures,
    })
}

fn with_psi(mut value: Value, pressure: Option<&Pressure>) -> Value {
    let stall = |s: &Stall| json!({"avg10": s.avg10, "avg60": s.avg60, "avg300": s.avg300, "total": s.total});
    if let Some(pressure) = pressure {
        value["psi"] = json!({"some": stall(&pressure.some), "full": stall(&pressure.full)});
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals() {
        for (text, milliseconds) in
            [("5s", 5000), ("500ms", 500), ("1m30s", 90_000), ("1.5s", 1500), ("1h", 3_600_000)]
        {
            assert_eq!(duration(text), Ok(Duration::from_millis(milliseconds)), "{text}");
        }
        for text in ["", "5", "0s", "-1s", "s", "5x", "1e9s5"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_shape_is_runcs() {
        let mut stats = Stats { pids: 3, ..Stats::default() };
        stats.memory = Memory { usage: 5, limit: Some(10), ..Memory::default() };
        stats.cpu.pressure = Some(Pressure::default());
        stats.io.push(sampan_container::cgroup::stats::Io { major: 8, read_bytes: 7, ..Default::default() });
        let data = describe(&stats);
        assert_eq!(data["pids"], json!({"current": 3, "limit": 0}));
        assert_eq!(data["memory"]["usage"], json!({"limit": 10, "usage": 5, "max": 0, "failcnt": 0}));
        assert_eq!(data["memory"]["swap"]["limit"], json!(u64::MAX));
        assert_eq!(data["cpu"]["psi"]["some"]["avg10"], json!(0.0));
        assert_eq!(data["memory"].get("psi"), None);
        let read = &data["blkio"]["ioServiceBytesRecursive"][0];
        assert_eq!(read, &json!({"major": 8, "minor": 0, "op": "Read", "value": 7}));
    }
}
