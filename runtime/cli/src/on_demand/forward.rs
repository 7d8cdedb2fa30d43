//! `sampan service forward`: leads clients to a container or pod that has just started.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use sampan_container::activation::Sockets;

use super::{Turn, Woken};
use crate::context::Context;

/// As long as systemd waits for a service to start. After that it is for the container to answer, or not.
const PATIENCE: Duration = Duration::from_secs(90);

/// How long it is between two looks whether the program listens.
const SHORTEST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(50);

/// Who passes on what has come before.
const PROXY: &str = "/usr/lib/systemd/systemd-socket-proxyd";
/// Connections that come later don't go through it, so it isn't needed for long.
const PROXY_IDLE: &str = "--exit-idle-time=1s";
/// The user that owns nothing; systemd.exec(5) has it as the kernel's overflow user.
const NOBODY: u32 = 65534;

/// How long clients of a container that can't be started wait for the news: so often at most its start is tried.
const PAUSE: Duration = Duration::from_secs(1);

/// How long it is between two looks whether a pod still has a container that runs.
const COUNT: Duration = Duration::from_secs(1);

/// `sampan service forward [--pod] NAME PORT`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// It is a pod
    #[arg(long)]
    pod: bool,
    /// The container or pod
    name: String,
    /// Its port
    port: u16,
}

/// Waits until a program listens on the port, publishes it, and passes on what waits in the socket that systemd has
/// passed. Without a socket there is nothing to pass on.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let Options { pod, name, port } = options;
    let port = *port;
    let sockets = Sockets::take(false);
    let not_running = || format!("{name} doesn't run");
    let found = if *pod { Woken::pod(name, context)? } else { Woken::container(name, context)? };
    let Some(woken) = found else { return turn_away(&sockets, &not_running()) };
    if !wait(&woken, port, context)? {
        return turn_away(&sockets, &not_running());
    }
    let turn = Turn::take(&woken)?;
    if turn.is_none() || woken.is_over()? {
        // It was stopped meanwhile. Whoever waits starts it again.
        return Ok(ExitCode::SUCCESS);
    }
    let networks = context.networks()?;
    networks.publish(&woken.id, Some(port)).with_context(|| format!("publishing port {port} of {name}"))?;
    let lease = networks.lease(&woken.id)?;
    let target = lease.and_then(|lease| lease.target(false).or_else(|| lease.target(true)));
    // We are seen: whoever thinks of stopping the container asks whether this unit is active.
    drop(turn);
    match target {
        // Who comes from now on is led past the socket. A proxy without a connection would wait for one for ever.
        _ if !is_awaited(&sockets)? => Ok(ExitCode::SUCCESS),
        Some(_) if !Path::new(PROXY).exists() => {
            turn_away(&sockets, &format!("{PROXY} is missing, which would pass them on to {name}"))
        }
        Some(address) => become_proxy(sockets, address, port),
        None => turn_away(&sockets, &format!("{name} has no address that this host can lead connections to")),
    }
}

/// Whether it still runs when its program listens, or should have by now.
fn wait(woken: &Woken, port: u16, context: &Context) -> anyhow::Result<bool> {
    let begin = Instant::now();
    let mut look = SHORTEST_LOOK;
    let mut counted = None::<Instant>;
    while !woken.listens(port)? {
        if woken.is_over_within(look)? {
            return Ok(false);
        }
        if counted.is_none_or(|counted| counted.elapsed() > COUNT) {
            counted = Some(Instant::now());
            if woken.is_deserted(context)? {
                return Ok(false);
            }
        }
        if begin.elapsed() > PATIENCE {
            log::warn!(
                "no program of {} listens on port {port} after {} s; connections to it are refused until one does",
                woken.name,
                PATIENCE.as_secs()
            );
            break;
        }
        look = (look * 2).min(LONGEST_LOOK);
    }
    Ok(true)
}

/// Whether a connection waits in one of the sockets.
fn is_awaited(sockets: &Sockets) -> anyhow::Result<bool> {
    let mut all: Vec<_> =
        sockets.descriptors().map(|socket| PollFd::from_borrowed_fd(socket, PollFlags::IN)).collect();
    Ok(poll(&mut all, Some(&Timespec::default())).context("looking whether a connection waits")? > 0)
}

/// Executes the proxy. Comes back only if that fails.
fn become_proxy(sockets: Sockets, address: IpAddr, port: u16) -> anyhow::Result<ExitCode> {
    sockets.give()?;
    let target = SocketAddr::new(address, port).to_string();
    let error = Command::new(PROXY).args([PROXY_IDLE, &target]).uid(NOBODY).gid(NOBODY).exec();
    Err(error).with_context(|| {
        format!("executing {PROXY}; it passes on the connections that waited for the container")
    })
}

/// Nobody can be led to the container: whoever waits shall not do so forever, and nothing shall start it again for them.
fn turn_away(sockets: &Sockets, why: &str) -> anyhow::Result<ExitCode> {
    std::thread::sleep(PAUSE);
    let mut count = 0;
    for socket in sockets.descriptors() {
        fcntl_setfl(socket, fcntl_getfl(socket)? | OFlags::NONBLOCK)?;
        loop {
            match rustix::net::accept(socket) {
                Ok(_) => count += 1,
                Err(rustix::io::Errno::AGAIN) => break,
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(error) => {
                    return Err(io::Error::from(error)).context("accepting who waits for the container");
                }
            }
        }
    }
    bail!("{why}: {count} waiting connections are closed; the next one starts it again")
}
