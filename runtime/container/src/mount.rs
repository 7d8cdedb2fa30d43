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
    /// No sync, for layers that are thrown away. Where the kernel can't, there is sync.
    pub volatile: bool,
    /// What SELinux calls every file seen through the overlay; the files themselves keep their labels.
    pub context: Option<&'a str>,
}

/// An overlay of layers.
///
/// # Errors
/// The kernel's own words about what it refuses, with the layer.
pub fn overlay(layers: &Layers<'_>) -> Result<OwnedFd> {
    check(layers)?;
    any_way(layers)
}

/// By the new interface, else by the old one, else with sync.
fn any_way(layers: &Layers<'_>) -> Result<OwnedFd> {
    match attempt(layers) {
        Err(error) if error.errno() == Some(libc::EINVAL) => {
            // An unknown parameter or an unusable layer: the old interface tells them apart.
            let older = compat::overlay_before_6_5(layers);
            let synced = Layers { volatile: false, ..*layers };
            older.or_else(|_| if layers.volatile { any_way(&synced) } else { Err(error) })
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
    if let Some(label) = layers.context {
        fsconfig_set_string(&context, c"context", label)
            .map_err(|e| explain(e, format!("context={label}")))?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::BorrowedFd;

    /// As many layers as an image may have, each with a file of its own and one that hides that of the layer below.
    fn stack(place: &Path, count: usize) -> Vec<PathBuf> {
        let layers = place.join("layers");
        let lower: Vec<PathBuf> = (0..count).map(|n| layers.join(format!("{n:026}"))).rev().collect();
        for (index, layer) in lower.iter().enumerate() {
            std::fs::create_dir_all(layer).unwrap();
            std::fs::write(layer.join("top"), index.to_string()).unwrap();
            std::fs::write(layer.join(index.to_string()), "").unwrap();
        }
        for name in ["upper", "work"] {
            std::fs::create_dir(place.join(name)).unwrap();
        }
        lower
    }

    fn read(mount: BorrowedFd<'_>, name: &str) -> String {
        let file = rustix::fs::openat(mount, name, rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty());
        std::io::read_to_string(std::fs::File::from(file.unwrap())).unwrap()
    }

    /// tmpfs takes the attributes that overlayfs needs, wherever the tests run.
    fn place() -> Option<tempfile::TempDir> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: mounting an overlay needs root");
            return None;
        }
        Some(tempfile::tempdir_in("/dev/shm").unwrap())
    }

    /// In a thread of its own: the old interface changes the thread's directory and mount namespace.
    fn in_thread(make: impl FnOnce() -> Result<OwnedFd> + Send + 'static) -> Result<OwnedFd> {
        std::thread::spawn(make).join().unwrap()
    }

    #[test]
    fn an_image_of_128_layers_is_mounted_both_ways() {
        for way in [attempt as fn(&Layers<'_>) -> Result<OwnedFd>, compat::overlay_before_6_5] {
            let Some(place) = place() else { return };
            let lower = stack(place.path(), 128);
            let (upper, work) = (place.path().join("upper"), place.path().join("work"));
            let mount = in_thread(move || {
                way(&Layers { lower: &lower, upper: &upper, work: &work, volatile: true, context: None })
            });
            let mount = mount.unwrap();
            assert_eq!(read(mount.as_fd(), "top"), "0");
            for index in [0, 64, 127] {
                assert_eq!(read(mount.as_fd(), &index.to_string()), "");
            }
        }
    }

    #[test]
    fn the_new_interface_takes_more_than_fits_into_a_page() {
        let Some(place) = place() else { return };
        let lower = stack(place.path(), 300);
        let (upper, work) = (place.path().join("upper"), place.path().join("work"));
        let layers = Layers { lower: &lower, upper: &upper, work: &work, volatile: false, context: None };
        match overlay(&layers) {
            Ok(mount) => assert_eq!(read(mount.as_fd(), "299"), ""),
            Err(Error::Unsupported { reason, .. }) => eprintln!("SKIP: before Linux 6.5: {reason}"),
            Err(error) => panic!("{error}"),
        }
    }

    /// What a volatile overlay leaves keeps the kernel from mounting there again, volatile or not.
    #[test]
    fn the_rest_of_a_volatile_overlay_is_refused_in_words() {
        let Some(place) = place() else { return };
        let lower = stack(place.path(), 1);
        let (upper, work) = (place.path().join("upper"), place.path().join("work"));
        let mounted = in_thread({
            let (lower, upper, work) = (lower.clone(), upper.clone(), work.clone());
            move || {
                overlay(&Layers { lower: &lower, upper: &upper, work: &work, volatile: true, context: None })
            }
        });
        drop(mounted.unwrap());
        let again = in_thread(move || {
            overlay(&Layers { lower: &lower, upper: &upper, work: &work, volatile: true, context: None })
        });
        let message = again.unwrap_err().to_string();
        assert!(message.contains("mount overlay"), "{message}");
    }
}
