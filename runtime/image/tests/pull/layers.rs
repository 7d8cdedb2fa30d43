//! Layers in every form that builders write, and in forms that only an attacker does. How an archive
//! is unpacked has its tests beside the code; here it comes from a registry.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt};

use sampan_image::{Digest, Error, Image};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, gzip, noise, tar_of};
use crate::server::Server;

/// Pulls an image of one layer.
fn pulled(layer: &[u8], plain: &[u8]) -> (Machine, Result<Image, Error>) {
    let image = TestImage::of_layers(vec![layer.to_vec()], &[Digest::of(plain).to_string()]);
    let server = Server::registry(image);
    let machine = Machine::new();
    let image = machine.pull(&format!("{}/x", server.address));
    (machine, image)
}

fn accepted(layer: &[u8], plain: &[u8]) -> (Machine, Image) {
    let (machine, image) = pulled(layer, plain);
    (machine, image.unwrap())
}

fn refused(layer: &[u8], plain: &[u8]) -> String {
    let (machine, image) = pulled(layer, plain);
    let error = image.expect_err("it was pulled");
    assert_eq!(machine.leftovers(), [] as [String; 0], "after: {error}");
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    error.to_string()
}

/// Pulls with the first layer's descriptor changed in some way.
fn with_descriptor(change: impl FnOnce(&mut Value)) -> Result<Image, Error> {
    let mut image = TestImage::small();
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    change(&mut manifest["layers"][0]);
    image.manifest = manifest.to_string().into_bytes();
    let server = Server::registry(image);
    Machine::new().pull(&format!("{}/x", server.address))
}

/// An archive of one member of any kind and name.
fn member(kind: u8, name: &[u8], link: &[u8], mode: u32) -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let gnu = header.as_gnu_mut().unwrap();
    gnu.name[..name.len()].copy_from_slice(name);
    gnu.linkname[..link.len()].copy_from_slice(link);
    header.set_entry_type(tar::EntryType::new(kind));
    header.set_mode(mode);
    header.set_size(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    header.set_cksum();
    [header.as_bytes().as_slice(), &[0; 1024]].concat()
}

#[test]
fn layers_without_compression_are_read() {
    let plain = tar_of(&[("f", b"x")]);
    let (_machine, image) = accepted(&plain, &plain);
    assert_eq!(std::fs::read(image.layers[0].join("f")).unwrap(), b"x");
}

#[test]
fn gzip_in_several_members_is_read() {
    let plain = tar_of(&[("f", &noise(50_000))]);
    let (first, second) = plain.split_at(20_000);
    let (_machine, image) = accepted(&[gzip(first), gzip(b""), gzip(second)].concat(), &plain);
    assert_eq!(std::fs::read(image.layers[0].join("f")).unwrap(), noise(50_000));
}

#[test]
fn garbage_after_gzip_is_refused_as_go_does() {
    let plain = tar_of(&[("f", b"x")]);
    for garbage in [&b"garbage"[..], &[b'x'; 100], &[0; 512]] {
        refused(&[&gzip(&plain)[..], garbage].concat(), &plain);
    }
}

#[test]
fn zstd_chunked_is_read_as_zstd() {
    // As containers/storage writes it: frames per file, then a table of contents in frames that a
    // plain reader skips.
    let plain = tar_of(&[("f", &noise(50_000)), ("g", b"y")]);
    let (first, second) = plain.split_at(30_000);
    let skipped = |bytes: &[u8]| {
        let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
        [&[0x50, 0x2a, 0x4d, 0x18][..], &length, bytes].concat()
    };
    let frame = |bytes: &[u8]| zstd::bulk::compress(bytes, 3).unwrap();
    let toc = skipped(br#"{"version":1,"entries":[{"type":"reg","name":"/etc/shadow"}]}"#);
    let layer = [frame(first), toc.clone(), frame(second), toc].concat();
    let (_machine, image) = accepted(&layer, &plain);
    assert_eq!(std::fs::read(image.layers[0].join("f")).unwrap(), noise(50_000));
    assert!(!image.layers[0].join("etc").exists(), "the table of contents was believed");
    // One that begins with such a frame.
    let (_machine, image) = accepted(&[skipped(b"head"), frame(&plain)].concat(), &plain);
    assert!(image.layers[0].join("g").exists());
}

#[test]
fn empty_layers_are_read() {
    for plain in [&[0; 1024][..], &[0; 10240], b""] {
        let (_machine, image) = accepted(&gzip(plain), plain);
        assert_eq!(std::fs::read_dir(&image.layers[0]).unwrap().count(), 0);
    }
    let (_machine, image) = accepted(&[0; 1024], &[0; 1024]);
    assert_eq!(std::fs::read_dir(&image.layers[0]).unwrap().count(), 0);
}

#[test]
fn foreign_layers_are_refused_with_words() {
    for media_type in [
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip",
        "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd",
    ] {
        let error = with_descriptor(|layer| {
            layer["mediaType"] = json!(media_type);
            layer["urls"] = json!(["https://169.254.169.254/layer"]);
        })
        .unwrap_err();
        assert!(error.to_string().contains("foreign layer"), "{error}");
    }
}

#[test]
fn encrypted_layers_are_refused_with_words() {
    for media_type in [
        "application/vnd.oci.image.layer.v1.tar+gzip+encrypted",
        "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted",
    ] {
        let error = with_descriptor(|layer| layer["mediaType"] = json!(media_type)).unwrap_err();
        assert!(error.to_string().contains("encrypted"), "{error}");
    }
}

#[test]
fn urls_of_a_layer_are_not_followed() {
    let elsewhere = Server::registry(TestImage::small());
    let url = format!("http://{}/layer", elsewhere.address);
    with_descriptor(|layer| layer["urls"] = json!([url])).unwrap();
    assert_eq!(elsewhere.connections(), 0);
}

#[test]
fn a_window_that_needs_gigabytes_is_refused() {
    // A frame whose header asks for a window of 2^31 bytes (RFC 8878, 3.1.1.1.2).
    let mut layer = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3];
    // One raw block, the last, of 512 bytes.
    layer.extend_from_slice(&[(512 << 3 | 1) as u8, (512 >> 5) as u8, 0]);
    layer.extend_from_slice(&[0; 512]);
    let message = refused(&layer, &[0; 512]);
    assert!(message.contains("memory") || message.contains("window"), "{message}");
}

