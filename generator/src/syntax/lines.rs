//! Tells the lines of a unit file apart, as the [scanner](super::scanner) reads them, for those who
//! need the lines themselves: formatting, and an editor that asks what stands at its cursor.
//!
//! A line is what stands between two newlines. What it means depends on the line above, whose
//! backslash may carry a value on; the scanner joins such lines, here they stay apart.

use super::scanner::{BYTE_ORDER_MARK, Fold, continued, section_name};

/// What a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineKind {
    /// Nothing but blanks.
    Blank,
    /// A comment, alone or in the middle of a value.
    Comment,
    /// The header of a section.
    Header,
    /// The first line of a `Key=Value`.
    Entry {
        /// Byte offset of the `=` in [`Line::text`].
        equals: usize,
    },
    /// A further line of what the line above began.
    Continuation,
    /// Not unit-file syntax, or not yet.
    Other,
}

/// One line.
#[derive(Clone, Copy, Debug)]
pub struct Line<'a> {
    /// What it is.
    pub kind: LineKind,
    /// The line without the blanks at both ends; a byte order mark is no part of it.
    pub text: &'a str,
    /// Byte offset of [`Line::text`] in the file.
    pub at: usize,
    /// Byte offset behind the line and its newline.
    pub end: usize,
    /// Whether the line above carries a value on to this one; so also comments may have it.
    pub inside: bool,
    /// Whether its own backslash carries the value on to the next line. That of a comment doesn't.
    pub goes_on: bool,
}

/// The lines of a file, which are joined by the rules of `fold`.
pub fn lines(text: &str, fold: Fold) -> impl Iterator<Item = Line<'_>> {
    let mut at = 0;
    let mut inside = false;
    text.split_inclusive('\n').map(move |whole| {
        let body = if at == 0 { whole.strip_prefix(BYTE_ORDER_MARK).unwrap_or(whole) } else { whole };
        let trimmed = body.trim_start();
        let start = at + whole.len() - trimmed.len();
        at += whole.len();
        let text = trimmed.trim_end();
        let goes_on = continued(text, fold).is_some();
        let kind = kind(text, inside, goes_on);
        let counts = !matches!(kind, LineKind::Blank | LineKind::Comment);
        let line = Line { kind, text, at: start, end: at, inside, goes_on: counts && goes_on };
        if counts {
            inside = goes_on;
        }
        line
    })
}

fn kind(text: &str, inside: bool, goes_on: bool) -> LineKind {
    if text.is_empty() {
        return LineKind::Blank;
    }
    if text.starts_with(['#', ';']) {
        return LineKind::Comment;
    }
    if inside {
        return LineKind::Continuation;
    }
    if section_name(text).is_some() && !goes_on {
        return LineKind::Header;
    }
    match text.find('=') {
        // A bracket may still be closed by a further line.
        Some(equals) if equals > 0 && !(text.starts_with('[') && goes_on) => LineKind::Entry { equals },
        _ => LineKind::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scanner::scan;
    use super::LineKind::*;
    use super::*;
    use proptest::prelude::*;

    fn kinds(text: &str, fold: Fold) -> Vec<LineKind> {
        lines(text, fold).map(|line| line.kind).collect()
    }

    #[test]
    fn a_backslash_makes_the_next_line_a_continuation() {
        let text = "\u{feff}[S]\nK = a \\\n # c\n\n [T]\nnonsense\n";
        let found = kinds(text, Fold::Blank);
        assert_eq!(found, [Header, Entry { equals: 2 }, Comment, Blank, Continuation, Other]);
        assert_eq!(lines(text, Fold::Blank).map(|line| line.inside).filter(|inside| *inside).count(), 3);
    }

    #[test]
    fn two_backslashes_are_a_fold_for_podman_only() {
        assert_eq!(kinds("K=a\\\\\nL=b", Fold::Blank), [Entry { equals: 1 }, Entry { equals: 1 }]);
        assert_eq!(kinds("K=a\\\\\nL=b", Fold::Nothing), [Entry { equals: 1 }, Continuation]);
    }

    proptest! {
        /// Every entry that the scanner finds starts on a line that is called one here.
        #[test]
        fn agrees_with_the_scanner(text in "([\\[\\]SK=#; \\\\a\u{feff}\r\n]|\\[S\\]\n|K=|\\\\\n){0,40}") {
            for fold in [Fold::Blank, Fold::Nothing] {
                let entries: Vec<usize> = lines(&text, fold)
                    .filter(|line| matches!(line.kind, Entry { .. }))
                    .map(|line| line.at)
                    .collect();
                for entry in scan(&text, fold).sections.iter().flat_map(|section| &section.entries) {
                    let first = lines(&text, fold).find(|line| line.at == entry.key_at && !line.text.is_empty());
                    // Only the key of a line that is no entry yet may come later, or itself be later.
                    let late = first.is_some_and(|line| match line.kind {
                        Other => continued(line.text, fold).is_some(),
                        kind => kind == Continuation,
                    });
                    prop_assert!(entries.contains(&entry.key_at) || late);
                }
            }
        }
    }
}
