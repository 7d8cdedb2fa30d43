//! What callers of runc and crun count on besides the containers themselves: words, formats, files, exit statuses.

mod bundle;

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bundle::{Bundle, Ran, eventually};
use serde_json::{Value, json};

#[track_caller]
fn fails(ran: Ran, words: &str) {
    assert!(ran.status == 1 && ran.err.contains(words), "{words}: {ran:?}");
}

/// containerd takes "container not running" and "no such process" for ended, "does not exist" for deleted; Podman and
/// Buildah look for "does not exist", too.
#[test]
fn errors_have_the_words_that_clients_look_for() {
    let Some(mut bundle) = Bundle::new() else { return };
    for command in ["state", "start", "kill", "delete", "pause", "resume", "exec", "ps"] {
        fails(bundle.runtime(&[command, "nobody"]), "container does not exist");
    }
    bundle.runtime(&["delete", "--force", "nobody"]).good();
    bundle.args(&["sleep", "1000"]).create();
    let path = bundle.path().to_str().unwrap().to_owned();
    fails(bundle.runtime(&["create", "--bundle", &path, "test"]), "container with given ID already exists");
    assert_eq!(bundle.status(), "created");
    bundle.runtime(&["start", "test"]).good();
    fails(bundle.runtime(&["start", "test"]), "cannot start an already running container");
    fails(bundle.runtime(&["delete", "test"]), "that is not stopped");
    bundle.runtime(&["kill", "test", "KILL"]).good();
    bundle.wait_for("stopped");
    fails(bundle.runtime(&["kill", "test"]), "container not running");
    fails(bundle.runtime(&["exec", "test", "true"]), "cannot exec in a stopped container");
    fails(bundle.runtime(&["start", "test"]), "cannot start a container that has stopped");
    bundle.runtime(&["delete", "test"]).good();
}

/// Docker and Kubernetes look for the first, Podman for either; the name has to be there for Docker.
#[test]
fn a_missing_program_is_told_as_runc_tells_it() {
    let Some(mut bundle) = Bundle::new() else { return };
    let ran = bundle.args(&["no-such-program"]).run();
    let words = "exec: \"no-such-program\": executable file not found in $PATH: No such file or directory";
    assert!(ran.status == 127 && ran.err.contains(words), "{ran:?}");
    let ran = bundle.args(&["/no/such/program"]).run();
    let words = "exec: \"/no/such/program\": stat /no/such/program: No such file or directory";
    assert!(ran.status == 127 && ran.err.contains(words), "{ran:?}");
    let ran = bundle.args(&["/bin"]).run();
    assert!(ran.status == 126 && ran.err.contains("exec: \"/bin\": "), "{ran:?}");
}

#[test]
fn the_state_is_the_document_that_runc_prints() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["annotations"] = json!({"org.example": "x"});
    bundle.args(&["sleep", "1000"]).create();
    let text = bundle.runtime(&["state", "test"]).good();
    let keys = ["ociVersion", "id", "pid", "status", "bundle", "rootfs", "created", "annotations", "owner"];
    let places: Vec<_> = keys.iter().map(|key| text.find(&format!("\"{key}\": ")).unwrap()).collect();
    assert!(places.is_sorted(), "{text}");
    let state: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(state["pid"], bundle.pid());
    assert_eq!(state["owner"], "");
    assert_eq!(state["bundle"], bundle.path().to_str().unwrap());
    let list: Value = serde_json::from_str(&bundle.runtime(&["list", "-f", "json"]).good()).unwrap();
    assert_eq!((&list[0]["id"], &list[0]["owner"]), (&json!("test"), &json!("root")));
    assert_eq!(bundle.runtime(&["list", "-q"]).good(), "test\n");
    let table = bundle.runtime(&["list"]).good();
    let heads: Vec<_> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(heads, ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    bundle.runtime(&["delete", "-f", "test"]).good();
    bundle.spec["annotations"] = Value::Null;
    bundle.create();
    assert!(!bundle.runtime(&["state", "test"]).good().contains("annotations"));
    bundle.runtime(&["delete", "-f", "test"]).good();
}

