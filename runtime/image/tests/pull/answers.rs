//! Answers that no registry should give, and those that one may give and that take some care:
//! headers, bodies without end, parts of blobs, pauses, tokens, redirects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use sampan_image::{Credentials, Digest, Error};

use crate::fixture::{Machine, TestImage, noise, tar_of};
use crate::server::{Length, Reply, Request, Server, answer};

fn is_layer(image: &TestImage, request: &Request) -> bool {
    image.layers.iter().any(|layer| request.path.ends_with(&Digest::of(layer).to_string()))
}

/// A registry with one layer that doesn't compress, whose answers for it are spoiled.
fn spoiled(spoil: impl Fn(&Request, &[u8], Reply) -> Reply + Send + Sync + 'static) -> Server {
    let image = TestImage::new(&[tar_of(&[("big", &noise(300_000))])]);
    let known = image.clone();
    Server::registry_with(image, move |request, reply| {
        if is_layer(&known, request) { spoil(request, &known.layers[0], reply) } else { reply }
    })
}

fn name(server: &Server) -> String {
    format!("{}/x", server.address)
}

/// In a hurry: the first stall is the last.
fn impatient() -> Machine {
    Machine { stall: Duration::from_millis(500), retries: 0, ..Machine::new() }
}

/// Takes the first answer for the last, and has time to read it.
fn hasty() -> Machine {
    Machine { retries: 0, ..Machine::new() }
}

/// Far less than what drips or has no end would take.
fn assert_quick(started: Instant) {
    assert!(started.elapsed() < Duration::from_secs(120), "it took {:?}", started.elapsed());
}

#[test]
fn a_header_without_end_is_refused() {
    let bomb = [b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(1 << 20)].concat();
    let long = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 8 << 20]].concat();
    let chain = b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1 << 18);
    for raw in [bomb, long, chain] {
        let server = Server::start(move |_| Reply::raw(&raw));
        let started = Instant::now();
        let error = hasty().pull_refused(&name(&server));
        assert!(matches!(error, Error::Protocol { .. } | Error::Unreachable { .. }), "{error}");
        assert_quick(started);
    }
}

