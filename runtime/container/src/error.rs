//! The one error type of this crate. Each error names the operation, its arguments and the cause, once.

use std::io;
use std::path::PathBuf;

/// What went wrong, in words that can be shown to a user as they are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A system call, or an operation that comes down to one, failed. Printed like a line of strace(1).
    #[error("{call}: {source}")]
    Call {
        /// The operation with its arguments.
        call: String,
        /// What the kernel answered.
        source: io::Error,
    },
    /// A value that can't be right.
    #[error("{what} {value:?}: {reason}")]
    Invalid {
        /// Where the value stands, for example `process.cwd`.
        what: &'static str,
        /// The value.
        value: String,
        /// Why it is refused, and what to write instead.
        reason: String,
    },
    /// Something that is asked for and can't be done, here or at all. Never ignored silently.
    #[error("{what} can't be done: {reason}")]
    Unsupported {
        /// What was asked for.
        what: String,
        /// Why not.
        reason: String,
    },
    /// The container's own process reported this while it set itself up.
    #[error("{0}")]
    Setup(String),
    /// The container's process ended before it was ready, without a word.
    #[error("the container's process ended during its set-up, without a message: {0}")]
    Died(String),
    /// No container has this name or id.
    #[error("no container with name or ID {0:?} found: no such container")]
    NoSuchContainer(String),
    /// More than one container's id begins so.
    #[error("container ID {0:?} is ambiguous: write more of it")]
    Ambiguous(String),
    /// A container of this name exists.
    #[error("container name {0:?} is in use: remove that container or choose another name")]
    Exists(String),
    /// The container isn't in the state that the operation needs.
    #[error("container {name:?} is {status}: {reason}")]
    WrongState {
        /// The container.
        name: String,
        /// Its state.
        status: String,
        /// What was tried.
        reason: String,
    },
    /// The user or group isn't known inside the container.
    #[error("unable to find {kind} {name}: no matching entries in {file}")]
    NoSuchUser {
        /// `user` or `group`.
        kind: &'static str,
        /// The name.
        name: String,
        /// The file that was searched.
        file: &'static str,
    },
    /// A file isn't what it should be.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The program can't be executed; `status` is 127 if it doesn't exist, else 126.
    #[error("{reason}")]
    NotExecutable {
        /// 126 or 127, as Podman and shells answer.
        status: u8,
        /// The program and why not.
        reason: String,
    },
}

impl Error {
    /// The exit status that Podman would give: 127 and 126 for a program that can't be executed, 125 otherwise.
    pub fn exit_status(&self) -> u8 {
        match self {
            Error::NotExecutable { status, .. } => *status,
            _ => 125,
        }
    }

    /// The errno of the failed system call, if it was one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Call { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}

/// The result of this crate's operations.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Names the operation of a failed system call.
pub(crate) trait Call<T> {
    /// Adds the operation and its arguments, written like a line of strace(1).
    fn call(self, call: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<io::Error>> Call<T> for std::result::Result<T, E> {
    fn call(self, call: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| Error::Call { call: call(), source: source.into() })
    }
}
