//! Values that are more than one word of a table: assignments, secrets, names, mappings, devices.

use super::Findings;
use super::mounts::{NAME_HELP, is_name};
use super::scene::{Value, View, is_dynamic};
use crate::diagnostic::{Rule, Severity, rules, suggest};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::syntax::values;

const SECRET_OPTIONS: [&str; 9] = ["type", "target", "uid", "gid", "mode", "id", "src", "source", "env"];

/// Everything of this file that a single value shows.
pub(super) fn values(view: &View<'_, '_>, findings: &mut Findings) {
    for key in ["Environment", "Label", "Annotation", "BuildArg"] {
        let mut told = 0;
        for value in view.values(key) {
            // The first word of a line is enough: the rest has the same cause.
            if told != value.place.line() && assignment(view, key, &value, findings) {
                told = value.place.line();
            }
        }
    }
    view.values("Secret").iter().for_each(|value| secret(value, findings));
    for key in ["ContainerName", "PodName", "NetworkName", "VolumeName"] {
        view.text(key).iter().for_each(|value| name(key, value, findings));
    }
    view.text("UserNS").iter().for_each(|value| user_namespace(value, findings));
    for key in ["UIDMap", "GIDMap"] {
        view.values(key).iter().for_each(|value| mapping(key, value, findings));
    }
    for key in ["Entrypoint", "HealthCmd", "HealthStartupCmd"] {
        view.text(key).iter().for_each(|value| json(key, value, findings));
    }
    log_driver(view, findings);
    auto_update(view, findings);
    image(view, findings);
}

/// Notes an error about a value, unless only the start can tell.
pub(super) fn wrong(
    rule: &'static Rule,
    value: &Value<'_>,
    reason: String,
    help: impl Into<String>,
    findings: &mut Findings,
) {
    if !value.is_dynamic() {
        findings.push(value.place.diagnose(rule, Severity::Error, reason).help(help));
    }
}

/// Tells of a word without `=`, which is most often the rest of a value whose blanks were not quoted.
fn assignment(view: &View<'_, '_>, key: &str, value: &Value<'_>, findings: &mut Findings) -> bool {
    if value.text.contains('=') || value.is_dynamic() {
        return false;
    }
    let is_variable = value.text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let above = value.place.source.text.get(..value.place.span.start);
    let starts_line = above.is_some_and(|above| above.ends_with('='));
    let passes_on = view.is(&[UnitType::Container, UnitType::Build]) && key == "Environment" && is_variable;
    let (reason, help) = if passes_on && starts_line {
        (
            format!("{} has no value, so it is taken from the service's own environment", value.text),
            format!("write {key}={}=VALUE, or set it with Environment= in [Service]", value.text),
        )
    } else {
        (
            format!("\"{}\" is no NAME=VALUE", value.text),
            format!("if it belongs to the word before, enclose both in quotes: {key}=\"NAME=a value\""),
        )
    };
    findings.push(value.place.diagnose(&rules::BAD_ASSIGNMENT, Severity::Warning, reason).help(help));
    true
}

fn secret(value: &Value<'_>, findings: &mut Findings) {
    if value.is_dynamic() {
        return;
    }
    let mut kind = "mount";
    for (number, part) in value.text.split(',').enumerate() {
        let Some((option, setting)) = part.split_once('=') else {
            if number > 0 || part.is_empty() {
                wrong(
                    &rules::BAD_SECRET,
                    value,
                    format!("\"{part}\" is no option of a secret"),
                    SECRET_HELP,
                    findings,
                );
            }
            continue;
        };
        if !SECRET_OPTIONS.contains(&option) {
            let place = value.place.within(option);
            let diagnostic = place.diagnose(
                &rules::BAD_SECRET,
                Severity::Error,
                format!("a secret has no option \"{option}\""),
            );
            findings.push(match suggest(option, SECRET_OPTIONS) {
                Some(meant) if place.text() == option => {
                    diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
                }
                _ => diagnostic.help(SECRET_HELP),
            });
        }
        match option {
            "type" => kind = setting,
            "uid" | "gid" if setting.parse::<u32>().is_err() => {
                wrong(
                    &rules::BAD_SECRET,
                    value,
                    format!("{option}= of a secret takes a number, not \"{setting}\""),
                    "write the number of the user or group",
                    findings,
                );
            }
            "mode" if u32::from_str_radix(setting, 8).is_err() => {
                wrong(
                    &rules::BAD_SECRET,
                    value,
                    format!("\"{setting}\" is no file mode"),
                    "write an octal mode such as mode=0400",
                    findings,
                );
            }
            _ => {}
        }
    }
    if !["mount", "env", "file"].contains(&kind) {
        wrong(
            &rules::BAD_SECRET,
            value,
            format!("there is no secret of type \"{kind}\""),
            "write type=mount or type=env",
            findings,
        );
    }
}

