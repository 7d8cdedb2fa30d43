//! A DHCP server that grants 192.0.2.77 to whoever asks, on a link of the test's own.

#![allow(unreachable_pub, missing_debug_implementations, reason = "a module of a test program")]

use std::io::ErrorKind;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::host::ip;

/// Between two looks whether the test is over.
const TURN: Duration = Duration::from_millis(50);
/// How long a client's word may be under way.
const PATIENCE: Duration = Duration::from_secs(10);

const DISCOVER: u8 = 1;
const OFFER: u8 = 2;
const REQUEST: u8 = 3;
const ACK: u8 = 5;
const RELEASE: u8 = 7;

/// The server, which ends with the test.
pub struct DhcpServer {
    is_over: Arc<AtomicBool>,
    is_granted: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl DhcpServer {
    /// Serves the machines at the other end of `interface`, in the calling thread's network namespace.
    pub fn start(interface: &str) -> Self {
        ip(&format!("link set {interface} up"));
        ip(&format!("addr add 192.0.2.1/24 dev {interface}"));
        ip(&format!("route add 255.255.255.255 dev {interface}"));
        let socket = UdpSocket::bind("0.0.0.0:67").unwrap();
        socket.set_broadcast(true).unwrap();
        socket.set_read_timeout(Some(TURN)).unwrap();
        let (is_over, is_granted) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        let (over, granted) = (Arc::clone(&is_over), Arc::clone(&is_granted));
        let thread = thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                serve(&socket, &granted);
            }
        });
        Self { is_over, is_granted, thread: Some(thread) }
    }

    /// Waits until the address has come back; tells whether it has.
    pub fn is_free_soon(&self) -> bool {
        let end = Instant::now() + PATIENCE;
        while self.is_granted.load(Ordering::Relaxed) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        !self.is_granted.load(Ordering::Relaxed)
    }
}

impl Drop for DhcpServer {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Answers one question.
fn serve(socket: &UdpSocket, is_granted: &AtomicBool) {
    let mut buffer = [0; 2048];
    let length = match socket.recv(&mut buffer) {
        Ok(length) => length,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return,
        Err(error) => panic!("{error}"),
    };
    // The kind is the first option of our client.
    let kind = match buffer[..length].get(242) {
        Some(&DISCOVER) => OFFER,
        Some(&REQUEST) => ACK,
        Some(&RELEASE) => return is_granted.store(false, Ordering::Relaxed),
        _ => return,
    };
    is_granted.fetch_or(kind == ACK, Ordering::Relaxed);
    let mut answer = buffer[..240].to_vec();
    answer[0] = 2;
    answer[16..20].copy_from_slice(&[192, 0, 2, 77]);
    answer.extend([53, 1, kind, 54, 4, 192, 0, 2, 1, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 255]);
    let _ = socket.send_to(&answer, "255.255.255.255:68");
}
