//! Ports of the host: is one free, and if not, who has it.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::io::Errno;
use rustix::net::sockopt::{set_ipv6_v6only, set_socket_reuseaddr};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, ipproto, socket_with};
use rustix::process::Pid;

use crate::error::{Error, Result};
use crate::port::Protocol;

/// The state of a TCP socket that listens, as `/proc/net` has it.
pub(crate) const LISTEN: &str = "0A";

/// Proves that nobody on the host listens on this port.
///
/// Nothing keeps it free afterwards: packets for a published port are redirected
/// before any socket could see them. Listeners on addresses for which `is_kept` is true
/// do no harm to a port of every address: the firewall leaves them their packets.
///
/// # Errors
/// [`Error::PortInUse`] names the process that has it, if that can be found out;
/// [`Error::PortRefused`] if the host has no such address.
pub(crate) fn check(
    protocol: Protocol,
    port: u16,
    host_ip: Option<IpAddr>,
    is_kept: &dyn Fn(IpAddr) -> bool,
) -> Result<()> {
    let everywhere = host_ip.is_none_or(|address| address.is_unspecified());
    for address in addresses(host_ip) {
        match bound(protocol, SocketAddr::new(address, port)) {
            Ok(_) => {}
            Err(Errno::ADDRINUSE) => {
                let sockets = sockets_on(protocol, port, Some(address));
                let is_harmless = |socket: &Bound| socket.address.is_some_and(is_kept);
                if everywhere && !sockets.is_empty() && sockets.iter().all(is_harmless) {
                    continue;
                }
                return Err(Error::PortInUse {
                    address: host_ip,
                    port,
                    protocol,
                    holder: process_on(protocol, port, host_ip)
                        .unwrap_or_else(|| "another program".to_owned()),
                });
            }
            Err(errno) if host_ip.is_none() && address.is_ipv6() && is_absent(errno) => {}
            // The host has no SCTP sockets: nobody can listen on one.
            Err(Errno::PROTONOSUPPORT) => {}
            Err(errno) => {
                let cause = match errno {
                    Errno::ADDRNOTAVAIL => io::Error::other("the host doesn't have this address"),
                    errno => errno.into(),
                };
                return Err(Error::PortRefused { address: host_ip, port, protocol, cause });
            }
        }
    }
    Ok(())
}

/// A port that the kernel thinks is free on this address.
///
/// # Errors
/// [`Error::PortRefused`], as for [`check`].
pub(crate) fn suggest(protocol: Protocol, host_ip: Option<IpAddr>) -> Result<u16> {
    let address = host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    // Where there are no SCTP sockets, the ports of TCP are as good a guess.
    let socket = bound(protocol, SocketAddr::new(address, 0))
        .or_else(|_| bound(Protocol::Tcp, SocketAddr::new(address, 0)));
    socket
        .and_then(|socket| getsockname(&socket))
        .and_then(SocketAddr::try_from)
        .map(|address| address.port())
        .map_err(|errno| Error::PortRefused { address: host_ip, port: 0, protocol, cause: errno.into() })
}

/// The first and the last port that the kernel may suggest (ip-sysctl.rst in the kernel's
/// documentation).
pub(crate) fn range() -> (u16, u16) {
    const USUAL: (u16, u16) = (32768, 60999);
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut numbers = text.split_ascii_whitespace().map_while(|number| number.parse().ok());
    numbers.next().zip(numbers.next()).unwrap_or(USUAL)
}

/// The addresses to try: none given means both families.
fn addresses(host_ip: Option<IpAddr>) -> Vec<IpAddr> {
    match host_ip {
        Some(address) => vec![address],
        None => vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()],
    }
}

/// A kernel without IPv6 has no port of it to be taken.
fn is_absent(errno: Errno) -> bool {
    matches!(errno, Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL)
}

fn bound(protocol: Protocol, address: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SocketType::STREAM, ipproto::TCP),
        Protocol::Udp => (SocketType::DGRAM, ipproto::UDP),
        Protocol::Sctp => (SocketType::STREAM, ipproto::SCTP),
    };
    let socket = socket_with(family, kind, SocketFlags::CLOEXEC, Some(number))?;
    if address.is_ipv6() {
        set_ipv6_v6only(&socket, true)?;
    }
    if protocol == Protocol::Tcp {
        // Connections that linger in TIME_WAIT don't matter, listeners still do.
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &address)?;
    Ok(socket)
}

/// The program that listens on this port beside us, in words, as far as [`check`] would mind it: one
/// that came later, and gets nothing. A socket that systemd holds isn't one: containers that start on
/// demand have theirs.
pub(crate) fn listener(
    protocol: Protocol,
    port: u16,
    host_ip: Option<IpAddr>,
    is_kept: &dyn Fn(IpAddr) -> bool,
) -> Option<String> {
    let mut sockets = sockets_on(protocol, port, host_ip);
    sockets.retain(|socket| !socket.address.is_some_and(is_kept));
    holder(sockets).filter(|(pid, _)| *pid != 1).map(|(_, words)| words)
}

/// The process that has a socket on this port, in words: `nginx (pid 812, nginx.service)`.
fn process_on(protocol: Protocol, port: u16, host_ip: Option<IpAddr>) -> Option<String> {
    holder(sockets_on(protocol, port, host_ip)).map(|(_, words)| words)
}

/// The first process that has one of these sockets, and it in words.
fn holder(sockets: Vec<Bound>) -> Option<(u32, String)> {
    let inodes: Vec<String> = sockets.into_iter().map(|socket| socket.inode).collect();
    if inodes.is_empty() {
        return None;
    }
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        let pid = name.parse().ok()?;
        has_socket(&entry.path(), &inodes).then(|| (pid, describe(&entry.path(), &name)))
    })
}

