//! Resource control: keys that are directives of the service, which systemd acts on.

use super::Translator;
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::{Emit, Key, container};

impl Translator<'_> {
    /// Whether `[Service]` sets the directive that the key stands for. Then only that one counts, or
    /// the limit that is in force would depend on who of systemd and the runtime spoke last.
    pub(super) fn is_overridden(&mut self, key: &Key) -> bool {
        let Some(directive) = directive(key).filter(|_| self.engine() == Engine::Sampan) else {
            return false;
        };
        let unit = self.unit;
        let Some(counts) = unit.last("Service", directive) else { return false };
        let reason = format!("{}= has no effect: {directive}={} in [Service] counts", key.name, counts.value);
        let diagnostic = self.at(&rules::OVERRIDDEN_KEY, key, Severity::Warning, reason);
        self.note(diagnostic.help("remove one of the two"));
        true
    }
}

/// The directive of systemd.resource-control(5) that a key becomes, be it alone or beside an option.
fn directive(key: &Key) -> Option<&'static str> {
    match key.emit {
        Emit::Service(directive) => Some(directive),
        _ if std::ptr::eq(key, &container::MEMORY) => Some("MemoryMax"),
        _ if std::ptr::eq(key, &container::PIDS_LIMIT) => Some("TasksMax"),
        _ => None,
    }
}
