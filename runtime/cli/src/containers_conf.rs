//! The `[containers]` table of containers.conf(5), and of `[engine]` what fetching is about: the host's defaults for what
//! a unit leaves open.
//!
//! Read, never written: `/usr/share/containers/containers.conf`, then `/etc`, then the drop-ins of both, then the
//! modules that `--module` names; a later value replaces an earlier one. Keys that configure Podman's own helpers
//! (conmon, netavark, the API service) mean nothing here and are passed over.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::Deserialize;

const DIRECTORIES: [&str; 2] = ["/usr/share/containers", "/etc/containers"];

/// A containers.conf file, as far as it concerns a container's start.
#[derive(Debug, Default, Clone, Deserialize)]
pub(crate) struct ContainersConf {
    /// The `[containers]` table.
    #[serde(default)]
    pub(crate) containers: Containers,
    /// The `[engine]` table.
    #[serde(default)]
    pub(crate) engine: Engine,
}

/// Defaults of fetching.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Engine {
    pub(crate) retry: Option<u32>,
    pub(crate) retry_delay: Option<String>,
}

/// Defaults of new containers. Absent means: what Podman has built in.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(default)]
pub(crate) struct Containers {
    pub(crate) annotations: Vec<String>,
    pub(crate) base_hosts_file: Option<String>,
    pub(crate) container_name_as_hostname: Option<bool>,
    pub(crate) default_capabilities: Option<Vec<String>>,
    pub(crate) default_sysctls: Vec<String>,
    pub(crate) default_ulimits: Vec<String>,
    pub(crate) devices: Vec<String>,
    pub(crate) dns_options: Vec<String>,
    pub(crate) dns_searches: Vec<String>,
    pub(crate) dns_servers: Vec<String>,
    pub(crate) env: Vec<String>,
    pub(crate) env_host: Option<bool>,
    pub(crate) host_containers_internal_ip: Option<String>,
    pub(crate) http_proxy: Option<bool>,
    pub(crate) init: Option<bool>,
    pub(crate) init_path: Option<PathBuf>,
    pub(crate) label: Option<bool>,
    pub(crate) no_hosts: Option<bool>,
    pub(crate) pids_limit: Option<i64>,
    pub(crate) read_only: Option<bool>,
    pub(crate) seccomp_profile: Option<PathBuf>,
    pub(crate) shm_size: Option<String>,
    pub(crate) tz: Option<String>,
    pub(crate) umask: Option<String>,
    pub(crate) volumes: Vec<String>,
}

/// Reads the host's files and these modules.
///
/// # Errors
/// A file that is not TOML or has a value of the wrong type, or a module that is not there.
pub(crate) fn load(modules: &[PathBuf]) -> anyhow::Result<ContainersConf> {
    let (mut merged, mut engine) = (toml::Table::new(), toml::Table::new());
    for path in files(modules)? {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let table: toml::Table =
            text.parse().with_context(|| format!("{} is not valid TOML", path.display()))?;
        if let Some(toml::Value::Table(containers)) = table.get("containers") {
            merge(&mut merged, containers.clone());
        }
        if let Some(toml::Value::Table(table)) = table.get("engine") {
            let ours = table.iter().filter(|(key, _)| ["retry", "retry_delay"].contains(&key.as_str()));
            engine.extend(ours.map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    let containers =
        merged.try_into().context("containers.conf has a value of the wrong type in [containers]")?;
    let engine = engine.try_into().context("containers.conf has a value of the wrong type in [engine]")?;
    Ok(ContainersConf { containers, engine })
}

fn files(modules: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for directory in DIRECTORIES.map(Path::new) {
        files.push(directory.join("containers.conf"));
    }
    for directory in DIRECTORIES.map(Path::new) {
        let mut drop_ins: Vec<_> = std::fs::read_dir(directory.join("containers.conf.d"))
            .into_iter()
            .flatten()
            .filter_map(|entry| Some(entry.ok()?.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
            .collect();
        drop_ins.sort();
        files.append(&mut drop_ins);
    }
    for module in modules {
        files.push(find_module(module)?);
    }
    Ok(files)
}

/// The file of a module.
///
/// # Errors
/// There is none.
pub(crate) fn find_module(module: &Path) -> anyhow::Result<PathBuf> {
    if module.is_absolute() {
        ensure!(module.exists(), "no containers.conf module {}", module.display());
        return Ok(module.to_path_buf());
    }
    let candidates: Vec<_> =
        DIRECTORIES.iter().rev().map(|d| Path::new(d).join("containers.conf.modules").join(module)).collect();
    candidates
        .iter()
        .find(|path| path.exists())
        .cloned()
        .with_context(|| format!("no containers.conf module {}: looked for {candidates:?}", module.display()))
}

/// An array that ends with `{append=true}` adds to the earlier one, containers.conf(5) "APPENDING TO STRING ARRAYS".
fn merge(into: &mut toml::Table, from: toml::Table) {
    for (key, value) in from {
        let toml::Value::Array(items) = value else {
            into.insert(key, value);
            continue;
        };
        let append = items.iter().any(|item| item.get("append").and_then(toml::Value::as_bool) == Some(true));
        let items = items.into_iter().filter(|item| !item.is_table());
        match into.get_mut(&key) {
            Some(toml::Value::Array(earlier)) if append => earlier.extend(items),
            _ => {
                into.insert(key, toml::Value::Array(items.collect()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_array_replaces_or_appends() {
        let mut merged: toml::Table = "env = ['A=1']\ntz = 'UTC'".parse().unwrap();
        merge(&mut merged, "env = ['B=2', {append=true}]".parse().unwrap());
        let conf: Containers = merged.clone().try_into().unwrap();
        assert_eq!((conf.env, conf.tz.as_deref()), (vec!["A=1".into(), "B=2".into()], Some("UTC")));
        merge(&mut merged, "env = ['C=3']".parse().unwrap());
        let conf: Containers = merged.try_into().unwrap();
        assert_eq!(conf.env, ["C=3"]);
    }
}
