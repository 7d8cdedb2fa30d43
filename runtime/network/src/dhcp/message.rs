//! The form of DHCP messages: RFC 2131, section 2, with the options of RFC 2132.
//!
//! What comes from the network is read here and nowhere trusted: every length is
//! checked against what has arrived, and a message that isn't the answer to our own
//! question is no message. What the options mean is the matter of [`super::terms`].

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Options, by their code.
pub(super) mod code {
    pub(in crate::dhcp) const SUBNET_MASK: u8 = 1;
    pub(in crate::dhcp) const ROUTER: u8 = 3;
    pub(in crate::dhcp) const DNS_SERVER: u8 = 6;
    pub(in crate::dhcp) const HOST_NAME: u8 = 12;
    pub(in crate::dhcp) const DOMAIN: u8 = 15;
    pub(in crate::dhcp) const MTU: u8 = 26;
    pub(in crate::dhcp) const REQUESTED_ADDRESS: u8 = 50;
    pub(in crate::dhcp) const LEASE_TIME: u8 = 51;
    pub(in crate::dhcp) const OVERLOAD: u8 = 52;
    pub(in crate::dhcp) const MESSAGE_TYPE: u8 = 53;
    pub(in crate::dhcp) const SERVER: u8 = 54;
    pub(in crate::dhcp) const PARAMETERS: u8 = 55;
    pub(in crate::dhcp) const MESSAGE: u8 = 56;
    pub(in crate::dhcp) const MAXIMUM_SIZE: u8 = 57;
    pub(in crate::dhcp) const RENEWAL_TIME: u8 = 58;
    pub(in crate::dhcp) const REBINDING_TIME: u8 = 59;
    pub(in crate::dhcp) const CLIENT: u8 = 61;
    pub(in crate::dhcp) const SEARCH: u8 = 119;
    pub(in crate::dhcp) const CLASSLESS_ROUTES: u8 = 121;
}

const PAD: u8 = 0;
const END: u8 = 255;

const BOOT_REQUEST: u8 = 1;
const BOOT_REPLY: u8 = 2;
const ETHERNET: u8 = 1;
pub(super) const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// `flags`: answer by broadcast, we can't be reached by address yet.
const BROADCAST: u16 = 0x8000;

/// Where the fields begin.
const XID: usize = 4;
const YIADDR: usize = 16;
const CHADDR: usize = 28;
const SNAME: usize = 44;
const FILE: usize = 108;
const COOKIE_AT: usize = 236;
const OPTIONS: usize = 240;
/// BOOTP's length; relays of old drop what is shorter.
const SHORTEST: usize = 300;

/// What a message is for (RFC 2132, section 9.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
}

/// What a client says.
#[derive(Clone, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) kind: Kind,
    /// Its answers have the same.
    pub(crate) xid: u32,
    /// Seconds since the client began.
    pub(crate) seconds: u16,
    pub(crate) broadcast: bool,
    /// The address that the client has and answers to; unspecified if none.
    pub(crate) address: Ipv4Addr,
    pub(crate) mac: [u8; 6],
    /// In this order; none longer than 255 bytes.
    pub(crate) options: Vec<(u8, &'a [u8])>,
}

impl Question<'_> {
    /// The bytes of it, without those of UDP and below.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![0; OPTIONS];
        bytes[..3].copy_from_slice(&[BOOT_REQUEST, ETHERNET, 6]);
        bytes[XID..8].copy_from_slice(&self.xid.to_be_bytes());
        bytes[8..10].copy_from_slice(&self.seconds.to_be_bytes());
        let flags = if self.broadcast { BROADCAST } else { 0 };
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        bytes[12..YIADDR].copy_from_slice(&self.address.octets());
        bytes[CHADDR..CHADDR + 6].copy_from_slice(&self.mac);
        bytes[COOKIE_AT..].copy_from_slice(&COOKIE);
        let kind = [self.kind as u8];
        for (code, value) in [(code::MESSAGE_TYPE, &kind[..])].into_iter().chain(self.options.iter().copied())
        {
            let Ok(length) = u8::try_from(value.len()) else { continue };
            bytes.extend([code, length]);
            bytes.extend(value);
        }
        bytes.push(END);
        bytes.resize(bytes.len().max(SHORTEST), PAD);
        bytes
    }
}

