//! Walks a tar stream entry by entry, every length bounded.
//!
//! The fields of a 512-byte header are parsed by the `tar` crate. The walk is ours because the
//! crate's would read a long name or PAX header of any announced size into memory and cut PAX
//! records at newlines, which binary attributes contain.

use std::io::{self, Read};

use tar::{EntryType, Header};

use super::pax::Pax;
use super::recipe::Recorder;
use super::{Failure, Limits};
use crate::digest::{Digest, Hasher};

/// Size of a tar block.
const BLOCK: usize = 512;
/// Size of the buffer between decompression and the file system.
const BUFFER: usize = 256 * 1024;
/// Most extents of a sparse file.
const MAX_SEGMENTS: usize = 65536;

/// One member of a layer's archive.
#[derive(Debug)]
pub(super) struct Entry {
    /// Path below the layer's root: no leading `/` or `./`, no `..`, no trailing `/`.
    pub(super) path: Vec<u8>,
    pub(super) kind: Kind,
    /// Permission bits with setuid, setgid and sticky.
    pub(super) mode: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    /// Seconds and nanoseconds.
    pub(super) mtime: (i64, u32),
    /// Bytes of content in the archive.
    pub(super) size: u64,
    /// Extended attributes from PAX records.
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the content goes if the file has holes.
    pub(super) sparse: Option<Sparse>,
}

/// What an entry is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// Target as written.
    Symlink(Vec<u8>),
    /// Path of the other name below the layer's root.
    HardLink(Vec<u8>),
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Fifo,
}

/// A file with holes.
#[derive(Debug)]
pub(super) struct Sparse {
    /// Offset and length of the extents, in the order of the archive.
    pub(super) segments: Vec<(u64, u64)>,
    pub(super) real_size: u64,
}

/// A tar stream being read.
pub(super) struct Archive<'a, R> {
    stream: R,
    limits: &'a Limits,
    recorder: Recorder<'a>,
    hasher: Hasher,
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// Uncompressed bytes read from the stream.
    total: u64,
    entries: u64,
    /// Content of the current entry that was not consumed yet, and the padding after it.
    content: u64,
    padding: u64,
}

impl<'a, R: Read> Archive<'a, R> {
    pub(super) fn new(stream: R, limits: &'a Limits, recorder: Recorder<'a>) -> Self {
        Self {
            stream,
            limits,
            recorder,
            hasher: Hasher::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
            start: 0,
            end: 0,
            total: 0,
            entries: 0,
            content: 0,
            padding: 0,
        }
    }

    /// The next member; `None` at the end-of-archive mark or the end of the stream.
    pub(super) fn next_entry(&mut self) -> Result<Option<Entry>, Failure> {
        let mut long = Long::default();
        let mut headers = 0;
        loop {
            self.skip_content()?;
            let Some(header) = self.header()? else {
                return if long.is_empty() {
                    Ok(None)
                } else {
                    Err(Failure::Hostile("the archive ends after an extended header".into()))
                };
            };
            let size = or_blank(header.entry_size(), &header.as_old().size, "size")?;
            let kind = header.entry_type();
            if !is_extension(kind) {
                return self.entry(&header, size, long).map(Some);
            }
            headers = size.saturating_add(headers + BLOCK as u64);
            if headers > self.limits.header {
                return Err(Failure::Hostile(format!(
                    "extended headers of one entry exceed {} bytes",
                    self.limits.header
                )));
            }
            self.set_content(size)?;
            let bytes = self.read_content()?;
            match kind {
                EntryType::GNULongName => long.path = Some(until_nul(bytes)),
                EntryType::GNULongLink => long.link = Some(until_nul(bytes)),
                EntryType::XHeader => long.pax = Some(Pax::parse(&bytes, self.limits)?),
                // Global headers carry comments; volume labels mean nothing in a layer.
                _ => {}
            }
        }
    }

