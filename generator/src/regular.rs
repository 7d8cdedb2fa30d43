//! Reads files that people name or link to, so that no file can hold the boot or fill the memory: pipes, devices and
//! what has no end are refused before they are opened, for opening a device may already do something.

use rustix::fs::{CWD, Mode, OFlags, PROC_SUPER_MAGIC, openat, statfs};
use rustix::path::Arg;
use std::fs;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// The largest file that is read, in bytes; no unit file comes near it.
const LIMIT: u64 = 64 << 20;

/// All bytes of a regular file of at most 64 MiB; links are followed. A link to `/dev/null`, which masks a unit, is
/// an empty file.
///
/// # Errors
///
/// Those of stat(2), open(2) and read(2); of kind [`io::ErrorKind::Unsupported`] for anything but a regular file, and
/// [`io::ErrorKind::FileTooLarge`].
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    if is_regular(path)? { read_known(CWD, path, &mut [0; 8192]) } else { Ok(Vec::new()) }
}

/// Reads a file that is known to be regular, a small one with a single read(2) into the buffer.
pub(crate) fn read_known(directory: impl AsFd, path: impl Arg, buffer: &mut [u8]) -> io::Result<Vec<u8>> {
    // What has become a pipe in the meantime must not block either.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut file = fs::File::from(openat(directory, path, flags, Mode::empty())?);
    let length = file.read(buffer)?;
    let mut bytes = buffer[..length].to_vec();
    if length == buffer.len() {
        file.take(LIMIT).read_to_end(&mut bytes)?;
    }
    if bytes.len() as u64 > LIMIT {
        let reason = format!("it is larger than {} MiB", LIMIT >> 20);
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, reason));
    }
    Ok(bytes)
}

/// Refuses what is neither a regular file nor `/dev/null`; says which of them it is.
pub(crate) fn is_regular(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    let kind = metadata.file_type();
    let what = if kind.is_fifo() {
        "a pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_dir() {
        "a directory"
    } else if !kind.is_file() {
        if is_null(path) {
            return Ok(false);
        }
        "a device"
    } else if metadata.len() == 0 && statfs(path)?.f_type == PROC_SUPER_MAGIC {
        // /proc/kmsg waits for messages, and takes them away from others.
        "a file of the kernel's"
    } else {
        return Ok(true);
    };
    Err(io::Error::new(io::ErrorKind::Unsupported, format!("it is {what}, not a regular file")))
}

/// Whether a path leads to `/dev/null`.
pub(crate) fn is_null(path: &Path) -> bool {
    fs::canonicalize(path).is_ok_and(|target| target == Path::new("/dev/null"))
}
