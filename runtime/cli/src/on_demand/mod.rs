//! Containers and pods that are started when somebody connects: `Activation=on-demand`.
//!
//! While such a container is down, a socket unit has its published ports. A connection starts two services: the
//! container's, whose ports are reserved and lead nowhere yet ([`held`] says that the sockets are its own), and after it
//! one that [`forward`] prepares: it waits until the program listens, lets the firewall lead to it, and becomes
//! systemd-socket-proxyd(8) for the connections that came before. [`idle`] is what a timer calls for while the container
//! runs: it takes the port back when nothing has happened for long, looks again, and stops the service.
//!
//! A pod goes the same way. It has the ports and the lease; its service is up before its containers are, so that who
//! passes connections on and who looks for idleness is ordered after these as well.
//!
//! A [`Turn`](woken::Turn) keeps the two from changing their minds about each other: whoever wants to lead connections
//! to the container waits while somebody decides whether to stop it.

pub(crate) mod forward;
pub(crate) mod idle;
mod woken;

use std::net::SocketAddr;
use std::process::Command;

use anyhow::{Context as _, ensure};

use self::woken::{Turn, Woken};

/// Where these socket units listen now. One that isn't active has nothing, and what has its port is somebody else.
///
/// # Errors
/// systemd doesn't know, or can't be asked.
pub(crate) fn held(sockets: &[String]) -> anyhow::Result<Vec<SocketAddr>> {
    let mut command = Command::new("systemctl");
    command.args(["show", "--property=ActiveState,Listen", "--"]).args(sockets);
    let output = command.output().context("asking systemctl where the sockets of the service listen")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "systemctl show {}: {}", sockets.join(" "), said.trim());
    Ok(listening(&String::from_utf8_lossy(&output.stdout)))
}

/// Reads what `systemctl show` prints of socket units, with an empty line between two.
fn listening(text: &str) -> Vec<SocketAddr> {
    let active = text.split("\n\n").filter(|unit| unit.lines().any(|line| line == "ActiveState=active"));
    let sockets = active.flat_map(str::lines).filter_map(|line| line.strip_prefix("Listen="));
    sockets.filter_map(|listen| listen.split(' ').next()?.parse().ok()).collect()
}

/// Whether any of these units is active, or on the way to it.
fn is_any_active(units: &[String]) -> anyhow::Result<bool> {
    is_any(units, &["active", "activating", "reloading"])
}

/// Whether any of these units is in one of these states of systemctl(1).
fn is_any(units: &[String], wanted: &[&str]) -> anyhow::Result<bool> {
    if units.is_empty() {
        return Ok(false);
    }
    let mut command = Command::new("systemctl");
    let output =
        command.args(["is-active", "--"]).args(units).output().context("running systemctl is-active")?;
    let states = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(states.lines().any(|state| wanted.contains(&state)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_active_sockets_hold_a_port() {
        let text = "Listen=[::]:8080 (Stream)\nListen=127.0.0.1:81 (Stream)\nActiveState=active\n\n\
                    Listen=0.0.0.0:9090 (Stream)\nActiveState=failed\n\n\
                    Listen=/run/x (Stream)\nActiveState=active\n";
        let expected = ["[::]:8080", "127.0.0.1:81"].map(|address| address.parse().unwrap());
        assert_eq!(listening(text), expected);
        assert_eq!(listening(""), []);
    }
}
