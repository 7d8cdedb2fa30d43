//! `/etc/resolv.conf`, as podman-run(1) (`--dns`, `--dns-search`, `--dns-option`) and containers.conf(5)
//! (`dns_servers`, `dns_searches`, `dns_options`) describe it.
//!
//! What the configuration has comes before what the container has; with neither, the host's own holds.

use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::net::IpAddr;

use anyhow::anyhow;
use sampan_network::Lease;

use super::Facts;
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;
use crate::run::groups::Naming;
use crate::run::network::Network;

const OF_HOST: &str = "/etc/resolv.conf";
/// systemd-resolved's list of the real servers, for hosts whose resolv.conf names its stub on loopback.
const OF_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";
const NONE: &str = "none";

/// Whether the image's file stays; a server of the container's own is one that the host's `none` doesn't mean.
///
/// # Errors
/// Something is asked for that such a file has no place for, as podman-run(1) has it.
pub(super) fn is_unwanted(options: &Naming, conf: &ContainersConf) -> anyhow::Result<bool> {
    let by_host = options.dns.is_empty() && conf.containers.dns_servers.iter().any(|server| server == NONE);
    let by_user = options.dns.iter().any(|server| server == NONE);
    if !by_host && !by_user {
        return Ok(false);
    }
    let other_server = options.dns.iter().find(|server| *server != NONE).map(|server| ("DNS", server));
    let search = options.dns_search.first().map(|domain| ("DNSSearch", domain));
    let option = options.dns_option.first().map(|option| ("DNSOption", option));
    let Some((key, value)) = other_server.or(search).or(option) else { return Ok(true) };
    let origin =
        if by_user { "DNS=none (--dns none)" } else { "dns_servers = [\"none\"] in containers.conf" };
    Err(anyhow!("{origin} leaves the image's resolv.conf as it is; keep one of the two")).blame(key, value)
}

/// The servers that the user wants to be asked. The name server of a network comes before them, it knows the
/// neighbours, and asks these for the rest.
///
/// # Errors
/// One that isn't an address.
pub(crate) fn servers(options: &Naming, conf: &ContainersConf) -> anyhow::Result<Vec<IpAddr>> {
    let parse = |server: &String| -> Result<IpAddr, std::net::AddrParseError> { server.parse() };
    let mut servers = Vec::new();
    for server in conf.containers.dns_servers.iter().filter(|server| *server != NONE) {
        let why = || format!("containers.conf: dns_servers: \"{server}\" is not an IP address");
        servers.push(anyhow::Context::with_context(parse(server), why)?);
    }
    for server in options.dns.iter().filter(|server| *server != NONE) {
        servers.push(anyhow::Context::context(parse(server), "not an IP address").blame("DNS", server)?);
    }
    Ok(servers)
}

/// The file's text.
///
/// # Errors
/// A server that isn't an address.
pub(super) fn text(options: &Naming, conf: &ContainersConf, facts: &Facts<'_>) -> anyhow::Result<String> {
    let asked = servers(options, conf)?;
    let is_host = matches!(facts.network, Network::Host);
    let (own, trouble) = match read(OF_HOST) {
        Ok(text) => (text, None),
        Err(error) => (String::new(), Some(format!("{OF_HOST} can't be read: {error}"))),
    };
    let host = if is_host { own } else { of_host(&own, &read(OF_RESOLVED).unwrap_or_default()) };
    let terms = || facts.lease.into_iter().flat_map(Lease::terms);
    let offered: Vec<String> = terms().flat_map(|terms| &terms.dns_servers).map(IpAddr::to_string).collect();
    let domains: Vec<String> = terms().flat_map(|terms| terms.search.iter().cloned()).collect();
    // Who is a machine of another network is not of the host's domain.
    let domains = if domains.is_empty() { last(&host, "search") } else { domains };
    let servers: Vec<String> = match asked {
        _ if !facts.dns_servers.is_empty() => facts.dns_servers.iter().map(IpAddr::to_string).collect(),
        asked if !asked.is_empty() => asked.iter().map(IpAddr::to_string).collect(),
        _ if !offered.is_empty() => offered,
        _ if is_host => values(&host, "nameserver"),
        _ => reachable(&host, facts.addresses.iter().any(IpAddr::is_ipv6)),
    };
    if servers.is_empty() && !matches!(facts.network, Network::None) {
        log::warn!("{}", without_servers(facts.name, trouble));
    }
    let mut resolver = [&conf.containers.dns_options[..], &options.dns_option].concat();
    if resolver.is_empty() {
        resolver = last(&host, "options");
    }
    let mut text = String::new();
    let mut line = |keyword: &str, words: &[String]| {
        if !words.is_empty() {
            let _ = writeln!(text, "{keyword} {}", words.join(" "));
        }
    };
    line("search", &search(options, conf, facts.search, domains));
    servers.chunks(1).for_each(|server| line("nameserver", server));
    line("options", &resolver);
    Ok(text)
}

