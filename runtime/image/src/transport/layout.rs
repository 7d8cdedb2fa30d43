//! OCI image layouts, as a directory (`oci:`) or in a tar file (`oci-archive:`)
//! ([image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md)).

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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
pub(crate) struct Layout<F> {
    files: F,
    location: String,
    select: Select,
}

/// Which of a layout's images.
#[derive(Debug, Clone)]
pub(crate) enum Select {
    /// The only one.
    Only,
    /// The one with this name.
    Name(String),
    /// The one at this place of the index.
    Place(usize),
}

impl From<Option<String>> for Select {
    fn from(name: Option<String>) -> Self {
        name.map_or(Select::Only, Select::Name)
    }
}

/// Opens `oci:path[:name]`.
pub(crate) fn directory(path: &Path, select: Select) -> Result<Layout<Files>> {
    let files = Files::open(path)?;
    Ok(Layout { files, location: format!("oci:{}", path.display()), select })
}

/// Opens `oci-archive:path[:name]`.
pub(super) fn archive(path: &Path, select: Select, store: &Store) -> Result<Layout<Arc<Archive>>> {
    Ok(archived(Arc::new(Archive::open(path, store)?), select))
}

/// A layout in an archive that is open already.
pub(crate) fn archived(files: Arc<Archive>, select: Select) -> Layout<Arc<Archive>> {
    let location = format!("oci-archive:{}", files.path().display());
    Layout { files, location, select }
}

/// Opens files of a layout or directory image by relative path.
pub(crate) trait OpenFile: Sync {
    fn open_file(&self, path: &str) -> Result<Box<dyn Read + Send + '_>>;
}

impl OpenFile for Arc<Archive> {
    fn open_file(&self, path: &str) -> Result<Box<dyn Read + Send + '_>> {
        Ok(Box::new(self.member(path)?))
    }
}

/// A directory, in which no symbolic link is followed: it may come from anywhere.
#[derive(Debug)]
pub(crate) struct Files {
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
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        Ok(Box::new(self.open_regular(Path::new(path), resolve)?))
    }
}

impl Files {
    /// Opens a file of an unpacked layer, in which links lead where they do in a container.
    pub(super) fn open_content(&self, path: &[u8]) -> Result<File> {
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        self.open_regular(Path::new(OsStr::from_bytes(path)), resolve)
    }

    fn open_regular(&self, path: &Path, resolve: ResolveFlags) -> Result<File> {
        // NONBLOCK: a FIFO in the place of a blob must not hang us.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let shown = || self.path.join(path.strip_prefix("/").unwrap_or(path));
        let file = loop {
            match rustix::fs::openat2(&self.directory, path, flags, Mode::empty(), resolve) {
                // A rename elsewhere got in between, openat2(2).
                Err(Errno::AGAIN) => {}
                other => break other.map_err(|error| Error::io("open", &shown(), error))?,
            }
        };
        let file = File::from(file);
        let metadata = file.metadata().map_err(|error| Error::io("read", &shown(), error))?;
        if !metadata.is_file() {
            let location = self.path.display().to_string();
            return Err(Error::corrupt(
                format!("\"{}\"", path.display()),
                location,
                "it is not a regular file",
            ));
        }
        Ok(file)
    }
}

impl<F: OpenFile> Layout<F> {
    fn read(&self, path: &str) -> Result<Vec<u8>> {
        read_bounded(&self.files, path, &self.location)
    }

    /// How many images it has.
    pub(crate) fn count(&self) -> Result<usize> {
        self.index().map(|index| index.manifests.len())
    }

    fn index(&self) -> Result<Index> {
        let bytes = self.read("index.json")?;
        serde_json::from_slice(&bytes)
            .map_err(|error| Error::corrupt("index.json", &self.location, error.to_string()))
    }

    fn entry(&self) -> Result<Descriptor> {
        let index = self.index()?;
        let name_of = |descriptor: &Descriptor| {
            descriptor.annotations.as_ref().and_then(|all| all.get(REF_NAME)).cloned()
        };
        let not_found = |reference: &str, detail: String| Error::NotFound {
            reference: reference.to_owned(),
            location: self.location.clone(),
            detail,
        };
        match &self.select {
            Select::Name(name) => {
                let found = index.manifests.iter().find(|entry| name_of(entry).as_ref() == Some(name));
                let names = || index.manifests.iter().filter_map(name_of).collect::<Vec<_>>().join(", ");
                found.cloned().ok_or_else(|| not_found(name, format!("it has the names: {}", names())))
            }
            Select::Place(place) => {
                let found = index.manifests.get(*place);
                found
                    .cloned()
                    .ok_or_else(|| not_found(&format!("@{place}"), "it has fewer images".to_owned()))
            }
            Select::Only => match &index.manifests[..] {
                [only] => Ok(only.clone()),
                several => {
                    let detail = format!("it has {} images; write which one after a colon", several.len());
                    Err(not_found("", detail))
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
