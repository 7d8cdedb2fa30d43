//! `checkpoint` and `restore`: what criu is asked to do. A script stands in for criu and writes down its arguments;
//! where the real one works, it is used too.

mod bundle;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use bundle::Bundle;
use serde_json::json;

/// Ends the process as criu does after a dump; makes one at a restore.
const STAND_IN: &str = r#"#!/bin/sh
here=$(dirname "$0")
printf '%s\n' "$@" > "$here/arguments"
[ ! -e "$here/fail" ] || { echo "Error (criu/x.c:1): no luck" > "$here/images/$1.log"; exit 1; }
action=$1
while [ $# -gt 0 ]; do
	case $1 in
	--tree) tree=$2 ;;
	--pidfile) pidfile=$2 ;;
	--root) mountpoint -q "$2" || exit 3 ;;
	--leave-running) stays=1 ;;
	esac
	shift
done
case $action in
dump) [ "$stays" ] || kill -9 "$tree" ;;
restore) sleep 1000 >/dev/null 2>&1 & echo $! > "$pidfile" ;;
esac
"#;

struct Stand {
    bundle: Bundle,
}

impl Stand {
    fn new() -> Option<Self> {
        let bundle = Bundle::new()?;
        let criu = bundle.path().join("criu");
        fs::write(&criu, STAND_IN).unwrap();
        fs::set_permissions(criu, fs::Permissions::from_mode(0o755)).unwrap();
        Some(Stand { bundle })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.bundle.path().join(name)
    }

    fn runtime(&self, command: &str, options: &[&str]) -> bundle::Ran {
        let (criu, images) = (self.path("criu"), self.path("images"));
        let mut words = vec!["--criu", criu.to_str().unwrap(), command];
        words.extend(["--image-path", images.to_str().unwrap()]);
        words.extend(options);
        words.push("test");
        self.bundle.runtime(&words)
    }

