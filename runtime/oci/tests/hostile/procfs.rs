//! Procfs: the container's, which is hostile, and the host's, which may be covered.

use super::*;

/// CVE-2023-27561, CVE-2023-28642, CVE-2026-41579: what the runtime owns in the image is a link to elsewhere.
#[test]
fn proc_sys_and_dev_are_no_links() {
    let Some(mut bundle) = Bundle::new() else { return };
    for name in ["proc", "sys", "dev"] {
        let _ = fs::remove_dir_all(bundle.rootfs(name));
        fs::create_dir_all(bundle.rootfs("elsewhere")).unwrap();
        symlink("elsewhere", bundle.rootfs(name)).unwrap();
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains("symbolic link"), "{name}: {ran:?}");
        assert_eq!(tree(&bundle.rootfs("elsewhere")), Vec::<PathBuf>::new());
        fs::remove_file(bundle.rootfs(name)).unwrap();
    }
}

/// CVE-2025-31133: the image's `/dev/null` is a link to a file of procfs, which a mask would then bring in writable.
#[test]
fn masks_do_not_come_from_the_image() {
    let Some(mut bundle) = Bundle::new() else { return };
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle.drop_mount(destination);
    }
    // A /dev of someone else's: the runtime makes no devices in it.
    let dev = bundle.path().join("dev");
    fs::create_dir(&dev).unwrap();
    symlink("/proc/sys/kernel/core_pattern", dev.join("null")).unwrap();
    bundle.add_mount("bind", dev.to_str().unwrap(), "/dev", &["bind"]);
    let pattern = fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let ran = bundle.script("cat /proc/timer_list; stat -c %t,%T /proc/timer_list").run();
    assert_eq!(ran.out, "1,3\n", "{ran:?}");
    assert_eq!(fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap(), pattern);
}

/// CVE-2019-16884, CVE-2019-19921: a volume over a part of `/proc` makes a fake of what is written there.
#[test]
fn proc_is_not_covered_by_volumes() {
    let Some(mut bundle) = Bundle::new() else { return };
    for destination in ["/proc/self/attr", "/proc", "/proc/sys/kernel", "/x/../proc/1", "proc/sysrq-trigger"]
    {
        let spec = bundle.spec.clone();
        let source = bundle.path().to_str().unwrap().to_owned();
        bundle.add_mount("bind", &source, destination, &["bind"]);
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains("nothing but procfs"), "{destination}: {ran:?}");
        bundle.spec = spec;
    }
}

/// CVE-2022-0811, CVE-2025-52881: a sysctl that isn't the container's own.
#[test]
fn sysctls_of_the_host_are_refused() {
    let Some(mut bundle) = Bundle::new() else { return };
    for name in
        ["kernel.core_pattern", "net/../kernel/core_pattern", "kernel.shm_rmid_forced+kernel.core_pattern"]
    {
        bundle.spec["linux"]["sysctl"] = json!({name: "|/bin/false"});
        let ran = bundle.args(&["true"]).run();
        assert!(ran.status != 0 && ran.err.contains(name), "{ran:?}");
    }
}

/// CVE-2019-19921, CVE-2025-52881: the caller writes and reads files of processes. What is mounted at its own `/proc`
/// must be the procfs of its own processes, all of it.
#[test]
fn the_hosts_proc_is_proven() {
    let Some(mut bundle) = Bundle::new() else { return };
    let covers = [
        "mount -t tmpfs fake /proc;",
        "mount --bind /proc/sys /proc;",
        "mount --bind /proc/1 /proc;",
        // A procfs, but of other processes.
        "unshare --pid --fork mount -t proc proc /proc;",
    ];
    bundle.spec["process"]["oomScoreAdj"] = json!(700);
    let with_score = bundle.args(&["true"]).spec.clone();
    bundle.spec["process"]["oomScoreAdj"] = Value::Null;
    own_users(&mut bundle);
    for spec in [bundle.spec.clone(), with_score] {
        bundle.spec = spec;
        bundle.run().good();
        for cover in covers {
            let ran = bundle.run_after(cover);
            assert!(ran.status != 0 && ran.err.contains("/proc: this isn't the procfs"), "{cover}: {ran:?}");
        }
    }
}

/// A process may call itself anything. One whose name is no text is still a process: a container must not pass for
/// stopped, and be forgotten while it runs.
#[test]
fn a_strange_name_hides_nobody() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.script("printf '\\377) Z 1 ' > /proc/1/comm; while :; do sleep 1; done");
    let running = bundle.start();
    let pid = bundle.pid();
    eventually("the name", || fs::read(format!("/proc/{pid}/comm")).unwrap()[0] == 0xff);
    assert_eq!(bundle.status(), "running");
    drop(running);
    // Whoever adopts it may take a while to ask for its end.
    let stat = fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(stat.is_empty() || String::from_utf8_lossy(&stat).rsplit_once(") ").unwrap().1.starts_with('Z'));
}

/// CVE-2022-0811: what is a sysctl of the container is written in its own namespace only.
#[test]
fn sysctls_change_the_container_alone() {
    let Some(mut bundle) = Bundle::new() else { return };
    let read = || fs::read_to_string("/proc/sys/kernel/msgmax").unwrap();
    let host = read();
    bundle.spec["linux"]["sysctl"] = json!({"kernel.msgmax": "4242"});
    assert_eq!(bundle.args(&["cat", "/proc/sys/kernel/msgmax"]).run().good(), "4242\n");
    assert_eq!(read(), host);
}
