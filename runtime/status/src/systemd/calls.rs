//! The calls themselves, without blocking: `sampand` makes them from its own bus methods.

use std::collections::HashMap;

use zbus::message::{Message, Type};
use zbus::{Connection, MatchRule, OwnedObjectPath, OwnedVariant};

use super::{Listed, Property, Transient, Unit, Whom};
use crate::stream::Signals;
use crate::{Error, Result};

const SYSTEMD: &str = "org.freedesktop.systemd1";
const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// `replace` of systemctl(1): a conflicting job that is queued gives way.
const MODE: &str = "replace";

/// Calls to the systemd behind a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calls<'a>(pub(crate) &'a Connection);

impl Calls<'_> {
    async fn manager<B>(&self, method: &str, what: &str, body: &B) -> Result<Message>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let reply = self.0.call_method(Some(SYSTEMD), PATH, Some(MANAGER), method, body).await;
        reply.map_err(|error| match &error {
            zbus::Error::MethodError(name, ..) if name.ends_with(".NoSuchUnit") => {
                Error::NoSuchUnit(what.to_owned())
            }
            zbus::Error::MethodError(name, ..) if name.ends_with(".UnitExists") => {
                Error::UnitExists(what.to_owned())
            }
            _ => Error::Call { call: format!("systemd {method}({what})"), source: error },
        })
    }

    /// See [`super::Systemd::unit`].
    pub(crate) async fn unit(&self, name: &str) -> Result<Unit> {
        let reply = self.manager("LoadUnit", name, &name).await?;
        let call = format!("systemd properties of {name}");
        let path: OwnedObjectPath = reply.body().deserialize().map_err(Error::call(call.clone()))?;
        let mut properties = HashMap::new();
        for interface in ["Unit", "Service", "Scope"] {
            if interface == "Unit" || name.ends_with(&format!(".{}", interface.to_lowercase())) {
                let all = self.properties(&path, &format!("{SYSTEMD}.{interface}")).await;
                properties.extend(all.map_err(Error::call(call.clone()))?);
            }
        }
        Ok(Unit::from_properties(properties))
    }

    async fn properties(
        &self,
        path: &OwnedObjectPath,
        interface: &str,
    ) -> zbus::Result<HashMap<String, OwnedVariant>> {
        let reply = self.0.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "GetAll", &interface).await?;
        reply.body().deserialize()
    }

    /// See [`super::Systemd::named`].
    pub(crate) async fn named(&self, names: &[String]) -> Result<Vec<Listed>> {
        listed(&self.manager("ListUnitsByNames", &names.join(", "), &names).await?)
    }

    /// See [`super::Systemd::matching`].
    pub(crate) async fn matching(&self, patterns: &[String]) -> Result<Vec<Listed>> {
        // The first argument would choose states.
        let body = (Vec::<&str>::new(), patterns);
        listed(&self.manager("ListUnitsByPatterns", &patterns.join(", "), &body).await?)
    }

    /// See [`super::Systemd::unit_of`].
    pub(crate) async fn unit_of(&self, pid: u32) -> Result<String> {
        let call = format!("systemd unit of process {pid}");
        let reply = self.manager("GetUnitByPID", &pid.to_string(), &pid).await?;
        let path: OwnedObjectPath = reply.body().deserialize().map_err(Error::call(call.clone()))?;
        let body = ("org.freedesktop.systemd1.Unit", "Id");
        let reply = self.0.call_method(Some(SYSTEMD), path, Some(PROPERTIES), "Get", &body);
        let reply = reply.await.map_err(Error::call(call.clone()))?;
        let id: OwnedVariant = reply.body().deserialize().map_err(Error::call(call.clone()))?;
        String::try_from(id).map_err(Error::call(call))
    }

    /// Runs a job (`start`, `stop`, `restart`) to its end.
    pub(crate) async fn job(&self, verb: &'static str, unit: &str) -> Result<()> {
        let method = match verb {
            "start" => "StartUnit",
            "stop" => "StopUnit",
            _ => "RestartUnit",
        };
        self.run_job(verb, unit, method, &(unit, MODE)).await
    }

    /// See [`super::Systemd::begin_stop`].
    pub(crate) async fn begin_stop(&self, unit: &str) -> Result<()> {
        self.manager("StopUnit", unit, &(unit, MODE)).await.map(drop)
    }

    /// See [`super::Systemd::start_scope`].
    pub(crate) async fn start_transient(
        &self,
        name: &str,
        properties: &[Property],
        beside: &[Transient],
    ) -> Result<()> {
        let properties: Vec<_> = properties.iter().map(Property::wire).collect();
        let auxiliary: Vec<_> = beside
            .iter()
            .map(|unit| (unit.name.as_str(), unit.properties.iter().map(Property::wire).collect::<Vec<_>>()))
            .collect();
        self.run_job("start", name, "StartTransientUnit", &(name, "fail", properties, auxiliary)).await
    }

    /// Calls a method that queues a job and waits for the signal that the job is gone.
    ///
    /// Whoever queues a job gets its `JobRemoved`, without `Subscribe()`. The subscription stands
    /// before the call, or a short job would be over before anyone listens.
    async fn run_job<B>(&self, verb: &'static str, unit: &str, method: &str, body: &B) -> Result<()>
    where
        B: serde::Serialize + zbus::DynamicType,
    {
        let call = format!("systemd {method}({unit})");
        let mut removed = self.jobs_removed().await.map_err(Error::call(call.clone()))?;
        let reply = self.manager(method, unit, body).await?;
        let job: OwnedObjectPath = reply.body().deserialize().map_err(Error::call(call.clone()))?;
        loop {
            let signal = removed.next().await.map_err(Error::call(call.clone()))?;
            let signal = signal.ok_or_else(|| Error::Closed(call.clone()))?;
            // Anyone may send us a signal of this name: only systemd's counts.
            if signal.header().sender() != reply.header().sender() {
                continue;
            }
            let (_, gone, _, result): (u32, OwnedObjectPath, String, String) =
                signal.body().deserialize().map_err(Error::call(call.clone()))?;
            if gone == job {
                return match result.as_str() {
                    "done" => Ok(()),
                    _ => Err(Error::Job { verb, unit: unit.to_owned(), result }),
                };
            }
        }
    }

    async fn jobs_removed(&self) -> zbus::Result<Signals> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(SYSTEMD)
            .path(PATH)
            .interface(MANAGER)
            .member("JobRemoved")
            .build()?;
        Signals::subscribe(rule, self.0).await
    }

    /// See [`super::Systemd::kill`].
    pub(crate) async fn kill(&self, unit: &str, whom: Whom, signal: i32) -> Result<()> {
        let whom = match whom {
            Whom::Main => "main",
            Whom::Control => "control",
            Whom::All => "all",
        };
        self.manager("KillUnit", unit, &(unit, whom, signal)).await.map(drop)
    }

    /// See [`super::Systemd::reset_failed`].
    pub(crate) async fn reset_failed(&self, unit: &str) -> Result<()> {
        self.manager("ResetFailedUnit", unit, &unit).await.map(drop)
    }

    /// See [`super::Systemd::set_properties`].
    pub(crate) async fn set_properties(&self, unit: &str, properties: &[Property]) -> Result<()> {
        let properties: Vec<_> = properties.iter().map(Property::wire).collect();
        // For this run of the unit only: nothing of it is written to a file below /etc.
        let runtime = true;
        self.manager("SetUnitProperties", unit, &(unit, runtime, properties)).await.map(drop)
    }

    /// See [`super::Systemd::reload`].
    pub(crate) async fn reload(&self) -> Result<()> {
        self.manager("Reload", "", &()).await.map(drop)
    }
}

