//! Names: what `aardvark-dns` answers to the containers of a network.
//!
//! The server reads one file per network from its directory and listens on the
//! gateways that they name; SIGHUP makes it read them again, and without any file
//! it ends (aardvark-dns(8), its `config.md`). A file's first line is the
//! addresses to listen on and the servers for other names; every further line is
//! a container: id, IPv4 addresses, IPv6 addresses, names, and servers for other
//! names if it has its own.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::config::{DNS_DOMAIN, Network};
use crate::error::{Error, Result};
use crate::files::{self, Durability, Lock};
use crate::lease::{Attachment, Lease};
use crate::query::Query;

/// Where distributions have the server.
const PROGRAMS: [&str; 3] =
    ["/usr/libexec/podman/aardvark-dns", "/usr/lib/podman/aardvark-dns", "/usr/bin/aardvark-dns"];

/// The server's name as `/proc/<pid>/comm` has it.
const COMMAND: &str = "aardvark-dns";

/// The directory that the server's unit is made for.
const UNIT_DIRECTORY: &str = "/run/sampan/dns";
/// Where the server notes its process.
const PID_FILE: &str = "aardvark.pid";
const UNIT: &str = "sampan-dns.service";

/// How long a new name may take until it is answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so long without the right answer, the server is told (or started) again.
const REMINDER: Duration = Duration::from_millis(400);

/// The name server's directory.
#[derive(Debug)]
pub(crate) struct Names {
    directory: PathBuf,
    lock: PathBuf,
    scratch: PathBuf,
    program: Option<&'static Path>,
}

impl Names {
    /// The directory `dns` beside `runtime_dir`.
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self {
            directory: runtime_dir.with_file_name("dns"),
            lock: runtime_dir.join("dns.lock"),
            scratch: runtime_dir.join(".dns"),
            program: PROGRAMS.iter().map(Path::new).find(|program| program.exists()),
        }
    }

    /// Whether the server is installed.
    pub(crate) fn available(&self) -> bool {
        self.program.is_some()
    }

    /// Makes the container's names known in its networks, and waits until they are
    /// answered.
    pub(crate) fn join(&self, lease: &Lease) -> Result<()> {
        self.publish(lease)?;
        self.wait(lease, &lease.holder.name)
    }

    /// Gives the server the names of a lease as they are now.
    pub(crate) fn publish(&self, lease: &Lease) -> Result<()> {
        if lease.dns_servers.is_empty() {
            return Ok(());
        }
        files::make_directory(&self.directory)?;
        let _lock = Lock::acquire(&self.lock)?;
        for attachment in answering(lease) {
            let line = line(lease, attachment);
            self.rewrite(&attachment.network, &lease.holder.id, Some(&line))?;
        }
        self.refresh()
    }

    /// Forgets the container's names.
    pub(crate) fn leave(&self, lease: &Lease) -> Result<()> {
        if lease.dns_servers.is_empty() || !self.directory.exists() {
            return Ok(());
        }
        let _lock = Lock::acquire(&self.lock)?;
        // Of a start that was killed while it wrote.
        files::remove(&self.scratch)?;
        for attachment in answering(lease) {
            self.rewrite(&attachment.network, &lease.holder.id, None)?;
        }
        if !self.notify() && !self.has_networks() {
            self.give_up();
        }
        Ok(())
    }

    /// Whether there is a network to answer for.
    fn has_networks(&self) -> bool {
        let entries = fs::read_dir(&self.directory).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name() != PID_FILE)
    }

    /// A server that was asked for and isn't there yet would find nothing to do, and systemd would wait for it: the
    /// start that asked was killed.
    fn give_up(&self) {
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

    /// Gives the server a network's definition anew: where to listen, whom to ask, and
    /// whether there is a way out.
    pub(crate) fn renew(&self, before: &Network, now: &Network) -> Result<()> {
        let (old, new) = (self.path(before), self.path(now));
        if !old.exists() && !new.exists() {
            return Ok(());
        }
        let _lock = Lock::acquire(&self.lock)?;
        // Of a change that was killed between the two.
        let source = if old.exists() { &old } else { &new };
        let text = fs::read_to_string(source).map_err(Error::file("read", source))?;
        let header = header(now);
        let renewed: String = std::iter::once(header.as_str())
            .chain(text.lines().skip(1))
            .flat_map(|line| [line, "\n"])
            .collect();
        if old == new && renewed == text {
            return Ok(());
        }
        files::write(&new, &self.scratch, renewed.as_bytes(), Durability::Volatile)?;
        if old != new {
            files::remove(&old)?;
        }
        self.notify();
        Ok(())
    }

    /// Forgets a network that nobody holds.
    pub(crate) fn forget(&self, network: &Network) -> Result<()> {
        let path = self.path(network);
        if !path.exists() {
            return Ok(());
        }
        let _lock = Lock::acquire(&self.lock)?;
        files::remove(&path)?;
        self.notify();
        Ok(())
    }

    /// Replaces, adds or takes out the line of a container.
    fn rewrite(&self, network: &Network, id: &str, line: Option<&str>) -> Result<()> {
        let path = self.path(network);
        let old = match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            result => result.map_err(Error::file("read", &path))?,
        };
        let mut lines: Vec<&str> =
            old.lines().skip(1).filter(|old| old.split(' ').next() != Some(id)).chain(line).collect();
        if lines.is_empty() {
            return files::remove(&path);
        }
        let header = header(network);
        lines.insert(0, &header);
        let text = lines.join("\n") + "\n";
        files::write(&path, &self.scratch, text.as_bytes(), Durability::Volatile)
    }

    /// The server takes a network whose name ends so for one without a way out.
    fn path(&self, network: &Network) -> PathBuf {
        let suffix = if network.internal { "%int" } else { "" };
        self.directory.join(format!("{}{suffix}", network.name))
    }

    /// Lets the running server read its files again, or starts it.
    fn refresh(&self) -> Result<()> {
        if self.notify() { Ok(()) } else { self.start() }
    }

    /// Sends SIGHUP; tells whether there is a server.
    fn notify(&self) -> bool {
        self.server().is_some_and(|pid| kill_process(pid, Signal::HUP).is_ok())
    }

    /// The server's process, if it lives: its number may have passed to another.
    fn server(&self) -> Option<Pid> {
        let text = fs::read_to_string(self.directory.join(PID_FILE)).ok()?;
        let pid: i32 = text.trim().parse().ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        (command.trim_end() == COMMAND).then(|| Pid::from_raw(pid)).flatten()
    }

    /// Under systemd the server is a service of its own, or it would belong to the
    /// container's.
    fn start(&self) -> Result<()> {
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

    /// Waits until every network's server answers `name` with the container's addresses.
    /// A container without names is better than none: a server that doesn't answer
    /// in time is told in the log, and no error.
    pub(crate) fn wait(&self, lease: &Lease, name: &str) -> Result<()> {
        if lease.dns_servers.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        for attachment in answering(lease) {
            let Some(query) = query(name, attachment) else {
                continue;
            };
            while !query.is_answered_within(REMINDER) {
                if Instant::now() > deadline {
                    log::warn!(
                        "aardvark-dns doesn't answer for {name:?} on {}; see `systemctl status {UNIT}`",
                        query.server()
                    );
                    return Ok(());
                }
                let _lock = Lock::acquire(&self.lock)?;
                self.refresh()?;
            }
        }
        Ok(())
    }
}

