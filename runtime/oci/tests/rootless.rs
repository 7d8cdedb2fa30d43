//! Containers of users without root's privileges. The tests begin as root, to become such a user, in a private mount
//! namespace in which `/etc/subuid` and `/etc/subgid` give that user ids.

mod bundle;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use bundle::Ran;
use serde_json::{Value, json};

const BUSYBOX: &str = "/bin/busybox";
const APPLETS: &[&str] = &[
    "cat", "echo", "grep", "id", "ls", "mkdir", "mount", "readlink", "sed", "sh", "sleep", "stat", "tail",
    "test", "true",
];

/// The user, and the first of their further ids.
const USER: u32 = 4711;
const FIRST: u32 = 300_000;

/// A bundle that belongs to the user, with `config.json` of `spec --rootless`.
struct Bundle {
    directory: tempfile::TempDir,
    spec: Value,
}

/// The commands that make an unprivileged user of root, in a place where they have further ids; `before` are
/// words that then execute the rest (`unshare --user …`).
fn as_user(directory: &Path, before: &[&str]) -> Command {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let ids = write("subid", format!("{USER}:{FIRST}:65536\n"));
    // The helpers want to know the user's name.
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let users = write("passwd", format!("{users}\nsampan-test:x:{USER}:{USER}::/:/bin/sh\n"));
    let script = format!(
        "mount --bind {users} /etc/passwd
        for f in /etc/subuid /etc/subgid; do [ ! -e $f ] || mount --bind {ids} $f; done
        exec \"$@\""
    );
    let user = USER.to_string();
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"])
        .args(["setpriv", "--reuid", &user, "--regid", &user, "--clear-groups"])
        .args(["env", "-i", "PATH=/usr/bin:/bin:/usr/sbin"])
        .arg(format!("XDG_RUNTIME_DIR={}", directory.join("run").display()))
        .args(before);
    command
}

impl Bundle {
    fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: root becomes the user here");
            return None;
        }
        if !Path::new(BUSYBOX).exists() {
            eprintln!("SKIP: no static busybox at {BUSYBOX}");
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // The user may not reach the folder that cargo builds in.
        fs::copy(env!("CARGO_BIN_EXE_sampan-runtime"), directory.path().join("runtime")).unwrap();
        let bin = directory.path().join("rootfs/bin");
        fs::create_dir_all(&bin).unwrap();
        fs::copy(BUSYBOX, bin.join("busybox")).unwrap();
        for applet in APPLETS {
            symlink("busybox", bin.join(applet)).unwrap();
        }
        fs::create_dir(directory.path().join("run")).unwrap();
        let mut bundle = Bundle { directory, spec: Value::Null };
        let chown = Command::new("chown").args(["-R", &format!("{USER}:{USER}")]).arg(bundle.path()).status();
        assert!(chown.unwrap().success());
        let probe = as_user(bundle.path(), &["unshare", "--user", "true"]).status().unwrap();
        if !probe.success() {
            eprintln!("SKIP: users can't make user namespaces here");
            return None;
        }
        bundle.runtime(&["spec", "--rootless", "--bundle", bundle.path().to_str().unwrap()]).good();
        let text = fs::read(bundle.path().join("config.json")).unwrap();
        bundle.spec = serde_json::from_slice(&text).unwrap();
        bundle.spec["process"]["terminal"] = json!(false);
        bundle.spec["process"]["env"] = json!(["PATH=/bin"]);
        Some(bundle)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A container's name that no other test has: cgroups are named by it, and seen by all.
    fn id(&self) -> String {
        self.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned()
    }

    fn script(&mut self, script: &str) -> &mut Self {
        self.spec["process"]["args"] = json!(["/bin/sh", "-c", script]);
        self
    }

    /// Maps container id 0 to `host`, and more ids to `first` and those after it.
    fn map(&mut self, host: u32, first: Option<u32>) {
        let mut map = vec![json!({"containerID": 0, "hostID": host, "size": 1})];
        map.extend(first.map(|first| json!({"containerID": 1, "hostID": first, "size": 65536})));
        for ids in ["uidMappings", "gidMappings"] {
            self.spec["linux"][ids] = json!(map);
        }
    }

    fn write(&self) {
        fs::write(self.path().join("config.json"), serde_json::to_vec(&self.spec).unwrap()).unwrap();
    }

    fn program(&self) -> PathBuf {
        self.path().join("runtime")
    }

    fn runtime(&self, arguments: &[&str]) -> Ran {
        self.runtime_in(&[], arguments)
    }

    fn runtime_in(&self, before: &[&str], arguments: &[&str]) -> Ran {
        let mut command = as_user(self.path(), before);
        command.arg(self.program()).args(arguments).stdin(Stdio::null());
        Ran::new(command.output().unwrap())
    }

    fn run_in(&self, before: &[&str]) -> Ran {
        self.write();
        let ran = self.runtime_in(before, &["run", "--bundle", self.path().to_str().unwrap(), &self.id()]);
        let state = self.path().join("run/sampan-runtime");
        let left = fs::read_dir(state).unwrap().flatten().filter(|e| e.file_name() != ".seccomp").count();
        assert_eq!(left, 0, "left over: {ran:?}");
        ran
    }

    fn run(&self) -> Ran {
        self.run_in(&[])
    }

    fn start(&self) -> Running<'_> {
        self.write();
        let log = fs::File::create(self.path().join("log")).unwrap();
        let mut command = as_user(self.path(), &[]);
        command.arg(self.program()).args(["run", "--detach", "--bundle"]).arg(self.path()).arg(self.id());
        let status = command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log).status();
        assert!(status.unwrap().success(), "{}", fs::read_to_string(self.path().join("log")).unwrap());
        Running(self)
    }
}

