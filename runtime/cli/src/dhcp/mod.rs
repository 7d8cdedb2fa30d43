//! Addresses from DHCP servers while a container runs: `sampan network renew`, the timer that calls for it, and what
//! changes with a new address.
//!
//! The conversation itself is `sampan-network`'s; [`resolution`] keeps `/etc/hosts` and `/etc/resolv.conf` true.

pub(crate) mod files;

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use oci_spec::runtime::LinuxNamespaceType;
use sampan_container::state::ContainerDir;
use sampan_container::{Error, shared};
use sampan_network::{Lease, Renewal};
use systemd_journal_logger::JournalLog;

use crate::context::Context;
use crate::namespace;
use crate::network::resolution;
use crate::pod::{self, PodDir};
use crate::run::network;
use crate::timer::{self, Transient};

/// `sampan network renew [options] NAME`
#[derive(Debug, clap::Args)]
pub(crate) struct Renew {
    /// Only if it is time for it, and without a failure: for timers
    #[arg(long, hide = true)]
    due: bool,
    /// A container, or a pod
    #[arg(value_name = "CONTAINER")]
    name: String,
}

/// Who has a lease.
#[derive(Debug)]
enum Owner {
    Container(ContainerDir),
    Pod(PodDir),
}

/// What a renewal needs to know of the owner.
#[derive(Debug)]
struct Holder {
    owner: Owner,
    id: String,
    name: String,
    hostname: String,
    unit: Option<String>,
    directory: PathBuf,
    netns: OwnedFd,
}

/// Asks the DHCP servers of a container's networks for more time.
///
/// # Errors
/// There is no such container, it doesn't run, or has no network with addresses from a DHCP server.
pub(crate) fn renew(options: &Renew, context: &Context) -> anyhow::Result<ExitCode> {
    let Some(holder) = find(&options.name, context)? else {
        if options.due {
            // It has ended; its timer ends with it.
            return Ok(ExitCode::SUCCESS);
        }
        bail!("container {} doesn't run: it has no address to renew", options.name);
    };
    let networks = context.networks()?;
    let before = networks.lease(&holder.id)?.filter(Lease::is_dynamic).with_context(|| {
        format!("{} has no network with IPAMDriver=dhcp: its addresses need no renewal", holder.name)
    })?;
    let renewals = networks.renew(&holder.id, holder.netns.as_fd(), options.due)?;
    for renewal in &renewals {
        holder.log(renewal);
        if !options.due {
            println!("{}", sentence(renewal));
        }
    }
    let after = networks.lease(&holder.id)?;
    if let Some(after) = after.filter(|_| !renewals.is_empty()) {
        if renewals.iter().any(|renewal| renewal.changed) {
            resolution::follow(&holder.directory, &holder.hostname, Some(&before), &after)?;
            holder.note(&after, context)?;
        }
        retime(Some(&before), &after, holder.unit.as_deref(), &holder.name, context);
    }
    let failed = !options.due && renewals.iter().any(|renewal| !renewal.succeeded);
    Ok(ExitCode::from(u8::from(failed)))
}

/// Starts the timer that keeps a new lease alive, if it needs one. `unit` is the service of the container or pod.
///
/// Nobody waits for systemd-run(1), see [`timers::begin`](crate::healthcheck::timers::begin).
pub(crate) fn begin(lease: &Lease, unit: Option<&str>, name: &str, context: &Context) {
    let Some(interval) = lease.renewal_interval() else { return };
    let Some(unit) = unit else {
        log::warn!(
            "{name} is in no unit of systemd: nobody renews its address; call `sampan network renew {name}`"
        );
        return;
    };
    if let Err(error) = start(unit, name, interval, context) {
        log::warn!("the address of {name} is not renewed: {error:#}");
    }
}

fn start(unit: &str, name: &str, interval: Duration, context: &Context) -> anyhow::Result<()> {
    let stem = stem(unit, interval);
    let arguments = ["network", "renew", "--due", name];
    let timer = Transient { stem: &stem, service: unit, interval, arguments: &arguments };
    timer.command(context).spawn().context("running systemd-run")?;
    Ok(())
}

/// The interval is a part of the name: a timer can't be changed while the service that it has called runs, and that
/// is us.
fn stem(unit: &str, interval: Duration) -> String {
    timer::stem(unit, &format!("dhcp-{}s", interval.as_secs()))
}

