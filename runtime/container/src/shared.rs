//! Namespaces that several containers are in together, and that no process holds.
//!
//! A process of ours is born in new namespaces and ends at once. What keeps them is a mount of each over an empty
//! file (namespaces(7), "Namespace lifetime"), `ns/net`, `ns/ipc`, `ns/uts` and `ns/user` in a directory of the
//! caller's choice; beside them, `shm`, a file system in memory for `/dev/shm`. Containers join by these paths.
//!
//! The mounts must stand where every later start looks, in the mount namespace of the host's first process: that of
//! a service may be its own (`PrivateTmp=`), and what is mounted there nobody else sees and the service's end undoes.

use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespaceType as Kind};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::channel::{self, Channel, Word};
use crate::error::{Call, Error, Result};
use crate::mapping::Mappings;
use crate::namespaces::flag;
use crate::rootfs::procfs::{self, Procfs};
use crate::sys::{self, Side};

/// The kinds that can be shared so, in the order in which a process joins them.
pub const KINDS: [Kind; 4] = [Kind::User, Kind::Network, Kind::Ipc, Kind::Uts];

const SHM: &str = "shm";

/// What to make.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Kinds of namespaces, of [`KINDS`].
    pub kinds: &'a [Kind],
    /// The mappings of the user namespace, which owns the others; read if [`Wanted::kinds`] has it.
    pub mappings: Option<&'a Linux>,
    /// The host name to set; only with a uts namespace.
    pub hostname: Option<&'a str>,
}

/// Namespaces that live as long as this value, or the mounts of [`Namespaces::keep`].
#[derive(Debug)]
pub struct Namespaces(Vec<(Kind, OwnedFd)>);

/// Where a namespace of this kind is kept below a directory; `None` for a kind that isn't shared.
pub fn path(directory: &Path, kind: Kind) -> Option<PathBuf> {
    name(kind).map(|name| directory.join("ns").join(name))
}

/// The name of a kind in `/proc/<pid>/ns` and in our directories.
fn name(kind: Kind) -> Option<&'static str> {
    match kind {
        Kind::User => Some("user"),
        Kind::Network => Some("net"),
        Kind::Ipc => Some("ipc"),
        Kind::Uts => Some("uts"),
        _ => None,
    }
}

/// Where the memory of `/dev/shm` is kept below a directory.
pub fn shm(directory: &Path) -> PathBuf {
    directory.join(SHM)
}

impl Namespaces {
    /// Makes new namespaces. The calling process must have one thread, as for [`crate::create`].
    ///
    /// # Errors
    /// clone3(2)'s; a mapping that the kernel refuses.
    pub fn new(wanted: Wanted<'_>) -> Result<Self> {
        let flags = wanted.kinds.iter().fold(0, |flags, kind| flags | flag(*kind));
        let (ours, theirs) = channel::pair().call(|| "socketpair()".into())?;
        let side = sys::clone3(flags, libc::SIGCHLD, None).call(|| format!("clone3({flags:#x})"))?;
        let Side::Parent { pid, pidfd } = side else {
            drop(ours);
            hold(wanted.hostname, &theirs)
        };
        drop(theirs);
        let made = Self::open(pid, wanted, &ours);
        // End of file lets it end, whatever has happened.
        drop(ours);
        sys::wait_exit(pidfd.as_fd()).call(|| format!("waitid({pid})"))?;
        made
    }

    fn open(pid: i32, wanted: Wanted<'_>, channel: &Channel) -> Result<Self> {
        if wanted.kinds.contains(&Kind::User) {
            wanted.mappings.map(Mappings::of).unwrap_or_default().write(pid)?;
        }
        match channel.hear().call(|| "hear from the process in the new namespaces".into())? {
            Some(Word::Ready) => {}
            Some(Word::Failed(_, reason)) => return Err(Error::Setup(reason)),
            _ => return Err(Error::Died("in new namespaces".into())),
        }
        let open = |kind: &Kind| {
            let name = name(*kind).ok_or_else(|| Error::Unsupported {
                what: format!("sharing a {kind} namespace"),
                reason: "user, network, ipc and uts namespaces can be shared".into(),
            })?;
            Ok((*kind, Procfs::host()?.namespace(pid, name)?))
        };
        Ok(Self(wanted.kinds.iter().map(open).collect::<Result<_>>()?))
    }

    /// Adds a namespace that someone else has made.
    pub fn add(&mut self, kind: Kind, namespace: OwnedFd) {
        self.0.push((kind, namespace));
    }

    /// One of them.
    pub fn get(&self, kind: Kind) -> Option<&OwnedFd> {
        self.0.iter().find(|(own, _)| *own == kind).map(|(_, file)| file)
    }

