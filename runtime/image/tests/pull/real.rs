//! Debian's `docker-registry`, filled by `skopeo`: HTTP, HTTPS with a CA of its own, passwords,
//! Docker's and OCI's formats, gzip and zstd.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sampan_image::{Credentials, Digest, Error};

use crate::fixture::{Machine, TestImage, installed, noise, tar_of};
use crate::signing::Gnupg;

/// bcrypt of "sesame".
const PASSWORD_HASH: &str = "user:$2b$04$0A0ogerz9aaAPo0bjgo/MOF6D.4HqliFUhlJsyCgkRwAez5OudZB2\n";

/// A registry process; killed (by its id) when dropped.
struct Registry {
    process: Child,
    address: String,
    directory: tempfile::TempDir,
}

/// The address that the registry chose, by its log: a port that was found free by somebody else may be taken by then.
fn listens_at(log: &str) -> Option<String> {
    let (_, rest) = log.split_once("listening on 127.0.0.1:")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    Some(format!("127.0.0.1:{}", &rest[..end]))
}

impl Registry {
    /// `None`, visibly, where the programs are missing.
    fn start(secure: bool) -> Option<Self> {
        if !installed("docker-registry") || !installed("skopeo") || (secure && !installed("openssl")) {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        let mut config = format!(
            "version: 0.1\nlog: {{level: info, accesslog: {{disabled: true}}}}\n\
             storage: {{filesystem: {{rootdirectory: {0}/data}}}}\nhttp:\n  addr: 127.0.0.1:0\n",
            path.display()
        );
        if secure {
            certificate(path);
            std::fs::write(path.join("htpasswd"), PASSWORD_HASH).unwrap();
            config.push_str(&format!(
                "  tls: {{certificate: {0}/server.crt, key: {0}/server.key}}\n\
                 auth: {{htpasswd: {{realm: test, path: {0}/htpasswd}}}}\n",
                path.display()
            ));
        }
        std::fs::write(path.join("config.yml"), config).unwrap();
        let log = path.join("log");
        let process = Command::new("docker-registry")
            .arg("serve")
            .arg(path.join("config.yml"))
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let mut registry = Self { process, address: String::new(), directory };
        let started = Instant::now();
        while registry.address.is_empty() {
            let said = std::fs::read_to_string(&log).unwrap();
            assert!(started.elapsed() < Duration::from_secs(120), "the registry does not start: {said}");
            std::thread::sleep(Duration::from_millis(20));
            registry.address = listens_at(&said).unwrap_or_default();
        }
        Some(registry)
    }

    fn push(&self, image: &TestImage, name: &str, arguments: &[&str]) {
        self.push_by(&mut Command::new("skopeo"), image, name, arguments);
    }

    fn push_by(&self, skopeo: &mut Command, image: &TestImage, name: &str, arguments: &[&str]) {
        let layout = self.directory.path().join("layout");
        image.write_layout(&layout);
        let status = skopeo
            .args(["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"])
            .args(["--dest-creds", "user:sesame"])
            .args(arguments)
            .arg(format!("oci:{}:v1", layout.display()))
            .arg(format!("docker://{}/{name}", self.address))
            .status()
            .unwrap();
        assert!(status.success(), "skopeo could not push {name}");
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A CA and a certificate for 127.0.0.1.
fn certificate(directory: &Path) {
    let run = |arguments: &str| crate::authority::openssl(directory, arguments);
    std::fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -batch";
    run(&format!("req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=test-ca"));
    run(&format!("req {key} -keyout server.key -out server.csr -subj /CN=test"));
    run(
        "x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt",
    );
}

fn image() -> TestImage {
    let lower = tar_of(&[("etc/os-release", b"NAME=x\n"), ("usr/lib/big", &noise(3_000_000))]);
    let upper = tar_of(&[("etc/motd", b"hello\n"), ("etc/.wh.os-release", b"")]);
    TestImage::new(&[lower, upper])
}

#[test]
fn all_formats_of_a_real_registry_are_read() {
    let Some(registry) = Registry::start(false) else { return };
    let image = image();
    for (name, arguments) in [
        ("oci:1", &["--format", "oci"][..]),
        ("schema2:1", &["--format", "v2s2"]),
        ("zstd:1", &["--format", "oci", "--dest-compress-format", "zstd"]),
    ] {
        registry.push(&image, name, arguments);
        let machine = Machine::new();
        let name = format!("{}/{name}", registry.address);
        let pulled = machine.pull(&name).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(std::fs::read(pulled.layers[1].join("usr/lib/big")).unwrap(), noise(3_000_000));
        assert_eq!(pulled.names, [name]);
        assert_eq!(machine.layer_count(), 2);
    }
    let error = Machine::new().pull_refused(&format!("{}/none:1", registry.address));
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("MANIFEST_UNKNOWN"), "{error}");
}

#[test]
fn a_real_registry_with_tls_and_passwords_is_read() {
    let Some(registry) = Registry::start(true) else { return };
    let image = image();
    registry.push(&image, "x:1", &[]);
    let name = format!("{}/x:1", registry.address);
    let strict = || {
        let machine = Machine::new();
        machine.write("etc/containers/registries.conf", "");
        machine
    };

    let error = strict().pull_refused(&name);
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("certs.d"), "{error}");

    let mut machine = strict();
    let ca = std::fs::read_to_string(registry.directory.path().join("ca.crt")).unwrap();
    machine.write(&format!("etc/containers/certs.d/{}/ca.crt", registry.address), &ca);
    let error = machine.pull_refused(&name);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");

    machine.credentials = Some(Credentials { user: "user".into(), password: "wrong".into() });
    let error = machine.pull_refused(&name);
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");

    machine.credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
    let pulled = machine.pull(&name).unwrap();
    assert_eq!(pulled.id, Digest::of(&image.config).hex());
    // What is there is found again with one request, over the same way.
    assert_eq!(machine.pull(&name).unwrap().id, pulled.id);
}

/// As an image is signed in practice: on the way to the registry, into a directory that a server then serves.
#[test]
fn signatures_that_skopeo_makes_are_found_and_accepted() {
    let (Some(registry), Some(gnupg)) = (Registry::start(false), Gnupg::new()) else { return };
    let (key, other) = (gnupg.key("good@test"), gnupg.key("other@test"));
    let store = registry.directory.path().join("signatures");
    let registries_d = registry.directory.path().join("registries.d");
    let yaml = format!("default-docker:\n  lookaside: file://{}\n", store.display());
    std::fs::create_dir(&registries_d).unwrap();
    std::fs::write(registries_d.join("default.yaml"), &yaml).unwrap();
    let image = image();
    let mut skopeo = Command::new("skopeo");
    skopeo.env("GNUPGHOME", gnupg.0.path()).arg("--registries.d").arg(&registries_d);
    registry.push_by(&mut skopeo, &image, "ns/signed:1", &["--sign-by", &key]);
    registry.push(&image, "ns/other:1", &[]);
    let pull = |name: &str, key: &str| {
        let machine = Machine::new();
        let keys = machine.directory.path().join("keys.asc");
        std::fs::write(&keys, gnupg.export(&[key], true)).unwrap();
        let policy = format!(
            r#"{{"default":[{{"type":"signedBy","keyType":"GPGKeys","keyPath":"{}"}}]}}"#,
            keys.display()
        );
        machine.write("etc/containers/policy.json", &policy);
        machine.write("etc/containers/registries.d/default.yaml", &yaml);
        machine.pull(&format!("{}/ns/{name}", registry.address)).map(|image| image.digest)
    };
    let digest = pull("signed:1", &key).unwrap();
    assert_eq!(pull(&format!("signed@{digest}"), &key).unwrap(), digest);
    for (name, key) in [("signed:1", &other), ("other:1", &key)] {
        let error = pull(name, key).unwrap_err();
        assert!(matches!(error, Error::Policy { .. }), "{name}: {error}");
    }
}
