//! Writes units and links, many of them while the next units are translated.
//!
//! More than half of the time for hundreds of files is the kernel's, which makes the units and their
//! links. Units are handed over in [`BATCH`]es to a thread that writes them and gives them back, and
//! the thread that translates makes the links of those. The second thread is started with the first
//! full batch, so a machine with a few files never has one. What a unit or a link meets in the
//! directory does not depend on which thread is faster: all units are written in order by one, all
//! links made in order by the other, and the few links that stand beside units come after all units.

use crate::GeneratedUnit;
use crate::diagnostic::Diagnostic;
use crate::install::Link;
use crate::output::{Links, Units};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::thread::{Builder, JoinHandle};

/// How many units are handed over at once: few enough to keep both threads busy, enough that waking
/// each other takes no time.
const BATCH: usize = 64;

/// How many batches may wait to be written, so that memory stays bounded.
const WAITING: usize = 4;

/// A directory that units are written into, by a thread of its own if they are many.
#[derive(Debug)]
pub struct Background {
    directory: PathBuf,
    batch: Batch,
    links: Links,
    writer: Option<Writer>,
}

/// Who writes, once there is a full batch.
#[derive(Debug)]
enum Writer {
    Here(Units),
    Thread { waiting: SyncSender<Batch>, written: Receiver<Batch>, thread: JoinHandle<Units> },
}

impl Background {
    /// An output directory; nothing is created yet.
    pub fn new(directory: &Path) -> Self {
        let links = Links::new(directory);
        Self { directory: directory.to_owned(), batch: Batch::default(), links, writer: None }
    }

    /// Takes a unit with its links. A unit that another generator wrote is left alone.
    pub fn write(&mut self, unit: &GeneratedUnit<'_>) {
        self.batch.push(unit);
        if self.batch.units.len() < BATCH {
            return;
        }
        let batch = std::mem::take(&mut self.batch);
        match self.writer.get_or_insert_with(|| start(&self.directory)) {
            Writer::Here(units) => batch.write(units).link(&mut self.links),
            Writer::Thread { waiting, written, .. } => {
                // Refused only by a thread that has panicked, which `finish` passes on.
                drop(waiting.send(batch));
                written.try_iter().for_each(|batch| batch.link(&mut self.links));
            }
        }
    }

    /// Waits until everything is written; returns what could not be.
    pub fn finish(mut self) -> Vec<Diagnostic> {
        let units = match self.writer {
            Some(Writer::Thread { waiting, written, thread }) => {
                drop(waiting.send(self.batch));
                drop(waiting);
                written.iter().for_each(|batch| batch.link(&mut self.links));
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            here => {
                let mut units = match here {
                    Some(Writer::Here(units)) => units,
                    _ => Units::new(&self.directory),
                };
                self.batch.write(&mut units).link(&mut self.links);
                units
            }
        };
        let mut findings = units.findings;
        findings.extend(self.links.finish());
        findings
    }
}

/// Starts a thread that writes; without one, units are written here.
fn start(directory: &Path) -> Writer {
    let (waiting, batches): (_, Receiver<Batch>) = sync_channel(WAITING);
    let (back, written) = channel();
    let mut units = Units::new(directory);
    let write = move || {
        for batch in batches {
            // Refused only when nobody makes links any more.
            drop(back.send(batch.write(&mut units)));
        }
        units
    };
    match Builder::new().name("writer".to_owned()).spawn(write) {
        Ok(thread) => Writer::Thread { waiting, written, thread },
        Err(_) => Writer::Here(Units::new(directory)),
    }
}

/// Units that wait to be written or, when that is done, linked.
#[derive(Debug, Default)]
struct Batch {
    units: Vec<Waiting>,
    /// Their texts, one behind the other.
    texts: String,
}

#[derive(Debug)]
struct Waiting {
    name: String,
    text: Range<usize>,
    links: Vec<Link>,
    source: PathBuf,
}

impl Batch {
    fn push(&mut self, unit: &GeneratedUnit<'_>) {
        let start = self.texts.len();
        self.texts.push_str(unit.text);
        self.units.push(Waiting {
            name: unit.name.to_owned(),
            text: start..self.texts.len(),
            links: unit.links.to_vec(),
            source: unit.source.to_owned(),
        });
    }

    /// Writes the units; those that can't be written are no longer in the batch.
    fn write(self, output: &mut Units) -> Self {
        let Self { mut units, texts } = self;
        units.retain(|unit| output.write(&unit.name, &texts[unit.text.clone()], &unit.source));
        Self { units, texts: String::new() }
    }

    fn link(self, links: &mut Links) {
        self.units.iter().for_each(|unit| links.make(&unit.links, &unit.source));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_units_are_written_as_few_are() {
        for count in [1, BATCH, 5 * BATCH + 1] {
            let scratch = tempfile::tempdir().unwrap();
            let directory = scratch.path().join("out");
            let mut background = Background::new(&directory);
            for at in (0..count).chain([0]) {
                let (name, text) = (format!("{at}.service"), format!("[Unit]\nDescription={at}\n"));
                let link = Link { path: format!("t.wants/{name}"), target: format!("../{name}") };
                let (links, source) = (&[link], Path::new("/u/a.container"));
                background.write(&GeneratedUnit { name: &name, text: &text, links, source });
            }
            assert_eq!(background.writer.is_some(), count >= BATCH);
            let findings = background.finish();
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert!(findings[0].file.ends_with("0.service"), "{findings:?}");
            for at in 0..count {
                let link = directory.join(format!("t.wants/{at}.service"));
                assert_eq!(std::fs::read_to_string(link).unwrap(), format!("[Unit]\nDescription={at}\n"));
            }
        }
    }
}