/// What the specification ("Features") has a document for, and how Podman finds out what a runtime can do.
#[test]
fn features_are_told() {
    let Some(bundle) = Bundle::new() else { return };
    let features: Value = serde_json::from_str(&bundle.runtime(&["features"]).good()).unwrap();
    for pointer in [
        "/ociVersionMin",
        "/ociVersionMax",
        "/hooks/5",
        "/mountOptions/0",
        "/linux/namespaces/6",
        "/linux/capabilities/40",
        "/linux/cgroup/v2",
        "/linux/cgroup/systemdUser",
        "/linux/seccomp/knownFlags/0",
        "/linux/seccomp/supportedFlags/0",
        "/linux/apparmor/enabled",
        "/linux/selinux/enabled",
        "/linux/intelRdt/enabled",
        "/linux/mountExtensions/idmap/enabled",
        "/linux/netDevices/enabled",
        "/linux/memoryPolicy",
        "/annotations/io.github.seccomp.libseccomp.version",
        "/potentiallyUnsafeConfigAnnotations/0",
    ] {
        assert!(features.pointer(pointer).is_some(), "{pointer}: {features:#}");
    }
    bundle.runtime(&["checkpoint", "--help"]).good();
    fails(bundle.runtime(&["restore", "--lsm-mount-context"]), "flag needs an argument");
    assert!(bundle.runtime(&["--version"]).good().starts_with("sampan-runtime version "));
}

#[test]
fn a_beginning_of_an_id_is_not_the_id() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]).create();
    fails(bundle.runtime(&["state", "tes"]), "does not exist");
    bundle.runtime(&["delete", "--force", "tes"]).good();
    assert_eq!(bundle.status(), "created");
    bundle.runtime(&["delete", "test"]).good();
}

#[test]
fn ids_are_those_of_runc() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["true"]).write();
    let path = bundle.path().to_str().unwrap().to_owned();
    for id in ["a", "_a", "+a", "-a", "A.b_c+d-e", "0"] {
        bundle.runtime(&["run", "--bundle", &path, "--", id]).good();
    }
    for id in ["", ".", "..", "a/b", "a b", "ä", "a:b", ".hidden"] {
        fails(bundle.runtime(&["run", "--bundle", &path, "--", id]), "invalid id format");
    }
}

#[test]
fn errors_go_to_the_log_as_callers_read_it() {
    let Some(bundle) = Bundle::new() else { return };
    let log = bundle.path().join("log.json");
    let file = format!("file:{}", log.display());
    for target in [log.to_str().unwrap(), &file] {
        let _ = fs::remove_file(&log);
        // Also what is wrong with the command line itself.
        for words in [&["state", "nobody"][..], &["create", "--frobnicate"]] {
            let words: Vec<&str> =
                ["--log", target, "--log-format", "json"].iter().chain(words).copied().collect();
            assert_eq!(bundle.runtime(&words).status, 1);
        }
        let text = fs::read_to_string(&log).unwrap();
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{text}");
        for line in &lines {
            assert_eq!(line["level"], "error");
            assert!(line["time"].as_str().unwrap().ends_with('Z') && line["msg"].is_string(), "{line}");
        }
        assert!(lines[0]["msg"].as_str().unwrap().contains("does not exist"));
    }
}

#[test]
fn a_variable_of_exec_takes_the_place_of_the_containers() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "A=1", "AB=2"]);
    let running = bundle.args(&["sleep", "1000"]).start();
    let out = running.exec(&["--env", "A=3", "-e", "C=4", "-e", "C=5"], &["env"]).good();
    let mut lines: Vec<_> = out.lines().filter(|line| line.starts_with(['A', 'C'])).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["A=3", "AB=2", "C=5"], "{out}");
}

/// The words are runc's.
#[test]
fn links_for_proc_and_sys_are_told_as_runc_tells_it() {
    let Some(mut bundle) = Bundle::new() else { return };
    for name in ["proc", "sys"] {
        std::os::unix::fs::symlink("tmp", bundle.rootfs(name)).unwrap();
        let ran = bundle.args(&["true"]).run();
        assert!(
            ran.status == 1 && ran.err.contains("must be mounted on ordinary directory"),
            "{name}: {ran:?}"
        );
        fs::remove_file(bundle.rootfs(name)).unwrap();
    }
}

