//! `--service-user`: the unit's `User=` as the container's root.
//!
//! A unit with `User=` or `DynamicUser=` runs its container as Podman would for that user, without privileges: the
//! container's root is the unit's [`ServiceUser`], its other users come from that user's ranges in `/etc/subuid` and
//! `/etc/subgid`, if there are any. Only the set-up is root's.

use std::fs;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, bail, ensure};

use super::options::Options;
use super::user_namespace::{Mappings, Ranges, SUBGID, SUBUID, in_a_row, mapping, parse_ranges, ranges};
use crate::blame::Blamed as _;

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

    /// One of a test's choice.
    #[cfg(test)]
    pub(super) fn for_test(uid: u32, gid: u32) -> Self {
        Self { uid, gid }
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
    pub(super) fn as_root(self) -> anyhow::Result<Mappings> {
        let map = |id, file| -> anyhow::Result<_> {
            let mut maps = vec![mapping(0, id, 1)?];
            maps.extend(in_a_row(1, &self.ranges(file))?);
            Ok(maps)
        };
        Ok(Mappings { uids: map(self.uid, SUBUID)?, gids: map(self.gid, SUBGID)? })
    }

    /// `keep-id[:uid=N,gid=N]`: this user has the same number in the container, or the one given.
    pub(super) fn as_itself(self, options: &str) -> anyhow::Result<Mappings> {
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
    pub(super) fn as_nobody(self) -> anyhow::Result<Mappings> {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
