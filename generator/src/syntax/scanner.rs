//! Reads the text of a unit file into sections and entries, each with its place in the file.
//!
//! The grammar is line based (systemd.syntax(7)): `[Section]`, `Key=Value`, comments that start
//! with `#` or `;`, and a trailing backslash that carries a value on to the next line, where
//! comment lines in between are skipped. The scanner never gives up: a line that it can't read
//! becomes a [`Mistake`] and scanning goes on, so that a file with one bad line still has a
//! service name, an `[Install]` section and a full list of what is wrong with it.

use crate::diagnostic::{Rule, rules};
use memchr::memchr;
use std::borrow::Cow;
use std::ops::Range;

/// How a value that goes on over several lines is put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Exactly one blank at each fold, as systemd.syntax(7) promises ("the backslash is replaced
    /// by a space"); two backslashes at the end of a line are not a fold.
    Blank,
    /// Lines are joined without anything between them, as Podman's Quadlet does it.
    Nothing,
}

/// One `Key=Value` of a file. Only a line that goes on in the next one is copied out of the text.
#[derive(Clone, Debug)]
pub struct RawEntry<'t> {
    /// The key, without the blanks around it.
    pub key: Cow<'t, str>,
    /// The value in one line: folds joined, blanks at both ends taken off.
    pub value: Cow<'t, str>,
    /// Byte offset of the key in the text.
    pub key_at: usize,
    /// Where the parts of a folded value came from.
    pub pieces: Pieces,
}

/// Maps an offset in a value back to an offset in the text of the file.
#[derive(Clone, Debug, Default)]
pub struct Pieces {
    /// Byte offset of the value's first character in the text.
    first: usize,
    /// `(offset in the value, offset in the text)` of each further line.
    rest: Vec<(usize, usize)>,
}

impl Pieces {
    /// The byte offset in the file's text of the value's byte `at`.
    pub fn locate(&self, at: usize) -> usize {
        let behind = self.rest.partition_point(|(value, _)| *value <= at);
        let (value, text) = behind.checked_sub(1).map_or((0, self.first), |last| self.rest[last]);
        text + (at - value)
    }

    /// The pieces of what stands behind some bytes of the value.
    fn behind(mut self, at: usize) -> Self {
        let first = self.locate(at);
        self.rest.retain(|(value, _)| *value > at);
        self.rest.iter_mut().for_each(|(value, _)| *value -= at);
        Self { first, rest: self.rest }
    }

    /// The offsets in the value where each further line starts.
    pub fn folds(&self) -> impl Iterator<Item = usize> {
        self.rest.iter().map(|(value, _)| *value)
    }
}

/// A section with its entries. A section that stands twice in a file is listed twice.
#[derive(Clone, Debug)]
pub struct RawSection<'t> {
    /// The name between the brackets.
    pub name: Cow<'t, str>,
    /// Byte offset of the opening bracket.
    pub at: usize,
    /// The entries in their order.
    pub entries: Vec<RawEntry<'t>>,
}

/// A line that isn't unit-file syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The bytes of the text that are wrong.
    pub span: Range<usize>,
    /// The rule that it breaks.
    pub rule: &'static Rule,
    /// What is wrong.
    pub reason: String,
    /// What to write instead.
    pub help: Option<String>,
}

/// All that was found in a file.
#[derive(Clone, Debug, Default)]
pub struct Scan<'t> {
    /// The sections in the order of the file.
    pub sections: Vec<RawSection<'t>>,
    /// The lines that could not be read, in the order of the file.
    pub mistakes: Vec<Mistake>,
}

/// What some editors put before the first character of a file; it is no part of the text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// Scans the text of one file.
pub fn scan(text: &str, fold: Fold) -> Scan<'_> {
    let mut scan = Scan::default();
    for item in items(text, fold) {
        match item {
            Item::Section { name, at } => {
                scan.sections.push(RawSection { name, at, entries: Vec::new() });
            }
            Item::Entry(entry) => {
                if let Some(section) = scan.sections.last_mut() {
                    section.entries.push(entry);
                }
            }
            Item::Mistake(mistake) => scan.mistakes.push(mistake),
        }
    }
    scan
}

/// What stands in a line, or in several that are one.
#[derive(Clone, Debug)]
pub(crate) enum Item<'t> {
    /// `[Section]`.
    Section {
        /// The name between the brackets.
        name: Cow<'t, str>,
        /// Byte offset of the opening bracket.
        at: usize,
    },
    /// `Key=Value`; a section came before.
    Entry(RawEntry<'t>),
    /// Something else.
    Mistake(Mistake),
}

/// Everything that stands in a text, one after the other.
pub(crate) fn items(text: &str, fold: Fold) -> Items<'_> {
    let has_nul = memchr(0, text.as_bytes()).is_some();
    Items { text, at: 0, fold, has_nul, in_section: false }
}

