//! The mounts of a container: every option of the specification, and the sources that are no directories.

mod bundle;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use bundle::Bundle;
use serde_json::json;

/// The line of `mount` for a place.
fn line<'o>(out: &'o str, place: &str) -> &'o str {
    let at = format!(" on {place} type ");
    out.lines().rfind(|line| line.contains(&at)).unwrap_or_else(|| panic!("no {place} in {out}"))
}

#[test]
fn attributes_hold_for_one_mount_or_for_all_below() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.path().join("volume");
    fs::create_dir_all(volume.join("below")).unwrap();
    let below = volume.join("below").display().to_string();
    let source = volume.to_str().unwrap().to_owned();
    bundle.add_mount("bind", &source, "/one", &["rbind", "ro", "nosymfollow", "nodiratime", "noatime"]);
    bundle.add_mount(
        "none",
        &source,
        "/all",
        &["rbind", "rro", "rnosuid", "rnodev", "rnoexec", "rstrictatime"],
    );
    bundle.script("mount");
    bundle.write();
    let before = format!("/bin/mount -t tmpfs -o relatime tmpfs {below};");
    let out = bundle.run_after(&before).good();
    let top = line(&out, "/one");
    assert!(top.contains("(ro,") && top.contains("noatime") && top.contains("nosymfollow"), "{top}");
    assert!(line(&out, "/one/below").contains("(rw,relatime"), "{out}");
    for place in ["/all", "/all/below"] {
        let line = line(&out, place);
        assert!(line.contains("(ro,nosuid,nodev,noexec") && !line.contains("relatime"), "{line}");
    }
}

#[test]
fn flags_of_file_systems_are_set() {
    let Some(mut bundle) = Bundle::new() else { return };
    let options =
        ["sync", "dirsync", "lazytime", "mand", "iversion", "silent", "loud", "defaults", "size=1m"];
    bundle.add_mount("tmpfs", "tmpfs", "/a", &options);
    bundle.add_mount(
        "tmpfs",
        "tmpfs",
        "/b",
        &["sync", "async", "lazytime", "nolazytime", "noiversion", "nr_inodes=7"],
    );
    let out = bundle.script("cat /proc/mounts; ls /dev/mqueue").run().good();
    let find = |place: &str| out.lines().find(|l| l.contains(&format!(" {place} "))).unwrap().to_owned();
    let a = find("/a");
    assert!(a.contains("sync,dirsync") && a.contains("lazytime") && a.contains("size=1024k"), "{a}");
    let b = find("/b");
    assert!(!b.contains("sync") && !b.contains("lazytime") && b.contains("nr_inodes=7"), "{b}");
}

#[test]
fn procfs_has_its_options() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.drop_mount("/proc");
    bundle.add_mount("proc", "proc", "/proc", &["nosuid", "hidepid=invisible", "subset=pid"]);
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    bundle.spec["linux"]["readonlyPaths"] = json!([]);
    let out = bundle.script("cat /proc/self/mounts; ls /proc").run().good();
    let proc = out.lines().find(|l| l.contains(" /proc ")).unwrap();
    assert!(proc.contains("hidepid=invisible") && proc.contains("subset=pid"), "{proc}");
    assert!(!out.contains("sysrq-trigger"), "{out}");
}

#[test]
fn a_mount_is_made_anew() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.add_mount("tmpfs", "tmpfs", "/a", &["size=1m", "exec"]);
    bundle.add_mount("none", "none", "/a", &["remount", "ro", "noexec", "size=2m"]);
    bundle.add_mount("none", "none", "/", &["remount", "bind", "nodev"]);
    let out = bundle.script("mount").run().good();
    let a = line(&out, "/a");
    assert!(a.contains("(ro,noexec") && a.contains("size=2048k"), "{a}");
    assert!(line(&out, "/").contains("nodev"), "{out}");
    bundle.add_mount("none", "none", "/tmp", &["remount", "ro"]);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("remount /tmp"), "{ran:?}");
}

