//! The processes of a cgroup: listing, freezing and killing them, and what is left when they have gone.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use super::descent::Descent;
use super::{Cgroup, DEFAULT_PARENT};
use crate::error::{Call, Result};
use crate::process;

/// Pause between two looks at a cgroup that empties or freezes.
const TICK: Duration = Duration::from_millis(5);

/// How long freezing may take: a process in the middle of a system call may have to finish that.
const FREEZING: Duration = Duration::from_secs(10);

impl Cgroup {
    /// All processes in the cgroup and the cgroups below it; none if it is gone.
    pub fn processes(&self) -> Result<Vec<i32>> {
        let call = || format!("read({}, cgroup.procs)", self.directory().display());
        let mut all = Vec::new();
        let mut list = |directory: &Descent| {
            all.extend(directory.processes()?);
            Ok(())
        };
        let result = Descent::new(&self.directory()).and_then(|top| top.visit(&mut list));
        match result {
            Err(e) if is_gone(&e) => {}
            result => result.call(call)?,
        }
        Ok(all)
    }

    /// Freezes or thaws all processes, and waits until they are. Nothing is frozen in a cgroup that is gone.
    pub fn freeze(&self, frozen: bool) -> Result<()> {
        let (file, value) = (self.directory().join("cgroup.freeze"), if frozen { "1" } else { "0" });
        match fs::write(&file, value) {
            Err(e) if is_gone(&e) && !frozen => return Ok(()),
            result => result.call(|| format!("write({}, {value})", file.display()))?,
        }
        let wanted = format!("frozen {value}");
        let events = self.directory().join("cgroup.events");
        let deadline = Instant::now() + FREEZING;
        while Instant::now() < deadline {
            let text = match fs::read_to_string(&events) {
                Err(e) if is_gone(&e) && !frozen => return Ok(()),
                text => text.call(|| format!("read({})", events.display()))?,
            };
            if text.lines().any(|line| line == wanted) {
                return Ok(());
            }
            std::thread::sleep(TICK);
        }
        Err(io::Error::from(io::ErrorKind::TimedOut))
            .call(|| format!("wait for {wanted:?} in {}", self.path.display()))
    }

    /// Kills every process of the cgroup, frozen or not, and those that they make meanwhile.
    pub fn kill(&self) -> Result<()> {
        match fs::write(self.directory().join("cgroup.kill"), "1") {
            Ok(()) => Ok(()),
            // It is gone, and so are they; or, before 5.14, there is no such file.
            Err(e) if is_gone(&e) => self.signal_all(libc::SIGKILL),
            // A threaded cgroup can't be killed as a whole.
            Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => self.signal_all(libc::SIGKILL),
            Err(e) => Err(e).call(|| format!("write({}/cgroup.kill)", self.directory().display())),
        }
    }

    /// Sends a signal to every process of the cgroup.
    pub fn signal_all(&self, signal: i32) -> Result<()> {
        let mut opened = Vec::new();
        for pid in self.processes()? {
            opened.extend(process::open(pid, None)?.map(|pidfd| (pid, pidfd)));
        }
        // Some may have ended before they were opened, and their numbers gone to processes that are elsewhere.
        let still = self.processes()?;
        for (_, pidfd) in opened.iter().filter(|(pid, _)| still.contains(pid)) {
            process::signal(pidfd.as_fd(), signal)?;
        }
        Ok(())
    }

    /// Kills what is left in the cgroup and removes it with all below. It is no error if it is gone.
    pub fn remove(&self, patience: Duration) -> Result<()> {
        let directory = self.directory();
        let deadline = Instant::now() + patience;
        match remove_tree(&directory) {
            // Most containers have left nobody.
            Ok(()) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(_) => {
                self.kill()?;
                self.remove_emptied(&directory, deadline)?;
            }
        }
        // Our own common parent goes with the last container in it; as long as there are others, it can't.
        if self.path.parent() == Some(Path::new(DEFAULT_PARENT)) {
            let _ = fs::remove_dir(self.mount.join(DEFAULT_PARENT));
        }
        Ok(())
    }

    fn remove_emptied(&self, directory: &Path, deadline: Instant) -> Result<()> {
        loop {
            match remove_tree(directory) {
                Ok(()) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < deadline => {
                    std::thread::sleep(TICK);
                }
                Err(e) => return Err(e).call(|| format!("rmdir({})", directory.display())),
            }
        }
    }
}

/// ENODEV comes if it was removed between opening and reading or writing.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

/// Only directories of a cgroup can be removed, from the innermost.
fn remove_tree(directory: &Path) -> io::Result<()> {
    match fs::remove_dir(directory) {
        Err(e) if e.kind() == io::ErrorKind::ResourceBusy => {}
        result => return result,
    }
    Descent::new(directory)?.remove_below()?;
    fs::remove_dir(directory)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A container that may make cgroups can nest them deeper than a path is long, and many of them.
    #[test]
    fn deep_cgroups_are_listed_and_removed() {
        let name = format!("sampan-test-deep-{}", std::process::id());
        let cgroup = match Cgroup::existing(Path::new(&name)) {
            Ok(cgroup) if fs::create_dir(cgroup.directory()).is_ok() => cgroup,
            _ => {
                eprintln!("SKIP: there is no mount of cgroup2 that a cgroup can be made in");
                return;
            }
        };
        let part = "x".repeat(200);
        let mut here = cgroup.open().unwrap();
        for _ in 0..30 {
            rustix::fs::mkdirat(&here, part.as_str(), rustix::fs::Mode::from_raw_mode(0o755)).unwrap();
            let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
            here = rustix::fs::openat(&here, part.as_str(), flags, rustix::fs::Mode::empty()).unwrap();
        }
        fs::create_dir(cgroup.directory().join("beside")).unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let procs = rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC;
        let procs = rustix::fs::openat(&here, "cgroup.procs", procs, rustix::fs::Mode::empty()).unwrap();
        rustix::io::write(&procs, sleeper.id().to_string().as_bytes()).unwrap();
        assert_eq!(cgroup.processes().unwrap(), [sleeper.id() as i32]);
        cgroup.signal_all(libc::SIGKILL).unwrap();
        sleeper.wait().unwrap();
        cgroup.remove(Duration::from_secs(60)).unwrap();
        assert!(!cgroup.directory().exists());
    }

    /// A container that ends by itself takes its cgroup along under systemd, at any moment of its deletion.
    #[test]
    fn what_is_gone_is_thawed_killed_and_removed() {
        let Ok(gone) = Cgroup::existing(Path::new("sampan-test-gone")) else {
            eprintln!("SKIP: there is no mount of cgroup2");
            return;
        };
        gone.freeze(false).unwrap();
        gone.kill().unwrap();
        gone.signal_all(libc::SIGTERM).unwrap();
        gone.remove(Duration::ZERO).unwrap();
        assert!(gone.processes().unwrap().is_empty());
        assert!(gone.freeze(true).is_err() && gone.stats().is_err());
    }
}
