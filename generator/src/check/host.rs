//! What a machine says about itself in `/proc`, `/etc` and `/sys`, below a root directory so that it
//! can be another machine, or a made-up one.

use super::addresses::Subnet;
use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What is known of an image that the host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// The ports that it says it listens on, as `80/tcp`.
    pub exposed_ports: Vec<String>,
}

/// Looks an image up by the name in a unit file; `None` if the host doesn't have it.
pub type Images = Rc<dyn Fn(&str) -> Option<Image>>;

/// A machine on which the units are to run.
#[derive(Clone)]
pub struct Host {
    root: PathBuf,
    images: Option<Images>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("root", &self.root).field("images", &self.images.is_some()).finish()
    }
}

/// A socket that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listening {
    /// The address; the unspecified one for every address.
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// tcp or udp.
    pub(super) protocol: &'static str,
    inode: u64,
}

/// A route to a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) network: Subnet,
    pub(super) interface: String,
}

/// Where systemd looks for units, the first of a name counts (systemd.unit(5)). What a generator
/// writes counts after the first two.
const UNITS: [&str; 5] =
    ["etc/systemd", "run/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd"];
/// How many of them count more than a generator.
const ABOVE_GENERATORS: usize = 2;

impl Host {
    /// The machine whose root directory this is: `/` for this one.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into(), images: None }
    }

    /// The same with a way to look images up.
    #[must_use]
    pub fn with_images(self, images: Images) -> Self {
        Self { images: Some(images), ..self }
    }

    /// Its root directory.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where a path of the machine is for us.
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_default()
    }

    /// Whether a path surely does not exist. One that may not be looked at counts as there.
    pub(super) fn lacks(&self, path: &str) -> bool {
        let missing = |error: &std::io::Error| {
            matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory)
        };
        fs::symlink_metadata(self.path(path)).is_err_and(|error| missing(&error))
    }

    /// An image, if it is here; `None` if that isn't known.
    pub(super) fn image(&self, name: &str) -> Option<Option<Image>> {
        self.images.as_ref().map(|images| images(name))
    }

    /// Whether a name has a range in `/etc/subuid` and `/etc/subgid`, subuid(5).
    pub(super) fn has_subordinate_ids(&self, name: &str) -> bool {
        ["etc/subuid", "etc/subgid"]
            .iter()
            .all(|file| self.read(file).lines().any(|line| line.split(':').next() == Some(name)))
    }

    /// Whether `/etc/passwd` or `/etc/group` has a name; a number needs no entry.
    pub(super) fn knows(&self, database: &str, name: &str) -> bool {
        name.parse::<u32>().is_ok()
            || self.read(&format!("etc/{database}")).lines().any(|line| line.split(':').next() == Some(name))
    }

    /// The kernel's version, as far as it can be read.
    pub(super) fn kernel(&self) -> Option<(u32, u32)> {
        let release = self.read("proc/sys/kernel/osrelease");
        let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }

    /// Whether the machine has the one hierarchy of cgroups(7), version 2.
    pub(super) fn has_cgroup_v2(&self) -> bool {
        !self.lacks("sys/fs/cgroup/cgroup.controllers") || self.lacks("sys/fs/cgroup")
    }

    /// The file of a unit that someone else put there, and whether it counts more than a generated one.
    pub(super) fn unit(&self, name: &str, user: bool) -> Option<(PathBuf, bool)> {
        let scope = if user { "user" } else { "system" };
        let found = UNITS.iter().enumerate().find_map(|(at, directory)| {
            let path = format!("/{directory}/{scope}/{name}");
            (!self.lacks(&path)).then(|| (PathBuf::from(path), at < ABOVE_GENERATORS))
        });
        found.filter(|(path, _)| !path.starts_with("/run/systemd/generator"))
    }

    /// Whether a unit is switched off by a link to `/dev/null`.
    pub(super) fn is_masked(&self, path: &Path) -> bool {
        fs::read_link(self.path(&path.to_string_lossy())).is_ok_and(|target| target == Path::new("/dev/null"))
    }

    /// All sockets that listen, proc(5), `/proc/net/tcp`.
    pub(super) fn listening(&self) -> Vec<Listening> {
        let tables =
            [("tcp", "tcp", "0A"), ("tcp6", "tcp", "0A"), ("udp", "udp", "07"), ("udp6", "udp", "07")];
        let mut found = Vec::new();
        for (file, protocol, state) in tables {
            let text = self.read(&format!("proc/net/{file}"));
            found.extend(text.lines().skip(1).filter_map(|line| socket(line, protocol, state)));
        }
        found
    }

    /// The unit whose process holds a socket, if that can be found out.
    pub(super) fn owner(&self, socket: &Listening) -> Option<String> {
        let link = format!("socket:[{}]", socket.inode);
        let processes = fs::read_dir(self.path("proc")).ok()?.flatten();
        let holder = processes.map(|entry| entry.path()).find(|process| {
            let descriptors = fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
            descriptors
                .map(|entry| entry.path())
                .any(|path| fs::read_link(path).is_ok_and(|to| to == Path::new(&link)))
        })?;
        let cgroup = fs::read_to_string(holder.join("cgroup")).ok()?;
        let unit =
            cgroup.trim().rsplit('/').find(|part| part.ends_with(".service") || part.ends_with(".scope"));
        unit.map(str::to_owned)
    }

    /// All routes but the default ones, proc(5), `/proc/net/route` and `ipv6_route`.
    pub(super) fn routes(&self) -> Vec<Route> {
        let mut found = BTreeMap::new();
        for line in self.read("proc/net/route").lines().skip(1) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let word = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok().map(u32::swap_bytes);
            let (Some(interface), Some(address), Some(mask)) = (fields.first(), word(1), word(7)) else {
                continue;
            };
            let length = u8::try_from(mask.leading_ones()).unwrap_or(32);
            found.insert((IpAddr::V4(Ipv4Addr::from_bits(address)), length), (*interface).to_owned());
        }
        for line in self.read("proc/net/ipv6_route").lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let [address, length, .., interface] = fields[..] else { continue };
            let (Ok(address), Ok(length)) =
                (u128::from_str_radix(address, 16), u8::from_str_radix(length, 16))
            else {
                continue;
            };
            let address = Ipv6Addr::from_bits(address);
            if !address.is_multicast() && !address.is_unicast_link_local() {
                found.insert((IpAddr::V6(address), length), interface.to_owned());
            }
        }
        let network = |((address, length), interface): ((IpAddr, u8), String)| {
            Some(Route { network: Subnet::new(address, length).filter(|_| length > 0)?, interface })
        };
        found.into_iter().filter_map(network).collect()
    }
}

