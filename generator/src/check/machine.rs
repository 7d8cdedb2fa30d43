//! What only the machine shows: paths, ports, ids, images, units of others.

use super::Findings;
use super::addresses::subnets;
use super::host::Host;
use super::ports::published;
use super::scene::{Scene, Value, View, is_dynamic};
use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::engine::Engine;
use crate::keys::UnitType;
use crate::neighbour;
use std::path::Path;

/// The oldest kernel that sampan runs on.
const OLDEST_KERNEL: (u32, u32) = (5, 14);
/// Directories that Podman's generator reads as well.
const SHARED: [&str; 3] =
    ["/run/containers/systemd", "/etc/containers/systemd", "/usr/share/containers/systemd"];

/// All of it.
pub(super) fn machine(scene: &Scene<'_>, host: &Host, findings: &mut Findings) {
    if let Some(unit) = scene.units.first() {
        system(scene, unit.directory(), host, findings);
    }
    let listening = host.listening();
    let routes = host.routes();
    for view in scene.views() {
        files(&view, host, findings);
        mounts(&view, host, findings);
        devices(&view, host, findings);
        users(&view, host, findings);
        credentials(&view, host, findings);
        image(&view, host, findings);
        unit(&view, host, findings);
        for (port, value) in published(&view) {
            for socket in &listening {
                let here = port
                    .address
                    .is_none_or(|address| socket.address.is_unspecified() || address == socket.address);
                if here && socket.protocol == port.protocol && port.ports.contains(&socket.port) {
                    port_in_use(&view, host, socket, &value, findings);
                }
            }
        }
        for (subnet, value) in subnets(&view) {
            let ours = |name: &str| ["sampan", "podman", "cni-"].iter().any(|start| name.starts_with(start));
            let taken = routes.iter().find(|route| {
                route.network.overlaps(&subnet) && !(route.network == subnet && ours(&route.interface))
            });
            if let Some(route) = taken {
                let reason = format!(
                    "{} overlaps a network that the host reaches through {}",
                    value.text, route.interface
                );
                let diagnostic = value.place.diagnose(&rules::SUBNET_IN_USE, Severity::Error, reason);
                findings.push(diagnostic.help("choose a subnet that the host has no route to"));
            }
        }
    }
}

/// The machine itself; told about the directory, because no file is to blame.
fn system(scene: &Scene<'_>, directory: &Path, host: &Host, findings: &mut Findings) {
    let mut tell = |rule, severity, reason: String, help: &str| {
        findings.push(Diagnostic::whole(rule, severity, directory, reason).help(help));
    };
    let sampan = scene.options.engine == Engine::Sampan;
    if let Some((major, minor)) = host.kernel().filter(|version| sampan && *version < OLDEST_KERNEL) {
        let reason = format!("the host's kernel is {major}.{minor}; sampan needs 5.14");
        tell(&rules::OLD_SYSTEM, Severity::Error, reason, "boot a newer kernel");
    }
    if sampan && !host.has_cgroup_v2() {
        let reason = "the host does not have control groups of version 2".to_owned();
        tell(&rules::OLD_SYSTEM, Severity::Error, reason, "boot with systemd.unified_cgroup_hierarchy=1");
    }
    let shared = scene.units.iter().any(|unit| SHARED.iter().any(|path| unit.path.starts_with(path)));
    if shared && sampan && neighbour::is_active(host.root(), scene.options.user) {
        let reason = "Podman's own generator is active, so the files here are left to it".to_owned();
        let help = "put files for sampan into /etc/sampan/systemd, or mask Podman's generator";
        tell(&rules::PODMAN_ACTIVE, Severity::Warning, reason, help);
    }
}

/// A path of the host as the unit names it; `None` if only systemd can tell.
fn absolute(view: &View<'_, '_>, path: &str) -> Option<String> {
    if is_dynamic(path) || path.contains("://") {
        return None;
    }
    let path =
        if path.starts_with('/') { Path::new(path).to_owned() } else { view.unit.directory().join(path) };
    Some(path.to_string_lossy().into_owned())
}

/// Notes a path that isn't there, unless something before the start makes it.
fn missing(view: &View<'_, '_>, host: &Host, value: &Value<'_>, path: &str, findings: &mut Findings) {
    let Some(absolute) = absolute(view, path).filter(|path| host.lacks(path)) else { return };
    let made = ["ExecStartPre", "ExecCondition"].iter().any(|key| {
        let section = view.unit.section("Service");
        section.is_some_and(|section| section.assignments(key).any(|entry| entry.value.contains(&absolute)))
    });
    if made {
        return;
    }
    let volatile = ["/run/", "/tmp/", "/dev/shm/"].iter().any(|start| absolute.starts_with(start));
    let severity = if volatile { Severity::Warning } else { Severity::Error };
    let reason = format!("{absolute} does not exist");
    let diagnostic = value.place.within(path).diagnose(&rules::MISSING_FILE, severity, reason);
    findings.push(diagnostic.help("create it, or correct the path"));
}

