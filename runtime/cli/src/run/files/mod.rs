//! The files that a container expects and that nobody has written: hosts, resolv.conf, hostname, localtime.
//!
//! They are made in the container's state directory and bind-mounted over the image's.

pub(crate) mod hosts;
pub(crate) mod resolv_conf;

use std::fs;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use oci_spec::runtime::{Mount, MountBuilder};
use sampan_network::Lease;

use super::groups::Naming;
use super::network::Network;
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

/// What the files say about the container.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) hostname: &'a str,
    pub(crate) name: &'a str,
    pub(crate) id: &'a str,
    pub(crate) image: &'a str,
    /// Its own addresses; none on the host's network and without network.
    pub(crate) addresses: &'a [IpAddr],
    /// The host's addresses on its bridges, see [`hosts::gateways`]; the first is the best.
    pub(crate) gateways: &'a [IpAddr],
    /// Servers of its networks; empty: the host's.
    pub(crate) dns_servers: &'a [IpAddr],
    pub(crate) search: &'a [String],
    /// The lease, for what DHCP servers of its networks offer.
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) network: &'a Network,
    /// The image's files; a pod has none.
    pub(crate) root: Option<BorrowedFd<'a>>,
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
    if !hosts::is_unwanted(options, conf)? {
        write(HOSTS, hosts::text(options, conf, facts)?)?;
    }
    if !resolv_conf::is_unwanted(options, conf)? {
        write(RESOLV_CONF, resolv_conf::text(options, conf, facts)?)?;
    }
    if !facts.hostname.is_empty() && !options.no_hostname {
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

    pub(super) fn facts(addresses: &[IpAddr]) -> Facts<'_> {
        static GATEWAYS: [IpAddr; 1] = [IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1))];
        static JOINED: Network = Network::Joined(Vec::new());
        Facts {
            hostname: "web",
            name: "systemd-web",
            id: "0",
            image: "i",
            network: &JOINED,
            root: None,
            addresses,
            gateways: if addresses.is_empty() { &[] } else { &GATEWAYS },
            dns_servers: &[],
            search: &[],
            lease: None,
        }
    }

    pub(super) fn options(arguments: &[&str]) -> Naming {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: Naming,
        }
        <Line as clap::Parser>::parse_from(["run"].iter().chain(arguments)).options
    }

    #[test]
    fn what_the_user_does_not_want_is_not_written() {
        let written = |arguments: &[&str]| {
            let directory = tempfile::tempdir().unwrap();
            write_names(directory.path(), &options(arguments), &ContainersConf::default(), &facts(&[]))
                .unwrap();
            NAMES.map(|name| directory.path().join(name).exists())
        };
        assert_eq!(written(&[]), [true, true, true]);
        assert_eq!(written(&["--no-hosts", "--no-hostname", "--dns=none"]), [false, false, false]);
    }

    #[test]
    fn a_zone_stays_below_zoneinfo() {
        assert!(zone_file("../../../etc/passwd").is_err());
    }
}
