//! Root file systems as values: detached mounts, made with the new mount API and named by a descriptor only.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// An overlay of `lower` (topmost layer first) below `upper`, which with `work` must be on one file system.
/// `volatile`: no sync, for layers that are thrown away.
pub fn overlay(lower: &[PathBuf], upper: &Path, work: &Path, volatile: bool) -> Result<OwnedFd> {
    let _ = (lower, upper, work, volatile);
    Err(Error::Setup("not yet".into()))
}

/// The directory `dir` with everything mounted below it, as a mount of its own (`Rootfs=`).
pub fn bind(dir: &Path) -> Result<OwnedFd> {
    let _ = dir;
    Err(Error::Setup("not yet".into()))
}
