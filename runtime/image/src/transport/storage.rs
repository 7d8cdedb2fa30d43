//! `containers-storage:` images: the store that Podman, Buildah and CRI-O share, containers-storage.conf(5).
//!
//! It is only read. Its locks are taken shared for as long as an image is being read, so that none
//! of its layers goes away meanwhile. The store keeps layers unpacked, and beside each a description
//! (`tar-split`) of how its archive is put together; that archive is made again here and takes the
//! same way as any other layer, so every digest is verified.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustix::fs::FlockOperation;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::layout::Files;
use super::{Document, Transport};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, MAX_CONFIG, MAX_LAYERS, Manifest, diff_ids};
use crate::reference::Reference;
use crate::source::StorageName;

/// Drivers whose layers are directories of files.
const DRIVERS: [&str; 2] = ["overlay", "vfs"];
/// Shortest beginning of an id that finds an image, in digits.
const MIN_ID_PREFIX: usize = 3;

/// An image of a store, with the store's locks.
pub(super) struct Storage {
    place: Place,
    location: String,
    names: Vec<String>,
    manifest: Vec<u8>,
    config: (Digest, Vec<u8>),
    /// Digest of the archive and id of each layer.
    layers: Vec<(Digest, String)>,
    _locks: Vec<File>,
}

/// Where a store is.
struct Place {
    driver: String,
    root: PathBuf,
}

/// An item of `images.json`.
#[derive(Debug, Clone, Deserialize)]
struct ImageItem {
    id: String,
    #[serde(default)]
    digest: String,
    #[serde(default)]
    names: Option<Vec<String>>,
    #[serde(default)]
    layer: String,
}

/// An item of `layers.json`.
#[derive(Debug, Clone, Deserialize)]
struct LayerItem {
    id: String,
    #[serde(default)]
    parent: String,
}

impl Storage {
    pub(super) fn open(name: &StorageName) -> Result<Self> {
        let place = Place::of(name)?;
        let locks = place.lock()?;
        let location = format!("containers-storage:[{}@{}]", place.driver, place.root.display());
        let bad = |what: &str, reason: String| Error::corrupt(what, &location, reason);
        let image = choose(place.list("images", "images.json")?, &name.image, &location)?;
        let config = place.config(&image.id).map_err(|error| bad("configuration", error.to_string()))?;
        let diff_ids = diff_ids(&config).map_err(|error| bad("configuration", error.to_string()))?;
        let chain = place.chain(&image.layer, &location)?;
        if chain.len() != diff_ids.len() {
            let reason = format!("it has {} layers, its configuration {}", chain.len(), diff_ids.len());
            return Err(bad("image", reason));
        }
        let layers: Vec<_> = diff_ids.into_iter().zip(chain).collect();
        let mut descriptors = Vec::new();
        for (digest, id) in &layers {
            let size = place.tar_split(id)?.size().map_err(|error| bad(id, error.to_string()))?;
            descriptors.push(descriptor("application/vnd.oci.image.layer.v1.tar", *digest, size));
        }
        let config_digest = Digest::of(&config);
        let media_type = "application/vnd.oci.image.manifest.v1+json".to_owned();
        let manifest = Manifest {
            schema_version: 2,
            media_type,
            config: descriptor(
                "application/vnd.oci.image.config.v1+json",
                config_digest,
                config.len() as u64,
            ),
            layers: descriptors,
        };
        let manifest = serde_json::to_vec(&manifest).map_err(|error| bad("image", error.to_string()))?;
        let names = image.names.unwrap_or_default();
        Ok(Self { place, location, names, manifest, config: (config_digest, config), layers, _locks: locks })
    }
}

impl Transport for Storage {
    fn root(&self) -> Result<Document> {
        Ok(Document { bytes: self.manifest.clone(), names: self.names.clone() })
    }

    fn manifest(&self, _descriptor: &Descriptor) -> Result<Vec<u8>> {
        Err(Error::corrupt("image", &self.location, "it has no index"))
    }

