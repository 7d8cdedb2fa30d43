//! Places in a text: byte offsets here, lines and characters in the protocol.
//!
//! The protocol counts a line's characters in units of UTF-16 unless client and server agree on
//! UTF-8, so the same place has other numbers for each of them. Positions come from outside: what
//! lies behind the end of a line or of the text, or between the halves of a character, is moved to
//! the nearest place before it.

use std::ops::Range;

use gen_lsp_types::{Position, PositionEncodingKind, Range as LspRange};

/// How the characters of a line are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// In bytes.
    Utf8,
    /// In units of UTF-16, which every client knows.
    Utf16,
}

impl Encoding {
    /// UTF-8 if the client offers it, because it needs no counting.
    pub(crate) fn negotiate(offered: &[PositionEncodingKind]) -> Self {
        if offered.contains(&PositionEncodingKind::UTF8) { Self::Utf8 } else { Self::Utf16 }
    }

    /// Its name in the protocol.
    pub(crate) fn kind(self) -> PositionEncodingKind {
        match self {
            Self::Utf8 => PositionEncodingKind::UTF8,
            Self::Utf16 => PositionEncodingKind::UTF16,
        }
    }

    fn units(self, character: char) -> usize {
        match self {
            Self::Utf8 => character.len_utf8(),
            Self::Utf16 => character.len_utf16(),
        }
    }
}

/// A text that knows where its lines start.
#[derive(Clone, Debug)]
pub(crate) struct Text {
    text: String,
    /// The byte offset of each line; lines end with `\n`, `\r\n` or `\r`.
    starts: Vec<usize>,
    encoding: Encoding,
}

impl Text {
    pub(crate) fn new(text: String, encoding: Encoding) -> Self {
        let starts = starts(&text);
        Self { text, starts, encoding }
    }

    /// The text itself.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Puts other text in place of a range; a range whose ends are swapped counts as if they weren't.
    pub(crate) fn replace(&mut self, range: LspRange, with: &str) {
        let (a, b) = (self.offset(range.start), self.offset(range.end));
        self.text.replace_range(a.min(b)..a.max(b), with);
        self.starts = starts(&self.text);
    }

    /// The byte offset of a position.
    pub(crate) fn offset(&self, position: Position) -> usize {
        let line = position.line as usize;
        let Some(start) = self.starts.get(line).copied() else { return self.text.len() };
        let end = self.starts.get(line + 1).copied().unwrap_or(self.text.len());
        let line = self.text[start..end].trim_end_matches(['\n', '\r']);
        let mut left = position.character as usize;
        for (at, character) in line.char_indices() {
            let units = self.encoding.units(character);
            if left < units {
                return start + at;
            }
            left -= units;
        }
        start + line.len()
    }

    /// The position of a byte offset.
    pub(crate) fn position(&self, offset: usize) -> Position {
        let end = offset.min(self.text.len());
        let offset = (0..=end).rev().find(|at| self.text.is_char_boundary(*at)).unwrap_or(0);
        let line = self.starts.partition_point(|start| *start <= offset).saturating_sub(1);
        let before = &self.text[self.starts[line]..offset];
        let character: usize = before.chars().map(|character| self.encoding.units(character)).sum();
        Position { line: number(line), character: number(character) }
    }

    /// The positions of a range of bytes.
    pub(crate) fn range(&self, range: Range<usize>) -> LspRange {
        LspRange { start: self.position(range.start), end: self.position(range.end) }
    }

    /// The range of the whole text.
    pub(crate) fn whole(&self) -> LspRange {
        self.range(0..self.text.len())
    }
}

/// A text of more than four milliards of lines or characters isn't told apart from a shorter one.
fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn starts(text: &str) -> Vec<usize> {
    let bytes = text.as_bytes();
    let ends = bytes.iter().enumerate().filter(|(at, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(at + 1) != Some(&b'\n'),
        _ => false,
    });
    std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(line: u32, character: u32) -> Position {
        Position { line, character }
    }

    #[test]
    fn characters_are_counted_as_agreed() {
        let text = "a\nü😀x\r\nb\rc";
        let utf16 = Text::new(text.to_owned(), Encoding::Utf16);
        let utf8 = Text::new(text.to_owned(), Encoding::Utf8);
        let x = text.find('x').unwrap();
        assert_eq!(utf16.position(x), position(1, 3));
        assert_eq!(utf8.position(x), position(1, 6));
        assert_eq!((utf16.offset(position(1, 3)), utf8.offset(position(1, 6))), (x, x));
        assert_eq!(utf16.position(text.len()), position(3, 1));
    }

    #[test]
    fn places_that_do_not_exist_are_moved_back() {
        let text = Text::new("ü😀x\r\nb".to_owned(), Encoding::Utf16);
        assert_eq!(text.offset(position(0, 2)), 2, "the middle of a surrogate pair");
        assert_eq!(text.offset(position(0, 99)), 7, "behind the end of the line");
        assert_eq!(text.offset(position(9, 0)), 10, "behind the end of the text");
        assert_eq!(text.position(4), position(0, 1), "the middle of a character");
        assert_eq!(text.position(99), position(1, 1));
    }

    #[test]
    fn a_change_may_have_its_ends_swapped() {
        let mut text = Text::new("abc\ndef\n".to_owned(), Encoding::Utf8);
        text.replace(LspRange { start: position(1, 1), end: position(0, 1) }, "-");
        assert_eq!(text.as_str(), "a-ef\n");
        text.replace(LspRange { start: position(7, 7), end: position(9, 9) }, "end\n");
        assert_eq!(text.as_str(), "a-ef\nend\n");
        assert_eq!(text.position(5), position(1, 0));
    }
}
