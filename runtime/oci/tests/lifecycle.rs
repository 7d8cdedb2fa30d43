//! What callers rely on beside what the OCI runtime specification says, whose clauses are in `spec/`.

mod bundle;

use std::fs;
use std::path::Path;
use std::process::Stdio;

use bundle::{Bundle, eventually};
use serde_json::{Value, json};

#[test]
fn exit_statuses_arrive() {
    let Some(mut bundle) = Bundle::new() else { return };
    assert_eq!(bundle.script("exit 42").run().status, 42);
    assert_eq!(bundle.script("sh -c 'kill -9 $$'; exit $?").run().status, 137);
    assert_eq!(bundle.args(&["true"]).run().status, 0);
}

#[test]
fn a_program_that_cannot_be_executed_is_explained() {
    let Some(mut bundle) = Bundle::new() else { return };
    let ran = bundle.args(&["no-such-program"]).run();
    assert_eq!(ran.status, 127);
    assert!(ran.err.contains("not found in $PATH: No such file or directory"), "{ran:?}");

    fs::write(bundle.rootfs("bin/data"), "#!/bin/sh").unwrap();
    let ran = bundle.args(&["/bin/data"]).run();
    assert_eq!(ran.status, 126);
    assert!(ran.err.contains("Permission denied"), "{ran:?}");

    // Only execve itself finds this out, after the container was started.
    let mode =
        |path: &Path| fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    fs::write(bundle.rootfs("bin/script"), "#!/no/such/interpreter\n").unwrap();
    mode(&bundle.rootfs("bin/script"));
    let ran = bundle.args(&["/bin/script"]).run();
    assert_eq!(ran.status, 127);
    assert!(ran.err.contains("interpreter or dynamic loader does not exist"), "{ran:?}");

    fs::write(bundle.rootfs("bin/garbage"), "garbage").unwrap();
    mode(&bundle.rootfs("bin/garbage"));
    let ran = bundle.args(&["garbage"]).run();
    assert_eq!(ran.status, 126);
    assert!(ran.err.contains("Exec format error"), "{ran:?}");
}

#[test]
fn force_deletes_what_is_not_there() {
    let Some(bundle) = Bundle::new() else { return };
    bundle.runtime(&["delete", "--force", "test"]).good();
}

#[test]
fn a_created_container_can_be_deleted() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]).create();
    bundle.runtime(&["delete", "test"]).good();
    assert!(!Path::new(&format!("/proc/{}/root/bin", bundle.pid())).exists());
}

#[test]
fn messages_go_where_the_caller_reads_them() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}],
    });
    bundle.args(&["no-such-program"]).run();
    let log = bundle.path().join("messages");
    let (path, log_path) = (bundle.path().to_str().unwrap(), log.to_str().unwrap());
    // The cache knows the filter by now, and then nothing of its names.
    fs::remove_dir_all(bundle.path().join("cache")).unwrap();
    bundle.runtime(&["--debug", "--log", log_path, "--log-format", "json", "run", "--bundle", path, "test"]);
    let text = fs::read_to_string(&log).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let has = |level: &str, words: &str| {
        lines.iter().any(|l| l["level"] == level && l["msg"].as_str().unwrap().contains(words))
    };
    assert!(has("debug", "no_such_call") && has("error", "not found in $PATH"), "{text}");
}

#[test]
fn mounts_have_their_options() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    fs::write(volume.join("file"), "text").unwrap();
    fs::create_dir(bundle.rootfs("etc")).unwrap();
    fs::write(bundle.rootfs("etc/conf"), "kept").unwrap();
    let source = volume.to_str().unwrap().to_owned();
    bundle.add_mount("bind", &source, "/new/place", &["rbind", "ro", "nosuid", "noexec"]);
    bundle.add_mount("bind", &format!("{source}/file"), "/etc/one", &["bind", "rw"]);
    bundle.add_mount("tmpfs", "tmpfs", "/scratch", &["size=1m", "mode=0700", "nodev"]);
    bundle.add_mount("tmpfs", "tmpfs", "/etc", &["tmpcopyup"]);
    bundle.spec["root"]["readonly"] = json!(true);
    let script = "mount; cat /new/place/file /etc/conf; touch /new/place/x /x; stat -c %a /scratch; touch /scratch/y && echo ok";
    let ran = bundle.script(script).run();
    assert!(ran.out.contains(" on /new/place type "), "{ran:?}");
    let line = ran.out.lines().find(|l| l.contains(" on /new/place ")).unwrap();
    assert!(line.contains("(ro,nosuid,noexec"), "{line}");
    assert!(ran.out.contains("textkept"), "{ran:?}");
    assert!(ran.out.ends_with("700\nok\n"), "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 2, "{ran:?}");
    assert!(!volume.join("x").exists());
}

