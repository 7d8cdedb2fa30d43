//! Waiting for the next signal of a subscription.

use std::future::poll_fn;
use std::pin::Pin;

use futures_core::Stream;
use zbus::message::Message;
use zbus::{Connection, MatchRule, MessageStream};

/// How many signals may wait to be read. zbus stops reading from the bus when a queue is full, so
/// this has to be more than come in between two reads: all jobs of a large boot, for example.
const QUEUE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(4096).expect("is not zero");

/// The signals of one kind from one sender.
#[derive(Debug)]
pub(crate) struct Signals(MessageStream);

impl Signals {
    /// Asks the bus for the signals that match.
    pub(crate) async fn subscribe(rule: MatchRule<'_>, connection: &Connection) -> zbus::Result<Self> {
        MessageStream::for_match_rule(rule, connection, Some(QUEUE)).await.map(Self)
    }

    /// The next of them; `None` when the connection is gone.
    pub(crate) async fn next(&mut self) -> zbus::Result<Option<Message>> {
        poll_fn(|context| Pin::new(&mut self.0).poll_next(context)).await.transpose()
    }
}
