//! What is known of a container's health: a verdict, counters, the last results.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use jiff::Timestamp;
use sampan_container::state::{ContainerDir, Healthcheck, StartupCheck};
use serde::{Deserialize, Serialize};

use super::check::Outcome;

/// The file beside the container's state.
const FILE: &str = "health.json";

/// What the last checks found. Podman's words: `starting`, `healthy`, `unhealthy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Health {
    /// The verdict.
    pub(crate) status: String,
    /// Failures in a row.
    pub(crate) failing_streak: u32,
    /// When the last check was (RFC 3339).
    pub(crate) last: String,
    /// The last results, the oldest first; empty where they are kept elsewhere.
    pub(crate) log: Vec<Entry>,
    /// Whether the startup check has succeeded often enough.
    pub(super) has_started: bool,
    /// How often it has succeeded.
    pub(super) startup_successes: u32,
    /// How often it has failed.
    pub(super) startup_failures: u32,
}

/// One result, in the words of `podman inspect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(crate) struct Entry {
    start: String,
    end: String,
    exit_code: i32,
    output: String,
}

impl Health {
    /// What is known; `None` before the first check.
    pub(crate) fn read(container: &ContainerDir) -> Option<Self> {
        serde_json::from_slice(&fs::read(container.path().join(FILE)).ok()?).ok()
    }

    /// Replaces what was known.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn write(&self, container: &ContainerDir) -> anyhow::Result<()> {
        replace(container.path(), FILE, &serde_json::to_vec(self)?)
    }

    /// The next verdict, after a check at `now` of a container that started at `started`.
    pub(super) fn after(
        &self,
        succeeded: bool,
        check: &Healthcheck,
        started: Option<Timestamp>,
        now: Timestamp,
    ) -> Self {
        let same = Self { last: now.to_string(), ..self.clone() };
        if succeeded {
            return Self { status: "healthy".into(), failing_streak: 0, ..same };
        }
        let period = i64::try_from(check.start_period / 1_000_000).unwrap_or(i64::MAX);
        let is_starting = self.status != "healthy"
            && self.status != "unhealthy"
            && started.is_some_and(|started| now.as_millisecond() - started.as_millisecond() < period);
        let failing_streak = if is_starting { self.failing_streak } else { self.failing_streak + 1 };
        let status = match self.status.as_str() {
            _ if failing_streak >= check.retries.max(1) => "unhealthy",
            "" => "starting",
            same => same,
        };
        Self { status: status.into(), failing_streak, ..same }
    }

    /// What is known after a startup check.
    pub(super) fn after_startup(self, succeeded: bool, first: &StartupCheck, now: Timestamp) -> Self {
        let mut after = Self { status: "starting".into(), last: now.to_string(), ..self };
        if succeeded {
            after.startup_successes += 1;
        } else {
            after.startup_failures += 1;
            // They are counted in a row.
            after.startup_successes = 0;
        }
        after.has_started = after.startup_successes >= first.success;
        after
    }

    /// Keeps a result where the options say.
    ///
    /// # Errors
    /// The file in the directory of `--health-log-destination` can't be written.
    pub(super) fn keep(&mut self, outcome: &Outcome, check: &Healthcheck, id: &str) -> anyhow::Result<()> {
        let entry = Entry::new(outcome, check.max_log_size);
        match check.log_destination.as_str() {
            "" | "local" => push(&mut self.log, entry, check.max_log_count),
            "events_logger" => println!(
                "health check of {} ended with {}: {}",
                &id[..12.min(id.len())],
                entry.exit_code,
                entry.output.trim_end()
            ),
            directory => {
                let (directory, name) = (Path::new(directory), format!("{id}-healthcheck.log"));
                let mut file: Self = fs::read(directory.join(&name))
                    .ok()
                    .and_then(|bytes| serde_json::from_slice(&bytes).ok())
                    .unwrap_or_default();
                let mut log = std::mem::take(&mut file.log);
                push(&mut log, entry, check.max_log_count);
                let text = serde_json::to_vec(&Self { log, ..self.clone() })?;
                replace(directory, &name, &text)?;
            }
        }
        Ok(())
    }
}