const SECRET_HELP: &str = "write NAME[,type=mount|env][,target=…][,uid=…][,gid=…][,mode=…]";

fn name(key: &str, value: &Value<'_>, findings: &mut Findings) {
    if !is_name(&value.text) {
        wrong(
            &rules::BAD_RESOURCE_NAME,
            value,
            format!("\"{}\" is no valid {key}=", value.text),
            NAME_HELP,
            findings,
        );
    }
}

fn user_namespace(value: &Value<'_>, findings: &mut Findings) {
    let (mode, options) = value.text.split_once(':').unwrap_or((&value.text, ""));
    let allowed: &[&str] = match mode {
        "auto" => &["size", "uidmapping", "gidmapping"],
        "keep-id" => &["uid", "gid", "size"],
        "container" | "ns" => return,
        "host" | "nomap" | "private" | "" => &[],
        _ => {
            let modes = ["auto", "keep-id", "nomap", "host", "private"];
            let place = value.place.within(mode);
            if !is_dynamic(mode) {
                let reason = format!("there is no user namespace mode \"{mode}\"");
                let diagnostic = place.diagnose(&rules::BAD_USER_NS, Severity::Error, reason);
                findings.push(match suggest(mode, modes) {
                    Some(meant) if place.text() == mode => {
                        diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant)
                    }
                    _ => diagnostic
                        .help("write auto, keep-id, nomap or host, the first two perhaps with options"),
                });
            }
            return;
        }
    };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let name = option.split_once('=').map_or(option, |(name, _)| name);
        if !allowed.contains(&name) {
            let help = match allowed {
                [] => format!("write UserNS={mode} alone"),
                allowed => format!("options of {mode} are {}", allowed.join(", ")),
            };
            wrong(
                &rules::BAD_USER_NS,
                value,
                format!("UserNS={mode} has no option \"{name}\""),
                help,
                findings,
            );
        }
    }
}

fn mapping(key: &str, value: &Value<'_>, findings: &mut Findings) {
    let parts: Vec<&str> = value.text.trim_start_matches(['+', 'u', 'g']).split(':').collect();
    let number = |text: &str| text.trim_start_matches('@').parse::<u32>().is_ok();
    if parts.len() > 3 || !parts.iter().all(|part| number(part)) {
        let help = format!("write {key}=CONTAINER[:HOST[:SIZE]], such as 0:100000:65536");
        wrong(&rules::BAD_MAPPING, value, format!("\"{}\" is no mapping of ids", value.text), help, findings);
    }
}

/// A value that starts like a JSON array is one.
fn json(key: &str, value: &Value<'_>, findings: &mut Findings) {
    if value.text.starts_with('[')
        && !value.is_dynamic()
        && serde_json::from_str::<Vec<String>>(&value.text).is_err()
    {
        let help = format!("write {key}=[\"program\", \"argument\"] with double quotes");
        wrong(&rules::BAD_JSON, value, "this is no JSON array of strings".to_owned(), help, findings);
    }
}

fn log_driver(view: &View<'_, '_>, findings: &mut Findings) {
    const DRIVERS: [&str; 7] =
        ["journald", "k8s-file", "json-file", "none", "passthrough", "passthrough-tty", "null"];
    let Some(value) = view.text("LogDriver") else { return };
    if DRIVERS.contains(&value.text.as_str()) || value.is_dynamic() {
        return;
    }
    let diagnostic = value.place.diagnose(
        &rules::BAD_CHOICE,
        Severity::Error,
        format!("there is no log driver \"{}\"", value.text),
    );
    findings.push(match suggest(&value.text, DRIVERS) {
        Some(meant) => diagnostic.help(format!("did you mean \"{meant}\"?")).fix(meant),
        None => diagnostic.help("remove LogDriver=: the journal gets the output by itself"),
    });
}

