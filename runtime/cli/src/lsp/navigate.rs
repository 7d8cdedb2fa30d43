//! From a name to the file that it means, and from a file to all that name it.
//!
//! A name is a word of a value: `web.network` in `Network=`, also with options behind a colon, and in
//! `[Unit]` also the service that a file becomes, such as `data-volume.service`. From a drop-in the
//! way leads to the files that it is merged into.

use std::ops::Range;
use std::path::{Path, PathBuf};

use gen_lsp_types::Location;
use sampan_generator::check::CheckedUnit;
use sampan_generator::keys::UnitType;
use sampan_generator::keys::references::named_by;
use sampan_generator::syntax::scanner::{Fold, scan};

use super::cursor::{self, Spot};
use super::files::{Role, home};
use super::position::Text;
use super::workspace::Workspace;

/// A word that means another file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// The file's own name.
    File(String),
    /// The service that a file becomes.
    Service(String),
}

/// What a word in the value of a key names, if it names something.
pub(crate) fn named(section: &str, key: &str, word: &str) -> Option<Named> {
    let kinds = named_by(section, key);
    match UnitType::of(word) {
        Some(kind) if kinds.contains(&kind) => Some(Named::File(word.to_owned())),
        None if section == "Unit" && !kinds.is_empty() && word.ends_with(".service") => {
            Some(Named::Service(word.to_owned()))
        }
        _ => None,
    }
}

/// A file that is named, with what the last check knows of it.
#[derive(Debug)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a Path,
    pub(crate) unit: Option<&'a CheckedUnit>,
}

/// The file that a name means in the file `from`.
pub(crate) fn target<'a>(
    workspace: &'a Workspace,
    units: &'a [CheckedUnit],
    from: &Path,
    name: &Named,
) -> Option<Target<'a>> {
    match name {
        Named::File(name) => {
            let path = workspace.find(name, from).or_else(|| workspace.find(&template(name)?, from))?;
            Some(Target { path, unit: units.iter().find(|unit| unit.file == path) })
        }
        Named::Service(service) => {
            let unit = units.iter().find(|unit| unit.service == *service)?;
            Some(Target { path: &unit.file, unit: Some(unit) })
        }
    }
}

/// The name of an instance's template: `web@.pod` for `web@1.pod`.
fn template(name: &str) -> Option<String> {
    let (stem, extension) = name.rsplit_once('.')?;
    let (prefix, instance) = stem.split_once('@')?;
    (!instance.is_empty()).then(|| format!("{prefix}@.{extension}"))
}

/// Where the thing at a byte offset is defined.
pub(crate) fn definition(
    workspace: &Workspace,
    units: &[CheckedUnit],
    path: &Path,
    text: &Text,
    offset: usize,
) -> Vec<Location> {
    let cursor = cursor::at(text.as_str(), offset);
    match cursor.spot {
        Spot::Value { key, line } => {
            let word = cursor::word(text.as_str(), &line, offset);
            let found = cursor
                .section
                .and_then(|section| named(section, key, &text.as_str()[word]))
                .and_then(|name| target(workspace, units, path, &name));
            found.and_then(|found| top(workspace, found.path)).into_iter().collect()
        }
        Spot::Header(range) => {
            let name = text.as_str()[range].trim_matches(['[', ']']);
            owners(units, path).filter_map(|owner| assignment(workspace, owner, name, None)).collect()
        }
        Spot::Key { name, .. } => {
            let (section, key) = (cursor.section.unwrap_or_default(), &text.as_str()[name]);
            owners(units, path).filter_map(|owner| assignment(workspace, owner, section, Some(key))).collect()
        }
        Spot::Comment => Vec::new(),
    }
}

/// The files that a drop-in is merged into; none for other files.
fn owners<'a>(units: &'a [CheckedUnit], dropin: &'a Path) -> impl Iterator<Item = &'a Path> {
    let owners = units.iter().filter(move |unit| unit.dropins.iter().any(|file| file == dropin));
    owners.map(|unit| unit.file.as_path())
}

/// The last assignment of a key in a section of a file; else the section's header, else its top.
fn assignment(workspace: &Workspace, path: &Path, section: &str, key: Option<&str>) -> Option<Location> {
    let text = workspace.text(path)?;
    let scan = scan(text.as_str(), Fold::Blank);
    let mut sections = scan.sections.iter().filter(|found| found.name == section);
    let entry = sections
        .clone()
        .flat_map(|section| &section.entries)
        .rfind(|entry| key.is_some_and(|key| entry.key == key))
        .map(|entry| entry.key_at..entry.key_at + entry.key.len());
    let header = || sections.next().map(|found| found.at..found.at + found.name.len() + 2);
    match entry.or_else(header) {
        Some(range) => Some(Location { uri: workspace.uri(path), range: text.range(range) }),
        None => top(workspace, path),
    }
}

