//! A Quadlet file in memory: the sections of the file and of all its drop-ins, in one. It borrows
//! from the texts of these files, its [`Source`]s.
//!
//! Looking a key up follows systemd: the last assignment wins for a single value, assignments add
//! up for a list, and an empty assignment of a list forgets what came before.

use crate::diagnostic::{Diagnostic, Place, Rule, Severity, Source, rules};
use crate::keys::UnitType;
use crate::syntax::scanner::{Fold, Pieces, RawEntry, scan};
use std::borrow::Cow;
use std::path::Path;

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

/// What one file holds, be it a Quadlet file or a drop-in.
#[derive(Debug)]
pub struct Parsed<'t> {
    sections: Vec<Section<'t>>,
    /// What is wrong with its syntax.
    pub mistakes: Vec<Diagnostic>,
}

impl<'t> Parsed<'t> {
    /// Reads the text of a file. That it was no UTF-8 is a warning.
    pub fn new(source: &'t Source, fold: Fold) -> Self {
        let mut mistakes = Vec::new();
        if !source.is_utf8 {
            let at = source.text.find('\u{fffd}').unwrap_or(0);
            mistakes.push(
                Diagnostic::at(
                    &rules::NOT_UTF8,
                    Severity::Warning,
                    source,
                    at..at + 3,
                    "the file is not UTF-8 text",
                )
                .help("save the file as UTF-8"),
            );
        }
        let scan = scan(&source.text, fold);
        for mistake in scan.mistakes {
            let mut diagnostic =
                Diagnostic::at(mistake.rule, Severity::Error, source, mistake.span, mistake.reason);
            diagnostic.help = mistake.help;
            mistakes.push(diagnostic);
        }
        let sections = scan.sections.into_iter().map(|raw| Section {
            place: Place { source, span: raw.at..raw.at + raw.name.len() + 2 },
            entries: raw.entries.into_iter().map(|entry| Entry::new(entry, source)).collect(),
            name: raw.name,
        });
        Self { sections: sections.collect(), mistakes }
    }

    /// Whether a line of it could not be read.
    pub fn is_broken(&self) -> bool {
        self.mistakes.iter().any(|mistake| mistake.severity == Severity::Error)
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
}

impl<'t> UnitFile<'t> {
    /// A unit that holds what its file holds; drop-ins are merged into it later.
    pub fn new(kind: UnitType, name: &'t str, path: &'t Path, file: Parsed<'t>) -> Self {
        let mut unit = Self { kind, name, path, sections: Vec::new(), mistakes: Vec::new() };
        unit.merge(file);
        unit
    }

    /// Adds what a drop-in holds.
    pub fn merge(&mut self, file: Parsed<'t>) {
        self.mistakes.extend(file.mistakes);
        for new in file.sections {
            match self.sections.iter_mut().find(|section| section.name == new.name) {
                Some(section) => section.entries.extend(new.entries),
                None => self.sections.push(new),
            }
        }
    }

    /// A section by its name.
    pub fn section(&self, name: &str) -> Option<&Section<'t>> {
        self.sections.iter().find(|section| section.name == name)
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
        let mut files = sources.iter().map(|source| Parsed::new(source, Fold::Blank));
        let path = Path::new("/u/a@b.container");
        let mut unit = UnitFile::new(UnitType::Container, "a@b.container", path, files.next().unwrap());
        files.for_each(|file| unit.merge(file));
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
        let file = Parsed::new(&source, Fold::Blank);
        assert!(!file.is_broken());
        assert_eq!((file.mistakes[0].line, file.mistakes[0].severity), (2, Severity::Warning));
    }
}
