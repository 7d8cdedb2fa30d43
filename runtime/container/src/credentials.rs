//! Who a process is, and what it may do: groups, user, and the five capability sets.
//!
//! Giving up identity has an order. The bounding set goes first, because that takes `CAP_SETPCAP`; then the
//! groups, the group and the user, with the permitted capabilities kept; then the process acts with exactly the
//! effective set it will have, which is how it finds out whether its program can be executed; the filter is
//! loaded with `CAP_SYS_ADMIN` for one call if it can't be loaded without; the final sets come last.

use std::collections::HashSet;
use std::str::FromStr;

use oci_spec::runtime::{Capability, LinuxCapabilities, Process};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use rustix::thread::{self, CapabilitySet, CapabilitySets};

use crate::error::{Call, Error, Result};

/// The kernel's number of `CAP_SYS_ADMIN`.
const SYS_ADMIN: u64 = 1 << 21;

/// The kernel has no more than this many capabilities (two 32-bit words).
const CAPABILITIES: u32 = 64;

/// Identity and capabilities of a program, in the kernel's terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Credentials {
    uid: u32,
    gid: u32,
    /// Supplementary groups; none: those that the process has.
    groups: Option<Vec<u32>>,
    sets: Option<Sets>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

/// The bits of these capabilities.
pub(crate) fn bits(capabilities: Option<&HashSet<Capability>>) -> Result<u64> {
    let mut bits = 0;
    for capability in capabilities.into_iter().flatten() {
        let name = format!("CAP_{capability}");
        let known = caps::Capability::from_str(&name).map_err(|_| Error::Invalid {
            what: "process.capabilities",
            value: name,
            reason: "this capability is not known".into(),
        })?;
        bits |= known.bitmask();
    }
    Ok(bits)
}

impl Credentials {
    /// What `process` asks for. Nothing is added: a process gets no inheritable or ambient capability that
    /// wasn't asked for (CVE-2022-29162, CVE-2022-27650). What the caller doesn't have itself it can't give, and warns
    /// (OCI runtime-spec, "Linux Process"); in a user namespace (`own_users`) it has all.
    pub(crate) fn new(process: &Process, own_users: bool) -> Result<Self> {
        let user = process.user();
        let groups = user.additional_gids().iter().flatten();
        // To system calls -1 means "no change": the program would stay root.
        if let Some(id) = [user.uid(), user.gid()].iter().chain(groups).find(|&&id| id == u32::MAX) {
            return Err(Error::Invalid {
                what: "process.user",
                value: id.to_string(),
                reason: "an id is a number from 0 to 4294967294".into(),
            });
        }
        let mut sets = process.capabilities().as_ref().map(Sets::new).transpose()?;
        if let Some(sets) = sets.as_mut().filter(|_| !own_users) {
            let missing = sets.limit(current()?.permitted.bits());
            for number in (0..CAPABILITIES).filter(|n| missing & (1 << n) != 0) {
                log::warn!("{} can't be granted: this process doesn't have it itself", name(number));
            }
        }
        Ok(Credentials {
            uid: user.uid(),
            gid: user.gid(),
            groups: Some(user.additional_gids().clone().unwrap_or_default()),
            // Without a word about capabilities a program has none: the caller's own are the host's.
            sets: Some(sets.unwrap_or_default()),
        })
    }

    /// The same with the supplementary groups that the process has already, whatever was asked for, if `keeps`.
    pub(crate) fn keep_groups(self, keeps: bool) -> Self {
        Credentials { groups: self.groups.filter(|_| !keeps), ..self }
    }

