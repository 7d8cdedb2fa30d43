//! What can go wrong, in words for the user: what, where, what to do.
//!
//! The text of each error holds its cause, so the cause is no `source()` of its own:
//! who prints the chain says it once.

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;

use crate::port::Protocol;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A value that can't be what it says.
    #[error("{what} {value:?}: {why}")]
    Invalid {
        /// The kind of value.
        what: &'static str,
        /// The value.
        value: String,
        /// What is wrong, and what would be right.
        why: String,
    },

    /// There is no network of this name.
    #[error("network {0:?} does not exist; make it with `sampan network create {0}` or a .network file")]
    NoNetwork(String),

    /// There is a network of this name already.
    #[error("network {0:?} exists already; remove it with `sampan network rm {0}` or choose another name")]
    NetworkExists(String),

    /// The network has containers.
    #[error("network {network:?} is in use by {holders}; stop them first, or remove it by force", holders = holders.join(", "))]
    NetworkInUse {
        /// The network.
        network: String,
        /// The ids of the containers.
        holders: Vec<String>,
    },

    /// A subnet shares addresses with something else.
    #[error(
        "subnet {subnet} of network {network:?} overlaps {other}; choose another subnet, or leave it out to get a free one"
    )]
    Overlap {
        /// The network that was to be made.
        network: String,
        /// Its subnet.
        subnet: String,
        /// The other network, or the route of the host.
        other: String,
    },

    /// Every subnet of our pool overlaps something.
    #[error("no free subnet left for network {0:?}: name one with --subnet (Subnet=)")]
    NoSubnet(String),

    /// Every address of the network is taken.
    #[error(
        "no free address left in {range} of network {network:?}: stop containers, or make the network larger"
    )]
    NoAddress {
        /// The network.
        network: String,
        /// The range that was searched.
        range: String,
    },

    /// The asked-for address is taken.
    #[error(
        "address {address} of network {network:?} is in use by {holder}; choose another, or stop that container"
    )]
    AddressInUse {
        /// The network.
        network: String,
        /// The address.
        address: IpAddr,
        /// The container, or what else has it.
        holder: String,
    },

    /// The asked-for host port is taken.
    #[error("port {port}/{protocol}{on} is in use by {holder}; stop it, or publish another host port", on = on(*.address))]
    PortInUse {
        /// The host address that was asked for; absent means every address.
        address: Option<IpAddr>,
        /// The host port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The container or process that has it.
        holder: String,
    },

    /// Every host port that may be chosen is taken.
    #[error(
        "no host port is free for {port}/{protocol}{on}: {first} to {last} are all in use; stop containers, or widen `sysctl net.ipv4.ip_local_port_range`",
        on = on(*.address)
    )]
    NoPort {
        /// The container's port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// The host address that was asked for; absent means every address.
        address: Option<IpAddr>,
        /// The first port that may be chosen.
        first: u16,
        /// The last one.
        last: u16,
    },

    /// The bridge has no place for one more interface.
    #[error(
        "network {network:?} is full: a bridge carries {most} interfaces at most; spread the containers over several networks"
    )]
    NoPlace {
        /// The network.
        network: String,
        /// The kernel's limit.
        most: usize,
    },

    /// The host has no such address, or refuses the port for another reason.
    #[error("port {port}/{protocol}{on} can't be published: {cause}", on = on(*.address))]
    PortRefused {
        /// The host address that was asked for; absent means every address.
        address: Option<IpAddr>,
        /// The host port.
        port: u16,
        /// The protocol.
        protocol: Protocol,
        /// What the kernel said.
        cause: io::Error,
    },

    /// An interface of the host that a network needs isn't there.
    #[error("network {network:?}: {what}; there are: {others}")]
    NoInterface {
        /// The network.
        network: String,
        /// What is missing.
        what: String,
        /// The interfaces that the host has, in words.
        others: String,
    },

    /// The kernel lacks a part that it can have.
    #[error("{feature} isn't in this kernel: try `modprobe {module}`, or install its further modules")]
    NoModule {
        /// What isn't there.
        feature: &'static str,
        /// The module that has it.
        module: &'static str,
    },

    /// A file operation.
    #[error("{operation} {path}: {cause}", path = path.display())]
    File {
        /// What was tried.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the kernel said.
        cause: io::Error,
    },

    /// A file holds something that isn't ours.
    #[error("{path} is damaged: {cause}", path = path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        cause: serde_json::Error,
    },

    /// The kernel refused a change of links, addresses, routes or firewall.
    #[error("{operation}: {cause}")]
    Kernel {
        /// What was tried, with its arguments.
        operation: String,
        /// What the kernel said.
        cause: io::Error,
    },

    /// The network's DHCP server doesn't grant an address.
    #[error("interface {interface} of network {network:?} has no address: {why}")]
    Dhcp {
        /// The container's interface.
        interface: String,
        /// The network.
        network: String,
        /// What happened, and what to look at.
        why: String,
    },

    /// A program that we need failed.
    #[error("{program}: {why}")]
    Program {
        /// The program.
        program: String,
        /// Its exit status and its own words.
        why: String,
    },
}

impl Error {
    /// Wraps the failure of a file operation; for `map_err`.
    pub(crate) fn file(operation: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |cause| Self::File { operation, path, cause }
    }

    /// Wraps the failure of a kernel operation; for `map_err`.
    pub(crate) fn kernel(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |cause| Self::Kernel { operation, cause }
    }
}

fn on(address: Option<IpAddr>) -> String {
    address.map_or_else(String::new, |address| format!(" on {address}"))
}
