//! The mounts of a `Spec`: prepared by the caller as detached mounts, attached by the container's process.
//!
//! What a bind mount shows is opened by the *caller*, in the host's mount namespace and with the host's
//! identity: a missing source is an error before anything was made, and a user namespace changes nothing.
//! New file systems are made by the container's process, because procfs, sysfs, mqueue and cgroup2 show the
//! namespaces of whoever makes them. Either way a mount is complete, with all attributes, before it gets a
//! place: there is no moment when it is writable and shouldn't be (CVE-2026-115521).

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use oci_spec::runtime::Mount;
use rustix::fs::{CWD, FileType, Mode, OFlags, XattrFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::idmap::{Idmap, Mapper};
use super::options::Options;
use super::path::file_type;
use super::{Kind, Links, Root, cgroupfs, copyup, remount};
use crate::error::{Call, Error, Result};
use crate::sys::{self, MountAttr};

/// `PROC_SUPER_MAGIC` of linux/magic.h.
pub(crate) const PROC_MAGIC: i64 = 0x9fa0;

/// Files of procfs that may be covered by a mount: they only inform. A mount over anything else in `/proc`
/// could deceive a program that relies on procfs (CVE-2019-16884, CVE-2023-27561).
const PROC_COVERABLE: &[&str] = &[
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// One mount, checked and as far prepared as the caller can.
#[derive(Debug)]
pub(crate) struct Prepared {
    destination: PathBuf,
    options: Options,
    idmap: Option<Idmap>,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A detached copy of a part of the host's tree.
    Bind { mount: OwnedFd, kind: Kind },
    /// A file system that is to be made.
    New { kind: String, source: String },
    /// The container's control groups, of version 2 if so named, else as the host has them.
    Cgroups { version2: bool },
    /// A symbolic link to be made.
    Link { target: CString },
    /// Another life for the mount that is there.
    Remount,
}

/// What the mounts of a container have in common.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Common<'a> {
    /// `linux.mountLabel`, if SELinux is enabled.
    pub(crate) label: Option<&'a str>,
    /// Propagation of bind mounts that don't ask for one.
    pub(crate) propagation: Option<(u64, bool)>,
    /// Whether the container's users aren't the host's.
    pub(crate) own_users: bool,
    /// Whether the container has a cgroup namespace, a PID namespace, an IPC namespace.
    pub(crate) own_cgroups: bool,
    pub(crate) own_processes: bool,
    pub(crate) own_queues: bool,
    /// The PID namespace that procfs is to show, if it isn't that of the calling process.
    pub(crate) processes: Option<BorrowedFd<'a>>,
}

impl Common<'_> {
    /// Whether the container's users aren't the system's own: it has its own ones, or its caller has already. Asks the
    /// kernel for the latter, so it is for what has been refused.
    pub(crate) fn users_are_others(&self) -> bool {
        self.own_users || crate::rootless::in_user_namespace()
    }
}

/// Checks a mount and opens its source. Runs in the caller.
pub(crate) fn prepare(mount: &Mount, common: Common<'_>, mapper: &Mapper<'_>) -> Result<Prepared> {
    let destination = normal(mount.destination());
    let options = Options::parse(mount.options().as_deref().unwrap_or_default())?;
    let idmap = mapper.find(mount, &options)?;
    let kind = mount.typ().as_deref().filter(|kind| !kind.is_empty()).unwrap_or("none");
    let source = mount.source().as_deref().unwrap_or(Path::new(kind));
    let what = if options.remount {
        What::Remount
    } else if options.bind.is_some() || kind == "bind" {
        bind(source, &destination, &options, common, idmap.as_ref())?
    } else if kind == "cgroup" || kind == "cgroup2" {
        What::Cgroups { version2: kind == "cgroup2" }
    } else {
        What::New { kind: kind.to_owned(), source: source.display().to_string() }
    };
    check_proc(&destination, &what)?;
    Ok(Prepared { destination, options, idmap, what })
}

