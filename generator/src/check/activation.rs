//! Containers on demand whose socket nobody puts into service.

use super::Findings;
use super::scene::View;
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;

/// Without `[Install]` the socket waits for `systemctl start`, which is seldom what is meant.
pub(super) fn activation(view: &View<'_, '_>, findings: &mut Findings) {
    if view.scene.options.engine == Engine::Podman || !view.is(&[UnitType::Container]) {
        return;
    }
    let Some(value) = view.text("Activation").filter(|value| value.text == "on-demand") else { return };
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