#[test]
fn a_limit_that_cannot_be_raised_is_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    if caps::has_cap(None, caps::CapSet::Effective, caps::Capability::CAP_SYS_RESOURCE).unwrap() {
        eprintln!("SKIP: this process may raise limits");
        return;
    }
    bundle.spec["process"]["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 9_000_000, "hard": 9_000_000}]);
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("CAP_SYS_RESOURCE"), "{ran:?}");
}

#[test]
fn signals_are_as_after_boot() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["grep", "-E", "^Sig(Ign|Blk)", "/proc/self/status"]);
    let out = bundle.run_after("trap '' PIPE TERM USR1;").good();
    assert!(out.contains("SigIgn:\t0000000000000000") && out.contains("SigBlk:\t0000000000000000"), "{out}");
}

#[test]
fn the_working_directory_is_made() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["cwd"] = json!("/not/there/yet");
    assert_eq!(bundle.args(&["pwd"]).run().good(), "/not/there/yet\n");
}

#[test]
fn a_terminal_is_the_standard_streams() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["terminal"] = json!(true);
    let out = bundle.script("tty; stat -c '%t,%T' /dev/console; readlink /proc/self/fd/2").run().good();
    assert_eq!(out.replace('\r', ""), "/dev/pts/0\n88,0\n/dev/pts/0\n");
}

#[test]
fn a_hook_that_fails_ends_the_start() {
    let Some(mut bundle) = Bundle::new() else { return };
    for point in ["createRuntime", "createContainer"] {
        bundle.spec["hooks"] = json!({point: [{"path": "/bin/false"}]});
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains(&format!("/bin/false: {point} hook failed")), "{ran:?}");
    }
    bundle.spec["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]});
    let ran = bundle.run();
    assert!(ran.status != 0 && ran.err.contains("had not ended after 1 s"), "{ran:?}");
}

#[test]
fn exec_is_in_all_namespaces_and_as_confined() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["seccomp"] = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_ERRNO"}]});
    let running = bundle.args(&["sleep", "1000"]).start();
    let script =
        "for n in cgroup ipc mnt net pid uts; do readlink /proc/self/ns/$n; readlink /proc/1/ns/$n; done
        grep -E '^(Cap|Seccomp:)' /proc/self/status; exit 7";
    let ran = running.exec(&[], &["sh", "-c", script]);
    assert_eq!(ran.status, 7, "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().collect();
    for pair in lines[..12].chunks(2) {
        assert_eq!(pair[0], pair[1]);
    }
    assert!(
        ran.out.contains("CapEff:\t00000000800405fb") && ran.out.contains("CapInh:\t0000000000000000"),
        "{ran:?}"
    );
    assert!(ran.out.contains("Seccomp:\t2"), "{ran:?}");
    assert_eq!(running.exec(&[], &["no-such-program"]).status, 127);
    assert_eq!(running.exec(&["--user", "5:6"], &["id"]).good(), "uid=5 gid=6\n");
    assert_eq!(running.exec(&["--cwd", "/bin"], &["pwd"]).good(), "/bin\n");
    assert_eq!(running.exec(&["-e", "A=b"], &["sh", "-c", "echo $A"]).good(), "b\n");
    assert_eq!(running.exec(&["--tty"], &["tty"]).good().trim(), "/dev/pts/0");
}

