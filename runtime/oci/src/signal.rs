//! `kill`, `pause` and `resume`.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use sampan_container::cgroup::Cgroup;
use sampan_container::process;
use sampan_container::state::{State, Status};

use crate::args::{Global, Kill};
use crate::create::FIFO;

/// The number of a signal: a number, or a name with or without SIG, or RTMIN+n.
pub(crate) fn number(text: &str) -> Result<i32> {
    if let Ok(number) = text.parse::<i32>() {
        return match number {
            0..=64 => Ok(number),
            _ => bail!("unknown signal {text:?}: numbers go from 1 to 64"),
        };
    }
    let name = text.to_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    let real_time = name.strip_prefix("RTMIN").map(|n| n.strip_prefix('+').unwrap_or(n));
    if let Some(offset) = real_time {
        let offset: u8 = if offset.is_empty() { 0 } else { offset.parse()? };
        return match libc::SIGRTMIN() + i32::from(offset) {
            number @ ..=64 => Ok(number),
            _ => bail!("unknown signal {text:?}: numbers go from 1 to 64"),
        };
    }
    let signal =
        Signal::from_str(&format!("SIG{name}")).with_context(|| format!("unknown signal {text:?}"))?;
    Ok(signal as i32)
}

/// Sends a signal.
pub(crate) fn kill(global: &Global, options: &Kill) -> Result<u8> {
    let signal = number(options.signal.as_deref().unwrap_or("SIGTERM"))?;
    let dir = global.container(&options.id)?;
    let state = dir.read()?;
    if options.all {
        return all(&state, signal);
    }
    if !matches!(state.live_status(), Status::Created | Status::Running | Status::Paused) {
        // containerd and Podman look for the first words, and then take the container for ended.
        bail!("container not running: {:?} is {}, no such process", state.name, state.live_status());
    }
    // The end of a PID namespace's first process ends all others; without one of its own, they would stay.
    if signal == libc::SIGKILL && state.cgroup.is_some() && !has_own_pids(&dir.read_spec()?) {
        return all(&state, signal);
    }
    let pid = state.pid.unwrap_or_default();
    if let Some(pidfd) = process::open(pid, state.start_time)? {
        process::signal(pidfd.as_fd(), signal)?;
    }
    Ok(0)
}

fn has_own_pids(spec: &Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref());
    // An empty path is none: callers in Go write it so.
    let new = |path: &Option<PathBuf>| path.as_ref().is_none_or(|path| path.as_os_str().is_empty());
    namespaces.into_iter().flatten().any(|n| n.typ() == LinuxNamespaceType::Pid && new(n.path()))
}

/// To all processes, of a container that has stopped, too: without a PID namespace, others outlive the first.
fn all(state: &State, signal: i32) -> Result<u8> {
    let cgroup = state.cgroup.as_deref().map(Cgroup::existing).transpose()?;
    match (cgroup, signal) {
        (Some(cgroup), libc::SIGKILL) => cgroup.kill()?,
        (Some(cgroup), _) => cgroup.signal_all(signal)?,
        (None, _) => {
            let pid = state.pid.filter(|_| state.live_status() != Status::Stopped);
            if let Some(pidfd) = pid.map(|pid| process::open(pid, state.start_time)).transpose()?.flatten() {
                process::signal(pidfd.as_fd(), signal)?;
            }
        }
    }
    Ok(0)
}

/// Freezes or thaws. A container may also be frozen before it is started, and is again what it was afterwards.
pub(crate) fn freeze(global: &Global, id: &str, frozen: bool) -> Result<u8> {
    let dir = global.container(id)?;
    let _lock = dir.lock()?;
    let mut state = dir.read()?;
    let status = state.live_status();
    let to = match (frozen, status) {
        (true, Status::Running | Status::Created) => Status::Paused,
        // What has not been started still waits at its FIFO.
        (false, Status::Paused) if dir.path().join(FIFO).exists() => Status::Created,
        (false, Status::Paused) => Status::Running,
        (true, _) => {
            bail!("container {:?} is {status}: only one that is running or created can be paused", state.name)
        }
        (false, _) => bail!("container {:?} is {status}, not paused", state.name),
    };
    let path = state.cgroup.clone();
    let path = path.with_context(|| format!("container {:?} has no cgroup of its own", state.name))?;
    Cgroup::existing(&path)?.freeze(frozen)?;
    state.status = to;
    dir.write(&state)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for (text, wanted) in
            [("9", 9), ("KILL", 9), ("SIGKILL", 9), ("sigterm", 15), ("RTMIN+3", libc::SIGRTMIN() + 3)]
        {
            assert_eq!(number(text).unwrap(), wanted, "{text}");
        }
        for text in ["", "SIGNOTHING", "65", "-1", "RTMIN+31", "RTMIN+2147483647", "RTMIN+-40"] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }
}
