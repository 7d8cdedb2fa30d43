//! Images, stores and options for the tests.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use sampan_image::{
    Credentials, Digest, Error, Image, Policy, Progress, PullOptions, Reference, Registries, Source, Store,
    pull, tag_digest, tags,
};
use serde_json::{Value, json};

/// An image as a set of blobs.
#[derive(Clone, Debug)]
pub(crate) struct TestImage {
    pub(crate) manifest: Vec<u8>,
    pub(crate) config: Vec<u8>,
    pub(crate) layers: Vec<Vec<u8>>,
    pub(crate) blobs: BTreeMap<Digest, Vec<u8>>,
}

/// A tar archive of files.
pub(crate) fn tar_of(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Bytes that do not compress.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state as u8
    };
    (0..length).map(next).collect()
}

pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

impl TestImage {
    /// An image with a layer per archive, gzip-compressed.
    pub(crate) fn new(archives: &[Vec<u8>]) -> Self {
        let layers: Vec<_> = archives.iter().map(|archive| gzip(archive)).collect();
        let diff_ids: Vec<_> = archives.iter().map(|archive| Digest::of(archive).to_string()).collect();
        Self::of_layers(layers, &diff_ids)
    }

    /// An image with these compressed layers, whatever they are.
    pub(crate) fn of_layers(layers: Vec<Vec<u8>>, diff_ids: &[String]) -> Self {
        let config = json!({
            "architecture": sampan_image::Platform::host().architecture, "os": "linux",
            "created": "2024-05-06T07:08:09Z",
            "config": {
                "Env": ["PATH=/bin"], "Cmd": ["/bin/sh"], "Entrypoint": null, "Volumes": null,
                "ExposedPorts": {"80/tcp": {}}, "Labels": null, "User": "",
                "Healthcheck": {"Test": ["CMD", "true"]}
            },
            "container_config": {"Cmd": null},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
            "history": [{"created_by": "test", "empty_layer": true}]
        });
        let config = config.to_string().into_bytes();
        let gzip_type = "application/vnd.oci.image.layer.v1.tar+gzip";
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": descriptor("application/vnd.oci.image.config.v1+json", &config),
            "layers": layers.iter().map(|layer| descriptor(gzip_type, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let mut blobs: BTreeMap<_, _> =
            layers.iter().map(|layer| (Digest::of(layer), layer.clone())).collect();
        blobs.insert(Digest::of(&config), config.clone());
        Self { manifest, config, layers, blobs }
    }

    /// Two small layers.
    pub(crate) fn small() -> Self {
        let lower = tar_of(&[("etc/os-release", b"NAME=test\n"), ("bin/sh", &noise(200_000))]);
        let upper = tar_of(&[("etc/motd", b"hello\n")]);
        Self::new(&[lower, upper])
    }

    /// Writes an OCI image layout.
    pub(crate) fn write_layout(&self, directory: &Path) {
        let blobs = directory.join("blobs/sha256");
        std::fs::create_dir_all(&blobs).unwrap();
        let all = self.blobs.values().chain([&self.manifest]);
        for blob in all {
            std::fs::write(blobs.join(Digest::of(blob).hex()), blob).unwrap();
        }
        let mut entry = descriptor("application/vnd.oci.image.manifest.v1+json", &self.manifest);
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": "v1"});
        let index = json!({"schemaVersion": 2, "manifests": [entry]});
        std::fs::write(directory.join("index.json"), index.to_string()).unwrap();
        std::fs::write(directory.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }
}

/// A machine's configuration and an empty store, in a temporary directory.
pub(crate) struct Machine {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) stall: Duration,
    pub(crate) retries: u32,
    pub(crate) credentials: Option<Credentials>,
    /// Where the store is, if not in the directory.
    pub(crate) store: Option<PathBuf>,
}

impl Machine {
    /// Plain HTTP is allowed for everything on loopback.
    pub(crate) fn new() -> Self {
        let machine = Self {
            directory: tempfile::tempdir().unwrap(),
            stall: Duration::from_secs(10),
            retries: 2,
            credentials: None,
            store: None,
        };
        machine.write(
            "etc/containers/registries.conf",
            "[[registry]]\nlocation = \"127.0.0.1\"\ninsecure = true\n\
             [[registry]]\nlocation = \"localhost\"\ninsecure = true\n",
        );
        machine
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    pub(crate) fn store_path(&self) -> PathBuf {
        self.store.clone().unwrap_or_else(|| self.directory.path().join("store"))
    }

    pub(crate) fn store(&self) -> Store {
        Store::open(&self.store_path()).unwrap()
    }

    pub(crate) fn registries(&self) -> Registries {
        Registries::load(self.directory.path()).unwrap()
    }

    pub(crate) fn pull(&self, source: &str) -> Result<Image, Error> {
        self.pull_watched(source, &|_| ())
    }

    pub(crate) fn pull_watched(
        &self,
        source: &str,
        progress: &(dyn Fn(&Progress) + Sync),
    ) -> Result<Image, Error> {
        self.with_options(|options| {
            let options = PullOptions { progress, ..*options };
            pull(&self.store(), &Source::parse(source, options.registries)?, &options)
        })
    }

    /// What the registry has for a name.
    pub(crate) fn tag_digest(&self, name: &str) -> Result<Digest, Error> {
        self.with_options(|options| tag_digest(&Reference::parse(name)?, options))
    }

    /// The tags of a repository.
    pub(crate) fn tags(&self, source: &str) -> Result<Vec<Reference>, Error> {
        self.with_options(|options| tags(&Source::parse(source, options.registries)?, options))
    }

    fn with_options<T>(&self, work: impl FnOnce(&PullOptions<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let registries = self.registries();
        let policy = Policy::load(self.directory.path())?;
        work(&PullOptions {
            stall_timeout: self.stall,
            retries: self.retries,
            retry_delay: Some(Duration::from_millis(20)),
            credentials: self.credentials.as_ref(),
            auth_file: Some(&self.directory.path().join("auth.json")),
            ..PullOptions::new(&registries, &policy)
        })
    }

    /// Pulls what must fail, and checks that nothing of it stays.
    pub(crate) fn pull_refused(&self, source: &str) -> Error {
        let error = self.pull(source).expect_err("the pull succeeded");
        assert_eq!(self.leftovers(), [] as [String; 0], "after: {error}");
        assert!(self.store().images().unwrap().is_empty(), "an image is visible after: {error}");
        error
    }

    /// What is in the store's `tmp/`.
    pub(crate) fn leftovers(&self) -> Vec<String> {
        let tmp = self.store_path().join("tmp");
        let entries = std::fs::read_dir(tmp).into_iter().flatten().flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    pub(crate) fn layer_count(&self) -> usize {
        let entries = std::fs::read_dir(self.store_path().join("layers")).unwrap().flatten();
        entries.filter(|entry| entry.path().is_dir()).count()
    }
}

/// Whether a program is installed; says so if not.
pub(crate) fn installed(program: &str) -> bool {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())
        .any(|directory| directory.join(program).is_file());
    if !found {
        eprintln!("SKIP: {program} is not installed");
    }
    found
}
