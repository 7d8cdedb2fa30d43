//! The known attacks on container runtimes, performed. Each test names the advisory that it guards against; a root
//! file system, a volume or a running container is the attacker.

mod bundle;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use bundle::Bundle;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use serde_json::json;

/// All names below a directory.
fn tree(directory: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).unwrap().flatten() {
        all.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            all.extend(tree(&entry.path()));
        }
    }
    all.sort();
    all
}

/// Exchanges two names as fast as it can until stopped.
struct Exchange {
    stop: Arc<AtomicBool>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Exchange {
    fn start(a: PathBuf, b: PathBuf) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                renameat_with(CWD, &a, CWD, &b, RenameFlags::EXCHANGE).unwrap();
            }
        });
        Exchange { stop, thread: Some(thread) }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn executable(path: &Path) {
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

fn runtime_bytes() -> Vec<u8> {
    fs::read(env!("CARGO_BIN_EXE_sampan-runtime")).unwrap()
}

/// CVE-2019-5736: the entry point makes the kernel execute the runtime as its interpreter.
#[test]
fn the_runtime_is_no_interpreter() {
    let Some(mut bundle) = Bundle::new() else { return };
    for interpreter in ["/proc/self/exe", "/proc/1/exe", "/link"] {
        let _ = symlink("/proc/self/exe", bundle.rootfs("link"));
        fs::write(bundle.rootfs("bin/entry"), format!("#!{interpreter}\n")).unwrap();
        executable(&bundle.rootfs("bin/entry"));
        let ran = bundle.args(&["/bin/entry", "--version"]).run();
        assert_eq!(ran.status, 126, "{ran:?}");
        assert!(!ran.out.contains(env!("CARGO_PKG_VERSION")), "the runtime was executed: {ran:?}");
    }
}

/// The same by a hook that is a program of the container.
#[test]
fn the_runtime_is_no_interpreter_of_hooks() {
    let Some(mut bundle) = Bundle::new() else { return };
    fs::write(bundle.rootfs("bin/hook"), "#!/proc/self/exe\n").unwrap();
    executable(&bundle.rootfs("bin/hook"));
    bundle.spec["hooks"] = json!({"startContainer": [{"path": "/bin/hook", "args": ["hook", "--version"]}]});
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("startContainer hook /bin/hook: exit status 126"), "{ran:?}");
    assert!(!ran.out.contains(env!("CARGO_PKG_VERSION")), "the runtime was executed: {ran:?}");
}

/// CVE-2019-5736, CVE-2016-9962: a container with `CAP_SYS_PTRACE` looks at whoever joins it, and writes to its
/// executable. It may see the sealed copies, which are nobody's file.
#[test]
fn who_joins_a_container_cannot_be_reached() {
    let Some(mut bundle) = Bundle::new() else { return };
    let before = runtime_bytes();
    for set in ["bounding", "effective", "permitted"] {
        bundle.spec["process"]["capabilities"][set].as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
    }
    let spy = "while :; do for p in /proc/[0-9]*; do
            readlink $p/exe; ls -l $p/fd; (echo hacked > $p/exe) 2>/dev/null
        done; done >> /tmp/seen 2>/dev/null";
    let running = bundle.script(spy).start();
    for _ in 0..40 {
        assert_eq!(running.exec(&[], &["/bin/true"]).status, 0);
    }
    drop(running);
    let seen = fs::read_to_string(bundle.rootfs("tmp/seen")).unwrap();
    assert!(seen.contains("/bin/busybox"), "the spy didn't run");
    assert!(!seen.contains("sampan-runtime"), "the host's file was visible");
    assert!(!seen.contains(bundle.path().join("state").to_str().unwrap()), "the state was visible");
    assert_eq!(runtime_bytes(), before);
}

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

