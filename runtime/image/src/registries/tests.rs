//! Each clause of containers-registries.conf(5) that has an effect on a pull.

use super::*;

fn load(files: &[(&str, &str)]) -> Result<Registries> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Registries::load(root.path())
}

fn endpoints(registries: &Registries, name: &str) -> Vec<String> {
    let reference = Reference::parse(name).unwrap();
    registries
        .endpoints(&reference)
        .unwrap()
        .into_iter()
        .map(|endpoint| {
            let insecure = if endpoint.insecure { " insecure" } else { "" };
            format!("{}{insecure}", endpoint.reference)
        })
        .collect()
}

#[test]
fn drop_ins_override_and_aliases_resolve() {
    let registries = load(&[
        ("usr/share/containers/registries.conf", "unqualified-search-registries = [\"ignored.io\"]"),
        (
            "etc/containers/registries.conf",
            "unqualified-search-registries = [\"a.io\", \"docker.io\"]\n[aliases]\n\"x\" = \"q.io/y/x\"\n\"gone\" = \"q.io/gone\"",
        ),
        ("etc/containers/registries.conf.d/10-a.conf", "[aliases]\nx = \"r.io/z/x\"\ngone = \"\""),
        ("etc/containers/registries.conf.d/ignored.txt", "not toml"),
    ])
    .unwrap();
    let resolve = |name: &str| -> Vec<String> {
        registries.resolve(name).unwrap().iter().map(ToString::to_string).collect()
    };
    assert_eq!(resolve("x:1"), ["r.io/z/x:1"]);
    assert_eq!(resolve("gone"), ["a.io/gone:latest", "docker.io/library/gone:latest"]);
    assert_eq!(resolve("b.io/n"), ["b.io/n:latest"]);
}

#[test]
fn a_short_name_without_one_meaning_is_an_error() {
    assert!(matches!(Registries::empty().resolve("x"), Err(Error::ShortName { .. })));
    let text = "unqualified-search-registries = [\"a.io\", \"b.io\"]\nshort-name-mode = \"enforcing\"";
    let registries = load(&[("etc/containers/registries.conf", text)]).unwrap();
    let message = registries.resolve("x").unwrap_err().to_string();
    assert!(message.contains("a.io/x, b.io/x"), "{message}");
}

#[test]
fn the_longest_prefix_decides_and_mirrors_come_first() {
    let registries = load(&[(
        "etc/containers/registries.conf",
        r#"
        [[registry]]
        location = "q.io"
        [[registry.mirror]]
        location = "m.local:5000/q"
        insecure = true
        [[registry.mirror]]
        location = "d.local/q"
        pull-from-mirror = "digest-only"
        [[registry]]
        prefix = "q.io/team"
        location = "other.io/t"
        [[registry]]
        prefix = "*.corp.com"
        insecure = true
        [[registry]]
        location = "bad.io/evil"
        blocked = true
        "#,
    )])
    .unwrap();
    assert_eq!(endpoints(&registries, "q.io/a:1"), ["m.local:5000/q/a:1 insecure", "q.io/a:1"]);
    assert_eq!(endpoints(&registries, "q.io/team/a:1"), ["other.io/t/a:1"]);
    assert_eq!(endpoints(&registries, "q.io/teams/a:1").len(), 2);
    assert_eq!(endpoints(&registries, "x.corp.com:5000/a:1"), ["x.corp.com:5000/a:1 insecure"]);
    assert_eq!(endpoints(&registries, "xcorp.com/a:1"), ["xcorp.com/a:1"]);
    let blocked = registries.endpoints(&Reference::parse("bad.io/evil/x").unwrap());
    assert!(matches!(blocked, Err(Error::Blocked { .. })));
    let digest = crate::digest::Digest::of(b"");
    assert_eq!(endpoints(&registries, &format!("q.io/a@{digest}")).len(), 3);
}

/// Reads the files below a directory, with these environment variables' meanings.
fn load_from(files: &[(&str, &str)], places: impl Fn(&Path) -> Places) -> Result<Registries> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Registries::load_from(root.path(), &places(root.path()))
}

fn resolve(registries: &Registries, name: &str) -> Vec<String> {
    registries.resolve(name).unwrap().iter().map(ToString::to_string).collect()
}

#[test]
fn a_named_main_file_replaces_the_others_but_not_the_drop_ins() {
    let files = [
        ("named.conf", "unqualified-search-registries = [\"named.io\"]"),
        ("etc/containers/registries.conf", "unqualified-search-registries = [\"etc.io\"]"),
        ("etc/containers/registries.conf.d/x.conf", "[aliases]\nx = \"q.io/x\""),
    ];
    let named = |root: &Path| Places { named: Some(root.join("named.conf")), ..Places::default() };
    let registries = load_from(&files, named).unwrap();
    assert_eq!(resolve(&registries, "a"), ["named.io/a:latest"]);
    assert_eq!(resolve(&registries, "x"), ["q.io/x:latest"]);
    assert_eq!(registries.default_registry(), Some("named.io"));
    let message = load_from(&files[1..], named).unwrap_err().to_string();
    assert!(message.contains("CONTAINERS_REGISTRIES_CONF") && message.contains("named.conf"), "{message}");
}

