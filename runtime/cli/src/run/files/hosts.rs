//! `/etc/hosts`, as podman-run(1) (`--add-host`, `--hosts-file`) and containers.conf(5) (`base_hosts_file`,
//! `host_containers_internal_ip`) describe it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::BorrowedFd;

use anyhow::{Context, anyhow, bail};
use rustix::fs::{Mode, OFlags, ResolveFlags};
use sampan_network::Lease;

use super::{Facts, GATEWAY_NAMES};
use crate::blame::Blamed as _;
use crate::containers_conf::ContainersConf;
use crate::run::groups::Naming;
use crate::run::network::Network;

const OF_HOST: &str = "/etc/hosts";
const HOST_GATEWAY: &str = "host-gateway";
/// The image's file is foreign: it won't fill our memory.
const IMAGE_MAX: u64 = 1 << 20;

/// Whether the image's file stays.
///
/// # Errors
/// Lines of the user's have no place in it, or a file to begin with.
pub(super) fn is_unwanted(options: &Naming, conf: &ContainersConf) -> anyhow::Result<bool> {
    let by_host = conf.containers.no_hosts.unwrap_or(false);
    let entry = options.add_host.first().map(|entry| ("AddHost", entry));
    match entry.or(options.hosts_file.as_ref().map(|path| ("PodmanArgs", path))) {
        Some((key, value)) if by_host => {
            let why = "no_hosts = true in containers.conf leaves the image's /etc/hosts as it is; keep one of the two";
            Err(anyhow!(why)).blame(key, value)
        }
        _ => Ok(by_host || options.no_hosts),
    }
}

/// The user's lines come first, then those of the base file, then what is the container's own. A name that the user
/// gives has no other line.
///
/// # Errors
/// A bad `--add-host`, or a base file that can't be read.
pub(super) fn text(options: &Naming, conf: &ContainersConf, facts: &Facts<'_>) -> anyhow::Result<String> {
    let host = host(conf, facts)?;
    let mut hosts = Hosts::default();
    let mut own = HashSet::new();
    for entry in &options.add_host {
        let (names, address) = host_entry(entry, host).blame("AddHost", entry)?;
        let names: Vec<&str> = names.split(';').filter(|name| !name.is_empty()).collect();
        hosts.line(&address.to_string(), &names);
        own.extend(names);
    }
    let base = base(options, conf, facts.root)?;
    for line in base.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        if let Some(address) = words.next() {
            let names: Vec<&str> = words.filter(|name| !own.contains(name)).collect();
            hosts.line(address, &names);
        }
    }
    // A name may have an address of each family: what is free is decided once for all these lines.
    let taken = hosts.names.clone();
    let free = |names: &'static str| -> Vec<&str> {
        names.split(' ').filter(|name| !taken.contains(*name)).collect()
    };
    hosts.line("127.0.0.1", &free("localhost"));
    hosts.line("::1", &free("localhost"));
    if let Some(host) = host {
        hosts.line(&host.to_string(), &free(GATEWAY_NAMES));
    }
    let mut names = vec![facts.hostname, facts.name];
    names.retain(|name| !name.is_empty() && !own.contains(name));
    let alone = [Ipv4Addr::LOCALHOST.into()];
    let addresses = if matches!(facts.network, Network::None) { &alone[..] } else { facts.addresses };
    for address in addresses {
        hosts.line(&address.to_string(), &names);
    }
    Ok(hosts.text)
}

#[derive(Default)]
struct Hosts {
    text: String,
    names: HashSet<String>,
}

impl Hosts {
    fn line(&mut self, address: &str, names: &[&str]) {
        if !names.is_empty() {
            let _ = writeln!(self.text, "{address}\t{}", names.join(" "));
            self.names.extend(names.iter().map(|&name| name.to_owned()));
        }
    }
}

/// `NAME[;NAME…]:ADDRESS`; `host-gateway` is the host as the container sees it.
fn host_entry(entry: &str, host: Option<IpAddr>) -> anyhow::Result<(&str, IpAddr)> {
    let (names, address) = entry
        .split_once(':')
        .filter(|(names, address)| !names.is_empty() && !address.is_empty())
        .context("write NAME:ADDRESS, as in db:10.0.0.5 or host:host-gateway")?;
    if address == HOST_GATEWAY {
        let host = host.context(
            "host-gateway: the host has no address for this container; set host_containers_internal_ip in \
             containers.conf, or write the address",
        )?;
        return Ok((names, host));
    }
    let text = address.trim_matches(['[', ']']);
    Ok((names, text.parse().with_context(|| format!("\"{text}\" is not an IP address"))?))
}

