//! What is wrong with Quadlet files, for people who want to know before they start anything:
//! `sampan check`, and the language server.
//!
//! [`check`] says all that the generator says, because it lets the generator translate the files, and
//! then looks at what the generator has no time for at boot. These further rules are passes over a
//! [`scene`], all files that were read: [`EACH`] of them alone, [`TOGETHER`], and with what the
//! [`host`] says. A rule is a row in [`crate::diagnostic::rules`] and code in the module of its
//! subject. At the end comments in the files may silence some of it ([`suppress`]).

pub use crate::overlay::Overlay;

mod activation;
mod addresses;
mod available;
mod commands;
mod cycles;
mod driver;
mod files;
pub mod host;
mod keys;
mod machine;
mod mounts;
mod names;
mod network;
mod ports;
mod privileges;
mod scene;
mod specifiers;
mod suppress;
mod systemd;
mod values;

use crate::book::Book;
use crate::diagnostic::{self, Diagnostic, Severity, Source};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::load::{self, Loaded};
use crate::search::{self, Root};
use crate::unit::UnitFile;
use crate::{GeneratedUnit, generate};
use scene::{Generated, JointPass, Pass, Scene};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    /// The machine that they will run on, if it is to be asked.
    pub host: Option<host::Host>,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong, sorted by file and line.
    pub diagnostics: Vec<Diagnostic>,
    /// The Quadlet files that count, sorted by path.
    pub units: Vec<CheckedUnit>,
    /// How many files were read, drop-ins included.
    pub files: usize,
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
    /// Its drop-ins in the order in which they count.
    pub dropins: Vec<PathBuf>,
}

/// The rules that look at one file.
const EACH: &[Pass] = &[
    systemd::directives,
    systemd::dependencies,
    systemd::environment,
    systemd::starting,
    specifiers::specifiers,
    mounts::mounts,
    network::network,
    driver::driver,
    activation::activation,
    available::available,
    names::by_name,
    commands::commands,
    commands::paths,
    values::values,
    values::stop_timeout,
    privileges::privileges,
    keys::deprecated,
    keys::unfinished,
];

/// The rules that look at all files together.
const TOGETHER: &[JointPass] = &[
    names::same_name,
    ports::same_port,
    addresses::networks,
    addresses::fixed,
    cycles::cycles,
    files::dropins,
    files::shadowed,
    files::misspelled,
];

/// A file with more keys than this is nobody's work; of it only what the generator says is told.
const MOST_KEYS: usize = 5000;

/// What the rules have found, by file.
#[derive(Debug, Default)]
struct Findings(BTreeMap<PathBuf, diagnostic::Findings>);

impl Findings {
    /// Adds a finding. One in a drop-in of several files is told once.
    fn push(&mut self, diagnostic: Diagnostic) {
        self.0.entry(diagnostic.file.clone()).or_default().push(diagnostic);
    }

    /// Whether no more findings of a file are kept, so that they need not even be made.
    fn is_full(&self, file: &Path, severity: Severity) -> bool {
        self.0.get(file).is_some_and(|findings| findings.is_full(severity))
    }

    /// All of them, sorted by file and line.
    fn into_sorted(self) -> Vec<Diagnostic> {
        self.0.into_iter().flat_map(|(file, findings)| findings.into_sorted(&file)).collect()
    }
}

/// Checks all files below the roots.
pub fn check(options: &Options) -> Checked {
    let generation = crate::Options {
        engine: options.engine,
        user: options.user,
        roots: options.roots.clone(),
        overlay: options.overlay.clone(),
    };
    let mut services = Vec::new();
    let outcome = generate(&generation, &mut |unit: GeneratedUnit<'_>| {
        services.push(Generated {
            name: unit.name.to_owned(),
            text: unit.text.to_owned(),
            source: unit.source.to_owned(),
        });
    });
    let found = search::walk(&options.roots, &options.overlay);
    let files = found.files.iter().map(|file| (file.name.clone(), found.path_of(file))).collect();
    let mut dropins: Vec<PathBuf> = found.dropins.values().flatten().cloned().collect();
    dropins.sort();
    let mut loaded = load::load(found, options.engine, &options.overlay);
    loaded.files.sort_by(|a, b| a.path().cmp(b.path()));

    let mut findings = Findings::default();
    outcome.diagnostics.into_iter().for_each(|diagnostic| findings.push(diagnostic));
    let keys = |unit: &UnitFile<'_>| unit.sections.iter().map(|section| section.entries.len()).sum::<usize>();
    let units: Vec<_> = loaded.units().filter(|unit| keys(unit) <= MOST_KEYS).collect();
    // The names of what sampan's units make are known without translating them.
    let book = Book::new(loaded.units(), Engine::Sampan);
    let scene = Scene { options, units, book, services, files, dropins };
    examine(&scene, &mut findings);
    let mut diagnostics = findings.into_sorted();
    let sources: Vec<&Source> = loaded.sources().collect();
    suppress::apply(&mut diagnostics, &sources, options.host.is_some());
    diagnostics.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
    Checked { diagnostics, units: summary(&loaded, &scene.book), files: sources.len() }
}

/// Lets every rule look.
fn examine(scene: &Scene<'_>, findings: &mut Findings) {
    for view in scene.views() {
        EACH.iter().for_each(|pass| pass(&view, findings));
    }
    TOGETHER.iter().for_each(|pass| pass(scene, findings));
    if let Some(host) = &scene.options.host {
        machine::machine(scene, host, findings);
    }
}

fn summary(loaded: &Loaded, book: &Book) -> Vec<CheckedUnit> {
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
    units.collect()
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
