//! [`Networks`].

use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use crate::config::{Config, Network};
use crate::error::{Error, Result};
use crate::lease::{Holder, Lease, Request};
use crate::port::PortMapping;

/// The networks of this host, and who holds what of them.
#[derive(Debug)]
pub struct Networks {
    config_dir: PathBuf,
    runtime_dir: PathBuf,
}

impl Networks {
    /// Opens (and makes) the two directories.
    ///
    /// # Errors
    /// [`Error::File`] if a directory can't be made.
    pub fn open(config_dir: &Path, runtime_dir: &Path) -> Result<Self> {
        Ok(Self { config_dir: config_dir.into(), runtime_dir: runtime_dir.into() })
    }

    /// Makes a network; with `ignore_existing`, returns the one of that name if there is one.
    pub fn create(&self, config: &Config, ignore_existing: bool) -> Result<Network> {
        let _ = (&self.config_dir, ignore_existing);
        Err(Error::NoNetwork(config.name.clone()))
    }

    /// The network of this name (or id prefix); the default network is made on demand.
    pub fn get(&self, name: &str) -> Result<Network> {
        Err(Error::NoNetwork(name.to_owned()))
    }

    /// All networks, by name.
    pub fn list(&self) -> Result<Vec<Network>> {
        Ok(Vec::new())
    }

    /// Removes a network; with `force` also while containers hold it.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        let _ = force;
        Err(Error::NoNetwork(name.to_owned()))
    }

    /// The ids of the containers that hold addresses of a network.
    pub fn holders(&self, name: &str) -> Result<Vec<String>> {
        Err(Error::NoNetwork(name.to_owned()))
    }

    /// Reserves addresses and ports; changes nothing in the kernel.
    pub fn reserve(&self, holder: &Holder, requests: &[Request], ports: &[PortMapping]) -> Result<Lease> {
        let _ = (&self.runtime_dir, requests, ports);
        Ok(Lease::empty(holder.clone()))
    }

    /// The lease of a container, if it has one.
    pub fn lease(&self, id: &str) -> Result<Option<Lease>> {
        let _ = id;
        Ok(None)
    }

    /// Connects a network namespace as the lease says.
    pub fn attach(&self, lease: &Lease, netns: BorrowedFd<'_>) -> Result<()> {
        let _ = (lease, netns);
        Ok(())
    }

    /// Gives back everything of a container; does nothing if there is nothing.
    pub fn release(&self, id: &str) -> Result<()> {
        let _ = id;
        Ok(())
    }
}

/// Brings up the loopback interface of a network namespace.
pub fn loopback_up(netns: BorrowedFd<'_>) -> Result<()> {
    let _ = netns;
    Ok(())
}
