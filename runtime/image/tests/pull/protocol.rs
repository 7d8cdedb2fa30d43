//! What a well-behaved registry may ask of its clients.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sampan_image::{Credentials, Digest, Error, Progress};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, descriptor, noise, tar_of};
use crate::server::{Reply, Server, answer};

#[test]
fn an_image_arrives_with_its_configuration_and_is_found() {
    let server = Server::registry(TestImage::small());
    let machine = Machine::new();
    let name = format!("{}/team/app:1", server.address);
    let image = machine.pull(&name).unwrap();
    assert_eq!(image.names, std::slice::from_ref(&name));
    assert_eq!(image.created.as_deref(), Some("2024-05-06T07:08:09Z"));
    assert_eq!(image.size, 200_000 + 10 + 6);
    assert_eq!(image.layers.len(), 2);
    assert_eq!(std::fs::read_to_string(image.layers[0].join("etc/motd")).unwrap(), "hello\n");
    let config = image.config.config().as_ref().unwrap();
    assert_eq!(config.cmd().as_deref(), Some(&["/bin/sh".to_owned()][..]));
    let found = machine.store().find(&name, &machine.registries()).unwrap().unwrap();
    assert_eq!((found.id, found.digest), (image.id, image.digest));
    let by_digest = format!("{}/team/app@{}", server.address, image.digest);
    assert!(machine.store().find(&by_digest, &machine.registries()).unwrap().is_some());
}

#[test]
fn an_unchanged_tag_costs_one_head_request_and_a_digest_none() {
    let server = Server::registry(TestImage::small());
    let machine = Machine::new();
    let name = format!("{}/x:1", server.address);
    let image = machine.pull(&name).unwrap();
    server.forget();
    machine.pull(&name).unwrap();
    assert_eq!(server.requests(), ["HEAD /v2/x/manifests/1"]);
    let name = format!("{}/x@{}", server.address, image.digest);
    machine.pull(&name).unwrap();
    server.forget();
    machine.pull(&name).unwrap();
    assert_eq!(server.requests(), [] as [String; 0]);
}

#[test]
fn layers_that_are_there_are_not_fetched_again() {
    let shared = tar_of(&[("shared", b"x")]);
    let first = Server::registry(TestImage::new(std::slice::from_ref(&shared)));
    let second = Server::registry(TestImage::new(&[shared.clone(), tar_of(&[("own", b"y")]), shared]));
    let machine = Machine::new();
    machine.pull(&format!("{}/x", first.address)).unwrap();
    let image = machine.pull(&format!("{}/x", second.address)).unwrap();
    let blobs = second.requests().iter().filter(|request| request.contains("/blobs/")).count();
    assert_eq!(blobs, 2, "configuration and one layer");
    assert_eq!(image.layers.len(), 2, "overlayfs wants each directory once");
    assert!(image.layers[0].join("shared").exists());
}

#[test]
fn progress_names_layers_and_bytes() {
    let server = Server::registry_with(TestImage::small(), |_, reply| Reply {
        pace: Some(Duration::from_millis(15)),
        ..reply
    });
    let seen = Mutex::new(Vec::new());
    let watch = |progress: &Progress| seen.lock().unwrap().push(*progress);
    let begun = Instant::now();
    Machine::new().pull_watched(&format!("{}/x", server.address), &watch).unwrap();
    let seen = seen.into_inner().unwrap();
    let last = seen.last().unwrap();
    assert_eq!((last.layer, last.layers, last.bytes), (2, 2, last.total));
    assert!(seen.windows(2).all(|pair| pair[0].bytes <= pair[1].bytes));
    // One in a tenth of a second, and some for each layer.
    let bound = 20 + usize::try_from(begun.elapsed().as_millis() / 100).unwrap();
    assert!(seen.len() < bound, "{} reports", seen.len());
    let size = format!("layer 2/2 100% {} kB of {} kB ", last.total / 1000, last.total / 1000);
    assert!(last.to_string().starts_with(&size), "{last}");
}

