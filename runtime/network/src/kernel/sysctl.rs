//! Network settings of the calling thread's namespace that netlink doesn't have.

use std::fs::File;
use std::io::{self, ErrorKind};
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::{Error, Result};
use crate::files;

/// The settings of interfaces for IPv6, a directory for each.
const IPV6_CONF: &str = "/proc/sys/net/ipv6/conf";

/// Lets the host forward packets of these addresses' families, if it doesn't yet.
///
/// # Errors
/// [`Error::File`] if forwarding is off and can't be switched on.
pub(crate) fn forward_packets(addresses: impl Iterator<Item = IpAddr>) -> Result<()> {
    let (mut ipv4, mut ipv6) = (false, false);
    for address in addresses {
        ipv4 |= address.is_ipv4();
        ipv6 |= address.is_ipv6();
    }
    if ipv4 {
        set("/proc/sys/net/ipv4/ip_forward", "1")?;
    }
    let forwarding = format!("{IPV6_CONF}/all/forwarding");
    if ipv6 && !is(&forwarding, "1") {
        keep_host_routers()?;
        set(&forwarding, "1")?;
    }
    Ok(())
}

/// A host that forwards IPv6 ignores its own routers' advertisements, and forgets the
/// default routes that it has from them, unless `accept_ra` is 2 (ip-sysctl.rst in
/// the kernel's documentation).
fn keep_host_routers() -> Result<()> {
    for name in files::names(Path::new(IPV6_CONF))? {
        let setting = format!("{IPV6_CONF}/{name}/accept_ra");
        if !matches!(name.as_str(), "all" | "default" | "lo") && is(&setting, "1") {
            set(&setting, "2")?;
        }
    }
    Ok(())
}

/// Settles how an interface gets its IPv6 addresses: from us alone. It must be
/// called before the interface comes up.
///
/// Router advertisements are ignored, or a container could make itself its
/// neighbours' router (CVE-2020-10749, CVE-2020-13401). Duplicates aren't searched
/// for: our leases see to it that there are none, and a link-local address in doubt
/// keeps the interface from finding its neighbours for the first second.
///
/// Where `link_local` isn't wanted, the interface gets no link-local address either:
/// announcing it to every port of a large bridge takes longer than all the rest.
///
/// `default` stands for all interfaces that don't exist yet.
///
/// # Errors
/// [`Error::File`] if a setting exists and can't be written.
pub(crate) fn settle_ipv6(interface: &str, link_local: bool) -> Result<()> {
    // IN6_ADDR_GEN_MODE_EUI64 and IN6_ADDR_GEN_MODE_NONE of linux/if_link.h.
    let mode = if link_local { "0" } else { "1" };
    for (setting, value) in [("accept_ra", "0"), ("accept_dad", "0"), ("addr_gen_mode", mode)] {
        set(&format!("{IPV6_CONF}/{interface}/{setting}"), value)?;
    }
    Ok(())
}

/// Lets an interface get its IPv6 addresses as every machine on its network does: from the routers there, and not
/// without looking for duplicates. It must be called before the interface comes up.
///
/// `way_out` tells whether a router may become the way to everywhere else.
///
/// # Errors
/// [`Error::File`] if a setting exists and can't be written.
pub(crate) fn accept_routers(interface: &str, way_out: bool) -> Result<()> {
    let way_out = if way_out { "1" } else { "0" };
    let settings =
        [("accept_ra", "1"), ("accept_ra_defrtr", way_out), ("accept_dad", "1"), ("addr_gen_mode", "0")];
    for (setting, value) in settings {
        set(&format!("{IPV6_CONF}/{interface}/{setting}"), value)?;
    }
    Ok(())
}

/// Takes IPv6 from an interface that is there for others' packets alone: it gets no address and no routes.
///
/// Each route, also one for multicast alone, makes every change of any interface's state slower, as the kernel goes
/// through all of them: beside a thousand others by a millisecond.
///
/// # Errors
/// [`Error::File`] if the setting exists and can't be written.
pub(crate) fn keep_without_ipv6(interface: &str) -> Result<()> {
    set(&format!("{IPV6_CONF}/{interface}/disable_ipv6"), "1")
}

/// Writes a setting that isn't so already; one that doesn't exist (a kernel
/// without IPv6) is left alone.
fn set(path: &str, value: &str) -> Result<()> {
    let write =
        |file: File| if is_in(&file, value) { Ok(()) } else { file.write_all_at(value.as_bytes(), 0) };
    let procfs = procfs().map_err(Error::file("open", "/proc"))?;
    match open(procfs, path, OFlags::RDWR).and_then(write) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        // It may be read-only, and right.
        Err(_) if is(path, value) => Ok(()),
        result => result.map_err(Error::file("write", path)),
    }
}

fn is(path: &str, value: &str) -> bool {
    procfs().and_then(|procfs| open(procfs, path, OFlags::RDONLY)).is_ok_and(|file| is_in(&file, value))
}

fn is_in(file: &File, value: &str) -> bool {
    let mut now = [0; 16];
    file.read_at(&mut now, 0).is_ok_and(|length| now[..length].trim_ascii() == value.as_bytes())
}

/// Opens a file below `/proc` in this procfs.
fn open(procfs: BorrowedFd<'_>, path: &str, flags: OFlags) -> io::Result<File> {
    let below = path.trim_start_matches("/proc/");
    Ok(openat(procfs, below, flags | OFlags::CLOEXEC, Mode::empty())?.into())
}

/// The procfs of this process, which is kept to its end: to take a mount away, the kernel waits for all processors.
fn procfs() -> io::Result<BorrowedFd<'static>> {
    static PROCFS: OnceLock<OwnedFd> = OnceLock::new();
    if PROCFS.get().is_none() {
        // Another thread's is as good.
        let _ = PROCFS.set(open_procfs()?);
    }
    PROCFS.get().map(AsFd::as_fd).ok_or_else(|| ErrorKind::NotFound.into())
}

/// One of our own, or the one that everybody sees, for who may not mount: root of a user namespace.
fn open_procfs() -> rustix::io::Result<OwnedFd> {
    own_procfs().or_else(|_| shared_procfs())
}

/// A procfs that is mounted nowhere, and so has its own memory of what was looked up in it.
///
/// That of `/proc` has the settings of every network namespace that anybody has looked at, under one and the same
/// name: beside a thousand containers a look takes two milliseconds, and stays there for the next one to pass. What is
/// more, a unit with `ProtectKernelTunables=yes` sees `/proc/sys` read-only.
fn own_procfs() -> rustix::io::Result<OwnedFd> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
}

fn shared_procfs() -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    openat(CWD, "/proc", flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use rustix::fs::fstat;
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    use super::*;

    #[test]
    fn who_may_not_mount_uses_the_procfs_of_everybody() {
        let shared = fstat(shared_procfs().unwrap()).unwrap();
        let Ok(own) = own_procfs() else {
            eprintln!("SKIP: no procfs of our own; run as root");
            return;
        };
        assert_ne!(fstat(own).unwrap().st_dev, shared.st_dev);
        // Capabilities are a thread's own.
        let opened = std::thread::spawn(|| {
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_ADMIN);
            set_capabilities(None, sets).unwrap();
            open_procfs().unwrap()
        });
        assert_eq!(fstat(opened.join().unwrap()).unwrap().st_dev, shared.st_dev);
    }
}