/// A line of `/proc/net/tcp` and its like.
fn socket(line: &str, protocol: &'static str, listens: &str) -> Option<Listening> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (address, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != listens {
        return None;
    }
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::swap_bytes);
    let address = if address.len() == 8 {
        IpAddr::V4(Ipv4Addr::from_bits(word(0)?))
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?];
        let bits = words.iter().fold(0u128, |bits, word| bits << 32 | u128::from(*word));
        let address = Ipv6Addr::from_bits(bits);
        address.to_ipv4_mapped().map_or(IpAddr::V6(address), IpAddr::V4)
    };
    let port = u16::from_str_radix(port, 16).ok()?;
    Some(Listening { address, port, protocol, inode: fields.get(9)?.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_of_proc() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4242 1";
        let found = socket(line, "tcp", "0A").unwrap();
        assert_eq!(
            (found.address.to_string(), found.port, found.inode),
            ("127.0.0.1".to_owned(), 8080, 4242)
        );
        assert_eq!(socket(line, "tcp", "01"), None);
        let line = "   1: 00000000000000000000000001000000:0050 0:0 0A 0:0 0:0 0 0 0 7 1";
        assert_eq!(socket(line, "tcp", "0A").unwrap().address.to_string(), "::1");
    }

    #[test]
    fn routes_of_proc() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir_all(root.path().join("proc/net")).unwrap();
        let table = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n\
                     eth0\t00000000\t0100A8C0\t0003\t0\t0\t0\t00000000\n\
                     eth0\t0000A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n";
        fs::write(root.path().join("proc/net/route"), table).unwrap();
        let routes = Host::new(root.path()).routes();
        assert_eq!(routes.len(), 1);
        assert_eq!(routes[0].network, Subnet::parse("192.168.0.0/24").unwrap());
    }
}
