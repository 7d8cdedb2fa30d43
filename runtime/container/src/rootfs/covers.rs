//! What is mounted over the root itself. A process that has it as its root doesn't see such a mount at `/`, but `/..`
//! leads onto the topmost one.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, StatxFlags};
use rustix::mount::{UnmountFlags, unmount};

use crate::error::{Call, Error, Result};

/// How many mounts may lie over the host's root: nobody has more than a few.
const MOST: usize = 1000;

/// The mount that a path leads to (`STATX_MNT_ID`); with an empty one, that of the descriptor.
fn mount_of(directory: &OwnedFd, path: &Path) -> Result<u64> {
    let stat = rustix::fs::statx(directory, path, AtFlags::EMPTY_PATH, StatxFlags::MNT_ID);
    stat.map(|stat| stat.stx_mnt_id).call(|| format!("statx({}, STATX_MNT_ID)", path.display()))
}

/// Refuses a mount over the root, which stands at `place`. A hook may have made it, and the container, whose root is
/// below, would be without it.
pub(crate) fn refuse(root: &OwnedFd, place: &Path) -> Result<()> {
    // No path of a process leads onto what covers its own root but this.
    let place = if place == Path::new("/") { Path::new("/..") } else { place };
    if mount_of(root, place)? == mount_of(root, Path::new(""))? {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: format!("a mount over the container's root directory {}, by a hook", place.display()),
        reason: "the container has its root already: a hook can mount below it; a mount over / is one of \
                 config.json's mounts"
            .into(),
    })
}

/// Detaches the old root, which pivot_root(2) has put over the new one, and all that was mounted over either.
///
/// umount(2) takes the topmost one. Where something covered the old root, on the host or by a hook in the container's
/// mount namespace, that is not the old root: the host's files would stay in reach, at `/..`.
pub(crate) fn detach(root: &OwnedFd) -> Result<()> {
    unmount(c".", UnmountFlags::DETACH).call(|| "umount(old root)".into())?;
    let own = mount_of(root, Path::new(""))?;
    for _ in 0..MOST {
        if mount_of(root, Path::new("/.."))? == own {
            return Ok(());
        }
        unmount(c"/..", UnmountFlags::DETACH).call(|| "umount(old root, below what covered it)".into())?;
    }
    Err(Error::Setup(format!("more than {MOST} mounts cover the host's root directory: unmount them")))
}