/// What can't be updated, though the file asks for it.
fn auto_update(view: &View<'_, '_>, findings: &mut Findings) {
    if view.is(&[UnitType::Kube]) {
        for value in view.values("AutoUpdate") {
            let policy = value.text.rsplit('/').next().unwrap_or_default();
            if !["registry", "local", "disabled"].contains(&policy) {
                wrong(
                    &rules::BAD_CHOICE,
                    &value,
                    format!("there is no update policy \"{policy}\""),
                    "write registry or local, for one container NAME/local",
                    findings,
                );
            }
        }
        return;
    }
    let Some(policy) = view.text("AutoUpdate").filter(|policy| policy.text == "registry") else { return };
    let Some(image) = view.text("Image") else { return };
    if image.text.contains("@sha256:") {
        let reason = "the image is named by its digest, so there never is a newer one";
        let diagnostic = policy.place.diagnose(&rules::NEVER_UPDATED, Severity::Warning, reason);
        findings.push(diagnostic.help("name the image by a tag, or remove AutoUpdate="));
    } else if image.text.starts_with("localhost/") || UnitType::of(&image.text) == Some(UnitType::Build) {
        let reason = "the image is local: no registry has a newer one";
        let diagnostic = policy.place.diagnose(&rules::NEVER_UPDATED, Severity::Warning, reason);
        findings.push(diagnostic.help("write AutoUpdate=local").fix("local"));
    }
}

/// What an `.image` file pulls should be named in full, as in a `.container` file.
fn image(view: &View<'_, '_>, findings: &mut Findings) {
    let key = match view.unit.kind {
        UnitType::Image => "Image",
        UnitType::Artifact => "Artifact",
        _ => return,
    };
    let Some(image) = view.text(key).filter(|image| !image.is_dynamic()) else { return };
    let domain = image.text.split_once('/').map(|(domain, _)| domain);
    let is_full = domain.is_some_and(|domain| domain == "localhost" || domain.contains(['.', ':']));
    let is_id = image.text.starts_with("sha256:")
        || image.text.contains("-archive:")
        || image.text.starts_with("oci:")
        || image.text.starts_with("dir:");
    if !is_full && !is_id {
        let full = if image.text.contains('/') {
            format!("docker.io/{}", image.text)
        } else {
            format!("docker.io/library/{}", image.text)
        };
        let reason = format!("\"{}\" does not say which registry it is from", image.text);
        let diagnostic = image.place.diagnose(&rules::IMAGE_NOT_QUALIFIED, Severity::Warning, reason);
        findings.push(diagnostic.help(format!("write the full name, such as {full}")));
    }
}

/// A stop that systemd cuts short.
pub(super) fn stop_timeout(view: &View<'_, '_>, findings: &mut Findings) {
    /// `DefaultTimeoutStopSec=`, systemd-system.conf(5).
    const DEFAULT: f64 = 90.0;
    let Some(value) = view.text("StopTimeout") else { return };
    let Ok(seconds) = value.text.parse::<f64>() else { return };
    let limit = ["TimeoutStopSec", "TimeoutSec"]
        .iter()
        .find_map(|key| values::time_span(&view.systemd("Service", key)?.value));
    // For sampan the generator makes systemd wait longer, unless the file says how long.
    if limit.is_none() && view.scene.options.engine == Engine::Sampan && view.unit.kind == UnitType::Container
    {
        return;
    }
    let limit = limit.unwrap_or(DEFAULT);
    if seconds >= limit && limit > 0.0 {
        let reason = format!("systemd kills the service after {limit} seconds, before this time is over");
        let diagnostic = value.place.diagnose(&rules::STOP_TIMEOUT, Severity::Warning, reason);
        findings.push(diagnostic.help(format!("add TimeoutStopSec={} to [Service]", seconds + 10.0)));
    }
}
