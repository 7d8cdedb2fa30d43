//! Signatures by GnuPG: which are accepted, which are not, and that a refused image's layers are not even asked
//! for. Where skopeo is installed its verdict has to be the same.

use std::path::Path;
use std::time::{Duration, Instant};

use sampan_image::{Digest, Error};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, descriptor, noise, tar_of};
use crate::server::{Reply, Request, Server, answer};
use crate::signing::{Gnupg, Peer, claim, put, simple};

/// A registry that skopeo talks to as well.
pub(crate) fn registry(
    image: TestImage,
    other: impl Fn(&Request) -> Option<Reply> + Send + Sync + 'static,
) -> Server {
    Server::start(move |request| match other(request) {
        Some(reply) => reply,
        None if request.path == "/v2/" => Reply::new(200, b"{}"),
        None => answer(&image, request),
    })
}

fn digest(image: &TestImage) -> Digest {
    Digest::of(&image.manifest)
}

/// A machine that wants signatures by a key of `keys` for everything from registries, from `lookaside`.
fn machine(keys: &[u8], lookaside: &str, identity: Option<&Value>) -> Machine {
    let mut machine = Machine::new();
    // Nothing here fails for a passing reason.
    machine.retries = 0;
    std::fs::write(machine.directory.path().join("keys"), keys).unwrap();
    let mut requirement = json!({
        "type": "signedBy", "keyType": "GPGKeys",
        "keyPath": machine.directory.path().join("keys").display().to_string()
    });
    if let Some(identity) = identity {
        requirement["signedIdentity"] = identity.clone();
    }
    let policy = json!({"default": [{"type": "reject"}], "transports": {"docker": {"": [requirement]}}});
    machine.write("etc/containers/policy.json", &policy.to_string());
    let yaml = format!("default-docker:\n  lookaside: {lookaside}\n");
    machine.write("etc/containers/registries.d/default.yaml", &yaml);
    machine
}

/// That nothing but the manifest was asked for.
fn nothing_fetched(server: &Server) {
    let blobs: Vec<_> = server.requests().into_iter().filter(|request| request.contains("/blobs/")).collect();
    assert_eq!(blobs, [] as [String; 0], "a refused image was fetched");
}

/// One case: signatures, and what is said of them (nothing: they are accepted).
type Case<'a> = (&'a str, Vec<Vec<u8>>, Option<&'a str>);

