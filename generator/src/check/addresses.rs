//! Subnets of networks, and the fixed addresses in them.

use super::Findings;
use super::scene::{Scene, Value, View};
use crate::diagnostic::{Severity, rules};
use crate::keys::UnitType;
use std::collections::HashMap;
use std::net::IpAddr;

/// A network in CIDR notation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    address: u128,
    length: u8,
    is_v6: bool,
}

impl Subnet {
    /// Reads `ADDRESS/LENGTH`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, length) = text.split_once('/')?;
        Self::new(address.parse().ok()?, length.parse().ok()?)
    }

    /// The network of an address; `None` if the length is too great.
    pub(super) fn new(address: IpAddr, length: u8) -> Option<Self> {
        let (bits, width) = bits(address);
        let masked = if length == 0 { 0 } else { bits & (u128::MAX << (width.checked_sub(length)?)) };
        Some(Self { address: masked, length, is_v6: width == 128 })
    }

    /// Whether an address is one of it.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv6() == self.is_v6
            && Self::new(address, self.length).is_some_and(|net| net.address == self.address)
    }

    /// Whether an address is in both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let shorter = self.length.min(other.length);
        let mask = |net: &Self| {
            let width: u8 = if net.is_v6 { 128 } else { 32 };
            if shorter == 0 { 0 } else { net.address >> (width - shorter) }
        };
        self.is_v6 == other.is_v6 && mask(self) == mask(other)
    }
}

fn bits(address: IpAddr) -> (u128, u8) {
    match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    }
}

/// The subnets of a `.network` file.
pub(super) fn subnets<'t>(view: &View<'_, 't>) -> Vec<(Subnet, Value<'t>)> {
    let values = view.values("Subnet").into_iter();
    values.filter_map(|value| Some((Subnet::parse(&value.text)?, value))).collect()
}

/// Two bridges can't have the same addresses, and a gateway is one of its subnet.
pub(super) fn networks(scene: &Scene<'_>, findings: &mut Findings) {
    let mut taken: Vec<(&str, Subnet, String)> = Vec::new();
    for view in scene.views().filter(|view| view.is(&[UnitType::Network])) {
        inside(&view, findings);
        let is_bridge = view.text("Driver").is_none_or(|driver| driver.text == "bridge");
        for (subnet, value) in subnets(&view).into_iter().filter(|_| is_bridge) {
            if let Some((name, _, text)) = taken.iter().find(|(_, other, _)| other.overlaps(&subnet)) {
                let who = if *name == view.unit.name { "another line of this file" } else { name };
                let reason = format!("{} overlaps {text} of {who}", value.text);
                let diagnostic = value.place.diagnose(&rules::SAME_SUBNET, Severity::Error, reason);
                findings.push(diagnostic.help("choose a subnet that no other network has"));
            }
            taken.push((view.unit.name, subnet, value.text));
        }
    }
}

/// The gateways and ranges of a network lie in its subnets.
fn inside(view: &View<'_, '_>, findings: &mut Findings) {
    let subnets = subnets(view);
    if subnets.is_empty() {
        return;
    }
    for key in ["Gateway", "IPRange"] {
        for value in view.values(key) {
            let first = value.text.split(['/', '-']).next().unwrap_or_default();
            let Ok(address) = first.parse::<IpAddr>() else { continue };
            if !subnets.iter().any(|(subnet, _)| subnet.contains(address)) {
                let reason = format!("{} lies outside of the network's Subnet=", value.text);
                let diagnostic = value.place.diagnose(&rules::ADDRESS_OUTSIDE, Severity::Error, reason);
                findings.push(diagnostic.help(format!("choose one in {}", subnets[0].1.text)));
            }
        }
    }
}