#[test]
fn two_pulls_at_once_do_the_work_once() {
    let image = TestImage::new(&[tar_of(&[("big", &noise(400_000))]), tar_of(&[("small", b"x")])]);
    let layers: Vec<_> = image.layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let server =
        Server::registry_with(image, |_, reply| Reply { pace: Some(Duration::from_millis(80)), ..reply });
    let machine = Machine::new();
    let name = format!("{}/x", server.address);
    let waited = AtomicUsize::new(0);
    let watch = |progress: &Progress| {
        waited.fetch_add(usize::from(progress.waiting), Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| machine.pull_watched(&name, &watch).unwrap());
        }
    });
    for layer in layers {
        let fetched = server.requests().iter().filter(|request| request.contains(&layer)).count();
        assert_eq!(fetched, 1, "{layer}");
    }
    assert!(waited.into_inner() > 0, "those who waited showed no progress");
    assert_eq!(machine.leftovers(), [] as [String; 0]);
}

/// A registry that wants a bearer token; `auth` is the token server's address, or its own.
fn token_registry(user: Option<&'static str>) -> Server {
    let image = TestImage::small();
    Server::start(move |request| {
        let host = request.header("host").unwrap_or_default().to_owned();
        if request.path.starts_with("/token?") {
            assert!(request.path.contains("scope=repository%3Ax%3Apull"), "{}", request.path);
            assert!(request.path.contains("service=here"), "{}", request.path);
            if request.header("authorization") != user {
                return Reply::new(401, b"");
            }
            return Reply::new(200, br#"{"token":"let-me-in"}"#);
        }
        if request.header("authorization") != Some("Bearer let-me-in") {
            let challenge =
                format!("Bearer realm=\"http://{host}/token\",service=\"here\",scope=\"repository:x:pull\"");
            return Reply::new(401, b"").with("www-authenticate", &challenge);
        }
        answer(&image, request)
    })
}

#[test]
fn a_token_is_fetched_once_with_and_without_credentials() {
    let anonymous = token_registry(None);
    Machine::new().pull(&format!("{}/x", anonymous.address)).unwrap();
    let tokens = anonymous.requests().iter().filter(|request| request.contains("/token")).count();
    assert_eq!(tokens, 1);

    let named = token_registry(Some("Basic dXNlcjpzZXNhbWU="));
    let machine = Machine::new();
    machine
        .write("auth.json", &format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjpzZXNhbWU="}}}}}}"#, named.address));
    machine.pull(&format!("{}/x", named.address)).unwrap();

    let machine = Machine::new();
    machine
        .write("auth.json", &format!(r#"{{"auths":{{"{}":{{"auth":"dXNlcjp3cm9uZw=="}}}}}}"#, named.address));
    let error = machine.pull_refused(&format!("{}/x", named.address));
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("auth.json") && message.contains(&named.address), "{message}");
    assert!(!message.contains("wrong") && !message.contains("dXNl"), "a credential leaked: {message}");
}

#[test]
fn basic_authentication_uses_the_given_credentials() {
    let image = TestImage::small();
    let server = Server::start(move |request| match request.header("authorization") {
        Some("Basic dXNlcjpzZXNhbWU=") => answer(&image, request),
        _ => Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\""),
    });
    let error = Machine::new().pull_refused(&format!("{}/x", server.address));
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    let credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
    let machine = Machine { credentials, ..Machine::new() };
    machine.pull(&format!("{}/x", server.address)).unwrap();
}

#[test]
fn redirects_are_followed_without_credentials() {
    let image = TestImage::small();
    let blobs = image.clone();
    let storage = Server::start(move |request| {
        let digest: Digest = request.path[1..].parse().unwrap();
        Reply::new(200, &blobs.blobs[&digest]).ranged(request)
    });
    let port = storage.port();
    let server = Server::start(move |request| {
        if request.header("authorization").is_none() {
            return Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\"");
        }
        match request.path.rsplit_once("/blobs/") {
            // Another host as far as the client can tell.
            Some((_, digest)) => {
                Reply::new(307, b"").with("location", &format!("http://localhost:{port}/{digest}"))
            }
            None => answer(&image, request),
        }
    });
    let credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
    let machine = Machine { credentials, ..Machine::new() };
    machine.pull(&format!("{}/x", server.address)).unwrap();
    assert_eq!(storage.all().len(), 3);
    for request in storage.all() {
        assert_eq!(request.header("authorization"), None, "credentials went to another host");
    }
}

#[test]
fn endless_redirects_are_refused() {
    let server = Server::start(|request| Reply::new(302, b"").with("location", &request.path));
    let error = Machine::new().pull_refused(&format!("{}/x", server.address));
    assert!(error.to_string().contains("circles"), "{error}");
}

#[test]
fn passing_failures_are_tried_again() {
    let image = TestImage::small();
    let count = AtomicUsize::new(0);
    let server = Server::start(move |request| match count.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::new(503, b"busy"),
        1 => Reply::new(429, br#"{"errors":[{"code":"TOOMANYREQUESTS"}]}"#).with("retry-after", "0"),
        _ => answer(&image, request),
    });
    Machine::new().pull(&format!("{}/x", server.address)).unwrap();
    let always = Server::start(|_| Reply::new(500, b""));
    let error = Machine::new().pull_refused(&format!("{}/x", always.address));
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
    assert_eq!(always.requests().len(), 3, "the first attempt and two more");
}

#[test]
fn an_unknown_image_is_told_from_other_failures() {
    let body = br#"{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest \u001b[31munknown"}]}"#;
    let server = Server::start(move |_| Reply::new(404, body));
    let error = Machine::new().pull_refused(&format!("{}/x:2", server.address));
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let message = error.to_string();
    assert!(message.contains("MANIFEST_UNKNOWN") && message.contains("/x:2"), "{message}");
    assert!(!message.contains('\u{1b}'), "control characters reached the message");
    assert_eq!(server.requests().len(), 1, "it was asked again");
}

#[test]
fn the_platform_is_chosen_from_an_index() {
    let image = TestImage::small();
    let platform = |os: &str, architecture: &str| {
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &image.manifest);
        entry["platform"] = json!({"os": os, "architecture": architecture});
        entry
    };
    let foreign: Vec<Value> = vec![platform("windows", "amd64"), platform("linux", "s390x")];
    let mut all = foreign.clone();
    all.push(platform("linux", &sampan_image::Platform::host().architecture));
    for (manifests, fits) in [(all, true), (foreign, false)] {
        let index = json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes();
        let (known, top) = (image.clone(), index.clone());
        let server = Server::start(move |request| {
            let by_tag = request.path.ends_with("/manifests/latest");
            let manifest = if by_tag { top.clone() } else { known.manifest.clone() };
            answer(&TestImage { manifest, ..known.clone() }, request)
        });
        let machine = Machine::new();
        let name = format!("{}/x", server.address);
        if !fits {
            let error = machine.pull_refused(&name);
            assert!(matches!(error, Error::NoPlatform { .. }), "{error}");
            assert!(error.to_string().contains("linux/s390x, windows/amd64"), "{error}");
            continue;
        }
        let pulled = machine.pull(&name).unwrap();
        assert_eq!(pulled.digest, Digest::of(&image.manifest));
        let repository = format!("127.0.0.1:{}/x", server.port());
        assert!(pulled.repo_digests.contains(&format!("{repository}@{}", Digest::of(&index))));
        server.forget();
        machine.pull(&name).unwrap();
        assert_eq!(server.requests().len(), 1);
    }
}

