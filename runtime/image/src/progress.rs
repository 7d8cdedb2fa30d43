//! What a pull tells its caller while it runs.

use std::fmt;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shortest time between two reports.
const INTERVAL: Duration = Duration::from_millis(100);

/// How far a pull has come. Printed, it is the text of a unit's `STATUS=`:
/// `layer 2/5 28% 118 MB of 410 MB 38 MB/s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Number of the layer being worked on, from 1; equal to `layers` at the end.
    pub layer: usize,
    /// Layers that this pull has to fetch (those already present are not counted).
    pub layers: usize,
    /// Compressed bytes received so far.
    pub bytes: u64,
    /// Compressed bytes of all layers to fetch.
    pub total: u64,
    /// Compressed bytes per second since the transfer began.
    pub rate: u64,
    /// Another process is fetching; this one waits for it and relays its progress.
    pub waiting: bool,
}

impl Progress {
    /// How much of it is here, from 0 to 100.
    pub fn percent(&self) -> u64 {
        self.bytes.saturating_mul(100).checked_div(self.total).map_or(100, |percent| percent.min(100))
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "layer {}/{} {}% {} of {} {}/s",
            self.layer,
            self.layers,
            self.percent(),
            Size(self.bytes),
            Size(self.total),
            Size(self.rate)
        )?;
        if self.waiting { f.write_str(" (fetched by another process)") } else { Ok(()) }
    }
}

/// A number of bytes in decimal units without fraction.
struct Size(u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes @ 0..1_000 => write!(f, "{bytes} B"),
            bytes @ 1_000..1_000_000 => write!(f, "{} kB", bytes / 1_000),
            bytes => write!(f, "{} MB", bytes / 1_000_000),
        }
    }
}

/// Collects what the layers' threads report and calls the caller's function now and then: only
/// when bytes flowed or a layer was finished, at most once per 100 ms.
pub(crate) struct Meter<'a> {
    report: &'a (dyn Fn(&Progress) + Sync),
    state: Mutex<State>,
}

struct State {
    started: Instant,
    reported: Option<Instant>,
    finished: usize,
    progress: Progress,
}

impl<'a> Meter<'a> {
    pub(crate) fn new(report: &'a (dyn Fn(&Progress) + Sync), layers: usize, total: u64) -> Self {
        let progress = Progress { layer: layers.min(1), layers, total, ..Progress::default() };
        let state = State { started: Instant::now(), reported: None, finished: 0, progress };
        Self { report, state: Mutex::new(state) }
    }

    /// Bytes arrived here.
    pub(crate) fn received(&self, bytes: u64) {
        self.update(false, |progress| {
            progress.bytes += bytes;
            progress.waiting = false;
        });
    }

    /// Bytes arrived in another process that fetches a layer for us.
    pub(crate) fn relayed(&self, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.update(false, |progress| {
            progress.bytes += bytes;
            progress.waiting = true;
        });
    }

    /// Bytes that were relayed are not coming: the other process failed.
    pub(crate) fn withdraw(&self, bytes: u64) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        state.progress.bytes = state.progress.bytes.saturating_sub(bytes);
    }

    /// A layer is unpacked and verified.
    pub(crate) fn layer_finished(&self) {
        self.update(true, |_| ());
    }

    fn update(&self, finished: bool, change: impl FnOnce(&mut Progress)) {
        let mut state = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut state.progress);
        state.finished += usize::from(finished);
        let now = Instant::now();
        let due = state.reported.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if !due && state.finished < state.progress.layers {
            return;
        }
        state.reported = Some(now);
        let elapsed = now.duration_since(state.started).as_millis().max(1) as u64;
        state.progress.rate = state.progress.bytes.saturating_mul(1000) / elapsed;
        state.progress.layer = (state.finished + 1).min(state.progress.layers);
        let progress = state.progress;
        // The lock is held during the call so that reports arrive in order.
        (self.report)(&progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_what_a_unit_shows() {
        let progress = Progress {
            layer: 2,
            layers: 5,
            bytes: 118_300_000,
            total: 410_000_000,
            rate: 38_900_000,
            waiting: false,
        };
        assert_eq!(progress.to_string(), "layer 2/5 28% 118 MB of 410 MB 38 MB/s");
        let relayed = Progress { waiting: true, ..progress };
        assert!(relayed.to_string().ends_with("38 MB/s (fetched by another process)"), "{relayed}");
        assert_eq!(Progress::default().percent(), 100);
    }

    #[test]
    fn reports_are_spaced_but_the_last_one_always_comes() {
        let seen = Mutex::new(Vec::new());
        let report = |progress: &Progress| seen.lock().unwrap().push(*progress);
        let meter = Meter::new(&report, 2, 2000);
        for _ in 0..1000 {
            meter.received(2);
        }
        meter.layer_finished();
        meter.layer_finished();
        let seen = seen.into_inner().unwrap();
        assert!(seen.len() < 20, "{} reports", seen.len());
        let last = seen.last().unwrap();
        assert_eq!((last.layer, last.bytes, last.total), (2, 2000, 2000));
    }
}
