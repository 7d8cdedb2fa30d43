//! Cgroups (version 2), where nobody else makes them.
//!
//! Under systemd a container of `sampan run` lives in its unit's own cgroup and its limits are systemd's directives:
//! nothing of this module is used then but [`of`]. `sampan-runtime`, which has no unit, makes cgroups itself: a
//! directory below the mount of cgroup2, its limits written before anything runs in it, its first process born in it
//! (`CLONE_INTO_CGROUP`; writing `cgroup.procs` would cost milliseconds). Or it has systemd make a scope for it, and
//! writes the same limits to the files of that one ([`Cgroup::adopt`]).
//!
//! From `linux.resources` to files and values: `limits`. Making controllers available and writing: `apply`. The
//! processes of a cgroup: `processes`, and of those below it: `descent`. What they use: [`stats`].
//!
//! What can't be honoured is refused with the reason: a controller that the kernel has bound to version 1 or that
//! a parent keeps to itself gives no limit, and a container without the limit that was asked for is worse than none.
//! Where nothing is asked, none is needed.

mod apply;
mod descent;
mod devices;
mod limits;
mod processes;
pub mod stats;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use oci_spec::runtime::LinuxResources;
use rustix::fs::{Access, Mode, OFlags, ResolveFlags};

use crate::error::{Call, Error, Result};
use crate::rootfs::procfs::Procfs;

pub(crate) use devices::length as device_program;
pub use limits::{Limit, limits};

/// Where cgroups go that have no path of their own in the `Spec`.
const DEFAULT_PARENT: &str = "sampan";

/// A cgroup that belongs to one container.
#[derive(Clone, Debug)]
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

/// The mount point of cgroup2, if there is one.
fn mount_point() -> Option<PathBuf> {
    // Where everybody mounts it, alone or beside version 1. Asking is much cheaper than reading all mounts.
    for path in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
        const CGROUP2_SUPER_MAGIC: u32 = 0x6367_7270;
        if rustix::fs::statfs(path).is_ok_and(|s| s.f_type as u32 == CGROUP2_SUPER_MAGIC) {
            return Some(path.into());
        }
    }
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let found = text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then(|| point.to_owned())
    });
    found.map(PathBuf::from)
}

/// A path relative to the mount, without `..` (which would lead to someone else's cgroup).
fn relative(path: &Path) -> Result<PathBuf> {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Invalid {
                    what: "linux.cgroupsPath",
                    value: path.display().to_string(),
                    reason: "it can't contain ..".into(),
                });
            }
        }
    }
    Ok(result)
}

/// Opens the cgroup that the process `pid` is in *now*, for [`crate::process::Exec::cgroup`]: a container may have
/// moved its processes into cgroups below its own, whose parent then takes none. `None`: there is no cgroup2.
pub fn of(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(mount) = mount_point() else {
        return Ok(None);
    };
    let text = Procfs::host()?.read(&format!("{pid}/cgroup"))?;
    match text.lines().find_map(shown) {
        Some(own) => open(&mount.join(own)).map(Some),
        None => Ok(None),
    }
}

/// The directory of this process's cgroup. `None`: it has none, or none that the mount of cgroup2 shows.
pub(crate) fn own_path() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = text.lines().find_map(shown)?;
    mount_point().map(|mount| mount.join(own))
}

/// The path of a line of `/proc/<pid>/cgroup` that is version 2's, if it is below the root of this process's cgroup
/// namespace, which is what the mount shows.
fn shown(line: &str) -> Option<&str> {
    line.strip_prefix("0::/").filter(|path| path.split('/').all(|part| part != ".."))
}

/// Where a user without root's privileges may make cgroups: in their own, if it was delegated to them.
fn delegated(mount: &Path) -> PathBuf {
    let own = own_path().filter(|path| rustix::fs::access(path, Access::WRITE_OK).is_ok());
    let below = own.and_then(|path| path.strip_prefix(mount).map(Path::to_owned).ok());
    below.unwrap_or_else(|| DEFAULT_PARENT.into())
}

fn open(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty()).call(|| format!("open({})", directory.display()))
}

