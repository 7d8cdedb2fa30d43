//! Names of what files make: two that are the same, and names written where the file is meant.

use super::Findings;
use super::scene::{Scene, Value, View};
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;
use std::collections::HashMap;

/// The name of a container, pod, network or volume belongs to one file.
pub(super) fn same_name(scene: &Scene<'_>, findings: &mut Findings) {
    let mut taken: HashMap<(&str, &str), View<'_, '_>> = HashMap::new();
    // Under Podman containers and pods share one space of names, podman-pod-create(1).
    let pods = if scene.options.engine == Engine::Podman { "container" } else { "pod" };
    for view in scene.views().filter(|view| !view.is_template()) {
        let (sort, key) = match view.unit.kind {
            UnitType::Container => ("container", "ContainerName"),
            UnitType::Pod => (pods, "PodName"),
            UnitType::Network => ("network", "NetworkName"),
            UnitType::Volume => ("volume", "VolumeName"),
            _ => continue,
        };
        let Some(name) = view.resource() else { continue };
        let Some(other) = taken.insert((sort, name), view) else { continue };
        let severity = if ["container", "pod"].contains(&sort) { Severity::Error } else { Severity::Warning };
        let what = match (sort, other.unit.kind == view.unit.kind) {
            ("container" | "pod", true) => "the one that starts later removes the other",
            ("container", false) => "containers and pods can't share a name",
            _ => "both stand for the same, with the settings of the one that starts first",
        };
        let reason = format!("{} has the name \"{name}\" as well: {what}", other.unit.name);
        let diagnostic = match view.text(key) {
            Some(value) => value.place.diagnose(&rules::SAME_NAME, severity, reason),
            None => view.unit.diagnose(&rules::SAME_NAME, severity, reason),
        };
        findings.push(diagnostic.help(format!("choose another {key}=")));
    }
}

/// A network or volume that is named by itself, although a file makes it or one of that name is there:
/// the container gets another one than is meant, or the right one without waiting for it.
pub(super) fn by_name(view: &View<'_, '_>, findings: &mut Findings) {
    for value in view.values("Volume") {
        if let Some((source, _)) = value.text.split_once(':') {
            named(view, UnitType::Volume, source, &value, findings);
        }
    }
    for value in view.values("Network") {
        let name = value.text.split(':').next().unwrap_or_default();
        if !["host", "none", "bridge", "private"].contains(&name) {
            named(view, UnitType::Network, name, &value, findings);
        }
    }
}

fn named(view: &View<'_, '_>, kind: UnitType, name: &str, value: &Value<'_>, findings: &mut Findings) {
    if name.is_empty() || UnitType::of(name).is_some() {
        return;
    }
    let what = kind.section().to_lowercase();
    let mut files = view.scene.views().filter(|other| other.unit.kind == kind);
    let Some(file) = files.find(|other| other.resource() == Some(name) || other.unit.stem() == name) else {
        return;
    };
    let file_name = file.unit.name;
    let service = file.scene.book.get(file_name).map(crate::book::Card::unit);
    let waits = |word: &Value<'_>| word.text == file_name || Some(&word.text) == service.as_ref();
    if view.words("Unit", "After").iter().any(waits) {
        return; // so it is what is meant
    }
    let place = value.place.within(name);
    let warn = |reason| place.diagnose(&rules::NAME_INSTEAD_OF_FILE, Severity::Warning, reason);
    let help = format!("write {file_name} if that is meant");
    findings.push(match file.resource() {
        Some(made) if made == name => {
            let reason = format!("{file_name} makes this {what}, but the container does not wait for it");
            warn(reason).help(help).fix(file_name)
        }
        // No fix: who has used the other one would not find his data again.
        Some(made) => warn(format!("this is no {what} of {file_name}, which makes \"{made}\"")).help(help),
        None => return,
    });
}
