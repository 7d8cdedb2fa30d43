//! Writes many units while the next ones are translated.
//!
//! More than half of the time for hundreds of files is the kernel's, which makes the units and their
//! links. That can be done beside the translation. Units are handed over in [`BATCH`]es, and the
//! thread is started with the first full one, so a machine with a few files never has a second
//! thread. One thread writes all, in order: what a unit meets in the directory does not depend on
//! chance.

use crate::GeneratedUnit;
use crate::diagnostic::Diagnostic;
use crate::install::Link;
use crate::output::Output;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

/// How many units are handed over at once: few enough to keep both threads busy, enough that waking
/// each other takes no time.
const BATCH: usize = 64;

/// How many batches may wait, so that memory stays bounded.
const WAITING: usize = 4;

/// A directory that units are written into, by a thread of its own if they are many.
#[derive(Debug)]
pub struct Background {
    directory: PathBuf,
    batch: Batch,
    writer: Option<Writer>,
}

/// Who writes, once there is a full batch.
#[derive(Debug)]
enum Writer {
    Here(Output),
    Thread(SyncSender<Batch>, JoinHandle<Output>),
}

impl Background {
    /// An output directory; nothing is created yet.
    pub fn new(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), batch: Batch::default(), writer: None }
    }

    /// Takes a unit; see [`Output::write`].
    pub fn write(&mut self, unit: &GeneratedUnit<'_>) {
        self.batch.push(unit);
        if self.batch.units.len() == BATCH {
            let batch = std::mem::take(&mut self.batch);
            match self.writer.get_or_insert_with(|| start(&self.directory)) {
                Writer::Here(output) => batch.write(output),
                // Refused only by a thread that has panicked, which `finish` passes on.
                Writer::Thread(batches, _) => drop(batches.send(batch)),
            }
        }
    }

    /// Waits until everything is written; returns what could not be.
    pub fn finish(self) -> Vec<Diagnostic> {
        let mut output = match self.writer {
            None => Output::new(&self.directory),
            Some(Writer::Here(output)) => output,
            Some(Writer::Thread(batches, thread)) => {
                drop(batches);
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
        };
        self.batch.write(&mut output);
        output.findings
    }
}

/// Starts a thread that writes; without one, units are written here.
fn start(directory: &Path) -> Writer {
    let (batches, waiting): (_, Receiver<Batch>) = sync_channel(WAITING);
    let mut output = Output::new(directory);
    let write = move || {
        waiting.iter().for_each(|batch| batch.write(&mut output));
        output
    };
    match Builder::new().name("writer".to_owned()).spawn(write) {
        Ok(thread) => Writer::Thread(batches, thread),
        Err(_) => Writer::Here(Output::new(directory)),
    }
}

/// Units that wait to be written.
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

    fn write(self, output: &mut Output) {
        for unit in self.units {
            output.write(&GeneratedUnit {
                name: &unit.name,
                text: &self.texts[unit.text],
                links: &unit.links,
                source: &unit.source,
            });
        }
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
