//! What `sampan-runtime` and `sampan-scope` say to each other.
//!
//! The systemd cgroup driver needs D-Bus, and D-Bus takes threads, and more code than the whole runtime. Neither belongs
//! into a program that starts several times for each container and copies itself for each: so `sampan-scope` is a
//! program of its own, executed where a container is to have a scope. One JSON document a line, in both directions.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::io::{self, BufRead, Read as _, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The value of a unit's property.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Value {
    /// `s`
    Text(String),
    /// `b`
    Boolean(bool),
    /// `t`
    Number(u64),
    /// `ay`
    Bytes(Vec<u8>),
    /// `as`
    List(Vec<String>),
    /// `a(st)`: paths of devices, each with a number.
    Devices(Vec<(String, u64)>),
}

/// Properties by name; the names are those of org.freedesktop.systemd1(5).
pub type Properties = BTreeMap<String, Value>;

/// What `sampan-scope` is to do: the first line.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request {
    /// Make a scope around itself, answer [`Answer::Scope`], wait for a further line (anything), set the limits, answer
    /// [`Answer::Done`].
    Make {
        /// What the scope begins with.
        properties: Properties,
        /// What is set once the container's process is in it.
        limits: Properties,
    },
    /// Set properties of a running scope.
    Set {
        /// The properties.
        properties: Properties,
    },
    /// End a scope and have systemd forget it; it is no error if it is gone.
    Stop,
}

/// A [`Request`], and what it is about.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// The scope's name.
    pub unit: String,
    /// The user whose systemd is meant; none for the system's.
    pub user: Option<u32>,
    /// What to do.
    pub request: Request,
}

/// One line from `sampan-scope`.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    /// The scope is there: its cgroup, below the root of the hierarchy.
    Scope(PathBuf),
    /// All is done.
    Done,
    /// It can't be done, and why.
    Failed(String),
}

/// Says one thing.
///
/// # Errors
/// write(2)'s.
pub fn say<T: Serialize>(to: &mut impl Write, value: &T) -> io::Result<()> {
    let mut text = serde_json::to_vec(value)?;
    text.push(b'\n');
    to.write_all(&text)?;
    to.flush()
}

/// Hears one thing. `None`: there is nothing more.
///
/// # Errors
/// read(2)'s; a line that is no such document.
pub fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> io::Result<Option<T>> {
    /// Larger than any request: `config.json` bounds those.
    const MOST: u64 = 16 << 20;
    let mut text = String::new();
    from.take(MOST).read_line(&mut text)?;
    if text.is_empty() {
        return Ok(None);
    }
    Ok(Some(serde_json::from_str(&text)?))
}
