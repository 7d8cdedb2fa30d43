//! CAs and client certificates
//! ([containers-certs.d(5)](https://github.com/containers/image/blob/main/docs/containers-certs.d.5.md)).

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
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

/// Directories with one directory per registry (`host:port`) in them, after the user's own.
const PER_REGISTRY: [&str; 2] = ["etc/containers/certs.d", "etc/docker/certs.d"];
/// The user's own, in the home directory.
const PER_REGISTRY_OF_USER: &str = ".config/containers/certs.d";

/// Where to look for certificates; nothing is read before the first HTTPS connection.
#[derive(Debug)]
pub(super) struct Places {
    bundles: Vec<PathBuf>,
    directories: Vec<PathBuf>,
    /// Of this one the CAs alone.
    authorities: Option<PathBuf>,
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
            None => {
                let own = crate::auth::home(root).map(|home| home.join(PER_REGISTRY_OF_USER));
                let system = PER_REGISTRY.iter().map(|directory| root.join(directory));
                own.into_iter().chain(system).map(|directory| directory.join(registry)).collect()
            }
        };
        Self { bundles, directories, authorities: None }
    }

    /// Another registry's CAs count as well; its client certificate is not for others.
    pub(super) fn and_authorities_of(mut self, options: &PullOptions<'_>, registry: &str) -> Self {
        self.authorities = Self::new(options, registry).directory().map(Path::to_owned);
        self
    }

    /// The first directory that the registry has; the others don't count, as for Podman.
    fn directory(&self) -> Option<&Path> {
        self.directories.iter().map(PathBuf::as_path).find(|directory| directory.is_dir())
    }

    /// For the registry itself: system CAs, its own CAs, its client certificate.
    pub(super) fn registry_tls(&self, verify: bool) -> Result<TlsConfig> {
        let roots = self.roots(verify)?;
        let mut client = None;
        if let Some(directory) = self.directory() {
            for path in files(directory, "key") {
                let certificate = path.with_extension("cert");
                if !certificate.is_file() {
                    let reason = format!("the certificate {} is missing", certificate.display());
                    return Err(Error::Config { path, reason });
                }
            }
            // Of several the first.
            client = files(directory, "cert").first().map(|path| client_certificate(path)).transpose()?;
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
        for directory in self.directory().into_iter().chain(self.authorities.as_deref()) {
            roots.extend(own_roots(directory)?);
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

/// The CAs of a registry's directory.
fn own_roots(directory: &Path) -> Result<Vec<Certificate<'static>>> {
    let mut roots = Vec::new();
    for path in files(directory, "crt") {
        roots.extend(some_certificates(&path)?);
    }
    Ok(roots)
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

/// The certificates of a file that was put there for the purpose: none is a mistake.
fn some_certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let found = certificates(path)?;
    if found.is_empty() {
        let reason = "there is no certificate in it; write it in PEM form".to_owned();
        return Err(Error::Config { path: path.to_owned(), reason });
    }
    Ok(found)
}

/// A `.cert` file has its key in the `.key` file beside it.
fn client_certificate(path: &Path) -> Result<ClientCert> {
    let key_path = path.with_extension("key");
    let bytes = std::fs::read(&key_path).map_err(|error| Error::io("read", &key_path, error))?;
    let bad = |reason: String| Error::Config { path: key_path.clone(), reason };
    let key = PrivateKey::from_pem(&bytes).map_err(|error| bad(format!("no usable private key: {error}")))?;
    let chain = some_certificates(path)?;
    // ureq takes it for granted that they can be used, and panics where they can't.
    let der = PrivateKeyDer::from_pem_slice(&bytes)
        .map_err(|error| bad(format!("no usable private key: {error}")))?;
    let certificates = chain.iter().map(|found| CertificateDer::from(found.der().to_vec())).collect();
    CertifiedKey::from_der(certificates, der, &rustls::crypto::ring::default_provider()).map_err(
        |error| bad(format!("it and the certificate {} do not go together: {error}", path.display())),
    )?;
    Ok(ClientCert::new_with_certs(&chain, key))
}
