//! What is wrong with Quadlet files, for people who want to know before they start anything:
//! `sampan check`, and the language server.
//!
//! [`check`] says all that the generator says, because it lets the generator translate the files, and
//! then looks at what the generator has no time for at boot.

pub use crate::overlay::Overlay;

use crate::book::Book;
use crate::diagnostic::Diagnostic;
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::search::{self, Root};
use crate::{generate, load};
use std::path::PathBuf;

/// What is checked, and for whom.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Where files are looked for, the first counts most; see [`search::roots`].
    pub roots: Vec<Root>,
    /// The engine that the units are for.
    pub engine: Engine,
    /// Whether a user's systemd will run them.
    pub user: bool,
    /// Texts that take the place of files on disk.
    pub overlay: Overlay,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong, sorted by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// The Quadlet files that count, sorted by path.
    pub units: Vec<CheckedUnit>,
}

/// A Quadlet file that counts: the first of its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckedUnit {
    /// The file.
    pub file: PathBuf,
    /// Its name, such as `web.container`.
    pub name: String,
    /// Which kind of file it is.
    pub kind: UnitType,
    /// The service that it becomes, such as `web.service`.
    pub service: String,
    /// The name of the container, network, volume or image that it makes, if it is known without
    /// systemd.
    pub resource: Option<String>,
    /// Its drop-ins, in the order in which they are read.
    pub dropins: Vec<PathBuf>,
}

/// Checks all files below the roots.
pub fn check(options: &Options) -> Checked {
    let generation = crate::Options {
        engine: options.engine,
        user: options.user,
        roots: options.roots.clone(),
        overlay: options.overlay.clone(),
    };
    let mut diagnostics = generate(&generation, &mut |_| {}).diagnostics;
    let found = search::walk(&options.roots, &options.overlay);
    let loaded = load::load(found, options.engine, &options.overlay);
    // The names of what sampan's units make are known without translating them.
    let book = Book::new(loaded.units(), Engine::Sampan);
    let units = loaded.files.iter().filter_map(|file| {
        let card = book.get(&file.name)?;
        Some(CheckedUnit {
            file: file.path().to_owned(),
            name: file.name.clone(),
            kind: file.kind,
            service: card.unit(),
            resource: card.resource.clone(),
            dropins: loaded.dropins(file).map(PathBuf::from).collect(),
        })
    });
    let mut units: Vec<_> = units.collect();
    units.sort_by(|a, b| a.file.cmp(&b.file));
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Checked { diagnostics, units }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn texts_of_an_editor_count_instead_of_files() {
        let root = tempfile::tempdir().unwrap();
        let base = fs::canonicalize(root.path()).unwrap();
        let (web, data) = (base.join("web.container"), base.join("data.volume"));
        fs::write(&web, "[Container]\nImage=localhost/a:1\n").unwrap();
        let mut options = Options { roots: vec![Root::whole(&base)], ..Options::default() };
        assert!(check(&options).diagnostics.is_empty());

        options.overlay.insert(&web, "[Container]\nImage=localhost/a:1\nVolume=data.volume:/data\n");
        assert_eq!(check(&options).diagnostics[0].rule, "missing-reference");
        options.overlay.insert(&data, "[Volume]\n");
        let checked = check(&options);
        assert!(checked.diagnostics.is_empty(), "{:?}", checked.diagnostics);
        assert_eq!(checked.units[0].name, "data.volume");
        assert_eq!(checked.units[0].resource.as_deref(), Some("systemd-data"));

        options.overlay.insert(&base.join("web.container.d/10.conf"), "[Container]\nImge=x\n");
        let checked = check(&options);
        assert_eq!((checked.diagnostics[0].rule, checked.diagnostics[0].line), ("unknown-key", 2));
        assert_eq!(checked.diagnostics[0].fix.as_deref(), Some("Image"));
        assert_eq!(checked.units[1].dropins, [base.join("web.container.d/10.conf")]);
    }
}
