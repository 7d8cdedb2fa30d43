//! `/etc/hosts` and `/etc/resolv.conf` of a container whose address has become another.
//!
//! Line by line: the container may have written to them too. In place: it has these very files mounted.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use sampan_network::Lease;

use crate::run::files::{HOSTS, RESOLV_CONF};

/// A container won't fill our memory by them.
const MAX: u64 = 1 << 20;

/// Puts the addresses of `after` in the place of those of `before`, in the files below `directory`.
///
/// # Errors
/// A file can't be read or written; one that isn't there is none.
pub(super) fn renumber(
    directory: &Path,
    hostname: &str,
    name: &str,
    before: &Lease,
    after: &Lease,
) -> anyhow::Result<()> {
    edit(&directory.join(HOSTS), |text| hosts(text, hostname, name, after))?;
    edit(&directory.join(RESOLV_CONF), |text| resolv_conf(text, before, after))
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> anyhow::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("opening {}", path.display()))?,
    };
    let edit = || -> std::io::Result<()> {
        let mut bytes = Vec::new();
        (&file).take(MAX).read_to_end(&mut bytes)?;
        let old = String::from_utf8_lossy(&bytes);
        let new = change(&old);
        if new == old {
            return Ok(());
        }
        file.rewind()?;
        file.write_all(new.as_bytes())?;
        file.set_len(new.len() as u64)
    };
    edit().with_context(|| format!("changing {}", path.display()))
}

/// The lines of the container's own name, which are known by it.
fn hosts(text: &str, hostname: &str, name: &str, after: &Lease) -> String {
    let own = format!("\t{hostname} {name}");
    let mut lines: Vec<String> =
        text.lines().filter(|line| !line.ends_with(&own)).map(str::to_owned).collect();
    let addresses = after.attachments.iter().flat_map(|attachment| &attachment.addresses);
    lines.extend(addresses.map(|address| format!("{}{own}", address.address)));
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The servers and domains of the networks' DHCP servers, if it is those that stand there.
fn resolv_conf(text: &str, before: &Lease, after: &Lease) -> String {
    let servers = |lease: &Lease| -> Vec<IpAddr> {
        lease.terms().flat_map(|terms| terms.dns_servers.iter().copied()).collect()
    };
    let domains = |lease: &Lease| -> Vec<String> {
        lease.terms().flat_map(|terms| terms.search.iter().cloned()).collect()
    };
    let server = |line: &str| line.strip_prefix("nameserver ").and_then(|rest| rest.trim().parse().ok());
    let is_theirs = text.lines().filter_map(server).collect::<Vec<IpAddr>>() == servers(before);
    let mut lines: Vec<String> = Vec::new();
    let mut new_servers = Some(servers(after));
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("search ") {
            lines.push(search(rest, &domains(before), &domains(after)));
        } else if is_theirs && server(line).is_some() {
            let all = new_servers.take().into_iter().flatten();
            lines.extend(all.map(|server| format!("nameserver {server}")));
        } else {
            lines.push(line.to_owned());
        }
    }
    lines.into_iter().filter(|line| !line.is_empty()).map(|line| line + "\n").collect()
}

/// A search list with some domains in the place of others.
fn search(list: &str, before: &[String], after: &[String]) -> String {
    let mut words: Vec<&str> = list.split_whitespace().collect();
    let Some(place) = words.iter().position(|word| before.iter().any(|old| old == word)) else {
        return format!("search {list}");
    };
    words.retain(|word| !before.iter().any(|old| old == word));
    words.splice(place..place, after.iter().map(String::as_str));
    if words.is_empty() { String::new() } else { format!("search {}", words.join(" ")) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lease(address: &str, router: &str, server: &str, domain: &str) -> Lease {
        let subnet = address.rsplit_once('.').map(|(net, _)| format!("{net}.0/24")).unwrap();
        let address = json!({"address": address, "subnet": subnet});
        let network = json!({
            "name": "lan", "id": "0", "driver": "macvlan", "network_interface": "eth1", "created": "", "subnets": [],
            "ipv6_enabled": false, "internal": false, "dns_enabled": false,
        });
        let lease = json!({
            "holder": {"id": "0", "name": "web"}, "dns_servers": [], "search": [], "ports": [],
            "attachments": [{
                "network": network, "interface": "eth0", "host_interface": "", "addresses": [address],
                "gateways": [router], "mac": "02:00:00:00:00:01", "aliases": [],
                "dhcp": {"client": "ff", "granted": {
                    "address": address, "routers": [router], "dns_servers": [server], "search": [domain],
                    "server": router, "times": null, "server_mac": "02:00:00:00:00:02", "since": "", "since_boot": 0,
                }},
            }],
        });
        serde_json::from_value(lease).unwrap()
    }

    #[test]
    fn own_lines_change_and_others_stay() {
        let after = lease("10.9.0.7", "10.9.0.1", "10.9.0.2", "b.example");
        let old = "127.0.0.1\tlocalhost\n10.3.0.1\thost.containers.internal host.docker.internal\n\
                   10.3.0.5\tweb systemd-web\n127.0.0.1\tmember\n10.1.1.1\tother web\n";
        assert_eq!(
            hosts(old, "web", "systemd-web", &after),
            "127.0.0.1\tlocalhost\n10.3.0.1\thost.containers.internal host.docker.internal\n\
             127.0.0.1\tmember\n10.1.1.1\tother web\n10.9.0.7\tweb systemd-web\n"
        );
    }

    #[test]
    fn servers_change_unless_the_user_has_named_others() {
        let before = lease("10.3.0.5", "10.3.0.1", "10.3.0.2", "a.example");
        let after = lease("10.9.0.7", "10.9.0.1", "10.9.0.2", "b.example");
        let text = |servers: &str| format!("search x a.example y\n{servers}options ndots:2\n");
        let changed = resolv_conf(&text("nameserver 10.3.0.2\n"), &before, &after);
        assert_eq!(changed, "search x b.example y\nnameserver 10.9.0.2\noptions ndots:2\n");
        let kept = resolv_conf(&text("nameserver 9.9.9.9\n"), &before, &after);
        assert_eq!(kept, "search x b.example y\nnameserver 9.9.9.9\noptions ndots:2\n");
    }
}
