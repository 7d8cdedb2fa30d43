//! `.artifact`: an OCI artifact that is pulled.

use super::Translator;
use crate::diagnostic::rules;
use crate::keys::artifact::*;

impl Translator<'_> {
    pub(super) fn artifact(&mut self) {
        let mut pull = self.base().with(["artifact", "pull"]);
        self.options(&mut pull);
        self.further_arguments(&mut pull);
        match self.text(&ARTIFACT) {
            Some(artifact) => {
                pull.word(artifact);
                self.makes(artifact);
            }
            None => self.fail(
                &rules::MISSING_KEY,
                "Artifact= is not set",
                "add Artifact= with the artifact to pull",
            ),
        }
        self.oneshot(&pull, true);
        self.engine().fetch(&mut self.service);
    }
}
