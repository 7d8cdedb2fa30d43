//! `--userns`, `--uidmap` and their like: which users of the host the container's users are. With `User=` in
//! `[Service]` that depends on a [`ServiceUser`].

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context, anyhow, bail, ensure};
use oci_spec::runtime::{Linux, LinuxBuilder, LinuxIdMapping, LinuxIdMappingBuilder, Spec};

use super::groups::Users;
use super::service_user::ServiceUser;
use crate::blame::Blamed as _;
use crate::context::Context as Places;

/// Podman's name for the ranges that `auto` draws from.
const POOL: &str = "containers";
/// Users of an `auto` container that doesn't say how many.
const AUTO_SIZE: u32 = 65536;
/// Ranges of users, subuid(5).
pub(super) const SUBUID: &str = "/etc/subuid";
/// Ranges of groups, subgid(5).
pub(super) const SUBGID: &str = "/etc/subgid";
/// Who ids belong to that are not mapped.
const NOBODY: u32 = 65534;

/// First ids and counts.
pub(super) type Ranges = Vec<(u32, u32)>;

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
/// A malformed map, no free range, a mode that isn't for a container of root, or one's own choice of the host's users
/// beside `--service-user`.
pub(crate) fn mappings(
    options: &Users,
    context: &Places,
    service_user: Option<ServiceUser>,
) -> anyhow::Result<Option<Mappings>> {
    if service_user.is_some() {
        ensure_unchosen(options)?;
    }
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

/// `User=` in `[Service]` promises that the container has that user's rights and no others: a map of the unit's own
/// choice could give it the host's root.
fn ensure_unchosen(options: &Users) -> anyhow::Result<()> {
    let chosen = [
        ("UIDMap", options.uidmap.first()),
        ("GIDMap", options.gidmap.first()),
        ("SubUIDMap", options.subuidname.as_ref()),
        ("SubGIDMap", options.subgidname.as_ref()),
    ];
    match chosen.into_iter().find_map(|(key, value)| Some((key, value?))) {
        None => Ok(()),
        Some((key, value)) => Err(anyhow!(
            "with User= in [Service] the container's users are that user and its ranges in {SUBUID} and {SUBGID}: \
             remove {key}=, or use UserNS="
        ))
        .blame(key, value),
    }
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
pub(super) fn ranges(file: &str, name: &str) -> anyhow::Result<Vec<(u32, u32)>> {
    let text = fs::read_to_string(file).with_context(|| format!("reading {file}"))?;
    let ranges = parse_ranges(&text, name);
    ensure!(
        !ranges.is_empty(),
        "{file} has no range for \"{name}\": add a line such as {name}:2147483647:2147483648 to /etc/subuid and /etc/subgid"
    );
    Ok(ranges)
}

pub(super) fn parse_ranges(text: &str, name: &str) -> Vec<(u32, u32)> {
    let range = |line: &str| {
        let mut fields = line.trim().split(':');
        (fields.next()? == name).then_some(())?;
        Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
    };
    text.lines().filter_map(range).collect()
}

/// These ranges of the host as ids of the container, without gaps from `first_inside` on.
pub(super) fn in_a_row(first_inside: u32, ranges: &[(u32, u32)]) -> anyhow::Result<Vec<LinuxIdMapping>> {
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

pub(super) fn mapping(container: u32, host: u32, count: u32) -> anyhow::Result<LinuxIdMapping> {
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
    fn users_that_are_not_there_are_refused() {
        let maps = vec![mapping(0, 33, 1).unwrap()];
        let mappings = Mappings { uids: maps.clone(), gids: maps };
        assert!(mappings.ensure_has(0, 0).is_ok());
        assert!(mappings.ensure_has(0, 5).unwrap_err().to_string().contains("no group 5"));
        assert!(!mappings.has_group(1) && mappings.has_group(0));
    }

    /// `User=web` with `UIDMap=0:0:65536` would make the container's root the host's.
    #[test]
    fn a_service_user_has_no_other_users_than_its_own() {
        let given = || Some("containers".to_owned());
        let map = || vec!["0:0:65536".to_owned()];
        let places = Places::new("/nowhere/r".into(), "/nowhere/s".into());
        let user = Some(ServiceUser::for_test(33, 33));
        for (key, options) in [
            ("UIDMap", Users { uidmap: map(), ..Users::default() }),
            ("GIDMap", Users { gidmap: map(), ..Users::default() }),
            ("SubUIDMap", Users { subuidname: given(), ..Users::default() }),
            ("SubGIDMap", Users { subgidname: given(), ..Users::default() }),
        ] {
            let error = mappings(&options, &places, user).unwrap_err();
            assert!(format!("{error:#}").contains(&format!("remove {key}=")), "{key}: {error:#}");
        }
        let maps = Users { uidmap: map(), ..Users::default() };
        assert!(mappings(&maps, &places, None).unwrap().is_some());
        assert_eq!(mappings(&Users::default(), &places, user).unwrap().unwrap().on_host(0, 0), (33, 33));
    }

    #[test]
    fn maps_and_ranges() {
        assert_eq!(maps(&["0:100000:65536".into()]).unwrap()[0].host_id(), 100_000);
        assert!(maps(&["0".into()]).is_err());
        assert_eq!(parse_ranges("a:1:2\ncontainers:10:20\nbroken\n", "containers"), [(10, 20)]);
    }
}