/// The host, as the container sees it: what the configuration says, else its address on a bridge of the container,
/// else its address towards the world.
fn host(conf: &ContainersConf, facts: &Facts<'_>) -> anyhow::Result<Option<IpAddr>> {
    match conf.containers.host_containers_internal_ip.as_deref() {
        Some("none") => return Ok(None),
        Some(address) if !address.is_empty() => {
            let address = address.parse().with_context(|| {
                format!("containers.conf: host_containers_internal_ip = \"{address}\" is not an IP address; \"none\" means no entry")
            })?;
            return Ok(Some(address));
        }
        _ => {}
    }
    if let Some(gateway) = facts.gateways.first() {
        return Ok(Some(*gateway));
    }
    let of_itself = matches!(facts.network, Network::Host).then_some(Ipv4Addr::LOCALHOST.into());
    Ok(outward().filter(|address| !facts.addresses.contains(address)).or(of_itself))
}

/// The host's addresses on the container's bridges: IPv4 first, and first on networks with a way out. The parents of
/// macvlan and ipvlan interfaces can't be reached from these.
pub(crate) fn gateways(lease: &Lease) -> Vec<IpAddr> {
    let of = |attachment: &sampan_network::Attachment| -> Vec<(bool, bool, IpAddr)> {
        let network = &attachment.network;
        let on_host = network.own_bridge().is_some();
        let gateways = network.gateways().filter(|_| on_host);
        gateways.map(|(address, _)| (network.internal, address.is_ipv6(), address)).collect()
    };
    let mut all: Vec<_> = lease.attachments.iter().flat_map(of).collect();
    all.sort_by_key(|(internal, ipv6, _)| (*internal, *ipv6));
    all.into_iter().map(|(_, _, address)| address).collect()
}

/// The address from which the host sends to the world. Connecting a socket sends nothing, and these addresses are
/// nobody's (RFC 5737, RFC 3849).
fn outward() -> Option<IpAddr> {
    let ways: [(IpAddr, IpAddr); 2] = [
        (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into()),
        (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()),
    ];
    let source = |(any, world): (IpAddr, IpAddr)| {
        let socket = UdpSocket::bind((any, 0)).ok()?;
        socket.connect((world, 9)).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    ways.into_iter().find_map(source)
}

/// The text to begin with: `none`, `image`, or a file of the host; a file that was asked for must exist.
fn base(options: &Naming, conf: &ContainersConf, root: Option<BorrowedFd<'_>>) -> anyhow::Result<String> {
    let configured = conf.containers.base_hosts_file.as_deref();
    let (asked, origin) = match &options.hosts_file {
        Some(path) => (Some(path.as_str()), "--hosts-file"),
        None => (configured, "base_hosts_file in containers.conf"),
    };
    match asked.filter(|path| !path.is_empty()) {
        Some("none") => Ok(String::new()),
        Some("image") => root.map_or(Ok(String::new()), of_image),
        Some(path) => fs::read_to_string(path).with_context(|| format!("reading {path} ({origin})")),
        None => match fs::read(OF_HOST) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            bytes => {
                let bytes = bytes.with_context(|| {
                    format!("reading {OF_HOST}; base_hosts_file = \"none\" in containers.conf does without")
                })?;
                Ok(String::from_utf8_lossy(&bytes).into_owned())
            }
        },
    }
}