    /// What the stand-in was called with last.
    fn arguments(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("arguments")).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

fn has(arguments: &[String], words: &[&str]) -> bool {
    arguments.windows(words.len()).any(|window| window == words)
}

#[test]
fn a_checkpoint_ends_the_container_and_a_restore_makes_it_again() {
    let Some(mut stand) = Stand::new() else { return };
    let volume = stand.path("volume");
    fs::create_dir(&volume).unwrap();
    stand.bundle.add_mount("bind", volume.to_str().unwrap(), "/data", &["bind"]);
    stand.bundle.args(&["sleep", "1000"]);
    let running = stand.bundle.start();
    let pid = stand.bundle.pid().to_string();
    let options = ["--tcp-established", "--file-locks", "--empty-ns", "network", "--leave-running"];
    stand.runtime("checkpoint", &options).good();
    let arguments = stand.arguments();
    assert_eq!(arguments[0], "dump");
    for words in [
        &["--tree", &pid][..],
        &["--external", "mnt[/data]:m0"],
        &["--empty-ns", "net"],
        &["--tcp-established"],
        &["--file-locks"],
        &["--manage-cgroups=soft"],
        &["--leave-running"],
    ] {
        assert!(has(&arguments, words), "{words:?}: {arguments:?}");
    }
    // The masks of files are mounts of the host's null device.
    assert!(arguments.iter().any(|word| word.starts_with("mnt[/proc/timer_list]:m")), "{arguments:?}");
    assert_eq!(stand.bundle.status(), "running");

    stand.runtime("checkpoint", &["--pre-dump"]).good();
    assert_eq!(stand.arguments()[0], "pre-dump");
    stand.runtime("checkpoint", &["--parent-path", "../before"]).good();
    let arguments = stand.arguments();
    assert!(has(&arguments, &["--prev-images-dir", "../before"]) && has(&arguments, &["--track-mem"]));
    let ran = stand.bundle.runtime(&["state", "test"]);
    assert!(ran.status == 1 && ran.err.contains("does not exist"), "{ran:?}");
    drop(running);

    let (path, pid_file) = (stand.bundle.path().to_str().unwrap().to_owned(), stand.path("restored"));
    let restored = ["--detach", "--bundle", &path, "--pid-file", pid_file.to_str().unwrap()];
    stand.runtime("restore", &restored).good();
    let arguments = stand.arguments();
    let source = format!("mnt[m0]:{}", volume.display());
    for words in [
        &["--external", source.as_str()][..],
        &["--root", stand.path("rootfs").to_str().unwrap()],
        &["--restore-detached", "--restore-sibling"],
    ] {
        assert!(has(&arguments, words), "{words:?}: {arguments:?}");
    }
    assert!(arguments.iter().any(|w| w.ends_with("]:/dev/null")), "{arguments:?}");
    assert_eq!(stand.bundle.status(), "running");
    let state = stand.bundle.runtime(&["state", "test"]).good();
    assert!(state.contains(fs::read_to_string(&pid_file).unwrap().as_str()), "{state}");
    stand.bundle.runtime(&["delete", "--force", "test"]).good();
}

/// CVE-2026-119101: a destination that criu reads as another key, and a link in the place of a mount.
#[test]
fn destinations_are_no_keys() {
    let Some(mut stand) = Stand::new() else { return };
    let volume = stand.path("volume");
    fs::create_dir(&volume).unwrap();
    symlink("tmp", stand.bundle.rootfs("link")).unwrap();
    for destination in ["/a]:/etc", "/b[c", "/link/d"] {
        let spec = stand.bundle.spec.clone();
        stand.bundle.add_mount("bind", volume.to_str().unwrap(), destination, &["bind"]);
        stand.bundle.args(&["sleep", "1000"]);
        let running = stand.bundle.start();
        let ran = stand.runtime("checkpoint", &[]);
        assert!(ran.status == 1 && ran.err.contains("can't be saved"), "{destination}: {ran:?}");
        assert!(!stand.path("arguments").exists(), "criu was called");
        drop(running);
        stand.bundle.spec = spec;
    }
}

/// The images come from elsewhere, and say which of the configuration's mounts is which; no more.
#[test]
fn images_bring_no_mounts_of_their_own() {
    let Some(stand) = Stand::new() else { return };
    stand.bundle.write();
    let images = stand.path("images");
    fs::create_dir(&images).unwrap();
    fs::write(images.join("descriptors.json"), json!(["/dev/null", "/dev/null", "/dev/null"]).to_string())
        .unwrap();
    for mounts in [json!({"m0": "/etc"}), json!({"m0]:/etc": "/tmp"}), json!({"m0": "/dev/../etc"})] {
        fs::write(images.join("external-mounts.json"), mounts.to_string()).unwrap();
        let ran = stand.runtime("restore", &["--detach", "--bundle", stand.bundle.path().to_str().unwrap()]);
        assert_eq!(ran.status, 1, "{ran:?}");
        assert!(!stand.path("arguments").exists(), "criu was called: {mounts}");
        assert_eq!(stand.bundle.runtime(&["list", "--quiet"]).good(), "");
    }
}

#[test]
fn what_goes_wrong_is_said() {
    let Some(mut stand) = Stand::new() else { return };
    stand.bundle.args(&["sleep", "1000"]);
    let running = stand.bundle.start();
    fs::write(stand.path("fail"), "").unwrap();
    let ran = stand.runtime("checkpoint", &[]);
    assert!(ran.status == 1 && ran.err.contains("no luck") && ran.err.contains("dump.log"), "{ran:?}");
    assert_eq!(stand.bundle.status(), "running");
    for (option, words) in [
        ("--manage-cgroups-mode=odd", "none of"),
        ("--empty-ns=user", "a network"),
        ("--page-server=nowhere", "ADDRESS:PORT"),
        ("--status-fd=77", "no descriptor"),
    ] {
        let ran = stand.runtime("checkpoint", &[option]);
        assert!(ran.status == 1 && ran.err.contains(words), "{option}: {ran:?}");
    }
    fs::remove_file(stand.path("criu")).unwrap();
    let ran = stand.runtime("checkpoint", &[]);
    assert!(ran.status == 1 && ran.err.contains("install the package criu"), "{ran:?}");
    drop(running);
}

#[test]
fn the_real_criu_saves_and_restores() {
    let Some(mut bundle) = Bundle::new() else { return };
    let works = std::process::Command::new("criu").arg("check").output();
    if !works.as_ref().is_ok_and(|output| output.status.success()) {
        let words =
            works.map(|o| String::from_utf8_lossy(&o.stderr).lines().next().unwrap_or_default().to_owned());
        eprintln!("SKIP: criu doesn't work here: {words:?}");
        return;
    }
    // Appended: at any moment the program may be stopped, so what it writes must always be whole.
    bundle.script("while sleep 0.05; do echo >> /tmp/count; done");
    bundle.write();
    let images = bundle.path().join("images");
    let images = images.to_str().unwrap();
    let detached = |arguments: &[&str]| {
        let null = std::process::Stdio::null;
        let mut command = bundle.command("", arguments);
        let status = command.stdin(null()).stdout(null()).stderr(null()).status();
        assert!(status.unwrap().success(), "{arguments:?}");
    };
    let path = bundle.path().to_str().unwrap();
    detached(&["run", "--detach", "--bundle", path, "test"]);
    let count = || fs::read_to_string(bundle.rootfs("tmp/count")).map_or(0, |text| text.lines().count());
    bundle::eventually("a line", || count() > 0);
    bundle.runtime(&["checkpoint", "--image-path", images, "test"]).good();
    let before = count();
    // Where controllers are bound to version 1, criu can't make their cgroups again.
    let none = ["--cgroup-manager", "disabled", "restore"];
    detached(&[&none[..], &["--detach", "--bundle", path, "--image-path", images, "test"]].concat());
    assert_eq!(bundle.status(), "running");
    assert_eq!(bundle.runtime(&["exec", "test", "echo", "still", "here"]).good(), "still here\n");
    bundle::eventually("another line", || count() > before);
    bundle.runtime(&["delete", "--force", "test"]).good();
}
