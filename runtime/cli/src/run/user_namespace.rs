//! `--userns`, `--uidmap` and their like: which users of the host the container's users are.
//!
//! A unit with `User=` or `DynamicUser=` runs its container as Podman would for that user, without privileges: the
//! container's root is the unit's [`ServiceUser`], its other users come from that user's ranges in `/etc/subuid` and
//! `/etc/subgid`, if there are any. Only the set-up is root's.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use oci_spec::runtime::{Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, Spec};

use super::groups::Users;
use super::options::Options;
use crate::blame::Blamed as _;
use crate::context::Context as Places;

/// Podman's name for the ranges that `auto` draws from.
const POOL: &str = "containers";
/// Users of an `auto` container that doesn't say how many.
const AUTO_SIZE: u32 = 65536;
const SUBUID: &str = "/etc/subuid";
const SUBGID: &str = "/etc/subgid";
/// Who ids belong to that are not mapped.
const NOBODY: u32 = 65534;

/// First ids and counts.
type Ranges = Vec<(u32, u32)>;

/// The user that the unit's `User=`, `Group=` and `DynamicUser=` name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ServiceUser {
    uid: u32,
    gid: u32,
}

impl ServiceUser {
    /// The owner of the unit's first runtime directory, which systemd has given to it. `$USER` has no group and no
    /// number, and for a dynamic user the host's name service may not know it.
    ///
    /// # Errors
    /// The unit has no runtime directory, or it is root's.
    pub(crate) fn current(options: &Options) -> anyhow::Result<Option<Self>> {
        if !options.service_user {
            return Ok(None);
        }
        let directories = std::env::var("RUNTIME_DIRECTORY").context(
            "--service-user is for units with User= and RuntimeDirectory=; here is no $RUNTIME_DIRECTORY",
        )?;
        let directory = directories.split(':').next().unwrap_or_default();
        let owner =
            fs::metadata(directory).with_context(|| format!("looking whom {directory} belongs to"))?;
        ensure!(
            owner.uid() != 0 && owner.gid() != 0,
            "{directory} belongs to {}:{}, so the container's root would be the host's: User= and Group= in [Service] \
             must name an ordinary user",
            owner.uid(),
            owner.gid()
        );
        Ok(Some(Self { uid: owner.uid(), gid: owner.gid() }))
    }

    /// Its ranges in a file of subuid(5), by name or by number; often there are none.
    fn ranges(self, file: &str) -> Vec<(u32, u32)> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let named = parse_ranges(&text, &self.name());
        if named.is_empty() { parse_ranges(&text, &self.uid.to_string()) } else { named }
    }

    /// Its name, or its number if it has none.
    fn name(self) -> String {
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::from_raw(self.uid));
        user.ok().flatten().map_or_else(|| self.uid.to_string(), |user| user.name)
    }

    /// Container root is this user, the other users are its ranges.
    fn as_root(self) -> anyhow::Result<Mappings> {
        let map = |id, file| -> anyhow::Result<_> {
            let mut maps = vec![mapping(0, id, 1)?];
            maps.extend(in_a_row(1, &self.ranges(file))?);
            Ok(maps)
        };
        Ok(Mappings { uids: map(self.uid, SUBUID)?, gids: map(self.gid, SUBGID)? })
    }

    /// `keep-id[:uid=N,gid=N]`: this user has the same number in the container, or the one given.
    fn as_itself(self, options: &str) -> anyhow::Result<Mappings> {
        let inside = kept(self, options)?;
        let map = |inside, id, file| -> anyhow::Result<_> {
            let ranges = self.ranges(file);
            ensure!(
                inside == 0 || !ranges.is_empty(),
                "{file} has no range for \"{}\", from which the container's root could be taken: add a line such as \
                 {}:100000:65536 to {SUBUID} and {SUBGID}",
                self.name(),
                self.name()
            );
            let (below, above) = split(&ranges, inside);
            let mut maps = in_a_row(0, &below)?;
            maps.push(mapping(inside, id, 1)?);
            maps.extend(in_a_row(inside + 1, &above)?);
            Ok(maps)
        };
        Ok(Mappings { uids: map(inside.uid, self.uid, SUBUID)?, gids: map(inside.gid, self.gid, SUBGID)? })
    }

    /// `nomap`: this user is not in the container at all.
    fn as_nobody(self) -> anyhow::Result<Mappings> {
        let map = |file| in_a_row(0, &ranges(file, &self.name())?);
        Ok(Mappings { uids: map(SUBUID)?, gids: map(SUBGID)? })
    }
}

