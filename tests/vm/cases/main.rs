//! What a kernel of its own shows: limits that limit, in all controllers of cgroup v2, and the kernel's security
//! modules. Runs as root inside the virtual machine that `tests/vm/run` boots.
//!
//! [`bundle`] is what every case starts from: a container of `sampan-runtime` with one of its two cgroup drivers.

#![allow(unreachable_pub, reason = "the modules of one program")]

mod apparmor;
mod bundle;
mod devices;
mod freezer;
mod limits;
mod memory;
mod selinux;
mod statistics;
mod units;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects = [
        memory::tests(),
        limits::tests(),
        statistics::tests(),
        freezer::tests(),
        devices::tests(),
        units::tests(),
        apparmor::tests(),
        selinux::tests(),
    ];
    libtest_mimic::run(&arguments, subjects.into_iter().flatten().collect()).exit_code()
}
