//! Reads the values of keys: one string, a boolean, a list — as the key's row in the table says.

use super::Translator;
use crate::diagnostic::{Diagnostic, Place, Severity, rules};
use crate::engine::Engine;
use crate::keys::{Key, Kind};
use crate::syntax::values;
use crate::syntax::words::{self, Escapes, Oddity};
use crate::unit::{Entry, unquoted};
use std::borrow::Cow;

/// A word of a value, and where it stands.
pub(super) struct Argument<'a> {
    pub(super) text: Cow<'a, str>,
    pub(super) place: Place<'a>,
}

impl<'a> Translator<'a> {
    /// The last assignment of a key.
    pub(super) fn last(&self, key: &Key) -> Option<&'a Entry<'a>> {
        if self.is_own(key) { self.given.last[key.row] } else { self.unit.last(key.section, key.name) }
    }

    /// Whether the key is one of the file's own section.
    fn is_own(&self, key: &Key) -> bool {
        self.unit.kind.keys().get(key.row).is_some_and(|own| std::ptr::eq(*own, key))
    }

    /// The assignments of a key of the file's own section that count for a list: those after the
    /// last empty one.
    fn assignments(&self, key: &Key) -> Vec<&'a Entry<'a>> {
        let mut found = Vec::new();
        if !self.is_own(key) || self.given.last[key.row].is_none() {
            return found;
        }
        let is_key = |given: Option<&Key>| given.is_some_and(|given| std::ptr::eq(given, key));
        for (_, entry) in self.given.assignments.iter().filter(|(given, _)| is_key(*given)) {
            match &*entry.value {
                "" => found.clear(),
                _ => found.push(*entry),
            }
        }
        found
    }

