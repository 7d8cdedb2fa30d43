//! containerd runs containers through `sampan-runtime`.

use anyhow::Result;
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{clients_machine, test_in};

pub fn tests() -> Vec<Trial> {
    vec![test_in(clients_machine, "containerd::boots", boots)]
}

fn boots(machine: &Machine) -> Result<()> {
    machine.ok(&["ctr", "version"]).map(drop)
}
