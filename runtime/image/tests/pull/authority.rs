//! A certificate authority for tests, and servers with its certificates.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::fixture::installed;
use crate::server::{Reply, Request, Server};

/// A CA, a server's certificate and two of clients, made by openssl.
pub(crate) struct Authority {
    directory: tempfile::TempDir,
}

impl Authority {
    /// `None`, visibly, where openssl is missing.
    pub(crate) fn new() -> Option<Self> {
        if !installed("openssl") {
            return None;
        }
        let authority = Self { directory: tempfile::tempdir().unwrap() };
        make(authority.directory.path());
        Some(authority)
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.directory.path().join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.path(file)).unwrap()
    }

    /// A server with TLS; with `clients`, only for clients with a certificate.
    pub(crate) fn serve(
        &self,
        address: &str,
        clients: bool,
        handler: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Server {
        let config = Arc::new(self.config(clients));
        let listener = TcpListener::bind(address).unwrap();
        let wrap = move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).map_err(std::io::Error::other)?;
            Ok(Box::new(StreamOwned::new(connection, stream)) as Box<dyn crate::server::Stream>)
        };
        Server::start_on(listener, wrap, handler)
    }

    fn config(&self, clients: bool) -> ServerConfig {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let certificates = |file: &str| -> Vec<CertificateDer<'static>> {
            CertificateDer::pem_file_iter(self.path(file)).unwrap().map(Result::unwrap).collect()
        };
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if clients {
            let mut roots = RootCertStore::empty();
            roots.add(certificates("ca.crt").remove(0)).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.path("server.key")).unwrap();
        builder.with_single_cert(certificates("server.crt"), key).unwrap()
    }
}

/// Runs openssl in a directory, with words between spaces.
pub(crate) fn openssl(directory: &Path, arguments: &str) {
    let mut command = Command::new("openssl");
    let output = command.args(arguments.split_whitespace()).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

fn make(directory: &Path) {
    let run = |arguments: &str| openssl(directory, arguments);
    let names = "subjectAltName=IP:127.0.0.1,IP:::1,DNS:localhost,DNS:registry.example,DNS:*.example\n";
    std::fs::write(directory.join("names"), names).unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca"));
    // The third is of X.509's first version, as openssl makes them without extensions.
    for (name, extra) in [("server", "-extfile names"), ("client", "-extfile names"), ("old", "")] {
        run(&format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"));
        run(&format!(
            "x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 {extra} -out {name}.crt"
        ));
    }
}
