//! Containers without root's privileges.
//!
//! Whoever isn't privileged over their mount namespace can't make a copy of a mount in it. So what the caller
//! otherwise prepares (the root, bind mounts, the host's devices) the container's process prepares itself, between
//! its birth in its own user and mount namespace and the moment when anything of the container gets a place in
//! there: the host's tree is still its root then, and in its copy of that tree it is privileged.
//!
//! That this way is needed is found out by the refusal of the other one ([`crate::mount::root`]): a privileged start
//! asks nothing. What else the kernel keeps from user namespaces is handled where it is refused: device nodes
//! (`rootfs::devices`), a new sysfs without a network of one's own (`rootfs::mounts`), supplementary groups
//! (`credentials`).

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::{Linux, LinuxDevice, LinuxIdMapping, Mount};

use crate::error::{Call, Error, Result};
use crate::rootfs::devices;
use crate::rootfs::idmap::Mapper;
use crate::rootfs::mounts::{self, Common};
use crate::rootfs::procfs::Procfs;
use crate::setup::Plan;

/// The root file system of a container.
#[derive(Debug)]
pub enum Rootfs {
    /// A detached mount (of [`crate::mount`]).
    Mount(OwnedFd),
    /// A directory that the caller can't make a mount of: the container's process will.
    Directory(PathBuf),
}

impl From<OwnedFd> for Rootfs {
    fn from(mount: OwnedFd) -> Self {
        Rootfs::Mount(mount)
    }
}

/// What the container's process has to prepare itself.
#[derive(Debug)]
pub(crate) struct Late<'a> {
    pub(crate) directory: PathBuf,
    pub(crate) mounts: &'a [Mount],
    pub(crate) devices: &'a [LinuxDevice],
    pub(crate) linux: &'a Linux,
}

/// Prepares it. Runs in the container's process, with the host's tree as its root.
pub(crate) fn prepare(plan: &mut Plan<'_>, late: &Late<'_>) -> Result<()> {
    let common = Common { propagation: plan.propagation, ..Common::default() };
    let mapper = Mapper::unprivileged(late.linux);
    plan.root = crate::mount::clone(&late.directory, plan.propagation)?;
    for mount in late.mounts {
        check_owner(mount, late.linux)?;
        plan.mounts.push(mounts::prepare(mount, common, &mapper)?);
    }
    plan.devices = devices::prepare(late.devices, true, None)?;
    Ok(())
}

/// A file system can't belong to someone who isn't mapped. The kernel says no more than "Invalid argument".
fn check_owner(mount: &Mount, linux: &Linux) -> Result<()> {
    let maps = [("uid=", linux.uid_mappings()), ("gid=", linux.gid_mappings())];
    for option in mount.options().iter().flatten().flat_map(|option| option.split(',')) {
        for (prefix, mappings) in &maps {
            let id = option.strip_prefix(prefix).and_then(|id| id.parse::<u32>().ok());
            let mapped = |id: u32| {
                let mut all = mappings.iter().flatten();
                all.any(|m| id.checked_sub(m.container_id()).is_some_and(|offset| offset < m.size()))
            };
            if mappings.is_some() && id.is_some_and(|id| !mapped(id)) {
                return Err(Error::Invalid {
                    what: "mounts.options",
                    value: option.to_owned(),
                    reason: format!(
                        "nobody is mapped to this id in the container's user namespace; leave the option out at {}",
                        mount.destination().display()
                    ),
                });
            }
        }
    }
    Ok(())
}

/// Whether this process is in a user namespace other than the system's first one. False where procfs can't tell.
pub fn in_user_namespace() -> bool {
    let whole = |map: String| map.split_whitespace().eq(["0", "0", "4294967295"]);
    fs::read_to_string("/proc/self/uid_map").is_ok_and(|map| !whole(map))
}