fn bind(
    source: &Path,
    destination: &Path,
    options: &Options,
    common: Common<'_>,
    idmap: Option<&Idmap>,
) -> Result<What> {
    if let Some((key, _)) = options.data.iter().find(|(_, value)| value.is_none()) {
        return Err(Error::Invalid {
            what: "mounts.options",
            value: key.clone(),
            reason: format!("a bind mount (at {}) has no such option", destination.display()),
        });
    }
    let data = options.data.iter().map(|(key, _)| key.as_str());
    for flag in options.superblock.iter().copied().chain(data) {
        // As with mount(2): a bind mount is one more place of a file system, which stays as it is. Unknown words without
        // a value aren't a file system's, but what was to restrict something, perhaps, and is misspelt.
        log::warn!("the mount option {flag} has no effect on the bind mount at {}", destination.display());
    }
    if options.copy_symlink
        && let Ok(target) = rustix::fs::readlink(source, Vec::new())
    {
        return Ok(What::Link { target });
    }
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if options.bind == Some(true) {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    if options.source_nofollow {
        flags |= OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    }
    let mount = rustix::mount::open_tree(CWD, source, flags)
        .call(|| format!("bind mount {} at {}", source.display(), destination.display()))?;
    let call = || format!("attributes of the bind mount at {}", destination.display());
    let (propagation, recursive) =
        options.propagation.or(common.propagation).unwrap_or((libc::MS_SLAVE, true));
    let mut all = options.recursive;
    let mut one = options.attributes;
    if destination.starts_with("/sys") && one.set & rdonly() != 0 {
        // What is mounted below the host's /sys must not stay writable.
        all.set |= rdonly();
    }
    if recursive { &mut all } else { &mut one }.propagation = propagation;
    for (attributes, recursive) in [(all, true), (one, false)] {
        if attributes != MountAttr::default() {
            sys::mount_setattr(mount.as_fd(), recursive, &attributes).call(call)?;
        }
    }
    if let Some(idmap) = idmap {
        idmap.apply(&mount, destination)?;
    }
    let kind = match file_type(&mount).call(call)? {
        FileType::Directory => Kind::Directory,
        _ => Kind::File,
    };
    Ok(What::Bind { mount, kind })
}

fn rdonly() -> u64 {
    MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into()
}

/// Refuses mounts in `/proc` that could make a fake of it.
fn check_proc(destination: &Path, what: &What) -> Result<()> {
    if !destination.starts_with("/proc") || PROC_COVERABLE.iter().any(|p| destination == Path::new(p)) {
        return Ok(());
    }
    if destination == Path::new("/proc") {
        let real = match what {
            What::New { kind, .. } => kind == "proc",
            What::Bind { mount, .. } => is_procfs(mount.as_fd()),
            What::Remount => true,
            What::Cgroups { .. } | What::Link { .. } => false,
        };
        if real {
            return Ok(());
        }
    }
    Err(Error::Invalid {
        what: "mounts.destination",
        value: destination.display().to_string(),
        reason: "nothing but procfs is mounted in /proc, because programs and this runtime rely on it".into(),
    })
}

fn is_procfs(file: BorrowedFd<'_>) -> bool {
    rustix::fs::fstatfs(file).is_ok_and(|fs| fs.f_type == PROC_MAGIC)
}

/// Resolves `.` and `..` in the text of a destination, which is absolute in the container.
fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::ParentDir => {
                result.pop();
            }
            _ => {}
        }
    }
    result
}

impl Prepared {
    pub(crate) fn destination(&self) -> &Path {
        &self.destination
    }

    /// Whether this is a bind mount: what is in it belongs to someone else.
    pub(crate) fn is_bind(&self) -> bool {
        matches!(self.what, What::Bind { .. })
    }

    /// Whether this becomes the container's root.
    ///
    /// # Errors
    /// Control groups and links don't, nor anything in the root of `others`, who would lose theirs.
    pub(crate) fn is_root(&self, others: bool) -> Result<bool> {
        let refused = |reason: &str| {
            Err(Error::Invalid { what: "mounts.destination", value: "/".into(), reason: reason.to_owned() })
        };
        match self.what {
            _ if self.destination != Path::new("/") => Ok(false),
            What::Remount => Ok(false),
            What::Cgroups { .. } | What::Link { .. } => {
                refused("no program can be executed in that as its root")
            }
            What::Bind { .. } | What::New { .. } if others => {
                refused("without a mount namespace of its own a container's root is \"root\"")
            }
            What::New { .. } if self.options.copy_up => {
                refused("a whole root isn't copied into memory: leave out tmpcopyup, or the mount")
            }
            What::Bind { kind: Kind::File, .. } => refused("this is a file, and the root is a directory"),
            What::Bind { .. } | What::New { .. } => Ok(true),
        }
    }

