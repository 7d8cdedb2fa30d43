//! Paths in unit files: relative ones start at the unit file's directory.

use super::Translator;
use crate::syntax::words;

/// Whether the text starts with a specifier, which systemd may resolve to an absolute path.
pub(super) fn starts_with_specifier(path: &str) -> bool {
    path.starts_with('%') && !path.starts_with("%%")
}

/// Whether a build's file or context is fetched and not found on disk.
pub(super) fn is_url(text: &str) -> bool {
    ["http://", "https://", "git://", "github.com/"].iter().any(|start| text.starts_with(start))
}

/// The path without `.`, `..` and doubled slashes, by its text alone.
pub(super) fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if path.starts_with('/') => {}
            part => parts.push(part),
        }
    }
    match (path.starts_with('/'), parts.is_empty()) {
        (true, _) => format!("/{}", parts.join("/")),
        (false, true) => ".".to_owned(),
        (false, false) => parts.join("/"),
    }
}

/// The directory part of a path.
pub(super) fn parent(path: &str) -> String {
    clean(path.rsplit_once('/').map_or(".", |(parent, _)| if parent.is_empty() { "/" } else { parent }))
}

impl Translator<'_> {
    /// The unit file's directory, so that systemd reads it as it is.
    fn directory(&self) -> String {
        words::literal(&self.unit.directory().to_string_lossy())
    }

    /// The unit file's own path, so that systemd reads it as it is.
    pub(super) fn own_path(&self) -> String {
        words::literal(&self.unit.path.to_string_lossy())
    }

    /// An absolute path, or one that starts with a specifier.
    pub(super) fn absolute(&self, path: &str) -> String {
        if starts_with_specifier(path) || path.starts_with('/') {
            path.to_owned()
        } else {
            clean(&format!("{}/{path}", self.directory()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans_paths() {
        assert_eq!(clean("/a/./b/../c//d/"), "/a/c/d");
        assert_eq!(clean("/../a"), "/a");
        assert_eq!(clean("../a/.."), "..");
        assert_eq!(clean("a/.."), ".");
        assert_eq!(parent("/a/b"), "/a");
        assert_eq!(parent("/a"), "/");
        assert_eq!(parent("a"), ".");
    }
}