/// Whether `linux.resources` keep the container from devices: without a cgroup nothing does but that it can't make them.
///
/// # Errors
/// A rule that is none.
pub fn restricts_devices(resources: &LinuxResources) -> Result<bool> {
    devices::restrict(resources.devices().as_deref().unwrap_or_default())
}

/// Refuses resources that limit something, where no cgroup was made for them. Rules for devices are dispensable only
/// if the container can't make devices (`makes_devices`: it has `CAP_MKNOD` over the host): then it has those alone
/// that the runtime has made for it.
pub(crate) fn refuse_limits(resources: &LinuxResources, makes_devices: bool) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::Unsupported {
            what,
            reason: "the container has no cgroup of its own that it could be set for".into(),
        })
    };
    if let Some(limit) = limits::of_new(resources)?.first() {
        return refuse(format!("the limit {}={}", limit.file, limit.value));
    }
    if makes_devices && restricts_devices(resources)? {
        return refuse("restricting devices (linux.resources.devices) with CAP_MKNOD".into());
    }
    Ok(())
}

impl Cgroup {
    /// Makes the cgroup `path` (below the mount of cgroup2; if none, one named after `id`) with these limits.
    /// `None`: cgroups can't be made here, and no limit was asked for.
    ///
    /// # Errors
    /// A limit that can't be set; a cgroup that exists and has processes.
    pub fn create(path: Option<&Path>, id: &str, resources: Option<&LinuxResources>) -> Result<Option<Self>> {
        let limits = resources.map(limits::of_new).transpose()?.unwrap_or_default();
        let Some(mount) = mount_point() else {
            return none_possible(&limits, "there is no mount of cgroup2");
        };
        let path = match path.filter(|p| !p.as_os_str().is_empty()) {
            Some(path) => relative(path)?,
            None if rustix::process::geteuid().is_root() => Path::new(DEFAULT_PARENT).join(id),
            None => delegated(&mount).join(format!("sampan-{id}")),
        };
        let cgroup = Cgroup { mount, path };
        // Once more if it failed: the end of another container may have taken our common parent away meanwhile.
        let fresh = match cgroup.make_directories().or_else(|_| cgroup.make_directories()) {
            Ok(fresh) => fresh,
            Err(error) => return none_possible(&limits, &error.to_string()),
        };
        if !fresh {
            cgroup.refuse_populated()?;
        }
        // What an old one of this name has kept has to be set back.
        let limits = match (fresh, resources) {
            (false, Some(resources)) => limits::limits(resources)?,
            _ => limits,
        };
        let result = cgroup.apply(&limits, resources, fresh);
        if result.is_err() && fresh {
            cgroup.remove(Duration::ZERO)?;
        }
        result.map(|()| Some(cgroup))
    }

    /// Takes on a cgroup that systemd has made for the container, by its path below the mount of cgroup2, and sets
    /// these limits, also those that systemd knows: it may not be done with them, and can't do all of them.
    ///
    /// # Errors
    /// As [`Cgroup::create`].
    pub fn adopt(path: &Path, resources: Option<&LinuxResources>) -> Result<Self> {
        let cgroup = Self::existing(path)?;
        let limits = resources.map(limits::of_new).transpose()?.unwrap_or_default();
        cgroup.apply(&limits, resources, true)?;
        Ok(cgroup)
    }

    /// A cgroup made earlier, by its path below the mount of cgroup2.
    pub fn existing(path: &Path) -> Result<Self> {
        let mount = mount_point().ok_or_else(|| Error::Unsupported {
            what: format!("finding the cgroup {}", path.display()),
            reason: "there is no mount of cgroup2".into(),
        })?;
        Ok(Cgroup { mount, path: relative(path)? })
    }

