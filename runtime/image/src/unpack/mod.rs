//! Unpacking a layer: a tar stream in, a directory for overlayfs out.
//!
//! The archive is taken to be hostile. `archive` parses it with every length bounded, `pax` reads
//! the extended headers, `tree` writes below a directory descriptor with every path resolved by the
//! kernel inside that directory (`openat2` with `RESOLVE_IN_ROOT`), so that neither `..`, nor
//! absolute names, nor symbolic or hard links made by earlier entries can lead out of it
//! (CVE-2025-11395, CVE-2026-17106).

mod archive;
mod parents;
mod pax;
pub(crate) mod recipe;
mod survey;
#[cfg(test)]
mod tests;
mod tree;

use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;

use crate::digest::Digest;

use archive::{Archive, Entry, Kind};
use recipe::Recorder;
use survey::Checksum;
pub(crate) use survey::{Contents, Known, Mismatch, survey};
use tree::Tree;

/// Bounds on what one layer may hold. They are far above what real images have, and low enough that
/// an archive made to fill the disk or the memory is stopped.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Entries of the archive.
    pub(crate) entries: u64,
    /// Uncompressed bytes of the archive.
    pub(crate) bytes: u64,
    /// Bytes of one path.
    pub(crate) path: usize,
    /// Components of one path.
    pub(crate) depth: usize,
    /// Bytes of headers before one entry (long names, PAX records).
    pub(crate) header: u64,
    /// Extended attributes of one entry.
    pub(crate) xattrs: usize,
    /// Bytes of one extended attribute's value (the kernel's own XATTR_SIZE_MAX).
    pub(crate) xattr: usize,
    /// Device nodes.
    pub(crate) devices: u64,
    /// Bytes of the paths of all directories together.
    pub(crate) directories: usize,
}

impl Limits {
    /// Bounds for a layer of which the manifest announces `compressed` bytes: at most 4 GiB plus
    /// 200 times that when unpacked.
    pub(crate) fn for_layer(compressed: u64) -> Self {
        Self {
            entries: 2_000_000,
            bytes: (4 << 30) + compressed.saturating_mul(200).min(1 << 46),
            path: 4095,
            depth: 1000,
            header: 1 << 20,
            xattrs: 64,
            xattr: 65536,
            devices: 1024,
            directories: 256 << 20,
        }
    }
}

/// What was unpacked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Unpacked {
    /// Digest of the uncompressed archive.
    pub(crate) diff_id: Digest,
    /// Bytes of file content written.
    pub(crate) bytes: u64,
    /// Whether a link in it leads to the standard output or error of whoever opens it.
    pub(crate) links_to_output: bool,
    /// What is in the directory now.
    pub(crate) contents: Contents,
}

/// Where such links lead: `/var/log/nginx/access.log -> /dev/stdout` is how images log.
const OUTPUT: [&[u8]; 4] = [b"/dev/stdout", b"/dev/stderr", b"/proc/self/fd/1", b"/proc/self/fd/2"];

/// Why a layer could not be unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The stream could not be read (transfer, decompression).
    #[error("{0}")]
    Read(io::Error),
    /// The archive is malformed, exceeds a bound or tries to escape.
    #[error("{0}")]
    Hostile(String),
    /// The kernel refused to create something.
    #[error("cannot {operation} \"{path}\" of the layer: {source}")]
    Write {
        /// System call or step.
        operation: &'static str,
        /// Path inside the layer.
        path: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl Failure {
    fn hostile(path: &[u8], reason: &str) -> Self {
        Failure::Hostile(format!("entry \"{}\": {reason}", printable(path)))
    }

    fn write(operation: &'static str, path: &[u8], source: impl Into<io::Error>) -> Self {
        Failure::Write { operation, path: printable(path), source: source.into() }
    }
}

/// A name from an archive, made fit for a message: escaped and cut.
fn printable(path: &[u8]) -> String {
    let shown = &path[..path.len().min(200)];
    let dots = if shown.len() < path.len() { "…" } else { "" };
    format!("{}{dots}", shown.escape_ascii())
}

/// Unpacks an uncompressed tar stream into the directory `root`. Directories that an entry replaces
/// are moved into `trash`, which the caller removes. How the stream can be made again from what was
/// unpacked is written to `recipe`.
///
/// The stream is read to its end, so that the digest covers all of it.
pub(crate) fn unpack(
    stream: impl Read,
    root: BorrowedFd<'_>,
    trash: BorrowedFd<'_>,
    limits: &Limits,
    recipe: &mut dyn Write,
) -> Result<Unpacked, Failure> {
    let recorder = Recorder::new(recipe).map_err(|error| Failure::write("record", b"", error))?;
    let mut archive = Archive::new(stream, limits, recorder);
    let mut tree = Tree::new(root, trash, limits);
    let mut links_to_output = false;
    while let Some(entry) = archive.next_entry()? {
        links_to_output |=
            matches!(&entry.kind, Kind::Symlink(target) if OUTPUT.contains(&target.as_slice()));
        place(&mut archive, &mut tree, &entry)?;
    }
    let (bytes, known) = tree.finish()?;
    let diff_id = archive.finish()?;
    let contents = survey(root, &known).map_err(|error| Failure::write("look at", b".", error))?;
    Ok(Unpacked { diff_id, bytes, links_to_output, contents })
}

fn place(archive: &mut Archive<impl Read>, tree: &mut Tree<'_>, entry: &Entry) -> Result<(), Failure> {
    if entry.path.is_empty() {
        // "./": the layer's root directory itself.
        return match entry.kind {
            Kind::Directory => tree.directory(entry),
            _ => Err(Failure::hostile(b"./", "the root must be a directory")),
        };
    }
    if tree.whiteout(entry)? {
        return Ok(());
    }
    match &entry.kind {
        Kind::Directory => tree.directory(entry),
        Kind::File => {
            let file = tree.create_file(entry)?;
            let checksum = copy(archive, tree, entry, &file)?;
            tree.finish_file(entry, &file, &checksum)
        }
        Kind::Symlink(target) => tree.symlink(entry, target),
        Kind::HardLink(target) => tree.hard_link(entry, target),
        Kind::Char { .. } | Kind::Block { .. } | Kind::Fifo => tree.node(entry),
    }
}

/// Writes a file's content straight from the archive's buffer, leaving holes as holes.
fn copy(
    archive: &mut Archive<impl Read>,
    tree: &mut Tree<'_>,
    entry: &Entry,
    file: &std::fs::File,
) -> Result<Checksum, Failure> {
    use std::os::unix::fs::FileExt;
    let fail = |source| Failure::write("write", &entry.path, source);
    let mut checksum = Checksum::default();
    let whole = [(0, entry.size)];
    let segments = entry.sparse.as_ref().map_or(&whole[..], |sparse| &sparse.segments[..]);
    for &(mut offset, length) in segments {
        let mut left = length;
        while left > 0 {
            let chunk = archive.data(left)?;
            file.write_all_at(chunk, offset).map_err(fail)?;
            checksum.add_at(offset, chunk);
            let count = chunk.len();
            archive.consume(count, &entry.path, offset);
            offset += count as u64;
            left -= count as u64;
            tree.count_bytes(count as u64);
        }
    }
    if let Some(sparse) = &entry.sparse {
        file.set_len(sparse.real_size).map_err(fail)?;
        checksum.add_hole_to(sparse.real_size);
    }
    Ok(checksum)
}
