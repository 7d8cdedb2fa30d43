//! Directories and archives as sources, honest and hostile.

use std::os::unix::fs::symlink;
use std::path::Path;

use sampan_image::{Digest, Error};
use serde_json::{Value, json};

use crate::fixture::{Machine, TestImage, gzip, tar_of};

/// A tar file of a directory's content, as `oci-archive:` wants it.
fn archive(directory: &Path, file: &Path) {
    let mut builder = tar::Builder::new(std::fs::File::create(file).unwrap());
    builder.append_dir_all(".", directory).unwrap();
    builder.finish().unwrap();
}

/// Writes what `docker save` would.
fn docker_archive(image: &TestImage, archives: &[Vec<u8>], file: &Path) {
    let config = format!("{}.json", Digest::of(&image.config).hex());
    let layers: Vec<String> = (0..archives.len()).map(|number| format!("{number}/layer.tar")).collect();
    let items = json!([{"Config": config, "RepoTags": ["team/app:1", "bad name"], "Layers": layers}]);
    let items = items.to_string();
    let mut files: Vec<(&str, &[u8])> = vec![("manifest.json", items.as_bytes()), (&config, &image.config)];
    files.extend(layers.iter().map(String::as_str).zip(archives.iter().map(Vec::as_slice)));
    std::fs::write(file, tar_of(&files)).unwrap();
}

#[test]
fn every_local_transport_brings_the_same_image() {
    let archives = [tar_of(&[("etc/os-release", b"NAME=x\n")]), tar_of(&[("etc/motd", b"hello\n")])];
    let image = TestImage::new(&archives);
    let id = Digest::of(&image.config).hex();
    let files = tempfile::tempdir().unwrap();
    let path = |name: &str| files.path().join(name);

    image.write_layout(&path("layout"));
    archive(&path("layout"), &path("oci.tar"));
    docker_archive(&image, &archives, &path("docker.tar"));
    std::fs::write(path("docker.tar.gz"), gzip(&std::fs::read(path("docker.tar")).unwrap())).unwrap();
    std::fs::create_dir(path("dir")).unwrap();
    std::fs::write(path("dir/manifest.json"), &image.manifest).unwrap();
    for (digest, blob) in &image.blobs {
        std::fs::write(path("dir").join(digest.hex()), blob).unwrap();
    }

    for (source, names) in [
        ("oci:layout", &["localhost/v1:latest"][..]),
        ("oci:layout:v1", &["localhost/v1:latest"]),
        ("oci-archive:oci.tar", &["localhost/v1:latest"]),
        ("docker-archive:docker.tar", &["docker.io/team/app:1"]),
        ("docker-archive:docker.tar:team/app:1", &["docker.io/team/app:1"]),
        ("docker-archive:docker.tar.gz:@0", &["docker.io/team/app:1"]),
        ("dir:dir", &[]),
    ] {
        let (transport, rest) = source.split_once(':').unwrap();
        let machine = Machine::new();
        let source = format!("{transport}:{}/{rest}", files.path().display());
        let pulled = machine.pull(&source).unwrap_or_else(|error| panic!("{source}: {error}"));
        assert_eq!(
            (pulled.id.as_str(), &pulled.names[..]),
            (id.as_str(), &names.map_names()[..]),
            "{source}"
        );
        assert_eq!(std::fs::read_to_string(pulled.layers[0].join("etc/motd")).unwrap(), "hello\n");
        assert_eq!(machine.leftovers(), [] as [String; 0]);
        // Again, with every layer there.
        assert_eq!(machine.pull(&source).unwrap().id, id);
    }
}

trait MapNames {
    fn map_names(&self) -> Vec<String>;
}

impl MapNames for &[&str] {
    fn map_names(&self) -> Vec<String> {
        self.iter().map(|name| (*name).to_owned()).collect()
    }
}

