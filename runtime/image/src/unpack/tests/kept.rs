//! What a layer brings: contents, owners, modes, times, attributes, whiteouts.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use super::*;

#[test]
fn an_ordinary_layer_arrives_with_all_its_metadata() {
    let layer = Layer::new();
    let archive = Tar::default()
        .with(b'5', b"./", |header| header.set_mode(0o711))
        .with(b'5', b"./bin/", |header| header.set_mode(0o555))
        .entry(b'0', b"./bin/su", b"", b"program")
        .with(b'0', b"./bin/suid", |header| header.set_mode(0o4755))
        .with(b'5', b"./tmp/", |header| header.set_mode(0o1777))
        .symlink("./sh", "bin/su")
        .hard_link("./bin/su2", "./bin/su")
        .with(b'6', b"./fifo", |_| ())
        .end();
    let unpacked = layer.unpack(&archive).unwrap();
    assert_eq!(unpacked.diff_id, Digest::of(&archive));
    assert_eq!(unpacked.bytes, 7);
    let mode = |path: &str| fs::metadata(layer.path(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode(""), mode("bin"), mode("tmp")), (0o711, 0o555, 0o1777));
    assert_eq!((mode("bin/su"), mode("bin/suid")), (0o644, 0o4755));
    assert_eq!(fs::read_link(layer.path("sh")).unwrap(), Path::new("bin/su"));
    assert_eq!(fs::metadata(layer.path("bin/su2")).unwrap().nlink(), 2);
    assert!(layer.kind("fifo").is_fifo());
    for path in ["", "bin", "bin/su", "tmp"] {
        assert_eq!(fs::metadata(layer.path(path)).unwrap().mtime(), 1_000_000, "{path}");
    }
}

#[test]
fn owners_capabilities_and_devices_are_kept() {
    if !is_root() {
        eprintln!("SKIP: owners, capabilities and device nodes need root");
        return;
    }
    let layer = Layer::new();
    // A version 2 capability set with a newline byte in it, which splits careless PAX parsers.
    let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let archive = Tar::default()
        .pax(&[("SCHILY.xattr.security.capability", capability), ("uid", b"70000"), ("mtime", b"5.25")])
        .with(b'0', b"ping", |header| header.set_mode(0o755))
        .with(b'3', b"null", |header| {
            header.set_device_major(1).unwrap();
            header.set_device_minor(3).unwrap();
            header.set_gid(7);
        })
        .with(b'5', b"var", |header| header.set_uid(33))
        .end();
    layer.unpack(&archive).unwrap();
    let ping = fs::metadata(layer.path("ping")).unwrap();
    assert_eq!((ping.uid(), ping.mtime(), ping.mtime_nsec()), (70000, 5, 250_000_000));
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(layer.path("ping"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..length], capability[..]);
    let null = fs::metadata(layer.path("null")).unwrap();
    assert_eq!((null.rdev(), null.gid()), (rustix::fs::makedev(1, 3), 7));
    assert_eq!(fs::metadata(layer.path("var")).unwrap().uid(), 33);
}

#[test]
fn a_later_entry_replaces_an_earlier_one_without_following_it() {
    let layer = Layer::new();
    let archive = Tar::default()
        .symlink("x", "../outside/canary")
        .file("x", "file")
        .dir("d")
        .file("d/inner/f", "x")
        .file("d", "file now")
        .file("y", "file")
        .dir("y")
        .file("y/f", "in a directory now")
        .hard_link("y/f", "y/f")
        .end();
    layer.unpack(&archive).unwrap();
    assert_eq!(layer.read("x"), "file");
    assert_eq!(layer.read("d"), "file now");
    assert_eq!(layer.read("y/f"), "in a directory now");
}

#[test]
fn links_to_directories_are_followed_inside_the_layer() {
    let layer = Layer::new();
    // usrmerge, with the links before the directories they point to.
    let archive = Tar::default()
        .symlink("bin", "usr/bin")
        .symlink("lib64", "/usr/lib/../lib64")
        .file("bin/sh", "shell")
        .file("lib64/ld.so", "loader")
        .dir("usr")
        .end();
    layer.unpack(&archive).unwrap();
    assert!(layer.kind("bin").is_symlink());
    assert_eq!(layer.read("usr/bin/sh"), "shell");
    assert_eq!(layer.read("usr/lib64/ld.so"), "loader");
}

