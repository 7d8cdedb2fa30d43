//! Loading: all images of an archive or directory that `save` of any tool wrote.

use std::fmt;
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::pull::{Pull, PullOptions, own_names};
use crate::source::{ArchiveSelect, Source};
use crate::store::{Image, Store};
use crate::transport::archive::Archive;
use crate::transport::layout::{self, Select};
use crate::transport::{Transport, directory, docker};

/// What is loaded.
pub enum Input<'a> {
    /// An archive, compressed or not, or a directory.
    Path(&'a Path),
    /// An archive that can be read only once, such as standard input.
    Stream(&'a mut (dyn Read + Send)),
}

impl fmt::Debug for Input<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Input::Path(path) => f.debug_tuple("Path").field(path).finish(),
            Input::Stream(_) => f.write_str("Stream(…)"),
        }
    }
}

/// An image that was loaded.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The image.
    pub image: Image,
    /// The names that the archive gives it, sorted.
    pub names: Vec<String>,
}

/// Brings all images of an archive or directory into the store: `docker-archive`, `oci-archive`,
/// `oci` and `dir`, which are told apart by what is in them.
///
/// # Errors
/// Any of [`Error`]. Images before the one that failed stay.
pub fn load(store: &Store, input: Input<'_>, options: &PullOptions<'_>) -> Result<Vec<Loaded>> {
    let _no_deletion = store.lock_shared()?;
    match input {
        Input::Path(path) if path.is_dir() => load_directory(store, path, options),
        Input::Path(path) => load_archive(store, Archive::open(path, store)?, options),
        Input::Stream(stream) => {
            let mut file = store.unnamed_file()?;
            io::copy(stream, &mut file)
                .and_then(|_| file.rewind())
                .map_err(|error| Error::io("copy standard input into", store.root(), error))?;
            let archive = Archive::read(file, Path::new("standard input"), store)?;
            load_archive(store, archive, options)
        }
    }
}

fn load_directory(store: &Store, path: &Path, options: &PullOptions<'_>) -> Result<Vec<Loaded>> {
    if path.join("index.json").exists() {
        let source = Source::OciLayout { path: path.to_owned(), name: None };
        let count = layout::directory(path, Select::Only)?.count()?;
        return (0..count)
            .map(|place| {
                let transport = layout::directory(path, Select::Place(place))?;
                load_one(store, &source, &transport, options)
            })
            .collect();
    }
    let source = Source::Directory { path: path.to_owned() };
    let transport = directory::Directory::open(path)?;
    load_one(store, &source, &transport, options).map(|loaded| vec![loaded])
}

fn load_archive(store: &Store, archive: Archive, options: &PullOptions<'_>) -> Result<Vec<Loaded>> {
    let archive = Arc::new(archive);
    let path: PathBuf = archive.path().to_owned();
    // What Docker has written since version 25 is both; only in its own form are all names whole.
    if archive.size("manifest.json").is_some() {
        return (0..docker::count(&archive)?)
            .map(|place| {
                let select = ArchiveSelect::Index(place);
                let transport = docker::DockerArchive::of(Arc::clone(&archive), &select)?;
                let source = Source::DockerArchive { path: path.clone(), select };
                load_one(store, &source, &transport, options)
            })
            .collect();
    }
    if archive.size("index.json").is_none() {
        let reason = "it has neither a manifest.json nor an index.json: it is no archive of images";
        return Err(Error::corrupt("archive", path.display().to_string(), reason));
    }
    let count = layout::archived(Arc::clone(&archive), Select::Only).count()?;
    let source = Source::OciArchive { path, name: None };
    (0..count)
        .map(|place| {
            let transport = layout::archived(Arc::clone(&archive), Select::Place(place));
            load_one(store, &source, &transport, options)
        })
        .collect()
}

fn load_one(
    store: &Store,
    source: &Source,
    transport: &dyn Transport,
    options: &PullOptions<'_>,
) -> Result<Loaded> {
    options.policy.for_source(source).check_unsigned()?;
    let names = own_names(&transport.root()?.names);
    let image = Pull { store, options, source }.pull_transport(transport, None)?;
    Ok(Loaded { image, names })
}
