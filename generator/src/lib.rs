//! Turns Quadlet files (`.container`, `.network`, `.volume`, …) into systemd units.
//!
//! The way of a file through this crate:
//!
//! 1. [`search`] says which directories count and finds the files and drop-ins in them;
//! 2. `load` reads them, through the [`syntax`] of unit files, into a [`unit::UnitFile`] that knows
//!    where each value stood;
//! 3. `translate` turns each into a [`service::Service`], led by the [key table](keys); what
//!    differs between the two [engines](Engine) is in one module;
//! 4. a file with a mistake becomes a [`diagnostic::Diagnostic`] and, for sampan, a stub service
//!    that fails with it;
//! 5. [`output`] writes the units and the links of `[Install]`.
//!
//! [`generate`] is all of that but the writing; [`check`] is the same for people who only want to
//! know what is wrong. The crate needs no network, no D-Bus and no `/var`, as systemd.generator(7)
//! demands, and its output depends on its input alone.

#![forbid(unsafe_code)]

mod book;
mod command;
pub mod diagnostic;
mod engine;
mod install;
pub mod keys;
mod load;
mod neighbour;
pub mod output;
pub mod search;
pub mod service;
pub mod settings;
mod stub;
pub mod syntax;
mod translate;
pub mod unit;

pub use diagnostic::{Diagnostic, Severity};
pub use engine::{Engine, UnknownEngine};
pub use install::Link;
pub use search::{Environment, Root};

use book::Book;
use keys::UnitType;
use std::collections::HashMap;
use std::path::PathBuf;
use translate::Target;
use unit::UnitFile;

/// What to generate, and for whom.
#[derive(Clone, Debug)]
pub struct Options {
    /// The engine that the units are for.
    pub engine: Engine,
    /// Whether a user's systemd will run them.
    pub user: bool,
    /// Where files are looked for, the first counts most; see [`search::roots`].
    pub roots: Vec<Root>,
}

/// One unit that is ready to be written.
#[derive(Clone, Debug)]
pub struct GeneratedUnit {
    /// Its file name, such as `web.service`.
    pub name: String,
    /// Its text.
    pub text: String,
    /// The links that its `[Install]` section asks for.
    pub links: Vec<Link>,
    /// The Quadlet file that it comes from.
    pub source: PathBuf,
}

/// What came of the files.
#[derive(Debug, Default)]
pub struct Outcome {
    /// The units.
    pub units: Vec<GeneratedUnit>,
    /// What is wrong, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// Whether a file has an error and no unit tells of it.
    pub lost: bool,
}

impl Outcome {
    /// Whether a file could not be translated.
    pub fn has_errors(&self) -> bool {
        self.diagnostics.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }
}

/// Translates all files below the roots.
pub fn generate(options: &Options) -> Outcome {
    let loaded = load::load(search::walk(&options.roots), options.engine);
    let mut units = loaded.units;
    units.sort_by_key(|unit| order(unit.kind));
    let mut book = Book::new(&units, options.engine);
    let mut outcome = Outcome { units: Vec::new(), diagnostics: loaded.notes, lost: false };
    outcome.lost = outcome.has_errors();
    let target = Target { engine: options.engine, user: options.user };
    let mut owners = HashMap::new();
    for unit in &units {
        one(unit, &mut book, target, &mut owners, &mut outcome);
    }
    outcome
}

/// What is wrong with the Quadlet files below some directories, as sampan sees them.
pub fn check(directories: &[PathBuf]) -> Vec<Diagnostic> {
    let roots = directories.iter().map(Root::whole).collect();
    generate(&Options { engine: Engine::Sampan, user: false, roots }).diagnostics
}

/// Files are translated after those whose names they need.
fn order(kind: UnitType) -> u8 {
    match kind {
        UnitType::Image | UnitType::Artifact => 1,
        UnitType::Volume | UnitType::Network => 2,
        UnitType::Build => 3,
        UnitType::Container | UnitType::Kube => 4,
        UnitType::Pod => 5,
    }
}

/// Translates one file into its units, or into a stub service that says what is wrong.
fn one(
    unit: &UnitFile,
    book: &mut Book,
    target: Target,
    owners: &mut HashMap<String, PathBuf>,
    outcome: &mut Outcome,
) {
    let mut translation = translate::unit(unit, book, target);
    let name = format!("{}.service", book::service_name(unit));
    if translation.units.is_empty() && target.engine == Engine::Sampan && translate::is_unit_name(&name) {
        translation.units.push(stub::service(unit, &name, &translation.findings));
    }
    outcome.lost |= translation.units.is_empty();
    for service in translation.units {
        if let Some(owner) = owners.get(&service.name) {
            let finding = collision(unit, owner, &service.name, target.engine);
            translation.findings.push(finding);
            match target.engine {
                Engine::Sampan => {
                    outcome.lost = true;
                    continue;
                }
                Engine::Podman => outcome.units.retain(|other| other.name != service.name),
            }
        }
        owners.insert(service.name.clone(), unit.path.clone());
        let (links, refused) = install::links(&service, unit);
        translation.findings.extend(refused);
        let text = service.text(&["Automatically generated by sampan-generator"]);
        outcome.units.push(GeneratedUnit { name: service.name, text, links, source: unit.path.clone() });
    }
    outcome.diagnostics.append(&mut translation.findings);
}

/// Two files become the same unit: for sampan the first stays, Podman's Quadlet writes the last.
fn collision(unit: &UnitFile, owner: &std::path::Path, name: &str, engine: Engine) -> Diagnostic {
    let (severity, lost) = match engine {
        Engine::Sampan => (Severity::Error, "this file"),
        Engine::Podman => (Severity::Warning, "that one"),
    };
    let reason = format!("{} becomes {name} as well, so {lost} is left out", owner.display());
    unit.diagnose(severity, reason).help("rename one of the files, or give it another ServiceName=")
}
