//! Manifests: OCI and Docker schema 2, indexes and manifest lists, platform choice.
//!
//! The two families differ only in media types, so one set of types reads both. The configuration
//! is kept as `oci-spec`'s type.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// Largest manifest or index that is read, in bytes (registries accept at most this).
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// Largest image configuration that is read, in bytes.
pub(crate) const MAX_CONFIG: u64 = 4 << 20;
/// Most layers: what overlayfs and one page of mount options take.
pub(crate) const MAX_LAYERS: usize = 128;

/// Media types of manifests, in order of preference: the value of an `Accept` header.
pub(crate) const ACCEPT: &str = "application/vnd.oci.image.index.v1+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, \
    application/vnd.oci.image.manifest.v1+json, \
    application/vnd.docker.distribution.manifest.v2+json";

/// Points to a blob
/// ([OCI descriptor](https://github.com/opencontainers/image-spec/blob/main/descriptor.md)).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    pub(crate) size: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) platform: Option<DescriptorPlatform>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) annotations: Option<BTreeMap<String, String>>,
}

impl Descriptor {
    /// Whether it is about another manifest of the index (BuildKit's provenance and SBOMs, for the
    /// platform unknown/unknown) and no image.
    fn is_attestation(&self) -> bool {
        let kind = self.annotations.as_ref().and_then(|all| all.get("vnd.docker.reference.type"));
        kind.is_some_and(|kind| kind == "attestation-manifest")
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct DescriptorPlatform {
    #[serde(default)]
    os: String,
    #[serde(default)]
    architecture: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    variant: Option<String>,
}

impl DescriptorPlatform {
    /// The architecture under the name that Go gives it; some tools write uname(1)'s.
    fn architecture(&self) -> &str {
        crate::platform::architecture(&self.architecture)
    }
}

impl fmt::Display for DescriptorPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().filter(char::is_ascii_graphic).take(32).collect::<String>();
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        let variant = self.variant.as_deref().filter(|variant| !variant.is_empty());
        variant.map_or(Ok(()), |variant| write!(f, "/{}", shown(variant)))
    }
}

/// An image manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: String,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
}

/// An index of manifests for several platforms.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Index {
    pub(crate) manifests: Vec<Descriptor>,
}

/// Either kind of document that a tag can lead to.
#[derive(Debug)]
pub(crate) enum Document {
    Manifest(Manifest),
    Index(Index),
}

impl Document {
    /// Parses by content: media types in headers and descriptors are often wrong.
    pub(crate) fn parse(bytes: &[u8], location: &str) -> Result<Self> {
        let bad = |error: serde_json::Error| Error::corrupt("manifest", location, error.to_string());
        Ok(match is_index(bytes, location)? {
            true => Document::Index(serde_json::from_slice(bytes).map_err(bad)?),
            false => Document::Manifest(serde_json::from_slice(bytes).map_err(bad)?),
        })
    }
}

/// The digests of the uncompressed layers that a configuration lists, the lowest first.
pub(crate) fn diff_ids(config: &[u8]) -> serde_json::Result<Vec<Digest>> {
    #[derive(Deserialize)]
    struct Config {
        rootfs: RootFs,
    }
    #[derive(Deserialize)]
    struct RootFs {
        diff_ids: Vec<Digest>,
    }
    serde_json::from_slice(config).map(|config: Config| config.rootfs.diff_ids)
}

/// Whether a document is an index; else it is a manifest. What could be read as two kinds is
/// refused, for one reader would check the one and another run the other (CVE-2021-41190).
pub(crate) fn is_index(bytes: &[u8], location: &str) -> Result<bool> {
    let bad = |reason: String| Err(Error::corrupt("manifest", location, reason));
    if bytes.trim_ascii_start().starts_with(b"<") {
        return bad("it is a web page; is there a proxy or a login page in between?".into());
    }
    let shape: Shape = match serde_json::from_slice(bytes) {
        Ok(shape) => shape,
        Err(error) => return bad(error.to_string()),
    };
    if let Some(key) = &shape.almost {
        return bad(format!("its key \"{key}\" is read by some as another key"));
    }
    let has_schema1 = shape.has("fsLayers") || shape.has("history");
    let is_manifest = shape.has("layers") || shape.has("config");
    match (shape.schema_version, shape.has("manifests"), is_manifest) {
        (1, ..) => bad("Docker schema 1 is not supported; push the image again with a current tool".into()),
        _ if has_schema1 => bad("it is of Docker schema 1 and another kind at once".into()),
        (2, true, true) => bad("it is a manifest and an index at once".into()),
        (2, true, false) if is_manifest_type(&shape.media_type) => {
            bad("it is an index that calls itself a manifest".into())
        }
        (2, false, true) if is_index_type(&shape.media_type) => {
            bad("it is a manifest that calls itself an index".into())
        }
        (2, is_index, is_manifest) if is_index || is_manifest => Ok(is_index),
        _ => bad("it is neither a manifest nor an index".into()),
    }
}

