//! `kill`, `pause` and `resume`.

use std::os::fd::AsFd;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use sampan_container::cgroup::Cgroup;
use sampan_container::process;
use sampan_container::state::{State, Status};

use crate::args::{Global, Kill};

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
        let offset: i32 = if offset.is_empty() { 0 } else { offset.parse()? };
        return Ok(libc::SIGRTMIN() + offset);
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
    let alive = matches!(state.live_status(), Status::Created | Status::Running | Status::Paused);
    if !alive && !options.all {
        // containerd and Podman look for the first words, and then take the container for ended.
        bail!("container not running: {:?} is {}, no such process", state.name, state.live_status());
    }
    if options.all {
        return all(&state, signal);
    }
    let pid = state.pid.unwrap_or_default();
    if let Some(pidfd) = process::open(pid, state.start_time)? {
        process::signal(pidfd.as_fd(), signal)?;
    }
    // A frozen process can't even die.
    if signal == libc::SIGKILL && state.status == Status::Paused {
        freeze(global, &options.id, false)?;
    }
    Ok(0)
}

fn all(state: &State, signal: i32) -> Result<u8> {
    let pids = match &state.cgroup {
        Some(path) => Cgroup::existing(path)?.processes()?,
        None => state.pid.filter(|_| state.live_status() != Status::Stopped).into_iter().collect(),
    };
    for pid in pids {
        if let Some(pidfd) = process::open(pid, None)? {
            process::signal(pidfd.as_fd(), signal)?;
        }
    }
    Ok(0)
}

/// Freezes or thaws.
pub(crate) fn freeze(global: &Global, id: &str, frozen: bool) -> Result<u8> {
    let dir = global.container(id)?;
    let _lock = dir.lock()?;
    let mut state = dir.read()?;
    let (from, to) = match frozen {
        true => (Status::Running, Status::Paused),
        false => (Status::Paused, Status::Running),
    };
    if state.live_status() != from {
        bail!("container {:?} is {}, not {from}", state.name, state.live_status());
    }
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
        for text in ["", "SIGNOTHING", "65", "-1"] {
            assert!(number(text).is_err(), "{text:?}");
        }
    }
}