/// The image's own file; nothing if it has none.
fn of_image(root: BorrowedFd<'_>) -> anyhow::Result<String> {
    // A FIFO must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let file: File = match rustix::fs::openat2(root, "etc/hosts", flags, Mode::empty(), resolve) {
        Ok(file) => file.into(),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => return Ok(String::new()),
        Err(error) => return Err(error).context("opening /etc/hosts in the image"),
    };
    if !file.metadata()?.is_file() {
        bail!("/etc/hosts in the image isn't a file; use base_hosts_file = \"none\" or a path");
    }
    let mut bytes = Vec::new();
    file.take(IMAGE_MAX).read_to_end(&mut bytes).context("reading /etc/hosts in the image")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::super::tests::{facts, options};
    use super::*;

    fn conf(base: &str) -> ContainersConf {
        let mut conf = ContainersConf::default();
        conf.containers.base_hosts_file = Some(base.to_owned());
        conf
    }

    #[test]
    fn the_users_line_wins_over_the_default() {
        let addresses = [[10, 0, 0, 5].into(), "fd00::5".parse().unwrap()];
        let facts = facts(&addresses);
        let asked = options(&[
            "--add-host",
            "localhost;db:10.9.9.9",
            "--add-host",
            "h:host-gateway",
            "--add-host=x:fd00::9",
        ]);
        assert_eq!(
            text(&asked, &conf("none"), &facts).unwrap(),
            "10.9.9.9\tlocalhost db\n10.0.0.1\th\nfd00::9\tx\n\
             10.0.0.1\thost.containers.internal host.docker.internal\n\
             10.0.0.5\tweb systemd-web\nfd00::5\tweb systemd-web\n"
        );
        let own = text(&options(&["--add-host=web:10.1.1.1"]), &conf("none"), &facts).unwrap();
        assert!(own.ends_with("10.0.0.5\tsystemd-web\nfd00::5\tsystemd-web\n"), "{own}");
        for wrong in ["x", "x:", ":1.2.3.4", "x:y"] {
            assert!(text(&options(&["--add-host", wrong]), &conf("none"), &facts).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_line_that_has_no_place_is_refused() {
        let mut conf = conf("none");
        let wanted = |arguments: &[&str], conf: &ContainersConf| is_unwanted(&options(arguments), conf);
        assert!(!wanted(&[], &conf).unwrap() && wanted(&["--no-hosts"], &conf).unwrap());
        conf.containers.no_hosts = Some(true);
        assert!(wanted(&[], &conf).unwrap());
        for asked in ["--add-host=db:10.9.9.9", "--hosts-file=image"] {
            let refused = format!("{:#}", wanted(&[asked], &conf).unwrap_err());
            assert!(refused.contains("no_hosts"), "{refused}");
        }
    }

    #[test]
    fn localhost_has_both_families() {
        let addresses = [[10, 0, 0, 5].into()];
        let facts = facts(&addresses);
        let own = text(&options(&[]), &conf("none"), &facts).unwrap();
        assert!(own.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost\n"), "{own}");
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "127.0.0.1 localhost\n::1 localhost ip6-localhost # both\n").unwrap();
        let path = file.path().to_str().unwrap();
        let own = text(&options(&[]), &conf(path), &facts).unwrap();
        assert!(own.starts_with("127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n10.0.0.1"), "{own}");
        let given = text(&options(&["--hosts-file", path]), &conf("none"), &facts).unwrap();
        assert_eq!(given, own, "the option wins");
        let missing = text(&options(&[]), &conf("/nonexistent"), &facts).unwrap_err();
        assert!(format!("{missing:#}").contains("base_hosts_file"), "{missing:#}");
    }

    #[test]
    fn the_hosts_address_can_be_set_or_left_out() {
        let addresses = [[10, 0, 0, 5].into()];
        let facts = facts(&addresses);
        let mut conf = conf("none");
        conf.containers.host_containers_internal_ip = Some("192.0.2.7".into());
        let asked = options(&["--add-host=h:host-gateway"]);
        let own = text(&asked, &conf, &facts).unwrap();
        assert!(own.contains("192.0.2.7\th\n") && own.contains("192.0.2.7\thost.containers"), "{own}");
        conf.containers.host_containers_internal_ip = Some("none".into());
        assert!(!text(&options(&[]), &conf, &facts).unwrap().contains("host.containers"));
        let refused = format!("{:#}", text(&asked, &conf, &facts).unwrap_err());
        assert!(refused.contains("host_containers_internal_ip"), "{refused}");
        conf.containers.host_containers_internal_ip = Some("10.0.0".into());
        assert!(text(&options(&[]), &conf, &facts).is_err());
    }

    #[test]
    fn without_a_network_the_own_name_is_known() {
        let facts = Facts { network: &Network::None, ..facts(&[]) };
        let own = text(&options(&[]), &conf("none"), &facts).unwrap();
        assert!(own.ends_with("127.0.0.1\tweb systemd-web\n"), "{own}");
        let of_host = Facts { network: &Network::Host, ..facts };
        let own = text(&options(&["--add-host=h:host-gateway"]), &conf("none"), &of_host).unwrap();
        assert!(!own.contains("systemd-web") && own.contains("\th\n"), "{own}");
    }

    #[test]
    fn the_images_file_is_read_inside_the_image() {
        let root = tempfile::tempdir().unwrap();
        let directory = File::open(root.path()).unwrap();
        let read = || of_image(directory.as_fd());
        assert_eq!(read().unwrap(), "");
        fs::create_dir(root.path().join("etc")).unwrap();
        std::os::unix::fs::symlink("/inside", root.path().join("etc/hosts")).unwrap();
        assert_eq!(read().unwrap(), "", "the link leads to nothing in the image");
        fs::write(root.path().join("inside"), "10.0.0.1 a\n").unwrap();
        assert_eq!(read().unwrap(), "10.0.0.1 a\n");
        fs::remove_file(root.path().join("etc/hosts")).unwrap();
        fs::create_dir(root.path().join("etc/hosts")).unwrap();
        assert!(read().is_err());
    }
}
