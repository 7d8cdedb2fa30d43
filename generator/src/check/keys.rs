//! Keys of the file's own section, whatever their values mean.

use super::Findings;
use super::scene::View;
use crate::diagnostic::{Severity, rules};
use crate::keys::Kind;

/// Keys whose documentation calls them deprecated.
pub(super) fn deprecated(view: &View<'_, '_>, findings: &mut Findings) {
    for (_, entry) in view.entries().filter(|(section, _)| *section == view.unit.kind.section()) {
        let Some(key) = view.key(&entry.key).filter(|key| key.name != "VolatileTmp") else { continue };
        let Some(instead) = key.doc.strip_prefix("Deprecated, use ").and_then(|rest| rest.split('.').next())
        else {
            continue;
        };
        let reason = format!("{}= is deprecated", key.name);
        let diagnostic = entry.key_place().diagnose(&rules::DEPRECATED_KEY, Severity::Warning, reason);
        findings.push(diagnostic.help(format!("write {instead} instead")));
    }
}

/// An empty value forgets the values before it. Where there are none the line is unfinished.
pub(super) fn unfinished(view: &View<'_, '_>, findings: &mut Findings) {
    let Some(section) = view.unit.section(view.unit.kind.section()) else { return };
    for entry in section.entries.iter().filter(|entry| entry.value.is_empty()) {
        let place = entry.key_place();
        let Some(key) = view.key(&entry.key).filter(|key| key.kind != Kind::TextOrEmpty) else { continue };
        // In a drop-in it is for the file's own value.
        if place.source.path != view.unit.path || section.assignments(key.name).count() > 1 {
            continue;
        }
        let reason = format!("{}= has no value, and there is none that it could take back", key.name);
        let diagnostic = place.diagnose(&rules::EMPTY_VALUE, Severity::Warning, reason);
        findings.push(diagnostic.help("write the value, or remove the line"));
    }
}