    /// Takes on everything but the final permitted and ambient sets: from here on the process has the identity
    /// and effective capabilities of the program.
    pub(crate) fn assume(&self) -> Result<()> {
        if let Some(sets) = self.sets {
            drop_bounding(sets.bounding)?;
        }
        thread::set_keep_capabilities(true).call(|| "prctl(PR_SET_KEEPCAPS)".into())?;
        if let Some(groups) = &self.groups {
            set_groups(groups)?;
        }
        let gid = Gid::from_raw(self.gid);
        thread::set_thread_res_gid(gid, gid, gid).call(|| format!("setgid({})", self.gid))?;
        let uid = Uid::from_raw(self.uid);
        thread::set_thread_res_uid(uid, uid, uid).call(|| format!("setuid({})", self.uid))?;
        self.act(0)
    }

    /// Makes the effective set that of the program plus `extra`, and leaves the permitted set as it is.
    fn act(&self, extra: u64) -> Result<()> {
        let Some(sets) = self.sets else {
            return Ok(());
        };
        let permitted = current()?.permitted.bits();
        if let Some(missing) = first(sets.permitted & !permitted) {
            return Err(Error::Unsupported {
                what: format!("giving the program {missing}"),
                reason: "this process doesn't have that capability itself".into(),
            });
        }
        capset(sets.effective | (extra & permitted), permitted, sets.inheritable)
    }

    /// Runs `privileged` with `CAP_SYS_ADMIN`, if there is one.
    pub(crate) fn with_admin(&self, privileged: impl FnOnce() -> Result<()>) -> Result<()> {
        self.act(SYS_ADMIN)?;
        privileged()
    }

    /// Gives up everything that the program won't have. Only prctl(2) and capset(2): a filter may be loaded.
    pub(crate) fn settle(&self) -> Result<()> {
        let Some(sets) = self.sets else {
            return Ok(());
        };
        capset(sets.effective, sets.permitted, sets.inheritable)?;
        for number in (0..CAPABILITIES).filter(|n| sets.ambient & (1 << n) != 0) {
            let one = CapabilitySet::from_bits_retain(1 << number);
            thread::configure_capability_in_ambient_set(one, true)
                .call(|| format!("prctl(PR_CAP_AMBIENT_RAISE, {})", name(number)))?;
        }
        Ok(())
    }
}

impl Sets {
    fn new(asked: &LinuxCapabilities) -> Result<Self> {
        let mut sets = Sets {
            bounding: bits(asked.bounding().as_ref())?,
            effective: bits(asked.effective().as_ref())?,
            permitted: bits(asked.permitted().as_ref())?,
            inheritable: bits(asked.inheritable().as_ref())?,
            ambient: bits(asked.ambient().as_ref())?,
        };
        // The kernel gives no ambient capability that isn't inheritable. Callers ask for them all the same (buildah asks
        // for all of its own in every set but that one), and get less than they said, never more.
        sets.ambient &= sets.permitted & sets.inheritable;
        // What isn't permitted can't be effective either, and here the caller would get less than it counts on.
        match first(sets.effective & !sets.permitted) {
            None => Ok(sets),
            Some(name) => Err(Error::Invalid {
                what: "process.capabilities",
                value: name,
                reason: "an effective capability must be permitted".into(),
            }),
        }
    }
}

impl Sets {
    /// Takes away what isn't in `available`. Returns that.
    fn limit(&mut self, available: u64) -> u64 {
        let mut missing = 0;
        for set in [
            &mut self.bounding,
            &mut self.effective,
            &mut self.permitted,
            &mut self.inheritable,
            &mut self.ambient,
        ] {
            missing |= *set & !available;
            *set &= available;
        }
        missing
    }
}

/// Sets the supplementary groups. A user namespace that an unprivileged user has made may forbid that to everyone
/// (user_namespaces(7), `/proc/pid/setgroups`): none are then none but those that this user has anyway. Whoever joins
/// such a namespace with more of them gives them up before ([`drop_groups`]).
pub(crate) fn set_groups(groups: &[u32]) -> Result<()> {
    let list: Vec<Gid> = groups.iter().map(|&g| Gid::from_raw(g)).collect();
    let result = thread::set_thread_groups(&list);
    if result != Err(Errno::PERM) || !current()?.effective.contains(CapabilitySet::SETGID) {
        return result.call(|| format!("setgroups({groups:?})"));
    }
    match groups {
        [] => Ok(()),
        _ => Err(Error::Unsupported {
            what: format!("supplementary groups ({groups:?})"),
            reason: "this user namespace forbids setgroups(2): map more groups than your own (newgidmap)"
                .into(),
        }),
    }
}

