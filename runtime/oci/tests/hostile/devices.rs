//! What is in `/dev`: nodes, links, the console.

use super::*;

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

/// CVE-2026-41579 as a race: `/dev` of the image is a directory when it is looked at, and a link when it is used.
#[test]
fn a_racing_dev_makes_nothing_outside() {
    let Some(mut bundle) = Bundle::new() else { return };
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle.drop_mount(destination);
    }
    let outside = bundle.path().join("outside");
    for directory in [&outside, &bundle.rootfs("dev")] {
        fs::create_dir(directory).unwrap();
    }
    symlink(&outside, bundle.rootfs("link")).unwrap();
    bundle.args(&["true"]);
    let attacker = Exchange::start(bundle.rootfs("dev"), bundle.rootfs("link"));
    race(|| drop(bundle.run()));
    drop(attacker);
    assert_eq!(tree(&outside), Vec::<PathBuf>::new());
}

/// CVE-2025-52565, CVE-2026-88264: while the console is put in its place, another container that has the same `/dev`
/// exchanges it for a link to a file of the host.
#[test]
fn a_racing_console_covers_nothing_outside() {
    let Some(mut bundle) = Bundle::new() else { return };
    for destination in ["/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"] {
        bundle.drop_mount(destination);
    }
    let (volume, victim) = (bundle.path().join("volume"), bundle.path().join("victim"));
    fs::create_dir_all(volume.join("pts")).unwrap();
    fs::write(&victim, "untouched").unwrap();
    fs::write(volume.join("console"), "").unwrap();
    symlink(&victim, volume.join("link")).unwrap();
    bundle.add_mount("bind", volume.to_str().unwrap(), "/dev", &["bind"]);
    bundle.add_mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"]);
    bundle.spec["process"]["terminal"] = json!(true);
    bundle.script("true");
    let attacker = Exchange::start(volume.join("console"), volume.join("link"));
    race(|| drop(bundle.run()));
    drop(attacker);
    assert_eq!(fs::read_to_string(&victim).unwrap(), "untouched");
    assert_eq!(tree(&volume), [volume.join("console"), volume.join("link"), volume.join("pts")]);
}

/// A device of the `Spec` whose name leads out of the root.
#[test]
fn devices_stay_in_the_image() {
    let Some(mut bundle) = Bundle::new() else { return };
    let outside = bundle.path().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, bundle.rootfs("link")).unwrap();
    for (path, good) in
        [("/link/null", true), ("/../../escaped", true), ("/dev/..", false), ("relative", false)]
    {
        bundle.spec["linux"]["devices"] = json!([{"path": path, "type": "c", "major": 1, "minor": 3}]);
        let ran = bundle.args(&["true"]).run();
        assert_eq!(ran.status == 0, good, "{path}: {ran:?}");
    }
    assert_eq!(tree(&outside), Vec::<PathBuf>::new());
    assert!(!bundle.path().parent().unwrap().join("escaped").exists());
}
