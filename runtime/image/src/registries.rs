//! `registries.conf` and its drop-ins
//! ([containers-registries.conf(5)](https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md)),
//! version 2: short names, mirrors, blocked and insecure registries, rewriting of locations.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::reference::{Name, Reference};

/// What `registries.conf` and its drop-ins say.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    root: PathBuf,
    search: Vec<String>,
    enforcing: bool,
    registries: BTreeMap<String, Registry>,
    aliases: BTreeMap<String, String>,
}

/// A place to fetch a reference from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Endpoint {
    /// The reference as this place knows it.
    pub(crate) reference: Reference,
    /// Plain HTTP and unverified certificates are allowed.
    pub(crate) insecure: bool,
}

#[derive(Debug, Clone)]
struct Registry {
    location: String,
    insecure: bool,
    blocked: bool,
    mirrors: Vec<MirrorTable>,
    mirror_by_digest_only: bool,
    file: PathBuf,
}

/// A file's content.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    unqualified_search_registries: Option<Vec<String>>,
    short_name_mode: Option<String>,
    #[serde(default)]
    registry: Vec<RegistryTable>,
    #[serde(default)]
    aliases: BTreeMap<String, String>,
    /// Version 1 of the format.
    registries: Option<toml::Value>,
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
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct MirrorTable {
    location: String,
    #[serde(default)]
    insecure: bool,
    #[serde(default)]
    pull_from_mirror: PullFromMirror,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum PullFromMirror {
    #[default]
    All,
    DigestOnly,
    TagOnly,
}

impl Registries {
    /// Reads `etc/containers/registries.conf` (else the one in `usr/share`) and both directories
    /// `registries.conf.d` below `root`, normally `/`; a user's own files count unless that user is
    /// root. `$CONTAINERS_REGISTRIES_CONF` names another main file.
    ///
    /// # Errors
    /// [`Error::Config`] when a file cannot be understood, [`Error::Io`] when it cannot be read.
    pub fn load(root: &Path) -> Result<Self> {
        let mut registries = Self { root: root.to_owned(), ..Self::default() };
        let user = user_directory();
        let system = [root.join("etc/containers"), root.join("usr/share/containers")];
        let named = std::env::var_os("CONTAINERS_REGISTRIES_CONF").map(PathBuf::from);
        let main = user.iter().chain(&system).map(|directory| directory.join("registries.conf"));
        for path in named.into_iter().chain(main) {
            if let Some(file) = read(&path)? {
                registries.merge(file, &path)?;
                break;
            }
        }
        let [etc, share] = system;
        for directory in [share, etc].into_iter().chain(user) {
            for path in drop_ins(&directory.join("registries.conf.d"))? {
                if let Some(file) = read(&path)? {
                    registries.merge(file, &path)?;
                }
            }
        }
        Ok(registries)
    }

    /// No configuration at all: no short names, no mirrors, HTTPS everywhere.
    pub fn empty() -> Self {
        Self { root: PathBuf::from("/"), ..Self::default() }
    }

    /// What one file says, for `fuzzing`.
    pub(crate) fn of_text(text: &str) -> Result<Self> {
        let path = Path::new("registries.conf");
        let mut registries = Self::empty();
        registries.merge(parse(text, path)?, path)?;
        Ok(registries)
    }

    /// The hosts that tables name, without their ports.
    pub(crate) fn hosts(&self) -> impl Iterator<Item = &str> {
        let locations = self.registries.values().flat_map(|registry| {
            let mirrors = registry.mirrors.iter().map(|mirror| mirror.location.as_str());
            [registry.location.as_str()].into_iter().chain(mirrors)
        });
        locations.filter_map(|location| location.split('/').next()).map(crate::reference::host)
    }

    /// Turns a name into the references to try, in order; more than one only for a short name
    /// without alias.
    ///
    /// # Errors
    /// [`Error::InvalidReference`]; [`Error::ShortName`] when a short name has no meaning, or
    /// several while `short-name-mode` is `enforcing` (a unit has nobody to ask).
    pub fn resolve(&self, name: &str) -> Result<Vec<Reference>> {
        let parsed = Name::parse(name)?;
        if let Some(registry) = &parsed.registry {
            return Ok(vec![parsed.at(registry)]);
        }
        if let Some(reference) = self.alias(&parsed)? {
            return Ok(vec![reference]);
        }
        let fail = |reason: String| Err(Error::ShortName { name: name.to_owned(), reason });
        match &self.search[..] {
            [] => fail("there is no alias for it and no unqualified-search-registries".to_owned()),
            [_, _, ..] if self.enforcing => fail(format!(
                "short-name-mode is enforcing and it may mean any of {}",
                self.search
                    .iter()
                    .map(|registry| parsed.at(registry).repository())
                    .collect::<Vec<_>>()
                    .join(", ")
            )),
            search => Ok(search.iter().map(|registry| parsed.at(registry)).collect()),
        }
    }

    /// The references that a name may mean among images that are there already; none if it is not
    /// a name.
    pub(crate) fn resolve_locally(&self, name: &str) -> Vec<Reference> {
        let Ok(parsed) = Name::parse(name.strip_prefix("docker://").unwrap_or(name)) else {
            return Vec::new();
        };
        if let Some(registry) = &parsed.registry {
            return vec![parsed.at(registry)];
        }
        let alias = self.alias(&parsed).ok().flatten();
        let search = self.search.iter().map(String::as_str);
        let registries = ["localhost"].into_iter().chain(search).chain(["docker.io"]);
        alias.into_iter().chain(registries.map(|registry| parsed.at(registry))).collect()
    }

    fn alias(&self, name: &Name) -> Result<Option<Reference>> {
        let Some(target) = self.aliases.get(&name.path) else { return Ok(None) };
        let mut target = Name::parse(target)?;
        let Some(registry) = target.registry.take() else { return Ok(None) };
        (target.tag, target.digest) = (name.tag.clone(), name.digest);
        Ok(Some(target.at(&registry)))
    }

    /// Where to fetch a reference from: mirrors first, then its own location.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub(crate) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>> {
        let text = reference.to_string();
        let found = self
            .registries
            .iter()
            .filter_map(|(prefix, registry)| Some((matched(prefix, &text)?, prefix, registry)))
            .max_by_key(|(_, prefix, _)| prefix.len());
        let Some((length, prefix, registry)) = found else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: false }]);
        };
        if registry.blocked {
            return Err(Error::Blocked {
                registry: text,
                prefix: prefix.clone(),
                file: registry.file.clone(),
            });
        }
        let mut endpoints = Vec::new();
        for mirror in registry.mirrors.iter().filter(|mirror| registry.uses(mirror, reference)) {
            let reference = rewrite(&mirror.location, &text[length..], &registry.file)?;
            endpoints.push(Endpoint { reference, insecure: mirror.insecure });
        }
        let reference = match &registry.location[..] {
            "" => reference.clone(),
            location => rewrite(location, &text[length..], &registry.file)?,
        };
        endpoints.push(Endpoint { reference, insecure: registry.insecure });
        Ok(endpoints)
    }

    /// The directory whose `etc/containers` was read.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Later files override earlier ones: whole tables by prefix, aliases one by one.
    fn merge(&mut self, file: File, path: &Path) -> Result<()> {
        let bad = |reason: String| Error::Config { path: path.to_owned(), reason };
        if file.registries.is_some() {
            return Err(bad("[registries.…] tables are format version 1; write [[registry]] tables".into()));
        }
        if let Some(search) = file.unqualified_search_registries {
            self.search = search.iter().map(|registry| registry.trim_end_matches('/').to_owned()).collect();
        }
        match file.short_name_mode.as_deref() {
            None => {}
            Some("enforcing") => self.enforcing = true,
            Some("permissive" | "disabled") => self.enforcing = false,
            Some(other) => {
                let reason = format!("short-name-mode \"{other}\": use enforcing, permissive or disabled");
                return Err(bad(reason));
            }
        }
        for table in file.registry {
            let (prefix, registry) = table.checked(path).map_err(bad)?;
            self.registries.insert(prefix, registry);
        }
        for (name, target) in file.aliases {
            if target.is_empty() {
                self.aliases.remove(&name);
                continue;
            }
            let complete = Name::parse(&target).is_ok_and(|name| name.registry.is_some());
            if !complete {
                return Err(bad(format!("alias \"{name}\": \"{target}\" needs a registry and a path")));
            }
            self.aliases.insert(name, target);
        }
        Ok(())
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
        let location = location.unwrap_or_else(|| if wildcard { String::new() } else { prefix.clone() });
        for text in [&prefix, &location].into_iter().chain(self.mirror.iter().map(|mirror| &mirror.location))
        {
            if text.contains("://") {
                return Err(format!("\"{text}\": write the registry without \"https://\""));
            }
        }
        let registry = Registry {
            location,
            insecure: self.insecure,
            blocked: self.blocked,
            mirrors: self.mirror,
            mirror_by_digest_only: self.mirror_by_digest_only,
            file: file.to_owned(),
        };
        Ok((prefix, registry))
    }
}

