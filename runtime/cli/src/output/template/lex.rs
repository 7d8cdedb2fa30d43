//! From the text of a template to pieces of text and actions made of tokens.
//!
//! An action is what stands between `{{` and `}}`. `{{- ` takes the white space before the action
//! away and ` -}}` the white space after it; `{{/* … */}}` is a comment. A token remembers whether
//! white space stood before it, because `.A.B` is a field of a field and `.A .B` are two arguments.

use serde_json::{Number, Value};

use super::Error;

/// One piece of a template.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// Copied to the output as it is.
    Text(String),
    /// What stood between `{{` and `}}`, and the byte where the `{{` stands.
    Action { at: usize, tokens: Vec<Token> },
}

/// One word of an action.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    /// The byte of the template where it begins.
    pub(super) at: usize,
    /// Whether it follows the token before it without white space.
    pub(super) glued: bool,
    /// What it is.
    pub(super) kind: Kind,
}

/// What a [`Token`] is.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A keyword, a function, `true`, `false` or `nil`.
    Word(String),
    /// `.Name`.
    Field(String),
    /// `.` alone.
    Dot,
    /// `$` (an empty name) or `$name`.
    Variable(String),
    /// A string, a number or a character.
    Literal(Value),
    /// `|`
    Pipe,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `,`
    Comma,
    /// `:=`
    Declare,
    /// `=`
    Assign,
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";

/// Splits a template into text and actions.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece>, Error> {
    let mut pieces = Vec::new();
    let (mut at, mut trim_next) = (0, false);
    while let Some(length) = template[at..].find(OPEN) {
        let open = at + length;
        let inside = open + OPEN.len();
        let trims_before = starts_trim(&template[inside..]);
        push_text(&mut pieces, &template[at..open], trim_next, trims_before);
        let start = if trims_before { inside + 1 } else { inside };
        let (tokens, end) = match comment(template, start)? {
            Some(end) => (None, end),
            None => Lexer { text: template, at: start, open }.action().map(|(t, e)| (Some(t), e))?,
        };
        if let Some(tokens) = tokens {
            pieces.push(Piece::Action { at: open, tokens });
        }
        (at, trim_next) = end;
    }
    push_text(&mut pieces, &template[at..], trim_next, false);
    Ok(pieces)
}

fn push_text(pieces: &mut Vec<Piece>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start_matches(is_space) } else { text };
    let text = if trim_end { text.trim_end_matches(is_space) } else { text };
    if !text.is_empty() {
        pieces.push(Piece::Text(text.to_owned()));
    }
}

/// The white space that the markers take away, and that parts tokens: Go's, not Unicode's.
fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

/// `-` is a marker only with white space behind it; else it is the sign of a number.
fn starts_trim(rest: &str) -> bool {
    rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(is_space))
}

/// The end of the comment that begins here, if one does, and whether it trims what follows.
fn comment(template: &str, start: usize) -> Result<Option<(usize, bool)>, Error> {
    let rest = template[start..].trim_start_matches(is_space);
    let Some(body) = rest.strip_prefix("/*") else {
        return Ok(None);
    };
    let start = template.len() - body.len();
    let length = body.find("*/").ok_or_else(|| Error::new(start, "a comment without its */"))?;
    let end = start + length + 2;
    let (rest, trims) = match template[end..].trim_start_matches(is_space).strip_prefix('-') {
        Some(rest) if template[end..].starts_with(is_space) => (rest, true),
        _ => (&template[end..], false),
    };
    match rest.strip_prefix(CLOSE) {
        Some(rest) => Ok(Some((template.len() - rest.len(), trims))),
        None => Err(Error::new(end, "a comment must be alone in its {{ }}")),
    }
}

/// Reads the tokens of one action.
struct Lexer<'a> {
    text: &'a str,
    at: usize,
    open: usize,
}

