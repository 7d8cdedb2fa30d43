//! The `[containers]` table of containers.conf(5), of `[engine]` what fetching is about, and of `[network]` where
//! containers and subnets belong: the host's defaults for what a unit leaves open.
//!
//! Read, never written: `/usr/share/containers/containers.conf`, then `/etc`, then the drop-ins of both, then the
//! modules that `--module` names; a later value replaces an earlier one. Keys that configure Podman's own helpers
//! (conmon, netavark, the API service) mean nothing here; of those that are about networks the user is told
//! ([`passed_over`](passed_over::passed_over)).

mod passed_over;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use sampan_network::{DEFAULT_NETWORK, Defaults, Error, Pool};
use serde::Deserialize;

pub(crate) use self::passed_over::{PassedOver, passed_over};

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
    /// The `[network]` table.
    #[serde(default)]
    pub(crate) network: Network,
}

/// Defaults of fetching.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Engine {
    pub(crate) retry: Option<u32>,
    pub(crate) retry_delay: Option<String>,
}

/// The keys of `[network]` that mean something here.
const NETWORK_KEYS: [&str; 3] = ["default_network", "default_subnet", "default_subnet_pools"];

/// Defaults of networks.
#[derive(Debug, Default, Clone, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct Network {
    pub(crate) default_network: Option<String>,
    pub(crate) default_subnet: Option<String>,
    pub(crate) default_subnet_pools: Vec<SubnetPool>,
}

/// A block of addresses, and the prefix length of the parts that networks get of it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct SubnetPool {
    base: String,
    size: u8,
}

impl Network {
    /// The network of containers that name none. The name that Podman has built in stands in files as an example, and
    /// means the one that we have built in.
    pub(crate) fn default_name(&self) -> &str {
        match self.default_network.as_deref() {
            None | Some("" | "podman") => DEFAULT_NETWORK,
            Some(name) => name,
        }
    }

    /// As networks take it.
    fn defaults(&self) -> anyhow::Result<Defaults> {
        let subnet = self.default_subnet.as_deref().filter(|text| !text.is_empty());
        let pool = |pool: &SubnetPool| anyhow::Ok(Pool::new(pool.base.parse()?, pool.size)?);
        Ok(Defaults {
            network: self.default_name().to_owned(),
            subnet: subnet.map(str::parse).transpose().context("default_subnet")?,
            pools: self
                .default_subnet_pools
                .iter()
                .map(pool)
                .collect::<Result<_, _>>()
                .context("default_subnet_pools")?,
        })
    }
}

/// What the host's files say of networks. Modules have no part in it: networks are there for everyone.
///
/// # Errors
/// As [`load`]; a value that can't be.
pub(crate) fn network_defaults() -> Result<Defaults, Error> {
    // Networks are made seldom, and that is when somebody looks for what these keys have done.
    for key in passed_over().unwrap_or_default() {
        log::warn!("{key}");
    }
    load(&[]).and_then(|conf| conf.network.defaults()).map_err(|error| Error::Invalid {
        what: "file",
        value: "containers.conf".to_owned(),
        why: format!("{error:#}"),
    })
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
    let (mut merged, mut engine, mut network) = Default::default();
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
        replace(&mut engine, &table, "engine", &["retry", "retry_delay"]);
        replace(&mut network, &table, "network", &NETWORK_KEYS);
    }
    let containers =
        merged.try_into().context("containers.conf has a value of the wrong type in [containers]")?;
    let engine = engine.try_into().context("containers.conf has a value of the wrong type in [engine]")?;
    let network = network.try_into().context("containers.conf has a value of the wrong type in [network]")?;
    Ok(ContainersConf { containers, engine, network })
}

/// Lets a file's values of these keys replace earlier ones.
fn replace(into: &mut toml::Table, file: &toml::Table, table: &str, keys: &[&str]) {
    if let Some(toml::Value::Table(table)) = file.get(table) {
        let ours = table.iter().filter(|(key, _)| keys.contains(&key.as_str()));
        into.extend(ours.map(|(key, value)| (key.clone(), value.clone())));
    }
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
    fn networks_have_a_default_and_pools() {
        let of = |text: &str| {
            let mut network = toml::Table::new();
            replace(&mut network, &text.parse().unwrap(), "network", &NETWORK_KEYS);
            let network: Network = network.try_into().unwrap();
            network.defaults()
        };
        let defaults =
            of("[network]\ndefault_network = 'podman'\nnetwork_backend = 'netavark'\ndns_bind_port = 1\n");
        assert_eq!(defaults.unwrap(), Defaults::default());
        let defaults = of("[network]\ndefault_network = 'main'\ndefault_subnet = '10.200.0.0/16'\n\
                           default_subnet_pools = [{'base' = '10.201.0.0/16', 'size' = 24}]\n");
        let defaults = defaults.unwrap();
        assert_eq!(defaults.network, "main");
        assert_eq!(defaults.subnet.unwrap().to_string(), "10.200.0.0/16");
        assert_eq!(defaults.pools, [Pool::new("10.201.0.0/16".parse().unwrap(), 24).unwrap()]);
        for (wrong, words) in [
            ("default_subnet = '10.0.0.0'", "default_subnet"),
            ("default_subnet_pools = [{'base' = '10.0.0.0/24', 'size' = 16}]", "10.0.0.0/24 in parts of /16"),
        ] {
            let error = of(&format!("[network]\n{wrong}\n")).unwrap_err();
            assert!(format!("{error:#}").contains(words), "{error:#}");
        }
    }

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
