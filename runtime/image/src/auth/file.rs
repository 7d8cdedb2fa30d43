//! One file with credentials: `auth.json`, Docker's `config.json`, or Docker's older `.dockercfg`.

use std::collections::BTreeMap;
use std::fs::File as Handle;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::{FlockOperation, Mode, OFlags};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Secret;
use crate::error::{Error, Result};
use crate::pull::Credentials;

/// Docker's file before there was a directory: the items alone.
pub(super) const LEGACY: &str = ".dockercfg";

/// What counts in a file; the rest is kept when it is changed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct File {
    auths: BTreeMap<String, Item>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
    #[serde(rename = "credsStore")]
    store: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Item {
    auth: String,
    identitytoken: String,
}

impl std::fmt::Debug for Item {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Item(…)")
    }
}

impl Item {
    /// Docker leaves empty items where a helper has the credentials.
    fn is_empty(&self) -> bool {
        self.auth.is_empty() && self.identitytoken.is_empty()
    }

    fn secret(&self, path: &Path) -> Result<Secret> {
        if !self.identitytoken.is_empty() {
            return Ok(Secret::Identity(self.identitytoken.clone()));
        }
        let decoded = STANDARD.decode(self.auth.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let parts = decoded.as_deref().and_then(|text| text.trim_end_matches('\0').split_once(':'));
        match parts {
            // How Docker writes that the password is a refresh token.
            Some(("<token>", token)) => Ok(Secret::Identity(token.to_owned())),
            Some((user, password)) => {
                Ok(Secret::Basic(Credentials { user: user.to_owned(), password: password.to_owned() }))
            }
            None => Err(Error::Config {
                path: path.to_owned(),
                reason: "an \"auth\" value is not the base64 form of user:password; log in again".to_owned(),
            }),
        }
    }
}

impl File {
    /// Reads a file; `None` if it is not there.
    pub(super) fn read(path: &Path) -> Result<Option<Self>> {
        let text = match std::fs::read(path) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => return Ok(None),
            Err(error) => return Err(Error::io("read", path, error)),
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Ok(None);
        }
        let parsed = if path.ends_with(LEGACY) {
            serde_json::from_slice(&text).map(|auths| Self { auths, ..Self::default() })
        } else {
            serde_json::from_slice(&text)
        };
        parsed.map(Some).map_err(|error| malformed(path, &error))
    }

    /// The helper for this registry alone.
    pub(super) fn helper_of(&self, registry: &str) -> Option<&str> {
        let exact = self.helpers.get(registry);
        let legacy = || self.helpers.iter().find(|(key, _)| host_of(key) == host_of(registry));
        exact.or_else(|| legacy().map(|(_, helper)| helper)).map(String::as_str)
    }

    /// All registries that have a helper of their own, and the helpers.
    pub(super) fn helpers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.helpers.iter().map(|(registry, helper)| (registry.as_str(), helper.as_str()))
    }

    /// The helper for all other registries.
    pub(super) fn store(&self) -> Option<&str> {
        (!self.store.is_empty()).then_some(&*self.store)
    }

    /// Whether credentials are kept here for exactly this key, not for one above it.
    pub(super) fn has(&self, key: &str) -> bool {
        let same = |(other, item): (&String, &Item)| !item.is_empty() && is_same(other, key);
        self.auths.iter().any(same)
    }

    /// What is kept for the most specific key that covers `key`.
    pub(super) fn secret(&self, key: &str, registry: &str, path: &Path) -> Result<Option<Secret>> {
        let mut above = key;
        loop {
            if let Some(item) = self.auths.get(above).filter(|item| !item.is_empty()) {
                return item.secret(path).map(Some);
            }
            match above.rsplit_once('/') {
                Some((rest, _)) => above = rest,
                None => break,
            }
        }
        // What `docker login` writes: https://index.docker.io/v1/, https://host, host/v2
        let mut items = self.auths.iter().filter(|(_, item)| !item.is_empty());
        let found = items.find(|(other, _)| is_same(other, registry));
        found.map(|(_, item)| item.secret(path)).transpose()
    }
}

/// Whether a key of a file means the same as one of ours; Docker's keys are URLs.
fn is_same(other: &str, key: &str) -> bool {
    other == key || (!key.contains('/') && host_of(other) == host_of(key))
}

/// The host of a legacy key; empty (which matches nothing) for a key with a path of its own.
pub(super) fn host_of(key: &str) -> &str {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let (host, path) = bare.split_once('/').unwrap_or((bare, ""));
    match (host, path) {
        (_, path) if !matches!(path, "" | "v1" | "v1/" | "v2" | "v2/") => "",
        ("index.docker.io" | "registry-1.docker.io", _) => "docker.io",
        _ => host,
    }
}

