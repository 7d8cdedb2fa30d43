//! Remarks that are no results: to the journal where standard error is the journal's, else to standard error.

use log::{LevelFilter, Log, Metadata, Record};
use systemd_journal_logger::{JournalLog, connected_to_journal};

struct StandardError;

impl Log for StandardError {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let level = record.level().as_str().to_lowercase();
            eprintln!("{level}: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Sends warnings and errors of all rooms where people look. Without a journal socket that is standard error too.
pub(crate) fn begin() {
    let journal = connected_to_journal().then(JournalLog::new).and_then(Result::ok);
    let is_installed = journal.is_some_and(|journal| journal.install().is_ok());
    if !is_installed {
        // Fails only if there is a logger already.
        let _ = log::set_logger(&StandardError);
    }
    log::set_max_level(LevelFilter::Warn);
}
