//! Claims: who has which address and which host port.
//!
//! A claim is a symbolic link whose name is the thing claimed and whose target is
//! the id of the container: made and looked up in one system call, however many
//! there are.
//!
//! ```text
//! addresses/<network>/10.86.0.7        -> <id>
//! addresses/<network>/<id>             -> <id>         where others give out the addresses
//! addresses/<network>/.last-10.86.0.0  -> 10.86.0.7     where the search goes on
//! ports/tcp-8080/any                   -> <id>
//! ports/tcp-8081/127.0.0.1             -> <id>
//! ```
//!
//! All functions want the caller to hold the lock of the runtime directory. The
//! lease is written before its claims and removed after them, so a claim always
//! has a lease, and a lease without its claims (a crash) does no harm.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::config::{LeaseRange, SubnetConfig};
use crate::driver::Ipam;
use crate::error::{Error, Result};
use crate::files;
use crate::lease::{Attachment, Lease};
use crate::port::Protocol;

/// The claims of a runtime directory.
#[derive(Debug)]
pub(crate) struct Claims {
    addresses: PathBuf,
    ports: PathBuf,
}

impl Claims {
    /// The claims below `runtime_dir`.
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        Self { addresses: runtime_dir.join("addresses"), ports: runtime_dir.join("ports") }
    }

    /// Who has this address of this network.
    pub(crate) fn address_holder(&self, network: &str, address: IpAddr) -> Result<Option<String>> {
        holder(&self.addresses.join(network).join(address.to_string()))
    }

    /// The next free address of a subnet after the one given out last, so that an
    /// address comes back into use as late as possible.
    ///
    /// `taken` are addresses that a claim doesn't show yet.
    pub(crate) fn free_address(
        &self,
        network: &str,
        subnet: &SubnetConfig,
        taken: &[IpAddr],
    ) -> Result<Option<IpAddr>> {
        let block = subnet.subnet;
        let (first, last) = match subnet.lease_range {
            Some(LeaseRange { start_ip, end_ip }) => (block.offset(start_ip), block.offset(end_ip)),
            None => block.host_offsets(),
        };
        let start = holder(&self.last(network, subnet))?
            .and_then(|text| text.parse::<IpAddr>().ok())
            .filter(|address| block.contains(*address))
            .map_or(first, |address| block.offset(address) + 1);
        let start = if (first..=last).contains(&start) { start } else { first };
        for offset in (start..=last).chain(first..start) {
            let Some(address) = block.nth(offset) else {
                break;
            };
            if Some(address) != subnet.gateway
                && !taken.contains(&address)
                && self.address_holder(network, address)?.is_none()
            {
                return Ok(Some(address));
            }
        }
        Ok(None)
    }

    /// Who has this host port on an address that shares packets with `host_ip`.
    pub(crate) fn port_holder(
        &self,
        protocol: Protocol,
        port: u16,
        host_ip: Option<IpAddr>,
    ) -> Result<Option<String>> {
        let directory = self.port(protocol, port);
        for name in files::names(&directory)? {
            if overlap(name.parse().ok(), host_ip) {
                return holder(&directory.join(name));
            }
        }
        Ok(None)
    }

    /// Claims everything that the lease names.
    pub(crate) fn take(&self, lease: &Lease) -> Result<()> {
        let id = &lease.holder.id;
        for attachment in &lease.attachments {
            let network = &attachment.network;
            let directory = self.addresses.join(&network.name);
            files::make_directory(&directory)?;
            if let Some(place) = self.place(attachment, id) {
                claim(&place, id)?;
            }
            for address in &attachment.addresses {
                claim(&directory.join(address.address.to_string()), id)?;
                let config = network.subnets.iter().find(|subnet| subnet.subnet == address.subnet);
                if let Some(config) = config {
                    let last = self.last(&network.name, config);
                    files::remove(&last)?;
                    claim(&last, &address.address.to_string())?;
                }
            }
        }
        for (directory, name) in self.port_claims(lease) {
            files::make_directory(&directory)?;
            claim(&directory.join(name), id)?;
        }
        Ok(())
    }

    /// Gives back what the lease names and its holder has.
    pub(crate) fn give_back(&self, lease: &Lease) -> Result<()> {
        let id = &lease.holder.id;
        for attachment in &lease.attachments {
            let directory = self.addresses.join(&attachment.network.name);
            if let Some(place) = self.place(attachment, id) {
                give_back(&place, id)?;
            }
            for address in &attachment.addresses {
                give_back(&directory.join(address.address.to_string()), id)?;
            }
        }
        for (directory, name) in self.port_claims(lease) {
            give_back(&directory.join(name), id)?;
            files::remove_if_empty(&directory)?;
        }
        Ok(())
    }

    /// The ids of those who have an address of this network, each once.
    pub(crate) fn holders(&self, network: &str) -> Result<Vec<String>> {
        let directory = self.addresses.join(network);
        let mut holders = Vec::new();
        for name in files::names(&directory)? {
            holders.extend(holder(&directory.join(name))?);
        }
        holders.sort();
        holders.dedup();
        Ok(holders)
    }

    /// Whether anyone has an address of this network.
    pub(crate) fn is_held(&self, network: &str) -> Result<bool> {
        self.any_claim(network, |_| Ok(true))
    }

    /// Whether anyone but the container `id` has an address of this network.
    pub(crate) fn is_held_besides(&self, network: &str, id: &str) -> Result<bool> {
        self.any_claim(network, |link| Ok(holder(link)?.is_some_and(|other| other != id)))
    }

    /// Whether a claim on an address of this network is as asked: it reads no more of
    /// them than it takes to know, however many there are.
    fn any_claim(&self, network: &str, is_so: impl Fn(&Path) -> Result<bool>) -> Result<bool> {
        let directory = self.addresses.join(network);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            result => result.map_err(Error::file("list", &directory))?,
        };
        for entry in entries {
            let entry = entry.map_err(Error::file("list", &directory))?;
            if !entry.file_name().as_encoded_bytes().starts_with(b".") && is_so(&entry.path())? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Forgets a network that nobody holds, with its place in the search.
    pub(crate) fn forget(&self, network: &str) -> Result<()> {
        let directory = self.addresses.join(network);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::file("remove directory", directory)(error))
            }
            _ => Ok(()),
        }
    }

    /// The claim on a network whose addresses others give out: that the holder is there.
    fn place(&self, attachment: &Attachment, id: &str) -> Option<PathBuf> {
        let network = &attachment.network;
        let is_others = network.ipam_options.driver != Ipam::HostLocal;
        is_others.then(|| self.addresses.join(&network.name).join(id))
    }

    fn last(&self, network: &str, subnet: &SubnetConfig) -> PathBuf {
        self.addresses.join(network).join(format!(".last-{}", subnet.subnet.address()))
    }

    fn port(&self, protocol: Protocol, port: u16) -> PathBuf {
        self.ports.join(format!("{protocol}-{port}"))
    }

    /// The directory and the name of the claim on each port of the lease.
    fn port_claims<'a>(&'a self, lease: &'a Lease) -> impl Iterator<Item = (PathBuf, String)> + 'a {
        lease.ports.iter().flat_map(move |mapping| {
            let name = match mapping.host_ip {
                Some(address) => address.to_string(),
                None => "any".to_owned(),
            };
            (0..mapping.range).map(move |step| {
                let port = mapping.host_port.wrapping_add(step);
                (self.port(mapping.protocol, port), name.clone())
            })
        })
    }
}

