//! The files about names of what runs: `/etc/hosts` and `/etc/resolv.conf` follow its
//! networks, as podman-network-connect(1) has it.
//!
//! Both are changed in place, because the container has these very files mounted. It
//! may have written them itself: what isn't ours stays, and their length is bounded.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context as _;
use sampan_network::Lease;

use crate::dhcp::files;
use crate::run::files::{HOSTS, RESOLV_CONF};

/// A file that is longer is nothing that we have made.
const MAX: u64 = 1 << 20;

/// Changes the files in `directory` from one lease to the other.
///
/// # Errors
/// A file can't be read or written. One that the container doesn't have is no error.
pub(crate) fn follow(
    directory: &Path,
    hostname: &str,
    before: Option<&Lease>,
    after: &Lease,
) -> anyhow::Result<()> {
    let (old, new) = (before.map(addresses).unwrap_or_default(), addresses(after));
    let names = format!("{hostname} {}", after.holder.name);
    edit(&directory.join(HOSTS), |text| hosts(text, &old, &new, &names))?;
    let servers = before.map(|lease| lease.dns_servers.clone()).unwrap_or_default();
    edit(&directory.join(RESOLV_CONF), |text| {
        let search = after.search.first().map(String::as_str);
        let text = resolv_conf(text, &servers, &after.dns_servers, search);
        before.map_or(text.clone(), |before| files::resolv_conf(&text, before, after))
    })
}

fn addresses(lease: &Lease) -> Vec<IpAddr> {
    lease.attachments.iter().flat_map(|a| a.addresses.iter().map(|address| address.address)).collect()
}

/// Lines of addresses that are gone go, those of new ones come to the end.
fn hosts(text: &str, old: &[IpAddr], new: &[IpAddr], names: &str) -> String {
    let is_gone = |line: &&str| {
        let address = line.split_whitespace().next().and_then(|word| word.parse().ok());
        address.is_some_and(|address| old.contains(&address) && !new.contains(&address))
    };
    let kept = text.lines().filter(|line| !is_gone(line)).map(|line| format!("{line}\n"));
    let added = new.iter().filter(|address| !old.contains(address));
    kept.chain(added.map(|address| format!("{address}\t{names}\n"))).collect()
}

/// Servers of networks come before all others: they alone know the neighbours.
fn resolv_conf(text: &str, old: &[IpAddr], new: &[IpAddr], search: Option<&str>) -> String {
    let server = |line: &str| -> Option<IpAddr> {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse().ok())?
    };
    let is_gone =
        |line: &&str| server(line).is_some_and(|address| old.contains(&address) || new.contains(&address));
    let mut lines: Vec<String> = text.lines().filter(|line| !is_gone(line)).map(str::to_owned).collect();
    let place = lines.iter().position(|line| server(line).is_some()).unwrap_or(lines.len());
    lines.splice(place..place, new.iter().map(|address| format!("nameserver {address}")));
    if let Some(domain) = search
        && !lines.iter().any(|line| line.split_whitespace().any(|word| word == domain))
    {
        match lines.iter_mut().find(|line| line.starts_with("search ")) {
            Some(line) => *line = line.replacen("search ", &format!("search {domain} "), 1),
            None => lines.insert(0, format!("search {domain}")),
        }
    }
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

fn edit(path: &Path, change: impl FnOnce(&str) -> String) -> anyhow::Result<()> {
    let mut file = match File::options().read(true).write(true).open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        file => file.with_context(|| format!("opening {}", path.display()))?,
    };
    let written = || -> std::io::Result<()> {
        let mut bytes = Vec::new();
        (&file).take(MAX).read_to_end(&mut bytes)?;
        let old = String::from_utf8_lossy(&bytes);
        let text = change(&old);
        if text == old {
            return Ok(());
        }
        file.rewind()?;
        file.write_all(text.as_bytes())?;
        file.set_len(text.len() as u64)
    };
    written().with_context(|| format!("changing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn hosts_names_the_addresses_that_there_are() {
        let text = "127.0.0.1\tlocalhost\n10.0.0.2\tweb app\n# ours\n";
        let text = hosts(text, &ips(&["10.0.0.2"]), &ips(&["10.0.1.2"]), "web app");
        assert_eq!(text, "127.0.0.1\tlocalhost\n# ours\n10.0.1.2\tweb app\n");
    }

    #[test]
    fn a_networks_server_is_asked_first_and_no_longer_than_it_is_there() {
        let text = "search lan\nnameserver 192.0.2.53\n";
        let text = resolv_conf(text, &[], &ips(&["10.0.0.1"]), Some("dns.sampan"));
        assert_eq!(text, "search dns.sampan lan\nnameserver 10.0.0.1\nnameserver 192.0.2.53\n");
        let again = resolv_conf(&text, &ips(&["10.0.0.1"]), &ips(&["10.0.0.1"]), Some("dns.sampan"));
        assert_eq!(again, text);
        let text = resolv_conf(&text, &ips(&["10.0.0.1"]), &[], None);
        assert_eq!(text, "search dns.sampan lan\nnameserver 192.0.2.53\n");
    }
}
