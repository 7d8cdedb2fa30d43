//! Container networks: addresses, links, firewall, names.
//!
//! Everything goes through [`Networks`]. A container's way has three steps:
//!
//! 1. [`Networks::reserve`] chooses addresses and host ports and writes them down
//!    in a [`Lease`]; nothing happens in the kernel. It can run before there is a
//!    container.
//! 2. [`Networks::attach`] makes the lease true for a network namespace: bridge,
//!    veth pair, addresses, routes, published ports, names.
//! 3. [`Networks::release`] gives everything back. It is idempotent, works from
//!    the lease alone, and step 1 does it first: whatever was killed at whatever
//!    moment, the next start cleans up.
//!
//! The way through the modules:
//!
//! - `config`, `driver` and `options`: what a user asks for; `definition`: the
//!   network made of it; `pool` finds free subnets, `converge` makes a changed
//!   definition true;
//! - `reserve` over `claims` (who has what) and `host_port` (what the host's
//!   own programs have); `foreign` knows what Podman has defined;
//! - `attach` and `release` over `kernel` (netlink), `firewall` (one
//!   nftables table), `names` (aardvark-dns) and `dhcp` (addresses that a server of
//!   the link gives); `parent` finds the host's interface for those that sit on one;
//! - `connect`: the same for one network of a container that runs; `on_demand`:
//!   ports that are published later than the container starts;
//! - `reclaim`: leases of those who are gone, once somebody wants what they name;
//! - `examine`: what is there and what should be, for `sampan doctor`.
//!
//! A driver is a variant of [`Driver`] with a file below `attach` that makes the
//! container's interface; reservations, leases and the order of things are the same
//! for all.

#![forbid(unsafe_code)]

mod attach;
mod claims;
mod config;
mod connect;
mod converge;
mod definition;
mod dhcp;
mod driver;
mod error;
mod examine;
mod files;
mod firewall;
mod foreign;
#[doc(hidden)]
pub mod fuzzing;
mod host_port;
mod kernel;
mod lease;
mod mac;
mod names;
mod networks;
mod on_demand;
mod options;
mod parent;
mod pool;
mod port;
mod reclaim;
mod release;
mod reserve;
mod subnet;

pub use config::{Config, DEFAULT_NETWORK, DNS_DOMAIN, LeaseRange, Network, SubnetConfig};
pub use converge::{Change, Converged, Namespaces};
pub use dhcp::{Dhcp, Grant, Renewal, Route, Terms, Times};
pub use driver::{Driver, Ipam, IpamOptions};
pub use error::{Error, Result};
pub use examine::{Overlap, Shadowed, Table};
pub use lease::{Address, Attachment, Holder, Lease, Request};
pub use networks::{DEFAULT_CONFIG_DIR, DEFAULT_RUNTIME_DIR, Networks, loopback_up};
pub use on_demand::{is_listened_on, is_listened_on_in};
pub use options::{Isolate, Mode, Options};
pub use pool::{Defaults, Pool};
pub use port::{PortMapping, Protocol, parse_ports};
pub use reclaim::Gone;
pub use subnet::Subnet;