struct Running<'a>(&'a Bundle);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.runtime(&["delete", "--force", &self.0.id()]);
    }
}

fn helpers() -> bool {
    let there = Path::new("/usr/bin/newuidmap").exists();
    if !there {
        eprintln!("SKIP: no newuidmap (package uidmap)");
    }
    there
}

#[test]
fn a_user_is_root_in_their_own_container() {
    let Some(mut bundle) = Bundle::new() else { return };
    let script = "id; sed 's/  */ /g' /proc/self/uid_map; echo x > /dev/null && echo written
        mkdir /made && ls -dln /made; cat /proc/self/setgroups; mount | grep -c ' /sys '
        (echo 1 > /sys/kernel/mm/ksm/run) 2>&1; true";
    let out = bundle.script(script).run().good();
    assert!(out.contains(&format!("uid=0 gid=0\n 0 {USER} 1\nwritten\n")), "{out}");
    assert!(out.contains("deny\n") && out.contains("1\n") && out.contains("Read-only"), "{out}");
    use std::os::unix::fs::MetadataExt;
    assert_eq!(fs::metadata(bundle.path().join("rootfs/made")).unwrap().uid(), USER);
}

#[test]
fn further_ids_are_mapped_by_the_helpers() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !helpers() {
        return;
    }
    bundle.map(USER, Some(FIRST));
    bundle.spec["process"]["user"] = json!({"uid": 5, "gid": 6, "additionalGids": [7, 8]});
    let out = bundle.script("id; sed 's/  */ /g' /proc/self/gid_map").run().good();
    assert_eq!(out, format!("uid=5 gid=6 groups=7,8\n 0 {USER} 1\n 1 {FIRST} 65536\n"));

    // $PATH doesn't say which helpers are executed.
    let (fakes, mark) = (bundle.path().join("run/fakes"), bundle.path().join("run/mark"));
    fs::create_dir(&fakes).unwrap();
    for name in ["newuidmap", "newgidmap"] {
        fs::write(fakes.join(name), format!("#!/bin/sh\ntouch {}\nexit 1\n", mark.display())).unwrap();
        fs::set_permissions(fakes.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    bundle.run_in(&["env", &format!("PATH={}:/usr/bin:/bin", fakes.display())]).good();
    assert!(!mark.exists());

    // Ids of others stay theirs.
    bundle.map(USER, Some(FIRST + 65536));
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("newuidmap") && ran.err.contains("not allowed"), "{ran:?}");
    bundle.map(0, None);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("not allowed"), "{ran:?}");
}

