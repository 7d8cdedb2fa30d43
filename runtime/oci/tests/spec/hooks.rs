//! config.md: POSIX-platform hooks, and the lifecycle's words about them.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::{Bundle, eventually};
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/hooks/order", "config.md#posix-platform-hooks; runtime.md#lifecycle", order),
        case("config/hooks/state_on_stdin", "config.md#posix-platform-hooks", state_on_stdin),
        case("config/hooks/arguments_and_environment", "config.md#posix-platform-hooks", arguments),
        case(
            "config/hooks/runtime_namespace",
            "config.md#createruntime-hooks, #poststart",
            runtime_namespace,
        ),
        case("config/hooks/create_container_namespace", "config.md#createcontainer-hooks", create_container),
        case(
            "config/hooks/create_container_mounts",
            "config.md#createcontainer-hooks",
            create_container_mounts,
        ),
        case("config/hooks/prestart_mounts", "config.md#prestart", prestart_mounts),
        case("config/hooks/start_container_namespace", "config.md#startcontainer-hooks", start_container),
        case("config/hooks/prestart_sees_the_namespaces", "config.md#prestart", prestart_sees_namespaces),
        case("config/hooks/failed_create", "runtime.md#lifecycle, steps 3 to 5", failed_create),
        case("config/hooks/failed_create_runs_poststop", "runtime.md#lifecycle, step 13", failed_poststop),
        case("config/hooks/failed_start_container", "runtime.md#lifecycle, step 7", failed_start_container),
        case("config/hooks/failed_poststart", "runtime.md#lifecycle, step 9", failed_poststart),
        case("config/hooks/failed_poststop", "runtime.md#lifecycle, step 13", failed_poststop_is_a_warning),
        case("config/hooks/poststop_after_run", "runtime.md#lifecycle, step 13", poststop_after_run),
        case("config/hooks/timeout", "config.md#posix-platform-hooks", timeout),
        case("config/hooks/timeout_of_zero", "config.md#posix-platform-hooks", timeout_of_zero),
        case("config/hooks/relative_path", "config.md#posix-platform-hooks", relative_path),
    ]
}