/// What a server says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: Kind,
    /// The address for the client.
    pub(crate) address: Ipv4Addr,
    options: BTreeMap<u8, Vec<u8>>,
}

impl Answer {
    /// Reads the answer to the question `xid` of the interface `mac`; absent for
    /// everything else that a network carries: other's answers, and nonsense.
    pub(crate) fn parse(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<Self> {
        let is_ours = bytes.get(..3)? == [BOOT_REPLY, ETHERNET, 6]
            && bytes.get(XID..XID + 4)? == xid.to_be_bytes()
            && bytes.get(CHADDR..CHADDR + 6)? == mac
            && bytes.get(COOKIE_AT..OPTIONS)? == COOKIE;
        if !is_ours {
            return None;
        }
        let mut options = BTreeMap::new();
        collect(bytes.get(OPTIONS..)?, &mut options)?;
        // Options may go on in fields that nobody needs any more (RFC 2131, section 4.1).
        let overload = options.get(&code::OVERLOAD).map_or(0, |value: &Vec<u8>| value[0]);
        if overload & 1 != 0 {
            collect(bytes.get(FILE..COOKIE_AT)?, &mut options)?;
        }
        if overload & 2 != 0 {
            collect(bytes.get(SNAME..FILE)?, &mut options)?;
        }
        let kind = match options.get(&code::MESSAGE_TYPE)?[..] {
            [2] => Kind::Offer,
            [5] => Kind::Ack,
            [6] => Kind::Nak,
            _ => return None,
        };
        let address = Ipv4Addr::from(*bytes.get(YIADDR..)?.first_chunk::<4>()?);
        Some(Self { kind, address, options })
    }

    /// The value of an option, never empty.
    pub(crate) fn option(&self, code: u8) -> Option<&[u8]> {
        self.options.get(&code).map(Vec::as_slice)
    }

    /// The address in an option; absent if it isn't exactly one.
    pub(crate) fn address(&self, code: u8) -> Option<Ipv4Addr> {
        let bytes: [u8; 4] = self.option(code)?.try_into().ok()?;
        Some(Ipv4Addr::from(bytes))
    }

    /// The addresses in an option; bytes that make no whole address are left out.
    pub(crate) fn addresses(&self, code: u8) -> impl Iterator<Item = Ipv4Addr> + '_ {
        let (addresses, _) = self.option(code).unwrap_or_default().as_chunks::<4>();
        addresses.iter().map(|octets| Ipv4Addr::from(*octets))
    }

    /// The seconds in an option.
    pub(crate) fn seconds(&self, code: u8) -> Option<u32> {
        Some(u32::from_be_bytes(self.option(code)?.try_into().ok()?))
    }

    /// The server that gives it.
    pub(crate) fn server(&self) -> Option<Ipv4Addr> {
        self.address(code::SERVER)
    }

    /// What the server says in words, without anything that would confuse a terminal.
    pub(crate) fn words(&self) -> Option<String> {
        let text = String::from_utf8_lossy(self.option(code::MESSAGE)?);
        let text: String = text.chars().filter(|c| !c.is_control()).collect();
        (!text.is_empty()).then_some(text)
    }
}