/// Whether two host addresses share packets: none means all, an unspecified one
/// all of its family.
pub(crate) fn overlap(a: Option<IpAddr>, b: Option<IpAddr>) -> bool {
    match (a, b) {
        (None, _) | (_, None) => true,
        (Some(a), Some(b)) => {
            a.is_ipv4() == b.is_ipv4() && (a == b || a.is_unspecified() || b.is_unspecified())
        }
    }
}

fn holder(link: &Path) -> Result<Option<String>> {
    match fs::read_link(link) {
        Ok(target) => Ok(Some(target.to_string_lossy().into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::file("read", link)(error)),
    }
}

fn claim(link: &Path, id: &str) -> Result<()> {
    symlink(id, link).map_err(Error::file("claim", link))
}

fn give_back(link: &Path, id: &str) -> Result<()> {
    if holder(link)?.as_deref() == Some(id) {
        files::remove(link)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards_share_packets_with_their_family() {
        let ip = |text: &str| Some(text.parse::<IpAddr>().unwrap());
        assert!(overlap(None, ip("::1")));
        assert!(overlap(ip("0.0.0.0"), ip("127.0.0.1")));
        assert!(!overlap(ip("0.0.0.0"), ip("::")));
        assert!(!overlap(ip("127.0.0.1"), ip("127.0.0.2")));
        assert!(overlap(ip("::1"), ip("::1")));
    }

    #[test]
    fn the_search_goes_on_behind_the_last_address_and_wraps() {
        let directory = tempfile::tempdir().unwrap();
        let claims = Claims::new(directory.path());
        let mut subnet = SubnetConfig::from("10.0.0.0/29".parse::<crate::Subnet>().unwrap());
        subnet.gateway = Some("10.0.0.1".parse().unwrap());
        let here = directory.path().join("addresses/n");
        files::make_directory(&here).unwrap();
        let free = || claims.free_address("n", &subnet, &[]).unwrap().map(|a| a.to_string());
        assert_eq!(free().unwrap(), "10.0.0.2");
        claim(&here.join(".last-10.0.0.0"), "10.0.0.5").unwrap();
        assert_eq!(free().unwrap(), "10.0.0.6");
        claim(&here.join("10.0.0.6"), "someone").unwrap();
        assert_eq!(free().unwrap(), "10.0.0.2");
        for last in 2..6 {
            claim(&here.join(format!("10.0.0.{last}")), "someone").unwrap();
        }
        assert_eq!(free(), None);
    }
}
