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
//! 5. [`background`] writes the units and the links of `[Install]`, many of them beside the
//!    translation of the next.
//!
//! [`generate`] is all of that but the writing; [`check`] is the same for people who only want to
//! know what is wrong, and looks at more than the generator has time for. The crate needs no network,
//! no D-Bus and no `/var`, as systemd.generator(7) demands, and its output depends on its input alone.

#![forbid(unsafe_code)]

pub mod background;
mod book;
pub mod check;
mod command;
pub mod diagnostic;
mod engine;
pub mod format;
mod install;
pub mod keys;
mod load;
mod neighbour;
mod output;
mod overlay;
pub mod regular;
pub mod search;
pub mod service;
pub mod settings;
mod specifiers;
mod stub;
pub mod syntax;
mod translate;
pub mod unit;
pub mod written;

pub use diagnostic::{Diagnostic, Rule, Severity};
pub use engine::{Engine, UnknownEngine};
pub use install::Link;
pub use overlay::Overlay;
pub use search::{Environment, Root};

use book::Book;
use diagnostic::rules;
use keys::UnitType;
use load::Loaded;
use std::collections::HashMap;
use std::path::Path;
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
    /// Texts that take the place of files on disk; the generator itself has none.
    pub overlay: Overlay,
}

/// One unit that is ready to be written.
#[derive(Clone, Copy, Debug)]
pub struct GeneratedUnit<'a> {
    /// Its file name, such as `web.service`.
    pub name: &'a str,
    /// Its text.
    pub text: &'a str,
    /// The links that its `[Install]` section asks for.
    pub links: &'a [Link],
    /// The Quadlet file that it comes from.
    pub source: &'a Path,
}

/// What came of the files.
#[derive(Debug, Default)]
pub struct Outcome {
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

/// Translates all files below the roots and gives each unit to `take` as soon as it is ready.
pub fn generate(options: &Options, take: &mut dyn FnMut(GeneratedUnit<'_>)) -> Outcome {
    let found = search::walk(&options.roots, &options.overlay);
    let mut loaded = load::load(found, options.engine, &options.overlay);
    loaded.files.sort_by_key(|file| order(file.kind));
    let diagnostics = std::mem::take(&mut loaded.notes);
    let book = Book::new(loaded.units(), options.engine);
    let mut generation = Generation {
        target: Target { engine: options.engine, user: options.user },
        owners: owners(&loaded, &book),
        book,
        text: String::new(),
        outcome: Outcome { diagnostics, lost: false },
    };
    generation.outcome.lost = generation.outcome.has_errors();
    for unit in loaded.units() {
        generation.one(&unit, take);
    }
    generation.outcome
}

/// Which file each service is made of, where several want to: for sampan the first, for Podman's
/// Quadlet the last, which overwrites the others.
fn owners<'a>(loaded: &'a Loaded, book: &Book) -> HashMap<String, &'a Path> {
    let mut owners = HashMap::with_capacity(loaded.files.len());
    for file in &loaded.files {
        let Some(card) = book.get(&file.name) else { continue };
        let owner = owners.entry(card.unit()).or_insert(file.path());
        if loaded.engine == Engine::Podman {
            *owner = file.path();
        }
    }
    owners
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

/// The files that are being translated.
struct Generation<'a> {
    target: Target,
    book: Book,
    owners: HashMap<String, &'a Path>,
    /// The text of the unit at hand; one buffer for all of them.
    text: String,
    outcome: Outcome,
}

impl Generation<'_> {
    /// Translates one file into its units, or into a stub service that says what is wrong.
    fn one(&mut self, unit: &UnitFile<'_>, take: &mut dyn FnMut(GeneratedUnit<'_>)) {
        let sampan = self.target.engine == Engine::Sampan;
        let mut name = self.book.get(unit.name).map(book::Card::unit).unwrap_or_default();
        if sampan && !translate::is_unit_name(&name) {
            name = book::default_service_name(unit) + ".service";
        }
        let mut translation = translate::unit(unit, &mut self.book, self.target);
        let companions = translation.units.iter().skip(1).map(|companion| &companion.name);
        let taken = companions.filter_map(|name| Some((name, *self.owners.get(name)?))).next();
        if let Some((companion, owner)) = taken {
            translation.findings.push(companion_collision(unit, owner, companion));
            translation.units.clear();
        }
        if translation.units.is_empty() && sampan && translate::is_unit_name(&name) {
            translation.units.push(stub::service(unit, &name, &translation.findings));
        }
        self.outcome.lost |= translation.units.is_empty();
        if let Some(owner) = self.owners.get(&name).filter(|owner| **owner != unit.path) {
            translation.findings.push(collision(unit, owner, &name, self.target.engine));
            self.outcome.lost |= sampan;
            translation.units.clear();
        }
        for service in translation.units {
            let (links, refused) = install::links(&service, unit);
            translation.findings.extend(refused);
            service.print("Automatically generated by sampan-generator", &mut self.text);
            take(GeneratedUnit { name: &service.name, text: &self.text, links: &links, source: unit.path });
        }
        self.outcome.diagnostics.append(&mut translation.findings);
    }
}

/// Another file becomes the same unit, and this one is left out.
fn collision(unit: &UnitFile<'_>, owner: &Path, name: &str, engine: Engine) -> Diagnostic {
    let severity = match engine {
        Engine::Sampan => Severity::Error,
        Engine::Podman => Severity::Warning,
    };
    let reason = format!("{} becomes {name} as well, so this file is left out", owner.display());
    unit.diagnose(&rules::SAME_SERVICE, severity, reason)
        .help("rename one of the files, or give it another ServiceName=")
}

/// Another file becomes a unit that this one's service needs beside it.
fn companion_collision(unit: &UnitFile<'_>, owner: &Path, name: &str) -> Diagnostic {
    let reason = format!("{} becomes {name}, which goes with the service of this file", owner.display());
    unit.diagnose(&rules::SAME_SERVICE, Severity::Error, reason)
        .help("rename one of the files, or give it another ServiceName=")
}
