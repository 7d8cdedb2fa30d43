//! Which files are Quadlet files, and where they lie below a folder.
//!
//! The generator's own search reads what systemd will read. An editor's folder is something else: a
//! checkout with other things in it, perhaps a whole home directory, so this search leaves out
//! where version control and package managers keep their files, and ends after a number of entries.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use sampan_generator::keys::UnitType;

/// Folders that hold no file that somebody wrote.
const LEFT_OUT: [&str; 4] = [".git", ".hg", ".svn", "node_modules"];

/// How many entries of folders are looked at: some tenths of a second's worth.
const MOST_ENTRIES: usize = 100_000;

/// What a file is to Quadlet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// A Quadlet file.
    Unit(UnitType),
    /// A drop-in of such files: `web.container.d/*.conf`, `container.d/*.conf`.
    DropIn(UnitType),
}

impl Role {
    /// The role of a file by its path; `None` if Quadlet doesn't read it.
    pub(crate) fn of(path: &Path) -> Option<Self> {
        let name = path.file_name()?.to_str()?;
        if let Some(kind) = UnitType::of(name) {
            return Some(Self::Unit(kind));
        }
        let folder = path.parent()?.file_name()?.to_str()?;
        let owner = folder.strip_suffix(".d").filter(|_| name.ends_with(".conf"))?;
        let kind = UnitType::of(owner)
            .or_else(|| UnitType::ALL.into_iter().find(|kind| kind.extension() == owner))?;
        Some(Self::DropIn(kind))
    }

    /// The kind of unit that the file is, or belongs to.
    pub(crate) fn kind(self) -> UnitType {
        match self {
            Self::Unit(kind) | Self::DropIn(kind) => kind,
        }
    }
}

/// The folder that a file counts for: its own, or for a drop-in the one above.
pub(crate) fn home(path: &Path) -> Option<&Path> {
    match Role::of(path)? {
        Role::Unit(_) => path.parent(),
        Role::DropIn(_) => path.parent()?.parent(),
    }
}

/// What a search found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// All Quadlet files and drop-ins, sorted by path.
    pub(crate) files: Vec<PathBuf>,
    /// Whether the search ended early, because there is too much.
    pub(crate) cut: bool,
}

/// Finds the Quadlet files and drop-ins below some folders. Links to folders are followed and resolved;
/// a folder that can't be read counts as empty.
pub(crate) fn below<'a>(folders: impl IntoIterator<Item = &'a Path>) -> Found {
    let mut found = Found::default();
    let mut visited = HashSet::new();
    let mut left = MOST_ENTRIES;
    let mut waiting: Vec<PathBuf> = folders.into_iter().map(Path::to_owned).collect();
    while let Some(folder) = waiting.pop() {
        // A file has one name, whichever links lead to its folder.
        let Ok(folder) = fs::canonicalize(&folder) else { continue };
        if !visited.insert(folder.clone()) {
            continue;
        }
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if left == 0 {
                found.cut = true;
                break;
            }
            left -= 1;
            let path = entry.path();
            let Ok(mut kind) = entry.file_type() else { continue };
            if kind.is_symlink() {
                let Ok(target) = fs::metadata(&path) else { continue };
                kind = target.file_type();
            }
            if kind.is_dir() && !LEFT_OUT.iter().any(|name| entry.file_name() == *name) {
                waiting.push(path);
            } else if kind.is_file() && Role::of(&path).is_some() {
                found.files.push(path);
            }
        }
    }
    found.files.sort();
    found.files.dedup();
    found
}

/// The Quadlet files of one folder with their drop-ins, and nothing from further below.
pub(crate) fn beside(folder: &Path) -> Vec<PathBuf> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut files = Vec::new();
    for entry in entries(folder).take(MOST_ENTRIES) {
        let path = entry.path();
        if path.extension().is_some_and(|extension| extension == "d") && path.is_dir() {
            files.extend(entries(&path).map(|entry| entry.path()));
        } else {
            files.push(path);
        }
    }
    files.retain(|path| Role::of(path).is_some() && path.is_file());
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_comes_from_the_name() {
        let role = |path: &str| Role::of(Path::new(path));
        assert_eq!(role("/q/web.container"), Some(Role::Unit(UnitType::Container)));
        assert_eq!(role("/q/web.container.d/10.conf"), Some(Role::DropIn(UnitType::Container)));
        assert_eq!(role("/q/pod.d/x.conf"), Some(Role::DropIn(UnitType::Pod)));
        assert_eq!(role("/q/web.service.d/x.conf"), None);
        assert_eq!(role("/q/web.container.d/readme"), None);
        assert_eq!(home(Path::new("/q/web.container.d/10.conf")), Some(Path::new("/q")));
    }

    #[test]
    fn finds_units_and_drop_ins_once() {
        let folder = tempfile::tempdir().unwrap();
        let base = &fs::canonicalize(folder.path()).unwrap();
        for below in ["a/web.container.d", ".git", "node_modules/x"] {
            fs::create_dir_all(base.join(below)).unwrap();
        }
        let files = [
            "a/web.container",
            "a/web.container.d/1.conf",
            "a/x.txt",
            ".git/g.volume",
            "node_modules/x/n.pod",
        ];
        files.iter().for_each(|file| fs::write(base.join(file), "").unwrap());
        std::os::unix::fs::symlink("..", base.join("a/loop")).unwrap();
        let found = below([base.as_path()]);
        assert_eq!(found.files, [base.join("a/web.container"), base.join("a/web.container.d/1.conf")]);
        assert!(!found.cut);
        assert_eq!(beside(&base.join("a")).len(), 2);
        assert!(beside(base).is_empty());
    }
}
