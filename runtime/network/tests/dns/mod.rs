//! A resolver as programs in containers have one: it tells a lost question from a refused one (RFC 1035).

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    reason = "each test program uses a part of it"
)]

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

const HEADER: usize = 12;
const NO_SUCH_NAME: u8 = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    A = 1,
    Ptr = 12,
    Aaaa = 28,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name exists, with these addresses or names.
    Records(Vec<String>),
    NoSuchName,
    /// Another response code.
    Code(u8),
    /// No answer came in time.
    Lost,
    /// The port is closed: a resolver gives up at once.
    Refused,
}

impl Answer {
    pub fn of(values: &[impl ToString]) -> Self {
        Self::Records(values.iter().map(ToString::to_string).collect())
    }
}

/// Asks once, from the network namespace of the calling thread.
pub fn ask(server: IpAddr, name: &str, kind: Kind, patience: Duration) -> Answer {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.connect((server, 53)).unwrap();
    socket.set_read_timeout(Some(patience)).unwrap();
    let question = question(name, kind);
    let mut buffer = [0; 4096];
    match socket.send(&question).and_then(|_| socket.recv(&mut buffer)) {
        Ok(length) => read(&buffer[..length], kind),
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Answer::Refused,
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Answer::Lost,
        Err(error) => panic!("{server}: {error}"),
    }
}

/// The name under which an address is looked up.
pub fn reverse(address: IpAddr) -> String {
    let (digits, domain): (Vec<String>, _) = match address {
        IpAddr::V4(address) => (address.octets().iter().map(u8::to_string).collect(), "in-addr.arpa"),
        IpAddr::V6(address) => {
            let octets = address.octets();
            let digits = octets.iter().flat_map(|byte| [byte >> 4, byte & 15]);
            (digits.map(|digit| format!("{digit:x}")).collect(), "ip6.arpa")
        }
    };
    let reversed: Vec<&str> = digits.iter().rev().map(String::as_str).collect();
    format!("{}.{domain}", reversed.join("."))
}

fn question(name: &str, kind: Kind) -> Vec<u8> {
    let mut message = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0".to_vec();
    for label in name.split('.') {
        message.push(label.len().try_into().unwrap());
        message.extend(label.as_bytes());
    }
    message.extend([0, 0, kind as u8, 0, 1]);
    message
}

fn read(message: &[u8], kind: Kind) -> Answer {
    match message[3] & 15 {
        0 => {}
        NO_SUCH_NAME => return Answer::NoSuchName,
        code => return Answer::Code(code),
    }
    let (_, end) = read_name(message, HEADER);
    let mut at = end + 4;
    let mut records = Vec::new();
    for _ in 0..u16::from_be_bytes([message[6], message[7]]) {
        let fixed = read_name(message, at).1;
        let length = usize::from(u16::from_be_bytes([message[fixed + 8], message[fixed + 9]]));
        let data = &message[fixed + 10..fixed + 10 + length];
        if message[fixed..fixed + 2] == [0, kind as u8] {
            records.push(match kind {
                Kind::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).unwrap()).to_string(),
                Kind::Aaaa => Ipv6Addr::from(<[u8; 16]>::try_from(data).unwrap()).to_string(),
                Kind::Ptr => read_name(message, fixed + 10).0,
            });
        }
        at = fixed + 10 + length;
    }
    Answer::Records(records)
}

/// A name, which may end in a reference to an earlier one, and where the next thing begins.
fn read_name(message: &[u8], mut at: usize) -> (String, usize) {
    let mut labels = Vec::new();
    let mut end = None;
    loop {
        let length = usize::from(message[at]);
        if length >= 0xc0 {
            end.get_or_insert(at + 2);
            at = (length & 0x3f) << 8 | usize::from(message[at + 1]);
        } else if length == 0 {
            return (labels.join("."), end.unwrap_or(at + 1));
        } else {
            labels.push(String::from_utf8_lossy(&message[at + 1..=at + length]).into_owned());
            at += 1 + length;
        }
    }
}

/// A server of the world outside: it gives one address for every name, and remembers what it was asked.
pub struct Upstream {
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Upstream {
    /// Listens on an address of the calling thread's network namespace, until the test ends.
    pub fn start(server: &str, address: [u8; 4]) -> Self {
        let socket = UdpSocket::bind((server, 53)).unwrap();
        let asked = Arc::new(Mutex::new(BTreeSet::new()));
        let memory = asked.clone();
        thread::spawn(move || {
            let mut buffer = [0; 512];
            while let Ok((length, asker)) = socket.recv_from(&mut buffer) {
                let (name, end) = read_name(&buffer[..length], HEADER);
                memory.lock().unwrap().insert(name);
                answer(&socket, &buffer[..end + 4], asker, address);
            }
        });
        Self { asked }
    }

    /// All names that it was asked for, as they were written.
    pub fn asked(&self) -> BTreeSet<String> {
        self.asked.lock().unwrap().clone()
    }
}

fn answer(socket: &UdpSocket, question: &[u8], asker: SocketAddr, address: [u8; 4]) {
    let is_a = question[question.len() - 3] == Kind::A as u8;
    let mut answer = question.to_vec();
    // A response, recursion available, one question, at most one answer, nothing else.
    answer[2..HEADER].copy_from_slice(&[0x81, 0x80, 0, 1, 0, u8::from(is_a), 0, 0, 0, 0]);
    if is_a {
        answer.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address);
    }
    // The asker may be gone.
    let _ = socket.send_to(&answer, asker);
}