#[test]
fn a_signature_has_to_be_good_and_about_this_image() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let image = TestImage::small();
    let manifest = digest(&image);
    let server = registry(image, |_| None);
    let name = format!("{}/ns/x:1", server.address);
    let (good, other) = (gnupg.key("good@test"), gnupg.key("other@test"));
    let expired = gnupg.expired_key("expired@test");
    let revoked = gnupg.key("revoked@test");
    let claimed = simple(&manifest, &name);
    let by_revoked = gnupg.sign(&revoked, &claimed, &[]);
    gnupg.revoke(&revoked);
    let keys = gnupg.export(&[&good, &expired, &revoked], true);
    let by = |key: &str, payload: &[u8]| gnupg.sign(key, payload, &[]);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut payload = claim("atomic container signature", &manifest, &name);
        change(&mut payload);
        by(&good, payload.to_string().as_bytes())
    };
    let fine = by(&good, &claimed);
    let spoilt = |at: usize| {
        let mut spoilt = gnupg.sign(&good, &claimed, &["--compress-level", "0"]);
        let at = spoilt.len() - at;
        spoilt[at] ^= 1;
        spoilt
    };
    let twice = String::from_utf8(claimed.clone()).unwrap().replacen('{', r#"{"optional":{},"#, 1);
    let past = ["--faked-system-time=20200101T120000"];
    let cases: Vec<Case<'_>> = vec![
        ("a good one", vec![fine.clone()], None),
        ("uncompressed", vec![gnupg.sign(&good, &claimed, &["--compress-level", "0"])], None),
        ("with a notation", vec![gnupg.sign(&good, &claimed, &["--sig-notation", "a@example.com=b"])], None),
        (
            "with a critical notation that nobody knows",
            vec![gnupg.sign(&good, &claimed, &["--sig-notation", "!a@example.com=b"])],
            Some(""),
        ),
        ("a good one after bad ones", vec![by(&other, &claimed), spoilt(10), fine.clone()], None),
        ("none", vec![], Some("there is no signature")),
        ("another key", vec![by(&other, &claimed)], Some("made by another key")),
        ("an expired key", vec![gnupg.sign(&expired, &claimed, &past)], Some("expired")),
        ("a revoked key", vec![by_revoked], Some("revoked")),
        (
            "an expired signature",
            vec![gnupg.sign(&good, &claimed, &["--default-sig-expire", "seconds=1"])],
            Some("expired"),
        ),
        ("a spoilt signature", vec![spoilt(10)], Some("does not fit")),
        ("another image", vec![by(&good, &simple(&Digest::of(b"x"), &name))], Some("another manifest")),
        (
            "another tag",
            vec![by(&good, &simple(&manifest, &name.replace(":1", ":2")))],
            Some("the policy wants one for"),
        ),
        (
            "another repository",
            vec![by(&good, &simple(&manifest, "q.io/ns/x:1"))],
            Some("the policy wants one for"),
        ),
        ("no tag", vec![by(&good, &simple(&manifest, name.trim_end_matches(":1")))], Some("wants one for")),
        ("no name", vec![by(&good, &simple(&manifest, "A:B:C"))], Some("is none")),
        (
            "another type",
            vec![changed(&|claim| claim["critical"]["type"] = json!("x"))],
            Some("critical.type"),
        ),
        (
            "a critical part that is not known",
            vec![changed(&|claim| claim["critical"]["until"] = json!("2030"))],
            Some("not known"),
        ),
        (
            "an optional part that is not known",
            vec![changed(&|claim| claim["optional"]["more"] = json!({"a": [1]}))],
            None,
        ),
        ("a key twice", vec![by(&good, twice.as_bytes())], Some("twice")),
        ("no JSON", vec![by(&good, b"hello")], Some("expected value")),
        ("no signature", vec![gnupg.unsigned(&claimed)], Some("no signature")),
        ("two signatures", vec![gnupg.sign(&good, &claimed, &["--local-user", &other])], Some("signatures")),
        ("two good signatures", vec![gnupg.sign(&good, &claimed, &["--local-user", &good])], None),
        ("armor", vec![gnupg.sign(&good, &claimed, &["--armor"])], Some("it is no signature")),
        (
            "a cleartext signature",
            vec![gnupg.sign(&good, &claimed, &["--clearsign"])],
            Some("it is no signature"),
        ),
        ("a detached signature", vec![gnupg.sign(&good, &claimed, &["--detach-sign"])], Some("")),
        ("a page", vec![b"<html>not found</html>".to_vec()], Some("it is no signature")),
        ("an empty file", vec![vec![]], Some("it is no signature")),
    ];
    // The signature that lives for a second.
    std::thread::sleep(Duration::from_secs(2));
    for (what, signatures, wanted) in cases {
        let store = tempfile::tempdir().unwrap();
        for (number, signature) in signatures.iter().enumerate() {
            put(store.path(), "ns/x", &manifest, number + 1, signature);
        }
        let machine = machine(&keys, &format!("file://{}", store.path().display()), None);
        server.forget();
        match wanted {
            None => {
                machine.pull(&name).unwrap_or_else(|error| panic!("{what}: {error}"));
                assert_eq!(machine.leftovers(), [] as [String; 0], "{what}");
            }
            Some(wanted) => {
                let error = machine.pull_refused(&name);
                assert!(matches!(error, Error::Policy { .. }), "{what}: {error}");
                let said = error.to_string();
                assert!(said.contains(wanted), "{what}: {said}");
                assert!(said.contains("keys") && said.contains("signature-"), "{what}: {said}");
                nothing_fetched(&server);
                assert_eq!(machine.layer_count(), 0, "{what}");
            }
        }
        let theirs = peer.accepts(&machine, &format!("docker://{name}"));
        assert!(theirs.is_none_or(|theirs| theirs == wanted.is_none()), "{what}: skopeo says {theirs:?}");
    }
}

