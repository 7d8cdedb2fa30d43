//! When and where a process runs: its scheduler, I/O priority, CPUs, NUMA memory policy and personality.
//!
//! What can be set from outside the *caller* sets, as late as possible: it takes privileges that a user namespace
//! doesn't give, and the set-up shouldn't run idly or with a deadline. Memory policy and personality are the
//! process's own and stay with it over execve(2).

use oci_spec::runtime::{
    ExecCPUAffinity, IOPriorityClass, Linux, LinuxIOPriority, LinuxMemoryPolicy, LinuxPersonality,
    LinuxPersonalityDomain, LinuxSchedulerFlag as Flag, LinuxSchedulerPolicy as Policy, MemoryPolicyFlagType,
    MemoryPolicyModeType, Process, Scheduler,
};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::error::{Call, Error, Result};
use crate::sys::{self, SchedAttr};

/// The modes of set_mempolicy(2) and their numbers.
pub(crate) const MEMORY_MODES: &[(MemoryPolicyModeType, i32)] = &[
    (MemoryPolicyModeType::MpolDefault, 0),
    (MemoryPolicyModeType::MpolPreferred, 1),
    (MemoryPolicyModeType::MpolBind, 2),
    (MemoryPolicyModeType::MpolInterleave, 3),
    (MemoryPolicyModeType::MpolLocal, 4),
    (MemoryPolicyModeType::MpolPreferredMany, 5),
    (MemoryPolicyModeType::MpolWeightedInterleave, 6),
];

/// Its flags.
pub(crate) const MEMORY_FLAGS: &[(MemoryPolicyFlagType, i32)] = &[
    (MemoryPolicyFlagType::MpolFStaticNodes, 1 << 15),
    (MemoryPolicyFlagType::MpolFRelativeNodes, 1 << 14),
    (MemoryPolicyFlagType::MpolFNumaBalancing, 1 << 13),
];

/// The kernel has no more CPUs and no more nodes than this.
const MOST: usize = 1024;

/// What is set from outside.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scheduling {
    attributes: Option<SchedAttr>,
    io: Option<(i32, i32)>,
}

/// What the process sets for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Habits {
    memory: Option<(i32, Vec<u64>)>,
    personality: Option<u64>,
}

/// The CPUs of a program that is executed in a container.
#[derive(Clone, Debug, Default)]
pub(crate) struct Affinity {
    initial: Option<CpuSet>,
    last: Option<CpuSet>,
}

fn invalid(what: &'static str, value: impl ToString, reason: &str) -> Error {
    Error::Invalid { what, value: value.to_string(), reason: reason.to_owned() }
}

impl Scheduling {
    /// What `process` asks for.
    ///
    /// # Errors
    /// Values that mean nothing for the policy.
    pub(crate) fn new(process: &Process) -> Result<Self> {
        Ok(Scheduling {
            attributes: process.scheduler().as_ref().map(attributes).transpose()?,
            io: process.io_priority().map(io_priority).transpose()?,
        })
    }

    /// Sets it for a process that waits for its execve. Runs in the caller.
    pub(crate) fn apply(&self, pid: i32) -> Result<()> {
        if let Some((class, level)) = self.io {
            sys::ioprio_set(pid, class, level).call(|| format!("ioprio_set({pid}, {class}, {level})"))?;
        }
        if let Some(attributes) = &self.attributes {
            sys::sched_setattr(pid, attributes).call(|| format!("sched_setattr({pid}, {attributes:?})"))?;
        }
        Ok(())
    }
}

fn io_priority(priority: LinuxIOPriority) -> Result<(i32, i32)> {
    let class = match priority.class() {
        IOPriorityClass::IoprioClassRt => 1,
        IOPriorityClass::IoprioClassBe => 2,
        IOPriorityClass::IoprioClassIdle => 3,
    };
    let level = i32::try_from(priority.priority()).ok().filter(|p| (0..8).contains(p));
    let level = level.ok_or_else(|| {
        invalid("process.ioPriority.priority", priority.priority(), "it is a number from 0 to 7")
    })?;
    Ok((class, level))
}

