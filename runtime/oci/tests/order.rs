//! The order of functions that the Makefile links `sampan-runtime` with.

use std::path::Path;
use std::process::Command;

/// One function that it names, and one that it doesn't, as Rust names them.
const PROGRAM: &str = r#"
int cold(int x) __asm__("_ZN16sampan_container8features8features17h0123456789abcdefE");
int hot(int x) __asm__("_ZN16sampan_container5setup3run17h0123456789abcdefE");
__attribute__((noinline)) int cold(int x) { return x + 1; }
__attribute__((noinline)) int hot(int x) { return x - 1; }
int main(int count, char **words) { return count > 1 ? cold(count) : hot(count); }
"#;

fn succeeds(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The linker takes it, whichever it is, and the program still runs.
#[test]
fn what_a_start_executes_comes_first() {
    if !Command::new("cc").arg("--version").output().is_ok_and(|o| o.status.success()) {
        eprintln!("SKIP: no C compiler");
        return;
    }
    let libc = succeeds(Command::new("cc").arg("-print-file-name=libc.a"));
    if !Path::new(libc.trim()).is_absolute() {
        eprintln!("SKIP: no static C library");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (source, program) = (directory.path().join("program.c"), directory.path().join("program"));
    std::fs::write(&source, PROGRAM).unwrap();
    let script = concat!("-T", env!("CARGO_MANIFEST_DIR"), "/order.ld");
    let compiler = &mut Command::new("cc");
    compiler.args(["-O1", "-ffunction-sections", "-static-pie", script, "-o"]).args([&program, &source]);
    succeeds(compiler);
    succeeds(&mut Command::new(&program));
    let symbols = succeeds(Command::new("nm").arg(&program));
    let address = |name: &str| {
        let line = symbols.lines().find(|line| line.split(' ').next_back().is_some_and(|n| n == name));
        u64::from_str_radix(line.unwrap().split(' ').next().unwrap(), 16).unwrap()
    };
    let hot = address("_ZN16sampan_container5setup3run17h0123456789abcdefE");
    let cold = address("_ZN16sampan_container8features8features17h0123456789abcdefE");
    assert!(hot < cold, "{hot:#x} {cold:#x}");
    // The C library's functions aren't told apart by sections, but by their files.
    assert!(address("malloc") < cold);
}
