//! Registries that lie, break off or fall silent: each is refused with its cause, and nothing of
//! the image stays.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sampan_image::{Digest, Error};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, gzip, noise, tar_of};
use crate::server::{Reply, Request, Server};

fn is_layer(image: &TestImage, request: &Request) -> bool {
    image.layers.iter().any(|layer| request.path.ends_with(&Digest::of(layer).to_string()))
}

/// A registry whose layers are spoiled.
fn spoiled_layers(spoil: impl Fn(Reply) -> Reply + Send + Sync + 'static) -> Server {
    let image = TestImage::small();
    let known = image.clone();
    Server::registry_with(
        image,
        move |request, reply| {
            if is_layer(&known, request) { spoil(reply) } else { reply }
        },
    )
}

fn refused_by(server: &Server) -> Error {
    Machine::new().pull_refused(&format!("{}/x", server.address))
}

#[test]
fn a_layer_with_the_wrong_digest_is_refused_by_name() {
    let server = spoiled_layers(|mut reply| {
        let middle = reply.body.len() / 2;
        reply.body[middle] ^= 1;
        reply
    });
    let error = refused_by(&server);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains(&server.address), "{message}");
    assert_eq!(message.matches("sha256:").count(), 2, "expected and got: {message}");
}

#[test]
fn other_content_of_the_right_size_is_refused() {
    let server = spoiled_layers(|mut reply| {
        let mut other = gzip(&tar_of(&[("etc/passwd", b"root::0:0")]));
        other.resize(reply.body.len().max(other.len()), 0);
        other.truncate(reply.body.len());
        reply.body = other;
        reply
    });
    let error = refused_by(&server);
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_layer_longer_or_shorter_than_announced_is_refused() {
    let longer = spoiled_layers(|mut reply| {
        reply.body.extend_from_slice(&[0; 100]);
        reply
    });
    assert!(matches!(refused_by(&longer), Error::SizeMismatch { .. } | Error::DigestMismatch { .. }));
    // Cut off with an honest Content-Length for the shorter body.
    let shorter = spoiled_layers(|mut reply| {
        reply.body.truncate(reply.body.len() / 2);
        reply.status = 200;
        reply.headers.clear();
        reply
    });
    let error = refused_by(&shorter);
    assert!(matches!(error, Error::Broken { .. } | Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_broken_transfer_is_resumed_where_it_stopped() {
    let image = TestImage::new(&[tar_of(&[("big", &noise(500_000))])]);
    let layer = image.layers[0].clone();
    let known = image.clone();
    let server = Server::registry_with(image, move |request, reply| {
        let cut = is_layer(&known, request).then_some(120_000);
        Reply { cut, ..reply }
    });
    let machine = Machine::new();
    let image = machine.pull(&format!("{}/x", server.address)).unwrap();
    assert_eq!(std::fs::read(image.layers[0].join("big")).unwrap(), noise(500_000));
    let blob = format!("GET /v2/x/blobs/{}", Digest::of(&layer));
    let attempts = server.requests().iter().filter(|request| **request == blob).count();
    assert_eq!(attempts, layer.len().div_ceil(120_000));
}

#[test]
fn a_server_without_ranges_is_read_again() {
    let image = TestImage::small();
    let known = image.clone();
    let attempts = AtomicUsize::new(0);
    let server = Server::registry_with(image, move |request, reply| {
        if !is_layer(&known, request) || request.method != "GET" {
            return reply;
        }
        let layer = known.layers.iter().find(|layer| request.path.ends_with(&Digest::of(layer).to_string()));
        let first = attempts.fetch_add(1, Ordering::Relaxed) < 2;
        Reply { cut: first.then_some(40), ..Reply::new(200, layer.unwrap()) }
    });
    Machine::new().pull(&format!("{}/x", server.address)).unwrap();
}

#[test]
fn a_transfer_that_always_breaks_fails_with_how_far_it_came() {
    let server = spoiled_layers(|reply| Reply { cut: Some(0), ..reply });
    let error = refused_by(&server);
    assert!(matches!(error, Error::Broken { received: 0, .. }), "{error}");
    assert!(error.to_string().contains(&server.address), "{error}");
}

#[test]
fn a_silent_registry_fails_with_its_cause_in_time() {
    for cut in [0, 100] {
        let server = spoiled_layers(move |reply| Reply { cut: Some(cut), stall: true, ..reply });
        let machine = Machine { stall: Duration::from_millis(300), retries: 0, ..Machine::new() };
        let started = Instant::now();
        let error = machine.pull_refused(&format!("{}/x", server.address));
        assert!(matches!(error, Error::Stalled { .. }), "{error}");
        assert!(error.to_string().contains("0.3 s"), "{error}");
        assert!(started.elapsed() < Duration::from_secs(120));
    }
}

#[test]
fn a_dripping_registry_counts_as_silent() {
    let server = spoiled_layers(|reply| Reply { chunk: 1, pace: Some(Duration::from_millis(50)), ..reply });
    let machine = Machine { stall: Duration::from_secs(1), retries: 0, ..Machine::new() };
    let started = Instant::now();
    let error = machine.pull_refused(&format!("{}/x", server.address));
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[test]
fn an_unreachable_registry_is_named() {
    let port = Server::registry(TestImage::small()).port();
    let error = Machine::new().pull_refused(&format!("127.0.0.1:{port}/x"));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains(&port.to_string()), "{error}");
    let error = Machine { retries: 0, ..Machine::new() }.pull_refused("registry.invalid/x");
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
}

#[test]
fn plain_http_is_refused_unless_configured() {
    let server = Server::registry(TestImage::small());
    let machine = Machine::new();
    machine.write("etc/containers/registries.conf", "");
    let error = machine.pull_refused(&format!("{}/x", server.address));
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(server.requests().is_empty());
}

#[test]
fn a_corrupt_archive_with_the_right_digest_is_refused() {
    let archive = tar_of(&[("file", &noise(100_000))]);
    let right = Digest::of(&archive).to_string();
    let mut cut = gzip(&archive);
    cut.truncate(50_000);
    for layer in [cut, gzip(&archive[..5_000]), gzip(b"no tar"), b"BZh91AY".to_vec(), b"neither".to_vec()] {
        let server =
            Server::registry(TestImage::of_layers(vec![layer.clone()], std::slice::from_ref(&right)));
        let error = refused_by(&server);
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert!(error.to_string().contains(&Digest::of(&layer).to_string()), "{error}");
    }
}

#[test]
fn a_layer_that_is_not_what_the_configuration_says_is_refused() {
    let layer = gzip(&tar_of(&[("file", b"x")]));
    let wrong = Digest::of(b"other").to_string();
    let server = Server::registry(TestImage::of_layers(vec![layer], &[wrong]));
    let error = refused_by(&server);
    assert!(matches!(error, Error::DigestMismatch { what: "unpacked layer", .. }), "{error}");
}

#[test]
fn a_bomb_is_stopped() {
    // 6 GB of zeros in zstd frames of a few hundred bytes each.
    let frame = zstd::bulk::compress(&vec![0; 64 << 20], 1).unwrap();
    let mut header = tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(6 << 30);
    header.set_cksum();
    let mut layer = zstd::bulk::compress(header.as_bytes(), 1).unwrap();
    for _ in 0..96 {
        layer.extend_from_slice(&frame);
    }
    let server = Server::registry(TestImage::of_layers(vec![layer], &[Digest::of(b"x").to_string()]));
    let error = refused_by(&server);
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    assert!(error.to_string().contains("unpacks to more than"), "{error}");
}

/// Pulls with a manifest changed in some way.
fn with_manifest(change: impl FnOnce(&mut Value)) -> Error {
    let mut image = TestImage::small();
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    change(&mut manifest);
    image.manifest = manifest.to_string().into_bytes();
    refused_by(&Server::registry(image))
}

#[test]
fn hostile_manifests_are_refused() {
    let errors = [
        with_manifest(|manifest| manifest["layers"] = json!([])),
        with_manifest(|manifest| manifest["layers"] = json!(vec![manifest["layers"][0].clone(); 129])),
        with_manifest(|manifest| manifest["layers"] = json!([manifest["layers"][0]])),
        with_manifest(|manifest| manifest["layers"][0]["digest"] = json!("sha256:../../../etc/passwd")),
        with_manifest(|manifest| manifest["layers"][0]["size"] = json!(u64::MAX)),
        with_manifest(|manifest| manifest["config"]["size"] = json!(1_u64 << 40)),
        with_manifest(|manifest| {
            manifest["layers"][0]["mediaType"] =
                json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
        }),
        with_manifest(|manifest| manifest["schemaVersion"] = json!(1)),
        with_manifest(|manifest| *manifest = json!([[[]]])),
        with_manifest(|manifest| *manifest = json!("x".repeat(5 << 20))),
    ];
    for error in errors {
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    }
    let deep = TestImage { manifest: "[".repeat(1 << 20).into_bytes(), ..TestImage::small() };
    assert!(matches!(refused_by(&Server::registry(deep)), Error::Corrupt { .. }));
}

#[test]
fn a_manifest_other_than_its_digest_is_refused() {
    let server = Server::registry(TestImage::small());
    let other = Digest::of(b"other");
    let error = Machine::new().pull_refused(&format!("{}/x@{other}", server.address));
    assert!(matches!(error, Error::DigestMismatch { what: "manifest", .. }), "{error}");
}

#[test]
fn an_index_that_leads_to_itself_is_refused() {
    let host = sampan_image::Platform::host();
    let entry = json!({
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "digest": Digest::of(b"x").to_string(), "size": 1,
        "platform": {"os": "linux", "architecture": host.architecture}
    });
    let index = json!({"schemaVersion": 2, "manifests": [entry]}).to_string().into_bytes();
    let server = Server::registry(TestImage { manifest: index, ..TestImage::small() });
    assert!(matches!(refused_by(&server), Error::SizeMismatch { what: "manifest", .. }));
}

/// A registry with an index under its tag, and other manifests by digest.
fn with_index(index: &Value, manifests: &[Vec<u8>]) -> Server {
    let image = TestImage { manifest: index.to_string().into_bytes(), ..TestImage::small() };
    let manifests = manifests.to_vec();
    Server::start(move |request| {
        let by_digest = manifests.iter().find(|bytes| request.path.ends_with(&Digest::of(bytes).to_string()));
        match by_digest.filter(|_| request.path.contains("/manifests/")) {
            Some(manifest) => Reply::new(200, manifest),
            None => crate::server::answer(&image, request),
        }
    })
}

fn entry(manifest: &[u8]) -> Value {
    let host = sampan_image::Platform::host();
    json!({
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": Digest::of(manifest).to_string(), "size": manifest.len(),
        "platform": {"os": "linux", "architecture": host.architecture}
    })
}

#[test]
fn an_index_in_an_index_is_refused() {
    let inner = json!({"schemaVersion": 2, "manifests": []}).to_string().into_bytes();
    let index = json!({"schemaVersion": 2, "manifests": [entry(&inner)]});
    let error = refused_by(&with_index(&index, &[inner]));
    assert!(error.to_string().contains("leads to another index"), "{error}");
}

#[test]
fn an_index_of_thousands_is_read() {
    let image = TestImage::small();
    let other = |number: usize| {
        json!({"digest": Digest::of(&number.to_ne_bytes()).to_string(), "size": 7,
            "platform": {"os": format!("os{number}"), "architecture": "amd64"}})
    };
    let mut manifests: Vec<Value> = (0..20_000).map(other).collect();
    let foreign = json!({"schemaVersion": 2, "manifests": manifests});
    let message = refused_by(&with_index(&foreign, &[])).to_string();
    assert!(message.len() < 1000, "{message}");
    manifests.push(entry(&image.manifest));
    let index = json!({"schemaVersion": 2, "manifests": manifests});
    let server = with_index(&index, &[image.manifest]);
    Machine::new().pull(&format!("{}/x", server.address)).unwrap();
}

/// Pulls with other bytes for the configuration; `true` if the manifest knows them.
fn with_config(config: &[u8], known: bool) -> Error {
    let mut image = TestImage::small();
    if known {
        let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
        manifest["config"]["digest"] = json!(Digest::of(config).to_string());
        manifest["config"]["size"] = json!(config.len());
        image.manifest = manifest.to_string().into_bytes();
        image.blobs.insert(Digest::of(config), config.to_vec());
    } else {
        image.blobs.insert(Digest::of(&image.config), config.to_vec());
    }
    refused_by(&Server::registry(image))
}

#[test]
fn a_configuration_other_than_its_digest_is_refused() {
    let image = TestImage::small();
    let mut changed = image.config.clone();
    changed[20] ^= 1;
    let error = with_config(&changed, false);
    assert!(matches!(error, Error::DigestMismatch { what: "configuration", .. }), "{error}");
    for other in [[&image.config[..], b" "].concat(), vec![b' '; 5 << 20]] {
        let error = with_config(&other, false);
        assert!(matches!(error, Error::SizeMismatch { what: "configuration", .. }), "{error}");
    }
}

#[test]
fn hostile_configurations_are_refused() {
    let image = TestImage::small();
    let config: Value = serde_json::from_slice(&image.config).unwrap();
    let changed = |change: fn(&mut Value)| {
        let mut config = config.clone();
        change(&mut config);
        config.to_string().into_bytes()
    };
    for bytes in [
        b"{}".to_vec(),
        b"null".to_vec(),
        b"\xff\xfe".to_vec(),
        b"[".repeat(1 << 20),
        br#"{"a":"#.repeat(100_000),
        vec![b' '; 5 << 20],
        changed(|config| config["rootfs"]["diff_ids"] = json!([])),
        changed(|config| config["rootfs"]["diff_ids"][0] = json!("sha256:../../../../etc/passwd")),
        changed(|config| config["rootfs"]["diff_ids"][0] = json!("\u{1b}[2J\u{202e}")),
        changed(|config| config["rootfs"]["diff_ids"] = json!(vec!["x"; 100_000])),
        changed(|config| config["rootfs"] = json!("\u{1b}]0;evil\u{7}")),
        [&image.config[..image.config.len() - 1], br#","rootfs":{"type":"layers","diff_ids":[]}}"#].concat(),
    ] {
        let error = with_config(&bytes, true);
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        let message = error.to_string();
        let harmful = |c: char| c.is_control() || c == '\u{202e}';
        assert!(!message.chars().any(harmful) && message.len() < 2000, "{message:?}");
    }
}

#[test]
fn documents_of_two_kinds_are_refused() {
    let error = with_manifest(|manifest| manifest["manifests"] = json!([]));
    assert!(error.to_string().contains("at once"), "{error}");
    let error = with_manifest(|manifest| {
        manifest["mediaType"] = json!("application/vnd.docker.distribution.manifest.list.v2+json");
    });
    assert!(error.to_string().contains("calls itself an index"), "{error}");
    let error = with_manifest(|manifest| manifest["Layers"] = json!([]));
    assert!(error.to_string().contains("twice"), "{error}");
    let error = with_manifest(|manifest| {
        manifest["history"] = json!([]);
        manifest["fsLayers"] = json!([]);
    });
    assert!(error.to_string().contains("schema 1"), "{error}");
}

#[test]
fn a_login_page_is_no_manifest() {
    let page = b"\n<!DOCTYPE html><html><body>Welcome to our hotel".to_vec();
    let error = refused_by(&Server::registry(TestImage { manifest: page, ..TestImage::small() }));
    assert!(error.to_string().contains("login page"), "{error}");
}
