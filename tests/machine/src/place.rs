//! What a machine has on the host: a folder and a cgroup, both named after it.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// A machine's folder and cgroup.
#[derive(Debug, Clone)]
pub struct Place {
    name: String,
    dir: PathBuf,
    cgroup: PathBuf,
}

impl Place {
    /// The place of the machine `name`, whether it exists or not.
    ///
    /// The folder is below `$TMPDIR` or `/tmp`, the cgroup at the top of the unified hierarchy:
    /// below the caller's own cgroup no controller could be enabled for the machine.
    pub fn new(name: &str) -> Result<Place> {
        let valid = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if name.is_empty() || name.len() > 60 || !name.chars().all(valid) {
            bail!("{name:?} is no name for a machine: use letters, digits and hyphens");
        }
        let own = format!("sampan-machine.{name}");
        Ok(Place {
            name: name.to_owned(),
            dir: std::env::temp_dir().join(&own),
            cgroup: unified_hierarchy()?.join(own),
        })
    }

    /// The machine's name, also its host name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Makes the folder and the cgroup; an error if the machine exists.
    pub fn create(&self) -> Result<()> {
        fs::create_dir(&self.dir).with_context(|| {
            format!("make {} (is a machine {} still running? stop it first)", self.dir.display(), self.name)
        })?;
        fs::create_dir(self.mount_point())?;
        fs::create_dir(self.files())?;
        fs::create_dir(&self.cgroup).with_context(|| format!("make the cgroup {}", self.cgroup.display()))
    }

    /// Where the machine's own process mounts its root; empty when seen from the host.
    pub fn mount_point(&self) -> PathBuf {
        self.dir.join("mount")
    }

    /// The topmost layer of the machine's root: files written here before the boot are in it.
    pub fn files(&self) -> PathBuf {
        self.dir.join("files")
    }

    /// What the keeper and the first process print until systemd takes over.
    pub fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Notes the host's process id of the machine's first process.
    pub fn set_pid(&self, pid: u32) -> Result<()> {
        // Renamed into place, so that a reader never sees half a number.
        let part = self.dir.join("pid.part");
        fs::write(&part, pid.to_string())?;
        fs::rename(&part, self.dir.join("pid")).context("note the machine's pid")
    }

    /// The first process, if the machine was started.
    pub fn pid(&self) -> Option<i32> {
        fs::read_to_string(self.dir.join("pid")).ok()?.parse().ok()
    }

    /// Moves the calling process into the machine's cgroup.
    pub fn join_cgroup(&self) -> Result<()> {
        fs::write(self.cgroup.join("cgroup.procs"), "0")
            .with_context(|| format!("join the cgroup {}", self.cgroup.display()))
    }

    /// Whether anything of the machine is left on the host.
    pub fn exists(&self) -> bool {
        self.dir.exists() || self.cgroup.exists()
    }

    /// Removes the cgroup and the folder of a machine whose processes have ended.
    pub fn remove(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        // A cgroup stays busy for a moment after its last process is gone.
        while let Err(error) = remove_cgroup(&self.cgroup) {
            if Instant::now() > deadline {
                return Err(error).with_context(|| format!("remove the cgroup {}", self.cgroup.display()));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        match fs::remove_dir_all(&self.dir) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("remove {}", self.dir.display()))
            }
            _ => Ok(()),
        }
    }
}

/// Removes a cgroup and those below it, deepest first.
fn remove_cgroup(cgroup: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(cgroup) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_cgroup(&entry.path())?;
        }
    }
    fs::remove_dir(cgroup)
}

/// Where the host has mounted cgroup2: alone, or beside version 1 hierarchies.
fn unified_hierarchy() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("read /proc/self/mounts")?;
    let mut fields = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let mount = fields.find(|fields| fields.get(2) == Some(&"cgroup2"));
    mount.map(|fields| PathBuf::from(fields[1])).context("no cgroup2 file system is mounted on this host")
}
