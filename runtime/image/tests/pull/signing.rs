//! Keys and signatures for the tests, made by GnuPG and openssl; and skopeo's verdict, to compare ours with.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sampan_image::Digest;
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, descriptor, installed};

pub(crate) const COSIGN_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// When the tests' log has seen every signature: 2023-11-14 22:13:20.
const LOGGED: i64 = 1_700_000_000;

/// Runs a program with some input; what it prints.
fn run(command: &mut Command, input: &[u8]) -> Vec<u8> {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // One that wants nothing closes its end.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    });
    let Output { status, stdout, stderr } = output.unwrap();
    assert!(status.success(), "{command:?}: {}", String::from_utf8_lossy(&stderr));
    stdout
}

/// The claim of a signature.
pub(crate) fn claim(kind: &str, digest: &Digest, reference: &str) -> Value {
    json!({
        "critical": {
            "type": kind,
            "image": {"docker-manifest-digest": digest.to_string()},
            "identity": {"docker-reference": reference}
        },
        "optional": {"creator": "test", "timestamp": 1_700_000_000}
    })
}

pub(crate) fn simple(digest: &Digest, reference: &str) -> Vec<u8> {
    claim("atomic container signature", digest, reference).to_string().into_bytes()
}

/// A GnuPG home; its agent goes with it.
pub(crate) struct Gnupg(pub(crate) tempfile::TempDir);

impl Gnupg {
    /// `None`, visibly, without GnuPG.
    pub(crate) fn new() -> Option<Self> {
        if !installed("gpg") || !installed("gpgv") || !installed("gpg-agent") {
            return None;
        }
        Some(Self(tempfile::Builder::new().prefix("g").tempdir().unwrap()))
    }

    fn gpg(&self, arguments: &[&str], input: &[u8]) -> Vec<u8> {
        let mut command = Command::new("gpg");
        command.env("GNUPGHOME", self.0.path()).args(["--batch", "--quiet", "--yes", "--no-tty"]);
        command.args(["--pinentry-mode", "loopback", "--passphrase", ""]).args(arguments);
        run(&mut command, input)
    }

    /// Makes a key for signatures; its fingerprint.
    pub(crate) fn key(&self, name: &str) -> String {
        self.gpg(&["--quick-generate-key", name, "rsa2048", "sign", "0"], b"");
        self.fingerprint(name)
    }

    /// One that was good on the first two days of 2020.
    pub(crate) fn expired_key(&self, name: &str) -> String {
        let then = "--faked-system-time=20200101T000000";
        self.gpg(&[then, "--quick-generate-key", name, "rsa2048", "sign", "2d"], b"");
        self.fingerprint(name)
    }

    fn fingerprint(&self, name: &str) -> String {
        let listed = self.gpg(&["--with-colons", "--list-keys", name], b"");
        let listed = String::from_utf8(listed).unwrap();
        let line = listed.lines().find(|line| line.starts_with("fpr:")).unwrap();
        line.split(':').nth(9).unwrap().to_owned()
    }

    /// Revokes a key that it has made.
    pub(crate) fn revoke(&self, key: &str) {
        let file = self.0.path().join(format!("openpgp-revocs.d/{key}.rev"));
        let certificate = std::fs::read_to_string(file).unwrap().replace(":-----BEGIN", "-----BEGIN");
        self.gpg(&["--import"], certificate.as_bytes());
    }

    /// Public keys, armored or not.
    pub(crate) fn export(&self, keys: &[&str], armor: bool) -> Vec<u8> {
        let options: &[&str] = if armor { &["--armor", "--export"] } else { &["--export"] };
        self.gpg(&[options, keys].concat(), b"")
    }

    /// A signed message.
    pub(crate) fn sign(&self, key: &str, payload: &[u8], options: &[&str]) -> Vec<u8> {
        let how = if options.contains(&"--clearsign") { &[][..] } else { &["--sign"] };
        self.gpg(&[&["--local-user", key][..], options, how].concat(), payload)
    }

    /// A message without signature.
    pub(crate) fn unsigned(&self, payload: &[u8]) -> Vec<u8> {
        self.gpg(&["--store"], payload)
    }

