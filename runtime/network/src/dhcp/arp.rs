//! Whether somebody on the link has an address already: ARP probes (RFC 5227, section 2.1).
//!
//! A server knows what it has granted, not who has set an address by hand, and RFC 2131
//! (section 4.4.1) wants its clients to look. The times of RFC 5227, up to seven seconds, are
//! for the slowest of links; on today's a machine answers within milliseconds, and the
//! three probes take [`PROBE_TIME`].

use std::io;
use std::net::Ipv4Addr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::net::{SendFlags, eth, send};

use super::frame::EVERYONE;
use super::wire;
use crate::mac::Mac;

/// So many questions, as any may be lost.
const PROBES: u32 = 3;
/// How long all of it takes where nobody answers.
const PROBE_TIME: Duration = Duration::from_millis(200);

const ETHERNET: usize = 14;
/// Ethernet and IPv4, with addresses of 6 and of 4 bytes.
const FORM: [u8; 8] = [0x08, 0x06, 0, 1, 0x08, 0x00, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;
const LENGTH: usize = ETHERNET + 28;

/// A socket for ARP on one interface. It stays in its namespace for as long as it lives.
#[derive(Debug)]
pub(super) struct Arp {
    socket: OwnedFd,
    mac: [u8; 6],
}

impl Arp {
    /// Opens a socket on an interface of the calling thread's namespace; it must be up.
    ///
    /// # Errors
    /// There is no such Ethernet interface; the kernel's.
    pub(super) fn open(interface: &str) -> io::Result<Self> {
        let (socket, mac) = wire::socket(interface, eth::ARP)?;
        Ok(Self { socket, mac })
    }

    /// Asks the link for an address; the machine that has it, or wants it right now as we do.
    ///
    /// # Errors
    /// The kernel's.
    pub(super) fn owner(&self, address: Ipv4Addr) -> io::Result<Option<Mac>> {
        for _ in 0..PROBES {
            match send(&self.socket, &probe(self.mac, address), SendFlags::DONTWAIT).map_err(io::Error::from)
            {
                // As good as a lost packet.
                Err(error) if wire::is_passing(&error) => {}
                sent => drop(sent?),
            }
            let until = Instant::now() + PROBE_TIME / PROBES;
            let heard = |frame: &[u8]| owner(frame, self.mac, address);
            if let Some(owner) = wire::listen(&self.socket, until, heard)? {
                return Ok(Some(Mac(owner)));
            }
        }
        Ok(None)
    }
}

/// A question for an address by a machine that has none yet, so that nobody remembers it.
fn probe(mac: [u8; 6], address: Ipv4Addr) -> Vec<u8> {
    let mut frame = Vec::with_capacity(LENGTH);
    frame.extend(EVERYONE);
    frame.extend(mac);
    frame.extend(FORM);
    frame.extend(REQUEST.to_be_bytes());
    frame.extend(mac);
    frame.extend(Ipv4Addr::UNSPECIFIED.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

/// The machine that shows in a frame that it has an address, or that it probes for it as well; absent for all
/// other frames.
///
/// What comes from our own MAC address is ours, come back by a loop of the link, or of the same container, whose
/// last namespace the kernel hasn't done away with yet. Where containers share a MAC address (ipvlan), the kernel
/// itself refuses an address that another of them has.
pub(super) fn owner(frame: &[u8], mac: [u8; 6], address: Ipv4Addr) -> Option<[u8; 6]> {
    let frame = frame.first_chunk::<LENGTH>()?;
    let operation = u16::from_be_bytes([frame[20], frame[21]]);
    let sender: [u8; 6] = *frame[22..].first_chunk()?;
    let is_arp = frame[12..20] == FORM && [REQUEST, REPLY].contains(&operation);
    let is_machine = sender != mac && sender != [0; 6] && sender[0] & 1 == 0;
    let has_it = frame[28..32] == address.octets();
    let wants_it = operation == REQUEST && frame[28..32] == [0; 4] && frame[38..42] == address.octets();
    (is_arp && is_machine && (has_it || wants_it)).then_some(sender)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: [u8; 6] = [2, 0, 0, 0, 0, 9];
    const OTHER: [u8; 6] = [2, 0, 0, 0, 0, 8];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 3, 0, 77);

    /// What the other machine says, if it has `sender`.
    fn frame(operation: u16, sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
        let mut frame = probe(OTHER, target);
        frame[20..22].copy_from_slice(&operation.to_be_bytes());
        frame[28..32].copy_from_slice(&sender.octets());
        frame
    }

    #[test]
    fn who_has_or_wants_an_address_is_its_owner() {
        let (elsewhere, nothing) = (Ipv4Addr::new(10, 3, 0, 78), Ipv4Addr::UNSPECIFIED);
        for (frame, is_owner, what) in [
            (frame(REPLY, ADDRESS, nothing), true, "an answer"),
            (frame(REQUEST, ADDRESS, elsewhere), true, "another question of its owner"),
            (frame(REQUEST, nothing, ADDRESS), true, "a probe like ours"),
            (frame(REQUEST, elsewhere, ADDRESS), false, "a question for the address"),
            (frame(REPLY, elsewhere, ADDRESS), false, "another's answer"),
            (frame(REPLY, nothing, ADDRESS), false, "an answer of nobody"),
            (frame(3, ADDRESS, nothing), false, "reverse ARP"),
            (probe(OWN, ADDRESS), false, "our own probe"),
        ] {
            assert_eq!(owner(&frame, OWN, ADDRESS), is_owner.then_some(OTHER), "{what}");
            assert_eq!(owner(&frame[..LENGTH - 1], OWN, ADDRESS), None, "{what}, cut off");
        }
        for at in 12..20 {
            let mut frame = frame(REPLY, ADDRESS, nothing);
            frame[at] ^= 1;
            assert_eq!(owner(&frame, OWN, ADDRESS), None, "byte {at} isn't that of ARP");
        }
        let mut frame = frame(REPLY, ADDRESS, nothing);
        frame[22] |= 1;
        assert_eq!(owner(&frame, OWN, ADDRESS), None, "no machine has a group's MAC address");
    }
}
