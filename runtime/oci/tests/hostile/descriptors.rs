//! Descriptors of the caller, and the working directory behind one of them.

use super::*;

/// Leaks descriptors of seven directories and files of the host into the runtime.
const LEAK: &str = "exec 3</ 4</etc 5</proc 6</sys 7</root 8</dev 9</etc/passwd;";

/// CVE-2024-21626: the working directory is a directory of the host behind an inherited descriptor.
#[test]
fn the_working_directory_is_inside() {
    let Some(mut bundle) = Bundle::new() else { return };
    for fd in 3..16 {
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        let ran = bundle.args(&["pwd"]).run_after("exec 7</ 9</etc;");
        assert_ne!(ran.status, 0, "fd {fd}: {ran:?}");
    }
    bundle.spec["process"]["cwd"] = json!("/");
    symlink("/proc/self/fd/7", bundle.rootfs("link")).unwrap();
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    for cwd in ["/link", "/proc/self/fd/3", "/proc/self/fd/7/..", "/proc/1/fd/0"] {
        let ran = running.exec(&["--cwd", cwd], &["pwd"]);
        assert!(ran.status != 0 || ran.out.starts_with('/'), "{cwd}: {ran:?}");
        assert!(!ran.out.contains("work") && !ran.out.contains("home"), "{cwd}: {ran:?}");
    }
}

/// CVE-2024-21626: the caller leaks descriptors; the program gets none of them.
#[test]
fn nothing_leaks_into_the_program() {
    let Some(mut bundle) = Bundle::new() else { return };
    let out = bundle.script("ls /proc/1/fd; true").run_after(LEAK).good();
    assert_eq!(out, "0\n1\n2\n");
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let list = ["exec", "test", "/bin/sh", "-c", "ls /proc/$$/fd; true"];
    assert_eq!(ran(bundle.command(LEAK, &list)).good(), "0\n1\n2\n");
    drop(running);
}

/// The same for hooks, of the host and of the container.
#[test]
fn nothing_leaks_into_hooks() {
    let Some(mut bundle) = Bundle::new() else { return };
    let points = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    let hook = |file: &Path| {
        let script = format!("ls -l /proc/$$/fd > {}; true", file.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/bin:/usr/bin"]}])
    };
    bundle.spec["hooks"] = json!({"startContainer": hook(Path::new("/tmp/startContainer"))});
    for point in points {
        bundle.spec["hooks"][point] = hook(&bundle.path().join(point));
    }
    bundle.args(&["true"]);
    // What `run` deletes at the end has no hooks there: `delete` has.
    run_with(&bundle, LEAK, &["--preserve-fds", "4", "--keep"]).good();
    ran(bundle.command(LEAK, &["delete", "test"])).good();
    let files = points.map(|point| bundle.path().join(point)).into_iter();
    for file in files.chain([bundle.rootfs("tmp/startContainer")]) {
        let list = fs::read_to_string(&file).unwrap();
        // Shells keep a copy of a standard stream at 10.
        let number =
            |line: &str| line.split_once(" -> ").map(|(left, _)| left.rsplit(' ').next().unwrap().to_owned());
        let odd = list
            .lines()
            .filter_map(number)
            .filter(|number| !["0", "1", "2", "10"].contains(&number.as_str()));
        assert_eq!(odd.count(), 0, "{}: {list}", file.display());
    }
}

/// Descriptors that are asked for are the caller's, never those that the runtime itself has under these numbers.
#[test]
fn only_the_callers_descriptors_are_kept() {
    let Some(mut bundle) = Bundle::new() else { return };
    // 10 is a shell's own, of the one that is the caller here.
    bundle.script("for fd in 3 4 5 6 7 8 9 11 12 13 14 15 16 17; do readlink /proc/1/fd/$fd; done; true");
    let few = run_with(&bundle, LEAK, &["--preserve-fds", "2"]).good();
    assert_eq!(few.lines().collect::<Vec<_>>(), ["/", "/etc"]);
    for count in ["200", "4294967294", "4294967295"] {
        let ran = run_with(&bundle, "exec 4</etc;", &["--preserve-fds", count]);
        assert_eq!(ran.out.lines().collect::<Vec<_>>(), ["/etc"], "{count}: {ran:?}");
    }
}

/// Between `create` and `start`, the container's process holds nothing of the host any more.
#[test]
fn a_created_container_holds_nothing_of_the_host() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]);
    create_leaking(&bundle, LEAK);
    let held: Vec<String> = fs::read_dir(format!("/proc/{}/fd", bundle.pid()))
        .unwrap()
        .map(|entry| fs::read_link(entry.unwrap().path()).unwrap().display().to_string())
        .collect();
    bundle.runtime(&["delete", "--force", "test"]).good();
    // The standard streams, the launcher, the connection to the caller, the FIFO of the start.
    let odd = |link: &&String| {
        // Its name is that of the container's own tree, as the root is gone where it came from.
        !link.ends_with("/null")
            && !link.starts_with("/memfd:sampan")
            && !link.starts_with("socket:")
            && !link.ends_with("/exec.fifo")
    };
    assert_eq!(held.iter().filter(odd).collect::<Vec<_>>(), Vec::<&String>::new(), "{held:?}");
}

/// What the runtime itself has open under numbers that are to be passed on isn't held by the container's process: the
/// lock of `create` would keep `start` waiting.
#[test]
fn more_descriptors_than_there_are_lock_nobody_out() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["ls", "/proc/self/fd"]).write();
    let path = bundle.path().to_str().unwrap().to_owned();
    let before = "exec 5</etc; set -- timeout 60 \"$@\";";
    let log = fs::File::create(bundle.path().join("log")).unwrap();
    let arguments = ["create", "--preserve-fds", "200", "--bundle", &path, "test"];
    let status = bundle.command(before, &arguments).stdin(Stdio::null()).stdout(log).status().unwrap();
    assert!(status.success(), "{}", bundle.log());
    let started = ran(bundle.command(before, &["start", "test"]));
    eventually("the end", || started.status != 0 || bundle.status() == "stopped");
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert_eq!(started.status, 0, "{started:?}");
    // 3 is the listing itself.
    assert_eq!(bundle.log().lines().filter(|l| *l != "10").collect::<Vec<_>>(), ["0", "1", "2", "3", "5"]);
}
