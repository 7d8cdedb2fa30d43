//! MAC addresses.

use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::str::FromStr;

use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// How those begin that go with IP addresses.
const OF_ADDRESSES: [u8; 2] = [0x5a, 0x6d];

/// A MAC address of one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mac(pub(crate) [u8; 6]);

impl Mac {
    /// The address that goes with an IP address: locally administered, and always
    /// the same, so that a neighbour's ARP entry stays right when the IP address
    /// passes from one container to the next. The rule that we ship for udev knows bridges of ours by its beginning.
    pub(crate) fn of(address: IpAddr) -> Self {
        let [a, b, c, d] = match address {
            IpAddr::V4(address) => address.octets(),
            IpAddr::V6(address) => {
                let octets = address.octets();
                [octets[12], octets[13], octets[14], octets[15]]
            }
        };
        let [first, second] = OF_ADDRESSES;
        Self([first, second, a, b, c, d])
    }

    /// Whether it is an address that goes with an IP address: that of a bridge of ours is one.
    pub(crate) fn goes_with_an_address(&self) -> bool {
        self.0.starts_with(&OF_ADDRESSES)
    }

    /// The address of an interface that has no IP address of ours: always the same for
    /// the container of this name on this host, so that a DHCP server knows it again.
    pub(crate) fn of_interface(name: &str, interface: &str) -> Self {
        let machine = fs::read("/etc/machine-id").unwrap_or_default();
        let sum = Sha256::new()
            .chain_update(machine.trim_ascii())
            .chain_update(format!(" {name} {interface}"))
            .finalize();
        // 5a:6e beside those of IP addresses, which have 5a:6d.
        Self([0x5a, 0x6e, sum[0], sum[1], sum[2], sum[3]])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl FromStr for Mac {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid =
            |why: &str| Error::Invalid { what: "MAC address", value: text.to_owned(), why: why.to_owned() };
        let form = "expected six pairs of hexadecimal digits, such as 02:11:22:33:44:55";
        let mut octets = [0; 6];
        let mut parts = text.split([':', '-']);
        for octet in &mut octets {
            let part = parts.next().ok_or_else(|| invalid(form))?;
            if part.len() != 2 {
                return Err(invalid(form));
            }
            *octet = u8::from_str_radix(part, 16).map_err(|_| invalid(form))?;
        }
        if parts.next().is_some() {
            return Err(invalid(form));
        }
        if octets[0] & 1 != 0 || octets == [0; 6] {
            return Err(invalid("this is no address of a single interface"));
        }
        Ok(Self(octets))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_keeps_its_address() {
        let mac = Mac::of_interface("abc", "eth0");
        assert_eq!(mac, Mac::of_interface("abc", "eth0"));
        assert_ne!(mac, Mac::of_interface("abc", "eth1"));
        assert_ne!(mac, Mac::of_interface("abd", "eth0"));
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
    }

    #[test]
    fn texts_and_addresses() {
        let mac = Mac::of("10.86.0.7".parse().unwrap());
        assert_eq!(mac.to_string(), "5a:6d:0a:56:00:07");
        assert_eq!(mac.to_string().parse::<Mac>().unwrap(), mac);
        for text in
            ["", "02:11", "02:11:22:33:44:55:66", "zz:11:22:33:44:55", "01:00:5e:00:00:01", "2:1:2:3:4:5"]
        {
            assert!(text.parse::<Mac>().is_err(), "{text:?}");
        }
    }
}