/// Fixed addresses: each belongs to its network, and to one unit alone.
pub(super) fn fixed(scene: &Scene<'_>, findings: &mut Findings) {
    let mut taken: HashMap<(String, IpAddr), View<'_, '_>> = HashMap::new();
    for view in scene.views().filter(|view| !view.is_template()) {
        for (network, address, value) in fixed_of(&view) {
            if let Some(network) = scene.view(&network).filter(|found| found.is(&[UnitType::Network])) {
                outside(&network, address, &value, findings);
            }
            if let Some(other) = taken.insert((network.clone(), address), view) {
                let reason = format!("{} has the address {address} in {network} as well", other.unit.name);
                let both = view.starts_at_boot() && other.starts_at_boot();
                let severity = if both { Severity::Error } else { Severity::Warning };
                let diagnostic = value.place.diagnose(&rules::SAME_ADDRESS, severity, reason);
                findings.push(diagnostic.help("choose another address"));
            }
        }
    }
}

/// Each fixed address of a unit, with its network as it is named there.
fn fixed_of<'t>(view: &View<'_, 't>) -> Vec<(String, IpAddr, Value<'t>)> {
    let networks = view.values("Network");
    let mut found = Vec::new();
    for network in &networks {
        let (name, options) = network.text.split_once(':').unwrap_or((&network.text, ""));
        for option in options.split(',') {
            let address = option.strip_prefix("ip=").or_else(|| option.strip_prefix("ip6="));
            if let Some(Ok(address)) = address.map(str::parse::<IpAddr>) {
                let place = network.place.within(option);
                found.push((name.to_owned(), address, Value { text: option.to_owned(), place }));
            }
        }
    }
    let [only] = &networks[..] else { return found };
    let name = only.text.split(':').next().unwrap_or_default();
    for key in ["IP", "IP6"] {
        let Some(value) = view.text(key) else { continue };
        if let Ok(address) = value.text.parse() {
            found.push((name.to_owned(), address, value));
        }
    }
    found
}

fn outside(network: &View<'_, '_>, address: IpAddr, value: &Value<'_>, findings: &mut Findings) {
    let subnets = subnets(network);
    let fitting = || subnets.iter().filter(|(subnet, _)| subnet.is_v6 == address.is_ipv6());
    let name = network.unit.name;
    let (reason, help) = if fitting().next().is_none() {
        if subnets.is_empty() {
            (
                format!("{name} has no Subnet=, so whether {address} is an address of it is left to chance"),
                "add a Subnet= to the .network file".to_owned(),
            )
        } else {
            (format!("{name} has no subnet for {address}"), "add a Subnet= to the .network file".to_owned())
        }
    } else if !fitting().any(|(subnet, _)| subnet.contains(address)) {
        let all: Vec<&str> = fitting().map(|(_, value)| value.text.as_str()).collect();
        (format!("{address} lies outside of {name}"), format!("choose an address in {}", all.join(" or ")))
    } else if network.values("Gateway").iter().any(|gateway| gateway.text.parse() == Ok(address)) {
        (format!("{address} is the gateway of {name}"), "choose another address".to_owned())
    } else {
        return;
    };
    let severity = if subnets.is_empty() { Severity::Warning } else { Severity::Error };
    findings.push(value.place.diagnose(&rules::ADDRESS_OUTSIDE, severity, reason).help(help));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_overlap_and_contain() {
        let net = |text: &str| Subnet::parse(text).unwrap();
        assert!(net("10.0.0.0/8").overlaps(&net("10.1.2.0/24")));
        assert!(!net("10.1.0.0/24").overlaps(&net("10.1.1.0/24")));
        assert!(net("0.0.0.0/0").overlaps(&net("10.0.0.0/8")));
        assert!(!net("::/0").overlaps(&net("10.0.0.0/8")));
        assert!(net("10.1.2.7/24").contains("10.1.2.255".parse().unwrap()));
        assert!(!net("fd00::/64").contains("fd01::1".parse().unwrap()));
        assert_eq!(Subnet::parse("10.0.0.0/33"), None);
    }
}
