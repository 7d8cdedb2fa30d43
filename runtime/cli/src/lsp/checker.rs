//! Diagnostics: what `sampan check` says about the workspace, sent to the client when it changes.
//!
//! A check reads every file of the workspace, so it runs in a thread of its own, and only when
//! nobody has typed for a moment: answers to requests never wait for it. The thread remembers what it
//! has sent. A file whose diagnostics didn't change isn't sent again, except that an open document
//! gets an answer for each version that was checked.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use gen_lsp_types::{
    Code, Diagnostic as LspDiagnostic, DiagnosticSeverity, PublishDiagnosticsParams, Range as LspRange, Uri,
};
use lsp_server::{Message, Notification};
use sampan_generator::check::{self, CheckedUnit, Options};
use sampan_generator::{Diagnostic, Engine, Severity};

use super::files::Role;
use super::fix::Fix;
use super::position::{Encoding, Text};
use super::workspace::{Workspace, read};

/// How long nothing must happen before a check begins: as long as the last check took, but not less
/// than the keys of one stroke are apart, and not more than a person's patience.
const PAUSE: RangeInclusive<Duration> = Duration::from_millis(10)..=Duration::from_millis(200);

/// How many diagnostics of one file are sent: more than anyone reads.
const MOST_DIAGNOSTICS: usize = 500;

/// For whom units are checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) engine: Engine,
    pub(crate) user: bool,
    pub(crate) encoding: Encoding,
}

/// The units of the last check, for those who look up services and names.
pub(crate) type Units = Arc<Mutex<Vec<CheckedUnit>>>;

/// The thread that checks.
#[derive(Debug)]
pub(crate) struct Checker {
    jobs: Option<Sender<Workspace>>,
    thread: Option<JoinHandle<()>>,
    units: Units,
}