/// Nobody would read there what went wrong.
#[test]
fn a_log_that_cannot_be_opened_is_an_error() {
    let Some(bundle) = Bundle::new() else { return };
    for target in ["/no/such/directory/log", "invalid:/path", "file:/no/such/directory/log"] {
        fails(bundle.runtime(&["--log", target, "list"]), "--log: open(");
    }
    bundle.runtime(&["--log", "/dev/null", "list"]).good();
}

/// Test suites of others take that word for the sign of an error.
#[test]
fn errors_are_called_errors() {
    let Some(bundle) = Bundle::new() else { return };
    let ran = bundle.runtime(&["delete", "nobody"]);
    assert!(ran.err.starts_with("sampan-runtime: error: container does not exist"), "{ran:?}");
}

#[test]
fn mistakes_in_a_configuration_have_a_place() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["true"]).write();
    let config = bundle.path().join("config.json");
    let path = bundle.path().to_str().unwrap().to_owned();
    let run = || bundle.runtime(&["run", "--bundle", &path, "test"]);
    let good: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
    fs::write(&config, "{\n  \"ociVersion\": \"1.0.2\",\n  oops\n}").unwrap();
    fails(run(), "line 3 column 3");
    for (pointer, field) in [("", "ociVersion"), ("/root", "path"), ("/mounts/0", "destination")] {
        let mut value = good.clone();
        value.pointer_mut(pointer).unwrap().as_object_mut().unwrap().remove(field);
        fs::write(&config, value.to_string()).unwrap();
        fails(run(), field);
    }
    for field in ["process", "root", "linux"] {
        let mut value = good.clone();
        value.as_object_mut().unwrap().remove(field);
        fs::write(&config, value.to_string()).unwrap();
        fails(run(), &format!("\"{field}\""));
    }
    // Unknown fields are ignored ("Extensibility").
    let mut value = good.clone();
    value["org.example.future"] = json!({"x": [1]});
    value["process"]["future"] = json!(true);
    fs::write(&config, value.to_string()).unwrap();
    run().good();
    fs::remove_file(&config).unwrap();
    fails(run(), "config.json");
    // Another name for it.
    let other = bundle.path().join("other.json");
    fs::write(&other, good.to_string()).unwrap();
    bundle.runtime(&["run", "--config", other.to_str().unwrap(), "--bundle", &path, "test"]).good();
}

#[test]
fn sockets_of_systemd_arrive() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.script("echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES; readlink /proc/self/fd/3; true");
    let before = "exec 3</etc/hostname 4</dev/null; export LISTEN_FDS=1 LISTEN_PID=$$ LISTEN_FDNAMES=web;";
    let out = bundle.run_after(before).good();
    assert!(out.starts_with("1 1 web\n") && out.contains("hostname"), "{out}");
    // Sockets of someone else are not passed on; without a process id they are meant for who is called.
    let out = bundle.run_after("exec 3</etc/hostname; export LISTEN_FDS=1 LISTEN_PID=1;").good();
    assert_eq!(out, "\n");
    let out = bundle.run_after("exec 3</etc/hostname; export LISTEN_FDS=1; unset LISTEN_PID;").good();
    assert!(out.starts_with("1 1\n") && out.contains("hostname"), "{out}");
    // As many as were said, but none of ours where fewer came.
    bundle.script("ls /proc/self/fd | wc -l");
    let out = bundle.run_after("export LISTEN_FDS=3; unset LISTEN_PID;").good();
    assert_eq!(out, "4\n", "0, 1, 2 and the folder itself");
}

