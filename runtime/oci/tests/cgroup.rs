//! What a container's cgroup does for it, on real containers: limits and their refusal, devices, freezing, killing,
//! statistics, and that nothing is left. Where the host has bound the controllers to version 1, what needs them says
//! `SKIP`; that they limit is shown in a machine of its own.

mod bundle;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use bundle::{Bundle, eventually};
use serde_json::{Value, json};

/// The mount of cgroup2.
fn mount() -> PathBuf {
    let alone = Path::new("/sys/fs/cgroup");
    match alone.join("cgroup.controllers").exists() {
        true => alone.into(),
        false => alone.join("unified"),
    }
}

fn has_controller(name: &str) -> bool {
    let all = fs::read_to_string(mount().join("cgroup.controllers")).unwrap_or_default();
    all.split_whitespace().any(|c| c == name)
}

/// The cgroup of the container's first process; `None`, said visibly, where none can be made.
fn cgroup_of(bundle: &Bundle) -> Option<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", bundle.pid())).unwrap();
    let own = text.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
    if !own.starts_with("sampan-test-") {
        eprintln!("SKIP: no cgroups can be made here");
        return None;
    }
    Some(mount().join(own))
}

fn update(bundle: &Bundle, resources: &Value) -> (bool, String) {
    let mut child = bundle
        .command("", &["update", "--resources", "-", "test"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(resources.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_clients_ask_for_by_default_needs_no_controller() {
    let Some(mut bundle) = Bundle::new() else { return };
    let device = |major: u32, minor: u32| json!({"allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm"});
    let deny = json!({"allow": false, "access": "rwm"});
    for resources in [
        // containerd, for `ctr run`
        json!({"devices": [deny, device(1, 3), device(1, 8), device(1, 7), device(5, 0), device(1, 5), device(1, 9), device(5, 1),
            {"allow": true, "type": "c", "major": 136, "access": "rwm"}, device(5, 2)], "cpu": {"shares": 1024}}),
        // Docker
        json!({"devices": [deny, device(1, 5), {"allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
            {"allow": false, "type": "c", "major": 10, "minor": 229, "access": "rwm"}],
            "memory": {"disableOOMKiller": false}, "cpu": {"shares": 0}, "pids": {"limit": -1}, "blockIO": {"weight": 0}}),
        // Podman with --pids-limit=-1, CRI-O without a request
        json!({"devices": [deny], "pids": {}, "memory": {"limit": 0, "swap": 0}, "cpu": {"quota": 0, "period": 0, "cpus": "", "mems": ""},
            "hugepageLimits": [], "network": {}}),
        // A privileged container
        json!({"devices": [deny, {"allow": true, "access": "rwm"}]}),
    ] {
        bundle.spec["linux"]["resources"] = resources;
        let out = bundle.script("echo x > /dev/null && head -c 4 /dev/zero | wc -c; echo on").run();
        assert!(out.out.ends_with("on\n"), "{out:?}");
    }
    // The same where version 2 is mounted alone.
    let only = format!("mount --bind {} /sys/fs/cgroup;", mount().display());
    let out = bundle.script("echo on").run_after(&only).good();
    assert_eq!(out, "on\n");
}

#[test]
fn a_limit_is_kept_or_refused_with_the_reason() {
    let Some(mut bundle) = Bundle::new() else { return };
    for (controller, resources, file, value) in [
        ("pids", json!({"pids": {"limit": 20}}), "pids.max", "20"),
        ("memory", json!({"memory": {"limit": 100 << 20}}), "memory.max", "104857600"),
        ("cpu", json!({"cpu": {"quota": 20000, "period": 50000}}), "cpu.max", "20000 50000"),
        ("cpuset", json!({"cpu": {"cpus": "0"}}), "cpuset.cpus", "0"),
        ("memory", json!({"unified": {"memory.high": "104857600"}}), "memory.high", "104857600"),
    ] {
        bundle.spec["linux"]["resources"] = resources;
        bundle.args(&["sleep", "1000"]);
        if !has_controller(controller) {
            let ran = bundle.run();
            assert_ne!(ran.status, 0, "{ran:?}");
            let reason = format!(
                "the limit {file}={value} can't be done: the requested cgroup controller `{controller}` is not available"
            );
            assert!(ran.err.contains(&reason), "{ran:?}");
            eprintln!("SKIP: that {file} limits: no controller {controller} for version 2 here");
            continue;
        }
        let _running = bundle.start();
        let Some(cgroup) = cgroup_of(&bundle) else { return };
        assert_eq!(fs::read_to_string(cgroup.join(file)).unwrap().trim(), value);
    }
}

#[test]
fn huge_pages_are_limited_by_use_and_by_reservation() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !has_controller("hugetlb") {
        eprintln!("SKIP: no controller hugetlb for version 2 here");
        return;
    }
    let control = mount().join("cgroup.subtree_control");
    let before = fs::read_to_string(&control).unwrap();
    bundle.spec["linux"]["resources"] = json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]});
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let Some(cgroup) = cgroup_of(&bundle) else { return };
    let limits = ["hugetlb.2MB.max", "hugetlb.2MB.rsvd.max"]
        .map(|file| fs::read_to_string(cgroup.join(file)).unwrap().trim().to_owned());
    let (updated, message) =
        update(&bundle, &json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 2 << 20}]}));
    let after = fs::read_to_string(cgroup.join("hugetlb.2MB.max")).unwrap();
    let stats: Value = serde_json::from_str(&bundle.runtime(&["events", "--stats", "test"]).good()).unwrap();
    drop(running);
    if !before.contains("hugetlb") {
        // The host's tree as it was.
        let _ = fs::write(&control, "-hugetlb");
    }
    assert_eq!(limits, ["4194304", "4194304"]);
    assert!(updated, "{message}");
    assert_eq!(after.trim(), "2097152");
    assert_eq!(stats["data"]["hugetlb"]["2MB"]["usage"], json!(0));
}