/// The domain of the neighbours stays in front of the user's: else a name of theirs would first be asked for in the
/// world. A dot means no domain at all; `usual` are those without a word of the user's.
fn search(options: &Naming, conf: &ContainersConf, networks: &[String], usual: Vec<String>) -> Vec<String> {
    let asked = [&conf.containers.dns_searches[..], &options.dns_search].concat();
    if asked.iter().any(|domain| domain == ".") {
        return Vec::new();
    }
    let asked = if asked.is_empty() { usual } else { asked };
    let mut domains = networks.to_vec();
    domains.extend(asked.into_iter().filter(|domain| !networks.contains(domain)));
    domains
}

/// A file of the host's; empty if there is none, or a link to nothing.
fn read(path: &str) -> std::io::Result<String> {
    match fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
        bytes => bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// Nobody but the user can tell whom to ask then.
fn without_servers(container: &str, trouble: Option<String>) -> String {
    let why = trouble.unwrap_or_else(|| {
        format!(
            "{OF_HOST} names none that a container can reach, as the host's own loopback addresses are none"
        )
    });
    format!(
        "container {container:?} has no name server, {why}; write DNS= (--dns), or dns_servers in containers.conf"
    )
}

/// The host's configuration, seen from another network namespace: resolved's, if the host's own has nothing but servers
/// on loopback.
fn of_host(own: &str, resolved: &str) -> String {
    let is_local = |server: &String| server.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let only_local = values(own, "nameserver").iter().all(is_local);
    if only_local && !values(resolved, "nameserver").is_empty() {
        resolved.to_owned()
    } else {
        own.to_owned()
    }
}

/// The servers that a container reaches: none on loopback, none with a zone (the interface has another name inside),
/// and IPv6 only if it has an address.
fn reachable(text: &str, ipv6: bool) -> Vec<String> {
    let is_reachable = |server: &String| {
        server.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback() && (ipv6 || address.is_ipv4()))
    };
    values(text, "nameserver").into_iter().filter(is_reachable).collect()
}

/// The first value of each line with a keyword.
fn values(text: &str, keyword: &str) -> Vec<String> {
    let value = |line: &str| words(line, keyword).and_then(|words| words.into_iter().next());
    text.lines().filter_map(value).collect()
}

/// All values of the last line with a keyword, which is the one that counts (resolv.conf(5)).
fn last(text: &str, keyword: &str) -> Vec<String> {
    text.lines().rev().find_map(|line| words(line, keyword)).unwrap_or_default()
}

