//! Pulling, end to end: from Debian's `docker-registry`, from a hostile registry made for the
//! purpose, and from directories and archives.
//!
//! `fixture` makes images and stores, `server` is the hostile registry, `signing` makes signatures. Everything happens on
//! loopback and in temporary directories.

mod artifacts;
mod fixture;
mod hostile;
mod interrupted;
mod local;
mod protocol;
mod real;
mod server;
mod signed;
mod signing;
mod sigstore;
