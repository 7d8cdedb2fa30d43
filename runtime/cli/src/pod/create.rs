//! `sampan pod create`: namespaces without a process, networks, and the files about names.
//!
//! Each step can be the last one before a kill: what there is stands in the pod's directory before it is made, so
//! that [`super::remove`], or the next start of the same name, finds it.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use oci_spec::runtime::{Linux, LinuxNamespaceType as Kind};
use sampan_container::shared::{self, Wanted};
use sampan_network::{Holder, Lease, loopback_up};

use super::remove;
use super::state::{ExitPolicy, Lock, Pod, PodDir};
use crate::blame::Blamed as _;
use crate::containers_conf::{self, ContainersConf};
use crate::context::Context;
use crate::dhcp;
use crate::network::definition;
use crate::on_demand;
use crate::output;
use crate::run::files::{self, Facts};
use crate::run::groups::{Naming, Networking, Users};
use crate::run::network::{self, Network, Plan};
use crate::run::unit::{self, Unit};
use crate::run::user_namespace::{self, Mappings};
use crate::run::{id, mounts, size};

/// Podman's size of `/dev/shm`.
const SHM_SIZE: &str = "65536k";
/// sethostname(2)'s limit.
const HOSTNAME_MAX: usize = 64;
/// As often as this another process may take the name after we have freed it.
const TRIES: usize = 20;

/// `sampan pod create [options] [NAME]`: the vocabulary of podman-pod-create(1).
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Name of the pod [default: its identifier's first twelve digits]
    #[arg(long, short, value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// If another pod has the name, remove that one with its containers first
    #[arg(long)]
    pub(crate) replace: bool,
    /// What happens when the last container ends
    #[arg(long, value_name = "POLICY", default_value = "continue")]
    pub(crate) exit_policy: ExitPolicy,
    /// Namespaces that the containers share: net, ipc, uts, or none
    #[arg(long, value_name = "LIST", default_value = "ipc,net,uts")]
    pub(crate) share: String,
    #[command(flatten)]
    pub(crate) users: Users,
    #[command(flatten)]
    pub(crate) net: Networking,
    /// Host name of the containers [default: the pod's name]
    #[arg(long, value_name = "NAME")]
    pub(crate) hostname: Option<String>,
    #[command(flatten)]
    pub(crate) names: Naming,
    /// Size of /dev/shm, with b, k, m, g
    #[arg(long, value_name = "SIZE")]
    pub(crate) shm_size: Option<String>,
    /// Volume or directory for each container: [SOURCE:]DESTINATION[:OPTIONS]
    #[arg(long, short, value_name = "VOLUME")]
    pub(crate) volume: Vec<String>,
    /// Label
    #[arg(long, short, value_name = "NAME=VALUE")]
    pub(crate) label: Vec<String>,
    /// File with labels, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) label_file: Vec<PathBuf>,
    /// Write the pod's identifier to this file
    #[arg(long, value_name = "FILE")]
    pub(crate) pod_id_file: Option<PathBuf>,
    /// The ports are published later; until then this socket unit has them
    #[arg(long, value_name = "SOCKET", hide = true)]
    pub(crate) on_demand: Vec<String>,
    /// Without effect: no container of ours holds the namespaces
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    infra: Option<bool>,
    /// Without effect, as --infra
    #[arg(long, value_name = "NAME", hide = true)]
    infra_name: Option<String>,
    /// Without effect, as --infra
    #[arg(long, value_name = "IMAGE", hide = true)]
    infra_image: Option<String>,
    /// The same as --name
    #[arg(value_name = "NAME", conflicts_with = "name")]
    pub(crate) positional: Option<String>,
}

/// Makes a pod and prints its identifier.
pub(super) fn run(options: &Options, context: &Context, modules: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let conf = containers_conf::load(modules)?;
    let infra = [options.infra_name.is_some(), options.infra_image.is_some(), options.infra == Some(true)];
    if infra.contains(&true) {
        log::warn!(
            "--infra and its like have no effect: there is no infra container, nothing runs for a pod"
        );
    }
    let pod = make(options, context, &conf)?;
    if let Some(path) = &options.pod_id_file {
        std::fs::write(path, &pod.id).with_context(|| format!("writing {}", path.display()))?;
    }
    output::lines([&pod.id])?;
    Ok(ExitCode::SUCCESS)
}

/// Makes a pod. Nothing of it is left if that fails.
///
/// # Errors
/// A malformed option; whatever keeps namespaces and networks from being made.
pub(crate) fn make(options: &Options, context: &Context, conf: &ContainersConf) -> anyhow::Result<Pod> {
    // What can be wrong with the options is found before anything is made.
    let resolvers = files::resolv_conf::servers(&options.names, conf)?;
    let plan = network::plan(
        &options.net,
        conf.network.default_name(),
        &resolvers,
        options.hostname.as_deref(),
        context,
    )?;
    let mut pod = described(options, conf, &plan)?;
    let (directory, _lock) = claim(&pod.name, options.replace, context)?;
    let made = build(&mut pod, &plan, options, conf, &directory, context);
    if let Err(error) = made {
        // The error says why; what a failed clean-up leaves, the next start removes.
        if let Err(leftover) = remove::release(context, &directory) {
            log::warn!("{leftover:#}");
        }
        return Err(error);
    }
    Ok(pod)
}

