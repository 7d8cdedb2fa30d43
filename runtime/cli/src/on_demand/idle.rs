//! `sampan service idle`: stops a container that nobody has used for a while.

use std::fs;
use std::os::fd::AsFd;
use std::process::{Command, ExitCode};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};
use sampan_container::process;
use sampan_network::{Lease, Networks};

use super::{Running, Turn, is_any_active, running};
use crate::context::Context;
use crate::run::size;

/// The file with the moment when the container was last seen in use, in seconds since boot.
const SEEN: &str = "last-seen-in-use";

/// A packet that has passed the firewall before the port was taken back is a flow by then.
const SETTLING: Duration = Duration::from_millis(20);

/// How much longer than the container's own time a stop that something else has replaced may still be under way.
const ENDING: Duration = Duration::from_secs(10);

/// `sampan service idle --timeout 5m --socket web.socket --proxy web-proxy.service NAME`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// After what time without a connection in use the container is stopped
    #[arg(long, value_name = "DURATION")]
    timeout: String,
    /// A socket unit that starts it again
    #[arg(long = "socket", value_name = "UNIT")]
    sockets: Vec<String>,
    /// A service that passes connections on to it
    #[arg(long = "proxy", value_name = "UNIT")]
    proxies: Vec<String>,
    /// The container
    name: String,
}

/// Looks, and stops the container's service if it is time.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let timeout = size::duration(&options.timeout)?;
    let Some(container) = running(&options.name, context)? else { return Ok(ExitCode::SUCCESS) };
    let networks = context.networks()?;
    let Some(lease) = networks.lease(&container.state.id)? else { return Ok(ExitCode::SUCCESS) };
    let is_idle = unused_for(&container, networks.quiet_for(&lease)?)? >= timeout;
    // Without a socket nothing would start it again; with a proxy somebody is being served.
    if !is_idle || !is_any_active(&options.sockets)? || is_any_active(&options.proxies)? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(unit) = container.state.unit.clone() else { return Ok(ExitCode::SUCCESS) };
    let _turn = Turn::take(&container)?;
    // From here on new connections wait in the socket.
    networks.withdraw(&container.state.id)?;
    match is_used(options, &networks, &lease, timeout) {
        Ok(false) => {}
        used => {
            restore(&networks, &lease)?;
            return used.map(|_| ExitCode::SUCCESS);
        }
    }
    println!("no connection was in use for {} s: stopping until the next one", timeout.as_secs());
    if let Err(error) = stop(&unit, &container) {
        restore(&networks, &lease)?;
        return Err(error);
    }
    Ok(ExitCode::SUCCESS)
}

/// How long ago the container was last seen in use, or started; `quiet` is what the kernel knows of its connections.
fn unused_for(container: &Running, quiet: Option<Duration>) -> anyhow::Result<Duration> {
    let path = container.directory.path().join(SEEN);
    let now = Duration::from_secs(u64::try_from(clock_gettime(ClockId::Boottime).tv_sec)?);
    let noted = fs::read_to_string(&path).ok().and_then(|text| Some(Duration::from_secs(text.parse().ok()?)));
    // The first look comes soon after the start.
    let seen = quiet.map(|quiet| now.saturating_sub(quiet)).max(noted).unwrap_or(now);
    if noted != Some(seen) {
        fs::write(&path, seen.as_secs().to_string())
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(now.saturating_sub(seen))
}

/// Whether somebody has come between the first look and now, when nobody else can.
fn is_used(options: &Options, networks: &Networks, lease: &Lease, timeout: Duration) -> anyhow::Result<bool> {
    std::thread::sleep(SETTLING);
    let flows = networks.quiet_for(lease)?;
    Ok(flows.is_some_and(|quiet| quiet < timeout) || is_any_active(&options.proxies)?)
}

/// Lets those ports lead to the container again that did before.
fn restore(networks: &Networks, lease: &Lease) -> anyhow::Result<()> {
    for port in &lease.ports {
        for number in (0..port.range).map(|step| port.container_port.saturating_add(step)) {
            if !lease.withheld.iter().any(|withheld| withheld.container_port == number) {
                networks.publish(&lease.holder.id, Some(number))?;
            }
        }
    }
    Ok(())
}

/// Stops the service, and comes back when the container has ended: until then nobody may be led to it.
fn stop(unit: &str, container: &Running) -> anyhow::Result<()> {
    let output =
        Command::new("systemctl").args(["stop", "--", unit]).output().context("running systemctl stop")?;
    // A connection that came meanwhile replaces the stop by a start, which follows the end.
    let patience = ENDING + Duration::from_secs(container.state.stop_timeout.into());
    if process::wait(container.pidfd.as_fd(), Some(patience))? {
        return Ok(());
    }
    bail!("systemctl stop {unit}: {}", String::from_utf8_lossy(&output.stderr).trim())
}
