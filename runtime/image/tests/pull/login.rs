//! Logins: what a registry is asked, and what is kept.

use sampan_image::{Credentials, Error, LoginKey, Policy, PullOptions};

use crate::fixture::{Machine, TestImage};
use crate::server::{Reply, Request, Server, answer};

/// A registry with a token server on the same address. `grants` says for which token request.
fn with_tokens(grants: impl Fn(&Request) -> bool + Send + Sync + 'static) -> Server {
    let image = TestImage::small();
    Server::start(move |request| {
        let host = request.header("host").unwrap_or_default();
        if request.path.starts_with("/token") {
            let token: &[u8] = br#"{"access_token": "granted"}"#;
            return if grants(request) { Reply::new(200, token) } else { Reply::new(401, b"") };
        }
        if request.header("authorization") != Some("Bearer granted") {
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"test\"");
            return Reply::new(401, b"").with("www-authenticate", &challenge);
        }
        if request.path == "/v2/" { Reply::new(200, b"{}") } else { answer(&image, request) }
    })
}

fn login(machine: &Machine, key: &str, credentials: &Credentials) -> Result<bool, Error> {
    let registries = machine.registries();
    let policy = Policy::load(machine.directory.path())?;
    let file = machine.directory.path().join("auth.json");
    let options = PullOptions { auth_file: Some(&file), ..PullOptions::new(&registries, &policy) };
    LoginKey::parse(key)?.login(credentials, &options).map(|login| login.checked)
}

#[test]
fn a_login_asks_for_a_token_without_scope_and_pulls_use_it() {
    // alice:secret
    let server = with_tokens(|request| request.header("authorization") == Some("Basic YWxpY2U6c2VjcmV0"));
    let machine = Machine::new();
    let credentials = |password: &str| Credentials { user: "alice".into(), password: password.into() };
    let error = login(&machine, &server.address, &credentials("wrong")).unwrap_err();
    assert!(matches!(error, Error::LoginRefused { .. }), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    assert!(!machine.directory.path().join("auth.json").exists());
    server.forget();
    assert!(login(&machine, &server.address, &credentials("secret")).unwrap());
    assert!(server.requests().contains(&"GET /token?service=test".to_owned()), "{:?}", server.requests());
    machine.pull(&format!("{}/team/app:1", server.address)).unwrap();
}

#[test]
fn an_identity_token_is_exchanged_by_a_post() {
    let server = with_tokens(|request| request.method == "POST");
    let machine = Machine::new();
    let text = format!(r#"{{"auths": {{"{}": {{"identitytoken": "refresh-me"}}}}}}"#, server.address);
    machine.write("auth.json", &text);
    machine.pull(&format!("{}/team/app:1", server.address)).unwrap();
    let all = server.all();
    let post = all.iter().find(|request| request.method == "POST").unwrap();
    let body = &post.body;
    for field in [
        "grant_type=refresh_token",
        "refresh_token=refresh-me",
        "service=test",
        "scope=repository%3Ateam%2Fapp%3Apull",
        "client_id=sampan",
    ] {
        assert!(body.contains(field), "{field} in {body}");
    }
    assert!(all.iter().all(|request| !request.path.contains("refresh-me")), "not in a URL");
}

#[test]
fn a_registry_that_asks_nobody_is_told_apart() {
    let server = Server::start(|_| Reply::new(200, b"{}"));
    let credentials = Credentials { user: "alice".into(), password: "secret".into() };
    assert!(!login(&Machine::new(), &server.address, &credentials).unwrap());
}