    /// Whether this makes a file system of the type `name`.
    pub(crate) fn is_new(&self, name: &str) -> bool {
        matches!(&self.what, What::New { kind, .. } if kind == name)
    }

    /// The mount that becomes the root, complete and without a place yet; `old` is the root up to now.
    pub(crate) fn into_root(self, old: &OwnedFd, common: Common<'_>) -> Result<OwnedFd> {
        match self.what {
            What::Bind { mount, .. } => Ok(mount),
            What::New { ref kind, ref source } => self.make(kind, source, Some(old), common),
            What::Cgroups { .. } | What::Link { .. } | What::Remount => Err(Error::Invalid {
                what: "mounts.destination",
                value: "/".into(),
                reason: "this is no root".into(),
            }),
        }
    }

    /// Attaches the mount below `root`. Runs in the container's process. Returns the mount, if there is one by now.
    pub(crate) fn attach(self, root: &Root<'_>, common: Common<'_>) -> Result<Option<OwnedFd>> {
        // Links are for the image's own directories. /proc, /sys and /dev are the runtime's: a link there
        // would move masks, labels and devices elsewhere (CVE-2023-28642, CVE-2026-41579).
        let ours = ["/proc", "/sys", "/dev"].iter().any(|p| self.destination.starts_with(p));
        let pseudo = self.is_new("proc") || self.is_new("sysfs");
        let links = if ours || pseudo { Links::Refuse } else { Links::Follow };
        match self.what {
            What::Bind { mount, kind } => {
                let itself = self.options.destination_nofollow;
                let place = match itself.then(|| root.find_itself(&self.destination, links)).transpose()? {
                    Some(Some(place)) => place,
                    _ => root.mount_point(&self.destination, kind, links)?,
                };
                attach(&mount, &place, &self.destination)?;
                Ok(Some(mount))
            }
            What::Link { ref target } => root.link(&self.destination, target, links).map(|()| None),
            What::Remount => remount::remount(root, &self.destination, links, &self.options).map(|()| None),
            What::Cgroups { version2 } => {
                let place = root.mount_point(&self.destination, Kind::Directory, links)?;
                cgroupfs::mount(&place, &self.destination, version2, &self.options, common).map(|()| None)
            }
            What::New { ref kind, ref source } => {
                let old = root.find_path(&self.destination, links)?;
                let mount = match self.make(kind, source, old.as_ref(), common) {
                    Err(error) if error.errno() == Some(libc::EPERM) && common.users_are_others() => {
                        self.of_host(kind, common)?.ok_or(error)?
                    }
                    mount => mount?,
                };
                let place = match old {
                    Some(place) => place,
                    None => root.mount_point(&self.destination, Kind::Directory, links)?,
                };
                attach(&mount, &place, &self.destination)?;
                Ok(Some(mount))
            }
        }
    }

    /// What shows a namespace that belongs to the host only the host's users can mount. Users of the container's own
    /// get the host's mount instead, as with crun: they have the rights of nobody there.
    /// `None`: the host has none, or this is no such file system.
    fn of_host(&self, kind: &str, common: Common<'_>) -> Result<Option<OwnedFd>> {
        const SYSFS_MAGIC: i64 = 0x6265_6572;
        const MQUEUE_MAGIC: i64 = 0x1980_0202;
        let (path, magic) = match kind {
            "proc" if !common.own_processes => ("/proc", PROC_MAGIC),
            "sysfs" => ("/sys", SYSFS_MAGIC),
            "mqueue" if !common.own_queues => ("/dev/mqueue", MQUEUE_MAGIC),
            _ => return Ok(None),
        };
        let call = || format!("bind mount the host's {path} at {}", self.destination.display());
        // With all that is below: a part of what is the host's can't be uncovered.
        let flags =
            OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let mount = match rustix::mount::open_tree(CWD, path, flags) {
            Err(rustix::io::Errno::NOENT) => return Ok(None),
            mount => mount.call(call)?,
        };
        if rustix::fs::fstatfs(&mount).call(call)?.f_type != magic {
            return Ok(None);
        }
        // Access times are the host's decision, and its devices nobody's to change.
        let times = u64::from(MountAttrFlags::MOUNT_ATTR__ATIME.bits());
        let mut attributes = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
        attributes.set = self.options.attributes.set & !times | if kind == "sysfs" { rdonly() } else { 0 };
        sys::mount_setattr(mount.as_fd(), true, &attributes).call(call)?;
        Ok(Some(mount))
    }

