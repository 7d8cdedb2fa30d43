//! config-linux.md: namespaces, and the mappings of a user namespace.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};
use crate::sockets::{Holder, holder};

/// The kinds of namespaces, their files below `/proc/PID/ns`, and unshare(1)'s flags.
const KINDS: &[(&str, &str, &str)] = &[
    ("pid", "pid", "--pid"),
    ("network", "net", "--net"),
    ("mount", "mnt", "--mount"),
    ("ipc", "ipc", "--ipc"),
    ("uts", "uts", "--uts"),
    ("cgroup", "cgroup", "--cgroup"),
    ("user", "user", "--user"),
];

const SECTION: &str = "config-linux.md#namespaces";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        case("linux/namespaces/isolated_processes", "config-linux.md#namespaces: pid", isolated_processes),
        case("linux/namespaces/isolated_cgroups", "config-linux.md#namespaces: cgroup", isolated_cgroups),
        case("linux/namespaces/loopback", "config-linux.md#namespaces: network", loopback),
        case("linux/namespaces/loopback_joined", "config-linux.md#namespaces: network", loopback_joined),
        case("linux/namespaces/of_another_type", SECTION, of_another_type),
        case("linux/namespaces/no_such_path", SECTION, no_such_path),
        case("linux/namespaces/relative_path", SECTION, relative_path),
        case("linux/namespaces/twice", SECTION, twice),
        case("linux/user_namespace/mapped", "config-linux.md#user-namespace-mappings", mapped),
        case("linux/user_namespace/unmapped", "config-linux.md#user-namespace-mappings", unmapped),
        case("linux/user_namespace/owners_stay", "config-linux.md#user-namespace-mappings", owners_stay),
        case("linux/user_namespace/joined", "config-linux.md#namespaces: user", user_joined),
        case("linux/user_namespace/of_exec", "config-linux.md#namespaces: user", user_of_exec),
    ];
    for &(kind, file, flag) in KINDS {
        cases.push(case(format!("linux/namespaces/new/{kind}"), SECTION, move |b| new(b, kind, file)));
        if kind != "mount" {
            cases.push(case(format!("linux/namespaces/inherited/{kind}"), SECTION, move |b| {
                inherited(b, kind, file)
            }));
        }
        if !["mount", "user"].contains(&kind) {
            cases.push(case(format!("linux/namespaces/joined/{kind}"), SECTION, move |b| {
                joined(b, kind, file, flag)
            }));
        }
    }
    cases
}

/// The inode of a namespace file, as the host names it: `net:[4026531840]`.
fn host(path: &str) -> String {
    fs::read_link(path).unwrap().to_str().unwrap().to_owned()
}

fn inside(bundle: &mut Bundle, file: &str) -> String {
    bundle.args(&["readlink", &format!("/proc/self/ns/{file}")]).run().good().trim().to_owned()
}

fn new(bundle: &mut Bundle, kind: &str, file: &str) {
    match kind {
        "user" => bundle.users(100_000, 1000),
        kind => bundle.namespace(kind, None),
    }
    assert_ne!(inside(bundle, file), host(&format!("/proc/self/ns/{file}")));
}

fn inherited(bundle: &mut Bundle, kind: &str, file: &str) {
    bundle.without_namespace(kind);
    assert_eq!(inside(bundle, file), host(&format!("/proc/self/ns/{file}")));
}

fn joined(bundle: &mut Bundle, kind: &str, file: &str, flag: &str) {
    // The first child of the process is in the PID namespace, and must live.
    let holder = match kind {
        "pid" => holder(&["--pid", "--fork", "--kill-child"], ""),
        _ => holder(&[flag], ""),
    };
    let path = match kind {
        "pid" => format!("/proc/{}/ns/pid_for_children", holder.id()),
        _ => holder.namespace(file),
    };
    bundle.namespace(kind, Some(&path));
    assert_eq!(inside(bundle, file), host(&path));
}

fn isolated_processes(bundle: &mut Bundle) {
    let out = bundle.script("echo $$; ls /proc | grep -c '^[0-9]'").run().good();
    let (own, count) = out.trim().split_once('\n').unwrap();
    assert_eq!(own, "1");
    assert!(count.parse::<u32>().unwrap() <= 3, "{out}");
}

fn isolated_cgroups(bundle: &mut Bundle) {
    bundle.namespace("cgroup", None);
    let out = bundle.args(&["grep", "^0:", "/proc/self/cgroup"]).run().good();
    assert_eq!(out, "0::/\n");
}

/// Whether the loopback device is up (IFF_UP is 1).
fn loopback_is_up(bundle: &mut Bundle) -> bool {
    let flags = bundle.args(&["cat", "/sys/class/net/lo/flags"]).run().good();
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).unwrap() & 1 == 1
}

/// The specification says nothing of it, and everybody counts on it.
fn loopback(bundle: &mut Bundle) {
    bundle.namespace("network", None);
    assert!(loopback_is_up(bundle), "alone");
    bundle.users(100_000, 1000);
    assert!(loopback_is_up(bundle), "with users of its own");
}

