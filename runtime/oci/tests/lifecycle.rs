//! What the OCI runtime specification says, clause by clause, on a real program in a real container.

mod bundle;

use std::fs;
use std::path::Path;

use bundle::Bundle;
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
fn create_start_kill_delete() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]).create();
    assert_eq!(bundle.status(), "created");
    assert_ne!(bundle.runtime(&["delete", "other"]).status, 0);
    bundle.runtime(&["start", "test"]).good();
    assert_eq!(bundle.status(), "running");
    assert_ne!(bundle.runtime(&["start", "test"]).status, 0, "a second start");
    assert_ne!(bundle.runtime(&["delete", "test"]).status, 0, "deleting what runs");
    assert!(Path::new(&format!("/proc/{}", bundle.pid())).exists());
    bundle.runtime(&["kill", "test", "KILL"]).good();
    for _ in 0..200 {
        if bundle.status() == "stopped" {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_ne!(bundle.runtime(&["kill", "test", "TERM"]).status, 0, "killing what has stopped");
    bundle.runtime(&["delete", "test"]).good();
    assert_ne!(bundle.runtime(&["state", "test"]).status, 0);
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
fn identity_is_exactly_what_was_asked_for() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["user"] =
        json!({"uid": 1000, "gid": 1001, "additionalGids": [7, 8], "umask": 0o27});
    let out = bundle.script("id; umask; grep -E '^(Cap|Groups|NoNew)' /proc/self/status").run().good();
    assert!(out.contains("uid=1000 gid=1001 groups=7,8"), "{out}");
    assert!(out.contains("0027"), "{out}");
    assert!(out.contains("Groups:\t7 8 \n"), "{out}");
    // Another user than root loses capabilities at execve, and the bounding set stays.
    assert!(out.contains("CapEff:\t0000000000000000"), "{out}");
    assert!(out.contains("CapBnd:\t00000000800405fb"), "{out}");
    assert!(out.contains("NoNewPrivs:\t0"), "{out}");
}

#[test]
fn capabilities_in_all_five_sets() {
    let Some(mut bundle) = Bundle::new() else { return };
    let set = json!(["CAP_CHOWN", "CAP_NET_BIND_SERVICE"]);
    bundle.spec["process"]["user"] = json!({"uid": 5, "gid": 5});
    bundle.spec["process"]["noNewPrivileges"] = json!(true);
    bundle.spec["process"]["capabilities"] = json!({
        "bounding": ["CAP_CHOWN", "CAP_NET_BIND_SERVICE", "CAP_KILL"],
        "permitted": set, "effective": set, "inheritable": set, "ambient": ["CAP_CHOWN"],
    });
    let out = bundle.script("grep -E '^(Cap|NoNew)' /proc/self/status").run().good();
    for (name, value) in [("Inh", 0x401), ("Prm", 1), ("Eff", 1), ("Bnd", 0x421), ("Amb", 1)] {
        assert!(out.contains(&format!("Cap{name}:\t{value:016x}")), "{name}: {out}");
    }
    assert!(out.contains("NoNewPrivs:\t1"), "{out}");
}

#[test]
fn filters_are_loaded_with_and_without_privileges() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat", "no_such_call"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    for privileged in [true, false] {
        bundle.spec["process"]["noNewPrivileges"] = json!(!privileged);
        let ran = bundle.script("grep Seccomp: /proc/self/status; mkdir /tmp/x").run();
        assert!(ran.out.contains("Seccomp:\t2"), "{ran:?}");
        assert!(ran.err.contains("not supported"), "{ran:?}");
    }
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
fn devices_and_links() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["devices"] = json!([{"path": "/dev/sub/extra", "type": "c", "major": 1, "minor": 7, "fileMode": 0o640, "uid": 3, "gid": 4}]);
    let script = "stat -c '%n %F %t,%T %a %u:%g' /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty /dev/sub/extra
        for l in fd stdin stdout stderr ptmx; do echo $l $(readlink /dev/$l); done";
    let out = bundle.script(script).run().good();
    for line in [
        "/dev/null character special file 1,3 666 0:0",
        "/dev/tty character special file 5,0 666 0:0",
        "/dev/sub/extra character special file 1,7 640 3:4",
        "fd /proc/self/fd",
        "stderr /proc/self/fd/2",
        "ptmx pts/ptmx",
    ] {
        assert!(out.contains(line), "{line}: {out}");
    }
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
fn masks_and_read_only_paths() {
    let Some(mut bundle) = Bundle::new() else { return };
    fs::write(bundle.rootfs("secret"), "secret").unwrap();
    fs::create_dir(bundle.rootfs("hidden")).unwrap();
    fs::write(bundle.rootfs("hidden/file"), "secret").unwrap();
    bundle.spec["linux"]["maskedPaths"] = json!(["/secret", "/hidden", "/proc/timer_list", "/no/such/path"]);
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/tmp", "/no/such/path"]);
    let script = "cat /secret /proc/timer_list; ls -A /hidden; touch /hidden/x /tmp/x; echo 1 > /proc/sys/kernel/msgmax";
    let ran = bundle.script(script).run();
    assert_eq!(ran.out, "", "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 3, "{ran:?}");
}

#[test]
fn names_sysctls_limits_and_score() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["hostname"] = json!("inside");
    bundle.spec["domainname"] = json!("example");
    bundle.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel.msgmax": "4000"});
    bundle.spec["process"]["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200}]);
    bundle.spec["process"]["oomScoreAdj"] = json!(321);
    let files = "/proc/sys/kernel/domainname /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/msgmax /proc/self/oom_score_adj";
    let out = bundle.script(&format!("hostname; cat {files}; ulimit -n; ulimit -Hn")).run().good();
    assert_eq!(out, "inside\nexample\n1\n4000\n321\n100\n200\n");
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
fn a_user_namespace_is_mapped() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 10}, {"containerID": 10, "hostID": 100_010, "size": 100}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    let script = "sed 's/  */ /g' /proc/self/uid_map; id; echo x > /dev/null && echo written";
    let out = bundle.script(script).run().good();
    assert!(
        out.contains(" 0 0 10\n 10 100010 100\n") && out.contains("uid=0") && out.contains("written"),
        "{out}"
    );
}

