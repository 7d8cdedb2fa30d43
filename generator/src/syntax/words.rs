//! Splits a value into words and writes words as a value.
//!
//! The rules are systemd's (systemd.service(5), "Command lines"; `extract_first_word()` in its
//! sources): words are separated by blanks; single and double quotes hold a word together and are
//! taken off; a command line knows C escapes, a plain list doesn't. An empty pair of quotes is an
//! empty word.

use std::borrow::Cow;

/// Which escapes a list of words knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Escapes {
    /// A backslash is an ordinary character (lists such as `WantedBy=`).
    Kept,
    /// C escapes are resolved (command lines, `Environment=`).
    Resolved,
}

/// One word of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word<'v> {
    /// The word, quotes and escapes resolved; a part of the value if it has none.
    pub text: Cow<'v, str>,
    /// Byte offset of its first character in the value.
    pub at: usize,
    /// Byte offset in the value behind its last character.
    pub end: usize,
}

/// Something odd that was found while splitting; the words are usable nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// A backslash before a character that makes no escape; it was kept as it stands.
    UnknownEscape {
        /// Byte offset of the backslash in the value.
        at: usize,
        /// The character after the backslash.
        character: char,
    },
    /// A quote that nothing closes; the word goes to the end of the value.
    OpenQuote {
        /// Byte offset of the quote in the value.
        at: usize,
        /// The quote.
        quote: char,
    },
}

/// The words of a value, and what was odd about it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words<'v> {
    /// The words in their order.
    pub words: Vec<Word<'v>>,
    /// What was odd, in the order of the value.
    pub oddities: Vec<Oddity>,
}

/// Splits a value into words.
pub fn split(value: &str, escapes: Escapes) -> Words<'_> {
    let mut splitter = Splitter { value, at: 0, escapes, oddities: Vec::new() };
    let mut words = Vec::new();
    while let Some(word) = splitter.next_word() {
        words.push(word);
    }
    Words { words, oddities: splitter.oddities }
}

fn is_separator(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

struct Splitter<'a> {
    value: &'a str,
    at: usize,
    escapes: Escapes,
    oddities: Vec<Oddity>,
}

impl<'v> Splitter<'v> {
    fn peek(&self) -> Option<char> {
        self.value[self.at..].chars().next()
    }

    fn next_word(&mut self) -> Option<Word<'v>> {
        let rest = self.value[self.at..].trim_start_matches(is_separator);
        self.at = self.value.len() - rest.len();
        self.peek()?;
        let start = self.at;
        let end = rest.find(|c| is_separator(c) || matches!(c, '"' | '\'' | '\\')).unwrap_or(rest.len());
        if rest[end..].chars().next().is_none_or(is_separator) {
            self.at += end;
            return Some(Word { text: Cow::Borrowed(&rest[..end]), at: start, end: self.at });
        }
        let text = Cow::Owned(self.resolve());
        Some(Word { text, at: start, end: self.at })
    }

    /// The word that starts here, with quotes and escapes resolved.
    fn resolve(&mut self) -> String {
        let mut bytes = Vec::with_capacity(self.value.len() - self.at);
        let mut quote = None;
        while let Some(c) = self.peek() {
            match quote {
                None if is_separator(c) => break,
                None if c == '"' || c == '\'' => quote = Some((c, self.at)),
                Some((open, _)) if c == open => quote = None,
                _ if c == '\\' && self.escapes == Escapes::Resolved => {
                    self.escape(&mut bytes);
                    continue;
                }
                _ => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            self.at += c.len_utf8();
        }
        if let Some((quote, at)) = quote {
            self.oddities.push(Oddity::OpenQuote { at, quote });
        }
        // Escapes may spell bytes that are no UTF-8: those become the characters of that number.
        String::from_utf8(bytes)
            .unwrap_or_else(|error| error.into_bytes().into_iter().map(char::from).collect())
    }

    /// Resolves the escape at the current place and moves behind it.
    fn escape(&mut self, bytes: &mut Vec<u8>) {
        let body = &self.value[self.at + 1..];
        let Some(character) = body.chars().next() else {
            self.at += 1; // a lone backslash at the end of the value is dropped
            return;
        };
        let simple = match character {
            'a' => Some(0x07),
            'b' => Some(0x08),
            'f' => Some(0x0c),
            'n' => Some(b'\n'),
            'r' => Some(b'\r'),
            't' => Some(b'\t'),
            'v' => Some(0x0b),
            's' => Some(b' '),
            '\\' | '"' | '\'' => Some(character as u8),
            _ => None,
        };
        if let Some(byte) = simple {
            bytes.push(byte);
            self.at += 2;
            return;
        }
        match numeric(body, character) {
            Some((Numeric::Byte(byte), length)) => {
                bytes.push(byte);
                self.at += 1 + length;
            }
            Some((Numeric::Character(c), length)) => {
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                self.at += 1 + length;
            }
            None => {
                self.oddities.push(Oddity::UnknownEscape { at: self.at, character });
                bytes.push(b'\\');
                self.at += 1;
            }
        }
    }
}

