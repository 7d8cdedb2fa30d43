//! `sampan network inspect --explain`: in words, what the firewall does for a network.

use std::fmt::Write as _;
use std::net::IpAddr;

use sampan_network::{Attachment, DNS_DOMAIN, Driver, Ipam, Isolate, Lease, Network, PortMapping};

/// Where a network's name server is, or why there is none.
type Servers<'a> = &'a dyn Fn(&Network) -> Result<Vec<IpAddr>, String>;

/// The networks, one paragraph each; `all` are those of the host, `leases` of its containers.
pub(super) fn text(networks: &[Network], all: &[Network], leases: &[Lease], servers: Servers<'_>) -> String {
    networks.iter().map(|network| paragraph(network, all, leases, servers)).collect::<Vec<_>>().join("\n")
}

fn paragraph(network: &Network, all: &[Network], leases: &[Lease], servers: Servers<'_>) -> String {
    let mut text = format!("Network {} ({})\n", network.name, network.driver);
    let mut say = |what: &str, sentence: String| {
        // Writing to a String can't fail.
        let _ = writeln!(text, "  {what:<12}{sentence}");
    };
    match network.own_bridge() {
        Some(bridge) => say("bridge", format!("{bridge}, on which the host is {}", gateways(network))),
        None => {
            say("interface", format!("{}: containers are on its link themselves", interface(network)));
            say(
                "firewall",
                "the host's firewall doesn't see their packets, and publishes no ports of theirs".into(),
            );
        }
    }
    for subnet in &network.subnets {
        say("addresses", subnet.subnet.to_string());
    }
    if network.own_bridge().is_some() {
        say("way out", way_out(network));
        say("way in", way_in(network));
        say("networks", neighbours(network, all));
        say("host", "containers reach what the host itself lets them, at every address of it".into());
    }
    say("names", names(network, servers));
    let members = leases.iter().filter_map(|lease| {
        let attachment = lease.attachments.iter().find(|at| at.network.id == network.id)?;
        Some((lease, attachment))
    });
    for (lease, attachment) in members {
        say("container", member(lease, attachment));
        if network.own_bridge().is_some() {
            for port in lease.ports.iter().filter_map(|port| published(lease, attachment, port)) {
                say("", port);
            }
        }
    }
    text
}

fn gateways(network: &Network) -> String {
    let gateways: Vec<String> = network.gateways().map(|(address, _)| address.to_string()).collect();
    if gateways.is_empty() { "without an address".to_owned() } else { gateways.join(" and ") }
}

fn interface(network: &Network) -> &str {
    let interface = network.network_interface.as_str();
    if interface.is_empty() { "the host's interface" } else { interface }
}

fn way_out(network: &Network) -> String {
    if network.internal {
        return "none: the network is internal; the host is as far as containers get".to_owned();
    }
    "to everywhere, with the host's address (masquerade); another source address than its own gets no \
     container out"
        .to_owned()
}

fn way_in(network: &Network) -> String {
    if network.internal {
        return "from the host alone, also to published ports".to_owned();
    }
    "by published ports, which see the client's own address; a machine that routes packets for the subnet \
     to this host reaches every port, unless the host's firewall is against it"
        .to_owned()
}

/// Who may reach whom, as the table's chain `forward` decides.
fn neighbours(network: &Network, all: &[Network]) -> String {
    let (mut open, mut closed) = (Vec::new(), Vec::new());
    for other in all.iter().filter(|other| other.id != network.id && other.own_bridge().is_some()) {
        let list = if reaches(network, other) { &mut open } else { &mut closed };
        list.push(other.name.as_str());
    }
    let why = match (network.internal, network.options.isolate) {
        (true, _) => " (internal)",
        (_, Isolate::Strict) => " (isolate=strict)",
        (_, Isolate::Isolated) => " (isolate=true)",
        _ => "",
    };
    let mut sentence = match (open.is_empty(), closed.is_empty()) {
        (true, true) => return format!("there is no other{why}"),
        (true, false) => "reaches no other".to_owned(),
        _ => format!("reaches {} and is reached by them", open.join(", ")),
    };
    if !closed.is_empty() {
        let _ = write!(sentence, "; kept apart from {}, at published ports too", closed.join(", "));
    }
    sentence + why
}

