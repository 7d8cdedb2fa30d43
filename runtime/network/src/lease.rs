//! What a container holds of the networks: a [`Lease`], one JSON file each.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::config::Network;
use crate::dhcp::Dhcp;
use crate::driver::Driver;
use crate::port::PortMapping;
use crate::subnet::Subnet;

/// Who asks: a container, or a pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its id, 64 hexadecimal digits; the first 12 are a name of it in DNS.
    pub id: String,
    /// Its name, which other containers of the network can resolve.
    pub name: String,
}

/// What a container asks of one network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// The network's name.
    pub network: String,
    /// A fixed IPv4 address.
    pub ip: Option<IpAddr>,
    /// A fixed IPv6 address.
    pub ip6: Option<IpAddr>,
    /// A fixed MAC address, `02:11:22:33:44:55`.
    pub mac: Option<String>,
    /// Further names in DNS.
    pub aliases: Vec<String>,
    /// The name of the interface in the container; absent means `eth0`, `eth1`, ….
    pub interface: Option<String>,
    /// The name of the host's end of the pair of interfaces; absent means one of ours.
    pub host_interface: Option<String>,
    /// The servers that know the names of others; empty means those of the network, else the host's.
    pub resolvers: Vec<IpAddr>,
    /// The host name that a DHCP server is told; absent means the container's own name.
    pub hostname: Option<String>,
}

/// Everything that a container holds: addresses, links and ports.
///
/// It is kept in the runtime directory until [`release`](crate::Networks::release).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// The container.
    pub holder: Holder,
    /// One per network, in the order asked for.
    pub attachments: Vec<Attachment>,
    /// The name servers that the container should use; empty means the host's own.
    pub dns_servers: Vec<IpAddr>,
    /// The search domains that the container should use.
    pub search: Vec<String>,
    /// The published ports, every host port chosen.
    pub ports: Vec<PortMapping>,
    /// Those of them that don't lead to the container now: it is started on demand, and something else holds them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub withheld: Vec<PortMapping>,
    /// Others who are in the holder's network namespace, and whose names lead to its addresses: for a pod its
    /// containers.
    #[serde(default)]
    pub members: Vec<Holder>,
}

/// A container's place in one network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// The network as it was when the container joined.
    pub network: Network,
    /// The name of the interface in the container.
    pub interface: String,
    /// The name of the host's end of the pair; without a pair the name that the container's
    /// interface has while it is made.
    pub host_interface: String,
    /// The container's addresses, at most one per subnet.
    pub addresses: Vec<Address>,
    /// The addresses to send packets for elsewhere to; empty in an internal network.
    pub gateways: Vec<IpAddr>,
    /// The interface's MAC address, `02:11:22:33:44:55`.
    pub mac: String,
    /// Its names in DNS besides its own name and short id.
    pub aliases: Vec<String>,
    /// Where the network's name server asks for names that it doesn't know; empty means its own servers.
    #[serde(default)]
    pub resolvers: Vec<IpAddr>,
    /// Where the network's addresses come from a DHCP server: what it has granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dhcp: Option<Dhcp>,
}

/// An address together with the block it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Address {
    /// The container's address.
    pub address: IpAddr,
    /// The subnet it is in.
    pub subnet: Subnet,
}

impl std::fmt::Display for Address {
    /// CIDR notation of the address itself: `10.86.0.7/24`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.subnet.prefix())
    }
}

impl Attachment {
    /// The name of the host's end of a pair of interfaces; absent where the container's
    /// interface has no counterpart on the host.
    pub fn host_end(&self) -> Option<&str> {
        (self.network.driver == Driver::Bridge).then_some(self.host_interface.as_str())
    }
}

impl Lease {
    /// The lease of a container that joins no network (`--network none`).
    pub fn empty(holder: Holder) -> Self {
        Self {
            holder,
            attachments: Vec::new(),
            dns_servers: Vec::new(),
            search: Vec::new(),
            ports: Vec::new(),
            withheld: Vec::new(),
            members: Vec::new(),
        }
    }

    /// The address that published ports lead to: the first of the family, of a network that isn't internal if there is
    /// one.
    pub fn target(&self, ipv6: bool) -> Option<IpAddr> {
        let mut attachments: Vec<_> =
            self.attachments.iter().filter(|at| at.network.own_bridge().is_some()).collect();
        attachments.sort_by_key(|attachment| attachment.network.internal);
        let mut addresses = attachments.iter().flat_map(|attachment| &attachment.addresses);
        addresses.find(|address| address.address.is_ipv6() == ipv6).map(|address| address.address)
    }

    /// The container's addresses by network name.
    pub fn addresses(&self) -> BTreeMap<&str, Vec<IpAddr>> {
        self.attachments
            .iter()
            .map(|attachment| {
                let addresses = attachment.addresses.iter().map(|a| a.address).collect();
                (attachment.network.name.as_str(), addresses)
            })
            .collect()
    }
}
