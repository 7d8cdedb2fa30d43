//! Waiting until the server knows a change.
//!
//! Servers before 1.11 close their sockets while they read their files, and any server needs time for it. So whoever
//! waits for a change first waits for its turn; by then the server may have read the change on behalf of another.
//! Two hundred containers that start at once so need a handful of readings. And between two readings there is a
//! pause, as many times as long as the last one took: short for a server that goes on answering, long for an old one,
//! which is told by its refusals. A single container finds no queue and no pause.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

use super::Names;
use super::query::Query;
use super::server::UNIT;
use crate::config::Network;
use crate::error::{Error, Result};
use crate::files::Lock;

/// How long a change may take until it is answered.
const PATIENCE: Duration = Duration::from_secs(5);

/// After so long without the right answer, the server is told (or started) again.
const REMINDER: Duration = Duration::from_millis(400);

/// The pause between two readings, as a multiple of the first one's time: for a server that hears all the while, and
/// for one that was seen to be deaf.
const REST: u32 = 1;
const REST_OF_DEAF: u32 = 19;
const LONGEST_REST: Duration = Duration::from_millis(500);

/// Changes that the server may not know yet.
#[derive(Debug, Default)]
#[must_use = "the server has to be told"]
pub(crate) struct Pending {
    /// Whom to ask for which generation of which file.
    wanted: Vec<(PathBuf, IpAddr, u32)>,
    /// The networks that had no container before.
    pub(super) first_in: Vec<Network>,
}

impl Pending {
    /// Adds a network's file, and whom to ask for which generation of it; absent if it has none, and nobody who could
    /// ask.
    pub(super) fn add(&mut self, file: PathBuf, asked: Option<(IpAddr, u32)>) {
        self.wanted.extend(asked.map(|(server, generation)| (file, server, generation)));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.wanted.is_empty()
    }

    /// A server that can't be asked, because its address is gone with its bridge, isn't asked.
    fn queries(&self) -> Vec<(&Path, Query)> {
        let wanted = self.wanted.iter();
        wanted
            .filter_map(|(file, server, wanted)| Some((&**file, Query::new(*server, *wanted).ok()?)))
            .collect()
    }
}

impl Names {
    /// Waits until every network's server knows the change.
    ///
    /// A container without names is better than none: a server that doesn't answer
    /// in time is told in the log, and no error.
    pub(crate) fn settle(&self, pending: &Pending) -> Result<()> {
        let mut queries = pending.queries();
        if queries.is_empty() {
            return Ok(());
        }
        let deadline = Instant::now() + PATIENCE;
        loop {
            let _turn = Lock::acquire(&self.reading)?;
            // The last one may have left the network meanwhile, and the server has ended.
            queries.retain(|(file, _)| file.exists());
            let Some(late) = first_late(&queries, Duration::ZERO) else {
                return Ok(());
            };
            if Instant::now() > deadline {
                let server = late.server();
                log::warn!("aardvark-dns doesn't answer on {server}; see `systemctl status {UNIT}`");
                return Ok(());
            }
            let last = self.last_reading();
            sleep(last.as_ref().map_or(Duration::ZERO, |reading| reading.rest(boot_time())));
            let begin = boot_time();
            self.refresh()?;
            let is_known = first_late(&queries, REMINDER).is_none();
            let was_deaf = last.is_some_and(|reading| reading.is_deaf)
                || queries.iter().any(|(_, query)| query.fell_deaf());
            self.note(&Reading { begin, end: boot_time(), is_deaf: was_deaf })?;
            if is_known {
                return Ok(());
            }
        }
    }

    /// When the server read last. A note that can't be read is none.
    fn last_reading(&self) -> Option<Reading> {
        let text = fs::read_to_string(&self.reading).ok()?;
        let mut words = text.split_whitespace();
        let mut time = || words.next()?.parse().ok().map(Duration::from_micros);
        Some(Reading { begin: time()?, end: time()?, is_deaf: words.next() == Some(DEAF) })
    }

    /// The note stands in the very file that is locked.
    fn note(&self, reading: &Reading) -> Result<()> {
        let deaf = if reading.is_deaf { DEAF } else { "" };
        let text = format!("{} {} {deaf}\n", reading.begin.as_micros(), reading.end.as_micros());
        fs::write(&self.reading, text).map_err(Error::file("write", &self.reading))
    }
}

/// The first server that doesn't give the right answer in time.
fn first_late<'a>(queries: &'a [(&Path, Query)], time: Duration) -> Option<&'a Query> {
    queries.iter().map(|(_, query)| query).find(|query| !query.is_answered_within(time))
}

/// When the server began to read and was done, by the clock of [`boot_time`].
#[derive(Debug, PartialEq, Eq)]
struct Reading {
    begin: Duration,
    end: Duration,
    /// Whether the server was ever seen to hear nothing while it reads.
    is_deaf: bool,
}

/// How a deaf server is noted.
const DEAF: &str = "deaf";

impl Reading {
    /// How long to leave the server in peace, seen from `now`.
    fn rest(&self, now: Duration) -> Duration {
        let factor = if self.is_deaf { REST_OF_DEAF } else { REST };
        let rest = (self.end.saturating_sub(self.begin) * factor).min(LONGEST_REST);
        (self.end + rest).saturating_sub(now).min(rest)
    }
}

/// A clock that all processes share and nobody sets.
fn boot_time() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_is_a_multiple_of_the_reading() {
        let at = Duration::from_millis;
        let of = |begin, is_deaf| Reading { begin: at(begin), end: at(1002), is_deaf };
        let reading = of(1000, true);
        assert_eq!(reading.rest(at(1002)), at(2) * REST_OF_DEAF);
        assert_eq!(reading.rest(at(1012)), at(2) * REST_OF_DEAF - at(10));
        assert_eq!(reading.rest(at(5000)), Duration::ZERO, "a single start finds no pause");
        assert_eq!(of(1000, false).rest(at(1002)), at(2) * REST);
        assert_eq!(of(0, false).rest(at(1002)), LONGEST_REST);
    }
}
