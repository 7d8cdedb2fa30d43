//! What sampan promises, shown under a real systemd: one test per claim, a file per subject.
//!
//! `make test` runs them on the files of the packages. Alone, as root:
//! `SAMPAN_RPMS=target/rpm cargo test -p sampan-machine-tests --test machine [NAME]`.

#![allow(unreachable_pub, reason = "the modules of one program")]

mod fixture;
mod start_stop;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects = [start_stop::tests()];
    let conclusion = libtest_mimic::run(&arguments, subjects.into_iter().flatten().collect());
    start_stop::end();
    fixture::end();
    conclusion.exit_code()
}
