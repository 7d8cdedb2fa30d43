//! What is known about each container: one directory per container, no database.
//!
//! `<root>/<name>/` holds `state.json` ([`State`]), `config.json` (the OCI `Spec`) and `lock`. Files are
//! replaced by rename, so a reader sees the old or the new one; whoever changes something holds the lock.
//! The directory's existence is the container's existence: it is made exclusively and removed last.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Call, Error, Result};
use crate::{document, process};

/// Where the containers of `sampan run` are.
pub const DEFAULT_ROOT: &str = "/run/sampan/containers";

/// In a container's directory, if programs may trace those who join it: a file that only has to be there.
const TRACERS: &str = "tracers";

/// Longest name accepted: a name is also a file name with a suffix.
const NAME_MAX: usize = 240;

/// A container's status, in the words of the OCI runtime specification plus `paused`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Being made.
    #[default]
    Creating,
    /// Made; its program wasn't executed yet.
    Created,
    /// Its program runs.
    Running,
    /// Its processes are frozen.
    Paused,
    /// Its first process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Status::Creating => "creating",
            Status::Created => "created",
            Status::Running => "running",
            Status::Paused => "paused",
            Status::Stopped => "stopped",
        })
    }
}

/// The image that a container was made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Image {
    /// The name that was asked for, with registry and tag.
    pub name: String,
    /// Digest of its configuration, 64 hex digits.
    pub id: String,
    /// Digest of its manifest, `sha256:…`.
    pub digest: String,
}

/// What a container has on one network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Attachment {
    /// The interface's name in the container.
    pub interface: String,
    /// Addresses with prefix length (`10.1.2.3/24`).
    pub addresses: Vec<String>,
    /// Gateways, one per address family.
    pub gateways: Vec<String>,
    /// Hardware address, `aa:bb:cc:dd:ee:ff`.
    pub mac: String,
    /// Names besides the container's own.
    pub aliases: Vec<String>,
}

/// One published port or range.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Port {
    /// The host's address; empty: all.
    pub host_ip: String,
    /// First port on the host.
    pub host_port: u16,
    /// First port in the container.
    pub container_port: u16,
    /// How many.
    pub range: u16,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: String,
}

/// A mount that the user asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UserMount {
    /// `bind`, `volume`, `tmpfs` or `image`.
    pub kind: String,
    /// The volume's name.
    pub name: Option<String>,
    /// Path on the host.
    pub source: String,
    /// Path in the container.
    pub destination: String,
    /// Mount options.
    pub options: Vec<String>,
}

/// How a container's health is found out. Durations are nanoseconds, as in image configurations.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Healthcheck {
    /// `CMD` and arguments, or `CMD-SHELL` and one string.
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// After this time a check has failed.
    pub timeout: u64,
    /// Failures in this time after the start don't count.
    pub start_period: u64,
    /// So many failures in a row make the container unhealthy.
    pub retries: u32,
    /// `none`, `kill`, `restart` or `stop`.
    pub on_failure: String,
    /// What has to succeed before the check above begins.
    pub startup: Option<StartupCheck>,
    /// Where results are kept: `local`, `events_logger` or an absolute path of a directory.
    pub log_destination: String,
    /// How many results are kept; 0 for all.
    pub max_log_count: u32,
    /// How many bytes of a check's output are kept; 0 for all.
    pub max_log_size: u32,
}

/// How is found out that a container's program has started. Durations are nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StartupCheck {
    /// As in [`Healthcheck::test`].
    pub test: Vec<String>,
    /// Time between two checks.
    pub interval: u64,
    /// After this time a check has failed.
    pub timeout: u64,
    /// So many failures restart the container; 0 for none.
    pub retries: u32,
    /// So many successes are needed.
    pub success: u32,
}

/// The pod that a container is in.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    /// The pod's name.
    pub name: String,
    /// 64 hex digits, which no other pod has, also not a later one of the same name.
    pub id: String,
}

