//! What is wrong with a file, told so that it can be mended: file, line, column, the line itself,
//! the reason and what to write instead.
//!
//! The same [`Diagnostic`] goes to the kernel log ([`Diagnostic::one_line`]), into the stub service
//! ([`Diagnostic::lines`]), to a terminal ([`Diagnostic::render`]) and to an editor. Each is an
//! instance of a [`Rule`] from the table in [`rules`], by whose id it can be looked up and silenced.

mod findings;
pub mod rules;
mod suggest;

pub(crate) use findings::Findings;
pub use rules::Rule;
pub use suggest::suggest;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How many characters of a line are kept.
const MOST_TEXT: usize = 1000;

/// Whether the unit is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Nothing is wrong; it is said because it may surprise.
    Note,
    /// The unit works, but something in it is ignored or unwise.
    Warning,
    /// The unit can't be translated.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Error => "error",
        })
    }
}

/// A file that was read, kept for the sake of diagnostics.
#[derive(Debug)]
pub struct Source {
    /// Where it was found.
    pub path: PathBuf,
    /// Its whole text.
    pub text: String,
    /// Whether the file is UTF-8; if it isn't, the text has U+FFFD for what couldn't be read.
    pub is_utf8: bool,
    /// Where each line starts, once somebody asks.
    lines: OnceLock<Vec<usize>>,
}

impl Source {
    /// A file with these bytes.
    pub fn new(path: impl Into<PathBuf>, bytes: Vec<u8>) -> Self {
        let (text, is_utf8) = match String::from_utf8(bytes) {
            Ok(text) => (text, true),
            Err(error) => (String::from_utf8_lossy(error.as_bytes()).into_owned(), false),
        };
        Self { path: path.into(), text, is_utf8, lines: OnceLock::new() }
    }

    /// The number, from 1, of the line that a byte of the text is in, and where that line starts.
    fn line(&self, at: usize) -> (usize, usize) {
        let newlines = || self.text.match_indices('\n').map(|(newline, _)| newline + 1);
        let starts = self.lines.get_or_init(|| std::iter::once(0).chain(newlines()).collect());
        let number = starts.partition_point(|start| *start <= at);
        (number, starts[number - 1])
    }
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
    /// The id of the rule that it is an instance of, such as `unknown-key`; see [`rules::find`].
    pub rule: &'static str,
    /// Whether the unit is lost.
    pub severity: Severity,
    /// The file, or the directory, that it is about.
    pub file: PathBuf,
    /// Line number from 1; 0 if it is about the file as a whole.
    pub line: usize,
    /// Column from 1, counted in characters; 0 if it is about the file as a whole.
    pub column: usize,
    /// How many characters of the line are meant.
    pub length: usize,
    /// The line itself, of a very long one its first thousand characters.
    pub text: String,
    /// What is wrong.
    pub reason: String,
    /// What to write or do instead.
    pub help: Option<String>,
    /// What can be put in place of the `length` characters at `column` to mend it, if that is certain
    /// enough to be done by a program.
    pub fix: Option<String>,
}

impl Diagnostic {
    /// About some bytes of a file's text; a span over several lines is cut at the end of the first.
    pub fn at(
        rule: &'static Rule,
        severity: Severity,
        source: &Source,
        span: Range<usize>,
        reason: impl Into<String>,
    ) -> Self {
        let text = &source.text;
        let at = floor(text, span.start);
        let (number, start) = source.line(at);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let line = text[start..end].trim_end();
        let stop = floor(text, span.end).clamp(at, (start + line.len()).max(at));
        Self {
            rule: rule.id,
            severity,
            file: source.path.clone(),
            line: number,
            column: text[start..at].trim_start_matches('\u{feff}').chars().count() + 1,
            length: text[at..stop].chars().count(),
            text: shown(line.trim_start_matches('\u{feff}')).to_owned(),
            reason: reason.into(),
            help: None,
            fix: None,
        }
    }

    /// About a file as a whole.
    pub fn whole(rule: &'static Rule, severity: Severity, file: &Path, reason: impl Into<String>) -> Self {
        Self {
            rule: rule.id,
            severity,
            file: file.to_owned(),
            line: 0,
            column: 0,
            length: 0,
            text: String::new(),
            reason: reason.into(),
            help: None,
            fix: None,
        }
    }

