//! Layers whose owners are shifted into a user namespace (mount_setattr(2), "ID-mapped mounts").
//!
//! overlayfs can't be mapped itself; its layers can, from 5.19 on. Only from 6.13 on does it take them as descriptors,
//! so they are mounted over themselves in a private mount namespace, where their paths lead to the mapped mounts.
//!
//! The writable layer is not mapped: the mounter, user 0 of the host, has no place in the mapping and could not make
//! the files that overlayfs needs there. It belongs to the namespace's user 0 as it is, and so do files made in it.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping};
use rustix::fs::CWD;
use rustix::mount::{MoveMountFlags, OpenTreeFlags, move_mount, open_tree};

use super::private::Private;
use super::{Layers, any_way};
use crate::error::{Call, Error, Result};
use crate::mapping::Mappings;
use crate::sys::{self, MountAttr};

/// See [`super::overlay_mapped`].
pub(super) fn overlay(layers: &Layers<'_>, linux: &Linux) -> Result<OwnedFd> {
    let namespace = Mappings::of(linux).namespace()?;
    own(layers.upper, linux)?;
    let private = Private::enter()?;
    let mounted = cover_all(layers, &namespace).and_then(|()| any_way(layers));
    private.leave()?;
    mounted
}

/// Gives the writable layer to the namespace's user and group 0.
fn own(upper: &Path, linux: &Linux) -> Result<()> {
    let host = |mappings: &Option<Vec<LinuxIdMapping>>| {
        let zero = mappings.iter().flatten().find(|mapping| mapping.container_id() == 0);
        zero.map(LinuxIdMapping::host_id)
    };
    std::os::unix::fs::chown(upper, host(linux.uid_mappings()), host(linux.gid_mappings()))
        .call(|| format!("chown({})", upper.display()))
}

fn cover_all(layers: &Layers<'_>, namespace: &OwnedFd) -> Result<()> {
    for layer in layers.lower {
        cover(layer, namespace)?;
    }
    Ok(())
}

/// Mounts a directory over itself, with mapped owners.
fn cover(directory: &Path, namespace: &OwnedFd) -> Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    let mount = open_tree(CWD, directory, flags).call(|| format!("open_tree({})", directory.display()))?;
    map(&mount, namespace, directory)?;
    move_mount(mount.as_fd(), "", CWD, directory, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
        .call(|| format!("move_mount({})", directory.display()))
}

fn map(mount: &OwnedFd, namespace: &OwnedFd, directory: &Path) -> Result<()> {
    use std::os::fd::AsRawFd;
    let attributes = MountAttr {
        set: libc::MOUNT_ATTR_IDMAP,
        userns: namespace.as_raw_fd() as u64,
        ..MountAttr::default()
    };
    sys::mount_setattr(mount.as_fd(), false, &attributes).map_err(|error| match error.raw_os_error() {
        Some(libc::EINVAL | libc::EOPNOTSUPP) => Error::Unsupported {
            what: format!("mapping the owners of files in {}", directory.display()),
            reason: "the kernel or this file system has no ID-mapped mounts: use UserNS=host, or put the images on \
                     ext4, xfs or btrfs"
                .into(),
        },
        _ => Error::Call { call: format!("mount_setattr({}, MOUNT_ATTR_IDMAP)", directory.display()), source: error },
    })
}
