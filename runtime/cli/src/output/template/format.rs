//! How Go prints a value: `%v` by default, and the other verbs of `printf`.

use serde_json::Value;

use super::functions::kind;

/// Go's `%v`: strings bare, lists as `[a b]`, maps as `map[k:v]` with sorted keys.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Number(number) => match number.as_f64().filter(|_| number.is_f64()) {
            Some(float) => shortest(float),
            None => number.to_string(),
        },
        Value::String(text) => text.clone(),
        Value::Array(list) => {
            format!("[{}]", list.iter().map(inner).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let mut pairs: Vec<_> = map.iter().collect();
            pairs.sort_by_key(|(key, _)| *key);
            let pairs: Vec<_> = pairs.iter().map(|(k, v)| format!("{k}:{}", inner(v))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// [`display`], but for nothing as Go prints it anywhere but at the top of a template.
pub(super) fn inner(value: &Value) -> String {
    if value.is_null() { "<nil>".to_owned() } else { display(value) }
}

/// Go's `%g` with as many digits as tell the number apart: with an exponent from a million on.
fn shortest(float: f64) -> String {
    let exponent = if float == 0.0 { 0.0 } else { float.abs().log10().floor() };
    if (-4.0..6.0).contains(&exponent) { float.to_string() } else { exponential(&format!("{float:e}")) }
}

/// Rust writes `1e7` where Go writes `1e+07`.
fn exponential(text: &str) -> String {
    let (digits, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let (sign, exponent) = match exponent.strip_prefix('-') {
        Some(exponent) => ('-', exponent),
        None => ('+', exponent),
    };
    format!("{digits}e{sign}{exponent:0>2}")
}

/// A verb of a format and what stands between its `%` and its letter.
#[derive(Debug, Default)]
struct Verb {
    left: bool,
    plus: bool,
    alternate: bool,
    zero: bool,
    space: bool,
    width: usize,
    precision: Option<usize>,
    letter: char,
}

/// The widest field: a template can't ask for gigabytes of blanks.
const MAX_WIDTH: usize = 4096;

/// Go's `fmt.Sprintf` over JSON values. As in Go a wrong verb is no error but shows in the text,
/// as `%!d(string=hi)`, `%!d(MISSING)` or `%!(EXTRA int=1)`.
pub(super) fn sprintf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut arguments = arguments.iter();
    let mut rest = format;
    while let Some(at) = rest.find('%') {
        out.push_str(&rest[..at]);
        let (verb, after) = verb(&rest[at + 1..]);
        rest = after;
        match verb.letter {
            '%' => out.push('%'),
            '\0' => out.push_str("%!(NOVERB)"),
            letter => match arguments.next() {
                Some(value) => out.push_str(&verb.apply(value)),
                None => out.push_str(&format!("%!{letter}(MISSING)")),
            },
        }
    }
    out.push_str(rest);
    let extra: Vec<_> = arguments.map(|v| format!("{}={}", kind(v), display(v))).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn verb(text: &str) -> (Verb, &str) {
    let mut verb = Verb::default();
    let mut rest = text;
    while let Some(flag) = rest.chars().next().filter(|c| matches!(c, '-' | '+' | '#' | '0' | ' ')) {
        match flag {
            '-' => verb.left = true,
            '+' => verb.plus = true,
            '#' => verb.alternate = true,
            '0' => verb.zero = true,
            _ => verb.space = true,
        }
        rest = &rest[1..];
    }
    (verb.width, rest) = digits(rest);
    if let Some(after) = rest.strip_prefix('.') {
        let (precision, after) = digits(after);
        verb.precision = Some(precision);
        rest = after;
    }
    verb.letter = rest.chars().next().unwrap_or_default();
    let length = if rest.is_empty() { 0 } else { verb.letter.len_utf8() };
    (verb, &rest[length..])
}

fn digits(text: &str) -> (usize, &str) {
    let length = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    (text[..length].parse().unwrap_or(0).min(MAX_WIDTH), &text[length..])
}

impl Verb {
    fn apply(&self, value: &Value) -> String {
        match (self.letter, value) {
            ('v', Value::String(text)) if self.alternate => self.pad(&quote(text)),
            ('v', value) if value.is_number() => self.number(value, false),
            ('v', value) => self.pad(&inner(value)),
            ('T', value) => self.pad(kind(value)),
            ('t', Value::Bool(truth)) => self.pad(&truth.to_string()),
            ('s', Value::String(text)) => self.pad(self.cut(text)),
            ('q', Value::String(text)) => self.pad(&quote(self.cut(text))),
            ('x', Value::String(text)) => {
                self.pad(&text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>())
            }
            ('X', Value::String(text)) => {
                self.pad(&text.bytes().map(|byte| format!("{byte:02X}")).collect::<String>())
            }
            ('s' | 'q' | 'd', Value::Array(list)) => {
                let plain = Verb { width: 0, ..Verb { letter: self.letter, ..Verb::default() } };
                let words: Vec<_> = list.iter().map(|value| plain.apply(value)).collect();
                self.pad(&format!("[{}]", words.join(" ")))
            }
            ('s', Value::Object(_)) => self.pad(&display(value)),
            ('d' | 'x' | 'X' | 'o' | 'b' | 'c', Value::Number(n)) if !n.is_f64() => self.number(value, false),
            ('f' | 'F' | 'e' | 'g', Value::Number(n)) if n.is_f64() => self.number(value, true),
            (letter, Value::Null) => format!("%!{letter}(<nil>)"),
            (letter, value) => format!("%!{letter}({}={})", kind(value), display(value)),
        }
    }

    fn cut<'a>(&self, text: &'a str) -> &'a str {
        let end = self.precision.and_then(|precision| text.char_indices().nth(precision));
        end.map_or(text, |(end, _)| &text[..end])
    }

    fn number(&self, value: &Value, float: bool) -> String {
        let digits = if float || value.is_f64() {
            let float = value.as_f64().unwrap_or_default();
            match self.letter {
                'f' | 'F' => format!("{float:.*}", self.precision.unwrap_or(6)),
                'e' => exponential(&format!("{float:.*e}", self.precision.unwrap_or(6))),
                _ => shortest(float),
            }
        } else {
            let integer = value.as_number().and_then(serde_json::Number::as_i128).unwrap_or_default();
            let magnitude = integer.unsigned_abs();
            let sign = if integer < 0 { "-" } else { "" };
            match self.letter {
                'c' => {
                    let c = u32::try_from(integer).ok().and_then(char::from_u32);
                    return self.pad(&c.unwrap_or(char::REPLACEMENT_CHARACTER).to_string());
                }
                'x' if self.alternate => format!("{sign}0x{magnitude:x}"),
                'x' => format!("{sign}{magnitude:x}"),
                'X' => format!("{sign}{magnitude:X}"),
                'o' => format!("{sign}{magnitude:o}"),
                'b' => format!("{sign}{magnitude:b}"),
                _ => integer.to_string(),
            }
        };
        self.sign_and_pad(&digits)
    }

    fn sign_and_pad(&self, digits: &str) -> String {
        let (sign, digits) = match digits.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None if self.plus => ("+", digits),
            None if self.space => (" ", digits),
            None => ("", digits),
        };
        if self.zero && !self.left {
            let width = self.width.saturating_sub(sign.len());
            format!("{sign}{digits:0>width$}")
        } else {
            self.pad(&format!("{sign}{digits}"))
        }
    }

    fn pad(&self, text: &str) -> String {
        let width = self.width;
        if self.left { format!("{text:<width$}") } else { format!("{text:>width$}") }
    }
}

/// Go's `%q`: in double quotes, with Go's escapes.
fn quote(text: &str) -> String {
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() && u32::from(c) < 0x80 => {
                out.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c if c.is_control() => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_print_as_in_go() {
        for (value, text) in [
            (json!(null), "<no value>"),
            (json!(["a", 1, null, true]), "[a 1 <nil> true]"),
            (json!({"b": "2", "a": ["x", "y"]}), "map[a:[x y] b:2]"),
            (json!(1.5), "1.5"),
            (json!(1234567.0), "1.234567e+06"),
            (json!(100000.0), "100000"),
            (json!(0.00001), "1e-05"),
            (json!(12345678), "12345678"),
        ] {
            assert_eq!(display(&value), text);
        }
    }

    #[test]
    fn verbs_print_as_in_go() {
        let cases = [
            ("%s-%d", json!(["a", 7]), "a-7"),
            ("%5s|%-5s|%05d|%+d", json!(["a", "b", -42, 3]), "    a|b    |-0042|+3"),
            ("%q %v %v", json!(["a\"\n", [1, 2], {"k": 1}]), "\"a\\\"\\n\" [1 2] map[k:1]"),
            ("%x %X %o %b %c", json!([255, 255, 8, 5, 97]), "ff FF 10 101 a"),
            ("%.2f %.3s %t %T %%", json!([1.005, "abcdef", true, "x"]), "1.00 abc true string %"),
            ("%d", json!(["hi"]), "%!d(string=hi)"),
            ("%s", json!([5]), "%!s(int=5)"),
            ("%s %s", json!(["a"]), "a %!s(MISSING)"),
            ("%s", json!(["a", 1]), "a%!(EXTRA int=1)"),
            ("100%", json!([]), "100%!(NOVERB)"),
            ("%q", json!([["a", "b"]]), "[\"a\" \"b\"]"),
            ("%#x", json!([255]), "0xff"),
            ("%e", json!([1234.5]), "1.234500e+03"),
        ];
        for (format, arguments, text) in cases {
            let arguments = arguments.as_array().unwrap();
            assert_eq!(sprintf(format, arguments), text, "{format}");
        }
    }
}
