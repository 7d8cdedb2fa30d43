//! config-linux.md: kernel parameters, masked and read-only paths, propagation of the root, personality.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("linux/sysctl/set", "config-linux.md#sysctl", sysctl),
        case("linux/sysctl/unknown", "config-linux.md#sysctl; runtime.md#create", sysctl_unknown),
        case("linux/sysctl/invalid_value", "config-linux.md#sysctl; runtime.md#create", sysctl_invalid),
        case("linux/sysctl/hostname", "config.md#hostname", sysctl_hostname),
        case("linux/masked_paths/unreadable", "config-linux.md#masked-paths", masked),
        case("linux/masked_paths/relative", "config-linux.md#masked-paths", masked_relative),
        case("linux/readonly_paths/unwritable", "config-linux.md#readonly-paths", readonly),
        case("linux/readonly_paths/relative", "config-linux.md#readonly-paths", readonly_relative),
        case("linux/personality/linux32", "config-linux.md#personality", linux32),
        case("linux/personality/linux", "config-linux.md#personality", linux),
        case("linux/personality/flags", "config-linux.md#personality", personality_flags),
        case(
            "linux/rootfs_propagation/slave_receives",
            "config-linux.md#rootfs-mount-propagation",
            slave_receives,
        ),
    ];
    for (value, wanted) in
        [("shared", "shared"), ("slave", "master"), ("private", ""), ("unbindable", "unbindable")]
    {
        let name = format!("linux/rootfs_propagation/{value}");
        cases.push(case(name, "config-linux.md#rootfs-mount-propagation", move |b| {
            propagation(b, value, wanted)
        }));
    }
    cases
}

fn sysctl(bundle: &mut Bundle) {
    bundle.spec["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "net.core.somaxconn": "256", "kernel.msgmax": "4000", "fs.mqueue.msg_max": "7"});
    let files = ["net/ipv4/ip_forward", "net/core/somaxconn", "kernel/msgmax", "fs/mqueue/msg_max"];
    let files: Vec<String> = files.iter().map(|file| format!("/proc/sys/{file}")).collect();
    assert_eq!(bundle.script(&format!("cat {}", files.join(" "))).run().good(), "1\n256\n4000\n7\n");
}

fn sysctl_unknown(bundle: &mut Bundle) {
    bundle.spec["linux"]["sysctl"] = json!({"net.ipv4.no_such_parameter": "1"});
    bundle.refused();
}

fn sysctl_invalid(bundle: &mut Bundle) {
    bundle.spec["linux"]["sysctl"] = json!({"net.core.somaxconn": "many"});
    bundle.refused();
}

/// It would fight with `hostname`, and whoever reads the configuration would be told a wrong name.
fn sysctl_hostname(bundle: &mut Bundle) {
    bundle.spec["linux"]["sysctl"] = json!({"kernel.hostname": "other"});
    bundle.refused();
    bundle.spec["linux"]["sysctl"] = json!({"kernel.domainname": "example"});
    assert_eq!(bundle.args(&["cat", "/proc/sys/kernel/domainname"]).run().good(), "example\n");
}

fn masked(bundle: &mut Bundle) {
    fs::write(bundle.rootfs("secret"), "secret").unwrap();
    fs::create_dir(bundle.rootfs("hidden")).unwrap();
    fs::write(bundle.rootfs("hidden/file"), "secret").unwrap();
    bundle.spec["linux"]["maskedPaths"] = json!(["/secret", "/hidden", "/proc/timer_list", "/no/such/path"]);
    let ran =
        bundle.script("cat /secret /proc/timer_list; ls -A /hidden; touch /hidden/x; test ! -e /no").run();
    assert_eq!((ran.status, ran.out.as_str()), (0, ""), "{ran:?}");
    assert!(ran.err.contains("Read-only file system"), "{ran:?}");
    assert!(!bundle.rootfs("hidden/x").exists());
}

fn masked_relative(bundle: &mut Bundle) {
    bundle.spec["linux"]["maskedPaths"] = json!(["proc/kcore"]);
    bundle.refused();
}

fn readonly(bundle: &mut Bundle) {
    fs::create_dir(bundle.rootfs("kept")).unwrap();
    fs::write(bundle.rootfs("file"), "text\n").unwrap();
    bundle.spec["linux"]["readonlyPaths"] = json!(["/proc/sys", "/kept", "/file", "/no/such/path"]);
    let ran =
        bundle.script("touch /kept/x; echo 1 > /proc/sys/kernel/msgmax; echo x > /file; cat /file").run();
    assert_eq!(ran.out, "text\n", "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 3, "{ran:?}");
}

fn readonly_relative(bundle: &mut Bundle) {
    bundle.spec["linux"]["readonlyPaths"] = json!(["proc/sys"]);
    bundle.refused();
}

fn linux32(bundle: &mut Bundle) {
    bundle.spec["linux"]["personality"] = json!({"domain": "LINUX32"});
    let native = std::env::consts::ARCH;
    let wanted = if native == "x86_64" { "i686" } else { "armv8l" };
    assert_eq!(bundle.args(&["uname", "-m"]).run().good().trim(), wanted);
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    assert_eq!(running.exec(&[], &["uname", "-m"]).good().trim(), wanted);
}

fn linux(bundle: &mut Bundle) {
    bundle.before = "set -- setarch linux32 \"$@\";".into();
    bundle.spec["linux"]["personality"] = json!({"domain": "LINUX"});
    assert_eq!(bundle.args(&["uname", "-m"]).run().good().trim(), std::env::consts::ARCH);
}

fn personality_flags(bundle: &mut Bundle) {
    bundle.spec["linux"]["personality"] = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]});
    bundle.refused();
}

/// What `mountinfo` says of the root's peers.
fn propagation(bundle: &mut Bundle, value: &str, wanted: &str) {
    // As on most hosts: everything is shared.
    bundle.before = "mount --make-rshared /;".into();
    bundle.spec["linux"]["rootfsPropagation"] = json!(value);
    let out = bundle.args(&["grep", " / / \\| / rw", "/proc/self/mountinfo"]).run().out;
    let line = out.lines().find(|line| line.split(' ').nth(4) == Some("/"));
    let line = line.unwrap_or_else(|| panic!("no root: {out}"));
    let own: Vec<&str> = line.split(" - ").next().unwrap().split(' ').skip(6).collect();
    let found = own.join(" ");
    match wanted {
        "" => assert_eq!(found, ""),
        word => assert!(found.contains(word), "{found:?} isn't {word}"),
    }
    if wanted == "master" {
        assert!(!found.contains("shared"), "{found}");
    }
}

/// What the host mounts later below a volume arrives, what the container mounts stays inside.
fn slave_receives(bundle: &mut Bundle) {
    let volume = bundle.folder("volume");
    let text = volume.display();
    bundle.folder("volume/sub");
    bundle.spec["linux"]["rootfsPropagation"] = json!("slave");
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["rbind", "rslave"]);
    // The mount happens in the runtime's namespace, by a hook that runs when the container is there.
    bundle.before = format!("mount --bind {text} {text}; mount --make-shared {text};");
    let script = format!("mount -t tmpfs late {text}/sub");
    bundle.spec["hooks"] = json!({"poststart": [
        {"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]}]});
    let script =
        "for i in $(seq 1200); do grep -q 'late' /proc/self/mountinfo && exec echo arrived; sleep 0.05; done";
    assert_eq!(bundle.script(script).run().good(), "arrived\n");
}