/// Gives up the supplementary groups before a namespace is joined that may forbid it; without the privilege to,
/// they are those of the user.
pub(crate) fn drop_groups() -> Result<()> {
    match thread::set_thread_groups(&[]) {
        Err(Errno::PERM) => Ok(()),
        result => result.call(|| "setgroups([])".into()),
    }
}

fn first(bits: u64) -> Option<String> {
    (bits != 0).then(|| name(bits.trailing_zeros()))
}

fn name(number: u32) -> String {
    caps::all()
        .into_iter()
        .find(|c| c.bitmask() == 1 << number)
        .map_or_else(|| format!("capability {number}"), |c| c.to_string())
}

fn current() -> Result<CapabilitySets> {
    thread::capabilities(None).call(|| "capget()".into())
}

fn capset(effective: u64, permitted: u64, inheritable: u64) -> Result<()> {
    let sets = CapabilitySets {
        effective: CapabilitySet::from_bits_retain(effective),
        permitted: CapabilitySet::from_bits_retain(permitted),
        inheritable: CapabilitySet::from_bits_retain(inheritable),
    };
    thread::set_capabilities(None, sets).call(|| {
        format!("capset(effective={effective:#x}, permitted={permitted:#x}, inheritable={inheritable:#x})")
    })
}

fn drop_bounding(keep: u64) -> Result<()> {
    for number in (0..CAPABILITIES).filter(|n| keep & (1 << n) == 0) {
        let one = CapabilitySet::from_bits_retain(1 << number);
        match thread::remove_capability_from_bounding_set(one) {
            // The first number that the kernel doesn't know: there are none above.
            Err(Errno::INVAL) => break,
            result => result.call(|| format!("prctl(PR_CAPBSET_DROP, {})", name(number)))?,
        }
    }
    // Ambient capabilities of the caller are not the program's (capabilities(7)).
    thread::clear_ambient_capability_set().call(|| "prctl(PR_CAP_AMBIENT_CLEAR_ALL)".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn capabilities(ambient: &[Capability], inheritable: &[Capability]) -> LinuxCapabilities {
        let mut sets = LinuxCapabilities::default();
        let all: HashSet<_> = [Capability::Chown, Capability::Kill].into();
        sets.set_bounding(Some(all.clone()))
            .set_permitted(Some(all.clone()))
            .set_effective(Some(all))
            .set_inheritable(Some(inheritable.iter().copied().collect()))
            .set_ambient(Some(ambient.iter().copied().collect()));
        sets
    }

    #[test]
    fn nothing_becomes_inheritable_by_itself() {
        let sets = Sets::new(&capabilities(&[], &[])).unwrap();
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
        assert_eq!(sets.permitted, 1 | 1 << 5);
    }

    #[test]
    fn what_cannot_be_granted_is_left_out() {
        let mut sets = Sets::new(&capabilities(&[Capability::Kill], &[Capability::Kill])).unwrap();
        assert_eq!(sets.limit(!0), 0);
        assert_eq!(sets.limit(1), 1 << 5);
        assert_eq!((sets.bounding, sets.effective, sets.permitted), (1, 1, 1));
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
    }

    #[test]
    fn ambient_without_inheritable_is_left_out() {
        let ambient = |inheritable: &[Capability]| {
            let sets = Sets::new(&capabilities(&[Capability::Kill], inheritable)).unwrap();
            (sets.ambient, sets.inheritable)
        };
        assert_eq!(ambient(&[]), (0, 0));
        assert_eq!(ambient(&[Capability::Chown]), (0, 1));
        assert_eq!(ambient(&[Capability::Kill]), (1 << 5, 1 << 5));
    }
}
