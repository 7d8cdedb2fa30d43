//! Artifacts: files that a registry keeps as it keeps images, and that are nothing but files
//! ([image-spec, "Guidelines for Artifact Usage"](https://github.com/opencontainers/image-spec/blob/main/manifest.md)).
//!
//! A name leads to a record in `artifacts/`, that to a manifest, and that to the files, all of them blobs as they
//! came: nothing is unpacked. What a file is called in a container, its own manifest says; see
//! [`ArtifactFile::file_name`] for what is believed of that.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fetch;
use crate::manifest::{Descriptor, MAX_CONFIG, is_index};
use crate::progress::Meter;
use crate::pull::{PullOptions, at_candidates, at_endpoints};
use crate::reference::Reference;
use crate::registries::Registries;
use crate::registry::Client;
use crate::source::Source;
use crate::store::Store;
use crate::transport::Transport;

/// Annotation with the name of a file.
const TITLE: &str = "org.opencontainers.image.title";
/// Most files: each becomes a mount.
const MAX_FILES: usize = 1024;
/// Longest name of a file, in bytes (`NAME_MAX`).
const MAX_NAME: usize = 255;

/// An artifact in the store.
#[derive(Debug, Clone)]
pub struct Artifact {
    /// The whole reference that it was pulled by.
    pub name: String,
    /// Digest of its manifest.
    pub digest: Digest,
    /// Its type, as its maker says.
    pub kind: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Its files, in the manifest's order.
    pub files: Vec<ArtifactFile>,
}

/// A file of an artifact.
#[derive(Debug, Clone)]
pub struct ArtifactFile {
    /// Digest of its content.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// Media type, as its maker says.
    pub media_type: String,
    /// Its annotations.
    pub annotations: BTreeMap<String, String>,
    /// Where it is on this host; to be read only.
    pub path: PathBuf,
}

impl ArtifactFile {
    /// The name that its maker has given it, whatever that may be.
    pub fn title(&self) -> Option<&str> {
        self.annotations.get(TITLE).map(String::as_str)
    }

    /// What it is called in a directory: its title, else its digest, as `sha256-…`. A title comes from a registry and
    /// becomes part of a path: nothing but a single name is accepted.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a title with a `/`, `..`, control characters and the like.
    pub fn file_name(&self) -> Result<String> {
        let Some(title) = self.title().filter(|title| !title.is_empty()) else {
            return Ok(self.digest.to_string().replace(':', "-"));
        };
        if is_file_name(title) {
            return Ok(title.to_owned());
        }
        let shown: String = title.chars().filter(|c| !c.is_control()).take(60).collect();
        let reason =
            format!("its title {shown:?} is not the name of a file; choose it by digest=, and name= another");
        Err(Error::corrupt(format!("file {}", self.digest), "artifact", reason))
    }
}

/// Whether the text names a file in a directory, and nothing outside of it.
pub fn is_file_name(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.len() <= MAX_NAME
        && !text.contains('/')
        && !text.chars().any(char::is_control)
}

/// `artifacts/<digest of the name>.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Record {
    pub(crate) name: String,
    pub(crate) manifest: Digest,
}

/// The parts of a manifest that matter here. No configuration is needed, and none is believed.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Manifest {
    schema_version: u32,
    #[serde(default)]
    artifact_type: String,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
}

impl Manifest {
    fn parse(bytes: &[u8], location: &str) -> Result<Self> {
        let bad = |reason: String| Error::corrupt("manifest", location, reason);
        if is_index(bytes, location)? {
            return Err(bad("it is an index, not the manifest of an artifact".into()));
        }
        let manifest: Self = serde_json::from_slice(bytes).map_err(|error| bad(error.to_string()))?;
        let files = manifest.files();
        if manifest.schema_version != 2 || manifest.layers.is_none() {
            return Err(bad("it is not the manifest of an artifact".into()));
        }
        if files.len() > MAX_FILES {
            return Err(bad(format!("it has {} files; at most {MAX_FILES} can be mounted", files.len())));
        }
        if let Some(file) = files.iter().find(|file| i64::try_from(file.size).is_err()) {
            return Err(bad(format!("file {} has an impossible size", file.digest)));
        }
        Ok(manifest)
    }

    fn files(&self) -> &[Descriptor] {
        self.layers.as_deref().unwrap_or_default()
    }

    /// The type that the manifest says, else, as before there was such a field, the configuration's.
    fn kind(&self) -> String {
        let config = self.config.as_ref().map(|config| config.media_type.clone());
        Some(self.artifact_type.clone()).filter(|kind| !kind.is_empty()).or(config).unwrap_or_default()
    }
}