#[test]
fn a_users_files_go_before_those_of_the_system() {
    let user = |root: &Path| Places { user: Some(root.join("home")), ..Places::default() };
    let files = [
        ("home/registries.conf", "unqualified-search-registries = [\"home.io\"]"),
        ("home/registries.conf.d/x.conf", "[aliases]\nx = \"home.io/x\""),
        ("etc/containers/registries.conf", "unqualified-search-registries = [\"etc.io\"]"),
        ("etc/containers/registries.conf.d/x.conf", "[aliases]\nx = \"etc.io/x\"\ny = \"etc.io/y\""),
    ];
    let registries = load_from(&files, user).unwrap();
    assert_eq!(resolve(&registries, "a"), ["home.io/a:latest"]);
    assert_eq!(resolve(&registries, "x"), ["home.io/x:latest"]);
    assert_eq!(resolve(&registries, "y"), ["etc.io/y:latest"]);
    let registries = load_from(&files, |_| Places::default()).unwrap();
    assert_eq!(resolve(&registries, "x"), ["etc.io/x:latest"]);
}

#[test]
fn drop_ins_come_in_the_order_of_their_names_from_usr_share_and_then_etc() {
    let registries = load(&[
        ("etc/containers/registries.conf.d/10.conf", "[[registry]]\nlocation = \"a.io\"\ninsecure = true"),
        ("etc/containers/registries.conf.d/20.conf", "[[registry]]\nlocation = \"a.io\""),
        (
            "usr/share/containers/registries.conf.d/99.conf",
            "[aliases]\nx = \"share.io/x\"\ny = \"share.io/y\"",
        ),
        ("etc/containers/registries.conf.d/000-shortnames.conf", "[aliases]\nx = \"etc.io/x\""),
    ])
    .unwrap();
    assert_eq!(endpoints(&registries, "a.io/x"), ["a.io/x:latest"], "the whole table is replaced");
    assert_eq!(resolve(&registries, "x"), ["etc.io/x:latest"]);
    assert_eq!(resolve(&registries, "y"), ["share.io/y:latest"]);
}

#[test]
fn what_was_chosen_at_a_prompt_goes_before_other_aliases() {
    let aliases = |root: &Path| Places { aliases: Some(root.join("aliases.conf")), ..Places::default() };
    let files = [
        ("aliases.conf", "[aliases]\n  \"x\" = \"chosen.io/x\"\n"),
        ("etc/containers/registries.conf", "[aliases]\nx = \"etc.io/x\""),
    ];
    assert_eq!(resolve(&load_from(&files, aliases).unwrap(), "x:2"), ["chosen.io/x:2"]);
    assert_eq!(resolve(&load_from(&files[1..], aliases).unwrap(), "x"), ["etc.io/x:latest"]);
}

#[test]
fn who_may_be_asked_depends_on_the_mode() {
    let with = |mode: &str| {
        let text = format!("unqualified-search-registries = [\"a.io\", \"b.io\"]\n{mode}");
        load(&[("etc/containers/registries.conf", &text)]).unwrap()
    };
    let asks = |registries: &Registries| registries.choices("x").unwrap().map(|choices| choices.len());
    let enforcing = with("short-name-mode = \"enforcing\"");
    assert!(asks(&enforcing) == Some(2) && enforcing.resolve("x").is_err());
    for permissive in [with(""), with("short-name-mode = \"permissive\"")] {
        assert!(asks(&permissive) == Some(2) && permissive.resolve("x").unwrap().len() == 2);
        assert_eq!(permissive.choices("a.io/x").unwrap(), None, "a whole name needs no question");
    }
    let disabled = with("short-name-mode = \"disabled\"");
    assert!(asks(&disabled).is_none() && disabled.resolve("x").unwrap().len() == 2);
    let one = "unqualified-search-registries = [\"a.io\"]\nshort-name-mode = \"enforcing\"";
    let one = load(&[("etc/containers/registries.conf", one)]).unwrap();
    assert!(asks(&one).is_none() && resolve(&one, "x") == ["a.io/x:latest"]);
}

