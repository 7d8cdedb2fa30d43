//! Secrets: credentials of the service, which systemd hands over (systemd.exec(5), "CREDENTIALS").

use super::Translator;
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::container::SECRET;

/// The directives of `[Service]` that name a credential before a colon.
const CREDENTIALS: [&str; 4] =
    ["LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"];

impl Translator<'_> {
    /// Asks systemd for each secret that `[Service]` has no credential for: systemd looks for its name
    /// in `/etc/credstore`, `/run/credstore` and `/usr/lib/credstore`. Podman has a store of its own.
    pub(super) fn credentials(&mut self) {
        if self.engine() == Engine::Podman {
            return;
        }
        for secret in self.list(&SECRET) {
            let name = secret.text.split(',').next().unwrap_or_default();
            if !is_name(name) {
                let reason = format!("\"{name}\" is no name of a secret");
                let diagnostic = secret.place.diagnose(&rules::BAD_SECRET, Severity::Error, reason);
                self.note(diagnostic.help("write NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]; a name has letters, digits, dots, dashes and underscores"));
            } else if !self.has_credential(name) {
                self.service.add("Service", "LoadCredential", name);
            }
        }
    }

    /// Whether the service gets a credential of this name without our doing.
    fn has_credential(&self, name: &str) -> bool {
        let named = CREDENTIALS.iter().any(|directive| {
            self.service
                .list("Service", directive)
                .iter()
                .any(|value| value.split(':').next().is_some_and(|own| own == name))
        });
        let imported = || {
            self.service.list("Service", "ImportCredential").iter().any(|value| {
                let glob = value.split(':').next().unwrap_or_default();
                match glob.split_once('*') {
                    Some((start, _)) => name.starts_with(start),
                    None => glob == name,
                }
            })
        };
        named || imported()
    }
}

/// A name that is a file's name and holds nothing that `LoadCredential=` gives a meaning to. It may hold
/// specifiers.
fn is_name(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '%' | '@');
    !name.is_empty() && name.chars().all(allowed) && !name.starts_with('.')
}