#[test]
fn a_terminal_is_the_standard_streams() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["terminal"] = json!(true);
    let out = bundle.script("tty; stat -c '%t,%T' /dev/console; readlink /proc/self/fd/2").run().good();
    assert_eq!(out.replace('\r', ""), "/dev/pts/0\n88,0\n/dev/pts/0\n");
}

#[test]
fn hooks_run_in_order_and_see_the_state() {
    let Some(mut bundle) = Bundle::new() else { return };
    let log = bundle.path().join("hooks");
    let hook = |name: &str| {
        let script = format!("echo {name} $(sed 's/.*\"status\":\"//; s/\".*//') >> {}", log.display());
        json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}])
    };
    let points = ["prestart", "createRuntime", "createContainer", "poststart", "poststop"];
    bundle.spec["hooks"] =
        points.iter().map(|p| ((*p).to_owned(), hook(p))).collect::<serde_json::Map<_, _>>().into();
    bundle.spec["hooks"]["startContainer"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "echo startContainer > /tmp/started"]}]);
    bundle.script("cat /tmp/started; sleep 1000");
    drop({
        bundle.create();
        bundle.runtime(&["start", "test"]).good();
        bundle.runtime(&["kill", "test", "KILL"]).good();
        bundle.runtime(&["delete", "--force", "test"]).good()
    });
    let lines = fs::read_to_string(&log).unwrap();
    let wanted = "prestart creating\ncreateRuntime creating\ncreateContainer creating\npoststart running\npoststop stopped\n";
    assert_eq!(lines, wanted);
}

