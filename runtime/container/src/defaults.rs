//! What Podman gives a container that asks for nothing: the pieces of a `Spec` that users expect without knowing.

use std::collections::HashSet;
use std::path::PathBuf;

use oci_spec::runtime::{
    Capability, Linux, LinuxCapabilities, LinuxNamespace, LinuxNamespaceType, LinuxResources, Mount,
    PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Root, Spec,
};

/// The version of the OCI runtime specification that this crate follows.
pub const OCI_VERSION: &str = "1.2.1";

/// Size of `/dev/shm` in bytes (`shm_size` of containers.conf(5)).
pub const SHM_SIZE: u64 = 65_536_000;

/// The search path of containers whose image sets none.
pub const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A `Spec` with all defaults, root as user, and no program.
pub fn spec() -> Spec {
    let mut sets = LinuxCapabilities::default();
    let all: HashSet<Capability> = capabilities().into_iter().collect();
    sets.set_bounding(Some(all.clone()))
        .set_effective(Some(all.clone()))
        .set_permitted(Some(all))
        .set_inheritable(None)
        .set_ambient(None);
    let mut process = Process::default();
    process
        .set_terminal(None)
        .set_args(None)
        .set_env(Some(vec![PATH.to_owned()]))
        .set_rlimits(None)
        .set_no_new_privileges(Some(false))
        .set_capabilities(Some(sets));
    let mut linux = Linux::default();
    linux
        .set_resources(Some(LinuxResources::default()))
        .set_namespaces(Some(namespaces()))
        .set_masked_paths(Some(masked_paths()))
        .set_readonly_paths(Some(readonly_paths()));
    let mut root = Root::default();
    root.set_path("rootfs".into()).set_readonly(None);
    let mut spec = Spec::default();
    spec.set_version(OCI_VERSION.to_owned())
        .set_root(Some(root))
        .set_process(Some(process))
        .set_hostname(None)
        .set_mounts(Some(mounts(SHM_SIZE)))
        .set_annotations(None)
        .set_linux(Some(linux));
    spec
}

fn mount(kind: &str, source: &str, destination: &str, options: &[&str]) -> Mount {
    let mut mount = Mount::default();
    mount
        .set_destination(PathBuf::from(destination))
        .set_typ(Some(kind.to_owned()))
        .set_source(Some(PathBuf::from(source)))
        .set_options(Some(options.iter().map(|o| (*o).to_owned()).collect()));
    mount
}

/// The default mounts, with `/dev/shm` of `shm_size` bytes.
pub fn mounts(shm_size: u64) -> Vec<Mount> {
    let size = format!("size={shm_size}");
    let quiet = ["nosuid", "noexec", "nodev"];
    let pts = ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"];
    let cgroup = ["nosuid", "noexec", "nodev", "relatime", "ro"];
    vec![
        mount("proc", "proc", "/proc", &quiet),
        mount("tmpfs", "tmpfs", "/dev", &["nosuid", "strictatime", "mode=755", "size=65536k"]),
        mount("sysfs", "sysfs", "/sys", &["nosuid", "noexec", "nodev", "ro"]),
        mount("devpts", "devpts", "/dev/pts", &pts),
        mount("mqueue", "mqueue", "/dev/mqueue", &quiet),
        mount("tmpfs", "shm", "/dev/shm", &["nosuid", "noexec", "nodev", "mode=1777", &size]),
        mount("cgroup", "cgroup", "/sys/fs/cgroup", &cgroup),
    ]
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| (*w).to_owned()).collect()
}

/// Paths that the container can't read.
pub fn masked_paths() -> Vec<String> {
    strings(&[
        "/proc/acpi",
        "/proc/interrupts",
        "/proc/kcore",
        "/proc/keys",
        "/proc/latency_stats",
        "/proc/sched_debug",
        "/proc/scsi",
        "/proc/timer_list",
        "/proc/timer_stats",
        "/sys/dev/block",
        "/sys/devices/virtual/powercap",
        "/sys/firmware",
        "/sys/fs/selinux",
    ])
}

/// Paths that the container can't write.
pub fn readonly_paths() -> Vec<String> {
    strings(&["/proc/asound", "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"])
}

/// Capabilities of a container (`default_capabilities` of containers.conf(5)).
pub fn capabilities() -> Vec<Capability> {
    vec![
        Capability::Chown,
        Capability::DacOverride,
        Capability::Fowner,
        Capability::Fsetid,
        Capability::Kill,
        Capability::NetBindService,
        Capability::Setfcap,
        Capability::Setgid,
        Capability::Setpcap,
        Capability::Setuid,
        Capability::SysChroot,
    ]
}

/// All capabilities that the calling process could pass on: what `--privileged` and `--cap-add=all` mean.
pub fn all_capabilities() -> Vec<Capability> {
    let bounding = caps::read(None, caps::CapSet::Bounding).unwrap_or_default();
    let permitted = caps::read(None, caps::CapSet::Permitted).unwrap_or_default();
    let mut both: Vec<_> = bounding.intersection(&permitted).collect();
    both.sort_by_key(|c| c.index());
    let name = |c: &caps::Capability| c.to_string();
    let known = both.into_iter().map(name);
    known.filter_map(|name| name.strip_prefix("CAP_").and_then(|n| n.parse().ok())).collect()
}

/// PID, network, IPC, UTS, mount and cgroup namespace.
pub fn namespaces() -> Vec<LinuxNamespace> {
    [
        LinuxNamespaceType::Pid,
        LinuxNamespaceType::Network,
        LinuxNamespaceType::Ipc,
        LinuxNamespaceType::Uts,
        LinuxNamespaceType::Mount,
        LinuxNamespaceType::Cgroup,
    ]
    .into_iter()
    .map(|kind| {
        let mut namespace = LinuxNamespace::default();
        namespace.set_typ(kind);
        namespace
    })
    .collect()
}

/// Limits that Podman sets for root (`nofile`, `nproc`): for [`crate::Creation::default_rlimits`].
pub fn rlimits() -> Vec<PosixRlimit> {
    let limit = |kind, limit| {
        let builder = PosixRlimitBuilder::default().typ(kind).soft(limit).hard(limit);
        builder.build().ok()
    };
    [limit(PosixRlimitType::RlimitNofile, 1_048_576u64), limit(PosixRlimitType::RlimitNproc, 4_194_304u64)]
        .into_iter()
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_gives_nothing_inheritable() {
        let spec = spec();
        let process = spec.process().as_ref().unwrap();
        let sets = process.capabilities().as_ref().unwrap();
        assert_eq!(sets.inheritable(), &None);
        assert_eq!(sets.ambient(), &None);
        assert_eq!(sets.bounding().as_ref().unwrap().len(), 11);
    }

    #[test]
    fn capabilities_are_named_alike_in_both_crates() {
        let missing = caps::all().into_iter().filter(|c| {
            let name = c.to_string();
            name.strip_prefix("CAP_").and_then(|n| n.parse::<Capability>().ok()).is_none()
        });
        assert_eq!(missing.count(), 0);
    }
}
