//! The name servers and domains of DHCP servers in `/etc/resolv.conf`, while a container runs.
//!
//! Line by line: the container may have written to the file too.

use std::net::IpAddr;

use sampan_network::Lease;

/// The servers and domains of the networks' DHCP servers, if it is those that stand there.
pub(crate) fn resolv_conf(text: &str, before: &Lease, after: &Lease) -> String {
    let servers = |lease: &Lease| -> Vec<IpAddr> {
        lease.terms().flat_map(|terms| terms.dns_servers.iter().copied()).collect()
    };
    let domains = |lease: &Lease| -> Vec<String> {
        lease.terms().flat_map(|terms| terms.search.iter().cloned()).collect()
    };
    let server = |line: &str| line.strip_prefix("nameserver ").and_then(|rest| rest.trim().parse().ok());
    if after.terms().next().is_none() {
        // Better servers of a network that is gone than none.
        return text.to_owned();
    }
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