    /// Keeps them below `directory`, with a `/dev/shm` of `shm` bytes if asked for, until [`let_go`].
    ///
    /// # Errors
    /// mount(2)'s; what was mounted stays for [`let_go`].
    pub fn keep(&self, directory: &Path, shm_size: Option<u64>) -> Result<()> {
        let make = |path: &Path| fs::create_dir_all(path).call(|| format!("mkdir({})", path.display()));
        make(&directory.join("ns"))?;
        for (kind, _) in &self.0 {
            if let Some(path) = path(directory, *kind) {
                File::create(&path).call(|| format!("creat({})", path.display()))?;
            }
        }
        if shm_size.is_some() {
            make(&shm(directory))?;
        }
        on_host(directory, || {
            for (kind, file) in &self.0 {
                let Some(path) = path(directory, *kind) else { continue };
                rustix::mount::mount_bind(format!("/proc/self/fd/{}", file.as_raw_fd()), &path)
                    .call(|| format!("mount({kind} namespace, {}, MS_BIND)", path.display()))?;
            }
            let Some(size) = shm_size else { return Ok(()) };
            let options = std::ffi::CString::new(format!("mode=1777,size={size}"));
            let options = options.map_err(std::io::Error::other).call(|| "mount options".into())?;
            let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
            rustix::mount::mount(c"shm", shm(directory), c"tmpfs", flags, Some(options.as_c_str()))
                .call(|| format!("mount(tmpfs, {})", shm(directory).display()))
        })
    }
}

/// The way of the process in the new namespaces.
fn hold(hostname: Option<&str>, channel: &Channel) -> ! {
    let named = hostname.map_or(Ok(()), |name| {
        rustix::system::sethostname(name.as_bytes()).call(|| format!("sethostname({name:?})"))
    });
    let word = match named {
        Ok(()) => Word::Ready,
        Err(error) => Word::Failed(error.exit_status(), error.to_string()),
    };
    if channel.say(&word).is_ok() {
        // Until the caller has opened the namespaces, or is gone.
        let _ = channel.wait();
    }
    sys::exit(0)
}

/// Undoes [`Namespaces::keep`]: the namespaces end with the last process in them. It is no error if nothing is kept.
///
/// # Errors
/// umount(2)'s.
pub fn let_go(directory: &Path) -> Result<()> {
    let kept = || KINDS.iter().filter_map(|kind| path(directory, *kind)).chain([shm(directory)]);
    on_host(directory, || kept().try_for_each(|path| unmount(&path)))?;
    // In a mount namespace that hears nothing of the host's the copies are still there.
    kept().try_for_each(|path| unmount(&path))
}

/// Takes every mount off a path: whoever was killed in between may have been there before.
fn unmount(path: &Path) -> Result<()> {
    loop {
        match rustix::mount::unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW) {
            Ok(()) => {}
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error).call(|| format!("umount({}, MNT_DETACH)", path.display())),
        }
    }
}

/// Does something in the mount namespace of the first process, if `directory` is the same one there; else, in a
/// world of mounts of our own, right here.
fn on_host<T>(directory: &Path, action: impl FnOnce() -> Result<T>) -> Result<T> {
    let open = |path: &Path| File::open(path).call(|| format!("open({})", path.display()));
    let procfs = Procfs::host()?;
    let (home, host) = (procfs.namespace(procfs::own_pid(), "mnt")?, procfs.namespace(1, "mnt")?);
    let identity = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
    let number = |file: &OwnedFd| rustix::fs::fstat(file).ok().map(|stat| stat.st_ino);
    if number(&home) == number(&host) {
        return action();
    }
    let (root, working, here) = (open(Path::new("/"))?, open(Path::new("."))?, identity(directory));
    let enter = |namespace: &OwnedFd| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
            .call(|| "setns(mnt)".into())
    };
    let go_home = || {
        enter(&home)?;
        // setns(2) has put root and directory to the namespace's own.
        rustix::process::fchdir(&root).call(|| "fchdir(/)".into())?;
        rustix::process::chroot(c".").call(|| "chroot(.)".into())?;
        rustix::process::fchdir(&working).call(|| "fchdir(.)".into())
    };
    enter(&host)?;
    if here.is_none() || identity(directory) != here {
        go_home()?;
        return action();
    }
    let result = action();
    go_home()?;
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_some_kinds_are_shared() {
        assert_eq!(path(Path::new("/p"), Kind::Network), Some("/p/ns/net".into()));
        assert_eq!(path(Path::new("/p"), Kind::Mount), None);
        assert_eq!(shm(Path::new("/p")), Path::new("/p/shm"));
    }
}
