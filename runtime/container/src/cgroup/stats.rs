//! What the processes of a cgroup use, as the kernel counts it (cgroup-v2.rst). What isn't counted, because a
//! controller isn't available or the kernel is too old, is zero or absent.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use super::Cgroup;
use crate::error::{Call, Result};

/// Everything that is counted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Processors.
    pub cpu: Cpu,
    /// Memory without swap.
    pub memory: Memory,
    /// Swap alone.
    pub swap: Memory,
    /// Each line of `memory.stat`: bytes, or events.
    pub memory_stat: BTreeMap<String, u64>,
    /// Stalls for want of memory.
    pub memory_pressure: Option<Pressure>,
    /// Processes and threads.
    pub pids: u64,
    /// How many of them there may be; `None` without a limit.
    pub pids_limit: Option<u64>,
    /// What went to and came from block devices.
    pub io: Vec<Io>,
    /// Stalls for want of I/O.
    pub io_pressure: Option<Pressure>,
    /// Huge pages by their size (`2MB`).
    pub hugetlb: BTreeMap<String, Hugetlb>,
}

/// Times on processors, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cpu {
    /// In both modes.
    pub total: u64,
    /// In user mode.
    pub user: u64,
    /// In the kernel.
    pub system: u64,
    /// Periods that have passed with a quota.
    pub periods: u64,
    /// Those in which it was used up.
    pub throttled_periods: u64,
    /// How long was waited in those.
    pub throttled: u64,
    /// Stalls for want of processors.
    pub pressure: Option<Pressure>,
}

/// Bytes of memory or swap.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Memory {
    /// In use now.
    pub usage: u64,
    /// The most that was ever in use; zero before 5.19 (swap: 6.5).
    pub peak: u64,
    /// How much may be in use; `None` without a limit.
    pub limit: Option<u64>,
    /// How often the limit was hit.
    pub failures: u64,
}

/// One line of `io.stat`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Io {
    /// The device.
    pub major: u64,
    /// The device.
    pub minor: u64,
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Read operations.
    pub reads: u64,
    /// Write operations.
    pub writes: u64,
}

/// Huge pages of one size.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Hugetlb {
    /// Bytes in use, or reserved, where that is counted.
    pub usage: u64,
    /// How often the limit was hit.
    pub failures: u64,
}

/// Pressure stall information (psi.rst).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Pressure {
    /// Some of the processes were stalled.
    pub some: Stall,
    /// All of them were.
    pub full: Stall,
}

/// How much of the time something was stalled.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Stall {
    /// Of the last 10 seconds, in per cent.
    pub avg10: f64,
    /// Of the last minute.
    pub avg60: f64,
    /// Of the last five minutes.
    pub avg300: f64,
    /// Ever, in microseconds.
    pub total: u64,
}

/// How often the kernel has killed for want of memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutOfMemory {
    /// Times that an allocation was about to fail.
    pub events: u64,
    /// Processes killed.
    pub kills: u64,
}

impl Cgroup {
    /// Reads what is counted now.
    ///
    /// # Errors
    /// A file that can't be read, although it is there; the cgroup is gone.
    pub fn stats(&self) -> Result<Stats> {
        // The one file that every cgroup has: what is gone has no statistics.
        self.read("cgroup.procs").or_else(|e| match e.errno() {
            Some(libc::EOPNOTSUPP) => Ok(String::new()),
            _ => Err(e),
        })?;
        let stat = keyed(&self.optional("memory.stat")?);
        let events = keyed(&self.optional("memory.events")?);
        let swap_events = keyed(&self.optional("memory.swap.events")?);
        Ok(Stats {
            cpu: self.cpu()?,
            memory: self.memory("memory", events.get("max"))?,
            swap: self.memory("memory.swap", swap_events.get("max"))?,
            memory_stat: stat,
            memory_pressure: self.pressure("memory.pressure")?,
            pids: self.number("pids.current")?.unwrap_or(0),
            pids_limit: self.number("pids.max")?,
            io: self.optional("io.stat")?.lines().filter_map(io_line).collect(),
            io_pressure: self.pressure("io.pressure")?,
            hugetlb: self.hugetlb()?,
        })
    }

    /// What `memory.events` says; nothing without the controller.
    pub fn out_of_memory(&self) -> Result<OutOfMemory> {
        let events = keyed(&self.optional("memory.events")?);
        let of = |key| events.get(key).copied().unwrap_or(0);
        Ok(OutOfMemory { events: of("oom"), kills: of("oom_kill") })
    }