impl Checker {
    /// Starts the thread; diagnostics go to `client`.
    pub(crate) fn start(target: Target, client: impl Fn(Message) + Send + 'static) -> std::io::Result<Self> {
        let (jobs, waiting) = channel();
        let units = Units::default();
        let mut publisher = Publisher { target, units: Arc::clone(&units), sent: BTreeMap::new(), client };
        let thread =
            std::thread::Builder::new().name("check".to_owned()).spawn(move || publisher.work(&waiting))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), units })
    }

    /// Asks for a check of the workspace as it is now. Of several requests the last counts.
    pub(crate) fn check(&self, workspace: Workspace) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only together with this value.
            let _ = jobs.send(workspace);
        }
    }

    /// The units that the last check found.
    pub(crate) fn units(&self) -> Vec<CheckedUnit> {
        self.units.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Checker {
    fn drop(&mut self) {
        self.jobs.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What a client was told about a file.
#[derive(Debug, PartialEq)]
struct Sent {
    uri: Uri,
    version: Option<i32>,
    serial: Option<u64>,
    diagnostics: Vec<LspDiagnostic>,
}

struct Publisher<C> {
    target: Target,
    units: Units,
    sent: BTreeMap<PathBuf, Sent>,
    client: C,
}

impl<C: Fn(Message)> Publisher<C> {
    /// Checks whenever it is asked to and a pause comes, until nobody can ask any more.
    fn work(&mut self, jobs: &Receiver<Workspace>) {
        let mut pause = *PAUSE.start();
        while let Ok(mut job) = jobs.recv() {
            loop {
                match jobs.recv_timeout(pause) {
                    Ok(newer) => job = newer,
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            let begin = Instant::now();
            self.publish(&job);
            pause = begin.elapsed().clamp(*PAUSE.start(), *PAUSE.end());
        }
    }

    /// Checks, and sends what the client doesn't know yet.
    fn publish(&mut self, workspace: &Workspace) {
        let mut diagnostics = self.check(workspace);
        let mut now = BTreeMap::new();
        for path in workspace.documents().keys() {
            diagnostics.entry(path.clone()).or_default();
        }
        for (path, found) in diagnostics {
            let document = workspace.documents().get(&path);
            let text = match document {
                Some(document) => Some(document.text.clone()),
                None => read(&path, self.target.encoding),
            };
            let text = text.unwrap_or_else(|| Text::new(String::new(), self.target.encoding));
            let lines = newlines(text.as_str());
            let shown = found.iter().take(MOST_DIAGNOSTICS);
            let diagnostics = shown.map(|diagnostic| convert(diagnostic, &text, &lines)).collect();
            let version = document.map(|document| document.version);
            let serial = document.map(|document| document.serial);
            now.insert(path.clone(), Sent { uri: workspace.uri(&path), version, serial, diagnostics });
        }
        let before = std::mem::replace(&mut self.sent, now);
        for (path, sent) in &before {
            let renamed = self.sent.get(path).is_none_or(|now| now.uri != sent.uri);
            if renamed && !sent.diagnostics.is_empty() {
                self.send(&sent.uri, None, Vec::new());
            }
        }
        for (path, sent) in &self.sent {
            let same = before.get(path) == Some(sent);
            let nothing = sent.version.is_none() && sent.diagnostics.is_empty();
            if !same && !nothing {
                self.send(&sent.uri, sent.version, sent.diagnostics.clone());
            }
        }
    }

    /// What is wrong, by file. A document that another file of its name hides is checked as if it
    /// were the one that counts.
    fn check(&self, workspace: &Workspace) -> BTreeMap<PathBuf, Vec<Diagnostic>> {
        let overlay = workspace.overlay();
        let check = |first: &BTreeSet<&Path>| {
            check::check(&Options {
                roots: workspace.roots(first),
                engine: self.target.engine,
                user: self.target.user,
                overlay: overlay.clone(),
                host: None,
            })
        };
        let checked = check(&BTreeSet::new());
        let mut by_file: BTreeMap<PathBuf, Vec<Diagnostic>> = BTreeMap::new();
        for diagnostic in checked.diagnostics {
            if Role::of(&diagnostic.file).is_some() {
                by_file.entry(diagnostic.file.clone()).or_default().push(diagnostic);
            }
        }
        let counts: BTreeSet<&Path> = checked.units.iter().map(|unit| unit.file.as_path()).collect();
        let hidden = workspace.documents().keys().map(PathBuf::as_path).filter(|path| {
            path.is_absolute() && matches!(Role::of(path), Some(Role::Unit(_))) && !counts.contains(path)
        });
        for path in hidden {
            let found = check(&path.parent().into_iter().collect()).diagnostics;
            let own = found.into_iter().filter(|diagnostic| diagnostic.file == path);
            by_file.insert(path.to_owned(), own.collect());
        }
        *self.units.lock().unwrap_or_else(PoisonError::into_inner) = checked.units;
        by_file
    }

    fn send(&self, uri: &Uri, version: Option<i32>, diagnostics: Vec<LspDiagnostic>) {
        let params = PublishDiagnosticsParams { uri: uri.clone(), version, diagnostics };
        let method = "textDocument/publishDiagnostics".to_owned();
        (self.client)(Notification::new(method, params).into());
    }
}

/// Where lines begin for the generator: behind each `\n`, and nowhere else.
fn newlines(text: &str) -> Vec<usize> {
    std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect()
}

/// A diagnostic in the protocol's words.
fn convert(diagnostic: &Diagnostic, text: &Text, lines: &[usize]) -> LspDiagnostic {
    let range = place(diagnostic, text, lines);
    let message = match &diagnostic.help {
        Some(help) => format!("{}\n{help}", diagnostic.reason),
        None => diagnostic.reason.clone(),
    };
    let fix = diagnostic.fix.as_ref().map(|fix| Fix { range, new_text: fix.clone() });
    LspDiagnostic {
        range,
        severity: Some(match diagnostic.severity {
            Severity::Note => DiagnosticSeverity::Information,
            Severity::Warning => DiagnosticSeverity::Warning,
            Severity::Error => DiagnosticSeverity::Error,
        }),
        code: Some(Code::String(diagnostic.rule.to_owned())),
        code_description: None,
        source: Some("sampan".to_owned()),
        message: message.into(),
        tags: None,
        related_information: None,
        data: fix.and_then(|fix| serde_json::to_value(fix).ok()),
    }
}

/// Where a diagnostic stands. Its columns count characters; the byte order mark is none of them.
fn place(diagnostic: &Diagnostic, text: &Text, lines: &[usize]) -> LspRange {
    let whole = text.as_str();
    let Some(above) = diagnostic.line.checked_sub(1) else { return text.range(0..0) };
    let mut start = lines.get(above).copied().unwrap_or(whole.len());
    if start == 0 && whole.starts_with('\u{feff}') {
        start = '\u{feff}'.len_utf8();
    }
    let line = whole[start..].split('\n').next().unwrap_or_default().trim_end();
    let byte = |column: usize| line.char_indices().nth(column).map_or(line.len(), |(at, _)| at);
    let column = diagnostic.column.saturating_sub(1);
    let end = byte(column + diagnostic.length.max(1));
    text.range(start + byte(column)..start + end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sampan_generator::diagnostic::{Source, rules};

    fn range(text: &str, span: std::ops::Range<usize>, encoding: Encoding) -> [u32; 4] {
        let source = Source::new("/x.pod", text.trim_start_matches('\u{feff}').as_bytes().to_vec());
        let diagnostic = Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Error, &source, span, "r").fix("X");
        let found = convert(&diagnostic, &Text::new(text.to_owned(), encoding), &newlines(text));
        assert_eq!(found.data.unwrap()["newText"], "X");
        [found.range.start.line, found.range.start.character, found.range.end.line, found.range.end.character]
    }

    #[test]
    fn columns_are_counted_as_the_client_does() {
        assert_eq!(range("a\nü😀key=", 8..11, Encoding::Utf16), [1, 3, 1, 6]);
        assert_eq!(range("a\nü😀key=", 8..11, Encoding::Utf8), [1, 6, 1, 9]);
        assert_eq!(range("\u{feff}ab", 1..2, Encoding::Utf16), [0, 2, 0, 3]);
        assert_eq!(range("a\rb\nc", 4..5, Encoding::Utf16), [2, 0, 2, 1]);
    }

    #[test]
    fn what_is_about_the_file_stands_at_its_top() {
        let whole = Diagnostic::whole(&rules::UNREADABLE, Severity::Error, Path::new("/x.pod"), "r");
        let text = Text::new("x".to_owned(), Encoding::Utf8);
        assert_eq!(convert(&whole, &text, &newlines("x")).range, LspRange::default());
    }
}
