//! Cgroups.

use oci_spec::runtime::LinuxResources;

use crate::error::{Error, Result};

/// Refuses resources that limit something.
pub(crate) fn refuse_limits(resources: &LinuxResources) -> Result<()> {
    let limited = resources.memory().is_some() || resources.cpu().is_some() || resources.pids().is_some();
    if !limited {
        return Ok(());
    }
    Err(Error::Unsupported {
        what: "linux.resources".into(),
        reason: "no cgroup was given to apply them to".into(),
    })
}
