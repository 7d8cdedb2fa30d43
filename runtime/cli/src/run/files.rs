//! The files that a container expects and that nobody has written: hosts, resolv.conf, hostname, localtime.
//!
//! They are made in the container's state directory and bind-mounted over the image's.

use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use oci_spec::runtime::{Mount, MountBuilder};
use sampan_network::Lease;

use super::groups::Naming;
use super::options::Options;
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;

/// The hosts file, which a pod's containers also write to.
pub(crate) const HOSTS: &str = "hosts";
pub(crate) const RESOLV_CONF: &str = "resolv.conf";
/// The names of the host in the hosts file.
pub(crate) const GATEWAY_NAMES: &str = "host.containers.internal host.docker.internal";
/// Files about names and networks, each below `/etc` in the container.
const NAMES: [&str; 3] = [HOSTS, RESOLV_CONF, "hostname"];
const CONTAINERENV: &str = ".containerenv";
const ZONES: &str = "/usr/share/zoneinfo";
/// systemd-resolved's list of the real servers, for hosts whose resolv.conf names its stub on loopback.
const RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// What the files say about the container.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) image: &'a str,
    /// Its own addresses; none on the host's network and without network.
    pub(crate) addresses: &'a [IpAddr],
    /// The first network's gateway: the host, seen from the container.
    pub(crate) gateway: Option<IpAddr>,
    /// Servers of its networks; empty: the host's.
    pub(crate) dns_servers: &'a [IpAddr],
    pub(crate) search: &'a [String],
    /// The lease, for what DHCP servers of its networks offer.
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) host_network: bool,
}

/// Writes the files about names and networks into `directory`; none that the user doesn't want.
///
/// # Errors
/// A bad `--add-host` or `--dns`, or a file that can't be read or written.
pub(crate) fn write_names(
    directory: &Path,
    options: &Naming,
    conf: &ContainersConf,
    facts: &Facts<'_>,
) -> anyhow::Result<()> {
    let write = |name: &str, text: String| {
        let path = directory.join(name);
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))
    };
    if !options.no_hosts && !conf.containers.no_hosts.unwrap_or(false) {
        write(HOSTS, hosts(options, conf, facts)?)?;
    }
    if options.dns.iter().all(|server| server != "none") {
        write(RESOLV_CONF, resolv_conf(options, conf, facts)?)?;
    }
    if !facts.hostname.is_empty() {
        write("hostname", format!("{}\n", facts.hostname))?;
    }
    Ok(())
}

/// The mounts that put those files of `directory` in place that are there, but for the destinations in `taken`,
/// which the user has mounted.
///
/// # Errors
/// oci-spec's, never for mounts made here.
pub(crate) fn name_mounts(directory: &Path, taken: &dyn Fn(&Path) -> bool) -> anyhow::Result<Vec<Mount>> {
    let places = NAMES.map(|name| (directory.join(name), format!("/etc/{name}")));
    let wanted = places.into_iter().filter(|(file, place)| file.exists() && !taken(Path::new(place)));
    wanted.map(|(file, place)| bind(&file, &place)).collect()
}

