//! Control groups in a container (cgroups(7)).
//!
//! With a cgroup namespace a mount shows the container's own group and what is below. Without one it would show the
//! host's whole tree; instead the container's group of the host's mount is bound, and read-only if the container's
//! users are its own: where they own a group above, they could write to it (CVE-2023-25809).
//!
//! A mount of type `cgroup` is what the host has: version 2, or, where controllers are bound to version 1, a directory
//! of one mount for each hierarchy, as runc makes it.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags};

use super::mounts::{Common, attach, filesystem};
use super::options::Options;
use crate::error::{Call, Error, Result};
use crate::sys::{self, MountAttr};

/// Where the host has its groups.
const HOST: &str = "/sys/fs/cgroup";

/// `CGROUP2_SUPER_MAGIC` of linux/magic.h.
const CGROUP2_MAGIC: i64 = 0x6367_7270;

/// One hierarchy: a line of `/proc/self/cgroup`.
#[derive(Debug, PartialEq, Eq)]
struct Hierarchy {
    /// The controllers of version 1, or `name=…`; empty in version 2.
    controllers: Vec<String>,
    /// The group of the process, from the root of the hierarchy on.
    path: PathBuf,
}

/// Mounts the groups at `place`.
pub(super) fn mount(
    place: &OwnedFd,
    destination: &Path,
    version2: bool,
    options: &Options,
    common: Common<'_>,
) -> Result<()> {
    let unified = version2 || rustix::fs::statfs(HOST).is_ok_and(|fs| fs.f_type == CGROUP2_MAGIC);
    let hierarchies = match unified && common.own_cgroups {
        // Nothing needs to be known about the process then.
        true => vec![Hierarchy { controllers: Vec::new(), path: "/".into() }],
        false => own()?,
    };
    let second = hierarchies.iter().find(|h| h.controllers.is_empty());
    match second.filter(|_| unified || hierarchies.len() == 1) {
        Some(hierarchy) => attach(&one(hierarchy, destination, options, common)?, place, destination),
        None if unified => Err(none(destination, "version 2")),
        None => all(&hierarchies, place, destination, options, common),
    }
}

/// Where the process is.
fn own() -> Result<Vec<Hierarchy>> {
    let text = fs::read_to_string("/proc/self/cgroup").call(|| "read(/proc/self/cgroup)".into())?;
    Ok(parse(&text))
}

fn none(destination: &Path, name: &str) -> Error {
    Error::Unsupported {
        what: format!("the control groups at {}", destination.display()),
        reason: format!("the host has no mount of {name}"),
    }
}

fn parse(text: &str) -> Vec<Hierarchy> {
    let line = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let controllers = controllers.split(',').filter(|c| !c.is_empty()).map(str::to_owned).collect();
        Some(Hierarchy { controllers, path: path.into() })
    };
    text.lines().filter_map(line).collect()
}

impl Hierarchy {
    /// The name of its directory, as systemd and runc have it.
    fn name(&self) -> String {
        match self.controllers.as_slice() {
            [] => "unified".to_owned(),
            [one] => one.strip_prefix("name=").unwrap_or(one).to_owned(),
            several => several.join(","),
        }
    }

    /// The type of its file system, and what chooses the hierarchy.
    fn filesystem(&self) -> (&'static str, Vec<(String, Option<String>)>) {
        if self.controllers.is_empty() {
            return ("cgroup2", Vec::new());
        }
        let option = |word: &String| match word.split_once('=') {
            // A hierarchy without controllers, such as systemd's, has a name.
            Some((key, value)) => vec![("none".into(), None), (key.into(), Some(value.into()))],
            None => vec![(word.clone(), None)],
        };
        ("cgroup", self.controllers.iter().flat_map(option).collect())
    }
}

/// One hierarchy as a detached mount.
fn one(hierarchy: &Hierarchy, destination: &Path, options: &Options, common: Common<'_>) -> Result<OwnedFd> {
    if !common.own_cgroups {
        return bind(hierarchy, destination, options, common);
    }
    let (kind, mut data) = hierarchy.filesystem();
    data.extend(options.data.iter().cloned());
    match filesystem(kind, "cgroup", &data, options.attributes.set, destination) {
        // A user namespace that isn't the one of the cgroup namespace has no power over it.
        Err(error) if error.errno() == Some(libc::EPERM) && common.users_are_others() => {
            let same = |other: &Hierarchy| other.controllers == hierarchy.controllers;
            match own()?.into_iter().find(same) {
                Some(own) => bind(&own, destination, options, common),
                None => Err(error),
            }
        }
        mount => mount,
    }
}

