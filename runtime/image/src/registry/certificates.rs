//! CAs and client certificates
//! ([containers-certs.d(5)](https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md)).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsProvider, parse_pem};

use crate::error::{Error, Result};
use crate::pull::PullOptions;

/// Where distributions keep the bundle of CAs that the system trusts.
const BUNDLES: [&str; 5] = [
    "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "etc/pki/tls/certs/ca-bundle.crt",
    "etc/ssl/certs/ca-certificates.crt",
    "etc/ssl/ca-bundle.pem",
    "etc/ssl/cert.pem",
];

/// Directories with one directory per registry in them.
const PER_REGISTRY: [&str; 2] = ["etc/containers/certs.d", "etc/docker/certs.d"];

/// Where to look for certificates; nothing is read before the first HTTPS connection.
#[derive(Debug)]
pub(super) struct Places {
    bundles: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// Of these the CAs alone.
    authorities: Vec<PathBuf>,
}

impl Places {
    pub(super) fn new(options: &PullOptions<'_>, registry: &str) -> Self {
        let root = options.registries.root();
        let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
        let bundles = match named {
            Some(file) => vec![file],
            None => BUNDLES.iter().map(|bundle| root.join(bundle)).collect(),
        };
        let directories = match options.cert_dir {
            Some(directory) => vec![directory.to_owned()],
            None => PER_REGISTRY.iter().map(|directory| root.join(directory).join(registry)).collect(),
        };
        Self { bundles, directories, authorities: Vec::new() }
    }

    /// Another registry's CAs count as well; its client certificate is not for others.
    pub(super) fn and_authorities_of(mut self, options: &PullOptions<'_>, registry: &str) -> Self {
        self.authorities = Self::new(options, registry).directories;
        self
    }

    /// For the registry itself: system CAs, its own CAs, its client certificate.
    pub(super) fn registry_tls(&self, verify: bool) -> Result<TlsConfig> {
        let roots = self.roots(verify)?;
        let mut client = None;
        for directory in &self.directories {
            for path in files(directory, "cert") {
                client = Some(client_certificate(&path)?);
            }
        }
        Ok(config(roots, client, verify))
    }

    /// For hosts that the registry leads to. Where the registry may be insecure, so may its
    /// storage; its own CAs count, its client certificate does not.
    pub(super) fn foreign_tls(&self, verify: bool) -> Result<TlsConfig> {
        Ok(config(self.roots(verify)?, None, verify))
    }

    fn roots(&self, verify: bool) -> Result<Vec<Certificate<'static>>> {
        let mut roots = if verify { self.system()? } else { Vec::new() };
        for directory in self.directories.iter().chain(&self.authorities) {
            for path in files(directory, "crt") {
                roots.extend(certificates(&path)?);
            }
        }
        Ok(roots)
    }

    /// The first bundle that is there; none means that only the registry's own CAs count.
    fn system(&self) -> Result<Vec<Certificate<'static>>> {
        self.bundles.iter().find(|path| path.exists()).map_or(Ok(Vec::new()), |path| certificates(path))
    }
}

fn config(roots: Vec<Certificate<'static>>, client: Option<ClientCert>, verify: bool) -> TlsConfig {
    TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::Specific(Arc::new(roots)))
        .client_cert(client)
        .disable_verification(!verify)
        .build()
}

/// Files of a directory with an extension, in the order of their names.
fn files(directory: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|found| found == extension))
        .collect();
    paths.sort();
    paths
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", path, error))?;
    // A bundle may have entries that this parser does not like; the others still count.
    let items = parse_pem(&bytes).filter_map(|item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(certificate.to_owned()),
        _ => None,
    });
    Ok(items.collect())
}

/// A `.cert` file has its key in the `.key` file beside it.
fn client_certificate(path: &Path) -> Result<ClientCert> {
    let key_path = path.with_extension("key");
    let bytes = std::fs::read(&key_path).map_err(|error| Error::io("read", &key_path, error))?;
    let key = PrivateKey::from_pem(&bytes).map_err(|error| Error::Config {
        path: key_path,
        reason: format!("no usable private key: {error}"),
    })?;
    Ok(ClientCert::new_with_certs(&certificates(path)?, key))
}
