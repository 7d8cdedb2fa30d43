//! The root of a container whose mount namespace isn't its own: the host's, or a joined one.
//!
//! Such a root is a mount among the others there, over its own directory, and the container's process is locked
//! into it with chroot(2). It is made private as soon as it stands there, so that nothing that is mounted in it
//! reaches anyone else; how the namespace's other mounts propagate is not for a container to change. Nobody's end
//! takes it away: whoever deletes the container must ([`take_down`]).

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxAttributes, StatxFlags};
use rustix::mount::{UnmountFlags, unmount};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::mounts;
use super::procfs::{self, Procfs};
use crate::error::{Call, Result};
use crate::rootless::Rootfs;
use crate::sys::{self, MountAttr};

/// Mounts the root over the directory `place`.
pub(crate) fn attach(root: &OwnedFd, place: &Path) -> Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(place, flags, Mode::empty())
        .call(|| format!("open({}) in the container's mount namespace", place.display()))?;
    mounts::attach(root, &directory, place)?;
    // Below a shared mount it has become shared itself.
    let private = MountAttr { propagation: libc::MS_PRIVATE, ..MountAttr::default() };
    sys::mount_setattr(root.as_fd(), true, &private).call(|| format!("make {} private", place.display()))
}

/// `STATX_MNT_ID_UNIQUE` of linux/stat.h.
const UNIQUE: StatxFlags = StatxFlags::from_bits_retain(0x4000);

/// Which mount this is: a number that no other mount gets before the system starts anew; before Linux 6.8 the one in
/// front of its line of proc_pid_mountinfo(5), which others get once it is gone. And whether the file is its root.
fn number(mount: &OwnedFd) -> Result<(u64, bool)> {
    let statx = |flags| {
        let stat = rustix::fs::statx(mount, c"", AtFlags::EMPTY_PATH, flags);
        stat.call(|| "statx(root, STATX_MNT_ID)".into())
    };
    let mut stat = statx(UNIQUE)?;
    if stat.stx_mask & UNIQUE.bits() == 0 {
        stat = statx(StatxFlags::MNT_ID)?;
    }
    Ok((stat.stx_mnt_id, stat.stx_attributes.contains(StatxAttributes::MOUNT_ROOT)))
}

/// The mount that becomes the container's root, if that will stand in a mount namespace that isn't its own: to be
/// written down before there is a container, for [`take_down`].
///
/// # Errors
/// statx(2)'s.
pub fn borrowed(root: &Rootfs, spec: &Spec) -> Result<Option<u64>> {
    let mut namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref()).into_iter().flatten();
    let own = namespaces.any(|n| n.typ() == LinuxNamespaceType::Mount) && namespace(spec).is_none();
    match root {
        Rootfs::Mount(mount) if !own => Ok(Some(number(mount)?.0)),
        _ => Ok(None),
    }
}

/// Takes down the root of a container that is deleted, with all that is mounted in it. `mount` is what
/// [`borrowed`] said: another mount at the same place stays. The caller must have one thread.
///
/// # Errors
/// setns(2)'s and umount(2)'s. It is no error if the mount or its namespace is gone.
pub fn take_down(spec: &Spec, rootfs: &Path, mount: u64) -> Result<()> {
    Borrowed { place: rootfs.to_owned(), namespace: namespace(spec), mount }.take_down()
}

/// The mount namespace that is joined; none: the caller's.
fn namespace(spec: &Spec) -> Option<PathBuf> {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref()).into_iter().flatten();
    let mut mounts = namespaces.filter(|n| n.typ() == LinuxNamespaceType::Mount);
    mounts.find_map(|n| n.path().clone()).filter(|path| !path.as_os_str().is_empty())
}

/// A root that stands, or will stand, among the mounts of others.
#[derive(Debug)]
pub(crate) struct Borrowed {
    place: PathBuf,
    namespace: Option<PathBuf>,
    pub(crate) mount: u64,
}

impl Borrowed {
    pub(crate) fn new(spec: &Spec, place: &Path, root: &OwnedFd) -> Result<Self> {
        Ok(Borrowed { place: place.to_owned(), namespace: namespace(spec), mount: number(root)?.0 })
    }

    pub(crate) fn take_down(&self) -> Result<()> {
        let open = |path: &Path| rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let Some(path) = &self.namespace else {
            return unmount_if(&self.place, self.mount);
        };
        let Ok(namespace) = open(path) else {
            return Ok(());
        };
        let enter = |namespace: &OwnedFd| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
                .call(|| format!("setns({})", path.display()))
        };
        let call = || "open(this process's root and directory)".to_owned();
        let home = Procfs::host()?.namespace(procfs::own_pid(), "mnt")?;
        let (root, directory) = (open(Path::new("/")).call(call)?, open(Path::new(".")).call(call)?);
        enter(&namespace)?;
        let result = unmount_if(&self.place, self.mount);
        enter(&home)?;
        // setns(2) has put root and directory to the namespace's own.
        rustix::process::fchdir(&root).call(|| "fchdir(/)".into())?;
        rustix::process::chroot(c".").call(|| "chroot(.)".into())?;
        rustix::process::fchdir(&directory).call(|| "fchdir(.)".into())?;
        result
    }
}

fn unmount_if(rootfs: &Path, mount: u64) -> Result<()> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    let Ok(place) = rustix::fs::openat(CWD, rootfs, flags, Mode::empty()) else {
        return Ok(());
    };
    if number(&place)? != (mount, true) {
        return Ok(());
    }
    // What was looked at, and no path that could lead elsewhere by now: the namespace may be a container's.
    let call = || format!("umount({}, MNT_DETACH)", rootfs.display());
    let before = rustix::fs::openat(CWD, c".", flags, Mode::empty()).call(call)?;
    rustix::process::fchdir(&place).call(call)?;
    let result = unmount(c".", UnmountFlags::DETACH).call(call);
    rustix::process::fchdir(&before).call(call)?;
    result
}
