//! What is found where. Logins are tested with a registry, in `tests/pull`.

use std::path::Path;

use super::file::File;
use super::*;

fn find_in(text: &str, name: &str) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    std::fs::write(&path, text).unwrap();
    let reference = Reference::parse(name).unwrap();
    let places = Places { main: path, others: Vec::new() };
    let found = in_files(&places, &reference.repository(), reference.registry()).unwrap()?;
    match found {
        Secret::Basic(credentials) => Some(format!("{}:{}", credentials.user, credentials.password)),
        Secret::Identity(token) => Some(token),
    }
}

#[test]
fn the_most_specific_key_is_used() {
    let text = r#"{"auths": {
        "q.io": {"auth": "aG9zdDpw"},
        "q.io/team": {"auth": "dGVhbTpwOnA="},
        "q.io/team/empty": {},
        "https://index.docker.io/v1/": {"auth": "aHViOnA="},
        "token.io": {"identitytoken": "t"},
        "old-token.io": {"auth": "PHRva2VuPjp0"}
    }}"#;
    assert_eq!(find_in(text, "q.io/x").unwrap(), "host:p");
    assert_eq!(find_in(text, "q.io/team/x").unwrap(), "team:p:p");
    assert_eq!(find_in(text, "q.io/team/empty").unwrap(), "team:p:p");
    assert_eq!(find_in(text, "q.io/teams/x").unwrap(), "host:p");
    assert_eq!(find_in(text, "nginx").unwrap(), "hub:p");
    assert_eq!(find_in(text, "token.io/x").unwrap(), "t");
    assert_eq!(find_in(text, "old-token.io/x").unwrap(), "t");
    assert_eq!(find_in(text, "other.io/x"), None);
}

#[test]
fn files_are_asked_in_their_order_and_the_oldest_form_is_read() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let places = Places { main: path("auth.json"), others: vec![path("config.json"), path(file::LEGACY)] };
    let user = |registry: &str| match in_files(&places, registry, registry).unwrap() {
        Some(Secret::Basic(credentials)) => credentials.user,
        _ => "none".to_owned(),
    };
    assert_eq!(user("q.io"), "none");
    // "old:p", "docker:p", "main:p"
    std::fs::write(path(file::LEGACY), r#"{"https://q.io/v1/": {"auth": "b2xkOnA=", "email": "a@q.io"}}"#)
        .unwrap();
    assert_eq!(user("q.io"), "old");
    std::fs::write(path("config.json"), r#"{"auths": {"q.io": {"auth": "ZG9ja2VyOnA="}}}"#).unwrap();
    assert_eq!(user("q.io"), "docker");
    std::fs::write(path("auth.json"), r#"{"auths": {"q.io": {"auth": "bWFpbjpw"}}}"#).unwrap();
    assert_eq!(user("q.io"), "main");
    std::fs::write(path("auth.json"), r#"{"auths": {"q.io": {}}}"#).unwrap();
    assert_eq!(user("q.io"), "docker", "an item without credentials is none");
}

#[test]
fn a_broken_file_is_named_but_not_quoted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    std::fs::write(&path, r#"{"auths": {"q.io": {"auth": 5, "password": "hunter2"}}}"#).unwrap();
    let registries = crate::Registries::empty();
    let policy = crate::Policy::accept_anything();
    let options = PullOptions { auth_file: Some(&path), ..PullOptions::new(&registries, &policy) };
    let message = find(&Reference::parse("q.io/x").unwrap(), &options).unwrap_err().to_string();
    assert!(message.contains("auth.json") && !message.contains("hunter2"), "{message}");
}

#[test]
fn a_change_keeps_the_rest_of_the_file_and_closes_it() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new/auth.json");
    let credentials = Credentials { user: "u".into(), password: "p:w".into() };
    file::put(&path, "q.io", &credentials).unwrap();
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(std::fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);

    std::fs::write(
        &path,
        r#"{"credHelpers": {"h.io": "x"}, "HttpHeaders": {"a": 1}, "auths": {"https://q.io/v2/": {"auth": "YTpi"}, "r.io": {"auth": "YTpi"}}}"#,
    )
    .unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let link = directory.path().join("link.json");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    file::put(&link, "s.io/team", &credentials).unwrap();
    file::remove(&link, "q.io").unwrap();
    assert!(link.is_symlink(), "a link to the file stays one");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    let wanted = serde_json::json!({
        "credHelpers": {"h.io": "x"}, "HttpHeaders": {"a": 1},
        "auths": {"r.io": {"auth": "YTpi"}, "s.io/team": {"auth": "dTpwOnc="}},
    });
    assert_eq!(value, wanted);
    file::clear(&path).unwrap();
    assert!(!File::read(&path).unwrap().unwrap().has("r.io"));
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 1, "{left:?}");
}

#[test]
fn two_changes_at_once_lose_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    std::thread::scope(|scope| {
        for number in 0..8 {
            let path = &path;
            scope.spawn(move || {
                // One process has one temporary name: as processes do, these take turns.
                let credentials = Credentials { user: "u".into(), password: "p".into() };
                file::put(path, &format!("r{number}.io"), &credentials).unwrap();
            });
        }
    });
    let file = File::read(&path).unwrap().unwrap();
    assert!((0..8).all(|number| file.has(&format!("r{number}.io"))), "{file:?}");
}

#[test]
fn a_broken_file_is_not_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("auth.json");
    let credentials = Credentials { user: "u".into(), password: "p".into() };
    for text in ["{", "[]", r#"{"auths": 5}"#] {
        std::fs::write(&path, text).unwrap();
        assert!(matches!(file::put(&path, "q.io", &credentials), Err(crate::Error::Config { .. })));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }
}

#[test]
fn keys_of_logins_are_registries_or_parts_of_them() {
    for (given, key, registry) in [
        ("q.io", "q.io", "q.io"),
        ("docker://q.io", "q.io", "q.io"),
        ("https://q.io/v2/", "q.io", "q.io"),
        ("https://index.docker.io/v1/", "docker.io", "docker.io"),
        ("docker.io/team", "docker.io/team", "docker.io"),
        ("docker://q.io:5000/team/app", "q.io:5000/team/app", "q.io:5000"),
        ("localhost:5000", "localhost:5000", "localhost:5000"),
        ("registry/", "registry", "registry"),
    ] {
        let parsed = LoginKey::parse(given).unwrap_or_else(|error| panic!("{given}: {error}"));
        assert_eq!((&*parsed.to_string(), parsed.registry()), (key, registry), "{given}");
    }
    for bad in ["", "docker://", "q.io/team:1", "q.io/Team", "u:p@q.io", "https://u:p@q.io", "q.io//x", "a b"]
    {
        let error = LoginKey::parse(bad).unwrap_err().to_string();
        assert!(!error.is_empty(), "{bad}");
    }
}

#[test]
fn services_find_what_root_keeps() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: only root's credentials have a fixed place");
        return;
    }
    if std::env::var_os("REGISTRY_AUTH_FILE").is_some() {
        eprintln!("SKIP: $REGISTRY_AUTH_FILE names another place");
        return;
    }
    let registries = crate::Registries::empty();
    let policy = crate::Policy::accept_anything();
    let places = Places::of(&PullOptions::new(&registries, &policy));
    assert_eq!(places.main, Path::new("/run/containers/0/auth.json"));
    assert!(places.others.iter().any(|path| path.ends_with(".docker/config.json")));
    assert!(places.others.last().unwrap().ends_with(".dockercfg"));
}
