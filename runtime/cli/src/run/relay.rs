//! The notification socket of a container with `Notify=true`.
//!
//! A container never gets systemd's own socket: as user 0 without a user namespace it could send `MAINPID=` and
//! make systemd kill a process of the host. This relay stands between: it takes messages from the container's own
//! processes only, and passes on only what is in [`ALLOWED`].

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials, bind,
    recvmsg, setsockopt, socket, sockopt::PassCred,
};
use sd_notify::NotifyState;

/// Where the socket's directory is in the container.
pub(crate) const DIRECTORY: &str = "/run/notify";
const SOCKET: &str = "notify.sock";

/// Variables of sd_notify(3) that concern the service itself and nothing else.
const ALLOWED: [&str; 7] =
    ["READY", "STATUS", "RELOADING", "STOPPING", "WATCHDOG", "ERRNO", "MONOTONIC_USEC"];

/// systemd's own limit.
const MAX_MESSAGE: usize = 4096;

/// The relay's end of the socket.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: OwnedFd,
    directory: PathBuf,
}

/// What a message meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The container is ready; systemd isn't told yet.
    Ready,
    /// Something else, passed on or dropped.
    Other,
}

impl Relay {
    /// Makes the socket in a directory of its own below `directory`.
    ///
    /// # Errors
    /// socket(2)'s and bind(2)'s.
    pub(crate) fn open(directory: &Path) -> anyhow::Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let directory = directory.join("notify");
        std::fs::create_dir_all(&directory).with_context(|| format!("making {}", directory.display()))?;
        let path = directory.join(SOCKET);
        let socket = socket(
            AddressFamily::Unix,
            SockType::Datagram,
            SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
            None,
        )?;
        bind(std::os::fd::AsRawFd::as_raw_fd(&socket), &UnixAddr::new(&path)?)
            .with_context(|| format!("binding {}", path.display()))?;
        setsockopt(&socket, PassCred, &true).context("asking for credentials on the notification socket")?;
        // Any user of the container may speak; who it is decides `receive`.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(Self { socket, directory })
    }

    /// The host directory to mount at [`DIRECTORY`].
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// `$NOTIFY_SOCKET` in the container.
    pub(crate) fn address() -> String {
        format!("{DIRECTORY}/{SOCKET}")
    }

    /// Takes one message; `None` if there is none. `main` is the container's first process.
    ///
    /// # Errors
    /// recvmsg(2)'s, or systemd's socket is gone.
    pub(crate) fn receive(&mut self, main: i32) -> anyhow::Result<Option<Heard>> {
        let mut buffer = [0u8; MAX_MESSAGE];
        let mut space = nix::cmsg_space!(UnixCredentials);
        let mut pieces = [std::io::IoSliceMut::new(&mut buffer)];
        let fd = std::os::fd::AsRawFd::as_raw_fd(&self.socket);
        // Descriptors that a hostile container attaches have no room here, and the kernel closes them.
        let message = match recvmsg::<UnixAddr>(fd, &mut pieces, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC)
        {
            Ok(message) => message,
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error).context("reading the container's notification"),
        };
        let length = message.bytes;
        let sender = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmCredentials(credentials) => Some(credentials.pid()),
            _ => None,
        });
        if !sender.is_some_and(|pid| shares_pid_namespace(pid, main)) {
            return Ok(Some(Heard::Other));
        }
        let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let (is_ready, passed) = filter(&text);
        if !passed.is_empty() {
            sd_notify::notify(&[NotifyState::Custom(&passed)])
                .context("passing a notification on to systemd")?;
        }
        Ok(Some(if is_ready { Heard::Ready } else { Heard::Other }))
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether there is a READY, and the lines that may go on; READY itself is said by whoever hands over.
fn filter(message: &str) -> (bool, String) {
    let is_allowed = |line: &&str| line.split_once('=').is_some_and(|(name, _)| ALLOWED.contains(&name));
    let (ready, rest): (Vec<&str>, Vec<&str>) =
        message.split('\n').filter(is_allowed).partition(|line| line.starts_with("READY="));
    (ready.contains(&"READY=1"), rest.join("\n"))
}

/// The namespaces are compared by inode. A sender that has ended already (systemd-notify(1) does) can't be looked
/// at; but for root, nobody outside of the container reaches the socket, which lies in a directory of mode 0700.
fn shares_pid_namespace(sender: i32, main: i32) -> bool {
    let namespace = |pid: i32| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    namespace(sender).is_none_or(|sender| Some(sender) == namespace(main))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_variables_pass() {
        let (is_ready, passed) = filter("MAINPID=1\nREADY=1\nSTATUS=up\nFDSTORE=1\nBARRIER=1\nX\nWATCHDOG=1");
        assert!(is_ready);
        assert_eq!(passed, "STATUS=up\nWATCHDOG=1");
        assert_eq!(filter("READY=0"), (false, String::new()));
    }
}
