//! What stands at a place of a unit file: in which section, and whether that is a header, a key or a
//! part of a value. It works on text that somebody is still typing.

use std::ops::Range;

use sampan_generator::syntax::lines::{Line, LineKind, lines};
use sampan_generator::syntax::scanner::Fold;

/// A place with its surroundings. All ranges are bytes of the text.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Cursor<'a> {
    /// The section that the place is in; in a header it is the section above.
    pub(crate) section: Option<&'a str>,
    pub(crate) spot: Spot<'a>,
}

/// What stands there.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Spot<'a> {
    /// A header, complete or not: from its bracket to the end of the line.
    Header(Range<usize>),
    /// A key, or the start of a line that may become one.
    Key {
        name: Range<usize>,
        /// Whether there is a `=` behind it.
        assigned: bool,
    },
    /// A value.
    Value {
        key: &'a str,
        /// The part of the value that stands in this line.
        line: Range<usize>,
    },
    /// A comment.
    Comment,
}

/// Looks at a byte offset.
pub(crate) fn at(text: &str, offset: usize) -> Cursor<'_> {
    let mut section = None;
    let mut key = None;
    let mut goes_on = false;
    for line in lines(text, Fold::Blank) {
        if let LineKind::Entry { equals } = line.kind {
            key = Some(line.text[..equals].trim_end());
        } else if !line.inside {
            key = None;
        }
        let is_last = line.end == text.len() && !text.ends_with('\n');
        if offset < line.end || is_last {
            return Cursor { section, spot: spot(&line, key, offset) };
        }
        if line.kind == LineKind::Header {
            section = Some(line.text.trim_start_matches('[').trim_end_matches(']'));
        }
        if !matches!(line.kind, LineKind::Blank | LineKind::Comment) {
            goes_on = line.goes_on;
        }
    }
    // Behind the last newline.
    let end = text.len();
    let spot = match key.filter(|_| goes_on) {
        Some(key) => Spot::Value { key, line: end..end },
        None => Spot::Key { name: end..end, assigned: false },
    };
    Cursor { section, spot }
}

fn spot<'a>(line: &Line<'a>, key: Option<&'a str>, offset: usize) -> Spot<'a> {
    let whole = line.at..line.at + line.text.len();
    match (line.kind, key) {
        (LineKind::Comment, _) => Spot::Comment,
        (LineKind::Header, _) => Spot::Header(whole),
        (LineKind::Other, _) if line.text.starts_with('[') => Spot::Header(whole),
        (LineKind::Entry { equals }, Some(key)) => {
            if offset <= line.at + equals {
                Spot::Key { name: line.at..line.at + key.len(), assigned: true }
            } else {
                Spot::Value { key, line: line.at + equals + 1..whole.end }
            }
        }
        (LineKind::Continuation, Some(key)) => Spot::Value { key, line: whole },
        (LineKind::Blank, Some(key)) if line.inside => Spot::Value { key, line: offset..offset },
        (LineKind::Blank, _) => Spot::Key { name: offset..offset, assigned: false },
        _ => Spot::Key { name: whole, assigned: false },
    }
}

/// The word at a byte offset in a part of a value: between blanks, quotes, `,`, `:` and `=`.
pub(crate) fn word(text: &str, line: &Range<usize>, offset: usize) -> Range<usize> {
    let parts = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | ':' | '=');
    let offset = offset.clamp(line.start, line.end);
    let start = text[line.start..offset].rfind(parts).map_or(line.start, |at| {
        let length = text[line.start + at..].chars().next().map_or(1, char::len_utf8);
        line.start + at + length
    });
    let end = text[offset..line.end].find(parts).map_or(line.end, |at| offset + at);
    start..end
}

/// The specifier at a byte offset, such as `%i`, with the `%`. A doubled `%` is a specifier too.
pub(crate) fn specifier(text: &str, line: &Range<usize>, offset: usize) -> Option<Range<usize>> {
    let value = &text[line.clone()];
    let mut at = 0;
    while let Some(found) = value[at..].find('%') {
        let start = line.start + at + found;
        let length = text[start + 1..line.end].chars().next().map_or(0, char::len_utf8);
        let end = start + 1 + length;
        if (start..end).contains(&offset) || (offset == end && length == 0) {
            return Some(start..end);
        }
        at = end - line.start;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What stands at the `|` in a text, which is taken out.
    fn look(marked: &str) -> (Option<String>, String) {
        let offset = marked.find('|').unwrap();
        let text = marked.replacen('|', "", 1);
        let cursor = at(&text, offset);
        let spot = match cursor.spot {
            Spot::Header(range) => format!("header {}", &text[range]),
            Spot::Key { name, assigned } => format!("key {} {assigned}", &text[name]),
            Spot::Value { key, line } => {
                format!("{key} {} {}", &text[line.clone()], &text[word(&text, &line, offset)])
            }
            Spot::Comment => "comment".to_owned(),
        };
        (cursor.section.map(str::to_owned), spot)
    }

    #[test]
    fn sections_and_keys() {
        let none = |spot: &str| (None, spot.to_owned());
        let inside = |spot: &str| (Some("S".to_owned()), spot.to_owned());
        assert_eq!(look("|"), none("key  false"));
        assert_eq!(look("[Co|"), none("header [Co"));
        assert_eq!(look("[S]\n[|]\n"), inside("header []"));
        assert_eq!(look("[S]\n|"), inside("key  false"));
        assert_eq!(look("[S]\nIm|\nA=b\n"), inside("key Im false"));
        assert_eq!(look("[S]\nIm|age = b\n"), inside("key Image true"));
        assert_eq!(look("[S]\n# a|\n"), inside("comment"));
    }

    #[test]
    fn values_and_their_words() {
        let inside = |spot: &str| (Some("S".to_owned()), spot.to_owned());
        assert_eq!(look("[S]\nA=|"), inside("A  "));
        assert_eq!(look("[S]\nA=a.volume|:/x"), inside("A a.volume:/x a.volume"));
        assert_eq!(look("[S]\nA=a \\\n  b.|pod \\\n"), inside("A b.pod \\ b.pod"));
        assert_eq!(look("[S]\nA=a \\\n|"), inside("A  "));
        assert_eq!(look("[S]\nA=a \\\n  |\n"), inside("A  "));
        assert_eq!(look("[S]\nA=a \\\n# no\n|"), inside("A  "));
        assert_eq!(look("[S]\nA=ü,s=é|,d=x"), inside("A ü,s=é,d=x é"));
    }

    #[test]
    fn specifiers() {
        let find = |text: &str, offset| {
            specifier(text, &(0..text.len()), offset).map(|range| text[range].to_owned())
        };
        assert_eq!(find("a%ib", 1).as_deref(), Some("%i"));
        assert_eq!(find("a%ib", 2).as_deref(), Some("%i"));
        assert_eq!(find("a%ib", 3), None);
        assert_eq!(find("a%", 2).as_deref(), Some("%"));
        assert_eq!(find("%%i", 2), None);
    }
}
