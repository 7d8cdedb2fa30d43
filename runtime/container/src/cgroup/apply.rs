//! Setting limits: controllers are made available from the top down, then each file is written.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::LinuxResources;

use super::limits::{self, Absent, Limit};
use super::{Cgroup, devices};
use crate::error::{Error, Result};

/// Controllers that containers get wherever they can be had, limited or not: what `events`, `podman stats` and a
/// kubelet read is counted by them.
const COUNTING: [&str; 4] = ["cpu", "io", "memory", "pids"];

impl Cgroup {
    /// Sets limits and rules for devices. `fresh`: nobody has set any before.
    pub(super) fn apply(
        &self,
        limits: &[Limit],
        resources: Option<&LinuxResources>,
        fresh: bool,
    ) -> Result<()> {
        let refusal = self.enable_controllers(limits);
        let mut postponed = None;
        for limit in limits {
            match self.write(limit) {
                Ok(()) => {}
                // More than the old quota allows, perhaps: the new one comes right after it.
                Err(e) if limit.file == "cpu.max.burst" && is_invalid(&e) => postponed = Some(limit),
                Err(e) => return Err(self.explain(limit, &e, refusal.as_deref())),
            }
            if let Some(burst) = postponed.filter(|_| limit.file == "cpu.max") {
                self.write(burst).map_err(|e| self.explain(burst, &e, None))?;
                postponed = None;
            }
        }
        if let Some(burst) = postponed {
            return Err(self.explain(burst, &io::Error::from_raw_os_error(libc::EINVAL), None));
        }
        match resources.and_then(|r| r.devices().as_deref()) {
            None | Some([]) => Ok(()),
            Some(rules) => match devices::attach(self.open()?.as_fd(), &self.directory(), rules, fresh) {
                // Whoever may load no program makes containers in user namespaces only: these have no device but
                // those of the host that their user may open anyway, and can't make others.
                Err(e) if e.errno() == Some(libc::EPERM) && crate::rootless::unprivileged() => Ok(()),
                result => result,
            },
        }
    }

    /// Changes the limits of a container that has `before`. What isn't named stays as it is.
    ///
    /// # Errors
    /// A limit that can't be set. With `memory.checkBeforeUpdate`, a limit of memory that is below what is in use:
    /// it would have processes of the container killed.
    pub fn update(&self, update: &LinuxResources, before: Option<&LinuxResources>) -> Result<()> {
        let whole = limits::complete(update, before);
        self.check_usage(&whole)?;
        self.apply(&limits::limits(&whole)?, Some(&whole), false)
    }

    /// What [`Cgroup::update`] will write.
    ///
    /// # Errors
    /// As there, but for what the kernel refuses.
    pub fn limits_of_update(
        &self,
        update: &LinuxResources,
        before: Option<&LinuxResources>,
    ) -> Result<Vec<Limit>> {
        let whole = limits::complete(update, before);
        self.check_usage(&whole)?;
        limits::limits(&whole)
    }

    fn check_usage(&self, resources: &LinuxResources) -> Result<()> {
        let memory = resources.memory().as_ref().filter(|m| m.check_before_update() == Some(true));
        let Some(limit) = memory.and_then(|m| m.limit()).filter(|&l| l > 0) else {
            return Ok(());
        };
        let text = self.read("memory.current")?;
        let used = text.trim().parse::<u64>().map_err(|e| Error::File {
            path: self.directory().join("memory.current"),
            reason: e.to_string(),
        })?;
        if used > limit.unsigned_abs() {
            return Err(Error::Invalid {
                what: "linux.resources.memory.limit",
                value: limit.to_string(),
                reason: format!("{used} bytes are in use, and memory.checkBeforeUpdate is set"),
            });
        }
        Ok(())
    }