#[test]
fn files_sockets_and_links_are_bound() {
    let Some(mut bundle) = Bundle::new() else { return };
    let path = |name: &str| bundle.path().join(name).to_str().unwrap().to_owned();
    let (file, socket, link, dangling) = (path("file"), path("socket"), path("link"), path("dangling"));
    fs::write(&file, "new").unwrap();
    let _listener = UnixListener::bind(&socket).unwrap();
    symlink("file", &link).unwrap();
    symlink("/no/where", &dangling).unwrap();
    fs::create_dir(bundle.rootfs("etc")).unwrap();
    fs::write(bundle.rootfs("etc/conf"), "old").unwrap();
    symlink("conf", bundle.rootfs("etc/inside")).unwrap();
    let add = |bundle: &mut Bundle, source: &str, destination: &str, option: &str| {
        let mount = json!({"source": source, "destination": destination, "options": ["bind", option]});
        bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
    };
    add(&mut bundle, &file, "/etc/conf", "ro");
    add(&mut bundle, &socket, "/run/socket", "rw");
    add(&mut bundle, &link, "/run/followed", "ro");
    add(&mut bundle, &dangling, "/run/copied", "copy-symlink");
    add(&mut bundle, &dangling, "/run/itself", "src-nofollow");
    let script = "cat /etc/conf /etc/inside /run/followed; echo; stat -c %F /run/socket
        readlink /run/copied; readlink /run/itself; sed -n 's, [^ ]* /run/itself.*,bound,p' /proc/self/mountinfo | wc -l";
    let out = bundle.script(script).run().good();
    assert_eq!(out, "newnewnew\nsocket\n/no/where\n/no/where\n1\n");
    assert_eq!(fs::read_to_string(bundle.rootfs("etc/conf")).unwrap(), "old");

    // What a link of the image leads to is covered, or the link itself.
    bundle.drop_mount("/etc/conf");
    add(&mut bundle, &file, "/etc/inside", "dest-nofollow");
    assert_eq!(bundle.script("cat /etc/inside; echo; cat /etc/conf").run().good(), "new\nold");
}

#[test]
fn a_missing_source_is_named_before_anything_is_made() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.add_mount("bind", "/no/such/source", "/v", &["bind"]);
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("bind mount /no/such/source at /v: No such file"), "{ran:?}");
    assert!(!bundle.rootfs("v").exists());
}

/// It becomes the root, if it can be one that programs run in.
#[test]
fn what_is_mounted_over_the_root_is_the_root() {
    let Some(mut bundle) = Bundle::new() else { return };
    for place in ["/", "/tmp/.."] {
        bundle.add_mount("tmpfs", "tmpfs", place, &[]);
        let ran = bundle.args(&["/bin/busybox", "true"]).run();
        assert!(ran.status == 127 && ran.err.contains("stat /bin/busybox: No such file"), "{ran:?}");
        bundle.drop_mount(place);
    }
    for (kind, source, options) in
        [("bind", "/etc/passwd", &[][..]), ("cgroup", "cgroup", &[]), ("tmpfs", "tmpfs", &["tmpcopyup"])]
    {
        bundle.add_mount(kind, source, "/", options);
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status == 1 && ran.err.contains("mounts.destination \"/\""), "{ran:?}");
        bundle.drop_mount("/");
    }
    // The host's own mounts have no other root.
    let namespaces = bundle.spec["linux"]["namespaces"].clone();
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "mount");
    bundle.add_mount("tmpfs", "tmpfs", "/", &[]);
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status == 1 && ran.err.contains("mount namespace of its own"), "{ran:?}");
    bundle.drop_mount("/");
    bundle.spec["linux"]["namespaces"] = namespaces;
    bundle.add_mount("", "", "/", &["remount", "nodev"]);
    bundle.run().good();
}

/// Callers write options of the file system there, which has its own already. A word that is nobody's is an error.
#[test]
fn options_of_file_systems_are_none_of_bind_mounts() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.path().to_str().unwrap().to_owned();
    bundle.add_mount("bind", &volume, "/v", &["bind", "mode=755", "size=10k"]);
    let ran = bundle.args(&["true"]).run();
    for option in ["mode", "size"] {
        let words = format!("warning: the mount option {option} has no effect on the bind mount at /v");
        assert!(ran.status == 0 && ran.err.contains(&words), "{ran:?}");
    }
    bundle.drop_mount("/v");
    bundle.add_mount("bind", &volume, "/v", &["bind", "noexce"]);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("has no such option"), "{ran:?}");
}

