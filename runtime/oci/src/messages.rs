//! Messages: errors on standard error for people, and where `--log` says for the caller, who reads them from
//! there; with `--debug` also what the library has to say.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use anyhow::Context;
use log::{LevelFilter, Log, Metadata, Record};
use sampan_container::Error;

use crate::args::{Global, LogFormat, LogLevel};

/// Where messages go, as crun writes it.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    File(PathBuf),
    Journal(String),
    Syslog(String),
}

impl Target {
    fn new(text: &Path) -> Self {
        let prefix = |prefix: &str| text.to_str().and_then(|t| t.strip_prefix(prefix)).map(str::to_owned);
        let named = |name: String| if name.is_empty() { "sampan-runtime".into() } else { name };
        match (prefix("journald:"), prefix("syslog:"), prefix("file:")) {
            (Some(name), ..) => Target::Journal(named(name)),
            (_, Some(name), _) => Target::Syslog(named(name)),
            (.., Some(path)) => Target::File(path.into()),
            _ => Target::File(text.to_owned()),
        }
    }
}

/// An error in words. Those of the library that callers know by their words get runc's.
pub(crate) fn words(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Error>() {
        Some(Error::NoSuchContainer(id)) => format!("container does not exist: {id:?}"),
        Some(Error::Exists(id)) => format!("container with given ID already exists: {id:?}"),
        _ => once(error),
    }
}

/// The whole chain of causes, each once: the library's errors name theirs already.
fn once(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.ends_with(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Writes an error to both places.
pub(crate) fn error(global: &Global, message: &str) {
    eprintln!("sampan-runtime: error: {message}");
    if let Some(log) = &global.log {
        send(&Target::new(log), global.log_format, "error", message);
    }
}

/// Writes a warning to both places: something was done otherwise than it was asked for.
pub(crate) fn warning(global: &Global, message: &str) {
    eprintln!("sampan-runtime: warning: {message}");
    if let Some(log) = &global.log {
        send(&Target::new(log), global.log_format, "warning", message);
    }
}

/// Lets the library's messages through: warnings, and the others if they are wanted.
///
/// # Errors
/// A file for them that can't be opened: the caller would wait for words in vain.
pub(crate) fn init(global: &Global) -> anyhow::Result<()> {
    let wanted = global.debug || global.log_level == LogLevel::Debug;
    let target = global.log.as_deref().map(Target::new);
    if let Some(Target::File(path)) = &target {
        open(path).with_context(|| format!("--log: open({})", path.display()))?;
    }
    let logger = Messages { target, format: global.log_format };
    // It fails only if there is a logger already, and this is the one place that sets one.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(if wanted { LevelFilter::Debug } else { LevelFilter::Warn });
    }
    Ok(())
}

struct Messages {
    target: Option<Target>,
    format: LogFormat,
}

impl Log for Messages {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (level, message) = match record.level() {
            log::Level::Warn => ("warning".to_owned(), record.args().to_string()),
            level => (level.as_str().to_lowercase(), record.args().to_string()),
        };
        if self.target.is_some() && record.level() == log::Level::Warn {
            // As every warning: to both places.
            eprintln!("sampan-runtime: warning: {message}");
        }
        match &self.target {
            Some(target) => send(target, self.format, &level, &message),
            None => eprintln!("sampan-runtime: {level}: {message}"),
        }
    }

    fn flush(&self) {}
}

/// Nothing is left to complain to if this fails: an error is on standard error already.
fn send(target: &Target, format: LogFormat, level: &str, message: &str) {
    let priority = if level == "error" { 3 } else { 7 };
    let _ = match target {
        Target::File(path) => append(path, format, level, message),
        Target::Journal(name) => datagram("/run/systemd/journal/socket", &entry(name, priority, message)),
        // The facility is that of daemons (3), as in syslog(3).
        Target::Syslog(name) => {
            datagram("/dev/log", format!("<{}>{name}: {message}", 3 << 3 | priority).as_bytes())
        }
    };
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

fn append(path: &Path, format: LogFormat, level: &str, message: &str) -> std::io::Result<()> {
    let time = jiff::Timestamp::now();
    let line = match format {
        LogFormat::Json => {
            let line = serde_json::json!({"level": level, "msg": message, "time": time.to_string()});
            format!("{line}\n")
        }
        LogFormat::Text => format!("time=\"{time}\" level={level} msg={message:?}\n"),
    };
    open(path)?.write_all(line.as_bytes())
}

fn datagram(socket: &str, data: &[u8]) -> std::io::Result<()> {
    UnixDatagram::unbound()?.send_to(data, socket).map(|_| ())
}

/// An entry as systemd's "Journal Native Protocol" has it: the message with its length, as it may have lines.
fn entry(name: &str, priority: u8, message: &str) -> Vec<u8> {
    let name = name.replace('\n', " ");
    let mut entry = format!("PRIORITY={priority}\nSYSLOG_IDENTIFIER={name}\nMESSAGE\n").into_bytes();
    entry.extend_from_slice(&(message.len() as u64).to_le_bytes());
    entry.extend_from_slice(message.as_bytes());
    entry.push(b'\n');
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_those_of_crun() {
        for (text, target) in [
            ("/tmp/log", Target::File("/tmp/log".into())),
            ("file:/tmp/log", Target::File("/tmp/log".into())),
            ("journald:web", Target::Journal("web".into())),
            ("syslog:", Target::Syslog("sampan-runtime".into())),
        ] {
            assert_eq!(Target::new(Path::new(text)), target);
        }
    }

    #[test]
    fn clients_find_their_words() {
        let words = |error: Error| super::words(&anyhow::Error::from(error));
        // containerd and Podman: "does not exist"; runc's own words for the other.
        assert!(words(Error::NoSuchContainer("web".into())).contains("container does not exist"));
        assert!(words(Error::Exists("web".into())).contains("container with given ID already exists"));
    }

    #[test]
    fn a_cause_is_named_once() {
        let source = std::io::Error::from_raw_os_error(2);
        let error = anyhow::Error::from(Error::Call { call: "open(/x)".into(), source }).context("bundle");
        assert_eq!(super::words(&error), "bundle: open(/x): No such file or directory (os error 2)");
    }

    #[test]
    fn a_message_of_lines_is_one_field_of_the_journal() {
        let entry = entry("web", 3, "a\nPRIORITY=0");
        assert!(entry.ends_with(b"MESSAGE\n\x0c\0\0\0\0\0\0\0a\nPRIORITY=0\n"), "{entry:?}");
    }
}
