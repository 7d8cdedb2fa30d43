//! Turns a Quadlet file into the systemd service that does what it says.
//!
//! [`unit`] is the way in: it copies the file's own sections, translates what every kind of file
//! has in common, and hands over to the kind's own file. Each of those reads as a list of steps;
//! keys that are simply options need no step, because [`Translator::options`] walks the key table.
//! What is wrong before any key is looked at is in [`check`], how values are read in [`read`], what
//! other files are meant in [`references`].
//!
//! A mistake doesn't stop a translation: it is noted and the rest is looked at too, so that a user
//! sees all of them at once.

mod activation;
mod artifact;
mod build;
mod check;
mod container;
mod image;
mod kube;
mod network;
mod paths;
mod pod;
mod read;
mod references;
mod resources;
mod secrets;
mod users;
mod volume;

pub(crate) use check::is_unit_name;

use crate::book::{Book, Card};
use crate::command::CommandLine;
use crate::diagnostic::{Diagnostic, Findings, Rule, Severity, rules};
use crate::engine::Engine;
use crate::keys::{Emit, Key, Kind, UnitType, container as container_keys, index, quadlet};
use crate::service::Service;
use crate::syntax::words;
use crate::unit::{Entry, UnitFile};

/// For whom units are written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The engine that runs them.
    pub(crate) engine: Engine,
    /// Whether a user's systemd runs them.
    pub(crate) user: bool,
}

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Translation {
    /// The units; the first is the service. Empty if the file can't be translated.
    pub(crate) units: Vec<Service>,
    /// What is wrong with the file.
    pub(crate) findings: Vec<Diagnostic>,
}

/// Translates one file, and notes in the book what others may need to know of it.
pub(crate) fn unit(unit: &UnitFile<'_>, book: &mut Book, target: Target) -> Translation {
    let name = book.get(unit.name).map(Card::unit).unwrap_or_default();
    let mut findings = Findings::default();
    findings.extend(unit.mistakes.iter().cloned());
    let mut translator = Translator {
        unit,
        given: Given::new(unit),
        book,
        target,
        service: Service::new(name),
        more: Vec::new(),
        findings,
    };
    if unit.sections.is_empty() && translator.has_failed() {
        return translator.finish(); // nothing could be read at all
    }
    translator.check();
    translator.copy_sections();
    translator.dependencies();
    translator.common();
    match unit.kind {
        UnitType::Container => translator.container(),
        UnitType::Network => translator.network(),
        UnitType::Volume => translator.volume(),
        UnitType::Image => translator.image(),
        UnitType::Build => translator.build(),
        UnitType::Pod => translator.pod(),
        UnitType::Kube => translator.kube(),
        UnitType::Artifact => translator.artifact(),
    }
    translator.finish()
}

/// The assignments in a file's own section, looked up in the table.
#[derive(Debug)]
struct Given<'a> {
    /// In the order of the file; without a key where the table knows none of that name.
    assignments: Vec<(Option<&'static Key>, &'a Entry<'a>)>,
    /// The last assignment of each row.
    last: Vec<Option<&'a Entry<'a>>>,
}

impl<'a> Given<'a> {
    fn new(unit: &'a UnitFile<'a>) -> Self {
        let (keys, rows) = (unit.kind.keys(), index(unit.kind));
        let entries = unit.section(unit.kind.section()).map_or(&[][..], |section| &section.entries);
        let mut assignments = Vec::with_capacity(entries.len());
        let mut last = vec![None; keys.len()];
        for entry in entries {
            let key = rows.get(&entry.key).map(|row| keys[row]);
            assignments.push((key, entry));
            key.into_iter().for_each(|key| last[key.row] = Some(entry));
        }
        Self { assignments, last }
    }
}

/// A file that is being translated.
struct Translator<'a> {
    unit: &'a UnitFile<'a>,
    given: Given<'a>,
    book: &'a mut Book,
    target: Target,
    service: Service,
    more: Vec<Service>,
    findings: Findings,
}

