//! Where messages go: at boot into the kernel log, because nothing else runs yet and the journal
//! picks it up from there; on request to standard error.

use sampan_generator::{Diagnostic, Severity};
use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};

/// The kernel refuses longer records (`LOG_LINE_MAX` in kernel/printk/printk.c, less some room).
const LONGEST_RECORD: usize = 960;

/// Takes messages to where they are read.
#[derive(Debug)]
pub(crate) struct Report {
    kernel_log: Option<File>,
}

impl Report {
    /// Opens the kernel log if wanted and possible, and makes the log of what is done go the same
    /// way if `verbose`.
    pub(crate) fn open(kernel_log: bool, verbose: bool) -> Self {
        let open = || if kernel_log { OpenOptions::new().write(true).open("/dev/kmsg").ok() } else { None };
        if verbose && log::set_boxed_logger(Box::new(Steps(Self { kernel_log: open() }))).is_ok() {
            log::set_max_level(log::LevelFilter::Debug);
        }
        Self { kernel_log: open() }
    }

    /// Tells what is wrong: one record in the kernel log, several lines on standard error.
    pub(crate) fn diagnostic(&self, diagnostic: &Diagnostic) {
        let level = match diagnostic.severity {
            Severity::Error => 3,
            Severity::Warning => 4,
            Severity::Note => 5,
        };
        if !self.record(level, &diagnostic.one_line()) {
            let mut stderr = std::io::stderr();
            let colours = stderr.is_terminal();
            // A lost message can't be reported anywhere.
            let _ = writeln!(stderr, "{}", diagnostic.render(colours));
        }
    }

    /// Writes one record to the kernel log, with a level as in syslog(3).
    fn record(&self, level: u8, text: &str) -> bool {
        let Some(mut log) = self.kernel_log.as_ref() else { return false };
        let mut record = format!("<{level}>sampan-generator[{}]: {text}", std::process::id());
        let end = (0..=LONGEST_RECORD.min(record.len())).rev().find(|end| record.is_char_boundary(*end));
        record.truncate(end.unwrap_or(0));
        log.write_all(record.as_bytes()).is_ok()
    }
}

/// The log of what is done.
struct Steps(Report);

impl log::Log for Steps {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let text = record.args().to_string();
        if !self.0.record(7, &text) {
            let _ = writeln!(std::io::stderr(), "sampan-generator[{}]: {text}", std::process::id());
        }
    }

    fn flush(&self) {}
}