    /// The last assignment of a key as one string, or `None` if there is none or it is empty.
    pub(super) fn text(&mut self, key: &Key) -> Option<&'a str> {
        self.text_or_empty(key).filter(|text| !text.is_empty())
    }

    /// The last assignment of a key as one string, also an empty one.
    pub(super) fn text_or_empty(&mut self, key: &Key) -> Option<&'a str> {
        let entry = self.last(key)?;
        let text = unquoted(&entry.value);
        if !text.is_empty() && !key.shape.fits(text) {
            self.misshapen(key, text, &entry.place());
        }
        Some(text)
    }

    /// The last assignment of a key as a boolean. To Podman's Quadlet whatever isn't yes is no.
    pub(super) fn boolean(&mut self, key: &Key) -> Option<bool> {
        let entry = self.last(key)?;
        let text = unquoted(&entry.value);
        let engine = self.engine();
        match values::boolean(text) {
            Some(value) if engine == Engine::Sampan || text.len() > 1 || !value || text == "1" => Some(value),
            _ if text.is_empty() => Some(false),
            value => {
                let reason = format!("\"{text}\" is neither yes nor no");
                let diagnostic = entry.place().diagnose(&rules::BAD_BOOLEAN, engine.wrong_value(), reason);
                let help = match (engine, value) {
                    (Engine::Podman, _) => "it counts as no; write yes or no",
                    (Engine::Sampan, _) => "write yes or no",
                };
                self.note(diagnostic.help(help));
                Some(false)
            }
        }
    }

    /// The last assignment of a key as a number.
    pub(super) fn number(&mut self, key: &Key) -> Option<u32> {
        let entry = self.last(key)?;
        let text = unquoted(&entry.value);
        let number = if text == "root" { Some(0) } else { values::number(text) };
        if number.is_none() {
            let reason = format!("{}= takes a number, not \"{text}\"", key.name);
            let diagnostic = entry.place().diagnose(&rules::BAD_NUMBER, self.engine().wrong_value(), reason);
            self.note(diagnostic.help("write a number; names are not looked up here"));
        }
        Some(number.unwrap_or(0))
    }

    /// The values of a key, each as it becomes one word.
    pub(super) fn values(&mut self, key: &Key) -> Vec<Cow<'a, str>> {
        match key.kind {
            Kind::Text => self.text(key).map(Cow::from).into_iter().collect(),
            Kind::TextOrEmpty => self.text_or_empty(key).map(Cow::from).into_iter().collect(),
            Kind::Boolean => self.boolean(key).map(|on| on.to_string().into()).into_iter().collect(),
            Kind::Number => self.number(key).map(|number| number.to_string().into()).into_iter().collect(),
            Kind::Lines | Kind::Words | Kind::Arguments | Kind::Command => {
                self.list(key).into_iter().map(|argument| argument.text).collect()
            }
            Kind::Pairs => self.pairs(key),
        }
    }

    /// The values of a list, each with its place.
    pub(super) fn list(&mut self, key: &Key) -> Vec<Argument<'a>> {
        let mut found = Vec::new();
        match key.kind {
            Kind::Lines => {
                let lines = self.assignments(key).into_iter();
                found.extend(
                    lines.map(|entry| Argument { text: entry.value.trim_end().into(), place: entry.place() }),
                );
            }
            Kind::Command => {
                if let Some(entry) = self.last(key) {
                    found = self.split(entry, Escapes::Resolved);
                }
            }
            kind => {
                let escapes = if kind == Kind::Words { Escapes::Kept } else { Escapes::Resolved };
                for entry in self.assignments(key) {
                    found.extend(
                        self.split(entry, escapes)
                            .into_iter()
                            .filter(|word| kind != Kind::Words || !word.text.is_empty()),
                    );
                }
            }
        }
        for argument in found.iter().filter(|argument| !key.shape.fits(&argument.text)) {
            self.misshapen(key, &argument.text, &argument.place);
        }
        found
    }

    /// `NAME=VALUE` words: the last one of a name wins, sorted by name.
    fn pairs(&mut self, key: &Key) -> Vec<Cow<'a, str>> {
        let mut pairs = self.list(key);
        for pair in pairs.iter().filter(|pair| pair.text.starts_with('=')) {
            let diagnostic = pair.place.diagnose(
                &rules::BAD_ASSIGNMENT,
                self.engine().wrong_value(),
                "there is no name before \"=\"",
            );
            self.note(diagnostic.help(format!("write {}=NAME=VALUE", key.name)));
        }
        pairs.retain(|pair| !name(&pair.text).is_empty());
        pairs.reverse();
        pairs.sort_by(|a, b| name(&a.text).cmp(name(&b.text)));
        pairs.dedup_by(|next, first| name(&next.text) == name(&first.text));
        pairs.into_iter().map(|pair| pair.text).collect()
    }

    /// The words of a value. Podman's Quadlet drops a value that it can't split; here the words are
    /// kept, except where Podman's own cases ask for the loss.
    fn split(&mut self, entry: &'a Entry<'a>, escapes: Escapes) -> Vec<Argument<'a>> {
        let split = words::split(&entry.value, escapes);
        let mut lost = false;
        for oddity in &split.oddities {
            let (diagnostic, loses) = self.describe(entry, oddity);
            lost |= loses;
            self.note(diagnostic);
        }
        if lost {
            return Vec::new();
        }
        let count = self.counted(entry, &split.words);
        let words = split.words.into_iter().take(count);
        words
            .map(|word| Argument { place: entry.part(word.at, word.end - word.at), text: word.text })
            .collect()
    }

    /// How many of the words count: Podman's Quadlet loses everything from an empty word on.
    fn counted(&mut self, entry: &Entry<'_>, words: &[words::Word<'_>]) -> usize {
        let empty = words.iter().position(|word| word.text.is_empty());
        match empty.filter(|_| self.engine() == Engine::Podman) {
            Some(at) => {
                let rest = entry.part(words[at].at, entry.value.len() - words[at].at);
                let diagnostic = rest.diagnose(
                    &rules::EMPTY_WORD,
                    Severity::Warning,
                    "Podman loses everything from this empty word on",
                );
                self.note(diagnostic.help("pass an empty argument through a shell, as in /bin/sh -c"));
                at
            }
            None => words.len(),
        }
    }

    /// Says what is odd about a value, and whether Podman loses the value over it.
    fn describe(&self, entry: &Entry<'_>, oddity: &Oddity) -> (Diagnostic, bool) {
        let podman = self.engine() == Engine::Podman;
        match *oddity {
            Oddity::UnknownEscape { at, character } => {
                let place = entry.part(at, 1 + character.len_utf8());
                let effect = if podman { "Podman drops the whole value" } else { "it is kept as it stands" };
                let diagnostic = place.diagnose(
                    &rules::BAD_ESCAPE,
                    Severity::Warning,
                    format!("\"\\{character}\" is an unsupported escape char sequence; {effect}"),
                );
                (diagnostic.help(format!("write \"\\\\{character}\" for a backslash")), podman)
            }
            Oddity::OpenQuote { at, quote } => {
                let diagnostic = entry.part(at, 1).diagnose(
                    &rules::OPEN_QUOTE,
                    self.engine().wrong_value(),
                    format!("this {quote} is never closed"),
                );
                (
                    diagnostic
                        .help(format!("close it with {quote}, or write \\{quote} for the character itself")),
                    false,
                )
            }
        }
    }

    /// Notes a value that doesn't look as it must.
    fn misshapen(&mut self, key: &Key, value: &str, place: &Place<'_>) {
        let reason = format!("\"{value}\" is no valid value of {}=", key.name);
        let diagnostic = place.diagnose(key.shape.rule(), self.engine().wrong_value(), reason);
        self.note(diagnostic.help(format!("write {}", key.shape.describe())));
    }
}

/// The name of a `NAME=VALUE` pair.
fn name(pair: &str) -> &str {
    pair.split_once('=').map_or(pair, |(name, _)| name)
}
