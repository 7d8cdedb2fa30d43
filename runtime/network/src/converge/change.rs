//! What differs between two definitions of a network, and what of it can change
//! while containers hold the network.
//!
//! | property | while containers hold the network |
//! |---|---|
//! | labels | changes |
//! | servers for other names, isolation, ways out, MTU | change, for everyone |
//! | ranges, further subnets, metric, default route, names, ARP probes | change, for those who start from then on |
//! | subnets and gateways that containers have addresses of | wait |
//! | driver, interface, other options | wait |

use std::collections::BTreeMap;
use std::fmt;

use crate::config::{LeaseRange, Network, SubnetConfig};
use crate::error::Result;
use crate::options::Options;
use crate::subnet::Subnet;

/// Options of the driver that don't wait, as `--opt` spells them.
const OPTIONS_AT_ONCE: [&str; 5] = ["mtu", "isolate", "metric", "no_default_route", "arp_probe"];

/// One property of a network that is another one now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The property, as the key of a `.network` file.
    pub property: String,
    /// Its value so far; empty means that there was none.
    pub before: String,
    /// Its new value; empty means that there is none.
    pub after: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &str| if value.is_empty() { "unset".to_owned() } else { value.to_owned() };
        write!(f, "{}= from {} to {}", self.property, shown(&self.before), shown(&self.after))
    }
}

/// How a network gets from one definition to another.
#[derive(Debug)]
pub(super) struct Plan {
    /// The network after what changes at once.
    pub(super) now: Network,
    /// What changes at once.
    pub(super) changed: Vec<Change>,
    /// What waits until nobody holds the network.
    pub(super) waiting: Vec<Change>,
}

impl Plan {
    /// Compares `before` with `wanted`; `is_used` tells whether a container has an
    /// address of a subnet.
    pub(super) fn new(before: &Network, wanted: &Network, is_used: impl Fn(&Subnet) -> bool) -> Result<Self> {
        let mut plan = Self { now: before.clone(), changed: Vec::new(), waiting: Vec::new() };
        // Every field is named here: a new one has to be decided upon.
        let Network {
            name: _,
            id: _,
            created: _,
            driver,
            network_interface,
            subnets: _,
            ipv6_enabled: _,
            internal,
            dns_enabled,
            network_dns_servers,
            labels,
            options: _,
            ipam_options,
        } = wanted;
        plan.waits("Driver", &before.driver, driver);
        if !plan.waiting.is_empty() {
            // Everything else means something else with another driver.
            return Ok(plan);
        }
        plan.waits("InterfaceName", &before.network_interface, network_interface);
        plan.waits("IPAMDriver", &before.ipam_options.driver, &ipam_options.driver);
        if plan.changes("Label", &pairs(&before.labels), &pairs(labels)) {
            plan.now.labels.clone_from(labels);
        }
        if plan.changes("DNS", &list(&before.network_dns_servers), &list(network_dns_servers)) {
            plan.now.network_dns_servers.clone_from(network_dns_servers);
        }
        if plan.changes("DisableDNS", &!before.dns_enabled, &!dns_enabled) {
            plan.now.dns_enabled = *dns_enabled;
        }
        if plan.changes("Internal", &before.internal, internal) {
            plan.now.internal = *internal;
        }
        plan.subnets(before, wanted, is_used);
        plan.options(before, wanted)?;
        Ok(plan)
    }

    /// Notes a property that changes at once; tells whether it does.
    fn changes(&mut self, property: &str, before: &impl ToString, after: &impl ToString) -> bool {
        let change = change(property, before, after);
        let differs = change.is_some();
        self.changed.extend(change);
        differs
    }

    /// Notes a property that waits.
    fn waits(&mut self, property: &str, before: &impl ToString, after: &impl ToString) {
        self.waiting.extend(change(property, before, after));
    }

    /// The subnets of a family change together: containers would else have
    /// addresses of a definition that nobody wrote.
    fn subnets(&mut self, before: &Network, wanted: &Network, is_used: impl Fn(&Subnet) -> bool) {
        let mut now = Vec::new();
        for ipv6 in [false, true] {
            let of = |network: &Network| -> Vec<SubnetConfig> {
                network.subnets.iter().filter(|config| config.subnet.is_ipv6() == ipv6).cloned().collect()
            };
            let (old, new) = (of(before), of(wanted));
            let stays = |config: &SubnetConfig| {
                new.iter().any(|new| new.subnet == config.subnet && new.gateway == config.gateway)
            };
            if old.iter().all(|config| stays(config) || !is_used(&config.subnet)) {
                self.changes("Subnet", &blocks(&old), &blocks(&new));
                self.changes("Gateway", &gateways(&old), &gateways(&new));
                self.changes("IPRange", &ranges(&old), &ranges(&new));
                now.extend(new);
            } else {
                self.waits("Subnet", &blocks(&old), &blocks(&new));
                self.waits("Gateway", &gateways(&old), &gateways(&new));
                self.waits("IPRange", &ranges(&old), &ranges(&new));
                now.extend(old);
            }
        }
        // In the order of the definition, which is the order of addresses.
        let place = |config: &SubnetConfig| wanted.subnets.iter().position(|w| w.subnet == config.subnet);
        now.sort_by_key(|config| place(config).unwrap_or(usize::MAX));
        self.now.ipv6_enabled = now.iter().any(|config| config.subnet.is_ipv6());
        self.now.subnets = now;
    }

