//! Decompression by what the bytes are, not by what a media type says.

use std::fs::File;
use std::io::{self, BufRead, Read};
use std::os::unix::fs::FileExt;

const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];
/// Largest zstd window as a power of two: 128 MiB, zstd's own default for decoders.
const ZSTD_WINDOW_LOG: u32 = 27;

/// Compressions that are recognised so that they can be refused with their name.
const UNSUPPORTED: [(&[u8], &str); 3] =
    [(b"BZh", "bzip2"), (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"), (&[0x04, 0x22, 0x4d, 0x18], "lz4")];

/// A reader of the uncompressed bytes.
pub(crate) fn decoder<'a>(mut stream: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let head = stream.fill_buf()?;
    if head.starts_with(GZIP) {
        // Several members follow each other in what pigz and estargz write.
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(stream)));
    }
    if head.starts_with(ZSTD) || is_skippable_frame(head) {
        let mut decoder = zstd::stream::read::Decoder::with_buffer(stream)?;
        decoder.window_log_max(ZSTD_WINDOW_LOG)?;
        return Ok(Box::new(decoder));
    }
    if let Some((_, name)) = UNSUPPORTED.iter().find(|(magic, _)| head.starts_with(magic)) {
        let reason = format!("it is compressed with {name}; only gzip and zstd are used in images");
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    Ok(Box::new(stream))
}

/// Whether a file is compressed in any way known here.
pub(crate) fn is_compressed(file: &File) -> io::Result<bool> {
    let mut head = [0; 6];
    let count = file.read_at(&mut head, 0)?;
    let head = &head[..count];
    let refused = UNSUPPORTED.iter().any(|(magic, _)| head.starts_with(magic));
    Ok(head.starts_with(GZIP) || head.starts_with(ZSTD) || is_skippable_frame(head) || refused)
}

/// zstd's skippable frames have the magic numbers 0x184D2A50 to 0x184D2A5F (RFC 8878, 3.1.2).
fn is_skippable_frame(head: &[u8]) -> bool {
    matches!(head, [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..])
}