#[test]
fn an_update_of_devices_takes_the_place_of_the_old_rules() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIP: no /dev/fuse, the device that any process may open");
        return;
    }
    bundle.spec["linux"]["devices"] = json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    let deny = json!({"allow": false, "access": "rwm"});
    let fuse = json!({"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"});
    bundle.spec["linux"]["resources"] = json!({"devices": [deny]});
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    if cgroup_of(&bundle).is_none() {
        return;
    }
    let opens = || running.exec(&[], &["sh", "-c", ": < /dev/fuse"]).status == 0;
    assert!(!opens());
    // Twice: a program that stays beside the new one would still forbid it.
    for _ in 0..2 {
        assert_eq!(update(&bundle, &json!({"devices": [deny, fuse]})), (true, String::new()));
        assert!(opens());
        assert_eq!(update(&bundle, &json!({"devices": [deny]})), (true, String::new()));
        assert!(!opens());
    }
    assert_eq!(
        update(&bundle, &json!({"devices": [{"allow": true, "access": "rwm"}]})),
        (true, String::new())
    );
    assert!(opens());
    // The container's own default devices stay, whatever the rules.
    assert_eq!(update(&bundle, &json!({"devices": [deny]})), (true, String::new()));
    assert_eq!(running.exec(&[], &["sh", "-c", "echo x > /dev/null"]).status, 0);
}

