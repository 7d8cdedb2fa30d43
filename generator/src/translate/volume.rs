//! `.volume`: a named volume.

use super::Translator;
use crate::command::CommandLine;
use crate::diagnostic::rules;
use crate::keys::volume::*;

impl Translator<'_> {
    pub(super) fn volume(&mut self) {
        let name = crate::book::resource_name(self.unit, "").unwrap_or_default();
        let mut create = self.base().with(["volume", "create", "--ignore"]);
        self.options(&mut create);
        let options = if self.text(&DRIVER) == Some("image") {
            self.image_option()
        } else {
            self.mount_options(&mut create)
        };
        if let Some(options) = options {
            create.flag("--opt", options);
        }
        self.further_arguments(&mut create);
        create.word(name.as_str());
        self.oneshot(&create, true);
        self.makes(&name);
    }

    /// The image that a volume with `Driver=image` shows.
    fn image_option(&mut self) -> Option<String> {
        if self.text(&IMAGE).is_none() {
            self.fail_at(
                &rules::MISSING_COMPANION,
                &DRIVER,
                "Driver=image needs Image=",
                "add Image= with the image to show",
            );
        }
        self.image_source(&IMAGE).map(|image| format!("image={image}"))
    }

    /// What is mounted as the volume, and how.
    fn mount_options(&mut self, create: &mut CommandLine) -> Option<String> {
        let mut options = Vec::new();
        options.extend(self.number(&USER).map(|uid| format!("uid={uid}")));
        options.extend(self.number(&GROUP).map(|gid| format!("gid={gid}")));
        if let Some(copy) = self.boolean(&COPY) {
            create.flag("--opt", if copy { "copy" } else { "nocopy" });
        }
        let device = self.text(&DEVICE);
        if let Some(device) = device {
            create.flag("--opt", format!("device={device}"));
        }
        match (self.text(&TYPE), device) {
            (Some(kind), Some(device)) => {
                create.flag("--opt", format!("type={kind}"));
                if kind == "bind" {
                    self.service.add("Unit", "RequiresMountsFor", self.engine().mount_path(device));
                }
            }
            (Some(_), None) => self.fail_at(
                &rules::MISSING_COMPANION,
                &TYPE,
                "Type= is set without Device=",
                "add Device= with what is to be mounted",
            ),
            (None, _) => {}
        }
        options.extend(self.text(&OPTIONS).map(str::to_owned));
        (!options.is_empty()).then(|| format!("o={}", options.join(",")))
    }
}