/// What follows a keyword; a comment isn't part of it.
fn words(line: &str, keyword: &str) -> Option<Vec<String>> {
    let mut words = line.split(['#', ';']).next()?.split_whitespace();
    (words.next() == Some(keyword)).then(|| words.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{facts, options};
    use super::*;

    #[test]
    fn loopback_servers_stay_on_the_host() {
        let text =
            "nameserver 127.0.0.53\nnameserver 10.1.1.1\nnameserver fd00::1 # v6\nnameserver fe80::1%eth0\n";
        assert_eq!(reachable(text, false), ["10.1.1.1"]);
        assert_eq!(reachable(text, true), ["10.1.1.1", "fd00::1"]);
        let stub = "nameserver 127.0.0.53\noptions edns0 trust-ad\nsearch a\n";
        assert_eq!(of_host(stub, text), text);
        assert_eq!(of_host(stub, ""), stub);
        assert_eq!(of_host(text, "nameserver 10.9.9.9\n"), text);
    }

    #[test]
    fn a_host_without_a_file_is_none_with_an_unreadable_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        assert_eq!(read(&path("missing")).unwrap(), "");
        std::os::unix::fs::symlink("/nonexistent/stub", path("dangling")).unwrap();
        assert_eq!(read(&path("dangling")).unwrap(), "");
        fs::write(path("latin"), b"# \xe9\nnameserver 10.1.1.1\n").unwrap();
        assert_eq!(values(&read(&path("latin")).unwrap(), "nameserver"), ["10.1.1.1"]);
        let unreadable = read(&path("")).unwrap_err();
        let told = without_servers("web", Some(unreadable.to_string()));
        assert!(told.contains("Is a directory") && told.contains("DNS="), "{told}");
        assert!(without_servers("web", None).contains("loopback"));
    }

    #[test]
    fn the_last_line_counts() {
        assert_eq!(last("search a b\n#search c\nsearch d\n", "search"), ["d"]);
        assert_eq!(last("options ndots:2 timeout:1\n", "options"), ["ndots:2", "timeout:1"]);
    }

    #[test]
    fn the_configuration_comes_before_the_container() {
        let mut conf = ContainersConf::default();
        conf.containers.dns_servers = vec!["10.1.1.1".into()];
        conf.containers.dns_searches = vec!["a".into()];
        conf.containers.dns_options = vec!["ndots:2".into()];
        let asked = options(&["--dns", "10.2.2.2", "--dns-search", "b", "--dns-option", "timeout:1"]);
        let own = [[10, 0, 0, 5].into()];
        assert_eq!(
            text(&asked, &conf, &facts(&own)).unwrap(),
            "search a b\nnameserver 10.1.1.1\nnameserver 10.2.2.2\noptions ndots:2 timeout:1\n"
        );
        conf.containers.dns_servers = vec!["none".into()];
        assert!(is_unwanted(&options(&[]), &conf).unwrap());
        let asked = options(&["--dns", "10.2.2.2"]);
        assert!(!is_unwanted(&asked, &conf).unwrap(), "the container's word counts");
        assert!(text(&asked, &conf, &facts(&own)).unwrap().contains("nameserver 10.2.2.2\n"));
        let refused =
            |arguments: &[&str]| format!("{:#}", is_unwanted(&options(arguments), &conf).unwrap_err());
        assert!(refused(&["--dns-search=b"]).contains("containers.conf"));
        for more in ["--dns=10.1.1.1", "--dns-search=b", "--dns-option=ndots:2"] {
            assert!(refused(&["--dns=none", more]).contains("DNS=none"), "{more}");
        }
        conf.containers.dns_servers = vec!["x".into()];
        assert!(format!("{:#}", servers(&options(&[]), &conf).unwrap_err()).contains("containers.conf"));
    }

    #[test]
    fn the_networks_server_and_domain_come_first() {
        let (servers, domains) = ([[10, 0, 0, 1].into()], ["dns.sampan".to_owned()]);
        let facts = Facts { dns_servers: &servers, search: &domains, ..facts(&[]) };
        let with =
            |arguments: &[&str]| text(&options(arguments), &ContainersConf::default(), &facts).unwrap();
        let text = with(&["--dns", "10.2.2.2", "--dns-search", "example.org", "--dns-option=ndots:2"]);
        assert_eq!(text, "search dns.sampan example.org\nnameserver 10.0.0.1\noptions ndots:2\n");
        assert!(!with(&["--dns-search", "."]).contains("search"));
    }
}
