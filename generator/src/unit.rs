//! A Quadlet file in memory: the sections of the file and of all its drop-ins, in one. It borrows
//! from the texts of these files, its [`Source`]s.
//!
//! Looking a key up follows systemd: the last assignment wins for a single value, assignments add
//! up for a list, and an empty assignment of a list forgets what came before.

use crate::diagnostic::{Diagnostic, Place, Rule, Severity, Source, rules};
use crate::keys::UnitType;
use crate::syntax::scanner::{Fold, Item, Mistake, Pieces, RawEntry, items};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::Path;

/// Room for the entries of most sections; longer ones grow.
const ROOM: usize = 10;

/// How many sections are searched one after the other; more than that are looked up in a map.
const FEW: usize = 16;

/// One `Key=Value`, and where it stood.
#[derive(Clone, Debug)]
pub struct Entry<'t> {
    /// The key.
    pub key: Cow<'t, str>,
    /// The value, in one line.
    pub value: Cow<'t, str>,
    source: &'t Source,
    key_at: usize,
    pieces: Pieces,
}

impl<'t> Entry<'t> {
    fn new(raw: RawEntry<'t>, source: &'t Source) -> Self {
        Self { key: raw.key, value: raw.value, source, key_at: raw.key_at, pieces: raw.pieces }
    }

    /// Where the key stands.
    pub fn key_place(&self) -> Place<'t> {
        Place { source: self.source, span: self.key_at..self.key_at + self.key.len() }
    }

    /// Where the value stands; the key if the value is empty.
    pub fn place(&self) -> Place<'t> {
        match &*self.value {
            "" => self.key_place(),
            value => self.part(0, value.len()),
        }
    }

    /// Where in the value each further line of the file starts.
    pub fn folds(&self) -> impl Iterator<Item = usize> {
        self.pieces.folds()
    }

    /// Whether this entry stands behind another one in the same file.
    pub fn follows_in_file(&self, other: &Self) -> bool {
        std::ptr::eq(self.source, other.source) && self.key_at > other.key_at
    }

    /// Where some bytes of the value stand.
    pub fn part(&self, at: usize, length: usize) -> Place<'t> {
        let start = self.pieces.locate(at);
        Place { source: self.source, span: start..start + length }
    }
}

/// A section of the file and its drop-ins.
#[derive(Clone, Debug)]
pub struct Section<'t> {
    /// Its name.
    pub name: Cow<'t, str>,
    /// Where its header stands for the first time.
    pub place: Place<'t>,
    /// Its entries in the order in which they were read.
    pub entries: Vec<Entry<'t>>,
}

impl<'t> Section<'t> {
    /// Every assignment of a key.
    pub fn assignments<'a>(&'a self, key: &'a str) -> impl DoubleEndedIterator<Item = &'a Entry<'t>> {
        self.entries.iter().filter(move |entry| entry.key == key)
    }

    /// The last assignment of a key, also if it is empty.
    pub fn last(&self, key: &str) -> Option<&Entry<'t>> {
        self.entries.iter().rev().find(|entry| entry.key == key)
    }

    /// The assignments that count for a list: those after the last empty one.
    pub fn list<'a>(&'a self, key: &'a str) -> Vec<&'a Entry<'t>> {
        let mut found: Vec<_> =
            self.assignments(key).rev().take_while(|entry| !entry.value.is_empty()).collect();
        found.reverse();
        found
    }
}

/// A Quadlet file with its drop-ins.
#[derive(Debug)]
pub struct UnitFile<'t> {
    /// Which kind of file it is.
    pub kind: UnitType,
    /// The file's name, with its extension.
    pub name: &'t str,
    /// Where it was found.
    pub path: &'t Path,
    /// Its sections, each name once, in the order of their first appearance.
    pub sections: Vec<Section<'t>>,
    /// What is wrong with its syntax.
    pub mistakes: Vec<Diagnostic>,
    /// Where each section is, if they are many.
    places: HashMap<Cow<'t, str>, usize>,
}

impl<'t> UnitFile<'t> {
    /// A unit that holds nothing yet; its file is merged into it, and then the drop-ins.
    pub fn new(kind: UnitType, name: &'t str, path: &'t Path) -> Self {
        Self {
            kind,
            name,
            path,
            sections: Vec::with_capacity(4),
            mistakes: Vec::new(),
            places: HashMap::new(),
        }
    }

    /// Adds what a file holds.
    pub fn merge(&mut self, source: &'t Source, fold: Fold) {
        self.mistakes.extend(not_utf8(source));
        let mut current = 0;
        for item in items(&source.text, fold) {
            match item {
                Item::Section { name, at } => {
                    let place = Place { source, span: at..at + name.len() + 2 };
                    current = self.place_of(name, place);
                }
                Item::Entry(raw) => self.sections[current].entries.push(Entry::new(raw, source)),
                Item::Mistake(mistake) => self.mistakes.push(diagnose(source, mistake)),
            }
        }
    }

