//! The fixture trees of `tests/quadlet`: `NAME/in` holds Quadlet files, `NAME/out/MODE` what the
//! generator makes of them, for each mode whose directory is there: `sampan`, `podman`,
//! `sampan-user`, `podman-user`. Beside units and links, `out/MODE/messages` holds what is said
//! and the exit status. The input's path stands as `@DIR@`.
//!
//! `UPDATE=1 cargo test -p sampan-generator --test fixtures` writes the trees anew.

use sampan_generator::keys::keys;
use sampan_generator::syntax::scanner::{Fold, scan};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/quadlet").canonicalize().unwrap()
}

/// Runs the generator on a fixture and leaves its whole outcome in a directory.
fn run(input: &Path, mode: &str, out: &Path) {
    let (engine, user) = match mode.strip_suffix("-user") {
        Some(engine) => (engine, true),
        None => (mode, false),
    };
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan-generator"));
    command.env_clear().env("QUADLET_UNIT_DIRS", input);
    command.arg(format!("--engine={engine}")).arg("--no-kmsg-log").arg(out);
    if user {
        command.arg("--user");
    }
    let output = command.output().unwrap();
    let directory = input.to_str().unwrap();
    let status = output.status.code().unwrap();
    let said = String::from_utf8(output.stderr).unwrap().replace(directory, "@DIR@");
    fs::create_dir_all(out).unwrap();
    fs::write(out.join("messages"), format!("{said}exit status {status}\n")).unwrap();
    for entry in fs::read_dir(out).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && !path.is_symlink() {
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, text.replace(directory, "@DIR@")).unwrap();
        }
    }
}

/// The difference between two trees, links and all; empty if there is none.
fn difference(expected: &Path, found: &Path) -> String {
    let output =
        Command::new("diff").args(["-urN", "--no-dereference"]).arg(expected).arg(found).output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn modes(fixture: &Path) -> Vec<String> {
    let mut modes: Vec<_> = fs::read_dir(fixture.join("out"))
        .map(|entries| entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect())
        .unwrap_or_default();
    if modes.is_empty() {
        modes = vec!["sampan".to_owned(), "podman".to_owned()];
    }
    modes.sort();
    modes
}

/// The keys of the sections of all files below a directory, as `[Section] Key`.
fn keys_below(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            keys_below(&path, found);
        } else if let Ok(text) = fs::read_to_string(&path) {
            for section in scan(&text, Fold::Blank).sections {
                found.extend(section.entries.iter().map(|entry| format!("[{}] {}", section.name, entry.key)));
            }
        }
    }
}

#[test]
fn every_key_stands_in_a_fixture_of_the_native_dialect() {
    let mut found = BTreeSet::new();
    for fixture in fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()) {
        if fixture.join("out/sampan").is_dir() {
            keys_below(&fixture.join("in"), &mut found);
        }
    }
    let names = keys().map(|key| format!("[{}] {}", key.section, key.name));
    let missing: Vec<_> = names.filter(|name| !found.contains(name)).collect();
    assert!(missing.is_empty(), "no fixture has {}", missing.join(", "));
}

#[test]
fn every_fixture_becomes_what_it_should() {
    let update = std::env::var_os("UPDATE").is_some();
    let mut wrong = String::new();
    let mut count = 0;
    let mut directories: Vec<_> =
        fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap().path()).collect();
    directories.retain(|path| path.join("in").is_dir());
    directories.sort();
    for fixture in directories {
        for mode in modes(&fixture) {
            let scratch = tempfile::tempdir().unwrap();
            let found = scratch.path().join("out");
            let expected = fixture.join("out").join(&mode);
            run(&fixture.join("in"), &mode, &found);
            if update {
                let _ = fs::remove_dir_all(&expected);
                fs::create_dir_all(expected.parent().unwrap()).unwrap();
                assert!(Command::new("cp").arg("-a").arg(&found).arg(&expected).status().unwrap().success());
            }
            wrong += &difference(&expected, &found);
            count += 1;
        }
    }
    assert!(count >= 30, "only {count} runs: the fixtures are missing");
    assert!(wrong.is_empty(), "the output differs:\n{wrong}");
}