/// Keeps credentials under a key.
pub(super) fn put(path: &Path, key: &str, credentials: &Credentials) -> Result<()> {
    let text = format!("{}:{}", credentials.user, credentials.password);
    let item = Value::Object(Map::from_iter([("auth".to_owned(), Value::from(STANDARD.encode(text)))]));
    change(path, |auths| {
        auths.insert(key.to_owned(), item);
        true
    })
}

/// Removes what is kept under a key; nothing to remove is no error.
pub(super) fn remove(path: &Path, key: &str) -> Result<()> {
    change(path, |auths| {
        let before = auths.len();
        auths.retain(|other, _| !is_same(other, key));
        auths.len() != before
    })
}

/// Removes everything that is kept in a file.
pub(super) fn clear(path: &Path) -> Result<()> {
    change(path, |auths| {
        let any = !auths.is_empty();
        auths.clear();
        any
    })
}

/// Changes the items of a file in one step; other keys stay as they are. `change` says whether
/// there is anything to write. Two at a time take turns.
fn change(path: &Path, change: impl FnOnce(&mut Map<String, Value>) -> bool) -> Result<()> {
    // The file itself is replaced, not a link to it.
    let path = &std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let _lock = lock_directory(path)?;
    let mut document = match std::fs::read(path) {
        Ok(text) if text.iter().all(u8::is_ascii_whitespace) => Map::new(),
        Ok(text) => serde_json::from_slice(&text).map_err(|error| malformed(path, &error))?,
        Err(error) if is_absent(&error) => Map::new(),
        Err(error) => return Err(Error::io("read", path, error)),
    };
    let auths = document.entry("auths").or_insert_with(|| Value::Object(Map::new()));
    let Value::Object(auths) = auths else {
        let reason = "\"auths\" is no object; correct it or remove the file".to_owned();
        return Err(Error::Config { path: path.to_owned(), reason });
    };
    if !change(auths) {
        return Ok(());
    }
    // A map of JSON values always has a text.
    let mut text = serde_json::to_vec_pretty(&document).unwrap_or_default();
    text.push(b'\n');
    replace(path, &text)
}

/// Takes the directory's own lock, which leaves no file behind. A missing directory is made.
fn lock_directory(path: &Path) -> Result<Handle> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.map_err(|error| Error::io("create", directory, error))?;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let handle = rustix::fs::open(directory, flags, Mode::empty())
        .map_err(|error| Error::io("open", directory, error))?;
    while let Err(error) = rustix::fs::flock(&handle, FlockOperation::LockExclusive) {
        if error != rustix::io::Errno::INTR {
            return Err(Error::io("lock", directory, error));
        }
    }
    Ok(Handle::from(handle))
}

/// Writes a file that only its owner may read: complete under another name first.
fn replace(path: &Path, text: &[u8]) -> Result<()> {
    let owner = std::fs::metadata(path).ok();
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    let temporary: PathBuf = path.with_file_name(name);
    // Of a process with this number that was killed.
    let _ = std::fs::remove_file(&temporary);
    let mut options = std::fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .map_err(|error| Error::io("create", &temporary, error))?;
    let written = keep_owner(&file, owner.as_ref())
        .and_then(|()| file.write_all(text))
        .and_then(|()| file.sync_all())
        .and_then(|()| std::fs::rename(&temporary, path));
    written.map_err(|error| {
        let _ = std::fs::remove_file(&temporary);
        Error::io("write", path, error)
    })
}

/// The file of another user stays that user's.
fn keep_owner(file: &Handle, owner: Option<&std::fs::Metadata>) -> io::Result<()> {
    use std::os::unix::fs::MetadataExt;
    let own = file.metadata()?;
    match owner {
        Some(owner) if (owner.uid(), owner.gid()) != (own.uid(), own.gid()) => {
            let (uid, gid) = (rustix::fs::Uid::from_raw(owner.uid()), rustix::fs::Gid::from_raw(owner.gid()));
            Ok(rustix::fs::fchown(file.as_fd(), Some(uid), Some(gid))?)
        }
        _ => Ok(()),
    }
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// The parser's message could quote a credential: only the place is told.
fn malformed(path: &Path, error: &serde_json::Error) -> Error {
    let reason = format!("not a valid auth.json (line {}, column {})", error.line(), error.column());
    Error::Config { path: path.to_owned(), reason }
}
