//! Mounts: where they land, what they show, and how they can be changed.

use super::*;

/// CVE-2019-18837 and its kin: destinations that are links out of the image stay in it.
#[test]
fn destinations_stay_in_the_image() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (outside, volume) = (bundle.path().join("outside"), bundle.path().join("volume"));
    fs::create_dir(&outside).unwrap();
    fs::create_dir(&volume).unwrap();
    symlink(&outside, bundle.rootfs("absolute")).unwrap();
    symlink("../../../../../../../..", bundle.rootfs("up")).unwrap();
    bundle.add_mount("bind", volume.to_str().unwrap(), "/absolute/a", &["bind"]);
    bundle.add_mount("tmpfs", "tmpfs", "/up/b", &[]);
    bundle.add_mount("bind", volume.to_str().unwrap(), "/../../c", &["bind"]);
    let out = bundle.script("touch /absolute/a/file; ls -d /b /c").run().good();
    assert_eq!(out, "/b\n/c\n");
    assert_eq!(tree(&outside), Vec::<PathBuf>::new());
    assert!(volume.join("file").exists());
}

/// CVE-2021-30465, CVE-2024-45310: while a container is made, another one exchanges a directory of a shared volume
/// for a link to the host.
#[test]
fn a_racing_volume_reaches_nothing_outside() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (outside, volume) = (bundle.path().join("outside"), bundle.path().join("volume"));
    for directory in [&outside, &volume, &volume.join("real")] {
        fs::create_dir(directory).unwrap();
    }
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, volume.join("link")).unwrap();
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    bundle.add_mount("tmpfs", "tmpfs", "/volume/real/made/here", &[]);
    bundle.add_mount("bind", "/etc/hostname", "/volume/real/made/file", &["bind"]);
    bundle.add_mount("tmpfs", "tmpfs", "/volume/real", &["tmpcopyup"]);
    bundle.script("cat /volume/real/secret /volume/link/secret 2>/dev/null; exit 0");
    let attacker = Exchange::start(volume.join("real"), volume.join("link"));
    race(|| {
        // It may fail where it meets the link; it must not leave the root.
        let ran = bundle.run();
        assert!(!ran.out.contains("secret"), "{ran:?}");
    });
    drop(attacker);
    assert_eq!(tree(&outside), [outside.join("secret")]);
}

/// The same while masks and read-only paths are applied (CVE-2025-52881, CVE-2019-16884).
#[test]
fn a_racing_mask_covers_nothing_outside() {
    let Some(mut bundle) = Bundle::new() else { return };
    let (outside, volume) = (bundle.path().join("outside"), bundle.path().join("volume"));
    for directory in
        [&outside, &volume, &volume.join("real"), &outside.join("target"), &volume.join("real/target")]
    {
        fs::create_dir(directory).unwrap();
    }
    symlink(&outside, volume.join("link")).unwrap();
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["bind"]);
    bundle.spec["linux"]["maskedPaths"] = json!(["/volume/real/target"]);
    bundle.spec["linux"]["readonlyPaths"] = json!(["/volume/real"]);
    bundle.args(&["true"]);
    let attacker = Exchange::start(volume.join("real"), volume.join("link"));
    race(|| drop(bundle.run()));
    drop(attacker);
    fs::write(outside.join("target/file"), "writable").unwrap();
}

/// A bind mount of the host's tree that is read-only is so with everything below it if that was asked for.
#[test]
fn read_only_means_all_of_it() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.add_mount("bind", "/sys", "/sys", &["rbind", "ro"]);
    bundle.drop_mount("/sys/fs/cgroup");
    let out =
        bundle.script("grep -E ' /sys(/| )' /proc/self/mountinfo | grep -v ' ro,' | wc -l").run().good();
    assert_eq!(out, "0\n");
}

/// CVE-2026-115521: the root is to be read-only, and the image brings a `/proc/self/fd` of its own.
#[test]
fn a_read_only_root_is_read_only() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.drop_mount("/proc");
    bundle.spec["linux"]["maskedPaths"] = json!([]);
    bundle.spec["linux"]["readonlyPaths"] = json!([]);
    bundle.spec["root"]["readonly"] = json!(true);
    fs::create_dir_all(bundle.rootfs("proc/self/fd")).unwrap();
    for fd in 0..32 {
        symlink("/tmp", bundle.rootfs(&format!("proc/self/fd/{fd}"))).unwrap();
    }
    let out = bundle.script("touch /file /tmp/file 2>/dev/null; ls /tmp").run().good();
    assert_eq!(out, "");
    assert!(!bundle.rootfs("file").exists());
}

