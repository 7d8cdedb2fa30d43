//! `sampan logs`: the journal's lines of a container. There is no other log.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use anyhow::Context as _;

use crate::context::Context;

/// `sampan logs [options] CONTAINER…`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Go on with new lines as they come
    #[arg(long, short)]
    follow: bool,
    /// Only lines since then: a time, or 10m for ten minutes ago
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only lines until then
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "N", allow_hyphen_values = true)]
    tail: Option<i64>,
    /// Show when each line was written
    #[arg(long, short)]
    timestamps: bool,
    /// Show which container wrote it
    #[arg(long)]
    names: bool,
    /// Names or identifiers
    #[arg(value_name = "CONTAINER", required = true)]
    containers: Vec<String>,
}

/// Becomes journalctl(1).
///
/// # Errors
/// No such container, or there is no journalctl.
pub(crate) fn run(options: Options, context: &Context) -> anyhow::Result<ExitCode> {
    let containers = context.containers()?;
    let mut command = Command::new("journalctl");
    command.args(["--quiet", "--no-pager", "--no-hostname"]);
    let format = if options.timestamps { "short-iso" } else { "cat" };
    command.args(["--output", if options.names { "short" } else { format }]);
    if options.follow {
        command.arg("--follow");
    }
    match options.tail {
        Some(lines) if lines >= 0 => command.args(["--lines", &lines.to_string()]),
        _ => command.args(["--lines", "all"]),
    };
    for (flag, time) in [("--since", &options.since), ("--until", &options.until)] {
        if let Some(time) = time {
            command.args([flag, &journal_time(time)]);
        }
    }
    for (position, word) in options.containers.iter().enumerate() {
        let state = containers.get(word)?.read()?;
        let invocation = state.invocation_id.with_context(|| {
            format!(
                "container {word} was started in a shell and wrote there: only containers of units have a log"
            )
        })?;
        if position > 0 {
            command.arg("+");
        }
        // By invocation: earlier runs of the unit were other containers.
        command.arg(format!("_SYSTEMD_INVOCATION_ID={invocation}"));
    }
    Err(command.exec()).context("running journalctl")
}

/// Podman takes `10m` for ten minutes ago; journalctl wants a sign.
fn journal_time(text: &str) -> String {
    match crate::run::size::duration(text) {
        Ok(ago) if text.ends_with(char::is_alphabetic) => format!("-{}s", ago.as_secs()),
        _ => text.replace('T', " ").trim_end_matches('Z').to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_translated() {
        assert_eq!(journal_time("10m"), "-600s");
        assert_eq!(journal_time("2026-01-02T03:04:05Z"), "2026-01-02 03:04:05");
    }
}
