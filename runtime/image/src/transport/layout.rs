//! OCI image layouts, as a directory (`oci:`) or in a tar file (`oci-archive:`)
//! ([image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)).

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::archive::Archive;
use super::{Document, Transport};
use crate::error::{Error, Result};
use crate::manifest::{Descriptor, Index, MAX_MANIFEST};
use crate::store::Store;

/// Annotation of an index entry that holds its name.
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Annotation that containerd and BuildKit give the full name.
const CONTAINERD_NAME: &str = "io.containerd.image.name";

/// An image layout.
pub(super) struct Layout<F> {
    files: F,
    location: String,
    name: Option<String>,
}

/// Opens `oci:path[:name]`.
pub(super) fn directory(path: &Path, name: Option<String>) -> Result<Layout<Files>> {
    let files = Files::open(path)?;
    Ok(Layout { files, location: format!("oci:{}", path.display()), name })
}

/// Opens `oci-archive:path[:name]`.
pub(super) fn archive(path: &Path, name: Option<String>, store: &Store) -> Result<Layout<Archive>> {
    let files = Archive::open(path, store)?;
    Ok(Layout { files, location: format!("oci-archive:{}", path.display()), name })
}

/// Opens files of a layout or directory image by relative path.
pub(super) trait OpenFile: Sync {
    fn open_file(&self, path: &str) -> Result<Box<dyn Read + Send + '_>>;
}

impl OpenFile for Archive {
    fn open_file(&self, path: &str) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.member(path)?))
    }
}

/// A directory, in which no symbolic link is followed: it may come from anywhere.
#[derive(Debug)]
pub(super) struct Files {
    directory: OwnedFd,
    path: PathBuf,
}

impl Files {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(directory) => Ok(Self { directory, path: path.to_owned() }),
            Err(Errno::NOENT) => Err(Error::NotFound {
                reference: path.display().to_string(),
                location: "the file system".to_owned(),
                detail: "no such directory".to_owned(),
            }),
            Err(error) => Err(Error::io("open", path, error)),
        }
    }

    /// A whole file of at most `bound` bytes; `None` if there is none of this name.
    pub(super) fn read_if_there(&self, name: &str, bound: u64) -> Result<Option<Vec<u8>>> {
        let path = self.path.join(name);
        let file = match self.open_file(name) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {
                return Ok(None);
            }
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(bound + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", &path, error))?;
        if bytes.len() as u64 > bound {
            let reason = format!("it has more than {bound} bytes");
            return Err(Error::corrupt(format!("\"{name}\""), self.path.display().to_string(), reason));
        }
        Ok(Some(bytes))
    }
}

impl OpenFile for Files {
    fn open_file(&self, path: &str) -> Result<Box<dyn Read + Send + '_>> {
        // NONBLOCK: a FIFO in the place of a blob must not hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let full = self.path.join(path);
        let file = rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve)
            .map_err(|error| Error::io("open", &full, error))?;
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| Error::io("read", &full, error))?;
        if !metadata.is_file() {
            let location = self.path.display().to_string();
            return Err(Error::corrupt(format!("\"{path}\""), location, "it is not a regular file"));
        }
        Ok(Box::new(file))
    }
}

impl<F: OpenFile> Layout<F> {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        read_bounded(&self.files, path, &self.location)
    }

    fn entry(&self) -> Result<Descriptor> {
        let bytes = self.read("index.json")?;
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt("index.json", &self.location, error.to_string()))?;
        let name_of = |descriptor: &Descriptor| {
            descriptor.annotations.as_ref().and_then(|all| all.get(REF_NAME)).cloned()
        };
        let not_found = |detail: String| Error::NotFound {
            reference: self.name.clone().unwrap_or_default(),
            location: self.location.clone(),
            detail,
        };
        match &self.name {
            Some(name) => {
                let found = index.manifests.iter().find(|entry| name_of(entry).as_ref() == Some(name));
                let names = || index.manifests.iter().filter_map(name_of).collect::<Vec<_>>().join(", ");
                found.cloned().ok_or_else(|| not_found(format!("it has the names: {}", names())))
            }
            None => match &index.manifests[..] {
                [only] => Ok(only.clone()),
                several => {
                    Err(not_found(format!("it has {} images; write which one after a colon", several.len())))
                }
            },
        }
    }
}

impl<F: OpenFile> Transport for Layout<F> {
    fn root(&self) -> Result<Document> {
        let entry = self.entry()?;
        let bytes = self.manifest(&entry)?;
        let annotations = entry.annotations.unwrap_or_default();
        let names = [CONTAINERD_NAME, REF_NAME].iter().find_map(|key| annotations.get(*key)).cloned();
        Ok(Document { bytes, names: names.into_iter().collect() })
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let bytes = self.read(&blob_path(descriptor))?;
        crate::fetch::verify("manifest", &bytes, descriptor, &self.location)?;
        Ok(bytes)
    }

    fn blob(&self, descriptor: &Descriptor, _what: &'static str) -> Result<Box<dyn Read + Send + '_>> {
        self.files.open_file(&blob_path(descriptor))
    }

    fn location(&self) -> String {
        self.location.clone()
    }
}

fn blob_path(descriptor: &Descriptor) -> String {
    format!("blobs/sha256/{}", descriptor.digest.hex())
}

/// Reads a small JSON file.
pub(super) fn read_bounded(files: &impl OpenFile, path: &str, location: &str) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    files
        .open_file(path)?
        .take(MAX_MANIFEST + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::corrupt(path, location, error.to_string()))?;
    if bytes.len() as u64 > MAX_MANIFEST {
        return Err(Error::corrupt(path, location, format!("it has more than {MAX_MANIFEST} bytes")));
    }
    Ok(bytes)
}