    /// Where a section is; it is added if it is new.
    fn place_of(&mut self, name: Cow<'t, str>, place: Place<'t>) -> usize {
        if let Some(known) = self.find(&name) {
            return known;
        }
        let at = self.sections.len();
        if at > FEW {
            self.places.insert(name.clone(), at);
        }
        self.sections.push(Section { name, place, entries: Vec::with_capacity(ROOM) });
        if at == FEW {
            self.places = self.sections.iter().map(|section| section.name.clone()).zip(0..).collect();
        }
        at
    }

    fn find(&self, name: &str) -> Option<usize> {
        match self.places.is_empty() {
            true => self.sections.iter().position(|section| section.name == name),
            false => self.places.get(name).copied(),
        }
    }

    /// A section by its name.
    pub fn section(&self, name: &str) -> Option<&Section<'t>> {
        self.find(name).map(|at| &self.sections[at])
    }

    /// The last assignment of a key.
    pub fn last(&self, section: &str, key: &str) -> Option<&Entry<'t>> {
        self.section(section)?.last(key)
    }

    /// The last assignment's value as one string: a pair of double quotes around all of it is
    /// taken off.
    pub fn text(&self, section: &str, key: &str) -> Option<&str> {
        self.last(section, key).map(|entry| unquoted(&entry.value))
    }

    /// The file's name without its extension.
    pub fn stem(&self) -> &'t str {
        self.name.rsplit_once('.').map_or(self.name, |(stem, _)| stem)
    }

    /// The part before `@` and the instance (empty for a template) if the file is a template or an
    /// instance.
    pub fn template(&self) -> Option<(&'t str, &'t str)> {
        self.stem().split_once('@')
    }

    /// The directory that relative paths in the unit start from.
    pub fn directory(&self) -> &'t Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// A diagnostic about the unit as a whole: at the header of its own section if it has one.
    pub fn diagnose(&self, rule: &'static Rule, severity: Severity, reason: impl Into<String>) -> Diagnostic {
        match self.section(self.kind.section()) {
            Some(section) => section.place.diagnose(rule, severity, reason),
            None => Diagnostic::whole(rule, severity, self.path, reason),
        }
    }
}

/// What is wrong with the syntax of a file.
pub fn mistakes(source: &Source, fold: Fold) -> Vec<Diagnostic> {
    let lines = items(&source.text, fold).filter_map(|item| match item {
        Item::Mistake(mistake) => Some(diagnose(source, mistake)),
        _ => None,
    });
    not_utf8(source).into_iter().chain(lines).collect()
}

fn diagnose(source: &Source, mistake: Mistake) -> Diagnostic {
    let mut diagnostic = Diagnostic::at(mistake.rule, Severity::Error, source, mistake.span, mistake.reason);
    diagnostic.help = mistake.help;
    diagnostic
}

/// That the file is no UTF-8 is a warning.
fn not_utf8(source: &Source) -> Option<Diagnostic> {
    if source.is_utf8 {
        return None;
    }
    let at = source.text.find('\u{fffd}').unwrap_or(0);
    let reason = "the file is not UTF-8 text";
    let diagnostic = Diagnostic::at(&rules::NOT_UTF8, Severity::Warning, source, at..at + 3, reason);
    Some(diagnostic.help("save the file as UTF-8"))
}

/// Takes a pair of double quotes off that encloses the whole value.
pub fn unquoted(value: &str) -> &str {
    value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sources(texts: &[&str]) -> Vec<Source> {
        texts.iter().map(|text| Source::new("/u/f", text.as_bytes().to_vec())).collect()
    }

    fn unit(sources: &[Source]) -> UnitFile<'_> {
        let path = Path::new("/u/a@b.container");
        let mut unit = UnitFile::new(UnitType::Container, "a@b.container", path);
        sources.iter().for_each(|source| unit.merge(source, Fold::Blank));
        unit
    }

    #[test]
    fn drop_ins_add_to_the_sections_of_the_file() {
        let sources = sources(&["[S]\nA=1\n[T]\n[S]\nB=2\n", "[S]\nA=\nA=3\nA=4\n"]);
        let unit = unit(&sources);
        assert_eq!(unit.sections.len(), 2);
        let values: Vec<_> = unit.sections[0].list("A").iter().map(|e| e.value.clone()).collect();
        assert_eq!(values, ["3", "4"]);
        assert_eq!(unit.text("S", "A"), Some("4"));
        assert_eq!(unit.template(), Some(("a", "b")));
    }

    #[test]
    fn only_enclosing_quotes_are_taken_off() {
        assert_eq!(unquoted("\"a b\""), "a b");
        assert_eq!(unquoted("\"a\" b"), "\"a\" b");
        assert_eq!(unquoted("\""), "\"");
    }

    #[test]
    fn text_that_is_not_utf_8_is_a_warning() {
        let source = Source::new("/u/f", b"[S]\nA=\xff\n".to_vec());
        let mistakes = mistakes(&source, Fold::Blank);
        assert_eq!((mistakes[0].line, mistakes[0].severity), (2, Severity::Warning));
    }
}