/// The same question as in the chain `forward` of the table.
fn reaches(one: &Network, other: &Network) -> bool {
    let (a, b) = (one.options.isolate, other.options.isolate);
    !(one.internal
        || other.internal
        || a == Isolate::Strict
        || b == Isolate::Strict
        || (a == Isolate::Isolated && b == Isolate::Isolated))
}

fn names(network: &Network, servers: Servers<'_>) -> String {
    let none = "containers don't find each other by name";
    if !network.dns_enabled {
        return match (network.driver, network.ipam_options.driver) {
            (Driver::Macvlan | Driver::Ipvlan, _) => {
                format!("{none}: the host, where the name server is, can't be reached from their interfaces")
            }
            (_, Ipam::Dhcp | Ipam::None) => format!("{none}: their addresses aren't given by us"),
            _ => none.to_owned(),
        };
    }
    let asked = match servers(network) {
        Err(why) => return format!("{none}: {why}"),
        Ok(_) if network.own_bridge().is_some() => String::new(),
        Ok(servers) => format!(
            ", of the server at {}",
            servers.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(" and ")
        ),
    };
    let servers: Vec<String> = network.network_dns_servers.iter().map(IpAddr::to_string).collect();
    let others = match (network.internal, servers.is_empty()) {
        (true, _) => "other names aren't answered".to_owned(),
        (_, true) => "other names go to the host's servers".to_owned(),
        _ => format!("other names go to {}", servers.join(", ")),
    };
    format!("containers find each other as NAME and NAME.{DNS_DOMAIN}{asked}; {others}")
}

fn member(lease: &Lease, attachment: &Attachment) -> String {
    let addresses: Vec<String> = attachment.addresses.iter().map(|a| a.address.to_string()).collect();
    let addresses = if addresses.is_empty() { "no address".to_owned() } else { addresses.join(" and ") };
    format!("{} has {addresses}", lease.holder.name)
}

/// A published port that leads to this network, its target, and from where it is reached.
fn published(lease: &Lease, attachment: &Attachment, port: &PortMapping) -> Option<String> {
    let network = &attachment.network;
    let is_here = |target: &IpAddr| attachment.addresses.iter().any(|at| at.address == *target);
    let targets: Vec<String> = [lease.target(false), lease.target(true)]
        .into_iter()
        .flatten()
        .filter(|target| is_here(target) && port.host_ip.is_none_or(|ip| ip.is_ipv4() == target.is_ipv4()))
        .map(|target| match target {
            IpAddr::V4(address) => format!("{address}:{}", span(port.container_port, port.range)),
            IpAddr::V6(address) => format!("[{address}]:{}", span(port.container_port, port.range)),
        })
        .collect();
    if targets.is_empty() {
        return None;
    }
    let place = match port.host_ip {
        None => "on every address of the host".to_owned(),
        Some(ip) if ip.is_unspecified() && ip.is_ipv4() => "on every IPv4 address of the host".to_owned(),
        Some(ip) if ip.is_unspecified() => "on every IPv6 address of the host but ::1".to_owned(),
        Some(ip) => format!("on {ip} alone"),
    };
    let from = match port.host_ip {
        _ if network.internal => "reached from the host alone",
        Some(ip) if ip.is_loopback() => "reached from the host alone",
        _ => match network.options.isolate {
            Isolate::Strict => "reached from outside, the host and this network",
            Isolate::Isolated => "reached from outside, the host and networks without isolation",
            Isolate::No => "reached from outside, the host and containers",
        },
    };
    let host_ports = span(port.host_port, port.range);
    Some(format!("port {host_ports}/{} {place} leads to {}; {from}", port.protocol, targets.join(" and ")))
}