#[test]
fn without_a_cgroup_devices_must_not_be_made() {
    let Some(mut bundle) = Bundle::new() else { return };
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
    bundle.spec["linux"]["resources"]["devices"] = json!([{"allow": false, "access": "rwm"}]);
    // Podman's `--cgroups=disabled`: the rules are written all the same, so what they are to prevent isn't possible.
    let script = "mknod /tmp/disk b 8 0 || echo refused; grep CapBnd /proc/self/status; exec sleep 1000";
    bundle.script(script).write();
    let path = bundle.path().to_str().unwrap();
    let log = fs::File::create(bundle.path().join("log")).unwrap();
    let arguments = ["--cgroup-manager", "disabled", "create", "--bundle", path, "test"];
    let mut command = bundle.command("", &arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    assert!(command.status().unwrap().success(), "{}", bundle.log());
    bundle.runtime(&["start", "test"]).good();
    let mut process = bundle.spec["process"].clone();
    process["args"] = json!(["mknod", "/tmp/disk", "b", "8", "0"]);
    let file = bundle.path().join("process.json");
    fs::write(&file, process.to_string()).unwrap();
    let joined = bundle.runtime(&["exec", "--process", file.to_str().unwrap(), "test"]);
    eventually("its words, or its end", || bundle.log().contains("CapBnd") || bundle.status() != "running");
    bundle.runtime(&["delete", "--force", "test"]).good();
    let log = bundle.log();
    assert!(log.contains("warning: without a cgroup") && log.contains("refused"), "{log}");
    assert!(joined.status == 1 && joined.err.contains("CAP_MKNOD is left out"), "{joined:?}");
    let set = log.lines().find_map(|line| line.strip_prefix("CapBnd:")).unwrap().trim().to_owned();
    assert_eq!(u64::from_str_radix(&set, 16).unwrap() & 1 << 27, 0, "{log}");
    assert!(!bundle.rootfs("tmp/disk").exists());
}

#[test]
fn limits_without_a_controller_are_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers").unwrap_or_default();
    if controllers.contains("pids") {
        eprintln!("SKIP: the controller of processes is available here");
        return;
    }
    bundle.spec["linux"]["resources"] = json!({"pids": {"limit": 100}});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("the limit pids.max=100 can't be done"), "{ran:?}");
}

#[test]
fn namespaces_are_joined_by_path() {
    let (Some(mut first), Some(mut second)) = (Bundle::new(), Bundle::new()) else { return };
    first.spec["hostname"] = json!("first");
    second.spec["hostname"] = json!(null);
    first.args(&["sleep", "1000"]);
    let _running = first.start();
    let pid = first.pid();
    for namespace in second.spec["linux"]["namespaces"].as_array_mut().unwrap() {
        let kind = namespace["type"].as_str().unwrap();
        let file = match kind {
            "network" => "net",
            "mount" => continue,
            kind => kind,
        };
        let path = format!("/proc/{pid}/ns/{file}");
        namespace["path"] = json!(path);
    }
    let out = second.script("hostname; readlink /proc/self/ns/net; ps").run().good();
    let own = fs::read_link(format!("/proc/{pid}/ns/net")).unwrap();
    assert!(out.starts_with("first\n"), "{out}");
    assert!(out.contains(own.to_str().unwrap()), "{out}");
    assert!(out.contains("sleep 1000"), "{out}");
}

#[test]
fn what_is_not_supported_is_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    let cases: [(&str, Value); 5] = [
        ("/linux/intelRdt", json!({"closID": "x"})),
        ("/process/scheduler", json!({"policy": "SCHED_ISO"})),
        ("/process/selinuxLabel", json!("system_u:system_r:container_t:s0")),
        ("/linux/namespaces", json!([{"type": "pid"}, {"type": "user"}])),
        ("/linux/rootfsPropagation", json!("sideways")),
    ];
    for (pointer, value) in cases {
        let before = bundle.spec.clone();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        bundle.spec.pointer_mut(parent).unwrap()[key] = value;
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status == 1 && !ran.err.is_empty(), "{pointer}: {ran:?}");
        bundle.spec = before;
    }
}

/// Whatever moment `create` is killed at, what it has begun can be deleted, and nothing runs on.
#[test]
fn a_killed_creation_can_be_deleted() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "987654"]);
    let mut shared = bundle.spec.clone();
    shared["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
    let whole = bundle.spec.clone();
    for round in 0..80 {
        // With a root among the mounts of the caller's namespace in every other round.
        bundle.spec = if round % 2 == 0 { whole.clone() } else { shared.clone() };
        bundle.write();
        let create = ["create", "--bundle", bundle.path().to_str().unwrap(), "test"];
        let mut command = bundle.command("exec >/dev/null 2>&1;", &create);
        let mut child = command.stdin(std::process::Stdio::null()).spawn().unwrap();
        std::thread::sleep(std::time::Duration::from_micros(500 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        bundle.runtime(&["delete", "--force", "test"]).good();
        let left = fs::read_dir(bundle.path().join("state")).into_iter().flatten().count();
        assert_eq!(left, 0, "round {round}");
    }
    let cgroup = Path::new("/sys/fs/cgroup/unified");
    let cgroup = if cgroup.exists() { cgroup } else { Path::new("/sys/fs/cgroup") };
    let cgroup = cgroup.join(bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/'));
    // One that was made and not yet written down may stay, empty; the next of this name takes it on.
    let processes = || fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    eventually("that nothing runs on", || processes().is_empty());
    let _ = fs::remove_dir(&cgroup);
}