/// The iterator of [`items`].
#[derive(Debug)]
pub(crate) struct Items<'t> {
    text: &'t str,
    /// Where the next line starts.
    at: usize,
    fold: Fold,
    /// Whether a NUL byte is anywhere in the text.
    has_nul: bool,
    /// Whether a section has begun.
    in_section: bool,
}

/// A physical line without its newline and the blanks at both ends.
struct Line<'t> {
    body: &'t str,
    /// Byte offset of the body in the text.
    at: usize,
    /// Whether the value goes on in the next line; the backslash is no part of the body.
    continues: bool,
}

impl<'t> Iterator for Items<'t> {
    type Item = Item<'t>;

    fn next(&mut self) -> Option<Item<'t>> {
        let line = self.line()?;
        Some(if line.continues {
            self.folded(line)
        } else {
            self.logical(Cow::Borrowed(line.body), line.at, Vec::new())
        })
    }
}

impl<'t> Items<'t> {
    /// The next line that is neither empty nor a comment. Such lines are skipped also in the middle
    /// of a continued value.
    fn line(&mut self) -> Option<Line<'t>> {
        while self.at < self.text.len() {
            let start = self.at;
            let rest = &self.text[start..];
            let end = memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |newline| newline + 1);
            self.at += end;
            let line = &rest[..end];
            let line = if start == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
            let (body, at) = trimmed(line.strip_suffix('\n').unwrap_or(line), self.at - line.len());
            if !matches!(body.as_bytes().first(), None | Some(b'#' | b';')) {
                let part = continued(body, self.fold);
                return Some(Line { body: part.unwrap_or(body), at, continues: part.is_some() });
            }
        }
        None
    }

    /// Puts a logical line together that goes on after this one.
    fn folded(&mut self, first: Line<'t>) -> Item<'t> {
        let mut text = first.body.to_owned();
        let mut rest = Vec::new();
        while let Some(line) = self.line() {
            if self.fold == Fold::Blank && !text.ends_with(char::is_whitespace) {
                text.push(' ');
            }
            rest.push((text.len(), line.at));
            text.push_str(line.body);
            if !line.continues {
                break;
            }
        }
        // Lines that are nothing but a backslash leave blanks at both ends.
        let blank = text.len() - text.trim_start().len();
        let text = text.trim().to_owned();
        let Pieces { first, mut rest } = Pieces { first: first.at, rest }.behind(blank);
        rest.retain(|(value, _)| *value <= text.len());
        self.logical(Cow::Owned(text), first, rest)
    }

    /// Takes a logical line: folds are joined, both ends are free of blanks.
    fn logical(&mut self, line: Cow<'t, str>, at: usize, rest: Vec<(usize, usize)>) -> Item<'t> {
        if self.has_nul && line.contains('\0') {
            let reason = "the line holds a NUL byte";
            return mistake(&rules::BAD_CHARACTER, at, line.len(), reason, "remove the NUL byte");
        }
        if let Some(name) = section_name(&line) {
            return self.section(part(&line, 1..1 + name.len()), line.len(), at);
        }
        match memchr(b'=', line.as_bytes()) {
            None if line.starts_with('[') => {
                let reason = "the section header is not closed";
                mistake(&rules::BAD_SECTION, at, line.len(), reason, "write \"[Section]\" alone on its line")
            }
            None => mistake(
                &rules::BAD_LINE,
                at,
                line.len(),
                "this line is neither a section, a \"Key=Value\" nor a comment",
                "write \"Key=Value\"; end the line before with a backslash if this one belongs to it; start a comment with #",
            ),
            Some(0) => {
                mistake(&rules::BAD_LINE, at, 1, "there is no key before \"=\"", "write \"Key=Value\"")
            }
            Some(equals) => self.entry(line, equals, at, rest),
        }
    }

    fn section(&mut self, name: Cow<'t, str>, length: usize, at: usize) -> Item<'t> {
        if name.is_empty() || name.chars().any(|c| c == '[' || c.is_control()) {
            let reason = "this is no valid section name";
            return mistake(&rules::BAD_SECTION, at, length, reason, "write \"[Section]\"");
        }
        self.in_section = true;
        Item::Section { name, at }
    }

    fn entry(&self, line: Cow<'t, str>, equals: usize, at: usize, rest: Vec<(usize, usize)>) -> Item<'t> {
        let key_end = trimmed(&line[..equals], 0).0.len();
        let (_, value_at) = trimmed(&line[equals + 1..], equals + 1);
        if !self.in_section {
            return mistake(
                &rules::KEY_WITHOUT_SECTION,
                at,
                key_end,
                "this key stands before the first section",
                "begin the file with a section such as \"[Container]\"",
            );
        }
        let (key, value) = (part(&line, 0..key_end), part(&line, value_at..line.len()));
        let pieces = match rest.len() {
            0 => Pieces { first: at + value_at, rest },
            _ => Pieces { first: at, rest }.behind(value_at),
        };
        Item::Entry(RawEntry { key, value, key_at: at, pieces })
    }
}

fn mistake<'t>(rule: &'static Rule, at: usize, length: usize, reason: &str, help: &str) -> Item<'t> {
    let (reason, help) = (reason.to_owned(), Some(help.to_owned()));
    Item::Mistake(Mistake { span: at..at + length, rule, reason, help })
}

/// The text at `at` without the blanks at both ends, and where that starts. Most texts have none,
/// which is quickly seen.
fn trimmed(text: &str, at: usize) -> (&str, usize) {
    match text.as_bytes() {
        [first, .., last] if first.is_ascii_graphic() && last.is_ascii_graphic() => (text, at),
        _ => {
            let start = text.trim_start();
            (start.trim_end(), at + text.len() - start.len())
        }
    }
}

/// A part of a line, borrowed where the line is.
fn part<'t>(line: &Cow<'t, str>, range: Range<usize>) -> Cow<'t, str> {
    match line {
        Cow::Borrowed(line) => Cow::Borrowed(&line[range]),
        Cow::Owned(line) => Cow::Owned(line[range].to_owned()),
    }
}

