//! Files that nobody writes by hand: huge, endless, unreadable, looped, not even text. Each is told
//! of in a diagnostic, and every other unit is still generated.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the generator may take of a processor, in seconds: a multiple of what it takes, and far less than a search that
/// grows with the square of the input.
const PROCESSOR_TIME: u32 = 20;
/// What it may take by the clock, where others may want the processors too.
const PATIENCE: Duration = Duration::from_secs(300);

/// What the generator made of a directory.
struct Outcome {
    out: tempfile::TempDir,
    said: String,
}

impl Outcome {
    fn unit(&self, name: &str) -> String {
        fs::read_to_string(self.out.path().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Whether the file became a stub service that says so.
    #[track_caller]
    fn is_stub(&self, name: &str, reason: &str) {
        let unit = self.unit(name);
        assert!(unit.contains("StandardInputText=") && unit.contains(reason), "{name}: {}", cut(&unit));
    }
}

fn cut(text: &str) -> String {
    text.chars().take(2000).collect()
}

/// Runs the generator on a directory that has a sound file beside what the test put there. A
/// generator that holds the boot for a minute is as bad as one that never ends.
fn generate(input: &Path) -> Outcome {
    fs::write(input.join("sound.container"), "[Container]\nImage=docker.io/library/sound:1\n").unwrap();
    let out = tempfile::tempdir().unwrap();
    let said = tempfile::NamedTempFile::new().unwrap();
    let mut child = Command::new("/bin/sh")
        .args(["-c", &format!("ulimit -t {PROCESSOR_TIME} && exec \"$@\""), "limited"])
        .arg(env!("CARGO_BIN_EXE_sampan-generator"))
        .env_clear()
        .env("QUADLET_UNIT_DIRS", input)
        .args(["--engine=sampan", "--no-kmsg-log"])
        .arg(out.path())
        .stderr(said.reopen().unwrap())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if begun.elapsed() > PATIENCE {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the generator did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    assert!(status.code().is_some(), "{status}: SIGXCPU or SIGKILL is too much of the processor's time");
    let outcome = Outcome { out, said: fs::read_to_string(said.path()).unwrap() };
    assert!(!outcome.said.contains("panicked"), "{}", cut(&outcome.said));
    assert!(outcome.unit("sound.service").contains("ExecStart="));
    outcome
}

fn directory() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn ten_megabytes_in_one_value() {
    let input = directory();
    let value = "x".repeat(10_000_000);
    fs::write(input.path().join("big.container"), format!("[Container]\nImage=a/b\nExec={value}\n")).unwrap();
    let unit = generate(input.path()).unit("big.service");
    assert!(unit.lines().any(|line| line.starts_with("ExecStart=") && line.ends_with(&value)));
}

#[test]
fn ten_megabytes_without_a_line_end_or_a_key() {
    let input = directory();
    fs::write(input.path().join("big.container"), "x".repeat(10_000_000)).unwrap();
    let outcome = generate(input.path());
    outcome.is_stub("big.service", "neither a section");
    assert!(outcome.said.len() < 100_000, "{} bytes were said", outcome.said.len());
}

#[test]
fn a_hundred_thousand_lines() {
    let input = directory();
    let lines: String = (0..100_000).map(|n| format!("Environment=V{n}={n}\n")).collect();
    fs::write(input.path().join("long.container"), format!("[Container]\nImage=a/b\n{lines}")).unwrap();
    let unit = generate(input.path()).unit("long.service");
    assert!(unit.contains("--env V99999=99999"), "{}", cut(&unit));
}

/// Mistakes are counted, and only the first of them told: nobody reads the rest, and each would be
/// a record in the kernel's log.
#[test]
fn a_hundred_thousand_mistakes() {
    for line in ["Imgae=x", "no key here", "Environment=\"open", "Exec=\\q", "PublishPort=x", "Image=a/b"] {
        let input = directory();
        let lines: String = (0..100_000).map(|_| format!("{line}\n")).collect();
        fs::write(input.path().join("long.container"), format!("[Container]\n{lines}")).unwrap();
        let outcome = generate(input.path());
        assert!(outcome.said.len() < 100_000, "{line}: {} bytes were said", outcome.said.len());
        assert!(outcome.unit("long.service").len() < 12_000_000);
    }
}

#[test]
fn a_hundred_thousand_folds_sections_and_comments() {
    let input = directory();
    let folds = "a \\\n".repeat(100_000);
    let sections = "[Container]\nLabel=a=b\n[Unit]\n".repeat(50_000);
    let comments = "# nothing\n".repeat(100_000);
    let text = format!("[Container]\nImage=a/b\nExec={folds}end\n{comments}{sections}");
    fs::write(input.path().join("long.container"), text).unwrap();
    let unit = generate(input.path()).unit("long.service");
    assert!(unit.contains(" a a end\n"), "{}", cut(&unit));
}

/// Sections were once searched one after the other, and a line that looks like a key up to the value's end: half a
/// minute each.
#[test]
fn a_hundred_thousand_different_sections_and_folds_without_a_key() {
    let input = directory();
    let sections: String = (0..100_000).map(|n| format!("[S{n}]\nKey{n}=x\n")).collect();
    fs::write(input.path().join("sections.container"), format!("[Container]\nImage=a/b\n{sections}"))
        .unwrap();
    let folds = "x\\\n".repeat(400_000);
    fs::write(input.path().join("folds.container"), format!("[Container]\nImage=a/b\nExec={folds}end\n"))
        .unwrap();
    let outcome = generate(input.path());
    assert!(outcome.unit("sections.service").contains("\n[S99999]\nKey99999=x\n"));
    assert!(outcome.said.contains("mistakes are left out") && outcome.said.len() < 100_000);
    assert!(outcome.unit("folds.service").contains("x x end\n"));
}

#[test]
fn five_thousand_files_that_need_each_other() {
    let input = directory();
    for n in 0..2_500 {
        fs::write(input.path().join(format!("n{n}.network")), "[Network]\n").unwrap();
        let text = format!(
            "[Unit]\nAfter=c{}.container\n[Container]\nImage=a/b\nNetwork=n{n}.network\n",
            (n + 1) % 2_500
        );
        fs::write(input.path().join(format!("c{n}.container")), text).unwrap();
    }
    let outcome = generate(input.path());
    assert_eq!(fs::read_dir(outcome.out.path()).unwrap().count(), 5_001);
}

#[test]
fn a_deep_tree_and_links_that_lead_back() {
    let input = directory();
    let mut deep = input.path().to_owned();
    for _ in 0..200 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("deep.container"), "[Container]\nImage=a/b\n").unwrap();
    symlink(input.path(), deep.join("back")).unwrap();
    symlink("self", input.path().join("self")).unwrap();
    symlink("b", input.path().join("a")).unwrap();
    symlink("a", input.path().join("b")).unwrap();
    symlink("loop.container", input.path().join("loop.container")).unwrap();
    let outcome = generate(input.path());
    assert!(outcome.unit("deep.service").contains("ExecStart="));
    outcome.is_stub("loop.service", "can't be read");
}

#[test]
fn files_that_cannot_be_read() {
    let input = directory();
    symlink("/nonexistent/x", input.path().join("dangling.container")).unwrap();
    fs::create_dir(input.path().join("folder.container")).unwrap();
    let closed = input.path().join("closed.container");
    fs::write(&closed, "[Container]\nImage=a/b\n").unwrap();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o0)).unwrap();
    let readable = fs::read(&closed).is_ok(); // as root, or with CAP_DAC_OVERRIDE
    let outcome = generate(input.path());
    outcome.is_stub("dangling.service", "it is a link to /nonexistent/x");
    if !readable {
        outcome.is_stub("closed.service", "can't be read");
    }
    assert!(!outcome.out.path().join("folder.service").exists());
}

