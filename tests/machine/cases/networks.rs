//! Networks as their user changes them: `.network` files that are edited, and the commands.

use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use sampan_machine_tests::Machine;

use crate::fixture::{Shared, busybox, install, shared, start, uninstall};

const READY: Duration = Duration::from_secs(20);

static MACHINE: Shared = Shared::new(module_path!());

pub fn tests() -> Vec<Trial> {
    let test = |name: &str, case| shared(&MACHINE, &format!("networks::{name}"), case);
    vec![
        test("an_edited_network_is_followed_by_the_next_start", an_edited_network_is_followed),
        test("a_reload_changes_what_can_and_names_who_holds_the_rest", a_reload_names_who_holds_the_rest),
    ]
}

/// A container that serves its programs on port 80.
fn server(machine: &Machine, name: &str, more: &str) -> Result<()> {
    busybox(machine, name, "httpd -f -p 80 -h /bin", &format!("ContainerName={name}\n{more}"))?;
    start(machine, name)
}

fn done(machine: &Machine, names: &[&str], files: &[&str]) -> Result<()> {
    for name in names {
        machine.ok(&["systemctl", "stop", name])?;
        uninstall(machine, &[&format!("{name}.container")])?;
    }
    uninstall(machine, files)
}

/// Whether a container gets something from another one.
fn reaches(machine: &Machine, from: &str, address: &str) -> Result<()> {
    let url = format!("http://{address}/busybox");
    machine.ok(&["sampan", "exec", from, "timeout", "5", "wget", "-q", "-O", "/dev/null", &url]).map(drop)
}

/// The first address of a container.
fn address(machine: &Machine, name: &str) -> Result<String> {
    let format = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    Ok(machine.ok(&["sampan", "inspect", "--format", format, name])?.trim().to_owned())
}

/// Edits the file and reloads systemd, as `install` does.
fn edit(machine: &Machine, text: &str) -> Result<()> {
    install(machine, &[("edited.network", text)])
}

fn an_edited_network_is_followed(machine: &Machine) -> Result<()> {
    edit(machine, "[Network]\nSubnet=10.121.1.0/24\n")?;
    server(machine, "follower", "Network=edited.network")?;
    ensure!(address(machine, "follower")?.starts_with("10.121.1."), "the first subnet");
    edit(machine, "[Network]\nSubnet=10.121.2.0/24\nLabel=tier=back\n")?;
    // The network's own unit stays active, and isn't run again.
    machine.ok(&["systemctl", "restart", "follower"])?;
    let own = address(machine, "follower")?;
    ensure!(own.starts_with("10.121.2."), "its address is {own}");
    let labels = machine.ok(&["sampan", "network", "inspect", "-f", "{{.labels.tier}}", "systemd-edited"])?;
    ensure!(labels.trim() == "back", "its labels: {labels}");
    let status = machine.run(&["systemctl", "status", "--no-pager", "edited-network"])?.stdout;
    ensure!(status.contains("Subnet= from 10.121.1.0/24 to 10.121.2.0/24"), "the unit's status: {status}");
    // A mistake in the new definition keeps no container from starting, and is told.
    edit(machine, "[Network]\nSubnet=10.121.3.0/24\nGateway=10.99.0.1\n")?;
    machine.ok(&["systemctl", "restart", "follower"])?;
    let journal = machine.ok(&["journalctl", "-o", "cat", "-u", "follower"])?;
    ensure!(journal.contains("10.99.0.1") && journal.contains("edited-network"), "its journal: {journal}");
    done(machine, &["follower"], &["edited.network"])?;
    machine.ok(&["systemctl", "stop", "edited-network"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-edited"]).map(drop)
}

fn a_reload_names_who_holds_the_rest(machine: &Machine) -> Result<()> {
    edit(machine, "[Network]\nSubnet=10.121.1.0/24\n")?;
    for name in ["first", "second"] {
        server(machine, name, "Network=edited.network")?;
    }
    edit(machine, "[Network]\nSubnet=10.121.4.0/24\nOptions=mtu=1400\n")?;
    machine.ok(&["systemctl", "reload", "edited-network"])?;
    let journal = machine.ok(&["journalctl", "-o", "cat", "-u", "edited-network"])?;
    for words in
        ["mtu= from unset to 1400", "10.121.1.0/24 to 10.121.4.0/24", "\"first\", container \"second\""]
    {
        ensure!(journal.contains(words), "{words}: {journal}");
    }
    let link = machine.ok(&["sampan", "exec", "first", "ip", "link", "show", "eth0"])?;
    ensure!(link.contains("mtu 1400"), "inside: {link}");
    // One of them comes back into the network as it is, and reaches the other.
    machine.ok(&["systemctl", "restart", "first"])?;
    let other = address(machine, "second")?;
    ensure!(other.starts_with("10.121.1.") && address(machine, "first")?.starts_with("10.121.1."));
    reaches(machine, "first", &other)?;
    // The network's restart is that of its containers.
    machine.ok(&["systemctl", "restart", "edited-network"])?;
    for name in ["first", "second"] {
        machine.wait(&format!("{name} runs again"), READY, |m| {
            Ok(m.run(&["systemctl", "is-active", name])?.success())
        })?;
        let own = address(machine, name)?;
        ensure!(own.starts_with("10.121.4."), "{name}: {own}");
    }
    done(machine, &["first", "second"], &["edited.network"])?;
    machine.ok(&["systemctl", "stop", "edited-network"])?;
    machine.ok(&["sampan", "network", "rm", "systemd-edited"]).map(drop)
}