/// Refuses what can't be a name in DNS, or would break the server's files.
///
/// # Errors
/// [`Error::Invalid`].
pub(crate) fn check(name: &str) -> Result<()> {
    let good = (1..=253).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
    if good {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "name of a container",
        value: name.to_owned(),
        why: "a name is made of letters, digits, _ . -".to_owned(),
    })
}

fn answering(lease: &Lease) -> impl Iterator<Item = &Attachment> {
    lease.attachments.iter().filter(|attachment| attachment.network.dns_enabled)
}

fn header(network: &Network) -> String {
    let listen: Vec<IpAddr> = network.gateways().map(|(address, _)| address).collect();
    let mut header = join(&listen);
    if !network.network_dns_servers.is_empty() {
        header.push(' ');
        header.push_str(&join(&network.network_dns_servers));
    }
    header
}

fn line(lease: &Lease, attachment: &Attachment) -> String {
    let (ipv4, ipv6): (Vec<IpAddr>, Vec<IpAddr>) =
        attachment.addresses.iter().map(|address| address.address).partition(IpAddr::is_ipv4);
    let id = &lease.holder.id;
    let mut names = vec![lease.holder.name.as_str()];
    names.extend(attachment.aliases.iter().map(String::as_str));
    names.push(short(id));
    names.extend(lease.members.iter().flat_map(|member| [member.name.as_str(), short(&member.id)]));
    let mut line = format!("{id} {} {} {}", join(&ipv4), join(&ipv6), names.join(","));
    if !attachment.resolvers.is_empty() {
        line.push(' ');
        line.push_str(&join(&attachment.resolvers));
    }
    line
}

fn join(addresses: &[IpAddr]) -> String {
    let texts: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    texts.join(",")
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// A question whose right answer is the container's first address.
fn query(name: &str, attachment: &Attachment) -> Option<Query> {
    let (server, _) = attachment.network.gateways().next()?;
    let address = attachment.addresses.first()?.address;
    Query::new(name, address, server)
}