    /// Builds the entry from its header and the extended headers before it.
    fn entry(&mut self, header: &Header, size: u64, long: Long) -> Result<Entry, Failure> {
        self.entries += 1;
        if self.entries > self.limits.entries {
            return Err(Failure::Hostile(format!("more than {} entries", self.limits.entries)));
        }
        let mut pax = long.pax.unwrap_or_default();
        let name = pax
            .sparse
            .name
            .take()
            .or(pax.path)
            .or(long.path)
            .unwrap_or_else(|| header.path_bytes().into_owned());
        let link = pax
            .link
            .or(long.link)
            .or_else(|| header.link_name_bytes().map(|link| link.into_owned()))
            .unwrap_or_default();
        let path = relative(&name, self.limits)?;
        let kind = self.kind(header, &name, link)?;
        // Only files have content; some writers announce a size for links, without content.
        let has_content = kind == Kind::File || matches!(header.entry_type(), EntryType::GNUSparse);
        let size = if has_content { pax.size.unwrap_or(size) } else { 0 };
        let id = |pax: Option<u64>, header: u64, field| {
            u32::try_from(pax.unwrap_or(header))
                .ok()
                .filter(|id| *id != u32::MAX)
                .ok_or_else(|| Failure::hostile(&path, field))
        };
        let old = header.as_old();
        let uid = id(pax.uid, or_blank(header.uid(), &old.uid, "owner")?, "impossible owner")?;
        let gid = id(pax.gid, or_blank(header.gid(), &old.gid, "group")?, "impossible group")?;
        let mode = or_blank(header.mode().map(u64::from), &old.mode, "mode")? as u32 & 0o7777;
        let seconds = or_blank(header.mtime(), &old.mtime, "time")?;
        let mtime = pax.mtime.unwrap_or((i64::try_from(seconds).unwrap_or(0), 0));
        self.set_content(size)?;
        let sparse = self.sparse(header, pax.sparse)?;
        let size = self.content;
        if let Some(sparse) = &sparse {
            check_sparse(sparse, size).ok_or_else(|| Failure::hostile(&path, "inconsistent sparse map"))?;
        }
        Ok(Entry { path, kind, mode, uid, gid, mtime, size, xattrs: pax.xattrs, sparse })
    }

    fn kind(&self, header: &Header, name: &[u8], link: Vec<u8>) -> Result<Kind, Failure> {
        let device = |number: io::Result<Option<u32>>| {
            number.ok().flatten().ok_or_else(|| Failure::hostile(name, "impossible device number"))
        };
        Ok(match header.entry_type() {
            // Before POSIX, a directory was a file with a trailing slash.
            EntryType::Regular if name.ends_with(b"/") => Kind::Directory,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => Kind::File,
            EntryType::Directory => Kind::Directory,
            EntryType::Symlink if link.is_empty() || link.len() > self.limits.path || link.contains(&0) => {
                return Err(Failure::hostile(name, "impossible target of a symbolic link"));
            }
            EntryType::Symlink => Kind::Symlink(link),
            EntryType::Link => Kind::HardLink(relative(&link, self.limits)?),
            EntryType::Char => {
                Kind::Char { major: device(header.device_major())?, minor: device(header.device_minor())? }
            }
            EntryType::Block => {
                Kind::Block { major: device(header.device_major())?, minor: device(header.device_minor())? }
            }
            EntryType::Fifo => Kind::Fifo,
            other => {
                let kind = [other.as_byte()];
                let reason = format!("unknown entry type \"{}\"", kind.escape_ascii());
                return Err(Failure::hostile(name, &reason));
            }
        })
    }

    /// The extents of a sparse file: old GNU format (in headers that follow), PAX 0.1 (in the
    /// extended header) or PAX 1.0 (in front of the content).
    fn sparse(&mut self, header: &Header, pax: super::pax::SparseHeader) -> Result<Option<Sparse>, Failure> {
        let incomplete = || Failure::Hostile("incomplete header of a sparse file".into());
        if header.entry_type() == EntryType::GNUSparse {
            let real_size = header.as_gnu().ok_or_else(incomplete)?.real_size().map_err(|_| incomplete())?;
            let segments = self.gnu_segments(header)?;
            return Ok(Some(Sparse { segments, real_size }));
        }
        if pax.major == Some(1) {
            let real_size = pax.real_size.ok_or_else(incomplete)?;
            let segments = self.leading_map()?;
            return Ok(Some(Sparse { segments, real_size }));
        }
        match (pax.map, pax.real_size) {
            (Some(segments), Some(real_size)) => Ok(Some(Sparse { segments, real_size })),
            (None, None) => Ok(None),
            _ => Err(incomplete()),
        }
    }

