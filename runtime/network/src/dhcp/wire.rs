//! A packet socket on one interface (packet(7)): messages from and to machines that
//! have no address of ours yet, or no longer.

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Instant;

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{LinkAddr, SockaddrLike as _};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType, eth, recv, send, socket_with,
};

use super::frame::{self, Way};

/// Room for one frame. Answers are smaller; what is longer is no answer.
const FRAME: usize = 2048;

/// The socket. It stays on its interface and in its namespace for as long as it lives.
#[derive(Debug)]
pub(super) struct Wire {
    socket: OwnedFd,
    mac: [u8; 6],
}

/// A message that a server has sent.
#[derive(Debug)]
pub(super) struct Received {
    /// The machine that the frame came from: the server, or the way to it.
    pub(super) from: [u8; 6],
    /// Who says that it has sent it.
    pub(super) source: Ipv4Addr,
    pub(super) message: Vec<u8>,
}

impl Wire {
    /// Opens a socket on an interface of the calling thread's namespace; it must be up.
    ///
    /// # Errors
    /// There is no such Ethernet interface; the kernel's.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let (socket, mac) = socket(interface, eth::IP)?;
        Ok(Self { socket, mac })
    }

    /// The interface's own address.
    pub(super) fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Sends a client's message.
    pub(super) fn send(&self, way: &Way, message: &[u8]) -> io::Result<()> {
        send(&self.socket, &frame::encode(way, message), SendFlags::DONTWAIT)?;
        Ok(())
    }

    /// Waits for the next message of a server; absent when it is `until`.
    pub(super) fn receive(&self, until: Instant) -> io::Result<Option<Received>> {
        listen(&self.socket, until, |frame| {
            let (way, message) = frame::decode(frame)?;
            Some(Received { from: way.source_mac, source: way.source, message: message.to_vec() })
        })
    }
}

/// A packet socket for the frames of one protocol on an interface, and the interface's MAC address.
pub(super) fn socket(interface: &str, protocol: Protocol) -> io::Result<(OwnedFd, [u8; 6])> {
    let link = link(interface)?;
    let mac = link.addr().ok_or(Errno::AFNOSUPPORT)?;
    let socket = socket_with(AddressFamily::PACKET, SocketType::RAW, SocketFlags::CLOEXEC, Some(protocol))?;
    nix::sys::socket::bind(socket.as_raw_fd(), &link)?;
    Ok((socket, mac))
}

/// Waits for the next frame that `decode` can make something of; absent when it is `until`.
pub(super) fn listen<T>(
    socket: &OwnedFd,
    until: Instant,
    decode: impl Fn(&[u8]) -> Option<T>,
) -> io::Result<Option<T>> {
    let mut buffer = vec![0; FRAME];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        // Looked at on every turn: whoever floods the link must not keep us.
        if left.is_zero() {
            return Ok(None);
        }
        let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let length = match recv(socket, &mut buffer[..], RecvFlags::DONTWAIT) {
            Ok((length, _)) => length,
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if let Some(decoded) = decode(&buffer[..length]) {
            return Ok(Some(decoded));
        }
    }
}

/// Whether a frame that couldn't be sent is as good as one that was lost: the link is busy, or comes up.
pub(super) fn is_passing(error: &io::Error) -> bool {
    use io::ErrorKind::{NetworkDown, WouldBlock};
    matches!(error.kind(), NetworkDown | WouldBlock)
        || error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error())
}

/// The link-layer address of an interface: index and MAC address.
fn link(interface: &str) -> io::Result<LinkAddr> {
    let is_it = |address: &nix::ifaddrs::InterfaceAddress| address.interface_name == interface;
    let links = getifaddrs()?.filter(is_it).filter_map(|address| address.address);
    let mut links = links.filter_map(|address| address.as_link_addr().copied());
    links.next().filter(|link| link.len() > 0).ok_or_else(|| Errno::NODEV.into())
}
