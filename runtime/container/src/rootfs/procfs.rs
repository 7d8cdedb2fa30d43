//! A procfs that nobody else can touch, for reading and writing what must really be procfs.
//!
//! The `/proc` of a container may have a volume mounted over any of its files, and a write of a label or of a
//! sysctl would then go to a file of the attacker's choice (CVE-2019-16884, CVE-2019-19921, CVE-2025-52881),
//! for example to another procfs file such as `sysrq-trigger`. A new, detached mount has no name, so nothing
//! can be mounted on it; `RESOLVE_NO_XDEV` and `RESOLVE_NO_SYMLINKS` keep every access inside of it.
//!
//! The caller uses the host's own `/proc` ([`Procfs::host`]), after it has shown that it is one: somebody may have
//! mounted something over it, or over a file of it, too.

use std::ffi::CStr;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use super::mounts::PROC_MAGIC;
use crate::error::{Call, Error, Result};

/// Inode of the root of every procfs (`PROC_ROOT_INO` of the kernel): a part of one mounted elsewhere has another.
const PROC_ROOT: u64 = 1;

/// `NSFS_MAGIC` of linux/magic.h.
const NSFS_MAGIC: i64 = 0x6e73_6673;

/// Every access stays in this mount: nothing mounted over a file is entered, no link is followed.
const INSIDE: ResolveFlags = ResolveFlags::BENEATH
    .union(ResolveFlags::NO_SYMLINKS)
    .union(ResolveFlags::NO_MAGICLINKS)
    .union(ResolveFlags::NO_XDEV);

/// A detached mount of procfs for the PID namespace of the caller.
#[derive(Debug)]
pub(crate) struct Procfs {
    mount: OwnedFd,
}

impl Procfs {
    pub(crate) fn new() -> Result<Self> {
        let call = || "mount private procfs".to_owned();
        let context = rustix::mount::fsopen(c"proc", FsOpenFlags::FSOPEN_CLOEXEC).call(call)?;
        match rustix::mount::fsconfig_create(&context) {
            // Root in a user namespace that the caller's PID namespace doesn't belong to.
            Err(rustix::io::Errno::PERM) => return Self::host(),
            result => result.call(call)?,
        }
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).call(call)?;
        Ok(Procfs { mount })
    }

    /// The `/proc` of the calling process, which must be a whole procfs of its own PID namespace: in another's, a
    /// number would be another process (CVE-2025-52881, and libpathrs on why the magic number isn't enough).
    pub(crate) fn host() -> Result<Self> {
        let call = || "open(/proc)".to_owned();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mount = rustix::fs::openat(CWD, c"/proc", flags, Mode::empty()).call(call)?;
        let procfs = rustix::fs::fstatfs(&mount).call(call)?.f_type == PROC_MAGIC;
        let whole = rustix::fs::fstat(&mount).call(call)?.st_ino == PROC_ROOT;
        let own = own_pid().to_string();
        let ours = || {
            rustix::fs::readlinkat(&mount, c"self", Vec::new()).is_ok_and(|l| l.to_bytes() == own.as_bytes())
        };
        if procfs && whole && ours() {
            return Ok(Procfs { mount });
        }
        Err(Error::File {
            path: "/proc".into(),
            reason: "this isn't the procfs of this process's PID namespace: what is mounted there can't be trusted"
                .into(),
        })
    }

    /// Opens a file of procfs for writing. `path` is relative, for example `sys/net/ipv4/ip_forward`.
    pub(crate) fn open_to_write(&self, path: &Path) -> Result<OwnedFd> {
        self.open(path, OFlags::WRONLY)
    }

    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        rustix::fs::openat2(&self.mount, path, flags, Mode::empty(), INSIDE)
            .call(|| format!("open(/proc/{})", path.display()))
    }

    /// Writes a file of procfs, such as `17/uid_map`, by one write(2).
    pub(crate) fn write(&self, path: &str, text: &str) -> Result<()> {
        let file = self.open_to_write(Path::new(path))?;
        let call = || format!("write(/proc/{path}, {text:?})");
        match rustix::io::write(&file, text.as_bytes()).call(call)? {
            written if written == text.len() => Ok(()),
            _ => Err(io::Error::from(io::ErrorKind::WriteZero)).call(call),
        }
    }

    /// Reads a file of procfs. A process chooses its own name, which needn't be text: what isn't is replaced.
    pub(crate) fn read(&self, path: &str) -> Result<String> {
        let file = match self.open(Path::new(path), OFlags::RDONLY) {
            // A service's `RestrictSUIDSGID=` forbids openat2(2), as if the kernel didn't know it (systemd.exec(5)).
            Err(error) if error.errno() == Some(libc::ENOSYS) => self.open_without_openat2(path)?,
            file => file?,
        };
        let mut file = std::fs::File::from(file);
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).call(|| format!("read(/proc/{path})"))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// For reading only: what is mounted over a file is found out afterwards, and a link on the way is not.
    fn open_without_openat2(&self, path: &str) -> Result<OwnedFd> {
        let call = || format!("open(/proc/{path})");
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.mount, path, flags, Mode::empty()).call(call)?;
        if rustix::fs::fstatfs(&file).call(call)?.f_type == PROC_MAGIC {
            return Ok(file);
        }
        Err(Error::File { path: format!("/proc/{path}").into(), reason: "this is no file of procfs".into() })
    }

    /// Opens a namespace of a process by the name that it has in `/proc/<pid>/ns`, and proves that it is one.
    pub(crate) fn namespace(&self, pid: i32, name: &str) -> Result<OwnedFd> {
        let call = || format!("open(/proc/{pid}/ns/{name})");
        let directory = self.open(Path::new(&format!("{pid}/ns")), OFlags::PATH | OFlags::DIRECTORY)?;
        // The one link of procfs that is followed: it leads to the namespace itself.
        let file = rustix::fs::openat(&directory, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(call)?;
        if rustix::fs::fstatfs(&file).call(call)?.f_type == NSFS_MAGIC {
            return Ok(file);
        }
        Err(Error::File {
            path: format!("/proc/{pid}/ns/{name}").into(),
            reason: "this is no namespace".into(),
        })
    }

    /// Opens the root directory of a process.
    pub(crate) fn root(&self, pid: i32) -> Result<OwnedFd> {
        let directory = self.open(Path::new(&pid.to_string()), OFlags::PATH | OFlags::DIRECTORY)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        rustix::fs::openat(&directory, c"root", flags, Mode::empty())
            .call(|| format!("open(/proc/{pid}/root)"))
    }

    /// Opens the executable of the calling process.
    pub(crate) fn own_executable(&self) -> Result<OwnedFd> {
        let directory = self.open(Path::new(&own_pid().to_string()), OFlags::PATH | OFlags::DIRECTORY)?;
        rustix::fs::openat(&directory, c"exe", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .call(|| "open(/proc/self/exe)".into())
    }

    /// Opens an attribute of the calling thread that a security module reads, `attr/exec` or
    /// `attr/apparmor/exec`. It stays writable when the caller has given up everything else.
    pub(crate) fn open_attribute(&self, name: &str) -> Result<OwnedFd> {
        let thread = rustix::thread::gettid().as_raw_nonzero();
        self.open_to_write(Path::new(&format!("{thread}/task/{thread}/{name}")))
    }

    /// Writes a sysctl, named with dots or slashes as sysctl(8) does.
    pub(crate) fn write_sysctl(&self, name: &str, value: &str) -> Result<()> {
        let file = self.open_to_write(Path::new(&format!("sys/{}", sysctl_path(name))))?;
        rustix::io::write(&file, value.as_bytes()).call(|| format!("sysctl {name}={value}"))?;
        Ok(())
    }
}

/// The number of the calling process in its PID namespace.
pub(crate) fn own_pid() -> i32 {
    rustix::process::getpid().as_raw_nonzero().get()
}

/// `net.ipv4.ip_forward` as a path. As in sysctl(8): whichever of `.` and `/` comes first is the separator,
/// the other one stands for itself (`net.ipv4.conf.eth0/1.forwarding` means the interface `eth0.1`).
pub(crate) fn sysctl_path(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes()[at] == b'.' => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                c => c,
            })
            .collect(),
        _ => name.to_owned(),
    }
}

