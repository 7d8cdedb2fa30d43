//! `sampan service idle`: stops a container or pod that nobody has used for a while.

use std::fs;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::time::{ClockId, clock_gettime};
use sampan_network::{Lease, Networks};

use super::woken::{Life, Member};
use super::{Turn, Woken, is_any, is_any_active};
use crate::context::Context;
use crate::run::size;

/// The file with the moment when it was last seen in use, in seconds since boot.
const SEEN: &str = "last-seen-in-use";

/// A packet that has passed the firewall before the port was taken back is a flow by then.
const SETTLING: Duration = Duration::from_millis(20);

/// How much longer than a container's own time a stop that something else has replaced may still be under way.
const ENDING: Duration = Duration::from_secs(10);

/// How long it is between two looks whether containers are being stopped.
const LOOK: Duration = Duration::from_millis(20);

/// `sampan service idle [--pod] --timeout 5m --socket web.socket --proxy web-proxy.service NAME`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// It is a pod
    #[arg(long)]
    pod: bool,
    /// After what time without a connection in use it is stopped
    #[arg(long, value_name = "DURATION")]
    timeout: String,
    /// A socket unit that starts it again
    #[arg(long = "socket", value_name = "UNIT")]
    sockets: Vec<String>,
    /// A service that passes connections on to it
    #[arg(long = "proxy", value_name = "UNIT")]
    proxies: Vec<String>,
    /// The container or pod
    name: String,
}

/// Looks, and stops the service if it is time.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let timeout = size::duration(&options.timeout)?;
    let name = &options.name;
    let found = if options.pod { Woken::pod(name, context)? } else { Woken::container(name, context)? };
    let Some(woken) = found else { return Ok(ExitCode::SUCCESS) };
    let networks = context.networks()?;
    let Some(lease) = networks.lease(&woken.id)? else { return Ok(ExitCode::SUCCESS) };
    let is_idle = unused_for(&woken, networks.quiet_for(&lease)?)? >= timeout;
    // Without a socket nothing would start it again; with a proxy somebody is being served.
    if !is_idle || !is_any_active(&options.sockets)? || is_any_active(&options.proxies)? {
        return Ok(ExitCode::SUCCESS);
    }
    let Some(unit) = &woken.unit else { return Ok(ExitCode::SUCCESS) };
    let Some(mut turn) = Turn::take(&woken)? else { return Ok(ExitCode::SUCCESS) };
    // From here on new connections wait in the socket.
    networks.withdraw(&woken.id)?;
    match is_used(options, &networks, &lease, timeout) {
        Ok(false) => {}
        used => {
            restore(&networks, &lease)?;
            return used.map(|_| ExitCode::SUCCESS);
        }
    }
    println!("no connection was in use for {} s: stopping until the next one", timeout.as_secs());
    let stopped = match &woken.life {
        Life::Container { stop_timeout, .. } => stop(unit, &woken, *stop_timeout),
        Life::Pod { .. } => stop_pod(unit, &woken, &mut turn, context),
    };
    if !matches!(stopped, Ok(true)) {
        restore(&networks, &lease)?;
    }
    stopped.map(|_| ExitCode::SUCCESS)
}

/// How long ago it was last seen in use, or started; `quiet` is what the kernel knows of its connections.
fn unused_for(woken: &Woken, quiet: Option<Duration>) -> anyhow::Result<Duration> {
    let path = woken.path().join(SEEN);
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
fn stop(unit: &str, container: &Woken, stop_timeout: u32) -> anyhow::Result<bool> {
    let said = systemctl_stop(unit)?;
    // A connection that came meanwhile replaces the stop by a start, which follows the end.
    let patience = ENDING + Duration::from_secs(stop_timeout.into());
    if container.is_over_within(patience)? {
        return Ok(true);
    }
    bail!("systemctl stop {unit}: {said}");
}

/// The same for a pod with its containers. `false`: none of them has ended, because a connection came before.
///
/// The pod itself outlives a stop that a connection has replaced, while those containers that were about to end do so,
/// and start again in it. Nobody may be led to them between the two.
fn stop_pod(unit: &str, pod: &Woken, turn: &mut Turn, context: &Context) -> anyhow::Result<bool> {
    let members = pod.members(context)?;
    let said = systemctl_stop(unit)?;
    if pod.is_over()? {
        return Ok(true);
    }
    let units: Vec<String> = members.iter().filter_map(|member| member.unit.clone()).collect();
    let slowest = members.iter().map(|member| member.stop_timeout).max().unwrap_or_default();
    let (begun, patience) = (Instant::now(), ENDING + Duration::from_secs(slowest.into()));
    while begun.elapsed() < patience && is_any(&units, &["deactivating"])? {
        std::thread::sleep(LOOK);
    }
    turn.note_stop()?;
    let ended = members.iter().map(Member::has_ended).collect::<anyhow::Result<Vec<_>>>()?;
    if !ended.contains(&true) {
        println!("going on, nothing was stopped: {said}");
        return Ok(false);
    }
    Ok(true)
}

/// Returns what systemctl says, which it may also do because the stop was replaced.
fn systemctl_stop(unit: &str) -> anyhow::Result<String> {
    let output =
        Command::new("systemctl").args(["stop", "--", unit]).output().context("running systemctl stop")?;
    Ok(String::from_utf8_lossy(&output.stderr).trim().to_owned())
}
