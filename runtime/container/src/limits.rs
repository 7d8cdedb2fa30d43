//! Resource limits of a process.

use std::io;

use oci_spec::runtime::{PosixRlimit, PosixRlimitType, Process};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::{Call, Error, Result};

/// `RLIM_INFINITY`.
const UNLIMITED: u64 = u64::MAX;

fn resource(kind: PosixRlimitType) -> Result<Resource> {
    Ok(match kind {
        PosixRlimitType::RlimitCpu => Resource::Cpu,
        PosixRlimitType::RlimitFsize => Resource::Fsize,
        PosixRlimitType::RlimitData => Resource::Data,
        PosixRlimitType::RlimitStack => Resource::Stack,
        PosixRlimitType::RlimitCore => Resource::Core,
        PosixRlimitType::RlimitRss => Resource::Rss,
        PosixRlimitType::RlimitNproc => Resource::Nproc,
        PosixRlimitType::RlimitNofile => Resource::Nofile,
        PosixRlimitType::RlimitMemlock => Resource::Memlock,
        PosixRlimitType::RlimitAs => Resource::As,
        PosixRlimitType::RlimitLocks => Resource::Locks,
        PosixRlimitType::RlimitSigpending => Resource::Sigpending,
        PosixRlimitType::RlimitMsgqueue => Resource::Msgqueue,
        PosixRlimitType::RlimitNice => Resource::Nice,
        PosixRlimitType::RlimitRtprio => Resource::Rtprio,
        PosixRlimitType::RlimitRttime => Resource::Rttime,
    })
}

fn value(number: u64) -> Option<u64> {
    (number != UNLIMITED).then_some(number)
}

/// Sets the limits that were asked for, all or none; and those of `defaults` that weren't, as far as they can be.
pub(crate) fn set(process: &Process, defaults: &[PosixRlimit]) -> Result<()> {
    let asked = process.rlimits().as_deref().unwrap_or_default();
    for (index, limit) in asked.iter().enumerate() {
        if asked[..index].iter().any(|l| l.typ() == limit.typ()) {
            return Err(Error::Invalid {
                what: "process.rlimits",
                value: limit.typ().to_string(),
                reason: "it stands there twice".into(),
            });
        }
        let (soft, hard) = (value(limit.soft()), value(limit.hard()));
        let call = || format!("setrlimit({}, soft {}, hard {})", limit.typ(), limit.soft(), limit.hard());
        match setrlimit(resource(limit.typ())?, Rlimit { current: soft, maximum: hard }) {
            Err(Errno::PERM) => {
                return Err(io::Error::other(
                    "raising a hard limit takes CAP_SYS_RESOURCE; ask for less, or set Limit…= in [Service]",
                ))
                .call(call);
            }
            result => result.call(call)?,
        }
    }
    for limit in defaults {
        if !asked.iter().any(|l| l.typ() == limit.typ()) {
            set_default(limit)?;
        }
    }
    Ok(())
}

/// A default is no demand: where the inherited hard limit is lower and can't be raised, it stays.
fn set_default(limit: &PosixRlimit) -> Result<()> {
    let resource = resource(limit.typ())?;
    let wanted = Rlimit { current: value(limit.soft()), maximum: value(limit.hard()) };
    if setrlimit(resource, wanted) != Err(Errno::PERM) {
        return Ok(());
    }
    let hard = getrlimit(resource).maximum.unwrap_or(UNLIMITED);
    let possible = Rlimit { current: value(limit.soft().min(hard)), maximum: value(hard) };
    setrlimit(resource, possible).call(|| format!("setrlimit({}, {possible:?})", limit.typ()))
}
