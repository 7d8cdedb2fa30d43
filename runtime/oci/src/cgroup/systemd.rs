//! Scopes: systemd makes the cgroup, on request over D-Bus, and keeps everybody else out of it (`Delegate=`).
//!
//! The container's process is to be born in the scope, with a cgroup namespace that begins there, but a scope without
//! a process ends at once. And D-Bus takes threads, while a process that is copied must have but one. So a process
//! of our own, the *keeper*, makes the scope around itself and stays in it until the container's process is there:
//!
//! ```text
//! runtime                                keeper
//!   names, properties       ─────────▶   StartTransientUnit(PIDs=[itself])
//!   clone into the cgroup   ◀─────────   its path
//!   go                      ─────────▶   SetUnitProperties(limits)
//!   writes the files        ◀─────────   done, and ends
//! ```
//!
//! Limits come second, because the keeper would count against them: a container of one task could never be born
//! beside it. The container's program runs only when all of them are set.
//!
//! If the runtime dies, the keeper reads end of file and ends; a scope that is empty goes away by itself.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sampan_status::Error;
use sampan_status::systemd::Systemd;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::properties::{Properties, wire};

/// The keeper's command, which no user calls.
pub(crate) const COMMAND: &str = "keep-scope";

/// How long the end of an earlier scope of the same name is waited for.
const TRIES: u32 = 50;
const TICK: Duration = Duration::from_millis(20);

/// What the keeper is to do.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Request {
    /// The scope's name.
    pub(crate) unit: String,
    /// The user whose systemd makes it; none for the system's.
    pub(crate) user: Option<u32>,
    /// What the scope begins with.
    pub(crate) properties: Properties,
    /// What is set once the container's process is in it.
    pub(crate) limits: Properties,
}

/// One line from the keeper.
#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    /// The scope is there: its cgroup, below the root of the hierarchy.
    Scope(PathBuf),
    Limited,
    Failed(String),
}

/// The keeper, as the runtime sees it. Dropping it ends the keeper.
pub(crate) struct Keeper {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

fn line<T: Serialize>(to: &mut impl Write, value: &T) -> Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    to.write_all(&text)?;
    Ok(to.flush()?)
}

fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> Result<Option<T>> {
    /// Larger than any request: `config.json` bounds those.
    const MOST: u64 = 16 << 20;
    let mut text = String::new();
    from.take(MOST).read_line(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&text)?))
}

impl Keeper {
    /// Has a scope made.
    pub(crate) fn start(request: &Request) -> Result<Self> {
        let context = || format!("make the scope {}", request.unit);
        let mut child = Command::new("/proc/self/exe")
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(context)?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let answers = BufReader::new(answers.with_context(context)?);
        let mut keeper = Keeper { child, requests, answers };
        keeper.say(request).with_context(context)?;
        Ok(keeper)
    }

    fn say<T: Serialize>(&mut self, value: &T) -> Result<()> {
        line(self.requests.as_mut().context("the keeper was dismissed")?, value)
    }

    /// Waits for the scope. Returns its cgroup's path below the mount of cgroup2.
    pub(crate) fn scope(&mut self) -> Result<PathBuf> {
        match hear(&mut self.answers)? {
            Some(Answer::Scope(path)) => Ok(path),
            Some(Answer::Failed(reason)) => bail!("{reason}"),
            Some(Answer::Limited) | None => {
                bail!("the process that makes the scope has ended without a word")
            }
        }
    }

    /// The container's process is in the scope: sets the limits and waits until the keeper has gone.
    pub(crate) fn finish(mut self) -> Result<()> {
        self.say(&"go")?;
        let answer = hear(&mut self.answers)?;
        // It has nothing more to do in there, and must not be counted by what is written next.
        self.dismiss();
        match answer {
            Some(Answer::Limited) => Ok(()),
            Some(Answer::Failed(reason)) => bail!("{reason}"),
            Some(Answer::Scope(_)) | None => {
                bail!("the process that limits the scope has ended without a word")
            }
        }
    }

    fn dismiss(&mut self) {
        self.requests = None;
        // It fails only if it was waited for already.
        let _ = self.child.wait();
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.dismiss();
    }
}

/// The keeper's own way.
pub(crate) fn keep() -> Result<u8> {
    let mut requests = std::io::stdin().lock();
    let mut answers = std::io::stdout().lock();
    let Some(request) = hear::<Request>(&mut requests)? else {
        bail!("{COMMAND} is a part of create and run, not a command of its own");
    };
    let systemd = match make(&request) {
        Err(error) => {
            line(&mut answers, &Answer::Failed(format!("{error:#}")))?;
            return Ok(1);
        }
        Ok((systemd, path)) => {
            line(&mut answers, &Answer::Scope(path))?;
            systemd
        }
    };
    if hear::<String>(&mut requests)?.is_none() {
        return Ok(1);
    }
    let limited = match request.limits.is_empty() {
        true => Ok(()),
        false => systemd.set_properties(&request.unit, &wire(&request.limits)),
    };
    match limited {
        Ok(()) => line(&mut answers, &Answer::Limited)?,
        Err(error) => line(&mut answers, &Answer::Failed(error.to_string()))?,
    }
    Ok(0)
}

fn make(request: &Request) -> Result<(Systemd, PathBuf)> {
    let systemd = connect(request.user)?;
    let properties = wire(&request.properties);
    let mut tries = 0;
    loop {
        match systemd.start_scope(&request.unit, &[std::process::id()], &properties) {
            // The last one of this name may be about to go, or has failed and waits to be forgotten.
            Err(Error::UnitExists(_)) if tries < TRIES => {
                tries += 1;
                let _ = systemd.reset_failed(&request.unit);
                std::thread::sleep(TICK);
            }
            result => break result?,
        }
    }
    let file = "/proc/self/cgroup";
    let text = std::fs::read_to_string(file).with_context(|| format!("read({file})"))?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    match own.map(PathBuf::from).filter(|path| path.ends_with(&request.unit)) {
        Some(path) => Ok((systemd, path)),
        None => {
            bail!("systemd has made {} outside of cgroup2: the systemd cgroup driver needs it", request.unit)
        }
    }
}

/// The systemd of the system, or a user's.
pub(crate) fn connect(user: Option<u32>) -> Result<Systemd> {
    let connected = user.map_or_else(Systemd::system, Systemd::user_as);
    connected.context("the systemd cgroup driver talks to systemd; --cgroup-manager=cgroupfs does without")
}

/// Ends a scope and has systemd forget it. It is no error if it is gone.
pub(crate) fn stop(unit: &str, user: Option<u32>) -> Result<()> {
    let systemd = connect(user)?;
    match systemd.stop(unit) {
        Err(Error::NoSuchUnit(_)) => return Ok(()),
        result => result?,
    }
    // Only what has failed is still there, and only if an annotation has asked for that.
    let _ = systemd.reset_failed(unit);
    Ok(())
}
