//! A scope for a container that is run in a shell: a unit of its own, with a cgroup and limits of its own.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use super::unit::own_unit;

const PREFIX: &str = "sampan-";

/// The scope that this process has entered.
pub(crate) fn own() -> Option<String> {
    own_unit().filter(|unit| unit.starts_with(PREFIX) && unit.ends_with(".scope"))
}

/// Becomes systemd-run(1), which makes the scope around this process and executes the same command line in it.
/// Returns where that has happened already, or where no systemd runs: the container stays in the caller's cgroup.
///
/// # Errors
/// systemd runs, and systemd-run can't be executed.
pub(crate) fn enter() -> anyhow::Result<()> {
    // sd_booted(3)
    if own().is_some() || !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new("systemd-run");
    command.args(["--scope", "--quiet", "--collect", "--property=Delegate=yes"]);
    command.arg(format!("--unit={PREFIX}{}.scope", std::process::id()));
    command.arg("--").arg(program).args(std::env::args_os().skip(1));
    Err(command.exec()).context("running systemd-run for a scope")
}