impl Lexer<'_> {
    /// The tokens up to `}}`, the byte behind it, and whether it trims what follows.
    fn action(mut self) -> Result<(Vec<Token>, (usize, bool)), Error> {
        let mut tokens = Vec::new();
        loop {
            let before = self.at;
            self.at += self.rest().len() - self.rest().trim_start_matches(is_space).len();
            let glued = before == self.at && !tokens.is_empty();
            if self.rest().starts_with(CLOSE) {
                return Ok((tokens, (self.at + CLOSE.len(), false)));
            }
            if !glued && self.rest().strip_prefix('-').is_some_and(|r| r.starts_with(CLOSE)) {
                return Ok((tokens, (self.at + 1 + CLOSE.len(), true)));
            }
            let at = self.at;
            let kind = self.token()?;
            tokens.push(Token { at, glued, kind });
        }
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn token(&mut self) -> Result<Kind, Error> {
        let Some(first) = self.rest().chars().next() else {
            return Err(Error::new(self.open, "{{ without }}"));
        };
        let next = self.rest()[first.len_utf8()..].chars().next();
        match first {
            '|' => Ok(self.take(1, Kind::Pipe)),
            '(' => Ok(self.take(1, Kind::Open)),
            ')' => Ok(self.take(1, Kind::Close)),
            ',' => Ok(self.take(1, Kind::Comma)),
            '=' => Ok(self.take(1, Kind::Assign)),
            ':' if next == Some('=') => Ok(self.take(2, Kind::Declare)),
            '.' if next.is_some_and(|c| c.is_ascii_digit()) => self.number(),
            '.' => {
                self.at += 1;
                let name = self.word();
                Ok(if name.is_empty() { Kind::Dot } else { Kind::Field(name) })
            }
            '$' => {
                self.at += 1;
                Ok(Kind::Variable(self.word()))
            }
            '"' => self.string(),
            '`' => self.raw_string(),
            '\'' => self.character(),
            '+' | '-' | '0'..='9' => self.number(),
            c if is_name(c) => Ok(Kind::Word(self.word())),
            c => Err(Error::new(self.at, format!("{c:?} has no meaning here"))),
        }
    }

    fn take(&mut self, length: usize, kind: Kind) -> Kind {
        self.at += length;
        kind
    }

    fn word(&mut self) -> String {
        let rest = self.rest();
        let length = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let word = rest[..length].to_owned();
        self.at += length;
        word
    }

    fn raw_string(&mut self) -> Result<Kind, Error> {
        let length = self.rest()[1..].find('`');
        let length = length.ok_or_else(|| Error::new(self.at, "a string without its closing `"))?;
        let text = self.rest()[1..=length].to_owned();
        Ok(self.take(length + 2, Kind::Literal(Value::String(text))))
    }

    fn string(&mut self) -> Result<Kind, Error> {
        self.quoted('"').map(|text| Kind::Literal(Value::String(text)))
    }

    /// A character constant is a number in Go, and so it is here.
    fn character(&mut self) -> Result<Kind, Error> {
        let at = self.at;
        let text = self.quoted('\'')?;
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (Some(c), None) => Ok(Kind::Literal(Value::from(u32::from(c)))),
            _ => Err(Error::new(at, "'…' holds exactly one character; strings stand in \"…\"")),
        }
    }

    /// What stands between two `quote`s, with Go's escapes replaced.
    fn quoted(&mut self, quote: char) -> Result<String, Error> {
        let start = self.at;
        let unended = || Error::new(start, format!("a string without its closing {quote}"));
        let mut text = String::new();
        self.at += 1;
        loop {
            let c = self.rest().chars().next().filter(|c| *c != '\n').ok_or_else(unended)?;
            self.at += c.len_utf8();
            match c {
                c if c == quote => return Ok(text),
                '\\' => text.push(self.escape()?),
                c => text.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Error> {
        let at = self.at - 1;
        let c = self.rest().chars().next().unwrap_or('\0');
        self.at += c.len_utf8().min(self.rest().len());
        let digits = match c {
            'a' => return Ok('\x07'),
            'b' => return Ok('\x08'),
            'f' => return Ok('\x0c'),
            'n' => return Ok('\n'),
            'r' => return Ok('\r'),
            't' => return Ok('\t'),
            'v' => return Ok('\x0b'),
            '\\' | '\'' | '"' => return Ok(c),
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => return Err(Error::new(at, format!("\\{c} is no escape"))),
        };
        let code = self.rest().get(..digits).and_then(|code| u32::from_str_radix(code, 16).ok());
        let code = code.and_then(char::from_u32);
        self.at += digits;
        code.ok_or_else(|| Error::new(at, format!("\\{c} needs {digits} hexadecimal digits")))
    }

    fn number(&mut self) -> Result<Kind, Error> {
        let (at, rest) = (self.at, self.rest());
        let sign = usize::from(rest.starts_with(['+', '-']));
        let end = |c: char| !(c.is_ascii_alphanumeric() || c == '.' || c == '_');
        let length = rest[sign..].find(end).map_or(rest.len(), |length| length + sign);
        let text = rest[..length].replace('_', "");
        self.at += length;
        parse_number(&text)
            .map(|number| Kind::Literal(Value::Number(number)))
            .ok_or_else(|| Error::new(at, format!("{text:?} is no number")))
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Decimal, `0x`, `0o` and `0b` integers, and floating point.
fn parse_number(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let prefixed = radix
        .iter()
        .find_map(|(prefix, radix)| Some(i64::from_str_radix(digits.strip_prefix(prefix)?, *radix).ok()));
    match prefixed {
        Some(integer) => integer.map(|i| Number::from(if negative { -i } else { i })),
        None => match text.strip_prefix('+').unwrap_or(text).parse::<i64>() {
            Ok(integer) => Some(Number::from(integer)),
            Err(_) => digits
                .parse::<f64>()
                .ok()
                .and_then(|float| Number::from_f64(if negative { -float } else { float })),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(template: &str) -> Vec<Kind> {
        match pieces(template).unwrap().remove(0) {
            Piece::Action { tokens, .. } => tokens.into_iter().map(|token| token.kind).collect(),
            Piece::Text(text) => panic!("{text:?} is text"),
        }
    }

    #[test]
    fn fields_of_fields_are_glued_and_arguments_are_not() {
        let Piece::Action { tokens, .. } = pieces("{{.A.B .C}}").unwrap().remove(0) else {
            panic!("no action");
        };
        let glued: Vec<bool> = tokens.iter().map(|token| token.glued).collect();
        assert_eq!(glued, [false, true, false]);
    }

    #[test]
    fn literals() {
        assert_eq!(kinds(r#"{{"a\tb\u00e9"}}"#), [Kind::Literal("a\tbé".into())]);
        assert_eq!(kinds("{{`a\\n`}}"), [Kind::Literal("a\\n".into())]);
        assert_eq!(kinds("{{-3}}"), [Kind::Literal((-3).into())]);
        assert_eq!(kinds("{{0x1f}}"), [Kind::Literal(31.into())]);
        assert_eq!(kinds("{{1.5}}"), [Kind::Literal(1.5.into())]);
        assert_eq!(kinds("{{'a'}}"), [Kind::Literal(97.into())]);
    }

    #[test]
    fn marks_trim_and_signs_do_not() {
        let texts = |template: &str| -> Vec<String> {
            let texts = pieces(template).unwrap().into_iter().filter_map(|piece| match piece {
                Piece::Text(text) => Some(text),
                Piece::Action { .. } => None,
            });
            texts.collect()
        };
        assert_eq!(texts("a \n{{- .X -}} \t b"), ["a", "b"]);
        assert_eq!(texts("a {{-1}} b"), ["a ", " b"]);
        assert_eq!(texts("a {{/* c */}} b"), ["a ", " b"]);
        assert_eq!(texts("a {{- /* c */ -}} b"), ["a", "b"]);
    }

    #[test]
    fn what_is_unended_is_named() {
        for (template, part) in [
            ("{{.A", "without }}"),
            ("{{\"a}}", "closing \""),
            ("{{`a}}", "closing `"),
            ("{{/* a }}", "without its */"),
            ("{{/* a */ .X}}", "alone"),
            ("{{#}}", "no meaning"),
            ("{{1x}}", "no number"),
            (r#"{{"\q"}}"#, "no escape"),
            (r#"{{"\x1"}}"#, "hexadecimal"),
        ] {
            let error = pieces(template).unwrap_err().to_string();
            assert!(error.contains(part), "{template}: {error}");
        }
    }
}
