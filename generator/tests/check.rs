//! The fixture trees of `tests/quadlet-check`: `NAME/in` holds Quadlet files, `NAME/out` what the
//! checks say of them. See the README there.
//!
//! `UPDATE=1 cargo test -p sampan-generator --test check` writes the `out` files anew.

use sampan_generator::check::host::{Host, Image};
use sampan_generator::check::{Options, check};
use sampan_generator::diagnostic::rules;
use sampan_generator::{Diagnostic, Engine, Root};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Rules that no tree of files can break, with the test that breaks them.
const ELSEWHERE: [(&str, &str); 7] = [
    ("search-path", "search::tests::a_relative_entry_ends_the_list"),
    ("bad-settings", "settings::tests::reads_the_engine_and_nothing_else"),
    ("podman-active", "neighbour::tests::files_that_are_left_are_counted_once"),
    ("too-many", "diagnostic::findings::tests::an_error_is_kept_behind_any_number_of_warnings"),
    ("not-written", "tests/quadlet/collisions"),
    ("not-started", "sampan's blame::tests::the_line_with_the_value_is_shown"),
    ("bad-install-name", "tests/quadlet/install"),
];

fn fixtures() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/quadlet-check").canonicalize().unwrap();
    let mut found: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.join("in").is_dir());
    found.sort();
    found
}

/// The images of the made-up machine.
fn images(name: &str) -> Option<Image> {
    (name == "localhost/here:1").then(|| Image { exposed_ports: vec!["80/tcp".to_owned()] })
}

fn findings(fixture: &Path) -> Vec<Diagnostic> {
    let host = fixture.join("host");
    let options = Options {
        roots: vec![Root::whole(fixture.join("in"))],
        engine: if fixture.join("podman").exists() { Engine::Podman } else { Engine::Sampan },
        user: fixture.join("user").exists(),
        host: host.is_dir().then(|| Host::new(host).with_images(Rc::new(images))),
        ..Options::default()
    };
    check(&options).diagnostics
}

fn line(finding: &Diagnostic) -> String {
    let fix = finding.fix.as_ref().map(|fix| format!(" [{fix}]")).unwrap_or_default();
    let place = format!("{}:{}:{}+{}", finding.file.display(), finding.line, finding.column, finding.length);
    let help = finding.help.as_deref().unwrap_or_default();
    let line = format!("{place}: {} {}: {}; {help}{fix}", finding.severity, finding.rule, finding.reason);
    line.replace(char::is_control, "?") + "\n"
}

#[test]
fn every_fixture_is_told_what_is_wrong() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    for fixture in fixtures() {
        let directory = fixture.join("in");
        let text: String = findings(&fixture).iter().map(line).collect();
        let text = text.replace(directory.to_str().unwrap(), "@DIR@");
        let expected = fs::read_to_string(fixture.join("out")).unwrap_or_default();
        if update {
            fs::write(fixture.join("out"), &text).unwrap();
        } else if text != expected {
            wrong += &format!("{}\nexpected:\n{expected}\nfound:\n{text}\n", fixture.display());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

#[test]
fn near_misses_are_fine() {
    for fixture in fixtures() {
        let fine = |path: &Path| path.file_name().unwrap().to_str().unwrap().starts_with("fine");
        let mut files = fs::read_dir(fixture.join("in")).unwrap();
        assert!(files.any(|entry| fine(&entry.unwrap().path())), "no near miss in {}", fixture.display());
        for finding in findings(&fixture) {
            assert!(!fine(&finding.file), "{finding}");
        }
    }
}

#[test]
fn every_rule_is_broken_by_a_fixture() {
    let broken: BTreeSet<&str> =
        fixtures().iter().flat_map(|fixture| findings(fixture)).map(|finding| finding.rule).collect();
    let expected: BTreeSet<&str> = rules::ALL.iter().map(|rule| rule.id).collect();
    let elsewhere: BTreeSet<&str> = ELSEWHERE.iter().map(|(rule, _)| *rule).collect();
    let missing: Vec<_> = expected.difference(&broken).filter(|rule| !elsewhere.contains(*rule)).collect();
    assert!(missing.is_empty(), "no fixture breaks {missing:?}");
}

#[test]
fn the_examples_are_fine() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").canonicalize().unwrap();
    let checked = check(&Options { roots: vec![Root::whole(folder)], ..Options::default() });
    assert!(checked.units.len() > 5);
    let found: String = checked.diagnostics.iter().map(line).collect();
    assert!(found.is_empty(), "{found}");
}
