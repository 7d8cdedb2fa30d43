//! What the rules look at: all files at once ([`Scene`]), and one file among them ([`View`]).

use super::{Findings, Options};
use crate::book::Book;
use crate::diagnostic::Place;
use crate::keys::{Key, Kind, UnitType, index};
use crate::syntax::words::{self, Escapes};
use crate::unit::{Entry, UnitFile, unquoted};
use std::path::{Path, PathBuf};

/// Everything that was read.
#[derive(Debug)]
pub(super) struct Scene<'t> {
    /// For whom.
    pub(super) options: &'t Options,
    /// The files that count, with their drop-ins, sorted by path.
    pub(super) units: Vec<UnitFile<'t>>,
    /// What they know of each other.
    pub(super) book: Book,
    /// The units that they become.
    pub(super) services: Vec<Generated>,
    /// Every file that was found: name and path, the first of a name counts.
    pub(super) files: Vec<(String, PathBuf)>,
    /// Every drop-in directory that was found.
    pub(super) dropins: Vec<PathBuf>,
}

/// A unit that the generator writes.
#[derive(Debug)]
pub(super) struct Generated {
    /// Its file name, such as `web.service`.
    pub(super) name: String,
    /// Its text.
    pub(super) text: String,
    /// The Quadlet file that it comes from.
    pub(super) source: PathBuf,
}

impl<'t> Scene<'t> {
    /// Each file, to be looked at alone.
    pub(super) fn views(&self) -> impl Iterator<Item = View<'_, 't>> {
        self.units.iter().map(|unit| View { scene: self, unit })
    }

    /// The file of a name.
    pub(super) fn view(&self, name: &str) -> Option<View<'_, 't>> {
        self.views().find(|view| view.unit.name == name)
    }
}

/// A value of a key, or one word of it, and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Value<'t> {
    /// The text, quotes and escapes resolved.
    pub(super) text: String,
    /// Where it stands.
    pub(super) place: Place<'t>,
}

impl Value<'_> {
    /// Whether only systemd or the start can tell what it is.
    pub(super) fn is_dynamic(&self) -> bool {
        is_dynamic(&self.text)
    }
}

/// Whether a text holds a specifier or a variable.
pub(super) fn is_dynamic(text: &str) -> bool {
    text.contains(['%', '$'])
}

/// One file among the others.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'s, 't> {
    /// All files.
    pub(super) scene: &'s Scene<'t>,
    /// This one.
    pub(super) unit: &'s UnitFile<'t>,
}