/// The line without its backslash if the value goes on in the next line.
pub(crate) fn continued(line: &str, fold: Fold) -> Option<&str> {
    let body = line.strip_suffix('\\')?;
    let backslashes = line.len() - line.trim_end_matches('\\').len();
    (fold == Fold::Nothing || backslashes % 2 == 1).then_some(body)
}

/// The name if the line is a section header: blanks may follow the bracket, nothing else.
pub(crate) fn section_name(line: &str) -> Option<&str> {
    let (name, after) = line.strip_prefix('[')?.split_once(']')?;
    after.trim().is_empty().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str, fold: Fold) -> Vec<(String, String)> {
        scan(text, fold)
            .sections
            .into_iter()
            .flat_map(|section| section.entries)
            .map(|entry| (entry.key.into_owned(), entry.value.into_owned()))
            .collect()
    }

    fn value(text: &str, fold: Fold) -> String {
        entries(&format!("[S]\n{text}"), fold).remove(0).1
    }

    #[test]
    fn reads_keys_with_colons_blanks_and_carriage_returns() {
        let text = "\u{feff}  [S]  \r\n\tKey : x = a=b \r\n# c\r\n;d\r\n";
        assert_eq!(entries(text, Fold::Blank), [("Key : x".to_owned(), "a=b".to_owned())]);
        assert!(scan(text, Fold::Blank).mistakes.is_empty());
    }

    #[test]
    fn folds_with_one_blank_and_skips_comments_inside() {
        assert_eq!(value("K=a\\\n# no\n\n  b \\\n;no\nc", Fold::Blank), "a b c");
        assert_eq!(value("K=a\\\n# no\n  b \\\nc", Fold::Nothing), "ab c");
    }

    #[test]
    fn a_lone_backslash_adds_nothing_to_the_key_behind_it() {
        let text = "[S]\n\\\n  Key=a\n";
        let scan = scan(text, Fold::Blank);
        let entry = &scan.sections[0].entries[0];
        assert_eq!((&*entry.key, &*entry.value, entry.key_at), ("Key", "a", text.find('K').unwrap()));
    }

    #[test]
    fn a_fold_at_the_end_of_the_file_ends_the_value() {
        assert_eq!(value("K=a \\", Fold::Blank), "a");
        assert_eq!(value("K=a \\\n# comment", Fold::Nothing), "a");
    }

    #[test]
    fn an_escaped_backslash_is_no_fold() {
        assert_eq!(entries("[S]\nK=a\\\\\nL=b", Fold::Blank).len(), 2);
        assert_eq!(entries("[S]\nK=a\\\\\nL=b", Fold::Nothing).len(), 1);
    }

    #[test]
    fn a_value_knows_where_each_of_its_bytes_stood() {
        let text = "[S]\nKey = ab \\\n   cd\n";
        let scan = scan(text, Fold::Blank);
        let entry = &scan.sections[0].entries[0];
        assert_eq!(entry.value, "ab cd");
        assert_eq!(entry.pieces.locate(0), text.find("ab").unwrap());
        assert_eq!(entry.pieces.locate(entry.value.find("cd").unwrap()), text.find("cd").unwrap());
    }

    #[test]
    fn bad_lines_are_named_and_do_not_stop_the_scan() {
        let scan = scan("early=1\n[S]\nnonsense\n=x\n[T\n[]\nK=v\n", Fold::Blank);
        assert_eq!(scan.mistakes.len(), 5);
        assert_eq!(scan.sections[0].entries[0].key, "K");
    }
}
