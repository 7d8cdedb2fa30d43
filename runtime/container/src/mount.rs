//! Root file systems as values: detached mounts, made with the new mount API and named by a descriptor only.
//!
//! A detached mount is in no mount namespace until someone attaches it; the container's process does that in its
//! own. On the host nothing is ever mounted, so nothing can be left over.

mod compat;
mod mapped;
pub(crate) mod private;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, Spec};
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

pub use crate::rootfs::borrowed::{borrowed, take_down};

use crate::error::{Call, Error, Result};
use crate::rootfs::mounts::messages;
use crate::rootfs::options;
use crate::rootless::Rootfs;
use crate::sys::{self, MountAttr};

/// What an overlay is made of.
#[derive(Clone, Copy, Debug)]
pub struct Layers<'a> {
    /// The read-only layers, topmost first.
    pub lower: &'a [PathBuf],
    /// The writable layer.
    pub upper: &'a Path,
    /// An empty directory on the file system of `upper`, for the kernel's use.
    pub work: &'a Path,
    /// No sync, for layers that are thrown away.
    pub volatile: bool,
}

/// An overlay of layers.
///
/// # Errors
/// The kernel's own words about what it refuses, with the layer.
pub fn overlay(layers: &Layers<'_>) -> Result<OwnedFd> {
    check(layers)?;
    match attempt(layers) {
        Err(error) if error.errno() == Some(libc::EINVAL) => {
            // An unknown parameter or an unusable layer: the old interface tells them apart.
            compat::overlay_before_6_5(layers).map_err(|_| error)
        }
        result => result,
    }
}

/// An overlay whose files belong to the users of a user namespace with the mappings of `linux`: what is user 0 in the
/// layers is the namespace's user 0. The layers themselves stay as they are. Linux 5.19.
///
/// # Errors
/// As [`overlay`]; [`Error::Unsupported`] where a file system or the kernel can't map.
pub fn overlay_mapped(layers: &Layers<'_>, linux: &Linux) -> Result<OwnedFd> {
    check(layers)?;
    mapped::overlay(layers, linux)
}

fn check(layers: &Layers<'_>) -> Result<()> {
    if layers.lower.is_empty() {
        return Err(Error::Invalid {
            what: "lowerdir",
            value: "[]".into(),
            reason: "an overlay needs at least one layer".into(),
        });
    }
    Ok(())
}

fn attempt(layers: &Layers<'_>) -> Result<OwnedFd> {
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).call(|| "fsopen(overlay)".into())?;
    let explain = |e: Errno, step: String| Error::Call {
        call: match messages(&context) {
            words if words.is_empty() => format!("mount overlay, {step}"),
            words => format!("mount overlay, {step} ({words})"),
        },
        source: e.into(),
    };
    for layer in layers.lower {
        fsconfig_set_string(&context, c"lowerdir+", layer.as_path())
            .map_err(|e| explain(e, format!("lowerdir+={}", layer.display())))?;
    }
    for (key, path) in [(c"upperdir", layers.upper), (c"workdir", layers.work)] {
        fsconfig_set_string(&context, key, path)
            .map_err(|e| explain(e, format!("{}={}", key.to_string_lossy(), path.display())))?;
    }
    if layers.volatile {
        fsconfig_set_flag(&context, c"volatile").map_err(|e| explain(e, "volatile".into()))?;
    }
    let all = || format!("upperdir={}, workdir={}", layers.upper.display(), layers.work.display());
    fsconfig_create(&context).map_err(|e| explain(e, all()))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(|e| explain(e, all()))
}

/// The directory `dir` as a root file system: a mount of its own as by [`bind`], or, where this process isn't
/// privileged over its mounts, to be made one by the container's process. With a `linux.rootfsPropagation` of slave or
/// rslave, what the host mounts there later arrives.
pub fn root(dir: &Path, spec: &Spec) -> Result<Rootfs> {
    let name = spec.linux().as_ref().and_then(|l| l.rootfs_propagation().as_deref());
    match clone(dir, name.and_then(options::propagation)) {
        Err(error) if error.errno() == Some(libc::EPERM) => Ok(Rootfs::Directory(dir.to_owned())),
        result => result.map(Rootfs::Mount),
    }
}

/// The directory `dir` with everything mounted below it, as a mount of its own (`Rootfs=`), cut off from the
/// host's: what is mounted there later, on either side, stays on its side.
pub fn bind(dir: &Path) -> Result<OwnedFd> {
    clone(dir, None)
}

/// A copy of the mounts at `dir`; of what `wanted` may say, only that they are slaves matters already.
pub(crate) fn clone(dir: &Path, wanted: Option<(u64, bool)>) -> Result<OwnedFd> {
    let call = || format!("bind mount {}", dir.display());
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = open_tree(CWD, dir, flags).call(call)?;
    let stat = rustix::fs::fstat(&mount).call(call)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return Err(Errno::NOTDIR).call(call);
    }
    let slave = wanted.filter(|(propagation, _)| *propagation == libc::MS_SLAVE);
    let propagation = slave.map_or(libc::MS_PRIVATE, |(slave, _)| slave);
    let attributes = MountAttr { propagation, ..MountAttr::default() };
    sys::mount_setattr(mount.as_fd(), true, &attributes).call(call)?;
    Ok(mount)
}
