//! One netlink socket, and batches of messages through it (netlink(7)).
//!
//! A [`Batch`] collects messages, each with a sentence that says what it does;
//! [`Socket::run`] hands all of them over in one system call and reads the
//! answers. The kernel works a batch off in order and goes on after a refusal,
//! so the first refusal that isn't expected is the error that is reported,
//! with the kernel's own words (extended acknowledgement) if it gives any.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use netlink_packet_core::{
    Emitable, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkSerializable,
};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};

use crate::error::{Error, Result};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// The kernel answers at once; so long only to turn a hang into an error.
const PATIENCE: Duration = Duration::from_secs(10);

/// The most messages whose answers surely fit in a socket's receive buffer
/// (212,992 bytes by default, about 800 for each acknowledgement).
const MOST_ANSWERS: usize = 128;

/// A netlink socket of the network namespace that it was opened in.
#[derive(Debug)]
pub(crate) struct Socket {
    inner: netlink_sys::Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Messages to be sent together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    operation: String,
    tolerated: &'static [Errno],
    acknowledged: bool,
}

impl Batch {
    /// Adds a message. `operation` says what it does, for an error; the errnos in
    /// `tolerated` are as good as success.
    pub(crate) fn push(
        &mut self,
        message: &impl NetlinkSerializable,
        flags: u16,
        tolerated: &'static [Errno],
        operation: impl Into<String>,
    ) {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        let step = Step { operation: operation.into(), tolerated, acknowledged: true };
        self.push_bytes(message.message_type(), flags | NLM_F_ACK, &payload, step);
    }

    /// Adds a message whose payload is encoded already.
    pub(crate) fn push_raw(
        &mut self,
        message_type: u16,
        flags: u16,
        payload: &[u8],
        tolerated: &'static [Errno],
        operation: impl Into<String>,
    ) {
        let step = Step { operation: operation.into(), tolerated, acknowledged: true };
        self.push_bytes(message_type, flags | NLM_F_ACK, payload, step);
    }

    /// Adds a message that is answered only if it is refused.
    pub(crate) fn push_silent(&mut self, message_type: u16, payload: &[u8], operation: &str) {
        let step = Step { operation: operation.to_owned(), tolerated: &[], acknowledged: false };
        self.push_bytes(message_type, 0, payload, step);
    }

    /// Whether there is nothing to send.
    pub(crate) fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Whether no more messages should be added before it is sent.
    pub(crate) fn is_full(&self) -> bool {
        self.steps.len() >= MOST_ANSWERS
    }

    /// The place of the message in the batch stands in the sequence number until
    /// [`Socket::run`] adds the socket's own count.
    fn push_bytes(&mut self, message_type: u16, flags: u16, payload: &[u8], step: Step) {
        let length = HEADER + payload.len();
        let start = self.bytes.len();
        self.bytes.resize(start + length.next_multiple_of(4), 0);
        let mut header = NetlinkHeader::default();
        header.length = u32::try_from(length).unwrap_or(u32::MAX);
        header.message_type = message_type;
        header.flags = flags | NLM_F_REQUEST;
        header.sequence_number = u32::try_from(self.steps.len()).unwrap_or(u32::MAX);
        header.emit(&mut self.bytes[start..start + HEADER]);
        self.bytes[start + HEADER..start + length].copy_from_slice(payload);
        self.steps.push(step);
    }
}

