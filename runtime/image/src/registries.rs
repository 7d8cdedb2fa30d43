//! `registries.conf`.

use std::path::Path;

use crate::error::{Error, Result};
use crate::reference::{Name, Reference};

/// What `registries.conf` and its drop-ins say (containers-registries.conf(5)).
#[derive(Debug, Clone, Default)]
pub struct Registries {}

impl Registries {
    /// Reads `etc/containers/registries.conf`, `etc/containers/registries.conf.d` and their
    /// `/usr/share` variants below `root` (normally `/`).
    ///
    /// # Errors
    /// [`Error::Config`] when a file cannot be understood.
    pub fn load(_root: &Path) -> Result<Self> {
        Ok(Self::default())
    }

    /// No configuration at all: no short names, no mirrors, HTTPS everywhere.
    pub fn empty() -> Self {
        Self::default()
    }

    /// Turns a name into the references to try, in order.
    ///
    /// # Errors
    /// [`Error::InvalidReference`]; [`Error::ShortName`] when a short name has no meaning.
    pub fn resolve(&self, name: &str) -> Result<Vec<Reference>> {
        let parsed = Name::parse(name)?;
        match &parsed.registry {
            Some(registry) => Ok(vec![parsed.at(registry)]),
            None => Err(Error::ShortName { name: name.to_owned(), reason: "no aliases".into() }),
        }
    }
}
