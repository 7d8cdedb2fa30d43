//! The OCI runtime specification (1.3.0), clause by clause: what it says can be observed is observed, on
//! `sampan-runtime` and, where they are installed, on `crun` and `runc`, so that a test which is wrong shows itself.
//!
//! [`harness`] makes trials such as `sampan/config/process/umask` out of cases; each case names the section of the
//! specification that it rests on. [`deviations`] is the list of what is known that others do differently. The rest
//! are the cases, a file per subject, in the order of the specification: runtime.md, config.md, config-linux.md.

#[path = "../bundle/mod.rs"]
mod bundle;
mod deviations;
mod harness;

mod capabilities;
mod cgroups;
mod config;
mod devices;
mod hooks;
mod idmap;
mod lifecycle;
mod linux;
mod mount_options;
mod mounts;
mod namespaces;
mod network_devices;
mod operations;
mod process;
mod root;
mod seccomp;
mod seccomp_notify;
mod sockets;
mod terminal;
mod time;

fn main() -> std::process::ExitCode {
    let subjects = [
        lifecycle::cases(),
        operations::cases(),
        hooks::cases(),
        config::cases(),
        root::cases(),
        mounts::cases(),
        mount_options::cases(),
        idmap::cases(),
        process::cases(),
        capabilities::cases(),
        terminal::cases(),
        namespaces::cases(),
        time::cases(),
        devices::cases(),
        network_devices::cases(),
        cgroups::cases(),
        seccomp::cases(),
        seccomp_notify::cases(),
        linux::cases(),
    ];
    harness::run(subjects.into_iter().flatten().collect())
}
