//! Which failures pass, and how long to wait before the next attempt.

use std::time::Duration;

use ureq::Body;
use ureq::http::Response;

use crate::error::Error;

/// First pause unless the caller sets one.
const DELAY: Duration = Duration::from_secs(1);
/// Longest pause, also when a registry asks for more.
const MAX_DELAY: Duration = Duration::from_secs(60);

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    error: Box<Error>,
    passing: bool,
    plain_http: bool,
    pause: Option<Duration>,
}

impl Failure {
    /// It may work next time, at the earliest after `pause`.
    pub(super) fn passing(error: Error, pause: Option<Duration>) -> Self {
        Self { error: Box::new(error), passing: true, plain_http: false, pause }
    }

    /// It will not work next time either.
    pub(super) fn lasting(error: Error) -> Self {
        Self { error: Box::new(error), passing: false, plain_http: false, pause: None }
    }

    /// The other side refused TLS, or seems not to speak it.
    pub(super) fn with_plain_http(self, plain_http: bool) -> Self {
        Self { plain_http, ..self }
    }

    pub(super) fn may_be_plain_http(&self) -> bool {
        self.plain_http
    }

    /// Whether no connection was made at all.
    pub(super) fn is_connection(&self) -> bool {
        matches!(*self.error, Error::Unreachable { .. })
    }

    /// The same failure with its error seen otherwise.
    pub(super) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        Self { error: Box::new(change(*self.error)), ..self }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::lasting(error)
    }
}

/// A count of attempts with growing pauses.
#[derive(Debug)]
pub(super) struct Retry {
    left: u32,
    delay: Duration,
}

impl Retry {
    pub(super) fn new(retries: u32, delay: Option<Duration>) -> Self {
        Self { left: retries, delay: delay.unwrap_or(DELAY) }
    }

    /// Waits for the next attempt; the failure's error if there is none.
    pub(super) fn again(&mut self, failure: Failure) -> Result<(), Error> {
        if !failure.passing || self.left == 0 {
            return Err(*failure.error);
        }
        self.left -= 1;
        let pause = failure.pause.unwrap_or(self.delay).max(self.delay).min(MAX_DELAY);
        log::info!("{}; next attempt in {} s", failure.error, pause.as_secs_f32());
        std::thread::sleep(pause);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        Ok(())
    }
}

/// `Retry-After` in seconds. The header's other form, a date, is left to our own pauses.
pub(super) fn pause_asked_for(response: &Response<Body>) -> Option<Duration> {
    let seconds: u64 = response.headers().get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}
