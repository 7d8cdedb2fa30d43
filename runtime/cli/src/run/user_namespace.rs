//! `--userns`, `--uidmap` and their like: which users of the host the container's users are.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, bail, ensure};
use oci_spec::runtime::{Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder};
use sampan_container::state::Containers;

use super::options::Options;
use crate::blame::Blamed as _;

/// Podman's name for the ranges that `auto` draws from.
const POOL: &str = "containers";
/// Users of an `auto` container that doesn't say how many.
const AUTO_SIZE: u32 = 65536;

/// Both mappings, never empty.
#[derive(Debug, Clone)]
pub(crate) struct Mappings {
    pub(crate) uids: Vec<LinuxIdMapping>,
    pub(crate) gids: Vec<LinuxIdMapping>,
}

impl Mappings {
    /// As a part of the Spec.
    ///
    /// # Errors
    /// oci-spec's, never for mappings made here.
    pub(crate) fn linux(&self) -> anyhow::Result<Linux> {
        Ok(LinuxBuilder::default().uid_mappings(self.uids.clone()).gid_mappings(self.gids.clone()).build()?)
    }

    /// The host's user and group that these of the container are; nobody (65534) if they are not mapped.
    pub(crate) fn on_host(&self, uid: u32, gid: u32) -> (u32, u32) {
        (on_host(&self.uids, uid), on_host(&self.gids, gid))
    }
}

fn on_host(mappings: &[LinuxIdMapping], id: u32) -> u32 {
    const NOBODY: u32 = 65534;
    let inside = |mapping: &&LinuxIdMapping| {
        id >= mapping.container_id() && id - mapping.container_id() < mapping.size()
    };
    mappings.iter().find(inside).map_or(NOBODY, |mapping| mapping.host_id() + (id - mapping.container_id()))
}

/// Keeps other starts from choosing a range for `auto` at the same time; nothing to lock for other modes.
///
/// # Errors
/// flock(2)'s.
pub(crate) fn lock(options: &Options, runroot: &Path) -> anyhow::Result<Option<File>> {
    if !options.userns.as_deref().is_some_and(|mode| mode.starts_with("auto")) {
        return Ok(None);
    }
    let path = runroot.join("user-namespaces.lock");
    let file = File::options().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("opening {}", path.display()))?;
    file.lock().with_context(|| format!("locking {}", path.display()))?;
    Ok(Some(file))
}

/// The mappings asked for; `None` is the host's own users.
///
/// # Errors
/// A malformed map, no free range, or a mode that isn't for a container of root.
pub(crate) fn mappings(options: &Options, containers: &Containers) -> anyhow::Result<Option<Mappings>> {
    if !options.uidmap.is_empty() || !options.gidmap.is_empty() {
        let uids = maps(&options.uidmap).blame("UIDMap", "")?;
        let gids = maps(&options.gidmap).blame("GIDMap", "")?;
        // One list alone serves for both, as in podman-run(1).
        return Ok(Some(Mappings {
            uids: if uids.is_empty() { gids.clone() } else { uids.clone() },
            gids: if gids.is_empty() { uids } else { gids },
        }));
    }
    if let Some(name) = options.subuidname.as_deref().or(options.subgidname.as_deref()) {
        let users = ranges("/etc/subuid", options.subuidname.as_deref().unwrap_or(name))?;
        let groups = ranges("/etc/subgid", options.subgidname.as_deref().unwrap_or(name))?;
        return Ok(Some(Mappings { uids: in_a_row(&users)?, gids: in_a_row(&groups)? }));
    }
    by_mode(options.userns.as_deref().unwrap_or("host"), containers).blame("UserNS", "")
}

fn by_mode(mode: &str, containers: &Containers) -> anyhow::Result<Option<Mappings>> {
    let (mode, rest) = mode.split_once(':').unwrap_or((mode, ""));
    match mode {
        "" | "host" => Ok(None),
        "auto" => auto(rest, containers).map(Some),
        "keep-id" => bail!(
            "keep-id keeps the identity of an unprivileged user, and this container is started by root: use \
             User=, or UserNS=auto for a user namespace"
        ),
        "nomap" => bail!("nomap is for unprivileged users; use UserNS=auto"),
        _ => bail!("there is no mode \"{mode}\"; known are host, auto[:size=N], or UIDMap= and GIDMap="),
    }
}

