//! Hooks: where each of the six kinds runs, what it is told, and what is undone when one fails.

mod bundle;

use std::fs;
use std::path::Path;

use bundle::Bundle;
use serde_json::{Value, json};

const POINTS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// A hook that writes its input and what it sees of its surroundings to `<directory>/<point>.{json,env}`.
fn witness(directory: &str, point: &str) -> Value {
    let script = format!(
        "cat > {directory}/{point}.json; {{ pwd; echo $0 $1 $A; env | wc -l; readlink /proc/self/ns/mnt
        readlink /proc/self/ns/net; readlink /proc/self/ns/uts; test -e /boot; echo $?; }} > {directory}/{point}.env"
    );
    // The first argument is the name of the program, which busybox goes by.
    json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["A=b", "PATH=/usr/bin:/bin"]})
}

/// A bundle with a witness at every point. Those of the container's own file system see another directory.
fn witnesses() -> Option<Bundle> {
    let mut bundle = Bundle::new()?;
    let directory = bundle.path().to_str().unwrap().to_owned();
    for point in POINTS {
        let place = if point == "startContainer" { "/tmp" } else { &directory };
        bundle.spec["hooks"][point] = json!([witness(place, point)]);
    }
    bundle.spec["annotations"] = json!({"a": "b"});
    Some(bundle)
}

fn read(bundle: &Bundle, point: &str) -> (Value, Vec<String>) {
    let directory = if point == "startContainer" { bundle.rootfs("tmp") } else { bundle.path().to_owned() };
    let text = |end: &str| {
        let path = directory.join(format!("{point}.{end}"));
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    };
    (serde_json::from_str(&text("json")).unwrap(), text("env").lines().map(str::to_owned).collect())
}

/// The host's programs have the caller's environment, those of the container its program's: what the image says must
/// not reach the former (CVE-2025-23266).
#[test]
fn without_an_environment_hooks_have_that_of_their_side() {
    let Some(mut bundle) = witnesses() else { return };
    let directory = bundle.path().to_str().unwrap().to_owned();
    for point in POINTS {
        let place = if point == "startContainer" { "/tmp" } else { &directory };
        let script = format!("env > {place}/{point}.env");
        bundle.spec["hooks"][point] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    }
    bundle.spec["process"]["env"] = json!(["PATH=/bin", "LD_PRELOAD=/evil.so"]);
    bundle.before = "export FROM_CALLER=yes; unset LD_PRELOAD;".into();
    bundle.args(&["sleep", "1000"]).create();
    bundle.runtime(&["start", "test"]).good();
    bundle.runtime(&["delete", "--force", "test"]).good();
    for point in POINTS {
        let place = if point == "startContainer" { bundle.rootfs("tmp") } else { bundle.path().to_owned() };
        let text = fs::read_to_string(place.join(format!("{point}.env"))).unwrap();
        let has = |entry: &str| text.lines().any(|line| line == entry);
        let inside = point == "startContainer";
        assert_eq!(
            (has("FROM_CALLER=yes"), has("LD_PRELOAD=/evil.so")),
            (!inside, inside),
            "{point}: {text}"
        );
    }
    // An empty one is one.
    let script = format!("env | grep FROM_CALLER > {directory}/none; true");
    bundle.spec["hooks"] =
        json!({"prestart": [{"path": "/bin/sh", "args": ["sh", "-c", script], "env": []}]});
    bundle.args(&["true"]).run().good();
    assert_eq!(fs::read_to_string(bundle.path().join("none")).unwrap(), "");
}

#[test]
fn each_hook_runs_where_it_belongs_and_knows_the_state() {
    let Some(mut bundle) = witnesses() else { return };
    bundle.args(&["sleep", "1000"]).create();
    let (pid, path) = (bundle.pid(), bundle.path().to_str().unwrap().to_owned());
    assert!(!bundle.rootfs("tmp/startContainer.json").exists(), "before the start");
    bundle.runtime(&["start", "test"]).good();
    let inside = ["net", "uts", "mnt"]
        .map(|kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_str().unwrap().to_owned());
    bundle.runtime(&["delete", "--force", "test"]).good();
    for (point, status) in [
        // Their steps come after the one that "creating" stands for (runtime.md, "State" and "Lifecycle").
        ("prestart", "created"),
        ("createRuntime", "created"),
        ("createContainer", "created"),
        ("startContainer", "created"),
        ("poststart", "running"),
        ("poststop", "stopped"),
    ] {
        let (state, env) = read(&bundle, point);
        let in_container = ["createContainer", "startContainer"].contains(&point);
        assert_eq!(state["status"], status, "{point}");
        assert_eq!(state["id"], "test", "{point}");
        assert_eq!(state["bundle"], path.as_str(), "{point}");
        assert_eq!(state["annotations"], json!({"a": "b"}), "{point}");
        assert!(state["ociVersion"].is_string(), "{point}");
        match point {
            "poststop" => assert_eq!(state.get("pid"), None, "{state}"),
            _ if in_container => assert_eq!(state["pid"], 1, "{point}"),
            _ => assert_eq!(state["pid"], pid, "{point}"),
        }
        let root = point == "startContainer";
        assert_eq!(env[0], if root { "/" } else { &path }, "{point}");
        assert_eq!(env[1], "zero one b", "{point}");
        // What the hook has, and what the shell adds (PWD and perhaps SHLVL and OLDPWD): nothing of ours.
        assert!(env[2].trim().parse::<u32>().unwrap() <= 5, "{point}: {env:?}");
        assert_eq!(env[3] == inside[2], in_container, "{point}: mount namespace");
        assert_eq!(env[4] == inside[0], in_container, "{point}: network namespace");
        assert_eq!(env[5] == inside[1], in_container, "{point}: UTS namespace");
        assert_eq!(env[6], if root { "1" } else { "0" }, "{point}: whose root");
    }
}