/// Keys that say what a document is, and of what kind.
const KEYS: [&str; 7] =
    ["schemaVersion", "mediaType", "manifests", "config", "layers", "fsLayers", "history"];

/// What the keys of a document say of its kind. Nothing else of it is kept.
#[derive(Default)]
struct Shape {
    schema_version: u32,
    media_type: String,
    /// Which of [`KEYS`] have a value.
    present: [bool; KEYS.len()],
    /// A key that is one of [`KEYS`] but for upper and lower case, which Go's reader overlooks.
    almost: Option<String>,
}

impl Shape {
    fn has(&self, key: &str) -> bool {
        KEYS.iter().zip(self.present).any(|(known, present)| present && *known == key)
    }
}

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ShapeVisitor)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a manifest or an index")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shape, A::Error> {
        let mut shape = Shape::default();
        let mut seen = [false; KEYS.len()];
        while let Some(key) = map.next_key::<String>()? {
            let place = KEYS.iter().position(|known| known.eq_ignore_ascii_case(&key));
            let Some(place) = place else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            // Of two, one reader takes the first and another the last.
            if std::mem::replace(&mut seen[place], true) {
                return Err(serde::de::Error::custom(format_args!(
                    "the key \"{}\" occurs twice",
                    KEYS[place]
                )));
            }
            if key != KEYS[place] {
                map.next_value::<IgnoredAny>()?;
                shape.almost = Some(key);
                continue;
            }
            shape.present[place] = match place {
                0 => map
                    .next_value::<Option<u32>>()?
                    .inspect(|version| shape.schema_version = *version)
                    .is_some(),
                1 => map
                    .next_value::<Option<String>>()?
                    .inspect(|name| shape.media_type.clone_from(name))
                    .is_some(),
                _ => map.next_value::<Option<IgnoredAny>>()?.is_some(),
            };
        }
        Ok(shape)
    }
}

fn is_index_type(media_type: &str) -> bool {
    media_type.contains("image.index") || media_type.contains("manifest.list")
}

fn is_manifest_type(media_type: &str) -> bool {
    media_type.contains("image.manifest") || media_type.contains("distribution.manifest.v")
}

impl Index {
    /// The manifest for a platform, in the order of [`Platform::rank`]; one that names no platform
    /// comes last. Of equals the first, as Podman does.
    pub(crate) fn choose(&self, wanted: &Platform, reference: &str) -> Result<&Descriptor> {
        let rank = |descriptor: &Descriptor| {
            let Some(offered) = &descriptor.platform else { return Some(u32::MAX) };
            let fits = offered.os == wanted.os && offered.architecture() == wanted.architecture;
            fits.then(|| wanted.rank(offered.variant.as_deref())).flatten()
        };
        self.manifests
            .iter()
            .filter(|descriptor| !descriptor.is_attestation())
            .filter_map(|descriptor| rank(descriptor).map(|rank| (rank, descriptor)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, descriptor)| descriptor)
            .ok_or_else(|| self.no_platform(wanted, reference))
    }

    fn no_platform(&self, wanted: &Platform, reference: &str) -> Error {
        let mut available: Vec<_> = self
            .manifests
            .iter()
            .filter(|descriptor| !descriptor.is_attestation())
            .filter_map(|descriptor| descriptor.platform.as_ref())
            .map(ToString::to_string)
            .filter(|platform| platform != "unknown/unknown")
            .collect();
        available.sort();
        available.dedup();
        available.truncate(20);
        Error::NoPlatform {
            reference: reference.to_owned(),
            wanted: wanted.to_string(),
            available: if available.is_empty() { "none".into() } else { available.join(", ") },
        }
    }
}

