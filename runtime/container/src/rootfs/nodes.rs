//! Device nodes for a user namespace, which has no right to make any: made by the caller on a file system in memory that
//! nobody else sees, each as a detached mount that the container's process attaches by its descriptor.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping};
use rustix::fs::{AtFlags, CWD, Gid, Mode, Uid};
use rustix::io::Errno;
use rustix::mount::{MountAttrFlags, MoveMountFlags, OpenTreeFlags};

use super::devices::Device;
use super::{mounts, procfs};
use crate::error::{Call, Error, Result};
use crate::mapping::Mappings;
use crate::mount::private::Private;

/// Makes the nodes of `devices` with their modes, and with the owners that the mappings of `linux` make of theirs.
/// `false`: the caller may not make nodes either, because it is in a user namespace itself.
pub(super) fn make(devices: &mut [&mut Device], linux: &Linux) -> Result<bool> {
    let mappings = Mappings::of(linux);
    let label = linux.mount_label().as_deref().filter(|l| !l.is_empty() && procfs::selinux_enabled());
    let mut options = vec![("mode".to_owned(), Some("0700".to_owned()))];
    options.extend(label.map(|label| ("context".to_owned(), Some(label.to_owned()))));
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    let place = Path::new("a place for devices");
    let folder = mounts::filesystem("tmpfs", "devices", &options, attributes.bits().into(), place)?;
    for (index, device) in devices.iter().enumerate() {
        if !one(&folder, &index.to_string(), device, &mappings)? {
            return Ok(false);
        }
    }
    // Before Linux 6.15 a part of a mount can be copied only where it is mounted.
    let private = Private::enter()?;
    let copied = rustix::mount::move_mount(&folder, c"", CWD, c"/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call(|| "move_mount(devices)".into())
        .and_then(|()| devices.iter_mut().enumerate().try_for_each(|(index, d)| take(&folder, index, d)));
    private.leave()?;
    copied.map(|()| true)
}

/// Makes one. Mode and owner afterwards: there is a umask, and a node has its maker's ids.
fn one(folder: &OwnedFd, name: &str, device: &Device, mappings: &Mappings) -> Result<bool> {
    let call = || format!("mknod({})", device.path.display());
    let (uid, gid) = device.owner;
    let (Some(uid), Some(gid)) = (host(uid, &mappings.users), host(gid, &mappings.groups)) else {
        return Err(Error::Invalid {
            what: "linux.devices",
            value: device.path.display().to_string(),
            reason: format!("nobody is mapped to its owner {uid}:{gid} in the container's user namespace"),
        });
    };
    let mode = Mode::from_raw_mode(device.mode);
    match rustix::fs::mknodat(folder, name, device.kind, mode, device.number) {
        Err(Errno::PERM) => return Ok(false),
        made => made.call(call)?,
    }
    rustix::fs::chmodat(folder, name, mode, AtFlags::empty()).call(call)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    rustix::fs::chownat(folder, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW).call(call)?;
    Ok(true)
}

fn take(folder: &OwnedFd, index: usize, device: &mut Device) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE
        | OpenTreeFlags::OPEN_TREE_CLOEXEC
        | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    let node = rustix::mount::open_tree(folder.as_fd(), index.to_string(), flags);
    device.from_host = Some(node.call(|| format!("open_tree({})", device.path.display()))?);
    Ok(())
}

/// What an id of the container is on the host.
fn host(id: u32, mappings: &[LinuxIdMapping]) -> Option<u32> {
    mappings.iter().find_map(|mapping| {
        let offset = id.checked_sub(mapping.container_id()).filter(|&offset| offset < mapping.size())?;
        mapping.host_id().checked_add(offset)
    })
}
