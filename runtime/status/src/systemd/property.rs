//! Properties of transient units.

use zbus::{Signature, Variant};

/// One property of a transient unit, such as `Slice=`; the names are those of
/// org.freedesktop.systemd1(5), which for times end in `USec`.
#[derive(Debug, PartialEq)]
pub struct Property {
    name: String,
    value: Variant<'static>,
}

impl Clone for Property {
    fn clone(&self) -> Self {
        // Only values that hold file descriptors can fail to be cloned, and none here does.
        let value = self.value.try_clone().unwrap_or(Variant::Bool(false));
        Self { name: self.name.clone(), value }
    }
}

impl Property {
    fn new(name: &str, value: impl Into<Variant<'static>>) -> Self {
        Self { name: name.to_owned(), value: value.into() }
    }

    /// A string, such as `Description` or `Slice`.
    pub fn text(name: &str, value: &str) -> Self {
        Self::new(name, value.to_owned())
    }

    /// A boolean, such as `Delegate`.
    pub fn boolean(name: &str, value: bool) -> Self {
        Self::new(name, value)
    }

    /// An unsigned number, such as `MemoryMax` (bytes) or `TimeoutStopUSec` (microseconds).
    pub fn number(name: &str, value: u64) -> Self {
        Self::new(name, value)
    }

    /// A level of syslog(3), such as `SyslogLevel`.
    pub fn level(name: &str, value: i32) -> Self {
        Self::new(name, value)
    }

    /// A list of strings, such as `After` or `Environment`.
    pub fn list(name: &str, values: &[String]) -> Self {
        Self::new(name, values.to_vec())
    }

    /// Bytes, such as the sets of bits `AllowedCPUs` and `AllowedMemoryNodes`: `ay`.
    pub fn bytes(name: &str, value: &[u8]) -> Self {
        Self::new(name, value.to_vec())
    }

    /// Numbers for block devices by their paths (`IODeviceWeight`, `IOReadBandwidthMax`, …): `a(st)`.
    pub fn devices(name: &str, values: &[(String, u64)]) -> Self {
        Self::new(name, values.to_vec())
    }

    /// `PIDs`: the processes that a scope begins with.
    pub(crate) fn pids(pids: &[u32]) -> Self {
        Self::new("PIDs", pids.to_vec())
    }

    /// A command line (`ExecStart`, `ExecStopPost`, …): one element of `a(sasb)`, whose failure counts.
    pub fn exec(name: &str, command: &[String]) -> Self {
        let path = command.first().cloned().unwrap_or_default();
        Self::new(name, vec![(path, command.to_vec(), false)])
    }

    /// Fields of each journal entry (`LogExtraFields`), as `NAME=VALUE`: `aay`.
    pub fn log_fields(fields: &[String]) -> Self {
        let fields: Vec<Vec<u8>> = fields.iter().map(|field| field.as_bytes().to_vec()).collect();
        Self::new("LogExtraFields", fields)
    }

    /// When a timer elapses (`TimersMonotonic`), such as `OnActiveSec`, here in microseconds: `a(st)`.
    pub fn timers(timers: &[(&str, u64)]) -> Self {
        let timers: Vec<(String, u64)> =
            timers.iter().map(|(base, time)| ((*base).to_owned(), *time)).collect();
        Self::new("TimersMonotonic", timers)
    }

    /// A set of exit codes and signals (`SuccessExitStatus`): `(aiai)`.
    pub fn exit_status(name: &str, codes: &[i32], signals: &[i32]) -> Self {
        Self::new(name, (codes.to_vec(), signals.to_vec()))
    }

    /// As `(sv)`, which `StartTransientUnit` takes.
    pub(crate) fn wire(&self) -> (&str, &Variant<'static>) {
        (&self.name, &self.value)
    }

    /// The D-Bus type of the value.
    pub fn signature(&self) -> &Signature {
        self.value.value_signature()
    }
}
