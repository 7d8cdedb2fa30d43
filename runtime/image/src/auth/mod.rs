//! Credentials of registries
//! ([containers-auth.json(5)](https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md)).
//!
//! `file` reads and changes one file, `helper` talks to programs that keep credentials elsewhere,
//! `login` is what people do with both. This module knows the places and their order.
//!
//! No credential is ever part of an error, a log line or a command line; errors name places only.

mod file;
mod helper;
mod login;
#[cfg(test)]
mod tests;

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::pull::{Credentials, PullOptions};
use crate::reference::Reference;
use crate::registries::AUTH_FILES;

pub use login::{Login, LoginKey};

/// How to introduce oneself to a registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Secret {
    /// User and password.
    Basic(Credentials),
    /// OAuth2 refresh token (`identitytoken`).
    Identity(String),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Secret::Basic(_) => "Basic(…)",
            Secret::Identity(_) => "Identity(…)",
        })
    }
}

/// The user's home directory. A system service has no `$HOME`.
pub(crate) fn home(root: &Path) -> Option<PathBuf> {
    variable("HOME").or_else(|| rustix::process::geteuid().is_root().then(|| root.join("root")))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

/// Where files with credentials are. [`Places::of`] asks the environment.
#[derive(Debug, Clone)]
struct Places {
    /// The one that is written; also read first.
    main: PathBuf,
    /// Those that are only read.
    others: Vec<PathBuf>,
}

impl Places {
    fn of(options: &PullOptions<'_>) -> Self {
        let named = options.auth_file.map(PathBuf::from).or_else(|| variable("REGISTRY_AUTH_FILE"));
        if let Some(main) = named {
            return Self { main, others: Vec::new() };
        }
        let root = options.registries.root();
        let uid = rustix::process::geteuid();
        let own = variable("XDG_RUNTIME_DIR").map(|directory| directory.join("containers/auth.json"));
        let fixed = root.join(format!("run/containers/{}/auth.json", uid.as_raw()));
        // Services of the system have no $XDG_RUNTIME_DIR: what root writes must be where they
        // look. What Podman wrote in root's session is read after it.
        let (main, session) = if uid.is_root() { (fixed, own) } else { (own.unwrap_or(fixed), None) };
        let home = home(root);
        let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
        let docker = variable("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let mut others: Vec<PathBuf> = session.into_iter().collect();
        others.extend(config.map(|directory| directory.join("containers/auth.json")));
        others.extend(docker.map(|directory| directory.join("config.json")));
        others.extend(home.map(|home| home.join(file::LEGACY)));
        Self { main, others }
    }

    fn all(&self) -> impl Iterator<Item = &PathBuf> {
        std::iter::once(&self.main).chain(&self.others)
    }
}

/// The secret for a repository: from the options, else from the first place that has one for the
/// repository, a namespace above it, or its registry.
pub(crate) fn find(reference: &Reference, options: &PullOptions<'_>) -> Result<Option<Secret>> {
    if let Some(credentials) = options.credentials {
        return Ok(Some(Secret::Basic(credentials.clone())));
    }
    find_stored(&reference.repository(), reference.registry(), options)
}

/// The secret that is kept for `key`, a registry or a part of one.
fn find_stored(key: &str, registry: &str, options: &PullOptions<'_>) -> Result<Option<Secret>> {
    let places = Places::of(options);
    let mut failed = None;
    for helper in options.registries.credential_helpers() {
        let found = match helper {
            AUTH_FILES => in_files(&places, key, registry),
            helper => helper::get(helper, registry),
        };
        match found {
            Ok(Some(secret)) => return Ok(Some(secret)),
            Ok(None) => {}
            // Another helper may still know.
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    failed.map_or(Ok(None), Err)
}

fn in_files(places: &Places, key: &str, registry: &str) -> Result<Option<Secret>> {
    for path in places.all() {
        let Some(file) = file::File::read(path)? else { continue };
        if let Some(helper) = file.helper_of(registry) {
            return helper::get(helper, registry);
        }
        if let Some(secret) = file.secret(key, registry, path)? {
            return Ok(Some(secret));
        }
        // Docker's default for all registries is no word about this one: without it a public image
        // can still be had.
        match file.store().map(|helper| helper::get(helper, registry)) {
            Some(Ok(Some(secret))) => return Ok(Some(secret)),
            Some(Err(error)) => log::warn!("{error}"),
            Some(Ok(None)) | None => {}
        }
    }
    Ok(None)
}

/// The file that is named in messages: the one in use, else the first that would be.
pub(crate) fn shown_file(options: &PullOptions<'_>) -> String {
    let places = Places::of(options);
    let shown = places.all().find(|path| path.exists()).unwrap_or(&places.main);
    shown.display().to_string()
}
