//! How far a fetch is, where people look: a bar on a terminal, `systemctl status` of a unit.
//!
//! A unit's start has more time while bytes flow. A fetch that stands still ends by itself before that time is over,
//! with its cause, which systemd's own time-out would not have.

use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use sampan_image::Progress;

use crate::run::unit::Unit;

/// A status is written at most this often; `systemctl status` is read by people.
const EVERY: Duration = Duration::from_millis(250);
/// How much longer a start may take than a fetch may stand still.
const MARGIN: Duration = Duration::from_secs(30);

/// Shows one fetch after the other.
#[derive(Debug)]
pub(crate) struct Shown<'a> {
    bar: ProgressBar,
    unit: Option<&'a Unit>,
    patience: OnceLock<Duration>,
    last: Mutex<Option<Instant>>,
}

impl<'a> Shown<'a> {
    /// In the unit's status, if this is the main process of a unit that listens to it; else, unless `quiet`, as a bar.
    /// A bar hides itself where standard error is no terminal.
    pub(crate) fn new(quiet: bool, unit: Option<&'a Unit>) -> Self {
        let template = "{msg}  {percent:>3}%  {bytes:>10}/{total_bytes:<10} {bar:30} {binary_bytes_per_sec}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = if quiet || unit.is_some() { ProgressBar::hidden() } else { ProgressBar::new(0) };
        Self { bar: bar.with_style(style), unit, patience: OnceLock::new(), last: Mutex::new(None) }
    }

    /// A fetch begins that goes on for so long without a byte.
    pub(crate) fn begin(&self, name: &str, patience: Duration) {
        let _ = self.patience.set(patience);
        if let Some(unit) = self.unit {
            unit.progress(&format!("fetching {name}"), patience.saturating_add(MARGIN));
        }
    }

    /// Bytes have come.
    pub(crate) fn show(&self, progress: &Progress) {
        let Some(unit) = self.unit else {
            let other = if progress.waiting { " (another process)" } else { "" };
            self.bar.set_message(format!("layer {}/{}{other}", progress.layer, progress.layers));
            self.bar.set_length(progress.total);
            self.bar.set_position(progress.bytes);
            return;
        };
        let Ok(mut last) = self.last.lock() else { return };
        if last.is_none_or(|last| last.elapsed() >= EVERY) {
            *last = Some(Instant::now());
            let patience = self.patience.get().copied().unwrap_or_default();
            unit.progress(&progress.to_string(), patience.saturating_add(MARGIN));
        }
    }

    /// Takes the bar away.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
