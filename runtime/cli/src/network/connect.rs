//! `sampan network connect` and `disconnect`: networks of containers and pods that run.

use std::net::IpAddr;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, bail};
use sampan_container::state::{ContainerDir, State};
use sampan_network::{Error, Lease, Request};

use super::{find, resolution};
use crate::context::Context;
use crate::dhcp;
use crate::namespace;
use crate::pod::{self, Pod, PodDir};
use crate::run::network;

#[derive(Debug, clap::Args)]
pub(super) struct Connect {
    /// Further name of the container on this network; may be repeated
    #[arg(long, value_name = "NAME")]
    alias: Vec<String>,
    /// IPv4 address
    #[arg(long, value_name = "ADDRESS")]
    ip: Option<IpAddr>,
    /// IPv6 address
    #[arg(long, value_name = "ADDRESS")]
    ip6: Option<IpAddr>,
    /// Hardware address
    #[arg(long, value_name = "ADDRESS")]
    mac_address: Option<String>,
    /// The network's name or id
    network: String,
    /// A container, or a pod
    container: String,
}

#[derive(Debug, clap::Args)]
pub(super) struct Disconnect {
    /// A container that doesn't exist or isn't connected is no error
    #[arg(long, short)]
    force: bool,
    /// The network's name or id
    network: String,
    /// A container, or a pod
    container: String,
}

/// Connects what runs to one more network.
pub(super) fn connect(options: &Connect, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let request = Request {
        network: find(&networks, &options.network)?.name,
        ip: options.ip.filter(IpAddr::is_ipv4).or(options.ip6.filter(IpAddr::is_ipv4)),
        ip6: options.ip6.filter(IpAddr::is_ipv6).or(options.ip.filter(IpAddr::is_ipv6)),
        mac: options.mac_address.clone(),
        aliases: options.alias.clone(),
        ..Request::default()
    };
    let target = Target::find(&options.container, context)?;
    let namespace = target.namespace(context)?;
    let before = networks.lease(target.id())?;
    let after = networks.connect(target.id(), &request, namespace.as_fd())?;
    target.note(before.as_ref(), &after, context)?;
    Ok(ExitCode::SUCCESS)
}

/// Takes a network away from what runs.
pub(super) fn disconnect(options: &Disconnect, context: &Context) -> anyhow::Result<ExitCode> {
    let networks = context.networks()?;
    let network = find(&networks, &options.network)?.name;
    let target = match Target::find(&options.container, context) {
        Err(_) if options.force => return Ok(ExitCode::SUCCESS),
        target => target?,
    };
    let namespace = target.namespace(context)?;
    let before = networks.lease(target.id())?;
    match networks.disconnect(target.id(), &network, Some(namespace.as_fd())) {
        Ok(after) => target.note(before.as_ref(), &after, context)?,
        Err(Error::Invalid { .. }) if options.force => {}
        Err(error) => return Err(error.into()),
    }
    Ok(ExitCode::SUCCESS)
}

/// Who holds the lease: a container with a network of its own, or a pod.
enum Target {
    Container(ContainerDir, Box<State>),
    Pod(PodDir, Box<Pod>),
}

impl Target {
    fn find(name: &str, context: &Context) -> anyhow::Result<Self> {
        let container = match context.containers()?.get(name) {
            Ok(container) => container,
            Err(error) => {
                let Ok(directory) = context.pods().get(name) else { return Err(error.into()) };
                let pod = directory.read()?;
                return Ok(Self::Pod(directory, Box::new(pod)));
            }
        };
        let state = container.read()?;
        if let Some(pod) = &state.pod
            && context.networks()?.lease(&state.id)?.is_none()
        {
            bail!(
                "container {} is in the network of the pod {}: name the pod, whose containers all of them are \
                 connected with",
                state.name,
                pod.name
            );
        }
        Ok(Self::Container(container, Box::new(state)))
    }

    fn id(&self) -> &str {
        match self {
            Self::Container(_, state) => &state.id,
            Self::Pod(_, pod) => &pod.id,
        }
    }

    fn namespace(&self, context: &Context) -> anyhow::Result<OwnedFd> {
        match self {
            Self::Container(_, state) => namespace::of_container(state)
                .with_context(|| format!("container {} doesn't run: start it first", state.name)),
            Self::Pod(_, pod) => namespace::of_holders(context)(&pod.id)
                .with_context(|| format!("pod {} has no network of its own", pod.name)),
        }
    }

    /// Lets `inspect`, and the files about names, say what the lease says.
    fn note(&self, before: Option<&Lease>, after: &Lease, context: &Context) -> anyhow::Result<()> {
        let (networks, ports) = network::shown(after);
        let (path, hostname): (PathBuf, String) = match self {
            Self::Container(container, state) => {
                let _lock = container.lock()?;
                let mut now: State = container.read()?;
                if now.id != state.id {
                    return Ok(());
                }
                (now.networks, now.ports) = (networks, ports);
                container.write(&now)?;
                (container.path().to_owned(), now.hostname)
            }
            Self::Pod(directory, pod) => {
                let _lock = directory.lock()?;
                let mut now: Pod = directory.read()?;
                if now.id != pod.id {
                    return Ok(());
                }
                for (container, mut member) in pod::containers(context, &now)? {
                    let _lock = container.lock()?;
                    (member.networks, member.ports) = (networks.clone(), ports.clone());
                    container.write(&member)?;
                }
                (now.networks, now.ports) = (networks, ports);
                directory.write(&now)?;
                (directory.path().to_owned(), now.hostname)
            }
        };
        let (unit, name) = match self {
            Self::Container(_, state) => (&state.unit, &state.name),
            Self::Pod(_, pod) => (&pod.unit, &pod.name),
        };
        dhcp::retime(before, after, unit.as_deref(), name, context);
        resolution::follow(&path, &hostname, before, after)
    }
}