#[test]
fn names_are_compared_as_signed_identity_says() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let image = TestImage::small();
    let manifest = digest(&image);
    let server = registry(image, |_| None);
    let key = gnupg.key("good@test");
    let keys = gnupg.export(&[&key], false);
    let repository = format!("{}/ns/x", server.address);
    let (tag, by_digest) = (format!("{repository}:1"), format!("{repository}@{manifest}"));
    let rule = |kind: &str| json!({"type": kind});
    let remap = json!({"type": "remapIdentity", "prefix": server.address, "signedPrefix": "v.io/all"});
    let exact = json!({"type": "exactReference", "dockerReference": "v.io/x:7"});
    let repo = json!({"type": "exactRepository", "dockerRepository": "v.io/x"});
    for (name, identity, signed, accepted) in [
        (&tag, None, tag.as_str(), true),
        (&by_digest, None, &tag, true),
        (&by_digest, None, &by_digest, true),
        (&by_digest, None, "q.io/x:1", false),
        (&by_digest, Some(rule("matchExact")), &tag, false),
        (&by_digest, Some(rule("matchExact")), &by_digest, true),
        (&tag, Some(rule("matchRepository")), &repository, true),
        (&tag, Some(rule("matchRepository")), &format!("{repository}:2"), true),
        (&tag, Some(rule("matchRepository")), "q.io/ns/x:1", false),
        (&tag, Some(exact.clone()), "v.io/x:7", true),
        (&tag, Some(exact), &tag, false),
        (&tag, Some(repo), "v.io/x:8", true),
        (&tag, Some(remap.clone()), "v.io/all/ns/x:1", true),
        (&tag, Some(remap.clone()), &tag, false),
        (&by_digest, Some(remap), "v.io/all/ns/x:3", true),
    ] {
        let store = tempfile::tempdir().unwrap();
        put(store.path(), "ns/x", &manifest, 1, &gnupg.sign(&key, &simple(&manifest, signed), &[]));
        let machine = machine(&keys, &format!("file://{}", store.path().display()), identity.as_ref());
        let what = format!("{name} signed as {signed} with {identity:?}");
        assert_eq!(machine.pull(name).is_ok(), accepted, "{what}");
        let theirs = peer.accepts(&machine, &format!("docker://{name}"));
        assert!(theirs.is_none_or(|theirs| theirs == accepted), "{what}: skopeo says {theirs:?}");
    }
}

#[test]
fn keys_come_from_files_and_from_the_policy_and_all_requirements_count() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let image = TestImage::small();
    let manifest = digest(&image);
    let server = registry(image, |_| None);
    let name = format!("{}/ns/x:1", server.address);
    let (one, two) = (gnupg.key("one@test"), gnupg.key("two@test"));
    let store = tempfile::tempdir().unwrap();
    let files = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        std::fs::write(files.path().join(name), bytes).unwrap();
        files.path().join(name).display().to_string()
    };
    let (first, second) =
        (file("one", &gnupg.export(&[&one], true)), file("two", &gnupg.export(&[&two], false)));
    let both = file("both", &[gnupg.export(&[&one], true), gnupg.export(&[&two], true)].concat());
    let data =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, gnupg.export(&[&one], false));
    let nothing = file("nothing", b"not a key");
    let signed_by = |key: &str, value: Value| json!({"type": "signedBy", "keyType": "GPGKeys", key: value});
    let accept = json!({"type": "insecureAcceptAnything"});
    let requirements = |list: Value, signers: &[&str]| {
        for (number, key) in signers.iter().enumerate() {
            put(
                store.path(),
                "ns/x",
                &manifest,
                number + 1,
                &gnupg.sign(key, &simple(&manifest, &name), &[]),
            );
        }
        let machine = machine(b"", &format!("file://{}", store.path().display()), None);
        machine.write("etc/containers/policy.json", &json!({"default": list}).to_string());
        let ours = machine.pull(&name);
        let theirs = peer.copy(&machine, &format!("docker://{name}"));
        let same = theirs.as_ref().is_none_or(|(yes, _)| *yes == ours.is_ok());
        assert!(same, "{list}: {ours:?}, skopeo {theirs:?}");
        std::fs::remove_dir_all(store.path().join("ns")).unwrap();
        ours.map(drop)
    };
    assert!(requirements(json!([signed_by("keyPath", json!(first))]), &[&one]).is_ok());
    assert!(requirements(json!([signed_by("keyPath", json!(second))]), &[&two]).is_ok());
    assert!(requirements(json!([signed_by("keyPath", json!(first))]), &[&two]).is_err());
    assert!(requirements(json!([signed_by("keyPath", json!(both))]), &[&two]).is_ok());
    assert!(requirements(json!([signed_by("keyPaths", json!([first, second]))]), &[&two]).is_ok());
    assert!(requirements(json!([signed_by("keyData", json!(data))]), &[&one]).is_ok());
    assert!(requirements(json!([signed_by("keyData", json!(data))]), &[&two]).is_err());
    let all = json!([accept, signed_by("keyPath", json!(first)), signed_by("keyPath", json!(second))]);
    assert!(requirements(all.clone(), &[&one]).is_err(), "one of two");
    assert!(requirements(all.clone(), &[&two]).is_err(), "one of two");
    assert!(requirements(all, &[&two, &one]).is_ok());
    assert!(requirements(json!([signed_by("keyPath", json!(first)), {"type": "reject"}]), &[&one]).is_err());
    let error = requirements(json!([signed_by("keyPath", json!(nothing))]), &[&one]).unwrap_err();
    assert!(matches!(error, Error::Config { .. }), "{error}");
    assert!(error.to_string().contains("nothing"), "{error}");
    let missing = json!([signed_by("keyPaths", json!([first, "/nowhere/key"]))]);
    let error = requirements(missing, &[&one]).unwrap_err();
    assert!(error.to_string().contains("/nowhere/key"), "{error}");
}