/// `8080`, or `8080-8082` of a row.
fn span(first: u16, range: u16) -> String {
    match range {
        0 | 1 => first.to_string(),
        _ => format!("{first}-{}", first.saturating_add(range - 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn network(name: &str, subnet: &str, internal: bool, options: serde_json::Value) -> Network {
        let gateway = subnet.replace(".0/24", ".1");
        serde_json::from_value(json!({
            "name": name, "id": name.repeat(8), "driver": "bridge", "network_interface": format!("sampan-{name}"),
            "created": "2026-01-01T00:00:00Z", "subnets": [{"subnet": subnet, "gateway": gateway}],
            "ipv6_enabled": false, "internal": internal, "dns_enabled": true, "options": options,
            "ipam_options": {"driver": "host-local"}
        }))
        .unwrap()
    }

    fn lease(name: &str, network: &Network, address: &str, ports: serde_json::Value) -> Lease {
        serde_json::from_value(json!({
            "holder": {"id": "ab12", "name": name}, "dns_servers": [], "search": [], "ports": ports,
            "attachments": [{
                "network": network, "interface": "eth0", "host_interface": "veth0", "gateways": [],
                "addresses": [{"address": address, "subnet": "10.1.0.0/24"}], "mac": "02:00:00:00:00:01", "aliases": []
            }]
        }))
        .unwrap()
    }

    fn on_bridge(network: &Network) -> Result<Vec<IpAddr>, String> {
        Ok(network.gateways().map(|(address, _)| address).collect())
    }

    #[test]
    fn names_are_told_with_the_reason_why_there_are_none() {
        let mut lan = network("lan", "10.1.0.0/24", false, json!({"mode": "unmanaged"}));
        let told = |network: &Network, servers: Servers<'_>| {
            let text = text(std::slice::from_ref(network), &[], &[], servers);
            text.lines().find(|line| line.starts_with("  names")).unwrap().to_owned()
        };
        let line = told(&lan, &on_bridge);
        assert!(line.contains("NAME.dns.sampan, of the server at 10.1.0.1; other names"), "{line}");
        let line = told(&lan, &|_| Err("br0 is bare".to_owned()));
        assert!(line.ends_with("containers don't find each other by name: br0 is bare"), "{line}");
        lan.dns_enabled = false;
        assert!(told(&lan, &on_bridge).ends_with("by name"));
        lan.driver = Driver::Macvlan;
        assert!(told(&lan, &on_bridge).contains("the host"));
    }

    #[test]
    fn a_network_is_told_with_its_ports() {
        let app = network("app", "10.1.0.0/24", false, json!({"isolate": "true"}));
        let others = [
            app.clone(),
            network("open", "10.2.0.0/24", false, json!({})),
            network("shut", "10.3.0.0/24", false, json!({"isolate": "true"})),
        ];
        let ports = json!([
            {"host_port": 8080, "container_port": 80, "range": 2, "protocol": "tcp"},
            {"host_ip": "127.0.0.1", "host_port": 53, "container_port": 5353, "range": 1, "protocol": "udp"},
            {"host_ip": "::1", "host_port": 9, "container_port": 9, "range": 1, "protocol": "tcp"}
        ]);
        let leases = [lease("web", &app, "10.1.0.2", ports)];
        let told = text(std::slice::from_ref(&app), &others, &leases, &on_bridge);
        for line in [
            "bridge      sampan-app, on which the host is 10.1.0.1",
            "networks    reaches open and is reached by them; kept apart from shut, at published ports too (isolate=true)",
            "container   web has 10.1.0.2",
            "port 8080-8081/tcp on every address of the host leads to 10.1.0.2:80-81; \
             reached from outside, the host and networks without isolation",
            "port 53/udp on 127.0.0.1 alone leads to 10.1.0.2:5353; reached from the host alone",
        ] {
            assert!(told.contains(line), "{line}\n{told}");
        }
        // It has no address of that family.
        assert!(!told.contains("port 9/tcp"), "{told}");
    }

    #[test]
    fn an_internal_network_is_told_as_closed() {
        let inner = network("inner", "10.1.0.0/24", true, json!({}));
        let ports = json!([{"host_port": 8080, "container_port": 80, "range": 1, "protocol": "tcp"}]);
        let others = [inner.clone(), network("open", "10.2.0.0/24", false, json!({}))];
        let told = text(
            std::slice::from_ref(&inner),
            &others,
            &[lease("db", &inner, "10.1.0.2", ports)],
            &on_bridge,
        );
        for part in [
            "way out     none",
            "reaches no other; kept apart from open",
            "10.1.0.2:80; reached from the host alone",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }
}