#[test]
fn an_update_that_cannot_be_done_changes_nothing() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    if cgroup_of(&bundle).is_none() {
        return;
    }
    let spec = || -> String {
        let text = fs::read(bundle.path().join("state/test/config.json")).unwrap();
        serde_json::from_slice::<Value>(&text).unwrap()["linux"]["resources"].to_string()
    };
    let before = spec();
    for (resources, reason) in [
        (json!({"cpu": {"realtimeRuntime": 5}}), "no limits for real-time scheduling"),
        (json!({"memory": {"swap": 5}}), "memory and swap together"),
        (json!({"unified": {"../memory.max": "5"}}), "has not the form CONTROLLER.VALUE `../memory.max`"),
        (json!([]), "it is the object"),
    ] {
        let (done, message) = update(&bundle, &resources);
        assert!(!done && message.contains(reason), "{resources}: {message}");
    }
    let ran = bundle.runtime(&["update", "--l3-cache-schema", "L3:0=f", "test"]);
    assert!(ran.status != 0 && ran.err.contains("without linux.intelRdt"), "{ran:?}");
    let ran = bundle.runtime(&["update", "--kernel-memory", "5m", "test"]);
    assert!(ran.status == 0 && ran.err.contains("warning"), "{ran:?}");
    assert_eq!(spec(), before);
    if has_controller("memory") {
        bundle.runtime(&["update", "--memory", "64m", "--pids-limit", "9", "test"]).good();
        assert!(spec().contains("67108864"));
        let (done, message) = update(&bundle, &json!({"memory": {"limit": 1, "checkBeforeUpdate": true}}));
        assert!(!done && message.contains("bytes are in use"), "{message}");
    } else {
        eprintln!("SKIP: that an update limits: no controller memory for version 2 here");
    }
}

#[test]
fn a_container_is_frozen_and_thawed_also_before_its_start() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.script("while :; do echo x >> /tmp/ticks; sleep 0.01; done").create();
    if cgroup_of(&bundle).is_none() {
        bundle.runtime(&["delete", "--force", "test"]);
        return;
    }
    bundle.runtime(&["pause", "test"]).good();
    assert_eq!(bundle.status(), "paused");
    assert_ne!(bundle.runtime(&["start", "test"]).status, 0, "starting what is frozen");
    assert_ne!(bundle.runtime(&["pause", "test"]).status, 0);
    bundle.runtime(&["resume", "test"]).good();
    assert_eq!(bundle.status(), "created");
    assert_ne!(bundle.runtime(&["resume", "test"]).status, 0);
    bundle.runtime(&["start", "test"]).good();
    let ticks = || fs::metadata(bundle.rootfs("tmp/ticks")).map_or(0, |m| m.len());
    eventually("a tick", || ticks() > 0);
    bundle.runtime(&["pause", "test"]).good();
    let then = ticks();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(ticks(), then, "it runs on");
    assert_ne!(bundle.runtime(&["exec", "test", "true"]).status, 0);
    bundle.runtime(&["resume", "test"]).good();
    eventually("another tick", || ticks() > then);
    // What is frozen can be killed.
    bundle.runtime(&["pause", "test"]).good();
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert_ne!(bundle.runtime(&["state", "test"]).status, 0);
}

/// A container that shares its caller's PID namespace, whose first process has started another one.
fn with_two_processes(script: &str) -> Option<(Bundle, PathBuf)> {
    let mut bundle = Bundle::new()?;
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    bundle.script(script).create();
    let cgroup = cgroup_of(&bundle);
    if cgroup.is_none() {
        bundle.runtime(&["delete", "--force", "test"]);
    }
    bundle.runtime(&["start", "test"]).good();
    cgroup.map(|cgroup| (bundle, cgroup))
}

fn processes(cgroup: &Path) -> usize {
    fs::read_to_string(cgroup.join("cgroup.procs")).map_or(0, |text| text.lines().count())
}

#[test]
fn without_a_pid_namespace_all_processes_are_reached() {
    let Some((bundle, cgroup)) = with_two_processes("sleep 1000 & sleep 1000; exit") else { return };
    eventually("two programs and their shell", || processes(&cgroup) == 3);
    bundle.runtime(&["kill", "test", "KILL"]).good();
    eventually("nobody", || processes(&cgroup) == 0);
    bundle.runtime(&["delete", "test"]).good();
    assert!(!cgroup.exists());

    let Some((bundle, cgroup)) = with_two_processes("sleep 1000 & sleep 1000; exit") else { return };
    eventually("two programs and their shell", || processes(&cgroup) == 3);
    bundle.runtime(&["kill", "--all", "test", "TERM"]).good();
    eventually("nobody", || processes(&cgroup) == 0);
    bundle.runtime(&["delete", "test"]).good();
}