fn attributes(scheduler: &Scheduler) -> Result<SchedAttr> {
    let policy = *scheduler.policy();
    let nice = scheduler.nice().unwrap_or(0);
    if !(-20..20).contains(&nice) {
        return Err(invalid("process.scheduler.nice", nice, "it is a number from -20 to 19"));
    }
    let priority = scheduler.priority().unwrap_or(0);
    let fitting = match policy {
        Policy::SchedFifo | Policy::SchedRr => 1..100,
        _ => 0..1,
    };
    if !fitting.contains(&priority) {
        return Err(invalid(
            "process.scheduler.priority",
            priority,
            "it is a number from 1 to 99 for SCHED_FIFO and SCHED_RR, and 0 for the others",
        ));
    }
    let times = [scheduler.runtime(), scheduler.deadline(), scheduler.period()].map(|t| t.unwrap_or(0));
    if policy != Policy::SchedDeadline && times != [0; 3] {
        return Err(invalid(
            "process.scheduler",
            policy,
            "runtime, deadline and period are those of SCHED_DEADLINE",
        ));
    }
    if policy == Policy::SchedDeadline {
        check_deadline(scheduler)?;
    }
    Ok(SchedAttr {
        policy: match policy {
            Policy::SchedOther => 0,
            Policy::SchedFifo => 1,
            Policy::SchedRr => 2,
            Policy::SchedBatch => 3,
            Policy::SchedIso => 4,
            Policy::SchedIdle => 5,
            Policy::SchedDeadline => 6,
        },
        flags: scheduler.flags().iter().flatten().fold(0, |flags, flag| flags | bit(*flag)),
        nice,
        priority: priority.unsigned_abs(),
        runtime: times[0],
        deadline: times[1],
        period: times[2],
        ..SchedAttr::default()
    })
}

/// What the kernel calls no more than an invalid argument (sched(7), "SCHED_DEADLINE"). In crun's words.
fn check_deadline(scheduler: &Scheduler) -> Result<()> {
    const LEAST: u64 = 1024;
    const MOST: u64 = i64::MAX as u64;
    let refuse = |reason: String| {
        let reason = format!("sched_setattr: `SCHED_DEADLINE` {reason}");
        Err(invalid("process.scheduler", Policy::SchedDeadline, &reason))
    };
    let Some(&runtime) = scheduler.runtime().as_ref() else {
        return refuse("requires `runtime`".into());
    };
    let Some(&deadline) = scheduler.deadline().as_ref() else {
        return refuse("requires `deadline`".into());
    };
    // None is the same as the deadline.
    let period = scheduler.period().filter(|&period| period != 0).unwrap_or(deadline);
    if runtime == 0 {
        return refuse("runtime must be greater than 0".into());
    }
    if !(LEAST..=MOST).contains(&runtime) {
        return refuse(format!("runtime {runtime} must be between {LEAST} and {MOST} ns"));
    }
    if runtime > deadline {
        return refuse(format!("runtime {runtime} must be <= the deadline {deadline}"));
    }
    if deadline > period {
        return refuse(format!("deadline {deadline} must be <= the period {period}"));
    }
    Ok(())
}

/// `SCHED_FLAG_*` of linux/sched.h.
fn bit(flag: Flag) -> u64 {
    match flag {
        Flag::SchedResetOnFork => 0x01,
        Flag::SchedFlagReclaim => 0x02,
        Flag::SchedFlagDLOverrun => 0x04,
        Flag::SchedFlagKeepPolicy => 0x08,
        Flag::SchedFlagKeepParams => 0x10,
        Flag::SchedFlagUtilClampMin => 0x20,
        Flag::SchedFlagUtilClampMax => 0x40,
    }
}

