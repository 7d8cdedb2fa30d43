//! Calls to systemd over D-Bus: what a unit is doing, and jobs that start, stop or restart it.
//!
//! [`Systemd`] blocks until systemd has answered, and for jobs until the job is done, as `systemctl`
//! does. The calls are those of org.freedesktop.systemd1(5). There is no caching: what a unit's
//! properties were a moment ago is not what they are.

mod calls;
mod property;

pub(crate) use calls::Calls;
pub use property::Property;

use zbus::Connection;

use crate::{Error, Result};

/// A connection to one systemd: that of the system, or a user's.
#[derive(Debug, Clone)]
pub struct Systemd {
    connection: Connection,
}

/// What systemd says about a unit. The words are systemd's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unit {
    /// The unit's name, which differs from the name asked for if that was an alias.
    pub id: String,
    /// `loaded`, `not-found`, `bad-setting`, `error` or `masked`.
    pub load_state: String,
    /// `active`, `reloading`, `inactive`, `failed`, `activating`, `deactivating`, …
    pub active_state: String,
    /// The state in the words of the unit's type: `running`, `dead`, `start-pre`, ….
    pub sub_state: String,
    /// The main process; 0 if there is none, and for units that are no services.
    pub main_pid: u32,
    /// Whether the service is over when its program is (`Type=oneshot`).
    pub is_oneshot: bool,
    /// How the last run ended: `success`, `exit-code`, `signal`, `oom-kill`, `timeout`, ….
    pub result: String,
    /// Exit status of the last main process, or the number of the signal that ended it.
    pub exec_main_status: i32,
    /// What [`Unit::exec_main_status`] is: `CLD_EXITED`, `CLD_KILLED` or `CLD_DUMPED` of
    /// sigaction(2), 0 while it runs.
    pub exec_main_code: i32,
    /// The cgroup, from the root of the hierarchy: `/system.slice/web.service`; empty if none.
    pub control_group: String,
    /// 32 hexadecimal digits that stand for this run of the unit; empty if it never ran.
    pub invocation_id: String,
    /// How often `Restart=` has restarted it.
    pub restarts: u32,
    /// What the service last sent as `STATUS=`.
    pub status_text: String,
    /// The file that the unit was read from.
    pub fragment_path: String,
    /// The file from which a generator made the unit (`SourcePath=`).
    pub source_path: String,
    /// Whether a job is queued or running for it.
    pub has_job: bool,
    /// What its stop may take in microseconds (`TimeoutStopUSec`): 2^64 - 1 without a limit, 0 for units that are no
    /// services.
    pub stop_timeout: u64,
    /// The units that stop with it (`BindsTo=` in them).
    pub bound_by: Vec<String>,
}

/// One line of a list of units, as `systemctl list-units` has it. The words are systemd's own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// The unit's name.
    pub name: String,
    /// As [`Unit::load_state`].
    pub load_state: String,
    /// As [`Unit::active_state`].
    pub active_state: String,
    /// As [`Unit::sub_state`].
    pub sub_state: String,
}

/// A transient unit beside another one.
#[derive(Debug, Clone, PartialEq)]
pub struct Transient {
    /// Its name, such as `web-health.timer`.
    pub name: String,
    /// What it is.
    pub properties: Vec<Property>,
}

/// Whom a signal is sent to, as in `systemctl kill --kill-whom=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The main process.
    Main,
    /// The control process, such as a running `ExecStop=`.
    Control,
    /// Every process of the unit.
    All,
}

impl Systemd {
    /// Connects to the systemd of the system.
    ///
    /// # Errors
    /// [`Error::Connect`] if the bus can't be reached.
    pub fn system() -> Result<Self> {
        Self::with("the system bus", zbus::block_on(Connection::system()))
    }

    /// Connects to the systemd of the calling user.
    ///
    /// # Errors
    /// [`Error::Connect`] if the bus can't be reached.
    pub fn user() -> Result<Self> {
        Self::with("the user's bus", zbus::block_on(Connection::session()))
    }

    /// Connects to the systemd of a user as that user, whom the caller may be under another number: in a user
    /// namespace the bus knows it by the number outside.
    ///
    /// # Errors
    /// [`Error::Connect`] if the bus can't be reached.
    pub fn user_as(uid: u32) -> Result<Self> {
        let builder = zbus::connection::Builder::session().user_id(uid);
        Self::with("the user's bus", zbus::block_on(builder.build()))
    }

    /// Connects to the systemd behind a bus at a D-Bus address, such as `unix:path=/run/bus`.
    ///
    /// # Errors
    /// [`Error::Connect`] if the bus can't be reached.
    pub fn at(address: &str) -> Result<Self> {
        Self::with(address, zbus::block_on(zbus::connection::Builder::address(address).build()))
    }

    fn with(bus: &str, connection: zbus::Result<Connection>) -> Result<Self> {
        match connection {
            Ok(connection) => Ok(Self { connection }),
            Err(source) => Err(Error::Connect { bus: bus.to_owned(), source }),
        }
    }

