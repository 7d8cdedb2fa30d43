//! From an error back to the line of the unit file that caused it.
//!
//! The generator diagnoses what a file alone shows. What only the start shows (a missing volume source, a port in
//! use) comes from `sampan run`, whose options were written from keys. An operation that fails because of one key
//! marks its error with [`Blamed::blame`]; [`report`] then finds the key in the unit's own source file and prints
//! the same kind of diagnostic as the generator.

use std::fmt;
use std::path::{Path, PathBuf};

use sampan_generator::diagnostic::{Source, rules};
use sampan_generator::keys::UnitType;
use sampan_generator::syntax::scanner::Fold;
use sampan_generator::unit::UnitFile;
use sampan_generator::written::Written;
use sampan_generator::{Diagnostic, Severity};

use crate::run::unit::{self, Unit};

/// Where systemd keeps the units that generators have made, systemd.generator(7).
const GENERATED: [&str; 3] =
    ["/run/systemd/generator.early", "/run/systemd/generator", "/run/systemd/generator.late"];

/// The key that an error comes from, with its value as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Key {
    name: &'static str,
    value: String,
}

impl Key {
    /// The Quadlet key, and the part of its value that is to blame, or nothing.
    pub(crate) fn new(name: &'static str, value: impl Into<String>) -> Self {
        Self { name, value: value.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

/// Marks errors with the key they come from.
pub(crate) trait Blamed<T> {
    /// `key` is the Quadlet key, `value` the part of its value that is to blame, or nothing.
    ///
    /// # Errors
    /// The same error, marked.
    fn blame(self, key: &'static str, value: impl Into<String>) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Blamed<T> for Result<T, E> {
    fn blame(self, key: &'static str, value: impl Into<String>) -> anyhow::Result<T> {
        self.map_err(|error| {
            let error = error.into();
            // The innermost mark knows best.
            if error.is::<Key>() { error } else { error.context(Key::new(key, value)) }
        })
    }
}

/// Prints an error to standard error: in a unit that comes from a file as a diagnostic with its line, else plainly.
/// The unit's status, which may still tell how far a fetch was, says why it ended.
pub(crate) fn report(error: &anyhow::Error) {
    if let Some(unit) = Unit::current() {
        unit.status(reason(error).lines().next().unwrap_or_default());
    }
    match error.downcast_ref::<Key>().and_then(|key| locate(key, &reason(error))) {
        Some(diagnostic) => diagnostic.lines().iter().for_each(|line| eprintln!("{line}")),
        None => eprintln!("Error: {error:#}"),
    }
}

/// The chain of causes without the mark, which the diagnostic's line says better.
fn reason(error: &anyhow::Error) -> String {
    let mark = error.downcast_ref::<Key>().map(ToString::to_string);
    let causes: Vec<String> =
        error.chain().map(ToString::to_string).filter(|cause| Some(cause) != mark.as_ref()).collect();
    causes.join(": ")
}

fn locate(key: &Key, reason: &str) -> Option<Diagnostic> {
    let unit = unit::own_unit()?;
    GENERATED.iter().find_map(|directory| find(key, reason, &source(Path::new(directory), &unit)?))
}

/// `SourcePath=` of a generated unit, or of the template that it is an instance of.
fn source(directory: &Path, unit: &str) -> Option<PathBuf> {
    let template =
        unit.split_once('@').and_then(|(name, rest)| Some(format!("{name}@.{}", rest.rsplit_once('.')?.1)));
    let text = [Some(unit.to_owned()), template]
        .into_iter()
        .flatten()
        .find_map(|name| std::fs::read_to_string(directory.join(name)).ok())?;
    Written::read(&text)?.last("Unit", "SourcePath").map(PathBuf::from)
}

/// The assignment in the file or its drop-ins: the one with this value, else the last of the key.
fn find(key: &Key, reason: &str, source: &Path) -> Option<Diagnostic> {
    let mut files = vec![source.to_owned()];
    let drop_ins = source.with_file_name(format!("{}.d", source.file_name()?.to_str()?));
    files.extend(
        std::fs::read_dir(drop_ins).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())),
    );
    files[1..].sort();
    let sources: Vec<_> =
        files.iter().filter_map(|file| Some(Source::new(file, std::fs::read(file).ok()?))).collect();
    let mut unit = UnitFile::new(UnitType::Container, "", source);
    sources.iter().for_each(|source| unit.merge(source, Fold::Blank));
    let assignments = || {
        let sections = unit.sections.iter();
        sections.flat_map(|section| section.assignments(key.name).filter(|entry| !entry.value.is_empty()))
    };
    let entry = assignments()
        .find(|entry| !key.value.is_empty() && entry.value.contains(&key.value))
        .or_else(|| assignments().last())?;
    Some(entry.place().diagnose(&rules::NOT_STARTED, Severity::Error, reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::anyhow;

    #[test]
    fn the_line_with_the_value_is_shown() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("web.container");
        std::fs::write(&file, "[Container]\nImage=x\nVolume=/a:/b\nVolume=/c:/d\n").unwrap();
        let error = Err::<(), _>(anyhow!("/c does not exist"))
            .blame("Volume", "/c:/d")
            .blame("Image", "x")
            .unwrap_err();
        let key = error.downcast_ref::<Key>().unwrap();
        let lines = find(key, &reason(&error), &file).unwrap().lines();
        assert_eq!(lines[0], format!("{}:4:8: error: /c does not exist", file.display()));
        assert_eq!(lines[1], "4 | Volume=/c:/d");
    }

    #[test]
    fn an_instance_has_its_templates_source() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("a@.service"), "[Unit]\nSourcePath=/etc/a@.container\n")
            .unwrap();
        assert_eq!(source(directory.path(), "a@one.service"), Some("/etc/a@.container".into()));
        assert_eq!(source(directory.path(), "b.service"), None);
    }
}
