//! Other firewalls: a chain that drops what our own table lets pass. Every chain of a hook
//! has to let a packet pass; none can overrule another.

use std::fs;

use sampan_network::Network;

use super::ruleset::{Chain, Fate, Packet, Ruleset};
use super::{Finding, Host, Severity};

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = legacy().into_iter().collect();
    let networks = host.used();
    let listed = host.networks.list()?;
    // Before the first container runs, what it would meet.
    let networks: Vec<&Network> = if networks.is_empty() { listed.iter().collect() } else { networks };
    let ruleset = Ruleset::read()?;
    let outside = way_out();
    for chain in ruleset.forward_chains() {
        let is_ours = chain.family == "inet" && chain.table == "sampan";
        // firewalld is asked itself.
        if !is_ours && chain.table != "firewalld" {
            findings.extend(drops(&ruleset, &chain, &networks, &outside));
        }
    }
    Ok(findings)
}

/// The interface that leads out of the host (proc_pid_net(5)); without one, a name that no
/// rule has.
fn way_out() -> String {
    let routes = fs::read_to_string("/proc/net/route").unwrap_or_default();
    let default = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut default = default.filter(|fields| fields.get(1) == Some(&"00000000"));
    default.next().map_or_else(|| "(outside)".to_owned(), |fields| fields[0].to_owned())
}

/// What a chain does to the packets of these networks.
fn drops(ruleset: &Ruleset, chain: &Chain, networks: &[&Network], outside: &str) -> Option<Finding> {
    let mut bridges = Vec::new();
    let mut culprit = None;
    let mut directions = [false, false];
    let mut is_certain = true;
    for network in networks.iter().filter(|network| !network.internal && concerns(chain, network)) {
        let Some(bridge) = network.own_bridge() else { continue };
        let packets = [
            Packet { from: bridge, to: outside, is_dnat: false },
            Packet { from: outside, to: bridge, is_dnat: true },
        ];
        for (direction, packet) in directions.iter_mut().zip(packets) {
            if let Fate::Dropped { by, is_certain: certainly } = ruleset.fate(chain, &packet) {
                *direction = true;
                is_certain &= certainly;
                culprit.get_or_insert(by);
                if !bridges.contains(&bridge) {
                    bridges.push(bridge);
                }
            }
        }
    }
    let culprit = culprit?;
    let what = match directions {
        [true, true] => "what containers send out, and what comes in to published ports",
        [true, false] => "what containers send out",
        _ => "what comes in to published ports",
    };
    let maybe = if is_certain { "drops" } else { "may drop (it has rules that can't be judged from here)" };
    let reason = format!("it {maybe} {what}, on {}", bridges.join(", "));
    let severity = if is_certain { Severity::Error } else { Severity::Warning };
    let subject = format!("chain {culprit} of table {} {}", chain.family, chain.table);
    Some(Finding::new("foreign-forward", severity, subject, reason, remedy(ruleset, chain, &bridges)))
}

/// Whether packets of the network pass through the chain.
fn concerns(chain: &Chain, network: &Network) -> bool {
    let has = |ipv6| network.subnets.iter().any(|config| config.subnet.is_ipv6() == ipv6);
    match chain.family.as_str() {
        "ip" => has(false),
        "ip6" => has(true),
        _ => true,
    }
}

/// What to do, in the words of the program that the chain belongs to.
fn remedy(ruleset: &Ruleset, chain: &Chain, bridges: &[&str]) -> String {
    let iptables = if chain.family == "ip6" { "ip6tables" } else { "iptables" };
    let all_ours = bridges.iter().all(|bridge| bridge.starts_with("sampan"));
    let names: Vec<String> = if all_ours {
        vec!["sampan+".to_owned()]
    } else {
        bridges.iter().map(|bridge| (*bridge).to_owned()).collect()
    };
    let lines =
        |line: &dyn Fn(&str) -> String| names.iter().map(|name| line(name)).collect::<Vec<_>>().join("\n");
    if ruleset.has_beside(chain, "DOCKER-USER") {
        let rules = lines(&|name| {
            format!(
                "{iptables} -I DOCKER-USER -i {name} -j ACCEPT\n{iptables} -I DOCKER-USER -o {name} -j ACCEPT"
            )
        });
        return format!(
            "Docker forwards its own packets only. Let ours pass too, also after a reboot:\n{rules}"
        );
    }
    if ruleset.has_beside(chain, "ufw-before-forward") || ruleset.has_beside(chain, "ufw6-before-forward") {
        let rules: Vec<String> = bridges
            .iter()
            .map(|bridge| format!("ufw route allow in on {bridge}\nufw route allow out on {bridge}"))
            .collect();
        return format!("ufw drops what is routed. Let ours pass:\n{}", rules.join("\n"));
    }
    let Chain { family, table, name, .. } = chain;
    let rules = lines(&|bridge| {
        let pattern = bridge.replace('+', "*");
        format!(
            "nft insert rule {family} {table} {name} iifname '\"{pattern}\"' accept\n\
             nft insert rule {family} {table} {name} oifname '\"{pattern}\"' ct status dnat accept\n\
             nft insert rule {family} {table} {name} ct state established,related accept"
        )
    });
    format!("Let ours pass, and write it where this chain comes from:\n{rules}")
}

/// The older iptables keeps its rules where nft doesn't see them.
fn legacy() -> Option<Finding> {
    let tables: Vec<String> = ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"]
        .iter()
        .flat_map(|path| {
            fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect::<Vec<_>>()
        })
        .filter(|table| table == "filter")
        .collect();
    (!tables.is_empty()).then(|| {
        Finding::new(
            "legacy-iptables",
            Severity::Note,
            "iptables-legacy",
            "it has rules too, which can't be seen from here",
            "Whether they drop what containers send: iptables-legacy -S FORWARD",
        )
    })
}
