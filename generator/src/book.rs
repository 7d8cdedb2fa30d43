//! What Quadlet files know of each other: the service that each becomes, and the name of the
//! container, network, volume or image that it makes.

use crate::engine::Engine;
use crate::keys::{UnitType, build, container, image, network, pod, volume};
use crate::unit::UnitFile;
use std::collections::HashMap;

/// What others need to know of a file.
#[derive(Debug)]
pub(crate) struct Card {
    /// The file name of its service, such as `web.service`.
    unit: String,
    /// The name of what it makes; `None` if it isn't known before the service runs, or if the file
    /// can't be translated.
    pub(crate) resource: Option<String>,
    /// For a pod: the services of the containers that start with it.
    pub(crate) members: Vec<String>,
    /// For a pod: whether it ends with its last container.
    pub(crate) stops_when_idle: bool,
    /// For a pod: whether it is started when somebody connects.
    pub(crate) on_demand: bool,
}

/// The exit policy of a pod that says nothing else.
pub(crate) const STOP: &str = "stop";
/// The word for what is started when somebody connects.
pub(crate) const ON_DEMAND: &str = "on-demand";

impl Card {
    /// The file name of its service.
    pub(crate) fn unit(&self) -> String {
        self.unit.clone()
    }

    /// The name of its service, without `.service`.
    pub(crate) fn service(&self) -> &str {
        self.unit.strip_suffix(".service").unwrap_or(&self.unit)
    }
}

/// The cards of all files, by file name.
#[derive(Debug, Default)]
pub(crate) struct Book(HashMap<String, Card>);

impl Book {
    /// Makes the cards.
    pub(crate) fn new<'t>(units: impl Iterator<Item = UnitFile<'t>>, engine: Engine) -> Self {
        let cards = units.map(|unit| {
            let service = service_name(&unit);
            let known = engine.knows_resource_early(unit.kind);
            let resource = known.then(|| resource_name(&unit, &service)).flatten();
            let service = service + ".service";
            let policy = unit.text(pod::EXIT_POLICY.section, pod::EXIT_POLICY.name);
            let stops_when_idle = unit.kind == UnitType::Pod && policy.is_none_or(|policy| policy == STOP);
            let activation = unit.text(pod::ACTIVATION.section, pod::ACTIVATION.name);
            let on_demand =
                engine == Engine::Sampan && unit.kind == UnitType::Pod && activation == Some(ON_DEMAND);
            let members = Vec::new();
            (unit.name.to_owned(), Card { unit: service, resource, members, stops_when_idle, on_demand })
        });
        Self(cards.collect())
    }

    /// The card of a file.
    pub(crate) fn get(&self, file: &str) -> Option<&Card> {
        self.0.get(file)
    }

    /// The card of a file, to change it.
    pub(crate) fn get_mut(&mut self, file: &str) -> Option<&mut Card> {
        self.0.get_mut(file)
    }

    /// The names of all files.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// The service's name without `.service`: `ServiceName=`, or the file's name with the suffix of its
/// kind put before an `@` at its end.
pub(crate) fn service_name(unit: &UnitFile<'_>) -> String {
    let named = unit.text(unit.kind.section(), container::SERVICE_NAME.name);
    if let Some(name) = named.filter(|name| !name.is_empty()) {
        return name.to_owned();
    }
    default_service_name(unit)
}

/// The service's name without `.service` if the file gives it no other.
pub(crate) fn default_service_name(unit: &UnitFile<'_>) -> String {
    let suffix = unit.kind.service_suffix();
    match unit.stem().strip_suffix('@') {
        Some(stem) => format!("{stem}{suffix}@"),
        None => format!("{}{suffix}", unit.stem()),
    }
}

/// The name of what the unit makes, if it can be known without systemd.
pub(crate) fn resource_name(unit: &UnitFile<'_>, service: &str) -> Option<String> {
    let text = |key: &str| unit.text(unit.kind.section(), key).filter(|text| !text.is_empty());
    match unit.kind {
        UnitType::Container => {
            let name = container_name(unit).replace("%N", service);
            (!name.contains('%')).then_some(name)
        }
        UnitType::Pod => {
            Some(text(pod::POD_NAME.name).map_or_else(|| format!("systemd-{}", unit.stem()), str::to_owned))
        }
        UnitType::Network => {
            Some(text(network::NETWORK_NAME.name).map_or_else(|| default_name(unit), str::to_owned))
        }
        UnitType::Volume => {
            Some(text(volume::VOLUME_NAME.name).map_or_else(|| default_name(unit), str::to_owned))
        }
        UnitType::Image => text(image::IMAGE_TAG.name).or_else(|| text(image::IMAGE.name)).map(str::to_owned),
        UnitType::Artifact => text("Artifact").map(str::to_owned),
        UnitType::Build => {
            let tags = unit.section(unit.kind.section())?.list(build::IMAGE_TAG.name);
            tags.first().map(|entry| entry.value.clone().into_owned())
        }
        UnitType::Kube => None,
    }
}

/// The container's name, in which systemd may have to resolve specifiers.
pub(crate) fn container_name(unit: &UnitFile<'_>) -> String {
    match unit.text(container::CONTAINER_NAME.section, container::CONTAINER_NAME.name) {
        Some(name) if !name.is_empty() => name.to_owned(),
        _ if unit.name.contains('@') => "systemd-%p_%i".to_owned(),
        _ => "systemd-%N".to_owned(),
    }
}

/// The default name of a network or volume. For a template or instance the last character is
/// replaced by the instance; people's volumes already have these names, so the rule stays Podman's.
fn default_name(unit: &UnitFile<'_>) -> String {
    let name = format!("systemd-{}", unit.stem());
    if !unit.name.contains('@') {
        return name;
    }
    let mut characters = name.chars();
    characters.next_back();
    format!("{}-%i", characters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diagnostic::Source;
    use crate::syntax::scanner::Fold;
    use std::path::Path;

    fn with_unit<T>(name: &str, text: &str, ask: impl FnOnce(&UnitFile<'_>) -> T) -> T {
        let source = Source::new(Path::new("/u").join(name), text.as_bytes().to_vec());
        let mut unit = UnitFile::new(UnitType::of(name).unwrap(), name, &source.path);
        unit.merge(&source, Fold::Blank);
        ask(&unit)
    }

    #[test]
    fn services_are_named_after_files() {
        let name = |file: &str, text: &str| with_unit(file, text, service_name);
        assert_eq!(name("a.b.container", ""), "a.b");
        assert_eq!(name("t@.volume", ""), "t-volume@");
        assert_eq!(name("t@i.network", ""), "t@i-network");
        assert_eq!(name("x.pod", "[Pod]\nServiceName=p\n"), "p");
    }

    #[test]
    fn resources_are_named_after_files() {
        let name = |file: &str, text: &str| with_unit(file, text, |unit| resource_name(unit, "svc"));
        assert_eq!(name("w.container", "").as_deref(), Some("systemd-svc"));
        assert_eq!(name("w@.container", ""), None);
        assert_eq!(name("t@.volume", "").as_deref(), Some("systemd-t-%i"));
        assert_eq!(name("n.network", "[Network]\nNetworkName=x\n").as_deref(), Some("x"));
        assert_eq!(name("i.image", "[Image]\nImage=a\nImageTag=b\n").as_deref(), Some("b"));
    }
}