#[test]
fn a_network_terminal_and_devpts_of_ones_own() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !helpers() {
        return;
    }
    bundle.map(USER, Some(FIRST));
    // All that the configuration for root asks for, and the user namespace.
    let path = bundle.path().join("run/full.json");
    bundle.runtime(&["spec", "--file", path.to_str().unwrap()]).good();
    let mut full: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    for ids in ["uidMappings", "gidMappings"] {
        full["linux"][ids] = bundle.spec["linux"][ids].clone();
    }
    full["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    full["process"]["env"] = json!(["PATH=/bin"]);
    bundle.spec = full;
    let out =
        bundle.script("ls /sys/class/net; stat -c %g /dev/pts/0; readlink /proc/self/fd/0").run().good();
    assert_eq!(out.replace('\r', ""), "lo\n5\n/dev/pts/0\n");

    // The group of terminals isn't mapped: said in words, where the kernel says "Invalid argument".
    bundle.map(USER, None);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("\"gid=5\": nobody is mapped"), "{ran:?}");
}

#[test]
fn programs_are_executed_signalled_and_deleted() {
    let Some(mut bundle) = Bundle::new() else { return };
    if !helpers() {
        return;
    }
    bundle.map(USER, Some(FIRST));
    // A score below the caller's takes a privilege; it is left out.
    bundle.spec["process"]["oomScoreAdj"] = json!(-500);
    bundle.spec["process"]["user"] = json!({"uid": 5, "gid": 6});
    bundle.script("sleep 1000");
    let running = bundle.start();
    let state: Value = serde_json::from_str(&bundle.runtime(&["state", &bundle.id()]).good()).unwrap();
    assert_eq!(state["status"], "running");
    let script = "id; sed 's/  */ /g' /proc/self/uid_map; cat /proc/1/oom_score_adj";
    let out = bundle.runtime(&["exec", "--user", "0:0", &bundle.id(), "sh", "-c", script]).good();
    assert_eq!(out, format!("uid=0 gid=0\n 0 {USER} 1\n 1 {FIRST} 65536\n0\n"));
    assert_eq!(bundle.runtime(&["exec", &bundle.id(), "id"]).good(), "uid=5 gid=6\n");
    assert_eq!(
        bundle.runtime(&["exec", "--tty", &bundle.id(), "readlink", "/proc/self/fd/0"]).good().trim(),
        "/dev/pts/0"
    );
    assert_eq!(bundle.runtime(&["exec", &bundle.id(), "no-such-program"]).status, 127);
    // The program is another user's to the host, and the container still its maker's.
    bundle.runtime(&["kill", &bundle.id(), "KILL"]).good();
    bundle::eventually("its end", || bundle.runtime(&["kill", &bundle.id(), "0"]).status != 0);
    bundle.runtime(&["delete", &bundle.id()]).good();
    drop(running);
}

