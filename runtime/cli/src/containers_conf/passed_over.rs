//! The keys of `[network]` in containers.conf(5) that are about Podman's own programs: an administrator who has set
//! one is told what it means here, and where it stands.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use toml::{Spanned, Value};

use super::NETWORK_KEYS;

/// Such a key: the values with which nothing differs from what is done anyway, and what is done.
struct Row {
    name: &'static str,
    /// An empty string or array is always one of them.
    harmless: &'static [&'static str],
    instead: &'static str,
}

const ROWS: [Row; 8] = [
    Row {
        name: "dns_bind_port",
        harmless: &["53", "0"],
        instead: "the name server listens on port 53 of the networks' gateways, and on no other address: leave \
                  those to it where another name server runs on this host",
    },
    Row {
        name: "firewall_driver",
        harmless: &["nftables"],
        instead: "the firewall is the nftables table inet sampan, with every firewall service",
    },
    Row {
        name: "network_backend",
        harmless: &["netavark"],
        instead: "networks are made without another program",
    },
    Row {
        name: "network_config_dir",
        harmless: &[],
        instead: "networks are made by .network files or `sampan network create`",
    },
    Row {
        name: "netavark_plugin_dirs",
        harmless: &[],
        instead: "there are no plugins; the drivers are bridge, macvlan and ipvlan",
    },
    Row {
        name: "cni_plugin_dirs",
        harmless: &[],
        instead: "there are no plugins; the drivers are bridge, macvlan and ipvlan",
    },
    Row {
        name: "default_rootless_network_cmd",
        harmless: &["pasta"],
        instead: "containers are root's, and need no such program",
    },
    Row { name: "pasta_options", harmless: &[], instead: "containers are root's, and need no such program" },
];

/// A key that has a value which changes nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct PassedOver {
    pub(crate) file: PathBuf,
    /// From 1 on.
    pub(crate) line: usize,
    /// What stands there; of an array that goes on, the first line.
    pub(crate) assignment: String,
    /// What is done instead.
    pub(crate) instead: &'static str,
}

impl std::fmt::Display for PassedOver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}:{}: {} has no effect: {}",
            self.file.display(),
            self.line,
            self.assignment,
            self.instead
        )
    }
}

#[derive(serde::Deserialize)]
struct File {
    #[serde(default)]
    network: BTreeMap<String, Spanned<Value>>,
}

/// The keys of the host's files that are passed over, as the last file has them.
///
/// # Errors
/// A file can't be read, or is no TOML.
pub(crate) fn passed_over() -> anyhow::Result<Vec<PassedOver>> {
    let mut found = BTreeMap::new();
    for path in super::files(&[])? {
        match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
            Ok(text) => read(&path, &text, &mut found)?,
        }
    }
    Ok(found.into_values().flatten().collect())
}

/// Notes what a file says of each key; a harmless value of a later file counts, too.
fn read(path: &Path, text: &str, found: &mut BTreeMap<String, Option<PassedOver>>) -> anyhow::Result<()> {
    let file: File = toml::from_str(text).with_context(|| format!("{} is not valid TOML", path.display()))?;
    for (key, value) in file.network {
        if NETWORK_KEYS.contains(&key.as_str()) {
            continue;
        }
        let row = ROWS.iter().find(|row| row.name == key);
        let line = text[..value.span().start].lines().count().max(1);
        let written = text[value.span()].lines().next().unwrap_or_default();
        let is_harmless = match value.get_ref() {
            Value::Array(items) => items.is_empty(),
            Value::Integer(number) => row.is_some_and(|row| row.harmless.contains(&&*number.to_string())),
            Value::String(word) => word.is_empty() || row.is_some_and(|row| row.harmless.contains(&&**word)),
            _ => false,
        };
        let entry = (!is_harmless).then(|| PassedOver {
            file: path.to_owned(),
            line,
            assignment: format!("{key} = {written} in [network]"),
            instead: row.map_or("there is no such key here", |row| row.instead),
        });
        found.insert(key, entry);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(files: &[&str]) -> Vec<String> {
        let mut found = BTreeMap::new();
        for (number, text) in files.iter().enumerate() {
            read(&PathBuf::from(format!("/{number}.conf")), text, &mut found).unwrap();
        }
        found.into_values().flatten().map(|one: PassedOver| one.to_string()).collect()
    }

    #[test]
    fn what_has_no_effect_is_told_with_its_line() {
        let all =
            lines(&["# a comment\n[network]\n\ndns_bind_port = 5353\ndefault_network = 'main'\nfoo=1\n"]);
        assert_eq!(all.len(), 2, "{all:?}");
        assert!(
            all[0].starts_with("/0.conf:4: dns_bind_port = 5353 in [network] has no effect: the name"),
            "{all:?}"
        );
        assert!(
            all[1].starts_with("/0.conf:6: foo = 1 in [network] has no effect: there is no such"),
            "{all:?}"
        );
        for row in &ROWS {
            let all = lines(&[&format!("[network]\n{} = 'other'\n", row.name)]);
            assert!(all[0].starts_with(&format!("/0.conf:2: {} = 'other' in", row.name)), "{all:?}");
        }
    }

    #[test]
    fn what_changes_nothing_is_not() {
        let text = "[network]\nnetwork_backend = ''\nfirewall_driver = 'nftables'\ndns_bind_port = 53\n\
                    pasta_options = []\ncni_plugin_dirs = [\n]\n[engine]\nfirewall_driver = 'x'\n";
        assert!(lines(&[text, ""]).is_empty());
        // The last file counts.
        assert!(lines(&["[network]\ndns_bind_port = 54\n", "[network]\ndns_bind_port = 53\n"]).is_empty());
        let all = lines(&["[network]\ndns_bind_port = 54\n", "[network]\n\ndns_bind_port = 55\n"]);
        assert!(all.len() == 1 && all[0].starts_with("/1.conf:3: dns_bind_port = 55"), "{all:?}");
    }
}