    /// The content of a file; empty if there is none, or the kernel says that it doesn't count this.
    fn optional(&self, file: &str) -> Result<String> {
        let path = self.directory().join(file);
        match fs::read_to_string(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                Ok(String::new())
            }
            text => text.call(|| format!("read({})", path.display())),
        }
    }

    fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.optional(file)?.trim().parse().ok())
    }

    fn cpu(&self) -> Result<Cpu> {
        let stat = keyed(&self.optional("cpu.stat")?);
        let of = |key| stat.get(key).copied().unwrap_or(0);
        Ok(Cpu {
            total: of("usage_usec") * 1000,
            user: of("user_usec") * 1000,
            system: of("system_usec") * 1000,
            periods: of("nr_periods"),
            throttled_periods: of("nr_throttled"),
            throttled: of("throttled_usec") * 1000,
            pressure: self.pressure("cpu.pressure")?,
        })
    }

    fn memory(&self, prefix: &str, failures: Option<&u64>) -> Result<Memory> {
        Ok(Memory {
            usage: self.number(&format!("{prefix}.current"))?.unwrap_or(0),
            peak: self.number(&format!("{prefix}.peak"))?.unwrap_or(0),
            limit: self.number(&format!("{prefix}.max"))?,
            failures: failures.copied().unwrap_or(0),
        })
    }

    fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        Ok(pressure(&self.optional(file)?))
    }

    fn hugetlb(&self) -> Result<BTreeMap<String, Hugetlb>> {
        let directory = self.directory();
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&directory).call(|| format!("opendir({})", directory.display()))?.flatten()
        {
            let name = entry.file_name();
            let size = name.to_str().and_then(|n| n.strip_prefix("hugetlb.")?.strip_suffix(".current"));
            let Some(size) = size.filter(|s| !s.contains('.')) else { continue };
            let usage = match self.number(&format!("hugetlb.{size}.rsvd.current"))? {
                None => self.number(&format!("hugetlb.{size}.current"))?,
                reserved => reserved,
            };
            let events = keyed(&self.optional(&format!("hugetlb.{size}.events"))?);
            let failures = events.get("max").copied().unwrap_or(0);
            all.insert(size.to_owned(), Hugetlb { usage: usage.unwrap_or(0), failures });
        }
        Ok(all)
    }
}

/// Lines of a key and a number.
fn keyed(text: &str) -> BTreeMap<String, u64> {
    let pairs = text.lines().filter_map(|line| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.trim().parse().ok()?))
    });
    pairs.collect()
}

/// `8:0 rbytes=1 wbytes=2 rios=3 wios=4 …`
fn io_line(line: &str) -> Option<Io> {
    let mut words = line.split_ascii_whitespace();
    let (major, minor) = words.next()?.split_once(':')?;
    let mut io = Io { major: major.parse().ok()?, minor: minor.parse().ok()?, ..Io::default() };
    for (key, value) in words.filter_map(|w| w.split_once('=')) {
        let field = match key {
            "rbytes" => &mut io.read_bytes,
            "wbytes" => &mut io.written_bytes,
            "rios" => &mut io.reads,
            "wios" => &mut io.writes,
            _ => continue,
        };
        *field = value.parse().ok()?;
    }
    Some(io)
}

/// `some avg10=0.00 avg60=0.00 avg300=0.00 total=0`, and the same with `full`.
fn pressure(text: &str) -> Option<Pressure> {
    let mut found = None;
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ')?;
        let mut stall = Stall::default();
        for (key, value) in rest.split(' ').filter_map(|w| w.split_once('=')) {
            match key {
                "avg10" => stall.avg10 = value.parse().ok()?,
                "avg60" => stall.avg60 = value.parse().ok()?,
                "avg300" => stall.avg300 = value.parse().ok()?,
                "total" => stall.total = value.parse().ok()?,
                _ => {}
            }
        }
        let pressure: &mut Pressure = found.get_or_insert_default();
        match kind {
            "some" => pressure.some = stall,
            _ => pressure.full = stall,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_formats() {
        let io = io_line("259:3 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6 cost.usage=7").unwrap();
        assert_eq!(io, Io { major: 259, minor: 3, read_bytes: 1, written_bytes: 2, reads: 3, writes: 4 });
        assert_eq!(io_line("259:3").unwrap().reads, 0);
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=77\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        let found = pressure(text).unwrap();
        assert_eq!(
            (found.some.avg10, found.some.avg60, found.some.total, found.full.total),
            (1.5, 0.25, 77, 5)
        );
        assert_eq!(pressure(""), None);
        assert_eq!(keyed("low 0\noom_kill 3\n").get("oom_kill"), Some(&3));
    }
}
