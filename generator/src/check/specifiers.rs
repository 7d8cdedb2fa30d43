//! Specifiers: systemd.unit(5), "Specifiers".

use super::Findings;
use super::scene::View;
use crate::diagnostic::{Severity, rules};
use crate::keys::{quadlet, systemd};
use crate::unit::Entry;

/// Those that systemd resolves in units.
const KNOWN: &str = "aAbBCdDEfgGhHiIjJlLmMnNopPqsStTuUvVwWyY%";
/// Those that stand for an absolute path.
const PATHS: &str = "CdDEhLsStTVyY";

/// Unknown specifiers, paths put together from two absolute ones, and instances without a template.
pub(super) fn specifiers(view: &View<'_, '_>, findings: &mut Findings) {
    let own = view.unit.kind.section();
    for (section, entry) in view.entries() {
        let is_read = section == own && view.key(&entry.key).is_some()
            || systemd::find(section, &entry.key).is_some() && section != "Install"
            || section == quadlet::DEFAULT_DEPENDENCIES.section;
        if is_read && entry.key != "ServiceName" {
            one(view, entry, findings);
        }
    }
}

fn one(view: &View<'_, '_>, entry: &Entry<'_>, findings: &mut Findings) {
    let value = &*entry.value;
    let mut at = 0;
    while let Some(found) = value[at..].find('%') {
        let start = at + found;
        let Some(specifier) = value[start + 1..].chars().next() else { return };
        at = start + 1 + specifier.len_utf8();
        let place = entry.part(start, at - start);
        if findings.is_full(&place.source.path, Severity::Warning) {
            return;
        }
        if specifier.is_ascii_alphabetic() && !KNOWN.contains(specifier) {
            let reason = format!("systemd has no specifier %{specifier}, so it is passed on as it stands");
            let diagnostic = place.diagnose(&rules::UNKNOWN_SPECIFIER, Severity::Warning, reason);
            findings.push(
                diagnostic
                    .help(format!("write %%{specifier} for these characters"))
                    .fix(format!("%%{specifier}")),
            );
        }
        let above = &value[..start];
        if PATHS.contains(specifier) && above.ends_with('/') && !above.ends_with("://") {
            let reason = format!(
                "%{specifier} is an absolute path by itself; with the \"/\" before it a wrong one comes out"
            );
            let place = entry.part(start - 1, at - start + 1);
            let diagnostic = place.diagnose(&rules::SLASH_BEFORE_SPECIFIER, Severity::Warning, reason);
            findings.push(diagnostic.help(format!("write %{specifier} without the \"/\"")));
        }
        if matches!(specifier, 'i' | 'I') && !view.unit.name.contains('@') && view.owns(&place.source.path) {
            let reason = format!("%{specifier} is empty: {} is no template", view.unit.name);
            let diagnostic = place.diagnose(&rules::NO_INSTANCE, Severity::Warning, reason);
            let name = format!("{}@.{}", view.unit.stem(), view.unit.kind.extension());
            findings
                .push(diagnostic.help(format!("call the file {name}, or write %N for the service's name")));
        }
    }
}
