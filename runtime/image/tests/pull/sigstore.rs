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
    let broken = |one: &mut Attachment| {
        let mut text = one.annotations[signature].as_str().unwrap().to_owned();
        text.insert(60, '\n');
        one.annotations = json!({signature: text + "\n"});
    };
    for (what, attachments, wanted) in [
        ("a good one", vec![good.clone()], None),
        ("as cosign writes it", null, None),
        ("in lines", with(&broken), None),
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
        openssl.prove(&mut attachment, &format!("{key}.pub"), log);
        attachment
    };
    let mut borrowed = openssl.attachment("key", &manifest, "v.io/x:2");
    borrowed.annotations["dev.sigstore.cosign/bundle"] =
        proven("key", "log").annotations["dev.sigstore.cosign/bundle"].clone();
    for (what, attachment, wanted) in [
        ("proven", proven("key", "log"), None),
        ("without proof", plain.clone(), Some("the proof of a transparency log")),
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

const ALWAYS: (&str, &str) = ("20200101000000Z", "20400101000000Z");
/// Around the time at which the log has seen the signature.
const THEN: (&str, &str) = ("20231114221000Z", "20231114222000Z");
const SIGNER: &str =
    "extendedKeyUsage=codeSigning\nsubjectAltName=email:dev@example.com,DNS:build.example.com\n";

/// Pulls what `attachment` is for; what is said against it has to contain `wanted`.
fn expect(what: &str, requirement: &Value, attachment: Attachment, wanted: Option<&str>) {
    let server = server(&TestImage::small(), &[attachment]);
    let pulled = machine(requirement, true).pull(&format!("{}/ns/x:1", server.address));
    match (pulled, wanted) {
        (Ok(_), None) => {}
        (Err(error @ Error::Policy { .. }), Some(wanted)) => {
            assert!(error.to_string().contains(wanted), "{what}: {error}");
        }
        (pulled, _) => panic!("{what}: {pulled:?}"),
    }
}

fn with_certificate(attachment: &Attachment, certificate: &str, chain: Option<&str>) -> Attachment {
    let mut attachment = attachment.clone();
    attachment.annotations["dev.sigstore.cosign/certificate"] = json!(certificate);
    if let Some(chain) = chain {
        attachment.annotations["dev.sigstore.cosign/chain"] = json!(chain);
    }
    attachment
}

#[test]
fn certificates_have_to_be_of_the_authority_and_for_the_subject() {
    let Some(openssl) = Openssl::new() else { return };
    let manifest = Digest::of(&TestImage::small().manifest);
    let (root, other, _) = (openssl.authority("root"), openssl.authority("other"), openssl.key("key"));
    openssl.key("middle");
    let ca = "basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n";
    let middle = openssl.certify("middle", "root", ca, ALWAYS);
    let signed = openssl.attachment("key", &manifest, "v.io/x");
    let by = |authority: &str, extensions: &str, times| openssl.certify("key", authority, extensions, times);
    let good = by("root", SIGNER, ALWAYS);
    let requirement = |pki: Value| {
        json!({"type": "sigstoreSigned", "pki": pki,
            "signedIdentity": {"type": "exactRepository", "dockerRepository": "v.io/x"}})
    };
    let mail = requirement(json!({"caRootsPath": root, "subjectEmail": "dev@example.com"}));
    let host = requirement(json!({"caRootsPath": root, "subjectHostname": "build.example.com"}));
    let both = requirement(
        json!({"caRootsPath": root, "subjectEmail": "dev@example.com", "subjectHostname": "build.example.com"}),
    );
    let through = requirement(json!({
        "caRootsPath": root, "subjectEmail": "dev@example.com",
        "caIntermediatesPath": openssl.0.path().join("middle.crt")
    }));
    let below = by("middle", SIGNER, ALWAYS);
    let server_alone = SIGNER.replace("codeSigning", "serverAuth");
    let not_mail = "extendedKeyUsage=codeSigning\nsubjectAltName=DNS:dev@example.com,URI:dev@example.com\n";
    for (what, requirement, certificate, chain, wanted) in [
        ("by mail", &mail, &good, None, None),
        ("by host", &host, &good, None, None),
        ("by both", &both, &good, None, None),
        (
            "through a chain",
            &mail,
            &below,
            Some(format!("{middle}{}", std::fs::read_to_string(&root).unwrap())),
            None,
        ),
        ("through a certificate of the policy", &through, &below, None, None),
        ("without what leads to it", &mail, &below, None, Some("its certificate is not accepted")),
        (
            "of another authority",
            &mail,
            &by("other", SIGNER, ALWAYS),
            None,
            Some("its certificate is not accepted"),
        ),
        ("by itself", &mail, &std::fs::read_to_string(&other).unwrap(), None, Some("not accepted")),
        ("that has expired", &mail, &by("root", SIGNER, THEN), None, Some("not accepted")),
        ("for servers", &mail, &by("root", &server_alone, ALWAYS), None, Some("not accepted")),
        (
            "for another",
            &mail,
            &by("root", &SIGNER.replace("dev@", "evil@"), ALWAYS),
            None,
            Some("for [evil@example.com], not for dev@example.com"),
        ),
        ("whose mail is none", &mail, &by("root", not_mail, ALWAYS), None, Some("for [], not for")),
        (
            "without names",
            &mail,
            &by("root", "extendedKeyUsage=codeSigning\n", ALWAYS),
            None,
            Some("for [], not"),
        ),
        (
            "for another host",
            &both,
            &by("root", &SIGNER.replace("build.", "web."), ALWAYS),
            None,
            Some("not for the host build.example.com"),
        ),
        ("of nothing", &mail, &String::new(), None, Some("there has to be one")),
        ("twice", &mail, &format!("{good}{good}"), None, Some("there has to be one")),
    ] {
        expect(what, requirement, with_certificate(&signed, certificate, chain.as_deref()), wanted);
    }
    expect("none", &mail, signed.clone(), Some("no annotation dev.sigstore.cosign/certificate"));
    // The certificate is another key's.
    let foreign = openssl.attachment("other", &manifest, "v.io/x");
    expect("another key", &mail, with_certificate(&foreign, &good, None), Some("not made by a key"));
}

#[test]
fn a_certificate_of_minutes_counts_when_the_log_saw_the_signature() {
    let Some(openssl) = Openssl::new() else { return };
    let manifest = Digest::of(&TestImage::small().manifest);
    let (root, log) = (openssl.authority("root"), openssl.key("log"));
    let (_, _) = (openssl.key("key"), openssl.key("other"));
    let requirement = json!({
        "type": "sigstoreSigned", "rekorPublicKeyPath": log,
        "fulcio": {"caPath": root, "oidcIssuer": "https://id.example.com", "subjectEmail": "dev@example.com"},
        "signedIdentity": {"type": "exactRepository", "dockerRepository": "v.io/x"}
    });
    let hex = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":");
    let bare = |issuer: &str| format!("1.3.6.1.4.1.57264.1.1=DER:{}\n", hex(issuer));
    let string = |issuer: &str| format!("1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:{issuer}\n");
    let (ours, evil) = ("https://id.example.com", "https://id.evil.com");
    let later = ("20231114222000Z", "20231114223000Z");
    let signed = openssl.attachment("key", &manifest, "v.io/x");
    for (what, issuer, times, wanted) in [
        ("the older issuer", bare(ours), THEN, None),
        ("the newer issuer", string(ours), THEN, None),
        ("both issuers", bare(ours) + &string(ours), THEN, None),
        ("another issuer", string(evil), THEN, Some("by \"https://id.evil.com\", not by")),
        ("two issuers", bare(ours) + &string(evil), THEN, Some("two different issuers")),
        ("no issuer", String::new(), THEN, Some("says no issuer")),
        ("a later certificate", string(ours), later, Some("not accepted")),
    ] {
        let certificate = openssl.certify("key", "root", &(SIGNER.to_owned() + &issuer), times);
        let mut attachment = with_certificate(&signed, &certificate, None);
        openssl.prove(&mut attachment, "key.crt", "log");
        expect(what, &requirement, attachment, wanted);
    }
    let certificate = openssl.certify("key", "root", &(SIGNER.to_owned() + &string(ours)), THEN);
    let proven = |file: &str, log: &str| {
        let mut attachment = with_certificate(&signed, &certificate, None);
        openssl.prove(&mut attachment, file, log);
        attachment
    };
    let without = with_certificate(&signed, &certificate, None);
    expect("no proof", &requirement, without, Some("the proof of a transparency log"));
    expect("another log", &requirement, proven("key.crt", "other"), Some("no log that the policy names"));
    // Of the key alone, which says nothing of the certificate and its time.
    expect("a key's proof", &requirement, proven("key.pub", "log"), Some("another key"));
}
