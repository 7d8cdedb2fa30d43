//! firewalld: what it must know of a bridge.
//!
//! The package's zone `sampan` has every interface whose name begins with `sampan`, so that
//! firewalld lets pass what the table lets pass, whenever it is started, reloaded or
//! restarted, and nobody needs to talk to it. A bridge with a name of the user's choice is
//! bound to the zone when its network is made: over D-Bus, at runtime and permanently.
//! What the administrator has bound to a zone stays there.
//!
//! Interfaces: firewalld.dbus(5). firewalld is never started by us.

use std::time::Duration;

use zbus::connection::Builder;
use zbus::{Connection, DynamicType, OwnedObjectPath, block_on};

use crate::config::Network;

const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
const CONFIG_PATH: &str = "/org/fedoraproject/FirewallD1/config";
const RUNTIME: &str = "org.fedoraproject.FirewallD1.zone";
const CONFIG: &str = "org.fedoraproject.FirewallD1.config";
const CONFIG_ZONE: &str = "org.fedoraproject.FirewallD1.config.zone";

/// The zone that the package brings.
const ZONE: &str = "sampan";
/// How the names of the interfaces begin that are in it anyway.
const PREFIX: &str = "sampan";

/// Binds the bridges of these networks to the zone, if firewalld runs. What can't be
/// bound is told in the log: the network itself is all right.
pub(crate) fn bind<'a>(networks: impl Iterator<Item = &'a Network>) {
    each(networks.filter_map(Network::own_bridge), "bind", |firewalld, name| {
        if firewalld.zone_at_runtime(name)?.is_empty() {
            firewalld.call(PATH, RUNTIME, "addInterface", &(ZONE, name))?;
        }
        if firewalld.permanent_zone(name)?.is_empty() {
            let zone = firewalld.permanent()?;
            firewalld.call(zone.as_str(), CONFIG_ZONE, "addInterface", &name)?;
        }
        Ok(())
    });
}

/// Takes a bridge out of the zone again.
pub(crate) fn unbind(bridge: &str) {
    each(std::iter::once(bridge), "unbind", |firewalld, name| {
        if firewalld.zone_at_runtime(name)? == ZONE {
            firewalld.call(PATH, RUNTIME, "removeInterface", &(ZONE, name))?;
        }
        if firewalld.permanent_zone(name)? == ZONE {
            let zone = firewalld.permanent()?;
            firewalld.call(zone.as_str(), CONFIG_ZONE, "removeInterface", &name)?;
        }
        Ok(())
    });
}

/// Does something about every bridge that the zone doesn't have by its name.
fn each<'a>(
    bridges: impl Iterator<Item = &'a str>,
    verb: &str,
    action: impl Fn(&Firewalld, &str) -> zbus::Result<()>,
) {
    let mut names = bridges.filter(|name| !name.starts_with(PREFIX)).peekable();
    if names.peek().is_none() {
        return;
    }
    let Some(firewalld) = Firewalld::running() else {
        return;
    };
    for name in names {
        if let Err(error) = action(&firewalld, name) {
            log::warn!(
                "firewalld can't {verb} {name} and zone {ZONE}: {error}; \
                 see `firewall-cmd --info-zone={ZONE}`"
            );
        }
    }
}

/// How long firewalld may take for a call; it is busy for a second while it reloads.
const PATIENCE: Duration = Duration::from_secs(10);

struct Firewalld {
    bus: Connection,
}

impl Firewalld {
    /// The firewalld that runs, if one does.
    fn running() -> Option<Self> {
        // Without a bus there is no firewalld either.
        let bus = block_on(Builder::system().method_timeout(PATIENCE).build()).ok()?;
        let firewalld = Self { bus };
        let (bus, path) = ("org.freedesktop.DBus", "/org/freedesktop/DBus");
        let reply = firewalld.request(bus, path, bus, "NameHasOwner", &NAME).ok()?;
        reply.body().deserialize::<bool>().ok()?.then_some(firewalld)
    }

    fn zone_at_runtime(&self, interface: &str) -> zbus::Result<String> {
        self.call(PATH, RUNTIME, "getZoneOfInterface", &interface)?.body().deserialize()
    }

    fn permanent_zone(&self, interface: &str) -> zbus::Result<String> {
        self.call(CONFIG_PATH, CONFIG, "getZoneOfInterface", &interface)?.body().deserialize()
    }

    /// The zone's object in the permanent configuration.
    fn permanent(&self) -> zbus::Result<OwnedObjectPath> {
        self.call(CONFIG_PATH, CONFIG, "getZoneByName", &ZONE)?.body().deserialize()
    }

    fn call(
        &self,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<zbus::message::Message> {
        self.request(NAME, path, interface, method, body)
    }

    fn request(
        &self,
        name: &str,
        path: &str,
        interface: &str,
        method: &str,
        body: &(impl serde::Serialize + DynamicType),
    ) -> zbus::Result<zbus::message::Message> {
        block_on(self.bus.call_method(Some(name), path, Some(interface), method, body))
    }
}
