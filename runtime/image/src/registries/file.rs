//! One configuration file: its syntax, and where such files lie.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{Mirror, Registry};
use crate::error::{Error, Result};
use crate::reference::Name;

/// The word among `credential-helpers` that stands for the files of containers-auth.json(5).
pub(crate) const AUTH_FILES: &str = "containers-auth.json";

/// Where configuration is read from; a field is absent where its files do not count.
#[derive(Debug, Clone, Default)]
pub(super) struct Places {
    /// `$CONTAINERS_REGISTRIES_CONF`: the main file, which must exist.
    pub(super) named: Option<PathBuf>,
    /// `~/.config/containers` of a user other than root.
    pub(super) user: Option<PathBuf>,
    /// `short-name-aliases.conf`, which Podman writes when someone chose at its prompt.
    pub(super) aliases: Option<PathBuf>,
}

impl Places {
    /// What the environment and the user say, below `root`.
    pub(super) fn of_this_process(root: &Path) -> Self {
        let named = variable("CONTAINERS_REGISTRIES_CONF");
        if rustix::process::geteuid().is_root() {
            let aliases = Some(root.join("var/cache/containers/short-name-aliases.conf"));
            return Self { named, user: None, aliases };
        }
        let cache = variable("XDG_CACHE_HOME").or_else(|| home().map(|home| home.join(".cache")));
        Self {
            named,
            user: user_directory(),
            aliases: cache.map(|cache| cache.join("containers/short-name-aliases.conf")),
        }
    }
}

/// Configuration directory of a user other than root.
pub(crate) fn user_directory() -> Option<PathBuf> {
    let home = home()?;
    let named = variable("XDG_CONFIG_HOME").filter(|path| path.is_absolute());
    Some(named.unwrap_or_else(|| home.join(".config")).join("containers"))
}

/// Home of a user other than root, whose configuration and data are the system's.
pub(crate) fn home() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() { None } else { variable("HOME") }
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// A file's content.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) unqualified_search_registries: Option<Vec<String>>,
    pub(super) short_name_mode: Option<ShortNameMode>,
    pub(super) credential_helpers: Option<Vec<String>>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1 of the format.
    registries: Option<toml::Value>,
    /// Keys that have no effect here.
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

