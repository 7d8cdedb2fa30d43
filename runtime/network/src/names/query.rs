//! One question to a name server: which generation of its file does it know? (RFC 1035)

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::zone::MARKER;

pub(super) const DNS_PORT: u16 = 53;
const RECURSION_DESIRED: u16 = 0x0100;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Length of a message's header.
const HEADER: usize = 12;

/// How long to wait for an answer, at first and at most: servers before 1.11 drop questions while they read their
/// files. One that comes late is read the next time.
const ANSWER: Duration = Duration::from_millis(1);
const LONGEST_ANSWER: Duration = Duration::from_millis(16);
/// How long to wait before the same question again, at first and at most.
const PAUSE: Duration = Duration::from_micros(100);
const LONGEST_PAUSE: Duration = Duration::from_millis(2);

/// A question, and the generation from which on the answer is right.
#[derive(Debug)]
pub(super) struct Query {
    server: SocketAddr,
    wanted: u32,
    message: Vec<u8>,
    socket: UdpSocket,
    has_answered: Cell<bool>,
    fell_deaf: Cell<bool>,
}

impl Query {
    /// Asks `server`, an address of this host, for `wanted` or a later generation.
    ///
    /// # Errors
    /// Those of bind(2) and connect(2).
    pub(super) fn new(server: IpAddr, wanted: u32) -> io::Result<Self> {
        let server = SocketAddr::new(server, DNS_PORT);
        let any: IpAddr = match server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(server)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            server,
            wanted,
            message: question(),
            socket,
            has_answered: Cell::new(false),
            fell_deaf: Cell::new(false),
        })
    }

    /// The server that is asked.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Whether the server has answered, and then refused a question.
    pub(super) fn fell_deaf(&self) -> bool {
        self.fell_deaf.get()
    }

    /// Asks again and again until the answer is right or the time is over; without any time, once.
    pub(super) fn is_answered_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut patience = if time.is_zero() { LONGEST_ANSWER } else { ANSWER };
        let mut pause = PAUSE;
        loop {
            // While the server isn't there, the question is refused.
            let answer = self.ask(patience);
            let is_refusal = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionRefused;
            if answer.as_ref().is_err_and(is_refusal) && self.has_answered.get() {
                self.fell_deaf.set(true);
            }
            let answer = answer.ok().flatten();
            self.has_answered.set(self.has_answered.get() || answer.is_some());
            if answer.is_some_and(|known| reaches(known, self.wanted)) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
            patience = (patience * 2).min(LONGEST_ANSWER);
        }
    }

    /// Asks, and reads all answers that are there: also those to earlier questions, with an older generation.
    fn ask(&self, patience: Duration) -> io::Result<Option<u32>> {
        self.socket.send(&self.message)?;
        let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
        let patience = Timespec { tv_sec: 0, tv_nsec: patience.as_nanos() as _ };
        // Finer than the socket's own timeout, which the kernel counts in ticks.
        poll(&mut ready, Some(&patience))?;
        let mut answer = [0; 512];
        let mut known = None;
        loop {
            match self.socket.recv(&mut answer) {
                Ok(length) => known = generation(&self.message, &answer[..length]).or(known),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(known),
                Err(error) => return Err(error),
            }
        }
    }
}

fn question() -> Vec<u8> {
    // Id, flags, one question, no records.
    let mut message: Vec<u8> = [std::process::id() as u16, RECURSION_DESIRED, 1, 0, 0, 0]
        .into_iter()
        .flat_map(u16::to_be_bytes)
        .collect();
    message.push(MARKER.len() as u8);
    message.extend(MARKER.as_bytes());
    message.push(0);
    message.extend(TYPE_A.to_be_bytes());
    message.extend(CLASS_IN.to_be_bytes());
    message
}

/// The address in an answer to `question`: it ends with the only record, and the record with its address.
fn generation(question: &[u8], answer: &[u8]) -> Option<u32> {
    let is_answer = answer.len() > question.len()
        && answer[..2] == question[..2]
        && answer[HEADER..question.len()] == question[HEADER..];
    let address: [u8; 4] = *answer.last_chunk()?;
    is_answer.then(|| u32::from_be_bytes(address))
}

/// Whether a generation is `wanted` or a later one; they start again after the last one.
fn reaches(known: u32, wanted: u32) -> bool {
    known.wrapping_sub(wanted) <= u32::MAX / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_encoded_by_label() {
        assert_eq!(&question()[HEADER..], b"\x0b_generation\0\0\x01\0\x01");
    }

    #[test]
    fn an_answer_repeats_the_question() {
        let question = question();
        let mut answer = question.clone();
        assert_eq!(generation(&question, &answer), None, "it has no record");
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 1, 2]);
        assert_eq!(generation(&question, &answer), Some(258));
        answer[0] ^= 1;
        assert_eq!(generation(&question, &answer), None);
    }

    #[test]
    fn generations_go_round() {
        assert!(reaches(5, 5) && reaches(6, 5) && !reaches(4, 5));
        assert!(reaches(0, u32::MAX) && !reaches(u32::MAX, 0));
    }
}