#[test]
fn in_the_hosts_pid_namespace_the_pid_is_the_hosts() {
    let Some(mut bundle) = witnesses() else { return };
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    bundle.args(&["sleep", "1000"]).create();
    let pid = bundle.pid();
    bundle.runtime(&["delete", "--force", "test"]).good();
    assert_eq!(read(&bundle, "createContainer").0["pid"], pid);
}

#[test]
fn a_failure_while_creating_undoes_everything() {
    for point in ["prestart", "createRuntime", "createContainer"] {
        let Some(mut bundle) = witnesses() else { return };
        let directory = bundle.path().to_str().unwrap().to_owned();
        bundle.spec["hooks"][point] = json!([{"path": "/bin/false"}, witness(&directory, point)]);
        let ran = bundle.args(&["true"]).run();
        assert_eq!(ran.status, 1, "{point}: {ran:?}");
        assert!(ran.err.contains(&format!("/bin/false: {point} hook failed with exit code 1")), "{ran:?}");
        assert!(!bundle.path().join(format!("{point}.json")).exists(), "{point}: the next one ran");
        assert!(!bundle.rootfs("tmp/startContainer.json").exists(), "{point}");
        // Steps 12 and 13 of the life cycle.
        assert_eq!(read(&bundle, "poststop").0["status"], "stopped", "{point}");
        let cgroup = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap().trim_start_matches('/').to_owned();
        for mount in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"] {
            assert!(!Path::new(mount).join(&cgroup).exists(), "{point}");
        }
    }
}

#[test]
fn a_failure_before_the_program_keeps_it_from_running() {
    let Some(mut bundle) = witnesses() else { return };
    bundle.spec["hooks"]["startContainer"] = json!([{"path": "/bin/busybox", "args": ["false"]}]);
    let ran = bundle.script("echo started > /tmp/ran").run();
    assert_ne!(ran.status, 0, "{ran:?}");
    assert!(ran.err.contains("/bin/busybox: startContainer hook failed with exit code 1"), "{ran:?}");
    assert!(!bundle.rootfs("tmp/ran").exists());
}

#[test]
fn a_failure_after_the_start_ends_the_container() {
    let Some(mut bundle) = witnesses() else { return };
    bundle.spec["hooks"]["poststart"] = json!([{"path": "/bin/false"}]);
    bundle.args(&["sleep", "1000"]).create();
    let pid = bundle.pid();
    let ran = bundle.runtime(&["start", "test"]);
    assert!(ran.status == 1 && ran.err.contains("/bin/false: poststart hook failed"), "{ran:?}");
    assert_eq!(read(&bundle, "poststop").0["status"], "stopped");
    let gone = fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    assert!(gone, "it still runs");
    assert_ne!(bundle.runtime(&["state", "test"]).status, 0);
}

#[test]
fn a_failure_at_the_end_is_a_warning() {
    let Some(mut bundle) = witnesses() else { return };
    let directory = bundle.path().to_str().unwrap().to_owned();
    bundle.spec["hooks"]["poststop"] = json!([{"path": "/bin/false"}, witness(&directory, "poststop")]);
    bundle.args(&["sleep", "1000"]).create();
    let ran = bundle.runtime(&["delete", "--force", "test"]);
    assert_eq!(ran.status, 0, "{ran:?}");
    assert!(ran.err.contains("warning: /bin/false: poststop hook failed with exit code 1"), "{ran:?}");
    read(&bundle, "poststop");
}

#[test]
fn what_is_no_hook_is_refused_before_any_runs() {
    for (hook, words) in [
        (json!({"path": "bin/true"}), "absolute"),
        (json!({"path": "/bin/true", "timeout": 0}), "greater than 0"),
        (json!({"path": "/bin/true", "timeout": -5}), "greater than 0"),
        (json!({"path": "/bin/true", "env": ["A"]}), "KEY=VALUE"),
    ] {
        let Some(mut bundle) = witnesses() else { return };
        // Even the last one of all.
        bundle.spec["hooks"]["poststop"] = json!([hook]);
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status == 1 && ran.err.contains(words), "{hook}: {ran:?}");
        assert!(!bundle.path().join("prestart.json").exists(), "{hook}");
    }
}