/// Pipes and devices would hold the boot or fill the memory.
#[test]
fn files_that_are_not_regular() {
    let input = directory();
    let path = |name: &str| input.path().join(name);
    let pipe = |path: &Path| assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    pipe(&path("pipe.container"));
    symlink("pipe.container", path("to-pipe.volume")).unwrap();
    fs::create_dir(path("dropin.container.d")).unwrap();
    fs::write(path("dropin.container"), "[Container]\nImage=a/b\n").unwrap();
    pipe(&path("dropin.container.d/a.conf"));
    for (name, target) in [("zero", "/dev/zero"), ("random", "/dev/random"), ("masked", "/dev/null")] {
        symlink(target, path(&format!("{name}.container"))).unwrap();
    }
    let has_log = Path::new("/proc/kmsg").exists();
    if has_log {
        symlink("/proc/kmsg", path("log.container")).unwrap();
    }
    let _socket = std::os::unix::net::UnixListener::bind(path("socket.container")).unwrap();
    let large = fs::File::create(path("large.container")).unwrap();
    large.set_len(1 << 40).unwrap();
    let outcome = generate(input.path());
    for name in ["pipe.service", "to-pipe-volume.service", "dropin.service"] {
        outcome.is_stub(name, "it is a pipe, not a regular file");
    }
    outcome.is_stub("zero.service", "it is a link to /dev/zero");
    outcome.is_stub("random.service", "it is a device");
    outcome.is_stub("socket.service", "it is a socket");
    outcome.is_stub("large.service", "larger than 64 MiB");
    if has_log {
        outcome.is_stub("log.service", "a file of the kernel's");
    }
    assert!(!outcome.out.path().join("masked.service").exists());
}

