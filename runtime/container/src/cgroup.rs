//! Cgroups (version 2), where nobody else makes them.
//!
//! Under systemd a container lives in its unit's own cgroup and its limits are systemd's directives: nothing of
//! this module is used then but [`of`]. `sampan-runtime`, which has no unit, makes cgroups itself: a directory
//! below the mount of cgroup2, its limits written before anything runs in it, its first process born in it
//! (`CLONE_INTO_CGROUP`; writing `cgroup.procs` would cost milliseconds).
//!
//! What can't be honoured is refused with the reason: a controller that the kernel has bound to version 1 or that
//! a parent keeps to itself gives no limit, and a container without the limit that was asked for is worse than none.

mod devices;
mod limits;

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use oci_spec::runtime::LinuxResources;
use rustix::fs::{Mode, OFlags};

use crate::error::{Call, Error, Result};

/// Where cgroups go that have no path of their own in the `Spec`.
const DEFAULT_PARENT: &str = "sampan";

/// Pause between two looks at a cgroup that empties.
const TICK: Duration = Duration::from_millis(5);

/// A cgroup that belongs to one container.
#[derive(Clone, Debug)]
pub struct Cgroup {
    mount: PathBuf,
    path: PathBuf,
}

/// The mount point of cgroup2, if there is one.
fn mount_point() -> Option<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let found = text.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        (right.starts_with("cgroup2 ") && root == "/").then(|| point.to_owned())
    });
    found.map(PathBuf::from)
}

/// A path relative to the mount, without `..` (which would lead to someone else's cgroup).
fn relative(path: &Path) -> Result<PathBuf> {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::Normal(name) => result.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => {
                return Err(Error::Invalid {
                    what: "linux.cgroupsPath",
                    value: path.display().to_string(),
                    reason: "it can't contain ..".into(),
                });
            }
        }
    }
    Ok(result)
}

