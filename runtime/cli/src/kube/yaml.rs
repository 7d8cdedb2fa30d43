//! YAML into a tree in which every value knows its line and column.
//!
//! The text may be anybody's: its size, its depth and what its anchors expand to are bounded before anything
//! of it is kept. What the tree means is read by [`super::read`].

use std::fmt;
use std::io::Read as _;
use std::path::Path;

use anyhow::Context as _;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

/// The largest file. Kubernetes itself takes objects of 1.5 MiB at most.
const MAX_BYTES: u64 = 16 << 20;
/// The deepest nesting; a pod needs about ten levels.
const MAX_DEPTH: usize = 64;
/// Scalars, lists and mappings of a file.
const MAX_NODES: usize = 100_000;
/// What all aliases together may expand to.
const MAX_REPLAYED: usize = 100_000;

/// A place in a file: line and column, both from 1; zero where there is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct At {
    /// The line.
    pub(crate) line: usize,
    /// The column, in characters.
    pub(crate) column: usize,
}

/// A value and where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it stands.
    pub(crate) at: At,
    /// What it is.
    pub(crate) value: Value,
}

/// What a value is, as YAML's own rules see it.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// Nothing, `~` or `null`.
    Null,
    /// `true`, `yes`, …
    Boolean(bool),
    /// A number without quotes, in its shortest spelling.
    Number(String),
    /// Any other scalar.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// The key of a mapping.
#[derive(Debug, Clone)]
pub(crate) struct Key {
    /// Where it stands.
    pub(crate) at: At,
    /// Its text.
    pub(crate) text: String,
}

impl Value {
    /// What it is, in words.
    pub(crate) fn describe(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Boolean(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "a mapping",
        }
    }
}

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    file: String,
    at: At,
    reason: String,
    /// The line itself, unless it may hold a secret.
    text: Option<String>,
}

impl std::error::Error for Problem {}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let At { line, column } = self.at;
        match line {
            0 => write!(f, "{}: {}", self.file, self.reason),
            _ => write!(f, "{}:{line}:{column}: {}", self.file, self.reason),
        }?;
        if let Some(text) = &self.text {
            let mark: String =
                text.chars().take(column - 1).map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
            let width = line.to_string().len();
            write!(f, "\n{line} | {text}\n{:width$} | {mark}^", "")?;
        }
        Ok(())
    }
}

/// A file with Kubernetes YAML.
#[derive(Debug)]
pub(crate) struct File {
    name: String,
    text: String,
}

impl File {
    /// Reads the file; `-` is standard input.
    ///
    /// # Errors
    /// It can't be read, is larger than 16 MiB, or is not UTF-8.
    pub(crate) fn open(path: &Path) -> anyhow::Result<Self> {
        let is_input = path == Path::new("-");
        let name = if is_input { "standard input".to_owned() } else { path.display().to_string() };
        let mut bytes = Vec::new();
        let read = if is_input {
            std::io::stdin().take(MAX_BYTES + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes))
        };
        read.with_context(|| format!("reading the Kubernetes YAML {name}"))?;
        anyhow::ensure!(bytes.len() as u64 <= MAX_BYTES, "{name} is larger than {} MiB", MAX_BYTES >> 20);
        let text = String::from_utf8(bytes).with_context(|| format!("{name} is no text (UTF-8)"))?;
        Ok(Self { name, text })
    }

    /// A file of this name with this text.
    #[cfg(test)]
    pub(crate) fn new(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { name: name.into(), text: text.into() }
    }

    /// Its documents; empty ones are left out.
    ///
    /// # Errors
    /// It is no YAML, or too much of it.
    pub(crate) fn documents(&self) -> Result<Vec<Node>, Problem> {
        serde_saphyr::from_multiple_with_options(&self.text, options()).map_err(|error| {
            let place = error.location();
            let at = place.map_or(At::default(), |place| at(&place));
            let message = error.without_snippet().to_string();
            // The parser's own mark of the place would say it a second time.
            let reason = message.lines().next().unwrap_or_default();
            let reason = reason.split(" at line ").next().unwrap_or_default();
            self.problem(at, format!("this is no valid YAML: {reason}"), true)
        })
    }

    /// Something that is wrong at a place; with `show` the line is shown as well.
    pub(crate) fn problem(&self, at: At, reason: impl Into<String>, show: bool) -> Problem {
        let line = at.line.checked_sub(1).and_then(|line| self.text.lines().nth(line));
        let text = line.filter(|_| show).map(|line| {
            let line: String = line.chars().take(160).collect();
            line.trim_end().replace(|c: char| c.is_control() && c != '\t', " ")
        });
        Problem { file: self.name.clone(), at, reason: reason.into(), text }
    }
}

/// Bounds on what is read, and YAML 1.1's octal numbers, as Kubernetes reads them (`defaultMode: 0644`).
fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    options.budget = serde_saphyr::budget! {
        max_depth: MAX_DEPTH,
        max_nodes: MAX_NODES,
        max_events: 2 * MAX_NODES,
        max_total_scalar_bytes: MAX_BYTES as usize,
    };
    options.alias_limits.max_total_replayed_events = MAX_REPLAYED;
    options.legacy_octal_numbers = true;
    options.with_snippet = false;
    options
}

fn at(place: &serde_saphyr::Location) -> At {
    At { line: place.line() as usize, column: (place.column() as usize).max(1) }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Value>::deserialize(deserializer)?;
        Ok(Self { at: at(&spanned.referenced), value: spanned.value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Boolean(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Number(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<String>>()? {
            let key = Key { at: at(&key.referenced), text: key.value };
            map.push((key, entries.next_value()?));
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn documents(text: &str) -> Result<Vec<Node>, Problem> {
        File::new("t.yaml", text).documents()
    }

    #[test]
    fn values_know_where_they_stand() {
        let all =
            documents("a: 1\n---\n# only a comment\n---\nb:\n  - yes\n  - \"yes\"\n  - 0644\n  -\n").unwrap();
        assert_eq!(all.len(), 2);
        let Value::Map(map) = &all[1].value else { panic!("{all:?}") };
        assert_eq!((map[0].0.text.as_str(), map[0].0.at), ("b", At { line: 5, column: 1 }));
        let Value::List(list) = &map[0].1.value else { panic!("{map:?}") };
        assert!(matches!(list[0].value, Value::Boolean(true)));
        assert_eq!(list[1].at, At { line: 7, column: 5 });
        assert!(matches!(&list[1].value, Value::Text(text) if text == "yes"));
        assert!(matches!(&list[2].value, Value::Number(text) if text == "420"));
        assert!(matches!(list[3].value, Value::Null));
    }

    #[test]
    fn a_mistake_is_shown_with_its_line() {
        let problem = documents("a: 1\nb: [1, 2\nc: 3\n").unwrap_err().to_string();
        assert!(problem.starts_with("t.yaml:") && problem.contains("no valid YAML"), "{problem}");
        let problem = documents("a: 1\na: 2\n").unwrap_err().to_string();
        assert!(problem.starts_with("t.yaml:2:1: ") && problem.ends_with("\n2 | a: 2\n  | ^"), "{problem}");
    }

    #[test]
    fn bombs_are_refused() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let below = format!("*a{},", level - 1).repeat(9);
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        assert!(documents(&bomb).is_err());
        assert!(documents(&format!("a: {}", "[".repeat(10_000))).is_err());
        assert!(documents(&"- x\n".repeat(MAX_NODES + 1)).is_err());
    }
}
