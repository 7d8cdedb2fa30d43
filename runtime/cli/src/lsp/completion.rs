//! Proposals for what may stand at the cursor: sections, keys, values, other files, specifiers.
//!
//! Everything comes from the key table and the workspace. All that fits the place is proposed, what
//! begins otherwise is left out by the client.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::Path;

use gen_lsp_types::{
    CompletionItem, CompletionItemKind, CompletionItemTag, InsertTextFormat, Range as LspRange, TextEdit,
};
use sampan_generator::Engine;
use sampan_generator::keys::UnitType;
use sampan_generator::keys::references::named_by;
use sampan_generator::syntax::scanner::{Fold, scan};

use super::cursor::{self, Spot};
use super::describe::{self, Style};
use super::files::Role;
use super::known::{self, Known};
use super::position::Text;
use super::specifiers;
use super::workspace::Workspace;

/// What proposals look like for a client.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Taste {
    /// Whether the client knows snippets.
    pub(crate) snippets: bool,
    /// How documentation is written.
    pub(crate) style: Style,
    /// Whose keys are proposed.
    pub(crate) engine: Engine,
}

/// The proposals for a byte offset of a file.
pub(crate) fn complete(
    workspace: &Workspace,
    path: &Path,
    text: &Text,
    offset: usize,
    taste: Taste,
) -> Vec<CompletionItem> {
    let Some(role) = Role::of(path) else { return Vec::new() };
    let cursor = cursor::at(text.as_str(), offset);
    let place = Place { text, kind: role.kind(), taste };
    match cursor.spot {
        Spot::Comment => Vec::new(),
        Spot::Header(range) => place.headers(range),
        Spot::Key { name, assigned } => match cursor.section {
            Some(section) => place.keys(section, name, assigned),
            None => place.headers(name),
        },
        Spot::Value { key, line } => {
            let section = cursor.section.unwrap_or_default();
            place.values(workspace, path, section, key, &line, offset)
        }
    }
}

struct Place<'a> {
    text: &'a Text,
    kind: UnitType,
    taste: Taste,
}

impl Place<'_> {
    /// The headers of the sections that such a file may have; those that it has come last.
    fn headers(&self, range: Range<usize>) -> Vec<CompletionItem> {
        let scan = scan(self.text.as_str(), Fold::Blank);
        let here: BTreeSet<&str> = scan.sections.iter().map(|section| &*section.name).collect();
        let range = self.text.range(range);
        let sections = describe::sections(self.kind).into_iter().enumerate();
        let items = sections.map(|(number, (name, meaning))| {
            let mut item = item(&format!("[{name}]"), CompletionItemKind::Module, range);
            item.documentation = Some(self.taste.style.content(meaning.to_owned()).into());
            item.sort_text = Some(format!("{}{number}", u8::from(here.contains(name))));
            item
        });
        items.collect()
    }

    /// The keys of a section. Those that stand once and for all, and deprecated ones, come last.
    fn keys(&self, section: &str, range: Range<usize>, assigned: bool) -> Vec<CompletionItem> {
        let scan = scan(self.text.as_str(), Fold::Blank);
        let sections = scan.sections.iter().filter(|found| found.name == section);
        let here: BTreeSet<&str> =
            sections.flat_map(|section| &section.entries).map(|entry| &*entry.key).collect();
        let range = self.text.range(range);
        let fits = |key: &Known| self.taste.engine == Engine::Sampan || !key.is_own();
        let keys = known::keys_of(self.kind, section).into_iter().filter(fits);
        keys.map(|key| self.key(key, range, assigned, &here)).collect()
    }

    fn key(&self, key: Known, range: LspRange, assigned: bool, here: &BTreeSet<&str>) -> CompletionItem {
        let name = key.name();
        let mut item = item(name, CompletionItemKind::Property, range);
        item.detail = Some(key.detail()).filter(|detail| !detail.is_empty());
        item.documentation = Some(self.taste.style.content(describe::key(key, self.taste.style)).into());
        if key.is_old() {
            item.tags = Some(vec![CompletionItemTag::Deprecated]);
        }
        let last = key.is_old() || (here.contains(name) && key.is_single());
        item.sort_text = Some(format!("{}{name}", u8::from(last)));
        if !assigned {
            let words = key.choices().join(",");
            let is_choice = self.taste.snippets && key.is_single() && !words.is_empty();
            let new_text = if is_choice { format!("{name}=${{1|{words}|}}") } else { format!("{name}=") };
            item.insert_text_format = is_choice.then_some(InsertTextFormat::Snippet);
            item.text_edit = Some(TextEdit { range, new_text }.into());
        }
        item
    }

    /// What may stand in the value of a key.
    fn values(
        &self,
        workspace: &Workspace,
        path: &Path,
        section: &str,
        key: &str,
        line: &Range<usize>,
        offset: usize,
    ) -> Vec<CompletionItem> {
        if let Some(typed) = cursor::specifier(self.text.as_str(), line, offset.saturating_sub(1)) {
            // Behind a whole specifier there is nothing to add to it.
            if offset <= typed.start + 1 {
                return self.specifiers(typed.start..offset);
            }
        }
        let word = self.text.range(cursor::word(self.text.as_str(), line, offset));
        let words = known::key_of(self.kind, section, key).map_or(&[][..], Known::choices);
        let mut items: Vec<_> =
            words.iter().map(|choice| item(choice, CompletionItemKind::EnumMember, word)).collect();
        let kinds = named_by(section, key);
        let own = path.file_name().and_then(|name| name.to_str());
        let mut seen = BTreeSet::new();
        for (file, name) in workspace.units() {
            let rank = UnitType::of(name).and_then(|kind| kinds.iter().position(|fits| *fits == kind));
            let Some(rank) = rank.filter(|_| own != Some(name)) else { continue };
            if seen.insert(name) {
                let mut item = item(name, CompletionItemKind::File, word);
                item.detail = file.parent().map(|folder| folder.display().to_string());
                item.sort_text = Some(format!("{rank}{name}"));
                items.push(item);
            }
        }
        items
    }

    fn specifiers(&self, range: Range<usize>) -> Vec<CompletionItem> {
        let range = self.text.range(range);
        let items = specifiers::ALL.iter().map(|(letter, meaning)| {
            let mut item = item(&format!("%{letter}"), CompletionItemKind::Constant, range);
            item.detail = Some((*meaning).to_owned());
            item
        });
        items.collect()
    }
}

/// A proposal that replaces a range with its own label.
fn item(label: &str, kind: CompletionItemKind, range: LspRange) -> CompletionItem {
    CompletionItem {
        label: label.to_owned(),
        kind: Some(kind),
        text_edit: Some(TextEdit { range, new_text: label.to_owned() }.into()),
        ..CompletionItem::default()
    }
}
