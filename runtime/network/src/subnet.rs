//! An address block in CIDR notation, IPv4 or IPv6.
//!
//! Arithmetic is done on `u128`, so that both families share one set of
//! functions; the family is kept by the address itself.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An address block such as `10.86.0.0/24` or `fd12:3456:789a:1::/64`.
///
/// The address is always the block's first one: host bits are cleared when a
/// value is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

impl Subnet {
    /// The block of `prefix` bits around `address`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if the prefix is longer than the address.
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self> {
        let bits = width(address);
        if prefix > bits {
            return Err(Error::Invalid {
                what: "subnet",
                value: format!("{address}/{prefix}"),
                why: format!("the prefix can have 0 to {bits} bits"),
            });
        }
        let first = to_bits(address) & !host_mask(bits, prefix);
        Ok(Self { address: from_bits(address, first), prefix })
    }

    /// The first address of the block.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that all its addresses share.
    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether this is an IPv6 block.
    pub fn is_ipv6(&self) -> bool {
        self.address.is_ipv6()
    }

    /// Whether `address` lies in this block.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.address.is_ipv4()
            && (to_bits(address) ^ to_bits(self.address)) & !self.host_mask() == 0
    }

    /// Whether the two blocks share an address.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    /// The address `offset` steps after the block's first one, if it is in the block.
    pub fn nth(&self, offset: u128) -> Option<IpAddr> {
        (offset <= self.host_mask()).then(|| from_bits(self.address, to_bits(self.address) + offset))
    }

    /// The last address of the block.
    pub fn last(&self) -> IpAddr {
        from_bits(self.address, to_bits(self.address) | self.host_mask())
    }

    /// How far `address` is from the block's first address.
    pub(crate) fn offset(&self, address: IpAddr) -> u128 {
        to_bits(address) - to_bits(self.address)
    }

    /// The offsets that a host may have: the network address and IPv4's
    /// broadcast address are nobody's, except in blocks of one or two addresses
    /// (RFC 3021, RFC 6164).
    pub(crate) fn host_offsets(&self) -> (u128, u128) {
        let last = self.host_mask();
        match (last, self.is_ipv6()) {
            (0 | 1, _) => (0, last),
            (_, true) => (1, last),
            (_, false) => (1, last - 1),
        }
    }

    fn host_mask(&self) -> u128 {
        host_mask(width(self.address), self.prefix)
    }
}

/// The number of bits of an address of this family.
pub(crate) fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn host_mask(bits: u8, prefix: u8) -> u128 {
    match bits - prefix {
        128 => u128::MAX,
        host => (1 << host) - 1,
    }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

/// The address with these bits, of the same family as `like`.
#[allow(clippy::cast_possible_truncation)]
fn from_bits(like: IpAddr, bits: u128) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::from_bits(bits as u32).into(),
        IpAddr::V6(_) => Ipv6Addr::from_bits(bits).into(),
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Subnet {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::Invalid {
            what: "subnet",
            value: text.to_owned(),
            why: "expected an address and a prefix length, such as 10.86.5.0/24".to_owned(),
        };
        let (address, prefix) = text.split_once('/').ok_or_else(invalid)?;
        let address = address.parse().map_err(|_| invalid())?;
        let prefix = prefix.parse().map_err(|_| invalid())?;
        Self::new(address, prefix)
    }
}

impl TryFrom<String> for Subnet {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn host_bits_are_cleared() {
        assert_eq!(subnet("10.86.5.77/24").to_string(), "10.86.5.0/24");
        assert_eq!(subnet("fd00::5/64").to_string(), "fd00::/64");
        assert_eq!(subnet("0.0.0.0/0").to_string(), "0.0.0.0/0");
        assert_eq!(
            subnet("::/0").nth(u128::MAX).unwrap().to_string(),
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
        );
    }

    #[test]
    fn nonsense_is_refused() {
        for text in ["", "10.0.0.0", "10.0.0.0/33", "fd00::/129", "a/8", "10.0.0.0/-1"] {
            assert!(text.parse::<Subnet>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn hosts_exclude_network_and_broadcast() {
        assert_eq!(subnet("10.0.0.0/24").host_offsets(), (1, 254));
        assert_eq!(subnet("10.0.0.0/31").host_offsets(), (0, 1));
        assert_eq!(subnet("10.0.0.1/32").host_offsets(), (0, 0));
        assert_eq!(subnet("fd00::/126").host_offsets(), (1, 3));
    }

    proptest! {
        #[test]
        fn overlap_means_a_shared_address(a: u32, b: u32, p in 0u8..=32, q in 0u8..=32) {
            let a = Subnet::new(Ipv4Addr::from_bits(a).into(), p).unwrap();
            let b = Subnet::new(Ipv4Addr::from_bits(b).into(), q).unwrap();
            let (narrow, wide) = if p > q { (a, b) } else { (b, a) };
            prop_assert_eq!(a.overlaps(&b), wide.contains(narrow.address()));
            prop_assert_eq!(a.overlaps(&b), b.overlaps(&a));
        }

        #[test]
        fn offset_is_the_inverse_of_nth(bits: u128, prefix in 0u8..=128, offset: u128) {
            let block = Subnet::new(Ipv6Addr::from_bits(bits).into(), prefix).unwrap();
            if let Some(address) = block.nth(offset) {
                prop_assert!(block.contains(address));
                prop_assert_eq!(block.offset(address), offset);
            }
        }
    }
}
