//! `[Unit]`, `[Service]` and `[Install]`: directives that don't exist, and values that systemd would
//! ignore.

use super::Findings;
use super::scene::{Value, View};
use crate::diagnostic::{Severity, rules, suggest};
use crate::keys::UnitType;
use crate::keys::systemd::{self, Directive};
use crate::translate::is_unit_name;
use crate::unit::{Entry, Section};

/// The systemd of Rocky and RHEL 9, the oldest that is supported.
const OLDEST: u16 = 252;

/// The directives of the sections that systemd reads.
pub(super) fn directives(view: &View<'_, '_>, findings: &mut Findings) {
    for section in &view.unit.sections {
        let Some(directives) = systemd::section(&section.name) else { continue };
        for entry in &section.entries {
            match systemd::find(&section.name, &entry.key) {
                Some(directive) => known(section, entry, directive, findings),
                None if entry.key.starts_with("X-") => {}
                None => unknown(section, entry, directives, findings),
            }
        }
    }
}

fn unknown(section: &Section<'_>, entry: &Entry<'_>, directives: &[Directive], findings: &mut Findings) {
    let name = &section.name;
    let reason = format!("unknown key \"{}\" in [{name}], systemd ignores it", entry.key);
    let diagnostic = entry.key_place().diagnose(&rules::UNKNOWN_KEY, Severity::Warning, reason);
    let elsewhere = systemd::section_of(&entry.key)
        .or_else(|| crate::keys::keys().find(|key| key.name == entry.key).map(|key| key.section));
    let current = directives.iter().filter(|directive| directive.instead.is_none());
    findings.push(match elsewhere {
        Some(other) => diagnostic.help(format!("\"{}\" is a key of [{other}]", entry.key)),
        None => match suggest(&entry.key, current.map(|directive| directive.name)) {
            Some(meant) => diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant),
            None => diagnostic.help(format!("remove it, or call it X-{}", entry.key)),
        },
    });
}

fn known(section: &Section<'_>, entry: &Entry<'_>, directive: &Directive, findings: &mut Findings) {
    if let Some(instead) = directive.instead {
        let reason = format!("{}= in [{}] is obsolete", entry.key, section.name);
        let diagnostic = entry.key_place().diagnose(&rules::DEPRECATED_KEY, Severity::Warning, reason);
        findings.push(match instead {
            "" => diagnostic.help("remove it"),
            instead => diagnostic.help(format!("write {instead}= instead")),
        });
    }
    if directive.since > OLDEST {
        let reason = format!("{}= needs systemd {}; an older one ignores it", entry.key, directive.since);
        let diagnostic = entry.key_place().diagnose(&rules::NEWER_SYSTEMD, Severity::Note, reason);
        findings.push(diagnostic.help("\"systemctl --version\" tells which one the host has"));
    }
    if directive.value.is_single()
        && section.last(&entry.key).is_some_and(|last| last.follows_in_file(entry) && !last.value.is_empty())
        && !entry.value.is_empty()
    {
        let reason = format!("this {}= has no effect: the last one in the file counts", entry.key);
        findings.push(
            entry
                .key_place()
                .diagnose(&rules::REPEATED_KEY, Severity::Warning, reason)
                .help("remove one of them"),
        );
    }
    value(entry, directive, findings);
}

fn value(entry: &Entry<'_>, directive: &Directive, findings: &mut Findings) {
    if directive.value.fits(&entry.value) {
        return;
    }
    let rule = match directive.value {
        systemd::Value::Boolean => &rules::BAD_BOOLEAN,
        systemd::Value::Seconds => &rules::BAD_DURATION,
        systemd::Value::Memory => &rules::BAD_SIZE,
        systemd::Value::Signal => &rules::BAD_SIGNAL,
        systemd::Value::Number | systemd::Value::Percent | systemd::Value::Weight => &rules::BAD_NUMBER,
        _ => &rules::BAD_CHOICE,
    };
    let reason = format!("\"{}\" is no value of {}=, systemd ignores it", entry.value, entry.key);
    let diagnostic = entry.place().diagnose(rule, Severity::Warning, reason);
    let fix = match directive.value {
        systemd::Value::Choice(words) => suggest(&entry.value, words.iter().copied()).map(str::to_owned),
        systemd::Value::Memory => {
            let upper = entry.value.to_uppercase();
            let upper = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
            directive.value.fits(upper).then(|| upper.to_owned())
        }
        _ => None,
    };
    findings.push(match fix {
        Some(fix) => diagnostic
            .help(format!("write {fix}; {}= takes {}", entry.key, directive.value.describe()))
            .fix(fix),
        None => diagnostic.help(format!("write {}", directive.value.describe())),
    });
}

/// The extensions of units, systemd.unit(5).
const UNITS: [&str; 11] = [
    "service",
    "socket",
    "device",
    "mount",
    "automount",
    "swap",
    "target",
    "path",
    "timer",
    "slice",
    "scope",
];

/// Dependencies must name units.
pub(super) fn dependencies(view: &View<'_, '_>, findings: &mut Findings) {
    for (section, directives) in [("Unit", systemd::UNIT), ("Install", systemd::INSTALL)] {
        for directive in directives.iter().filter(|directive| directive.value == systemd::Value::Units) {
            for name in view.words(section, directive.name) {
                dependency(view, section, directive.name, &name, findings);
            }
        }
    }
}

