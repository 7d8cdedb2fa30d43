//! Images of the store that Podman and Buildah share.

use std::path::{Path, PathBuf};
use std::process::Command;

use sampan_image::Error;

use crate::fixture::{Machine, installed, noise, tar_of};

/// A store that Buildah has written; its mounts are in a mount namespace of their own.
struct Storage {
    directory: PathBuf,
    driver: &'static str,
}

/// Two layers, the upper one with a whiteout and links.
const SCRIPT: &str = r#"
set -e
d=$1 v=$2
b() { buildah --root "$d/root" --runroot "$d/run" --storage-driver "$v" "$@"; }
c=$(b from scratch); b add -q "$c" "$d/lower.tar" / >/dev/null; b commit -q "$c" localhost/base >/dev/null
c=$(b from localhost/base); b add -q "$c" "$d/upper.tar" / >/dev/null
b config --cmd /bin/sh "$c"; b commit -q "$c" localhost/team/app:1 >/dev/null
b inspect --type image --format '{{.FromImageID}}' localhost/team/app:1
"#;

impl Storage {
    /// The store, and the id of `localhost/team/app:1` in it.
    fn build(directory: &Path, driver: &'static str) -> Option<(Self, String)> {
        if !installed("buildah") || !installed("unshare") {
            return None;
        }
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: needs root, for a store that root writes");
            return None;
        }
        let long = format!("usr/{}/file", "long".repeat(50));
        let lower = tar_of(&[("bin/sh", &noise(200_000)), ("etc/gone", b"x"), (&long, b"long\n")]);
        std::fs::write(directory.join("lower.tar"), lower).unwrap();
        std::fs::write(directory.join("upper.tar"), tar_of(&[("etc/motd", b"hello\n")])).unwrap();
        let output = Command::new("unshare")
            .args(["-m", "sh", "-c", SCRIPT, "sh"])
            .arg(directory)
            .arg(driver)
            .env("BUILDAH_ISOLATION", "chroot")
            .output()
            .unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        if !output.status.success() && error.contains("not supported") {
            eprintln!("SKIP: the driver {driver} can't be used here: {error}");
            return None;
        }
        assert!(output.status.success(), "{error}");
        let id = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        Some((Self { directory: directory.to_owned(), driver }, id))
    }

    fn source(&self, name: &str) -> String {
        let (driver, directory) = (self.driver, self.directory.display());
        format!("containers-storage:[{driver}@{directory}/root+{directory}/run]{name}")
    }

    /// All files of the store with their times and sizes.
    fn state(&self) -> Vec<u8> {
        let find = Command::new("find")
            .arg(self.directory.join("root"))
            .args(["-printf", "%p %s %T@ %C@\n"])
            .output();
        find.unwrap().stdout
    }
}

#[test]
fn images_come_without_a_network_and_the_store_stays_as_it_is() {
    for driver in ["overlay", "vfs"] {
        let directory = tempfile::tempdir().unwrap();
        let Some((storage, id)) = Storage::build(directory.path(), driver) else { continue };
        let before = storage.state();
        for name in ["localhost/team/app:1", "team/app:1", &id, &id[..12], &format!("@{id}")] {
            let machine = Machine::new();
            let image = machine.pull(&storage.source(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((&image.id, &image.names[..]), (&id, &["localhost/team/app:1".to_owned()][..]));
            assert_eq!(image.layers.len(), 2);
            assert_eq!(std::fs::read_to_string(image.layers[0].join("etc/motd")).unwrap(), "hello\n");
            assert_eq!(machine.pull(&storage.source(name)).unwrap().id, id, "again");
        }
        assert!(storage.state() == before, "the store has changed");
        for (name, says) in [("localhost/none", "name or id"), ("ffffffffffff", "name or id")] {
            let error = Machine::new().pull_refused(&storage.source(name)).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}

#[test]
fn a_changed_layer_of_the_store_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let Some((storage, _)) = Storage::build(directory.path(), "overlay") else { return };
    let find =
        Command::new("find").arg(directory.path().join("root/overlay")).args(["-name", "motd"]).output();
    let found = String::from_utf8(find.unwrap().stdout).unwrap();
    // Of the layer, and of the container that it was made in.
    assert!(!found.is_empty());
    found.lines().for_each(|file| std::fs::write(file, "hellO\n").unwrap());
    let error = Machine::new().pull_refused(&storage.source("localhost/team/app:1"));
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
}

#[test]
fn a_store_waits_for_whoever_writes() {
    let directory = tempfile::tempdir().unwrap();
    let Some((storage, id)) = Storage::build(directory.path(), "overlay") else { return };
    let lock = directory.path().join("root/overlay-images/images.lock");
    // Another process: locks of fcntl(2) belong to processes.
    let script = "import fcntl, sys\nf = open(sys.argv[1], 'r+')\nfcntl.lockf(f, fcntl.LOCK_EX)\nprint('locked', flush=True)\nsys.stdin.read()";
    if !installed("python3") {
        return;
    }
    let mut holder = Command::new("python3")
        .args(["-c", script])
        .arg(&lock)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(holder.stdout.take().unwrap()), &mut line)
        .unwrap();
    std::thread::scope(|scope| {
        let pulling =
            scope.spawn(|| Machine::new().pull(&storage.source("localhost/team/app:1")).unwrap().id);
        let waiting =
            || std::fs::read_to_string("/proc/locks").unwrap().lines().any(|line| line.contains("->"));
        while !waiting() {
            assert!(!pulling.is_finished(), "it did not wait");
            std::thread::yield_now();
        }
        drop(holder.stdin.take());
        assert_eq!(pulling.join().unwrap(), id);
    });
    holder.wait().unwrap();
}