#[test]
fn root_in_a_user_namespace_needs_no_further_one() {
    let Some(mut bundle) = Bundle::new() else { return };
    let inside = json!({"containerID": 0, "hostID": 0, "size": 1});
    for (before, nested) in [
        (&["unshare", "--user", "--map-root-user"][..], false),
        (&["unshare", "--user", "--map-root-user", "--mount"], false),
        (&["unshare", "--user", "--map-root-user", "--mount"], true),
        (&["unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork", "--mount-proc"], false),
    ] {
        let spec = bundle.spec.clone();
        let namespaces = bundle.spec["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|n| nested || n["type"] != "user");
        for ids in ["uidMappings", "gidMappings"] {
            bundle.spec["linux"][ids] = if nested { json!([inside]) } else { Value::Null };
        }
        bundle.spec["process"]["oomScoreAdj"] = json!(-500);
        let ran = bundle.script("id; echo x > /dev/null && stat -c %t,%T /dev/null /dev/tty").run_in(before);
        assert_eq!(ran.good(), "uid=0 gid=0\n1,3\n5,0\n", "{before:?}");
        bundle.spec = spec;
    }
}

/// Root in a container that others have made: with capabilities, but not over mounts.
#[test]
fn root_without_mounts_makes_containers() {
    let Some(mut bundle) = Bundle::new() else { return };
    assert!(Command::new("chown").args(["-R", "0:0"]).arg(bundle.path()).status().unwrap().success());
    bundle.map(0, None);
    bundle.script("id; echo x > /dev/null && echo written").write();
    let kept = "-all,+chown,+dac_override,+fowner,+kill,+setgid,+setuid,+setpcap,+setfcap,+mknod,+sys_chroot";
    let run = |options: &[&str], words: &[&str]| {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "setpriv", "--bounding-set", kept]);
        command
            .arg(bundle.program())
            .arg("--root")
            .arg(bundle.path().join("state"))
            .args(options)
            .args(words);
        Ran::new(command.stdin(Stdio::null()).output().unwrap())
    };
    let ran = run(&["run", "--bundle", bundle.path().to_str().unwrap()], &[&bundle.id()]);
    assert_eq!(ran.good(), "uid=0 gid=0\nwritten\n");
}

/// CVE-2023-25809: the host's cgroups, where there is no namespace of them.
#[test]
fn the_hosts_cgroups_are_read_only() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "cgroup");
    let mounts = bundle.spec["mounts"].as_array_mut().unwrap();
    mounts.retain(|m| m["destination"] != "/sys/fs/cgroup");
    mounts.push(
        json!({"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup", "options": ["rw"]}),
    );
    let script = "test -e /sys/fs/cgroup/cgroup.procs && echo there
        mkdir /sys/fs/cgroup/x 2>/dev/null || echo closed; grep ' /sys/fs/cgroup ' /proc/self/mountinfo | tail -n 1";
    let ran = bundle.script(script).run();
    if ran.err.contains("mount cgroup2") {
        eprintln!("SKIP: cgroup2 isn't mounted here");
        return;
    }
    let out = ran.good();
    assert!(out.starts_with("there\nclosed\n") && out.contains(" /sys/fs/cgroup ro,"), "{out}");
}

/// A cgroup that was given to the user: the container's is in there, and gone after it.
#[test]
fn a_delegated_cgroup_is_used() {
    let Some(mut bundle) = Bundle::new() else { return };
    let mount = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map(Path::new);
    let Some(mount) = mount.into_iter().find(|m| m.join("cgroup.procs").exists()) else {
        eprintln!("SKIP: no cgroup2 is mounted");
        return;
    };
    let name = format!("sampan-user-{}", std::process::id());
    let own = mount.join(&name);
    if let Err(error) = fs::create_dir(&own) {
        eprintln!("SKIP: no cgroup can be made here: {error}");
        return;
    }
    for file in ["", "cgroup.procs", "cgroup.subtree_control"] {
        std::os::unix::fs::chown(own.join(file), Some(USER), Some(USER)).unwrap();
    }
    bundle.script("sleep 1000").write();
    let script = format!(
        "echo 0 > {}/cgroup.procs; {}; exec setpriv --reuid {USER} --regid {USER} --clear-groups \"$@\"",
        own.display(),
        "exec </dev/null >/dev/null 2>&1"
    );
    let run = |words: &[&str]| {
        let mut command = Command::new("sh");
        command.args(["-c", &script, "sh"]).env("XDG_RUNTIME_DIR", bundle.path().join("run"));
        command.arg(bundle.program()).args(words).status().unwrap().success()
    };
    let pid_file = bundle.path().join("run/pid");
    let path = bundle.path().to_str().unwrap();
    let started =
        run(&["run", "--detach", "--pid-file", pid_file.to_str().unwrap(), "--bundle", path, &bundle.id()]);
    let pid = fs::read_to_string(&pid_file).unwrap_or_default();
    let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let paused = run(&["pause", &bundle.id()]);
    let deleted = run(&["delete", "--force", &bundle.id()]);
    let left = own.join(format!("sampan-{}", bundle.id())).exists();
    // Who ran the container may be there a moment longer.
    bundle::eventually("nobody in the cgroup", || fs::remove_dir(&own).is_ok());
    assert!(started && paused && deleted && !left, "{started} {paused} {deleted} {left}");
    assert!(cgroup.lines().any(|line| line == format!("0::/{name}/sampan-{}", bundle.id())), "{cgroup}");
}