#[test]
fn mirrors_serve_what_they_are_for() {
    let digest = crate::digest::Digest::of(b"");
    let by_digest = format!("q.io/a@{digest}");
    for (table, mirror, tag, digest) in [
        ("", "", true, true),
        ("", "pull-from-mirror = \"all\"", true, true),
        ("", "pull-from-mirror = \"digest-only\"", false, true),
        ("", "pull-from-mirror = \"tag-only\"", true, false),
        ("mirror-by-digest-only = true", "", false, true),
    ] {
        let text = format!(
            "[[registry]]\nlocation = \"q.io\"\n{table}\n[[registry.mirror]]\nlocation = \"m.io\"\n{mirror}"
        );
        let registries = load(&[("etc/containers/registries.conf", &text)]).unwrap();
        let mirrored = |name: &str| endpoints(&registries, name).len() == 2;
        assert_eq!((mirrored("q.io/a:1"), mirrored(&by_digest)), (tag, digest), "{table} {mirror}");
    }
}

#[test]
fn a_prefix_may_be_a_host_a_namespace_a_repository_or_any_host_below() {
    let table = |prefix: &str| format!("[[registry]]\nprefix = \"{prefix}\"\nlocation = \"to.io/x\"\n");
    for (prefix, name, at) in [
        ("q.io", "q.io/a/b:1", "to.io/x/a/b:1"),
        ("q.io:5000", "q.io:5000/b:1", "to.io/x/b:1"),
        ("q.io/a", "q.io/a/b:1", "to.io/x/b:1"),
        ("q.io/a/b", "q.io/a/b:1", "to.io/x:1"),
        ("q.io/a", "q.io/ab:1", "q.io/ab:1"),
        ("*.q.io", "deep.down.q.io/b:1", "to.io/x/b:1"),
        ("*.q.io", "q.io/b:1", "q.io/b:1"),
    ] {
        let registries = load(&[("etc/containers/registries.conf", &table(prefix))]).unwrap();
        assert_eq!(endpoints(&registries, name), [at], "{prefix}");
    }
}

#[test]
fn keys_without_effect_are_told() {
    let text = "additional-layer-store-auth-helper = \"x\"\nfuture = 1\n\
        [[registry]]\nlocation = \"q.io\"\nodd = true\n";
    let file: File = toml::from_str(text).unwrap();
    assert_eq!(file.unknown(), ["additional-layer-store-auth-helper", "future", "odd"]);
    assert!(load(&[("etc/containers/registries.conf", text)]).is_ok());
}

#[test]
fn credential_helpers_of_the_last_file_count() {
    assert_eq!(Registries::empty().credential_helpers(), [AUTH_FILES]);
    let registries = load(&[
        ("etc/containers/registries.conf", "credential-helpers = [\"a\"]"),
        ("etc/containers/registries.conf.d/x.conf", "credential-helpers = [\"b\", \"containers-auth.json\"]"),
    ])
    .unwrap();
    assert_eq!(registries.credential_helpers(), ["b", AUTH_FILES]);
}

#[test]
fn whether_a_registry_is_insecure_or_blocked_counts_for_a_login() {
    let text = "[[registry]]\nlocation = \"q.io\"\ninsecure = true\n[[registry]]\nlocation = \"b.io\"\nblocked = true";
    let registries = load(&[("etc/containers/registries.conf", text)]).unwrap();
    assert!(registries.is_insecure("q.io").unwrap() && !registries.is_insecure("r.io").unwrap());
    assert!(matches!(registries.is_insecure("b.io"), Err(Error::Blocked { .. })));
}

#[test]
fn mistakes_name_the_file() {
    for text in [
        "x = ",
        "[registries.search]\nregistries = []",
        "[[registry]]\ninsecure = true",
        "[[registry]]\nlocation = \"https://q.io\"",
        "short-name-mode = \"maybe\"",
        "[aliases]\nx = \"y\"",
        "[aliases]\nx = \"q.io/y:1\"",
        "[aliases]\n\"x:1\" = \"q.io/y\"",
        "[aliases]\n\"q.io/x\" = \"q.io/y\"",
        "[[registry]]\nprefix = \"*.*.io\"",
        "[[registry]]\nlocation = \"q.io\"\n[[registry.mirror]]\ninsecure = true",
        "[[registry]]\nlocation = \"q.io\"\n[[registry.mirror]]\nlocation = \"m\"\npull-from-mirror = \"x\"",
        "[[registry]]\nlocation = \"q.io\"\nmirror-by-digest-only = true\n\
         [[registry.mirror]]\nlocation = \"m.io\"\npull-from-mirror = \"all\"",
        "[[registry]]\nlocation = \"q.io\"\n[[registry]]\nprefix = \"r.io\"\nlocation = \"q.io\"\nblocked = true",
    ] {
        let error = load(&[("etc/containers/registries.conf", text)]).unwrap_err();
        assert!(matches!(error, Error::Config { .. }), "{text}");
        assert!(error.to_string().contains("registries.conf"), "{error}");
    }
}
