//! `--network` and its like: what to reserve before the container is made.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;

use anyhow::{Context as _, anyhow, bail, ensure};
use oci_spec::runtime::Mount;
use sampan_container::state;
use sampan_network::{Attachment, Lease, PortMapping, Request, parse_ports};

use super::groups::{Naming, Networking};
use crate::blame::{Blamed as _, Key};
use crate::context::Context;
use crate::namespace;

/// The network of a container or pod, decided once.
#[derive(Debug)]
pub(crate) enum Network {
    /// The host's own.
    Host,
    /// A namespace with nothing but loopback.
    None,
    /// A namespace that someone else has made.
    Path(String),
    /// These networks of ours.
    Joined(Vec<Request>),
}

/// What `--network` says.
#[derive(Debug)]
enum Asked {
    Network(Network),
    /// That of a container of this name.
    Container(String),
}

/// What to make and to publish.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) network: Network,
    pub(crate) ports: Vec<PortMapping>,
    /// The files about names of the container whose network is joined.
    pub(crate) names: Vec<Mount>,
}

/// Reads the network options together. `default` is the network of those who name none; `resolvers` are asked for names that no network knows; `hostname` is one that
/// the user gave, and so a name for the neighbours.
///
/// # Errors
/// An unknown mode, options that contradict each other, a malformed address or port.
pub(crate) fn plan(
    options: &Networking,
    default: &str,
    resolvers: &[IpAddr],
    hostname: Option<&str>,
    context: &Context,
) -> anyhow::Result<Plan> {
    let mut names = Vec::new();
    let network = match modes(&options.network, default).blame("Network", "")? {
        Asked::Container(name) => {
            let other = other(&name, context).blame("Network", name)?;
            names = other.1;
            Network::Path(other.0)
        }
        Asked::Network(Network::Path(path)) => {
            namespace::check(Path::new(&path)).blame("Network", path.as_str())?;
            Network::Path(path)
        }
        Asked::Network(network) => network,
    };
    let mut ports = Vec::new();
    for text in &options.publish {
        ports.extend(parse_ports(text).blame("PublishPort", text)?);
    }
    let network = match network {
        Network::Joined(mut requests) => {
            apply_common(&mut requests, options, resolvers, hostname)?;
            Network::Joined(requests)
        }
        other => {
            ensure!(
                options.ip.is_none() && options.ip6.is_none() && options.mac_address.is_none(),
                "IP=, IP6= and a hardware address need a network of ours; this one has Network={}",
                options.network.join(" ")
            );
            if matches!(other, Network::Host) {
                // Podman prints a warning and goes on: the program listens on the host itself.
                ports.clear();
            }
            ensure!(
                ports.is_empty(),
                "PublishPort= needs a network: with Network={} there is nothing to publish from",
                options.network.join(" ")
            );
            other
        }
    };
    Ok(Plan { network, ports, names })
}

/// Refuses what belongs to the container whose network is joined: its files about names are shared, and so are its
/// names in networks. The host name is the container's own.
///
/// # Errors
/// The first such option, and where it belongs.
pub(crate) fn check_names(options: &Networking, names: &Naming) -> anyhow::Result<()> {
    let Some(other) = options.network.iter().find_map(|text| text.strip_prefix("container:")) else {
        return Ok(());
    };
    let given = [
        ("AddHost", &names.add_host),
        ("DNS", &names.dns),
        ("DNSOption", &names.dns_option),
        ("DNSSearch", &names.dns_search),
        ("NetworkAlias", &options.network_alias),
    ];
    match given.iter().find_map(|(key, values)| Some((*key, values.first()?))) {
        None => Ok(()),
        Some((key, value)) => Err(anyhow!(
            "{key}={value}: this container has the network and the names of container {other}; write {key}= there"
        ))
        .blame(key, value),
    }
}

/// The network namespace of a container that runs, and its files about names, whosever they are.
fn other(name: &str, context: &Context) -> anyhow::Result<(String, Vec<Mount>)> {
    let container = context.containers()?.get(name)?;
    let state = container.read()?;
    let pid = state.pid.filter(|_| namespace::of_container(&state).is_some());
    let pid = pid.with_context(|| {
        let unit = state.unit.map_or(String::new(), |unit| format!(": systemctl start {unit}"));
        format!("container {name} doesn't run, so there is no network to join{unit}")
    })?;
    let is_about_names = |mount: &Mount| {
        ["/etc/hosts", "/etc/resolv.conf"].map(Path::new).contains(&mount.destination().as_path())
    };
    let mounts = container.read_spec()?.mounts().clone().unwrap_or_default();
    Ok((format!("/proc/{pid}/ns/net"), mounts.into_iter().filter(is_about_names).collect()))
}