/// Whether this process is without the system's root privileges.
pub(crate) fn unprivileged() -> bool {
    !rustix::process::geteuid().is_root() || in_user_namespace()
}

/// Sets the score of a process that is to be killed when memory is short, seen from the host. Lowering it takes a
/// privilege that isn't to be had without root's: the caller's own score stays then, as with runc.
pub(crate) fn set_score(pid: i32, score: i32) -> Result<()> {
    match Procfs::host()?.write(&format!("{pid}/oom_score_adj"), &score.to_string()) {
        Err(e) if e.errno() == Some(libc::EACCES) && unprivileged() => Ok(()),
        result => result,
    }
}

/// Writes a mapping that the kernel refused to take from this process: an own id as the only one, once the new
/// namespace has given up setgroups(2), or whatever newuidmap(1) and newgidmap(1) find to be the caller's.
pub(crate) fn write_mapping(pid: i32, file: &str, mappings: &[LinuxIdMapping]) -> Result<()> {
    let own = match file {
        "uid_map" => rustix::process::geteuid().as_raw(),
        _ => rustix::process::getegid().as_raw(),
    };
    match mappings {
        [one] if one.size() == 1 && one.host_id() == own && file == "gid_map" => {
            // The group could else be one that takes rights away (CVE-2014-8989).
            let procfs = Procfs::host()?;
            procfs.write(&format!("{pid}/setgroups"), "deny")?;
            procfs.write(&format!("{pid}/{file}"), &crate::mapping::line(one))
        }
        _ => with_helper(pid, if file == "uid_map" { "newuidmap" } else { "newgidmap" }, mappings),
    }
}

/// Where the helpers are. `$PATH` doesn't decide about programs that run with more privileges than the caller's.
const HELPERS: &[&str] = &["/usr/bin", "/bin", "/usr/sbin", "/usr/local/bin"];

fn helper(name: &str) -> Result<PathBuf> {
    for directory in HELPERS {
        let path = Path::new(directory).join(name);
        let Ok(file) = fs::metadata(&path) else { continue };
        let own = rustix::process::geteuid();
        // A helper is the system's: nobody else may have written it, not even who calls it.
        if file.is_file() && file.mode() & 0o022 == 0 && (own.is_root() || file.uid() != own.as_raw()) {
            return Ok(path);
        }
    }
    Err(Error::Unsupported {
        what: format!("mapping more than one's own id without {name}"),
        reason: "it isn't installed: install the package uidmap (Debian) or shadow-utils (Rocky), or map \
                 container id 0 to your own id alone"
            .into(),
    })
}

fn with_helper(pid: i32, name: &str, mappings: &[LinuxIdMapping]) -> Result<()> {
    let path = helper(name)?;
    let mut command = Command::new(&path);
    command.arg(pid.to_string());
    for mapping in mappings {
        for number in [mapping.container_id(), mapping.host_id(), mapping.size()] {
            command.arg(number.to_string());
        }
    }
    let words = || format!("{command:?}").replace('"', "");
    let call = words();
    let output = command.env_clear().stdin(Stdio::null()).output().call(|| call.clone())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).trim().replace('\n', "; ");
    Err(io::Error::other(format!("{said} ({}); see /etc/subuid and /etc/subgid", output.status)))
        .call(|| call)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_of_file_systems_are_mapped() {
        let mut linux = Linux::default();
        let one = oci_spec::runtime::LinuxIdMappingBuilder::default();
        let one = one.container_id(0u32).host_id(1000u32).size(5u32).build().unwrap();
        linux.set_gid_mappings(Some(vec![one]));
        let with = |option: &str| {
            let mut mount = Mount::default();
            mount.set_options(Some(vec!["nosuid".into(), option.into()]));
            check_owner(&mount, &linux)
        };
        with("gid=4").unwrap();
        assert!(with("gid=5").unwrap_err().to_string().contains("nobody is mapped"));
        with("mode=0620").unwrap();
    }
}
