//! `spec`.

use std::fs::OpenOptions;
use std::io::Write;

use anyhow::{Context, Result};
use oci_spec::runtime::{LinuxIdMappingBuilder, LinuxNamespace, LinuxNamespaceType, Spec};
use sampan_container::defaults;

use crate::args::SpecOptions;

/// Writes a configuration with default values.
pub(crate) fn spec(options: &SpecOptions) -> Result<u8> {
    let mut spec = defaults::spec();
    if let Some(mut process) = spec.process().clone() {
        process.set_args(Some(vec!["sh".into()])).set_terminal(Some(true));
        spec.set_process(Some(process));
    }
    if options.rootless {
        without_privileges(&mut spec);
    }
    let path = options.file.clone().unwrap_or_else(|| options.bundle.join("config.json"));
    let text = serde_json::to_string_pretty(&spec)?;
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write {}", path.display()))?;
    Ok(0)
}

/// What a user without root's privileges can have: a user namespace in which they are root, and no more than that
/// one user; the host's network; therefore the host's `/sys`; no group for terminals; no cgroup's limits.
fn without_privileges(spec: &mut Spec) {
    let mut linux = spec.linux().clone().unwrap_or_default();
    let mut namespaces = linux.namespaces().clone().unwrap_or_default();
    namespaces.retain(|n| n.typ() != LinuxNamespaceType::Network);
    let mut users = LinuxNamespace::default();
    users.set_typ(LinuxNamespaceType::User);
    namespaces.push(users);
    let one = |host: u32| {
        let mapping = LinuxIdMappingBuilder::default().container_id(0u32).host_id(host).size(1u32).build();
        mapping.ok().map(|mapping| vec![mapping])
    };
    linux
        .set_namespaces(Some(namespaces))
        .set_uid_mappings(one(rustix::process::geteuid().as_raw()))
        .set_gid_mappings(one(rustix::process::getegid().as_raw()))
        .set_resources(None);
    spec.set_linux(Some(linux));
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    for mount in &mut mounts {
        if mount.destination().as_os_str() == "/sys" {
            let options = ["rbind", "nosuid", "noexec", "nodev", "rro"].map(str::to_owned);
            mount
                .set_typ(Some("none".into()))
                .set_source(Some("/sys".into()))
                .set_options(Some(options.to_vec()));
        }
        if let Some(mut options) = mount.options().clone() {
            options.retain(|option| !option.starts_with("gid="));
            mount.set_options(Some(options));
        }
    }
    spec.set_mounts(Some(mounts));
}