fn shell(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// Starts the container, kills it, waits and deletes it.
fn whole_life(bundle: &mut Bundle) {
    let running = bundle.start();
    bundle.runtime(&["kill", "test", "KILL"]).good();
    bundle.wait_for("stopped");
    bundle.runtime(&["delete", "test"]).good();
    std::mem::forget(running);
}

const POINTS: &[&str] =
    &["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

/// Sets two hooks at every point. They append to `hooks.log`, which the container has as `/hooks/log`.
fn log_all(bundle: &mut Bundle, what: &str) {
    let folder = bundle.folder("hooks");
    bundle.add_mount("bind", folder.to_str().unwrap(), "/hooks", &["bind"]);
    for point in POINTS {
        let log = match *point {
            "startContainer" => "/hooks/log".to_owned(),
            _ => folder.join("log").to_str().unwrap().to_owned(),
        };
        let hook = |n: u32| shell(&format!("echo {point}{n} {what} >> {log}"));
        bundle.spec["hooks"][point] = json!([hook(1), hook(2)]);
    }
    bundle.script("echo program >> /hooks/log; sleep 1000");
}

fn logged(bundle: &Bundle) -> Vec<String> {
    let text = fs::read_to_string(bundle.path().join("hooks/log")).unwrap_or_default();
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn order(bundle: &mut Bundle) {
    log_all(bundle, "");
    let running = bundle.start();
    eventually("the program", || logged(bundle).contains(&"program".to_owned()));
    bundle.runtime(&["kill", "test", "KILL"]).good();
    bundle.wait_for("stopped");
    bundle.runtime(&["delete", "test"]).good();
    std::mem::forget(running);
    // What the program does first and what poststart does are at the same time.
    let lines: Vec<_> = logged(bundle).into_iter().filter(|line| line != "program").collect();
    let wanted: Vec<_> = POINTS.iter().flat_map(|point| [format!("{point}1"), format!("{point}2")]).collect();
    assert_eq!(lines, wanted);
    let at = |word: &str| logged(bundle).iter().position(|line| line == word);
    assert!(at("startContainer2") < at("program") && at("program").is_some(), "{:?}", logged(bundle));
}

fn state_on_stdin(bundle: &mut Bundle) {
    bundle.spec["annotations"] = json!({"com.example.key": "value"});
    log_all(bundle, "$(cat)");
    whole_life(bundle);
    let lines = logged(bundle);
    let statuses = [
        ("prestart1", &["creating", "created"][..]),
        ("createRuntime1", &["creating", "created"]),
        ("createContainer1", &["creating", "created"]),
        ("startContainer1", &["created"]),
        ("poststart1", &["running"]),
        ("poststop1", &["stopped"]),
    ];
    for (point, wanted) in statuses {
        let line = lines.iter().find_map(|line| line.strip_prefix(&format!("{point} ")));
        let line = line.unwrap_or_else(|| panic!("nothing of {point}: {lines:?}"));
        let state: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{point}: {e}: {line}"));
        let status = state["status"].as_str().unwrap();
        assert!(wanted.contains(&status), "{point}: {status}");
        assert_eq!(state["id"], "test", "{point}");
        assert_eq!(state["annotations"]["com.example.key"], "value", "{point}");
        assert_eq!(state["bundle"], json!(fs::canonicalize(bundle.path()).unwrap()), "{point}");
        assert!(state["ociVersion"].is_string(), "{point}");
        if ["prestart1", "createRuntime1", "poststart1"].contains(&point) {
            assert_eq!(state["pid"], bundle.pid(), "{point}");
        }
    }
}

fn arguments(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    let script = format!("{{ echo $0 $1; tr '\\0' '\\n' < /proc/$$/environ; }} > {}", log.display());
    let hook = json!({"path": "/bin/sh", "args": ["sh", "-c", script, "zero", "one"], "env": ["ONLY=this"]});
    bundle.spec["hooks"] = json!({"createRuntime": [hook]});
    bundle.args(&["true"]).run().good();
    assert_eq!(fs::read_to_string(log).unwrap(), "zero one\nONLY=this\n");
}

fn runtime_namespace(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    let script =
        format!("readlink /proc/self/ns/pid /proc/self/ns/net /proc/self/ns/uts >> {}", log.display());
    for point in ["prestart", "createRuntime", "poststart", "poststop"] {
        bundle.spec["hooks"][point] = json!([shell(&script)]);
    }
    bundle.args(&["sleep", "1000"]);
    whole_life(bundle);
    let link = |kind: &str| fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
    let once = ["pid", "net", "uts"].map(|kind| format!("{}\n", link(kind).display())).concat();
    assert_eq!(fs::read_to_string(log).unwrap(), once.repeat(4));
}

/// Before `pivot_root`: the program and the paths are the host's, the mounts are the container's.
fn create_container(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    let mounted = bundle.rootfs("dev/shm");
    let script = format!(
        "{{ readlink /proc/self/ns/mnt; grep -c ' {} ' /proc/self/mountinfo; }} > {}",
        mounted.display(),
        log.display()
    );
    bundle.spec["hooks"] = json!({"createContainer": [shell(&script)]});
    let inside = bundle.args(&["readlink", "/proc/self/ns/mnt"]).run().good();
    assert_eq!(fs::read_to_string(log).unwrap(), format!("{inside}1\n"));
}

/// What such a hook mounts below the bundle's root file system, the container has.
fn create_container_mounts(bundle: &mut Bundle) {
    let place = bundle.rootfs("tmp");
    bundle.spec["hooks"] = json!({"createContainer": [shell(&format!("mount -t tmpfs hook {0}; touch {0}/file", place.display()))]});
    assert_eq!(bundle.args(&["ls", "/tmp"]).run().good(), "file\n");
    assert!(!place.join("file").exists(), "it was mounted on the host");
}

/// The same from the host, which enters the container's mount namespace for that.
fn prestart_mounts(bundle: &mut Bundle) {
    let find = r#"pid=$(grep -o '"pid": *[0-9]*' | grep -o '[0-9]*')"#;
    let mount = format!("mount -t tmpfs hook {0}; touch {0}/file", bundle.rootfs("tmp").display());
    bundle.spec["hooks"] =
        json!({"prestart": [shell(&format!("{find}; nsenter --target $pid --mount sh -c '{mount}'"))]});
    assert_eq!(bundle.args(&["ls", "/tmp"]).run().good(), "file\n");
    assert!(!bundle.rootfs("tmp/file").exists(), "it was mounted on the host");
}

fn start_container(bundle: &mut Bundle) {
    fs::write(
        bundle.rootfs("bin/only-inside"),
        "#!/bin/sh\nreadlink /proc/self/ns/mnt > /tmp/log\nreadlink /proc/self/ns/pid >> /tmp/log\npwd >> /tmp/log\n",
    )
    .unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    fs::set_permissions(bundle.rootfs("bin/only-inside"), mode).unwrap();
    let hook = json!({"path": "/bin/only-inside", "env": ["PATH=/bin"]});
    bundle.spec["hooks"] = json!({"startContainer": [hook]});
    let script = "readlink /proc/self/ns/mnt; readlink /proc/self/ns/pid; echo; cat /tmp/log";
    let out = bundle.script(script).run().good();
    let (own, hooks) = out.split_once("\n\n").unwrap();
    assert!(hooks.starts_with(own), "{out}");
}

/// `prestart` hooks set up networks: they must find the container's namespaces by the state's pid.
fn prestart_sees_namespaces(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    let find = r#"pid=$(grep -o '"pid": *[0-9]*' | grep -o '[0-9]*')"#;
    let script = format!("{find}; readlink /proc/$pid/ns/net /proc/$pid/ns/uts > {}", log.display());
    bundle.spec["hooks"] = json!({"prestart": [shell(&script)]});
    let inside = bundle.script("readlink /proc/self/ns/net; readlink /proc/self/ns/uts").run().good();
    assert_eq!(fs::read_to_string(log).unwrap(), inside);
}

fn failed_create(bundle: &mut Bundle) {
    for point in ["prestart", "createRuntime", "createContainer"] {
        bundle.spec["hooks"] = json!({point: [shell("exit 3")]});
        bundle.refused();
    }
}

fn failed_poststop(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    for point in ["prestart", "createRuntime", "createContainer"] {
        let _ = fs::remove_file(&log);
        let stop = shell(&format!("echo poststop > {}", log.display()));
        bundle.spec["hooks"] = json!({point: [shell("exit 3")], "poststop": [stop]});
        bundle.refused();
        assert_eq!(fs::read_to_string(&log).unwrap_or_default(), "poststop\n", "{point}");
    }
}

fn failed_start_container(bundle: &mut Bundle) {
    bundle.spec["hooks"] = json!({"startContainer": [json!({"path": "/bin/false"})]});
    bundle.script("touch /tmp/executed; sleep 1000").create();
    let started = bundle.runtime(&["start", "test"]);
    // An error, if not of `start` then of the process: in no case the program.
    let state = bundle.runtime(&["state", "test"]);
    if state.status == 0 {
        bundle.wait_for("stopped");
    }
    bundle.runtime(&["delete", "--force", "test"]);
    assert!(!bundle.rootfs("tmp/executed").exists());
    assert_ne!(started.status, 0, "start succeeded: {started:?}");
}

fn failed_poststart(bundle: &mut Bundle) {
    bundle.spec["hooks"] = json!({"poststart": [shell("exit 3")]});
    bundle.args(&["sleep", "1000"]).create();
    let started = bundle.runtime(&["start", "test"]);
    let state = bundle.runtime(&["state", "test"]);
    bundle.runtime(&["delete", "--force", "test"]);
    assert_ne!(started.status, 0, "start succeeded");
    assert!(state.status != 0 || state.out.contains("stopped"), "it goes on: {state:?}");
}

fn failed_poststop_is_a_warning(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    let second = shell(&format!("echo second > {}", log.display()));
    bundle.spec["hooks"] = json!({"poststop": [shell("exit 3"), second]});
    bundle.args(&["sleep", "1000"]);
    whole_life(bundle);
    assert_eq!(fs::read_to_string(log).unwrap_or_default(), "second\n");
    bundle.gone();
}

fn poststop_after_run(bundle: &mut Bundle) {
    let log = bundle.path().join("log-of-hook");
    bundle.spec["hooks"] = json!({"poststop": [shell(&format!("echo poststop > {}", log.display()))]});
    bundle.args(&["true"]).run().good();
    assert_eq!(fs::read_to_string(log).unwrap_or_default(), "poststop\n");
}

fn timeout(bundle: &mut Bundle) {
    let hook = json!({"path": "/bin/sleep", "args": ["sleep", "600"], "timeout": 1});
    bundle.spec["hooks"] = json!({"createRuntime": [hook]});
    let begun = std::time::Instant::now();
    bundle.refused();
    assert!(begun.elapsed().as_secs() < 300, "{:?}", begun.elapsed());
}

fn timeout_of_zero(bundle: &mut Bundle) {
    for timeout in [0, -1] {
        bundle.spec["hooks"] = json!({"createRuntime": [{"path": "/bin/true", "timeout": timeout}]});
        bundle.refused();
    }
}

fn relative_path(bundle: &mut Bundle) {
    bundle.before = "cd /bin;".into();
    for path in ["true", "./true"] {
        bundle.spec["hooks"] = json!({"createRuntime": [{"path": path}]});
        bundle.refused();
    }
}
