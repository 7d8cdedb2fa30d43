//! `.build`: an image that is built.

use super::Translator;
use super::paths::{is_url, parent, starts_with_specifier};
use crate::diagnostic::rules;
use crate::keys::Key;
use crate::keys::UnitType;
use crate::keys::build::*;
use std::borrow::Cow;

impl Translator<'_> {
    pub(super) fn build(&mut self) {
        if self.values(&IMAGE_TAG).is_empty() {
            self.fail(
                &rules::MISSING_KEY,
                "ImageTag= is not set",
                "add ImageTag= with the name of the image to build",
            );
        }
        let mut build = self.base().with(["build"]);
        self.options(&mut build);
        self.networks(&NETWORK, &mut build);
        self.volumes(&VOLUME, &mut build);
        let context = self.working_directory(&SET_WORKING_DIRECTORY);
        let file = self.text(&FILE);
        if let Some(file) = file {
            build.flag("--file", file);
        }
        self.further_arguments(&mut build);
        let directory = self
            .service
            .last("Service", "WorkingDirectory")
            .filter(|directory| !directory.is_empty())
            .map(str::to_owned);
        match (context, directory, file) {
            (Some(context), ..) => build.word(context),
            (None, _, Some(file)) if starts_with_specifier(file) || file.starts_with('/') || is_url(file) => {
            }
            (None, Some(directory), _) => build.word(directory),
            (None, None, Some(_)) => {
                self.fail_at(
                    &rules::MISSING_COMPANION,
                    &FILE,
                    "a relative path in File= needs SetWorkingDirectory=",
                    "add SetWorkingDirectory=unit, or write an absolute path",
                );
            }
            (None, None, None) => {
                self.fail(
                    &rules::MISSING_KEY,
                    "neither SetWorkingDirectory= nor File= is set",
                    "add File= with the Containerfile, or SetWorkingDirectory= with the context",
                );
            }
        }
        self.oneshot(&build, false);
    }

    /// Sets the service's working directory from `SetWorkingDirectory=`, unless the file has its
    /// own, and returns the build context if the key names one.
    pub(super) fn working_directory(&mut self, key: &Key) -> Option<String> {
        let value = self.text(key)?;
        let kind = self.unit.kind;
        let mut context = None;
        let relative_to = match (value.to_ascii_lowercase().as_str(), kind) {
            ("yaml", UnitType::Kube) => {
                let yaml = self.values(&crate::keys::kube::YAML);
                if yaml.len() > 1 {
                    self.fail_at(
                        &rules::TOO_MANY_VALUES,
                        key,
                        "SetWorkingDirectory=yaml needs exactly one Yaml=",
                        "write SetWorkingDirectory=unit",
                    );
                }
                yaml.into_iter().next()
            }
            ("file", UnitType::Build) => {
                let file = self.text(&FILE).map(Cow::from);
                if file.is_none() {
                    self.fail_at(
                        &rules::MISSING_COMPANION,
                        key,
                        "SetWorkingDirectory=file needs File=",
                        "add File= with the Containerfile",
                    );
                }
                file
            }
            ("unit", _) => Some(self.own_path().into()),
            ("yaml" | "file", _) | (_, UnitType::Kube) => {
                let choices =
                    if kind == UnitType::Kube { "yaml or unit" } else { "file, unit, a path or a URL" };
                self.fail_at(
                    &rules::BAD_CHOICE,
                    key,
                    format!("SetWorkingDirectory={value} is not possible in a .{} file", kind.extension()),
                    format!("write {choices}"),
                );
                None
            }
            _ => {
                context = Some(value.to_owned());
                (!value.starts_with('/')).then(|| self.own_path().into())
            }
        };
        let remote = context.as_deref().is_some_and(is_url);
        if let Some(path) = relative_to.filter(|_| !remote) {
            if self.unit.text("Service", "WorkingDirectory").is_some_and(|own| !own.is_empty()) {
                return None;
            }
            let directory = parent(&self.absolute(&path));
            self.service.add("Service", "WorkingDirectory", directory);
        }
        context
    }
}