/// Files that the engine reads.
fn files(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    for key in [
        "EnvironmentFile",
        "Yaml",
        "ConfigMap",
        "SeccompProfile",
        "AuthFile",
        "IgnoreFile",
        "CertDir",
        "Rootfs",
    ] {
        for value in view.values(key) {
            let path = value.text.split(":O").next().unwrap_or_default();
            let optional = path.starts_with('-') || key == "SeccompProfile" && path == "unconfined";
            if !optional {
                missing(view, host, &value, path, findings);
            }
        }
    }
    for value in view.words("Service", "EnvironmentFile") {
        if value.text.starts_with('/') {
            missing(view, host, &value, &value.text, findings);
        }
    }
}

/// Sources of binds.
fn mounts(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    for value in view.values("Volume") {
        let source = value.text.split_once(':').map_or("", |(source, _)| source);
        if source.starts_with(['/', '.']) {
            missing(view, host, &value, source, findings);
        }
    }
    for value in view.values("Mount") {
        let mut fields = value.text.split(',');
        if fields.clone().any(|field| field == "type=bind")
            && let Some(source) =
                fields.find_map(|field| field.strip_prefix("source=").or_else(|| field.strip_prefix("src=")))
            && source.starts_with(['/', '.'])
        {
            missing(view, host, &value, source, findings);
        }
    }
}

fn devices(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    for value in view.values("AddDevice") {
        let path = value.text.split(':').next().unwrap_or_default();
        if path.starts_with("/dev/") && !is_dynamic(path) && host.lacks(path) {
            let reason = format!("the host has no device {path}");
            let diagnostic = value.place.within(path).diagnose(&rules::MISSING_FILE, Severity::Error, reason);
            findings.push(diagnostic.help(format!("write -{path} if the container can do without it")));
        }
    }
}

/// Users in `[Service]`, and ranges of subordinate ids.
fn users(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    for (key, database) in [("User", "passwd"), ("Group", "group")] {
        let Some(entry) = view.systemd("Service", key) else { continue };
        if !is_dynamic(&entry.value) && !host.knows(database, &entry.value) {
            let reason = format!("the host has no {} \"{}\"", key.to_lowercase(), entry.value);
            let diagnostic = entry.place().diagnose(&rules::UNKNOWN_USER, Severity::Error, reason);
            findings.push(diagnostic.help("create it, with sysusers.d(5) or useradd(8)"));
        }
    }
    let auto = view.text("UserNS").filter(|mode| mode.text == "auto" || mode.text.starts_with("auto:"));
    let names = ["SubUIDMap", "SubGIDMap"].iter().filter_map(|key| view.text(key));
    let wanted = auto.filter(|_| !scene_is_user(view)).map(|value| ("containers".to_owned(), value));
    for (name, value) in wanted.into_iter().chain(names.map(|value| (value.text.clone(), value))) {
        if !is_dynamic(&name) && !host.has_subordinate_ids(&name) {
            let reason = format!("\"{name}\" has no range of ids in /etc/subuid and /etc/subgid");
            let diagnostic = value.place.diagnose(&rules::NO_SUBORDINATE_IDS, Severity::Error, reason);
            findings.push(diagnostic.help(format!("add such as {name}:2147483647:2147483648 to both files")));
        }
    }
}

/// Where systemd looks for a credential that no path is given for, systemd.exec(5).
const CREDENTIAL_STORES: [&str; 6] = [
    "/etc/credstore",
    "/run/credstore",
    "/usr/lib/credstore",
    "/etc/credstore.encrypted",
    "/run/credstore.encrypted",
    "/usr/lib/credstore.encrypted",
];