impl Entry {
    fn new(outcome: &Outcome, size: u32) -> Self {
        let mut output = outcome.output.clone();
        if size > 0 {
            let size = usize::try_from(size).unwrap_or(usize::MAX).min(output.len());
            let end = (0..=size).rev().find(|end| output.is_char_boundary(*end)).unwrap_or(0);
            output.truncate(end);
        }
        Self {
            start: outcome.start.to_string(),
            end: outcome.end.to_string(),
            exit_code: outcome.exit_code,
            output,
        }
    }
}

/// Adds a result, and drops the oldest where there are too many.
fn push(log: &mut Vec<Entry>, entry: Entry, count: u32) {
    log.push(entry);
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    if count > 0 && log.len() > count {
        log.drain(..log.len() - count);
    }
}

/// Writes a file anew. The directory may be one that a container writes to as well: no link is followed there.
fn replace(directory: &Path, name: &str, text: &[u8]) -> anyhow::Result<()> {
    let (path, new) = (directory.join(name), directory.join(format!(".{name}.new")));
    let _ = fs::remove_file(&new); // of a check that was killed
    let write = |mut file: File| file.write_all(text);
    File::create_new(&new).and_then(write).with_context(|| format!("writing {}", new.display()))?;
    fs::rename(&new, &path).with_context(|| format!("renaming {}", new.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_only_after_the_start_period() {
        let check = Healthcheck { retries: 2, start_period: 10_000_000_000, ..Healthcheck::default() };
        let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = |seconds: i64| Timestamp::from_second(start.as_second() + seconds).unwrap();
        let mut health = Health::default();
        for (seconds, succeeded, status) in [
            (1, false, "starting"),
            (9, false, "starting"),
            (11, false, "starting"),
            (12, false, "unhealthy"),
            (13, true, "healthy"),
            (14, false, "healthy"),
            (15, false, "unhealthy"),
        ] {
            health = health.after(succeeded, &check, Some(start), at(seconds));
            assert_eq!(health.status, status, "at {seconds} s");
        }
    }

    #[test]
    fn a_start_takes_its_successes_in_a_row() {
        let first = StartupCheck { success: 2, ..StartupCheck::default() };
        let mut health = Health::default();
        for (succeeded, has_started) in [(true, false), (false, false), (true, false), (true, true)] {
            health = health.after_startup(succeeded, &first, Timestamp::UNIX_EPOCH);
            assert_eq!((health.has_started, health.status.as_str()), (has_started, "starting"));
        }
        assert_eq!(health.startup_failures, 1);
    }

    #[test]
    fn so_many_results_are_kept_and_so_much_of_each() {
        let outcome = |output: &str| Outcome {
            start: Timestamp::UNIX_EPOCH,
            end: Timestamp::UNIX_EPOCH,
            exit_code: 1,
            output: output.to_owned(),
        };
        let mut check = Healthcheck { max_log_count: 2, max_log_size: 4, ..Healthcheck::default() };
        let mut health = Health::default();
        for text in ["one", "two and more", "drei\u{e4}"] {
            health.keep(&outcome(text), &check, "0123456789abcdef").unwrap();
        }
        let kept: Vec<_> = health.log.iter().map(|entry| entry.output.as_str()).collect();
        assert_eq!(kept, ["two ", "drei"]);

        // In a directory, and over a link that somebody has put there.
        let (directory, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        check.log_destination = directory.path().display().to_string();
        std::os::unix::fs::symlink(elsewhere.path(), directory.path().join("id-healthcheck.log")).unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), directory.path().join(".id-healthcheck.log.new"))
            .unwrap();
        health.keep(&outcome("x"), &check, "id").unwrap();
        assert_eq!(fs::read(elsewhere.path()).unwrap(), b"");
        assert!(fs::read_to_string(directory.path().join("id-healthcheck.log")).unwrap().contains("\"x\""));
    }
}
