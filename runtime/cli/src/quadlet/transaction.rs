//! Several files that change together: all of them, or none.
//!
//! New files are written and synced in a folder beside their places first. Its name ends in `.d`, so
//! that a generator that runs meanwhile does not look for unit files in it. Then each takes its place
//! in one step; what was there before is kept until all are in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use tempfile::TempDir;

/// Changes that are being prepared.
#[derive(Debug)]
pub(crate) struct Transaction {
    staging: TempDir,
    /// What is staged, and its place.
    staged: Vec<(PathBuf, PathBuf)>,
    removals: Vec<PathBuf>,
}

/// A change that was made.
#[derive(Debug)]
enum Step {
    Folder(PathBuf),
    Created(PathBuf),
    /// A place, and the link to what it held.
    Replaced(PathBuf, PathBuf),
}

impl Transaction {
    /// Begins; `folder`, which all places are below, is made if it isn't there.
    ///
    /// # Errors
    /// The folder can't be written to.
    pub(crate) fn begin(folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
        let staging = tempfile::Builder::new().prefix(".sampan-").suffix(".d").tempdir_in(folder);
        let staging = staging.with_context(|| format!("write to the folder {}", folder.display()))?;
        Ok(Self { staging, staged: Vec::new(), removals: Vec::new() })
    }

    fn stage(&mut self, to: &Path) -> PathBuf {
        let staged = self.staging.path().join(format!("new-{}", self.staged.len()));
        self.staged.push((staged.clone(), to.to_owned()));
        staged
    }

    /// A file with this text, and this mode.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn text(&mut self, to: &Path, text: &str, mode: u32) -> anyhow::Result<()> {
        let staged = self.stage(to);
        write(&staged, &mut text.as_bytes(), mode).with_context(|| format!("write {}", to.display()))
    }

    /// A file with what another one holds.
    ///
    /// # Errors
    /// One can't be read, or the other not be written.
    pub(crate) fn copy(&mut self, to: &Path, from: &Path, mode: u32) -> anyhow::Result<()> {
        let staged = self.stage(to);
        let mut source = File::open(from).with_context(|| format!("open {}", from.display()))?;
        write(&staged, &mut source, mode)
            .with_context(|| format!("copy {} to {}", from.display(), to.display()))
    }

    /// A symbolic link.
    ///
    /// # Errors
    /// It can't be made.
    pub(crate) fn link(&mut self, to: &Path, target: &Path) -> anyhow::Result<()> {
        let staged = self.stage(to);
        symlink(target, &staged).with_context(|| format!("make the link {}", to.display()))
    }

    /// A file that will be gone.
    pub(crate) fn remove(&mut self, path: &Path) {
        self.removals.push(path.to_owned());
    }

    /// Makes all changes.
    ///
    /// # Errors
    /// One of them failed, and those before it were undone.
    pub(crate) fn commit(self) -> anyhow::Result<()> {
        let mut steps = Vec::new();
        let made = self.apply(&mut steps);
        if made.is_err() {
            steps.iter().rev().for_each(undo);
        }
        made
    }

    fn apply(&self, steps: &mut Vec<Step>) -> anyhow::Result<()> {
        for (number, (staged, place)) in self.staged.iter().enumerate() {
            let kept = self.staging.path().join(format!("old-{number}"));
            put(staged, place, kept, steps)
                .with_context(|| format!("put {} in its place", place.display()))?;
        }
        for (number, path) in self.removals.iter().enumerate() {
            let kept = self.staging.path().join(format!("gone-{number}"));
            match fs::rename(path, &kept) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                result => {
                    result.with_context(|| format!("remove {}", path.display()))?;
                    steps.push(Step::Replaced(path.clone(), kept));
                }
            }
        }
        let mut folders: Vec<_> = self.staged.iter().filter_map(|(_, place)| place.parent()).collect();
        folders.dedup();
        for folder in folders {
            let synced = File::open(folder).and_then(|folder| folder.sync_all());
            synced.with_context(|| format!("sync {}", folder.display()))?;
        }
        Ok(())
    }
}

/// Writes a new file and waits until it is on the disk.
fn write(path: &Path, source: &mut impl io::Read, mode: u32) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    io::copy(source, &mut file)?;
    file.flush()?;
    file.set_permissions(fs::Permissions::from_mode(mode))?;
    file.sync_all()
}

/// Moves a staged file to its place; what is there is kept under another name first.
fn put(staged: &Path, place: &Path, kept: PathBuf, steps: &mut Vec<Step>) -> io::Result<()> {
    let parents: Vec<_> = place.ancestors().skip(1).take_while(|folder| !folder.exists()).collect();
    for folder in parents.into_iter().rev() {
        fs::create_dir(folder)?;
        steps.push(Step::Folder(folder.to_owned()));
    }
    // A link to the file replaces nothing, so that two installations can't overwrite each other.
    match fs::hard_link(staged, place) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs::hard_link(place, &kept)?;
            fs::rename(staged, place)?;
            steps.push(Step::Replaced(place.to_owned(), kept));
        }
        result => {
            result?;
            steps.push(Step::Created(place.to_owned()));
        }
    }
    Ok(())
}

/// Undoes a step. What can't be undone stays as it is: the error that is reported is the first one.
fn undo(step: &Step) {
    // The results are of no use: whoever reads them has nothing else to try.
    let _ = match step {
        Step::Folder(folder) => fs::remove_dir(folder),
        Step::Created(place) => fs::remove_file(place),
        Step::Replaced(place, kept) => fs::rename(kept, place),
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = entries.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn all_changes_are_made() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        fs::write(place("old"), "1").unwrap();
        fs::write(place("gone"), "1").unwrap();
        let mut transaction = Transaction::begin(root.path()).unwrap();
        transaction.text(&place("old"), "2", 0o644).unwrap();
        transaction.copy(&place("sub/copy"), &place("old"), 0o600).unwrap();
        transaction.link(&place("sub/link"), Path::new("copy")).unwrap();
        transaction.remove(&place("gone"));
        transaction.commit().unwrap();
        assert_eq!(listing(root.path()), ["old", "sub"]);
        assert_eq!(fs::read_to_string(place("old")).unwrap(), "2");
        assert_eq!(fs::read_to_string(place("sub/link")).unwrap(), "1");
        assert_eq!(fs::metadata(place("sub/copy")).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_change_that_fails_undoes_the_others() {
        let root = tempfile::tempdir().unwrap();
        let place = |name: &str| root.path().join(name);
        fs::write(place("old"), "1").unwrap();
        fs::create_dir(place("taken")).unwrap();
        fs::write(place("taken/file"), "").unwrap();
        let mut transaction = Transaction::begin(root.path()).unwrap();
        transaction.text(&place("old"), "2", 0o644).unwrap();
        transaction.text(&place("sub/new"), "2", 0o644).unwrap();
        // A folder stands there.
        transaction.text(&place("taken"), "2", 0o644).unwrap();
        let error = format!("{:#}", transaction.commit().unwrap_err());
        assert!(error.contains("taken"), "{error}");
        assert_eq!(listing(root.path()), ["old", "taken"]);
        assert_eq!(fs::read_to_string(place("old")).unwrap(), "1");
    }
}
