//! What `sampan run` says to systemd, sd_notify(3), and what it knows of the unit that it runs in.

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use sd_notify::NotifyState;

/// systemd answers a barrier in microseconds unless it is busy reloading.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(30);

/// The service that this process is the main process of.
#[derive(Debug, Clone)]
pub(crate) struct Unit {
    /// `web.service`
    pub(crate) name: Option<String>,
    /// `$INVOCATION_ID`
    pub(crate) invocation_id: String,
    /// Whether systemd listens to us: `Type=notify`, or `NotifyAccess=` written out.
    pub(crate) listens: bool,
    /// `WatchdogSec=`: pings are expected from the main process.
    pub(crate) has_watchdog: bool,
}

impl Unit {
    /// From the environment that systemd.exec(5) describes; `None` in a shell.
    pub(crate) fn current() -> Option<Self> {
        let invocation_id = std::env::var("INVOCATION_ID").ok()?;
        let exec_pid = std::env::var("SYSTEMD_EXEC_PID").ok()?;
        if exec_pid != std::process::id().to_string() {
            return None;
        }
        Some(Self {
            name: std::env::var("PODMAN_SYSTEMD_UNIT").ok().or_else(own_unit),
            invocation_id,
            listens: std::env::var_os("NOTIFY_SOCKET").is_some(),
            has_watchdog: sd_notify::watchdog_enabled().is_some(),
        })
    }

    /// One line in `systemctl status`, and this much more time to start, counted from now.
    pub(crate) fn progress(&self, text: &str, more: Duration) {
        let more = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
        self.tell(&[NotifyState::Status(text), NotifyState::ExtendTimeoutUsec(more)]);
    }

    /// One line in `systemctl status`, which stays when the unit has ended.
    pub(crate) fn status(&self, text: &str) {
        self.tell(&[NotifyState::Status(text)]);
    }

    /// A lost status line is no reason to stop a start.
    fn tell(&self, words: &[NotifyState<'_>]) {
        if let Err(error) = if self.listens { sd_notify::notify(words) } else { Ok(()) } {
            log::debug!("sd_notify: {error}");
        }
    }

    /// Makes `pid` the main process and the unit ready, and returns when systemd has taken note of it.
    ///
    /// # Errors
    /// systemd didn't take the message; the unit would go on to supervise a process that is about to leave.
    pub(crate) fn hand_over(&self, pid: i32, status: &str) -> anyhow::Result<()> {
        if !self.listens {
            return Ok(());
        }
        let main = u32::try_from(pid).context("a process identifier is positive")?;
        sd_notify::notify(&[NotifyState::MainPid(main), NotifyState::Ready, NotifyState::Status(status)])
            .context("telling systemd the main process (NOTIFY_SOCKET)")?;
        barrier()
    }

    /// Ready, with this process as the main process still.
    ///
    /// # Errors
    /// As [`Unit::hand_over`].
    pub(crate) fn ready(&self, status: &str) -> anyhow::Result<()> {
        if !self.listens {
            return Ok(());
        }
        sd_notify::notify(&[NotifyState::Ready, NotifyState::Status(status)])
            .context("telling systemd that the service is ready")?;
        barrier()
    }
}

/// Waits until systemd has read all messages sent so far: it closes the descriptor that this one carries.
fn barrier() -> anyhow::Result<()> {
    let (reader, writer): (OwnedFd, OwnedFd) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
    sd_notify::notify_with_fds(&[NotifyState::Custom("BARRIER=1")], &[writer.as_fd()])
        .context("sending systemd a barrier")?;
    drop(writer);
    let timeout = Timespec { tv_sec: BARRIER_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    let mut wait = [PollFd::new(&reader, PollFlags::IN)];
    let answered = poll(&mut wait, Some(&timeout)).context("waiting for systemd")?;
    ensure!(answered > 0, "systemd has not answered for {} s; is it hung?", BARRIER_TIMEOUT.as_secs());
    Ok(())
}

/// The innermost unit of this process's cgroup.
pub(crate) fn own_unit() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    unit_of_cgroup(text.lines().find_map(|line| line.strip_prefix("0::"))?)
}

/// The name of the container that a unit's command calls `name`. The instance that systemd makes for a connection
/// (`Accept=yes` in systemd.socket(5)) is named after its addresses, and no container's name has a colon.
pub(crate) fn container_name(name: &str) -> Cow<'_, str> {
    if name.contains(':') && own_unit().is_some_and(|unit| unit.contains(':')) {
        return name.replace(':', "_").into();
    }
    name.into()
}

/// A limit of that unit, from a file of its cgroup such as `memory.max`; `None` without one.
pub(crate) fn own_limit(file: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let folder = cgroup_of_unit(text.lines().find_map(|line| line.strip_prefix("0::/"))?)?;
    let path = Path::new("/sys/fs/cgroup").join(folder).join(file);
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

/// The generated unit of which this process is a command, be it the last one; `None` in a shell's scope.
pub(crate) fn generated_unit() -> Option<String> {
    own_unit().filter(|unit| std::env::var("PODMAN_SYSTEMD_UNIT").as_ref() == Ok(unit))
}

/// The innermost slice of this process's cgroup.
pub(crate) fn own_slice() -> Option<String> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    path.rsplit('/').find(|part| part.ends_with(".slice")).map(str::to_owned)
}

fn unit_of_cgroup(path: &str) -> Option<String> {
    path.rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope")).map(str::to_owned)
}

/// The cgroup of the innermost unit: what follows it is the unit's own affair.
fn cgroup_of_unit(path: &str) -> Option<&str> {
    let unit = unit_of_cgroup(path)?;
    let at = path.rfind(&unit)?;
    Some(&path[..at + unit.len()])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_is_the_innermost() {
        for (path, unit) in [
            ("/system.slice/web.service", Some("web.service")),
            ("/user.slice/user-0.slice/user@0.service/app.slice/web.service/.control", Some("web.service")),
            ("/system.slice", None),
        ] {
            assert_eq!(unit_of_cgroup(path).as_deref(), unit, "{path}");
        }
    }
    #[test]
    fn the_units_cgroup_ends_with_its_name() {
        for (path, cgroup) in [
            ("system.slice/web.service/.control", Some("system.slice/web.service")),
            ("system.slice/web.service", Some("system.slice/web.service")),
            ("user.slice", None),
        ] {
            assert_eq!(cgroup_of_unit(path), cgroup, "{path}");
        }
    }
}
