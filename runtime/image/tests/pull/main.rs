//! Pulling, end to end: from Debian's `docker-registry`, from a hostile registry made for the
//! purpose, and from directories and archives.
//!
//! `fixture` makes images and stores, `server` is the hostile registry, `signing` makes signatures, `victim` is this
//! program once more, to be killed. Everything happens on loopback and in temporary directories.

mod answers;
mod artifacts;
mod authority;
mod fixture;
mod hostile;
mod interrupted;
mod killed;
mod layers;
mod local;
mod login;
mod network;
mod power;
mod protocol;
mod real;
mod repair;
mod save;
mod secrets;
mod server;
mod signed;
mod signing;
mod sigstore;
mod storage;
mod victim;
