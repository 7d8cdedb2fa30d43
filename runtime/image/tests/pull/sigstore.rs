//! Signatures by cosign, made here by openssl as cosign makes them. Where skopeo is installed its verdict has to
//! be the same.

use sampan_image::{Digest, Error};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage};
use crate::server::{Reply, Server, answer};
use crate::signed::registry;
use crate::signing::{Attachment, Openssl, Peer, attached};

/// A registry with an image, and attachments of it under cosign's tag.
fn server(image: &TestImage, attachments: &[Attachment]) -> Server {
    let tag = format!("sha256-{}.sig", Digest::of(&image.manifest).hex());
    let beside = attached(attachments);
    let none = attachments.is_empty();
    registry(image.clone(), move |request| {
        let manifest = request.path.ends_with(&format!("/manifests/{tag}"));
        let digest = request.path.rsplit('/').next().and_then(|digest| digest.parse::<Digest>().ok());
        if manifest && none {
            let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}"#;
            return Some(Reply::new(404, body).with("content-type", "application/json"));
        }
        let blob = digest.is_some_and(|digest| beside.blobs.contains_key(&digest));
        (manifest || blob).then(|| answer(&beside, request))
    })
}

/// A machine with a requirement for everything from registries.
fn machine(requirement: &Value, attachments: bool) -> Machine {
    let mut machine = Machine::new();
    machine.retries = 0;
    let policy = json!({"default": [{"type": "reject"}], "transports": {"docker": {"": [requirement]}}});
    machine.write("etc/containers/policy.json", &policy.to_string());
    machine.write(
        "etc/containers/registries.d/default.yaml",
        &format!(
            "default-docker:\n  use-sigstore-attachments: {attachments}\n  lookaside: file:///nowhere\n"
        ),
    );
    machine
}

/// By the key of this file, for the repository alone, as cosign signs.
fn by(key: &str, value: Value) -> Value {
    json!({"type": "sigstoreSigned", key: value, "signedIdentity": {"type": "matchRepository"}})
}

/// Pulls, and compares with skopeo; what is said against the image.
fn verdict(peer: &Peer, what: &str, server: &Server, requirement: &Value) -> Option<String> {
    let name = format!("{}/ns/x:1", server.address);
    let machine = machine(requirement, true);
    server.forget();
    let ours = machine.pull(&name);
    let refused = ours.as_ref().err().map(ToString::to_string);
    if let Some(error) = &refused {
        let layers = TestImage::small().layers;
        let fetched = |request: &String| layers.iter().any(|l| request.ends_with(&Digest::of(l).to_string()));
        assert!(!server.requests().iter().any(fetched), "{what}: a refused image was fetched: {error}");
    }
    let theirs = peer.copy(&machine, &format!("docker://{name}"));
    let same = theirs.as_ref().is_none_or(|(yes, _)| *yes == ours.is_ok());
    assert!(same, "{what}: {refused:?}, skopeo {theirs:?}");
    refused
}