#[test]
fn what_is_missing_is_named() {
    let machine = Machine::new();
    let files = tempfile::tempdir().unwrap();
    TestImage::small().write_layout(files.path());
    let path = files.path().display();
    for source in [
        format!("oci:{path}:v2"),
        format!("oci:{path}/none"),
        format!("oci-archive:{path}/none.tar"),
        format!("dir:{path}/none"),
    ] {
        let error = machine.pull_refused(&source);
        assert!(matches!(error, Error::NotFound { .. }), "{source}: {error}");
    }
    let error = machine.pull_refused(&format!("docker-archive:{path}/index.json"));
    assert!(matches!(error, Error::Corrupt { .. }), "{error}");
}

#[test]
fn a_changed_blob_is_refused() {
    let files = tempfile::tempdir().unwrap();
    let image = TestImage::small();
    image.write_layout(files.path());
    let source = format!("oci:{}", files.path().display());
    for blob in [&image.layers[1], &image.config, &image.manifest] {
        let path = files.path().join("blobs/sha256").join(Digest::of(blob).hex());
        let mut changed = blob.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 4;
        std::fs::write(&path, changed).unwrap();
        let error = Machine::new().pull_refused(&source);
        assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
        std::fs::write(&path, &blob[..middle]).unwrap();
        let error = Machine::new().pull_refused(&source);
        assert!(matches!(error, Error::SizeMismatch { .. } | Error::Broken { .. }), "{error}");
        std::fs::write(&path, blob).unwrap();
    }
    Machine::new().pull(&source).unwrap();
}

#[test]
fn links_in_a_layout_are_not_followed() {
    let files = tempfile::tempdir().unwrap();
    let image = TestImage::small();
    image.write_layout(&files.path().join("good"));
    let blobs = files.path().join("good/blobs/sha256");
    let layer = blobs.join(Digest::of(&image.layers[0]).hex());
    std::fs::rename(&layer, files.path().join("elsewhere")).unwrap();
    symlink("../../../elsewhere", &layer).unwrap();
    let source = format!("oci:{}", files.path().join("good").display());
    assert!(matches!(Machine::new().pull_refused(&source), Error::Io { .. }));
    // A FIFO in the place of a blob must not hang.
    std::fs::remove_file(&layer).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &layer,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    assert!(matches!(Machine::new().pull_refused(&source), Error::Corrupt { .. }));
}

#[test]
fn hostile_archives_are_refused() {
    let files = tempfile::tempdir().unwrap();
    let file = files.path().join("x.tar");
    let source = format!("docker-archive:{}", file.display());
    let items = |value: Value| tar_of(&[("manifest.json", value.to_string().as_bytes())]);
    let whole = items(json!([{"Config": "c", "Layers": ["l"]}]));
    let mut link = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    link.append_link(&mut header, "manifest.json", "/etc/passwd").unwrap();
    let mut circle = tar::Builder::new(Vec::new());
    circle.append_link(&mut header, "manifest.json", "manifest.json").unwrap();
    for bytes in [
        items(json!([])),
        items(json!([{"Config": "../../../../etc/passwd", "Layers": []}])),
        items(json!([{"Config": "manifest.json", "Layers": ["none"]}])),
        items(json!({"x": 1})),
        whole[..700].to_vec(),
        vec![],
        vec![0xff; 4096],
        link.into_inner().unwrap(),
        circle.into_inner().unwrap(),
        gzip(&whole)[..60].to_vec(),
    ] {
        std::fs::write(&file, &bytes).unwrap();
        let error = Machine::new().pull_refused(&source);
        assert!(matches!(error, Error::Corrupt { .. } | Error::NotFound { .. }), "{error}");
    }
}

#[test]
fn a_policy_for_a_directory_counts() {
    let files = tempfile::tempdir().unwrap();
    TestImage::small().write_layout(files.path());
    let machine = Machine::new();
    let path = files.path().canonicalize().unwrap();
    let policy = json!({
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {"oci": {path.display().to_string(): [{"type": "reject"}]}}
    });
    machine.write("etc/containers/policy.json", &policy.to_string());
    let error = machine.pull_refused(&format!("oci:{}:v1", files.path().display()));
    assert!(matches!(error, Error::Policy { .. }), "{error}");
}