    /// Hands the controllers down that limits need, and those that count, from the root of the hierarchy on. What
    /// isn't available is found out when a limit is written; comes back the first reason why.
    fn enable_controllers(&self, limits: &[Limit]) -> Option<String> {
        let available = fs::read_to_string(self.mount.join("cgroup.controllers")).unwrap_or_default();
        let needed = || limits.iter().filter_map(Limit::controller);
        let mut wanted: Vec<&str> = available
            .split_ascii_whitespace()
            .filter(|name| COUNTING.contains(name) || needed().any(|n| n == *name))
            .collect();
        wanted.sort_unstable();
        let mut refusal = None;
        let mut directory = self.mount.clone();
        for part in self.path.components() {
            if wanted.is_empty() {
                break;
            }
            let file = directory.join("cgroup.subtree_control");
            let enabled = fs::read_to_string(&file).unwrap_or_default();
            wanted.retain(|name| {
                if enabled.split_ascii_whitespace().any(|e| e == *name) {
                    return true;
                }
                let result = fs::write(&file, format!("+{name}"));
                if let (Err(e), true) = (&result, needed().any(|n| n == *name)) {
                    refusal.get_or_insert_with(|| format!("write({}, +{name}): {e}", file.display()));
                }
                result.is_ok()
            });
            directory.push(part);
        }
        refusal
    }

    fn write(&self, limit: &Limit) -> io::Result<()> {
        let directory = self.directory();
        match (write_lines(&directory.join(&limit.file), &limit.value), &limit.absent) {
            (Err(e), Absent::Fine) if is_absent(&e) => Ok(()),
            (Err(e), Absent::Instead(file, value)) if is_absent(&e) => {
                write_lines(&directory.join(file), value)
            }
            (result, _) => result,
        }
    }

    fn explain(&self, limit: &Limit, error: &io::Error, refusal: Option<&str>) -> Error {
        // The file that was tried last.
        let (file, value) = match &limit.absent {
            Absent::Instead(file, value) if !self.directory().join(&limit.file).exists() => {
                (*file, value.as_str())
            }
            _ => (limit.file.as_str(), limit.value.as_str()),
        };
        let reason = match limit.controller().filter(|_| is_absent(error)) {
            None if file.starts_with("io.") && error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                "the device has neither the scheduler BFQ nor a cost model (io.cost.qos), by which it would be weighed"
                    .into()
            }
            None => error.to_string(),
            Some(controller) => {
                let root = fs::read_to_string(self.mount.join("cgroup.controllers")).unwrap_or_default();
                let own = fs::read_to_string(self.directory().join("cgroup.controllers")).unwrap_or_default();
                let has = |list: &str| list.split_ascii_whitespace().any(|name| name == controller);
                match (has(&root), has(&own), refusal) {
                    (false, ..) => format!(
                        "the requested cgroup controller `{controller}` is not available below {}: the kernel lacks it or has bound it to cgroup version 1",
                        self.mount.display()
                    ),
                    (true, false, Some(refusal)) => {
                        format!(
                            "the controller {controller} can't be handed down to the container: {refusal}"
                        )
                    }
                    (true, false, None) => {
                        format!(
                            "a parent of {} keeps the controller {controller} to itself",
                            self.path.display()
                        )
                    }
                    (true, true, _) => format!("the kernel has no file {file}"),
                }
            }
        };
        Error::Unsupported { what: format!("the limit {file}={value}"), reason }
    }
}

/// Only kernels have made these files: none is made here.
fn is_absent(error: &io::Error) -> bool {
    [io::ErrorKind::NotFound, io::ErrorKind::PermissionDenied].contains(&error.kind())
}

fn is_invalid(error: &io::Error) -> bool {
    error.raw_os_error() == Some(libc::EINVAL)
}

/// The kernel reads one line per write, and everything of it at once.
fn write_lines(path: &Path, value: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).open(path)?;
    if value.is_empty() {
        return file.write_all(b"\n");
    }
    for line in value.lines() {
        file.write_all(line.as_bytes())?;
    }
    Ok(())
}