    fn blob(&self, descriptor: &Descriptor, what: &'static str) -> Result<Box<dyn Read + Send + '_>> {
        if descriptor.digest == self.config.0 {
            return Ok(Box::new(&self.config.1[..]));
        }
        let found = self.layers.iter().find(|(digest, _)| *digest == descriptor.digest);
        let (_, id) = found.ok_or_else(|| Error::corrupt(what, &self.location, "it is missing"))?;
        Ok(Box::new(self.place.archive(id)?))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

fn descriptor(media_type: &str, digest: Digest, size: u64) -> Descriptor {
    Descriptor { media_type: media_type.to_owned(), digest, size, platform: None, annotations: None }
}

/// The image of this name (whole, or the end of one), id (or its beginning), or `name@digest`.
fn choose(items: Vec<ImageItem>, wanted: &str, location: &str) -> Result<ImageItem> {
    let (name, tail) = match wanted.split_once('@') {
        Some((name, tail)) => (name, Some(tail)),
        None => (wanted, None),
    };
    let digits = tail.unwrap_or(name).trim_start_matches("sha256:");
    let is_id = digits.len() >= MIN_ID_PREFIX && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let whole = Reference::parse(name).map(|name| name.to_string()).unwrap_or_default();
    let local = Reference::parse(&format!("localhost/{name}")).map(|name| name.to_string());
    let local = local.unwrap_or_default();
    let repository = |name: &str| Reference::parse(name).map(|name| name.repository()).unwrap_or_default();
    let fits: [&dyn Fn(&ImageItem) -> bool; 4] = [
        &|item| tail.is_none() && item.names.iter().flatten().any(|own| *own == whole),
        &|item| tail.is_none() && item.names.iter().flatten().any(|own| *own == local),
        &|item| {
            let of_name =
                name.is_empty() || item.names.iter().flatten().any(|own| repository(own) == repository(name));
            tail.is_some_and(|tail| of_name && (item.digest == tail || is_id && item.id.starts_with(digits)))
        },
        &|item| tail.is_none() && is_id && item.id.starts_with(digits),
    ];
    for fits in fits {
        let mut found = items.iter().filter(|item| fits(item));
        match (found.next(), found.next()) {
            (Some(one), None) => return Ok(one.clone()),
            (Some(one), Some(other)) => {
                let ids = [one, other].map(|item| item.id.clone()).to_vec();
                return Err(Error::Ambiguous { prefix: wanted.to_owned(), ids });
            }
            (None, _) => {}
        }
    }
    Err(Error::NotFound {
        reference: wanted.to_owned(),
        location: location.to_owned(),
        detail: "no image there has this name or id".to_owned(),
    })
}

impl Place {
    /// Where the name says, else where storage.conf says.
    fn of(name: &StorageName) -> Result<Self> {
        let configured = configured()?;
        let default = || PathBuf::from("/var/lib/containers/storage");
        let root = name.root.clone().or(configured.graphroot).unwrap_or_else(default);
        let there = |driver: &str| root.join(format!("{driver}-images/images.json")).exists();
        // Of a store that is named, storage.conf does not speak.
        let said = name.driver.clone().or(configured.driver.filter(|_| name.root.is_none()));
        let driver = match said.filter(|driver| !driver.is_empty()) {
            Some(driver) => driver,
            None => DRIVERS.into_iter().find(|driver| there(driver)).unwrap_or(DRIVERS[0]).to_owned(),
        };
        if !DRIVERS.contains(&driver.as_str()) {
            let reason = format!("the storage driver \"{driver}\" is not read; overlay and vfs are");
            return Err(Error::reference(&name.to_string(), reason));
        }
        if !there(&driver) {
            return Err(Error::NotFound {
                reference: name.image.clone(),
                location: root.display().to_string(),
                detail: format!("there is no store of the driver {driver}"),
            });
        }
        Ok(Self { driver, root })
    }

    fn directory(&self, kind: &str) -> PathBuf {
        self.root.join(format!("{}-{kind}", self.driver))
    }

    /// Takes the store's locks, so that nothing is removed meanwhile; released when dropped.
    fn lock(&self) -> Result<Vec<File>> {
        let mut locks = Vec::new();
        for (kind, name) in [("images", "images.lock"), ("layers", "layers.lock")] {
            let path = self.directory(kind).join(name);
            let file = match File::open(&path) {
                Ok(file) => file,
                // A copy of a store has none, and nobody changes it.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("open", &path, error)),
            };
            while let Err(error) = rustix::fs::fcntl_lock(&file, FlockOperation::LockShared) {
                if error != rustix::io::Errno::INTR {
                    return Err(Error::io("lock", &path, error));
                }
            }
            locks.push(file);
        }
        Ok(locks)
    }

    fn list<T: DeserializeOwned>(&self, kind: &str, name: &str) -> Result<Vec<T>> {
        let path = self.directory(kind).join(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt("list", path.display().to_string(), error.to_string()))
    }

    /// The configuration of an image: its id is the digest of it.
    fn config(&self, id: &str) -> io::Result<Vec<u8>> {
        let name = format!("={}", STANDARD.encode(format!("sha256:{id}")));
        let path = self.directory("images").join(checked(id)?).join(name);
        let mut bytes = Vec::new();
        File::open(&path)?.take(MAX_CONFIG + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_CONFIG || Digest::from_hex(id) != Some(Digest::of(&bytes)) {
            return Err(io::Error::other(format!("{} does not have its digest", path.display())));
        }
        Ok(bytes)
    }

    /// Ids of the layers from the lowest to the topmost.
    fn chain(&self, top: &str, location: &str) -> Result<Vec<String>> {
        let mut items: Vec<LayerItem> = self.list("layers", "layers.json")?;
        items.extend(self.list("layers", "volatile-layers.json")?);
        let mut chain = Vec::new();
        let mut next = top.to_owned();
        while !next.is_empty() {
            let item = items.iter().find(|item| item.id == next);
            let item =
                item.ok_or_else(|| Error::corrupt("image", location, format!("it has no layer {next}")))?;
            if chain.len() == MAX_LAYERS {
                return Err(Error::corrupt(
                    "image",
                    location,
                    format!("it has more than {MAX_LAYERS} layers"),
                ));
            }
            chain.push(item.id.clone());
            next.clone_from(&item.parent);
        }
        chain.reverse();
        Ok(chain)
    }

    fn tar_split(&self, id: &str) -> Result<TarSplit> {
        let name =
            format!("{}.tar-split.gz", checked(id).map_err(|error| Error::io("open", &self.root, error))?);
        let path = self.directory("layers").join(name);
        let file = File::open(&path).map_err(|error| Error::io("open", &path, error))?;
        let plain = flate2::read::MultiGzDecoder::new(file);
        Ok(TarSplit(serde_json::Deserializer::from_reader(BufReader::new(plain)).into_iter()))
    }

    /// The archive of a layer, made again.
    fn archive(&self, id: &str) -> Result<LayerArchive> {
        let steps = self.tar_split(id)?;
        let directory = match self.driver.as_str() {
            "vfs" => self.root.join("vfs/dir").join(id),
            driver => self.root.join(driver).join(id).join("diff"),
        };
        Ok(LayerArchive { steps, files: Files::open(&directory)?, current: None })
    }
}

/// An id that may be part of a path.
fn checked(id: &str) -> io::Result<&str> {
    let whole = id.len() == 64 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    whole.then_some(id).ok_or_else(|| io::Error::other(format!("\"{}\" is no id", id.escape_default())))
}

/// What counts of storage.conf.
#[derive(Debug, Default, Deserialize)]
struct Configured {
    driver: Option<String>,
    graphroot: Option<PathBuf>,
}

fn configured() -> Result<Configured> {
    #[derive(Default, Deserialize)]
    struct Document {
        #[serde(default)]
        storage: Configured,
    }
    let named = std::env::var_os("CONTAINERS_STORAGE_CONF").map(PathBuf::from);
    let usual = ["/etc/containers/storage.conf", "/usr/share/containers/storage.conf"];
    for path in named.into_iter().chain(usual.map(PathBuf::from)) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                let parsed: Document = toml::from_str(&text).map_err(|error| Error::Config {
                    path: path.clone(),
                    reason: error.to_string().trim_end().to_owned(),
                })?;
                return Ok(parsed.storage);
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("read", &path, error)),
        }
    }
    Ok(Configured::default())
}

type Entries = serde_json::StreamDeserializer<
    'static,
    serde_json::de::IoRead<BufReader<flate2::read::MultiGzDecoder<File>>>,
    Entry,
>;

/// The description of an archive: entries of JSON, one a line.
struct TarSplit(Entries);

/// Bytes of the archive as they are (`type` 2), or a file whose content comes there (1).
#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: u8,
    #[serde(default)]
    name: Option<String>,
    /// The name where it is no UTF-8.
    #[serde(default)]
    name_raw: Option<String>,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    payload: Option<String>,
}