/// Name, description, load, active and sub state, unit that it follows, object, and its job.
type Row = (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// Reads the answer to one of the methods that list units.
fn listed(reply: &Message) -> Result<Vec<Listed>> {
    let rows: Vec<Row> =
        reply.body().deserialize().map_err(Error::call("systemd list of units".to_owned()))?;
    let rows = rows.into_iter().map(|(name, _, load_state, active_state, sub_state, ..)| Listed {
        name,
        load_state,
        active_state,
        sub_state,
    });
    Ok(rows.collect())
}

impl Unit {
    /// Reads what `GetAll` has given; what a unit's type does not have stays empty.
    fn from_properties(mut properties: HashMap<String, OwnedVariant>) -> Self {
        let mut text = |name: &str| {
            properties.remove(name).and_then(|value| String::try_from(value).ok()).unwrap_or_default()
        };
        let mut unit = Self {
            id: text("Id"),
            load_state: text("LoadState"),
            active_state: text("ActiveState"),
            sub_state: text("SubState"),
            is_oneshot: text("Type") == "oneshot",
            result: text("Result"),
            control_group: text("ControlGroup"),
            status_text: text("StatusText"),
            fragment_path: text("FragmentPath"),
            source_path: text("SourcePath"),
            ..Self::default()
        };
        let id: Option<Vec<u8>> = properties.remove("InvocationID").and_then(|id| id.try_into().ok());
        unit.invocation_id = id.unwrap_or_default().iter().map(|byte| format!("{byte:02x}")).collect();
        unit.bound_by =
            properties.remove("BoundBy").and_then(|units| Vec::try_from(units).ok()).unwrap_or_default();
        let job: Option<(u32, OwnedObjectPath)> =
            properties.remove("Job").and_then(|job| job.try_into().ok());
        unit.has_job = job.is_some_and(|(number, _)| number != 0);
        let number = |name: &str| properties.get(name).and_then(|value| u64::try_from(value).ok());
        unit.stop_timeout = number("TimeoutStopUSec").unwrap_or_default();
        let number = |name: &str| properties.get(name).and_then(|value| u32::try_from(value).ok());
        unit.main_pid = number("MainPID").unwrap_or_default();
        unit.restarts = number("NRestarts").unwrap_or_default();
        let number = |name: &str| properties.get(name).and_then(|value| i32::try_from(value).ok());
        unit.exec_main_status = number("ExecMainStatus").unwrap_or_default();
        unit.exec_main_code = number("ExecMainCode").unwrap_or_default();
        unit
    }
}