impl Registry {
    fn uses(&self, mirror: &MirrorTable, reference: &Reference) -> bool {
        let by_digest = reference.digest().is_some();
        match mirror.pull_from_mirror {
            PullFromMirror::All => by_digest || !self.mirror_by_digest_only,
            PullFromMirror::DigestOnly => by_digest,
            PullFromMirror::TagOnly => !by_digest,
        }
    }
}

/// How many bytes of a reference a prefix covers; `None` if it does not match. `*.example.com`
/// covers every host below `example.com`.
fn matched(prefix: &str, reference: &str) -> Option<usize> {
    let length = match prefix.strip_prefix('*') {
        Some(suffix) => {
            let host = reference.split('/').next()?;
            let host = host.split_once(':').map_or(host, |(host, _)| host);
            (host.len() > suffix.len() && host.ends_with(suffix)).then_some(host.len())?
        }
        None => reference.starts_with(prefix).then_some(prefix.len())?,
    };
    matches!(reference.as_bytes().get(length), None | Some(b'/' | b':' | b'@')).then_some(length)
}

fn rewrite(location: &str, rest: &str, file: &Path) -> Result<Reference> {
    let location = location.trim_end_matches('/');
    let bad = |reason: String| Error::Config { path: file.to_owned(), reason };
    let name = Name::parse(&format!("{location}{rest}"))
        .map_err(|error| bad(format!("location \"{location}\": {error}")))?;
    match &name.registry {
        Some(registry) => Ok(name.at(registry)),
        None => Err(bad(format!("location \"{location}\" must begin with a registry's host name"))),
    }
}

