//! A real registry for the machines: Debian's `docker-registry`, its storage written in advance.
//!
//! The storage is a folder in the layout of the registry's own `filesystem` driver, so pushing is
//! nothing but placing files; a machine has it as a layer of its root and may spoil its own copy.
//! Inside, `registry.service` listens on [`ADDRESS`] by plain HTTP and, for images that must come
//! over TLS, `registry-tls.service` on [`TLS_ADDRESS`] with a certificate of its own authority.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::capture;
use crate::images;

/// Where the registry listens inside each machine, without TLS.
pub const ADDRESS: &str = "localhost:5000";

/// Where the same images are served over TLS.
pub const TLS_ADDRESS: &str = "localhost:5443";

/// The registry's storage inside a machine.
pub const STORAGE: &str = "/srv/registry";

/// Changes whenever what [`install`] writes does.
pub const RECIPE: &str = include_str!("registry.rs");

/// The configuration of both services; the address and TLS come through the environment.
const CONFIGURATION: &str = "version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: /srv/registry}, cache: {blobdescriptor: inmemory}, delete: {enabled: true}}
http: {addr: \"127.0.0.1:5000\"}
";

/// What a machine's administrator would have written: which registries need no TLS, and where
/// the images of Docker's hub are mirrored.
const REGISTRIES: &str = r#"unqualified-search-registries = ["localhost:5000"]

[[registry]]
location = "localhost:5000"
insecure = true

[[registry]]
prefix = "docker.io/library"
location = "localhost:5000"
insecure = true
"#;

/// Writes the registry's storage, services and configuration into `layer`, a folder that becomes
/// a layer of machines' roots. `layouts` holds one OCI image layout per image, by its name.
pub fn install(layer: &Path, layouts: &[&Path]) -> Result<()> {
    for folder in layouts {
        for entry in fs::read_dir(folder)? {
            let layout = entry?;
            let name = layout.file_name().to_string_lossy().into_owned();
            for tag in images::tags(&name) {
                store(&layer.join(&STORAGE[1..]), &layout.path(), &name, &tag)?;
            }
        }
    }
    write(layer, "etc/test-registry/registry.yml", CONFIGURATION)?;
    write(layer, "etc/containers/registries.conf.d/50-test.conf", REGISTRIES)?;
    write(layer, "etc/systemd/system/registry.service", &unit(""))?;
    let tls = "Environment=REGISTRY_HTTP_ADDR=127.0.0.1:5443 \
        REGISTRY_HTTP_TLS_CERTIFICATE=/etc/test-registry/tls/server.crt \
        REGISTRY_HTTP_TLS_KEY=/etc/test-registry/tls/server.key\n";
    write(layer, "etc/systemd/system/registry-tls.service", &unit(tls))?;
    certificates(layer)
}

/// A service that runs the registry as an ordinary user.
fn unit(environment: &str) -> String {
    format!(
        "[Unit]\nDescription=Registry of test images\n[Service]\n{environment}\
         ExecStart=/usr/bin/docker-registry serve /etc/test-registry/registry.yml\n"
    )
}

/// Makes an authority and a certificate for `localhost`; the authority is where containers'
/// tools look for it, `/etc/containers/certs.d`.
fn certificates(layer: &Path) -> Result<()> {
    let tls = layer.join("etc/test-registry/tls");
    let trusted = layer.join("etc/containers/certs.d").join(TLS_ADDRESS);
    fs::create_dir_all(&tls)?;
    fs::create_dir_all(&trusted)?;
    let openssl = |arguments: &str| {
        capture(Command::new("openssl").current_dir(&tls).args(arguments.split(' '))).map(drop)
    };
    openssl(
        "req -x509 -newkey rsa:2048 -noenc -keyout ca.key -out ca.crt -days 3650 -subj /CN=sampan-test-ca",
    )?;
    openssl(
        "req -newkey rsa:2048 -noenc -keyout server.key -out server.csr -subj /CN=localhost \
         -addext subjectAltName=DNS:localhost,IP:127.0.0.1",
    )?;
    openssl(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt -days 3650 \
         -copy_extensions copyall",
    )?;
    fs::copy(tls.join("ca.crt"), trusted.join("ca.crt"))?;
    Ok(())
}

/// Places one image into the storage as `name:tag`.
///
/// Layout: <https://distribution.github.io/distribution/storage-drivers/filesystem/>.
pub fn store(storage: &Path, layout: &Path, name: &str, tag: &str) -> Result<()> {
    let index = json(&layout.join("index.json"))?;
    let manifest = digest(&index["manifests"][0])?;
    let blobs = layout.join("blobs/sha256");
    let content = json(&blobs.join(&manifest))?;
    let v2 = storage.join("docker/registry/v2");
    let repository = v2.join("repositories").join(name);
    let mut linked = vec![digest(&content["config"])?];
    for layer in content["layers"].as_array().context("a manifest without layers")? {
        linked.push(digest(layer)?);
    }
    for hex in linked.iter().chain([&manifest]) {
        let data = v2.join("blobs/sha256").join(&hex[..2]).join(hex).join("data");
        if !data.exists() {
            fs::create_dir_all(data.parent().unwrap_or(&v2))?;
            fs::copy(blobs.join(hex), &data).with_context(|| format!("copy the blob {hex}"))?;
        }
    }
    let link = |path: &str, hex: &str| write(&repository, path, &format!("sha256:{hex}"));
    for hex in &linked {
        link(&format!("_layers/sha256/{hex}/link"), hex)?;
    }
    link(&format!("_manifests/revisions/sha256/{manifest}/link"), &manifest)?;
    link(&format!("_manifests/tags/{tag}/current/link"), &manifest)?;
    link(&format!("_manifests/tags/{tag}/index/sha256/{manifest}/link"), &manifest)
}

/// The hexadecimal part of a descriptor's digest.
fn digest(descriptor: &Value) -> Result<String> {
    let digest = descriptor["digest"].as_str().context("a descriptor without a digest")?;
    Ok(digest.strip_prefix("sha256:").context("a digest that is not sha256")?.to_owned())
}

/// A JSON file's content.
fn json(path: &Path) -> Result<Value> {
    let text = fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
}

/// Writes a file below `folder`, and the folders on the way to it.
fn write(folder: &Path, path: &str, content: &str) -> Result<()> {
    let path = folder.join(path);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&path, content).with_context(|| format!("write {}", path.display()))
}