/// Brings an artifact into the store, verified. Files that are there already are not fetched; a tag that has not
/// moved since costs one `HEAD` request.
///
/// # Errors
/// Any of [`Error`]; what was fetched before it is kept until the next collection.
pub fn pull_artifact(store: &Store, source: &Source, options: &PullOptions<'_>) -> Result<Artifact> {
    let Source::Registry { candidates } = source else {
        return Err(Error::reference(&source.to_string(), "artifacts come from registries"));
    };
    let _no_deletion = store.lock_shared()?;
    at_candidates(candidates, |reference| {
        let required = options.policy.for_reference(reference);
        required.check_unsigned()?;
        // One that has to be signed is asked for again, as an image is; its files are not.
        let known = match required.needs_signatures() {
            true => None,
            false => store.artifact_by_name(&reference.to_string())?,
        };
        if let Some(known) = known.as_ref().filter(|_| reference.digest().is_some()) {
            return Ok(known.clone());
        }
        at_endpoints(options, reference, |client| {
            if let Some(known) = &known
                && client.known_digest().ok().flatten() == Some(known.digest)
            {
                return Ok(known.clone());
            }
            pull_from(store, client, reference, options)
        })
    })
}

fn pull_from(
    store: &Store,
    client: &Client<'_>,
    reference: &Reference,
    options: &PullOptions<'_>,
) -> Result<Artifact> {
    let root = client.root()?.bytes;
    let (digest, location) = (Digest::of(&root), client.location());
    options.policy.for_reference(reference).check(client, &digest, false, store)?;
    let manifest = Manifest::parse(&root, &location)?;
    let missing: Vec<_> =
        manifest.files().iter().filter(|file| !store.has_blob(&file.digest, file.size)).collect();
    let total = missing.iter().fold(0_u64, |sum, file| sum.saturating_add(file.size));
    let meter = Meter::new(options.progress, missing.len(), total);
    for file in missing {
        // Twice the same content: the first has brought it.
        if !store.has_blob(&file.digest, file.size) {
            store.fetch_blob(&file.digest, |into: &mut File| fetch::file(client, file, into, &meter))?;
        }
        meter.layer_finished();
    }
    if let Some(config) = manifest.config.as_ref().filter(|config| config.size <= MAX_CONFIG) {
        let bytes = fetch::small(client, "configuration", config)?;
        store.keep_blob(&config.digest, &bytes)?;
    }
    // The files before the manifest, the manifest before the name: what can be found is whole.
    store.keep_blob(&digest, &root)?;
    let record = Record { name: reference.to_string(), manifest: digest };
    store.write_artifact_record(&record)?;
    store.load_artifact(record)?.ok_or_else(|| Error::NoSuchArtifact(reference.to_string()))
}

/// What the files of a manifest would be called, for `fuzzing`.
pub(crate) fn file_names(manifest: &[u8]) -> Result<Vec<String>> {
    let manifest = Manifest::parse(manifest, "the fuzzer")?;
    let file = |blob: &Descriptor| ArtifactFile {
        digest: blob.digest,
        size: blob.size,
        media_type: blob.media_type.clone(),
        annotations: blob.annotations.clone().unwrap_or_default(),
        path: PathBuf::new(),
    };
    manifest.files().iter().map(|blob| file(blob).file_name()).collect()
}