#[test]
fn a_hook_that_fails_ends_the_start() {
    let Some(mut bundle) = Bundle::new() else { return };
    for point in ["createRuntime", "createContainer"] {
        bundle.spec["hooks"] = json!({point: [{"path": "/bin/false"}]});
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains(&format!("{point} hook /bin/false")), "{ran:?}");
    }
    bundle.spec["hooks"] =
        json!({"createRuntime": [{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]});
    let ran = bundle.run();
    assert!(ran.status != 0 && ran.err.contains("no end after 1 s"), "{ran:?}");
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
fn device_rules_hold_for_nodes_that_the_container_makes() {
    let Some(mut bundle) = Bundle::new() else { return };
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_MKNOD"));
    }
    bundle.spec["linux"]["resources"]["devices"] = json!([
        {"allow": false, "access": "rwm"},
        {"allow": true, "type": "c", "major": 10, "minor": 229, "access": "r"},
    ]);
    if !Path::new("/dev/fuse").exists() {
        eprintln!("SKIP: no /dev/fuse, the device that any process may open");
        return;
    }
    let script = "mknod /tmp/fuse c 10 229; mknod /tmp/mem c 1 1
        (: < /tmp/fuse) && echo read; (: < /tmp/mem); (: > /tmp/fuse); exit 0";
    let ran = bundle.script(script).run();
    if ran.err.contains("has no cgroup of its own") {
        eprintln!("SKIP: no cgroups can be made here");
        return;
    }
    assert_eq!(ran.out, "read\n", "{ran:?}");
    assert_eq!(ran.err.matches("Operation not permitted").count(), 2, "{ran:?}");

    let path = bundle.path().to_str().unwrap();
    let ran = bundle.runtime(&["--cgroup-manager", "disabled", "run", "--bundle", path, "test"]);
    assert!(ran.status != 0 && ran.err.contains("CAP_MKNOD"), "{ran:?}");
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
fn exec_in_a_user_namespace() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 100}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    let running = bundle.args(&["sleep", "1000"]).start();
    let out = running.exec(&[], &["sh", "-c", "id; readlink /proc/self/ns/user"]).good();
    assert!(out.starts_with("uid=0 gid=0"), "{out}");
}

#[test]
fn descriptors_are_passed_only_if_asked_for() {
    let Some(mut bundle) = Bundle::new() else { return };
    // The shell's listing has the three standard streams and the listing itself.
    bundle.script("cd /proc/self/fd && ls");
    let before = "exec 3</etc 4</etc 7</etc;";
    assert_eq!(bundle.run_after(before).good(), "0\n1\n2\n3\n");
    let path = bundle.path().to_str().unwrap().to_owned();
    let ran =
        bundle.command(before, &["run", "--preserve-fds", "2", "--bundle", &path, "test"]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&ran.stdout), "0\n1\n2\n3\n4\n5\n");
}

#[test]
fn what_is_not_supported_is_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    let cases: [(&str, Value); 5] = [
        ("/linux/intelRdt", json!({"closID": "x"})),
        ("/process/scheduler", json!({"policy": "SCHED_ISO"})),
        ("/process/selinuxLabel", json!("system_u:system_r:container_t:s0")),
        ("/linux/namespaces", json!([{"type": "pid"}])),
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

#[test]
fn a_user_namespace_is_joined_by_its_path() {
    let Some(mut bundle) = Bundle::new() else { return };
    let script = "echo; exec sleep 100";
    let mut holder = std::process::Command::new("unshare")
        .args(["--user", "--net", "sh", "-c", script])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    // Its line says that the namespaces are there.
    std::io::Read::read(holder.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", holder.id());
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", holder.id()), "0 0 65536").unwrap();
    }
    let space = |kind: &str| fs::read_link(path(kind)).unwrap().to_str().unwrap().to_owned();
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "network");
    namespaces.push(json!({"type": "user", "path": path("user")}));
    namespaces.push(json!({"type": "network", "path": path("net")}));
    // The network belongs to the users that were joined, and so does the PID namespace that is new: only then can
    // /sys and /proc be mounted.
    let out = bundle.script("cd /proc/self/ns; readlink user; readlink net; ls /sys/class/net; id -u").run();
    assert_eq!(out.good(), format!("{}\n{}\nlo\n0\n", space("user"), space("net")));
    let ran = bundle.args(&["no-such-program"]).run();
    assert_eq!(ran.status, 127, "{ran:?}");
    holder.kill().unwrap();
    holder.wait().unwrap();
}
