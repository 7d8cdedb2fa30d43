//! Which failures pass, and how long to wait before the next attempt.

use std::time::{Duration, Instant, SystemTime};

use ureq::Body;
use ureq::http::Response;

use crate::error::Error;

/// First pause unless the caller sets one.
const DELAY: Duration = Duration::from_secs(1);
/// Longest pause, also when a registry asks for more.
const MAX_DELAY: Duration = Duration::from_secs(60);
/// The last attempt begins so long after the first one, the pauses that the caller wants apart: whoever waits for a
/// start is to be told what it waited for, before systemd ends it without a reason.
const LAST_ATTEMPT: Duration = Duration::from_secs(60);
/// What one attempt may take before the first byte, time-outs of connecting and of stalls together.
const ATTEMPT: Duration = Duration::from_secs(90);

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
    /// When the last attempt has to begin.
    last: Instant,
}

/// The sum of the pauses that a caller asks for; nothing if it leaves them to us.
fn pauses(retries: u32, delay: Option<Duration>) -> Duration {
    let Some(delay) = delay else { return Duration::ZERO };
    let pauses = (0..retries.min(64)).map(|n| delay.saturating_mul(1 << n.min(16)).min(MAX_DELAY.max(delay)));
    pauses.fold(Duration::ZERO, Duration::saturating_add)
}

/// The longest time that a fetch goes on without a byte.
pub(crate) fn patience(retries: u32, delay: Option<Duration>) -> Duration {
    LAST_ATTEMPT.saturating_add(ATTEMPT).saturating_add(pauses(retries, delay))
}

impl Retry {
    pub(super) fn new(retries: u32, delay: Option<Duration>) -> Self {
        let limit = LAST_ATTEMPT.saturating_add(pauses(retries, delay));
        let now = Instant::now();
        // Too far away to be a time at all is a time that never comes, or a year.
        let last = now.checked_add(limit).unwrap_or(now + Duration::from_secs(31_536_000));
        Self { left: retries, delay: delay.unwrap_or(DELAY), last }
    }

    /// How long to wait after a failure.
    fn pause(&self, failure: &Failure) -> Duration {
        failure.pause.unwrap_or_default().max(self.delay).min(MAX_DELAY)
    }

    /// Waits for the next attempt; the failure's error if there is none.
    pub(super) fn again(&mut self, failure: Failure) -> Result<(), Error> {
        if !failure.passing || self.left == 0 {
            return Err(*failure.error);
        }
        self.left -= 1;
        let pause = self.pause(&failure);
        if Instant::now() + pause > self.last {
            return Err(*failure.error);
        }
        log::info!("{}; next attempt in {} s", failure.error, pause.as_secs_f32());
        std::thread::sleep(pause);
        self.delay = (self.delay * 2).min(MAX_DELAY);
        Ok(())
    }
}

/// The pause that a `Retry-After` asks for.
pub(super) fn pause_asked_for(response: &Response<Body>) -> Option<Duration> {
    pause_in(response.headers().get("retry-after")?.to_str().ok()?, SystemTime::now())
}

/// `Retry-After` in either form: seconds, or a date
/// ([RFC 9110, 10.2.3](https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3)). A date that is past
/// asks for no pause.
pub(super) fn pause_in(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Too large a number is still a wish to wait.
        let seconds = text.parse().unwrap_or(u32::MAX);
        return (!text.is_empty()).then(|| Duration::from_secs(seconds.into()));
    }
    Some(date(text)?.duration_since(now).unwrap_or_default())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, the one form of dates that is written today.
fn date(text: &str) -> Option<SystemTime> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let number = |digits: &str, most: u64| {
        let plain = digits.len() <= 4 && digits.bytes().all(|byte| byte.is_ascii_digit());
        digits.parse().ok().filter(|number: &u64| plain && *number <= most)
    };
    let day = number(words.next()?, 31)?;
    let month = words.next()?;
    let month = MONTHS.iter().position(|name| *name == month)? as u64;
    let year = number(words.next()?, 9999).filter(|year| *year >= 1970)?;
    let mut clock = words.next()?.split(':');
    let (hours, minutes) = (number(clock.next()?, 23)?, number(clock.next()?, 59)?);
    let seconds = number(clock.next()?, 60)?;
    if day == 0 || clock.next().is_some() || words.next() != Some("GMT") || words.next().is_some() {
        return None;
    }
    // Years that begin in March put the leap day at their end.
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1;
    let days = days.checked_sub(719_468)?;
    Some(SystemTime::UNIX_EPOCH + Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_are_read_in_both_forms() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let pause = |text: &str| pause_in(text, now).map(|pause| pause.as_secs());
        assert_eq!(pause("7"), Some(7));
        assert_eq!(pause("99999999999999999999999"), Some(u32::MAX.into()));
        assert_eq!(pause("Sun, 06 Nov 1994 08:49:37 GMT"), Some(0));
        assert_eq!(pause("Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(pause("Mon, 07 Nov 1994 08:49:37 GMT"), Some(86_400));
        assert_eq!(pause("Wed, 21 Oct 2015 07:28:00 GMT"), Some(1_445_412_480 - 784_111_777));
        assert_eq!(pause("Thu, 29 Feb 2024 00:00:00 GMT"), Some(1_709_164_800 - 784_111_777));
        assert_eq!(pause("Thu, 01 Jan 1970 00:00:00 GMT"), Some(0));
        for bad in
            ["", "-1", "1.5", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 6 Nov 94 8:49:37 GMT x", ", ", "é"]
        {
            assert_eq!(pause(bad), None, "{bad}");
        }
    }

    #[test]
    fn no_pause_is_longer_than_a_minute() {
        let failure = |pause| Failure::passing(Error::reference("x", "y"), Some(Duration::from_secs(pause)));
        let retry = Retry::new(1, Some(Duration::from_millis(10)));
        assert_eq!(retry.pause(&failure(1_000_000)), MAX_DELAY);
        assert_eq!(retry.pause(&failure(0)), Duration::from_millis(10));
        assert_eq!(retry.pause(&failure(5)), Duration::from_secs(5));
    }

    #[test]
    fn attempts_end_in_time_unless_the_caller_wants_them_later() {
        let mut retry = Retry::new(9, Some(Duration::ZERO));
        assert!(retry.again(Failure::passing(Error::reference("x", "y"), None)).is_ok());
        retry.last = Instant::now();
        assert!(
            retry.again(Failure::passing(Error::reference("x", "y"), Some(Duration::from_secs(1)))).is_err(),
            "it would be tried too late"
        );
        assert_eq!(patience(3, None), Duration::from_secs(150));
        assert_eq!(patience(3, Some(Duration::from_secs(20))), Duration::from_secs(150 + 20 + 40 + 60));
        let hours = Retry::new(u32::MAX, Some(Duration::MAX));
        assert!(hours.last > Instant::now() + Duration::from_secs(86_400));
    }
}
