//! Saving: images of the store as archives and directories that other tools read.
//!
//! The store has no archives of layers: each is made again of the layer's files and its recipe, byte
//! by byte as it came, and its digest compared. So a configuration stays as it is, and with it the
//! image's id. The compressed form is a new one; where it counts (in OCI's forms and with
//! `compress`) the manifest is new too.

mod sink;

use std::io::{self, Read, Seek, Write};
use std::path::Path;

use serde_json::json;

use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Manifest, diff_ids};
use crate::store::{Image, Store};
use sink::{Directory, Sink, Tarball};

/// Most bytes that are copied at once.
const BUFFER: usize = 128 * 1024;

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaveFormat {
    /// The tar file of `docker save`.
    DockerArchive,
    /// A tar file of an OCI image layout.
    OciArchive,
    /// A directory with Docker's manifest (`dir:`).
    DockerDirectory,
    /// An OCI image layout.
    OciDirectory,
}

/// How to save.
#[derive(Debug, Clone, Copy)]
pub struct SaveOptions {
    /// What is written.
    pub format: SaveFormat,
    /// Whether layers are compressed; has no meaning for [`SaveFormat::DockerArchive`], where they
    /// never are.
    pub compress: bool,
}

/// An image to save, and the names that it shall have in the archive.
#[derive(Debug, Clone)]
pub struct Saved {
    /// The image.
    pub image: Image,
    /// Whole names; of OCI's forms the first counts, and none in a `dir:`.
    pub names: Vec<String>,
}

/// Writes an archive of images to a stream.
///
/// # Errors
/// [`Error::Io`] from the stream, [`Error::Corrupt`] or [`Error::DigestMismatch`] when a layer of the
/// store is not what it was any more. What was written by then is of no use.
pub fn save_archive(
    store: &Store,
    images: &[Saved],
    options: SaveOptions,
    out: &mut dyn Write,
) -> Result<()> {
    let _no_deletion = store.lock_shared()?;
    let mut tarball = Tarball::new(out);
    save(store, images, options, &mut tarball)?;
    tarball.finish()
}

/// Writes an image into a directory, which must be empty.
///
/// # Errors
/// Those of [`save_archive`].
pub fn save_directory(store: &Store, image: &Saved, options: SaveOptions, path: &Path) -> Result<()> {
    let _no_deletion = store.lock_shared()?;
    save(store, std::slice::from_ref(image), options, &mut Directory::new(path))
}

fn save(store: &Store, images: &[Saved], options: SaveOptions, sink: &mut dyn Sink) -> Result<()> {
    let mut saving = Saving { store, options, sink };
    match options.format {
        SaveFormat::DockerArchive => saving.docker_archive(images),
        SaveFormat::DockerDirectory => saving.docker_directory(images),
        SaveFormat::OciArchive | SaveFormat::OciDirectory => saving.oci(images),
    }
}

struct Saving<'a> {
    store: &'a Store,
    options: SaveOptions,
    sink: &'a mut dyn Sink,
}

/// A configuration as it came, and the layers that it names: each as often as it does.
struct Parts {
    config: (Digest, Vec<u8>),
    diff_ids: Vec<Digest>,
}

