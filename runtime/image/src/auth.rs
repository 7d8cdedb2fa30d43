//! Credentials from `auth.json`
//! ([containers-auth.json(5)](https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md)).
//!
//! No credential is ever part of an error or a log line; errors name the file only.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::error::{Error, Result};
use crate::pull::{Credentials, PullOptions};
use crate::reference::Reference;

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

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    auths: BTreeMap<String, Item>,
}

#[derive(Default, Deserialize)]
struct Item {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    identitytoken: String,
}

/// The secret for a repository: from the options, else from the first file that has one for the
/// repository, a namespace above it, or its registry.
pub(crate) fn find(reference: &Reference, options: &PullOptions<'_>) -> Result<Option<Secret>> {
    if let Some(credentials) = options.credentials {
        return Ok(Some(Secret::Basic(credentials.clone())));
    }
    for path in files(options) {
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        // The parser's message could quote a credential: only the place is told.
        let file: File = serde_json::from_slice(&text).map_err(|error| Error::Config {
            path: path.clone(),
            reason: format!("not a valid auth.json (line {}, column {})", error.line(), error.column()),
        })?;
        if let Some(item) = lookup(&file, reference) {
            return secret(item, &path).map(Some);
        }
    }
    Ok(None)
}

/// The file that is named in messages: the one in use, else the first that would be.
pub(crate) fn shown_file(options: &PullOptions<'_>) -> String {
    let files = files(options);
    let shown = files.iter().find(|path| path.exists()).or(files.first());
    shown.map(|path| path.display().to_string()).unwrap_or_else(|| "auth.json".to_owned())
}

fn files(options: &PullOptions<'_>) -> Vec<PathBuf> {
    let named = options.auth_file.map(PathBuf::from).or_else(|| variable("REGISTRY_AUTH_FILE"));
    if let Some(file) = named {
        return vec![file];
    }
    let uid = rustix::process::geteuid();
    let runtime = match variable("XDG_RUNTIME_DIR").filter(|_| !uid.is_root()) {
        Some(directory) => directory.join("containers/auth.json"),
        None => options.registries.root().join(format!("run/containers/{}/auth.json", uid.as_raw())),
    };
    let home = home(options.registries.root());
    let config = variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")));
    let docker = variable("DOCKER_CONFIG").or_else(|| home.map(|home| home.join(".docker")));
    let mut files = vec![runtime];
    files.extend(config.map(|directory| directory.join("containers/auth.json")));
    files.extend(docker.map(|directory| directory.join("config.json")));
    files
}

/// The user's home directory. A system service has no `$HOME`.
pub(crate) fn home(root: &Path) -> Option<PathBuf> {
    variable("HOME").or_else(|| rustix::process::geteuid().is_root().then(|| root.join("root")))
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn lookup<'a>(file: &'a File, reference: &Reference) -> Option<&'a Item> {
    let mut key = reference.repository();
    loop {
        if let Some(item) = file.auths.get(&key) {
            return Some(item);
        }
        match key.rsplit_once('/') {
            Some((above, _)) => key = above.to_owned(),
            None => break,
        }
    }
    // What `docker login` writes: https://index.docker.io/v1/, https://host, host/v2
    file.auths.iter().find(|(key, _)| host_of(key) == host_of(reference.registry())).map(|(_, item)| item)
}

/// The host of a legacy key; empty (which matches nothing) for a key with a path of its own.
fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    match (host, path) {
        (_, path) if !matches!(path, "" | "v1" | "v1/" | "v2" | "v2/") => "",
        ("index.docker.io" | "registry-1.docker.io", _) => "docker.io",
        _ => host,
    }
}

fn secret(item: &Item, path: &Path) -> Result<Secret> {
    if !item.identitytoken.is_empty() {
        return Ok(Secret::Identity(item.identitytoken.clone()));
    }
    let decoded = STANDARD.decode(item.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let parts = decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
    match parts {
        Some((user, password)) => {
            Ok(Secret::Basic(Credentials { user: user.to_owned(), password: password.to_owned() }))
        }
        None => Err(Error::Config {
            path: path.to_owned(),
            reason: "an \"auth\" value is not the base64 form of user:password; log in again".to_owned(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find_in(text: &str, name: &str) -> Option<String> {
        let file: File = serde_json::from_str(text).unwrap();
        let item = lookup(&file, &Reference::parse(name).unwrap())?;
        match secret(item, Path::new("auth.json")).unwrap() {
            Secret::Basic(credentials) => Some(format!("{}:{}", credentials.user, credentials.password)),
            Secret::Identity(token) => Some(token),
        }
    }

    #[test]
    fn the_most_specific_key_is_used() {
        let text = r#"{"auths": {
            "q.io": {"auth": "aG9zdDpw"},
            "q.io/team": {"auth": "dGVhbTpwOnA="},
            "https://index.docker.io/v1/": {"auth": "aHViOnA="},
            "token.io": {"identitytoken": "t"}
        }}"#;
        assert_eq!(find_in(text, "q.io/x").unwrap(), "host:p");
        assert_eq!(find_in(text, "q.io/team/x").unwrap(), "team:p:p");
        assert_eq!(find_in(text, "nginx").unwrap(), "hub:p");
        assert_eq!(find_in(text, "token.io/x").unwrap(), "t");
        assert_eq!(find_in(text, "other.io/x"), None);
    }

    #[test]
    fn a_broken_file_is_named_but_not_quoted() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("auth.json");
        std::fs::write(&path, r#"{"auths": {"q.io": {"auth": 5, "password": "hunter2"}}}"#).unwrap();
        let registries = crate::Registries::empty();
        let policy = crate::Policy::accept_anything();
        let options = PullOptions { auth_file: Some(&path), ..PullOptions::new(&registries, &policy) };
        let message = find(&Reference::parse("q.io/x").unwrap(), &options).unwrap_err().to_string();
        assert!(message.contains("auth.json") && !message.contains("hunter2"), "{message}");
    }
}
