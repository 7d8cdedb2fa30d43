//! Which files are meant by the paths on the command line.

use std::collections::HashSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use sampan_generator::check::{Checked, Overlay};
use sampan_generator::keys::UnitType;
use sampan_generator::{Diagnostic, Engine, Environment, Root, search};

/// What is read, and what of it is told.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// Directories that are looked at together, as one search path each.
    pub(super) groups: Vec<Vec<Root>>,
    /// What is wrong with the search path itself.
    pub(super) notes: Vec<Diagnostic>,
    /// Standard input.
    pub(super) overlay: Overlay,
    /// The files that were named one by one; with none, everything is told.
    files: HashSet<PathBuf>,
    /// Directories that were named, and so are told about in full.
    directories: Vec<PathBuf>,
}

impl Selection {
    /// Reads the paths; without any, the directories that the generator reads are meant.
    ///
    /// # Errors
    /// A path that can't be read, or a file that is no Quadlet file.
    pub(super) fn new(
        paths: &[PathBuf],
        stdin_name: &Path,
        engine: Engine,
        user: bool,
    ) -> anyhow::Result<Self> {
        let mut selection = Self::default();
        if paths.is_empty() {
            let (roots, notes) = search::roots(engine, user, &Environment::of_process());
            selection.groups.push(roots);
            selection.notes = notes;
        }
        let mut together = Vec::new();
        for path in paths {
            if path == Path::new("-") {
                let mut text = String::new();
                std::io::stdin().read_to_string(&mut text).context("read standard input")?;
                let name = std::path::absolute(stdin_name).context("resolve --stdin-name")?;
                selection.overlay.insert(&name, text);
                selection.file(&name)?;
                continue;
            }
            let metadata = fs::metadata(path).with_context(|| format!("read {}", path.display()))?;
            let path = std::path::absolute(path).with_context(|| format!("resolve {}", path.display()))?;
            if metadata.is_dir() {
                fs::read_dir(&path).with_context(|| format!("read {}", path.display()))?;
                selection.directories.push(fs::canonicalize(&path).unwrap_or_else(|_| path.clone()));
                together.push(Root::whole(path));
            } else {
                fs::File::open(&path).with_context(|| format!("read {}", path.display()))?;
                selection.file(&path)?;
            }
        }
        if !together.is_empty() {
            selection.groups.insert(0, together);
        }
        Ok(selection)
    }

    /// A single file: what lies beside it is read too.
    fn file(&mut self, path: &Path) -> anyhow::Result<()> {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("/"));
        let folder = parent.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_dropin = name.ends_with(".conf") && folder.ends_with(".d");
        if UnitType::of(name).is_none() && !is_dropin {
            bail!("{} is no Quadlet file; they end in .container, .network, .volume, …", path.display());
        }
        // A drop-in belongs to a file beside its directory.
        let directory = if is_dropin { parent.parent().unwrap_or(parent) } else { parent };
        let real = fs::canonicalize(parent).unwrap_or_else(|_| parent.to_owned()).join(name);
        self.files.insert(real);
        let is_known = |root: &Vec<Root>| matches!(&root[..], [only] if only.path == directory);
        if !self.groups.iter().any(is_known) {
            self.groups.push(vec![Root::flat(directory)]);
        }
        Ok(())
    }

    /// Whether standard input is checked.
    pub(super) fn is_stdin(&self) -> bool {
        !self.overlay.is_empty()
    }

    /// Whether a finding is about something that was selected.
    pub(super) fn tells(&self, finding: &Diagnostic) -> bool {
        self.selects(&finding.file)
    }

    /// Whether `--fix` may change a file: one that was named, wherever a link leads, or one that is inside
    /// of the folders that were named or, without any, that the generator reads.
    pub(super) fn may_change(&self, file: &Path) -> bool {
        if self.files.contains(file) {
            return true;
        }
        let Ok(real) = fs::canonicalize(file) else { return false };
        if !self.files.is_empty() || !self.directories.is_empty() {
            return self.directories.iter().any(|folder| real.starts_with(folder));
        }
        let mut roots = self.groups.iter().flatten().filter_map(|root| fs::canonicalize(&root.path).ok());
        roots.any(|root| real.starts_with(root))
    }

    fn selects(&self, file: &Path) -> bool {
        self.files.is_empty()
            || self.files.contains(file)
            || self.directories.iter().any(|directory| file.starts_with(directory))
    }

    /// How many of the files that were read are selected.
    pub(super) fn count(&self, checked: &Checked) -> usize {
        if self.files.is_empty() {
            return checked.files;
        }
        let dropins: HashSet<&PathBuf> = checked.units.iter().flat_map(|unit| &unit.dropins).collect();
        let files = checked.units.iter().map(|unit| &unit.file).chain(dropins);
        files.filter(|file| self.selects(file)).count()
    }
}
