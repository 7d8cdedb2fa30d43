//! Which interface of the host a network is on, if it has no bridge of its own.

use crate::config::Network;
use crate::error::{Error, Result};
use crate::kernel::interface::{self, Interface};
use crate::kernel::netlink::Socket;

/// So many interfaces are named in an error.
const MOST_NAMES: usize = 12;

/// The network's parent interface: the one that it names, else the one that leads
/// out of the host.
///
/// # Errors
/// [`Error::NoInterface`] names those that there are.
pub(crate) fn find(host: &mut Socket, network: &Network) -> Result<Interface> {
    let name = &network.network_interface;
    if name.is_empty() {
        return match interface::way_out(host)? {
            Some(parent) => Ok(parent),
            None => Err(Error::NoInterface {
                network: network.name.clone(),
                what: "the host has no default route whose interface could be the parent; name one with \
                       InterfaceName= (--interface-name)"
                    .to_owned(),
                others: names(host)?,
            }),
        };
    }
    named(host, network, "parent interface", name)
}

/// An interface of the host that the network names; `what` it is to the network.
///
/// # Errors
/// [`Error::NoInterface`] names those that there are.
pub(crate) fn named(host: &mut Socket, network: &Network, what: &str, name: &str) -> Result<Interface> {
    match interface::find(host, name)? {
        Some(interface) => Ok(interface),
        None => Err(Error::NoInterface {
            network: network.name.clone(),
            what: format!("the host has no {what} {name}"),
            others: names(host)?,
        }),
    }
}

/// The host's interfaces in words, without those that lead to containers.
fn names(host: &mut Socket) -> Result<String> {
    let mut names: Vec<String> =
        interface::all(host)?.into_iter().map(|interface| interface.name).filter(is_own).collect();
    let more = names.len() > MOST_NAMES;
    names.truncate(MOST_NAMES);
    Ok(match (names.as_slice(), more) {
        ([], _) => "no interface at all".to_owned(),
        (names, false) => names.join(", "),
        (names, true) => format!("{}, …", names.join(", ")),
    })
}

fn is_own(name: &String) -> bool {
    name != "lo" && !name.starts_with("veth")
}
