//! Bundles, identifiers and states that are not what they should be.

use super::*;

/// Names become paths: nothing but names passes.
#[test]
fn names_are_no_paths() {
    let Some(bundle) = Bundle::new() else { return };
    for id in ["../x", "a/b", "..", ".", "-x", "a b", "a\nb"] {
        let ran = bundle.runtime(&["state", "--", id]);
        assert_ne!(ran.status, 0, "{id}");
        let ran = bundle.runtime(&["delete", "--force", "--", id]);
        assert_eq!(ran.status, 0, "{id:?} does not exist: {ran:?}");
    }
}

/// Runs a bundle whose `config.json` is what `make` puts at the path. It has to end with an error in words.
#[track_caller]
fn refused(bundle: &Bundle, make: impl FnOnce(&Path)) -> String {
    let config = bundle.path().join("config.json");
    let _ = fs::remove_dir(&config);
    let _ = fs::remove_file(&config);
    make(&config);
    let ran = ran(bundle.command("", &["run", "--bundle", bundle.path().to_str().unwrap(), "test"]));
    assert!(ran.status > 0 && ran.status < 128 && !ran.err.contains("panicked"), "{ran:?}");
    assert_eq!(
        fs::read_dir(bundle.path().join("state")).into_iter().flatten().count(),
        0,
        "left over: {ran:?}"
    );
    ran.err
}

/// A `config.json` that nobody writes to, that doesn't end, that does something when it is opened, that is too large.
#[test]
fn a_configuration_is_a_file() {
    let Some(bundle) = Bundle::new() else { return };
    let fifo =
        |path: &Path| rustix::fs::mknodat(CWD, path, rustix::fs::FileType::Fifo, 0o666.into(), 0).unwrap();
    assert!(refused(&bundle, fifo).contains("no regular file"));
    assert!(refused(&bundle, |path| symlink("/dev/zero", path).unwrap()).contains("no regular file"));
    assert!(refused(&bundle, |path| fs::create_dir(path).unwrap()).contains("no regular file"));
    assert!(refused(&bundle, |path| symlink(path, path).unwrap()).contains("read("));
    let huge = |path: &Path| fs::File::create(path).unwrap().set_len(1 << 40).unwrap();
    assert!(refused(&bundle, huge).contains("larger than"));
    assert!(refused(&bundle, |_| {}).contains("No such file"));
}