/// A piece of an archive.
enum Piece {
    Raw(io::Cursor<Vec<u8>>),
    Content(io::Take<File>),
}

impl Entry {
    fn bytes(&self) -> io::Result<Vec<u8>> {
        STANDARD.decode(self.payload.as_deref().unwrap_or_default()).map_err(io::Error::other)
    }
}

impl TarSplit {
    fn size(mut self) -> io::Result<u64> {
        self.0.try_fold(0_u64, |sum, entry| {
            let entry = entry?;
            let more = if entry.kind == 2 { entry.bytes()?.len() as u64 } else { entry.size };
            sum.checked_add(more).ok_or_else(|| io::Error::other("its description has impossible sizes"))
        })
    }
}

struct LayerArchive {
    steps: TarSplit,
    files: Files,
    current: Option<Piece>,
}

impl LayerArchive {
    fn advance(&mut self) -> io::Result<bool> {
        let Some(entry) = self.steps.0.next() else { return Ok(false) };
        let entry = entry?;
        self.current = match entry.kind {
            2 => Some(Piece::Raw(io::Cursor::new(entry.bytes()?))),
            1 if entry.size > 0 => {
                let raw = entry.name_raw.map(|raw| STANDARD.decode(raw).map_err(io::Error::other));
                let name = raw.unwrap_or_else(|| Ok(entry.name.unwrap_or_default().into_bytes()))?;
                let file = self.files.open_content(&name).map_err(io::Error::other)?;
                Some(Piece::Content(file.take(entry.size)))
            }
            1 => None,
            other => return Err(io::Error::other(format!("its description has entries of type {other}"))),
        };
        Ok(true)
    }
}

impl Read for LayerArchive {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = match &mut self.current {
                Some(Piece::Raw(bytes)) => bytes.read(buffer)?,
                Some(Piece::Content(file)) => file.read(buffer)?,
                None => 0,
            };
            if count > 0 || buffer.is_empty() || !self.advance()? {
                return Ok(count);
            }
        }
    }
}
