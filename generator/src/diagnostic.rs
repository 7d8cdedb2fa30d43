//! What is wrong with a file, told so that it can be mended: file, line, column, the line itself,
//! the reason and what to write instead.
//!
//! The same [`Diagnostic`] goes to the kernel log ([`Diagnostic::one_line`]), into the stub service
//! ([`Diagnostic::lines`]) and to a terminal ([`Diagnostic::render`]).

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet, renderer::DecorStyle};
use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Whether the unit is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The unit works, but something in it is ignored or unwise.
    Warning,
    /// The unit can't be translated.
    Error,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
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
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Diagnostic {
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
    /// The line itself.
    pub text: String,
    /// What is wrong.
    pub reason: String,
    /// What to write or do instead.
    pub help: Option<String>,
}

impl Diagnostic {
    /// About some bytes of a file's text; a span over several lines is cut at the end of the first.
    pub fn at(severity: Severity, source: &Source, span: Range<usize>, reason: impl Into<String>) -> Self {
        let text = &source.text;
        let at = floor(text, span.start);
        let start = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = text[at..].find('\n').map_or(text.len(), |newline| at + newline);
        let line = text[start..end].trim_end();
        let stop = floor(text, span.end).clamp(at, (start + line.len()).max(at));
        Self {
            severity,
            file: source.path.clone(),
            line: text[..start].matches('\n').count() + 1,
            column: text[start..at].trim_start_matches('\u{feff}').chars().count() + 1,
            length: text[at..stop].chars().count(),
            text: line.trim_start_matches('\u{feff}').to_owned(),
            reason: reason.into(),
            help: None,
        }
    }

    /// About a file as a whole.
    pub fn whole(severity: Severity, file: &Path, reason: impl Into<String>) -> Self {
        Self {
            severity,
            file: file.to_owned(),
            line: 0,
            column: 0,
            length: 0,
            text: String::new(),
            reason: reason.into(),
            help: None,
        }
    }

    /// The same with what to write or do instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
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
        if self.line > 0 {
            let number = self.line.to_string();
            lines.push(format!("{number} | {}", self.text));
            let indent: String =
                self.text.chars().take(self.column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            lines.push(format!(
                "{:width$} | {indent}{}",
                "",
                "^".repeat(self.length.max(1)),
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
        let level = match self.severity {
            Severity::Warning => Level::WARNING,
            Severity::Error => Level::ERROR,
        };
        let path = self.file.display().to_string();
        let title = if self.line == 0 { format!("{path}: {}", self.reason) } else { self.reason.clone() };
        let mut group = annotate_snippets::Group::with_title(level.primary_title(title));
        if self.line > 0 {
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
pub struct Place {
    /// The file.
    pub source: Rc<Source>,
    /// The bytes of its text.
    pub span: Range<usize>,
}

impl Place {
    /// A diagnostic about this place.
    pub fn diagnose(&self, severity: Severity, reason: impl Into<String>) -> Diagnostic {
        Diagnostic::at(severity, &self.source, self.span.clone(), reason)
    }
}

/// The words of `candidates` that `word` was probably meant to be.
pub fn suggest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (distance(&word.to_lowercase(), &candidate.to_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many insertions, deletions, replacements or swaps of neighbours turn `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Diagnostic {
        let source = Source { path: "/u/web.container".into(), text: "[Container]\n  Imgae=ä\n".into() };
        Diagnostic::at(Severity::Error, &source, 14..19, "unknown key").help("did you mean \"Image\"?")
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
    fn a_span_behind_the_end_is_cut() {
        let source = Source { path: "/u".into(), text: "[ä".into() };
        let diagnostic = Diagnostic::at(Severity::Error, &source, 2..90, "x");
        assert_eq!((diagnostic.column, diagnostic.length), (2, 1));
    }

    #[test]
    fn suggests_the_nearest_word() {
        let keys = ["Image", "Volume", "PublishPort"];
        assert_eq!(suggest("Imgae", keys), Some("Image"));
        assert_eq!(suggest("publishports", keys), Some("PublishPort"));
        assert_eq!(suggest("Nonsense", keys), None);
    }
}
