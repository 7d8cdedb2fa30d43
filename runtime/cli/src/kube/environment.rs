//! The variables of a container: `env`, `envFrom`, and `$(NAME)` in commands.
//!
//! A value that comes from a Secret is kept apart: it must not stand in a command line, where `systemctl show`
//! and `ps` would tell everybody.

use std::collections::BTreeMap;

use super::model::{Container, EnvVar, FieldRef, KeyRef, ObjectRef, ResourceRef};
use super::objects::{Entries, Objects};
use super::quantity;
use super::read::{Source, Text};
use super::yaml::{At, Problem};

/// The variables of a container, in the order in which they are set.
#[derive(Debug, Default)]
pub(crate) struct Environment {
    entries: Vec<Variable>,
}

#[derive(Debug)]
struct Variable {
    name: String,
    value: String,
    is_secret: bool,
}

/// What values can come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origins<'a> {
    /// ConfigMaps and Secrets.
    pub(crate) objects: &'a Objects,
    /// The pod's name.
    pub(crate) pod: &'a str,
    /// The pod's labels.
    pub(crate) labels: &'a BTreeMap<String, Text>,
    /// The pod's annotations.
    pub(crate) annotations: &'a BTreeMap<String, Text>,
}

impl Environment {
    /// All variables of a container: first those of whole objects, then the single ones.
    ///
    /// # Errors
    /// A source that isn't there, or that is not to be had on a single host.
    pub(crate) fn assemble(
        container: &Container,
        origins: Origins<'_>,
        path: &str,
        source: &Source<'_>,
    ) -> Result<Self, Problem> {
        let mut environment = Self::default();
        for (number, from) in container.env_from.iter().enumerate() {
            let path = format!("{path}.envFrom[{number}]");
            let prefix = from.prefix.as_deref().map_or("", String::as_str);
            let maps = [
                (&from.config_map, &origins.objects.config_maps, "ConfigMap", false),
                (&from.secret, &origins.objects.secrets, "Secret", true),
            ];
            for (reference, objects, kind, is_secret) in maps {
                let Some(reference) = reference else { continue };
                let Some(entries) = object(reference, objects, kind, &path, source)? else { continue };
                for (key, value) in entries {
                    environment.take(&format!("{prefix}{key}"), value, is_secret, reference.at, source)?;
                }
            }
        }
        for (number, variable) in container.env.iter().enumerate() {
            environment.add(variable, container, origins, &format!("{path}.env[{number}]"), source)?;
        }
        Ok(environment)
    }

    /// One entry of a whole object; one that can't be a variable is left out, as Kubernetes does.
    fn take(
        &mut self,
        name: &str,
        value: &[u8],
        is_secret: bool,
        at: At,
        source: &Source<'_>,
    ) -> Result<(), Problem> {
        match std::str::from_utf8(value) {
            Ok(value) if is_variable(name) && !value.contains('\0') => {
                self.set(name, value.to_owned(), is_secret)
            }
            _ => source.note(at, format!("the entry {name} can't be a variable: left out")),
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: String, is_secret: bool) {
        self.entries.retain(|entry| entry.name != name);
        self.entries.push(Variable { name: name.to_owned(), value, is_secret });
    }

    fn add(
        &mut self,
        variable: &EnvVar,
        container: &Container,
        origins: Origins<'_>,
        path: &str,
        source: &Source<'_>,
    ) -> Result<(), Problem> {
        let Some(name) = &variable.name else {
            return Err(source.problem(variable.at, format!("{path} has no name")));
        };
        if !is_variable(name) {
            return Err(
                source.problem(name.at, format!("{path}.name: \"{}\" can't be a variable", name.value))
            );
        }
        let Some(from) = &variable.value_from else {
            let text = variable.value.as_deref().map_or("", String::as_str);
            let (value, is_secret) = self.expand(text);
            self.set(name, value, is_secret);
            return Ok(());
        };
        let path = format!("{path}.valueFrom");
        let (value, is_secret) = match (
            &from.config_map_key,
            &from.secret_key,
            &from.field,
            &from.resource_field,
        ) {
            (Some(key), None, None, None) => {
                (entry(key, &origins.objects.config_maps, "ConfigMap", &path, source)?, false)
            }
            (None, Some(key), None, None) => {
                (entry(key, &origins.objects.secrets, "Secret", &path, source)?, true)
            }
            (None, None, Some(field), None) => (Some(pod_field(field, origins, &path, source)?), false),
            (None, None, None, Some(resource)) => (Some(limit(resource, container, &path, source)?), false),
            _ => {
                let reason = format!(
                    "{path} must have exactly one of configMapKeyRef, secretKeyRef, fieldRef and resourceFieldRef"
                );
                return Err(source.problem(from.at, reason));
            }
        };
        if let Some(value) = value {
            self.set(name, value, is_secret);
        }
        Ok(())
    }

    /// The text with `$(NAME)` replaced by the variable's value; `$$` is one `$`, and an unknown name stays. Also
    /// whether a secret is in it now.
    pub(crate) fn expand(&self, text: &str) -> (String, bool) {
        let (mut expanded, mut is_secret) = (String::new(), false);
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            expanded.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$$") {
                expanded.push('$');
                rest = after;
                continue;
            }
            let name = rest.strip_prefix("$(").and_then(|text| text.split_once(')'));
            match name.and_then(|(name, after)| Some((self.get(name)?, after))) {
                Some((variable, after)) => {
                    expanded.push_str(&variable.value);
                    is_secret |= variable.is_secret;
                    rest = after;
                }
                None => {
                    expanded.push('$');
                    rest = &rest[1..];
                }
            }
        }
        expanded.push_str(rest);
        (expanded, is_secret)
    }

    fn get(&self, name: &str) -> Option<&Variable> {
        self.entries.iter().find(|entry| entry.name == name)
    }

    /// `NAME=VALUE` of what everybody may see.
    pub(crate) fn open(&self) -> impl Iterator<Item = String> + '_ {
        let open = self.entries.iter().filter(|entry| !entry.is_secret);
        open.map(|entry| format!("{}={}", entry.name, entry.value))
    }

    /// Name and value of what nobody may see.
    pub(crate) fn secret(&self) -> impl Iterator<Item = (&str, &str)> {
        let secret = self.entries.iter().filter(|entry| entry.is_secret);
        secret.map(|entry| (entry.name.as_str(), entry.value.as_str()))
    }
}

