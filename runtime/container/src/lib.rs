//! An OCI runtime as a library: a runtime `Spec` goes in, a running process comes out.
//!
//! The way through it, in the order in which a start uses it:
//!
//! 1. [`mount`] makes the root file system as a *detached* mount: a descriptor that no path names.
//! 2. [`user`] finds out, inside that root, who the container runs as; [`defaults`] has the pieces
//!    of a `Spec` that nobody asked for but everybody expects; [`seccomp`] loads the system call filter.
//! 3. [`create`] clones the container's first process. It sets itself up, proves that its program can
//!    be executed, and blocks; the caller holds it as [`Held`] and lets it go with [`Held::release`].
//!    The steps of the process are `setup`; what the caller does to it from outside meanwhile: `mapping` of its users,
//!    `clocks`, `netdev`, `resctrl`, `scheduling`, and the [`hooks`] of the host.
//! 4. [`cgroup`] limits and counts; [`state`] keeps what is known about a container in `/run/sampan/containers/<name>/`.
//!    [`shared`] makes and keeps the namespaces that several containers are in together.
//!    [`activation`] has the sockets that systemd passes to a container.
//! 5. [`rootless`] is the way around what a caller without root's privileges can't prepare.
//! 6. [`process`] signals a container and runs further programs in it (`exec`).
//! 7. [`features`] says what of the specification is done.
//!
//! Whatever comes out of a root file system, an image or a container is hostile: paths inside a
//! root are resolved by descriptors only (`path`), files of procfs through a private mount (`procfs`).
//! All `unsafe` code lives in `sys`.

mod birth;
mod channel;
mod clocks;
mod create;
mod credentials;
mod error;
mod exec;
mod limits;
mod mapping;
mod namespaces;
mod netdev;
mod program;
mod resctrl;
mod rootfs;
mod scheduling;
mod security;
mod setup;
mod streams;
#[allow(unsafe_code)]
mod sys;
mod terminal;

pub mod activation;
pub mod cgroup;
pub mod config;
pub mod defaults;
pub mod document;
pub mod features;
#[doc(hidden)]
pub mod fuzzing;
pub mod hooks;
pub mod mount;
pub mod process;
pub mod rootless;
pub mod seccomp;
pub mod shared;
pub mod state;
pub mod user;

pub use create::{Creation, Held, Parent, create};
pub use error::{Error, Result};