impl<'s, 't> View<'s, 't> {
    /// The row of a key in the file's own section.
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        let kind = self.unit.kind;
        index(kind).get(name).map(|row| kind.keys()[row])
    }

    /// The last assignment of a key of the file's own section, unless it is empty.
    pub(super) fn given(&self, name: &str) -> Option<&'s Entry<'t>> {
        self.unit.last(self.unit.kind.section(), name).filter(|entry| !unquoted(&entry.value).is_empty())
    }

    /// A key with a single value.
    pub(super) fn text(&self, name: &str) -> Option<Value<'t>> {
        self.key(name)?;
        let entry = self.given(name)?;
        let text = unquoted(&entry.value);
        let place = entry.part(usize::from(text.len() != entry.value.len()), text.len());
        Some(Value { text: text.to_owned(), place })
    }

    /// A boolean; `None` if it isn't set or is no boolean.
    pub(super) fn boolean(&self, name: &str) -> Option<bool> {
        self.text(name).and_then(|value| crate::syntax::values::boolean(&value.text))
    }

    /// All values of a key of the file's own section, split as its kind demands; empty if files of
    /// this type have no such key.
    pub(super) fn values(&self, name: &str) -> Vec<Value<'t>> {
        let Some(key) = self.key(name) else { return Vec::new() };
        let Some(section) = self.unit.section(key.section) else { return Vec::new() };
        match key.kind {
            Kind::Text | Kind::TextOrEmpty | Kind::Boolean | Kind::Number => {
                self.text(name).into_iter().collect()
            }
            Kind::Lines => {
                let value = |entry: &Entry<'t>| Value {
                    text: entry.value.trim_end().to_owned(),
                    place: entry.place(),
                };
                section.list(name).into_iter().map(value).collect()
            }
            Kind::Command => {
                section.last(name).map(|entry| split(entry, Escapes::Resolved)).unwrap_or_default()
            }
            kind => {
                let escapes = if kind == Kind::Words { Escapes::Kept } else { Escapes::Resolved };
                let words = section.list(name).into_iter().flat_map(|entry| split(entry, escapes));
                words.filter(|word| !word.text.is_empty()).collect()
            }
        }
    }

    /// The words of a key of any section that is a list.
    pub(super) fn words(&self, section: &str, name: &str) -> Vec<Value<'t>> {
        let Some(section) = self.unit.section(section) else { return Vec::new() };
        section.list(name).into_iter().flat_map(|entry| split(entry, Escapes::Kept)).collect()
    }

    /// The words of each line of a key of any section, in which C escapes count.
    pub(super) fn lines(&self, section: &str, name: &str) -> Vec<Vec<Value<'t>>> {
        let Some(section) = self.unit.section(section) else { return Vec::new() };
        section.list(name).into_iter().map(|entry| split(entry, Escapes::Resolved)).collect()
    }

    /// The last value of a key of `[Service]` and its like.
    pub(super) fn systemd(&self, section: &str, name: &str) -> Option<&'s Entry<'t>> {
        self.unit.last(section, name).filter(|entry| !entry.value.is_empty())
    }

    /// Whether it is a template such as `web@.container`.
    pub(super) fn is_template(&self) -> bool {
        self.unit.stem().ends_with('@')
    }

    /// Whether it starts on its own, because `[Install]` says so or a pod starts it.
    pub(super) fn starts_at_boot(&self) -> bool {
        ["WantedBy", "RequiredBy", "UpheldBy"].iter().any(|key| self.systemd("Install", key).is_some())
            || self.given("Pod").is_some_and(|_| self.boolean("StartWithPod") != Some(false))
    }

    /// The name of what it makes, if that can be known.
    pub(super) fn resource(&self) -> Option<&'s str> {
        let name = self.scene.book.get(self.unit.name)?.resource.as_deref()?;
        (!name.contains('%')).then_some(name)
    }

    /// Whether a value stands in the file itself, or in a drop-in that is for this file alone.
    pub(super) fn owns(&self, path: &Path) -> bool {
        let own = |directory: &Path| {
            directory.file_name().and_then(|name| name.to_str()?.strip_suffix(".d")) == Some(self.unit.name)
        };
        path == self.unit.path || path.parent().is_some_and(own)
    }

    /// Each entry of every section, with the section's name.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&'s str, &'s Entry<'t>)> {
        let unit = self.unit;
        unit.sections.iter().flat_map(|section| section.entries.iter().map(|entry| (&*section.name, entry)))
    }

    /// Whether the file is one of these.
    pub(super) fn is(&self, kinds: &[UnitType]) -> bool {
        kinds.contains(&self.unit.kind)
    }
}

/// The words of an entry, each with its place.
fn split<'t>(entry: &Entry<'t>, escapes: Escapes) -> Vec<Value<'t>> {
    let split = words::split(&entry.value, escapes);
    let ends = split.words.iter().skip(1).map(|word| word.at).chain([entry.value.len()]);
    let value = |(word, next): (&words::Word, usize)| Value {
        text: word.text.clone().into_owned(),
        place: entry.part(word.at, entry.value[word.at..next].trim_end().len()),
    };
    split.words.iter().zip(ends).map(value).collect()
}

/// A rule, or several of one subject, for one file.
pub(super) type Pass = fn(&View<'_, '_>, &mut Findings);
/// A rule for all files together.
pub(super) type JointPass = fn(&Scene<'_>, &mut Findings);