/// What to do with a short name that may mean several things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ShortNameMode {
    /// Ask; it is an error where nobody can be asked.
    Enforcing,
    /// Ask; try one after the other where nobody can be asked.
    #[default]
    Permissive,
    /// Try one after the other.
    Disabled,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct RegistryTable {
    prefix: Option<String>,
    location: Option<String>,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    blocked: bool,
    #[serde(default)]
    mirror_by_digest_only: bool,
    #[serde(default)]
    mirror: Vec<MirrorTable>,
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    pull_from_mirror: Option<PullFromMirror>,
    #[serde(flatten)]
    others: BTreeMap<String, toml::Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum PullFromMirror {
    All,
    DigestOnly,
    TagOnly,
}

impl File {
    /// Reads a file; `None` if it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        Self::parse(&text, path).map(Some)
    }

    /// Understands a file's text.
    pub(super) fn parse(text: &str, path: &Path) -> Result<Self> {
        let file: Self = toml::from_str(text).map_err(|error| Error::Config {
            path: path.to_owned(),
            reason: error.to_string().trim_end().to_owned(),
        })?;
        if file.registries.is_some() {
            let reason = "[registries.…] tables are format version 1; write [[registry]] tables".to_owned();
            return Err(Error::Config { path: path.to_owned(), reason });
        }
        for key in file.unknown() {
            log::warn!("{}: {key} has no effect", path.display());
        }
        Ok(file)
    }

    /// Keys that mean nothing here, so that nobody waits for their effect.
    pub(super) fn unknown(&self) -> Vec<&str> {
        let tables = self.registry.iter();
        let in_tables = tables.flat_map(|table| {
            table.others.keys().chain(table.mirror.iter().flat_map(|mirror| mirror.others.keys()))
        });
        self.others.keys().chain(in_tables).map(String::as_str).collect()
    }

    /// The `[[registry]]` tables by prefix.
    pub(super) fn registries(&mut self, path: &Path) -> Result<BTreeMap<String, Registry>, String> {
        let mut registries: BTreeMap<String, Registry> = BTreeMap::new();
        for table in std::mem::take(&mut self.registry) {
            let (prefix, registry) = table.checked(path)?;
            let same = registries.values().find(|other| other.location == registry.location);
            if let Some(other) = same.filter(|_| !registry.location.is_empty()) {
                for (key, differs) in [
                    ("insecure", other.insecure != registry.insecure),
                    ("blocked", other.blocked != registry.blocked),
                ] {
                    if differs {
                        return Err(format!(
                            "two [[registry]] tables for \"{}\" say different things about {key}",
                            registry.location
                        ));
                    }
                }
            }
            registries.insert(prefix, registry);
        }
        Ok(registries)
    }

    /// The aliases; an empty value takes one away.
    pub(super) fn aliases(&mut self) -> Result<BTreeMap<String, String>, String> {
        let aliases = std::mem::take(&mut self.aliases);
        for (name, target) in &aliases {
            let bare = |name: &Name| name.tag.is_none() && name.digest.is_none();
            let short = |name: &Name| name.registry.is_none() && bare(name);
            if !Name::parse(name).is_ok_and(|name| short(&name)) {
                return Err(format!("alias \"{name}\": it must be a name without registry, tag and digest"));
            }
            let whole = |name: &Name| name.registry.is_some() && bare(name);
            if !target.is_empty() && !Name::parse(target).is_ok_and(|target| whole(&target)) {
                return Err(format!(
                    "alias \"{name}\": \"{target}\" needs a registry and a path, and no tag or digest"
                ));
            }
        }
        Ok(aliases)
    }
}

impl RegistryTable {
    fn checked(self, file: &Path) -> Result<(String, Registry), String> {
        let trimmed = |text: Option<String>| {
            text.map(|text| text.trim_end_matches('/').to_owned()).filter(|text| !text.is_empty())
        };
        let (prefix, location) = (trimmed(self.prefix), trimmed(self.location));
        let wildcard = prefix.as_ref().is_some_and(|prefix| prefix.starts_with("*."));
        let prefix =
            prefix.or_else(|| location.clone()).ok_or("a [[registry]] table needs a location or a prefix")?;
        if prefix.strip_prefix("*.").unwrap_or(&prefix).contains('*') {
            return Err(format!("prefix \"{prefix}\": only \"*.\" at its beginning stands for any host"));
        }
        let location = location.unwrap_or_else(|| if wildcard { String::new() } else { prefix.clone() });
        for text in [&prefix, &location].into_iter().chain(self.mirror.iter().map(|mirror| &mirror.location))
        {
            if text.contains("://") {
                return Err(format!("\"{text}\": write the registry without \"https://\""));
            }
        }
        if self.mirror_by_digest_only && self.mirror.iter().any(|mirror| mirror.pull_from_mirror.is_some()) {
            return Err(format!(
                "registry \"{prefix}\": mirror-by-digest-only and pull-from-mirror cannot both be set"
            ));
        }
        let default =
            if self.mirror_by_digest_only { PullFromMirror::DigestOnly } else { PullFromMirror::All };
        let mirrors = self.mirror.into_iter().map(|mirror| Mirror {
            location: mirror.location.trim_end_matches('/').to_owned(),
            insecure: mirror.insecure,
            used: mirror.pull_from_mirror.unwrap_or(default),
        });
        let registry = Registry {
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors: mirrors.collect(),
            file: file.to_owned(),
        };
        Ok((prefix, registry))
    }
}

/// The files of a configuration directory with an extension, in the order of their names.
pub(crate) fn drop_ins(directory: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory, error)),
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    Ok(paths)
}