/// With `keep-id` the numbers that the unit's user has in the container, which its program runs as unless told
/// otherwise (podman-run(1), `--userns`).
///
/// # Errors
/// A malformed mode.
pub(crate) fn kept_user(
    options: &Options,
    service_user: Option<ServiceUser>,
) -> anyhow::Result<Option<(u32, u32)>> {
    let Some(user) = service_user else { return Ok(None) };
    let Some(rest) = options.users.userns.as_deref().and_then(|mode| mode.strip_prefix("keep-id")) else {
        return Ok(None);
    };
    let kept = kept(user, rest.trim_start_matches(':')).blame("UserNS", "")?;
    Ok(Some((kept.uid, kept.gid)))
}

fn kept(user: ServiceUser, options: &str) -> anyhow::Result<ServiceUser> {
    let mut kept = user;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let number = |value: &str| value.parse().with_context(|| format!("{option}: not a number"));
        match option.split_once('=') {
            Some(("uid", value)) => kept.uid = number(value)?,
            Some(("gid", value)) => kept.gid = number(value)?,
            _ => bail!("{option}: known are uid=N and gid=N"),
        }
    }
    Ok(kept)
}

/// The first `count` ids of some ranges, and the others.
fn split(ranges: &[(u32, u32)], count: u32) -> (Ranges, Ranges) {
    let (mut below, mut above, mut left) = (Vec::new(), Vec::new(), count);
    for &(first, length) in ranges {
        let taken = length.min(left);
        left -= taken;
        below.extend((taken > 0).then_some((first, taken)));
        above.extend((taken < length).then_some((first + taken, length - taken)));
    }
    (below, above)
}

/// Both mappings, never empty.
#[derive(Debug, Clone)]
pub(crate) struct Mappings {
    pub(crate) uids: Vec<LinuxIdMapping>,
    pub(crate) gids: Vec<LinuxIdMapping>,
}

impl Mappings {
    /// Those of a running container; `None` without a user namespace.
    pub(crate) fn of(spec: &Spec) -> Option<Self> {
        let linux = spec.linux().as_ref()?;
        Some(Self { uids: linux.uid_mappings().clone()?, gids: linux.gid_mappings().clone()? })
    }

    /// As a part of the Spec.
    ///
    /// # Errors
    /// oci-spec's, never for mappings made here.
    pub(crate) fn linux(&self) -> anyhow::Result<Linux> {
        Ok(LinuxBuilder::default().uid_mappings(self.uids.clone()).gid_mappings(self.gids.clone()).build()?)
    }

    /// The host's user and group that these of the container are; nobody (65534) if they are not mapped.
    pub(crate) fn on_host(&self, uid: u32, gid: u32) -> (u32, u32) {
        (on_host(&self.uids, uid).unwrap_or(NOBODY), on_host(&self.gids, gid).unwrap_or(NOBODY))
    }

    /// Whether the container has this group.
    pub(crate) fn has_group(&self, gid: u32) -> bool {
        on_host(&self.gids, gid).is_some()
    }

    /// Refuses a user or group that the container doesn't have: the kernel would only say "invalid argument".
    ///
    /// # Errors
    /// It is not mapped.
    pub(crate) fn ensure_has(&self, uid: u32, gid: u32) -> anyhow::Result<()> {
        let missing = [(&self.uids, "user", uid), (&self.gids, "group", gid)]
            .into_iter()
            .find(|(maps, _, id)| on_host(maps, *id).is_none());
        let Some((_, kind, id)) = missing else { return Ok(()) };
        bail!(
            "the container's user namespace has no {kind} {id}: give it more users, with ranges of the unit's User= in \
             {SUBUID} and {SUBGID}, or with UserNS=auto"
        )
    }
}

fn on_host(mappings: &[LinuxIdMapping], id: u32) -> Option<u32> {
    let inside = |mapping: &&LinuxIdMapping| {
        id >= mapping.container_id() && id - mapping.container_id() < mapping.size()
    };
    mappings.iter().find(inside).map(|mapping| mapping.host_id() + (id - mapping.container_id()))
}

/// Keeps other starts from choosing a range for `auto` at the same time; nothing to lock for other modes.
///
/// # Errors
/// flock(2)'s.
pub(crate) fn lock(options: &Users, runroot: &Path) -> anyhow::Result<Option<File>> {
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
pub(crate) fn mappings(
    options: &Users,
    context: &Places,
    service_user: Option<ServiceUser>,
) -> anyhow::Result<Option<Mappings>> {
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
        let users = ranges(SUBUID, options.subuidname.as_deref().unwrap_or(name))?;
        let groups = ranges(SUBGID, options.subgidname.as_deref().unwrap_or(name))?;
        return Ok(Some(Mappings { uids: in_a_row(0, &users)?, gids: in_a_row(0, &groups)? }));
    }
    by_mode(options.userns.as_deref().unwrap_or("host"), context, service_user).blame("UserNS", "")
}

