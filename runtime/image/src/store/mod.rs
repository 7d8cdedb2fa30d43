//! The store.

use std::path::{Path, PathBuf};

use oci_spec::image::ImageConfiguration;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registries::Registries;

/// Where images live unless the caller says otherwise.
pub const DEFAULT_ROOT: &str = "/var/lib/sampan";

/// Images and layers below one directory.
#[derive(Debug)]
pub struct Store {
    root: PathBuf,
}

/// An image in the store, ready to run.
#[derive(Debug, Clone)]
pub struct Image {
    /// Image id: the configuration's digest, 64 hexadecimal digits.
    pub id: String,
    /// Digest of the manifest it was pulled by.
    pub digest: Digest,
    /// Names (`registry/path:tag`) that lead to it, sorted.
    pub names: Vec<String>,
    /// `registry/path@digest` names that it was pulled by, sorted.
    pub repo_digests: Vec<String>,
    /// Unpacked size of all layers in bytes.
    pub size: u64,
    /// When it was built, RFC 3339, as its configuration says.
    pub created: Option<String>,
    /// The image configuration.
    pub config: ImageConfiguration,
    /// Layer directories for overlayfs, topmost first, without duplicates.
    pub layers: Vec<PathBuf>,
}

/// What [`Store::remove`] did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// Names that no longer exist.
    pub untagged: Vec<String>,
    /// Id of the image, if it is gone.
    pub deleted: Option<String>,
    /// Layers and blobs that went with it.
    pub collected: Collected,
}

/// What a garbage collection removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Collected {
    /// Layer directories removed.
    pub layers: usize,
    /// Their unpacked size in bytes.
    pub bytes: u64,
}

impl Store {
    /// Opens (and creates if need be) the store below `root`.
    ///
    /// # Errors
    /// [`Error::Io`] when a directory cannot be made or read.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { root: root.to_owned() })
    }

    /// The directory it was opened with.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Finds an image by name, short name, `name@digest`, id or a unique beginning of an id.
    ///
    /// # Errors
    /// [`Error::Ambiguous`] for an id prefix of several images, [`Error::Io`], [`Error::Corrupt`].
    pub fn find(&self, _name: &str, _registries: &Registries) -> Result<Option<Image>> {
        Ok(None)
    }

    /// All images, sorted by id.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Corrupt`].
    pub fn images(&self) -> Result<Vec<Image>> {
        Ok(Vec::new())
    }

    /// Gives an image a further name; the name is taken from the image that had it.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::Io`].
    pub fn tag(&self, image: &Image, _name: &Reference) -> Result<()> {
        Err(Error::NoSuchImage(image.id.clone()))
    }

    /// Removes a name; with the last name (or when `name` is an id) the image and the layers that
    /// no other image uses. `in_use` are the containers that use the image: with any, an image is
    /// not removed unless `force`.
    ///
    /// # Errors
    /// [`Error::NoSuchImage`], [`Error::InUse`], [`Error::Io`].
    pub fn remove(
        &self,
        name: &str,
        _registries: &Registries,
        _in_use: &[String],
        _force: bool,
    ) -> Result<Removed> {
        Err(Error::NoSuchImage(name.to_owned()))
    }

    /// Removes layers and blobs that no image uses. Does nothing while a pull is running.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn collect_garbage(&self) -> Result<Collected> {
        Ok(Collected::default())
    }
}