enum Numeric {
    Byte(u8),
    Character(char),
}

/// `\xHH`, `\OOO`, `\uHHHH`, `\UHHHHHHHH`: the value and the length of the escape without its
/// backslash. A zero makes no escape, as in systemd.
fn numeric(body: &str, first: char) -> Option<(Numeric, usize)> {
    let (skip, digits, radix) = match first {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        '0'..='7' => (0, 3, 8),
        _ => return None,
    };
    let text = body.get(skip..skip + digits)?;
    if !text.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let number = u32::from_str_radix(text, radix).ok().filter(|number| *number != 0)?;
    let value = match first {
        'u' | 'U' => Numeric::Character(char::from_u32(number)?),
        _ => Numeric::Byte(u8::try_from(number).ok()?),
    };
    Some((value, skip + digits))
}

/// Writes a word so that systemd reads exactly it back from a command line or a quoted list.
///
/// `%` and `$` are left alone: in a unit file they are the author's own specifiers and variables.
/// For text that isn't the author's, see [`literal`].
pub fn quote(word: &str) -> Cow<'_, str> {
    if !word.is_empty() && is_plain(word) {
        return Cow::Borrowed(word);
    }
    let needs_quotes = word.is_empty()
        || word == ";"
        || word.chars().any(|c| c.is_whitespace() || c.is_control() || matches!(c, '"' | '\'' | '\\'));
    if !needs_quotes {
        return Cow::Borrowed(word);
    }
    let mut quoted = String::with_capacity(word.len() + 2);
    quoted.push('"');
    for c in word.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            c if c.is_control() => escape_character(&mut quoted, c),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    Cow::Owned(quoted)
}

fn escape_character(out: &mut String, c: char) {
    use std::fmt::Write;
    // Writing to a String can't fail.
    let _ =
        if c.is_ascii() { write!(out, "\\x{:02x}", c as u32) } else { write!(out, "\\u{:04x}", c as u32) };
}

/// Whether the text can be part of a word as it is, without quotes and escapes.
pub(crate) fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| PLAIN[usize::from(byte)])
}

/// The bytes that need neither quotes nor escapes.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = b'!';
    while byte <= b'~' {
        plain[byte as usize] = !matches!(byte, b'"' | b'\'' | b'\\' | b';');
        byte += 1;
    }
    plain
};

/// Adds a word to a value, written by [`quote`].
pub(crate) fn push_quoted(value: &mut String, word: &str) {
    if !word.is_empty() && is_plain(word) {
        value.push_str(word);
    } else {
        value.push_str(&quote(word));
    }
}

/// Text with `%` doubled, so that systemd expands no specifier in it: for names and paths that come
/// from the file system and not from an author.
pub fn literal(text: &str) -> String {
    text.replace('%', "%%")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn texts(value: &str, escapes: Escapes) -> Vec<String> {
        split(value, escapes).words.into_iter().map(|word| word.text.into_owned()).collect()
    }

    #[test]
    fn splits_quotes_and_keeps_empty_words() {
        assert_eq!(
            texts(r#"a 'b c' "d e" f'g'h "" z"#, Escapes::Resolved),
            ["a", "b c", "d e", "fgh", "", "z"]
        );
        assert_eq!(texts(r"'\d+' \x", Escapes::Kept), [r"\d+", r"\x"]);
    }

    #[test]
    fn resolves_escapes() {
        assert_eq!(
            texts(r"\x41 \101 \u00e9 \xc3\xa9 a\tb \s", Escapes::Resolved),
            ["A", "A", "é", "é", "a\tb", " "]
        );
    }

    #[test]
    fn keeps_what_is_no_escape_and_says_so() {
        let words = split(r"grep '^\d+$'", Escapes::Resolved);
        assert_eq!(words.words[1].text, r"^\d+$");
        assert_eq!(words.oddities, [Oddity::UnknownEscape { at: 7, character: 'd' }]);
    }

    #[test]
    fn an_open_quote_reaches_to_the_end() {
        let words = split("a \"b c", Escapes::Resolved);
        assert_eq!(words.words[1].text, "b c");
        assert_eq!(words.oddities, [Oddity::OpenQuote { at: 2, quote: '"' }]);
    }

    #[test]
    fn a_lone_semicolon_stays_a_word() {
        assert_eq!(join(["a", ";", "b"]), r#"a ";" b"#);
    }

    fn join<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
        words.into_iter().map(quote).collect::<Vec<_>>().join(" ")
    }

    proptest! {
        #[test]
        fn what_is_joined_is_split_into_the_same_words(words in proptest::collection::vec("[^\0]*", 0..6)) {
            let value = join(words.iter().map(String::as_str));
            prop_assert!(!value.contains('\n'));
            prop_assert_eq!(texts(&value, Escapes::Resolved), words);
        }

        #[test]
        fn splitting_anything_ends(value in ".*") {
            split(&value, Escapes::Resolved);
            split(&value, Escapes::Kept);
        }
    }
}
