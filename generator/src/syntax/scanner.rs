//! Reads the text of a unit file into sections and entries, each with its place in the file.
//!
//! The grammar is line based (systemd.syntax(7)): `[Section]`, `Key=Value`, comments that start
//! with `#` or `;`, and a trailing backslash that carries a value on to the next line, where
//! comment lines in between are skipped. The scanner never gives up: a line that it can't read
//! becomes a [`Mistake`] and scanning goes on, so that a file with one bad line still has a
//! service name, an `[Install]` section and a full list of what is wrong with it.

use crate::diagnostic::{Rule, rules};
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
    let mut scanner =
        Scanner { scan: Scan::default(), fold, pending: None, has_nul: text.as_bytes().contains(&0) };
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        scanner.line(line, at);
        at += line.len();
    }
    scanner.finish();
    scanner.scan
}

/// A logical line that is being put together from its folds.
struct Pending {
    text: String,
    first: usize,
    rest: Vec<(usize, usize)>,
}

struct Scanner<'t> {
    scan: Scan<'t>,
    fold: Fold,
    pending: Option<Pending>,
    /// Whether a NUL byte is anywhere in the text.
    has_nul: bool,
}

impl<'t> Scanner<'t> {
    /// Takes one physical line that starts at byte `at` of the text.
    fn line(&mut self, line: &'t str, at: usize) {
        let body = if at == 0 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line) } else { line };
        let start = body.trim_start();
        let at = at + (line.len() - start.len());
        let trimmed = start.trim_end();
        if trimmed.is_empty() || trimmed.starts_with(['#', ';']) {
            return; // also in the middle of a continued value
        }
        let (part, continues) = match continued(trimmed, self.fold) {
            Some(part) => (part, true),
            None => (trimmed, false),
        };
        match &mut self.pending {
            Some(pending) => {
                if self.fold == Fold::Blank && !pending.text.ends_with(char::is_whitespace) {
                    pending.text.push(' ');
                }
                pending.rest.push((pending.text.len(), at));
                pending.text.push_str(part);
            }
            None if continues => {
                self.pending = Some(Pending { text: part.to_owned(), first: at, rest: Vec::new() });
            }
            None => self.logical(Cow::Borrowed(part), at, Vec::new()),
        }
        if !continues {
            self.finish();
        }
    }

    /// Ends the logical line that is being put together, if there is one.
    fn finish(&mut self) {
        if let Some(pending) = self.pending.take() {
            // Lines that are nothing but a backslash leave blanks at both ends.
            let text = pending.text.trim().to_owned();
            let blank = pending.text.len() - pending.text.trim_start().len();
            let pieces = Pieces { first: pending.first, rest: pending.rest };
            let first = pieces.locate(blank);
            let held = blank + 1..=blank + text.len();
            let rest = pieces.rest.into_iter().filter(|(value, _)| held.contains(value));
            let rest = rest.map(|(value, at)| (value - blank, at)).collect();
            self.logical(Cow::Owned(text), first, rest);
        }
    }

    /// Takes a logical line: folds are joined, both ends are free of blanks.
    fn logical(&mut self, line: Cow<'t, str>, at: usize, rest: Vec<(usize, usize)>) {
        if self.has_nul && line.contains('\0') {
            return self.mistake(
                &rules::BAD_CHARACTER,
                at,
                line.len(),
                "the line holds a NUL byte",
                "remove the NUL byte",
            );
        }
        if let Some(name) = section_name(&line) {
            return self.section(part(&line, 1..1 + name.len()), line.len(), at);
        }
        match line.find('=') {
            None if line.starts_with('[') => {
                self.mistake(&rules::BAD_SECTION, at, line.len(), "the section header is not closed", "write \"[Section]\" alone on its line");
            }
            None => self.mistake(
                &rules::BAD_LINE,
                at,
                line.len(),
                "this line is neither a section, a \"Key=Value\" nor a comment",
                "write \"Key=Value\"; end the line before with a backslash if this one belongs to it; start a comment with #",
            ),
            Some(0) => self.mistake(&rules::BAD_LINE, at, 1, "there is no key before \"=\"", "write \"Key=Value\""),
            Some(equals) => self.entry(line, equals, at, rest),
        }
    }

    fn section(&mut self, name: Cow<'t, str>, length: usize, at: usize) {
        if name.is_empty() || name.chars().any(|c| c == '[' || c.is_control()) {
            return self.mistake(
                &rules::BAD_SECTION,
                at,
                length,
                "this is no valid section name",
                "write \"[Section]\"",
            );
        }
        self.scan.sections.push(RawSection { name, at, entries: Vec::with_capacity(16) });
    }

    fn entry(&mut self, line: Cow<'t, str>, equals: usize, at: usize, rest: Vec<(usize, usize)>) {
        let key_end = line[..equals].trim_end().len();
        let value_at = line.len() - line[equals + 1..].trim_start().len();
        let Some(section) = self.scan.sections.last_mut() else {
            return self.mistake(
                &rules::KEY_WITHOUT_SECTION,
                at,
                key_end,
                "this key stands before the first section",
                "begin the file with a section such as \"[Container]\"",
            );
        };
        let located = Pieces { first: at, rest };
        let pieces = Pieces {
            first: located.locate(value_at),
            rest: located
                .rest
                .iter()
                .filter(|(value, _)| *value > value_at)
                .map(|(value, text)| (value - value_at, *text))
                .collect(),
        };
        let (key, value) = (part(&line, 0..key_end), part(&line, value_at..line.len()));
        section.entries.push(RawEntry { key, value, key_at: at, pieces });
    }

    fn mistake(&mut self, rule: &'static Rule, at: usize, length: usize, reason: &str, help: &str) {
        self.scan.mistakes.push(Mistake {
            span: at..at + length,
            rule,
            reason: reason.to_owned(),
            help: Some(help.to_owned()),
        });
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
