//! The server's process.
//!
//! It notes its process number in its directory, reads its files again at SIGHUP, and without any file it ends
//! (aardvark-dns(8)).

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::DNS_DOMAIN;
use crate::error::{Error, Result};
use crate::host_port;
use crate::port::Protocol;

/// Where distributions have the server.
const PROGRAMS: [&str; 3] =
    ["/usr/libexec/podman/aardvark-dns", "/usr/lib/podman/aardvark-dns", "/usr/bin/aardvark-dns"];

/// The server's name as `/proc/<pid>/comm` has it.
const COMMAND: &str = "aardvark-dns";

/// The directory that the server's unit is made for.
const UNIT_DIRECTORY: &str = "/run/sampan/dns";
/// Where the server notes its process.
pub(super) const PID_FILE: &str = "aardvark.pid";
pub(super) const UNIT: &str = "sampan-dns.service";

/// The server of one directory, whether it runs or not.
#[derive(Debug)]
pub(super) struct Server {
    directory: PathBuf,
    program: Option<&'static Path>,
}

impl Server {
    pub(super) fn new(directory: PathBuf) -> Self {
        Self { directory, program: PROGRAMS.iter().map(Path::new).find(|program| program.exists()) }
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn is_installed(&self) -> bool {
        self.program.is_some()
    }

    pub(super) fn is_running(&self) -> bool {
        self.pid().is_some()
    }

    /// Whether there is a network to answer for.
    pub(super) fn has_networks(&self) -> bool {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name() != PID_FILE)
    }

    /// Sends SIGHUP; tells whether there is a server.
    pub(super) fn notify(&self) -> bool {
        self.pid().is_some_and(|pid| kill_process(pid, Signal::HUP).is_ok())
    }

    /// The server's process, if it lives: its number may have passed to another.
    fn pid(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.directory.join(PID_FILE)).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (command.trim_end() == COMMAND).then(|| Pid::from_raw(pid)).flatten()
    }

    /// Whether it is the server that has a port of the host.
    pub(super) fn has_socket(&self, protocol: Protocol, port: u16, address: IpAddr) -> bool {
        self.pid().is_some_and(|pid| host_port::is_held_by(pid, protocol, port, address))
    }

    /// Under systemd the server is a service of its own, or it would belong to the
    /// container's.
    pub(super) fn start(&self) -> Result<()> {
        let Some(program) = self.program else {
            return Ok(());
        };
        let mut command;
        if self.is_unit() {
            command = Command::new("systemctl");
            command.args(["start", "--no-block", UNIT]);
        } else {
            command = Command::new(program);
            command.arg("--config").arg(&self.directory);
            command.args(["--port", "53"]);
            command.arg("--filter-search-domain").arg(format!(".{DNS_DOMAIN}"));
            command.arg("run");
        }
        let failed = |why: String| Error::Program { program: "start aardvark-dns".to_owned(), why };
        let output = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .map_err(|error| failed(error.to_string()))?;
        if output.status.success() {
            return Ok(());
        }
        let words = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("{}: {}", output.status, words.trim())))
    }

    /// A server that was asked for and isn't there yet would find nothing to do, and systemd would wait for it: the
    /// start that asked was killed.
    pub(super) fn call_off(&self) {
        if self.is_unit() {
            let mut command = Command::new("systemctl");
            command
                .args(["stop", "--no-block", UNIT])
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null());
            // There may be no such unit at all, and then all is well.
            let _ = command.status();
        }
    }

    /// Whether the server is a service of systemd's, and not a child of ours.
    fn is_unit(&self) -> bool {
        self.directory == Path::new(UNIT_DIRECTORY) && Path::new("/run/systemd/system").exists()
    }
}