    /// Adds a key for signatures below another one.
    pub(crate) fn add_subkey(&self, key: &str) {
        self.gpg(&["--quick-add-key", key, "rsa2048", "sign", "0"], b"");
    }
}

impl Drop for Gnupg {
    fn drop(&mut self) {
        let _ = Command::new("gpgconf").arg("--homedir").arg(self.0.path()).args(["--kill", "all"]).status();
    }
}

/// Keys of openssl, by name.
pub(crate) struct Openssl(pub(crate) tempfile::TempDir);

impl Openssl {
    /// `None`, visibly, without openssl.
    pub(crate) fn new() -> Option<Self> {
        installed("openssl").then(|| Self(tempfile::tempdir().unwrap()))
    }

    fn openssl(&self, arguments: &str, input: &[u8]) -> Vec<u8> {
        run(Command::new("openssl").args(arguments.split_whitespace()).current_dir(self.0.path()), input)
    }

    /// Makes a key as cosign's are, and the file of its public half.
    pub(crate) fn key(&self, name: &str) -> PathBuf {
        self.openssl(&format!("genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out {name}"), b"");
        self.openssl(&format!("pkey -in {name} -pubout -out {name}.pub"), b"");
        self.0.path().join(format!("{name}.pub"))
    }

    /// Makes an authority of this name; the file of its certificate.
    pub(crate) fn authority(&self, name: &str) -> PathBuf {
        self.key(name);
        let extensions = "-addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign";
        let subject = format!("-subj /CN={name} -days 7300 -out {name}.crt");
        // Without a configuration no other extensions are added.
        std::fs::write(self.0.path().join("plain.cnf"), "[req]\ndistinguished_name=dn\n[dn]\n").unwrap();
        self.openssl(&format!("req -x509 -config plain.cnf -key {name} {extensions} {subject}"), b"");
        self.0.path().join(format!("{name}.crt"))
    }

    /// An authority's certificate for a key, with these extensions and between these times (`YYYYMMDDhhmmssZ`).
    pub(crate) fn certify(&self, key: &str, by: &str, extensions: &str, times: (&str, &str)) -> String {
        let path = self.0.path();
        std::fs::write(
            path.join("ca.cnf"),
            "[ca]\ndefault_ca=a\n[a]\ndatabase=index\nnew_certs_dir=.\nrand_serial=yes\ndefault_md=sha256\n\
             policy=p\nunique_subject=no\n[p]\ncommonName=optional\n",
        )
        .unwrap();
        std::fs::write(path.join("index"), "").unwrap();
        std::fs::write(path.join("extensions"), extensions).unwrap();
        self.openssl(&format!("req -new -config plain.cnf -key {key} -subj /CN={key} -out {key}.csr"), b"");
        let (from, to) = times;
        self.openssl(
            &format!(
                "ca -batch -notext -config ca.cnf -in {key}.csr -cert {by}.crt -keyfile {by} -out {key}.crt \
                 -extfile extensions -startdate {from} -enddate {to}"
            ),
            b"",
        );
        std::fs::read_to_string(path.join(format!("{key}.crt"))).unwrap()
    }

    /// A signature in base 64.
    pub(crate) fn sign(&self, key: &str, message: &[u8]) -> String {
        STANDARD.encode(self.openssl(&format!("dgst -sha256 -sign {key}"), message))
    }

    /// A layer of cosign's attachment: payload and signature.
    pub(crate) fn attachment(&self, key: &str, digest: &Digest, reference: &str) -> Attachment {
        let payload = claim("cosign container image signature", digest, reference).to_string().into_bytes();
        let signature = self.sign(key, &payload);
        Attachment {
            payload,
            annotations: json!({"dev.cosignproject.cosign/signature": signature}),
            media_type: COSIGN_TYPE.to_owned(),
        }
    }