/// Where a file's own section begins; its top if it has none.
fn top(workspace: &Workspace, path: &Path) -> Option<Location> {
    let text = workspace.text(path)?;
    let own = Role::of(path)?.kind().section();
    let scan = scan(text.as_str(), Fold::Blank);
    let header = scan.sections.iter().find(|section| section.name == own);
    let range = header.map_or(0..0, |section| section.at..section.at + section.name.len() + 2);
    Some(Location { uri: workspace.uri(path), range: text.range(range) })
}

/// All places that name the file that the word at a byte offset names; elsewhere than on such a
/// word, those that name the file itself.
pub(crate) fn references(
    workspace: &Workspace,
    units: &[CheckedUnit],
    path: &Path,
    text: &Text,
    offset: usize,
    with_declaration: bool,
) -> Vec<Location> {
    let cursor = cursor::at(text.as_str(), offset);
    let word = match cursor.spot {
        Spot::Value { key, line } => {
            let word = cursor::word(text.as_str(), &line, offset);
            cursor.section.and_then(|section| named(section, key, &text.as_str()[word]))
        }
        _ => None,
    };
    let sought: PathBuf = match word.and_then(|name| target(workspace, units, path, &name)) {
        Some(found) => found.path.to_owned(),
        None => path.to_owned(),
    };
    let Some(name) = sought.file_name().and_then(|name| name.to_str()) else { return Vec::new() };
    let service = units.iter().find(|unit| unit.file == sought).map(|unit| unit.service.as_str());
    let mut found = Vec::new();
    for file in workspace.files() {
        let Some(text) = workspace.text(file) else { continue };
        let mentioned = |name: &str| text.as_str().contains(name);
        // To look for the name alone is quicker than to look closely.
        if mentioned(name) || service.is_some_and(mentioned) {
            found.extend(naming(workspace, units, file, &text, &sought));
        }
    }
    if with_declaration {
        found.extend(top(workspace, &sought));
    }
    found
}

/// The places in a file that name another one.
fn naming(
    workspace: &Workspace,
    units: &[CheckedUnit],
    file: &Path,
    text: &Text,
    sought: &Path,
) -> Vec<Location> {
    let mut places = Vec::new();
    for section in scan(text.as_str(), Fold::Blank).sections {
        for entry in &section.entries {
            if named_by(&section.name, &entry.key).is_empty() {
                continue;
            }
            for word in words(&entry.value) {
                let Some(found) = named(&section.name, &entry.key, &entry.value[word.clone()]) else {
                    continue;
                };
                if target(workspace, units, file, &found).is_some_and(|found| found.path == sought) {
                    let at = entry.pieces.locate(word.start);
                    places.push(text.range(at..at + word.len()));
                }
            }
        }
    }
    places.into_iter().map(|range| Location { uri: workspace.uri(file), range }).collect()
}

/// The words of a value, as [`cursor::word`] parts them.
fn words(value: &str) -> Vec<Range<usize>> {
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while at <= value.len() {
        let word = cursor::word(value, &(0..value.len()), at);
        at = word.end + value[word.end..].chars().next().map_or(1, char::len_utf8);
        words.push(word);
    }
    words
}

/// The Quadlet files whose names hold a text, in any case.
pub(crate) fn units_like<'a>(
    workspace: &'a Workspace,
    query: &str,
) -> impl Iterator<Item = (&'a str, Location, Option<&'a str>)> {
    let query = query.to_lowercase();
    workspace
        .units()
        .filter(move |(_, name)| name.to_lowercase().contains(&query))
        .filter_map(|(path, name)| Some((name, top(workspace, path)?, home(path)?.file_name()?.to_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_name_files_name_files() {
        let file = |name: &str| Some(Named::File(name.to_owned()));
        assert_eq!(named("Container", "Network", "web.network"), file("web.network"));
        assert_eq!(named("Container", "Network", "web.volume"), None);
        assert_eq!(named("Container", "Exec", "web.network"), None);
        assert_eq!(named("Unit", "After", "web.service"), Some(Named::Service("web.service".to_owned())));
        assert_eq!(named("Service", "After", "web.service"), None);
    }

    #[test]
    fn the_template_of_an_instance() {
        assert_eq!(template("web@1.pod").as_deref(), Some("web@.pod"));
        assert_eq!(template("web@.pod"), None);
    }

    #[test]
    fn words_of_a_value() {
        let value = "ü.volume:/x \"b\"";
        let found: Vec<_> =
            words(value).into_iter().map(|word| &value[word]).filter(|w| !w.is_empty()).collect();
        assert_eq!(found, ["ü.volume", "/x", "b"]);
    }
}