impl Habits {
    /// What `linux` asks for.
    pub(crate) fn new(linux: Option<&Linux>) -> Result<Self> {
        let memory = linux.and_then(|l| l.memory_policy().as_ref());
        let personality = linux.and_then(|l| l.personality().as_ref());
        Ok(Habits {
            memory: memory.map(memory_policy).transpose()?,
            personality: personality.map(domain).transpose()?,
        })
    }

    /// Sets it for the calling process.
    pub(crate) fn take_on(&self) -> Result<()> {
        if let Some((mode, nodes)) = &self.memory {
            sys::set_mempolicy(*mode, nodes).call(|| format!("set_mempolicy({mode:#x}, {nodes:x?})"))?;
        }
        if let Some(domain) = self.personality {
            sys::personality(domain).call(|| format!("personality({domain:#x})"))?;
        }
        Ok(())
    }
}

fn memory_policy(policy: &LinuxMemoryPolicy) -> Result<(i32, Vec<u64>)> {
    let number = |list: &[(MemoryPolicyFlagType, i32)], flag| {
        list.iter().find(|(known, _)| *known == flag).map_or(0, |(_, bit)| *bit)
    };
    let mode = MEMORY_MODES.iter().find(|(known, _)| *known == policy.mode()).map_or(0, |(_, mode)| *mode);
    let flags = policy.flags().iter().flatten().fold(0, |bits, flag| bits | number(MEMORY_FLAGS, *flag));
    let mut words = Vec::new();
    for node in list("linux.memoryPolicy.nodes", policy.nodes().as_deref().unwrap_or_default())? {
        if words.len() <= node / 64 {
            words.resize(node / 64 + 1, 0);
        }
        words[node / 64] |= 1u64 << (node % 64);
    }
    Ok((mode | flags, words))
}

fn domain(personality: &LinuxPersonality) -> Result<u64> {
    if let Some(flag) = personality.flags().iter().flatten().next() {
        return Err(invalid("linux.personality.flags", flag, "the specification knows no flags yet"));
    }
    Ok(match personality.domain() {
        LinuxPersonalityDomain::PerLinux => 0,
        LinuxPersonalityDomain::PerLinux32 => 8,
    })
}

/// The numbers of a list as cpuset(7) has it: `0-3,7`.
fn list(what: &'static str, text: &str) -> Result<Vec<usize>> {
    let refuse = |part: &str| invalid(what, part, "it is a list of numbers below 1024 like 0-3,7");
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < MOST).ok_or_else(|| refuse(text));
    let mut all = Vec::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(refuse(part));
        }
        all.extend(first..=last);
    }
    Ok(all)
}

impl Affinity {
    /// What `process.execCPUAffinity` asks for.
    pub(crate) fn new(affinity: Option<&ExecCPUAffinity>) -> Result<Self> {
        let set = |text: &Option<String>| -> Result<Option<CpuSet>> {
            let Some(text) = text.as_deref().filter(|text| !text.is_empty()) else {
                return Ok(None);
            };
            let mut set = CpuSet::new();
            for cpu in list("process.execCPUAffinity", text)? {
                set.set(cpu);
            }
            Ok(Some(set))
        };
        Ok(Affinity {
            initial: affinity.map_or(Ok(None), |a| set(a.initial()))?,
            last: affinity.map_or(Ok(None), |a| set(a.cpu_affinity_final()))?,
        })
    }

    /// Takes the caller to the initial CPUs, where the process that it makes now begins: before it is in the
    /// container's cgroup, in which it is born. Returns the CPUs to go back to.
    pub(crate) fn visit(&self) -> Result<Option<CpuSet>> {
        let Some(initial) = &self.initial else {
            return Ok(None);
        };
        let own = sched_getaffinity(None).call(|| "sched_getaffinity()".into())?;
        sched_setaffinity(None, initial)
            .call(|| "sched_setaffinity(process.execCPUAffinity.initial)".into())?;
        log::debug!("initial CPU affinity: {}", mask(initial));
        Ok(Some(own))
    }

