//! Brings the objects on the bus in line with the containers, and says what has changed.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use zbus::object_server::SignalEmitter;
use zbus::{Connection, OwnedVariant};

use super::container::Container;
use super::manager::Manager;
use super::{PATH, Shared, object_path};
use crate::record::Record;

/// Exports an object for every container that is known.
pub(super) async fn all(connection: &Connection, shared: &Arc<Shared>) -> zbus::Result<()> {
    let names: Vec<String> = shared.records().keys().cloned().collect();
    for name in names {
        export(connection, shared, &name).await?;
    }
    Ok(())
}

async fn export(connection: &Connection, shared: &Arc<Shared>, name: &str) -> zbus::Result<()> {
    let container = Container::new(name.to_owned(), shared.clone());
    connection.object_server().at(object_path(name), container).await.map(drop)
}

/// Takes `now` as what is known, adds and removes objects, and emits the signals.
pub(super) async fn changes(
    connection: &Connection,
    shared: &Arc<Shared>,
    now: BTreeMap<String, Record>,
) -> zbus::Result<()> {
    let before = std::mem::replace(&mut *shared.records(), now.clone());
    let manager = SignalEmitter::new(connection, PATH)?;
    for (name, record) in &now {
        let old = before.get(name);
        match old {
            None => export(connection, shared, name).await?,
            Some(old) => properties_changed(connection, name, &record.changes(old)).await?,
        }
        let was = old.map(|old| old.status.to_string()).unwrap_or_default();
        let is = record.status.to_string();
        if was != is {
            Manager::state_changed(&manager, name, &was, &is).await?;
        }
    }
    for (name, old) in before.iter().filter(|(name, _)| !now.contains_key(*name)) {
        connection.object_server().remove::<Container, _>(object_path(name)).await?;
        Manager::state_changed(&manager, name, &old.status.to_string(), "").await?;
    }
    Ok(())
}

/// One `PropertiesChanged` for all that has changed.
async fn properties_changed(
    connection: &Connection,
    name: &str,
    changed: &HashMap<&'static str, OwnedVariant>,
) -> zbus::Result<()> {
    if changed.is_empty() {
        return Ok(());
    }
    let invalidated: [&str; 0] = [];
    SignalEmitter::new(connection, object_path(name))?
        .emit(
            "org.freedesktop.DBus.Properties",
            "PropertiesChanged",
            &("org.sampan1.Container", changed, &invalidated[..]),
        )
        .await
}
