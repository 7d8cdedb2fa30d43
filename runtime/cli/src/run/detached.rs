//! `sampan run -d` in a shell: the same container as a transient service, so that systemd is its parent too.

use std::path::PathBuf;
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
    let ours = [vec![program.display().to_string()], context.as_options().to_vec()].concat();
    let command = command(&ours, options, modules, &name);
    let service = |verb: &str| [&ours[..], &["service".into(), verb.into(), name.clone()]].concat();
    let directory = std::env::current_dir().context("finding the working directory")?;
    let properties = [
        Property::text("Description", &format!("Container {name} ({})", options.arguments[0])),
        Property::text("Type", "notify"),
        Property::text("NotifyAccess", "main"),
        Property::text("KillMode", "mixed"),
        Property::text("CollectMode", "inactive"),
        Property::boolean("Delegate", true),
        Property::text("OOMPolicy", "stop"),
        Property::list("Environment", &environment(options, &unit)),
        // Relative names in the options mean what they meant in the shell.
        Property::text("WorkingDirectory", &directory.display().to_string()),
        Property::exec("ExecStop", &service("stop")),
        Property::exec("ExecStopPost", &service("cleanup")),
        Property::exit_status("SuccessExitStatus", &[], &[nix::libc::SIGKILL]),
    ];
    let started = systemd.start_service(&unit, &command, &properties);
    started.with_context(|| format!("container {name} did not start: `journalctl -u {unit}` says why"))?;
    println!("{}", context.containers()?.get(&name)?.read()?.id);
    Ok(ExitCode::SUCCESS)
}

/// What the options look up in the shell's environment: `--env NAME`, proxies, or all of it.
fn environment(options: &Options, unit: &str) -> Vec<String> {
    const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "ftp_proxy", "no_proxy"];
    let is_wanted = |name: &str| {
        options.env_host == Some(true)
            || PROXIES.contains(&name.to_ascii_lowercase().as_str())
            || options
                .env
                .iter()
                .any(|entry| entry.strip_suffix('*').map_or(entry == name, |begin| name.starts_with(begin)))
    };
    let wanted =
        std::env::vars().filter(|(name, _)| is_wanted(name)).map(|(name, value)| format!("{name}={value}"));
    wanted.chain([format!("PODMAN_SYSTEMD_UNIT={unit}")]).collect()
}

/// This process's own arguments, with the name that was chosen.
fn command(ours: &[String], options: &Options, modules: &[PathBuf], name: &str) -> Vec<String> {
    let mut command = ours.to_vec();
    for module in modules {
        command.extend(["--module".to_owned(), module.display().to_string()]);
    }
    command.push("run".to_owned());
    if options.name.is_none() {
        command.extend(["--name".to_owned(), name.to_owned()]);
    }
    let typed = std::env::args().skip(1).skip_while(|argument| argument != "run").skip(1);
    // systemd expands variables in ExecStart=, a shell has done so already: systemd.service(5), "COMMAND LINES".
    command.extend(typed.map(|argument| argument.replace('$', "$$")));
    command
}
