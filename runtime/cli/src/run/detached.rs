//! `sampan run -d` in a shell: the same container as a transient service, so that systemd is its parent too.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use sampan_container::state::check_name;
use sampan_status::systemd::{Property, Systemd};

use super::options::Options;
use super::{id, image};
use crate::context::Context;

/// Fetches the image here, where its progress can be seen, then has systemd run this very command line.
///
/// # Errors
/// The image can't be had, there is no systemd, or the service doesn't start: its journal says why.
pub(crate) fn run(options: &Options, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    image::find(options, context, None)?;
    let name = match &options.name {
        Some(name) => name.clone(),
        None => id::random()?[..12].to_owned(),
    };
    check_name(&name)?;
    let unit = format!("sampan-{name}.service");
    let systemd = Systemd::system().context("sampan run -d needs systemd to give the container to")?;
    if systemd.unit(&unit)?.active_state == "failed" {
        // A failed start of the same name leaves its unit behind, for `systemctl status`.
        systemd.reset_failed(&unit)?;
    }
    let program = std::env::current_exe().context("finding this program")?;
    let command = command(&program, options, modules, &name);
    let post = [program.display().to_string(), "service".into(), "cleanup".into(), name.clone()];
    let stop = [program.display().to_string(), "service".into(), "stop".into(), name.clone()];
    let properties = [
        Property::text("Description", &format!("Container {name} ({})", options.arguments[0])),
        Property::text("Type", "notify"),
        Property::text("NotifyAccess", "main"),
        Property::text("KillMode", "mixed"),
        Property::text("CollectMode", "inactive"),
        Property::boolean("Delegate", true),
        Property::text("OOMPolicy", "stop"),
        Property::list("Environment", &[format!("PODMAN_SYSTEMD_UNIT={unit}")]),
        Property::exec("ExecStop", &stop),
        Property::exec("ExecStopPost", &post),
        Property::exit_status("SuccessExitStatus", &[], &[nix::libc::SIGKILL]),
    ];
    let started = systemd.start_service(&unit, &command, &properties);
    started.with_context(|| format!("container {name} did not start: `journalctl -u {unit}` says why"))?;
    println!("{}", context.containers()?.get(&name)?.read()?.id);
    Ok(ExitCode::SUCCESS)
}

/// This process's own arguments, with the name that was chosen and files by their absolute names.
fn command(program: &Path, options: &Options, modules: &[PathBuf], name: &str) -> Vec<String> {
    let mut command = vec![program.display().to_string()];
    for module in modules {
        command.extend(["--module".to_owned(), module.display().to_string()]);
    }
    let mut rest = std::env::args().skip(1).skip_while(|argument| argument != "run").skip(1).peekable();
    command.push("run".to_owned());
    if options.name.is_none() {
        command.extend(["--name".to_owned(), name.to_owned()]);
    }
    command.extend(rest.by_ref());
    command
}
