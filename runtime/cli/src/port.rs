//! `sampan port`: which ports of the host lead into containers, as podman-port(1) shows them.

use std::process::ExitCode;

use anyhow::{Context as _, bail, ensure};
use sampan_container::state::{Port, State};
use sampan_network::Protocol;

use crate::context::Context;
use crate::output;

/// `sampan port CONTAINER [PORT[/PROTOCOL]]`, `sampan port --all`
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Those of all containers that run
    #[arg(long, short)]
    all: bool,
    /// The container's name or id
    #[arg(required_unless_present = "all")]
    container: Option<String>,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    port: Option<String>,
}

/// Prints them.
pub(crate) fn run(options: &Options, context: &Context) -> anyhow::Result<ExitCode> {
    let containers = context.containers()?;
    if options.all {
        ensure!(options.container.is_none(), "with --all no container is named");
        let states = containers.list()?.into_iter().filter_map(|container| container.read().ok());
        let mut lines = Vec::new();
        for state in states {
            let id = output::short_id(&state.id, false);
            lines.extend(rows(&ports(&state, context)).iter().map(|row| format!("{id}\t{row}")));
        }
        output::lines(lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let name = options.container.as_deref().unwrap_or_default();
    let state = containers.get(name)?.read()?;
    let ports = ports(&state, context);
    let Some(wanted) = &options.port else {
        output::lines(rows(&ports))?;
        return Ok(ExitCode::SUCCESS);
    };
    let (number, protocol) = parse(wanted)?;
    let found: Vec<String> = single(&ports)
        .filter(|(port, _, inside)| *inside == number && port.protocol == protocol)
        .map(|(port, outside, _)| at(port, outside))
        .collect();
    if found.is_empty() {
        bail!("container {} publishes no port {number}/{protocol}", state.name);
    }
    output::lines(found)?;
    Ok(ExitCode::SUCCESS)
}

/// A container in a pod has the pod's ports.
fn ports(state: &State, context: &Context) -> Vec<Port> {
    let of_pod = || Some(context.pods().get(&state.pod.as_ref()?.name).ok()?.read().ok()?.ports);
    if state.ports.is_empty() { of_pod().unwrap_or_default() } else { state.ports.clone() }
}

fn rows(ports: &[Port]) -> Vec<String> {
    single(ports)
        .map(|(port, outside, inside)| format!("{inside}/{} -> {}", port.protocol, at(port, outside)))
        .collect()
}

/// Port by port: outside and inside.
fn single(ports: &[Port]) -> impl Iterator<Item = (&Port, u16, u16)> {
    ports.iter().flat_map(|port| {
        (0..port.range.max(1)).map(move |step| {
            (port, port.host_port.saturating_add(step), port.container_port.saturating_add(step))
        })
    })
}

fn at(port: &Port, number: u16) -> String {
    match port.host_ip.as_str() {
        "" => format!("0.0.0.0:{number}"),
        address if address.contains(':') => format!("[{address}]:{number}"),
        address => format!("{address}:{number}"),
    }
}

fn parse(text: &str) -> anyhow::Result<(u16, String)> {
    let (number, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let number = number.parse().with_context(|| format!("{text:?} is no PORT or PORT/PROTOCOL"))?;
    let known = [Protocol::Tcp, Protocol::Udp, Protocol::Sctp].map(|protocol| protocol.to_string());
    ensure!(
        known.iter().any(|known| known == protocol),
        "unknown protocol {protocol:?}; use tcp, udp or sctp"
    );
    Ok((number, protocol.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_podmans() {
        let port = |host_ip: &str, range, protocol: &str| Port {
            host_ip: host_ip.into(),
            host_port: 8080,
            container_port: 80,
            range,
            protocol: protocol.into(),
        };
        assert_eq!(
            rows(&[port("", 2, "tcp"), port("::1", 1, "udp")]),
            ["80/tcp -> 0.0.0.0:8080", "81/tcp -> 0.0.0.0:8081", "80/udp -> [::1]:8080"]
        );
        assert_eq!(parse("53/udp").unwrap(), (53, "udp".to_owned()));
        assert!(parse("53/icmp").is_err() && parse("x").is_err());
    }
}