    /// The same with what to write or do instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same with the text that mends it when it is put in place of what is marked.
    #[must_use]
    pub fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = Some(text.into());
        self
    }

    /// Whether the place is in the text that is kept.
    fn is_shown(&self) -> bool {
        self.line > 0 && self.text.chars().nth(MOST_TEXT - 1).is_none_or(|_| self.column <= MOST_TEXT)
    }

    /// `file:line:column`, or the file alone.
    fn place(&self) -> String {
        match self.line {
            0 => self.file.display().to_string(),
            line => format!("{}:{line}:{}", self.file.display(), self.column),
        }
    }

    /// All of it in one line, for logs whose records are lines. Control characters become blanks.
    pub fn one_line(&self) -> String {
        let help = self.help.as_deref().map_or_else(String::new, |help| format!("; {help}"));
        let line = format!("{}: {}: {}{help}", self.place(), self.severity, self.reason);
        line.replace(char::is_control, " ")
    }

    /// The head, the line with a mark below the place, and the help: what a service's journal shows.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![format!("{}: {}: {}", self.place(), self.severity, self.reason)];
        if self.is_shown() {
            let number = self.line.to_string();
            lines.push(format!("{number} | {}", self.text));
            let indent: String =
                self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            lines.push(format!(
                "{:width$} | {indent}{}",
                "",
                "^".repeat(self.length.min(self.text.chars().count() - indent.chars().count()).max(1)),
                width = number.len()
            ));
        }
        lines.extend(self.help.iter().map(|help| format!("help: {help}")));
        for line in &mut lines {
            *line = line.replace(|c: char| c.is_control() && c != '\t', " ");
        }
        lines
    }

    /// Several lines for a terminal, with or without colours.
    pub fn render(&self, colours: bool) -> String {
        self.rendered(colours, false)
    }

    /// The same with the rule's id in the first line, as `error[unknown-key]`.
    pub fn render_with_rule(&self, colours: bool) -> String {
        self.rendered(colours, true)
    }

    fn rendered(&self, colours: bool, with_rule: bool) -> String {
        let level = match self.severity {
            Severity::Note => Level::NOTE,
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let path = self.file.display().to_string();
        let title =
            if self.is_shown() { self.reason.clone() } else { format!("{}: {}", self.place(), self.reason) };
        let title = level.primary_title(title);
        let title = if with_rule { title.id(self.rule) } else { title };
        let mut group = annotate_snippets::Group::with_title(title);
        if self.is_shown() {
            let start = byte_of(&self.text, self.column - 1);
            let end = byte_of(&self.text, self.column - 1 + self.length.max(1));
            group = group.element(
                Snippet::source(self.text.as_str())
                    .path(path.as_str())
                    .line_start(self.line)
                    .annotation(AnnotationKind::Primary.span(start..end)),
            );
        }
        if let Some(help) = &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        let renderer = if colours { Renderer::styled() } else { Renderer::plain() };
        renderer.decor_style(DecorStyle::Ascii).render(&[group])
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

/// What is kept of a line, so that a hundred diagnostics of one of many megabytes fit into memory.
fn shown(line: &str) -> &str {
    line.char_indices().nth(MOST_TEXT).map_or(line, |(end, _)| &line[..end])
}

/// The nearest character boundary at or before a byte offset.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// The byte offset of a character.
fn byte_of(text: &str, character: usize) -> usize {
    text.char_indices().nth(character).map_or(text.len(), |(at, _)| at)
}

/// A place in a file that a diagnostic can point to.
#[derive(Clone, Debug)]
pub struct Place<'t> {
    /// The file.
    pub source: &'t Source,
    /// The bytes of its text.
    pub span: Range<usize>,
}

impl Place<'_> {
    /// The text that stands there.
    pub fn text(&self) -> &str {
        self.source.text.get(self.span.clone()).unwrap_or_default()
    }

    /// Where a part of the text stands; the whole place if it isn't there literally.
    #[must_use]
    pub fn within(&self, part: &str) -> Self {
        match self.text().find(part) {
            Some(at) => {
                let start = self.span.start + at;
                Self { source: self.source, span: start..start + part.len() }
            }
            None => self.clone(),
        }
    }

    /// The same for the last time that the part stands there.
    #[must_use]
    pub fn within_end(&self, part: &str) -> Self {
        match self.text().rfind(part) {
            Some(at) => {
                let start = self.span.start + at;
                Self { source: self.source, span: start..start + part.len() }
            }
            None => self.clone(),
        }
    }

    /// The number of its line, from 1.
    pub fn line(&self) -> usize {
        self.source.text.get(..self.span.start).map_or(0, |above| above.matches('\n').count()) + 1
    }

    /// A diagnostic about this place.
    pub fn diagnose(&self, rule: &'static Rule, severity: Severity, reason: impl Into<String>) -> Diagnostic {
        Diagnostic::at(rule, severity, self.source, self.span.clone(), reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        let source = Source::new("/u/web.container", "[Container]\n  Imgae=ä\n".into());
        Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Error, &source, 14..19, "unknown key")
            .help("did you mean \"Image\"?")
    }

    #[test]
    fn counts_lines_and_columns() {
        let diagnostic = sample();
        assert_eq!((diagnostic.line, diagnostic.column, diagnostic.length), (2, 3, 5));
        assert_eq!(
            diagnostic.one_line(),
            "/u/web.container:2:3: error: unknown key; did you mean \"Image\"?"
        );
        assert_eq!(
            diagnostic.lines(),
            [
                "/u/web.container:2:3: error: unknown key",
                "2 |   Imgae=ä",
                "  |   ^^^^^",
                "help: did you mean \"Image\"?"
            ]
        );
    }

    #[test]
    fn renders_for_a_terminal() {
        let text = sample().render(false);
        assert!(text.contains("error: unknown key"), "{text}");
        assert!(text.contains("--> /u/web.container:2:3"), "{text}");
        assert!(text.contains("^^^^^"), "{text}");
    }

    #[test]
    fn of_a_huge_line_only_the_beginning_is_kept() {
        let source = Source::new("/u", format!("K={}", "é".repeat(1_000_000)).into_bytes());
        let at = |span| Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Error, &source, span, "x");
        let long = at(2..2_000_002);
        assert_eq!((long.column, long.length, long.text.chars().count()), (3, 1_000_000, 1000));
        assert!(long.lines()[2].ends_with("^^^") && long.lines()[2].len() < 1100);
        assert!(long.render(false).len() < 10_000);
        let far = at(1_000_002..1_000_004);
        assert_eq!((far.column, far.lines().len()), (500_003, 1));
        assert!(far.render(false).contains("/u:1:500003: x"));
    }

    #[test]
    fn a_span_behind_the_end_is_cut() {
        let source = Source::new("/u", "[ä".into());
        let diagnostic = Diagnostic::at(&rules::UNKNOWN_KEY, Severity::Error, &source, 2..90, "x");
        assert_eq!((diagnostic.column, diagnostic.length), (2, 1));
    }
}