impl Saving<'_> {
    fn docker_archive(&mut self, images: &[Saved]) -> Result<()> {
        let mut written = Vec::new();
        let mut items = Vec::new();
        for saved in images {
            let parts = self.parts(&saved.image)?;
            let member = |diff_id: &Digest| format!("{}.tar", diff_id.hex());
            for diff_id in &parts.diff_ids {
                if written.contains(diff_id) {
                    continue;
                }
                let (mut archive, size) = self.store.layer_archive(diff_id)?;
                self.sink.stream(&member(diff_id), size, &mut archive)?;
                written.push(*diff_id);
            }
            let config = format!("{}.json", parts.config.0.hex());
            if !written.contains(&parts.config.0) {
                self.sink.bytes(&config, &parts.config.1)?;
                written.push(parts.config.0);
            }
            let layers: Vec<_> = parts.diff_ids.iter().map(member).collect();
            let tags = if saved.names.is_empty() { None } else { Some(&saved.names) };
            items.push(json!({"Config": config, "RepoTags": tags, "Layers": layers}));
        }
        self.sink.bytes("manifest.json", json!(items).to_string().as_bytes())
    }

    fn docker_directory(&mut self, images: &[Saved]) -> Result<()> {
        for saved in images {
            let parts = self.parts(&saved.image)?;
            let media_type = match self.options.compress {
                true => "application/vnd.docker.image.rootfs.diff.tar.gzip",
                false => "application/vnd.docker.image.rootfs.diff.tar",
            };
            let mut layers = Vec::new();
            for diff_id in &parts.diff_ids {
                layers.push(self.layer(diff_id, media_type, &layers, |digest| digest.hex())?);
            }
            self.sink.bytes(&parts.config.0.hex(), &parts.config.1)?;
            let manifest = manifest(
                "application/vnd.docker.distribution.manifest.v2+json",
                "application/vnd.docker.container.image.v1+json",
                &parts,
                layers,
            );
            self.sink.bytes("manifest.json", &manifest)?;
            self.sink.bytes("version", b"Directory Transport Version: 1.1\n")?;
        }
        Ok(())
    }

    fn oci(&mut self, images: &[Saved]) -> Result<()> {
        let blob = |digest: &Digest| format!("blobs/sha256/{}", digest.hex());
        let media_type = match self.options.compress {
            true => "application/vnd.oci.image.layer.v1.tar+gzip",
            false => "application/vnd.oci.image.layer.v1.tar",
        };
        let mut entries = Vec::new();
        let mut layers: Vec<(Digest, Descriptor)> = Vec::new();
        for saved in images {
            let parts = self.parts(&saved.image)?;
            let mut own = Vec::new();
            for diff_id in &parts.diff_ids {
                let layer = self.layer(diff_id, media_type, &layers, blob)?;
                layers.push(layer.clone());
                own.push(layer);
            }
            self.sink.bytes(&blob(&parts.config.0), &parts.config.1)?;
            let manifest_type = "application/vnd.oci.image.manifest.v1+json";
            let config_type = "application/vnd.oci.image.config.v1+json";
            let manifest = manifest(manifest_type, config_type, &parts, own);
            let digest = Digest::of(&manifest);
            self.sink.bytes(&blob(&digest), &manifest)?;
            let annotations =
                saved.names.first().map(|name| json!({"org.opencontainers.image.ref.name": name}));
            let mut entry =
                json!({"mediaType": manifest_type, "digest": digest.to_string(), "size": manifest.len()});
            if let Some(annotations) = annotations {
                entry["annotations"] = annotations;
            }
            entries.push(entry);
        }
        self.sink
            .bytes("index.json", json!({"schemaVersion": 2, "manifests": entries}).to_string().as_bytes())?;
        self.sink.bytes("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)
    }

    fn parts(&self, image: &Image) -> Result<Parts> {
        let digest = Digest::from_hex(&image.id).ok_or_else(|| Error::NoSuchImage(image.id.clone()))?;
        let path = self.store.blob_path(&digest);
        let bytes = std::fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
        let location = path.display().to_string();
        crate::fetch::verify_digest("configuration", Digest::of(&bytes), digest, &location)?;
        let diff_ids =
            diff_ids(&bytes).map_err(|error| Error::corrupt("configuration", location, error.to_string()))?;
        Ok(Parts { config: (digest, bytes), diff_ids })
    }

    /// Writes a layer unless it is there already, under a name that is made of its digest.
    fn layer(
        &mut self,
        diff_id: &Digest,
        media_type: &str,
        written: &[(Digest, Descriptor)],
        name: impl Fn(&Digest) -> String,
    ) -> Result<(Digest, Descriptor)> {
        if let Some(known) = written.iter().find(|(known, _)| known == diff_id) {
            return Ok(known.clone());
        }
        let (mut archive, size) = self.store.layer_archive(diff_id)?;
        let descriptor = |digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            platform: None,
            annotations: None,
        };
        if !self.options.compress {
            self.sink.stream(&name(diff_id), size, &mut archive)?;
            return Ok((*diff_id, descriptor(*diff_id, size)));
        }
        // Its digest and size, which come before it, are known only when it is made.
        let mut file = self.store.unnamed_file()?;
        let (digest, size) = compress(&mut archive, &mut file)
            .and_then(|known| file.rewind().map(|()| known))
            .map_err(|error| own("compress a layer in", self.store.root(), error))?;
        self.sink.stream(&name(&digest), size, &mut file)?;
        Ok((*diff_id, descriptor(digest, size)))
    }
}

fn manifest(
    media_type: &str,
    config_type: &str,
    parts: &Parts,
    layers: Vec<(Digest, Descriptor)>,
) -> Vec<u8> {
    let config = Descriptor {
        media_type: config_type.to_owned(),
        digest: parts.config.0,
        size: parts.config.1.len() as u64,
        platform: None,
        annotations: None,
    };
    let layers = layers.into_iter().map(|(_, layer)| layer).collect();
    let manifest = Manifest { schema_version: 2, media_type: media_type.to_owned(), config, layers };
    // Strings and numbers always have a JSON form.
    serde_json::to_vec(&manifest).unwrap_or_default()
}

/// Compresses a stream; digest and size of the result.
fn compress(from: &mut dyn Read, into: &mut dyn Write) -> io::Result<(Digest, u64)> {
    struct Counting<'a>(&'a mut dyn Write, Hasher, u64);
    impl Write for Counting<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = self.0.write(bytes)?;
            self.1.update(&bytes[..count]);
            self.2 += count as u64;
            Ok(count)
        }

        fn flush(&mut self) -> io::Result<()> {
            self.0.flush()
        }
    }
    let counting = Counting(into, Hasher::new(), 0);
    let mut encoder = flate2::write::GzEncoder::new(counting, flate2::Compression::default());
    let mut buffer = vec![0; BUFFER];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            count => encoder.write_all(&buffer[..count])?,
        }
    }
    let Counting(_, hasher, size) = encoder.finish()?;
    Ok((hasher.finish(), size))
}

/// An error of our own readers as it is, another one with what was being done.
fn own(operation: &'static str, path: &Path, error: io::Error) -> Error {
    match error.downcast::<Error>() {
        Ok(own) => own,
        Err(error) => Error::io(operation, path, error),
    }
}