/// A C identifier, or with `.` and `-`.
fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit() || c == '-')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

fn missing(kind: &str, name: &str) -> String {
    let option =
        if kind == "ConfigMap" { " or name its file with --configmap (ConfigMap= of the unit)," } else { "" };
    format!("there is no {kind} {name}: add it to the YAML,{option} or write optional: true")
}

fn object<'a>(
    reference: &ObjectRef,
    objects: &'a BTreeMap<String, Entries>,
    kind: &str,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<&'a Entries>, Problem> {
    let Some(name) = &reference.name else {
        return Err(source.problem(reference.at, format!("{path} has no name")));
    };
    match objects.get(name.as_str()) {
        None if reference.optional.as_deref() != Some(&true) => {
            Err(source.problem(name.at, missing(kind, name)))
        }
        found => Ok(found),
    }
}

fn entry(
    reference: &KeyRef,
    objects: &BTreeMap<String, Entries>,
    kind: &str,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<String>, Problem> {
    let (Some(name), Some(key)) = (&reference.name, &reference.key) else {
        return Err(source.problem(reference.at, format!("{path} must have a name and a key")));
    };
    let is_optional = reference.optional.as_deref() == Some(&true);
    let Some(object) = objects.get(name.as_str()) else {
        return if is_optional { Ok(None) } else { Err(source.problem(name.at, missing(kind, name))) };
    };
    let value = match object.get(key.as_str()) {
        Some(value) => std::str::from_utf8(value),
        None if is_optional => return Ok(None),
        None => {
            let reason = format!("the {kind} {} has no entry {}", name.value, key.value);
            return Err(source.problem(key.at, reason));
        }
    };
    match value {
        Ok(value) if !value.contains('\0') => Ok(Some(value.to_owned())),
        _ => {
            let reason = format!(
                "the entry {} of the {kind} {} is no text: mount it as a file",
                key.value, name.value
            );
            Err(source.problem(key.at, reason))
        }
    }
}

fn pod_field(
    field: &FieldRef,
    origins: Origins<'_>,
    path: &str,
    source: &Source<'_>,
) -> Result<String, Problem> {
    let Some(field) = &field.path else {
        return Err(source.problem(field.at, format!("{path}.fieldRef has no fieldPath")));
    };
    let of = |map: &BTreeMap<String, Text>, key: &str| {
        let key = key.strip_suffix("']")?;
        Some(map.get(key).map(|text| text.value.clone()).unwrap_or_default())
    };
    let value = match field.as_str() {
        "metadata.name" => Some(origins.pod.to_owned()),
        "metadata.namespace" => Some("default".to_owned()),
        text => match (text.strip_prefix("metadata.labels['"), text.strip_prefix("metadata.annotations['")) {
            (Some(key), _) => of(origins.labels, key),
            (_, Some(key)) => of(origins.annotations, key),
            _ => None,
        },
    };
    value.ok_or_else(|| {
        let reason = format!(
            "{path}.fieldRef: {} is not known before the pod runs; possible are metadata.name, metadata.labels['…'] \
             and metadata.annotations['…']",
            field.value
        );
        source.problem(field.at, reason)
    })
}

fn limit(
    reference: &ResourceRef,
    container: &Container,
    path: &str,
    source: &Source<'_>,
) -> Result<String, Problem> {
    let refuse = |reason: &str| source.problem(reference.at, format!("{path}.resourceFieldRef {reason}"));
    let own = container.name.as_deref().map_or("", String::as_str);
    if reference.container.as_deref().is_some_and(|name| name != own) {
        return Err(refuse("can only name limits of the same container"));
    }
    let resource = reference.resource.as_deref().map_or("", String::as_str);
    let (values, name) = match resource.split_once('.') {
        Some(("limits", name)) => (&container.resources.limits, name),
        Some(("requests", name)) => (&container.resources.requests, name),
        _ => return Err(refuse("must be limits.… or requests.…")),
    };
    let Some(value) = values.get(name) else {
        return Err(refuse(&format!("is {resource}, which the container does not set")));
    };
    let divisor = reference.divisor.as_ref().map_or("1", |divisor| divisor.0.as_str());
    let divisor = if divisor == "0" { "1" } else { divisor };
    match (quantity::thousandths(&value.0), quantity::thousandths(divisor)) {
        (Some(value), Some(divisor)) if divisor > 0 => Ok(value.div_ceil(divisor).to_string()),
        _ => Err(refuse("or its limit is no quantity")),
    }
}
