//! References to other Quadlet files: networks, volumes, images, pods, and unit names in `[Unit]`.
//!
//! A reference adds the dependency on the other file's service and is replaced by the name of what
//! that service makes.

use super::{Translator, is_unit_name};
use crate::book::Card;
use crate::command::CommandLine;
use crate::diagnostic::{Diagnostic, Place, Severity, rules, suggest};
use crate::engine::Engine;
use crate::keys::references::DEPENDENCIES;
use crate::keys::{Key, UnitType};
use crate::specifiers::resolve;
use crate::syntax::words::{self, Escapes};
use crate::unit::unquoted;

/// Another file that this one names.
struct Referred {
    /// The file name of its service.
    unit: String,
    /// The name of what that makes, if it is known.
    resource: Option<String>,
}

impl Translator<'_> {
    /// Replaces Quadlet files in `[Unit]` by their services.
    pub(super) fn dependencies(&mut self) {
        let unit = self.unit;
        let Some(section) = unit.section("Unit") else { return };
        for key in DEPENDENCIES {
            let mut names = Vec::new();
            let mut translated = false;
            for entry in section.list(key) {
                for word in words::split(&entry.value, Escapes::Kept).words {
                    if UnitType::of(&word.text).is_none() {
                        names.push(word.text.into_owned());
                        continue;
                    }
                    translated = true;
                    match self.referred(&word.text) {
                        Some(referred) => names.push(referred.unit),
                        None => {
                            let place = entry.part(word.at, word.text.len());
                            let diagnostic = self.not_found(&place, &word.text);
                            self.note(diagnostic);
                        }
                    }
                }
            }
            if translated {
                self.service.remove("Unit", key);
                self.service.add("Unit", key, names.join(" "));
            }
        }
    }

    /// That no file of this name was read.
    fn not_found(&self, place: &Place<'_>, name: &str) -> Diagnostic {
        let reason = format!("there is no Quadlet file \"{name}\"");
        let place = place.within(name);
        let diagnostic = place.diagnose(&rules::MISSING_REFERENCE, Severity::Error, reason);
        match self.meant(name) {
            Some(meant) => {
                let diagnostic = diagnostic.help(format!("did you mean \"{meant}\"?"));
                if place.text() == name { diagnostic.fix(meant) } else { diagnostic }
            }
            None => diagnostic.help(format!("put {name} beside {}, or correct the name", self.unit.name)),
        }
    }

    /// The file that was probably meant: another one of the kind whose name without the extension is
    /// alike. With very many files nobody waits for that at boot.
    fn meant(&self, name: &str) -> Option<String> {
        const MOST: usize = 500;
        let (stem, extension) = name.rsplit_once('.')?;
        let alike = |file: &&str| *file != self.unit.name && UnitType::of(file) == UnitType::of(name);
        let mut others: Vec<_> = self.book.files().filter(alike).collect();
        if others.len() > MOST {
            return None;
        }
        others.sort_unstable();
        let stems = others.iter().filter_map(|file| file.rsplit_once('.')).map(|(stem, _)| stem);
        Some(format!("{}.{extension}", suggest(stem, stems)?))
    }

    /// The service of another file and what that makes. For sampan the name may be an instance of a
    /// template (`data@one.volume`, where there is `data@.volume`); Podman's Quadlet knows only files.
    fn referred(&self, file: &str) -> Option<Referred> {
        if let Some(card) = self.book.get(file) {
            return Some(Referred { unit: card.unit(), resource: card.resource.clone() });
        }
        let (stem, extension) = file.rsplit_once('.').filter(|_| self.engine() == Engine::Sampan)?;
        let (prefix, instance) = stem.split_once('@').filter(|(_, instance)| !instance.is_empty())?;
        let card = self.book.get(&format!("{prefix}@.{extension}"))?;
        let unit = format!("{}{instance}.service", Some(card.service()).filter(|name| name.ends_with('@'))?);
        if !is_unit_name(&unit.replace('%', "")) {
            return None;
        }
        let resource = card.resource.as_deref().map(|name| resolve(name, &unit));
        Some(Referred { unit, resource })
    }

    /// The name of what another file makes; adds the dependency on its service.
    fn resource(&mut self, place: &Place<'_>, file: &str, dependency: &str) -> Option<String> {
        let Some(Referred { unit, resource }) = self.referred(file) else {
            let diagnostic = self.not_found(place, file);
            self.note(diagnostic);
            return None;
        };
        if self.engine() == Engine::Sampan && file.contains("@.") && !self.unit.name.contains('@') {
            let reason = format!("{file} is a template, and this file is none");
            let diagnostic = place.diagnose(&rules::MISSING_REFERENCE, Severity::Error, reason);
            let instance = file.replacen("@.", "@NAME.", 1);
            self.note(diagnostic.help(format!("name one of its instances, as in {instance}")));
            return None;
        }
        self.service.add("Unit", dependency, unit.as_str());
        self.service.add("Unit", "After", unit.as_str());
        if resource.as_deref().is_none_or(str::is_empty) {
            let reason = format!("the name of what {file} makes is not known");
            let help = match UnitType::of(file) {
                Some(UnitType::Container) => {
                    "give that container a ContainerName= without specifiers other than %N"
                }
                _ => "that file has an error of its own: mend it first",
            };
            self.note(place.diagnose(&rules::UNKNOWN_RESOURCE, Severity::Error, reason).help(help));
            return None;
        }
        resource
    }

    /// Adds the networks to join.
    pub(super) fn networks(&mut self, key: &Key, command: &mut CommandLine) {
        for network in self.list(key) {
            let (name, options) = match network.text.split_once(':') {
                Some((name, options)) => (name, Some(options)),
                None => (&*network.text, None),
            };
            let joined = match UnitType::of(name) {
                Some(UnitType::Network) => {
                    self.resource(&network.place, name, "Requires").map(|resource| match options {
                        Some(options) => format!("{resource}:{options}"),
                        None => resource,
                    })
                }
                Some(UnitType::Container) => {
                    if options.is_some() {
                        let reason = "options are not possible when another container's network is joined";
                        let diagnostic =
                            network.place.diagnose(&rules::NETWORK_OPTIONS, Severity::Error, reason);
                        self.note(diagnostic.help(format!("write {}={name}", key.name)));
                    }
                    self.resource(&network.place, name, "Requires")
                        .map(|resource| format!("container:{resource}"))
                }
                _ => Some(network.text.to_string()),
            };
            if let Some(joined) = joined {
                command.flag("--network", joined);
            }
        }
    }

    /// Adds the volumes to mount.
    pub(super) fn volumes(&mut self, key: &Key, command: &mut CommandLine) {
        for volume in self.list(key) {
            let mut parts = volume.text.splitn(3, ':');
            let (first, second, options) = (parts.next().unwrap_or_default(), parts.next(), parts.next());
            let mount = match (first, second) {
                (destination, None) | ("", Some(destination)) => Some(destination.to_owned()),
                (source, Some(destination)) => {
                    let place = Place {
                        span: volume.place.span.start..volume.place.span.start + source.len(),
                        ..volume.place.clone()
                    };
                    self.storage_source(&place, source, false).map(|source| match options {
                        Some(options) => [&source, ":", destination, ":", options].concat(),
                        None => [&source, ":", destination].concat(),
                    })
                }
            };
            if let Some(mount) = mount {
                command.flag("-v", mount);
            }
        }
    }

    /// Where a mount comes from: a path, which must be mounted first, another file's volume, image
    /// or artifact, or a name.
    pub(super) fn storage_source(&mut self, place: &Place<'_>, source: &str, images: bool) -> Option<String> {
        let source = if source.starts_with('.') { self.absolute(source) } else { source.to_owned() };
        if source.starts_with('/') {
            self.service.add("Unit", "RequiresMountsFor", self.engine().mount_path(&source));
            return Some(source);
        }
        match UnitType::of(&source) {
            Some(UnitType::Volume | UnitType::Artifact) => self.resource(place, &source, "Requires"),
            Some(UnitType::Image) if images => self.resource(place, &source, "Requires"),
            _ => Some(source),
        }
    }

    /// The image's name; may be a `.image` or `.build` file.
    pub(super) fn image_source(&mut self, key: &Key) -> Option<String> {
        let image = self.text(key)?.to_owned();
        let place = self.unit.last(key.section, key.name)?.place();
        match UnitType::of(&image) {
            Some(UnitType::Image | UnitType::Build) => self.resource(&place, &image, "Requires"),
            _ => {
                self.check_image_name(&place, &image);
                Some(image)
            }
        }
    }

    /// A name without a registry means another image on another machine.
    fn check_image_name(&mut self, place: &Place<'_>, image: &str) {
        let is_id = image.starts_with("sha256:")
            || (image.len() == 64 && image.bytes().all(|b| b.is_ascii_hexdigit()));
        let qualified = image
            .split_once('/')
            .is_some_and(|(domain, _)| domain == "localhost" || domain.contains(['.', ':', '%', '$']));
        if !is_id && !qualified && !image.starts_with(['%', '$']) {
            let reason = format!("\"{image}\" does not say which registry the image is from");
            let diagnostic = place.diagnose(&rules::IMAGE_NOT_QUALIFIED, Severity::Warning, reason);
            let full = if image.contains('/') {
                format!("docker.io/{image}")
            } else {
                format!("docker.io/library/{image}")
            };
            self.note(diagnostic.help(format!("write the full name, such as {full}")));
        }
    }

    /// The pod that the container joins; the pod's service starts the container unless it's a
    /// template.
    pub(super) fn pod_membership(&mut self, key: &Key, start_with_pod: &Key, command: &mut CommandLine) {
        let unit = self.unit;
        let Some(pod) = self.text(key) else { return };
        let Some(entry) = unit.last(key.section, key.name) else { return };
        let place = entry.part(usize::from(unquoted(&entry.value) != entry.value), pod.len());
        if UnitType::of(pod) != Some(UnitType::Pod) {
            let meant = format!("{pod}.pod");
            let diagnostic =
                place.diagnose(&rules::BAD_POD, Severity::Error, format!("\"{pod}\" is not a .pod file"));
            return self.note(match self.book.get(&meant) {
                Some(_) => diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant),
                None => diagnostic.help("write the name of a .pod file, such as Pod=app.pod"),
            });
        }
        let Some(name) = self.resource(&place, pod, "BindsTo") else { return };
        command.flag("--pod", name);
        let starts =
            self.boolean(start_with_pod).unwrap_or(true) && !unit.stem().ends_with('@') && !self.has_failed();
        let service = self.service.name.clone();
        if self.book.get(pod).is_some_and(|card| card.on_demand) {
            self.engine().starts_often(&mut self.service);
        }
        let pod_unit = self.book.get(pod).filter(|card| card.stops_when_idle).map(Card::unit);
        if let Some(idle) = pod_unit.and_then(|pod| self.engine().idle_unit(&pod)) {
            // Not when the container is about to be restarted: systemd.unit(5).
            self.service.add("Unit", "OnSuccess", idle.as_str());
            self.service.add("Unit", "OnFailure", idle);
        }
        if let Some(card) = self.book.get_mut(pod).filter(|_| starts) {
            card.members.push(service);
        }
    }
}
