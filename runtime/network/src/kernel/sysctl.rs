//! Network settings of the calling thread's namespace that netlink doesn't have.

use std::fs::{self, File};
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use crate::error::{Error, Result};
use crate::files;

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
    if ipv6 && !is("/proc/sys/net/ipv6/conf/all/forwarding", "1") {
        keep_host_routers()?;
        set("/proc/sys/net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// A host that forwards IPv6 ignores its own routers' advertisements, and forgets the
/// default routes that it has from them, unless `accept_ra` is 2 (ip-sysctl.rst in
/// the kernel's documentation).
fn keep_host_routers() -> Result<()> {
    let interfaces = "/proc/sys/net/ipv6/conf";
    for name in files::names(Path::new(interfaces))? {
        let setting = format!("{interfaces}/{name}/accept_ra");
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
        set(&format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"), value)?;
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
        set(&format!("/proc/sys/net/ipv6/conf/{interface}/{setting}"), value)?;
    }
    Ok(())
}

/// Writes a setting that isn't so already; one that doesn't exist (a kernel
/// without IPv6) is left alone.
fn set(path: &str, value: &str) -> Result<()> {
    if is(path, value) || !Path::new(path).exists() {
        return Ok(());
    }
    match fs::write(path, value) {
        Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => set_aside(path, value),
        result => result,
    }
    .map_err(Error::file("write", path))
}

fn is(path: &str, value: &str) -> bool {
    fs::read_to_string(path).is_ok_and(|now| now.trim() == value)
}

/// Writes a setting by a procfs of our own, which is mounted nowhere: a unit with
/// `ProtectKernelTunables=yes` sees `/proc/sys` read-only.
fn set_aside(path: &str, value: &str) -> io::Result<()> {
    let context = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let proc = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())?;
    let below = path.trim_start_matches("/proc/");
    let file = openat(&proc, below, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    File::from(file).write_all(value.as_bytes())
}
