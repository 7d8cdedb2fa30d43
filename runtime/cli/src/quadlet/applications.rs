//! Files that were installed together, and so are removed together.
//!
//! A manifest `.NAME.app` names them, one per line, by paths that start at its own folder.
//! `podman quadlet install` writes it among the unit files; we write it into the folder `NAME` that
//! holds the application, where files of several applications can't meet.

use std::fs;
use std::path::{Component, Path, PathBuf};

use sampan_generator::Root;

/// What a manifest's name ends in; `.asset` is that of Podman 5.6.
const EXTENSIONS: [&str; 2] = [".app", ".asset"];

/// Files that were installed together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Application {
    /// Its name: that of the folder it was installed from or, for a unit file with others beside it,
    /// of that file.
    pub(crate) name: String,
    /// The file that lists the others.
    pub(crate) manifest: PathBuf,
    /// The files, as absolute paths.
    pub(crate) files: Vec<PathBuf>,
}

/// All applications.
#[derive(Debug, Default)]
pub(crate) struct Applications(Vec<Application>);

impl Applications {
    /// Reads the manifests in the folders and in those directly below them. What can't be read is no
    /// application.
    pub(crate) fn read(roots: &[Root]) -> Self {
        let mut found = Vec::new();
        for root in roots {
            let folder = root.path.canonicalize().unwrap_or_else(|_| root.path.clone());
            let below = entries(&folder).into_iter().filter(|path| path.is_dir() && !path.is_symlink());
            for folder in std::iter::once(folder.clone()).chain(below) {
                found.extend(entries(&folder).iter().filter_map(|path| manifest(path)));
            }
        }
        Self(found)
    }

    /// The application that a unit file belongs to.
    pub(crate) fn of(&self, file: &Path) -> Option<&Application> {
        self.0.iter().find(|app| !is_named(app, file) && app.files.iter().any(|own| own == file))
    }

    /// The other files that were installed with this one alone.
    pub(crate) fn companions(&self, file: &Path) -> impl Iterator<Item = &Application> {
        self.0.iter().filter(move |app| is_named(app, file) && app.manifest.parent() == file.parent())
    }

    /// The application whose manifest this is.
    pub(crate) fn listed_in(&self, manifest: &Path) -> Option<&Application> {
        self.0.iter().find(|app| app.manifest == manifest)
    }

    /// The application of a name.
    pub(crate) fn named(&self, name: &str) -> Option<&Application> {
        self.0.iter().find(|app| app.name == name)
    }
}

/// The name of the manifest of an application.
pub(crate) fn manifest_name(name: &str) -> String {
    format!(".{name}.app")
}

/// Whether a file is a manifest, by its name.
pub(crate) fn is_manifest(name: &str) -> bool {
    application_name(name).is_some()
}

/// The application that a manifest of this name lists.
fn application_name(manifest: &str) -> Option<&str> {
    let name = manifest.strip_prefix('.')?;
    EXTENSIONS.iter().find_map(|extension| name.strip_suffix(extension)).filter(|name| !name.is_empty())
}

fn is_named(app: &Application, file: &Path) -> bool {
    file.file_name().is_some_and(|name| name == app.name.as_str())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    entries.sort();
    entries
}

/// Reads a manifest. Lines that would lead out of its folder, or through a link, are left out.
fn manifest(path: &Path) -> Option<Application> {
    let name = application_name(path.file_name()?.to_str()?)?;
    let folder = path.parent()?;
    let text = fs::read_to_string(path).ok()?;
    let inside = |line: &&str| Path::new(line).components().all(|part| matches!(part, Component::Normal(_)));
    let no_link = |line: &&str| {
        Path::new(line)
            .ancestors()
            .skip(1)
            .all(|above| above == Path::new("") || !folder.join(above).is_symlink())
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty()).filter(inside).filter(no_link);
    Some(Application {
        name: name.to_owned(),
        manifest: path.to_owned(),
        files: lines.map(|line| folder.join(line)).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_of_podman_and_of_ours_are_read_and_stay_inside() {
        let root = tempfile::tempdir().unwrap();
        let base = root.path().canonicalize().unwrap();
        fs::create_dir(base.join("shop")).unwrap();
        fs::write(base.join("shop/.shop.app"), "web.container\nconf/a.env\n../../etc/passwd\n/etc/passwd\n")
            .unwrap();
        fs::write(base.join(".blog.app"), "blog.container\n\n").unwrap();
        fs::write(base.join(".db.container.asset"), "db.env\n").unwrap();
        let apps = Applications::read(&[Root::whole(&base)]);
        let shop = apps.of(&base.join("shop/web.container")).unwrap();
        assert_eq!(shop.name, "shop");
        assert_eq!(shop.files, [base.join("shop/web.container"), base.join("shop/conf/a.env")]);
        assert_eq!(apps.named("blog").unwrap().files, [base.join("blog.container")]);
        assert_eq!(apps.of(&base.join("db.container")), None);
        let file = base.join("db.container");
        let with = apps.companions(&file).flat_map(|app| app.files.clone());
        assert_eq!(with.collect::<Vec<_>>(), [base.join("db.env")]);
    }
}
