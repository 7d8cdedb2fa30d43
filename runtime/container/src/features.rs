//! What this runtime can do, in the words of the OCI runtime specification ("Features").

use crate::rootfs::options;
use crate::scheduling::{MEMORY_FLAGS, MEMORY_MODES};
use crate::seccomp::{ACTIONS, FLAGS, OPERATORS};

use oci_spec::runtime::{
    Arch, IDMap, IntelRdt, LinuxNamespaceType, LinuxSeccompAction, MemoryPolicy, MountExtensions, NetDevices,
};

/// Mount options that mean something to the runtime; all others go to the file system.
pub fn mount_options() -> Vec<String> {
    let mut names: Vec<_> = options::names().map(str::to_owned).collect();
    names.sort();
    names
}

/// The points at which hooks run.
pub fn hooks() -> Vec<String> {
    let names = ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];
    names.map(str::to_owned).to_vec()
}

/// Kinds of namespaces, new or joined.
pub fn namespaces() -> Vec<LinuxNamespaceType> {
    use LinuxNamespaceType::{Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts};
    vec![Cgroup, Ipc, Mount, Network, Pid, Time, User, Uts]
}

/// Modes and flags of `linux.memoryPolicy`.
pub fn memory_policy() -> MemoryPolicy {
    let mut policy = MemoryPolicy::default();
    policy
        .set_modes(Some(MEMORY_MODES.iter().map(|(mode, _)| mode.to_string()).collect()))
        .set_flags(Some(MEMORY_FLAGS.iter().map(|(flag, _)| flag.to_string()).collect()));
    policy
}

/// `linux.intelRdt`, as far as this program goes; whether the machine has resctrl is another question.
pub fn intel_rdt() -> IntelRdt {
    let mut rdt = IntelRdt::default();
    rdt.set_enabled(Some(true)).set_schemata(Some(true)).set_monitoring(Some(true));
    rdt
}

/// Mounts whose owners are mapped.
pub fn mount_extensions() -> MountExtensions {
    let (mut extensions, mut idmap) = (MountExtensions::default(), IDMap::default());
    idmap.set_enabled(Some(true));
    extensions.set_idmap(Some(idmap));
    extensions
}

/// `linux.netDevices`.
pub fn net_devices() -> NetDevices {
    let mut devices = NetDevices::default();
    devices.set_enabled(Some(true));
    devices
}

/// Actions of a system call filter.
pub fn seccomp_actions() -> Vec<LinuxSeccompAction> {
    ACTIONS.to_vec()
}

/// Comparisons in a system call filter.
pub fn seccomp_operators() -> Vec<String> {
    OPERATORS.iter().map(ToString::to_string).collect()
}

/// Flags of a system call filter.
pub fn seccomp_flags() -> Vec<String> {
    FLAGS.iter().map(|(flag, _)| flag.to_string()).collect()
}

/// Architectures that a filter can cover.
pub fn seccomp_architectures() -> Vec<Arch> {
    vec![
        Arch::ScmpArchNative,
        Arch::ScmpArchX86,
        Arch::ScmpArchX86_64,
        Arch::ScmpArchX32,
        Arch::ScmpArchArm,
        Arch::ScmpArchAarch64,
        Arch::ScmpArchPpc64le,
        Arch::ScmpArchS390,
        Arch::ScmpArchS390x,
        Arch::ScmpArchRiscv64,
    ]
}

/// Version of the installed libseccomp.
pub fn libseccomp_version() -> Option<String> {
    libseccomp::ScmpVersion::current().ok().map(|v| format!("{}.{}.{}", v.major, v.minor, v.micro))
}