/// What the options alone say about the pod.
fn described(options: &Options, conf: &ContainersConf, plan: &Plan) -> anyhow::Result<Pod> {
    let id = id::random()?;
    let name = options.name.as_ref().or(options.positional.as_ref()).cloned();
    let name = name.unwrap_or_else(|| id[..12].to_owned());
    let mut shared = shared_kinds(&options.share)?;
    let host_network = matches!(plan.network, Network::Host);
    if host_network {
        shared.retain(|kind| *kind != Kind::Network);
    } else if !shared.contains(&Kind::Network) {
        ensure!(
            options.net.network.is_empty() && plan.ports.is_empty(),
            "--share={}: without net the pod has no network and no ports; each container has its own",
            options.share
        );
    }
    for text in &options.volume {
        mounts::volume(text).blame("Volume", text)?;
    }
    let shm_size = options.shm_size.as_deref().or(conf.containers.shm_size.as_deref()).unwrap_or(SHM_SIZE);
    let mut labels = Vec::new();
    for file in &options.label_file {
        let text = std::fs::read_to_string(file);
        let text = text.with_context(|| format!("reading the labels in {}", file.display()))?;
        labels.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
    }
    labels.extend(options.label.iter().cloned());
    let mut hostname = options.hostname.clone().unwrap_or_else(|| name.clone());
    if options.hostname.is_none() && hostname.len() > HOSTNAME_MAX {
        hostname.truncate(HOSTNAME_MAX);
    }
    Ok(Pod {
        id,
        name,
        is_complete: false,
        created: jiff::Timestamp::now().to_string(),
        // Also where a wrapper of the administrator's is the unit's main process.
        unit: unit::generated_unit().or_else(|| Unit::current()?.name),
        hostname,
        shared,
        host_network,
        shm_size: size::bytes(shm_size).blame("ShmSize", "")?,
        volumes: options.volume.clone(),
        labels: output::assignments(&labels),
        exit_policy: options.exit_policy,
        command: std::env::args().collect(),
        ..Pod::default()
    })
}

