//! What a layer must not do: reach outside, or take more than its bounds.

use proptest::prelude::*;

use super::*;

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
fn circles_of_links_are_refused() {
    let layer = Layer::new();
    let archive = Tar::default().symlink("a", "b").symlink("b", "a").file("a/x", "").end();
    assert!(layer.unpack(&archive).is_err());
    refused(Tar::default().file("f", "").file("f/x", "").end());
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
        for size in [1 << 40, u64::MAX - 511, u64::MAX] {
            let mut tar = Tar::default();
            tar.header(kind, b"long", b"", size, |_| ());
            refused(tar.0);
        }
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
