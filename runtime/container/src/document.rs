//! Reading documents that someone else has written: a bundle's `config.json`, a profile, the state of a container.
//!
//! A bundle may come from anywhere, and its `config.json` be a FIFO (nobody ever writes to it), a device (reading one can
//! do things, and `/dev/zero` doesn't end) or a file of any size. How deep JSON may be nested serde_json limits.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::error::{Call, Error, Result};

/// No document is larger. The largest in use, a `Spec` with thousands of mounts, has some hundred KiB.
pub const MAX_SIZE: u64 = 16 << 20;

/// Reads a regular file of at most [`MAX_SIZE`] bytes, without ever waiting for anybody.
///
/// # Errors
/// open(2)'s and read(2)'s, and [`Error::File`] for a file that is none or too large.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    let call = || format!("read({})", path.display());
    // Looked at before it is opened: with a device, opening alone can be too much.
    let place = rustix::fs::openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).call(call)?;
    regular(path, &place)?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::empty()).call(call)?;
    regular(path, &file)?;
    read_from(path, File::from(file))
}

fn regular(path: &Path, file: &impl std::os::fd::AsFd) -> Result<()> {
    let stat = rustix::fs::fstat(file).call(|| format!("stat({})", path.display()))?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(()),
        _ => Err(Error::File { path: path.to_owned(), reason: "this is no regular file".into() }),
    }
}

/// Reads what `source` has, at most [`MAX_SIZE`] bytes; `path` is for messages.
///
/// # Errors
/// As [`read`].
pub fn read_from(path: &Path, source: impl Read) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let length: io::Result<usize> = source.take(MAX_SIZE + 1).read_to_end(&mut bytes);
    length.call(|| format!("read({})", path.display()))?;
    if bytes.len() as u64 > MAX_SIZE {
        let reason = format!("this is larger than {} MiB", MAX_SIZE >> 20);
        return Err(Error::File { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_of_bounded_size_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("config.json");
        let words = |path: &Path| read(path).unwrap_err().to_string();
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(words(&path).contains("no regular file"));
        assert!(words(Path::new("/dev/zero")).contains("no regular file"));
        assert!(words(directory.path()).contains("no regular file"));
        std::fs::remove_file(&path).unwrap();
        let file = File::create(&path).unwrap();
        file.set_len(MAX_SIZE).unwrap();
        assert_eq!(read(&path).unwrap().len() as u64, MAX_SIZE);
        file.set_len(MAX_SIZE + 1).unwrap();
        assert!(words(&path).contains("larger than 16 MiB"));
        assert!(read_from(Path::new("endless"), io::repeat(0)).is_err());
    }
}
