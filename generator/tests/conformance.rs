//! The shared conformance data, run against this generator with `--engine=podman`: Podman's own
//! published cases, the same as whole stacks, files that people published, corner cases, and the
//! directories that are searched.
//!
//! The data is no part of the repository: it is looked for in `$SAMPAN_SHARED`, else in `shared`
//! beside the workspace. Without it, without python3 or (for the directories) without root, the
//! tests say so and pass.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The folder with the checkers, or a visible line that says why there is none.
fn checkers() -> Option<PathBuf> {
    let shared = std::env::var_os("SAMPAN_SHARED")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = shared.join("conformance/quadlet");
    if !folder.join("conform.py").is_file() {
        eprintln!("SKIP: no conformance data in {}; set SAMPAN_SHARED", folder.display());
        return None;
    }
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("SKIP: the checkers need python3");
        return None;
    }
    folder.canonicalize().ok()
}

/// Runs a checker and returns what it prints, and whether it is content.
fn check(script: &str, arguments: &[&str]) -> Option<(String, bool)> {
    let folder = checkers()?;
    let generator = format!("{} --engine=podman", env!("CARGO_BIN_EXE_sampan-generator"));
    let mut command = Command::new("python3");
    command.current_dir(&folder).arg(script).arg("--generator").arg(generator);
    let output = command.env("PYTHONDONTWRITEBYTECODE", "1").args(arguments).output().unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    Some((text, output.status.success()))
}

fn must_agree(script: &str, arguments: &[&str]) {
    if let Some((text, content)) = check(script, arguments) {
        assert!(content, "{script} {}:\n{text}", arguments.join(" "));
    }
}

#[test]
fn podmans_own_cases() {
    must_agree("conform.py", &["--corpus", "cases", "--stderr", "loose", "--quiet"]);
}

#[test]
fn whole_stacks() {
    must_agree("wild_diff.py", &["--wild", "golden", "--expected", "golden-expected"]);
}

#[test]
fn published_files() {
    must_agree("wild_diff.py", &[]);
}

/// Corner cases may differ where Podman loses or breaks a line; each such case is named in
/// `tests/quadlet/DEVIATIONS.md`.
#[test]
fn corner_cases_differ_only_where_it_is_written_down() {
    let scratch = tempfile::tempdir().unwrap();
    let json = scratch.path().join("differences.json");
    let arguments = ["--wild", "probes", "--expected", "probes-expected", "--json", json.to_str().unwrap()];
    if check("wild_diff.py", &arguments).is_none() {
        return;
    }
    let list = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/quadlet/DEVIATIONS.md");
    let list = std::fs::read_to_string(list).unwrap();
    let differences: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(json).unwrap()).unwrap();
    let mut unexplained: Vec<_> = differences
        .iter()
        .map(|difference| difference["stack"].as_str().unwrap())
        .filter(|stack| !list.contains(&format!("`{stack}`")))
        .collect();
    unexplained.dedup();
    assert!(unexplained.is_empty(), "not in DEVIATIONS.md: {unexplained:?}\n{differences:#?}");
}

#[test]
fn searched_directories() {
    // /proc/PID belongs to the effective user.
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let can_unshare =
        Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if uid != 0 || !can_unshare {
        eprintln!("SKIP: the search path needs root and a private mount namespace");
        return;
    }
    must_agree("searchpath.py", &[]);
}