/// Text that is no JSON, or more of it than a parser can take.
#[test]
fn a_configuration_is_bounded() {
    let Some(bundle) = Bundle::new() else { return };
    let good = bundle.spec.to_string();
    let doubled = good.replacen('{', "{\"ociVersion\":\"1.0.0\",", 1);
    let texts: Vec<Vec<u8>> = vec![
        Vec::new(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"{}".to_vec(),
        vec![b'['; 10 << 20],
        "{\"a\":".repeat(1 << 20).into_bytes(),
        format!("{{\"annotations\":{}", "{\"a\":".repeat(1 << 20)).into_bytes(),
        format!("{{\"ociVersion\":\"1.0.0\",\"x\":{}", "[".repeat(1 << 20)).into_bytes(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        [good.as_bytes(), b"x"].concat(),
        good.replacen("rootfs", "root\u{0}fs", 1).into_bytes(),
        [b"{\"ociVersion\":\"1.\xff\"".as_slice(), b"}"].concat(),
        doubled.into_bytes(),
    ];
    for text in texts {
        refused(&bundle, |path| fs::write(path, &text).unwrap());
    }
}

/// Values that fit no field, or no system call.
fn out_of_range() -> Vec<(&'static str, Value)> {
    vec![
        ("/process/user/uid", json!(-1)),
        ("/process/user/uid", json!(4_294_967_296_u64)),
        ("/process/user/uid", json!(4_294_967_295_u64)),
        ("/process/user/gid", json!(1.5)),
        ("/process/user/additionalGids", json!([4_294_967_295_u64, -1])),
        ("/process/oomScoreAdj", json!(100_000)),
        ("/process/oomScoreAdj", json!(99_999_999_999_u64)),
        ("/process/rlimits", json!([{"type": "RLIMIT_NOFILE", "soft": 5, "hard": 3}])),
        ("/process/rlimits", json!([{"type": "RLIMIT_X", "soft": 1, "hard": 1}])),
        ("/process/rlimits", json!([{"type": "RLIMIT_CORE", "soft": -1, "hard": -1}])),
        ("/process/args", json!([])),
        ("/process/args", json!([""])),
        ("/process/args", json!(["/bin/tr\u{0}ue"])),
        ("/process/args", json!(vec!["x".repeat(1 << 20); 8])),
        ("/process/cwd", json!("relative")),
        ("/process/cwd", json!("/\u{0}")),
        ("/process/env", json!(["A=\u{0}"])),
        ("/process/env", json!(["A"])),
        ("/root/path", json!("ro\u{0}ot")),
        ("/hostname", json!("x".repeat(65))),
        ("/mounts", json!([{"destination": "/a\u{0}b", "type": "tmpfs"}])),
        ("/mounts", json!([{"destination": "/x", "type": "tm\u{0}pfs"}])),
        ("/mounts", json!([{"destination": "/x", "type": "tmpfs", "options": ["size=\u{0}"]}])),
        ("/mounts", json!([{"destination": "/x", "type": "bind", "source": "/\u{0}"}])),
        ("/mounts", json!([{"destination": "/x", "type": "bind", "source": "/", "options": ["odd"]}])),
        ("/mounts", json!([{"destination": "x/".repeat(5000), "type": "tmpfs"}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": -1, "minor": 0}])),
        ("/linux/devices", json!([{"path": "/dev/x", "type": "c", "major": 4_294_967_296_u64, "minor": 0}])),
        ("/linux/devices", json!([{"path": "/dev/\u{0}", "type": "c", "major": 1, "minor": 3}])),
        ("/linux/devices", json!([{"path": "/", "type": "c", "major": 1, "minor": 3}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "mount"}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "network", "path": "/etc/passwd"}])),
        ("/linux/namespaces", json!([{"type": "mount"}, {"type": "network", "path": "/\u{0}"}])),
        ("/linux/cgroupsPath", json!("/../../x")),
        ("/linux/sysctl", json!({"net.ipv4.ip_forward\u{0}": "1"})),
        ("/linux/maskedPaths", json!(["/proc/\u{0}"])),
        ("/linux/seccomp", json!({"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 5000})),
        ("/hooks", json!({"createRuntime": [{"path": "true"}]})),
        ("/hooks", json!({"createRuntime": [{"path": "/bin/tr\u{0}ue"}]})),
        ("/hooks", json!({"createContainer": [{"path": "/bin/true", "env": ["A"]}]})),
    ]
}

/// Each of them alone in a configuration that is good otherwise.
#[test]
fn values_out_of_range_are_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["/bin/true"]).run().good();
    for (pointer, value) in out_of_range() {
        let mut spec = bundle.spec.clone();
        eprintln!("{pointer} {}", value.to_string().chars().take(60).collect::<String>());
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        let parent = if parent.is_empty() { Some(&mut spec) } else { spec.pointer_mut(parent) };
        parent.unwrap()[name] = value;
        refused(&bundle, |path| fs::write(path, spec.to_string()).unwrap());
    }
}

/// CVE-2021-43784: lengths in what the caller and the container's process tell each other. Long things go through.
#[test]
fn long_values_lose_nothing() {
    let Some(mut bundle) = Bundle::new() else { return };
    let long = "x".repeat(100_000);
    bundle.spec["annotations"] = json!({"a": "y".repeat(1 << 20)});
    let out = bundle.args(&["/bin/sh", "-c", "echo ${#1}", "sh", &long]).run().good();
    assert_eq!(out, "100000\n");
    let ran = bundle.args(&[&format!("/{}", "x/".repeat(40_000))]).run();
    assert!(ran.status != 0 && ran.err.contains("x/x/x/"), "{}", ran.err.len());
}

/// A state that is a link, a FIFO, or no state at all.
#[test]
fn a_state_is_a_directory_of_ours() {
    let Some(bundle) = Bundle::new() else { return };
    let (state, elsewhere) = (bundle.path().join("state"), bundle.path().join("elsewhere"));
    for directory in [&state, &elsewhere, &state.join("fifo"), &state.join("broken")] {
        let _ = fs::create_dir(directory);
    }
    fs::write(elsewhere.join("state.json"), r#"{"id":"linked","name":"linked","status":"stopped"}"#).unwrap();
    symlink(&elsewhere, state.join("linked")).unwrap();
    let fifo = state.join("fifo/state.json");
    rustix::fs::mknodat(CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    fs::write(state.join("broken/state.json"), vec![b'['; 1 << 20]).unwrap();
    for id in ["linked", "fifo", "broken"] {
        for command in ["state", "kill", "start", "delete"] {
            let ran = ran(bundle.command("", &[command, id]));
            assert!(ran.status == 1 && !ran.err.contains("panicked"), "{command} {id}: {ran:?}");
        }
    }
    ran(bundle.command("", &["list"])).good();
    ran(bundle.command("", &["delete", "--force", "linked"]));
    assert!(elsewhere.join("state.json").exists());
}

/// Where the process id is to be written somebody else has put a link.
#[test]
fn the_pid_file_follows_no_links() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (victim, file) = (bundle.path().join("victim"), bundle.path().join("pid"));
    fs::write(&victim, "untouched").unwrap();
    symlink(&victim, &file).unwrap();
    symlink(&victim, bundle.path().join("pid.new")).unwrap();
    bundle.args(&["true"]);
    run_with(&bundle, "", &["--pid-file", file.to_str().unwrap()]).good();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(fs::read_to_string(&file).unwrap().parse::<i32>().is_ok());
}