/// A key may sign by another one that it vouches for (skopeo 1.9 does not know that yet).
#[test]
fn subkeys_sign_for_their_key() {
    let Some(gnupg) = Gnupg::new() else { return };
    let image = TestImage::small();
    let manifest = digest(&image);
    let server = registry(image, |_| None);
    let name = format!("{}/ns/x:1", server.address);
    let key = gnupg.key("good@test");
    let before = gnupg.export(&[&key], true);
    gnupg.add_subkey(&key);
    let store = tempfile::tempdir().unwrap();
    put(store.path(), "ns/x", &manifest, 1, &gnupg.sign(&key, &simple(&manifest, &name), &[]));
    let lookaside = format!("file://{}", store.path().display());
    machine(&gnupg.export(&[&key], true), &lookaside, None).pull(&name).unwrap();
    let error = machine(&before, &lookaside, None).pull_refused(&name);
    assert!(error.to_string().contains("another key"), "{error}");
}

/// Only the manifest that runs counts, and its signatures are under its own digest.
#[test]
fn an_index_is_verified_by_the_manifest_that_is_used() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let key = gnupg.key("good@test");
    let image = TestImage::small();
    let instance = digest(&image);
    let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &image.manifest);
    let host = sampan_image::Platform::host();
    entry["platform"] = json!({"os": "linux", "architecture": host.architecture});
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": [entry]
    });
    let index = index.to_string().into_bytes();
    let index_digest = Digest::of(&index);
    let served = index.clone();
    let server = registry(image, move |request| {
        let by_tag =
            request.path.ends_with("/manifests/1") || request.path.ends_with(&index_digest.to_string());
        by_tag.then(|| {
            Reply::new(200, &served)
                .with("content-type", "application/vnd.oci.image.index.v1+json")
                .with("docker-content-digest", &index_digest.to_string())
        })
    });
    for (signed, at, accepted) in [
        (&instance, &instance, true),
        (&index_digest, &index_digest, false),
        (&index_digest, &instance, false),
        (&instance, &index_digest, false),
    ] {
        for name in [format!("{}/x:1", server.address), format!("{}/x@{index_digest}", server.address)] {
            let store = tempfile::tempdir().unwrap();
            let reference = format!("{}/x:1", server.address);
            put(store.path(), "x", at, 1, &gnupg.sign(&key, &simple(signed, &reference), &[]));
            let lookaside = format!("file://{}", store.path().display());
            let machine = machine(&gnupg.export(&[&key], true), &lookaside, None);
            assert_eq!(machine.pull(&name).is_ok(), accepted, "{name}: {signed} signed, at {at}");
            let theirs = peer.accepts(&machine, &format!("docker://{name}"));
            assert!(theirs.is_none_or(|theirs| theirs == accepted), "{name}: skopeo says {theirs:?}");
            if accepted {
                // Unchanged, it is asked for again, by digest too; its signature may be gone.
                machine.pull(&name).unwrap();
                std::fs::remove_dir_all(store.path()).unwrap();
                assert!(matches!(machine.pull(&name), Err(Error::Policy { .. })), "{name}");
            }
        }
    }
}