impl Translator<'_> {
    fn engine(&self) -> Engine {
        self.target.engine
    }

    /// Notes a finding.
    fn note(&mut self, diagnostic: Diagnostic) {
        self.findings.push(diagnostic);
    }

    /// Notes an error about the unit as a whole.
    fn fail(&mut self, rule: &'static Rule, reason: impl Into<String>, help: impl Into<String>) {
        let diagnostic = self.unit.diagnose(rule, Severity::Error, reason).help(help);
        self.findings.push(diagnostic);
    }

    /// A diagnostic at the last assignment of a key, or about the unit as a whole.
    fn at(
        &self,
        rule: &'static Rule,
        key: &Key,
        severity: Severity,
        reason: impl Into<String>,
    ) -> Diagnostic {
        match self.last(key) {
            Some(entry) => entry.place().diagnose(rule, severity, reason),
            None => self.unit.diagnose(rule, severity, reason),
        }
    }

    /// Notes an error at the last assignment of a key.
    fn fail_at(
        &mut self,
        rule: &'static Rule,
        key: &Key,
        reason: impl Into<String>,
        help: impl Into<String>,
    ) {
        let diagnostic = self.at(rule, key, Severity::Error, reason).help(help);
        self.note(diagnostic);
    }

    fn has_failed(&self) -> bool {
        self.findings.has_errors()
    }

    fn finish(mut self) -> Translation {
        let failed = self.has_failed();
        if failed && !self.engine().knows_resource_early(self.unit.kind) {
            self.book.get_mut(self.unit.name).map(|card| card.resource.take());
        }
        let mut units = Vec::new();
        if !failed {
            units.push(self.service);
            units.append(&mut self.more);
        }
        Translation { units, findings: self.findings.into_sorted(self.unit.path) }
    }

    /// The service starts with all sections of the file; those that systemd doesn't know are put
    /// aside under an `X-` name.
    fn copy_sections(&mut self) {
        let unit = self.unit;
        for section in &unit.sections {
            let assignments = section.entries.iter().map(|entry| (&*entry.key, &*entry.value));
            if [unit.kind.section(), quadlet::DEFAULT_DEPENDENCIES.section].contains(&&*section.name) {
                self.service.put_aside(&section.name, assignments);
            } else {
                assignments.for_each(|(key, value)| self.service.add(&section.name, key, value));
            }
        }
    }

    /// What every service gets: it waits for the network, names its source and needs the storage.
    fn common(&mut self) {
        let waits = self.boolean(&quadlet::DEFAULT_DEPENDENCIES).unwrap_or(true);
        if let Some(online) = self.engine().network_online(self.target.user).filter(|_| waits) {
            self.service.prepend("Unit", &[("Wants", online), ("After", online)]);
        }
        let path = self.unit.path.to_string_lossy();
        self.service.add("Unit", "SourcePath", words::literal(&path));
        self.service.add("Unit", "RequiresMountsFor", self.engine().storage());
    }

    /// The program with the options that stand before its subcommand.
    fn base(&mut self) -> CommandLine {
        let mut command = CommandLine::new(self.engine().program());
        if let Some(key) = self.key(container_keys::CONTAINERS_CONF_MODULE.name) {
            self.values(key).iter().for_each(|module| command.joined(&["--module=", module]));
        }
        if let Some(key) = self.key(container_keys::GLOBAL_ARGS.name) {
            command.words(self.values(key));
        }
        command
    }

    /// The row of a key in the table of this kind of file.
    fn key(&self, name: &str) -> Option<&'static Key> {
        index(self.unit.kind).get(name).map(|row| self.unit.kind.keys()[row])
    }

    /// Adds every key whose row in the table says which option it becomes.
    fn options(&mut self, command: &mut CommandLine) {
        for key in self.unit.kind.keys() {
            let is_given = self.given.last[key.row].is_some();
            if !is_given || self.is_overridden(key) || matches!(key.emit, Emit::Own(_)) {
                continue;
            }
            if key.kind == Kind::Boolean {
                let Some(on) = self.boolean(key) else { continue };
                match key.emit {
                    Emit::Flag(flag) => command.switch(flag, on),
                    Emit::WhenTrue(words) if on => command.words(words),
                    _ => {}
                }
                continue;
            }
            for value in self.values(key) {
                match key.emit {
                    Emit::Flag(flag) => command.flag(flag, value),
                    Emit::Joined(flag) => command.joined(&[flag, "=", &value]),
                    Emit::Prefixed(flag, prefix) => {
                        command.word(flag);
                        command.joined(&[prefix, &value]);
                    }
                    Emit::Service(directive) => {
                        self.service.add("Service", directive, key.shape.directive(&value));
                    }
                    Emit::WhenTrue(_) | Emit::Own(_) => {}
                }
            }
        }
    }

    /// Adds `PodmanArgs=`, which comes behind all other options.
    fn further_arguments(&mut self, command: &mut CommandLine) {
        if let Some(key) = self.key(container_keys::PODMAN_ARGS.name) {
            command.words(self.values(key));
        }
    }

    /// A service that does one thing and is then taken for running, as networks and volumes are.
    fn oneshot(&mut self, command: &CommandLine, remain: bool) {
        self.service.add("Service", "ExecStart", command.value());
        self.service.set_default("Service", "SyslogIdentifier", "%N");
        self.service.set_default("Service", "Type", "oneshot");
        if remain {
            self.service.set_default("Service", "RemainAfterExit", "yes");
        }
    }

    /// Notes the name of what the unit makes.
    fn makes(&mut self, resource: &str) {
        if let Some(card) = self.book.get_mut(self.unit.name) {
            card.resource = Some(resource.to_owned());
        }
    }

    /// `KillMode=` must reach the whole control group, or a half-made container stays behind.
    fn kill_mode(&mut self) {
        match self.service.last("Service", "KillMode") {
            None => self.service.add("Service", "KillMode", "mixed"),
            Some("mixed" | "control-group") => {}
            Some(mode) => {
                let reason = format!("KillMode={mode} would leave processes of the container behind");
                self.fail_service(
                    &rules::KILL_MODE,
                    "KillMode",
                    reason,
                    "remove it, or write KillMode=mixed or KillMode=control-group",
                );
            }
        }
    }

    /// Whether `Type=` is oneshot; only that and notify are possible.
    fn is_oneshot(&mut self) -> bool {
        match self.service.last("Service", "Type") {
            None | Some("notify") => false,
            Some("oneshot") => true,
            Some(kind) => {
                let reason = format!("Type={kind} is not possible for a container");
                self.fail_service(
                    &rules::SERVICE_TYPE,
                    "Type",
                    reason,
                    "remove it (the default is notify), or write Type=oneshot for a command that ends",
                );
                false
            }
        }
    }

    /// Notes an error at the last assignment of a key in `[Service]`.
    fn fail_service(&mut self, rule: &'static Rule, key: &str, reason: String, help: &str) {
        match self.unit.last("Service", key) {
            Some(entry) => {
                let diagnostic = entry.place().diagnose(rule, Severity::Error, reason).help(help);
                self.note(diagnostic);
            }
            None => self.fail(rule, reason, help),
        }
    }
}
