//! A real systemd to test on, without a virtual machine.
//!
//! A [`Machine`] is a Debian whose systemd runs as the first process of private namespaces: it
//! boots in about a second, runs any command, and leaves nothing behind, also when a test panics.
//! It needs root and a cgroup2 hierarchy, but no systemd on the host.
//!
//! The way through: [`root`] builds the root file system once into a [`cache`]; [`images`] packs
//! the container images and [`registry`] makes a registry's storage of them; [`shipped`] takes the
//! product's files out of its packages. Together they are the layers that [`Machine::boot`] hands
//! to [`init`], which is the way from a process to systemd. [`place`] is what a machine has on the
//! host meanwhile. [`leftovers`] compares a machine before and after. [`skip`] is for tests that can't run.
//!
//! The program `sampan-machine` does the same by hand, see its `--help`; the tests themselves are
//! in `cases/`.

pub mod cache;
pub mod command;
pub mod images;
pub mod init;
pub mod leftovers;
pub mod machine;
pub mod place;
pub mod registry;
pub mod root;
pub mod shipped;
pub mod skip;

pub use machine::{Machine, Options, Run};