/// The container tells that it is ready, and what else it tells stays with it: a uid-0 container could name any process
/// as the service's main one.
#[test]
fn readiness_is_all_that_is_passed_on() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (host, caller) = (bundle.path().join("host.sock"), bundle.path().to_str().unwrap().to_owned());
    let socket = UnixDatagram::bind(&host).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    // busybox can't send datagrams to a socket of the file system; the test does it from outside, where the
    // container's file is.
    bundle.script("echo $NOTIFY_SOCKET; test -S $NOTIFY_SOCKET && echo there; ls /run; sleep 1000");
    bundle.write();
    let log = fs::File::create(bundle.path().join("log")).unwrap();
    let export = format!("export NOTIFY_SOCKET={};", host.display());
    let mut create = bundle.command(&export, &["create", "--bundle", &caller, "test"]);
    let status = create.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status().unwrap();
    assert!(status.success(), "{}", bundle.log());
    let mut start = bundle.command(&export, &["start", "test"]).spawn().unwrap();
    let inside = bundle.path().join("state/test/notify/notify.sock");
    bundle.wait_for_log("there\n");
    assert!(bundle.log().starts_with("/run/notify/notify.sock\nthere\n"), "{}", bundle.log());
    assert!(!bundle.log().contains("host.sock"));
    let say = |text: &str| UnixDatagram::unbound().unwrap().send_to(text.as_bytes(), &inside).unwrap();
    say("MAINPID=1\nSTATUS=starting");
    assert!(start.try_wait().unwrap().is_none(), "start ended before the container was ready");
    say("STATUS=up\nREADY=1\nMAINPID=1");
    assert!(start.wait().unwrap().success());
    let mut buffer = [0; 1000];
    let length = socket.recv(&mut buffer).unwrap();
    let state: Value = serde_json::from_str(&bundle.runtime(&["state", "test"]).good()).unwrap();
    assert_eq!(String::from_utf8_lossy(&buffer[..length]), format!("READY=1\nMAINPID={}\n", state["pid"]));
    socket.set_nonblocking(true).unwrap();
    assert!(socket.recv(&mut buffer).is_err(), "more was passed on");
    let out = bundle.runtime(&["exec", "test", "env"]).good();
    assert!(!out.contains("NOTIFY_SOCKET"), "{out}");
    bundle.runtime(&["delete", "--force", "test"]).good();
}

/// A container that ends without a word doesn't hold `start`.
#[test]
fn who_is_never_ready_ends() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.script("sleep 0.2; exit 3");
    let host = bundle.path().join("host.sock");
    let _socket = UnixDatagram::bind(&host).unwrap();
    let ran = bundle.run_after(&format!("export NOTIFY_SOCKET={};", host.display()));
    assert_eq!(ran.status, 3, "{ran:?}");
}

/// What is sent to the runtime in the foreground is meant for the program.
#[test]
fn signals_are_passed_on() {
    let Some(mut bundle) = Bundle::new() else { return };
    let trap = "trap 'exit 7' TERM; trap 'echo one' USR1; echo up; while :; do sleep 0.05; done";
    bundle.script(trap).write();
    let path = bundle.path().to_str().unwrap().to_owned();
    let passes = |bundle: &Bundle, mut command: std::process::Command| {
        let log = fs::File::create(bundle.path().join("log")).unwrap();
        let mut runtime = command.stdin(Stdio::null()).stdout(log).spawn().unwrap();
        let pid = nix::unistd::Pid::from_raw(runtime.id() as i32);
        bundle.wait_for_log("up");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGUSR1).unwrap();
        bundle.wait_for_log("one");
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert_eq!(runtime.wait().unwrap().code(), Some(7));
    };
    passes(&bundle, bundle.command("", &["run", "--bundle", &path, "test"]));
    assert_eq!(bundle.runtime(&["list", "-q"]).good(), "");
    bundle.args(&["sleep", "1000"]);
    let _running = bundle.start();
    passes(&bundle, bundle.command("", &["exec", "test", "sh", "-c", trap]));
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]).write();
    let path = bundle.path().to_str().unwrap();
    for options in [&["--pid-file", "/no/such/folder/pid"][..], &["--console-socket", "/no/such/socket"]] {
        let words: Vec<&str> =
            ["run", "--bundle", path].iter().chain(options).chain(&["test"]).copied().collect();
        assert_eq!(bundle.runtime(&words).status, 1);
        assert_eq!(bundle.runtime(&["list", "-q"]).good(), "", "{options:?}");
    }
}

#[test]
fn the_process_id_is_in_the_file_before_create_ends() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.args(&["sleep", "1000"]).create();
    assert!(Path::new(&format!("/proc/{}", bundle.pid())).exists());
    bundle.runtime(&["delete", "test"]).good();
}