/// Everything that is known about a container and isn't in its `Spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Version of the OCI runtime specification.
    pub oci_version: String,
    /// 64 hex digits; under `sampan-runtime` the caller's own id.
    pub id: String,
    /// The name, also of the directory.
    pub name: String,
    /// The status when this was written; [`State::live_status`] is what holds now.
    pub status: Status,
    /// The first process, in the host's PID namespace.
    pub pid: Option<i32>,
    /// Its start time in clock ticks since boot: tells it from another process with the same id.
    pub start_time: Option<u64>,
    /// When the container was made (RFC 3339).
    pub created: String,
    /// When its program was started (RFC 3339).
    pub started: Option<String>,
    /// When its first process ended (RFC 3339).
    pub finished: Option<String>,
    /// How it ended.
    pub exit_code: Option<i32>,
    /// The systemd unit that it is the main process of; under `sampan-runtime` the scope that was made for it, if
    /// systemd has made its cgroup.
    pub unit: Option<String>,
    /// systemd's `$INVOCATION_ID` of this run of the unit.
    pub invocation_id: Option<String>,
    /// Directory of the `Spec`.
    pub bundle: PathBuf,
    /// The image; none with `Rootfs=`.
    pub image: Option<Image>,
    /// The directory given as `Rootfs=`.
    pub rootfs: Option<PathBuf>,
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Networks by name.
    pub networks: BTreeMap<String, Attachment>,
    /// Published ports.
    pub ports: Vec<Port>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// OCI annotations.
    pub annotations: BTreeMap<String, String>,
    /// Signal that asks the program to stop, by name (`SIGTERM`).
    pub stop_signal: Option<String>,
    /// Seconds between that signal and SIGKILL.
    pub stop_timeout: u32,
    /// Remove the container when it ends.
    pub remove: bool,
    /// How its health is found out.
    pub healthcheck: Option<Healthcheck>,
    /// Volumes and bind mounts.
    pub mounts: Vec<UserMount>,
    /// Host name inside.
    pub hostname: String,
    /// The pod whose namespaces it shares. Networks and ports are then the pod's.
    pub pod: Option<Pod>,
    /// Podman's restart policy, where one was given.
    pub restart: Option<String>,
    /// The cgroup (version 2) that was made for it, below the mount point; none under systemd, whose own it is.
    pub cgroup: Option<PathBuf>,
    /// Its root as a mount of a namespace that isn't its own ([`crate::mount::borrowed`]), to be taken down.
    pub root_mount: Option<u64>,
    /// Whether its `Spec` has hooks.
    pub hooks: bool,
    /// Whether it has groups of resctrl: [`crate::process::remove_groups`].
    pub resource_groups: bool,
}

impl State {
    /// The status that holds now: a container whose first process is gone, or whose process id belongs to
    /// another process by now, is stopped.
    pub fn live_status(&self) -> Status {
        let lives = match self.pid {
            Some(pid) => match process::stat(pid) {
                // A zombie has ended; its parent just hasn't asked yet.
                Ok(('Z' | 'X', _)) => false,
                Err(error) => !process::gone(&error),
                Ok((_, now)) => self.start_time.is_none_or(|then| then == now),
            },
            None => return self.status,
        };
        match (lives, self.status) {
            (false, _) => Status::Stopped,
            (true, Status::Stopped) => Status::Stopped,
            (true, status) => status,
        }
    }
}

/// All containers below one root directory.
#[derive(Clone, Debug)]
pub struct Containers {
    root: PathBuf,
    ids: bool,
}

/// One container's directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerDir {
    name: String,
    path: PathBuf,
}

/// Holds a container's lock until dropped (flock(2)).
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

/// Checks a container's name or id: `[a-zA-Z0-9][a-zA-Z0-9_.+-]*`. It becomes a file name, so nothing else passes.
pub fn check_name(name: &str) -> Result<()> {
    let mut bytes = name.bytes();
    let good = bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b))
        && name.len() <= NAME_MAX;
    if good {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "container name",
        value: name.to_owned(),
        reason: format!(
            "names begin with a letter or digit, go on with letters, digits, _ . + - and have at most {NAME_MAX} bytes"
        ),
    })
}

/// Checks the id that an OCI runtime's caller gives to a container: `[a-zA-Z0-9_+.-]+`, as runc has it, but neither
/// `.` nor `..`, and nothing hidden.
pub fn check_id(id: &str) -> Result<()> {
    let good = !id.is_empty()
        && !id.starts_with('.')
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.+-".contains(&b))
        && id.len() <= NAME_MAX;
    if good {
        return Ok(());
    }
    Err(Error::Invalid {
        what: "container id",
        value: id.to_owned(),
        reason: format!(
            "invalid id format: ids consist of letters, digits, _ . + -, don't begin with . and have at most {NAME_MAX} bytes"
        ),
    })
}

impl Containers {
    /// The containers of an OCI runtime: as [`Containers::open`], but their names are ids that [`check_id`] accepts,
    /// and no beginning of one stands for the whole.
    pub fn of_ids(root: &Path) -> Result<Self> {
        Self::open(root).map(|containers| Containers { ids: true, ..containers })
    }

    fn check(&self, name: &str) -> Result<()> {
        if self.ids { check_id(name) } else { check_name(name) }
    }

    /// The containers below `root`, which is made if it doesn't exist (0700).
    pub fn open(root: &Path) -> Result<Self> {
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(root)
            .call(|| format!("mkdir({})", root.display()))?;
        Ok(Containers { root: root.to_owned(), ids: false })
    }

    /// Makes the directory of a new container.
    ///
    /// # Errors
    /// [`Error::Exists`] if there is one of this name.
    pub fn create(&self, name: &str) -> Result<ContainerDir> {
        let dir = self.dir(name)?;
        match DirBuilder::new().mode(0o700).create(&dir.path) {
            Ok(()) => Ok(dir),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Err(Error::Exists(name.to_owned())),
            Err(e) => Err(e).call(|| format!("mkdir({})", dir.path.display())),
        }
    }

