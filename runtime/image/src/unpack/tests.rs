//! Unpacking real and hostile archives. Every test looks afterwards whether anything appeared or
//! changed outside the layer's directory.

use std::fs::{self, File};
use std::io::Cursor;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use proptest::prelude::*;

use super::*;

/// An archive under construction; names are raw bytes, nothing is checked.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, kind: u8, name: &[u8], link: &[u8], content: &[u8]) -> Self {
        self.header(kind, name, link, content.len() as u64, |_| ());
        self.content(content);
        self
    }

    fn with(mut self, kind: u8, name: &[u8], change: impl FnOnce(&mut tar::Header)) -> Self {
        self.header(kind, name, b"", 0, change);
        self
    }

    fn header(
        &mut self,
        kind: u8,
        name: &[u8],
        link: &[u8],
        size: u64,
        change: impl FnOnce(&mut tar::Header),
    ) {
        let mut header = tar::Header::new_gnu();
        let gnu = header.as_gnu_mut().unwrap();
        gnu.name[..name.len()].copy_from_slice(name);
        gnu.linkname[..link.len()].copy_from_slice(link);
        header.set_entry_type(tar::EntryType::new(kind));
        header.set_mode(if kind == b'5' { 0o755 } else { 0o644 });
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(1_000_000);
        header.set_size(size);
        change(&mut header);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn content(&mut self, content: &[u8]) {
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(b'0', name.as_bytes(), b"", content.as_bytes())
    }

    fn dir(self, name: &str) -> Self {
        self.entry(b'5', name.as_bytes(), b"", b"")
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(b'2', name.as_bytes(), target.as_bytes(), b"")
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(b'1', name.as_bytes(), target.as_bytes(), b"")
    }

    fn pax(self, records: &[(&str, &[u8])]) -> Self {
        let mut bytes = Vec::new();
        for (key, value) in records {
            let body = [b" ", key.as_bytes(), b"=", value, b"\n"].concat();
            let mut length = body.len() + 1;
            while length.to_string().len() + body.len() != length {
                length = length.to_string().len() + body.len();
            }
            bytes.extend_from_slice(length.to_string().as_bytes());
            bytes.extend_from_slice(&body);
        }
        self.entry(b'x', b"pax", b"", &bytes)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

/// A layer directory with a canary beside it.
struct Layer {
    directory: tempfile::TempDir,
    is_used: AtomicBool,
}

impl Layer {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        for name in ["root", "trash", "outside"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("outside/canary"), "untouched").unwrap();
        Self { directory, is_used: AtomicBool::new(false) }
    }

    fn unpack_with(&self, archive: &[u8], limits: &Limits) -> Result<Unpacked, Failure> {
        let root = File::open(self.directory.path().join("root")).unwrap();
        let trash = File::open(self.directory.path().join("trash")).unwrap();
        let result = unpack(Cursor::new(archive), root.as_fd(), trash.as_fd(), limits, &mut Vec::new());
        if let (Ok(unpacked), false) = (&result, self.is_used.swap(true, Ordering::Relaxed)) {
            // What was noted on the way is what whoever looks later finds.
            let found = survey(root.as_fd(), &Known::nothing(true)).unwrap();
            assert_eq!(unpacked.contents, found);
        }
        let outside = self.directory.path().join("outside");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1, "something appeared outside");
        let canary = fs::metadata(outside.join("canary")).unwrap();
        assert_eq!((canary.nlink(), canary.mode() & 0o777), (1, 0o644), "the canary was changed");
        assert_eq!(fs::read(outside.join("canary")).unwrap(), b"untouched");
        assert_eq!(fs::read_dir(self.directory.path()).unwrap().count(), 3);
        result
    }

    fn unpack(&self, archive: &[u8]) -> Result<Unpacked, Failure> {
        self.unpack_with(archive, &Limits::for_layer(archive.len() as u64))
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join("root").join(path)
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    fn kind(&self, path: &str) -> fs::FileType {
        fs::symlink_metadata(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}")).file_type()
    }

    fn is_whiteout(&self, path: &str) -> bool {
        fs::symlink_metadata(self.path(path))
            .is_ok_and(|metadata| metadata.file_type().is_char_device() && metadata.rdev() == 0)
    }

    fn is_opaque(&self, path: &str) -> bool {
        let name = if is_root() { "trusted.overlay.opaque" } else { "user.overlay.opaque" };
        let mut value = [0; 8];
        rustix::fs::getxattr(self.path(path), name, &mut value).is_ok_and(|length| &value[..length] == b"y")
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn refused(archive: Vec<u8>) -> String {
    match Layer::new().unpack(&archive) {
        Err(failure @ Failure::Hostile(_)) => failure.to_string(),
        other => panic!("not refused as hostile: {other:?}"),
    }
}

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
fn dotdot_is_refused_and_absolute_names_stay_inside() {
    for name in ["../outside/x", "a/../../outside/x", "..", "/..", "./a/.."] {
        assert!(refused(Tar::default().file(name, "x").end()).contains(".."), "{name}");
    }
    let layer = Layer::new();
    layer.unpack(&Tar::default().file("/outside/canary", "inside").file("//x", "y").end()).unwrap();
    assert_eq!(layer.read("outside/canary"), "inside");
    assert_eq!(layer.read("x"), "y");
}

#[test]
fn symbolic_links_cannot_lead_out() {
    let canary_directory = "/proc/self/cwd/../outside";
    for target in
        ["/", "..", "../outside", "/../outside", "../../../../../..", "/proc/self/root", canary_directory]
    {
        let layer = Layer::new();
        let archive = Tar::default()
            .symlink("link", target)
            .file("link/canary", "x")
            .file("link/outside/canary", "x")
            .dir("link/made")
            .symlink("link/s", "x")
            .file("link/.wh.canary", "")
            .end();
        // Either the target is made inside the layer, or the archive is refused; never followed out.
        let _ = layer.unpack(&archive);
    }
}

#[test]
fn a_chain_of_links_cannot_lead_out() {
    let layer = Layer::new();
    let archive = Tar::default()
        .dir("a")
        .symlink("a/up", "..")
        .symlink("a/up2", "up/../..")
        .symlink("b", "a/up2/outside")
        .file("b/canary", "x")
        .hard_link("hard", "b/canary")
        .file("hard", "y")
        .end();
    layer.unpack(&archive).unwrap();
    assert_eq!(layer.read("outside/canary"), "x");
    assert_eq!(layer.read("hard"), "y");
}

#[test]
fn hard_links_cannot_lead_out() {
    for target in ["/etc/passwd", "up/outside/canary", "missing", "dir"] {
        let archive = Tar::default().dir("dir").symlink("up", "..").hard_link("x", target).end();
        refused(archive);
    }
    refused(Tar::default().hard_link("x", "../outside/canary").end());
    // A hard link to a symbolic link is a second name of the link, not of its target.
    let layer = Layer::new();
    let archive = Tar::default()
        .symlink("link", "../outside/canary")
        .hard_link("second", "link")
        .file("second", "x")
        .end();
    layer.unpack(&archive).unwrap();
    assert!(layer.kind("second").is_file());
    assert!(layer.kind("link").is_symlink());
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
fn circles_of_links_are_refused() {
    let layer = Layer::new();
    let archive = Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", "").end();
    assert!(layer.unpack(&archive).is_err());
    refused(Tar::default().file("f", "").file("f/x", "").end());
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
fn whiteout_tricks_are_refused_or_stay_inside() {
    for name in [".wh.", ".wh..", ".wh...", "d/.wh.."] {
        refused(Tar::default().file(name, "").end());
    }
    let layer = Layer::new();
    let archive = Tar::default()
        .symlink("up", "../outside")
        .file("up/.wh.canary", "")
        .file("up/.wh..wh..opq", "")
        .symlink("c", "../outside/canary")
        .file(".wh.c", "")
        .end();
    layer.unpack(&archive).unwrap();
    assert!(layer.is_whiteout("outside/canary"));
    assert!(layer.is_opaque("outside"));
}

#[test]
fn attributes_of_overlayfs_are_refused_and_labels_ignored() {
    for name in ["trusted.overlay.opaque", "trusted.overlay.redirect", "user.overlay.whiteout"] {
        let key = format!("SCHILY.xattr.{name}");
        let message = refused(Tar::default().pax(&[(&key, b"y")]).file("x", "").end());
        assert!(message.contains(name), "{message}");
        refused(Tar::default().pax(&[(&key, b"y")]).dir("x").end());
    }
    let layer = Layer::new();
    let records: [(&str, &[u8]); 3] = [
        ("SCHILY.xattr.security.selinux", b"system_u:object_r:x:s0"),
        ("SCHILY.xattr.user.mime_type", b"text/plain"),
        ("SCHILY.xattr.trusted.other", b"x"),
    ];
    layer.unpack(&Tar::default().pax(&records).file("x", "").end()).unwrap();
    let attribute = |name: &str| {
        let mut value = [0; 64];
        rustix::fs::getxattr(layer.path("x"), name, &mut value).map(|length| value[..length].to_vec())
    };
    // A host with SELinux has given a label of its own.
    assert!(attribute("security.selinux").map_or(true, |label| label != b"system_u:object_r:x:s0"));
    assert!(attribute("trusted.other").is_err());
    match attribute("user.mime_type") {
        Err(rustix::io::Errno::OPNOTSUPP) => eprintln!("SKIP: no attributes of users on this file system"),
        value => assert_eq!(value.unwrap(), b"text/plain"),
    }
    let big = vec![b'x'; 65537];
    refused(Tar::default().pax(&[("SCHILY.xattr.user.big", &big)]).file("x", "").end());
    let keys: Vec<String> = (0..65).map(|number| format!("SCHILY.xattr.user.{number}")).collect();
    let many: Vec<(&str, &[u8])> = keys.iter().map(|key| (key.as_str(), &b"x"[..])).collect();
    refused(Tar::default().pax(&many).file("x", "").end());
}

#[test]
fn huge_headers_are_refused_before_they_are_read() {
    for kind in [b'L', b'K', b'x', b'g'] {
        let mut tar = Tar::default();
        tar.header(kind, b"long", b"", 1 << 40, |_| ());
        refused(tar.0);
    }
    let mut tar = Tar::default();
    for _ in 0..4000 {
        tar = tar.entry(b'g', b"global", b"", b"11 comm=xx\n");
    }
    refused(tar.file("x", "").end());
}

#[test]
fn malformed_archives_are_refused() {
    let whole = Tar::default().file("file", "content of the file").end();
    refused(whole[..600].to_vec());
    refused(whole[..300].to_vec());
    let mut flipped = whole.clone();
    flipped[5] ^= 1;
    assert!(refused(flipped).contains("checksum"));
    refused(Tar::default().entry(b'x', b"pax", b"", b"garbage").file("x", "").end());
    refused(Tar::default().entry(b'L', b"long", b"", b"name").0);
    refused(Tar::default().entry(b'Z', b"odd", b"", b"").end());
    refused(Tar::default().pax(&[("path", b"a\0b")]).file("x", "").end());
    refused(Tar::default().pax(&[("size", b"99999999999999")]).file("x", "").end());
    refused(Tar::default().pax(&[("uid", b"4294967295")]).file("x", "").end());
    refused(Tar::default().pax(&[("linkpath", b"")]).entry(b'2', b"x", b"", b"").end());
    refused(Tar::default().file("./", "root as a file").end());
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
fn counts_and_sizes_are_bounded() {
    let small = Limits { entries: 10, bytes: 1 << 16, devices: 2, ..Limits::for_layer(0) };
    let mut tar = Tar::default();
    for number in 0..11 {
        tar = tar.file(&number.to_string(), "");
    }
    let message = Layer::new().unpack_with(&tar.end(), &small).unwrap_err().to_string();
    assert!(message.contains("entries"), "{message}");
    let big = "x".repeat(1 << 16);
    let archive = Tar::default().file("big", &big).end();
    assert!(matches!(Layer::new().unpack_with(&archive, &small), Err(Failure::Hostile(_))));
    let device = |tar: Tar, name: &[u8]| tar.with(b'3', name, |header| header.set_device_minor(3).unwrap());
    let archive = device(device(device(Tar::default(), b"1"), b"2"), b"3").end();
    let message = Layer::new().unpack_with(&archive, &small).unwrap_err().to_string();
    assert!(message.contains("device"), "{message}");
    // Zeros after the end of the archive count too.
    let mut endless = Tar::default().end();
    endless.resize(1 << 17, 0);
    assert!(matches!(Layer::new().unpack_with(&endless, &small), Err(Failure::Hostile(_))));
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

#[test]
fn contradictory_sparse_maps_are_refused() {
    for map in ["0,10", "5,1,2,1", "0,18446744073709551615", "0,4,x,1", "0"] {
        let records: [(&str, &[u8]); 2] =
            [("GNU.sparse.map", map.as_bytes()), ("GNU.sparse.size", b"1000000")];
        refused(Tar::default().pax(&records).file("x", "data").end());
    }
    for size in ["1", "18446744073709551615"] {
        let records: [(&str, &[u8]); 2] = [("GNU.sparse.map", b"0,4"), ("GNU.sparse.size", size.as_bytes())];
        refused(Tar::default().pax(&records).file("x", "data").end());
    }
}

#[test]
fn a_chain_of_dangling_links_needs_no_stack() {
    // Each link leads a thousand directories deep, through the next one.
    let mut tar = Tar::default();
    for number in 0..12 {
        let target = format!("l{}/{}", number + 1, "a/".repeat(990));
        tar = tar.pax(&[("linkpath", target.as_bytes())]).symlink(&format!("l{number}"), "x");
    }
    let name = format!("l0/{}f", "b/".repeat(990));
    let archive = tar.pax(&[("path", name.as_bytes())]).file("x", "").end();
    let layer = Layer::new();
    let unpacked = std::thread::scope(|scope| {
        // A layer is unpacked in a thread, which has 2 MiB unless told otherwise; here it is less.
        let thread = std::thread::Builder::new().stack_size(512 << 10);
        thread.spawn_scoped(scope, || layer.unpack(&archive).map(drop)).unwrap().join().unwrap()
    });
    assert!(matches!(unpacked, Ok(()) | Err(Failure::Hostile(_))), "{unpacked:?}");
    // What removes the temporary directory is a recursion.
    crate::store::remove_all(&layer.path("")).unwrap();
}

#[test]
fn directories_that_no_entry_names_are_bounded() {
    let small = Limits { entries: 50, ..Limits::for_layer(0) };
    let name = format!("{}f", "d/".repeat(60));
    let archive = Tar::default().pax(&[("path", name.as_bytes())]).file("x", "").end();
    let message = Layer::new().unpack_with(&archive, &small).unwrap_err().to_string();
    assert!(message.contains("more than 50 directories"), "{message}");
    Layer::new().unpack(&archive).unwrap();
}

#[test]
fn the_memory_for_directories_is_bounded() {
    let small = Limits { directories: 2000, ..Limits::for_layer(0) };
    let long = "n".repeat(90);
    let archive = |count: usize| {
        (0..count).fold(Tar::default(), |tar, number| tar.dir(&format!("{number}{long}")).dir("again")).end()
    };
    Layer::new().unpack_with(&archive(20), &small).unwrap();
    let message = Layer::new().unpack_with(&archive(30), &small).unwrap_err().to_string();
    assert!(message.contains("names of its directories"), "{message}");
}

#[test]
fn ten_thousand_directories_deep_can_be_made_and_removed() {
    let layer = Layer::new();
    let deep = "d/".repeat(900);
    let mut tar = Tar::default();
    for step in 0..12 {
        let (from, link) =
            (if step == 0 { String::new() } else { format!("l{step}/") }, format!("l{}", step + 1));
        let target = format!("{from}{deep}");
        tar = tar.pax(&[("path", target.as_bytes())]).dir("x");
        tar = tar.pax(&[("linkpath", target.as_bytes())]).symlink(&link, "x");
    }
    layer.unpack(&tar.file("l12/f", "at the bottom").end()).unwrap();
    assert_eq!(layer.read("l12/f"), "at the bottom");
    crate::store::remove_all(&layer.path("")).unwrap();
    assert!(!layer.path("").exists());
}

#[test]
fn links_that_go_up_and_down_are_stopped() {
    let deep = "d/".repeat(900);
    let target = format!("{}missing", "../d/".repeat(800));
    let archive = Tar::default()
        .pax(&[("path", deep.as_bytes())])
        .dir("x")
        .pax(&[("path", format!("{deep}l").as_bytes()), ("linkpath", target.as_bytes())])
        .symlink("x", "x")
        .pax(&[("path", format!("{deep}l/f").as_bytes())])
        .file("x", "")
        .end();
    assert!(refused(archive).contains("too many directories"));
}

#[test]
fn parents_behind_dangling_links_are_made_where_the_container_sees_them() {
    let layer = Layer::new();
    let archive = Tar::default()
        .dir("a/b")
        .symlink("a/b/up", "../../x/../y/./z")
        .symlink("y", "/real")
        .file("a/b/up/f", "one")
        .symlink("out", "../../../../top")
        .file("out/f", "two")
        .end();
    // `x` is missing, so `x/..` is made with it.
    layer.unpack(&archive).unwrap();
    assert_eq!(layer.read("real/z/f"), "one");
    assert_eq!(layer.read("top/f"), "two");
    assert!(layer.kind("y").is_symlink() && layer.kind("x").is_dir());
}

#[test]
fn bombs_of_every_compression_are_stopped_at_the_bound() {
    use std::io::Write;
    let small = Limits { bytes: 1 << 20, ..Limits::for_layer(0) };
    let mut tar = Tar::default();
    tar.header(b'0', b"zeros", b"", 900 << 10, |_| ());
    let plain = [tar.0, vec![0; 64 << 20]].concat();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    for bomb in [gzip.finish().unwrap(), zstd::bulk::compress(&plain, 1).unwrap(), plain] {
        let layer = Layer::new();
        let root = File::open(layer.path("")).unwrap();
        let trash = File::open(layer.directory.path().join("trash")).unwrap();
        let mut compressed = Cursor::new(&bomb);
        let stream = crate::compression::decoder(&mut compressed).unwrap();
        let failure = unpack(stream, root.as_fd(), trash.as_fd(), &small, &mut io::sink()).unwrap_err();
        assert!(failure.to_string().contains("unpacks to more than"), "{failure}");
    }
}

/// A random entry whose names are made of few, dangerous components.
fn entries() -> impl Strategy<Value = (u8, String, String)> {
    let component = prop::sample::select(vec![
        "a",
        "b",
        "c",
        ".",
        "..",
        "",
        "/",
        ".wh.a",
        ".wh..wh..opq",
        ".wh..",
        "outside",
        "canary",
        "proc",
    ]);
    let path = prop::collection::vec(component, 1..4).prop_map(|parts| parts.join("/"));
    let kind = prop::sample::select(vec![b'0', b'1', b'2', b'5', b'6']);
    (kind, path.clone(), path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_archive_reaches_outside(entries in prop::collection::vec(entries(), 1..12)) {
        let layer = Layer::new();
        // One entry at a time as well, so that a refused one does not protect from the next.
        for (kind, name, link) in &entries {
            let archive = Tar::default().entry(*kind, name.as_bytes(), link.as_bytes(), b"").end();
            let _ = layer.unpack(&archive);
        }
        let mut tar = Tar::default();
        for (kind, name, link) in &entries {
            tar = tar.entry(*kind, name.as_bytes(), link.as_bytes(), b"");
        }
        let _ = layer.unpack(&tar.end());
    }

    #[test]
    fn no_bytes_make_it_panic(position in 0..2048_usize, byte: u8, noise in prop::collection::vec(any::<u8>(), 0..1500)) {
        let layer = Layer::new();
        let _ = layer.unpack(&noise);
        let mut archive = Tar::default()
            .pax(&[("path", b"x"), ("GNU.sparse.major", b"1"), ("GNU.sparse.realsize", b"9")])
            .file("y", "1\n0\n4\n")
            .end();
        let position = position % archive.len();
        archive[position] = byte;
        let _ = layer.unpack(&archive);
    }
}
