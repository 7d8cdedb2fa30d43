//! Network devices of the host that become the container's (`linux.netDevices`; rtnetlink(7)).
//!
//! A device keeps its attributes on the way, but the kernel takes its addresses off; the permanent ones of global
//! scope are put back in the container, and the device is brought up there. It is not for a runtime to fetch it back:
//! with the end of the namespace the kernel returns what is hardware and destroys what isn't.
//!
//! The caller does this while the container's process waits, as late as possible: a virtual device would be lost with
//! a start that fails. If one of several can't be moved, the others go back.

mod route;

use std::collections::HashMap;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use oci_spec::runtime::{Linux, LinuxNamespaceType, LinuxNetDevice};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Call, Error, Result};
use crate::namespaces::Namespaces;
use crate::rootfs::procfs::{self, Procfs};
use route::{Address, Socket};

/// The longest name of an interface, in bytes (`IFNAMSIZ` less the final zero).
const LONGEST_NAME: usize = 15;

/// What the kernel replaces by the first number that makes a name unique.
const TEMPLATE: &str = "%d";

/// A device that is to be moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Device {
    name: String,
    new: String,
}

fn invalid(name: &str, reason: &str) -> Error {
    Error::Invalid { what: "linux.netDevices", value: name.to_owned(), reason: reason.to_owned() }
}

/// What `linux.netDevices` asks for, in the order of the names.
///
/// # Errors
/// Names that are none, and devices for a network that is the host's.
pub(crate) fn wanted(linux: &Linux, namespaces: &Namespaces) -> Result<Vec<Device>> {
    let Some(devices) = linux.net_devices().as_ref().filter(|devices| !devices.is_empty()) else {
        return Ok(Vec::new());
    };
    let wanted = parse(devices)?;
    match namespaces.has_own(LinuxNamespaceType::Network) {
        true => Ok(wanted),
        false => {
            Err(invalid(&wanted[0].name, "a container gets devices with a namespace of type network only"))
        }
    }
}

fn parse(devices: &HashMap<String, LinuxNetDevice>) -> Result<Vec<Device>> {
    let mut wanted: Vec<Device> = Vec::new();
    for (name, device) in devices {
        let new = device.name().as_deref().filter(|new| !new.is_empty()).unwrap_or(name);
        check_name(name)?;
        check_name(new.strip_suffix(TEMPLATE).unwrap_or(new))?;
        if wanted.iter().any(|other| other.new == new && !new.ends_with(TEMPLATE)) {
            return Err(invalid(new, "two devices can't have one name"));
        }
        wanted.push(Device { name: name.clone(), new: new.to_owned() });
    }
    wanted.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(wanted)
}

/// As the kernel's `dev_valid_name`, and without its templates.
fn check_name(name: &str) -> Result<()> {
    let odd = |c: char| c == '/' || c == ':' || c == '%' || c.is_ascii_whitespace() || c.is_ascii_control();
    match name.is_empty() || name.len() > LONGEST_NAME || name == "." || name == ".." || name.contains(odd) {
        true => Err(invalid(name, "this is no name of a network device")),
        false => Ok(()),
    }
}

/// One side of a move.
struct Side {
    namespace: OwnedFd,
    socket: Socket,
}

/// A device that was moved, and what it was before.
struct Moved<'d> {
    device: &'d Device,
    index: u32,
    addresses: Vec<Address>,
    up: bool,
}

