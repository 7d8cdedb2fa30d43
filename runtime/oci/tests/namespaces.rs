//! Which namespaces a container is in, in all combinations of new, joined and the host's.

mod bundle;

use std::fs;
use std::process::{Child, Command, Stdio};

use bundle::Bundle;
use serde_json::{Value, json};

fn namespaces(bundle: &mut Bundle) -> &mut Vec<Value> {
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap()
}

fn without(bundle: &mut Bundle, kind: &str) {
    namespaces(bundle).retain(|namespace| namespace["type"] != kind);
}

fn set_path(bundle: &mut Bundle, kind: &str, path: &str) {
    without(bundle, kind);
    namespaces(bundle).push(json!({"type": kind, "path": path}));
}

fn add_users(bundle: &mut Bundle) {
    namespaces(bundle).push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 65536}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
}

/// A process in new namespaces, which ends with this value.
struct Holder(Child);

impl Holder {
    fn new(options: &[&str]) -> Self {
        let mut child = Command::new("unshare")
            .args(options)
            .args(["sh", "-c", "echo; exec sleep 1000"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // Its line says that the namespaces are there.
        std::io::Read::read(child.stdout.as_mut().unwrap(), &mut [0; 1]).unwrap();
        Holder(child)
    }

    fn path(&self, kind: &str) -> String {
        format!("/proc/{}/ns/{kind}", self.0.id())
    }

    fn link(&self, kind: &str) -> String {
        fs::read_link(self.path(kind)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_new_user_namespace_joins_what_is_the_hosts() {
    let Some(mut bundle) = Bundle::new() else { return };
    // None of these belongs to the container's users: only the host's root can join them.
    let holder = Holder::new(&["--net", "--ipc", "--uts"]);
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts")] {
        set_path(&mut bundle, kind, &holder.path(file));
    }
    bundle.spec.as_object_mut().unwrap().remove("hostname");
    // Its queues would be those of an IPC namespace that belongs to the host.
    bundle.drop_mount("/dev/mqueue");
    add_users(&mut bundle);
    let out = bundle.script("cd /proc/self/ns; readlink net; readlink ipc; readlink uts; id -u").run().good();
    let wanted = ["net", "ipc", "uts"].map(|kind| holder.link(kind) + "\n").concat() + "0\n";
    assert_eq!(out, wanted);
}

#[test]
fn users_and_processes_are_joined_together() {
    let (Some(mut first), Some(mut second)) = (Bundle::new(), Bundle::new()) else { return };
    add_users(&mut first);
    first.args(&["sleep", "1000"]);
    let _running = first.start();
    let path = |kind: &str| format!("/proc/{}/ns/{kind}", first.pid());
    for (kind, file) in [("user", "user"), ("pid", "pid")] {
        set_path(&mut second, kind, &path(file));
    }
    let out = second.script("readlink /proc/self/ns/pid; readlink /proc/self/ns/user; ps").run().good();
    for kind in ["pid", "user"] {
        let link = fs::read_link(path(kind)).unwrap();
        assert!(out.contains(link.to_str().unwrap()), "{kind}: {out}");
    }
    assert!(out.contains("sleep 1000"), "{out}");
}

#[test]
fn the_hosts_mount_namespace_keeps_its_propagation() {
    let Some(mut bundle) = Bundle::new() else { return };
    without(&mut bundle, "mount");
    let holder = Holder::new(&["--mount", "--propagation", "shared"]);
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", holder.0.id())).unwrap();
    let before = mounts();
    bundle.script("readlink /proc/self/ns/mnt; ls /; touch /proc/sys/kernel/x; cat /proc/kcore; pwd");
    bundle.write();
    // In the namespace of the holder, with shared mounts, as under systemd.
    let output =
        bundle.command_in(&holder.path("mnt"), &["run", "--bundle", bundle.path().to_str().unwrap(), "test"]);
    let out = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{output:?}");
    assert!(out.starts_with(&holder.link("mnt")), "{out}");
    assert!(out.contains("\nbin\n") && out.ends_with("/\n"), "{out}");
    assert!(!out.contains("boot\n"), "the host's root: {out}");
    // Nothing is left of it, and what was shared is shared.
    assert_eq!(mounts(), before);
    assert!(before.lines().next().unwrap().contains("shared:"), "{before}");
}

#[test]
fn a_failed_start_leaves_no_mount_on_the_host() {
    let Some(mut bundle) = Bundle::new() else { return };
    without(&mut bundle, "mount");
    let holder = Holder::new(&["--mount", "--propagation", "private"]);
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", holder.0.id())).unwrap();
    let before = mounts();
    bundle.args(&["no-such-program"]);
    bundle.write();
    let output =
        bundle.command_in(&holder.path("mnt"), &["run", "--bundle", bundle.path().to_str().unwrap(), "test"]);
    assert_eq!(output.status.code(), Some(127), "{output:?}");
    assert_eq!(mounts(), before);
}

#[test]
fn a_mount_namespace_is_joined_and_programs_are_executed_in_its_root() {
    let Some(mut bundle) = Bundle::new() else { return };
    let holder = Holder::new(&["--mount", "--propagation", "private"]);
    set_path(&mut bundle, "mount", &holder.path("mnt"));
    let mounts = || fs::read_to_string(format!("/proc/{}/mountinfo", holder.0.id())).unwrap();
    let before = mounts();
    {
        let running = bundle.args(&["sleep", "1000"]).start();
        let out = running.exec(&[], &["sh", "-c", "readlink /proc/self/ns/mnt; ls /; pwd"]).good();
        assert!(out.starts_with(&holder.link("mnt")), "{out}");
        assert!(out.contains("\nbin\n") && !out.contains("boot\n"), "{out}");
        assert_ne!(mounts(), before);
    }
    assert_eq!(mounts(), before);
}

#[test]
fn what_cannot_be_is_said() {
    let cases: [(&[&str], &str); 2] =
        [(&["mount"], "host's mount namespace"), (&["uts"], "namespace of type uts")];
    for (missing, words) in cases {
        let Some(mut bundle) = Bundle::new() else { return };
        for kind in missing {
            without(&mut bundle, kind);
        }
        add_users(&mut bundle);
        bundle.spec["hostname"] = json!("name");
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status == 1 && ran.err.contains(words), "{missing:?}: {ran:?}");
    }
    let Some(mut bundle) = Bundle::new() else { return };
    set_path(&mut bundle, "mount", "/proc/self/ns/mnt");
    add_users(&mut bundle);
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("joined mount namespace"), "{ran:?}");
}

/// The PID namespace of another container: its processes are there, in `/proc`, too, and this one's are its neighbours'.
#[test]
fn a_pid_namespace_is_joined() {
    let (Some(mut first), Some(mut second)) = (Bundle::new(), Bundle::new()) else { return };
    first.args(&["sleep", "1234"]);
    let running = first.start();
    let namespaces = second.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "pid");
    namespaces.push(json!({"type": "pid", "path": format!("/proc/{}/ns/pid", first.pid())}));
    let ran = second.script("cat /proc/1/cmdline; echo; readlink /proc/self; echo $$; exit 3").run();
    let lines: Vec<&str> = ran.out.lines().collect();
    assert_eq!((ran.status, lines[0]), (3, "sleep\u{0}1234\u{0}"), "{ran:?}");
    assert!(lines[1].parse::<i32>().is_ok() && lines[2] != "1", "{ran:?}");

    second.spec["process"]["oomScoreAdj"] = json!(77);
    second.args(&["sleep", "4321"]);
    let other = second.start();
    // The number that callers have been told is the program's, also from the state.
    let pid = second.pid();
    assert_eq!(second.state()["pid"], pid);
    let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(command.starts_with("sleep"), "{command}");
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/oom_score_adj")).unwrap(), "77\n");
    assert!(running.exec(&[], &["ps"]).good().contains("sleep 4321"));
    assert!(other.exec(&[], &["ps"]).good().contains("sleep 1234"));
    drop(other);
    // It may wait there for the first one's first process to ask how it ended.
    assert_eq!(fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default(), "");

    // A terminal is the program's own.
    second.spec["process"]["terminal"] = json!(true);
    let ran = second.script("tty; stty size; ps -o tty,stat,args | grep [t]ty,stat").run();
    assert!(ran.out.starts_with("/dev/pts/0"), "{ran:?}");
}
