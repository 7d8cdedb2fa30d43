//! The container's terminal: made in its own devpts, the master handed to the caller.

use std::os::fd::OwnedFd;

use oci_spec::runtime::Box as ConsoleSize;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, makedev};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Call, Error, Result};

/// Both sides of a terminal.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) master: OwnedFd,
    pub(crate) slave: OwnedFd,
}

/// Opens a terminal in the container's devpts. The slave comes from the master by ioctl(2) `TIOCGPTPEER`: its
/// name in `/dev/pts` is never used (CVE-2025-52565).
pub(crate) fn open(devpts: Option<&OwnedFd>, size: Option<ConsoleSize>) -> Result<Pair> {
    let devpts = devpts.ok_or_else(|| Error::Invalid {
        what: "process.terminal",
        value: "true".into(),
        reason: "a terminal needs a mount of type devpts at /dev/pts".into(),
    })?;
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let master =
        rustix::fs::openat(devpts, c"ptmx", flags, Mode::empty()).call(|| "open(/dev/pts/ptmx)".into())?;
    pair(master, size)
}

/// Opens a terminal in the devpts of the container that the caller has joined. Its `/dev/pts` may be anything by
/// now: the file must be the multiplexer of a devpts, and nothing is followed on the way.
pub(crate) fn open_in_container(size: Option<ConsoleSize>) -> Result<Pair> {
    const DEVPTS_MAGIC: i64 = 0x1cd1;
    let call = || "open(/dev/pts/ptmx)".to_owned();
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let devpts = rustix::fs::openat2(CWD, c"/dev/pts", flags, Mode::empty(), resolve).call(call)?;
    let file = rustix::fs::openat(
        &devpts,
        c"ptmx",
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .call(call)?;
    let magic = rustix::fs::fstatfs(&file).call(call)?.f_type;
    let stat = rustix::fs::fstat(&file).call(call)?;
    if magic != DEVPTS_MAGIC || stat.st_rdev != makedev(5, 2) {
        return Err(Error::File {
            path: "/dev/pts/ptmx".into(),
            reason: "in the container this isn't the multiplexer of a devpts".into(),
        });
    }
    open(Some(&devpts), size)
}

/// Makes a pair of an open master.
pub(crate) fn pair(master: OwnedFd, size: Option<ConsoleSize>) -> Result<Pair> {
    rustix::pty::unlockpt(&master).call(|| "ioctl(TIOCSPTLCK)".into())?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).call(|| "ioctl(TIOCGPTPEER)".into())?;
    if let Some(size) = size {
        let clamp = |n: u64| u16::try_from(n).unwrap_or(u16::MAX);
        let size =
            Winsize { ws_row: clamp(size.height()), ws_col: clamp(size.width()), ws_xpixel: 0, ws_ypixel: 0 };
        rustix::termios::tcsetwinsize(&master, size).call(|| "ioctl(TIOCSWINSZ)".into())?;
    }
    Ok(Pair { master, slave })
}

/// Makes the slave the controlling terminal and the standard streams of the calling session leader.
pub(crate) fn take_over(slave: &OwnedFd) -> Result<()> {
    rustix::process::ioctl_tiocsctty(slave).call(|| "ioctl(TIOCSCTTY)".into())?;
    make_standard(slave)
}

/// Makes the slave the standard streams.
pub(crate) fn make_standard(slave: &OwnedFd) -> Result<()> {
    rustix::stdio::dup2_stdin(slave)
        .and_then(|()| rustix::stdio::dup2_stdout(slave))
        .and_then(|()| rustix::stdio::dup2_stderr(slave))
        .call(|| "dup2(terminal)".into())
}