#[test]
fn text_of_other_systems_and_no_text_at_all() {
    let input = directory();
    let write = |name: &str, bytes: &[u8]| fs::write(input.path().join(name), bytes).unwrap();
    write("bom.container", b"\xef\xbb\xbf[Container]\r\nImage=a/b\r\nExec=a \\\r\n  b\r\n");
    write("nul.container", b"[Container]\nImage=a/b\nLabel=a=\0b\n");
    write("latin.container", b"[Container]\nImage=a/b\nLabel=n=M\xfcller\n");
    write(
        "wide.container",
        &"[Container]\nImage=a/b\n".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>(),
    );
    write("binary.container", &(0..=255).cycle().take(100_000).collect::<Vec<u8>>());
    write("empty.container", b"");
    let outcome = generate(input.path());
    let bom = outcome.unit("bom.service");
    assert!(bom.contains(" a/b a b\n") && !bom.contains('\r'), "{bom}");
    outcome.is_stub("nul.service", "NUL");
    assert!(outcome.said.contains("latin.container") && outcome.unit("latin.service").contains("ExecStart="));
    outcome.is_stub("wide.service", "wide.container");
    outcome.is_stub("binary.service", "binary.container");
    outcome.is_stub("empty.service", "[Container]");
}

/// The same files give the same bytes and the same messages, whatever order the directory is in.
#[test]
fn the_same_input_gives_the_same_output() {
    let files = ["a.container", "b.container", "c.network", "d.volume", "e.pod", "broken.container"];
    let text = |name: &str| match name.rsplit_once('.').unwrap().1 {
        "container" if name.starts_with("broken") => "[Container]\nImgae=x\nAfter=\n".to_owned(),
        "container" => "[Unit]\nAfter=d.volume a.container\n[Container]\nImage=x/y\nNetwork=c.network\n\
             Environment=B=1 A=2 C=3\nLabel=z=1 y=2\nPod=e.pod\n[Install]\nWantedBy=default.target\n"
            .to_owned(),
        other => format!("[{}{}]\n", other[..1].to_uppercase(), &other[1..]),
    };
    let mut seen: Option<(Vec<(String, String)>, String)> = None;
    for round in 0..4 {
        let base = directory();
        let input = base.path().join("in");
        fs::create_dir(&input).unwrap();
        for at in 0..files.len() {
            let name = files[(at * 5 + round) % files.len()];
            fs::write(input.join(name), text(name)).unwrap();
        }
        let outcome = generate(&input);
        let own = input.to_str().unwrap();
        let mut units: Vec<_> = fs::read_dir(outcome.out.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.is_file())
            .map(|path| (path.display().to_string(), fs::read_to_string(path).unwrap()))
            .map(|(path, text)| (path.rsplit('/').next().unwrap().to_owned(), text.replace(own, "@DIR@")))
            .collect();
        units.sort();
        let now = (units, outcome.said.replace(own, "@DIR@"));
        match &seen {
            None => seen = Some(now),
            Some(before) => assert!(*before == now, "round {round} differs"),
        }
    }
}
