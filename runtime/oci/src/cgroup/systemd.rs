//! Scopes: systemd makes the cgroup, on request over D-Bus, and keeps everybody else out of it (`Delegate=`).
//!
//! The container's process is to be born in the scope, with a cgroup namespace that begins there, but a scope without
//! a process ends at once. And D-Bus takes threads, while a process that is copied must have but one. So a program
//! of its own, `sampan-scope`, makes the scope around itself and stays in it until the container's process is there:
//!
//! ```text
//! sampan-runtime                         sampan-scope
//!   names, properties       ─────────▶   StartTransientUnit(PIDs=[itself])
//!   clone into the cgroup   ◀─────────   its path
//!   go                      ─────────▶   SetUnitProperties(limits)
//!   writes the files        ◀─────────   done, and ends
//! ```
//!
//! Limits come second, because `sampan-scope` would count against them: a container of one task could never be born
//! beside it. The container's program runs only when all of them are set.
//!
//! If the runtime dies, `sampan-scope` reads end of file and ends; a scope that is empty goes away by itself.

use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use sampan_oci::{Answer, Properties, Request, Task, hear, say};

/// The program that talks to systemd, and where packages put it.
const PROGRAM: &str = "sampan-scope";
const INSTALLED: &str = "/usr/libexec/sampan/sampan-scope";

/// `sampan-scope` with a task. Dropping it ends it.
pub(crate) struct Keeper {
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

/// The program beside this one, as where both were compiled, else the installed one.
fn program() -> PathBuf {
    let beside = std::env::current_exe().ok().and_then(|own| Some(own.parent()?.join(PROGRAM)));
    beside.filter(|path| path.is_file()).unwrap_or_else(|| INSTALLED.into())
}

impl Keeper {
    /// Has a scope made (of a task that is [`Request::Make`]).
    pub(crate) fn start(task: &Task) -> Result<Self> {
        Self::spawn(task).with_context(|| format!("make the scope {}", task.unit))
    }

    fn spawn(task: &Task) -> Result<Self> {
        let program = program();
        let mut child =
            Command::new(&program).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(
                || format!("execute {}, which the systemd cgroup driver needs", program.display()),
            )?;
        let (requests, answers) = (child.stdin.take(), child.stdout.take());
        let answers = BufReader::new(answers.context("no pipe")?);
        let mut keeper = Keeper { child, requests, answers };
        say(keeper.requests.as_mut().context("no pipe")?, task)?;
        Ok(keeper)
    }

    fn hear(&mut self) -> Result<Answer> {
        let answer = hear(&mut self.answers)?;
        answer.with_context(|| format!("{PROGRAM} has ended without a word"))
    }

    /// Waits for the scope. Returns its cgroup's path below the mount of cgroup2.
    pub(crate) fn scope(&mut self) -> Result<PathBuf> {
        match self.hear()? {
            Answer::Scope(path) => Ok(path),
            Answer::Failed(reason) => bail!("{reason}"),
            Answer::Done => bail!("{PROGRAM} has made no scope"),
        }
    }

    /// The container's process is in the scope: sets the limits and waits until `sampan-scope` has gone.
    pub(crate) fn finish(mut self) -> Result<()> {
        say(self.requests.as_mut().context("no pipe")?, &"go")?;
        self.end()
    }

    fn end(mut self) -> Result<()> {
        let answer = self.hear();
        // It has nothing more to do in there, and must not be counted by what is written next.
        self.dismiss();
        match answer? {
            Answer::Done => Ok(()),
            Answer::Failed(reason) => bail!("{reason}"),
            Answer::Scope(path) => bail!("{PROGRAM} speaks of {}", Path::new(&path).display()),
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

/// Sets properties of a running scope.
pub(crate) fn set(unit: &str, user: Option<u32>, properties: Properties) -> Result<()> {
    let task = Task { unit: unit.to_owned(), user, request: Request::Set { properties } };
    Keeper::spawn(&task)?.end()
}

/// Ends a scope and has systemd forget it. It is no error if it is gone.
pub(crate) fn stop(unit: &str, user: Option<u32>) -> Result<()> {
    let task = Task { unit: unit.to_owned(), user, request: Request::Stop };
    Keeper::spawn(&task)?.end()
}