fn by_mode(
    mode: &str,
    context: &Places,
    service_user: Option<ServiceUser>,
) -> anyhow::Result<Option<Mappings>> {
    let (mode, rest) = mode.split_once(':').unwrap_or((mode, ""));
    match (mode, service_user) {
        ("" | "host", None) => Ok(None),
        // To an unprivileged user "host" is a namespace of its own users, and never the host's root.
        ("" | "host", Some(user)) => user.as_root().map(Some),
        ("auto", _) => auto(rest, context).map(Some),
        ("keep-id", Some(user)) => user.as_itself(rest).map(Some),
        ("nomap", Some(user)) => user.as_nobody().map(Some),
        ("keep-id" | "nomap", None) => bail!(
            "{mode} is about the identity of an unprivileged user, and this container is started by root: add User= to \
             [Service], or use UserNS=auto for a user namespace"
        ),
        _ => bail!(
            "there is no mode \"{mode}\"; known are host, auto[:size=N], keep-id and nomap with User= in [Service], or \
             UIDMap= and GIDMap="
        ),
    }
}

/// A range of the pool that no container and no pod uses.
fn auto(options: &str, context: &Places) -> anyhow::Result<Mappings> {
    let mut size = AUTO_SIZE;
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=') {
            Some(("size", value)) => {
                size = value.parse().with_context(|| format!("{option}: not a number"))?
            }
            _ => bail!("{option}: known is size=N"),
        }
    }
    let used = used(context)?;
    let free = |pool: Vec<(u32, u32)>, file: &str| -> anyhow::Result<Vec<LinuxIdMapping>> {
        let start = pool
            .iter()
            .find_map(|&(first, count)| first_free(first, count, size, &used))
            .with_context(|| format!("the ranges of \"{POOL}\" in {file} have no {size} users left"))?;
        Ok(vec![mapping(0, start, size)?])
    };
    Ok(Mappings { uids: free(ranges(SUBUID, POOL)?, SUBUID)?, gids: free(ranges(SUBGID, POOL)?, SUBGID)? })
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

fn used(context: &Places) -> anyhow::Result<Vec<(u32, u32)>> {
    let mut used = Vec::new();
    for pod in context.pods().list()? {
        let Ok(pod) = pod.read() else { continue };
        let mappings = pod.uid_mappings.iter().chain(&pod.gid_mappings);
        used.extend(mappings.map(|mapping| (mapping.host_id(), mapping.size())));
    }
    for container in context.containers()?.list()? {
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

/// These ranges of the host as ids of the container, without gaps from `first_inside` on.
fn in_a_row(first_inside: u32, ranges: &[(u32, u32)]) -> anyhow::Result<Vec<LinuxIdMapping>> {
    let mut next = first_inside;
    let mut maps = Vec::new();
    for &(first, count) in ranges {
        maps.push(mapping(next, first, count)?);
        next = next.checked_add(count).context("more users than there are numbers")?;
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
    fn a_kept_user_lies_between_its_ranges() {
        let ranges = [(100_000, 1000), (200_000, 65536)];
        let (below, above) = split(&ranges, 1500);
        assert_eq!(below, [(100_000, 1000), (200_000, 500)]);
        assert_eq!(above, [(200_500, 65036)]);
        assert_eq!(split(&ranges, 0), (vec![], ranges.to_vec()));
        let user = ServiceUser { uid: 33, gid: 33 };
        assert_eq!(kept(user, "").unwrap(), user);
        assert_eq!(kept(user, "uid=5,gid=6").unwrap(), ServiceUser { uid: 5, gid: 6 });
        assert!(kept(user, "uid=x").is_err() && kept(user, "size=1").is_err());
    }

    #[test]
    fn users_that_are_not_there_are_refused() {
        let maps = vec![mapping(0, 33, 1).unwrap()];
        let mappings = Mappings { uids: maps.clone(), gids: maps };
        assert!(mappings.ensure_has(0, 0).is_ok());
        assert!(mappings.ensure_has(0, 5).unwrap_err().to_string().contains("no group 5"));
        assert!(!mappings.has_group(1) && mappings.has_group(0));
    }

    #[test]
    fn maps_and_ranges() {
        assert_eq!(maps(&["0:100000:65536".into()]).unwrap()[0].host_id(), 100_000);
        assert!(maps(&["0".into()]).is_err());
        assert_eq!(parse_ranges("a:1:2\ncontainers:10:20\nbroken\n", "containers"), [(10, 20)]);
    }
}