/// Gives the files to the root of a user namespace, who may write them as any other.
///
/// # Errors
/// chown(2)'s.
pub(crate) fn give(directory: &Path, (uid, gid): (u32, u32)) -> anyhow::Result<()> {
    for name in NAMES.iter().chain(&[CONTAINERENV]) {
        match std::os::unix::fs::chown(directory.join(name), Some(uid), Some(gid)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("giving {name} to the container"));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Writes `/run/.containerenv` into `directory`, and returns the mounts for it and for the time zone.
///
/// # Errors
/// A bad time zone, or a file that can't be written.
pub(crate) fn write_own(
    directory: &Path,
    options: &Options,
    conf: &ContainersConf,
    facts: &Facts<'_>,
    taken: &dyn Fn(&Path) -> bool,
) -> anyhow::Result<Vec<Mount>> {
    let mut mounts = Vec::new();
    if !taken(Path::new("/run/.containerenv")) {
        let path = directory.join(CONTAINERENV);
        fs::write(&path, containerenv(facts)).with_context(|| format!("writing {}", path.display()))?;
        mounts.push(bind(&path, "/run/.containerenv")?);
    }
    if let Some(zone) =
        options.tz.as_deref().or(conf.containers.tz.as_deref()).filter(|zone| !zone.is_empty())
    {
        let mut mount = bind(&zone_file(zone).blame("Timezone", zone)?, "/etc/localtime")?;
        mount.set_options(Some(vec!["bind".into(), "ro".into(), "nosuid".into(), "nodev".into()]));
        if !taken(Path::new("/etc/localtime")) {
            mounts.push(mount);
        }
    }
    Ok(mounts)
}

fn bind(source: &Path, destination: &str) -> anyhow::Result<Mount> {
    Ok(MountBuilder::default()
        .destination(destination)
        .typ("bind")
        .source(source)
        .options(["bind", "rprivate", "nosuid", "nodev", "noexec"].map(str::to_owned).to_vec())
        .build()?)
}

fn containerenv(facts: &Facts<'_>) -> String {
    format!(
        "engine=\"sampan-{}\"\nname=\"{}\"\nid=\"{}\"\nimage=\"{}\"\nrootless=0\n",
        env!("CARGO_PKG_VERSION"),
        facts.name,
        facts.id,
        facts.image
    )
}

/// The user's lines, then the container's own, then the base file without names that stand already.
fn hosts(options: &Naming, conf: &ContainersConf, facts: &Facts<'_>) -> anyhow::Result<String> {
    let mut text = String::new();
    let mut names: Vec<String> = Vec::new();
    let mut line = |address: &str, hosts: &[&str]| {
        let new: Vec<&str> =
            hosts.iter().copied().filter(|h| !h.is_empty() && !names.iter().any(|n| n == h)).collect();
        if !new.is_empty() {
            let _ = writeln!(text, "{address}\t{}", new.join(" "));
            names.extend(new.into_iter().map(str::to_owned));
        }
    };
    for entry in &options.add_host {
        let (hosts, address) = host_entry(entry, facts).blame("AddHost", entry)?;
        line(&address.to_string(), &hosts.split(';').collect::<Vec<_>>());
    }
    for base in base_hosts(conf)?.lines() {
        let base = base.split('#').next().unwrap_or("");
        let mut words = base.split_whitespace();
        if let Some(address) = words.next() {
            line(address, &words.collect::<Vec<_>>());
        }
    }
    line("127.0.0.1", &["localhost"]);
    line("::1", &["localhost6"]);
    if let Some(gateway) = facts.gateway {
        line(&gateway.to_string(), &GATEWAY_NAMES.split(' ').collect::<Vec<_>>());
    }
    for address in facts.addresses {
        // A name may have an address of each family: these lines are not filtered by name.
        let _ = writeln!(text, "{address}\t{} {}", facts.hostname, facts.name);
    }
    Ok(text)
}

/// `NAME[;NAME…]:ADDRESS`; `host-gateway` is the host as the container sees it.
fn host_entry<'a>(entry: &'a str, facts: &Facts<'_>) -> anyhow::Result<(&'a str, IpAddr)> {
    let (hosts, address) = entry
        .split_once(':')
        .filter(|(hosts, address)| !hosts.is_empty() && !address.is_empty())
        .context("write NAME:ADDRESS, as in db:10.0.0.5 or host:host-gateway")?;
    let address = match (address, facts.gateway) {
        ("host-gateway", Some(gateway)) => gateway,
        ("host-gateway", None) if facts.host_network => IpAddr::from([127, 0, 0, 1]),
        ("host-gateway", None) => bail!("host-gateway: this container has no network with a gateway"),
        (text, _) => text
            .trim_matches(['[', ']'])
            .parse()
            .with_context(|| format!("\"{text}\" is not an IP address"))?,
    };
    Ok((hosts, address))
}

fn base_hosts(conf: &ContainersConf) -> anyhow::Result<String> {
    match conf.containers.base_hosts_file.as_deref() {
        Some("none") => Ok(String::new()),
        // The image's file would have to be read from a hostile root: an empty base serves the same purpose.
        Some("image") => {
            bail!("containers.conf: base_hosts_file = \"image\" is not available; use \"none\" or a path")
        }
        Some(path) if !path.is_empty() => {
            fs::read_to_string(path).with_context(|| format!("reading {path} (base_hosts_file)"))
        }
        _ => Ok(fs::read_to_string("/etc/hosts").unwrap_or_default()),
    }
}

fn resolv_conf(options: &Naming, conf: &ContainersConf, facts: &Facts<'_>) -> anyhow::Result<String> {
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let pick = |asked: &[String], configured: &[String]| {
        if asked.is_empty() { configured.to_vec() } else { asked.to_vec() }
    };
    let asked = pick(&options.dns, &conf.containers.dns_servers);
    for server in &asked {
        let parsed: Result<IpAddr, _> = server.parse();
        parsed.context("not an IP address").blame("DNS", server)?;
    }
    let terms = || facts.lease.into_iter().flat_map(Lease::terms);
    let offered: Vec<String> = terms().flat_map(|terms| &terms.dns_servers).map(IpAddr::to_string).collect();
    let servers: Vec<String> = match asked {
        // A network's own server knows the neighbours, and asks the user's servers for the rest.
        _ if !facts.dns_servers.is_empty() => facts.dns_servers.iter().map(IpAddr::to_string).collect(),
        asked if !asked.is_empty() => asked,
        _ if !offered.is_empty() => offered,
        _ => host_servers(&host, facts.host_network),
    };
    let mut search = pick(&options.dns_search, &conf.containers.dns_searches);
    if search.is_empty() {
        search = facts.search.to_vec();
        let domains: Vec<String> = terms().flat_map(|terms| terms.search.iter().cloned()).collect();
        // Who is a machine of another network is not of the host's domain.
        search.extend(if domains.is_empty() { keyword(&host, "search") } else { domains });
    }
    search.retain(|domain| domain != ".");
    let mut resolver = pick(&options.dns_option, &conf.containers.dns_options);
    if resolver.is_empty() {
        resolver = keyword(&host, "options");
    }
    let mut text = String::new();
    if !search.is_empty() {
        let _ = writeln!(text, "search {}", search.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !resolver.is_empty() {
        let _ = writeln!(text, "options {}", resolver.join(" "));
    }
    Ok(text)
}

fn keyword(resolv_conf: &str, keyword: &str) -> Vec<String> {
    let rest = |line: &str| {
        let mut words = line.split_whitespace();
        (words.next() == Some(keyword)).then(|| words.map(str::to_owned).collect())
    };
    resolv_conf.lines().rev().find_map(rest).unwrap_or_default()
}

/// A server on the host's loopback can't be reached from another network namespace.
fn host_servers(resolv_conf: &str, host_network: bool) -> Vec<String> {
    let servers = |text: &str| -> Vec<String> {
        let line = |line: &str| line.trim().strip_prefix("nameserver").map(|rest| rest.trim().to_owned());
        text.lines().filter_map(line).filter(|server| !server.is_empty()).collect()
    };
    let all = servers(resolv_conf);
    if host_network {
        return all;
    }
    let is_remote = |server: &String| server.parse::<IpAddr>().is_ok_and(|address| !address.is_loopback());
    let remote: Vec<String> = all.into_iter().filter(is_remote).collect();
    if !remote.is_empty() {
        return remote;
    }
    fs::read_to_string(RESOLVED)
        .map(|text| servers(&text))
        .unwrap_or_default()
        .into_iter()
        .filter(is_remote)
        .collect()
}

fn zone_file(zone: &str) -> anyhow::Result<PathBuf> {
    if zone == "local" {
        return fs::canonicalize("/etc/localtime").context("this host has no /etc/localtime");
    }
    let path = fs::canonicalize(Path::new(ZONES).join(zone)).with_context(|| {
        format!("there is no {ZONES}/{zone} on this host (install tzdata, or check the name)")
    })?;
    ensure!(path.starts_with(ZONES), "{zone} leads outside of {ZONES}");
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(addresses: &[IpAddr]) -> Facts<'_> {
        Facts {
            hostname: "web",
            name: "systemd-web",
            id: "0",
            image: "i",
            addresses,
            gateway: addresses.first().map(|_| [10, 0, 0, 1].into()),
            dns_servers: &[],
            search: &[],
            lease: None,
            host_network: false,
        }
    }

    fn options(arguments: &[&str]) -> Naming {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Naming,
        }
        <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments)).options
    }

    fn conf() -> ContainersConf {
        let mut conf = ContainersConf::default();
        conf.containers.base_hosts_file = Some("none".into());
        conf
    }

    #[test]
    fn the_users_line_wins_over_the_default() {
        let addresses = [[10, 0, 0, 5].into()];
        let options = options(&["--add-host", "localhost;db:10.9.9.9", "--add-host", "h:host-gateway"]);
        let text = hosts(&options, &conf(), &facts(&addresses)).unwrap();
        assert_eq!(
            text,
            "10.9.9.9\tlocalhost db\n10.0.0.1\th\n::1\tlocalhost6\n\
             10.0.0.1\thost.containers.internal host.docker.internal\n10.0.0.5\tweb systemd-web\n"
        );
        for wrong in ["x", "x:", ":1.2.3.4", "x:y"] {
            let options = self::options(&["--add-host", wrong]);
            assert!(hosts(&options, &conf(), &facts(&addresses)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn loopback_servers_stay_on_the_host() {
        let text = "nameserver 127.0.0.53\nnameserver 10.1.1.1\n";
        assert_eq!(host_servers(text, false), ["10.1.1.1"]);
        assert_eq!(host_servers(text, true), ["127.0.0.53", "10.1.1.1"]);
        assert_eq!(keyword("search a b\n", "search"), ["a", "b"]);
    }

    #[test]
    fn a_zone_stays_below_zoneinfo() {
        assert!(zone_file("../../../etc/passwd").is_err());
    }
}
