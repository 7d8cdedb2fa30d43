//! The outline of a file: its sections, and in each its keys.

use std::ops::Range;

use gen_lsp_types::{BaseSymbolInformation, DocumentSymbol, Location, SymbolInformation, SymbolKind, Uri};
use sampan_generator::syntax::scanner::{Fold, RawEntry, RawSection, scan};

use super::position::Text;

/// How much of a value is shown beside its key.
const MOST_CHARACTERS: usize = 60;

/// The sections of a file with their keys.
pub(crate) fn outline(text: &Text) -> Vec<DocumentSymbol> {
    let sections = scan(text.as_str(), Fold::Blank).sections;
    let starts = sections.iter().skip(1).map(|next| next.at).chain([text.as_str().len()]);
    let ends: Vec<usize> = starts.collect();
    sections.iter().zip(ends).map(|(section, end)| of_section(text, section, end)).collect()
}

fn of_section(text: &Text, section: &RawSection<'_>, end: usize) -> DocumentSymbol {
    let header = section.at..section.at + section.name.len() + 2;
    let end = text.as_str()[..end].trim_end().len().max(header.end);
    let keys = section.entries.iter().map(|entry| of_key(text, entry)).collect();
    DocumentSymbol {
        children: Some(keys),
        ..symbol(text, &section.name, SymbolKind::Module, section.at..end, header)
    }
}

fn of_key(text: &Text, entry: &RawEntry<'_>) -> DocumentSymbol {
    let key = entry.key_at..entry.key_at + entry.key.len();
    let end = match entry.value.len() {
        0 => key.end,
        length => entry.pieces.locate(length),
    };
    let detail = match entry.value.char_indices().nth(MOST_CHARACTERS) {
        Some((at, _)) => format!("{}…", &entry.value[..at]),
        None => entry.value.to_string(),
    };
    let symbol = symbol(text, &entry.key, SymbolKind::Property, key.start..end.max(key.end), key);
    DocumentSymbol { detail: Some(detail).filter(|detail| !detail.is_empty()), ..symbol }
}

/// A symbol without anything that may be left out; the field that is deprecated has to be named.
#[allow(deprecated)]
fn symbol(
    text: &Text,
    name: &str,
    kind: SymbolKind,
    all: Range<usize>,
    name_at: Range<usize>,
) -> DocumentSymbol {
    DocumentSymbol {
        // Clients refuse an empty name, which `[]` would give.
        name: if name.is_empty() { "?".to_owned() } else { name.to_owned() },
        detail: None,
        kind,
        tags: None,
        deprecated: None,
        range: text.range(all),
        selection_range: text.range(name_at),
        children: None,
    }
}

/// The same for clients that know no nested symbols.
pub(crate) fn flat(uri: &Uri, outline: Vec<DocumentSymbol>) -> Vec<SymbolInformation> {
    let mut symbols = Vec::new();
    for section in outline {
        symbols.push(named(uri, &section, None));
        for key in section.children.iter().flatten() {
            symbols.push(named(uri, key, Some(&section.name)));
        }
    }
    symbols
}

fn named(uri: &Uri, symbol: &DocumentSymbol, container: Option<&str>) -> SymbolInformation {
    let location = Location { uri: uri.clone(), range: symbol.range };
    information(&symbol.name, symbol.kind, location, container)
}

/// A symbol with the place where it is.
#[allow(deprecated)]
pub(crate) fn information(
    name: &str,
    kind: SymbolKind,
    location: Location,
    container: Option<&str>,
) -> SymbolInformation {
    SymbolInformation {
        deprecated: None,
        location,
        base_symbol_information: BaseSymbolInformation {
            name: name.to_owned(),
            kind,
            tags: None,
            container_name: container.map(str::to_owned),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::super::position::Encoding;
    use super::*;

    #[test]
    fn sections_hold_their_keys() {
        let text = "# x\n[Unit]\nDescription=ü\nAfter=a \\\n  b\n\n[Pod]\nPodName=\n";
        let outline = outline(&Text::new(text.to_owned(), Encoding::Utf16));
        let names: Vec<_> = outline.iter().map(|section| section.name.as_str()).collect();
        assert_eq!(names, ["Unit", "Pod"]);
        assert_eq!((outline[0].range.start.line, outline[0].range.end.line), (1, 4));
        let keys = outline[0].children.as_ref().unwrap();
        assert_eq!((keys[1].name.as_str(), keys[1].detail.as_deref()), ("After", Some("a b")));
        assert_eq!((keys[1].range.end.line, keys[1].range.end.character), (4, 3));
        assert_eq!(flat(&Uri("file:///x".to_owned()), outline).len(), 5);
    }
}
