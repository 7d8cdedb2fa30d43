//! Logging in and out: credentials are verified, then kept where pulls look for them.

use std::fmt;

use super::file::{self, File};
use super::{Places, Secret, find_stored, helper};
use crate::error::{Error, Result};
use crate::pull::{Credentials, PullOptions};
use crate::reference::{Name, is_registry};
use crate::registries::AUTH_FILES;
use crate::registry;

/// What credentials are for: a registry, or a namespace or repository in one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginKey {
    registry: String,
    key: String,
}

/// What a login has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The file or credential helper that has the credentials now.
    pub kept_in: String,
    /// Whether the registry asked for them; one that lets everybody in cannot say that they are
    /// wrong.
    pub checked: bool,
}

impl LoginKey {
    /// Parses `[docker://|https://]registry[/namespace…]`. Of a URL only the host counts.
    ///
    /// # Errors
    /// [`Error::InvalidReference`], also for a name with a tag or digest.
    pub fn parse(text: &str) -> Result<Self> {
        let fail = |reason: &str| Err(Error::reference(text, reason));
        let bare = text.strip_prefix("docker://").unwrap_or(text).trim_end_matches('/');
        let url = bare.strip_prefix("https://").or_else(|| bare.strip_prefix("http://"));
        let key = match url {
            Some(url) => url.split('/').next().unwrap_or_default(),
            None => bare,
        };
        let registry = key.split('/').next().unwrap_or_default();
        if registry.contains('@') {
            return fail("credentials in it are not read; use --username and --password-stdin");
        }
        if registry.is_empty() || !is_registry(registry) {
            return fail("it must begin with the host name of a registry");
        }
        if key != registry {
            // Its first component is a registry even if it has no dot.
            let path = &key[registry.len() + 1..];
            match Name::parse(&format!("localhost/{path}")) {
                Ok(name) if name.tag.is_none() && name.digest.is_none() => {}
                Ok(_) => return fail("credentials are for a repository: leave the tag or digest out"),
                Err(error) => return Err(error),
            }
        }
        let host = file::host_of(registry);
        let registry = if host.is_empty() { registry } else { host };
        let key = match key.split_once('/') {
            Some((_, path)) => format!("{registry}/{path}"),
            None => registry.to_owned(),
        };
        Ok(Self { registry: registry.to_owned(), key })
    }

    /// Host name and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    fn is_part(&self) -> bool {
        self.key != self.registry
    }

    /// User and password that are kept for this key or for one above it; nothing for a token.
    ///
    /// # Errors
    /// [`Error::Config`] for a file that cannot be understood, [`Error::CredentialHelper`].
    pub fn stored(&self, options: &PullOptions<'_>) -> Result<Option<Credentials>> {
        Ok(match find_stored(&self.key, &self.registry, options)? {
            Some(Secret::Basic(credentials)) => Some(credentials),
            Some(Secret::Identity(_)) | None => None,
        })
    }

    /// Verifies credentials with the registry and keeps them.
    ///
    /// # Errors
    /// [`Error::LoginRefused`], the errors of a connection, or it cannot be kept. Nothing has
    /// changed then.
    pub fn login(&self, credentials: &Credentials, options: &PullOptions<'_>) -> Result<Login> {
        if credentials.user.contains(':') {
            return Err(Error::reference(&self.key, "a user name cannot have a colon"));
        }
        let verifying = PullOptions { credentials: Some(credentials), ..*options };
        let checked = registry::verify_login(&self.registry, &verifying)?;
        let kept_in = self.keep(credentials, options)?;
        Ok(Login { kept_in, checked })
    }

    /// The first place that takes them.
    fn keep(&self, credentials: &Credentials, options: &PullOptions<'_>) -> Result<String> {
        let mut failed = None;
        for helper in options.registries.credential_helpers() {
            let kept = match helper {
                AUTH_FILES => self.keep_in_file(credentials, options),
                helper => self.keep_in_helper(helper, credentials),
            };
            match kept {
                Ok(place) => return Ok(place),
                Err(error) => drop(failed.get_or_insert(error)),
            }
        }
        Err(failed.unwrap_or_else(|| self.no_place()))
    }

    fn keep_in_file(&self, credentials: &Credentials, options: &PullOptions<'_>) -> Result<String> {
        let path = Places::of(options).main;
        let file = File::read(&path)?.unwrap_or_default();
        if let Some(helper) = file.helper_of(&self.registry) {
            return self.keep_in_helper(helper, credentials);
        }
        if let Some(helper) = file.store().filter(|_| !self.is_part()) {
            return self.keep_in_helper(helper, credentials);
        }
        file::put(&path, &self.key, credentials)?;
        Ok(path.display().to_string())
    }

    fn keep_in_helper(&self, helper: &str, credentials: &Credentials) -> Result<String> {
        if self.is_part() {
            return Err(Error::CredentialHelper {
                helper: helper.to_owned(),
                action: "store".to_owned(),
                reason: format!(
                    "it keeps credentials of whole registries only; log in to {} or use --authfile",
                    self.registry
                ),
            });
        }
        helper::store(helper, &self.registry, credentials)?;
        Ok(format!("the credential helper {helper}"))
    }

    fn no_place(&self) -> Error {
        Error::reference(&self.key, "credential-helpers in registries.conf is empty: nothing keeps it")
    }

    /// Removes what is kept for exactly this key.
    ///
    /// # Errors
    /// [`Error::NotLoggedIn`] if there was nothing; a place that cannot be read or changed.
    pub fn logout(&self, options: &PullOptions<'_>) -> Result<()> {
        let places = Places::of(options);
        let mut removed = false;
        for helper in options.registries.credential_helpers() {
            removed |= match helper {
                AUTH_FILES => self.remove_from_file(&places)?,
                _ if self.is_part() => false,
                helper => helper::erase(helper, &self.registry)?,
            };
        }
        if removed {
            return Ok(());
        }
        let has = |path: &&std::path::PathBuf| {
            File::read(path).ok().flatten().is_some_and(|file| file.has(&self.key))
        };
        let elsewhere = places.others.iter().find(has);
        Err(Error::NotLoggedIn {
            registry: self.key.clone(),
            hint: elsewhere.map_or_else(String::new, |path| {
                format!("; {} has credentials for it, which another tool wrote", path.display())
            }),
        })
    }

    fn remove_from_file(&self, places: &Places) -> Result<bool> {
        let Some(file) = File::read(&places.main)? else { return Ok(false) };
        let mut removed = false;
        let helper = file.helper_of(&self.registry).or(file.store());
        if let Some(helper) = helper.filter(|_| !self.is_part()) {
            removed |= helper::erase(helper, &self.registry)?;
        }
        if file.has(&self.key) {
            file::remove(&places.main, &self.key)?;
            removed = true;
        }
        Ok(removed)
    }

    /// Removes everything that is kept where [`LoginKey::login`] keeps it.
    ///
    /// # Errors
    /// A place that cannot be read or changed.
    pub fn logout_all(options: &PullOptions<'_>) -> Result<()> {
        let path = Places::of(options).main;
        for helper in options.registries.credential_helpers() {
            if helper != AUTH_FILES {
                helper::erase_all(helper)?;
                continue;
            }
            let Some(file) = File::read(&path)? else { continue };
            for (registry, helper) in file.helpers() {
                helper::erase(helper, registry)?;
            }
            if let Some(helper) = file.store() {
                helper::erase_all(helper)?;
            }
            file::clear(&path)?;
        }
        Ok(())
    }
}

impl fmt::Display for LoginKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)
    }
}
