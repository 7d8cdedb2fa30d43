//! Whether the host still has what leases and networks say, and whether something else of it has come
//! in their way: for `sampan doctor`.
//! Nothing is changed here.

use std::thread::sleep;
use std::time::Duration;

use crate::error::Result;
use crate::firewall::{Firewall, elements};
use crate::kernel::link;
use crate::networks::Networks;
use crate::port::PortMapping;
use crate::subnet::Subnet;
use crate::{host_port, reserve};

/// How long a container that starts or stops has an element that its lease doesn't
/// explain, or the other way round, at the most.
const A_START: Duration = Duration::from_millis(500);

/// What is there of the firewall's table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Table {
    /// No container needs it, and it isn't there.
    Unneeded,
    /// Containers need it, and it isn't there.
    Missing,
    /// It lacks these elements, in nft's spelling: set and element.
    Lacks(Vec<(&'static str, String)>),
    /// All is there.
    Whole,
}

/// A subnet of ours that the host reaches in another way by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The network.
    pub network: String,
    /// Its subnet.
    pub subnet: Subnet,
    /// The destination of the host's route.
    pub route: Subnet,
}

/// A program of the host that waits for what a container gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shadowed {
    /// The container's name.
    pub container: String,
    /// The published port, a single one.
    pub port: PortMapping,
    /// The program in words, such as `nginx (pid 812, nginx.service)`.
    pub program: String,
}

impl Networks {
    /// The programs that have opened a port since a container published it: nothing hinders
    /// them, and nothing reaches them.
    ///
    /// # Errors
    /// [`Error::Damaged`](crate::Error::Damaged), [`Error::File`](crate::Error::File).
    pub fn examine_listeners(&self) -> Result<Vec<Shadowed>> {
        let networks = self.list()?;
        let mut shadowed = Vec::new();
        for lease in self.leases()? {
            for port in lease.ports.iter().flat_map(PortMapping::singles) {
                let is_kept = |address| reserve::is_left_to_resolver(&networks, port.host_port, address);
                let found = host_port::listener(port.protocol, port.host_port, port.host_ip, &is_kept);
                if let Some(program) = found {
                    shadowed.push(Shadowed { container: lease.holder.name.clone(), port, program });
                }
            }
        }
        Ok(shadowed)
    }

    /// Compares the firewall's table with the leases. A table of another version's layout
    /// counts as missing: the next container that starts replaces it.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel), also without the right to ask;
    /// [`Error::Damaged`](crate::Error::Damaged).
    pub fn examine_table(&self) -> Result<Table> {
        let mut firewall = Firewall::open()?;
        let is_there = firewall.has_table()?;
        let lacking = self.lacking(&mut firewall)?;
        Ok(match (is_there, lacking.is_empty()) {
            (_, true) if is_there => Table::Whole,
            (_, true) => Table::Unneeded,
            (false, false) => Table::Missing,
            (true, false) => {
                sleep(A_START);
                let still = self.lacking(&mut firewall)?;
                let both: Vec<_> = lacking.into_iter().filter(|element| still.contains(element)).collect();
                if both.is_empty() { Table::Whole } else { Table::Lacks(both) }
            }
        })
    }

    fn lacking(&self, firewall: &mut Firewall) -> Result<Vec<(&'static str, String)>> {
        let wanted = elements::of_leases(&self.leases()?);
        let current = firewall.current(&wanted)?;
        let lacking = wanted.into_iter().filter(|element| !current.contains(element));
        Ok(lacking.map(|element| (element.set, element.to_string())).collect())
    }

    /// The subnets of networks that share addresses with a route of the host that came
    /// later: a VPN, another interface.
    ///
    /// # Errors
    /// [`Error::Kernel`](crate::Error::Kernel), [`Error::Damaged`](crate::Error::Damaged).
    pub fn examine_subnets(&self) -> Result<Vec<Overlap>> {
        let routes = link::routes(&mut link::socket()?)?;
        let mut overlaps = Vec::new();
        for network in self.list()? {
            let Some(bridge) = network.own_bridge() else { continue };
            let own = link::index(&link::socket()?, bridge)?;
            for subnet in network.subnets.iter().map(|config| config.subnet) {
                for route in routes.iter().filter(|route| own.is_none() || route.interface != own) {
                    let destination = route.destination;
                    let is_wider_elsewhere = !route.direct && destination.prefix() < subnet.prefix();
                    if destination.overlaps(&subnet) && !is_wider_elsewhere {
                        overlaps.push(Overlap { network: network.name.clone(), subnet, route: destination });
                    }
                }
            }
        }
        Ok(overlaps)
    }
}
