//! Status and control over D-Bus, in both directions.
//!
//! [`systemd`] is the way out: calls to `org.freedesktop.systemd1`, blocking, for the command line and
//! for ourselves. [`service`] is the way in: the bus name `org.sampan1`, under which the program
//! `sampand` says which containers there are, tells who asks when one changes, and stops or restarts
//! them for whoever polkit lets. `sampand` is started by the first call and goes away when nobody needs
//! it; no container depends on it.
//!
//! The containers themselves are read from the state directory of `sampan-container`
//! ([`record`]); nothing is kept here.
#![forbid(unsafe_code)]

mod error;
mod polkit;
pub mod record;
pub mod service;
mod stream;
pub mod systemd;

pub use error::{Error, Result};
