//! Runs the command of a check in the container, and keeps the beginning of what it says.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use jiff::Timestamp;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use rustix::stdio::{dup2_stderr, dup2_stdout, stderr, stdout};
use sampan_container::process;
use sampan_container::state::{ContainerDir, State};

use crate::Coded;
use crate::context::Context;
use crate::exec::{self, Program};
use crate::run::health;

/// So much output goes to the journal at least, in bytes, also where less is kept.
pub(super) const JOURNAL_SIZE: usize = 4096;

/// What came of a check.
#[derive(Debug)]
pub(super) struct Outcome {
    /// When it began.
    pub(super) start: Timestamp,
    /// When it ended.
    pub(super) end: Timestamp,
    /// The command's exit status; 1 where it took too long.
    pub(super) exit_code: i32,
    /// The beginning of standard output and error.
    pub(super) output: String,
}

impl Outcome {
    /// Whether the container is well.
    pub(super) fn succeeded(&self) -> bool {
        self.exit_code == 0
    }
}

/// Runs `test` in the container for `timeout` at most, and keeps `size` bytes of its output.
///
/// # Errors
/// The container can't be joined.
pub(super) fn run(
    context: &Context,
    container: &ContainerDir,
    state: &State,
    test: &[String],
    timeout: Duration,
    size: usize,
) -> anyhow::Result<Outcome> {
    let start = Timestamp::now();
    let program = Program {
        arguments: health::arguments(test),
        environment: &[],
        user: None,
        directory: None,
        privileged: false,
        terminal: false,
        preserve_fds: 0,
    };
    let (reader, writer): (OwnedFd, OwnedFd) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
        .context("making a pipe for the check's output")?;
    let joined =
        speaking_into(&writer, || exec::join(context, container, state, &container.read_spec()?, &program))?;
    drop(writer);
    let (exit_code, output) = match joined {
        // A check that can't be executed has failed.
        Err(error) => match error.downcast::<Coded>() {
            Ok(coded) => (coded.code.into(), coded.message),
            Err(error) => return Err(error),
        },
        Ok(joined) => {
            let mut output = Output { pipe: Some(File::from(reader)), kept: Vec::new(), size };
            let in_time = output.collect(joined.pidfd(), Instant::now() + timeout)?;
            if !in_time {
                end(&joined)?;
            }
            let status = joined.wait()?;
            let text = String::from_utf8_lossy(&output.kept).into_owned();
            if in_time {
                (status, text)
            } else {
                (1, format!("{text}the check took longer than {timeout:?}"))
            }
        }
    };
    Ok(Outcome { start, end: Timestamp::now(), exit_code, output })
}

/// Kills the check and what it has started: the program leads a session of its own, and its children are in its
/// process group unless they have left it. Its number is not given away before we have waited for it.
fn end(joined: &process::Joined) -> anyhow::Result<()> {
    let group = Pid::from_raw(joined.pid()).context("the check has no process")?;
    match kill_process_group(group, Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => return Err(error).context("killing the check's process group"),
    }
    // Also if it is not the leader yet.
    process::signal(joined.pidfd(), nix::libc::SIGKILL)?;
    Ok(())
}

/// Runs something whose children have the pipe as standard output and error, and takes our own back.
fn speaking_into<T>(writer: &OwnedFd, run: impl FnOnce() -> T) -> anyhow::Result<T> {
    let keep = |stream: BorrowedFd<'_>| stream.try_clone_to_owned().context("keeping the standard streams");
    let (output, error) = (keep(stdout())?, keep(stderr())?);
    // The program gets an end that waits while the pipe is full, as any program expects.
    rustix::fs::fcntl_setfl(writer, rustix::fs::OFlags::empty()).context("making the pipe wait")?;
    dup2_stdout(writer).and_then(|()| dup2_stderr(writer)).context("standard output to a pipe")?;
    let result = run();
    dup2_stdout(&output).and_then(|()| dup2_stderr(&error)).context("taking the standard streams back")?;
    Ok(result)
}

/// What comes out of the pipe.
struct Output {
    pipe: Option<File>,
    kept: Vec<u8>,
    size: usize,
}

impl Output {
    /// Reads until the process has ended; `false` if that wasn't before the deadline. What it leaves running may hold
    /// the pipe open, and isn't waited for.
    fn collect(&mut self, process: BorrowedFd<'_>, deadline: Instant) -> anyhow::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut fds = vec![PollFd::new(&process, PollFlags::IN)];
            if let Some(pipe) = &self.pipe {
                fds.push(PollFd::from_borrowed_fd(pipe.as_fd(), PollFlags::IN));
            }
            match poll(&mut fds, Some(&left)) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(error).context("waiting for the check"),
            }
            let has_ended = !fds[0].revents().is_empty();
            let speaks = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
            if speaks {
                self.take();
            }
            // What it said last is in the pipe by now.
            if has_ended && !speaks {
                return Ok(true);
            }
            if Instant::now() >= deadline {
                return Ok(has_ended);
            }
        }
    }

    /// Reads once. What is too much is thrown away, or the program would wait for a reader.
    fn take(&mut self) {
        let mut buffer = [0u8; 4096];
        let read = self.pipe.as_mut().map(|pipe| pipe.read(&mut buffer));
        match read {
            Some(Ok(count)) if count > 0 => {
                let room = self.size.saturating_sub(self.kept.len());
                self.kept.extend_from_slice(&buffer[..count.min(room)]);
            }
            Some(Err(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            _ => self.pipe = None,
        }
    }
}
