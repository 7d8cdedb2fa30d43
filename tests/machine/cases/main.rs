//! What sampan promises, shown under a real systemd: one test per claim, a file per subject.
//!
//! `make test` runs them on the files of the packages. Alone, as root:
//! `SAMPAN_RPMS=target/rpm cargo test -p sampan-machine-tests --test machine [NAME]`.

#![allow(unreachable_pub, reason = "the modules of one program")]

mod activation;
mod artifacts;
mod builds;
mod bus;
mod cli;
mod containerd;
mod dhcp;
mod failures;
mod firewall;
mod fixture;
mod harness;
mod health;
mod images;
mod inside;
mod kube;
mod leftovers;
mod login;
mod many;
mod names;
mod network;
mod network_manager;
mod networks;
mod oci;
mod on_demand;
mod podman;
mod pods;
mod secrets;
mod slow_registry;
mod stacks;
mod start_stop;
mod store;
mod traffic;
mod transports;
mod unit_files;
mod updates;
mod users;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let subjects = [
        // The long ones first.
        stacks::tests(),
        builds::tests(),
        artifacts::tests(),
        containerd::tests(),
        podman::tests(),
        leftovers::tests(),
        many::tests(),
        traffic::tests(),
        start_stop::tests(),
        failures::tests(),
        images::tests(),
        transports::tests(),
        login::tests(),
        store::tests(),
        names::tests(),
        network::tests(),
        networks::tests(),
        network_manager::tests(),
        dhcp::tests(),
        activation::tests(),
        on_demand::tests(),
        firewall::tests(),
        pods::tests(),
        kube::tests(),
        oci::tests(),
        inside::tests(),
        users::tests(),
        updates::tests(),
        health::tests(),
        secrets::tests(),
        cli::tests(),
        unit_files::tests(),
        bus::tests(),
        harness::tests(),
    ];
    let conclusion = libtest_mimic::run(&arguments, subjects.into_iter().flatten().collect());
    fixture::end();
    conclusion.exit_code()
}
