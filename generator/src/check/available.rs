//! What Podman can do and sampan can't: the start refuses it in so many words, so it is better known
//! before. Each list here is the one of `sampan run`.

use super::Findings;
use super::scene::{Value, View, is_dynamic};
use crate::diagnostic::{Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;

/// Options of volumes that only Podman has.
const VOLUME_OPTIONS: [&str; 6] = ["O", "idmap", "upperdir", "workdir", "subpath", "noatime"];
/// Types of mounts that only Podman has.
const MOUNT_TYPES: [&str; 3] = ["image", "glob", "ramfs"];

/// All of it.
pub(super) fn available(view: &View<'_, '_>, findings: &mut Findings) {
    if view.scene.options.engine == Engine::Podman || !view.is(&[UnitType::Container, UnitType::Pod]) {
        return;
    }
    networks(view, findings);
    mounts(view, findings);
    user_namespace(view, findings);
}

fn refuse(value: &Value<'_>, part: &str, reason: String, help: &str, findings: &mut Findings) {
    let place = value.place.within_end(part);
    findings.push(place.diagnose(&rules::NOT_IN_SAMPAN, Severity::Error, reason).help(help));
}

fn networks(view: &View<'_, '_>, findings: &mut Findings) {
    for value in view.values("Network") {
        let mode = value.text.split(':').next().unwrap_or_default();
        match mode {
            "slirp4netns" | "pasta" => {
                let reason = format!("sampan has no {mode}, which serves users without privileges");
                refuse(&value, mode, reason, "remove the line, or name a network", findings);
            }
            "container" => {
                let reason = "sampan can't share another container's network".to_owned();
                refuse(&value, &value.text, reason, "put both on one .network, or into one pod", findings);
            }
            _ if UnitType::of(mode) == Some(UnitType::Container) => {
                let reason = "sampan can't share another container's network".to_owned();
                refuse(&value, &value.text, reason, "put both on one .network, or into one pod", findings);
            }
            _ => {}
        }
    }
}

fn mounts(view: &View<'_, '_>, findings: &mut Findings) {
    for value in view.values("Volume") {
        let options = value.text.splitn(3, ':').nth(2).unwrap_or_default();
        for option in options.split(',') {
            let name = option.split('=').next().unwrap_or_default();
            if VOLUME_OPTIONS.contains(&name) {
                let help = match name {
                    "idmap" => "write U to hand the files to the container's user",
                    _ => "remove the option, or use a volume of its own",
                };
                refuse(&value, option, format!("sampan has no volume option \"{name}\""), help, findings);
            }
        }
    }
    for value in view.values("Mount") {
        let mut fields = value.text.split(',');
        let Some(kind) = fields.find_map(|field| field.strip_prefix("type=")) else { continue };
        if MOUNT_TYPES.contains(&kind) {
            let reason = format!("sampan has no mounts of type {kind}");
            let part = format!("type={kind}");
            refuse(&value, &part, reason, "known are artifact, bind, volume, tmpfs and devpts", findings);
        }
    }
}

fn user_namespace(view: &View<'_, '_>, findings: &mut Findings) {
    let Some(value) = view.text("UserNS").filter(|value| !is_dynamic(&value.text)) else { return };
    let mode = value.text.split(':').next().unwrap_or_default();
    let has_user = view.scene.options.user
        || ["User", "DynamicUser"].iter().any(|key| view.systemd("Service", key).is_some());
    match mode {
        "keep-id" | "nomap" if !has_user => {
            let reason =
                format!("UserNS={mode} keeps the user that starts the container, and that is root here");
            let help = "add User= to [Service], or write UserNS=auto";
            refuse(&value, mode, reason, help, findings);
        }
        "private" | "container" | "ns" => {
            let help = "known are host, auto, and keep-id and nomap with User= in [Service]";
            refuse(&value, mode, format!("sampan has no user namespace mode \"{mode}\""), help, findings);
        }
        _ => {}
    }
}
