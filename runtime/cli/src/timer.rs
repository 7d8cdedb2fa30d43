//! Transient timers of systemd: they call for us again where no process of ours stays.
//!
//! They are made by systemd-run(1): a D-Bus connection of our own would leave a thread, and a container's process is
//! cloned from one thread.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::context::Context;

/// A timer that lives as long as a service, and the service that it calls for.
#[derive(Debug)]
pub(crate) struct Transient<'a> {
    /// The names of both without their extensions: `web-health`.
    pub(crate) stem: &'a str,
    /// The container's service, `web.service`.
    pub(crate) service: &'a str,
    /// From one call to the next, and to the first.
    pub(crate) interval: Duration,
    /// The arguments of `sampan`.
    pub(crate) arguments: &'a [&'a str],
}

impl Transient<'_> {
    /// The command that makes it.
    pub(crate) fn command(&self, context: &Context) -> Command {
        let (service, interval) = (self.service, format!("{}us", self.interval.as_micros()));
        let mut command = Command::new("systemd-run");
        command.args(["--no-block", "--quiet", "--collect", "--unit", self.stem]);
        command.args([format!("--on-active={interval}"), format!("--on-unit-active={interval}")]);
        for property in ["BindsTo", "After"] {
            command.arg(format!("--timer-property={property}={service}"));
        }
        let accuracy = accuracy(self.interval).as_micros();
        command.arg(format!("--timer-property=AccuracySec={accuracy}us"));
        command.arg("--timer-property=CollectMode=inactive-or-failed");
        for property in ["Requisite", "After"] {
            command.arg(format!("--property={property}={service}"));
        }
        // As in units that the generator writes: systemd's own lines about each start stay out of the journal.
        command.args([
            // Short intervals are more starts than systemd allows by default.
            "--property=StartLimitIntervalSec=0",
            "--property=Type=oneshot",
            "--property=LogLevelMax=notice",
            "--property=SyslogLevel=notice",
        ]);
        command.arg(format!("--property=SyslogIdentifier={}", service.trim_end_matches(".service")));
        command.arg("--").arg("/usr/bin/sampan").args(context.as_options()).args(self.arguments);
        command
    }
}

/// The name of a unit that belongs to a service: `web-health`, `web-health@one`.
pub(crate) fn stem(service: &str, purpose: &str) -> String {
    let stem = service.strip_suffix(".service").unwrap_or(service);
    let (prefix, instance) = stem.split_at(stem.find('@').unwrap_or(stem.len()));
    format!("{prefix}-{purpose}{instance}")
}

/// The command that starts or stops a timer.
pub(crate) fn systemctl(verb: &str, stem: &str) -> Command {
    let mut command = Command::new("systemctl");
    command.args(["--no-block", "--quiet", verb, &format!("{stem}.timer")]);
    command
}

/// Runs a command that says why it fails.
///
/// # Errors
/// Its words.
pub(crate) fn execute(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program}: {}", said.trim());
    Ok(())
}

/// How late a call may come: a second, of short intervals a tenth.
fn accuracy(interval: Duration) -> Duration {
    (interval / 10).clamp(Duration::from_millis(1), Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_intervals_are_kept_to_a_tenth() {
        for (interval, expected) in [(1, 1), (2000, 200), (10_000, 1000), (60_000, 1000)] {
            assert_eq!(accuracy(Duration::from_millis(interval)), Duration::from_millis(expected));
        }
    }

    #[test]
    fn units_are_named_after_the_service() {
        assert_eq!(stem("web.service", "health"), "web-health");
        assert_eq!(stem("web@a@b.service", "dhcp"), "web-dhcp@a@b");
    }
}