fn modes(texts: &[String], default: &str) -> anyhow::Result<Asked> {
    let mut joined = Vec::new();
    for text in texts {
        let (mode, rest) = text.split_once(':').unwrap_or((text, ""));
        let alone = match mode {
            "host" => Some(Asked::Network(Network::Host)),
            "none" => Some(Asked::Network(Network::None)),
            "ns" => Some(Asked::Network(Network::Path(rest.to_owned()))),
            "container" => Some(Asked::Container(rest.to_owned())),
            "slirp4netns" | "pasta" => {
                bail!("{mode} serves users without privileges; use a bridge network here")
            }
            _ => None,
        };
        if let Some(network) = alone {
            ensure!(texts.len() == 1, "Network={text} can't be combined with another network");
            return Ok(network);
        }
        joined.push(request(mode, rest, default).blame("Network", text)?);
    }
    if joined.is_empty() {
        joined.push(request("", "", default)?);
    }
    Ok(Asked::Network(Network::Joined(joined)))
}

fn request(name: &str, options: &str, default: &str) -> anyhow::Result<Request> {
    let name = match name {
        "" | "bridge" | "default" | "podman" | "private" => default,
        name => name,
    };
    let mut request = Request { network: name.to_owned(), ..Request::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').with_context(|| format!("\"{option}\" has no value"))?;
        match key {
            "ip" | "ip6" => set_address(&mut request, value)?,
            "mac" => request.mac = Some(value.to_owned()),
            "alias" => request.aliases.push(value.to_owned()),
            "interface_name" => request.interface = Some(value.to_owned()),
            "host_interface_name" => request.host_interface = Some(value.to_owned()),
            _ => bail!(
                "there is no option \"{key}\"; known are ip, mac, alias, interface_name, host_interface_name"
            ),
        }
    }
    Ok(request)
}

fn set_address(request: &mut Request, text: &str) -> anyhow::Result<()> {
    let address: IpAddr = text.parse().with_context(|| format!("\"{text}\" is not an IP address"))?;
    match address {
        IpAddr::V4(_) => request.ip = Some(address),
        IpAddr::V6(_) => request.ip6 = Some(address),
    }
    Ok(())
}

/// `--ip` and `--mac-address` belong to a single network; aliases to all of them.
fn apply_common(
    requests: &mut [Request],
    options: &Networking,
    resolvers: &[IpAddr],
    hostname: Option<&str>,
) -> anyhow::Result<()> {
    let hostname = hostname.filter(|name| is_dns_name(name)).map(str::to_owned);
    for request in requests.iter_mut() {
        request.aliases.extend(options.network_alias.iter().cloned());
        request.aliases.extend(hostname.clone());
        request.resolvers = resolvers.to_vec();
    }
    let fixed = [("IP", &options.ip), ("IP6", &options.ip6)];
    for (key, text) in fixed.iter().filter_map(|(key, value)| Some((*key, value.as_ref()?))) {
        let [only] = requests else {
            bail!("{key}={text}: with several networks write Network=NAME:ip={text}");
        };
        set_address(only, text).blame(key, text.as_str())?;
    }
    if let Some(mac) = &options.mac_address {
        let [only] = requests else {
            bail!("--mac-address: with several networks write Network=NAME:mac={mac}")
        };
        only.mac = Some(mac.clone());
    }
    Ok(())
}

/// A host name may be anything that the kernel takes; neighbours can ask for this.
fn is_dns_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// The requests with the host name that DHCP servers are told.
pub(crate) fn with_hostname(requests: &[Request], hostname: Option<&str>) -> Vec<Request> {
    let with = |request: &Request| Request { hostname: hostname.map(str::to_owned), ..request.clone() };
    requests.iter().map(with).collect()
}

