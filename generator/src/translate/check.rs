//! What is wrong with a file whatever its keys mean: names, sections, keys that don't exist or stand
//! twice, lines that were swallowed by the one above.

use super::Translator;
use crate::diagnostic::{Diagnostic, Severity, rules, suggest};
use crate::engine::Engine;
use crate::keys::{Emit, Key, UnitType, container as container_keys, index, quadlet, systemd};
use crate::unit::Entry;

impl Translator<'_> {
    /// Notes all of it.
    pub(super) fn check(&mut self) {
        self.check_names();
        self.check_keys();
        self.check_sections();
        self.check_service_users();
    }

    /// The service's name must be one that systemd takes, and nothing but a file name.
    fn check_names(&mut self) {
        let name = &self.service.name;
        if is_unit_name(name) {
            return;
        }
        let reason = format!("\"{name}\" is no valid name of a service");
        let help = "a service's name has letters, digits and : - _ . \\ @ only, and at most 255 of them";
        let service_name = &container_keys::SERVICE_NAME;
        match self.unit.last(self.unit.kind.section(), service_name.name) {
            Some(entry) => {
                let diagnostic =
                    entry.place().diagnose(&rules::BAD_SERVICE_NAME, Severity::Error, reason).help(help);
                self.note(diagnostic);
            }
            None => self.note(
                Diagnostic::whole(&rules::BAD_SERVICE_NAME, Severity::Error, self.unit.path, reason)
                    .help(format!("rename the file: {help}")),
            ),
        }
    }

    /// The keys of the file's own section and of `[Quadlet]`.
    fn check_keys(&mut self) {
        let unit = self.unit;
        let own = unit.kind.section();
        let rows = index(unit.kind);
        for at in 0..self.given.assignments.len() {
            let (key, entry) = self.given.assignments[at];
            match key {
                Some(key) if !self.engine().reads(key) => self.own_key(entry, key),
                Some(key) => self.repeated(entry, key),
                None => self.unknown(entry, own, unit.kind.keys()),
            }
            self.swallowed(entry, |name| rows.get(name).is_some());
        }
        if let Some(section) = unit.section(quadlet::DEFAULT_DEPENDENCIES.section) {
            for entry in &section.entries {
                if quadlet::KEYS.iter().all(|key| key.name != entry.key) {
                    self.unknown(entry, &section.name, quadlet::KEYS);
                }
            }
        }
    }

    /// A key that the section doesn't have. Podman's Quadlet refuses the file for it.
    fn unknown(&mut self, entry: &Entry<'_>, section: &str, keys: &[&Key]) {
        // Looking for what was meant is slow.
        if self.findings.is_full(self.engine().unknown_key()) {
            return self.findings.leave_out();
        }
        let reason = format!("unknown key \"{}\" in [{section}]", entry.key);
        let diagnostic = entry.key_place().diagnose(&rules::UNKNOWN_KEY, self.engine().unknown_key(), reason);
        self.note(
            match suggest(&entry.key, keys.iter().filter(|key| self.engine().reads(key)).map(|key| key.name))
            {
                Some(name) => diagnostic.help(format!("did you mean \"{name}\"?")).fix(name),
                None => diagnostic.help(elsewhere(&entry.key, section)),
            },
        );
    }

    /// A key of sampan's own, for which Podman's Quadlet refuses the file.
    fn own_key(&mut self, entry: &Entry, key: &Key) {
        let reason = format!("{}= is a key of sampan's own, which Podman doesn't know", key.name);
        let diagnostic = entry.key_place().diagnose(&rules::OWN_KEY, self.engine().unknown_key(), reason);
        self.note(diagnostic.help(match key.emit {
            Emit::Service(directive) if !entry.value.is_empty() && key.shape.fits(&entry.value) => {
                format!("write {directive}={} in [Service]", key.shape.directive(&entry.value))
            }
            _ => format!("write {} instead", key.equivalent()),
        }));
    }

    /// A key with one value that stands again further down in the same file, so that this one has
    /// no effect. An empty value is there to be overridden.
    fn repeated(&mut self, entry: &Entry<'_>, key: &Key) {
        if key.kind.repeats() || entry.value.is_empty() {
            return;
        }
        let last = self.given.last[key.row];
        if last.is_some_and(|last| last.follows_in_file(entry) && !last.value.is_empty()) {
            let reason = format!("this {}= has no effect: the last one in the file counts", key.name);
            let diagnostic = entry.key_place().diagnose(&rules::REPEATED_KEY, Severity::Warning, reason);
            self.note(diagnostic.help("remove one of them"));
        }
    }

    /// A line that looks like a key of its own but belongs to the value above, which ends in a
    /// backslash.
    fn swallowed(&mut self, entry: &Entry<'_>, is_key: impl Fn(&str) -> bool) {
        let mut folds = entry.folds().peekable();
        while let Some(at) = folds.next() {
            let end = folds.peek().copied().unwrap_or(entry.value.len());
            let Some((name, _)) = entry.value[at..end].split_once('=') else { continue };
            let name = name.trim_end();
            if is_key(name) {
                let reason = format!(
                    "this line belongs to the value of {}=, because the one above ends in a backslash",
                    entry.key
                );
                let diagnostic =
                    entry.part(at, name.len()).diagnose(&rules::SWALLOWED_LINE, Severity::Warning, reason);
                self.note(diagnostic.help("remove the backslash above if this is a key of its own"));
            }
        }
    }

    fn check_sections(&mut self) {
        let own = self.unit.kind.section();
        for section in &self.unit.sections {
            let name = &*section.name;
            if ["Unit", "Service", "Install", "Quadlet", own].contains(&name) || name.starts_with("X-") {
                continue;
            }
            // Looking for what was meant is slow.
            if self.findings.is_full(Severity::Warning) {
                self.findings.leave_out();
                continue;
            }
            let reason =
                format!("[{name}] has no meaning in a .{} file and is ignored", self.unit.kind.extension());
            let diagnostic = section.place.diagnose(&rules::UNKNOWN_SECTION, Severity::Warning, reason);
            self.findings.push(match suggest(name, [own, "Unit", "Service", "Install", "Quadlet"]) {
                Some(meant) => {
                    diagnostic.help(format!("did you mean \"[{meant}]\"?")).fix(format!("[{meant}]"))
                }
                None => diagnostic.help(format!("remove it, or call it [X-{name}]")),
            });
        }
    }

    /// `User=` and its kin in `[Service]` change the user that the engine runs as.
    fn check_service_users(&mut self) {
        if self.engine() == Engine::Sampan && self.unit.kind == UnitType::Container {
            return; // the container's root becomes that user
        }
        for key in ["User", "Group", "DynamicUser"] {
            let Some(entry) = self.unit.last("Service", key) else { continue };
            if matches!(&*entry.value, "" | "no" | "false" | "0" | "off") {
                continue;
            }
            let (severity, reason) = match self.engine() {
                Engine::Sampan => (
                    Severity::Error,
                    format!("{key}= in [Service] is not supported: the engine itself needs root"),
                ),
                Engine::Podman => (
                    Severity::Warning,
                    format!("{key}= in [Service] is not supported by Podman, at your own risk"),
                ),
            };
            let help = match self.unit.kind {
                UnitType::Container => {
                    "write User= in [Container] for the user in the container, UserNS= for the users that it is mapped to"
                }
                _ => "remove it",
            };
            let diagnostic = entry.key_place().diagnose(&rules::SERVICE_USER, severity, reason).help(help);
            self.findings.push(diagnostic);
        }
    }
}

/// What to say about an unknown key: perhaps it belongs to another section.
fn elsewhere(key: &str, section: &str) -> String {
    let systemd = systemd::section_of(key).filter(|other| *other != section);
    let quadlet =
        || crate::keys::keys().find(|row| row.name == key && row.section != section).map(|row| row.section);
    match systemd.or_else(quadlet) {
        Some(other) => format!("\"{key}\" is a key of [{other}]"),
        None => format!("[{section}] has no such key; remove it"),
    }
}

/// systemd's rule for the names of units (systemd.unit(5)); a name is also a file name.
pub(crate) fn is_unit_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, ':' | '-' | '_' | '.' | '\\' | '@');
    name.len() <= 255 && !name.starts_with("..") && name != ".service" && name.chars().all(allowed)
}
