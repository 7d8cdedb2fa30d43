//! The links that `[Install]` asks for. `systemctl enable` can't make them for a generated unit, so
//! the generator does.

use crate::diagnostic::{Diagnostic, Severity, rules};
use crate::service::Service;
use crate::unit::UnitFile;

/// A symbolic link below the output directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Where it is, relative to the output directory.
    pub path: String,
    /// Where it points, relative to its own directory.
    pub target: String,
}

/// The links of a service, and what can't be linked.
pub(crate) fn links(service: &Service, unit: &UnitFile<'_>) -> (Vec<Link>, Vec<Diagnostic>) {
    let mut links = Vec::new();
    let mut findings = Vec::new();
    for alias in service.list("Install", "Alias") {
        let path = alias.trim_start_matches("./").to_owned();
        if path.is_empty() || path.starts_with('/') || path.split('/').any(|part| part == "..") {
            findings.push(refused(unit, "Alias", &alias));
            continue;
        }
        links.push(link(path, &service.name));
    }
    if let Some(started) = started_name(service) {
        for (key, directory) in [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")] {
            for by in service.list("Install", key) {
                if by.contains('/') {
                    findings.push(refused(unit, key, &by));
                    continue;
                }
                links.push(link([&*by, ".", directory, "/", &started].concat(), &service.name));
            }
        }
    }
    (links, findings)
}

/// The name that the service is started by: for a template that of its default instance, if any.
fn started_name(service: &Service) -> Option<String> {
    let (stem, extension) = service.name.rsplit_once('.')?;
    match stem.strip_suffix('@') {
        None => Some(service.name.clone()),
        Some(_) => {
            let instance = service.last("Install", "DefaultInstance")?;
            Some(format!("{stem}{instance}.{extension}")).filter(|name| !name.contains('/'))
        }
    }
}

fn link(path: String, service: &str) -> Link {
    let target = "../".repeat(path.matches('/').count()) + service;
    Link { path, target }
}

fn refused(unit: &UnitFile<'_>, key: &str, name: &str) -> Diagnostic {
    let reason = format!("\"{name}\" is a path, not the name of a unit; no link is made");
    let help = format!("write {key}= with a unit's name, such as multi-user.target");
    match unit.last("Install", key) {
        Some(entry) => entry.place().diagnose(&rules::BAD_INSTALL_NAME, Severity::Warning, reason).help(help),
        None => unit.diagnose(&rules::BAD_INSTALL_NAME, Severity::Warning, reason).help(help),
    }
}
