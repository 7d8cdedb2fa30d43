//! `registries.conf` and its drop-ins
//! ([containers-registries.conf(5)](https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md)),
//! version 2: short names, mirrors, blocked and insecure registries, rewriting of locations.
//!
//! `file` reads and checks one file; this module puts the files together and answers questions.

mod file;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::reference::{Name, Reference};

pub(crate) use file::{AUTH_FILES, drop_ins, home, user_directory};
use file::{File, Places, PullFromMirror, ShortNameMode};

/// What `registries.conf` and its drop-ins say.
#[derive(Debug, Clone, Default)]
pub struct Registries {
    root: PathBuf,
    search: Vec<String>,
    mode: ShortNameMode,
    helpers: Option<Vec<String>>,
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
    mirrors: Vec<Mirror>,
    file: PathBuf,
}

#[derive(Debug, Clone)]
struct Mirror {
    location: String,
    insecure: bool,
    used: PullFromMirror,
}

impl Registries {
    /// Reads `etc/containers/registries.conf` (else the one in `usr/share`), both directories
    /// `registries.conf.d` below `root`, normally `/`, and `short-name-aliases.conf`; a user's own
    /// files count unless that user is root. `$CONTAINERS_REGISTRIES_CONF` names another main file.
    ///
    /// # Errors
    /// [`Error::Config`] when a file cannot be understood, [`Error::Io`] when it cannot be read.
    pub fn load(root: &Path) -> Result<Self> {
        Self::load_from(root, &Places::of_this_process(root))
    }

    fn load_from(root: &Path, places: &Places) -> Result<Self> {
        let mut registries = Self { root: root.to_owned(), ..Self::default() };
        let system = [root.join("etc/containers"), root.join("usr/share/containers")];
        if let Some(named) = &places.named {
            let file = File::read(named)?.ok_or_else(|| Error::Config {
                path: named.clone(),
                reason: "there is no such file, and $CONTAINERS_REGISTRIES_CONF names it".to_owned(),
            })?;
            registries.merge(file, named)?;
        } else {
            let main = places.user.iter().chain(&system).map(|directory| directory.join("registries.conf"));
            for path in main {
                if let Some(file) = File::read(&path)? {
                    registries.merge(file, &path)?;
                    break;
                }
            }
        }
        let [etc, share] = system;
        for directory in [share, etc].into_iter().chain(places.user.clone()) {
            for path in drop_ins(&directory.join("registries.conf.d"), "conf")? {
                if let Some(file) = File::read(&path)? {
                    registries.merge(file, &path)?;
                }
            }
        }
        // What someone chose at a prompt goes before what a distribution thinks.
        if let Some(path) = &places.aliases
            && let Some(mut file) = File::read(path)?
        {
            registries.add_aliases(&mut file, path)?;
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
        registries.merge(File::parse(text, path)?, path)?;
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
            [_, _, ..] if self.mode == ShortNameMode::Enforcing => fail(format!(
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

    /// The references among which a person is to choose, if a name is short, has no alias and may
    /// mean several, and `short-name-mode` is not `disabled`.
    ///
    /// # Errors
    /// [`Error::InvalidReference`].
    pub fn choices(&self, name: &str) -> Result<Option<Vec<Reference>>> {
        let parsed = Name::parse(name)?;
        let clear = parsed.registry.is_some() || self.alias(&parsed)?.is_some();
        if clear || self.search.len() < 2 || self.mode == ShortNameMode::Disabled {
            return Ok(None);
        }
        Ok(Some(self.search.iter().map(|registry| parsed.at(registry)).collect()))
    }

    /// The first of `unqualified-search-registries`: the one that a login without a name means.
    pub fn default_registry(&self) -> Option<&str> {
        self.search.first().map(String::as_str)
    }

    /// Where credentials are kept, in the order in which they are asked for: names of credential
    /// helpers, or [`AUTH_FILES`].
    pub(crate) fn credential_helpers(&self) -> Vec<&str> {
        match &self.helpers {
            Some(helpers) => helpers.iter().map(String::as_str).collect(),
            None => vec![AUTH_FILES],
        }
    }

    /// Whether a registry may be talked to without TLS.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub(crate) fn is_insecure(&self, registry: &str) -> Result<bool> {
        match self.table(registry) {
            Some((_, prefix, table)) => table.check_blocked(registry, prefix).map(|()| table.insecure),
            None => Ok(false),
        }
    }

    /// The table that counts for a reference, its prefix, and how much of the reference that covers.
    fn table(&self, reference: &str) -> Option<(usize, &String, &Registry)> {
        self.registries
            .iter()
            .filter_map(|(prefix, registry)| Some((matched(prefix, reference)?, prefix, registry)))
            .max_by_key(|(_, prefix, _)| prefix.len())
    }

    /// Where to fetch a reference from: mirrors first, then its own location.
    ///
    /// # Errors
    /// [`Error::Blocked`].
    pub(crate) fn endpoints(&self, reference: &Reference) -> Result<Vec<Endpoint>> {
        let text = reference.to_string();
        let Some((length, prefix, registry)) = self.table(&text) else {
            return Ok(vec![Endpoint { reference: reference.clone(), insecure: false }]);
        };
        registry.check_blocked(&text, prefix)?;
        let mut endpoints = Vec::new();
        for mirror in registry.mirrors.iter().filter(|mirror| mirror.serves(reference)) {
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
    fn merge(&mut self, mut file: File, path: &Path) -> Result<()> {
        if let Some(search) = file.unqualified_search_registries.take() {
            self.search = search.iter().map(|registry| registry.trim_end_matches('/').to_owned()).collect();
        }
        self.mode = file.short_name_mode.unwrap_or(self.mode);
        self.helpers = file.credential_helpers.take().or(self.helpers.take());
        let bad = |reason: String| Error::Config { path: path.to_owned(), reason };
        self.registries.extend(file.registries(path).map_err(bad)?);
        self.add_aliases(&mut file, path)
    }

    fn add_aliases(&mut self, file: &mut File, path: &Path) -> Result<()> {
        let bad = |reason: String| Error::Config { path: path.to_owned(), reason };
        for (name, target) in file.aliases().map_err(bad)? {
            match target.is_empty() {
                true => drop(self.aliases.remove(&name)),
                false => drop(self.aliases.insert(name, target)),
            }
        }
        Ok(())
    }
}

impl Registry {
    fn check_blocked(&self, reference: &str, prefix: &str) -> Result<()> {
        if self.blocked {
            return Err(Error::Blocked {
                registry: reference.to_owned(),
                prefix: prefix.to_owned(),
                file: self.file.clone(),
            });
        }
        Ok(())
    }
}

impl Mirror {
    fn serves(&self, reference: &Reference) -> bool {
        match self.used {
            PullFromMirror::All => true,
            PullFromMirror::DigestOnly => reference.digest().is_some(),
            PullFromMirror::TagOnly => reference.digest().is_none(),
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