    fn calls(&self) -> Calls<'_> {
        Calls(&self.connection)
    }

    /// What systemd says about a unit (`web.service`). A unit that does not exist has the
    /// [`Unit::load_state`] `not-found`.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn unit(&self, name: &str) -> Result<Unit> {
        zbus::block_on(self.calls().unit(name))
    }

    /// The states of many units in one call. Units that are not in memory are loaded for it; those that
    /// do not exist have the [`Listed::load_state`] `not-found`. Templates have no state.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn named(&self, names: &[String]) -> Result<Vec<Listed>> {
        zbus::block_on(self.calls().named(names))
    }

    /// The states of the units in memory whose names fit one of the patterns, which are those of
    /// glob(7): `web@*.service`.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn matching(&self, patterns: &[String]) -> Result<Vec<Listed>> {
        zbus::block_on(self.calls().matching(patterns))
    }

    /// The unit that a process belongs to.
    ///
    /// # Errors
    /// [`Error::Call`], also if the process belongs to none.
    pub fn unit_of(&self, pid: u32) -> Result<String> {
        zbus::block_on(self.calls().unit_of(pid))
    }

    /// Starts a unit and waits until it has started.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Job`] if it didn't start, [`Error::Call`].
    pub fn start(&self, unit: &str) -> Result<()> {
        zbus::block_on(self.calls().job("start", unit))
    }

    /// Stops a unit and waits until it has stopped. It is no error if it doesn't run.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Job`], [`Error::Call`].
    pub fn stop(&self, unit: &str) -> Result<()> {
        zbus::block_on(self.calls().job("stop", unit))
    }

    /// Begins to stop a unit, and doesn't wait until it has stopped.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Call`].
    pub fn begin_stop(&self, unit: &str) -> Result<()> {
        zbus::block_on(self.calls().begin_stop(unit))
    }

    /// Stops a unit if it runs, starts it, and waits until it has started.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Job`], [`Error::Call`].
    pub fn restart(&self, unit: &str) -> Result<()> {
        zbus::block_on(self.calls().job("restart", unit))
    }

    /// Sends a signal to processes of a unit.
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Call`].
    pub fn kill(&self, unit: &str, whom: Whom, signal: i32) -> Result<()> {
        zbus::block_on(self.calls().kill(unit, whom, signal))
    }

    /// Forgets that a unit has failed (`systemctl reset-failed`).
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Call`].
    pub fn reset_failed(&self, unit: &str) -> Result<()> {
        zbus::block_on(self.calls().reset_failed(unit))
    }

    /// Changes properties of a unit until it ends (`systemctl set-property --runtime`).
    ///
    /// # Errors
    /// [`Error::NoSuchUnit`], [`Error::Call`], for example if the unit has no such property.
    pub fn set_properties(&self, unit: &str, properties: &[Property]) -> Result<()> {
        zbus::block_on(self.calls().set_properties(unit, properties))
    }

    /// Has systemd read all unit files anew, generators included.
    ///
    /// # Errors
    /// [`Error::Call`].
    pub fn reload(&self) -> Result<()> {
        zbus::block_on(self.calls().reload())
    }

    /// Moves running processes into a transient scope `name` (`….scope`) and waits until that is so.
    /// systemd.scope(5).
    ///
    /// # Errors
    /// [`Error::Job`], [`Error::Call`], for example if a unit of this name exists.
    pub fn start_scope(&self, name: &str, pids: &[u32], properties: &[Property]) -> Result<()> {
        let mut all = vec![Property::pids(pids)];
        all.extend_from_slice(properties);
        zbus::block_on(self.calls().start_transient(name, &all, &[]))
    }

    /// Starts a transient service `name` (`….service`) that runs `command` (an absolute path and its
    /// arguments) and waits until it has started. systemd.service(5).
    ///
    /// # Errors
    /// [`Error::Job`], [`Error::Call`], for example if a unit of this name exists.
    pub fn start_service(&self, name: &str, command: &[String], properties: &[Property]) -> Result<()> {
        let mut all = vec![Property::exec("ExecStart", command)];
        all.extend_from_slice(properties);
        zbus::block_on(self.calls().start_transient(name, &all, &[]))
    }

    /// Like [`Systemd::start_service`], with transient units beside the service that it refers to, such as a
    /// timer that it `Wants`: those come into being with it.
    ///
    /// # Errors
    /// [`Error::Job`], [`Error::Call`], for example if a unit of one of these names exists.
    pub fn start_service_with(
        &self,
        name: &str,
        command: &[String],
        properties: &[Property],
        beside: &[Transient],
    ) -> Result<()> {
        let mut all = vec![Property::exec("ExecStart", command)];
        all.extend_from_slice(properties);
        zbus::block_on(self.calls().start_transient(name, &all, beside))
    }
}