    fn gnu_segments(&mut self, header: &Header) -> Result<Vec<(u64, u64)>, Failure> {
        let malformed = |_| Failure::Hostile("malformed map of a sparse file".into());
        let gnu = header.as_gnu().ok_or_else(|| Failure::Hostile("sparse entry without map".into()))?;
        let mut segments = Vec::new();
        for segment in gnu.sparse.iter().filter(|segment| !segment.is_empty()) {
            segments.push((segment.offset().map_err(malformed)?, segment.length().map_err(malformed)?));
        }
        let mut more = gnu.is_extended();
        while more {
            let mut extension = tar::GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(self.block()?.ok_or_else(truncated)?);
            for segment in extension.sparse.iter().filter(|segment| !segment.is_empty()) {
                segments.push((segment.offset().map_err(malformed)?, segment.length().map_err(malformed)?));
            }
            if segments.len() > MAX_SEGMENTS {
                return Err(Failure::Hostile("too many extents in a sparse file".into()));
            }
            more = extension.is_extended();
        }
        Ok(segments)
    }

    /// PAX 1.0: decimal numbers, one per line, padded to a block: count, then offset and length.
    fn leading_map(&mut self) -> Result<Vec<(u64, u64)>, Failure> {
        let malformed = || Failure::Hostile("malformed map of a sparse file".into());
        let mut numbers = Vec::new();
        let mut wanted = 1;
        let mut digits = Vec::new();
        while numbers.len() < wanted {
            if self.content < BLOCK as u64 {
                return Err(malformed());
            }
            let block = *self.block()?.ok_or_else(truncated)?;
            self.content -= BLOCK as u64;
            for byte in block {
                if byte != b'\n' {
                    digits.push(byte);
                    if digits.len() > 20 {
                        break;
                    }
                    continue;
                }
                let number = str::from_utf8(&digits).ok().and_then(|digits| digits.parse::<u64>().ok());
                numbers.push(number.ok_or_else(malformed)?);
                digits.clear();
                if numbers.len() == 1 {
                    let count = usize::try_from(numbers[0]).ok().filter(|count| *count <= MAX_SEGMENTS);
                    wanted = 1 + 2 * count.ok_or_else(malformed)?;
                }
                if numbers.len() == wanted {
                    break;
                }
            }
            if digits.len() > 20 {
                return Err(malformed());
            }
        }
        Ok(numbers[1..].chunks_exact(2).map(|pair| (pair[0], pair[1])).collect())
    }

    /// Some content of the current entry, at most `limit` bytes, at least one.
    pub(super) fn data(&mut self, limit: u64) -> Result<&[u8], Failure> {
        if self.start == self.end && self.fill()? == 0 {
            return Err(truncated());
        }
        let available = (self.end - self.start) as u64;
        let count = available.min(limit).min(self.content) as usize;
        if count == 0 {
            return Err(truncated());
        }
        Ok(&self.buffer[self.start..self.start + count])
    }

    /// Marks bytes of [`Archive::data`] as written to a file of the layer, at `offset`.
    pub(super) fn consume(&mut self, count: usize, path: &[u8], offset: u64) {
        self.recorder.content(path, offset, count as u64);
        self.start += count;
        self.content -= count as u64;
    }

    /// Goes over bytes that no file gets.
    fn pass(&mut self, count: usize) {
        self.recorder.raw(&self.buffer[self.start..self.start + count]);
        self.start += count;
    }

    /// Reads the stream to its end and returns the digest of all of it.
    pub(super) fn finish(mut self) -> Result<Digest, Failure> {
        loop {
            self.pass(self.end - self.start);
            if self.fill()? == 0 {
                self.recorder.finish().map_err(|error| Failure::write("record", b"", error))?;
                return Ok(self.hasher.finish());
            }
        }
    }

    fn set_content(&mut self, size: u64) -> Result<(), Failure> {
        if size > self.limits.bytes {
            return Err(self.too_big());
        }
        self.content = size;
        self.padding = size.next_multiple_of(BLOCK as u64) - size;
        Ok(())
    }

    fn skip_content(&mut self) -> Result<(), Failure> {
        let mut left = self.content + self.padding;
        (self.content, self.padding) = (0, 0);
        while left > 0 {
            if self.start == self.end && self.fill()? == 0 {
                return Err(truncated());
            }
            let count = ((self.end - self.start) as u64).min(left);
            self.pass(count as usize);
            left -= count;
        }
        Ok(())
    }