#[test]
fn a_dead_mirror_is_passed_over_and_a_live_one_used() {
    let dead = Server::start(|_| Reply::new(404, b""));
    let live = Server::registry(TestImage::small());
    let machine = Machine::new();
    machine.write(
        "etc/containers/registries.conf.d/mirrors.conf",
        &format!(
            "[[registry]]\nlocation = \"example.invalid\"\n\
             [[registry.mirror]]\nlocation = \"127.0.0.1:9/none\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"{}/m\"\ninsecure = true\n\
             [[registry.mirror]]\nlocation = \"{}/cache\"\ninsecure = true\n",
            dead.address, live.address
        ),
    );
    let image = machine.pull("example.invalid/x:1").unwrap();
    assert_eq!(image.names, ["example.invalid/x:1"], "the user's name, not the mirror's");
    assert_eq!(dead.requests().len(), 1);
    assert!(live.requests()[0].starts_with("GET /v2/cache/x/manifests/1"), "{:?}", live.requests());
}

#[test]
fn blocked_registries_and_rejected_images_are_not_even_asked() {
    let server = Server::registry(TestImage::small());
    let machine = Machine::new();
    let name = format!("{}/x", server.address);
    machine.write("etc/containers/policy.json", r#"{"default":[{"type":"reject"}]}"#);
    let error = machine.pull_refused(&name);
    assert!(matches!(error, Error::Policy { .. }), "{error}");
    assert!(error.to_string().contains("policy.json"), "{error}");
    let machine = Machine::new();
    let block = format!("[[registry]]\nlocation = \"{}\"\nblocked = true\n", server.address);
    machine.write("etc/containers/registries.conf.d/block.conf", &block);
    let error = machine.pull_refused(&name);
    assert!(matches!(error, Error::Blocked { .. }), "{error}");
    assert!(error.to_string().contains("block.conf"), "{error}");
    assert_eq!(server.requests(), [] as [String; 0]);
}

#[test]
fn the_digest_of_a_tag_costs_one_head_request() {
    let server = Server::registry(TestImage::small());
    let machine = Machine::new();
    let name = format!("{}/x:1", server.address);
    let image = machine.pull(&name).unwrap();
    server.forget();
    assert_eq!(machine.tag_digest(&name).unwrap(), image.digest);
    assert_eq!(server.requests(), ["HEAD /v2/x/manifests/1"]);
    // A registry that doesn't say it, and one that has no HEAD requests.
    let quiet = Server::registry_with(TestImage::small(), |_, mut reply| {
        reply.headers.retain(|(name, _)| name != "docker-content-digest");
        reply
    });
    assert_eq!(machine.tag_digest(&format!("{}/x:1", quiet.address)).unwrap(), image.digest);
    let without = Server::registry_with(TestImage::small(), |request, reply| match request.method.as_str() {
        "HEAD" => Reply::new(405, b""),
        _ => reply,
    });
    assert_eq!(machine.tag_digest(&format!("{}/x:1", without.address)).unwrap(), image.digest);
}

/// A registry with these pages of tags, each with its link to the next one.
fn tagged(pages: &'static [(&'static str, &'static str)]) -> Server {
    Server::start(move |request| {
        assert!(request.path.starts_with("/v2/x/tags/list?"), "{}", request.path);
        let number = request.path.split("page=").nth(1).map_or(0, |page| page.parse().unwrap());
        let (body, link) = pages[number];
        let reply = Reply::new(200, body.as_bytes());
        if link.is_empty() { reply } else { reply.with("link", link) }
    })
}

#[test]
fn tags_come_page_by_page() {
    let server = tagged(&[
        (r#"{"name":"x","tags":["1","2"]}"#, "</v2/x/tags/list?n=2&page=1>; rel=\"next\""),
        (r#"{"name":"x","tags":["3"]}"#, "<http://127.0.0.1:1/v2/x/tags/list?page=2>; title=a; rel=next"),
        (r#"{"name":"x","tags":null}"#, ""),
    ]);
    let tags = Machine::new().tags(&format!("{}/x:ignored", server.address)).unwrap();
    let tags: Vec<_> = tags.iter().map(|name| name.tag().unwrap()).collect();
    assert_eq!(tags, ["1", "2", "3"]);
    let first = server.requests().remove(0);
    assert_eq!(first, "GET /v2/x/tags/list?n=1000");
}

#[test]
fn a_list_of_tags_leads_nowhere_else() {
    for link in ["</v2/other/tags/list?page=1>; rel=next", "</x>; rel=next", "<http://h?page=1>; rel=next"] {
        let server = tagged(Box::leak(Box::new([(r#"{"tags":["1"]}"#, link)])));
        let error = Machine::new().tags(&format!("{}/x", server.address)).unwrap_err();
        assert!(matches!(error, Error::Protocol { .. }), "{error}");
    }
    let server = tagged(&[(r#"{"tags":[]}"#, "</v2/x/tags/list?page=0>; rel=next")]);
    assert!(Machine::new().tags(&format!("{}/x", server.address)).is_err(), "it goes round in circles");
    let server = tagged(&[(r#"{"tags":["../../etc"]}"#, "")]);
    let error = Machine::new().tags(&format!("{}/x", server.address)).unwrap_err();
    assert!(matches!(error, Error::InvalidReference { .. }), "{error}");
}
