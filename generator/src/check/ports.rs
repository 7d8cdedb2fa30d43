//! Host ports that two units want.

use super::Findings;
use super::scene::{Scene, Value, View};
use crate::diagnostic::{Severity, rules};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

/// A published port of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Published {
    /// The address, if it isn't every one.
    pub(super) address: Option<IpAddr>,
    /// The ports.
    pub(super) ports: RangeInclusive<u16>,
    /// tcp, udp or sctp.
    pub(super) protocol: String,
}

impl Published {
    /// Reads `[IP:][HOSTPORT[-END]:]CONTAINERPORT[-END][/PROTOCOL]`; `None` if no port of the host is
    /// fixed, or if it can't be read.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
        let (rest, _container) = text.rsplit_once(':')?;
        let (address, host) = match rest.rsplit_once(':') {
            Some((address, host)) => (address.trim_matches(['[', ']']), host),
            None => ("", rest),
        };
        let address = if address.is_empty() { None } else { Some(address.parse::<IpAddr>().ok()?) };
        let (first, last) = host.split_once('-').unwrap_or((host, host));
        let ports = first.parse().ok()?..=last.parse().ok()?;
        let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
        let address = address.filter(|address| *address != everywhere[0]);
        (*ports.start() > 0).then(|| Self { address, ports, protocol: protocol.to_lowercase() })
    }

    /// The first port that both want.
    fn overlap(&self, other: &Self) -> Option<u16> {
        let same_address = match (self.address, other.address) {
            (Some(a), Some(b)) => a == b,
            _ => true,
        };
        let first = *self.ports.start().max(other.ports.start());
        let last = *self.ports.end().min(other.ports.end());
        (same_address && self.protocol == other.protocol && first <= last).then_some(first)
    }
}

/// The ports of a unit; none for a template, whose instances have several.
pub(super) fn published<'t>(view: &View<'_, 't>) -> Vec<(Published, Value<'t>)> {
    if view.is_template() || hosts_network(view) || view.given("Pod").is_some() {
        return Vec::new();
    }
    let values = view.values("PublishPort").into_iter();
    values.filter_map(|value| Some((Published::parse(&value.text)?, value))).collect()
}

/// Whether the container has no network of its own, so that nothing is published.
fn hosts_network(view: &View<'_, '_>) -> bool {
    matches!(&view.values("Network")[..], [only] if ["host", "none"].contains(&only.text.as_str()))
}

/// Two units that publish the same port of the host can't run together.
pub(super) fn same_port(scene: &Scene<'_>, findings: &mut Findings) {
    let mut taken: Vec<(View<'_, '_>, Published, Value<'_>)> = Vec::new();
    for view in scene.views() {
        for (port, value) in published(&view) {
            let clash =
                taken.iter().find_map(|(other, theirs, at)| Some((other, theirs.overlap(&port)?, at)));
            if let Some((other, number, at)) = clash.filter(|(other, ..)| !exclude(&view, other)) {
                let itself = other.unit.name == view.unit.name;
                let who = if itself { "this file" } else { other.unit.name };
                let line = at.place.line();
                let reason =
                    format!("port {number}/{} is published by {who} as well, in line {line}", port.protocol);
                let both = itself || view.starts_at_boot() && other.starts_at_boot();
                let severity = if both { Severity::Error } else { Severity::Warning };
                let diagnostic = value.place.diagnose(&rules::SAME_PORT, severity, reason);
                findings.push(diagnostic.help("choose another port of the host, or another address"));
            }
            taken.push((view, port, value));
        }
    }
}

/// Whether one of the two stops the other by `Conflicts=`.
fn exclude(one: &View<'_, '_>, other: &View<'_, '_>) -> bool {
    let names = |from: &View<'_, '_>, to: &View<'_, '_>| {
        let service = from.scene.book.get(to.unit.name).map(crate::book::Card::unit);
        let mut conflicts = from.words("Unit", "Conflicts").into_iter();
        conflicts.any(|word| word.text == to.unit.name || Some(&word.text) == service.as_ref())
    };
    names(one, other) || names(other, one)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_of_the_host() {
        let parse = |text: &str| Published::parse(text);
        assert_eq!(parse("80"), None);
        assert_eq!(parse("127.0.0.1::80"), None);
        assert_eq!(parse("8080:80/UDP").unwrap().protocol, "udp");
        assert_eq!(parse("[::1]:1000-1010:1000-1010").unwrap().ports, 1000..=1010);
        assert_eq!(parse("0.0.0.0:80:80").unwrap().address, None);
        assert_eq!(parse("${PORT}:80"), None);
    }

    #[test]
    fn only_the_same_address_and_protocol_clash() {
        let overlap = |a: &str, b: &str| Published::parse(a).unwrap().overlap(&Published::parse(b).unwrap());
        assert_eq!(overlap("8080:80", "127.0.0.1:8080:1"), Some(8080));
        assert_eq!(overlap("100-110:1-11", "110-120:1-11"), Some(110));
        assert_eq!(overlap("127.0.0.1:80:80", "127.0.0.2:80:80"), None);
        assert_eq!(overlap("53:53", "53:53/udp"), None);
        assert_eq!(overlap("100-110:1-11", "111:1"), None);
    }
}