/// Adds a row of options; one that comes more than once goes on (RFC 3396). Absent if
/// one of them claims to be longer than the row.
fn collect(mut bytes: &[u8], options: &mut BTreeMap<u8, Vec<u8>>) -> Option<()> {
    loop {
        match *bytes {
            [] | [END, ..] => return Some(()),
            [PAD, ref rest @ ..] => bytes = rest,
            [code, length, ref rest @ ..] => {
                let (value, rest) = rest.split_at_checked(length.into())?;
                if !value.is_empty() {
                    options.entry(code).or_default().extend(value);
                }
                bytes = rest;
            }
            [_] => return None,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(in crate::dhcp) const MAC: [u8; 6] = [2, 0, 0, 0, 0, 9];

    /// An answer with these options, as a server would write it.
    pub(in crate::dhcp) fn answer(kind: Kind, address: [u8; 4], options: &[(u8, &[u8])]) -> Vec<u8> {
        let question = Question {
            kind,
            xid: 7,
            seconds: 0,
            broadcast: false,
            address: Ipv4Addr::UNSPECIFIED,
            mac: MAC,
            options: options.to_vec(),
        };
        let mut bytes = question.encode();
        bytes[0] = BOOT_REPLY;
        bytes[YIADDR..YIADDR + 4].copy_from_slice(&address);
        bytes
    }

    #[test]
    fn what_is_written_can_be_read() {
        let bytes = answer(
            Kind::Offer,
            [10, 0, 0, 5],
            &[(code::SERVER, &[10, 0, 0, 1]), (code::ROUTER, &[10, 0, 0, 1, 10, 0, 0, 2, 9])],
        );
        assert_eq!(bytes.len(), SHORTEST);
        let answer = Answer::parse(&bytes, 7, MAC).unwrap();
        assert_eq!((answer.kind, answer.address), (Kind::Offer, [10, 0, 0, 5].into()));
        assert_eq!(answer.server(), Some([10, 0, 0, 1].into()));
        assert_eq!(answer.addresses(code::ROUTER).count(), 2);
        assert_eq!(answer.addresses(code::DNS_SERVER).count(), 0);
    }

    #[test]
    fn what_is_for_others_is_no_answer() {
        let bytes = answer(Kind::Ack, [10, 0, 0, 5], &[]);
        assert!(Answer::parse(&bytes, 7, MAC).is_some());
        assert!(Answer::parse(&bytes, 8, MAC).is_none(), "another question's");
        assert!(Answer::parse(&bytes, 7, [2, 0, 0, 0, 0, 8]).is_none(), "another interface's");
        assert!(Answer::parse(&answer(Kind::Discover, [0; 4], &[]), 7, MAC).is_none(), "no server's");
        let mut other = bytes.clone();
        other[0] = BOOT_REQUEST;
        assert!(Answer::parse(&other, 7, MAC).is_none(), "a client's");
        let mut other = bytes.clone();
        other[COOKIE_AT] = 0;
        assert!(Answer::parse(&other, 7, MAC).is_none(), "BOOTP's");
        for length in 0..OPTIONS + 3 {
            assert!(Answer::parse(&bytes[..length], 7, MAC).is_none(), "{length} bytes");
        }
    }

    #[test]
    fn options_go_on_in_other_fields_and_in_parts() {
        let mut bytes = answer(Kind::Ack, [10, 0, 0, 5], &[(code::OVERLOAD, &[3]), (code::DOMAIN, b"exam")]);
        bytes[FILE..FILE + 5].copy_from_slice(&[code::DOMAIN, 2, b'p', b'l', END]);
        bytes[SNAME..SNAME + 4].copy_from_slice(&[code::DOMAIN, 1, b'e', END]);
        let answer = Answer::parse(&bytes, 7, MAC).unwrap();
        assert_eq!(answer.option(code::DOMAIN), Some(&b"example"[..]));
    }

    #[test]
    fn an_option_longer_than_the_message_spoils_it() {
        let mut bytes = answer(Kind::Ack, [10, 0, 0, 5], &[]);
        bytes.truncate(OPTIONS + 3);
        bytes.extend([code::DOMAIN, 200, b'x']);
        assert!(Answer::parse(&bytes, 7, MAC).is_none());
    }

    #[test]
    fn words_of_a_server_cant_move_the_cursor() {
        let bytes = answer(Kind::Nak, [0; 4], &[(code::MESSAGE, b"\x1b[2Jwrong\nnetwork\0")]);
        assert_eq!(Answer::parse(&bytes, 7, MAC).unwrap().words().unwrap(), "[2Jwrongnetwork");
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(mut bytes in proptest::collection::vec(any::<u8>(), 0..700), real in any::<bool>()) {
            if real && bytes.len() >= OPTIONS + 3 {
                let head = answer(Kind::Ack, [10, 0, 0, 5], &[]);
                bytes[..OPTIONS + 3].copy_from_slice(&head[..OPTIONS + 3]);
            }
            if let Some(answer) = Answer::parse(&bytes, 7, MAC) {
                let total: usize = answer.options.values().map(Vec::len).sum();
                prop_assert!(total <= bytes.len() + FILE);
                prop_assert!(answer.options.values().all(|value| !value.is_empty()));
            }
        }
    }
}