    /// All content of the current entry; only for headers, whose size was checked.
    fn read_content(&mut self) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(self.content as usize);
        while self.content > 0 {
            let chunk = self.data(u64::MAX)?;
            let count = chunk.len();
            bytes.extend_from_slice(chunk);
            self.pass(count);
            self.content -= count as u64;
        }
        Ok(bytes)
    }

    /// The next header; `None` at the end of the archive.
    fn header(&mut self) -> Result<Option<Header>, Failure> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(block).clone();
        let sum: u32 = block[..148].iter().chain(&block[156..]).map(|byte| u32::from(*byte)).sum();
        match header.cksum() {
            Ok(wanted) if wanted == sum + 8 * 32 => Ok(Some(header)),
            _ => Err(Failure::Hostile("a tar header has the wrong checksum".into())),
        }
    }

    /// The next 512 bytes; `None` at the end of the stream.
    fn block(&mut self) -> Result<Option<&[u8; BLOCK]>, Failure> {
        while self.end - self.start < BLOCK {
            let had = self.end - self.start;
            if self.fill()? == 0 {
                return if had == 0 { Ok(None) } else { Err(truncated()) };
            }
        }
        self.pass(BLOCK);
        Ok(self.buffer[self.start - BLOCK..self.start].first_chunk())
    }

    /// Reads more from the stream; returns the number of bytes, 0 at its end.
    fn fill(&mut self) -> Result<usize, Failure> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let count = loop {
            match self.stream.read(&mut self.buffer[self.end..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result.map_err(Failure::Read)?,
            }
        };
        self.hasher.update(&self.buffer[self.end..self.end + count]);
        self.end += count;
        self.total += count as u64;
        if self.total > self.limits.bytes {
            return Err(self.too_big());
        }
        Ok(count)
    }

    fn too_big(&self) -> Failure {
        Failure::Hostile(format!(
            "it unpacks to more than {} MB, far more than its compressed size justifies",
            self.limits.bytes / 1_000_000
        ))
    }
}

/// Extended headers before an entry.
#[derive(Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Option<Pax>,
}

impl Long {
    fn is_empty(&self) -> bool {
        self.path.is_none() && self.link.is_none() && self.pax.is_none()
    }
}

fn is_extension(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::GNULongName | EntryType::GNULongLink | EntryType::XHeader | EntryType::XGlobalHeader
    ) || kind.as_byte() == b'V'
}

fn truncated() -> Failure {
    Failure::Hostile("the archive ends in the middle of an entry".into())
}

fn hostile_header(field: &str) -> Failure {
    Failure::Hostile(format!("a tar header has a malformed {field}"))
}

/// A numeric field; one that was left blank is zero, as all readers of tar take it.
fn or_blank(value: io::Result<u64>, field: &[u8], name: &str) -> Result<u64, Failure> {
    let blank = || field.iter().all(|byte| matches!(byte, 0 | b' '));
    value.or_else(|_| if blank() { Ok(0) } else { Err(hostile_header(name)) })
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}

fn check_sparse(sparse: &Sparse, content: u64) -> Option<()> {
    let mut end = 0;
    let mut sum: u64 = 0;
    for (offset, length) in &sparse.segments {
        if *offset < end {
            return None;
        }
        end = offset.checked_add(*length)?;
        sum = sum.checked_add(*length)?;
    }
    (sum == content && end <= sparse.real_size && i64::try_from(sparse.real_size).is_ok()).then_some(())
}

/// A member's name as a path below the root: leading slashes and `.` components dropped (as Docker
/// does), `..` refused.
fn relative(name: &[u8], limits: &Limits) -> Result<Vec<u8>, Failure> {
    if name.len() > limits.path {
        return Err(Failure::hostile(name, "the path is too long"));
    }
    if name.contains(&0) {
        return Err(Failure::hostile(name, "the path has a NUL byte"));
    }
    let mut path = Vec::with_capacity(name.len());
    let mut depth = 0;
    for component in name.split(|byte| *byte == b'/') {
        match component {
            b"" | b"." => continue,
            b".." => return Err(Failure::hostile(name, "the path has \"..\"")),
            _ if component.len() > 255 => {
                return Err(Failure::hostile(name, "a component of the path is too long"));
            }
            _ => {}
        }
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(component);
        depth += 1;
    }
    if depth > limits.depth {
        return Err(Failure::hostile(name, "the path has too many components"));
    }
    Ok(path)
}