    /// Sets the final CPUs of a process that is in the container's cgroup.
    pub(crate) fn finally(&self, pid: i32) -> Result<()> {
        match (&self.last, Pid::from_raw(pid)) {
            (Some(set), Some(pid)) => {
                sched_setaffinity(Some(pid), set)
                    .call(|| format!("sched_setaffinity({pid}, process.execCPUAffinity.final)"))?;
                log::debug!("final CPU affinity: {}", mask(set));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A set as one number, with a bit for each CPU (taskset(1)).
fn mask(set: &CpuSet) -> String {
    let digit = |at: usize| (0..4).fold(0, |digit, bit| digit | u32::from(set.is_set(at * 4 + bit)) << bit);
    let digits: String = (0..CpuSet::MAX_CPU / 4).rev().map(|at| format!("{:x}", digit(at))).collect();
    format!("0x{}", digits.trim_start_matches('0'))
}

/// Takes the caller back from [`Affinity::visit`].
pub(crate) fn go_back(own: Option<CpuSet>) -> Result<()> {
    own.map_or(Ok(()), |own| sched_setaffinity(None, &own).call(|| "sched_setaffinity(as before)".into()))
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::LinuxPersonalityBuilder;

    use super::*;

    fn scheduler(json: &str) -> Result<SchedAttr> {
        attributes(&serde_json::from_str::<Scheduler>(json).unwrap())
    }

    #[test]
    fn a_scheduler_is_in_the_kernels_numbers() {
        let batch = scheduler(r#"{"policy": "SCHED_BATCH", "nice": 5, "flags": ["SCHED_RESET_ON_FORK"]}"#);
        let wanted = SchedAttr { policy: 3, nice: 5, flags: 1, ..SchedAttr::default() };
        assert_eq!(batch.unwrap(), wanted);
        for bad in [
            r#"{"policy": "SCHED_OTHER", "nice": 20}"#,
            r#"{"policy": "SCHED_OTHER", "priority": 1}"#,
            r#"{"policy": "SCHED_FIFO"}"#,
            r#"{"policy": "SCHED_RR", "priority": 100}"#,
            r#"{"policy": "SCHED_BATCH", "runtime": 1}"#,
            r#"{"policy": "SCHED_DEADLINE"}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 2000}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 0, "deadline": 2000}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 1023, "deadline": 2000}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 9223372036854775808, "deadline": 9223372036854775809}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 3000, "deadline": 2000}"#,
            r#"{"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 3000, "period": 2000}"#,
        ] {
            assert!(scheduler(bad).is_err(), "{bad}");
        }
        scheduler(r#"{"policy": "SCHED_DEADLINE", "runtime": 2000, "deadline": 2000, "period": 0}"#).unwrap();
    }

    #[test]
    fn sets_of_cpus_are_told_as_numbers() {
        let mut set = CpuSet::new();
        for cpu in [0, 1, 68] {
            set.set(cpu);
        }
        assert_eq!(mask(&set), "0x100000000000000003");
    }

    #[test]
    fn lists_are_those_of_cpuset() {
        assert_eq!(list("x", "0-2,7").unwrap(), [0, 1, 2, 7]);
        assert_eq!(list("x", "").unwrap(), Vec::<usize>::new());
        for bad in ["3-1", "a", "1-", "-1", "1024", "0-9999999999"] {
            assert!(list("x", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_memory_policy_is_mode_flags_and_bits() {
        let json = r#"{"mode": "MPOL_BIND", "nodes": "0,65", "flags": ["MPOL_F_STATIC_NODES"]}"#;
        let policy = memory_policy(&serde_json::from_str(json).unwrap()).unwrap();
        assert_eq!(policy, (2 | 1 << 15, vec![1, 2]));
        let json = r#"{"mode": "MPOL_LOCAL"}"#;
        assert_eq!(memory_policy(&serde_json::from_str(json).unwrap()).unwrap(), (4, vec![]));
    }

    #[test]
    fn flags_of_a_personality_are_refused() {
        let personality = LinuxPersonalityBuilder::default().flags(vec!["X".to_owned()]).build().unwrap();
        assert!(domain(&personality).is_err());
    }
}