/// Whether a process has a socket on this port.
pub(crate) fn is_held_by(pid: Pid, protocol: Protocol, port: u16, address: IpAddr) -> bool {
    let inodes: Vec<String> =
        sockets_on(protocol, port, Some(address)).into_iter().map(|socket| socket.inode).collect();
    has_socket(&Path::new("/proc").join(pid.as_raw_nonzero().to_string()), &inodes)
}

/// A socket that has a port.
struct Bound {
    /// Absent if it isn't one that we can read.
    address: Option<IpAddr>,
    /// As a link in `/proc/<pid>/fd` has it.
    inode: String,
}

/// The sockets on this port, from `/proc/net` (proc_pid_net(5)).
fn sockets_on(protocol: Protocol, port: u16, host_ip: Option<IpAddr>) -> Vec<Bound> {
    let mut sockets = Vec::new();
    for suffix in ["", "6"] {
        let path = format!("/proc/thread-self/net/{protocol}{suffix}");
        for line in fs::read_to_string(path).unwrap_or_default().lines().skip(1) {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let (Some(local), Some(state), Some(inode)) = (fields.get(1), fields.get(3), fields.get(9))
            else {
                continue;
            };
            let Some((address, number)) = local.rsplit_once(':') else { continue };
            let address = parse_address(address);
            let here = u16::from_str_radix(number, 16) == Ok(port) && shares_packets(&address, host_ip);
            if here && (protocol != Protocol::Tcp || *state == LISTEN) {
                sockets.push(Bound { address, inode: format!("socket:[{inode}]") });
            }
        }
    }
    sockets
}

/// A socket on `::` has IPv4's packets as well, unless it says otherwise.
fn shares_packets(address: &Option<IpAddr>, host_ip: Option<IpAddr>) -> bool {
    match address {
        Some(address) if address.is_unspecified() && address.is_ipv6() => true,
        address => crate::claims::overlap(*address, host_ip),
    }
}

/// An address as `/proc/net` has it: words of four bytes in the host's byte order.
pub(crate) fn parse_address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?;
        Some(word.to_ne_bytes())
    };
    if hex.len() == 8 {
        return Some(IpAddr::from(word(0)?));
    }
    let mut octets = [0; 16];
    for (chunk, at) in octets.chunks_exact_mut(4).zip([0, 8, 16, 24]) {
        chunk.copy_from_slice(&word(at)?);
    }
    Some(IpAddr::from(octets).to_canonical())
}

fn has_socket(process: &Path, inodes: &[String]) -> bool {
    fs::read_dir(process.join("fd")).is_ok_and(|descriptors| {
        descriptors.flatten().any(|descriptor| {
            fs::read_link(descriptor.path())
                .is_ok_and(|target| inodes.iter().any(|inode| target.as_os_str() == inode.as_str()))
        })
    })
}

fn describe(process: &Path, pid: &str) -> String {
    let command = fs::read_to_string(process.join("comm")).unwrap_or_default();
    let unit = fs::read_to_string(process.join("cgroup"))
        .ok()
        .and_then(|text| {
            text.lines()
                .flat_map(|line| line.split('/'))
                .rfind(|part| part.ends_with(".service") || part.ends_with(".socket"))
                .map(|unit| format!(", {unit}"))
        })
        .unwrap_or_default();
    format!("{} (pid {pid}{unit})", command.trim())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    fn check(protocol: Protocol, port: u16, host_ip: Option<IpAddr>) -> Result<()> {
        super::check(protocol, port, host_ip, &|_| false)
    }

    #[test]
    fn a_kept_listener_is_no_obstacle_to_a_port_of_all_addresses() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let localhost = Some(Ipv4Addr::LOCALHOST.into());
        super::check(Protocol::Tcp, port, None, &|address| Some(address) == localhost).unwrap();
        assert!(super::check(Protocol::Tcp, port, localhost, &|_| true).is_err());
        let _other = TcpListener::bind(("127.0.0.2", port)).unwrap();
        assert!(super::check(Protocol::Tcp, port, None, &|address| Some(address) == localhost).is_err());
    }

    #[test]
    fn a_listener_is_found_and_named() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let error = check(Protocol::Tcp, port, Some(Ipv4Addr::LOCALHOST.into())).unwrap_err();
        let text = error.to_string();
        let pid = format!("(pid {}", std::process::id());
        assert!(text.contains(&pid) && text.contains(&port.to_string()), "{text}");
        assert!(check(Protocol::Tcp, port, None).is_err());
        let beside = |is_kept| super::listener(Protocol::Tcp, port, None, &|_| is_kept);
        assert!(beside(false).is_some_and(|program| program.contains(&pid)));
        assert_eq!(beside(true), None);
        assert!(check(Protocol::Udp, port, Some(Ipv4Addr::LOCALHOST.into())).is_ok());
        drop(listener);
        check(Protocol::Tcp, port, None).unwrap();
    }

    #[test]
    fn udp_sockets_count() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        assert!(matches!(check(Protocol::Udp, port, None), Err(Error::PortInUse { .. })));
    }

    #[test]
    fn a_foreign_address_is_refused_in_words() {
        let foreign = Some("203.0.113.77".parse().unwrap());
        let text = check(Protocol::Tcp, 8080, foreign).unwrap_err().to_string();
        assert!(text.contains("203.0.113.77") && text.contains("doesn't have"), "{text}");
    }

    #[test]
    fn addresses_of_proc_net() {
        assert_eq!(parse_address("0100007F").unwrap().to_string(), "127.0.0.1");
        assert_eq!(parse_address("00000000000000000000000001000000").unwrap().to_string(), "::1");
        assert_eq!(parse_address("0000000000000000FFFF00000100007F").unwrap().to_string(), "127.0.0.1");
    }
}