    fn make(&self, kind: &str, source: &str, old: Option<&OwnedFd>, common: Common<'_>) -> Result<OwnedFd> {
        let mut data = self.options.data.clone();
        if let Some(old) = old.filter(|_| kind == "tmpfs" && !data.iter().any(|(key, _)| key == "mode")) {
            // As what it covers, so that a tmpfs at /tmp is 1777 and one at /run 0755.
            let mode = rustix::fs::fstat(old).call(|| format!("stat({})", self.destination.display()))?;
            data.push(("mode".into(), Some(format!("{:o}", mode.st_mode & 0o7777))));
        }
        if let (Some(label), "tmpfs" | "devpts") = (common.label, kind) {
            data.push(("context".into(), Some(label.to_owned())));
        }
        let late = self.options.copy_up;
        let attributes = if late { 0 } else { self.options.attributes.set };
        let superblock = &self.options.superblock;
        let processes = common.processes.filter(|_| kind == "proc");
        let mount =
            new_filesystem(kind, source, &data, superblock, processes, attributes, &self.destination)?;
        // The kernel made this one together with the IPC namespace, and takes no label for it any more.
        if let (Some(label), "mqueue", true) = (common.label, kind, common.own_queues) {
            self.label(&mount, label)?;
        }
        if let Some(idmap) = &self.idmap {
            idmap.apply(&mount, &self.destination)?;
        }
        let call = || format!("attributes of the mount at {}", self.destination.display());
        if late {
            if let Some(old) = old {
                copyup::copy(old.as_fd(), mount.as_fd())
                    .call(|| format!("copy {} into its tmpfs", self.destination.display()))?;
            }
            sys::mount_setattr(mount.as_fd(), false, &self.options.attributes).call(call)?;
        }
        let mut rest = self.options.recursive;
        if let Some((propagation, _)) = self.options.propagation.filter(|(p, _)| *p != libc::MS_PRIVATE) {
            rest.propagation = propagation;
        }
        if rest != MountAttr::default() {
            sys::mount_setattr(mount.as_fd(), false, &rest).call(call)?;
        }
        Ok(mount)
    }

    /// Gives the root of a mount a SELinux label.
    fn label(&self, mount: &OwnedFd, label: &str) -> Result<()> {
        let call = || format!("setxattr({}, security.selinux, {label})", self.destination.display());
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(mount, c".", flags, Mode::empty()).call(call)?;
        match rustix::fs::fsetxattr(&root, c"security.selinux", label.as_bytes(), XattrFlags::empty()) {
            // The policy decides by the type of the file system, and by nothing else.
            Err(rustix::io::Errno::OPNOTSUPP) => Ok(()),
            result => result.call(call),
        }
    }
}

/// The option of procfs that says which PID namespace it shows (since 6.18).
const PIDNS: &std::ffi::CStr = c"pidns";

/// Whether procfs can be made for a PID namespace that the calling process isn't in.
pub(crate) fn shows_others(namespace: BorrowedFd<'_>) -> bool {
    let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC);
    context.and_then(|context| rustix::mount::fsconfig_set_fd(&context, PIDNS, namespace)).is_ok()
}

/// Makes a file system as a detached mount.
pub(crate) fn filesystem(
    kind: &str,
    source: &str,
    data: &[(String, Option<String>)],
    attributes: u64,
    destination: &Path,
) -> Result<OwnedFd> {
    new_filesystem(kind, source, data, &[], None, attributes, destination)
}

