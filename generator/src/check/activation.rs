//! Containers and pods on demand whose socket nobody puts into service, or that are up from the beginning.

use super::Findings;
use super::scene::View;
use crate::book::ON_DEMAND;
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;

/// Without `[Install]` the socket waits for `systemctl start`, which is seldom what is meant.
pub(super) fn activation(view: &View<'_, '_>, findings: &mut Findings) {
    if view.scene.options.engine == Engine::Podman || !view.is(&[UnitType::Container, UnitType::Pod]) {
        return;
    }
    starts_pod(view, findings);
    let Some(value) = view.text("Activation").filter(|value| value.text == ON_DEMAND) else { return };
    if view.starts_at_boot() {
        return;
    }
    let service =
        view.scene.book.get(view.unit.name).map(|card| card.service().to_owned()).unwrap_or_default();
    let reason = format!("nothing puts {service}.socket into service: the first connection is refused");
    let diagnostic = value.place.diagnose(&rules::ON_DEMAND, Severity::Warning, reason);
    findings.push(
        diagnostic.help("add [Install] with WantedBy=multi-user.target, or systemctl start the socket"),
    );
}

/// A container that starts at boot takes its pod with it, which is then not started on demand.
fn starts_pod(view: &View<'_, '_>, findings: &mut Findings) {
    let Some(pod) = view.text("Pod") else { return };
    let waits = view.scene.book.get(&pod.text).is_some_and(|card| card.on_demand);
    let wanted = ["WantedBy", "RequiredBy", "UpheldBy"].iter().find_map(|key| view.systemd("Install", key));
    if let Some(entry) = wanted.filter(|_| waits) {
        let reason = format!("this starts {} as well, which has Activation=on-demand", pod.text);
        let diagnostic = entry.place().diagnose(&rules::ON_DEMAND, Severity::Warning, reason);
        findings.push(diagnostic.help("remove it: the first connection starts the pod with its containers"));
    }
}
