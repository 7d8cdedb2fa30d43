//! `sampan check` from outside: what is told, in which form, and with which exit status.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

fn sampan(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sampan"));
    command.arg("check").args(arguments).current_dir(directory).env_remove("QUADLET_UNIT_DIRS");
    command
}

fn run(directory: &Path, arguments: &[&str]) -> (i32, String, String) {
    told(sampan(directory, arguments).output().unwrap())
}

fn told(output: Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// A directory with one good file, one with a warning and one with an error.
fn stack() -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("data.volume", "[Volume]\n"),
        ("good.container", "[Container]\nImage=localhost/a:1\nVolume=data.volume:/d\n"),
        ("warned.container", "[Container]\nImage=localhost/a:1\nHostNmae=x\n"),
        ("wrong.container", "[Container]\nImage=localhost/a:1\nVolume=dta.volume:/d\n"),
    ] {
        fs::write(directory.path().join(name), text).unwrap();
    }
    directory
}

#[test]
fn exit_status_and_summary() {
    let stack = stack();
    let (code, text, _) = run(stack.path(), &["."]);
    assert_eq!(code, 1);
    assert!(text.ends_with("1 error, 1 warning in 4 files\n"), "{text}");
    assert!(text.contains("error[missing-reference]") && text.contains("wrong.container:3:8"), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
    assert!(run(stack.path(), &["--color", "always", "."]).1.contains('\x1b'));

    // Of a single file only its own findings are told, with its neighbours known.
    let (code, text, _) = run(stack.path(), &["good.container"]);
    assert_eq!((code, text.as_str()), (0, "1 file, nothing wrong\n"));
    assert_eq!(run(stack.path(), &["warned.container"]).0, 0);
    assert_eq!(run(stack.path(), &["--strict", "warned.container"]).0, 1);
}

#[test]
fn what_can_not_be_checked_is_told_apart() {
    let stack = stack();
    for arguments in
        [&["/nonexistent"][..], &["--nonsense"], &["--explain", "nonsense"], &["--engine=docker"]]
    {
        let (code, text, error) = run(stack.path(), arguments);
        assert_eq!((code, text.as_str()), (2, ""), "{arguments:?}: {error}");
        assert!(!error.is_empty());
    }
    fs::write(stack.path().join("notes.txt"), "").unwrap();
    assert!(run(stack.path(), &["notes.txt"]).2.contains("no Quadlet file"));
}

#[test]
fn forms_for_programs() {
    let stack = stack();
    let (code, text, _) = run(stack.path(), &["--format", "json", "."]);
    assert_eq!(code, 1);
    let findings: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(findings.as_array().unwrap().len(), 2);
    assert_eq!(findings[0]["rule"], "unknown-key");
    assert_eq!(findings[0]["fix"], "HostName");
    let (_, text, _) = run(stack.path(), &["--format=sarif", "."]);
    let log: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(log["runs"][0]["results"].as_array().unwrap().len(), 2);
}

#[test]
fn standard_input_has_neighbours_too() {
    let stack = stack();
    let mut child = sampan(stack.path(), &["--format=json", "--stdin-name", "new.container", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = b"[Container]\nImage=localhost/a:1\nVolume=data.volume:/d\nNetwork=gone.network\n";
    child.stdin.take().unwrap().write_all(text).unwrap();
    let (code, text, _) = told(child.wait_with_output().unwrap());
    let findings: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, findings.as_array().unwrap().len()), (1, 1), "{text}");
    assert_eq!((findings[0]["line"].as_u64(), findings[0]["column"].as_u64()), (Some(4), Some(9)));
}

#[test]
fn fixes_are_put_into_the_files() {
    let stack = stack();
    let (code, text, error) = run(stack.path(), &["--fix", "."]);
    assert_eq!((code, text.as_str()), (0, "4 files, nothing wrong\n"));
    assert_eq!(error, "2 findings mended\n");
    let mended = fs::read_to_string(stack.path().join("wrong.container")).unwrap();
    assert!(mended.ends_with("Volume=data.volume:/d\n"));
}

/// The keys below a mistaken header are known only when that is mended.
#[test]
fn fixes_are_repeated_until_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("web.container");
    fs::write(&file, "[Contaner]\nImgae=localhost/a:1\nHostNmae=x\n").unwrap();
    let (code, text, error) = run(folder.path(), &["--fix", "."]);
    assert_eq!((code, text.as_str()), (0, "1 file, nothing wrong\n"), "{error}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "[Container]\nImage=localhost/a:1\nHostName=x\n");
}

/// A link in a checkout must not have files elsewhere rewritten.
#[test]
fn fixes_stay_inside_of_the_folder() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let text = "[Container]\nImage=localhost/a:1\nHostNmae=x\n";
    let other = outside.path().join("web.container");
    fs::write(&other, text).unwrap();
    std::os::unix::fs::symlink(&other, folder.path().join("web.container")).unwrap();
    let (_, _, error) = run(folder.path(), &["--fix", "."]);
    assert_eq!(fs::read_to_string(&other).unwrap(), text);
    assert!(error.contains("web.container is left as it is"), "{error}");
    run(folder.path(), &["--fix", "web.container"]);
    assert!(fs::read_to_string(&other).unwrap().contains("HostName=x"));
}

#[test]
fn rules_are_listed_and_explained() {
    let stack = stack();
    let (code, text, _) = run(stack.path(), &["--list-rules"]);
    assert!(code == 0 && text.lines().any(|line| line.starts_with("same-port ")), "{text}");
    let (code, text, _) = run(stack.path(), &["--explain", "unknown-key"]);
    assert!(code == 0 && text.contains("QSR003"), "{text}");
}
