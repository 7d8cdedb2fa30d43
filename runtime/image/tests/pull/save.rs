//! Saving and loading: what is written is what was pulled, and other tools read it.

use std::io::Cursor;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use sampan_image::{
    Digest, Error, Image, Input, Loaded, Policy, PullOptions, SaveFormat, SaveOptions, Saved, load,
    save_archive, save_directory,
};

use crate::fixture::{Machine, TestImage, gzip, installed, noise, tar_of};

const FORMATS: [SaveFormat; 4] = [
    SaveFormat::DockerArchive,
    SaveFormat::OciArchive,
    SaveFormat::DockerDirectory,
    SaveFormat::OciDirectory,
];

/// An archive with everything that one may hold: long names, links, whiteouts, devices, holes, an
/// odd end.
fn odd_archive() -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let entry = |kind: tar::EntryType, mode: u32| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(0);
        header.set_mtime(1_234_567_890);
        header
    };
    let mut directory = entry(tar::EntryType::Directory, 0o750);
    builder.append_data(&mut directory, "./usr/", &[][..]).unwrap();
    builder.append_data(&mut directory.clone(), "usr/bin/", &[][..]).unwrap();
    builder.append_link(&mut entry(tar::EntryType::Symlink, 0o777), "bin", "usr/bin").unwrap();
    let mut file = entry(tar::EntryType::Regular, 0o4755);
    file.set_size(300_001);
    builder.append_data(&mut file, "bin/through-a-link", &noise(300_001)[..]).unwrap();
    builder.append_link(&mut entry(tar::EntryType::Link, 0o755), "hard", "usr/bin/through-a-link").unwrap();
    let long = format!("usr/{}/file", "long".repeat(50));
    let mut file = entry(tar::EntryType::Regular, 0o644);
    file.set_size(5);
    builder.append_data(&mut file, long, &b"long\n"[..]).unwrap();
    builder.append_data(&mut entry(tar::EntryType::Regular, 0o644), "usr/.wh.gone", &[][..]).unwrap();
    builder.append_data(&mut entry(tar::EntryType::Regular, 0o644), "usr/bin/.wh..wh..opq", &[][..]).unwrap();
    builder.append_data(&mut entry(tar::EntryType::Fifo, 0o600), "fifo", &[][..]).unwrap();
    builder.append_data(&mut entry(tar::EntryType::Regular, 0o000), "empty", &[][..]).unwrap();
    let mut bytes = builder.into_inner().unwrap();
    // Writers fill the last record, some with less than zeros.
    bytes.extend_from_slice(&[0; 10240]);
    bytes.extend_from_slice(b"and what nobody reads");
    bytes
}

fn odd_image() -> TestImage {
    TestImage::new(&[tar_of(&[("etc/os-release", b"NAME=test\n")]), odd_archive(), Vec::new()])
}

/// Pulls an image under a name.
fn pulled(machine: &Machine, image: &TestImage) -> Image {
    let layout = machine.directory.path().join("layout");
    image.write_layout(&layout);
    machine.pull(&format!("oci:{}:v1", layout.display())).unwrap()
}

fn save(machine: &Machine, images: &[Saved], format: SaveFormat, compress: bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    save_archive(&machine.store(), images, SaveOptions { format, compress }, &mut bytes).unwrap();
    bytes
}

fn loaded(machine: &Machine, input: Input<'_>) -> Result<Vec<Loaded>, Error> {
    let registries = machine.registries();
    let policy = Policy::load(machine.directory.path())?;
    load(&machine.store(), input, &PullOptions::new(&registries, &policy))
}

fn named(image: &Image, name: &str) -> Saved {
    Saved { image: image.clone(), names: vec![name.to_owned()] }
}

#[test]
fn every_form_brings_the_same_image_back() {
    let machine = Machine::new();
    let image = pulled(&machine, &odd_image());
    let saved = [named(&image, "q.io/team/app:1")];
    for format in FORMATS {
        for compress in [false, true] {
            let other = Machine::new();
            let directory = other.directory.path().join("saved");
            let list = match format {
                SaveFormat::DockerArchive | SaveFormat::OciArchive => {
                    let bytes = save(&machine, &saved, format, compress);
                    assert_eq!(bytes, save(&machine, &saved, format, compress), "the same each time");
                    loaded(&other, Input::Stream(&mut Cursor::new(&bytes))).unwrap();
                    loaded(&other, Input::Stream(&mut Cursor::new(gzip(&bytes)))).unwrap()
                }
                _ => {
                    let options = SaveOptions { format, compress };
                    save_directory(&machine.store(), &saved[0], options, &directory).unwrap();
                    loaded(&other, Input::Path(&directory)).unwrap()
                }
            };
            let [one] = &list[..] else { panic!("{format:?}: {list:?}") };
            assert_eq!(one.image.id, image.id, "{format:?}");
            let names: &[&str] =
                if format == SaveFormat::DockerDirectory { &[] } else { &["q.io/team/app:1"] };
            assert_eq!(one.names, names, "{format:?}");
            assert_eq!(other.leftovers(), [] as [String; 0]);
        }
    }
}