/// A range of the pool that no live container uses.
fn auto(options: &str, containers: &Containers) -> anyhow::Result<Mappings> {
    let mut size = AUTO_SIZE;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                size = value.parse().with_context(|| format!("{option}: not a number"))?
            }
            _ => bail!("{option}: known is size=N"),
        }
    }
    let used = used(containers)?;
    let free = |pool: Vec<(u32, u32)>, file: &str| -> anyhow::Result<Vec<LinuxIdMapping>> {
        let start = pool
            .iter()
            .find_map(|&(first, count)| first_free(first, count, size, &used))
            .with_context(|| format!("the ranges of \"{POOL}\" in {file} have no {size} users left"))?;
        Ok(vec![mapping(0, start, size)?])
    };
    Ok(Mappings {
        uids: free(ranges("/etc/subuid", POOL)?, "/etc/subuid")?,
        gids: free(ranges("/etc/subgid", POOL)?, "/etc/subgid")?,
    })
}

fn first_free(first: u32, count: u32, size: u32, used: &[(u32, u32)]) -> Option<u32> {
    let mut start = first;
    while start.checked_add(size)? <= first.saturating_add(count) {
        match used.iter().find(|(other, length)| start < other + length && *other < start + size) {
            Some((other, length)) => start = other.checked_add(*length)?,
            None => return Some(start),
        }
    }
    None
}

fn used(containers: &Containers) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut used = Vec::new();
    for container in containers.list()? {
        let Ok(spec) = container.read_spec() else { continue };
        let Some(linux) = spec.linux() else { continue };
        for mapping in linux.uid_mappings().iter().chain(linux.gid_mappings()).flatten() {
            used.push((mapping.host_id(), mapping.size()));
        }
    }
    Ok(used)
}

/// `NAME:FIRST:COUNT` lines, subuid(5).
fn ranges(file: &str, name: &str) -> anyhow::Result<Vec<(u32, u32)>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let ranges = parse_ranges(&text, name);
    ensure!(
        !ranges.is_empty(),
        "{file} has no range for \"{name}\": add a line such as {name}:2147483647:2147483648 to /etc/subuid and /etc/subgid"
    );
    Ok(ranges)
}

fn parse_ranges(text: &str, name: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        (fields.next()? == name).then_some(())?;
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

fn in_a_row(ranges: &[(u32, u32)]) -> anyhow::Result<Vec<LinuxIdMapping>> {
    let mut next = 0;
    let mut maps = Vec::new();
    for &(first, count) in ranges {
        maps.push(mapping(next, first, count)?);
        next += count;
    }
    Ok(maps)
}

fn maps(texts: &[String]) -> anyhow::Result<Vec<LinuxIdMapping>> {
    texts
        .iter()
        .map(|text| {
            let usage = || "write CONTAINER:HOST:COUNT, as in 0:100000:65536".to_string();
            let fields: Vec<u32> =
                text.split(':').map(str::parse).collect::<Result<_, _>>().with_context(usage)?;
            match fields[..] {
                [container, host] => mapping(container, host, 1),
                [container, host, count] => mapping(container, host, count),
                _ => bail!(usage()),
            }
        })
        .collect()
}

fn mapping(container: u32, host: u32, count: u32) -> anyhow::Result<LinuxIdMapping> {
    Ok(LinuxIdMappingBuilder::default().container_id(container).host_id(host).size(count).build()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_free_range_lies_between_used_ones() {
        assert_eq!(first_free(1000, 300, 100, &[]), Some(1000));
        assert_eq!(first_free(1000, 300, 100, &[(1000, 100), (1150, 50)]), Some(1200));
        assert_eq!(first_free(1000, 300, 100, &[(1050, 200)]), None);
    }

    #[test]
    fn owners_on_the_host() {
        let maps = maps(&["0:100000:1000".into(), "1000:5:1".into()]).unwrap();
        let mappings = Mappings { uids: maps.clone(), gids: maps };
        assert_eq!(mappings.on_host(0, 1000), (100_000, 5));
        assert_eq!(mappings.on_host(2000, 999), (65534, 100_999));
    }

    #[test]
    fn maps_and_ranges() {
        assert_eq!(maps(&["0:100000:65536".into()]).unwrap()[0].host_id(), 100_000);
        assert!(maps(&["0".into()]).is_err());
        assert_eq!(parse_ranges("a:1:2\ncontainers:10:20\nbroken\n", "containers"), [(10, 20)]);
    }
}