#[test]
fn a_delete_ends_what_has_outlived_the_first_process() {
    let Some((bundle, cgroup)) = with_two_processes("sleep 1000 & exit") else { return };
    eventually("the end of the first", || bundle.status() == "stopped");
    assert_eq!(processes(&cgroup), 1);
    // Cgroups that the container might have made are no hindrance.
    fs::create_dir_all(cgroup.join("a/b")).unwrap();
    fs::write(cgroup.join("a/cgroup.procs"), fs::read_to_string(cgroup.join("cgroup.procs")).unwrap())
        .unwrap();
    bundle.runtime(&["delete", "test"]).good();
    assert!(!cgroup.exists());
    assert_ne!(bundle.runtime(&["state", "test"]).status, 0);

    // The same by a signal: a container that has stopped still has processes.
    let Some((bundle, cgroup)) = with_two_processes("sleep 1000 & exit") else { return };
    eventually("the end of the first", || bundle.status() == "stopped");
    assert_ne!(bundle.runtime(&["kill", "test", "KILL"]).status, 0);
    bundle.runtime(&["kill", "--all", "test", "KILL"]).good();
    eventually("nobody", || processes(&cgroup) == 0);
    bundle.runtime(&["delete", "test"]).good();
}

#[test]
fn processes_are_listed_as_ps_lists_them() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1234"]);
    let _running = bundle.start();
    if cgroup_of(&bundle).is_none() {
        return;
    }
    let pid = bundle.pid();
    for arguments in [&["ps", "--format", "json", "test"][..], &["ps", "test", "--format", "json"]] {
        let list: Value = serde_json::from_str(&bundle.runtime(arguments).good()).unwrap();
        assert_eq!(list, json!([pid]));
    }
    if !["/bin/ps", "/usr/bin/ps"].iter().any(|p| Path::new(p).exists()) {
        eprintln!("SKIP: no ps(1) for tables");
        return;
    }
    let table = bundle.runtime(&["ps", "test"]).good();
    assert!(
        table.starts_with("UID") && table.lines().count() == 2 && table.contains("sleep 1234"),
        "{table}"
    );
    let table = bundle.runtime(&["ps", "test", "-e", "-o", "pid,args"]).good();
    assert!(table.lines().nth(1).is_some_and(|l| l.trim_start().starts_with(&pid.to_string())), "{table}");
    let ran = bundle.runtime(&["ps", "test", "-e", "-o", "args"]);
    assert!(ran.status != 0 && ran.err.contains("a column PID"), "{ran:?}");
}

#[test]
fn a_program_runs_in_a_cgroup_below_the_containers() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let Some(cgroup) = cgroup_of(&bundle) else { return };
    fs::create_dir_all(cgroup.join("sub/below")).unwrap();
    let own = |path: &str| running.exec(&["--cgroup", path], &["grep", "^0:", "/proc/self/cgroup"]);
    assert_eq!(own("sub/below").good(), "0::/sub/below\n");
    assert_eq!(own("/sub").good(), "0::/sub\n");
    assert_eq!(own("/").good(), "0::/\n");
    for (path, reason) in [
        ("..", "can't contain .."),
        ("../..", "can't contain .."),
        ("none", "No such file"),
        ("cpu:sub", "version 2"),
    ] {
        let ran = own(path);
        assert!(ran.status != 0 && ran.err.contains(reason), "{path}: {ran:?}");
    }
}

