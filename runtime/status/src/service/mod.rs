//! The bus name `org.sampan1`: containers as D-Bus objects.
//!
//! `/org/sampan1` has the interface `org.sampan1.Manager` (`manager`), each container an object
//! below `/org/sampan1/container` with `org.sampan1.Container` (`container`). [`serve`] is the
//! program's life: read all containers, take the name, then wait for changes (`watch`), publish them,
//! and leave when nobody has asked for anything in a while and nobody is subscribed (`clients`).
//!
//! zbus answers calls on a thread of its own; this one waits for the kernel.

mod clients;
mod container;
mod manager;
mod publish;
mod watch;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sampan_container::state::{self, Containers};
use zbus::Connection;
use zbus::connection::Builder;

use crate::record::{self, Record};
use crate::{Error, Result};
use clients::Clients;
use watch::Watch;

/// The name on the bus.
pub const NAME: &str = "org.sampan1";
/// The object with the interface `org.sampan1.Manager`.
pub const PATH: &str = "/org/sampan1";
/// How long `sampand` stays without anything to do.
pub const DEFAULT_IDLE: Duration = Duration::from_secs(30);

/// Which bus and which containers to serve.
#[derive(Debug, Clone)]
pub struct Configuration {
    /// A D-Bus address; none means the system bus.
    pub bus: Option<String>,
    /// The containers' state directory.
    pub containers: PathBuf,
    /// How long to stay without anything to do.
    pub idle: Duration,
}

impl Default for Configuration {
    fn default() -> Self {
        Self { bus: None, containers: state::DEFAULT_ROOT.into(), idle: DEFAULT_IDLE }
    }
}

/// What the bus methods and the watching thread have in common.
#[derive(Debug)]
struct Shared {
    containers: Containers,
    records: Mutex<BTreeMap<String, Record>>,
    clients: Clients,
}

impl Shared {
    /// The containers as last seen. Nothing panics while it holds them, so they are never half-changed.
    fn records(&self) -> MutexGuard<'_, BTreeMap<String, Record>> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The object path of a container: every byte that a path can't hold as `_` and two hexadecimal
/// digits, as systemd escapes unit names in its own paths (`sd_bus_path_encode(3)`).
pub fn object_path(name: &str) -> String {
    let mut path = format!("{PATH}/container/");
    for (place, byte) in name.bytes().enumerate() {
        match byte {
            b'0'..=b'9' if place > 0 => path.push(byte.into()),
            b'a'..=b'z' | b'A'..=b'Z' => path.push(byte.into()),
            _ => path.push_str(&format!("_{byte:02x}")),
        }
    }
    path
}

/// Serves `org.sampan1` until nobody needs it.
///
/// # Errors
/// [`Error::Connect`], [`Error::Call`] if the name is taken, [`Error::Closed`] if the bus goes away,
/// [`Error::Watch`] and [`Error::Container`] if the state can't be followed.
pub fn serve(configuration: &Configuration) -> Result<()> {
    let containers = Containers::open(&configuration.containers)?;
    let mut watch = Watch::new(&configuration.containers)?;
    watch.follow(&containers)?;
    let records = watch.amend(record::scan(&containers)?)?;
    let clients = Clients::new().map_err(Error::watch("eventfd for", &configuration.containers))?;
    let shared = Arc::new(Shared { containers, records: Mutex::new(records), clients });

    let connection = zbus::block_on(connect(configuration, &shared))?;
    clients::forget_vanished(connection.clone(), shared.clone());
    while !connection.is_closed() && !shared.clients.idle_for(configuration.idle) {
        let timeout = shared.clients.patience(configuration.idle);
        if watch.wait(shared.clients.wake(), timeout)? {
            watch.follow(&shared.containers)?;
            let now = watch.amend(record::scan(&shared.containers)?)?;
            zbus::block_on(publish::changes(&connection, &shared, now))
                .map_err(Error::call("publishing changes"))?;
        }
    }
    if connection.is_closed() {
        return Err(Error::Closed(NAME.to_owned()));
    }
    leave(&connection, &shared)
}

/// Connects, exports all objects, and only then takes the name: the first call finds them all.
async fn connect(configuration: &Configuration, shared: &Arc<Shared>) -> Result<Connection> {
    let bus = configuration.bus.as_deref().unwrap_or("the system bus");
    let failed = |source| Error::Connect { bus: bus.to_owned(), source };
    let builder = match &configuration.bus {
        Some(address) => Builder::address(address.as_str()),
        None => Builder::system(),
    };
    let manager = manager::Manager::new(shared.clone());
    let connection = builder.serve_at(PATH, manager).build().await.map_err(failed)?;
    publish::all(&connection, shared).await.map_err(Error::call("exporting the containers"))?;
    connection.request_name(NAME).await.map_err(Error::call(format!("taking the name {NAME}")))?;
    Ok(connection)
}

/// Gives the name back first, so that the bus starts a successor for calls from now on, and
/// answers what has come in before.
fn leave(connection: &Connection, shared: &Shared) -> Result<()> {
    zbus::block_on(connection.release_name(NAME)).map_err(Error::call(format!("releasing {NAME}")))?;
    let grace = Duration::from_millis(100);
    loop {
        std::thread::sleep(grace);
        if shared.clients.idle_for(grace) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::object_path;

    #[test]
    fn object_paths_hold_letters_digits_and_escapes() {
        for (name, path) in [
            ("web", "web"),
            ("web-1", "web_2d1"),
            ("1web", "_31web"),
            ("a_b.c", "a_5fb_2ec"),
            ("a+b", "a_2bb"),
        ] {
            assert_eq!(object_path(name), format!("/org/sampan1/container/{path}"));
        }
    }
}