    /// All containers, by name.
    pub fn list(&self) -> Result<Vec<ContainerDir>> {
        let entries = fs::read_dir(&self.root).call(|| format!("opendir({})", self.root.display()))?;
        let mut all = Vec::new();
        for entry in entries {
            let entry = entry.call(|| format!("readdir({})", self.root.display()))?;
            // Not a link: what it leads to is no container's.
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            if let Some(name) = entry.file_name().to_str().filter(|n| self.check(n).is_ok()) {
                all.push(self.dir(name)?);
            }
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The container with this name, or the only one whose id begins so.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`], [`Error::Ambiguous`].
    pub fn get(&self, name: &str) -> Result<ContainerDir> {
        let missing = || Error::NoSuchContainer(name.to_owned());
        let dir = self.dir(name).map_err(|_| missing())?;
        // Not a link: what it leads to is no container's.
        if fs::symlink_metadata(&dir.path).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(dir);
        }
        if self.ids {
            return Err(missing());
        }
        let mut found = None;
        for dir in self.list()? {
            if dir.read().is_ok_and(|state| state.id.starts_with(name)) && found.replace(dir).is_some() {
                return Err(Error::Ambiguous(name.to_owned()));
            }
        }
        found.ok_or_else(missing)
    }

    fn dir(&self, name: &str) -> Result<ContainerDir> {
        self.check(name)?;
        Ok(ContainerDir { name: name.to_owned(), path: self.root.join(name) })
    }
}

impl ContainerDir {
    /// The container's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The directory itself.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the container's lock and takes it.
    pub fn lock(&self) -> Result<Lock> {
        let file = self.open_lock("lock")?;
        file.lock().call(|| format!("flock({}, LOCK_EX)", self.path.join("lock").display()))?;
        Ok(Lock { _file: file })
    }

    /// Waits for the lock of those who join the container and takes it: together with others who join, or `alone`, when
    /// nobody else is on the way any more.
    pub fn lock_joining(&self, alone: bool) -> Result<Lock> {
        let file = self.open_lock("joining")?;
        let locked = if alone { file.lock() } else { file.lock_shared() };
        locked.call(|| format!("flock({})", self.path.join("joining").display()))?;
        Ok(Lock { _file: file })
    }

    /// Writes down that programs may trace those who join the container, although its own program may not, and waits
    /// until all have executed their programs that were on the way before that.
    pub fn announce_tracers(&self) -> Result<()> {
        self.open_lock(TRACERS)?;
        self.lock_joining(true).map(drop)
    }

    /// Whether [`ContainerDir::announce_tracers`] was called. Ask with [`ContainerDir::lock_joining`] held.
    pub fn has_tracers(&self) -> bool {
        self.path.join(TRACERS).exists()
    }

    /// Takes the container's lock if nobody holds it.
    pub fn try_lock(&self) -> Result<Option<Lock>> {
        let file = self.open_lock("lock")?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Lock { _file: file })),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(e)) => {
                Err(e).call(|| format!("flock({}, LOCK_EX)", self.path.join("lock").display()))
            }
        }
    }

    fn open_lock(&self, name: &str) -> Result<File> {
        let path = self.path.join(name);
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(|e| self.missing(e, &path, "open"))
    }

    /// Reads the state.
    ///
    /// # Errors
    /// [`Error::NoSuchContainer`] if the container is gone, [`Error::File`] if the file is damaged.
    pub fn read(&self) -> Result<State> {
        self.read_json("state.json")
    }

    /// Replaces the state.
    pub fn write(&self, state: &State) -> Result<()> {
        self.write_json("state.json", state)
    }

    /// Reads the `Spec`.
    pub fn read_spec(&self) -> Result<Spec> {
        self.read_json("config.json")
    }

    /// Replaces the `Spec`.
    pub fn write_spec(&self, spec: &Spec) -> Result<()> {
        self.write_json("config.json", spec)
    }

    /// Removes the directory and what is in it. It is no error if it is gone.
    pub fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(e).call(|| format!("rmdir({})", self.path.display()))
            }
            _ => Ok(()),
        }
    }

    fn read_json<T: DeserializeOwned>(&self, file: &str) -> Result<T> {
        let path = self.path.join(file);
        let text = document::read(&path).map_err(|e| match e.errno() {
            Some(libc::ENOENT) => Error::NoSuchContainer(self.name.clone()),
            _ => e,
        })?;
        serde_json::from_slice(&text).map_err(|e| Error::File { path, reason: e.to_string() })
    }

    fn write_json<T: Serialize>(&self, file: &str, value: &T) -> Result<()> {
        let path = self.path.join(file);
        let new = self.path.join(format!(".{file}.new"));
        let text = serde_json::to_vec(value)
            .map_err(|e| Error::File { path: path.clone(), reason: e.to_string() })?;
        // No fsync: the directory is on a tmpfs and ends with the system, as the containers do.
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&new)
            .and_then(|mut out| out.write_all(&text))
            .map_err(|e| self.missing(e, &new, "write"))?;
        fs::rename(&new, &path).call(|| format!("rename({}, {file})", new.display()))
    }

    fn missing(&self, source: io::Error, path: &Path, operation: &str) -> Error {
        if source.kind() == io::ErrorKind::NotFound {
            return Error::NoSuchContainer(self.name.clone());
        }
        Error::Call { call: format!("{operation}({})", path.display()), source }
    }
}
