//! What this runtime can do, in the words of the OCI runtime specification ("Features").

use crate::rootfs::options;
use crate::seccomp::{ACTIONS, FLAGS, OPERATORS};

use oci_spec::runtime::{Arch, LinuxSeccompAction};

/// Mount options that mean something to the runtime; all others go to the file system.
pub fn mount_options() -> Vec<String> {
    let mut names: Vec<_> = options::names().map(str::to_owned).collect();
    names.sort();
    names
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