#[test]
fn a_hook_has_only_so_much_time() {
    for point in ["prestart", "createContainer", "startContainer"] {
        let Some(mut bundle) = Bundle::new() else { return };
        bundle.spec["hooks"][point] = json!([{"path": "/bin/sleep", "args": ["sleep", "60"], "timeout": 1}]);
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains("had not ended after 1 s"), "{point}: {ran:?}");
    }
}

/// Those of the host, all of them, add to the files that crun's annotations name; programs of the container don't.
#[test]
fn output_goes_where_annotations_say() {
    let Some(mut bundle) = Bundle::new() else { return };
    let path = |name: &str| bundle.path().join(name).to_str().unwrap().to_owned();
    let (out, err) = (path("out"), path("err"));
    fs::write(&out, "before\n").unwrap();
    for point in POINTS {
        let script = format!("echo {point}; echo {point} >&2");
        bundle.spec["hooks"][point] = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
    }
    bundle.spec["annotations"] = json!({"run.oci.hooks.stdout": out, "run.oci.hooks.stderr": err});
    let ran = bundle.args(&["echo", "program"]).run();
    assert_eq!((ran.out.as_str(), ran.err.as_str()), ("startContainer\nprogram\n", "startContainer\n"));
    let lines = "prestart\ncreateRuntime\ncreateContainer\npoststart\npoststop\n";
    assert_eq!(fs::read_to_string(&out).unwrap(), format!("before\n{lines}"));
    assert_eq!(fs::read_to_string(&err).unwrap(), lines);
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&err).unwrap().permissions()) & 0o777,
        0o600
    );

    bundle.spec["annotations"] = json!({"run.oci.hooks.stdout": "/no/such/folder/out"});
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("/no/such/folder/out"), "{ran:?}");
}

/// Hooks with this script in the container's mount namespace: one that is there, one that enters it from outside.
fn in_mount_namespace(script: &str) -> [Value; 2] {
    let hook = |script: String| json!([{"path": "/bin/sh", "args": ["sh", "-ec", script]}]);
    let find = r#"pid=$(grep -o '"pid": *[0-9]*' | grep -o '[0-9]*')"#;
    let enter = format!("{find}; nsenter --target $pid --mount sh -ec '{script}'");
    [json!({"createContainer": hook(script.into())}), json!({"createRuntime": hook(enter)})]
}

/// umount(2) takes the topmost mount, and what lies over the host's root would save it: `/..` would lead there.
#[test]
fn what_covers_the_hosts_root_does_not_keep_it_there() {
    let Some(mut bundle) = Bundle::new() else { return };
    fs::write(bundle.rootfs("in-the-container"), "").unwrap();
    bundle.script("ls /; echo; ls /..; echo; ls /../..");
    let sees_itself = |bundle: &Bundle, before: &str| {
        let out = bundle.run_after(before).good();
        let views: Vec<_> = out.trim_end().split("\n\n").collect();
        assert!(views[0].contains("in-the-container"), "{out}");
        assert!(views.len() == 3 && views.iter().all(|view| *view == views[0]), "{out}");
    };
    for cover in ["mount -t tmpfs cover /", "mount -t tmpfs cover /; mount -t tmpfs another /"] {
        bundle.spec["hooks"] = json!({});
        sees_itself(&bundle, &format!("{cover};"));
        for hooks in in_mount_namespace(cover) {
            bundle.spec["hooks"] = hooks;
            sees_itself(&bundle, "");
        }
    }
}

/// The container would have the root below. Whoever mounts another one over it must know.
#[test]
fn a_hook_cannot_cover_the_root() {
    let Some(mut bundle) = Bundle::new() else { return };
    let rootfs = bundle.path().join("rootfs");
    let cover = format!("mount -t tmpfs cover {}", rootfs.display());
    for hooks in in_mount_namespace(&cover) {
        bundle.spec["hooks"] = hooks;
        let ran = bundle.script("ls /..").run();
        let words = format!("a mount over the container's root directory {}, by a hook", rootfs.display());
        assert!(ran.status == 1 && ran.out.is_empty() && ran.err.contains(&words), "{ran:?}");
    }
}

/// It may have done something already, and isn't made a second time.
#[test]
fn a_process_that_is_killed_while_it_sets_itself_up_stays_so() {
    let Some(mut bundle) = Bundle::new() else { return };
    let log = bundle.path().join("log-of-hook");
    let script = format!("echo once >> {}; kill -KILL $PPID", log.display());
    // In one of its own nobody in there could.
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "pid");
    bundle.spec["hooks"] = json!({"createContainer": [{"path": "/bin/sh", "args": ["sh", "-c", script]}]});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("was it killed, or out of memory?"), "{ran:?}");
    assert_eq!(fs::read_to_string(log).unwrap(), "once\n");
}
