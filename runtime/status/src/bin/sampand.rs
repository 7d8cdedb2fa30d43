//! `sampand`: the bus service `org.sampan1`. The bus starts it when somebody calls, and it leaves
//! when it has nothing to do; containers don't depend on it.

use std::process::ExitCode;

use sampan_status::service::{self, Configuration};
use systemd_journal_logger::{JournalLog, connected_to_journal};

fn main() -> ExitCode {
    if connected_to_journal() {
        // A journal that can't be reached is no reason to fail: errors go to stderr as well.
        if let Ok(journal) = JournalLog::new() {
            let _ = journal.install();
        }
        log::set_max_level(log::LevelFilter::Info);
    }
    match service::serve(&Configuration::default()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("sampand: {error}");
            ExitCode::FAILURE
        }
    }
}