#[test]
fn a_manifest_swapped_after_signing_is_refused() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = gnupg.key("good@test");
    let (image, swapped) = (TestImage::small(), TestImage::new(&[tar_of(&[("x", &noise(100))])]));
    let signature_of = digest(&image);
    let server = registry(swapped.clone(), |_| None);
    let name = format!("{}/x:1", server.address);
    let store = tempfile::tempdir().unwrap();
    // Also where the other manifest's own signatures would be.
    for manifest in [signature_of, digest(&swapped)] {
        put(store.path(), "x", &manifest, 1, &gnupg.sign(&key, &simple(&signature_of, &name), &[]));
    }
    let machine = machine(&gnupg.export(&[&key], true), &format!("file://{}", store.path().display()), None);
    let error = machine.pull_refused(&name);
    assert!(error.to_string().contains("another manifest"), "{error}");
    nothing_fetched(&server);
}

/// What an image was pulled under is asked again by a pull, as Podman does.
#[test]
fn a_stricter_policy_counts_at_the_next_pull() {
    let server = registry(TestImage::small(), |_| None);
    let lax = Machine::new();
    let image = TestImage::small();
    for name in [format!("{}/x:1", server.address), format!("{}/x@{}", server.address, digest(&image))] {
        lax.write("etc/containers/policy.json", r#"{"default":[{"type":"insecureAcceptAnything"}]}"#);
        lax.pull(&name).unwrap();
        let strict = json!({"default": [
            {"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/nowhere/key"}
        ]});
        lax.write("etc/containers/policy.json", &strict.to_string());
        assert!(lax.pull(&name).is_err(), "{name}");
    }
}

/// A server with signatures that answers each of them with a function's reply.
fn lookaside(reply: impl Fn(usize) -> Reply + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        let number = request.path.rsplit("signature-").next().and_then(|number| number.parse().ok());
        number.map_or_else(|| Reply::new(400, b""), &reply)
    })
}

#[test]
fn signatures_come_over_http() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let key = gnupg.key("good@test");
    let keys = gnupg.export(&[&key], true);
    let image = TestImage::small();
    let manifest = digest(&image);
    let server = registry(image, |_| None);
    let name = format!("{}/ns/x:1", server.address);
    let good = gnupg.sign(&key, &simple(&manifest, &name), &[]);
    let signature = good.clone();
    let store = lookaside(move |number| match number {
        1 => Reply::new(200, &signature),
        _ => Reply::new(404, b"<html>none</html>"),
    });
    let machine_for = |address: &str| machine(&keys, &format!("http://{address}/base"), None);
    machine_for(&store.address).pull(&name).unwrap();
    let path = format!("GET /base/ns/x@sha256={}/signature-", manifest.hex());
    assert_eq!(store.requests(), [format!("{path}1"), format!("{path}2")]);
    assert!(peer.accepts(&machine_for(&store.address), &format!("docker://{name}")).is_none_or(|yes| yes));

    // To another host and path.
    let target = store.address.clone();
    let redirecting = Server::start(move |request| {
        Reply::new(302, b"").with("location", &format!("http://{target}{}", request.path))
    });
    machine_for(&redirecting.address).pull(&name).unwrap();
    let error = machine_for("127.0.0.1:1").pull_refused(&name);
    assert!(matches!(error, Error::Unreachable { .. }), "{error}");
    assert!(error.to_string().contains("127.0.0.1:1 (for signatures)"), "{error}");
}

