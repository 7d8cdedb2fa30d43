//! Manifests: OCI and Docker schema 2, indexes and manifest lists, platform choice.
//!
//! The two families differ only in media types, so one set of types reads both. The configuration
//! is kept as `oci-spec`'s type.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// Largest manifest or index that is read, in bytes (registries accept at most this).
pub(crate) const MAX_MANIFEST: u64 = 4 << 20;
/// Largest image configuration that is read, in bytes.
pub(crate) const MAX_CONFIG: u64 = 8 << 20;
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
    pub(crate) annotations: Option<std::collections::BTreeMap<String, String>>,
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

impl fmt::Display for DescriptorPlatform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |text: &str| text.chars().filter(char::is_ascii_graphic).take(32).collect::<String>();
        write!(f, "{}/{}", shown(&self.os), shown(&self.architecture))?;
        self.variant.as_deref().map_or(Ok(()), |variant| write!(f, "/{}", shown(variant)))
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
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Shape {
            #[serde(default)]
            schema_version: u32,
            manifests: Option<serde::de::IgnoredAny>,
            layers: Option<serde::de::IgnoredAny>,
        }
        let bad = |error: serde_json::Error| Error::corrupt("manifest", location, error.to_string());
        let shape: Shape = serde_json::from_slice(bytes).map_err(bad)?;
        match (shape.schema_version, shape.manifests, shape.layers) {
            (2, Some(_), None) => serde_json::from_slice(bytes).map(Document::Index).map_err(bad),
            (2, None, Some(_)) => serde_json::from_slice(bytes).map(Document::Manifest).map_err(bad),
            (1, _, _) => Err(Error::corrupt(
                "manifest",
                location,
                "Docker schema 1 is not supported; push the image again with a current tool",
            )),
            (2, Some(_), Some(_)) => {
                Err(Error::corrupt("manifest", location, "it is a manifest and an index at once"))
            }
            _ => Err(Error::corrupt("manifest", location, "it is neither a manifest nor an index")),
        }
    }
}

impl Index {
    /// The manifest for a platform: the exact variant first, then one without a variant, then the
    /// highest variant that the processor also runs.
    pub(crate) fn choose(&self, wanted: &Platform, reference: &str) -> Result<&Descriptor> {
        let fits = |descriptor: &&Descriptor| {
            descriptor.platform.as_ref().is_none_or(|platform| {
                platform.os == wanted.os && platform.architecture == wanted.architecture
            })
        };
        let rank = |descriptor: &Descriptor| {
            let offered = descriptor.platform.as_ref().and_then(|platform| platform.variant.as_deref());
            wanted.rank(offered)
        };
        self.manifests
            .iter()
            .filter(fits)
            .filter_map(|descriptor| rank(descriptor).map(|rank| (rank, descriptor)))
            // The first of equals, as Podman does.
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, descriptor)| descriptor)
            .ok_or_else(|| self.no_platform(wanted, reference))
    }

    fn no_platform(&self, wanted: &Platform, reference: &str) -> Error {
        let mut available: Vec<_> = self
            .manifests
            .iter()
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
    fn ambiguous_and_foreign_documents_are_refused() {
        for bad in [
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