/// CVE-2026-41579, CVE-2026-88264, CVE-2026-88265: without a mount at `/dev`, names in the image's own are links to
/// files of the host.
#[test]
fn devices_are_not_made_through_links() {
    let Some(mut bundle) = Bundle::new() else { return };
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle.drop_mount(destination);
    }
    let victim = bundle.path().join("victim");
    fs::write(&victim, "untouched").unwrap();
    fs::create_dir(bundle.rootfs("dev")).unwrap();
    symlink(&victim, bundle.rootfs("dev/null")).unwrap();
    let ran = bundle.args(&["true"]).run();
    assert!(ran.status != 0 && ran.err.contains("something else of this name"), "{ran:?}");

    fs::remove_file(bundle.rootfs("dev/null")).unwrap();
    symlink(&victim, bundle.rootfs("dev/console")).unwrap();
    bundle.add_mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"]);
    bundle.spec["process"]["terminal"] = json!(true);
    let ran = bundle.run();
    assert!(ran.status != 0 && ran.err.contains("symbolic link"), "{ran:?}");
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert!(fs::symlink_metadata(&victim).unwrap().is_file());
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
    bundle.script("cat /volume/real/secret /volume/link/secret 2>/dev/null; exit 0");
    let attacker = Exchange::start(volume.join("real"), volume.join("link"));
    let end = Instant::now() + Duration::from_secs(10);
    let mut rounds = 0;
    while rounds < 300 && Instant::now() < end {
        // It may fail where it meets the link; it must not leave the root.
        let ran = bundle.run();
        assert!(!ran.out.contains("secret"), "{ran:?}");
        rounds += 1;
    }
    drop(attacker);
    assert_eq!(tree(&outside), [outside.join("secret")], "after {rounds} rounds");
    eprintln!("{rounds} rounds");
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
    for _ in 0..100 {
        bundle.run();
    }
    drop(attacker);
    fs::write(outside.join("target/file"), "writable").unwrap();
}

/// CVE-2024-21626: the working directory is a directory of the host behind an inherited descriptor.
#[test]
fn the_working_directory_is_inside() {
    let Some(mut bundle) = Bundle::new() else { return };
    for fd in 3..16 {
        bundle.spec["process"]["cwd"] = json!(format!("/proc/self/fd/{fd}"));
        let ran = bundle.args(&["pwd"]).run_after("exec 7</ 9</etc;");
        assert_ne!(ran.status, 0, "fd {fd}: {ran:?}");
    }
    bundle.spec["process"]["cwd"] = json!("/");
    symlink("/proc/self/fd/7", bundle.rootfs("link")).unwrap();
    let running = bundle.args(&["sleep", "1000"]).start();
    for cwd in ["/link", "/proc/self/fd/3", "/proc/self/fd/7/..", "/proc/1/fd/0"] {
        let ran = running.exec(&["--cwd", cwd], &["pwd"]);
        assert!(ran.status != 0 || ran.out.starts_with('/'), "{cwd}: {ran:?}");
        assert!(!ran.out.contains("work") && !ran.out.contains("home"), "{cwd}: {ran:?}");
    }
}

/// CVE-2022-29162, CVE-2022-27650, CVE-2022-24769: programs that are executed in a container inherit capabilities.
#[test]
fn nothing_is_inheritable() {
    let Some(mut bundle) = Bundle::new() else { return };
    let running = bundle.args(&["sleep", "1000"]).start();
    let status = ["grep", "-E", "Cap(Inh|Amb)", "/proc/self/status"];
    for options in [&[][..], &["--cap", "CAP_NET_RAW"], &["--user", "1000"]] {
        let out = running.exec(options, &status).good();
        assert_eq!(out, "CapInh:\t0000000000000000\nCapAmb:\t0000000000000000\n", "{options:?}");
    }
}

/// CVE-2026-30892: a user that can't be read becomes root.
#[test]
fn a_user_that_cannot_be_read_is_an_error() {
    let Some(mut bundle) = Bundle::new() else { return };
    let running = bundle.args(&["sleep", "1000"]).start();
    assert_eq!(running.exec(&["--user", "1"], &["id"]).good(), "uid=1 gid=0\n");
    for user in ["1:", ":", "x", "-1", "4294967295", "1:x"] {
        let ran = running.exec(&[&format!("--user={user}")], &["id"]);
        assert!(ran.status != 0 && ran.out.is_empty(), "{user}: {ran:?}");
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

/// CVE-2026-57231: an entry of the environment without a value reads the host's.
#[test]
fn the_environment_is_not_the_hosts() {
    let Some(mut bundle) = Bundle::new() else { return };
    for entry in ["SECRET", "*"] {
        bundle.spec["process"]["env"] = json!(["PATH=/bin", entry]);
        let ran = bundle.args(&["env"]).run_after("export SECRET=host;");
        assert!(ran.status != 0 && ran.err.contains("KEY=VALUE"), "{ran:?}");
    }
}

/// Names become paths: nothing but names passes.
#[test]
fn names_are_no_paths() {
    let Some(bundle) = Bundle::new() else { return };
    for id in ["../x", "a/b", "..", ".", "-x", "a b", "a\nb"] {
        let ran = bundle.runtime(&["state", "--", id]);
        assert_ne!(ran.status, 0, "{id}");
        let ran = bundle.runtime(&["delete", "--force", "--", id]);
        assert_eq!(ran.status, 0, "{id:?} does not exist: {ran:?}");
    }
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
