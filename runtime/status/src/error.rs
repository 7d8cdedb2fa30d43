//! What can go wrong between us, the bus and systemd.

use std::path::PathBuf;

/// A result whose error is [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// An operation of this crate that failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The bus can't be reached.
    #[error("connecting to {bus}: {source}")]
    Connect {
        /// The bus, by name or address.
        bus: String,
        /// What zbus said.
        source: zbus::Error,
    },

    /// A call was refused, or its answer is not what was expected.
    #[error("{call}: {source}")]
    Call {
        /// Method and arguments.
        call: String,
        /// What the other side said.
        source: zbus::Error,
    },

    /// systemd has no such unit loaded.
    #[error("unit {0} is not loaded; see `systemctl list-units --all`")]
    NoSuchUnit(String),

    /// There is a unit of the name that a transient one was to have.
    #[error("there is a unit {0} already; see `systemctl cat {0}`")]
    UnitExists(String),

    /// A job of systemd ended, but not well.
    #[error("{verb} of {unit} ended as {result:?}; see `systemctl status {unit}`")]
    Job {
        /// `start`, `stop` or `restart`.
        verb: &'static str,
        /// The unit.
        unit: String,
        /// `canceled`, `timeout`, `failed`, `dependency` or `skipped`.
        result: String,
    },

    /// The bus went away in the middle of something.
    #[error("{0}: the bus has closed the connection")]
    Closed(String),

    /// Watching the state directory failed.
    #[error("{operation} {path}: {source}", path = path.display())]
    Watch {
        /// The system call.
        operation: &'static str,
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: std::io::Error,
    },

    /// The state of a container can't be read.
    #[error(transparent)]
    Container(#[from] sampan_container::Error),
}

impl Error {
    /// Whether there is no bus at all: its socket does not exist, or nobody listens on it.
    pub fn is_no_bus(&self) -> bool {
        let Self::Connect { source: zbus::Error::Connection(error, _), .. } = self else { return false };
        matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused)
    }

    /// Names the call that failed; for `map_err`.
    pub(crate) fn call(call: impl Into<String>) -> impl FnOnce(zbus::Error) -> Self {
        let call = call.into();
        move |source| Self::Call { call, source }
    }

    /// Names the system call that failed; for `map_err`.
    pub(crate) fn watch<E: Into<std::io::Error>>(
        operation: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(E) -> Self {
        let path = path.into();
        move |source| Self::Watch { operation, path, source: source.into() }
    }
}