impl Manifest {
    /// Checks what must hold before anything is fetched.
    pub(crate) fn check(&self, location: &str) -> Result<()> {
        let bad = |reason: String| Err(Error::corrupt("manifest", location, reason));
        if self.layers.is_empty() {
            return bad("it has no layers: it is an artifact, not an image".into());
        }
        if self.layers.len() > MAX_LAYERS {
            return bad(format!("it has {} layers; at most {MAX_LAYERS} can be mounted", self.layers.len()));
        }
        if self.config.size > MAX_CONFIG {
            return bad(format!("its configuration has {} bytes; at most {MAX_CONFIG}", self.config.size));
        }
        for layer in &self.layers {
            let media_type = &layer.media_type;
            if media_type.contains("foreign") || media_type.contains("nondistributable") {
                return bad(format!("layer {} is a foreign layer, which is not supported", layer.digest));
            }
            if media_type.ends_with("+encrypted") {
                return bad(format!("layer {} is encrypted, which is not supported", layer.digest));
            }
            if i64::try_from(layer.size).is_err() {
                return bad(format!("layer {} has an impossible size", layer.digest));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, &str, Option<&str>)]) -> Index {
        let manifests = platforms
            .iter()
            .enumerate()
            .map(|(number, (os, architecture, variant))| Descriptor {
                media_type: String::new(),
                digest: Digest::of(&[number as u8]),
                size: 1,
                platform: Some(DescriptorPlatform {
                    os: (*os).to_owned(),
                    architecture: (*architecture).to_owned(),
                    variant: variant.map(str::to_owned),
                }),
                annotations: None,
            })
            .collect();
        Index { manifests }
    }

    fn chosen(index: &Index, platform: &str) -> Option<usize> {
        let chosen = index.choose(&platform.parse().unwrap(), "x").ok()?;
        index.manifests.iter().position(|descriptor| descriptor.digest == chosen.digest)
    }

    #[test]
    fn the_best_variant_is_chosen() {
        let index = index(&[
            ("linux", "arm", Some("v5")),
            ("linux", "arm", Some("v7")),
            ("linux", "arm64", None),
            ("windows", "amd64", None),
            ("linux", "amd64", None),
            ("linux", "arm", Some("v6")),
        ]);
        assert_eq!(chosen(&index, "linux/amd64"), Some(4));
        assert_eq!(chosen(&index, "linux/arm64/v8"), Some(2));
        assert_eq!(chosen(&index, "linux/arm64"), Some(2));
        assert_eq!(chosen(&index, "linux/arm/v6"), Some(5));
        assert_eq!(chosen(&index, "linux/arm/v7"), Some(1));
        assert_eq!(chosen(&index, "linux/arm/v4"), None);
        assert_eq!(chosen(&index, "linux/s390x"), None);
    }

    #[test]
    fn what_is_no_image_is_passed_over() {
        let mut index = index(&[
            ("linux", "amd64", None),
            ("unknown", "unknown", None),
            ("linux", "riscv64", None),
            ("linux", "x86_64", Some("")),
        ]);
        // The first names no platform: it would fit, if nothing else did.
        index.manifests[0].platform = None;
        for number in [1, 2] {
            let kind = ("vnd.docker.reference.type".to_owned(), "attestation-manifest".to_owned());
            index.manifests[number].annotations = Some([kind].into());
        }
        assert_eq!(chosen(&index, "linux/amd64"), Some(3));
        assert_eq!(chosen(&index, "linux/s390x"), Some(0));
        index.manifests.remove(0);
        let message = index.choose(&"linux/s390x".parse().unwrap(), "x").unwrap_err().to_string();
        assert!(message.ends_with("has no variant for linux/s390x; it has linux/x86_64"), "{message}");
        assert!(chosen(&index, "unknown/unknown").is_none());
    }

    #[test]
    fn ambiguous_and_foreign_documents_are_refused() {
        for bad in [
            "<html><body>Please log in",
            "{\"schemaVersion\":2,\"manifests\":[],\"config\":{}}",
            "{\"schemaVersion\":2,\"manifests\":[],\"fsLayers\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[],\"Layers\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[],\"manifests\":[]}",
            "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"manifests\":[]}",
            "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"manifests\":[]}",
            "{}",
            "[]",
            "null",
            "{\"schemaVersion\":1,\"fsLayers\":[]}",
            "{\"schemaVersion\":2,\"manifests\":[],\"layers\":[]}",
            "{\"schemaVersion\":2,\"layers\":[],\"config\":{\"digest\":\"sha256:../x\",\"size\":1}}",
            "{\"schemaVersion\":2,\"manifests\":[{\"digest\":\"sha256:0\",\"size\":-1}]}",
        ] {
            assert!(Document::parse(bad.as_bytes(), "test").is_err(), "{bad}");
        }
    }
}
