//! SCTP (RFC 9260) by sockets in the style of TCP's, which the standard library doesn't have.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, SocketFlags, SocketType, acceptfrom, bind, connect, ipproto, listen, socket_with,
};

use super::Container;

fn socket(family: AddressFamily) -> rustix::io::Result<OwnedFd> {
    socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, Some(ipproto::SCTP))
}

/// Whether the kernel has it, or a module of it that the socket loads.
pub fn is_there() -> bool {
    socket(AddressFamily::INET).is_ok()
}

/// A server of both families that tells each client his address.
pub fn serve(container: &Container, port: u16) {
    let listener = container.run(move || {
        let listener = socket(AddressFamily::INET6).unwrap();
        bind(&listener, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))).unwrap();
        listen(&listener, 64).unwrap();
        listener
    });
    thread::spawn(move || {
        while let Ok((stream, Some(peer))) = acceptfrom(&listener) {
            let peer = SocketAddr::try_from(peer).unwrap().ip().to_canonical();
            let _ = File::from(stream).write_all(peer.to_string().as_bytes());
        }
    });
}

/// What such a server says within this time.
pub fn get(target: SocketAddr, patience: Duration) -> Option<IpAddr> {
    let family = if target.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let stream = socket(family).unwrap();
    for timeout in [Timeout::Send, Timeout::Recv] {
        set_socket_timeout(&stream, timeout, Some(patience)).unwrap();
    }
    connect(&stream, &target).ok()?;
    let mut buffer = [0; 64];
    let length = File::from(stream).read(&mut buffer).ok()?;
    std::str::from_utf8(&buffer[..length]).ok()?.parse().ok()
}
