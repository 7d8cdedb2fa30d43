//! Blobs: a stream that survives broken connections.

use std::io::{self, Read};
use std::time::Instant;

use super::Client;
use super::http::{Method, Request};
use super::retry::{Failure, Retry};
use crate::error::{Error, Result};
use crate::manifest::Descriptor;

/// What a transfer must bring per second, over the length of a stall; less is a stall too (a
/// registry that sends a byte now and then would hold a unit's start for ever).
const MIN_RATE: u64 = 256;

/// A blob being read. When the connection breaks it goes on where it stopped (`Range`), so nothing
/// above it notices; each attempt that brought bytes gives the next ones a full set of retries.
struct Blob<'a> {
    client: &'a Client<'a>,
    request: Request<'a>,
    what: String,
    size: u64,
    retry: Retry,
    body: ureq::BodyReader<'static>,
    /// Beginning of the period in which the rate is measured, and the offset there.
    period: (Instant, u64),
}

pub(super) fn open<'a>(
    client: &'a Client<'a>,
    descriptor: &Descriptor,
    what: &'static str,
) -> Result<Box<dyn Read + Send + 'a>> {
    let what = format!("{what} {}", descriptor.digest);
    let request = Request {
        method: Method::Get,
        path: client.path(&format!("blobs/{}", descriptor.digest)),
        accept: None,
        offset: 0,
        shown: format!("{} ({what})", client.reference),
    };
    let body = client.send(&request)?.into_body().into_reader();
    let retry = client.retry();
    Ok(Box::new(Blob {
        client,
        request,
        what,
        size: descriptor.size,
        retry,
        body,
        period: (Instant::now(), 0),
    }))
}

impl Blob<'_> {
    /// Asks for the rest.
    fn resume(&mut self) -> Result<()> {
        let response = self.client.send_with_retry(&self.request, &mut self.retry)?;
        let offset = self.request.offset;
        let status = response.status().as_u16();
        let range = response.headers().get("content-range").and_then(|value| value.to_str().ok());
        let at_offset = range.is_some_and(|range| range.starts_with(&format!("bytes {offset}-")));
        if offset > 0 && status == 206 && !at_offset {
            return Err(Error::Protocol {
                registry: self.client.reference.registry().to_owned(),
                request: self.request.to_string(),
                detail: "it sent another part of the blob than was asked for".to_owned(),
            });
        }
        self.body = response.into_body().into_reader();
        if offset > 0 && status != 206 {
            // It sends all of it again.
            return self.skip(offset);
        }
        Ok(())
    }

    /// Reads over what was had before, no more slowly than anything else.
    fn skip(&mut self, mut left: u64) -> Result<()> {
        let mut buffer = vec![0; 65536];
        let (stall, mut period) = (self.client.options.stall_timeout, (Instant::now(), left));
        while left > 0 {
            let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            match self.body.read(&mut buffer[..wanted]) {
                Ok(0) => return Err(self.error(io::ErrorKind::UnexpectedEof.into())),
                Ok(count) => left -= count as u64,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(self.error(error)),
            }
            if period.0.elapsed() >= stall {
                if period.1 - left < MIN_RATE * stall.as_secs() {
                    return Err(self.stalled());
                }
                period = (Instant::now(), left);
            }
        }
        Ok(())
    }

    fn stalled(&self) -> Error {
        Error::Stalled {
            registry: self.client.reference.registry().to_owned(),
            what: self.what.clone(),
            timeout: self.client.options.stall_timeout,
        }
    }

    /// Whether too little arrived for as long as a stall takes. Time that the reader takes to use
    /// what it got counts as well, but the next read is then served from what has queued up.
    fn is_too_slow(&mut self) -> bool {
        let (since, offset) = self.period;
        let stall = self.client.options.stall_timeout;
        if since.elapsed() < stall {
            return false;
        }
        self.period = (Instant::now(), self.request.offset);
        self.request.offset - offset < MIN_RATE * stall.as_secs()
    }

    fn error(&self, cause: io::Error) -> Error {
        self.client.http.body_error(cause, &self.what, self.request.offset, self.size)
    }
}

impl Read for Blob<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let cause = match self.body.read(buffer) {
                Ok(0) if self.request.offset < self.size => {
                    io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was closed before the end")
                }
                Ok(0) => return Ok(0),
                Ok(count) => {
                    self.request.offset += count as u64;
                    if self.is_too_slow() {
                        return Err(io::Error::other(self.stalled()));
                    }
                    self.retry = self.client.retry();
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Err(error),
                // All that was announced is here; that the answer has no end is not our concern.
                Err(_) if self.request.offset >= self.size => return Ok(0),
                Err(error) => error,
            };
            let failure = Failure::passing(self.error(cause), None);
            self.retry.again(failure).map_err(io::Error::other)?;
            self.resume().map_err(io::Error::other)?;
        }
    }
}