#[test]
fn a_cosign_signature_has_to_be_good_and_about_this_image() {
    let Some(openssl) = Openssl::new() else { return };
    let peer = Peer::new();
    let image = TestImage::small();
    let manifest = Digest::of(&image.manifest);
    let (key, _) = (openssl.key("key"), openssl.key("other"));
    // The registry's address is not known yet; the name of any image of the repository will do.
    let exact = json!({
        "type": "sigstoreSigned", "keyPath": key,
        "signedIdentity": {"type": "exactRepository", "dockerRepository": "v.io/x"}
    });
    let good = openssl.attachment("key", &manifest, "v.io/x");
    let with = |change: &dyn Fn(&mut Attachment)| {
        let mut changed = good.clone();
        change(&mut changed);
        vec![changed]
    };
    let null = {
        let text = String::from_utf8(good.payload.clone()).unwrap();
        let payload = text.replace(r#"{"creator":"test","timestamp":1700000000}"#, "null").into_bytes();
        let signature = openssl.sign("key", &payload);
        vec![Attachment {
            payload,
            annotations: json!({"dev.cosignproject.cosign/signature": signature}),
            ..good.clone()
        }]
    };
    let signature = "dev.cosignproject.cosign/signature";
    for (what, attachments, wanted) in [
        ("a good one", vec![good.clone()], None),
        ("as cosign writes it", null, None),
        ("after others", vec![openssl.attachment("other", &manifest, "v.io/x"), good.clone()], None),
        ("none", vec![], Some("there is no signature")),
        ("another key", vec![openssl.attachment("other", &manifest, "v.io/x")], Some("not made by a key")),
        (
            "another image",
            vec![openssl.attachment("key", &Digest::of(b"x"), "v.io/x")],
            Some("another manifest"),
        ),
        ("another name", vec![openssl.attachment("key", &manifest, "v.io/y")], Some("the policy wants")),
        (
            "another payload",
            with(&|one| {
                one.payload = String::from_utf8_lossy(&one.payload).replace("test", "tset").into_bytes()
            }),
            Some("not for this payload"),
        ),
        ("no annotation", with(&|one| one.annotations = json!({})), Some("no annotation")),
        ("no base 64", with(&|one| one.annotations = json!({signature: "%"})), Some("not base 64")),
        ("an empty signature", with(&|one| one.annotations = json!({signature: ""})), Some("not made by")),
        (
            "an attestation",
            with(&|one| one.media_type = "application/vnd.dsse.envelope.v1+json".to_owned()),
            Some("another kind"),
        ),
    ] {
        let server = server(&image, &attachments);
        let refused = verdict(&peer, what, &server, &exact);
        match (&refused, wanted) {
            (None, None) => {}
            (Some(said), Some(wanted)) => assert!(said.contains(wanted), "{what}: {said}"),
            _ => panic!("{what}: {refused:?}"),
        }
    }
    let server = server(&image, &vec![good.clone(); 200]);
    let machine = machine(&exact, true);
    let error = machine.pull_refused(&format!("{}/ns/x:1", server.address));
    assert!(error.to_string().contains("at most 128"), "{error}");
}

#[test]
fn keys_and_names_are_as_the_policy_says() {
    let Some(openssl) = Openssl::new() else { return };
    let peer = Peer::new();
    let image = TestImage::small();
    let manifest = Digest::of(&image.manifest);
    let (key, other) = (openssl.key("key"), openssl.key("other"));
    let attachment = openssl.attachment("key", &manifest, "v.io/x:1");
    let server = server(&image, &[attachment]);
    let data =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, std::fs::read(&key).unwrap());
    let named = |mut requirement: Value, name: &str| {
        requirement["signedIdentity"] = json!({"type": "exactReference", "dockerReference": name});
        requirement
    };
    for (what, requirement, accepted) in [
        ("keyPath", named(by("keyPath", json!(key)), "v.io/x:1"), true),
        ("keyData", named(by("keyData", json!(data)), "v.io/x:1"), true),
        ("another key", named(by("keyPath", json!(other)), "v.io/x:1"), false),
        ("another tag", named(by("keyPath", json!(key)), "v.io/x:2"), false),
        ("this repository", by("keyPath", json!(key)), false),
    ] {
        assert_eq!(verdict(&peer, what, &server, &requirement).is_none(), accepted, "{what}");
    }
    // skopeo 1.9 does not know these yet.
    for (what, requirement, accepted) in [
        ("keyPaths", named(by("keyPaths", json!([other, key])), "v.io/x:1"), true),
        ("keyDatas", named(by("keyDatas", json!([data])), "v.io/x:1"), true),
        ("other keyPaths", named(by("keyPaths", json!([other])), "v.io/x:1"), false),
    ] {
        let pulled = machine(&requirement, true).pull(&format!("{}/ns/x:1", server.address));
        assert_eq!(pulled.is_ok(), accepted, "{what}: {pulled:?}");
    }
    // They are looked for only where registries.d says so.
    let off = machine(&named(by("keyPath", json!(key)), "v.io/x:1"), false);
    let error = off.pull_refused(&format!("{}/ns/x:1", server.address));
    assert!(error.to_string().contains("needs use-sigstore-attachments"), "{error}");
}

#[test]
fn a_transparency_log_has_to_have_seen_it_where_one_is_named() {
    let Some(openssl) = Openssl::new() else { return };
    let image = TestImage::small();
    let manifest = Digest::of(&image.manifest);
    let (key, log, _) = (openssl.key("key"), openssl.key("log"), openssl.key("other"));
    let requirement = json!({
        "type": "sigstoreSigned", "keyPath": key, "rekorPublicKeyPath": log,
        "signedIdentity": {"type": "exactRepository", "dockerRepository": "v.io/x"}
    });
    let plain = openssl.attachment("key", &manifest, "v.io/x");
    let proven = |key: &str, log: &str| {
        let mut attachment = plain.clone();
        openssl.prove(&mut attachment, key, log);
        attachment
    };
    let mut borrowed = openssl.attachment("key", &manifest, "v.io/x:2");
    borrowed.annotations["dev.sigstore.cosign/bundle"] =
        proven("key", "log").annotations["dev.sigstore.cosign/bundle"].clone();
    for (what, attachment, wanted) in [
        ("proven", proven("key", "log"), None),
        ("without proof", plain.clone(), Some("no proof of a transparency log")),
        ("by another log", proven("key", "other"), Some("no log that the policy names")),
        ("for another key", proven("other", "log"), Some("another key")),
        ("borrowed from another signature", borrowed, Some("another signature")),
    ] {
        let server = server(&image, &[attachment]);
        let pulled = machine(&requirement, true).pull(&format!("{}/ns/x:1", server.address));
        match (pulled, wanted) {
            (Ok(_), None) => {}
            (Err(error), Some(wanted)) => assert!(error.to_string().contains(wanted), "{what}: {error}"),
            (pulled, _) => panic!("{what}: {pulled:?}"),
        }
    }
}

#[test]
fn certificates_are_refused_and_never_taken_for_keys() {
    let server = server(&TestImage::small(), &[]);
    for trust in [
        json!({"fulcio": {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b"},
            "rekorPublicKeyPath": "/rekor.pub"}),
        json!({"pki": {"caRootsPath": "/ca", "subjectEmail": "a@b"}}),
    ] {
        let mut requirement = trust;
        requirement["type"] = json!("sigstoreSigned");
        let error = machine(&requirement, true).pull_refused(&format!("{}/x:1", server.address));
        assert!(matches!(error, Error::Policy { .. }), "{error}");
        assert!(error.to_string().contains("cannot be verified here"), "{error}");
        assert_eq!(server.requests(), [] as [String; 0]);
    }
}
