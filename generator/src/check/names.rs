//! Names that two files give to what they make.

use super::Findings;
use super::scene::{Scene, View};
use crate::diagnostic::{Severity, rules};
use crate::keys::UnitType;
use std::collections::HashMap;

/// The name of a container, pod, network or volume belongs to one file.
pub(super) fn same_name(scene: &Scene<'_>, findings: &mut Findings) {
    let mut taken: HashMap<(&str, &str), View<'_, '_>> = HashMap::new();
    for view in scene.views().filter(|view| !view.is_template()) {
        let (sort, key) = match view.unit.kind {
            // Containers and pods share one space of names, podman-pod-create(1).
            UnitType::Container => ("container", "ContainerName"),
            UnitType::Pod => ("container", "PodName"),
            UnitType::Network => ("network", "NetworkName"),
            UnitType::Volume => ("volume", "VolumeName"),
            _ => continue,
        };
        let Some(name) = view.resource() else { continue };
        let Some(other) = taken.insert((sort, name), view) else { continue };
        let severity = if sort == "container" { Severity::Error } else { Severity::Warning };
        let what = match (sort, other.unit.kind == view.unit.kind) {
            ("container", true) => "the one that starts later removes the other",
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
