//! Readiness: what a container may say to systemd.
//!
//! A program that is ready says so at `$NOTIFY_SOCKET` (sd_notify(3)). The host's own socket is nothing for a
//! container: who is user 0 without a user namespace can name any process as the service's main one there, and
//! systemd will kill it. So the container gets a socket of its own, below [`INSIDE`], and the one thing that is
//! passed on is that it is ready, with its process id as this program knows it.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;

use anyhow::{Context, Result};
use oci_spec::runtime::{Mount, Spec};
use rustix::event::{PollFd, PollFlags};
use sampan_container::process;
use sampan_container::state::ContainerDir;

/// Where the folder with the socket is in the container.
const INSIDE: &str = "/run/notify";

/// The folder of the socket in the container's directory, and the socket.
const FOLDER: &str = "notify";
const SOCKET: &str = "notify.sock";

/// The longest message that is read: sd_notify's own limit is a page.
const MAX: usize = 4096;

/// If the caller is to be told of readiness, gives the container a socket of its own for that.
pub(crate) fn prepare(dir: &ContainerDir, spec: &mut Spec) -> Result<()> {
    if host()?.is_none() {
        return Ok(());
    }
    let folder = dir.path().join(FOLDER);
    let made = DirBuilder::new().mode(0o755).create(&folder);
    made.with_context(|| format!("mkdir({})", folder.display()))?;
    let mut mount = Mount::default();
    let options = ["bind", "ro", "nosuid", "nodev", "noexec", "private"].map(str::to_owned);
    mount
        .set_destination(INSIDE.into())
        .set_typ(Some("bind".into()))
        .set_source(Some(folder))
        .set_options(Some(options.to_vec()));
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    add_variable(spec, &format!("NOTIFY_SOCKET={INSIDE}/{SOCKET}"));
    Ok(())
}

/// Whether this is the variable of the environment that [`prepare`] has set.
pub(crate) fn is_variable(entry: &str) -> bool {
    entry.strip_prefix("NOTIFY_SOCKET=").is_some_and(|path| path.starts_with(INSIDE))
}

/// Sets a variable of the program's environment.
pub(crate) fn add_variable(spec: &mut Spec, entry: &str) {
    let Some(mut process) = spec.process().clone() else {
        return;
    };
    let name = entry.split('=').next().unwrap_or_default();
    let mut env = process.env().clone().unwrap_or_default();
    env.retain(|e| e.split('=').next() != Some(name));
    env.push(entry.to_owned());
    process.set_env(Some(env));
    spec.set_process(Some(process));
}

/// The caller's socket.
fn host() -> Result<Option<SocketAddr>> {
    let Some(name) = std::env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return Ok(None);
    };
    let address = match name.as_bytes() {
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => SocketAddr::from_pathname(PathBuf::from(&name)),
    };
    address.map(Some).with_context(|| format!("NOTIFY_SOCKET={}", name.display()))
}

/// Waits for a container's word.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: UnixDatagram,
    host: SocketAddr,
}

impl Relay {
    /// Opens the container's socket, if it was created with one and the caller is to be told. Before it starts.
    pub(crate) fn open(dir: &ContainerDir) -> Result<Option<Self>> {
        let folder = dir.path().join(FOLDER);
        let Some(host) = host()?.filter(|_| folder.exists()) else {
            return Ok(None);
        };
        let path = folder.join(SOCKET);
        let call = || format!("bind({})", path.display());
        let socket = UnixDatagram::bind(&path).with_context(call)?;
        // Whoever the program runs as.
        fs::set_permissions(&path, Permissions::from_mode(0o777)).with_context(call)?;
        Ok(Some(Relay { socket, host }))
    }

    /// Waits until the container is ready or has ended, and passes on the former.
    pub(crate) fn wait(self, pid: i32, start_time: Option<u64>) -> Result<()> {
        let Some(pidfd) = process::open(pid, start_time)? else {
            return Ok(());
        };
        let mut buffer = [0; MAX];
        while self.hears(pidfd.as_fd())? {
            let length = self.socket.recv(&mut buffer).context("recv(notify.sock)")?;
            if buffer[..length].split(|&b| b == b'\n').any(|line| line == b"READY=1") {
                let text = format!("READY=1\nMAINPID={pid}\n");
                let sent = UnixDatagram::unbound().and_then(|s| s.send_to_addr(text.as_bytes(), &self.host));
                return sent.map(|_| ()).context("send(NOTIFY_SOCKET)");
            }
        }
        Ok(())
    }

    /// The same while this program does something else. It has nothing to say to anyone if that fails.
    pub(crate) fn wait_beside(self, pid: i32, start_time: Option<u64>) -> Result<()> {
        std::thread::spawn(move || {
            if let Err(error) = self.wait(pid, start_time) {
                log::warn!("readiness of the container: {error:#}");
            }
        });
        Ok(())
    }

    /// Waits for a message. `false`: the process has ended, and nothing is left of what it said.
    fn hears(&self, pidfd: BorrowedFd<'_>) -> io::Result<bool> {
        loop {
            let mut fds = [PollFd::new(&self.socket, PollFlags::IN), PollFd::new(&pidfd, PollFlags::IN)];
            match rustix::event::poll(&mut fds, None) {
                Err(rustix::io::Errno::INTR) => continue,
                result => result?,
            };
            let [said, ended] = fds.map(|fd| !fd.revents().is_empty());
            if said || ended {
                return Ok(said);
            }
        }
    }
}
