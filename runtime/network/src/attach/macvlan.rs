//! The drivers `macvlan` and `ipvlan`: an interface of the container's on an interface
//! of the host, its parent.
//!
//! It is made in the container's namespace and goes with it: there is nothing on the
//! host to give back.

use std::io::ErrorKind;

use netlink_packet_route::link::{InfoKind, IpVlanMode, MacVlanMode};

use crate::attach::{Sides, missing};
use crate::config::Network;
use crate::driver::Driver;
use crate::error::{Error, Result};
use crate::kernel::interface::{self, Interface};
use crate::kernel::macvlan::{self, Child, Kind};
use crate::kernel::netlink::Batch;
use crate::lease::Attachment;
use crate::mac::Mac;
use crate::options::{Mode, Options};
use crate::parent;

/// Makes the interface, and gives it its name.
pub(super) fn connect(sides: &mut Sides<'_>, attachment: &Attachment) -> Result<()> {
    let network = &attachment.network;
    let parent = parent::find(&mut sides.host, network)?;
    check(attachment, &parent)?;
    remove_stale(sides, attachment)?;
    let mac: Mac = attachment.mac.parse()?;
    let child = Child {
        name: &attachment.host_interface,
        parent: parent.index,
        parent_name: &parent.name,
        mac: network.has_own_macs().then_some(mac.0),
        mtu: network.options.mtu,
        kind: kind(network.driver, &network.options),
    };
    let mut batch = Batch::default();
    macvlan::add(&mut batch, &child, sides.netns);
    sides.host.run(batch).map_err(|error| in_words(error, network.driver, &parent))?;
    let made = interface::find(&mut sides.inside, &attachment.host_interface)?;
    let made = made.ok_or_else(|| missing("find the new interface in the container"))?;
    look_at_limit(network, &made);
    let mut batch = Batch::default();
    macvlan::rename(&mut batch, made.index, &attachment.interface);
    sides.inside.run(batch).map(drop)
}

/// Kernels before 6.4 take the limit and do nothing: no reason to fail, and none to be silent.
fn look_at_limit(network: &Network, made: &Interface) {
    // The kernel doesn't tell what is usual.
    const USUAL: i32 = 1;
    let Some(wanted) = network.options.bclim else { return };
    if made.broadcast_limit.unwrap_or(USUAL) != wanted {
        log::warn!(
            "network {:?}: this kernel has no limit of receivers for macvlan, and goes on without bclim={wanted}",
            network.name
        );
    }
}

/// What the kernel would refuse with less words.
fn check(attachment: &Attachment, parent: &Interface) -> Result<()> {
    let network = &attachment.network;
    let refuse = |what, value: String, why| Err(Error::Invalid { what, value, why });
    if !parent.is_up {
        let why = format!(
            "it is the parent of network {:?} and is down: `ip link set {} up`",
            network.name, parent.name
        );
        return refuse("interface", parent.name.clone(), why);
    }
    match (network.options.mtu, parent.mtu) {
        (Some(wanted), Some(carried)) if wanted > carried => {
            let why = format!(
                "the parent {} of network {:?} carries no more than {carried} bytes",
                parent.name, network.name
            );
            refuse("network option", format!("mtu={wanted}"), why)
        }
        _ => Ok(()),
    }
}

/// Removes what an attempt left that was killed, in a namespace that lived on.
fn remove_stale(sides: &mut Sides<'_>, attachment: &Attachment) -> Result<()> {
    let mut batch = Batch::default();
    for name in [&attachment.host_interface, &attachment.interface] {
        let stale = interface::find(&mut sides.inside, name)?;
        if let Some(stale) = stale.filter(|it| matches!(it.kind, Some(InfoKind::MacVlan | InfoKind::IpVlan)))
        {
            macvlan::remove(&mut batch, stale.index, name);
        }
    }
    sides.inside.run(batch).map(drop)
}

fn kind(driver: Driver, options: &Options) -> Kind {
    match driver {
        Driver::Ipvlan => Kind::Ipvlan(match options.mode {
            Some(Mode::L3) => IpVlanMode::L3,
            Some(Mode::L3s) => IpVlanMode::L3S,
            _ => IpVlanMode::L2,
        }),
        _ => Kind::Macvlan {
            mode: match options.mode {
                Some(Mode::Private) => MacVlanMode::Private,
                Some(Mode::Vepa) => MacVlanMode::Vepa,
                Some(Mode::Passthru) => MacVlanMode::Passthrough,
                _ => MacVlanMode::Bridge,
            },
            broadcast_limit: options.bclim,
        },
    }
}

/// The kernel's usual refusals, and what to do.
fn in_words(error: Error, driver: Driver, parent: &Interface) -> Error {
    let Error::Kernel { operation, cause } = error else {
        return error;
    };
    match cause.kind() {
        ErrorKind::Unsupported => Error::NoModule { feature: driver.name(), module: driver.name() },
        ErrorKind::ResourceBusy => Error::Invalid {
            what: "parent interface",
            value: parent.name.clone(),
            why: "something else has it whole: a bridge or bond, or macvlan where ipvlan was to be (or the \
                  other way round); choose another parent"
                .to_owned(),
        },
        ErrorKind::InvalidInput if parent.kind == Some(InfoKind::MacVlan) || driver == Driver::Macvlan => {
            let why = format!(
                "{cause}; with mode=passthru a parent has room for a single container, and none beside others"
            );
            Error::Invalid { what: "parent interface", value: parent.name.clone(), why }
        }
        _ => Error::Kernel { operation, cause },
    }
}