#[test]
fn what_a_container_uses_is_told() {
    let Some(mut bundle) = Bundle::new() else { return };
    // A shell may become its last command: this one stays beside the other process.
    bundle.script("sleep 1000 & for i in $(seq 1000); do :; done; wait");
    let running = bundle.start();
    let Some(cgroup) = cgroup_of(&bundle) else { return };
    let event: Value = serde_json::from_str(&bundle.runtime(&["events", "--stats", "test"]).good()).unwrap();
    assert_eq!((&event["type"], &event["id"]), (&json!("stats"), &json!("test")));
    let data = &event["data"];
    assert!(data["cpu"]["usage"]["total"].as_u64().unwrap() > 0, "{data}");
    for member in ["cpu", "cpuset", "memory", "pids", "blkio", "hugetlb", "intel_rdt"] {
        assert!(data[member].is_object(), "{member}: {data}");
    }
    if Path::new("/proc/pressure/cpu").exists() {
        assert!(data["cpu"]["psi"]["some"]["total"].is_u64(), "{data}");
    }
    eventually("the shell and its sleep", || processes(&cgroup) == 2);
    if has_controller("pids") {
        eventually("two processes", || {
            let event = bundle.runtime(&["events", "--stats", "test"]).good();
            serde_json::from_str::<Value>(&event).unwrap()["data"]["pids"]["current"] == json!(2)
        });
    }
    // Again and again, until the container ends.
    let mut child =
        bundle.command("", &["events", "--interval", "50ms", "test"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut told: Vec<String> = lines.by_ref().take(2).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    drop(running);
    told.extend(lines);
    assert!(child.wait().unwrap().success(), "{told:?}");
    assert!(told.iter().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{told:?}");
    assert_ne!(bundle.runtime(&["events", "--interval", "0s", "test"]).status, 0);
}

#[test]
fn a_cgroup_with_processes_is_nobody_elses() {
    let (Some(mut first), Some(mut second)) = (Bundle::new(), Bundle::new()) else { return };
    first.args(&["sleep", "1000"]);
    let running = first.start();
    let Some(cgroup) = cgroup_of(&first) else { return };
    second.spec["linux"]["cgroupsPath"] = first.spec["linux"]["cgroupsPath"].clone();
    let ran = second.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("there are processes in this cgroup"), "{ran:?}");
    assert_eq!(processes(&cgroup), 1, "the first container must not suffer");
    drop(running);
    second.run().good();
}

/// The cgroup that a bundle asks for, made as a test wants it, and removed at its end.
struct Made(PathBuf);

impl Made {
    fn new(path: PathBuf) -> Option<Self> {
        if let Err(error) = fs::create_dir(&path) {
            eprintln!("SKIP: no cgroups can be made here: {error}");
            return None;
        }
        Some(Made(path))
    }

    /// `false`, said visibly: it can't be killed as a whole (before Linux 5.14).
    fn kill(&self) -> bool {
        let killed = fs::write(self.0.join("cgroup.kill"), "1");
        if let Err(error) = &killed {
            eprintln!("SKIP: no cgroup.kill here: {error}");
        }
        killed.is_ok()
    }
}

impl Drop for Made {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

/// Linux 6.18 kills whoever is born into a cgroup that was killed more or less often than its maker's.
#[test]
fn a_cgroup_that_was_killed_is_as_good_as_another() {
    let Some(mut bundle) = Bundle::new() else { return };
    let own = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
    let elsewhere = format!("{own}-caller");
    let enter = format!("echo $$ > {}/cgroup.procs;", mount().join(&elsewhere).display());
    let id_mapped = json!([{"containerID": 0, "hostID": 100_000, "size": 1000}]);
    // What the container's process and one executed in it see, and where they are.
    let script = "grep ^0: /proc/self/cgroup; echo on > /tmp/on; exec sleep 1000";
    for (target_killed, caller_killed, own_users) in [
        (true, false, false),
        (true, false, true),
        (false, true, false),
        (false, true, true),
        (true, true, false),
    ] {
        let case = format!("{target_killed} {caller_killed} {own_users}");
        let (Some(target), Some(caller)) =
            (Made::new(mount().join(&own)), Made::new(mount().join(&elsewhere)))
        else {
            return;
        };
        if (target_killed && !target.kill()) || (caller_killed && !caller.kill()) {
            return;
        }
        bundle.before = if caller_killed { enter.clone() } else { String::new() };
        if own_users {
            bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
            bundle.spec["linux"]["uidMappings"] = id_mapped.clone();
            bundle.spec["linux"]["gidMappings"] = id_mapped.clone();
            bundle.script("grep ^0: /proc/self/cgroup; exec sleep 1000");
        } else {
            bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "user");
            bundle.script(script);
        }
        let running = bundle.start();
        assert_eq!(cgroup_of(&bundle).unwrap(), target.0, "{case}");
        eventually("its word", || !bundle.log().is_empty());
        assert_eq!(bundle.log(), "0::/\n", "{case}");
        assert_eq!(running.exec(&[], &["grep", "^0:", "/proc/self/cgroup"]).good(), "0::/\n", "{case}");
        drop(running);
        assert!(!target.0.exists(), "{case}: it is left over");
    }
}

/// Whoever dies of its limit at birth dies once, and the reason is told.
#[test]
fn too_little_memory_to_begin_is_told() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !has_controller("memory") {
        eprintln!("SKIP: no controller memory for version 2 here");
        return;
    }
    bundle.spec["linux"]["resources"] = json!({"memory": {"limit": 4096}});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("out of memory"), "{ran:?}");
}