    /// The path below the mount of cgroup2.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory, from the root of the host's file system.
    pub fn directory(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    /// The directory as a descriptor, to be born into.
    pub fn open(&self) -> Result<OwnedFd> {
        open(&self.directory())
    }

    /// Opens a cgroup below this one, which the container may have made and named: nothing leads out of here.
    pub fn open_below(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let path = relative(path)?;
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { &path };
        rustix::fs::openat2(self.open()?, path, flags, Mode::empty(), resolve)
            .call(|| format!("open({})", self.directory().join(path).display()))
    }

    /// Makes the directories. `false`: the last one was there already.
    fn make_directories(&self) -> io::Result<bool> {
        let directory = self.directory();
        let failed =
            |e: io::Error, path: &Path| io::Error::new(e.kind(), format!("mkdir({}): {e}", path.display()));
        match fs::create_dir(&directory) {
            Ok(()) => return Ok(true),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(false),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(failed(e, &directory)),
        }
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(|e| failed(e, parent))?;
        }
        match fs::create_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(false),
            result => result.map(|()| true).map_err(|e| failed(e, &directory)),
        }
    }

    fn refuse_populated(&self) -> Result<()> {
        let events = self.read("cgroup.events").unwrap_or_default();
        let is = |line| events.lines().any(|l| l == line);
        if is("populated 1") || is("frozen 1") {
            return Err(Error::Invalid {
                what: "linux.cgroupsPath",
                value: self.path.display().to_string(),
                reason:
                    "there are processes in this cgroup, or it is frozen; a container needs one of its own"
                        .into(),
            });
        }
        Ok(())
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.directory().join(file);
        fs::read_to_string(&path).call(|| format!("read({})", path.display()))
    }

    /// Gives the cgroup to a user of the host, as the OCI runtime specification says ("Cgroup ownership"): its
    /// directory and the files that move processes and make cgroups below it, and not those that limit it.
    pub fn delegate(&self, uid: u32) -> Result<()> {
        let listed = fs::read_to_string("/sys/kernel/cgroup/delegate")
            .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".into());
        let directory = self.open()?;
        let owner = Some(rustix::process::Uid::from_raw(uid));
        for file in std::iter::once(".").chain(listed.lines()) {
            // NOTE: each name is a file of this directory, as the kernel has listed them.
            match rustix::fs::chownat(
                directory.as_fd(),
                file,
                owner,
                None,
                rustix::fs::AtFlags::SYMLINK_NOFOLLOW,
            ) {
                Err(rustix::io::Errno::NOENT) => {}
                result => result.call(|| format!("chown({}/{file}, {uid})", self.directory().display()))?,
            }
        }
        Ok(())
    }
}

fn none_possible(limits: &[Limit], reason: &str) -> Result<Option<Cgroup>> {
    match limits.first() {
        None => Ok(None),
        Some(limit) => Err(Error::Unsupported {
            what: format!("the limit {}={}", limit.file, limit.value),
            reason: reason.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_mount() {
        assert_eq!(relative(Path::new("/a/./b")).unwrap(), Path::new("a/b"));
        assert!(relative(Path::new("/a/../../b")).is_err());
    }

    #[test]
    fn paths_outside_of_the_namespace_are_not_shown() {
        assert_eq!(shown("0::/a/b"), Some("a/b"));
        assert_eq!(shown("0::/"), Some(""));
        for other in ["0::/..", "0::/../a", "4:cpu:/a"] {
            assert_eq!(shown(other), None, "{other}");
        }
    }

    #[test]
    fn this_process_has_a_cgroup_if_there_are_any() {
        let found = of(std::process::id() as i32).unwrap();
        assert!(found.is_some() || mount_point().is_none());
    }

    #[test]
    fn without_a_cgroup_only_what_limits_nothing_passes() {
        let refuses =
            |json: &str, makes: bool| refuse_limits(&serde_json::from_str(json).unwrap(), makes).is_err();
        assert!(!refuses(r#"{"cpu":{"shares":1024},"pids":{"limit":-1}}"#, true));
        assert!(refuses(r#"{"pids":{"limit":5}}"#, false));
        let rules = r#"{"devices":[{"allow":false,"access":"rwm"}]}"#;
        assert!(refuses(rules, true) && !refuses(rules, false));
        // Allowing everything restricts nobody.
        assert!(!refuses(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#, true));
    }
}