/// A network that someone else has made is theirs.
fn loopback_joined(bundle: &mut Bundle) {
    let holder = holder(&["--net"], "");
    bundle.namespace("network", Some(&holder.namespace("net")));
    assert!(!loopback_is_up(bundle));
}

fn of_another_type(bundle: &mut Bundle) {
    let other = holder(&["--uts"], "");
    bundle.namespace("network", Some(&other.namespace("uts")));
    bundle.refused();
    bundle.namespace("network", Some("/etc/passwd"));
    bundle.refused();
}

fn no_such_path(bundle: &mut Bundle) {
    bundle.namespace("network", Some("/no/such/namespace"));
    bundle.refused();
}

fn relative_path(bundle: &mut Bundle) {
    let other = holder(&["--net"], "");
    bundle.before = "cd /;".into();
    bundle.namespace("network", Some(other.namespace("net").trim_start_matches('/')));
    bundle.refused();
}

fn twice(bundle: &mut Bundle) {
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "uts"}));
    bundle.refused();
}

fn mapped(bundle: &mut Bundle) {
    bundle.users(0, 1);
    bundle.spec["linux"]["uidMappings"] = json!([
        {"containerID": 0, "hostID": 100_000, "size": 10}, {"containerID": 10, "hostID": 200_000, "size": 100}]);
    bundle.spec["linux"]["gidMappings"] = json!([{"containerID": 0, "hostID": 300_000, "size": 7}]);
    let flags = "grep -cE ' /dev/(null|zero|full|tty|u?random) rw,nosuid,noexec' /proc/self/mountinfo";
    if bundle.is_ours() {
        // The host's nodes are bound, as none can be made.
        assert_eq!(bundle.script(flags).run().good(), "6\n");
    }
    let script = "sed 's/  */ /g' /proc/self/uid_map /proc/self/gid_map; id -u; id -g; echo x > /dev/null && echo written";
    let out = bundle.script(script).run().good();
    assert_eq!(out, " 0 100000 10\n 10 200000 100\n 0 300000 7\n0\n0\nwritten\n");
}

/// Mappings are optional, and what is without them nobody says: here user 0 is the caller.
fn unmapped(bundle: &mut Bundle) {
    bundle.users(0, 1);
    for ids in ["uidMappings", "gidMappings"] {
        bundle.spec["linux"].as_object_mut().unwrap().remove(ids);
    }
    // Nobody is its group of terminals.
    bundle.drop_mount("/dev/pts");
    bundle.add_mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
    let script =
        "id -u; id -g; readlink /proc/self/ns/user; sed 's/  */ /g' /proc/self/uid_map /proc/self/gid_map";
    let ran = bundle.script(script).run();
    let err = ran.err.clone();
    let out = ran.good();
    assert!(out.starts_with("0\n0\nuser:") && !out.contains(&host("/proc/self/ns/user")), "{out}");
    if bundle.is_ours() {
        assert!(out.ends_with("\n 0 0 1\n 0 0 1\n"), "{out}");
        assert!(err.contains("no uidMappings and gidMappings"), "{err}");
    }
}

fn owners_stay(bundle: &mut Bundle) {
    use std::os::unix::fs::MetadataExt;
    bundle.users(100_000, 1000);
    let volume = bundle.folder("volume");
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    bundle.args(&["true"]).run().good();
    for path in [bundle.rootfs(""), bundle.rootfs("bin/busybox"), volume] {
        let data = fs::symlink_metadata(&path).unwrap();
        assert_eq!((data.uid(), data.gid()), (0, 0), "{}", path.display());
    }
}

fn user_holder() -> Holder {
    let holder = holder(&["--user", "--net"], "");
    for map in ["uid_map", "gid_map"] {
        fs::write(format!("/proc/{}/{map}", holder.id()), "0 0 65536").unwrap();
    }
    holder
}

/// The network belongs to the users that are joined, and so does what is new: only then can /sys and /proc be mounted.
fn user_joined(bundle: &mut Bundle) {
    let holder = user_holder();
    bundle.namespace("user", Some(&holder.namespace("user")));
    bundle.namespace("network", Some(&holder.namespace("net")));
    let out = bundle.script("readlink /proc/self/ns/user; readlink /proc/self/ns/net; id -u").run().good();
    let wanted = [host(&holder.namespace("user")), host(&holder.namespace("net"))];
    assert_eq!(out, format!("{}\n{}\n0\n", wanted[0], wanted[1]));
}

fn user_of_exec(bundle: &mut Bundle) {
    bundle.users(100_000, 1000);
    bundle.args(&["sleep", "1000"]);
    let running = bundle.start();
    let out = running.exec(&[], &["sh", "-c", "id -u; id -g; readlink /proc/self/ns/user"]).good();
    assert_eq!(out, format!("0\n0\n{}\n", host(&format!("/proc/{}/ns/user", bundle.pid()))));
}