/// Configuration directory of a user other than root.
pub(crate) fn user_directory() -> Option<PathBuf> {
    let named = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = home()?;
    Some(named.unwrap_or_else(|| home.join(".config")).join("containers"))
}

/// Home of a user other than root, whose configuration and data are the system's.
pub(crate) fn home() -> Option<PathBuf> {
    if rustix::process::geteuid().is_root() {
        return None;
    }
    std::env::var_os("HOME").map(PathBuf::from)
}

fn read(path: &Path) -> Result<Option<File>> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("read", path, error)),
    };
    parse(&text, path).map(Some)
}

fn parse(text: &str, path: &Path) -> Result<File> {
    toml::from_str(text).map_err(|error| Error::Config {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}

/// The `.conf` files of a directory, in the order of their names.
fn drop_ins(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Error::io("read", directory, error)),
    };
    let mut paths: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "conf"))
        .collect();
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(files: &[(&str, &str)]) -> Result<Registries> {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Registries::load(root.path())
    }

    fn endpoints(registries: &Registries, name: &str) -> Vec<String> {
        let reference = Reference::parse(name).unwrap();
        registries
            .endpoints(&reference)
            .unwrap()
            .into_iter()
            .map(|endpoint| {
                let insecure = if endpoint.insecure { " insecure" } else { "" };
                format!("{}{insecure}", endpoint.reference)
            })
            .collect()
    }

    #[test]
    fn drop_ins_override_and_aliases_resolve() {
        let registries = load(&[
            ("usr/share/containers/registries.conf", "unqualified-search-registries = [\"ignored.io\"]"),
            (
                "etc/containers/registries.conf",
                "unqualified-search-registries = [\"a.io\", \"docker.io\"]\n[aliases]\n\"x\" = \"q.io/y/x\"\n\"gone\" = \"q.io/gone\"",
            ),
            ("etc/containers/registries.conf.d/10-a.conf", "[aliases]\nx = \"r.io/z/x\"\ngone = \"\""),
            ("etc/containers/registries.conf.d/ignored.txt", "not toml"),
        ])
        .unwrap();
        let resolve = |name: &str| -> Vec<String> {
            registries.resolve(name).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(resolve("x:1"), ["r.io/z/x:1"]);
        assert_eq!(resolve("gone"), ["a.io/gone:latest", "docker.io/library/gone:latest"]);
        assert_eq!(resolve("b.io/n"), ["b.io/n:latest"]);
    }

    #[test]
    fn a_short_name_without_one_meaning_is_an_error() {
        assert!(matches!(Registries::empty().resolve("x"), Err(Error::ShortName { .. })));
        let text = "unqualified-search-registries = [\"a.io\", \"b.io\"]\nshort-name-mode = \"enforcing\"";
        let registries = load(&[("etc/containers/registries.conf", text)]).unwrap();
        let message = registries.resolve("x").unwrap_err().to_string();
        assert!(message.contains("a.io/x, b.io/x"), "{message}");
    }

    #[test]
    fn the_longest_prefix_decides_and_mirrors_come_first() {
        let registries = load(&[(
            "etc/containers/registries.conf",
            r#"
            [[registry]]
            location = "q.io"
            [[registry.mirror]]
            location = "m.local:5000/q"
            insecure = true
            [[registry.mirror]]
            location = "d.local/q"
            pull-from-mirror = "digest-only"
            [[registry]]
            prefix = "q.io/team"
            location = "other.io/t"
            [[registry]]
            prefix = "*.corp.com"
            insecure = true
            [[registry]]
            location = "bad.io/evil"
            blocked = true
            "#,
        )])
        .unwrap();
        assert_eq!(endpoints(&registries, "q.io/a:1"), ["m.local:5000/q/a:1 insecure", "q.io/a:1"]);
        assert_eq!(endpoints(&registries, "q.io/team/a:1"), ["other.io/t/a:1"]);
        assert_eq!(endpoints(&registries, "q.io/teams/a:1").len(), 2);
        assert_eq!(endpoints(&registries, "x.corp.com:5000/a:1"), ["x.corp.com:5000/a:1 insecure"]);
        assert_eq!(endpoints(&registries, "xcorp.com/a:1"), ["xcorp.com/a:1"]);
        let blocked = registries.endpoints(&Reference::parse("bad.io/evil/x").unwrap());
        assert!(matches!(blocked, Err(Error::Blocked { .. })));
        let digest = crate::digest::Digest::of(b"");
        assert_eq!(endpoints(&registries, &format!("q.io/a@{digest}")).len(), 3);
    }

    #[test]
    fn mistakes_name_the_file() {
        for text in [
            "x = ",
            "[registries.search]\nregistries = []",
            "[[registry]]\ninsecure = true",
            "[[registry]]\nlocation = \"https://q.io\"",
            "short-name-mode = \"maybe\"",
            "[aliases]\nx = \"y\"",
        ] {
            let error = load(&[("etc/containers/registries.conf", text)]).unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{text}");
            assert!(error.to_string().contains("registries.conf"), "{error}");
        }
    }
}