#[test]
fn paths_that_lead_out_are_refused_or_stay_inside() {
    for (kind, name, link) in [
        (b'0', &b"../x"[..], &b""[..]),
        (b'0', b"a/../../x", b""),
        (b'1', b"x", b"/etc/passwd"),
        (b'1', b"x", b"../../../etc/passwd"),
        (b'0', b".wh..", b""),
        (b'0', b"../.wh.x", b""),
        (b'0', b"../.wh..wh..opq", b""),
    ] {
        let plain = member(kind, name, link, 0o644);
        let message = refused(&gzip(&plain), &plain);
        assert!(message.contains("entry"), "{message}");
    }
    let plain = member(b'0', b"/etc/sampan-was-here", b"", 0o644);
    let (_machine, image) = accepted(&gzip(&plain), &plain);
    assert!(image.layers[0].join("etc/sampan-was-here").exists());
    assert!(!std::path::Path::new("/etc/sampan-was-here").exists());
}

#[test]
fn odd_names_do_no_harm() {
    for name in [&b"new\nline"[..], b"\xff\xfe", b"esc\x1b[31m", "\u{202e}gnp.exe".as_bytes(), b"-rf", b" "] {
        use std::os::unix::ffi::OsStrExt;
        let plain = member(b'0', name, b"", 0o644);
        let (_machine, image) = accepted(&gzip(&plain), &plain);
        assert!(image.layers[0].join(std::ffi::OsStr::from_bytes(name)).exists(), "{name:?}");
        // The same in an error.
        let hostile = member(b'1', name, b"none", 0o644);
        let message = refused(&gzip(&hostile), &hostile);
        assert!(message.is_ascii() && !message.chars().any(char::is_control), "{message:?}");
    }
}

#[test]
fn devices_and_setuid_programs_are_out_of_reach_of_others() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIP: device nodes need root");
        return;
    }
    let plain = [&member(b'3', b"null", b"", 0o666)[..512], &member(b'0', b"su", b"", 0o4755)].concat();
    let (machine, image) = accepted(&gzip(&plain), &plain);
    let null = std::fs::symlink_metadata(image.layers[0].join("null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!(std::fs::metadata(image.layers[0].join("su")).unwrap().mode() & 0o7777, 0o4755);
    // They are what the image has; that no user of this machine can use them is the store's doing.
    let guarded = [machine.store_path(), machine.store_path().join("layers")];
    let mode = |path: &std::path::PathBuf| std::fs::metadata(path).unwrap().mode() & 0o077;
    assert!(guarded.iter().any(|path| mode(path) == 0), "{:?}", guarded.each_ref().map(mode));
}

#[test]
fn many_layers_at_the_bound_are_read_and_one_more_is_not() {
    let archives: Vec<_> = (0..128).map(|number| tar_of(&[(&format!("f{number}"), b"x")])).collect();
    let server = Server::registry(TestImage::new(&archives));
    let image = Machine::new().pull(&format!("{}/x", server.address)).unwrap();
    assert_eq!(image.layers.len(), 128);
    let more: Vec<_> = (0..129).map(|number| tar_of(&[(&format!("f{number}"), b"x")])).collect();
    let server = Server::registry(TestImage::new(&more));
    let error = Machine::new().pull_refused(&format!("{}/x", server.address));
    assert!(error.to_string().contains("129 layers"), "{error}");
}

#[test]
fn sizes_that_add_up_to_nonsense_do_no_harm() {
    let mut image = TestImage::small();
    let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
    for layer in manifest["layers"].as_array_mut().unwrap() {
        layer["size"] = json!(i64::MAX);
    }
    image.manifest = manifest.to_string().into_bytes();
    let server = Server::registry(image);
    let machine = Machine { retries: 0, ..Machine::new() };
    let error = machine.pull_refused(&format!("{}/x", server.address));
    assert!(matches!(error, Error::Broken { .. } | Error::SizeMismatch { .. }), "{error}");
}

#[test]
fn a_layer_in_a_compression_that_images_do_not_have_is_named() {
    let mut encoder = Vec::new();
    encoder.write_all(&[0xfd, b'7', b'z', b'X', b'Z', 0, 0, 0]).unwrap();
    let message = refused(&encoder, b"x");
    assert!(message.contains("xz"), "{message}");
}