/// Moves the devices into the network namespace `container`. The caller must have one thread.
///
/// # Errors
/// A device that isn't there or can't be moved, a name that is in use. The devices are where they were then.
pub(crate) fn give(devices: &[Device], container: BorrowedFd<'_>) -> Result<()> {
    let (host, container) = sides(container)?;
    // Before anything is moved: the kernel would find a name in use only when the device is there already.
    for device in devices {
        if host.socket.find(&device.name)?.is_none() {
            return Err(invalid(&device.name, "the host has no network device of this name"));
        }
        if container.socket.find(&device.new)?.is_some() {
            return Err(invalid(&device.new, "the container's network has a device of this name already"));
        }
    }
    let mut moved = Vec::new();
    for device in devices {
        match take(device, &host, &container) {
            Ok(one) => moved.push(one),
            Err(error) => {
                for one in moved.iter().rev() {
                    if let Err(error) = put_back(one, &host, &container) {
                        log::warn!("{} is still in the container's network: {error}", one.device.name);
                    }
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// Sockets in the caller's network namespace and in the container's.
fn sides(container: BorrowedFd<'_>) -> Result<(Side, Side)> {
    let own = Procfs::host()?.namespace(procfs::own_pid(), "net")?;
    let container = container.try_clone_to_owned().call(|| "dup(network namespace)".into())?;
    let enter = |namespace: &OwnedFd| {
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .call(|| "setns(network)".into())
    };
    let host = Socket::open()?;
    enter(&container)?;
    let socket = Socket::open();
    enter(&own)?;
    Ok((Side { namespace: own, socket: host }, Side { namespace: container, socket: socket? }))
}

fn take<'d>(device: &'d Device, host: &Side, container: &Side) -> Result<Moved<'d>> {
    let link =
        host.socket.find(&device.name)?.ok_or_else(|| invalid(&device.name, "it has gone meanwhile"))?;
    let addresses = host.socket.addresses(link.index)?;
    let before = container.socket.indices()?;
    host.socket.send_away(link.index, &device.new, container.namespace.as_fd(), &device.name)?;
    // The kernel gives it another number if this one is in use there, and a name of its own to a template.
    let mut new = container.socket.indices()?.into_iter().filter(|index| !before.contains(index));
    let index =
        new.next().ok_or_else(|| invalid(&device.name, "it has gone on its way into the container"))?;
    let moved = Moved { device, index, addresses, up: link.up };
    let settled = settle(container, index, &device.name, &device.new, &moved.addresses, true);
    match settled {
        Ok(()) => Ok(moved),
        Err(error) => {
            put_back(&moved, host, container)?;
            Err(error)
        }
    }
}

/// Gives a device that has arrived its addresses, and brings it up.
fn settle(side: &Side, index: u32, old: &str, new: &str, addresses: &[Address], up: bool) -> Result<()> {
    for address in addresses {
        side.socket.add_address(index, address, old, new)?;
    }
    match up {
        true => side.socket.bring_up(index, new),
        false => Ok(()),
    }
}

fn put_back(moved: &Moved<'_>, host: &Side, container: &Side) -> Result<()> {
    let (name, new) = (&moved.device.name, &moved.device.new);
    container.socket.send_away(moved.index, name, host.namespace.as_fd(), new)?;
    let link = host.socket.find(name)?.ok_or_else(|| invalid(name, "it has gone on its way back"))?;
    settle(host, link.index, name, name, &moved.addresses, moved.up)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn devices(json: &str) -> Result<Vec<Device>> {
        parse(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn devices_keep_their_name_or_get_another() {
        let found = devices(r#"{"b": {"name": "eth%d"}, "a": {}, "c": {"name": "d"}}"#).unwrap();
        let names: Vec<_> = found.iter().map(|d| (d.name.as_str(), d.new.as_str())).collect();
        assert_eq!(names, [("a", "a"), ("b", "eth%d"), ("c", "d")]);
    }

    #[test]
    fn names_are_checked() {
        for bad in [
            r#"{"": {}}"#,
            r#"{"a/b": {}}"#,
            r#"{"a%d": {"name": "x"}}"#,
            r#"{"a": {"name": "x%d%d"}}"#,
            r#"{"a": {"name": "x:1"}}"#,
            r#"{"a": {"name": ".."}}"#,
            r#"{"a": {"name": "0123456789abcdef"}}"#,
            r#"{"a": {"name": "x"}, "b": {"name": "x"}}"#,
        ] {
            assert!(devices(bad).is_err(), "{bad}");
        }
    }
}
