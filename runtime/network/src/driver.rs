//! The kinds of network, and who gives out their addresses.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The kind of network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Driver {
    /// A bridge on the host, with one veth pair per container.
    #[default]
    Bridge,
    /// Interfaces with MAC addresses of their own on an interface of the host.
    Macvlan,
    /// Interfaces that share the MAC address of an interface of the host.
    Ipvlan,
}

impl Driver {
    /// Every driver.
    pub const ALL: [Self; 3] = [Self::Bridge, Self::Macvlan, Self::Ipvlan];

    /// The driver of this name; empty means [`Driver::Bridge`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a driver that there isn't.
    pub fn parse(name: &str) -> Result<Self> {
        if name.is_empty() {
            return Ok(Self::Bridge);
        }
        Self::ALL.into_iter().find(|driver| driver.name() == name).ok_or_else(|| Error::Invalid {
            what: "network driver",
            value: name.to_owned(),
            why: "there is no such driver; write bridge, macvlan or ipvlan".to_owned(),
        })
    }

    /// Its name in unit files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bridge => "bridge",
            Self::Macvlan => "macvlan",
            Self::Ipvlan => "ipvlan",
        }
    }
}

impl fmt::Display for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Who gives out the addresses of a network (`--ipam-driver`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ipam {
    /// We do, from the network's subnets.
    #[default]
    HostLocal,
    /// A DHCP server on the network.
    Dhcp,
    /// Nobody: interfaces get no addresses from outside the container.
    None,
}

impl Ipam {
    /// The one of this name; empty means what goes with the rest of the network.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that there isn't.
    pub fn parse(name: &str) -> Result<Option<Self>> {
        Ok(Some(match name {
            "" => return Ok(None),
            "host-local" => Self::HostLocal,
            "dhcp" => Self::Dhcp,
            "none" => Self::None,
            _ => {
                return Err(Error::Invalid {
                    what: "IPAM driver",
                    value: name.to_owned(),
                    why: "there is no such driver; write host-local, dhcp or none".to_owned(),
                });
            }
        }))
    }
}

impl fmt::Display for Ipam {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::HostLocal => "host-local",
            Self::Dhcp => "dhcp",
            Self::None => "none",
        })
    }
}

/// How the addresses of a network are given out, as Podman's network files have it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamOptions {
    /// Who gives them out.
    pub driver: Ipam,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_have_podmans_names() {
        for driver in Driver::ALL {
            assert_eq!(Driver::parse(driver.name()).unwrap(), driver);
            assert_eq!(serde_json::to_string(&driver).unwrap(), format!("{:?}", driver.name()));
        }
        assert_eq!(Driver::parse("").unwrap(), Driver::Bridge);
        let error = Driver::parse("overlay").unwrap_err().to_string();
        assert!(error.contains("overlay") && error.contains("macvlan"), "{error}");
    }

    #[test]
    fn ipam_drivers_have_podmans_names() {
        assert_eq!(Ipam::parse("host-local").unwrap(), Some(Ipam::HostLocal));
        assert_eq!(Ipam::parse("").unwrap(), None);
        assert_eq!(serde_json::to_string(&Ipam::HostLocal).unwrap(), r#""host-local""#);
        assert_eq!(serde_json::to_string(&Ipam::None).unwrap(), r#""none""#);
        let error = Ipam::parse("static").unwrap_err().to_string();
        assert!(error.contains("static") && error.contains("dhcp"), "{error}");
    }
}