#[test]
fn layers_have_their_first_bytes_again() {
    let machine = Machine::new();
    let image = pulled(&machine, &odd_image());
    let bytes = save(&machine, &[named(&image, "q.io/a:1")], SaveFormat::DockerArchive, false);
    let mut archive = tar::Archive::new(&bytes[..]);
    let member = format!("{}.tar", Digest::of(&odd_archive()).hex());
    let mut entries = archive.entries().unwrap().map(Result::unwrap);
    let mut found = entries.find(|entry| entry.path().unwrap() == Path::new(&member)).unwrap();
    let mut layer = Vec::new();
    std::io::Read::read_to_end(&mut found, &mut layer).unwrap();
    assert!(layer == odd_archive(), "another archive");
}

#[test]
fn several_images_share_an_archive_and_its_layers() {
    let machine = Machine::new();
    let shared = tar_of(&[("shared", &noise(100_000))]);
    let first = pulled(&machine, &TestImage::new(&[shared.clone(), tar_of(&[("a", b"1")])]));
    let second = pulled(&machine, &TestImage::new(&[shared, tar_of(&[("b", b"2")])]));
    let saved = [named(&first, "q.io/a:1"), Saved { image: second.clone(), names: Vec::new() }];
    let bytes = save(&machine, &saved, SaveFormat::DockerArchive, false);
    assert!(bytes.len() < 150_000, "a layer is there twice: {} bytes", bytes.len());
    let other = Machine::new();
    let list = loaded(&other, Input::Stream(&mut Cursor::new(&bytes))).unwrap();
    let seen: Vec<_> = list.iter().map(|one| (one.image.id.as_str(), one.names.len())).collect();
    assert_eq!(seen, [(first.id.as_str(), 1), (second.id.as_str(), 0)]);
    let again = save(&machine, &saved, SaveFormat::OciArchive, true);
    assert_eq!(loaded(&Machine::new(), Input::Stream(&mut Cursor::new(&again))).unwrap().len(), 2);
}

#[test]
fn a_layer_that_was_changed_is_not_saved() {
    let machine = Machine::new();
    let image = pulled(&machine, &TestImage::new(&[tar_of(&[("a", b"right"), ("b", b"gone")])]));
    let try_it = || {
        let options = SaveOptions { format: SaveFormat::DockerArchive, compress: false };
        save_archive(&machine.store(), &[named(&image, "q.io/a:1")], options, &mut Vec::new())
    };
    try_it().unwrap();
    std::fs::write(image.layers[0].join("a"), "wrong").unwrap();
    let error = try_it().unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    std::fs::remove_file(image.layers[0].join("a")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", image.layers[0].join("a")).unwrap();
    let error = try_it().unwrap_err();
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
    std::fs::remove_file(image.layers[0].with_extension("recipe")).unwrap();
    let error = try_it().unwrap_err().to_string();
    assert!(error.contains("pull it again"), "{error}");
}

#[test]
fn recipes_go_with_their_layers() {
    let machine = Machine::new();
    let image = pulled(&machine, &TestImage::small());
    machine.store().removal().unwrap().remove(&image.id, &machine.registries(), &[], true).unwrap();
    let left: Vec<_> = std::fs::read_dir(machine.store_path().join("layers")).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn what_is_no_archive_of_images_is_refused() {
    for bytes in [tar_of(&[("x", b"y")]), b"hello".to_vec(), Vec::new(), gzip(b"hello")] {
        let machine = Machine::new();
        let error = loaded(&machine, Input::Stream(&mut Cursor::new(&bytes))).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error}");
        assert_eq!(machine.leftovers(), [] as [String; 0]);
    }
}

#[test]
fn skopeo_reads_what_is_saved_and_saves_what_is_loaded() {
    if !installed("skopeo") {
        return;
    }
    let machine = Machine::new();
    let image = pulled(&machine, &odd_image());
    let path = |name: &str| machine.directory.path().join(name);
    let copy = |from: &str, to: &str| {
        let output =
            Command::new("skopeo").args(["--insecure-policy", "copy", "-q", from, to]).output().unwrap();
        assert!(output.status.success(), "{from} to {to}: {}", String::from_utf8_lossy(&output.stderr));
    };
    for (number, (format, transport)) in [
        (SaveFormat::DockerArchive, "docker-archive"),
        (SaveFormat::OciArchive, "oci-archive"),
        (SaveFormat::OciDirectory, "oci"),
        (SaveFormat::DockerDirectory, "dir"),
    ]
    .into_iter()
    .enumerate()
    {
        let ours = path(&format!("ours-{number}"));
        let saved = named(&image, "q.io/team/app:1");
        match format {
            SaveFormat::DockerArchive | SaveFormat::OciArchive => {
                std::fs::write(&ours, save(&machine, &[saved], format, true)).unwrap();
            }
            _ => save_directory(&machine.store(), &saved, SaveOptions { format, compress: true }, &ours)
                .unwrap(),
        }
        let theirs = path(&format!("theirs-{number}"));
        let name = if transport == "dir" { "" } else { ":q.io/team/app:1" };
        copy(&format!("{transport}:{}", ours.display()), &format!("{transport}:{}{name}", theirs.display()));
        let other = Machine::new();
        let list = loaded(&other, Input::Path(&theirs)).unwrap();
        assert_eq!(list[0].image.id, image.id, "{transport}");
        let mode =
            std::fs::metadata(list[0].image.layers[1].join("usr/bin/through-a-link")).unwrap().permissions();
        assert_eq!(mode.mode() & 0o7777, 0o4755);
    }
}
