//! No credential is ever in an error, whatever a registry does with those it got.

use sampan_image::{Credentials, Error};

use crate::fixture::{Machine, TestImage};
use crate::server::{Reply, Request, Server, answer};

/// What may not appear, in the forms in which it travels.
const SECRETS: [&str; 6] =
    ["hunter2", "dXNlcjpodW50ZXIy", "t0k3n-of-the-server", "t0k3n-of-the-file", "signature-in-url", "Basic "];

fn assert_silent(error: &Error, what: &str) {
    for text in [error.to_string(), format!("{error:?}")] {
        for secret in SECRETS {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
}

/// Pulls with a password and with an identity token from a registry that does what `handler` says.
fn errors(what: &str, handler: impl Fn(&Request) -> Reply + Clone + Send + Sync + 'static) {
    let server = Server::start(handler);
    let name = format!("{}/x", server.address);
    let credentials = Some(Credentials { user: "user".into(), password: "hunter2".into() });
    let machine = Machine { retries: 0, credentials, ..Machine::new() };
    assert_silent(&machine.pull_refused(&name), what);
    for auth in [r#""auth":"dXNlcjpodW50ZXIy""#, r#""identitytoken":"t0k3n-of-the-file""#] {
        let machine = Machine { retries: 0, ..Machine::new() };
        machine.write("auth.json", &format!(r#"{{"auths":{{"{}":{{{auth}}}}}}}"#, server.address));
        assert_silent(&machine.pull_refused(&name), what);
    }
}

fn bearer(request: &Request) -> Reply {
    let realm = format!("Bearer realm=\"http://{}/token\"", request.header("host").unwrap());
    Reply::new(401, b"").with("www-authenticate", &realm)
}

#[test]
fn refused_passwords_stay_secret() {
    errors("basic", |_| Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\""));
    errors("denied", |request| match request.header("authorization") {
        None => Reply::new(401, b"").with("www-authenticate", "Basic realm=\"x\""),
        Some(_) => Reply::new(403, b"no"),
    });
    errors("unknown scheme", |_| Reply::new(401, b"").with("www-authenticate", "Negotiate x"));
    errors("no challenge", |_| Reply::new(401, b""));
}

#[test]
fn tokens_stay_secret() {
    for answer in [
        &br#"{"token":"t0k3n-of-the-server"}"#[..],
        br#"{"token":"t0k3n-of-the-server\n"}"#,
        br#"{"token":["t0k3n-of-the-server"]}"#,
        br#"{"token":"t0k3n-of-the-server"#,
        br#"t0k3n-of-the-server"#,
    ] {
        errors("token", move |request| {
            if request.path.starts_with("/token") { Reply::new(200, answer) } else { bearer(request) }
        });
    }
    errors("token server fails", |request| {
        if request.path.starts_with("/token") { Reply::new(500, b"") } else { bearer(request) }
    });
    errors("token server cuts off", |request| {
        let cut = Some(3);
        if request.path.starts_with("/token") {
            Reply { cut, ..Reply::new(200, b"123456") }
        } else {
            bearer(request)
        }
    });
}

#[test]
fn signatures_in_urls_stay_secret() {
    let image = TestImage::small();
    for location in [
        "http://localhost:1/blob?signature-in-url=x",
        "http://user:hunter2@localhost:1/blob",
        "ftp://localhost/signature-in-url",
        "http://[signature-in-url",
    ] {
        let image = image.clone();
        errors("redirect", move |request| {
            if request.path.contains("/blobs/") {
                Reply::new(307, b"").with("location", location)
            } else {
                answer(&image, request)
            }
        });
    }
}

#[test]
fn realms_with_a_password_stay_secret() {
    errors("realm", |_| {
        Reply::new(401, b"").with("www-authenticate", "Bearer realm=\"http://user:hunter2@127.0.0.1/\"")
    });
    errors("realm", |_| Reply::new(401, b"").with("www-authenticate", "Bearer realm=\"hunter2 x\""));
}

#[test]
fn credentials_have_no_debug_form() {
    let credentials = Credentials { user: "user".into(), password: "hunter2".into() };
    assert!(!format!("{credentials:?}").contains("hunter2"));
}