fn shared_kinds(list: &str) -> anyhow::Result<Vec<Kind>> {
    let mut kinds = Vec::new();
    for word in list.trim_start_matches('+').split(',').filter(|word| !word.is_empty() && *word != "none") {
        let kind = match word {
            "net" => Kind::Network,
            "ipc" => Kind::Ipc,
            "uts" => Kind::Uts,
            "pid" => bail!(
                "--share=pid: containers that are services of their own have no process in common that could hold \
                 a PID namespace; share net, ipc, uts"
            ),
            "cgroup" => {
                bail!("--share=cgroup: each container is in the cgroup of its own service; use Slice=")
            }
            _ => bail!("--share={word}: there is no such namespace; known are net, ipc, uts"),
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    Ok(kinds)
}

/// Takes the name; a pod that has it gives way if that is wanted, or if it was never finished.
fn claim(name: &str, replace: bool, context: &Context) -> anyhow::Result<(PodDir, Lock)> {
    let pods = context.pods();
    for _ in 0..TRIES {
        if let Some(directory) = pods.create(name)? {
            match directory.lock()? {
                Some(lock) => return Ok((directory, lock)),
                // Between the two steps a clean-up has taken the new directory for a leftover.
                None => continue,
            }
        }
        let Ok(directory) = pods.get(name) else { continue };
        let Some(_lock) = directory.lock()? else { continue };
        if let Ok(pod) = directory.read()
            && pod.is_complete
            && !replace
        {
            let unit = pod.unit.map_or(String::new(), |unit| format!(" of unit {unit}"));
            bail!(
                "the name \"{name}\" is in use by the pod {}{unit}: remove that one (`sampan pod rm {name}`), choose \
                 another name, or use --replace",
                output::short_id(&pod.id, false)
            );
        }
        remove::with_containers(context, &directory)
            .with_context(|| format!("removing the earlier pod {name}"))?;
    }
    bail!("the name \"{name}\" is taken again as often as it is freed: does another unit use PodName={name}?")
}

/// The steps, one after the other.
fn build(
    pod: &mut Pod,
    plan: &Plan,
    options: &Options,
    conf: &ContainersConf,
    directory: &PodDir,
    context: &Context,
) -> anyhow::Result<()> {
    // The identifier first: whoever cleans up after us finds the lease by it.
    directory.write(pod)?;
    let mappings = users(pod, options, directory, context)?;
    let holder = Holder { id: pod.id.clone(), name: pod.name.clone() };
    let lease = match &plan.network {
        Network::Joined(requests) if pod.shares(Kind::Network) => {
            requests.iter().for_each(|request| definition::follow(&request.network, context));
            let requests = network::with_hostname(requests, Some(&pod.hostname));
            let networks = context.networks()?;
            let reserved = match options.on_demand.as_slice() {
                [] => networks.reserve(&holder, &requests, &plan.ports),
                sockets => {
                    networks.reserve_on_demand(&holder, &requests, &plan.ports, &on_demand::held(sockets)?)
                }
            };
            reserved.map_err(|error| network::blame(error, &options.net))?
        }
        _ => Lease::empty(holder),
    };
    let linux = mappings.as_ref().map(Mappings::linux).transpose()?;
    let hostname = pod.shares(Kind::Uts).then_some(pod.hostname.as_str());
    namespaces(pod, plan, linux.as_ref(), hostname, directory, &|netns| match &plan.network {
        Network::Joined(_) => Ok(context.networks()?.attach(&lease, netns)?),
        Network::None => Ok(loopback_up(netns)?),
        Network::Host | Network::Path(_) => Ok(()),
    })?;
    let granted = if lease.is_dynamic() { context.networks()?.lease(&pod.id)? } else { None };
    let lease = granted.unwrap_or(lease);
    dhcp::begin(&lease, pod.unit.as_deref(), &pod.name, context);
    if pod.shares(Kind::Network) || pod.host_network {
        let facts = facts(pod, &plan.network, &lease);
        files::write_names(directory.path(), &options.names, conf, &facts.borrow())?;
    }
    if let Some(mappings) = &mappings {
        files::give(directory.path(), mappings.on_host(0, 0))?;
    }
    (pod.networks, pod.ports) = network::shown(&lease);
    pod.is_complete = true;
    directory.write(pod)
}

/// Chooses the users, and writes them down before the next one chooses.
fn users(
    pod: &mut Pod,
    options: &Options,
    directory: &PodDir,
    context: &Context,
) -> anyhow::Result<Option<Mappings>> {
    let _ranges = user_namespace::lock(&options.users, context.runroot())?;
    let mappings = user_namespace::mappings(&options.users, context, None)?;
    if let Some(mappings) = &mappings {
        pod.uid_mappings.clone_from(&mappings.uids);
        pod.gid_mappings.clone_from(&mappings.gids);
        // The namespaces belong to these users: only who is in their namespace has power over them.
        pod.shared.insert(0, Kind::User);
        directory.write(pod)?;
    }
    Ok(mappings)
}

/// Makes the namespaces, keeps them, and lets `connect` bring the network to life.
fn namespaces(
    pod: &Pod,
    plan: &Plan,
    linux: Option<&Linux>,
    hostname: Option<&str>,
    directory: &PodDir,
    connect: &dyn Fn(std::os::fd::BorrowedFd<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let given = match &plan.network {
        Network::Path(path) => Some(path),
        _ => None,
    };
    let is_new = |kind: &&Kind| **kind != Kind::Network || given.is_none();
    let kinds: Vec<Kind> = pod.shared.iter().filter(is_new).copied().collect();
    let mut namespaces = shared::Namespaces::new(Wanted { kinds: &kinds, mappings: linux, hostname })
        .blame(if linux.is_some() { "UserNS" } else { "PodName" }, "")?;
    if let Some(path) = given {
        let file = std::fs::File::open(path).with_context(|| format!("ns:{path}")).blame("Network", path)?;
        namespaces.add(Kind::Network, file.into());
    }
    namespaces.keep(directory.path(), pod.shares(Kind::Ipc).then_some(pod.shm_size))?;
    match namespaces.get(Kind::Network) {
        Some(network) => connect(network.as_fd()),
        None => Ok(()),
    }
}

/// Owned parts of [`Facts`].
struct OwnedFacts<'a> {
    pod: &'a Pod,
    addresses: Vec<IpAddr>,
    gateways: Vec<IpAddr>,
    lease: &'a Lease,
    network: &'a Network,
}

impl OwnedFacts<'_> {
    fn borrow(&self) -> Facts<'_> {
        Facts {
            hostname: &self.pod.hostname,
            name: &self.pod.name,
            id: "",
            image: "",
            addresses: &self.addresses,
            gateways: &self.gateways,
            dns_servers: &self.lease.dns_servers,
            search: &self.lease.search,
            lease: Some(self.lease),
            network: self.network,
            root: None,
        }
    }
}

fn facts<'a>(pod: &'a Pod, network: &'a Network, lease: &'a Lease) -> OwnedFacts<'a> {
    let addresses = lease.attachments.iter().flat_map(|a| a.addresses.iter().map(|a| a.address)).collect();
    OwnedFacts { pod, addresses, gateways: files::hosts::gateways(lease), lease, network }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_namespaces_are_a_list() {
        assert_eq!(shared_kinds("net,ipc,net").unwrap().len(), 2);
        assert!(shared_kinds("none").unwrap().is_empty() && shared_kinds("").unwrap().is_empty());
        for wrong in ["pid", "cgroup", "net,what"] {
            assert!(shared_kinds(wrong).is_err(), "{wrong}");
        }
    }
}
