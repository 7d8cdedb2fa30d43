//! A time namespace of the container's own (time_namespaces(7)): boot and monotonic clock with an offset.
//!
//! unshare(2) makes a namespace that only later children are in, because its offsets can be written just as long as
//! nobody is. So the container's process makes it, the *caller* writes the offsets (in a user namespace the process
//! has no right to its own file of procfs), and the process, which has one thread, then enters it with setns(2); since
//! Linux 5.6 that takes along what is mapped of the clocks already. Nothing of it is left to the next execve, which
//! moves a process to the namespace of its children, but only from 6.0 on.

use oci_spec::runtime::Linux;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::os::fd::AsFd;

use crate::channel::{Channel, Word};
use crate::error::{Call, Error, Result};
use crate::namespaces::Namespaces;
use crate::rootfs::procfs::Procfs;
use oci_spec::runtime::LinuxNamespaceType as Kind;

/// The clocks that have offsets, in the words of the specification, which are the kernel's.
const CLOCKS: [&str; 2] = ["monotonic", "boottime"];

/// Nanoseconds of a second.
const SECOND: u32 = 1_000_000_000;

/// `linux.timeOffsets` as the kernel reads it; none if there are no offsets.
///
/// # Errors
/// Another clock; offsets for clocks that are someone else's.
pub(crate) fn offsets(linux: &Linux, namespaces: &Namespaces) -> Result<Option<String>> {
    let Some(offsets) = linux.time_offsets().as_ref().filter(|offsets| !offsets.is_empty()) else {
        return Ok(None);
    };
    let invalid = |value: &str, reason: &str| Error::Invalid {
        what: "linux.timeOffsets",
        value: value.to_owned(),
        reason: reason.to_owned(),
    };
    if !namespaces.is_new(Kind::Time) {
        let clocks: Vec<_> = offsets.keys().map(String::as_str).collect();
        return Err(invalid(
            &clocks.join(", "),
            "offsets need a new namespace of type time: the clocks of others can't be set",
        ));
    }
    if let Some(other) = offsets.keys().find(|name| !CLOCKS.contains(&name.as_str())) {
        return Err(invalid(other, "the clocks with offsets are monotonic and boottime"));
    }
    let mut text = String::new();
    for clock in CLOCKS {
        let Some(offset) = offsets.get(clock) else { continue };
        let (secs, nanosecs) = (offset.secs().unwrap_or(0), offset.nanosecs().unwrap_or(0));
        if nanosecs >= SECOND {
            return Err(invalid(clock, "a second has less than 1000000000 nanoseconds"));
        }
        text += &format!("{clock} {secs} {nanosecs}\n");
    }
    Ok(Some(text))
}

/// Writes the offsets of the namespace that the process `pid` has made. Runs in the caller.
pub(crate) fn write(pid: i32, offsets: &str) -> Result<()> {
    Procfs::host()?.write(&format!("{pid}/timens_offsets"), offsets)
}

/// Makes the namespace and enters it; `set`: the caller writes offsets in between. `false`: the caller is gone.
pub(crate) fn enter(set: bool, channel: &Channel) -> Result<bool> {
    nix::sched::unshare(nix::sched::CloneFlags::from_bits_retain(libc::CLONE_NEWTIME))
        .call(|| "unshare(CLONE_NEWTIME)".into())?;
    if set {
        channel.say(&Word::Clocks).call(|| "tell the caller to set the clocks".into())?;
        if !channel.wait().call(|| "wait for the caller".into())? {
            return Ok(false);
        }
    }
    let path = c"/proc/self/ns/time_for_children";
    let namespace = rustix::fs::openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .call(|| "open(/proc/self/ns/time_for_children)".into())?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Time))
        .call(|| "setns(time)".into())?;
    Ok(true)
}

#[cfg(test)]
mod tests {
    use oci_spec::runtime::Spec;

    use super::*;

    fn of(offsets_text: &str, namespaces: &str) -> Result<Option<String>> {
        let text = format!(
            r#"{{"ociVersion": "1.2.1", "linux": {{"namespaces": {namespaces}, "timeOffsets": {offsets_text}}}}}"#
        );
        let spec: Spec = serde_json::from_str(&text).unwrap();
        let linux = spec.linux().clone().unwrap();
        offsets(&linux, &Namespaces::new(&linux)?)
    }

    #[test]
    fn offsets_are_written_as_the_kernel_reads_them() {
        const OWN: &str = r#"[{"type": "mount"}, {"type": "time"}]"#;
        let both = r#"{"boottime": {"secs": -5}, "monotonic": {"secs": 7, "nanosecs": 8}}"#;
        assert_eq!(of(both, OWN).unwrap().as_deref(), Some("monotonic 7 8\nboottime -5 0\n"));
        assert_eq!(of("{}", OWN).unwrap(), None);
        assert!(of(r#"{"realtime": {"secs": 1}}"#, OWN).is_err());
        assert!(of(r#"{"boottime": {"nanosecs": 1000000000}}"#, OWN).is_err());
    }

    #[test]
    fn clocks_of_others_are_not_set() {
        let one = r#"{"boottime": {"secs": 1}}"#;
        for namespaces in [
            r#"[{"type": "mount"}]"#,
            r#"[{"type": "mount"}, {"type": "time", "path": "/proc/self/ns/time"}]"#,
        ] {
            let error = of(one, namespaces).unwrap_err().to_string();
            assert!(error.contains("new namespace of type time"), "{error}");
        }
    }
}