impl Store {
    /// Finds an artifact by name, also a short one, or by the beginning of its digest.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn artifact(&self, name: &str, registries: &Registries) -> Result<Option<Artifact>> {
        for reference in registries.resolve_locally(name) {
            if let Some(found) = self.artifact_by_name(&reference.to_string())? {
                return Ok(Some(found));
            }
        }
        let digits = name.strip_prefix("sha256:").unwrap_or(name);
        let is_digest = digits.len() >= 3 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let mut all = self.artifacts()?.into_iter();
        Ok(all.find(|artifact| is_digest && artifact.digest.hex().starts_with(digits)))
    }

    /// All whole artifacts, by name.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn artifacts(&self) -> Result<Vec<Artifact>> {
        let mut all = Vec::new();
        for record in self.artifact_records()? {
            all.extend(self.load_artifact(record)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// Removes an artifact, and the files that nothing else has.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn remove_artifact(&self, artifact: &Artifact) -> Result<()> {
        let path = self.artifact_record_path(&artifact.name);
        std::fs::remove_file(&path).map_err(|error| Error::io("remove", &path, error))?;
        self.collect_garbage().map(drop)
    }

    /// The blobs that artifacts need, in hexadecimal.
    pub(crate) fn artifact_blobs(&self) -> Result<Vec<String>> {
        let mut all = Vec::new();
        for record in self.artifact_records()? {
            all.push(record.manifest.hex());
            let path = self.blob_path(&record.manifest);
            let manifest = std::fs::read(&path).ok();
            let manifest = manifest.and_then(|bytes| Manifest::parse(&bytes, "the store").ok());
            let Some(manifest) = manifest else { continue };
            all.extend(manifest.config.iter().chain(manifest.files()).map(|blob| blob.digest.hex()));
        }
        Ok(all)
    }

    pub(crate) fn artifact_record_path(&self, name: &str) -> PathBuf {
        self.root().join("artifacts").join(format!("{}.json", Digest::of(name.as_bytes()).hex()))
    }

    /// Digests and sizes of an artifact's files; `None` without a manifest that names them.
    pub(crate) fn artifact_files(&self, record: &Record) -> Option<Vec<(Digest, u64)>> {
        let bytes = std::fs::read(self.blob_path(&record.manifest)).ok()?;
        let manifest = Manifest::parse(&bytes, "the store").ok()?;
        Some(manifest.files().iter().map(|file| (file.digest, file.size)).collect())
    }

    fn write_artifact_record(&self, record: &Record) -> Result<()> {
        let path = self.artifact_record_path(&record.name);
        let bytes = serde_json::to_vec(record)
            .map_err(|error| Error::corrupt("record", path.display().to_string(), error.to_string()))?;
        self.write_file(&path, &bytes)
    }

    fn artifact_by_name(&self, name: &str) -> Result<Option<Artifact>> {
        match self.read_artifact_record(&self.artifact_record_path(name))? {
            Some(record) if record.name == name => self.load_artifact(record),
            _ => Ok(None),
        }
    }

    fn read_artifact_record(&self, path: &std::path::Path) -> Result<Option<Record>> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            bytes => bytes.map_err(|error| Error::io("read", path, error))?,
        };
        let bad = |error: serde_json::Error| {
            Error::corrupt("record", path.display().to_string(), error.to_string())
        };
        serde_json::from_slice(&bytes).map(Some).map_err(bad)
    }

    fn artifact_records(&self) -> Result<Vec<Record>> {
        let mut all = Vec::new();
        for path in self.entries("artifacts")? {
            all.extend(self.read_artifact_record(&path)?);
        }
        Ok(all)
    }

    /// The artifact of a record; `None` when a file is missing.
    fn load_artifact(&self, record: Record) -> Result<Option<Artifact>> {
        let path = self.blob_path(&record.manifest);
        let Ok(bytes) = std::fs::read(&path) else {
            log::warn!("artifact {}: its manifest is missing; pull it again", record.name);
            return Ok(None);
        };
        if Digest::of(&bytes) != record.manifest {
            let reason = "it does not have its digest; remove it and pull the artifact again";
            return Err(Error::corrupt("manifest", path.display().to_string(), reason));
        }
        let manifest = Manifest::parse(&bytes, &path.display().to_string())?;
        if let Some(file) = manifest.files().iter().find(|file| !self.has_blob(&file.digest, file.size)) {
            log::warn!("artifact {}: the file {} is missing; pull it again", record.name, file.digest);
            return Ok(None);
        }
        let file = |file: &Descriptor| ArtifactFile {
            digest: file.digest,
            size: file.size,
            media_type: file.media_type.clone(),
            annotations: file.annotations.clone().unwrap_or_default(),
            path: self.blob_path(&file.digest),
        };
        Ok(Some(Artifact {
            name: record.name,
            digest: record.manifest,
            kind: manifest.kind(),
            files: manifest.files().iter().map(file).collect(),
            annotations: manifest.annotations.unwrap_or_default(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(title: Option<&str>) -> ArtifactFile {
        ArtifactFile {
            digest: Digest::of(b"x"),
            size: 1,
            media_type: String::new(),
            annotations: title.map(|title| (TITLE.to_owned(), title.to_owned())).into_iter().collect(),
            path: PathBuf::new(),
        }
    }

    #[test]
    fn a_title_names_a_file_and_nothing_else() {
        assert_eq!(file(Some("model 1.gguf")).file_name().unwrap(), "model 1.gguf");
        assert!(file(None).file_name().unwrap().starts_with("sha256-"));
        let long = "x".repeat(256);
        for hostile in ["../../etc/passwd", "/etc/passwd", "..", ".", "a/b", "a\0b", "a\nb", &long] {
            assert!(file(Some(hostile)).file_name().is_err(), "{hostile:?}");
        }
    }

    #[test]
    fn manifests_of_artifacts() {
        let parse = |text: &str| Manifest::parse(text.as_bytes(), "test");
        let digest = Digest::of(b"x");
        let config = format!(r#""config":{{"mediaType":"a/b","digest":"{digest}","size":1}}"#);
        let one =
            parse(&format!(r#"{{"schemaVersion":2,"artifactType":"t",{config},"layers":[]}}"#)).unwrap();
        assert_eq!(one.kind(), "t");
        assert_eq!(parse(&format!(r#"{{"schemaVersion":2,{config},"layers":[]}}"#)).unwrap().kind(), "a/b");
        for wrong in [
            "{}".to_owned(),
            r#"{"schemaVersion":2,"manifests":[]}"#.to_owned(),
            r#"{"schemaVersion":1,"layers":[]}"#.to_owned(),
            format!(r#"{{"schemaVersion":2,"layers":[{{"digest":"{digest}","size":{}}}]}}"#, u64::MAX),
            r#"{"schemaVersion":2,"layers":[{"digest":"sha256:../../x","size":1}]}"#.to_owned(),
        ] {
            assert!(parse(&wrong).is_err(), "{wrong}");
        }
    }
}
