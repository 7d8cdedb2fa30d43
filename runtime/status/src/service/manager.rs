//! The interface `org.sampan1.Manager` of the object `/org/sampan1`.

use std::collections::HashMap;
use std::sync::Arc;

use zbus::message::Header;
use zbus::object_server::SignalEmitter;
use zbus::{OwnedObjectPath, OwnedVariant, fdo, interface};

use super::{Shared, object_path};
use crate::record;

/// All containers.
#[derive(Debug)]
pub(super) struct Manager {
    shared: Arc<Shared>,
}

impl Manager {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }
}

// What these comments say is also in the introspection data.
#[interface(name = "org.sampan1.Manager")]
impl Manager {
    /// All containers, read anew, each as a dictionary with the properties of
    /// org.sampan1.Container: Name (s), Id (s), State (s), Pid (u), Image (s), Addresses (a{sas}),
    /// Unit (s), Created (s), ExitCode (i), Health (s), Ports (a(sqqqs)), Labels (a{ss}).
    #[zbus(out_args("containers"))]
    fn list_containers(&self) -> fdo::Result<Vec<HashMap<&'static str, OwnedVariant>>> {
        let _call = self.shared.clients.call();
        let records = record::scan(&self.shared.containers);
        let records = records.map_err(|error| fdo::Error::Failed(error.to_string()))?;
        Ok(records.values().map(record::Record::properties).collect())
    }

    /// The object of the container with this name, or the only one whose id begins so.
    #[zbus(out_args("container"))]
    fn get_container(&self, name: &str) -> fdo::Result<OwnedObjectPath> {
        let _call = self.shared.clients.call();
        let dir = self.shared.containers.get(name);
        let dir = dir.map_err(|error| fdo::Error::UnknownObject(error.to_string()))?;
        OwnedObjectPath::try_from(object_path(dir.name()))
            .map_err(|error| fdo::Error::Failed(error.to_string()))
    }

    /// Keeps the service running, and its signals coming, until Unsubscribe or until the caller
    /// leaves the bus.
    fn subscribe(&self, #[zbus(header)] header: Header<'_>) -> fdo::Result<()> {
        let _call = self.shared.clients.call();
        self.shared.clients.subscribe(sender(&header)?);
        Ok(())
    }

    /// The caller has no more use for signals.
    fn unsubscribe(&self, #[zbus(header)] header: Header<'_>) -> fdo::Result<()> {
        let _call = self.shared.clients.call();
        match self.shared.clients.unsubscribe(sender(&header)?) {
            true => Ok(()),
            false => Err(fdo::Error::Failed("the caller is not subscribed".into())),
        }
    }

    /// The version of sampan.
    #[zbus(property(emits_changed_signal = "const"))]
    fn version(&self) -> &str {
        let _call = self.shared.clients.call();
        env!("CARGO_PKG_VERSION")
    }

    /// A container has another state than before. States are creating, created, running, paused
    /// and stopped; an empty old state means that it is new, an empty new one that it is gone.
    #[zbus(signal)]
    pub(super) async fn state_changed(
        emitter: &SignalEmitter<'_>,
        name: &str,
        old: &str,
        new: &str,
    ) -> zbus::Result<()>;
}

fn sender<'a>(header: &'a Header<'_>) -> fdo::Result<&'a str> {
    let sender = header.sender().map(|sender| sender.as_str());
    sender.ok_or_else(|| fdo::Error::Failed("the caller has no name on the bus".into()))
}