fn new_filesystem(
    kind: &str,
    source: &str,
    data: &[(String, Option<String>)],
    superblock: &[&str],
    processes: Option<BorrowedFd<'_>>,
    attributes: u64,
    destination: &Path,
) -> Result<OwnedFd> {
    let call = || format!("mount {kind} at {}", destination.display());
    let context = rustix::mount::fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).call(call)?;
    let explain = |e: rustix::io::Errno, step: &str| Error::Call {
        call: match messages(&context) {
            words if words.is_empty() => format!("{}{step}", call()),
            words => format!("{}{step} ({words})", call()),
        },
        source: e.into(),
    };
    rustix::mount::fsconfig_set_string(&context, c"source", source).map_err(|e| explain(e, ", source"))?;
    for (key, value) in data {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str()),
        }
        .map_err(|e| explain(e, &format!(", option {key:?}")))?;
    }
    if let Some(namespace) = processes {
        rustix::mount::fsconfig_set_fd(&context, PIDNS, namespace).map_err(|e| explain(e, ", pidns"))?;
    }
    set_superblock(&context, superblock).map_err(|(e, flag)| explain(e, &format!(", option {flag:?}")))?;
    rustix::mount::fsconfig_create(&context).map_err(|e| explain(e, ""))?;
    rustix::mount::fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::from_bits_retain(attributes as u32),
    )
    .map_err(|e| explain(e, ""))
}

/// Sets flags of a file system that is made or changed; which one is refused, if any.
pub(super) fn set_superblock<'f>(
    context: &OwnedFd,
    flags: &[&'f str],
) -> Result<(), (rustix::io::Errno, &'f str)> {
    for flag in flags {
        match rustix::mount::fsconfig_set_flag(context, *flag) {
            // To mount(2) a number: who keeps no versions of inodes doesn't look at it. Here it is a word, which only
            // those know that do.
            Err(rustix::io::Errno::INVAL) if *flag == "iversion" => {
                messages(context);
            }
            result => result.map_err(|e| (e, *flag))?,
        }
    }
    Ok(())
}

/// What the kernel has to say about a file system context, joined to one line (fsopen(2), "message retrieval").
pub(crate) fn messages(context: &OwnedFd) -> String {
    let mut all = Vec::new();
    let mut buffer = [0u8; 512];
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        // In front of each stands how bad it is: "e ", "w " or "i ".
        let text = text.trim();
        let text = ["e ", "w ", "i "].iter().find_map(|level| text.strip_prefix(level)).unwrap_or(text);
        all.push(match text.contains("too revealing") {
            true => format!("{text}: parts of it are covered outside of the container"),
            false => text.to_owned(),
        });
    }
    all.join("; ")
}

/// Attaches a detached mount at a place.
pub(crate) fn attach(mount: &OwnedFd, place: &OwnedFd, destination: &Path) -> Result<()> {
    rustix::mount::move_mount(
        mount,
        c"",
        place,
        c"",
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH,
    )
    .call(|| format!("move_mount({})", destination.display()))
}

/// A detached copy of the mount behind `file`, from that file on.
pub(crate) fn clone_tree(file: &OwnedFd, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(file, CString::default(), flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(kind: &str) -> What {
        What::New { kind: kind.into(), source: kind.into() }
    }

    #[test]
    fn proc_is_not_covered() {
        check_proc(Path::new("/proc"), &new("proc")).unwrap();
        check_proc(Path::new("/proc/cpuinfo"), &new("tmpfs")).unwrap();
        check_proc(Path::new("/process"), &new("tmpfs")).unwrap();
        for path in ["/proc/self/attr", "/proc/sys", "/proc/sysrq-trigger", "/proc"] {
            assert!(check_proc(Path::new(path), &new("tmpfs")).is_err(), "{path}");
        }
    }

    #[test]
    fn destinations_are_normal() {
        assert_eq!(normal(Path::new("a/../b/./c")), Path::new("/b/c"));
        assert_eq!(normal(Path::new("/../proc//x/..")), Path::new("/proc"));
    }
}