#[test]
fn whiteouts_become_what_overlayfs_understands() {
    let layer = Layer::new();
    let archive = Tar::default()
        .dir("d")
        .file("d/.wh.gone", "")
        .file("d/.wh..wh.plnk", "")
        .dir("o")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "x")
        .file(".wh.back", "")
        .dir("back")
        .file(".wh.deep", "")
        .file("deep/f", "x")
        .file("kept", "x")
        .file(".wh.kept", "")
        .end();
    layer.unpack(&archive).unwrap();
    assert!(layer.is_whiteout("d/gone"));
    assert!(!layer.path("d/.wh.gone").exists() && !layer.path("d/.wh..wh.plnk").exists());
    assert!(layer.is_opaque("o") && !layer.is_opaque("d"));
    assert!(layer.is_opaque("back"), "a directory in place of a whiteout hides the lower one");
    assert!(layer.is_opaque("deep"));
    assert_eq!(layer.read("deep/f"), "x");
    assert_eq!(layer.read("kept"), "x");
}

#[test]
fn long_names_work_up_to_the_bounds() {
    let name = format!("{}/{}", "d".repeat(200), "f".repeat(255));
    let layer = Layer::new();
    let archive = Tar::default()
        .entry(b'L', b"././@LongLink", b"", format!("{name}\0").as_bytes())
        .file("cut", "gnu")
        .pax(&[("path", b"pax-\xc3\xa9")])
        .file("cut", "pax")
        .end();
    layer.unpack(&archive).unwrap();
    assert_eq!(layer.read(&name), "gnu");
    assert_eq!(layer.read("pax-é"), "pax");
    let long = "f".repeat(256);
    refused(Tar::default().pax(&[("path", long.as_bytes())]).file("x", "").end());
    let deep = "d/".repeat(1500);
    refused(Tar::default().pax(&[("path", deep.as_bytes())]).file("x", "").end());
    let longer = "dd/".repeat(1500);
    refused(Tar::default().pax(&[("path", longer.as_bytes())]).file("x", "").end());
}

#[test]
fn long_targets_of_links_work_in_both_forms() {
    let target = "t/".repeat(1000);
    let name = format!("{}/file", "d".repeat(180));
    let layer = Layer::new();
    let archive = Tar::default()
        .dir(&"d".repeat(99))
        .pax(&[("path", name.as_bytes())])
        .file("cut", "content")
        .entry(b'K', b"././@LongLink", b"", format!("{target}\0").as_bytes())
        .symlink("gnu", "cut")
        .pax(&[("linkpath", target.as_bytes())])
        .symlink("pax", "cut")
        .entry(b'K', b"././@LongLink", b"", format!("{name}\0").as_bytes())
        .hard_link("gnu-hard", "cut")
        .pax(&[("linkpath", name.as_bytes())])
        .hard_link("pax-hard", "cut")
        .end();
    layer.unpack(&archive).unwrap();
    for link in ["gnu", "pax"] {
        assert_eq!(fs::read_link(layer.path(link)).unwrap(), Path::new(&target), "{link}");
    }
    assert_eq!(layer.read("gnu-hard"), "content");
    assert_eq!(fs::metadata(layer.path("pax-hard")).unwrap().nlink(), 3);
    refused(Tar::default().pax(&[("linkpath", "t".repeat(4096).as_bytes())]).symlink("x", "y").end());
}

#[test]
fn times_are_exact_to_the_nanosecond_and_survive_what_comes_later() {
    let layer = Layer::new();
    let time = |tar: Tar, text: &str| tar.pax(&[("mtime", text.as_bytes())]);
    let mut tar = time(Tar::default(), "100.000000001").dir("./");
    tar = time(tar, "200.123456789").dir("d");
    tar = time(tar, "300.999999999").dir("d/e");
    tar = time(tar, "-5.25").file("d/e/file", "x");
    tar = time(tar, "500.5").symlink("d/e/link", "file");
    tar = time(tar, "600.000000006").with(b'6', b"d/fifo", |_| ());
    // After its time was read the directory changes: a file in it, one replaced, one hidden.
    let archive = tar.file("d/late", "").file("d/late", "again").file("d/.wh.gone", "").end();
    layer.unpack(&archive).unwrap();
    for (path, seconds, nanoseconds) in [
        ("", 100, 1),
        ("d", 200, 123_456_789),
        ("d/e", 300, 999_999_999),
        ("d/e/file", -6, 750_000_000),
        ("d/e/link", 500, 500_000_000),
        ("d/fifo", 600, 6),
        ("d/late", 1_000_000, 0),
    ] {
        let found = fs::symlink_metadata(layer.path(path)).unwrap();
        assert_eq!((found.mtime(), found.mtime_nsec()), (seconds, nanoseconds), "{path}");
    }
}

