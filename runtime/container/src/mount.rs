//! Root file systems as values: detached mounts, made with the new mount API and named by a descriptor only.
//!
//! A detached mount is in no mount namespace until someone attaches it; the container's process does that in its
//! own. On the host nothing is ever mounted, so nothing can be left over.

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, open_tree,
};

use crate::error::{Call, Error, Result};
use crate::rootfs::mounts::messages;
use crate::sys::{self, MountAttr};

/// An overlay of `lower` (topmost layer first) below `upper`, which with `work` must be on one file system.
/// `volatile`: no sync, for layers that are thrown away.
///
/// # Errors
/// The kernel's own words about what it refuses, with the layer.
pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<OwnedFd> {
    if lower.is_empty() {
        return Err(Error::Invalid {
            what: "lowerdir",
            value: "[]".into(),
            reason: "an overlay needs at least one layer".into(),
        });
    }
    let context = fsopen(c"overlay", FsOpenFlags::FSOPEN_CLOEXEC).call(|| "fsopen(overlay)".into())?;
    let explain = |e: Errno, step: String| Error::Call {
        call: match messages(&context) {
            words if words.is_empty() => format!("mount overlay, {step}"),
            words => format!("mount overlay, {step} ({words})"),
        },
        source: e.into(),
    };
    for layer in lower {
        match fsconfig_set_string(&context, c"lowerdir+", layer.as_path()) {
            Err(Errno::INVAL) if layer == &lower[0] => {
                // Unknown parameter or unusable layer: the old interface tells them apart.
                compat::lowerdir_before_6_5(&context, lower)
                    .map_err(|e| explain(e, format!("lowerdir={}", layer.display())))?;
                break;
            }
            result => result.map_err(|e| explain(e, format!("lowerdir+={}", layer.display())))?,
        }
    }
    for (key, path) in [(c"upperdir", upper), (c"workdir", work)] {
        fsconfig_set_string(&context, key, path)
            .map_err(|e| explain(e, format!("{}={}", key.to_string_lossy(), path.display())))?;
    }
    if volatile {
        fsconfig_set_flag(&context, c"volatile").map_err(|e| explain(e, "volatile".into()))?;
    }
    let all = || format!("upperdir={}, workdir={}", upper.display(), work.display());
    fsconfig_create(&context).map_err(|e| explain(e, all()))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty()).map_err(|e| explain(e, all()))
}

/// The directory `dir` with everything mounted below it, as a mount of its own (`Rootfs=`), cut off from the
/// host's: what is mounted there later, on either side, stays on its side.
pub fn bind(dir: &Path) -> Result<OwnedFd> {
    let call = || format!("bind mount {}", dir.display());
    let flags =
        OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let mount = open_tree(CWD, dir, flags).call(call)?;
    let stat = rustix::fs::fstat(&mount).call(call)?;
    if rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Directory {
        return Err(Errno::NOTDIR).call(call);
    }
    let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    sys::mount_setattr(mount.as_fd(), true, &private).call(call)?;
    Ok(mount)
}

/// Concessions to older kernels.
mod compat {
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    /// Before 6.5 all layers stand in one string, separated by colons; a backslash escapes colon and backslash.
    /// The string of fsconfig(2) ends at 256 bytes including the zero byte, so that is how far this goes.
    pub(super) fn lowerdir_before_6_5(context: &OwnedFd, lower: &[PathBuf]) -> Result<(), Errno> {
        fsconfig_set_string(context, c"lowerdir", joined(lower).as_slice())
    }

    pub(super) fn joined(lower: &[PathBuf]) -> Vec<u8> {
        let mut text = Vec::new();
        for (index, layer) in lower.iter().enumerate() {
            if index > 0 {
                text.push(b':');
            }
            for &byte in layer.as_os_str().as_bytes() {
                if matches!(byte, b':' | b'\\') {
                    text.push(b'\\');
                }
                text.push(byte);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_in_names_are_escaped() {
        let layers = [PathBuf::from("/a:b"), PathBuf::from("/c\\d")];
        assert_eq!(compat::joined(&layers), br"/a\:b:/c\\d");
    }
}