/// A port has a line of its own; the rest is the network's.
///
/// The error itself, marked with its key.
pub(crate) fn blame(error: sampan_network::Error, options: &Networking) -> anyhow::Error {
    use sampan_network::Error;
    let (Error::PortInUse { port, .. } | Error::PortRefused { port, .. }) = error else {
        let network = options.network.first().cloned().unwrap_or_default();
        return anyhow::Error::from(error).context(Key::new("Network", network));
    };
    let is_it = |text: &&String| {
        let mappings = sampan_network::parse_ports(text).unwrap_or_default();
        mappings.iter().any(|mapping| (0..mapping.range).any(|n| mapping.host_port.saturating_add(n) == port))
    };
    let text = options.publish.iter().find(is_it).cloned().unwrap_or_default();
    anyhow::Error::from(error).context(Key::new("PublishPort", text))
}

/// What a lease gives, as `inspect` shows it: networks by name, and ports.
pub(crate) fn shown(lease: &Lease) -> (BTreeMap<String, state::Attachment>, Vec<state::Port>) {
    let attachment = |attachment: &Attachment| {
        let shown = state::Attachment {
            interface: attachment.interface.clone(),
            addresses: attachment.addresses.iter().map(ToString::to_string).collect(),
            gateways: attachment.gateways.iter().map(ToString::to_string).collect(),
            mac: attachment.mac.clone(),
            aliases: attachment.aliases.clone(),
        };
        (attachment.network.name.clone(), shown)
    };
    let port = |port: &PortMapping| state::Port {
        host_ip: port.host_ip.map(|address| address.to_string()).unwrap_or_default(),
        host_port: port.host_port,
        container_port: port.container_port,
        range: port.range,
        protocol: port.protocol.to_string(),
    };
    (lease.attachments.iter().map(attachment).collect(), lease.ports.iter().map(port).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(arguments: &[&str]) -> anyhow::Result<Plan> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Networking,
        }
        let line = <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments));
        let empty = tempfile::tempdir()?;
        let context = Context::new(empty.path().join("root"), empty.path().join("runroot"));
        plan(&line.options, "main", &[], Some("front"), &context)
    }

    #[test]
    fn networks_with_their_options() {
        let plan =
            plan_of(&["--network", "app:ip=10.9.0.5,alias=db", "--network", "b", "--network-alias", "x"])
                .unwrap();
        let Network::Joined(requests) = plan.network else { panic!("joined") };
        assert_eq!(requests[0].ip, Some([10, 9, 0, 5].into()));
        assert_eq!(
            (&requests[0].aliases[..], &requests[1].aliases[..]),
            (&["db".to_owned(), "x".into(), "front".into()][..], &["x".to_owned(), "front".into()][..])
        );
        let Network::Joined(requests) = plan_of(&[]).unwrap().network else { panic!("joined") };
        assert_eq!(requests[0].network, "main");
    }

    #[test]
    fn what_belongs_to_the_other_container_is_refused() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Networking,
            #[command(flatten)]
            names: Naming,
        }
        let check = |words: &[&str]| {
            let line = <Line as clap::Parser>::parse_from(["run"].iter().chain(words));
            check_names(&line.options, &line.names).map_err(|error| format!("{error:#}"))
        };
        for (option, value, key) in [
            ("--dns", "192.0.2.53", "DNS="),
            ("--dns-search", "lan", "DNSSearch="),
            ("--dns-option", "ndots:2", "DNSOption="),
            ("--add-host", "a:192.0.2.1", "AddHost="),
            ("--network-alias", "web", "NetworkAlias="),
        ] {
            let error = check(&["--network", "container:owner", option, value]).unwrap_err();
            assert!(error.contains(&format!("{key}{value}")) && error.contains("container owner"), "{error}");
            check(&["--network", "lan", option, value]).unwrap();
        }
    }

    #[test]
    fn contradictions_are_refused() {
        for wrong in [
            &["--network", "host", "--network", "a"][..],
            &["--network", "none", "--ip", "10.0.0.1"],
            &["--network", "none", "-p", "80:80"],
            &["--network", "a", "--network", "b", "--ip", "10.0.0.1"],
            &["--network", "a:color=red"],
            &["--network", "container:x"],
            &["--ip", "nonsense"],
            &["-p", "nonsense"],
        ] {
            assert!(plan_of(wrong).is_err(), "{wrong:?}");
        }
    }
}
