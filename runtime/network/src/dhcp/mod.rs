//! Addresses from the DHCP server of the network that a container is a machine of.
//!
//! - [`message`] and [`frame`]: what goes over the wire, and [`wire`] itself;
//! - [`arp`]: whether somebody else has an address;
//! - [`terms`]: what a server grants, once it makes sense;
//! - [`client`]: the conversation, [`identity`]: who we say we are, [`memory`]: what we had before;
//! - [`interface`]: the terms in the kernel;
//! - [`join`] at the start of a container, [`renew`] when a timer says so, [`leave`] at its end.
//!
//! Nothing stays in memory between two conversations, and no process waits for the next:
//! what was granted stands in the container's lease. The kernel takes an address away by
//! itself when its time is over and nobody has renewed it.

mod arp;
mod client;
mod frame;
mod fuzzing;
pub(crate) mod identity;
mod interface;
mod join;
mod leave;
pub(crate) mod memory;
mod message;
mod renew;
mod terms;
#[cfg(test)]
mod tests;
mod wire;

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

pub(crate) use self::fuzzing::fuzz;
pub(crate) use self::join::join;
pub(crate) use self::leave::leave;
pub use self::renew::Renewal;
pub(crate) use self::renew::renew;
pub use self::terms::{Route, Terms, Times};
use crate::error::Error;
use crate::lease::{Attachment, Lease};
use crate::mac::Mac;

/// How often to look for an address after one was lost.
const AFTER_LOSS: Duration = Duration::from_secs(60);

/// How long a conversation may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// What an interface has to do with the DHCP server of its network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dhcp {
    /// The client identifier (RFC 4361), in hexadecimal digits.
    pub client: String,
    /// The host name that the server is told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// What a server has granted last; absent before. The attachment has no address any more where it was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted: Option<Grant>,
    /// What the last conversation came to, in words.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub outcome: String,
}

/// What a server has granted, and when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// The address and what goes with it.
    #[serde(flatten)]
    pub terms: Terms,
    /// The MAC address of the server, or of the router that leads to it.
    pub server_mac: String,
    /// When it was granted, RFC 3339.
    pub since: String,
    /// The same in seconds since the host was booted: the hours count, not the clock.
    pub since_boot: u64,
}

impl Grant {
    fn new(granted: client::Granted) -> Self {
        Self {
            terms: granted.terms,
            server_mac: Mac(granted.server_mac).to_string(),
            since: jiff::Timestamp::now().to_string(),
            since_boot: since_boot(),
        }
    }

    /// When the server is asked for more time, RFC 3339; absent means never.
    pub fn renews(&self) -> Option<String> {
        self.after(self.terms.times?.renewal)
    }

    /// When the address is no longer the container's, RFC 3339; absent means never.
    pub fn expires(&self) -> Option<String> {
        self.after(self.terms.times?.expiry)
    }

    fn after(&self, seconds: u32) -> Option<String> {
        let since: jiff::Timestamp = self.since.parse().ok()?;
        Some(since.checked_add(Duration::from_secs(seconds.into())).ok()?.to_string())
    }

    /// The seconds since it was granted.
    fn age(&self) -> u64 {
        since_boot().saturating_sub(self.since_boot)
    }
}

impl Attachment {
    /// What it has from a DHCP server now.
    pub(crate) fn held(&self) -> Option<&Grant> {
        self.dhcp.as_ref()?.granted.as_ref().filter(|_| !self.addresses.is_empty())
    }

    /// How often to look whether a renewal is due: a quarter of the time to the first, so that after a failure there are
    /// some more tries before the address is lost. Absent means never.
    fn renewal_interval(&self) -> Option<Duration> {
        self.dhcp.as_ref()?;
        match self.held() {
            Some(grant) => {
                let renewal = grant.terms.times?.renewal;
                Some(Duration::from_secs((renewal / 4).max(1).into()))
            }
            None => Some(AFTER_LOSS),
        }
    }
}

impl Lease {
    /// Whether addresses of it come from DHCP servers.
    pub fn is_dynamic(&self) -> bool {
        self.attachments.iter().any(|attachment| attachment.dhcp.is_some())
    }

    /// How often [`Networks::renew`](crate::Networks::renew) should be called; absent means that there is nothing to
    /// renew.
    pub fn renewal_interval(&self) -> Option<Duration> {
        self.attachments.iter().filter_map(Attachment::renewal_interval).min()
    }

    /// What DHCP servers have granted, network by network.
    pub fn terms(&self) -> impl Iterator<Item = &Terms> {
        self.attachments
            .iter()
            .filter_map(|attachment| Some(&attachment.dhcp.as_ref()?.granted.as_ref()?.terms))
    }
}

/// The seconds since the host was booted, those of its sleep included.
fn since_boot() -> u64 {
    u64::try_from(clock_gettime(ClockId::Boottime).tv_sec).unwrap_or_default()
}

impl client::Failure {
    /// In words, for an interface in whose network nobody grants an address.
    fn words(&self, attachment: &Attachment) -> String {
        match self {
            Self::Silence(None) => {
                let way = match attachment.network.network_interface.as_str() {
                    "" => "the host's way out".to_owned(),
                    name => name.to_owned(),
                };
                format!(
                    "no DHCP server answered within {} s: is {way} connected to a network that has one?",
                    PATIENCE.as_secs()
                )
            }
            Self::Silence(Some(heard)) => heard.clone(),
            Self::Refused(why) => why.clone(),
            Self::Taken(address, owner) => format!(
                "each address that the DHCP server grants is in use already, {address} by {owner}: give that machine \
                 another one, or keep its address out of the server's range (if a router answers for others, write \
                 Options=arp_probe=false)"
            ),
            Self::Kernel(error) => error.to_string(),
        }
    }

    fn into_error(self, attachment: &Attachment) -> Error {
        Error::Dhcp {
            interface: attachment.interface.clone(),
            network: attachment.network.name.clone(),
            why: self.words(attachment),
        }
    }
}