fn dependency(view: &View<'_, '_>, section: &str, key: &str, name: &Value<'_>, findings: &mut Findings) {
    let text = name.text.as_str();
    if section == "Unit" && UnitType::of(text).is_some() {
        if text.split_once("@.").is_some() && !text.contains("@%") && !view.is_template() {
            let reason = format!("\"{text}\" is a template: systemd can't start it without an instance");
            let help = format!("name an instance, such as {}", text.replace("@.", "@name."));
            findings
                .push(name.place.diagnose(&rules::TEMPLATE_REFERENCE, Severity::Warning, reason).help(help));
        }
        return;
    }
    let extension = text.rsplit_once('.').map(|(_, extension)| extension);
    if name.is_dynamic() || text.contains('/') {
        return; // systemd resolves it; a path is the generator's own concern
    }
    if extension.is_some_and(|extension| UNITS.contains(&extension)) && is_unit_name(text) {
        return;
    }
    let reason = format!("\"{text}\" is no name of a unit, systemd ignores it");
    let diagnostic = name.place.diagnose(&rules::BAD_DEPENDENCY, Severity::Warning, reason);
    if text.contains(',') {
        return findings.push(diagnostic.help("separate units by blanks"));
    }
    let known = view.scene.units.iter().find(|unit| unit.stem() == text && section == "Unit");
    findings.push(match (known, extension) {
        (Some(unit), _) => diagnostic.help(format!("write {key}={}", unit.name)).fix(unit.name),
        (None, Some(typo)) => match suggest(typo, UNITS) {
            Some(meant) => {
                let whole = format!("{}.{meant}", text.trim_end_matches(typo).trim_end_matches('.'));
                diagnostic.help(format!("did you mean \"{whole}\"?")).fix(whole)
            }
            None => diagnostic.help(format!("write its whole name, such as {text}.service")),
        },
        (None, None) if ["WantedBy", "RequiredBy", "UpheldBy"].contains(&key) => diagnostic
            .help(format!("write its whole name, such as {text}.target"))
            .fix(format!("{text}.target")),
        (None, None) => diagnostic.help(format!("write its whole name, such as {text}.service")),
    });
}

/// Variables in `[Service]`, which systemd reads by itself.
pub(super) fn environment(view: &View<'_, '_>, findings: &mut Findings) {
    for words in view.lines("Service", "Environment") {
        let Some(word) = words.iter().find(|word| !word.text.contains('=') && !word.is_dynamic()) else {
            continue;
        };
        let reason = format!("\"{}\" is no NAME=VALUE, systemd ignores it", word.text);
        let diagnostic = word.place.diagnose(&rules::BAD_ASSIGNMENT, Severity::Warning, reason);
        let help = "if it belongs to the word before, enclose both in quotes: Environment=\"NAME=a value\"";
        findings.push(diagnostic.help(help));
    }
}

/// What `[Install]` and `[Service]` say that can't come true.
pub(super) fn starting(view: &View<'_, '_>, findings: &mut Findings) {
    if view.is_template() && view.systemd("Install", "DefaultInstance").is_none() {
        for key in ["WantedBy", "RequiredBy", "UpheldBy"] {
            let Some(entry) = view.systemd("Install", key) else { continue };
            let name = view.unit.name;
            let reason = format!("{key}= of a template has no effect without DefaultInstance=");
            findings.push(
                entry.key_place().diagnose(&rules::TEMPLATE_INSTALL, Severity::Warning, reason).help(
                    format!(
                        "add DefaultInstance=, or link an instance: ln -s {name} {}",
                        name.replace("@.", "@one.")
                    ),
                ),
            );
        }
    }
    if let Some(entry) = view.systemd("Install", "Also") {
        let reason = "Also= has no effect: generated units are not enabled by systemctl";
        let diagnostic = entry.key_place().diagnose(&rules::NO_EFFECT, Severity::Warning, reason);
        findings.push(diagnostic.help("give the other file an [Install] section of its own"));
    }
    if view.scene.options.user {
        for word in view.words("Install", "WantedBy") {
            if ["multi-user.target", "graphical.target"].contains(&word.text.as_str()) {
                let reason =
                    format!("a user's systemd has no {}, so the service is never started", word.text);
                let diagnostic = word.place.diagnose(&rules::WRONG_TARGET, Severity::Warning, reason);
                findings.push(diagnostic.help("write WantedBy=default.target").fix("default.target"));
            }
        }
    }
    oneshot(view, findings);
}

/// systemd refuses a oneshot service that is to be started again when it has succeeded.
fn oneshot(view: &View<'_, '_>, findings: &mut Findings) {
    let makes_once =
        view.is(&[UnitType::Network, UnitType::Volume, UnitType::Image, UnitType::Build, UnitType::Artifact]);
    let is_oneshot = match view.systemd("Service", "Type") {
        Some(entry) => entry.value == "oneshot",
        None => makes_once,
    };
    let Some(entry) = view.systemd("Service", "Restart").filter(|_| is_oneshot) else { return };
    if ["always", "on-success"].contains(&&*entry.value) {
        let reason = format!("systemd refuses Restart={} for a service of Type=oneshot", entry.value);
        let diagnostic = entry.place().diagnose(&rules::ONESHOT_RESTART, Severity::Error, reason);
        findings.push(diagnostic.help("write Restart=on-failure").fix("on-failure"));
    }
}