/// The namespaces that a container has of its own, as far as sysctls depend on them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Namespaced {
    pub(crate) ipc: bool,
    pub(crate) network: bool,
    pub(crate) uts: bool,
}

/// Checks that a sysctl belongs to a namespace of the container: any other would change the host
/// (CVE-2022-0811 reached `kernel.core_pattern` so).
pub(crate) fn check_sysctl(name: &str, own: Namespaced) -> Result<()> {
    const IPC: &[&str] = &[
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    let path = sysctl_path(name);
    let refuse = |reason: &str| {
        Err(Error::Invalid { what: "linux.sysctl", value: name.to_owned(), reason: reason.to_owned() })
    };
    if path.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
        return refuse("this is no name of a sysctl");
    }
    if path.starts_with("net/") {
        return match own.network {
            true => Ok(()),
            false => refuse("it belongs to the network namespace, which is the host's here"),
        };
    }
    if IPC.contains(&path.as_str()) || path.starts_with("fs/mqueue/") {
        return match own.ipc {
            true => Ok(()),
            false => refuse("it belongs to the IPC namespace, which is the host's here"),
        };
    }
    if path == "kernel/hostname" {
        return refuse("the container's name is set by \"hostname\"");
    }
    if path == "kernel/domainname" {
        return match own.uts {
            true => Ok(()),
            false => refuse("it belongs to the UTS namespace, which is the host's here"),
        };
    }
    refuse("it belongs to no namespace and would change the host")
}

/// Whether SELinux is there: its file system is mounted where it belongs.
pub(crate) fn selinux_enabled() -> bool {
    const SELINUX_MAGIC: i64 = 0xf97c_ff8c;
    const PATH: &CStr = c"/sys/fs/selinux";
    rustix::fs::statfs(PATH).is_ok_and(|fs| fs.f_type == SELINUX_MAGIC)
}

/// Whether AppArmor is there.
pub(crate) fn apparmor_enabled() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|text| text.first() == Some(&b'Y'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Namespaced = Namespaced { ipc: true, network: true, uts: true };

    #[test]
    fn separators_are_those_of_sysctl() {
        assert_eq!(sysctl_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(sysctl_path("net/ipv4/conf/eth0.1/x"), "net/ipv4/conf/eth0.1/x");
        assert_eq!(sysctl_path("net.ipv4.conf.eth0/1.x"), "net/ipv4/conf/eth0.1/x");
    }

    #[test]
    fn the_host_is_out_of_reach() {
        for name in [
            "kernel.core_pattern",
            "kernel.shm_rmid_forced+kernel.core_pattern",
            "net/../kernel/core_pattern",
            "net.ipv4...kernel",
            "vm.swappiness",
            "fs.mqueue/../../kernel/core_pattern",
            "",
        ] {
            assert!(check_sysctl(name, ALL).is_err(), "{name}");
        }
        check_sysctl("net.ipv4.ping_group_range", ALL).unwrap();
        check_sysctl("kernel.sem", ALL).unwrap();
        let none = Namespaced { ipc: false, network: false, uts: false };
        assert!(check_sysctl("net.core.somaxconn", none).is_err());
        assert!(check_sysctl("kernel.sem", none).is_err());
    }
}