/// A container in the host's mount namespace changes neither its mounts nor how they propagate.
#[test]
fn the_hosts_root_stays_shared() {
    let Some(mut bundle) = Bundle::new() else { return };
    let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|n| n["type"] != "mount");
    bundle.args(&["true"]).write();
    // A namespace that stands for the host's, with a shared root as under systemd.
    let run = "set -e; cat /proc/self/mountinfo > before; \"$@\"; cat /proc/self/mountinfo > after";
    let mut command = std::process::Command::new("unshare");
    let output = command
        .args(["--mount", "--propagation", "shared", "sh", "-c", run, "sh"])
        .args([env!("CARGO_BIN_EXE_sampan-runtime"), "--root", "state", "run", "--bundle", ".", "test"])
        .current_dir(bundle.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let mounts = |name: &str| fs::read_to_string(bundle.path().join(name)).unwrap();
    assert_eq!(mounts("after"), mounts("before"));
    assert!(mounts("before").contains("shared:"));
}

/// What a container mounts doesn't reach the host, also where the host's mounts are shared.
#[test]
fn mounts_do_not_reach_the_host() {
    let Some(mut bundle) = Bundle::new() else { return };
    let volume = bundle.path().join("volume");
    fs::create_dir(&volume).unwrap();
    add_capability(&mut bundle, "CAP_SYS_ADMIN");
    bundle.add_mount("bind", volume.to_str().unwrap(), "/volume", &["rbind"]);
    bundle.script("mount -t tmpfs inner /volume && mount -t tmpfs inner /tmp && echo mounted");
    // Looks at the host's mounts while the container is there. `run` is what the shell becomes; it looks before that.
    bundle.spec["hooks"] = json!({"poststart": [{
        "path": "/bin/sh",
        "args": ["sh", "-c", format!("sleep 0.3; cat /proc/self/mountinfo > {}/mounts", bundle.path().display())],
    }]});
    let before =
        format!("mount --make-rshared /; mount --bind {0} {0}; mount --make-shared {0};", volume.display());
    assert_eq!(bundle.run_after(&before).good(), "mounted\n");
    let mounts = fs::read_to_string(bundle.path().join("mounts")).unwrap();
    assert!(mounts.contains("/volume") && !mounts.contains("inner"), "{mounts}");
}

/// CVE-2023-25809: without a cgroup namespace of its own, a container sees the host's cgroups, and must not write there.
#[test]
fn cgroups_of_the_host_are_read_only() {
    let Some(mut bundle) = Bundle::new() else { return };
    let script = "mkdir /sys/fs/cgroup/made 2>/dev/null && echo made; (echo 1 > /sys/fs/cgroup/cgroup.procs) 2>/dev/null \
                  && echo moved; grep ' /sys/fs/cgroup ' /proc/self/mountinfo | grep -vc ' ro,'; true";
    bundle.script(script);
    assert_eq!(bundle.run().out, "0\n");
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    assert_eq!(bundle.run().out, "0\n");
    own_users(&mut bundle);
    // Whoever doesn't own them may not mount them at all.
    let ran = bundle.run();
    assert!(ran.out == "0\n" || ran.status != 0 && ran.err.contains("cgroup"), "{ran:?}");
}

/// The container's process leaves a root that was only changed by chroot(2).
#[test]
fn a_root_without_pivot_holds() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !spy(&bundle) {
        return;
    }
    fs::write(bundle.rootfs("in-the-container"), "").unwrap();
    bundle.args(&["/bin/spy", "escape"]);
    for options in [&["--no-pivot"][..], &[]] {
        let out = run_with(&bundle, "", options).good();
        assert!(out.lines().any(|name| name == "in-the-container"), "{out}");
        assert!(!out.lines().any(|name| name == "boot"), "this is the host's root: {out}");
    }
}
