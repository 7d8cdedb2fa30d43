//! Who uses us: calls in progress, the time of the last one, and clients that want signals.
//!
//! `sampand` may leave when no call is in progress, none came in for a while, and nobody is
//! subscribed. A subscriber that leaves the bus without a word is forgotten.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::EventfdFlags;
use zbus::message::Type;
use zbus::{Connection, MatchRule};

use super::Shared;
use crate::stream::Signals;

const BUS: &str = "org.freedesktop.DBus";

/// The clients, and a descriptor that becomes readable when waiting has to be thought over.
#[derive(Debug)]
pub(super) struct Clients {
    inner: Mutex<Inner>,
    wake: OwnedFd,
}

#[derive(Debug)]
struct Inner {
    subscribers: HashSet<String>,
    calls: usize,
    last: Instant,
}

/// A call in progress.
#[derive(Debug)]
pub(super) struct Call<'a>(&'a Clients);

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let mut inner = self.0.inner();
        inner.calls -= 1;
        inner.last = Instant::now();
        drop(inner);
        self.0.notify();
    }
}

impl Clients {
    pub(super) fn new() -> rustix::io::Result<Self> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let inner = Inner { subscribers: HashSet::new(), calls: 0, last: Instant::now() };
        Ok(Self { inner: Mutex::new(inner), wake })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes readable when [`Clients::patience`] has changed.
    pub(super) fn wake(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Wakes the thread that waits for changes.
    pub(super) fn notify(&self) {
        // The only failure is a counter that is full, and then it is readable already.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Notes that a call is in progress until the result is dropped.
    pub(super) fn call(&self) -> Call<'_> {
        self.inner().calls += 1;
        Call(self)
    }

    /// A client wants signals; we stay until it has enough or leaves the bus.
    pub(super) fn subscribe(&self, client: &str) {
        self.inner().subscribers.insert(client.to_owned());
    }

    /// Whether the client was subscribed.
    pub(super) fn unsubscribe(&self, client: &str) -> bool {
        let was = self.inner().subscribers.remove(client);
        if was {
            self.inner().last = Instant::now();
            self.notify();
        }
        was
    }

    /// How long there may be nothing to do from now on until we leave; `None`: for ever.
    pub(super) fn patience(&self, idle: Duration) -> Option<Duration> {
        let inner = self.inner();
        let busy = inner.calls > 0 || !inner.subscribers.is_empty();
        (!busy).then(|| idle.saturating_sub(inner.last.elapsed()))
    }

    /// Whether nothing has happened for this long, and nothing is going on.
    pub(super) fn idle_for(&self, idle: Duration) -> bool {
        self.patience(idle).is_some_and(|left| left.is_zero())
    }
}

/// Forgets subscribers that leave the bus, on a thread of its own, until the connection is gone.
pub(super) fn forget_vanished(connection: Connection, shared: Arc<Shared>) {
    std::thread::spawn(move || {
        if let Err(error) = zbus::block_on(vanishing(&connection, &shared)) {
            log::warn!("watching clients come and go: {error}");
        }
        shared.clients.notify();
    });
}

async fn vanishing(connection: &Connection, shared: &Shared) -> zbus::Result<()> {
    // An empty third argument: the name has no owner any more.
    let rule = MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(BUS)
        .interface(BUS)
        .member("NameOwnerChanged")
        .arg(2, "")
        .build()?;
    let mut vanished = Signals::subscribe(rule, connection).await?;
    while let Some(signal) = vanished.next().await? {
        if signal.header().sender().is_some_and(|sender| sender.as_str() == BUS) {
            let (name, _, _): (String, String, String) = signal.body().deserialize()?;
            shared.clients.unsubscribe(&name);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    #[test]
    fn calls_and_subscribers_keep_us() {
        let clients = Clients::new().unwrap();
        assert!(clients.patience(LONG).is_some());
        assert!(clients.idle_for(Duration::ZERO));
        let call = clients.call();
        assert!(clients.patience(LONG).is_none() && !clients.idle_for(Duration::ZERO));
        drop(call);
        assert!(clients.idle_for(Duration::ZERO) && !clients.idle_for(LONG));
        clients.subscribe(":1.5");
        clients.subscribe(":1.5");
        assert!(clients.patience(LONG).is_none());
        assert!(!clients.unsubscribe(":1.6"));
        assert!(clients.unsubscribe(":1.5") && clients.idle_for(Duration::ZERO));
    }
}
