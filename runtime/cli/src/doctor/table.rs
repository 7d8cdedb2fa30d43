//! Our own table, and the subnets of networks.

use std::process::Command;

use sampan_network::Table;

use super::{Finding, Host, Severity};

/// How many missing elements are named.
const NAMED: usize = 5;

pub(super) fn examine(host: &Host<'_>) -> anyhow::Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = nft().into_iter().collect();
    for overlap in host.networks.examine_subnets()? {
        findings.push(Finding::new(
            "subnet-overlaps-route",
            Severity::Warning,
            format!("network {:?}", overlap.network),
            format!(
                "its subnet {} overlaps the host's route to {}, which came later: one of the two can't be reached",
                overlap.subnet, overlap.route
            ),
            "Give the network another Subnet=, or leave it out to get a free one.",
        ));
    }
    findings.extend(match host.networks.examine_table()? {
        Table::Unneeded | Table::Whole => None,
        Table::Missing => Some(broken(
            "table-missing",
            "it is missing, or of another version, although containers run: no port is published, and \
             containers have no way out"
                .to_owned(),
        )),
        Table::Lacks(elements) => {
            let named: Vec<String> =
                elements.iter().take(NAMED).map(|(set, element)| format!("{element} in {set}")).collect();
            let more = match elements.len().saturating_sub(NAMED) {
                0 => String::new(),
                n => format!(" and {n} more"),
            };
            Some(broken("table-incomplete", format!("it lacks {}{more}", named.join(", "))))
        }
    });
    Ok(findings)
}

fn broken(rule: &'static str, reason: String) -> Finding {
    Finding::new(
        rule,
        Severity::Error,
        "table inet sampan",
        reason,
        "Another program has flushed it. To load it again: sampan network reload --all",
    )
}

fn nft() -> Option<Finding> {
    Command::new("nft").arg("--version").output().is_err().then(|| {
        Finding::new(
            "no-nft",
            Severity::Error,
            "nft",
            "this program isn't installed, and the firewall's table can't be loaded without it",
            "Install the package nftables.",
        )
    })
}
