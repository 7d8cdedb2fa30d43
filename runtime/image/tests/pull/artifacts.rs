//! Artifacts: files as they came, from registries that tell the truth and from others.

use sampan_image::{Artifact, Digest, Error, Policy, PullOptions, Source, pull_artifact};
use serde_json::json;

use crate::fixture::{Machine, TestImage, descriptor, noise};
use crate::server::{Reply, Server};
use crate::signing::{Gnupg, put, simple};

/// An artifact with these files, by title.
fn artifact(files: &[(&str, &[u8])]) -> TestImage {
    let layers = files.iter().map(|(title, content)| {
        let mut layer = descriptor("text/plain", content);
        layer["annotations"] = json!({"org.opencontainers.image.title": title});
        layer
    });
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/x.test",
        "config": descriptor("application/vnd.oci.empty.v1+json", b"{}"),
        "layers": layers.collect::<Vec<_>>(),
    });
    let blobs = files.iter().map(|(_, content)| *content).chain([b"{}".as_slice()]);
    TestImage {
        manifest: manifest.to_string().into_bytes(),
        config: b"{}".to_vec(),
        layers: files.iter().map(|(_, content)| content.to_vec()).collect(),
        blobs: blobs.map(|blob| (Digest::of(blob), blob.to_vec())).collect(),
    }
}

fn pulled(machine: &Machine, server: &Server) -> Result<Artifact, Error> {
    let registries = machine.registries();
    let policy = Policy::load(machine.directory.path())?;
    let options = PullOptions {
        stall_timeout: machine.stall,
        retries: machine.retries,
        retry_delay: Some(std::time::Duration::from_millis(20)),
        ..PullOptions::new(&registries, &policy)
    };
    let source = Source::parse(&format!("{}/files:1", server.address), &registries)?;
    pull_artifact(&machine.store(), &source, &options)
}

#[test]
fn files_come_as_they_are_and_go_with_the_last_who_has_them() {
    let large = noise(300_000);
    let server = Server::registry(artifact(&[("a.txt", b"first"), ("b.bin", &large), ("c.txt", b"first")]));
    let machine = Machine::new();
    let one = pulled(&machine, &server).unwrap();
    assert_eq!(one.kind, "application/x.test");
    let titles: Vec<_> = one.files.iter().map(|file| file.title()).collect();
    assert_eq!(titles, [Some("a.txt"), Some("b.bin"), Some("c.txt")]);
    assert_eq!(std::fs::read(&one.files[1].path).unwrap(), large);
    // Unchanged, it costs one question.
    server.forget();
    pulled(&machine, &server).unwrap();
    assert_eq!(server.requests().len(), 1, "{:?}", server.requests());

    let store = machine.store();
    store.collect_garbage().unwrap();
    let found = store.artifact(&one.name, &machine.registries()).unwrap().unwrap();
    assert_eq!(found.digest, one.digest);
    assert!(store.artifact(&one.digest.hex()[..12], &machine.registries()).unwrap().is_some());
    // An image beside it keeps what is its own.
    let other = Server::registry(TestImage::small());
    let image = machine.pull(&format!("{}/x", other.address)).unwrap();
    store.remove_artifact(&found).unwrap();
    assert!(store.artifacts().unwrap().is_empty());
    assert!(!one.files[0].path.exists() && !one.files[1].path.exists());
    assert!(store.find(&image.id, &machine.registries()).unwrap().is_some());
}

#[test]
fn a_broken_transfer_goes_on_where_it_stopped() {
    let large = noise(300_000);
    let server = Server::registry_with(artifact(&[("large", &large)]), |request, mut reply| {
        if reply.body.len() > 100_000 && request.offset() == 0 {
            reply.cut = Some(100_000);
        }
        reply
    });
    let machine = Machine::new();
    let one = pulled(&machine, &server).unwrap();
    assert_eq!(std::fs::read(&one.files[0].path).unwrap(), large);
}

#[test]
fn what_is_not_what_was_asked_for_is_refused() {
    type Spoil = fn(Reply) -> Reply;
    let spoil: [(&str, Spoil); 3] = [
        ("other content", |mut reply| {
            reply.body[0] ^= 1;
            reply
        }),
        ("more than announced", |mut reply| {
            reply.body.extend_from_slice(b"more");
            reply
        }),
        ("nothing", |_| Reply::new(404, b"")),
    ];
    for (what, spoil) in spoil {
        let file = noise(50_000);
        let server = Server::registry_with(artifact(&[("x", &file)]), move |_, reply| {
            if reply.body.len() >= 50_000 { spoil(reply) } else { reply }
        });
        let machine = Machine::new();
        pulled(&machine, &server).expect_err(what);
        assert_eq!(machine.leftovers(), [] as [String; 0], "{what}");
        assert!(machine.store().artifacts().unwrap().is_empty(), "{what}");
        let path = machine.store_path().join("blobs/sha256").join(Digest::of(&file).hex());
        assert!(!path.exists(), "{what}: the file is there");
    }
}

#[test]
fn an_index_is_no_artifact() {
    let mut image = artifact(&[]);
    image.manifest = json!({"schemaVersion": 2, "manifests": []}).to_string().into_bytes();
    let error = pulled(&Machine::new(), &Server::registry(image)).unwrap_err();
    assert!(error.to_string().contains("not the manifest of an artifact"), "{error}");
}

#[test]
fn an_artifact_has_to_be_signed_where_the_policy_says_so() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = gnupg.key("good@test");
    let files = artifact(&[("a.txt", b"first")]);
    let manifest = Digest::of(&files.manifest);
    let server = Server::registry(files);
    let machine = Machine::new();
    let lookaside = machine.directory.path().join("signatures");
    std::fs::write(machine.directory.path().join("keys"), gnupg.export(&[&key], true)).unwrap();
    let keys = machine.directory.path().join("keys").display().to_string();
    let policy = json!({"default": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": keys}]});
    machine.write("etc/containers/policy.json", &policy.to_string());
    let yaml = format!("default-docker:\n  lookaside: file://{}\n", lookaside.display());
    machine.write("etc/containers/registries.d/default.yaml", &yaml);
    let error = pulled(&machine, &server).unwrap_err();
    assert!(error.to_string().contains("there is no signature"), "{error}");
    assert!(!server.requests().iter().any(|request| request.contains("/blobs/")), "{:?}", server.requests());
    let name = format!("{}/files:1", server.address);
    put(&lookaside, "files", &manifest, 1, &gnupg.sign(&key, &simple(&manifest, &name), &[]));
    pulled(&machine, &server).unwrap();
    // Unchanged, it is asked for again.
    std::fs::remove_dir_all(&lookaside).unwrap();
    assert!(pulled(&machine, &server).is_err());
}
