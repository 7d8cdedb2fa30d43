//! From a transport's bytes to verified documents and unpacked layers.
//!
//! Every byte that a transport hands out passes through [`Verified`]: bounded by the size that the
//! manifest announces, hashed on the way, and compared at the end.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::os::fd::AsFd;
use std::path::Path;

use crate::compression;
use crate::digest::{Digest, Hasher};
use crate::error::{Error, Result, is_no_space};
use crate::manifest::Descriptor;
use crate::progress::Meter;
use crate::store::{Staged, Staging};
use crate::transport::Transport;
use crate::unpack::{self, Failure, Limits};

/// Size of the buffer between transfer and decompression.
const BUFFER: usize = 128 * 1024;

/// Checks a document that is in memory against its descriptor.
pub(crate) fn verify(what: &'static str, bytes: &[u8], wanted: &Descriptor, location: &str) -> Result<()> {
    let got = bytes.len() as u64;
    if got != wanted.size {
        let location = location.to_owned();
        return Err(Error::SizeMismatch {
            what,
            location,
            digest: wanted.digest,
            expected: wanted.size,
            got,
        });
    }
    verify_digest(what, Digest::of(bytes), wanted.digest, location)
}

/// Compares two digests.
pub(crate) fn verify_digest(what: &'static str, got: Digest, expected: Digest, location: &str) -> Result<()> {
    if got == expected {
        return Ok(());
    }
    Err(Error::DigestMismatch { what, location: location.to_owned(), expected, got })
}

/// Reads a small blob whole.
pub(crate) fn small(transport: &dyn Transport, what: &'static str, blob: &Descriptor) -> Result<Vec<u8>> {
    let location = transport.location();
    let mut bytes = Vec::new();
    transport
        .blob(blob, what)?
        .take(blob.size + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| transfer_error(error, what, &location, blob, 0))?;
    verify(what, &bytes, blob, &location)?;
    Ok(bytes)
}

/// Fetches a blob into a file as it is, verified.
pub(crate) fn file(
    transport: &dyn Transport,
    blob: &Descriptor,
    into: &mut File,
    meter: &Meter<'_>,
) -> Result<()> {
    let location = transport.location();
    let received = |bytes| meter.received(bytes);
    let mut reader = Verified::new("file", transport.blob(blob, "file")?, blob, &location, &received);
    let mut buffer = vec![0; BUFFER];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return reader.finish(),
            Ok(count) => into
                .write_all(&buffer[..count])
                .map_err(|error| Error::io("write", Path::new("a file of the store"), error))?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(transfer_error(error, "file", &location, blob, reader.count)),
        }
    }
}

/// Fetches a layer, unpacks it into its staging directory while it arrives, and verifies the
/// digests of both its compressed and its uncompressed form.
pub(crate) fn layer<'a>(
    transport: &dyn Transport,
    staging: Staging<'a>,
    blob: &Descriptor,
    diff_id: Digest,
    meter: &Meter<'_>,
) -> Result<Staged<'a>> {
    let location = transport.location();
    let (root, trash) = staging.directories()?;
    let mut recipe = staging.recipe()?;
    let received = |bytes| {
        staging.received(bytes);
        meter.received(bytes);
    };
    let stream = transport.blob(blob, "layer")?;
    let mut reader =
        BufReader::with_capacity(BUFFER, Verified::new("layer", stream, blob, &location, &received));
    let limits = Limits::for_layer(blob.size);
    let outcome = compression::decoder(&mut reader)
        .map_err(Failure::Read)
        .and_then(|plain| unpack::unpack(plain, root.as_fd(), trash.as_fd(), &limits, &mut recipe));
    let whole = reader.into_inner().finish();
    match outcome {
        Ok(unpacked) => {
            whole?;
            verify_digest("unpacked layer", unpacked.diff_id, diff_id, &location)?;
            meter.layer_finished();
            Ok(staging.finish(unpacked))
        }
        Err(failure) => {
            let error = layer_error(failure, blob, &location, &staging);
            // Content that is not what was asked for explains everything that went wrong with it.
            Err(match (error, whole) {
                (Error::Corrupt { .. }, Err(cause)) => cause,
                (error, _) => error,
            })
        }
    }
}

/// A transport's stream, bounded and hashed.
struct Verified<'a> {
    /// What the blob is, for messages.
    what: &'static str,
    stream: Box<dyn Read + Send + 'a>,
    hasher: Hasher,
    count: u64,
    blob: &'a Descriptor,
    location: &'a str,
    received: &'a dyn Fn(u64),
}

impl<'a> Verified<'a> {
    fn new(
        what: &'static str,
        stream: Box<dyn Read + Send + 'a>,
        blob: &'a Descriptor,
        location: &'a str,
        received: &'a dyn Fn(u64),
    ) -> Self {
        Self { what, stream, hasher: Hasher::new(), count: 0, blob, location, received }
    }

    /// Reads what is left, and compares size and digest.
    fn finish(mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(transfer_error(error, self.what, self.location, self.blob, self.count));
                }
            }
        }
        if self.count != self.blob.size {
            return Err(self.wrong_size());
        }
        verify_digest(self.what, self.hasher.finish(), self.blob.digest, self.location)
    }

    fn wrong_size(&self) -> Error {
        Error::SizeMismatch {
            what: self.what,
            location: self.location.to_owned(),
            digest: self.blob.digest,
            expected: self.blob.size,
            got: self.count,
        }
    }
}

impl Read for Verified<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.stream.read(buffer)?;
        self.count += count as u64;
        if self.count > self.blob.size {
            return Err(io::Error::other(self.wrong_size()));
        }
        self.hasher.update(&buffer[..count]);
        if count > 0 {
            (self.received)(count as u64);
        }
        Ok(count)
    }
}

/// An error of a transport's stream: ours if one of our readers made it.
fn transfer_error(
    error: io::Error,
    what: &'static str,
    location: &str,
    blob: &Descriptor,
    received: u64,
) -> Error {
    match error.downcast::<Error>() {
        Ok(ours) => ours,
        Err(error) => Error::Broken {
            registry: location.to_owned(),
            what: format!("{what} {}", blob.digest),
            received,
            expected: blob.size,
            cause: error.to_string(),
        },
    }
}

fn layer_error(failure: Failure, blob: &Descriptor, location: &str, staging: &Staging<'_>) -> Error {
    let layer = || format!("layer {}", blob.digest);
    match failure {
        Failure::Read(error) => match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Error::corrupt(layer(), location, error.to_string()),
        },
        Failure::Hostile(reason) => Error::corrupt(layer(), location, reason),
        Failure::Write { source, .. } if is_no_space(&source) => Error::NoSpace {
            operation: format!("unpacking {}", layer()),
            path: staging.store_root().to_owned(),
        },
        Failure::Write { .. } => Error::Unpack {
            layer: blob.digest,
            path: staging.store_root().to_owned(),
            cause: failure.to_string(),
        },
    }
}
