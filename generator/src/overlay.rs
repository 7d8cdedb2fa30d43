//! Files whose text is not taken from the disk: what an editor holds unsaved, or what is not yet
//! installed.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Texts by the path of the file whose place they take. A path below a search directory that is not
/// on disk counts as a file of that directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overlay(BTreeMap<PathBuf, String>);

impl Overlay {
    /// Without any text.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the text of a file, which is named by an absolute path. Links in the path's directory are
    /// resolved, because found files are named so as well.
    pub fn insert(&mut self, path: &Path, text: impl Into<String>) {
        self.0.insert(resolved(path), text.into());
    }

    /// Takes the text of a file away, so that the disk counts again.
    pub fn remove(&mut self, path: &Path) {
        self.0.remove(&resolved(path));
    }

    /// Whether there is no text at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text of a file; the path is looked up as it stands, or with a link at its end resolved.
    pub fn text(&self, path: &Path) -> Option<&str> {
        if self.0.is_empty() {
            return None;
        }
        let found = self.0.get(path).or_else(|| self.0.get(&fs::canonicalize(path).ok()?));
        found.map(String::as_str)
    }

    /// The paths of all files.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.keys().map(PathBuf::as_path)
    }

    /// The files that lie in a directory, not deeper.
    pub(crate) fn files_of(&self, directory: &Path) -> impl Iterator<Item = &Path> {
        self.paths().filter(move |path| path.parent() == Some(directory))
    }
}

impl<P: AsRef<Path>, T: Into<String>> FromIterator<(P, T)> for Overlay {
    fn from_iter<I: IntoIterator<Item = (P, T)>>(files: I) -> Self {
        let mut overlay = Self::new();
        files.into_iter().for_each(|(path, text)| overlay.insert(path.as_ref(), text));
        overlay
    }
}

/// The path with the links of its directory resolved, as far as the directory exists.
fn resolved(path: &Path) -> PathBuf {
    match (path.parent().and_then(|directory| fs::canonicalize(directory).ok()), path.file_name()) {
        (Some(directory), Some(name)) => directory.join(name),
        _ => path.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_found_through_links() {
        let root = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(root.path()).unwrap();
        fs::create_dir(base.join("real")).unwrap();
        fs::write(base.join("real/a.container"), "").unwrap();
        symlink("real", base.join("alias")).unwrap();
        symlink("real/a.container", base.join("b.container")).unwrap();
        let mut overlay = Overlay::from_iter([(base.join("alias/a.container"), "x")]);
        assert_eq!(overlay.text(&base.join("real/a.container")), Some("x"));
        assert_eq!(overlay.text(&base.join("b.container")), Some("x"));
        assert_eq!(overlay.files_of(&base.join("real")).count(), 1);
        overlay.remove(&base.join("real/a.container"));
        assert!(overlay.is_empty());
    }
}
