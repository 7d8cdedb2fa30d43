//! What confines a program besides namespaces: labels of SELinux and AppArmor, the filter, the session keyring.

use std::os::fd::{AsFd, OwnedFd};

use oci_spec::runtime::Process;
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::channel::Channel;
use crate::credentials::Credentials;
use crate::error::{Call, Error, Result};
use crate::rootfs::procfs::{self, Procfs};
use crate::seccomp::Filter;
use crate::sys;

/// The labels that the program is to run with.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    selinux: bool,
    label: Option<(&'static str, String)>,
}

impl Labels {
    /// What `process` asks for. A label of a module that isn't there is refused: it would silently not protect.
    pub(crate) fn new(process: &Process) -> Result<Self> {
        let selinux = process.selinux_label().as_deref().filter(|l| !l.is_empty());
        let apparmor = process.apparmor_profile().as_deref().filter(|p| !p.is_empty());
        let enabled = procfs::selinux_enabled();
        let absent = |what: &str, value: &str| Error::Unsupported {
            what: format!("{what} {value:?}"),
            reason: "that security module isn't enabled on this system".into(),
        };
        let label = match (selinux, apparmor) {
            (Some(label), _) if !enabled => return Err(absent("the SELinux label", label)),
            (_, Some(profile)) if profile != "unconfined" && !procfs::apparmor_enabled() => {
                return Err(absent("the AppArmor profile", profile));
            }
            (Some(_), Some(_)) => {
                return Err(Error::Unsupported {
                    what: "a SELinux label and an AppArmor profile for one program".into(),
                    reason: "one of the two modules is in force".into(),
                });
            }
            (Some(label), None) => Some(("attr/exec", label.to_owned())),
            (None, Some(profile)) if procfs::apparmor_enabled() => {
                Some(("attr/apparmor/exec", format!("exec {profile}")))
            }
            (None, _) => None,
        };
        Ok(Labels { selinux: enabled, label })
    }

    /// Whether SELinux is in force.
    pub(crate) fn selinux(&self) -> bool {
        self.selinux
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.label.is_none()
    }

    /// Opens the file that takes the label.
    pub(crate) fn open(&self, procfs: &Procfs) -> Result<Option<OwnedFd>> {
        match &self.label {
            Some((file, _)) => procfs.open_attribute(file).map(Some),
            None => Ok(None),
        }
    }

    /// Asks for the label at the next execve.
    pub(crate) fn apply(&self, file: &OwnedFd) -> Result<()> {
        let Some((name, label)) = &self.label else { return Ok(()) };
        let written = rustix::io::write(file, label.as_bytes());
        if let Some(error) = written.err().and_then(|cause| unknown(name, label, cause)) {
            return Err(error);
        }
        written.call(|| format!("write({name}, {label:?})")).map(drop)
    }
}

/// The error for a label that the kernel doesn't know, which it says with a number of many meanings; `None` for any
/// other `cause`.
fn unknown(file: &str, label: &str, cause: Errno) -> Option<Error> {
    let (what, reason) = match (label.strip_prefix("exec "), cause) {
        (Some(profile), Errno::NOENT) => (
            format!("the AppArmor profile {profile:?}"),
            "no profile of this name is loaded; apparmor_parser loads one, aa-status lists them",
        ),
        (None, Errno::INVAL) if file == "attr/exec" => (
            format!("the SELinux label {label:?}"),
            "the policy in force has no such user, role, type or level",
        ),
        _ => return None,
    };
    Some(Error::Unsupported { what, reason: reason.into() })
}

/// Makes the trampoline. Under SELinux it gets the label of the container's files: the transition to the
/// program's domain happens when it is executed, and that domain may be entered through such files only.
pub(crate) fn trampoline(program: &str, label: Option<&str>, selinux: bool) -> Result<OwnedFd> {
    let file = sys::trampoline::make(program)
        .call(|| "memfd_create(MFD_EXEC); vm.memfd_noexec must be below 2".into())?;
    if let Some(label) = label.filter(|l| selinux && !l.is_empty()) {
        rustix::fs::fsetxattr(file.as_fd(), c"security.selinux", label.as_bytes(), XattrFlags::empty())
            .call(|| format!("setxattr(launcher, security.selinux, {label})"))?;
    }
    Ok(file)
}

/// Joins a new session keyring: keys of the caller's session are none of the program's.
pub(crate) fn join_keyring() -> Result<()> {
    match sys::join_session_keyring(c"sampan") {
        // A kernel without keyrings has no keys to protect.
        Err(e) if e.raw_os_error() == Some(libc::ENOSYS) => Ok(()),
        result => result.call(|| "keyctl(KEYCTL_JOIN_SESSION_KEYRING)".into()),
    }
}

/// Loads the filter and gives up the last privileges, in the order that the kernel permits: loading takes
/// no_new_privs or `CAP_SYS_ADMIN`. With the first it comes after the capabilities are gone; without, before, and
/// only prctl(2) and capset(2) follow.
pub(crate) fn confine(
    process: &Process,
    credentials: &Credentials,
    filter: Option<&Filter>,
    channel: &Channel,
) -> Result<()> {
    let load = || filter.map_or(Ok(()), |filter| filter.load(channel));
    if process.no_new_privileges() != Some(true) {
        credentials.with_admin(load)?;
        return credentials.settle();
    }
    credentials.settle()?;
    rustix::thread::set_no_new_privs(true).call(|| "prctl(PR_SET_NO_NEW_PRIVS)".into())?;
    load()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_that_the_kernel_does_not_know_are_said_in_words() {
        let words = |file, label, cause| unknown(file, label, cause).map(|e| e.to_string());
        let apparmor = words("attr/apparmor/exec", "exec web", Errno::NOENT).unwrap();
        assert!(
            apparmor.contains("the AppArmor profile \"web\" can't be done: no profile of this name"),
            "{apparmor}"
        );
        let selinux = words("attr/exec", "u:r:t:s0", Errno::INVAL).unwrap();
        assert!(selinux.contains("the SELinux label \"u:r:t:s0\" can't be done"), "{selinux}");
        assert_eq!(words("attr/exec", "u:r:t:s0", Errno::ACCESS), None);
        assert_eq!(words("attr/apparmor/exec", "exec web", Errno::ACCESS), None);
    }
}
