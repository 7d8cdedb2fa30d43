//! Where the container's output goes, and where its input comes from.
//!
//! Standard output and error of a unit are the journal's stream, and the container has them as they are: nobody
//! stands between. The stream is a socket, and a socket can't be opened by name. Images whose log files are links to
//! `/dev/stdout` (the official nginx and httpd) do just that, so their containers get a pipe instead, which can be
//! opened again, and `cat` of coreutils takes what comes out of it to the stream. It belongs to the unit and ends with
//! the last writer.

use std::fs::{File, OpenOptions};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use anyhow::{Context, anyhow};
use rustix::fs::FileType;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::stdio::{dup2_stderr, dup2_stdin, dup2_stdout, stderr, stdin, stdout};

use super::options::Options;
use crate::blame::Blamed as _;

/// The file with the process identifier of the `cat`, in the container's directory.
pub(crate) const COPIER: &str = "copier";

/// This process's own streams, while those of the container stand in their place.
#[derive(Debug)]
pub(crate) struct Arranged {
    own: [OwnedFd; 3],
    /// The process that copies, if there is one.
    pub(crate) copier: Option<u32>,
}

/// Puts the streams that the container shall inherit into the place of this process's own.
///
/// # Errors
/// An unknown log driver, or a pipe or `cat` can't be had.
pub(crate) fn arrange(options: &Options, in_unit: bool, links_to_output: bool) -> anyhow::Result<Arranged> {
    let keep = |stream: BorrowedFd<'_>| stream.try_clone_to_owned().context("keeping the standard streams");
    let own = [keep(stdin())?, keep(stdout())?, keep(stderr())?];
    let mut arranged = Arranged { own, copier: None };
    // A unit's input is a socket only if it says so: StandardInput=socket.
    let is_connection = in_unit && is_socket(stdin())?;
    if !options.interactive && !options.tty && !is_connection {
        close_input()?;
    }
    if !options.log_opt.is_empty() {
        log::warn!(
            "LogOpt={}: the journal has no such options, so this has no effect",
            options.log_opt.join(" ")
        );
    }
    match options.log_driver.as_deref().unwrap_or("journald") {
        "none" => {
            let null = open_null()?;
            dup2_stdout(&null).and_then(|()| dup2_stderr(&null)).context("standard output to /dev/null")?;
        }
        "passthrough" | "passthrough-tty" => {}
        driver @ ("journald" | "k8s-file" | "json-file") => {
            if driver != "journald" {
                log::warn!("LogDriver={driver}: there are no log files; the journal has the output");
            }
            // Said in so many words, it is a pipe: also for programs that open /dev/stderr without a link.
            let is_asked = options.log_driver.as_deref() == Some("journald");
            arranged.copier = copy_if_needed(links_to_output || is_asked)?;
        }
        other => {
            return Err(anyhow!("there is no log driver \"{other}\"; known are journald, passthrough, none"))
                .blame("LogDriver", "");
        }
    }
    Ok(arranged)
}

impl Arranged {
    /// Takes this process's own streams back: what it has to say goes to the journal itself, not through a pipe that
    /// ends with the container.
    ///
    /// # Errors
    /// dup2(2)'s.
    pub(crate) fn give_back(&self) -> anyhow::Result<()> {
        let [input, output, error] = &self.own;
        dup2_stdin(input)
            .and_then(|()| dup2_stdout(output))
            .and_then(|()| dup2_stderr(error))
            .context("taking the standard streams back")
    }
}

fn copy_if_needed(links_to_output: bool) -> anyhow::Result<Option<u32>> {
    if !links_to_output || !is_socket(stdout())? {
        return Ok(None);
    }
    let (reader, writer): (OwnedFd, OwnedFd) =
        pipe_with(PipeFlags::CLOEXEC).context("making a pipe for the output")?;
    let copier = Command::new("cat").stdin(Stdio::from(reader)).spawn();
    let copier = copier.context("the image opens /dev/stdout by name, which takes cat(1) beside it")?;
    dup2_stdout(&writer).and_then(|()| dup2_stderr(&writer)).context("standard output to a pipe")?;
    Ok(Some(copier.id()))
}

/// Standard input from `/dev/null`: a program without `-i` leaves the caller's input alone.
///
/// # Errors
/// open(2)'s and dup2(2)'s.
pub(crate) fn close_input() -> anyhow::Result<()> {
    dup2_stdin(open_null()?).context("standard input from /dev/null")
}

/// Whether a stream is a socket, as the journal's are, and not a file, a terminal or a pipe.
fn is_socket(stream: BorrowedFd<'_>) -> anyhow::Result<bool> {
    let status = rustix::fs::fstat(stream).context("looking at the standard streams")?;
    Ok(FileType::from_raw_mode(status.st_mode) == FileType::Socket)
}

fn open_null() -> anyhow::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/null").context("opening /dev/null")
}