#[test]
fn propagation_is_as_asked() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.path().to_str().unwrap().to_owned();
    for (place, word) in [("/p", "rprivate"), ("/s", "rshared"), ("/d", "rslave"), ("/u", "runbindable")] {
        bundle.add_mount("bind", &volume, place, &["rbind", word]);
    }
    let script = "cat /proc/self/mountinfo";
    let before = "/bin/mount --make-rshared /;";
    bundle.script(script);
    let out = bundle.run_after(before).good();
    let find = |place: &str| out.lines().find(|l| l.split(' ').nth(4) == Some(place)).unwrap().to_owned();
    assert!(!find("/p").contains("shared:") && !find("/p").contains("master:"), "{out}");
    assert!(find("/s").contains("shared:"), "{out}");
    assert!(find("/d").contains("master:"), "{out}");
    assert!(find("/u").contains("unbindable"), "{out}");
    for (word, mark) in [("shared", "shared:"), ("unbindable", "unbindable")] {
        bundle.spec["linux"]["rootfsPropagation"] = json!(word);
        let out = bundle.run().good();
        let root = out.lines().find(|l| l.split(' ').nth(4) == Some("/")).unwrap();
        assert!(root.contains(mark), "{word}: {root}");
    }
}

#[test]
fn control_groups_are_the_containers_own() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.add_mount("cgroup2", "cgroup", "/cg", &["nosuid", "ro"]);
    bundle.add_mount("cgroup", "cgroup", "/all", &["nosuid", "ro"]);
    let script =
        "sed -n '/0::/p' /proc/self/cgroup; cat /cg/cgroup.procs; mkdir /cg/x /all/x; ls /all; mount";
    let ran = bundle.script(script).run();
    if ran.err.contains("cgroup.procs") {
        eprintln!("SKIP: no cgroup2 here");
        return;
    }
    assert!(ran.out.starts_with("0::/\n1\n"), "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 2, "{ran:?}");
    // Without a namespace it is the own group all the same, by way of the host's mount.
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    let ran = bundle.run();
    let own = bundle.spec["linux"]["cgroupsPath"].as_str().unwrap();
    assert!(ran.out.starts_with(&format!("0::{own}\n1\n")), "{ran:?}");
    assert_eq!(ran.err.matches("Read-only file system").count(), 2, "{ran:?}");
}

#[test]
fn own_users_cannot_write_to_groups_without_a_namespace() {
    // CVE-2023-25809
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.drop_mount("/sys/fs/cgroup");
    bundle.add_mount("cgroup2", "cgroup", "/cg", &["rw"]);
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "cgroup");
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    let ran =
        bundle.script("cat /cg/cgroup.procs; mkdir /cg/x; mount -o remount,bind,rw /cg; mkdir /cg/x").run();
    assert!(ran.out.starts_with("1\n"), "{ran:?}");
    assert_eq!(ran.err.matches("can't create directory '/cg/x': Read-only").count(), 2, "{ran:?}");
}

#[test]
fn own_users_see_the_hosts_devices_and_processes() {
    let Some(mut bundle) = Bundle::new() else { return };
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| !["network", "pid", "ipc"].contains(&n["type"].as_str().unwrap()));
    namespaces.push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 0, "size": 1000}]);
    bundle.spec["linux"]["uidMappings"] = map.clone();
    bundle.spec["linux"]["gidMappings"] = map;
    bundle.drop_mount("/dev/mqueue");
    let own = std::process::id();
    let script = format!("ls /sys/class/net; ls -d /proc/{own}; mkdir /sys/fs/cgroup/x; mount");
    let ran = bundle.script(&script).run();
    assert!(ran.out.contains("lo\n") && ran.out.contains(&format!("/proc/{own}\n")), "{ran:?}");
    assert!(ran.err.contains("Read-only") || ran.err.contains("Permission denied"), "{ran:?}");
    assert!(line(&ran.out, "/sys").contains("(ro,"), "{ran:?}");
}
