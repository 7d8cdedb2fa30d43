//! `--network` and its like: what to reserve before the container is made.

use std::net::IpAddr;

use anyhow::{Context, bail, ensure};
use sampan_network::{DEFAULT_NETWORK, PortMapping, Request, parse_ports};

use super::options::Options;
use crate::blame::Blamed as _;

/// The container's network, decided once.
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

/// What to make and to publish.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) network: Network,
    pub(crate) ports: Vec<PortMapping>,
}

/// Reads the network options together.
///
/// # Errors
/// An unknown mode, options that contradict each other, a malformed address or port.
pub(crate) fn plan(options: &Options) -> anyhow::Result<Plan> {
    let network = modes(&options.network).blame("Network", "")?;
    let mut ports = Vec::new();
    for text in &options.publish {
        ports.extend(parse_ports(text).blame("PublishPort", text)?);
    }
    let network = match network {
        Network::Joined(mut requests) => {
            apply_common(&mut requests, options)?;
            Network::Joined(requests)
        }
        other => {
            ensure!(
                options.ip.is_none() && options.ip6.is_none() && options.mac_address.is_none(),
                "IP=, IP6= and a hardware address need a network of ours; this container has Network={}",
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
    Ok(Plan { network, ports })
}

fn modes(texts: &[String]) -> anyhow::Result<Network> {
    let mut joined = Vec::new();
    for text in texts {
        let (mode, rest) = text.split_once(':').unwrap_or((text, ""));
        let alone = match mode {
            "host" => Some(Network::Host),
            "none" => Some(Network::None),
            "ns" => Some(Network::Path(rest.to_owned())),
            "container" => {
                bail!("sharing another container's network is not available; put both on one .network")
            }
            "slirp4netns" | "pasta" => {
                bail!("{mode} serves users without privileges; use a bridge network here")
            }
            _ => None,
        };
        if let Some(network) = alone {
            ensure!(texts.len() == 1, "Network={text} can't be combined with another network");
            return Ok(network);
        }
        joined.push(request(mode, rest).blame("Network", text)?);
    }
    if joined.is_empty() {
        joined.push(request(DEFAULT_NETWORK, "")?);
    }
    Ok(Network::Joined(joined))
}

fn request(name: &str, options: &str) -> anyhow::Result<Request> {
    let name = match name {
        "" | "bridge" | "default" | "podman" | "private" => DEFAULT_NETWORK,
        name => name,
    };
    let mut request = Request { network: name.to_owned(), ..Request::default() };
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let (key, value) = option.split_once('=').with_context(|| format!("\"{option}\" has no value"))?;
        match key {
            "ip" => set_address(&mut request, value)?,
            "mac" => request.mac = Some(value.to_owned()),
            "alias" => request.aliases.push(value.to_owned()),
            "interface_name" => request.interface = Some(value.to_owned()),
            _ => bail!("there is no option \"{key}\"; known are ip, mac, alias, interface_name"),
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
fn apply_common(requests: &mut [Request], options: &Options) -> anyhow::Result<()> {
    for request in requests.iter_mut() {
        request.aliases.extend(options.network_alias.iter().cloned());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(arguments: &[&str]) -> anyhow::Result<Plan> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Options,
        }
        let line = <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments).chain(&["i"]));
        plan(&line.options)
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
            (&["db".to_owned(), "x".into()][..], &["x".to_owned()][..])
        );
        let Network::Joined(requests) = plan_of(&[]).unwrap().network else { panic!("joined") };
        assert_eq!(requests[0].network, DEFAULT_NETWORK);
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
