//! One question to a name server: does it know this name yet? (RFC 1035)

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::thread::sleep;
use std::time::{Duration, Instant};

const DNS_PORT: u16 = 53;
const TYPE_A: u16 = 1;
const TYPE_AAAA: u16 = 28;
const CLASS_IN: u16 = 1;
const RECURSION_DESIRED: u16 = 0x0100;
const LONGEST_LABEL: usize = 63;
/// Length of a message's header.
const HEADER: usize = 12;

/// How long to wait for one answer; the server drops questions while it reads its
/// files.
const ANSWER: Duration = Duration::from_millis(20);
/// How long to wait before the same question again.
const PAUSE: Duration = Duration::from_millis(2);

/// A question, and the answer that is right.
#[derive(Debug)]
pub(crate) struct Query {
    message: Vec<u8>,
    wanted: Vec<u8>,
    server: SocketAddr,
}

impl Query {
    /// Asks `server` whether `name` has `address`. Absent for a name that no
    /// question can carry.
    pub(crate) fn new(name: &str, address: IpAddr, server: IpAddr) -> Option<Self> {
        let (kind, wanted) = match address {
            IpAddr::V4(address) => (TYPE_A, address.octets().to_vec()),
            IpAddr::V6(address) => (TYPE_AAAA, address.octets().to_vec()),
        };
        let mut message = Vec::with_capacity(HEADER + name.len() + 6);
        // Id, flags, one question, no records.
        for field in [std::process::id() as u16, RECURSION_DESIRED, 1, 0, 0, 0] {
            message.extend(field.to_be_bytes());
        }
        for label in name.split('.') {
            if label.is_empty() || label.len() > LONGEST_LABEL {
                return None;
            }
            message.push(u8::try_from(label.len()).ok()?);
            message.extend(label.as_bytes());
        }
        message.push(0);
        message.extend(kind.to_be_bytes());
        message.extend(CLASS_IN.to_be_bytes());
        Some(Self { message, wanted, server: SocketAddr::new(server, DNS_PORT) })
    }

    /// The server that is asked.
    pub(crate) fn server(&self) -> SocketAddr {
        self.server
    }

    /// Asks again and again until the answer is right or the time is over.
    pub(crate) fn is_answered_within(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        loop {
            if self.ask().unwrap_or(false) {
                return true;
            }
            if Instant::now() > deadline {
                return false;
            }
            sleep(PAUSE);
        }
    }

    fn ask(&self) -> io::Result<bool> {
        let any: IpAddr = match self.server {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect(self.server)?;
        socket.set_read_timeout(Some(ANSWER))?;
        socket.send(&self.message)?;
        let mut answer = [0; 4096];
        let length = socket.recv(&mut answer)?;
        Ok(self.is_right(&answer[..length]))
    }

    /// Whether an answer to this very question has a record with the address.
    fn is_right(&self, answer: &[u8]) -> bool {
        answer.get(..2) == self.message.get(..2)
            && answer
                .get(HEADER..)
                .is_some_and(|rest| rest.windows(self.wanted.len()).any(|w| w == self.wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_encoded_by_label() {
        let address = IpAddr::from([10, 0, 0, 2]);
        let query = Query::new("web.dns", address, address).unwrap();
        assert_eq!(&query.message[HEADER..], b"\x03web\x03dns\0\0\x01\0\x01");
        assert!(Query::new("a..b", address, address).is_none());
        assert!(Query::new(&"x".repeat(64), address, address).is_none());
    }

    #[test]
    fn an_answer_needs_the_id_and_the_address() {
        let address = IpAddr::from([10, 0, 0, 2]);
        let query = Query::new("web", address, address).unwrap();
        let mut answer = query.message.clone();
        assert!(!query.is_right(&answer));
        answer.extend([10, 0, 0, 2]);
        assert!(query.is_right(&answer));
        answer[0] ^= 1;
        assert!(!query.is_right(&answer));
    }
}