/// Opens the cgroup that the process `pid` is in *now*, for [`crate::process::Exec::cgroup`]: a container may have
/// moved its processes into cgroups below its own, whose parent then takes none. `None`: there is no cgroup2.
pub fn of(pid: i32) -> Result<Option<OwnedFd>> {
    let Some(mount) = mount_point() else {
        return Ok(None);
    };
    let file = format!("/proc/{pid}/cgroup");
    let text = fs::read_to_string(&file).call(|| format!("read({file})"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    let Some(own) = own.filter(|p| !p.starts_with("../")) else {
        return Ok(None);
    };
    open(&mount.join(own)).map(Some)
}

fn open(directory: &Path) -> Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::open(directory, flags, Mode::empty()).call(|| format!("open({})", directory.display()))
}

/// Refuses resources that limit something, where no cgroup was made for them. Rules for devices are dispensable only
/// if the container can't make devices (`makes_devices`: it has `CAP_MKNOD` over the host): then it has those alone
/// that the runtime has made for it.
pub(crate) fn refuse_limits(resources: &LinuxResources, makes_devices: bool) -> Result<()> {
    let refuse = |what: String| {
        Err(Error::Unsupported {
            what,
            reason: "the container has no cgroup of its own that it could be set for".into(),
        })
    };
    if let Some(limit) = limits::files(resources)?.first() {
        return refuse(format!("the limit {}={}", limit.file, limit.value));
    }
    match resources.devices().as_deref().unwrap_or_default() {
        [_, ..] if makes_devices => {
            refuse("restricting devices (linux.resources.devices) with CAP_MKNOD".into())
        }
        _ => Ok(()),
    }
}

impl Cgroup {
    /// Makes the cgroup `path` (below the mount of cgroup2; if none, one named after `id`) with these limits.
    /// `None`: cgroups can't be made here, and no limit was asked for.
    ///
    /// # Errors
    /// A limit that can't be set; a cgroup that exists and has processes.
    pub fn create(path: Option<&Path>, id: &str, resources: Option<&LinuxResources>) -> Result<Option<Self>> {
        let files = resources.map(limits::files).transpose()?.unwrap_or_default();
        let Some(mount) = mount_point() else {
            return none_possible(&files, "there is no mount of cgroup2");
        };
        let path = match path.filter(|p| !p.as_os_str().is_empty()) {
            Some(path) => relative(path)?,
            None => Path::new(DEFAULT_PARENT).join(id),
        };
        let cgroup = Cgroup { mount, path };
        // Once more if it failed: the end of another container may have taken our common parent away meanwhile.
        if let Err(error) = cgroup.make_directories(&files).or_else(|_| cgroup.make_directories(&files)) {
            return none_possible(&files, &error.to_string());
        }
        let populated = cgroup.read("cgroup.events").unwrap_or_default();
        if populated.lines().any(|line| line == "populated 1") {
            return Err(Error::Invalid {
                what: "linux.cgroupsPath",
                value: cgroup.path.display().to_string(),
                reason: "there are processes in this cgroup; a container needs one of its own".into(),
            });
        }
        let result = cgroup.apply(&files, resources);
        if result.is_err() {
            cgroup.remove(Duration::ZERO)?;
        }
        result.map(|()| Some(cgroup))
    }

    /// A cgroup made earlier, by its path below the mount of cgroup2.
    pub fn existing(path: &Path) -> Result<Self> {
        let mount = mount_point().ok_or_else(|| Error::Unsupported {
            what: format!("finding the cgroup {}", path.display()),
            reason: "there is no mount of cgroup2".into(),
        })?;
        Ok(Cgroup { mount, path: relative(path)? })
    }

    /// The path below the mount of cgroup2.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn directory(&self) -> PathBuf {
        self.mount.join(&self.path)
    }

    /// The directory as a descriptor, to be born into.
    pub fn open(&self) -> Result<OwnedFd> {
        open(&self.directory())
    }

    fn make_directories(&self, files: &[limits::Limit]) -> io::Result<()> {
        let mut directory = self.mount.clone();
        let controllers: Vec<&str> = files.iter().filter_map(|f| f.controller()).collect();
        for part in &self.path {
            // Enabled one by one, and only where available: what is missing is found when the limit is written.
            for controller in &controllers {
                let _ = fs::write(directory.join("cgroup.subtree_control"), format!("+{controller}"));
            }
            directory.push(part);
            match fs::create_dir(&directory) {
                Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(io::Error::new(e.kind(), format!("mkdir({}): {e}", directory.display())));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn apply(&self, files: &[limits::Limit], resources: Option<&LinuxResources>) -> Result<()> {
        for limit in files {
            let file = self.directory().join(&limit.file);
            fs::write(&file, &limit.value).map_err(|e| Error::Unsupported {
                what: format!("the limit {}={}", limit.file, limit.value),
                reason: match (e.kind(), limit.controller()) {
                    (io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied, Some(controller)) => format!(
                        "the controller {controller} isn't available below {} (bound to cgroup version 1, or not delegated)",
                        self.mount.display()
                    ),
                    _ => e.to_string(),
                },
            })?;
        }
        let rules = resources.and_then(|r| r.devices().as_deref()).unwrap_or_default();
        if rules.is_empty() {
            return Ok(());
        }
        devices::attach(self.open()?.as_fd(), &self.directory(), rules)
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.directory().join(file);
        fs::read_to_string(&path).call(|| format!("read({})", path.display()))
    }

    /// All processes in the cgroup and the cgroups below it.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let mut all = Vec::new();
        let mut left = vec![self.directory()];
        while let Some(directory) = left.pop() {
            let call = || format!("read({}/cgroup.procs)", directory.display());
            let text = match fs::read_to_string(directory.join("cgroup.procs")) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                text => text.call(call)?,
            };
            all.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
            for entry in fs::read_dir(&directory).call(call)?.flatten() {
                if entry.file_type().is_ok_and(|t| t.is_dir()) {
                    left.push(entry.path());
                }
            }
        }
        Ok(all)
    }

    /// Freezes or thaws all processes, and waits until they are.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let (file, value) = (self.directory().join("cgroup.freeze"), if frozen { "1" } else { "0" });
        match fs::write(&file, value) {
            // Nothing is frozen in a cgroup that is gone.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !frozen => return Ok(()),
            result => result.call(|| format!("write({}, {value})", file.display()))?,
        }
        let wanted = format!("frozen {value}");
        for _ in 0..2000 {
            if self.read("cgroup.events")?.lines().any(|line| line == wanted) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        Err(io::Error::from(io::ErrorKind::TimedOut))
            .call(|| format!("wait for {wanted:?} in {}", self.path.display()))
    }

    /// Kills what is left in the cgroup and removes it with all below. It is no error if it is gone.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let directory = self.directory();
        let deadline = Instant::now() + patience;
        // Since 5.14. Before, or if it is gone, there is nobody to kill or the loop below waits for them.
        let _ = fs::write(directory.join("cgroup.kill"), "1");
        loop {
            match remove_tree(&directory) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => break,
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    std::thread::sleep(TICK);
                }
                Ok(()) => break,
                Err(e) => return Err(e).call(|| format!("rmdir({})", directory.display())),
            }
        }
        // Our own common parent goes with the last container in it; as long as there are others, it can't.
        if self.path.parent() == Some(Path::new(DEFAULT_PARENT)) {
            let _ = fs::remove_dir(self.mount.join(DEFAULT_PARENT));
        }
        Ok(())
    }
}

/// Only directories of a cgroup can be removed, from the innermost.
fn remove_tree(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)?.flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(directory)
}

fn none_possible(files: &[limits::Limit], reason: &str) -> Result<Option<Cgroup>> {
    match files.first() {
        None => Ok(None),
        Some(limit) => Err(Error::Unsupported {
            what: format!("the limit {}={}", limit.file, limit.value),
            reason: reason.to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_mount() {
        assert_eq!(relative(Path::new("/a/./b")).unwrap(), Path::new("a/b"));
        assert!(relative(Path::new("/a/../../b")).is_err());
    }

    #[test]
    fn this_process_has_a_cgroup_if_there_are_any() {
        let found = of(std::process::id() as i32).unwrap();
        assert!(found.is_some() || mount_point().is_none());
    }
}