#[test]
fn owners_of_every_kind_of_entry_are_kept_with_their_privileges() {
    if !is_root() {
        eprintln!("SKIP: owners need root");
        return;
    }
    let owned = |tar: Tar, kind: u8, name: &[u8], mode: u32| {
        tar.with(kind, name, |header| {
            // Beyond what octal digits hold: GNU's binary form.
            header.set_uid(3_000_000_000);
            header.set_gid(65_534);
            header.set_mode(mode);
            if kind == b'4' {
                header.set_device_major(8).unwrap();
                header.set_device_minor(1).unwrap();
            }
            if kind == b'2' {
                header.as_old_mut().linkname[..4].copy_from_slice(b"file");
            }
        })
    };
    let layer = Layer::new();
    let mut tar = owned(Tar::default(), b'5', b"dir", 0o2755);
    tar = owned(tar, b'0', b"dir/file", 0o6755);
    tar = owned(tar, b'2', b"dir/link", 0o777);
    tar = owned(tar, b'4', b"dir/block", 0o640);
    tar = owned(tar, b'6', b"dir/fifo", 0o600);
    layer.unpack(&tar.hard_link("hard", "dir/file").end()).unwrap();
    for (path, mode) in
        [("dir", 0o2755), ("dir/file", 0o6755), ("dir/block", 0o640), ("dir/fifo", 0o600), ("hard", 0o6755)]
    {
        let found = fs::symlink_metadata(layer.path(path)).unwrap();
        assert_eq!(
            (found.uid(), found.gid(), found.mode() & 0o7777),
            (3_000_000_000, 65_534, mode),
            "{path}"
        );
    }
    let link = fs::symlink_metadata(layer.path("dir/link")).unwrap();
    assert_eq!((link.uid(), link.gid()), (3_000_000_000, 65_534));
    assert!(layer.kind("dir/block").is_block_device());
}

#[test]
fn a_second_name_of_a_file_has_its_capabilities_and_attributes() {
    if !is_root() {
        eprintln!("SKIP: capabilities of files need root");
        return;
    }
    let capability = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let layer = Layer::new();
    let archive = Tar::default()
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("ping", "program")
        .hard_link("ping6", "ping")
        // Replaced: nothing of the first one stays.
        .pax(&[("SCHILY.xattr.security.capability", capability)])
        .file("plain", "x")
        .file("plain", "y")
        .end();
    layer.unpack(&archive).unwrap();
    let mut value = [0; 64];
    let length = rustix::fs::getxattr(layer.path("ping6"), "security.capability", &mut value).unwrap();
    assert_eq!(value[..length], capability[..]);
    assert!(rustix::fs::getxattr(layer.path("plain"), "security.capability", &mut value).is_err());
}

#[test]
fn sparse_files_of_gnu_tar_keep_their_holes() {
    use std::os::unix::fs::FileExt;
    let source = tempfile::tempdir().unwrap();
    let file = File::create(source.path().join("sparse")).unwrap();
    for number in 0..30 {
        file.write_all_at(b"data", number * (1 << 20)).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    let original = fs::read(source.path().join("sparse")).unwrap();
    for format in [&["--format=gnu"][..], &["--format=posix"], &["--format=posix", "--sparse-version=0.1"]] {
        let output = std::process::Command::new("tar")
            .args(["-cSf", "-", "-C"])
            .arg(source.path())
            .args(format)
            .arg("sparse")
            .output();
        let Ok(output) = output else {
            eprintln!("SKIP: no tar program to make sparse archives with");
            return;
        };
        assert!(output.status.success() && output.stdout.len() < 2 << 20, "{format:?}");
        let layer = Layer::new();
        layer.unpack(&output.stdout).unwrap_or_else(|failure| panic!("{format:?}: {failure}"));
        assert!(fs::read(layer.path("sparse")).unwrap() == original, "{format:?}");
        let blocks = fs::metadata(layer.path("sparse")).unwrap().blocks();
        assert!(blocks < 20_000, "{format:?}: {blocks} blocks");
    }
}
