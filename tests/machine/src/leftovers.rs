//! What containers could leave behind in a machine, collected so that two moments compare.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::machine::Machine;

/// One line per thing that exists in the machine, by kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory(BTreeMap<&'static str, Vec<String>>);

/// Each kind of thing, and the command that lists it, one a line.
const KINDS: &[(&str, &str)] = &[
    ("mount", "cut -d' ' -f5,9- /proc/1/mountinfo"),
    ("link", "ip -oneline link show | sed 's/^[0-9]*: //; s/:.*//'"),
    ("address", "ip -brief address show"),
    ("route", "ip route show table all | grep -v ^ff00 || :"),
    ("nft element", "nft list ruleset | sed 's/packets [0-9]* bytes [0-9]*//'"),
    (
        "cgroup",
        // Of finished services systemd trims the cgroup by itself; ours would be below these.
        "find /sys/fs/cgroup/system.slice /sys/fs/cgroup/machine.slice /sys/fs/cgroup/sampan.slice \
         -type d 2>/dev/null || :",
    ),
    // The listing itself comes from outside of the machine's processes: its parent is 0.
    ("process", "ps -e -o pid=,ppid=,comm= | awk '$2 != 0 && $3 !~ /^(ps|awk|sh)$/ { print $3 }'"),
    ("network namespace", "lsns -t net -n -o COMMAND | sort"),
    (
        "file",
        "find /run/sampan /var/lib/sampan /run/netns /tmp /run/systemd/generator -xdev 2>/dev/null || :",
    ),
    ("unit", "systemctl list-units --all --plain --no-legend --state=failed,activating,deactivating"),
];

impl Inventory {
    /// Lists everything as it is now.
    pub fn take(machine: &Machine) -> Result<Inventory> {
        let mut all = BTreeMap::new();
        for (kind, command) in KINDS {
            let mut lines: Vec<String> =
                machine.shell(command)?.lines().map(|line| line.trim().to_owned()).collect();
            lines.sort();
            all.insert(*kind, lines);
        }
        Ok(Inventory(all))
    }

    /// What is there now and was not in `before`: one line each, with its kind.
    pub fn since(&self, before: &Inventory) -> Vec<String> {
        let mut new = Vec::new();
        for (kind, lines) in &self.0 {
            let mut old = before.0.get(kind).cloned().unwrap_or_default();
            for line in lines {
                match old.iter().position(|other| other == line) {
                    Some(at) => drop(old.swap_remove(at)),
                    None => new.push(format!("{kind}: {line}")),
                }
            }
        }
        new
    }
}
