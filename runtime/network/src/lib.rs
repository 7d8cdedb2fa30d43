//! Container networks: addresses, links, firewall, names.
#![forbid(unsafe_code)]

mod config;
mod error;
mod lease;
mod networks;
mod port;
mod subnet;

pub use config::{
    Config, DEFAULT_NETWORK, DNS_DOMAIN, Driver, Isolate, LeaseRange, Network, Options, SubnetConfig,
};
pub use error::{Error, Result};
pub use lease::{Address, Attachment, Holder, Lease, Request};
pub use networks::{Networks, loopback_up};
pub use port::{PortMapping, Protocol, parse_ports};
pub use subnet::Subnet;
