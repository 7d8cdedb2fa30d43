//! The recipe of a layer: how its archive is put together again from the unpacked files.
//!
//! While a layer is unpacked, everything of the archive that is not a file's content (headers,
//! padding, what follows the end) goes into the recipe as it is; of content only where it went is
//! noted. The recipe is compressed with zstd and has about a thousandth of the layer's size;
//! with it and the files, an archive with the very same digest is made when an image is saved.
//!
//! ```text
//! "sampan recipe 1\n"
//! 'r' length:u32 bytes                             bytes as they are
//! 'c' length:u16 path offset:u64 count:u64         content of a file of the layer
//! 'e' total:u64                                    the end, with the size of the whole archive
//! ```
//! Numbers are little-endian.

use std::io::{self, Read, Write};

use zstd::stream::{read::Decoder, write::Encoder};

const MAGIC: &[u8; 16] = b"sampan recipe 1\n";
/// Bytes that are gathered before they are written as one piece.
const PIECE: usize = 64 * 1024;
/// zstd's own default: headers of archives shrink to a twentieth.
const LEVEL: i32 = 3;

/// One step of a recipe.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// `count` bytes of the file at `path`, from `offset` on.
    Content { path: Vec<u8>, offset: u64, count: u64 },
}

/// Writes a recipe.
pub(super) struct Recorder<'a> {
    out: Encoder<'static, &'a mut dyn Write>,
    raw: Vec<u8>,
    content: Option<(Vec<u8>, u64, u64)>,
    total: u64,
    failed: Option<io::Error>,
}

impl<'a> Recorder<'a> {
    pub(super) fn new(out: &'a mut dyn Write) -> io::Result<Self> {
        let mut out = Encoder::new(out, LEVEL)?;
        out.write_all(MAGIC)?;
        Ok(Self { out, raw: Vec::new(), content: None, total: 0, failed: None })
    }

    /// Notes bytes that are kept as they are.
    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.flush_content();
        self.total += bytes.len() as u64;
        self.raw.extend_from_slice(bytes);
        if self.raw.len() >= PIECE {
            self.flush_raw();
        }
    }

    /// Notes that content went into a file at an offset.
    pub(super) fn content(&mut self, path: &[u8], offset: u64, count: u64) {
        self.total += count;
        match &mut self.content {
            Some((same, from, so_far)) if same == path && *from + *so_far == offset => *so_far += count,
            _ => {
                self.flush_raw();
                self.flush_content();
                self.content = Some((path.to_vec(), offset, count));
            }
        }
    }

    /// Completes the recipe; tells what went wrong with any of it.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush_content();
        self.flush_raw();
        if let Some(error) = self.failed {
            return Err(error);
        }
        self.out.write_all(b"e")?;
        self.out.write_all(&self.total.to_le_bytes())?;
        self.out.finish()?.flush()
    }

    fn flush_raw(&mut self) {
        if self.raw.is_empty() {
            return;
        }
        let raw = std::mem::take(&mut self.raw);
        for piece in raw.chunks(u32::MAX as usize) {
            self.write(&[b"r", &(piece.len() as u32).to_le_bytes(), piece]);
        }
        self.raw = raw;
        self.raw.clear();
    }

    fn flush_content(&mut self) {
        if let Some((path, offset, count)) = self.content.take() {
            let length = (path.len() as u16).to_le_bytes();
            self.write(&[b"c", &length, &path, &offset.to_le_bytes(), &count.to_le_bytes()]);
        }
    }

    fn write(&mut self, parts: &[&[u8]]) {
        for part in parts {
            if self.failed.is_none()
                && let Err(error) = self.out.write_all(part)
            {
                self.failed = Some(error);
            }
        }
    }
}

/// Reads a recipe step by step.
pub(crate) struct Recipe<R: Read> {
    stream: Decoder<'static, io::BufReader<R>>,
    total: Option<u64>,
}

impl<R: Read> Recipe<R> {
    pub(crate) fn open(stream: R) -> io::Result<Self> {
        let mut stream = Decoder::new(stream)?;
        let mut magic = [0; 16];
        stream.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(malformed());
        }
        Ok(Self { stream, total: None })
    }

    /// The next step; `None` at the end.
    pub(crate) fn step(&mut self) -> io::Result<Option<Step>> {
        if self.total.is_some() {
            return Ok(None);
        }
        match self.number::<1>()?[0] {
            b'r' => {
                let length = u32::from_le_bytes(self.number()?) as usize;
                if length > 2 * PIECE + (1 << 20) {
                    return Err(malformed());
                }
                self.bytes(length).map(|bytes| Some(Step::Raw(bytes)))
            }
            b'c' => {
                let length = u16::from_le_bytes(self.number()?).into();
                let path = self.bytes(length)?;
                let (offset, count) =
                    (u64::from_le_bytes(self.number()?), u64::from_le_bytes(self.number()?));
                Ok(Some(Step::Content { path, offset, count }))
            }
            b'e' => {
                self.total = Some(u64::from_le_bytes(self.number()?));
                Ok(None)
            }
            _ => Err(malformed()),
        }
    }

    /// The size of the whole archive, in bytes; reads to the end.
    pub(crate) fn total(mut self) -> io::Result<u64> {
        while self.step()?.is_some() {}
        self.total.ok_or_else(malformed)
    }

    fn number<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: usize) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the recipe of the layer is malformed")
}