#[test]
fn a_hostile_lookaside_store_refuses_the_image_and_does_no_harm() {
    let Some(gnupg) = Gnupg::new() else { return };
    let key = gnupg.key("good@test");
    let keys = gnupg.export(&[&key], true);
    let image = TestImage::small();
    let name = |server: &Server| format!("{}/x:1", server.address);
    let server = registry(image, |_| None);
    let wrong = gnupg.sign(&key, &simple(&Digest::of(b"x"), &name(&server)), &[]);
    // A payload of 64 MiB in a few kilobytes.
    let bomb = gnupg.sign(&key, &vec![b' '; 64 << 20], &["--compress-algo", "zip"]);
    assert!(bomb.len() < 1 << 20, "it has {} bytes", bomb.len());
    let endless =
        Server::start(|request| Reply::new(302, b"").with("location", &format!("{}x", request.path)));
    for (what, store, wanted) in [
        ("thousands", lookaside(move |_| Reply::new(200, &wrong)), "more signatures than anybody makes"),
        ("one without end", lookaside(|_| Reply::new(200, &vec![0xa3; 5 << 20])), "more than 4194304 bytes"),
        ("a bomb", lookaside(move |n| Reply::new(if n == 1 { 200 } else { 404 }, &bomb)), "not that large"),
        ("an error", lookaside(|_| Reply::new(500, b"")), "status 500"),
        ("access denied", lookaside(|_| Reply::new(403, b"")), "status 403"),
        ("redirects in circles", endless, "circles"),
    ] {
        let machine = machine(&keys, &format!("http://{}", store.address), None);
        let error = machine.pull_refused(&name(&server));
        assert!(error.to_string().contains(wanted), "{what}: {error}");
        assert!(store.requests().len() <= 150, "{what}: {} requests", store.requests().len());
        nothing_fetched(&server);
    }
    let silent = lookaside(|_| Reply { stall: true, cut: Some(3), ..Reply::new(200, b"\xa3 and more") });
    let mut machine = machine(&keys, &format!("http://{}", silent.address), None);
    machine.stall = Duration::from_millis(300);
    let started = Instant::now();
    let error = machine.pull_refused(&name(&server));
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    assert!(started.elapsed() < Duration::from_secs(120));
}

#[test]
fn files_beside_an_image_in_a_directory_are_its_signatures() {
    let Some(gnupg) = Gnupg::new() else { return };
    let peer = Peer::new();
    let key = gnupg.key("good@test");
    let image = TestImage::small();
    let files = tempfile::tempdir().unwrap();
    let path = files.path().canonicalize().unwrap();
    std::fs::write(path.join("manifest.json"), &image.manifest).unwrap();
    std::fs::write(path.join("version"), "Directory Transport Version: 1.1\n").unwrap();
    for (digest, blob) in &image.blobs {
        std::fs::write(path.join(digest.hex()), blob).unwrap();
    }
    image.write_layout(&path.join("layout"));
    let sign = |reference: &str| {
        let signature = gnupg.sign(&key, &simple(&digest(&image), reference), &[]);
        std::fs::write(path.join("signature-1"), signature).unwrap();
    };
    let machine = Machine::new();
    let policy = |identity: &Value| {
        std::fs::write(machine.directory.path().join("keys"), gnupg.export(&[&key], true)).unwrap();
        let policy = json!({"default": [{
            "type": "signedBy", "keyType": "GPGKeys", "signedIdentity": identity,
            "keyPath": machine.directory.path().join("keys").display().to_string()
        }]});
        machine.write("etc/containers/policy.json", &policy.to_string());
    };
    let source = format!("dir:{}", path.display());
    let compare = |accepted: bool| {
        assert_eq!(machine.pull(&source).is_ok(), accepted);
        let theirs = peer.accepts(&machine, &source);
        assert!(theirs.is_none_or(|theirs| theirs == accepted), "skopeo says {theirs:?}");
    };
    policy(&json!({"type": "exactReference", "dockerReference": "v.io/x:1"}));
    compare(false);
    sign("v.io/x:1");
    compare(true);
    sign("v.io/x:2");
    compare(false);
    // A directory has no name that could match.
    policy(&json!({"type": "matchRepository"}));
    let error = machine.pull(&source).unwrap_err().to_string();
    assert!(error.contains("exactReference"), "{error}");
    compare(false);
    // A layout has no place for signatures.
    policy(&json!({"type": "exactRepository", "dockerRepository": "v.io/x"}));
    let error = machine.pull(&format!("oci:{}:v1", path.join("layout").display())).unwrap_err().to_string();
    assert!(error.contains("can hold none"), "{error}");
    // A link in the place of a signature is not followed.
    std::fs::remove_file(path.join("signature-1")).unwrap();
    std::os::unix::fs::symlink(Path::new("/etc/passwd"), path.join("signature-1")).unwrap();
    assert!(machine.pull(&source).is_err());
}
