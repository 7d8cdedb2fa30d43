//! One question to a name server: which generation of its file does it know? (RFC 1035)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::zone::MARKER;

const DNS_PORT: u16 = 53;
const RECURSION_DESIRED: u16 = 0x0100;
const TYPE_A: u16 = 1;
const CLASS_IN: u16 = 1;
/// Length of a message's header.
const HEADER: usize = 12;

/// How long to wait for one answer; servers before 1.11 drop questions while they read their files.
const ANSWER: Duration = Duration::from_millis(10);
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
        socket.set_read_timeout(Some(ANSWER))?;
        Ok(Self { server, wanted, message: question(), socket })
    }

    /// The server that is asked.
    pub(super) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Asks again and again until the answer is right or the time is over; without any time, once.
    pub(super) fn is_answered_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut pause = PAUSE;
        loop {
            // While the server isn't there, the question is refused.
            if self.ask().is_ok_and(|answer| answer.is_some_and(|known| reaches(known, self.wanted))) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn ask(&self) -> io::Result<Option<u32>> {
        self.socket.send(&self.message)?;
        let mut answer = [0; 512];
        // It may be the answer to an earlier question of ours: an older generation, then.
        let length = self.socket.recv(&mut answer)?;
        Ok(generation(&self.message, &answer[..length]))
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