    fn options(&mut self, before: &Network, wanted: &Network) -> Result<()> {
        let map = |network: &Network| BTreeMap::<String, String>::from(network.options.clone());
        let (old, new) = (map(before), map(wanted));
        let mut now = old.clone();
        let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
        names.sort();
        names.dedup();
        for name in names {
            let value = |map: &BTreeMap<String, String>| map.get(name).cloned().unwrap_or_default();
            let property = format!("Options={name}");
            if !OPTIONS_AT_ONCE.contains(&name.as_str()) {
                self.waits(&property, &value(&old), &value(&new));
            } else if self.changes(&property, &value(&old), &value(&new)) {
                match new.get(name) {
                    Some(value) => now.insert(name.clone(), value.clone()),
                    None => now.remove(name),
                };
            }
        }
        self.now.options = Options::try_from(now)?;
        Ok(())
    }
}

fn change(property: &str, before: &impl ToString, after: &impl ToString) -> Option<Change> {
    let (before, after) = (before.to_string(), after.to_string());
    (before != after).then(|| Change { property: property.to_owned(), before, after })
}

fn pairs(map: &BTreeMap<String, String>) -> String {
    join(map.iter().map(|(name, value)| format!("{name}={value}")))
}

fn list(items: &[impl ToString]) -> String {
    join(items.iter().map(ToString::to_string))
}

fn blocks(subnets: &[SubnetConfig]) -> String {
    join(subnets.iter().map(|config| config.subnet.to_string()))
}

fn gateways(subnets: &[SubnetConfig]) -> String {
    join(subnets.iter().filter_map(|config| config.gateway).map(|gateway| gateway.to_string()))
}

fn ranges(subnets: &[SubnetConfig]) -> String {
    let text = |range: LeaseRange| format!("{}-{}", range.start_ip, range.end_ip);
    join(subnets.iter().filter_map(|config| config.lease_range).map(text))
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::definition::define;
    use crate::options::Isolate;
    use crate::pool::{Defaults, Neighbours};

    fn network(change: impl FnOnce(&mut Config)) -> Network {
        let mut config = Config {
            name: "app".to_owned(),
            subnets: vec!["10.5.0.0/24".parse::<Subnet>().unwrap().into()],
            ..Config::default()
        };
        change(&mut config);
        define(
            &config,
            &Neighbours { networks: &[], routes: &[], foreign: &[], defaults: &Defaults::default() },
            |_| Ok(false),
        )
        .unwrap()
    }

    fn texts(changes: &[Change]) -> Vec<String> {
        changes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_concerns_no_address_changes_at_once() {
        let before = network(|_| {});
        let wanted = network(|config| {
            config.internal = true;
            config.options.isolate = Isolate::Strict;
            config.options.mtu = Some(1400);
            config.dns_servers = vec!["192.0.2.53".parse().unwrap()];
        });
        let plan = Plan::new(&before, &wanted, |_| true).unwrap();
        assert!(plan.waiting.is_empty(), "{:?}", plan.waiting);
        assert_eq!(Network { created: before.created, ..wanted }, plan.now);
        let texts = texts(&plan.changed);
        assert!(texts.contains(&"Options=isolate= from unset to strict".to_owned()), "{texts:?}");
        assert!(texts.contains(&"Internal= from false to true".to_owned()), "{texts:?}");
    }

    #[test]
    fn a_subnet_in_use_waits_and_the_rest_does_not() {
        let before = network(|_| {});
        let wanted = network(|config| {
            config.subnets = vec!["10.6.0.0/24".parse::<Subnet>().unwrap().into()];
            config.labels.insert("a".to_owned(), "b".to_owned());
        });
        let plan = Plan::new(&before, &wanted, |_| true).unwrap();
        assert_eq!(plan.now.subnets, before.subnets);
        assert_eq!(plan.now.labels, wanted.labels);
        assert_eq!(
            texts(&plan.waiting),
            ["Subnet= from 10.5.0.0/24 to 10.6.0.0/24", "Gateway= from 10.5.0.1 to 10.6.0.1"]
        );
        let unused = Plan::new(&before, &wanted, |_| false).unwrap();
        assert!(unused.waiting.is_empty() && unused.now.subnets == wanted.subnets);
    }

    #[test]
    fn further_subnets_and_ranges_are_for_those_to_come() {
        let before = network(|_| {});
        let wanted = network(|config| {
            config.subnets[0].lease_range = LeaseRange::parse("10.5.0.128/25").ok();
            config.subnets.push("10.6.0.0/24".parse::<Subnet>().unwrap().into());
            config.ipv6 = true;
        });
        let plan = Plan::new(&before, &wanted, |_| true).unwrap();
        assert!(plan.waiting.is_empty(), "{:?}", plan.waiting);
        assert!(plan.now.ipv6_enabled && plan.now.subnets == wanted.subnets);
    }

    #[test]
    fn another_interface_waits() {
        let before = network(|_| {});
        let wanted = network(|config| config.interface = Some("br-app".to_owned()));
        let plan = Plan::new(&before, &wanted, |_| false).unwrap();
        assert_eq!(texts(&plan.waiting), ["InterfaceName= from sampan1 to br-app"]);
        assert_eq!(plan.now, before);
    }
}
