//! What is in `/dev`: the default devices, those of the `Spec`, the usual links and the console.
//!
//! Everything is made relative to the descriptor of a directory that was opened without following links, and
//! exclusively: `mknodat` and `symlinkat` never follow a last component (CVE-2026-41579, CVE-2026-88264).
//! What already has the name is looked at through a descriptor before it is used (CVE-2026-88265).

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxDevice, LinuxDeviceType};
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, OFlags, Uid, makedev};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, OpenTreeFlags};

use super::mounts::attach;
use super::{Kind, Links, Root, nodes};
use crate::error::{Call, Error, Result};
use crate::sys::{self, MountAttr};

/// Name, major and minor number of the devices of every container (OCI runtime-spec, "Default Devices").
const DEFAULT: &[(&str, u32, u32)] =
    &[("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];

/// The links of `/dev` (OCI runtime-spec, "Dev symbolic links").
const LINKS: &[(&CStr, &CStr)] = &[
    (c"/proc/self/fd", c"fd"),
    (c"/proc/self/fd/0", c"stdin"),
    (c"/proc/self/fd/1", c"stdout"),
    (c"/proc/self/fd/2", c"stderr"),
    (c"/proc/kcore", c"core"),
];

/// A device node to be made.
#[derive(Debug)]
pub(crate) struct Device {
    pub(super) path: PathBuf,
    pub(super) kind: FileType,
    pub(super) number: u64,
    pub(super) mode: u32,
    /// User and group in the container.
    pub(super) owner: (u32, u32),
    /// Whether the `Spec` has it, and not only every container.
    listed: bool,
    /// A node as a detached mount, where the container's process can make none (user namespaces): the host's own, or one
    /// that its caller has made.
    pub(super) from_host: Option<OwnedFd>,
}

/// The default devices and those of the `Spec`. Runs in the caller: with `bind`, the host's nodes are opened, unless they
/// can be made with the mappings of `new`, whose user namespace is to be made.
pub(crate) fn prepare(extra: &[LinuxDevice], bind: bool, new: Option<&Linux>) -> Result<Vec<Device>> {
    let mut devices: Vec<Device> = DEFAULT
        .iter()
        .map(|&(name, major, minor)| Device {
            path: Path::new("/dev").join(name),
            kind: FileType::CharacterDevice,
            number: makedev(major, minor),
            mode: 0o666,
            owner: (0, 0),
            listed: false,
            from_host: None,
        })
        .collect();
    for device in extra {
        let device = convert(device)?;
        devices.retain(|known| known.path != device.path);
        devices.push(device);
    }
    let makes = may_make_nodes()?;
    if bind || !makes {
        if let Some(linux) = new.filter(|_| makes) {
            let listed = devices.iter_mut().filter(|d| d.listed && d.kind != FileType::Fifo);
            let mut listed: Vec<_> = listed.collect();
            if !listed.is_empty() {
                // Where that isn't permitted either, it is the host's again.
                nodes::make(&mut listed, linux)?;
            }
        }
        for device in devices.iter_mut().filter(|d| d.kind != FileType::Fifo && d.from_host.is_none()) {
            device.from_host = Some(host_node(device)?);
        }
    }
    Ok(devices)
}

/// A service with `PrivateDevices=` has no `CAP_MKNOD` (systemd.exec(5)).
fn may_make_nodes() -> Result<bool> {
    let own = rustix::thread::capabilities(None).call(|| "capget()".into())?;
    Ok(own.effective.contains(rustix::thread::CapabilitySet::MKNOD))
}

fn convert(device: &LinuxDevice) -> Result<Device> {
    let invalid = |reason: &str| Error::Invalid {
        what: "linux.devices",
        value: device.path().display().to_string(),
        reason: reason.into(),
    };
    let kind = match device.typ() {
        LinuxDeviceType::C | LinuxDeviceType::U => FileType::CharacterDevice,
        LinuxDeviceType::B => FileType::BlockDevice,
        LinuxDeviceType::P => FileType::Fifo,
        LinuxDeviceType::A => return Err(invalid("a device to be made has the type b, c, u or p")),
    };
    if !device.path().is_absolute() {
        return Err(invalid("the path of a device is absolute"));
    }
    if device.uid() == Some(u32::MAX) || device.gid() == Some(u32::MAX) {
        return Err(invalid("an id is a number from 0 to 4294967294"));
    }
    let number = |n: i64| u32::try_from(n).map_err(|_| invalid("device numbers are not negative"));
    Ok(Device {
        path: device.path().clone(),
        kind,
        number: match kind {
            FileType::Fifo => 0,
            _ => makedev(number(device.major())?, number(device.minor())?),
        },
        mode: device.file_mode().unwrap_or(0o666) & 0o7777,
        owner: (device.uid().unwrap_or(0), device.gid().unwrap_or(0)),
        listed: true,
        from_host: None,
    })
}

/// The host's node of the same path, if it is the same device.
fn host_node(device: &Device) -> Result<OwnedFd> {
    let call = || format!("open the host's {}", device.path.display());
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = rustix::mount::open_tree(CWD, &device.path, flags).call(call)?;
    let stat = rustix::fs::fstat(&node).call(call)?;
    if FileType::from_raw_mode(stat.st_mode) != device.kind || stat.st_rdev != device.number {
        return Err(Error::File {
            path: device.path.clone(),
            reason: "the host's file of this name is another device; in a user namespace only the host's own devices can be given".into(),
        });
    }
    let set = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let attributes = MountAttr { set: set.bits().into(), ..MountAttr::default() };
    sys::mount_setattr(node.as_fd(), false, &attributes).call(call)?;
    Ok(node)
}

/// Makes one device. Runs in the container's process, with umask 0.
pub(crate) fn make(root: &Root<'_>, device: &Device) -> Result<()> {
    let call = || format!("mknod({})", device.path.display());
    let (directory, name) = parent(root, &device.path)?;
    if let Some(node) = &device.from_host {
        let place = root.mount_point(&device.path, Kind::File, Links::Refuse)?;
        return attach(node, &place, &device.path);
    }
    let mode = Mode::from_raw_mode(device.mode);
    match rustix::fs::mknodat(&directory, &name, device.kind, mode, device.number) {
        Ok(()) => {}
        Err(Errno::EXIST) => return check_existing(&directory, &name, device),
        // Root in a user namespace, whatever its capabilities, makes no nodes; the host's tree is still there.
        Err(Errno::PERM) => {
            let place = root.mount_point(&device.path, Kind::File, Links::Refuse)?;
            return attach(&host_node(device)?, &place, &device.path);
        }
        Err(e) => return Err(e).call(call),
    }
    if device.owner != (0, 0) {
        let (uid, gid) = device.owner;
        rustix::fs::chownat(
            &directory,
            &name,
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .call(call)?;
    }
    Ok(())
}

fn check_existing(directory: &OwnedFd, name: &CString, device: &Device) -> Result<()> {
    let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .call(|| format!("stat({})", device.path.display()))?;
    if FileType::from_raw_mode(stat.st_mode) == device.kind && stat.st_rdev == device.number {
        return Ok(());
    }
    Err(Error::File {
        path: device.path.clone(),
        reason: "the image has something else of this name where a device must be".into(),
    })
}

/// The directory of `path`, made if missing, and the last component.
fn parent(root: &Root<'_>, path: &Path) -> Result<(OwnedFd, CString)> {
    let name = path.file_name().and_then(|n| CString::new(n.as_bytes()).ok());
    let (Some(name), Some(directory)) = (name, path.parent()) else {
        return Err(Error::Invalid {
            what: "linux.devices",
            value: path.display().to_string(),
            reason: "this is no path of a file".into(),
        });
    };
    let links = match path.starts_with("/dev") {
        true => Links::Refuse,
        false => Links::Follow,
    };
    Ok((root.mount_point(directory, Kind::Directory, links)?, name))
}

/// Makes the links of `/dev`; `ptmx` only where devpts is mounted.
pub(crate) fn link(root: &Root<'_>, devpts: bool) -> Result<()> {
    let dev = root.mount_point(Path::new("/dev"), Kind::Directory, Links::Refuse)?;
    let ptmx: &[(&CStr, &CStr)] = if devpts { &[(c"pts/ptmx", c"ptmx")] } else { &[] };
    for (target, name) in LINKS.iter().chain(ptmx) {
        match rustix::fs::symlinkat(*target, &dev, *name) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(e).call(|| format!("symlink({target:?}, /dev/{})", name.to_string_lossy())),
        }
    }
    Ok(())
}

/// Puts the terminal's slave at `/dev/console`. It comes as a descriptor that ioctl(2) made from the master,
/// never by its name in `/dev/pts`, which the container may have changed (CVE-2025-52565).
pub(crate) fn console(root: &Root<'_>, slave: &OwnedFd) -> Result<()> {
    let path = Path::new("/dev/console");
    let place = root.mount_point(path, Kind::File, Links::Refuse)?;
    let mount = super::mounts::clone_tree(slave, false).call(|| "open_tree(console)".to_owned())?;
    attach(&mount, &place, path)
}

/// Exchanges standard streams that are the host's null device for the container's own: what the container has open
/// is then in its own mounts, where criu(8) finds it again. One that isn't that device is not taken (CVE-2026-88265).
pub(crate) fn take_null(root: &Root<'_>) -> Result<()> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
    let [input, output, errors] = streams.map(|stream| rustix::fs::fstat(stream).is_ok_and(|s| is_null(&s)));
    if !(input || output || errors) {
        return Ok(());
    }
    let Ok(Some(null)) = root.find(Path::new("/dev/null"), OFlags::RDWR | OFlags::NONBLOCK, Links::Refuse)
    else {
        return Ok(());
    };
    if !rustix::fs::fstat(&null).is_ok_and(|s| is_null(&s)) {
        return Ok(());
    }
    let call = || "dup2(/dev/null)".to_owned();
    if input {
        rustix::stdio::dup2_stdin(&null).call(call)?;
    }
    if output {
        rustix::stdio::dup2_stdout(&null).call(call)?;
    }
    if errors {
        rustix::stdio::dup2_stderr(&null).call(call)?;
    }
    Ok(())
}

fn is_null(stat: &rustix::fs::Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == makedev(1, 3)
}

/// The host's `/dev/null`, checked to be that device: what masks files.
pub(crate) fn null() -> Result<OwnedFd> {
    let call = || "open(/dev/null)".to_owned();
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let null = rustix::fs::open(c"/dev/null", flags, Mode::empty()).call(call)?;
    let stat = rustix::fs::fstat(&null).call(call)?;
    if is_null(&stat) {
        return Ok(null);
    }
    Err(Error::File {
        path: "/dev/null".into(),
        reason: "this is not the null device; files can't be masked with it".into(),
    })
}