#[test]
fn containers_are_deleted_by_a_pattern() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (path, cgroup) =
        (bundle.path().to_str().unwrap().to_owned(), bundle.spec["linux"]["cgroupsPath"].clone());
    let create = |id: &str| {
        bundle.spec["linux"]["cgroupsPath"] = json!(format!("{}-{id}", cgroup.as_str().unwrap()));
        bundle.args(&["sleep", "1000"]).write();
        let log = fs::File::create(bundle.path().join("log")).unwrap();
        let mut command = bundle.command("", &["create", "--bundle", &path, id]);
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        assert!(command.status().unwrap().success(), "{}", bundle.log());
    };
    ["web-1", "web-2", "other"].into_iter().for_each(create);
    bundle.runtime(&["start", "web-2"]).good();
    // Those that run stay, and are told of.
    let ran = bundle.runtime(&["delete", "--regex", "^web-[0-9]+$"]);
    assert!(ran.status == 1 && ran.err.contains("container \"web-2\" that is not stopped"), "{ran:?}");
    assert_eq!(bundle.runtime(&["list", "--quiet"]).good(), "other\nweb-2\n");
    bundle.runtime(&["delete", "--force", "-r", "web-*"]).good();
    assert_eq!(bundle.runtime(&["list", "--quiet"]).good(), "other\n");
    fails(bundle.runtime(&["delete", "--force", "--regex", "("]), "regular expression");
    bundle.runtime(&["delete", "--force", "--regex", "."]).good();
    assert_eq!(bundle.runtime(&["list", "--quiet"]).good(), "");
}

/// Callers of crun and runc see no container before it is created, and count on "created" when they see one.
#[test]
fn whoever_asks_early_waits_a_moment() {
    let Some(mut bundle) = Bundle::new() else { return };
    let ready = bundle.path().join("ready");
    let script = format!("touch {}; sleep 0.2", ready.display());
    bundle.spec["hooks"] = json!({"createRuntime": [
        {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}
    ]});
    bundle.args(&["sleep", "1000"]);
    std::thread::scope(|scope| {
        scope.spawn(|| bundle.create());
        eventually("the hook", || ready.exists());
        assert_eq!(bundle.status(), "created");
    });
    bundle.runtime(&["delete", "--force", "test"]).good();
}

/// Annotations of crun that its callers use.
#[test]
fn annotations_of_crun_count() {
    let Some(mut bundle) = Bundle::new() else { return };
    // Podman's --group-add keep-groups.
    bundle.spec["process"]["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7]});
    bundle.spec["annotations"] = json!({"run.oci.keep_original_groups": "1"});
    bundle.script("id -G; sleep 1000");
    let with_groups = "set -- setpriv --groups 3001,3002 \"$@\";";
    bundle.before = with_groups.into();
    let running = bundle.start();
    bundle.wait_for_log("3002\n");
    assert_eq!(bundle.log(), "1000 3001 3002\n");
    assert_eq!(running.exec(&[], &["id", "-G"]).good(), "1000 3001 3002\n");
    drop(running);
    bundle.spec["annotations"] = json!({"run.oci.keep_original_groups": "0"});
    bundle.args(&["id", "-G"]);
    assert_eq!(bundle.run().good(), "1000 7\n");

    // Whoever is told of a mistake only if it is in no cache isn't.
    bundle.spec["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["no_such_call"], "action": "SCMP_ACT_ERRNO"}],
    });
    bundle.run().good();
    bundle.spec["annotations"] = json!({"run.oci.seccomp_fail_unknown_syscall": "1"});
    fails(bundle.run(), "no_such_call");
    bundle.spec["linux"]["seccomp"] = Value::Null;

    // A warning for those that aren't done, and for no others.
    bundle.spec["annotations"] = json!({"run.oci.handler": "krun", "run.com": "x"});
    let ran = bundle.run();
    assert!(ran.status == 0 && ran.err.contains("run.oci.handler has no effect"), "{ran:?}");
    assert!(!ran.err.contains("run.com"), "{ran:?}");
}