/// Under sampan a secret is a credential of the service.
fn credentials(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    if view.scene.options.engine == Engine::Podman || !view.is(&[UnitType::Container]) {
        return;
    }
    let own: Vec<&str> =
        ["LoadCredential", "LoadCredentialEncrypted", "SetCredential", "SetCredentialEncrypted"]
            .iter()
            .flat_map(|key| {
                view.unit.section("Service").into_iter().flat_map(|section| section.assignments(key))
            })
            .filter_map(|entry| entry.value.split(':').next())
            .collect();
    // A credential that is a directory brings its files as ID_FILE.
    let brings =
        |id: &str, name: &str| id == name || name.strip_prefix(id).is_some_and(|rest| rest.starts_with('_'));
    for value in view.values("Secret").iter().filter(|value| !value.is_dynamic()) {
        let name = value.text.split(',').next().unwrap_or_default();
        let stored = || CREDENTIAL_STORES.iter().any(|store| !host.lacks(&format!("{store}/{name}")));
        let imported = view.systemd("Service", "ImportCredential").is_some();
        if imported || own.iter().any(|id| is_dynamic(id) || brings(id, name)) || stored() {
            continue;
        }
        let reason = format!(
            "the unit has no credential \"{name}\", and the host no file of that name in /etc/credstore"
        );
        let diagnostic =
            value.place.within(name).diagnose(&rules::MISSING_CREDENTIAL, Severity::Error, reason);
        findings.push(diagnostic.help(format!("put the secret into /etc/credstore/{name}, or add LoadCredential={name}:/path/to/file to [Service]")));
    }
}

fn scene_is_user(view: &View<'_, '_>) -> bool {
    view.scene.options.user
}

/// The image, if it is to be here already, and the ports that it has.
fn image(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    let Some(name) =
        view.text("Image").filter(|name| !name.is_dynamic() && UnitType::of(&name.text).is_none())
    else {
        return;
    };
    let policy = view.text("Pull").or_else(|| view.text("Policy"));
    match host.image(&name.text) {
        Some(None) if policy.is_some_and(|policy| policy.text == "never") => {
            let reason = format!("the host does not have the image {}, and nothing pulls it", name.text);
            let diagnostic = name.place.diagnose(&rules::MISSING_IMAGE, Severity::Error, reason);
            findings.push(
                diagnostic.help(format!("run \"sampan pull {}\", or remove the pull policy", name.text)),
            );
        }
        Some(Some(image)) if !image.exposed_ports.is_empty() => {
            for value in view.values("PublishPort").iter().filter(|value| !value.is_dynamic()) {
                let port = value.text.rsplit(':').next().unwrap_or_default();
                let port = if port.contains('/') { port.to_owned() } else { format!("{port}/tcp") };
                if !port.contains('-') && !image.exposed_ports.contains(&port) {
                    let reason = format!("the image does not say that it listens on {port}");
                    let diagnostic = value.place.diagnose(&rules::UNEXPOSED_PORT, Severity::Note, reason);
                    findings.push(diagnostic.help(format!("it names {}", image.exposed_ports.join(", "))));
                }
            }
        }
        _ => {}
    }
}

/// A unit of the same name that someone else has put there.
fn unit(view: &View<'_, '_>, host: &Host, findings: &mut Findings) {
    let Some(card) = view.scene.book.get(view.unit.name) else { return };
    let name = card.unit();
    let Some((path, above)) = host.unit(&name, view.scene.options.user) else { return };
    let at = path.display();
    let (severity, reason, help) = if host.is_masked(&path) {
        (
            Severity::Warning,
            format!("{name} is masked by {at}"),
            format!("\"systemctl unmask {name}\" lets it start again"),
        )
    } else if above {
        (
            Severity::Error,
            format!("{at} counts instead of this file"),
            "remove that unit, or rename this file".to_owned(),
        )
    } else {
        (
            Severity::Warning,
            format!("this file takes the place of {at}"),
            "rename this file if that is not meant".to_owned(),
        )
    };
    findings.push(view.unit.diagnose(&rules::UNIT_OF_OTHERS, severity, reason).help(help));
}

fn port_in_use(
    view: &View<'_, '_>,
    host: &Host,
    socket: &super::host::Listening,
    value: &Value<'_>,
    findings: &mut Findings,
) {
    let owner = host.owner(socket);
    let own = view.scene.book.get(view.unit.name).map(crate::book::Card::unit);
    if owner.is_some() && owner == own {
        return;
    }
    // systemd itself has the sockets of containers on demand, among others.
    let waits = view.text("Activation").is_some_and(|activation| activation.text == "on-demand");
    if waits && owner.as_deref() == Some("init.scope") {
        return;
    }
    // Whose it is can be seen by root alone; it may be this unit's own.
    let severity = if owner.is_some() { Severity::Error } else { Severity::Warning };
    let by = owner.map_or_else(String::new, |owner| format!(" by {owner}"));
    let reason = format!("port {}/{} of the host is in use{by}", socket.port, socket.protocol);
    let diagnostic = value.place.diagnose(&rules::PORT_IN_USE, severity, reason);
    findings.push(diagnostic.help("choose another port, or stop what listens there"));
}
