//! config.md: mounts.

use std::fs;

use serde_json::json;

use crate::bundle::Bundle;
use crate::harness::{Case, case};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case("config/mounts/listed_order", "config.md#mounts", listed_order),
        case("config/mounts/over_the_root", "config.md#mounts: destination", over_the_root),
        case("config/mounts/relative_destination", "config.md#mounts: destination", relative_destination),
        case("config/mounts/relative_source", "config.md#mounts: source", relative_source),
        case("config/mounts/bind_by_option", "config.md#mounts: source", bind_by_option),
        case("config/mounts/bind_a_file", "config.md#mounts: source", bind_a_file),
        case("config/mounts/bind_and_rbind", "config.md#linux-mount-options: bind, rbind", bind_and_rbind),
        case("config/mounts/data_of_the_file_system", "config.md#linux-mount-options", data),
        case("config/mounts/unknown_option", "config.md#linux-mount-options", unknown_option),
        case("config/mounts/unknown_type", "config.md#posix-platform-mounts: type", unknown_type),
        case("config/mounts/missing_source", "runtime.md#create", missing_source),
        case("config/mounts/remount", "config.md#linux-mount-options: remount", remount),
        case("config/mounts/read_only_bind", "config.md#linux-mount-options: ro", read_only_bind),
    ]
}

fn listed_order(bundle: &mut Bundle) {
    bundle.add_mount("tmpfs", "first", "/a", &[]);
    bundle.add_mount("tmpfs", "second", "/a/b", &[]);
    bundle.add_mount("tmpfs", "third", "/a/b", &[]);
    let script = "grep ' /a' /proc/self/mounts | cut -d' ' -f1,2; echo x > /a/b/file; ls /a/b";
    assert_eq!(bundle.script(script).run().good(), "first /a\nsecond /a/b\nthird /a/b\nfile\n");
}

/// What comes after it is mounted in it, and the program is one of it. Nothing is left of what was there, nor of the host:
/// a root over another, pivoted as usual, keeps the host's mounts in the container.
fn over_the_root(bundle: &mut Bundle) {
    let other = bundle.folder("other");
    for folder in ["bin", "proc", "sys", "dev"] {
        fs::create_dir(other.join(folder)).unwrap();
    }
    fs::copy("/bin/busybox", other.join("bin/busybox")).unwrap();
    fs::write(other.join("only-here"), "").unwrap();
    let mount = json!({"type": "bind", "source": other, "destination": "/", "options": ["bind"]});
    bundle.spec["mounts"].as_array_mut().unwrap().insert(0, mount);
    bundle.spec["root"]["readonly"] = json!(true);
    let script = "bb=/bin/busybox; $bb ls /; $bb grep -cE ' (/|/proc) ' /proc/self/mounts; $bb touch /x 2> /dev/null; echo $?";
    let ran = bundle.args(&["/bin/busybox", "sh", "-c", script]).run();
    assert_eq!(ran.good(), "bin\ndev\nonly-here\nproc\nsys\n2\n1\n");
}

fn relative_destination(bundle: &mut Bundle) {
    bundle.add_mount("tmpfs", "relative", "some/where", &[]);
    let out = bundle.script("grep ^relative /proc/self/mounts | cut -d' ' -f2").run().good();
    assert_eq!(out, "/some/where\n");
}

fn relative_source(bundle: &mut Bundle) {
    fs::write(bundle.folder("volume").join("file"), "text").unwrap();
    bundle.add_mount("bind", "volume", "/volume", &["bind"]);
    assert_eq!(bundle.args(&["cat", "/volume/file"]).run().good(), "text");
}

fn bind_by_option(bundle: &mut Bundle) {
    let volume = bundle.folder("volume");
    fs::write(volume.join("file"), "text").unwrap();
    let mount = json!({"destination": "/untyped", "source": volume, "options": ["rbind"]});
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
    bundle.add_mount("none", volume.to_str().unwrap(), "/none", &["bind"]);
    bundle.add_mount("ext4", volume.to_str().unwrap(), "/dummy", &["bind"]);
    assert_eq!(bundle.script("cat /untyped/file /none/file /dummy/file").run().good(), "texttexttext");
}

fn bind_a_file(bundle: &mut Bundle) {
    let file = bundle.path().join("file");
    fs::write(&file, "text\n").unwrap();
    bundle.add_mount("bind", file.to_str().unwrap(), "/etc/sub/file", &["bind"]);
    bundle.script("cat /etc/sub/file; echo more > /etc/sub/file").run().good();
    assert_eq!(fs::read_to_string(file).unwrap(), "more\n");
}

fn bind_and_rbind(bundle: &mut Bundle) {
    let volume = bundle.folder("volume");
    let below = bundle.folder("volume/below");
    bundle.before = format!("mount -t tmpfs below {0}; touch {0}/file;", below.display());
    bundle.add_mount("bind", volume.to_str().unwrap(), "/bind", &["bind"]);
    bundle.add_mount("bind", volume.to_str().unwrap(), "/rbind", &["rbind"]);
    let script = "echo bind $(ls /bind/below) rbind $(ls /rbind/below)";
    assert_eq!(bundle.script(script).run().good(), "bind rbind file\n");
}

fn data(bundle: &mut Bundle) {
    bundle.add_mount("tmpfs", "sized", "/sized", &["nosuid", "size=64k", "mode=1750", "uid=7", "gid=8"]);
    let out = bundle.script("stat -c '%a %u %g' /sized; grep ^sized /proc/self/mounts").run().good();
    assert!(out.starts_with("1750 7 8\n") && out.contains("size=64k") && out.contains("nosuid"), "{out}");
}

/// It is the file system's to refuse: an option that nobody knows is not dropped.
fn unknown_option(bundle: &mut Bundle) {
    bundle.add_mount("tmpfs", "tmpfs", "/t", &["no_such_option"]);
    bundle.refused();
}

fn unknown_type(bundle: &mut Bundle) {
    bundle.add_mount("nosuchfs", "none", "/t", &[]);
    bundle.refused();
}

fn missing_source(bundle: &mut Bundle) {
    bundle.add_mount("bind", "no/such/source", "/t", &["bind"]);
    bundle.refused();
    assert!(!bundle.path().join("no").exists(), "the source was made");
}

fn remount(bundle: &mut Bundle) {
    bundle.add_mount("tmpfs", "again", "/t", &["nosuid"]);
    bundle.add_mount("tmpfs", "again", "/t", &["remount", "ro"]);
    let ran = bundle.script("grep ^again /proc/self/mounts | wc -l; touch /t/x").run();
    assert!(ran.out == "1\n" && ran.err.contains("Read-only file system"), "{ran:?}");
}

/// Of one mount, not of what it shows: another bind of it stays writable.
fn read_only_bind(bundle: &mut Bundle) {
    let volume = bundle.folder("volume");
    bundle.add_mount("bind", volume.to_str().unwrap(), "/ro", &["bind", "ro"]);
    bundle.add_mount("bind", volume.to_str().unwrap(), "/rw", &["bind", "rw"]);
    let ran = bundle.script("touch /ro/x; touch /rw/y && echo written").run();
    assert!(ran.out == "written\n" && ran.err.contains("Read-only file system"), "{ran:?}");
    assert!(volume.join("y").exists() && !volume.join("x").exists());
}