    /// The proof of the log `log` that it has seen the attachment's signature, at [`LOGGED`], by the key or
    /// certificate in this file.
    pub(crate) fn prove(&self, attachment: &mut Attachment, file: &str, log: &str) {
        let public = std::fs::read(self.0.path().join(file)).unwrap();
        let record = json!({
            "apiVersion": "0.0.1", "kind": "hashedrekord",
            "spec": {
                "data": {"hash": {"algorithm": "sha256", "value": Digest::of(&attachment.payload).hex()}},
                "signature": {
                    "content": attachment.annotations["dev.cosignproject.cosign/signature"],
                    "publicKey": {"content": STANDARD.encode(public)}
                }
            }
        });
        let entry = json!({
            "body": STANDARD.encode(record.to_string()), "integratedTime": LOGGED,
            "logID": "c0d23d6ad406973f9559f3ba2d1ca01f84147d8ffc5b8445c224f98b9591801d", "logIndex": 7
        });
        // serde_json writes keys in this order and without spaces, as canonical JSON has it.
        let timestamp = self.sign(log, entry.to_string().as_bytes());
        let bundle = json!({"SignedEntryTimestamp": timestamp, "Payload": entry});
        attachment.annotations["dev.sigstore.cosign/bundle"] = json!(bundle.to_string());
    }
}

/// A sigstore signature as a layer.
#[derive(Clone)]
pub(crate) struct Attachment {
    pub(crate) payload: Vec<u8>,
    pub(crate) annotations: Value,
    pub(crate) media_type: String,
}

/// The image that carries attachments, as cosign pushes it.
pub(crate) fn attached(attachments: &[Attachment]) -> TestImage {
    let config = b"{}".to_vec();
    let layer = |one: &Attachment| {
        let mut layer = descriptor(&one.media_type, &one.payload);
        layer["annotations"] = one.annotations.clone();
        layer
    };
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
        "layers": attachments.iter().map(layer).collect::<Vec<_>>(),
    });
    let payloads = attachments.iter().map(|one| &one.payload).chain([&config]);
    TestImage {
        manifest: manifest.to_string().into_bytes(),
        blobs: payloads.map(|blob| (Digest::of(blob), blob.clone())).collect(),
        layers: Vec::new(),
        config,
    }
}

/// skopeo, which asks the same questions of the same files.
pub(crate) struct Peer {
    there: bool,
}

impl Peer {
    /// Says visibly if it is missing.
    pub(crate) fn new() -> Self {
        Self { there: installed("skopeo") }
    }

    /// Whether it accepts what `source` says, by the policy and the `registries.d` of the machine.
    pub(crate) fn accepts(&self, machine: &Machine, source: &str) -> Option<bool> {
        let (accepted, said) = self.copy(machine, source)?;
        // Anything else would be a mistake of the test.
        assert!(accepted || is_a_verdict(&said), "skopeo: {said}");
        Some(accepted)
    }

    /// The same where it may also find that it cannot use the policy; and what it says.
    pub(crate) fn copy(&self, machine: &Machine, source: &str) -> Option<(bool, String)> {
        if !self.there {
            return None;
        }
        let etc = machine.directory.path().join("etc/containers");
        let into = tempfile::tempdir().unwrap();
        let output = Command::new("skopeo")
            .env("HOME", into.path())
            .arg("--policy")
            .arg(etc.join("policy.json"))
            .arg("--registries.d")
            .arg(etc.join("registries.d"))
            .args(["copy", "-q", "--src-tls-verify=false", "--remove-signatures", source])
            .arg(format!("dir:{}", into.path().join("copy").display()))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if said.contains("Debian-local change: sigstore disabled") {
            eprintln!("SKIP: Debian's skopeo is built without sigstore; its verdict is not compared");
            return None;
        }
        Some((output.status.success(), said))
    }
}

fn is_a_verdict(said: &str) -> bool {
    [
        "Source image rejected",
        "reading signature",
        "unrecognized signature",
        "parsing signature",
        "read at most",
    ]
    .iter()
    .any(|text| said.contains(text))
}

/// Writes a signature where a lookaside store has it.
pub(crate) fn put(store: &Path, repository: &str, manifest: &Digest, number: usize, signature: &[u8]) {
    let directory = store.join(format!("{repository}@sha256={}", manifest.hex()));
    std::fs::create_dir_all(&directory).unwrap();
    std::fs::write(directory.join(format!("signature-{number}")), signature).unwrap();
}