/// The owner of this name or id, if it runs.
fn find(name: &str, context: &Context) -> anyhow::Result<Option<Holder>> {
    match context.containers()?.get(name) {
        Ok(container) => of_container(container),
        Err(Error::NoSuchContainer(_)) => {
            let pod = context.pods().get(name);
            of_pod(pod.with_context(|| format!("there is no container \"{name}\" either"))?)
        }
        Err(error) => Err(error.into()),
    }
}

fn of_container(container: ContainerDir) -> anyhow::Result<Option<Holder>> {
    let state = container.read()?;
    if let Some(pod) = state.pod.as_ref().filter(|_| !container.path().join(crate::release::LEASED).exists())
    {
        bail!("{} has the network of its pod: write `sampan network renew {}`", state.name, pod.name);
    }
    let Some(netns) = namespace::of_container(&state) else { return Ok(None) };
    Ok(Some(Holder {
        id: state.id,
        name: state.name,
        hostname: state.hostname,
        unit: state.unit,
        directory: container.path().to_owned(),
        netns,
        owner: Owner::Container(container),
    }))
}

fn of_pod(directory: PodDir) -> anyhow::Result<Option<Holder>> {
    let pod = directory.read()?;
    let path = shared::path(directory.path(), LinuxNamespaceType::Network);
    let path = path.filter(|_| pod.is_complete && pod.shares(LinuxNamespaceType::Network));
    let Some(path) = path else { return Ok(None) };
    let netns = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Some(Holder {
        id: pod.id,
        name: pod.name,
        hostname: pod.hostname,
        unit: pod.unit,
        directory: directory.path().to_owned(),
        netns: netns.into(),
        owner: Owner::Pod(directory),
    }))
}

impl Holder {
    /// One line in the journal of its unit.
    fn log(&self, renewal: &Renewal) {
        let Ok(journal) = JournalLog::new() else { return };
        let fields = [
            ("OBJECT_SYSTEMD_UNIT", self.unit.as_deref().unwrap_or_default()),
            ("CONTAINER_NAME", &self.name),
            ("CONTAINER_ID_FULL", &self.id),
        ];
        let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
        let level = if renewal.succeeded { log::Level::Info } else { log::Level::Warn };
        let text = sentence(renewal);
        // A machine without a journal has it in the lease.
        let _ = journal.with_extra_fields(fields).journal_send(
            &log::Record::builder().level(level).target("dhcp").args(format_args!("{text}")).build(),
        );
    }

    /// Writes the new addresses where `inspect` looks for them.
    fn note(&self, lease: &Lease, context: &Context) -> anyhow::Result<()> {
        match &self.owner {
            Owner::Container(container) => {
                // Who holds the lock of a container that runs holds it to its end, and writes no networks.
                let _lock = container.try_lock()?;
                let mut state = container.read()?;
                if state.id == self.id {
                    state.networks = network::shown(lease).0;
                    container.write(&state)?;
                }
            }
            Owner::Pod(directory) => {
                let Some(_lock) = directory.lock()? else { return Ok(()) };
                let mut pod = directory.read()?;
                if pod.id == self.id {
                    pod.networks = network::shown(lease).0;
                    for (container, mut member) in pod::containers(context, &pod)? {
                        let _lock = container.try_lock()?;
                        member.networks.clone_from(&pod.networks);
                        container.write(&member)?;
                    }
                    directory.write(&pod)?;
                }
            }
        }
        Ok(())
    }
}

/// Lets the timer follow the times of a lease that has changed.
pub(crate) fn retime(
    before: Option<&Lease>,
    after: &Lease,
    unit: Option<&str>,
    name: &str,
    context: &Context,
) {
    let (old, new) = (before.and_then(Lease::renewal_interval), after.renewal_interval());
    if old == new {
        return;
    }
    begin(after, unit, name, context);
    if let (Some(old), Some(unit)) = (old, unit)
        && let Err(error) = timer::execute(&mut timer::systemctl("stop", &stem(unit, old)))
    {
        log::debug!("an old timer goes on: {error:#}");
    }
}

fn sentence(renewal: &Renewal) -> String {
    format!("network {}, {}: {}", renewal.network, renewal.interface, renewal.outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_have_their_interval_in_their_name() {
        assert_eq!(stem("web.service", Duration::from_secs(900)), "web-dhcp-900s");
        assert_eq!(stem("web@one.service", Duration::from_secs(1)), "web-dhcp-1s@one");
    }
}
