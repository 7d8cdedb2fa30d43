//! The addresses that containers had, beyond their leases and the next boot: who asks
//! for the same address again mostly gets it.
//!
//! A hint, not a claim: what can't be read is not there, and what can't be written is
//! told in the log.

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::client::Previous;
use super::terms::Terms;
use crate::error::{Error, Result};
use crate::files::{self, Durability};
use crate::networks::Networks;

/// Below the directory of networks, whose own files end in `.json`.
const DIRECTORY: &str = ".dhcp";

/// An address, and how long it is good for.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    address: Ipv4Addr,
    /// It hasn't been given back.
    is_held: bool,
    /// Seconds since 1970; absent means without end.
    until: Option<i64>,
}

/// What a client had last.
pub(super) fn recall(networks: &Networks, network: &str, client: &str) -> Option<Previous> {
    let remembered: Remembered = files::read_json(&path(networks, network, client)).ok()??;
    let is_over = remembered.until.is_some_and(|until| until <= Timestamp::now().as_second());
    Some(Previous { address: remembered.address, is_held: remembered.is_held && !is_over })
}

/// Notes what a client has now, or with `is_held` false has given back.
pub(super) fn remember(networks: &Networks, network: &str, client: &str, terms: &Terms, is_held: bool) {
    let IpAddr::V4(address) = terms.address.address else { return };
    let until = terms.times.map(|times| Timestamp::now().as_second() + i64::from(times.expiry));
    let remembered = Remembered { address, is_held, until };
    let write = || {
        files::make_directory(&networks.config_dir.join(DIRECTORY).join(network))?;
        let path = path(networks, network, client);
        // A name of its own, because not every caller holds the lock.
        let scratch = path.with_file_name(format!(".{client}"));
        let bytes =
            serde_json::to_vec(&remembered).map_err(|cause| Error::Damaged { path: path.clone(), cause })?;
        // After a power cut an empty file is as good as none.
        files::write(&path, &scratch, &bytes, Durability::Volatile)
    };
    if let Err(error) = write() {
        log::warn!("the next start asks for another address than {address}: {error}");
    }
}

/// Forgets the clients of a network that is removed.
pub(crate) fn forget(networks: &Networks, network: &str) -> Result<()> {
    let directory = networks.config_dir.join(DIRECTORY).join(network);
    match std::fs::remove_dir_all(&directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::file("remove directory", directory)(error))
        }
        _ => files::remove_if_empty(&networks.config_dir.join(DIRECTORY)).map(drop),
    }
}

/// Names of networks and clients are such as files can have.
fn path(networks: &Networks, network: &str, client: &str) -> PathBuf {
    networks.config_dir.join(DIRECTORY).join(network).join(format!("{client}.json"))
}