#[test]
fn a_container_that_may_make_cgroups_owns_its_own() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.add_mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "nodev", "noexec"]);
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000});
    bundle.args(&["sleep", "1000"]).create();
    let cgroup = cgroup_of(&bundle);
    let owner = |file: &str| {
        use std::os::unix::fs::MetadataExt;
        cgroup.as_ref().map(|c| fs::metadata(c.join(file)).unwrap().uid())
    };
    let owners =
        [".", "cgroup.procs", "cgroup.subtree_control", "cgroup.freeze", "cgroup.max.descendants"].map(owner);
    bundle.runtime(&["delete", "--force", "test"]).good();
    if cgroup.is_some() {
        assert_eq!(owners, [Some(1000), Some(1000), Some(1000), Some(0), Some(0)]);
    }
}

#[test]
fn the_systemd_driver_without_systemd_is_explained() {
    let Some(mut bundle) = Bundle::new() else { return };
    if Path::new("/run/dbus/system_bus_socket").exists() {
        eprintln!("SKIP: there is a system bus here, and systemd behind it perhaps");
        return;
    }
    for option in ["--systemd-cgroup", "--cgroup-manager=systemd"] {
        bundle.spec["linux"]["cgroupsPath"] = json!("system.slice:sampan:test");
        let path = bundle.path().to_str().unwrap().to_owned();
        bundle
            .args(&["true"])
            .create_fails(&[option, "create", "--bundle", &path, "test"], "--cgroup-manager=cgroupfs");
        bundle.spec["linux"]["cgroupsPath"] = json!("/a/path");
        bundle.create_fails(&[option, "create", "--bundle", &path, "test"], "slice:prefix:name");
        bundle.spec["linux"]["cgroupsPath"] = json!("system.slice:sampan:test");
        bundle.spec["annotations"] = json!({"org.systemd.property.SuccessAction": "'poweroff-force'"});
        bundle.create_fails(&[option, "create", "--bundle", &path, "test"], "may not set this property");
        bundle.spec["annotations"] = json!({});
    }
    // Nobody is to call what the driver calls.
    let mut program = std::process::Command::new(env!("CARGO_BIN_EXE_sampan-scope"));
    let output = program.stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && message.contains("a part of sampan-runtime"), "{message}");
}
