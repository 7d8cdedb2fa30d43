//! The interface `org.sampan1.Container` of the objects below `/org/sampan1/container`.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sampan_container::process;
use zbus::message::Header;
use zbus::{Connection, fdo, interface};

use super::Shared;
use crate::record::{Port, Record};
use crate::systemd::Calls;
use crate::{Error, polkit};

/// One container.
#[derive(Debug)]
pub(super) struct Container {
    name: String,
    shared: Arc<Shared>,
}

impl Container {
    pub(super) fn new(name: String, shared: Arc<Shared>) -> Self {
        Self { name, shared }
    }

    /// One thing out of the record; an error if the container has gone in this moment.
    fn get<T>(&self, what: impl FnOnce(&Record) -> T) -> fdo::Result<T> {
        let _call = self.shared.clients.call();
        let records = self.shared.records();
        let record = records.get(&self.name).map(what);
        record.ok_or_else(|| fdo::Error::UnknownObject(format!("no container {:?}", self.name)))
    }

    /// The container, if the caller may act on it.
    async fn authorized(&self, connection: &Connection, header: &Header<'_>) -> fdo::Result<Record> {
        let record = self.get(Record::clone)?;
        let details = HashMap::from([("container", record.name.as_str()), ("unit", record.unit.as_str())]);
        polkit::authorize(connection, header, &details).await?;
        Ok(record)
    }

    /// Runs a job on the container's unit.
    async fn job(&self, verb: &'static str, connection: &Connection, header: &Header<'_>) -> fdo::Result<()> {
        let _call = self.shared.clients.call();
        let record = self.authorized(connection, header).await?;
        if record.unit.is_empty() {
            let message = format!("container {:?} belongs to no unit that could {verb}", record.name);
            return Err(fdo::Error::NotSupported(message));
        }
        Calls(connection).job(verb, &record.unit).await.map_err(failed)
    }
}

fn failed(error: Error) -> fdo::Error {
    fdo::Error::Failed(error.to_string())
}

/// Sends a signal to a container's first process, which is found again by its start time.
fn signal(record: &Record, signal: i32) -> fdo::Result<()> {
    let gone = || fdo::Error::Failed(format!("container {:?} is not running", record.name));
    let pid = i32::try_from(record.pid).ok().filter(|pid| *pid > 0).ok_or_else(gone)?;
    let pidfd = process::open(pid, record.start_time).map_err(|error| failed(error.into()))?;
    let pidfd = pidfd.ok_or_else(gone)?;
    match process::signal(std::os::fd::AsFd::as_fd(&pidfd), signal) {
        Ok(true) => Ok(()),
        Ok(false) => Err(gone()),
        Err(error) => Err(failed(error.into())),
    }
}

// What these comments say is also in the introspection data.
#[interface(name = "org.sampan1.Container")]
impl Container {
    /// Stops the container by stopping its unit, and returns when it has stopped. Needs the polkit
    /// action org.sampan1.manage.
    async fn stop(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.job("stop", connection, &header).await
    }

    /// Stops the container's unit, if it runs, and starts it. Needs the polkit action
    /// org.sampan1.manage.
    async fn restart(
        &self,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        self.job("restart", connection, &header).await
    }

    /// Sends a signal (a number, see signal(7)) to the container's first process. Needs the polkit
    /// action org.sampan1.manage.
    async fn kill(
        &self,
        signal: i32,
        #[zbus(connection)] connection: &Connection,
        #[zbus(header)] header: Header<'_>,
    ) -> fdo::Result<()> {
        let _call = self.shared.clients.call();
        if !(1..=64).contains(&signal) {
            return Err(fdo::Error::InvalidArgs(format!("{signal} is no signal: they are 1 to 64")));
        }
        let record = self.authorized(connection, &header).await?;
        self::signal(&record, signal)
    }

    /// The container's name.
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> &str {
        &self.name
    }

    /// 64 hexadecimal digits; another container of the same name has others.
    #[zbus(property)]
    fn id(&self) -> fdo::Result<String> {
        self.get(|record| record.id.clone())
    }

    /// creating, created, running, paused or stopped.
    #[zbus(property)]
    fn state(&self) -> fdo::Result<String> {
        self.get(|record| record.status.to_string())
    }

    /// The first process, as the host numbers it; 0 if there is none.
    #[zbus(property)]
    fn pid(&self) -> fdo::Result<u32> {
        self.get(|record| record.pid)
    }

    /// The name of the image, or the directory given as Rootfs=.
    #[zbus(property)]
    fn image(&self) -> fdo::Result<String> {
        self.get(|record| record.image.clone())
    }

    /// Addresses with prefix length, by network.
    #[zbus(property)]
    fn addresses(&self) -> fdo::Result<BTreeMap<String, Vec<String>>> {
        self.get(|record| record.addresses.clone())
    }

    /// The systemd unit whose main process the container is; empty if there is none.
    #[zbus(property)]
    fn unit(&self) -> fdo::Result<String> {
        self.get(|record| record.unit.clone())
    }

    /// When the container was made (RFC 3339).
    #[zbus(property)]
    fn created(&self) -> fdo::Result<String> {
        self.get(|record| record.created.clone())
    }

    /// How the last run ended; -1 while it runs.
    #[zbus(property)]
    fn exit_code(&self) -> fdo::Result<i32> {
        self.get(|record| record.exit_code)
    }

    /// starting, healthy or unhealthy; empty without a health check.
    #[zbus(property)]
    fn health(&self) -> fdo::Result<String> {
        self.get(|record| record.health.clone())
    }

    /// Published ports: host address (empty: all), first host port, first container port, how many,
    /// protocol.
    #[zbus(property)]
    fn ports(&self) -> fdo::Result<Vec<Port>> {
        self.get(|record| record.ports.clone())
    }

    /// The container's labels.
    #[zbus(property)]
    fn labels(&self) -> fdo::Result<BTreeMap<String, String>> {
        self.get(|record| record.labels.clone())
    }
}