#[test]
fn what_is_no_http_is_refused() {
    for raw in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nx\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nx\r\n",
        b"\0\0\0\0",
        b"",
    ] {
        let server = Server::start(move |_| Reply::raw(raw));
        let error = hasty().pull_refused(&name(&server));
        let message = error.to_string();
        assert!(message.contains(&server.address), "{message}");
        assert!(!message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn headers_that_drip_are_a_stall() {
    let server = Server::start(|_| Reply {
        chunk: 1,
        pace: Some(Duration::from_millis(100)),
        ..Reply::raw(&[b"HTTP/1.1 200 OK\r\n".to_vec(), b"x: y\r\n".repeat(1000)].concat())
    });
    let started = Instant::now();
    let error = impatient().pull_refused(&name(&server));
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    assert_quick(started);
}

#[test]
fn a_manifest_or_a_token_that_drips_is_a_stall() {
    let drip = |reply: Reply| Reply { chunk: 1, pace: Some(Duration::from_millis(100)), ..reply };
    let manifest = Server::start(move |_| drip(Reply::new(200, &[b' '; 4096])));
    let token = Server::start(move |request| {
        if request.path.starts_with("/token") {
            return drip(Reply::new(200, &[b' '; 4096]));
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::new(401, b"").with("www-authenticate", &realm)
    });
    let refusal = Server::start(move |_| drip(Reply::new(500, &[b' '; 4096])));
    for server in [manifest, token, refusal] {
        let started = Instant::now();
        impatient().pull_refused(&name(&server));
        assert_quick(started);
    }
}

#[test]
fn a_body_without_end_is_read_to_the_announced_size_alone() {
    for length in [Length::Untold, Length::Chunked, Length::Wrong(1 << 40)] {
        let server = spoiled(move |_, _, reply| Reply { endless: true, length, ..reply });
        let started = Instant::now();
        let error = Machine::new().pull_refused(&name(&server));
        assert!(matches!(error, Error::SizeMismatch { .. } | Error::DigestMismatch { .. }), "{error}");
        assert_quick(started);
    }
}

#[test]
fn a_manifest_without_end_is_refused() {
    for length in [Length::Untold, Length::Chunked, Length::Wrong(1 << 40)] {
        let server =
            Server::start(move |_| Reply { endless: true, length, ..Reply::new(200, &[b' '; 65536]) });
        let started = Instant::now();
        let error = Machine::new().pull_refused(&name(&server));
        assert!(error.to_string().contains("more than 4194304 bytes"), "{error}");
        assert_quick(started);
    }
}

#[test]
fn bodies_of_unknown_length_are_read() {
    for length in [Length::Untold, Length::Chunked] {
        let server = Server::registry_with(TestImage::small(), move |_, reply| Reply { length, ..reply });
        Machine::new().pull(&name(&server)).unwrap();
    }
}

#[test]
fn a_body_that_is_whole_but_never_ends_is_whole() {
    let server = spoiled(|_, _, reply| Reply { stall: true, length: Length::Chunked, ..reply });
    Machine::new().pull(&name(&server)).unwrap();
    let layers = server.requests().iter().filter(|request| request.contains("/blobs/")).count();
    assert_eq!(layers, 2, "configuration and layer, each once");
}

#[test]
fn another_part_than_was_asked_for_is_refused() {
    for range in ["bytes 0-9/10", "bytes 999-/*", "bytes */300000", "nonsense", ""] {
        let server = spoiled(move |request, layer, reply| match request.offset() {
            0 => Reply { cut: Some(1000), ..reply },
            offset => Reply::new(206, &layer[offset..]).with("content-range", range),
        });
        let error = Machine::new().pull_refused(&name(&server));
        assert!(error.to_string().contains("another part"), "{range}: {error}");
    }
}

#[test]
fn a_part_with_other_bytes_is_refused_by_the_digest() {
    let server = spoiled(|request, layer, reply| match request.offset() {
        0 => Reply { cut: Some(1000), ..reply },
        offset => Reply { body: vec![0; layer.len() - offset], ..reply },
    });
    let error = Machine::new().pull_refused(&name(&server));
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_registry_that_cannot_go_on_says_so() {
    let server = spoiled(|request, _, reply| match request.offset() {
        0 => Reply { cut: Some(1000), ..reply },
        _ => Reply::new(416, b""),
    });
    let error = Machine::new().pull_refused(&name(&server));
    assert!(error.to_string().contains("416"), "{error}");
}

#[test]
fn one_byte_per_connection_is_too_slow() {
    // Without parts: each attempt sends everything again, up to one byte more.
    let sent = AtomicUsize::new(0);
    let server = spoiled(move |_, layer, _| Reply {
        cut: Some(1 + sent.fetch_add(1, Ordering::Relaxed)),
        ..Reply::new(200, layer)
    });
    let machine = Machine { stall: Duration::from_secs(1), ..Machine::new() };
    let started = Instant::now();
    let error = machine.pull_refused(&name(&server));
    assert!(matches!(error, Error::Stalled { .. } | Error::Broken { .. }), "{error}");
    assert_quick(started);
}

#[test]
fn what_is_sent_again_may_not_drip_either() {
    let first = AtomicUsize::new(0);
    let server = spoiled(move |_, layer, _| match first.fetch_add(1, Ordering::Relaxed) {
        0 => Reply { cut: Some(100_000), ..Reply::new(200, layer) },
        _ => Reply { chunk: 1, pace: Some(Duration::from_millis(50)), ..Reply::new(200, layer) },
    });
    let machine = Machine { stall: Duration::from_secs(1), retries: 1, ..Machine::new() };
    let started = Instant::now();
    let error = machine.pull_refused(&name(&server));
    assert!(matches!(error, Error::Stalled { .. }), "{error}");
    assert_quick(started);
}

#[test]
fn a_pause_may_be_asked_for_in_seconds_or_as_a_date() {
    for after in ["0", "Sun, 06 Nov 1994 08:49:37 GMT", "soon", "-5"] {
        let (image, count) = (TestImage::small(), AtomicUsize::new(0));
        let server = Server::start(move |request| match count.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::new(429, b"").with("retry-after", after),
            _ => answer(&image, request),
        });
        let started = Instant::now();
        Machine::new().pull(&name(&server)).unwrap();
        assert_quick(started);
    }
}

#[test]
fn too_many_requests_are_named() {
    let server =
        Server::start(|_| Reply::new(429, br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow"}]}"#));
    let error = Machine { retries: 1, ..Machine::new() }.pull_refused(&name(&server));
    assert!(error.to_string().contains("too many requests"), "{error}");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn a_token_that_runs_out_midway_is_renewed_once() {
    let image = TestImage::new(&[tar_of(&[("big", &noise(300_000))])]);
    let known = image.clone();
    let tokens = AtomicUsize::new(0);
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            let number = tokens.fetch_add(1, Ordering::Relaxed);
            return Reply::new(200, format!(r#"{{"token":"t{number}"}}"#).as_bytes());
        }
        // The first is good until a layer has begun.
        let resumed = is_layer(&known, request) && request.offset() > 0;
        let wanted = if resumed { "Bearer t1" } else { "Bearer t0" };
        if request.header("authorization") != Some(wanted) {
            let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            return Reply::new(401, b"").with("www-authenticate", &realm);
        }
        let reply = answer(&image, request);
        if is_layer(&known, request) && !resumed { Reply { cut: Some(1000), ..reply } } else { reply }
    });
    Machine::new().pull(&name(&server)).unwrap();
    let asked = server.requests().iter().filter(|request| request.contains("/token")).count();
    assert_eq!(asked, 2);
}

#[test]
fn a_registry_that_is_never_content_is_asked_twice() {
    let server = Server::start(|request| {
        if request.path.starts_with("/token") {
            return Reply::new(200, br#"{"token":"t"}"#);
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::new(401, b"").with("www-authenticate", &realm)
    });
    let error = Machine::new().pull_refused(&name(&server));
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert_eq!(server.requests().len(), 3, "{:?}", server.requests());
}

#[test]
fn a_registry_without_head_requests_is_asked_by_get() {
    for status in [400, 404, 405, 501] {
        let server = Server::registry_with(TestImage::small(), move |request, reply| {
            if request.method == "HEAD" { Reply::new(status, b"") } else { reply }
        });
        let machine = Machine { retries: 0, ..Machine::new() };
        machine.pull(&name(&server)).unwrap();
        machine.pull(&name(&server)).unwrap();
    }
}

#[test]
fn token_answers_are_bounded_and_checked() {
    let answers: [(&[u8], bool); 6] = [
        (b"", false),
        (b"{}", false),
        (br#"{"token":"a\r\nx: y"}"#, false),
        (br#"{"token":5}"#, false),
        (b"[[[[", false),
        (b" ", true),
    ];
    for (body, endless) in answers {
        let server = Server::start(move |request| {
            if request.path.starts_with("/token") {
                return Reply { endless, length: Length::Untold, ..Reply::new(200, body) };
            }
            let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
            Reply::new(401, b"").with("www-authenticate", &realm)
        });
        let started = Instant::now();
        let error = hasty().pull_refused(&name(&server));
        assert!(error.to_string().contains("token server"), "{error}");
        assert_quick(started);
    }
}

#[test]
fn another_host_gets_no_credentials_without_tls() {
    let tokens = Server::start(|_| Reply::new(200, br#"{"token":"t"}"#));
    let realm = format!("Bearer realm=\"http://localhost:{}/token\"", tokens.port());
    let server = Server::start(move |_| Reply::new(401, b"").with("www-authenticate", &realm));
    let credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
    let error = Machine { credentials, ..Machine::new() }.pull_refused(&name(&server));
    assert!(error.to_string().contains("must be reached over HTTPS"), "{error}");
    assert_eq!(tokens.connections(), 0);
    // Without any it may be asked.
    let error = Machine::new().pull_refused(&name(&server));
    assert!(matches!(error, Error::Unauthorized { .. }), "{error}");
    assert_eq!(tokens.all().len(), 1);
}

#[test]
fn a_token_server_leads_nowhere_else() {
    let elsewhere = Server::start(|_| Reply::new(200, br#"{"token":"t"}"#));
    let to = format!("http://{}/token", elsewhere.address);
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            return Reply::new(307, b"").with("location", &to);
        }
        let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
        Reply::new(401, b"").with("www-authenticate", &realm)
    });
    let credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
    let error = Machine { credentials, ..Machine::new() }.pull_refused(&name(&server));
    assert!(error.to_string().contains("307"), "{error}");
    assert_eq!(elsewhere.connections(), 0, "credentials were taken elsewhere");
}

#[test]
fn an_identity_token_is_sent_in_a_body() {
    let image = TestImage::small();
    let server = Server::start(move |request| {
        if request.path.starts_with("/token") {
            let fits = request.method == "POST"
                && !request.path.contains("refresh")
                && request.body.contains("refresh_token=hunter2")
                && request.body.contains("grant_type=refresh_token");
            return Reply::new(if fits { 200 } else { 400 }, br#"{"access_token":"t"}"#);
        }
        if request.header("authorization") == Some("Bearer t") {
            return answer(&image, request);
        }
        let realm =
            format!("Bearer realm=\"http://{}/token\",service=\"s\"", request.header("host").unwrap());
        Reply::new(401, b"").with("www-authenticate", &realm)
    });
    let machine = Machine::new();
    machine.write(
        "auth.json",
        &format!(r#"{{"auths":{{"{}":{{"identitytoken":"hunter2"}}}}}}"#, server.address),
    );
    machine.pull(&name(&server)).unwrap();
}

#[test]
fn redirects_without_a_usable_place_are_refused() {
    for location in
        ["", "file:///etc/passwd", "ftp://127.0.0.1/", "http://", "http://u:p@127.0.0.1/x", "gopher:x", "x"]
    {
        let server = Server::start(move |_| Reply::new(302, b"").with("location", location));
        let error = hasty().pull_refused(&name(&server));
        assert!(error.to_string().contains("it "), "{location}: {error}");
        assert!(server.requests().len() <= 2, "{location}");
    }
    let server = Server::start(|_| Reply::new(307, b""));
    let error = hasty().pull_refused(&name(&server));
    assert!(error.to_string().contains("redirects to nowhere"), "{error}");
}

#[test]
fn another_port_or_host_gets_no_credentials() {
    let image = TestImage::small();
    let blobs = image.clone();
    let storage = Server::start(move |request| answer(&blobs, request));
    let (port, address) = (storage.port(), storage.address.clone());
    for target in [format!("http://{address}"), format!("http://localhost:{port}"), format!("//{address}")] {
        let (image, target) = (image.clone(), target.clone());
        let server = Server::start(move |request| {
            if request.header("authorization").is_none() {
                return Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\"");
            }
            if request.path.contains("/blobs/") {
                return Reply::new(307, b"").with("location", &format!("{target}{}", request.path));
            }
            answer(&image, request)
        });
        let credentials = Some(Credentials { user: "user".into(), password: "sesame".into() });
        // The form without a scheme is refused.
        let _ = Machine { credentials, ..Machine::new() }.pull(&name(&server));
    }
    assert!(storage.all().len() >= 6);
    for request in storage.all() {
        assert_eq!(request.header("authorization"), None, "{request:?}");
    }
}

#[test]
fn an_answer_that_goes_on_after_its_end_is_not_taken_for_the_next() {
    // Response splitting: what stands after the announced end must not answer the next request.
    let image = TestImage::small();
    let server = Server::start(move |request| {
        let mut reply = answer(&image, request);
        reply.keep = true;
        if request.path.contains("/manifests/") {
            let evil = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil";
            reply.length = Length::Wrong(reply.body.len());
            reply.body.extend_from_slice(evil);
        }
        reply
    });
    Machine::new().pull(&name(&server)).unwrap();
}

#[test]
fn one_connection_serves_many_requests() {
    let server = Server::registry_with(TestImage::small(), |_, reply| Reply { keep: true, ..reply });
    let machine = Machine::new();
    machine.pull(&name(&server)).unwrap();
    assert_eq!(server.all().len(), 4, "manifest, configuration, two layers");
    // Insecure: the first attempt is TLS. Two threads fetch the two layers.
    assert!(server.connections() <= 3, "{} connections", server.connections());
}