/// Podman without root's privileges calls the runtime as root in its own user namespace.
#[test]
fn podman_runs_its_containers() {
    let Some(bundle) = Bundle::new() else { return };
    if !helpers() {
        return;
    }
    if !Command::new("podman").arg("--version").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIP: no podman");
        return;
    }
    let (home, runtime) = (format!("HOME={}", bundle.path().join("run").display()), bundle.program());
    let before =
        ["env", &home, "podman", "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime"];
    let podman = |words: &[&str]| {
        let mut command = as_user(bundle.path(), &before);
        Ran::new(command.arg(&runtime).args(words).stdin(Stdio::null()).output().unwrap())
    };
    let rootfs = bundle.path().join("rootfs");
    let rootfs = rootfs.to_str().unwrap();
    let run = |options: &[&str], program: &[&str]| {
        let words = [&["run", "--network", "none", "--rootfs"][..], options, &[rootfs], program].concat();
        podman(&words)
    };
    let ran = run(&["--rm", "--user", "5:6"], &["id", "-u"]);
    assert_eq!(ran.good(), "5\n");
    let ran = run(&["--rm"], &["no-such-program"]);
    assert!(ran.status == 127 && ran.err.contains("executable file not found in $PATH"), "{ran:?}");
    run(&["--detach", "--name", "test"], &["sleep", "1000"]).good();
    assert_eq!(podman(&["exec", "test", "id", "-u"]).good(), "0\n");
    assert_eq!(podman(&["exec", "test", "no-such-program"]).status, 127);
    podman(&["rm", "--force", "--time", "0", "test"]).good();
    // Ends the process that keeps its user namespace.
    podman(&["system", "migrate"]).good();
}

#[test]
fn what_needs_privileges_is_said() {
    let Some(mut bundle) = Bundle::new() else { return };
    bundle.script("true");
    let spec = bundle.spec.clone();
    bundle.spec["linux"]["namespaces"].as_array_mut().unwrap().retain(|n| n["type"] != "user");
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("needs a user namespace"), "{ran:?}");

    bundle.spec = spec.clone();
    bundle.spec["process"]["user"]["additionalGids"] = json!([7]);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("forbids setgroups(2)"), "{ran:?}");

    bundle.spec = spec;
    bundle.spec["linux"]["devices"] = json!([{"path": "/dev/other", "type": "c", "major": 1, "minor": 5}]);
    let ran = bundle.run();
    assert!(ran.status == 1 && ran.err.contains("/dev/other"), "{ran:?}");
}

/// A user may not read what they couldn't read outside, whatever they are inside.
#[test]
fn the_hosts_files_stay_closed() {
    let Some(mut bundle) = Bundle::new() else { return };
    let mount = json!({"destination": "/host", "source": "/etc", "options": ["rbind"]});
    bundle.spec["mounts"].as_array_mut().unwrap().push(mount);
    let ran = bundle
        .script("cat /host/shadow; (echo x > /host/passwd); cat /host/hostname > /dev/null && echo read")
        .run();
    assert_eq!(ran.out, "read\n", "{ran:?}");
    assert_eq!(ran.err.matches("ermission denied").count(), 2, "{ran:?}");
}
