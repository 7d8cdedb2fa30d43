//! Files of ours: written whole or not at all, and locks.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// An exclusive lock, held until it is dropped (flock(2)).
#[derive(Debug)]
pub(crate) struct Lock {
    file: File,
}

impl Lock {
    /// Waits for the lock on `path`, a file that is made if need be and stays.
    pub(crate) fn acquire(path: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(Error::file("open lock", path))?;
        loop {
            match flock(&file, FlockOperation::LockExclusive) {
                Ok(()) => return Ok(Self { file }),
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::file("lock", path)(errno.into())),
            }
        }
    }
}

impl Lock {
    /// The same lock for a process that is started: it is held until both let go of it.
    pub(crate) fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }
}

/// Makes a directory and those above it.
pub(crate) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).map_err(Error::file("make directory", path))
}

/// Reads a JSON file; absent if there is none.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(Error::file("read", path))?,
    };
    serde_json::from_slice(&bytes).map(Some).map_err(|cause| Error::Damaged { path: path.to_owned(), cause })
}

/// Whether a file must survive a crash of the whole machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It lives on a tmpfs, or can be made again.
    Volatile,
    /// It is flushed to disk before it takes its name, and then the name.
    Durable,
}

/// Writes a JSON file in the place of an older one, atomically.
///
/// The caller holds the lock of the directory, which has one scratch file: if its
/// writer is killed, the next one overwrites it.
pub(crate) fn write_json(path: &Path, value: &impl Serialize, durability: Durability) -> Result<()> {
    let mut bytes =
        serde_json::to_vec_pretty(value).map_err(|cause| Error::Damaged { path: path.to_owned(), cause })?;
    bytes.push(b'\n');
    write(path, &scratch(path), &bytes, durability)
}

/// The scratch file of the directory that `path` is in.
pub(crate) fn scratch(path: &Path) -> PathBuf {
    path.with_file_name(".scratch")
}

/// Writes a file by way of `scratch`, a name of the same file system.
pub(crate) fn write(path: &Path, scratch: &Path, bytes: &[u8], durability: Durability) -> Result<()> {
    let written = || -> io::Result<()> {
        let mut file = File::create(scratch)?;
        file.write_all(bytes)?;
        if durability == Durability::Durable {
            file.sync_all()?;
        }
        fs::rename(scratch, path)?;
        match path.parent().filter(|_| durability == Durability::Durable) {
            Some(directory) => File::open(directory)?.sync_all(),
            None => Ok(()),
        }
    };
    written().map_err(|error| {
        // The scratch file is of no use to anyone; the first error is the one to tell.
        let _ = fs::remove_file(scratch);
        Error::file("write", path)(error)
    })
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(Error::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory if it is empty; tells whether it is gone.
pub(crate) fn remove_if_empty(path: &Path) -> Result<bool> {
    match fs::remove_dir(path) {
        Ok(()) => Ok(true),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(true),
            io::ErrorKind::DirectoryNotEmpty => Ok(false),
            _ => Err(Error::file("remove directory", path)(error)),
        },
    }
}

/// The names in a directory, sorted, without hidden ones; none if there is no such
/// directory.
pub(crate) fn names(path: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        result => result.map_err(Error::file("list", path))?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(Error::file("list", path))?;
        if let Ok(name) = entry.file_name().into_string()
            && !name.starts_with('.')
        {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}
