//! `Volume=`, `Mount=` and `Tmpfs=`: podman-run(1), "--volume", "--mount", "--tmpfs".

use super::Findings;
use super::scene::{Value, View, is_dynamic};
use crate::diagnostic::{Place, Severity, rules, suggest};
use crate::keys::UnitType;
use std::collections::HashMap;

/// Options behind the second colon of `Volume=`.
const OPTIONS: [&str; 28] = [
    "rw",
    "ro",
    "rro",
    "z",
    "Z",
    "U",
    "O",
    "copy",
    "nocopy",
    "exec",
    "noexec",
    "dev",
    "nodev",
    "suid",
    "nosuid",
    "bind",
    "rbind",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "private",
    "rprivate",
    "unbindable",
    "runbindable",
    "idmap",
    "noatime",
    "volume-nocopy",
];
/// Options with a value.
const ASSIGNED: [&str; 4] = ["idmap=", "upperdir=", "workdir=", "subpath="];
const TYPES: [&str; 8] = ["bind", "volume", "tmpfs", "ramfs", "image", "devpts", "glob", "artifact"];
const DESTINATIONS: [&str; 4] = ["destination", "dst", "dest", "target"];

/// All of it: single values, and destinations that stand twice.
pub(super) fn mounts(view: &View<'_, '_>, findings: &mut Findings) {
    if view.is(&[UnitType::Kube]) {
        return;
    }
    let mut destinations = Destinations::default();
    for value in view.values("Volume") {
        volume(&value, &mut destinations, findings);
    }
    for value in view.values("Tmpfs") {
        let destination = value.text.split(':').next().unwrap_or_default();
        absolute(&value.place, destination, findings);
        destinations.add(destination, &value.place, "Tmpfs", findings);
    }
    for value in view.values("Mount") {
        mount(&value, &mut destinations, findings);
    }
}

/// Where something is mounted already.
#[derive(Default)]
struct Destinations(HashMap<String, (&'static str, usize)>);

impl Destinations {
    fn add(&mut self, destination: &str, place: &Place<'_>, key: &'static str, findings: &mut Findings) {
        let path = destination.trim_end_matches('/').to_owned();
        let line = place.line();
        if let Some((other, above)) = self.0.insert(path, (key, line)) {
            let reason =
                format!("something is mounted at \"{destination}\" already, by {other}= in line {above}");
            let place = place.within_end(destination);
            findings.push(
                place
                    .diagnose(&rules::SAME_DESTINATION, Severity::Error, reason)
                    .help("remove one of them, or mount it elsewhere"),
            );
        }
    }
}

fn absolute(place: &Place<'_>, destination: &str, findings: &mut Findings) {
    if !destination.starts_with('/') && !is_dynamic(destination) {
        let reason = format!("\"{destination}\" is no absolute path in the container");
        let diagnostic = place.within_end(destination).diagnose(&rules::BAD_VOLUME, Severity::Error, reason);
        findings.push(diagnostic.help("write the destination with a \"/\" at its start"));
    }
}

fn volume(value: &Value<'_>, destinations: &mut Destinations, findings: &mut Findings) {
    let parts: Vec<&str> = value.text.splitn(3, ':').collect();
    let (source, destination, options) = match parts[..] {
        [destination] => ("", destination, ""),
        [source, destination] => (source, destination, ""),
        [source, destination, options] => (source, destination, options),
        _ => return,
    };
    absolute(&value.place, destination, findings);
    destinations.add(destination, &value.place, "Volume", findings);
    self::source(&value.place, source, findings);
    if is_dynamic(options) {
        return;
    }
    for option in options.split(',').filter(|option| !option.is_empty()) {
        if OPTIONS.contains(&option) || ASSIGNED.iter().any(|start| option.starts_with(start)) {
            continue;
        }
        let reason = format!("there is no volume option \"{option}\"");
        let end = value.place.span.end;
        let place = Place { span: end - options.len().min(end)..end, ..value.place.clone() }.within(option);
        let diagnostic = place.diagnose(&rules::BAD_VOLUME, Severity::Error, reason);
        findings.push(match suggest(option, OPTIONS) {
            Some(meant) if place.text() == option => {
                diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
            }
            _ => diagnostic
                .help("options are ro, rw, z, Z, U, copy, nocopy and those of mount(8), separated by commas"),
        });
    }
}

/// A path, a file of ours or a volume's name.
fn source(place: &Place<'_>, source: &str, findings: &mut Findings) {
    if source.is_empty()
        || source.starts_with(['/', '.'])
        || is_dynamic(source)
        || UnitType::of(source).is_some()
    {
        return;
    }
    let place = place.within(source);
    let (reason, help) = if let Some(rest) = source.strip_prefix('~') {
        ("\"~\" is not resolved in unit files".to_owned(), format!("write %h{rest}"))
    } else if source.contains('/') {
        (
            format!("\"{source}\" is neither an absolute path nor a volume's name"),
            format!("write ./{source} for a path that starts at the unit file's directory"),
        )
    } else if !is_name(source) {
        (format!("\"{source}\" is no valid name of a volume"), NAME_HELP.to_owned())
    } else {
        return;
    };
    findings.push(place.diagnose(&rules::BAD_VOLUME, Severity::Error, reason).help(help));
}

/// What names are made of.
pub(super) const NAME_HELP: &str = "a name starts with a letter or digit and goes on with these and _ . -";

/// Whether the text can be the name of a container, pod, volume or network.
pub(super) fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn mount(value: &Value<'_>, destinations: &mut Destinations, findings: &mut Findings) {
    if value.text.contains('"') {
        return; // quoted fields are the translation's concern
    }
    let fields = || value.text.split(',').map(|field| field.split_once('=').unwrap_or((field, "")));
    let kind = fields().find(|(name, _)| *name == "type").map_or("volume", |(_, kind)| kind);
    if !TYPES.contains(&kind) && !is_dynamic(kind) {
        let place = value.place.within(kind);
        let diagnostic = place.diagnose(
            &rules::BAD_MOUNT,
            Severity::Error,
            format!("there is no mount of type \"{kind}\""),
        );
        findings.push(match suggest(kind, TYPES) {
            Some(meant) if place.text() == kind => {
                diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
            }
            _ => diagnostic.help(format!("write type= and one of {}", TYPES.join(", "))),
        });
    }
    match fields().find(|(name, _)| DESTINATIONS.contains(name)) {
        Some((_, destination)) => {
            if kind != "artifact" {
                destinations.add(destination, &value.place, "Mount", findings);
            }
            absolute(&value.place, destination, findings);
        }
        None if !is_dynamic(&value.text) => {
            let diagnostic =
                value.place.diagnose(&rules::BAD_MOUNT, Severity::Error, "the mount has no destination");
            findings.push(diagnostic.help("add destination=PATH"));
        }
        None => {}
    }
}
