//! The files that a session is about: those below the client's folders, and those that it has open,
//! whose text counts instead of the disk's.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use gen_lsp_types::Uri;
use sampan_generator::Root;
use sampan_generator::check::Overlay;
use sampan_generator::regular;

use super::files::{self, Role, below, home};
use super::position::{Encoding, Text};
use super::uri;

/// A document that the client has open.
#[derive(Clone, Debug)]
pub(crate) struct Document {
    /// As the client spells it.
    pub(crate) uri: Uri,
    /// The client's count of its changes.
    pub(crate) version: i32,
    /// Our count of what was opened, so that a document that is opened again is another one.
    pub(crate) serial: u64,
    pub(crate) text: Text,
}

/// Folders, open documents, and the Quadlet files there are.
#[derive(Clone, Debug)]
pub(crate) struct Workspace {
    encoding: Encoding,
    folders: BTreeSet<PathBuf>,
    documents: BTreeMap<PathBuf, Document>,
    files: BTreeSet<PathBuf>,
    /// How many documents were opened.
    opened: u64,
    /// Whether files may have come or gone since `files` was made.
    stale: bool,
}

impl Workspace {
    /// A workspace of some folders, with nothing open.
    pub(crate) fn new(folders: impl IntoIterator<Item = PathBuf>, encoding: Encoding) -> Self {
        let folders = folders.into_iter().map(|folder| fs::canonicalize(&folder).unwrap_or(folder)).collect();
        let (documents, files) = (BTreeMap::new(), BTreeSet::new());
        Self { encoding, folders, documents, files, opened: 0, stale: true }
    }

    /// Adds and removes folders.
    pub(crate) fn change_folders(&mut self, added: Vec<PathBuf>, removed: &[PathBuf]) {
        let real = |folder: PathBuf| fs::canonicalize(&folder).unwrap_or(folder);
        self.folders.extend(added.into_iter().map(real));
        for folder in removed {
            self.folders.remove(&real(folder.clone()));
        }
        self.stale = true;
    }

    /// Files may have come or gone.
    pub(crate) fn expect_other_files(&mut self) {
        self.stale = true;
    }

    /// Takes a document that was opened.
    pub(crate) fn open(&mut self, path: PathBuf, uri: Uri, version: i32, text: String) {
        let text = Text::new(text, self.encoding);
        self.stale |= !self.files.contains(&path);
        self.opened += 1;
        self.documents.insert(path, Document { uri, version, serial: self.opened, text });
    }

    /// Forgets a document that was closed.
    pub(crate) fn close(&mut self, path: &Path) {
        self.documents.remove(path);
        self.stale = true;
    }

    /// An open document, to change it.
    pub(crate) fn document_mut(&mut self, path: &Path) -> Option<&mut Document> {
        self.documents.get_mut(path)
    }

    /// The open documents with their paths.
    pub(crate) fn documents(&self) -> &BTreeMap<PathBuf, Document> {
        &self.documents
    }

    /// The text of a file: the client's, else the disk's, without a byte order mark, as editors show it.
    pub(crate) fn text(&self, path: &Path) -> Option<Cow<'_, Text>> {
        match self.documents.get(path) {
            Some(document) => Some(Cow::Borrowed(&document.text)),
            None => Some(Cow::Owned(read(path, self.encoding)?)),
        }
    }

    /// Looks for files again, if some may have come or gone. Tells whether there were too many to
    /// look at all.
    pub(crate) fn refresh(&mut self) -> bool {
        if !self.stale {
            return false;
        }
        let found = below(self.folders.iter().map(PathBuf::as_path));
        self.files = found.files.into_iter().collect();
        for path in self.documents.keys().filter(|path| path.is_absolute()) {
            if let Some(home) = home(path).filter(|home| !self.holds(home)) {
                self.files.extend(files::beside(home));
            }
            self.files.extend(Role::of(path).map(|_| path.clone()));
        }
        self.stale = false;
        found.cut
    }

    /// Whether a path lies in one of the folders.
    fn holds(&self, path: &Path) -> bool {
        self.folders.iter().any(|folder| path.starts_with(folder))
    }

    /// All Quadlet files and drop-ins, sorted.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(PathBuf::as_path)
    }

    /// The Quadlet files without their drop-ins, with their names.
    pub(crate) fn units(&self) -> impl Iterator<Item = (&Path, &str)> {
        let units = self.files().filter(|path| matches!(Role::of(path), Some(Role::Unit(_))));
        units.filter_map(|path| Some((path, path.file_name()?.to_str()?)))
    }

    /// The Quadlet file of a name; of several the one in the folder of `near`, else the first.
    pub(crate) fn find(&self, name: &str, near: &Path) -> Option<&Path> {
        let found = || self.units().filter(|(_, unit)| *unit == name).map(|(path, _)| path);
        found().find(|path| path.parent() == home(near)).or_else(|| found().next())
    }

    /// The folders of all files as the roots of a check. Those of `first` count most.
    pub(crate) fn roots(&self, first: &BTreeSet<&Path>) -> Vec<Root> {
        let homes: BTreeSet<&Path> = self.files().filter_map(home).collect();
        let rest = homes.difference(first).copied();
        first.iter().copied().chain(rest).map(Root::flat).collect()
    }

    /// The texts that count instead of the disk's.
    pub(crate) fn overlay(&self) -> Overlay {
        let documents = self.documents.iter().filter(|(path, _)| path.is_absolute());
        documents.map(|(path, document)| (path, document.text.as_str())).collect()
    }

    /// The URI of a file, spelled as the client does.
    pub(crate) fn uri(&self, path: &Path) -> Uri {
        self.documents.get(path).map_or_else(|| uri::uri_of(path), |document| document.uri.clone())
    }
}

/// Reads a file as an editor shows it: without a byte order mark, wrong bytes replaced.
pub(crate) fn read(path: &Path, encoding: Encoding) -> Option<Text> {
    let bytes = regular::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Some(Text::new(text.to_owned(), encoding))
}