/// A message that the kernel sent: its type and payload.
pub(crate) type Answer = (u16, Vec<u8>);

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open(protocol: isize) -> Result<Self> {
        let opened = || {
            let mut inner = netlink_sys::Socket::new(protocol)?;
            inner.bind_auto()?;
            inner.set_ext_ack(true)?;
            inner.set_cap_ack(true)?;
            set_socket_timeout(&inner, Timeout::Recv, Some(PATIENCE))?;
            Ok(inner)
        };
        Ok(Self {
            inner: opened().map_err(Error::kernel("open a netlink socket"))?,
            sequence: 0,
            buffer: Vec::with_capacity(1 << 16),
        })
    }

    /// Sends the batch and waits for every answer; returns the messages that came
    /// besides the acknowledgements.
    ///
    /// # Errors
    /// [`Error::Kernel`] with the first message that was refused for a reason that
    /// it doesn't tolerate.
    pub(crate) fn run(&mut self, mut batch: Batch) -> Result<Vec<Answer>> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let base = self.number(&mut batch);
        let first = batch.steps[0].operation.clone();
        self.inner.send(&batch.bytes, 0).map_err(Error::kernel(first.clone()))?;
        let mut missing = batch.steps.iter().filter(|s| s.acknowledged).count();
        let mut answers = Vec::new();
        let mut refusal: Option<(usize, io::Error)> = None;
        while missing > 0 {
            for message in self.receive(&first)? {
                let place = message.sequence.wrapping_sub(base) as usize;
                let Some(step) = batch.steps.get(place) else {
                    continue;
                };
                if message.kind != NLMSG_ERROR {
                    answers.push((message.kind, message.payload));
                    continue;
                }
                // A refusal of the whole batch is answered under its silent first message.
                missing = if step.acknowledged { missing - 1 } else { 0 };
                if let Some(error) = message.refusal(step.tolerated)
                    && refusal.as_ref().is_none_or(|(earlier, _)| place < *earlier)
                {
                    refusal = Some((place, error));
                }
            }
        }
        match refusal {
            None => Ok(answers),
            Some((place, cause)) => {
                Err(Error::Kernel { operation: batch.steps.swap_remove(place).operation, cause })
            }
        }
    }

    /// Asks for all objects of a kind.
    pub(crate) fn dump(
        &mut self,
        message: &impl NetlinkSerializable,
        operation: &str,
    ) -> Result<Vec<Answer>> {
        let mut payload = vec![0; message.buffer_len()];
        message.serialize(&mut payload);
        self.dump_raw(message.message_type(), &payload, operation)
    }

    /// The same with a request that is encoded already.
    pub(crate) fn dump_raw(
        &mut self,
        message_type: u16,
        payload: &[u8],
        operation: &str,
    ) -> Result<Vec<Answer>> {
        let mut batch = Batch::default();
        let step = Step { operation: operation.to_owned(), tolerated: &[], acknowledged: true };
        batch.push_bytes(message_type, NLM_F_DUMP, payload, step);
        let base = self.number(&mut batch);
        self.inner.send(&batch.bytes, 0).map_err(Error::kernel(operation))?;
        let mut answers = Vec::new();
        loop {
            for message in self.receive(operation)? {
                if message.sequence != base {
                    continue;
                }
                match message.kind {
                    NLMSG_DONE => return Ok(answers),
                    NLMSG_ERROR => match message.refusal(&[]) {
                        Some(cause) => {
                            return Err(Error::Kernel { operation: operation.to_owned(), cause });
                        }
                        None => return Ok(answers),
                    },
                    kind => answers.push((kind, message.payload)),
                }
            }
        }
    }

    /// Gives the batch's messages their sequence numbers; returns the first.
    fn number(&mut self, batch: &mut Batch) -> u32 {
        let base = self.sequence.wrapping_add(1);
        let mut start = 0;
        while start < batch.bytes.len() {
            let length = read_u32(&batch.bytes[start..]) as usize;
            let place = read_u32(&batch.bytes[start + 8..]);
            let number = base.wrapping_add(place);
            batch.bytes[start + 8..start + 12].copy_from_slice(&number.to_ne_bytes());
            self.sequence = number;
            start += length.next_multiple_of(4);
        }
        base
    }

    fn receive(&mut self, operation: &str) -> Result<Vec<Message>> {
        self.buffer.clear();
        self.inner.recv(&mut self.buffer, 0).map_err(Error::kernel(operation))?;
        Ok(Message::parse_all(&self.buffer))
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inner.as_fd()
    }
}

#[derive(Debug)]
struct Message {
    kind: u16,
    flags: u16,
    sequence: u32,
    payload: Vec<u8>,
}

impl Message {
    fn parse_all(mut bytes: &[u8]) -> Vec<Self> {
        let mut messages = Vec::new();
        while bytes.len() >= HEADER {
            let length = read_u32(bytes) as usize;
            if length < HEADER || length > bytes.len() {
                break;
            }
            messages.push(Self {
                kind: read_u16(&bytes[4..]),
                flags: read_u16(&bytes[6..]),
                sequence: read_u32(&bytes[8..]),
                payload: bytes[HEADER..length].to_vec(),
            });
            bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
        }
        messages
    }

    /// What an acknowledgement says, if it is a refusal that isn't tolerated.
    fn refusal(&self, tolerated: &[Errno]) -> Option<io::Error> {
        let code = read_u32(&self.payload).cast_signed();
        if code == 0 {
            return None;
        }
        let errno = Errno::from_raw_os_error(-code);
        if tolerated.contains(&errno) {
            return None;
        }
        let error = io::Error::from(errno);
        // struct nlmsgerr: the code, the refused message's header, then attributes.
        let words = (self.flags & NLM_F_ACK_TLVS != 0)
            .then(|| attribute(self.payload.get(4 + HEADER..)?, NLMSGERR_ATTR_MSG))
            .flatten()
            .map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        Some(match words {
            Some(words) => io::Error::new(error.kind(), format!("{error}: {words}")),
            None => error,
        })
    }
}

/// The value of the first attribute of this type in a row of attributes (netlink(7)).
pub(crate) fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    const TYPE_MASK: u16 = 0x3fff;
    while bytes.len() >= 4 {
        let length = usize::from(read_u16(bytes));
        let kind = read_u16(&bytes[2..]) & TYPE_MASK;
        if length < 4 || length > bytes.len() {
            return None;
        }
        if kind == wanted {
            return Some(&bytes[4..length]);
        }
        bytes = &bytes[length.next_multiple_of(4).min(bytes.len())..];
    }
    None
}

fn read_u16(bytes: &[u8]) -> u16 {
    bytes.first_chunk().map_or(0, |bytes| u16::from_ne_bytes(*bytes))
}

fn read_u32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_found_behind_others() {
        let bytes = [5, 0, 1, 0, 7, 0, 0, 0, 8, 0, 2, 0x80, 1, 2, 3, 4];
        assert_eq!(attribute(&bytes, 2), Some(&[1, 2, 3, 4][..]));
        assert_eq!(attribute(&bytes, 1), Some(&[7][..]));
        assert_eq!(attribute(&bytes, 3), None);
        assert_eq!(attribute(&[200, 0, 1, 0], 1), None);
    }

    #[test]
    fn damaged_messages_end_the_parse() {
        let mut bytes = vec![0; 40];
        bytes[0] = 20;
        bytes[20] = 3;
        assert_eq!(Message::parse_all(&bytes).len(), 1);
    }
}
