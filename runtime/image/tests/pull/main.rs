//! Pulling, end to end: from Debian's `docker-registry`, from a hostile registry made for the
//! purpose, and from directories and archives.
//!
//! `fixture` makes images and stores, `server` is the hostile registry, `signing` makes signatures. Everything happens on
//! loopback and in temporary directories.

mod answers;
mod artifacts;
mod authority;
mod fixture;
mod hostile;
mod interrupted;
mod layers;
mod local;
mod login;
mod network;
mod protocol;
mod real;
mod save;
mod secrets;
mod server;
mod signed;
mod signing;
mod sigstore;
mod storage;
