//! `.image`: an image that is pulled.

use super::Translator;
use crate::diagnostic::rules;
use crate::keys::image::*;

impl Translator<'_> {
    pub(super) fn image(&mut self) {
        let mut pull = self.base().with(["image", "pull"]);
        self.options(&mut pull);
        self.further_arguments(&mut pull);
        match self.text(&IMAGE) {
            Some(image) => pull.word(image),
            None => self.fail(&rules::MISSING_KEY, "Image= is not set", "add Image= with the image to pull"),
        }
        self.oneshot(&pull, true);
        self.engine().fetch(&mut self.service);
        if let Some(name) = crate::book::resource_name(self.unit, "") {
            self.makes(&name);
        }
    }
}