/// The container's own group, of the host's mount of its hierarchy.
fn bind(hierarchy: &Hierarchy, destination: &Path, options: &Options, common: Common<'_>) -> Result<OwnedFd> {
    let mountinfo =
        fs::read_to_string("/proc/self/mountinfo").call(|| "read(/proc/self/mountinfo)".into())?;
    let source = source(&mountinfo, hierarchy).ok_or_else(|| none(destination, &hierarchy.name()))?;
    let call = || format!("bind mount {} at {}", source.display(), destination.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = rustix::mount::open_tree(CWD, &source, flags).call(call)?;
    let mut attributes = MountAttr { set: options.attributes.set, ..MountAttr::default() };
    attributes.set &= !u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
    if common.users_are_others() {
        attributes.set |= u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    }
    attributes.propagation = libc::MS_PRIVATE;
    sys::mount_setattr(mount.as_fd(), false, &attributes).call(call)?;
    Ok(mount)
}

/// Where the host's mount of a hierarchy shows the container's group: below the part of the tree that it shows.
fn source(mountinfo: &str, hierarchy: &Hierarchy) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let fits = match hierarchy.controllers.is_empty() {
            true => kind == "cgroup2",
            false => {
                kind == "cgroup" && hierarchy.controllers.iter().all(|c| options.split(',').any(|o| o == c))
            }
        };
        let rest = hierarchy.path.strip_prefix(root).ok().filter(|_| fits)?;
        Some(Path::new(point).join(rest))
    })
}

/// The layout of version 1: a small file system with a directory for each hierarchy, and links from the single names
/// of controllers that are mounted together.
fn all(
    hierarchies: &[Hierarchy],
    place: &OwnedFd,
    destination: &Path,
    options: &Options,
    common: Common<'_>,
) -> Result<()> {
    let call = || format!("control groups at {}", destination.display());
    let secure = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let data = [("mode".to_owned(), Some("755".to_owned()))];
    let top = filesystem("tmpfs", "tmpfs", &data, secure.bits().into(), destination)?;
    attach(&top, place, destination)?;
    for hierarchy in hierarchies {
        let name = hierarchy.name();
        let group = match one(hierarchy, destination, options, common) {
            // The host has the hierarchy, but nowhere mounted: nobody there uses it either.
            Err(Error::Unsupported { .. }) => continue,
            group => group?,
        };
        rustix::fs::mkdirat(&top, &name, Mode::from_raw_mode(0o755)).call(call)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&top, &name, flags, Mode::empty()).call(call)?;
        attach(&group, &directory, &destination.join(&name))?;
        for single in hierarchy.controllers.iter().filter(|_| hierarchy.controllers.len() > 1) {
            match rustix::fs::symlinkat(name.as_str(), &top, single.as_str()) {
                Err(Errno::EXIST) | Ok(()) => {}
                Err(error) => return Err(error).call(call),
            }
        }
    }
    // Nothing more is made in there; what is mounted there has its own attributes.
    let rdonly = u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    let attributes = MountAttr { set: options.attributes.set & rdonly, ..MountAttr::default() };
    sys::mount_setattr(top.as_fd(), false, &attributes).call(call)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CGROUP: &str = "13:name=systemd:/a/b\n4:cpu,cpuacct:/a\n0::/user.slice/x\n";

    #[test]
    fn hierarchies_have_names_and_options() {
        let all = parse(CGROUP);
        let names: Vec<_> = all.iter().map(Hierarchy::name).collect();
        assert_eq!(names, ["systemd", "cpu,cpuacct", "unified"]);
        let (kind, data) = all[0].filesystem();
        assert_eq!(kind, "cgroup");
        assert_eq!(data, [("none".to_owned(), None), ("name".to_owned(), Some("systemd".to_owned()))]);
        assert_eq!(all[2].filesystem(), ("cgroup2", vec![]));
    }

    #[test]
    fn the_own_group_is_found_below_what_is_mounted() {
        let mountinfo = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                         37 31 0:30 /a /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n\
                         41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";
        let found: Vec<_> = parse(CGROUP).iter().map(|h| source(mountinfo, h).unwrap()).collect();
        let wanted = ["systemd/b", "cpu,cpuacct/a", "unified/user.slice/x"];
        assert_eq!(found, wanted.map(|path| Path::new(HOST).join(path)));
        assert_eq!(source("", &parse(CGROUP)[0]), None);
    }
}
