//! What is shown when the pointer rests on a header, a key, a specifier or the name of another file.

use std::ops::Range;
use std::path::Path;

use gen_lsp_types::Hover;
use sampan_generator::check::CheckedUnit;

use super::cursor::{self, Spot};
use super::describe::{self, Style};
use super::files::Role;
use super::known;
use super::navigate::{self, Target};
use super::position::Text;
use super::specifiers;
use super::workspace::Workspace;

/// What is known of the place at a byte offset of a file.
pub(crate) fn hover(
    workspace: &Workspace,
    units: &[CheckedUnit],
    path: &Path,
    text: &Text,
    offset: usize,
    style: Style,
) -> Option<Hover> {
    let kind = Role::of(path)?.kind();
    let cursor = cursor::at(text.as_str(), offset);
    let answer = |value: String, range: Range<usize>| {
        Some(Hover { contents: style.content(value).into(), range: Some(text.range(range)) })
    };
    match cursor.spot {
        Spot::Header(range) => {
            let name = text.as_str()[range.clone()].trim_matches(['[', ']']);
            let (name, meaning) = describe::sections(kind).into_iter().find(|(known, _)| *known == name)?;
            answer(format!("[{name}]\n\n{meaning}"), range)
        }
        Spot::Key { name, .. } => {
            let key = known::key_of(kind, cursor.section?, &text.as_str()[name.clone()])?;
            answer(describe::key(key, style), name)
        }
        Spot::Value { key, line } => {
            if let Some(range) = cursor::specifier(text.as_str(), &line, offset) {
                let specifier = &text.as_str()[range.clone()];
                let meaning = specifiers::describe(specifier)?;
                return answer(format!("{specifier}: {meaning}."), range);
            }
            let word = cursor::word(text.as_str(), &line, offset);
            let named = navigate::named(cursor.section?, key, &text.as_str()[word.clone()])?;
            let Target { path: target, unit } = navigate::target(workspace, units, path, &named)?;
            let name = target.file_name()?.to_str()?;
            answer(describe::file(name, workspace.text(target)?.as_str(), unit, style), word)
        }
        Spot::Comment => None,
    }
}
