//! Mounts whose files show other owners than they have on disk (mount_setattr(2), "ID-mapped mounts").
//!
//! A mapping comes as a user namespace. It is that of the mount (`uidMappings` and `gidMappings`, or crun's words in
//! the option), else the container's. Namespaces for mappings are made in the caller, one for all mounts that have
//! the same.

use std::cell::RefCell;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxIdMappingBuilder, LinuxNamespaceType, Mount};

use super::options::{Map, Options};
use crate::error::{Call, Error, Result};
use crate::mapping::Mappings;
use crate::namespaces::Namespaces;
use crate::sys::{self, MountAttr};

/// A mapping for one mount.
#[derive(Debug)]
pub(crate) struct Idmap {
    namespace: OwnedFd,
    recursive: bool,
}

/// Finds the mappings of a container's mounts.
#[derive(Debug)]
pub(crate) struct Mapper<'a> {
    linux: &'a Linux,
    privileged: bool,
    own: bool,
    joined: Option<&'a OwnedFd>,
    made: RefCell<Vec<(Mappings, OwnedFd)>>,
}

impl<'a> Mapper<'a> {
    pub(crate) fn new(linux: &'a Linux, namespaces: &'a Namespaces) -> Self {
        Mapper {
            linux,
            privileged: true,
            own: namespaces.is_new(LinuxNamespaceType::User),
            joined: namespaces.joined(LinuxNamespaceType::User),
            made: RefCell::default(),
        }
    }

    /// Of a container that isn't made by root: it maps nothing.
    pub(crate) fn unprivileged(linux: &'a Linux) -> Self {
        Mapper { linux, privileged: false, own: true, joined: None, made: RefCell::default() }
    }

    /// The mapping of a mount; none if it doesn't ask for one.
    ///
    /// # Errors
    /// Mappings of users without groups or the other way round, words that are none, no mapping at all.
    pub(crate) fn find(&self, mount: &Mount, options: &Options) -> Result<Option<Idmap>> {
        let list = |mappings: &Option<Vec<LinuxIdMapping>>| mappings.clone().unwrap_or_default();
        let given = Mappings { users: list(mount.uid_mappings()), groups: list(mount.gid_mappings()) };
        let given = match (given.users.is_empty(), given.groups.is_empty()) {
            (true, true) => None,
            (false, false) => Some(given),
            _ => return Err(invalid(mount.destination(), "uidMappings and gidMappings belong together")),
        };
        // Mappings without the option are meant all the same: nothing else could be.
        let plain = Map { recursive: false, mappings: None };
        let Some(map) = options.map.as_ref().or(given.as_ref().map(|_| &plain)) else {
            return Ok(None);
        };
        if !self.privileged {
            return Err(Error::Unsupported {
                what: format!("mapping the owners of files in {}", mount.destination().display()),
                reason: "it takes root's privileges over the file system".into(),
            });
        }
        let given = match (given, &map.mappings) {
            (Some(given), None) => Some(given),
            (None, Some(words)) => Some(self.parse(words, mount.destination())?),
            (None, None) => None,
            _ => {
                return Err(invalid(
                    mount.destination(),
                    "the option idmap has mappings, and the mount, too",
                ));
            }
        };
        let namespace = match (given, self.joined) {
            (Some(mappings), _) => self.namespace(mappings)?,
            (None, Some(joined)) => joined.try_clone().call(|| "dup(user namespace)".into())?,
            (None, None) if self.own => self.namespace(Mappings::of(self.linux))?,
            (None, None) => {
                return Err(invalid(
                    mount.destination(),
                    "idmap without mappings means those of the container's user namespace, and it has none",
                ));
            }
        };
        Ok(Some(Idmap { namespace, recursive: map.recursive }))
    }

    fn namespace(&self, mappings: Mappings) -> Result<OwnedFd> {
        let mut made = self.made.borrow_mut();
        if let Some((_, known)) = made.iter().find(|(known, _)| *known == mappings) {
            return known.try_clone().call(|| "dup(user namespace)".into());
        }
        let namespace = mappings.namespace()?;
        let copy = namespace.try_clone().call(|| "dup(user namespace)".into())?;
        made.push((mappings, namespace));
        Ok(copy)
    }

    /// crun's words: `uids=0-1000-10#10-5000-1;gids=@0-1-10`. Each is the first id on disk, the first id that it
    /// shows as, and how many; with `@` the second is one of the container.
    fn parse(&self, words: &str, destination: &Path) -> Result<Mappings> {
        let refuse =
            || invalid(destination, &format!("{words:?} is no mapping like uids=0-1000-10;gids=0-1000-10"));
        let mut mappings = Mappings::default();
        for part in words.split(';').filter(|part| !part.is_empty()) {
            let (key, ranges) = part.split_once('=').ok_or_else(refuse)?;
            let (list, container) = match key {
                "uids" => (&mut mappings.users, self.linux.uid_mappings()),
                "gids" => (&mut mappings.groups, self.linux.gid_mappings()),
                _ => return Err(refuse()),
            };
            let container = container.as_deref().unwrap_or_default();
            for range in ranges.split('#') {
                list.push(parse_range(range, container).ok_or_else(refuse)?);
            }
        }
        match mappings.users.is_empty() || mappings.groups.is_empty() {
            true => Err(refuse()),
            false => Ok(mappings),
        }
    }
}

fn parse_range(text: &str, container: &[LinuxIdMapping]) -> Option<LinuxIdMapping> {
    let (relative, text) = text.strip_prefix('@').map_or((false, text), |rest| (true, rest));
    let mut numbers = text.split('-').map(|n| n.parse::<u32>().ok());
    let (disk, mut shown, size) = (numbers.next()??, numbers.next()??, numbers.next()??);
    if numbers.next().is_some() {
        return None;
    }
    if relative {
        let place = |m: &LinuxIdMapping| shown.checked_sub(m.container_id()).filter(|at| *at < m.size());
        shown = container.iter().find_map(|m| place(m)?.checked_add(m.host_id()))?;
    }
    LinuxIdMappingBuilder::default().container_id(disk).host_id(shown).size(size).build().ok()
}

fn invalid(destination: &Path, reason: &str) -> Error {
    Error::Invalid { what: "mounts", value: destination.display().to_string(), reason: reason.to_owned() }
}

impl Idmap {
    /// Maps a detached mount that has no place yet: one that is seen can't be mapped any more.
    pub(crate) fn apply(&self, mount: &OwnedFd, destination: &Path) -> Result<()> {
        let attributes = MountAttr {
            set: libc::MOUNT_ATTR_IDMAP,
            userns: self.namespace.as_raw_fd() as u64,
            ..MountAttr::default()
        };
        let mapped = sys::mount_setattr(mount.as_fd(), self.recursive, &attributes);
        mapped.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL | libc::EOPNOTSUPP) => Error::Unsupported {
                what: format!("mapping the owners of files in {}", destination.display()),
                reason: "its file system, or this kernel for it, has no ID-mapped mounts".into(),
            },
            _ => Error::Call {
                call: format!("mount_setattr({}, MOUNT_ATTR_IDMAP)", destination.display()),
                source: error,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Option<(u32, u32, u32)> {
        let container = LinuxIdMappingBuilder::default().container_id(1u32).host_id(2u32).size(1000u32);
        parse_range(text, &[container.build().unwrap()]).map(|m| (m.container_id(), m.host_id(), m.size()))
    }

    #[test]
    fn ranges_are_absolute_or_the_containers() {
        assert_eq!(range("0-1-10"), Some((0, 1, 10)));
        assert_eq!(range("@1-3-10"), Some((1, 4, 10)));
        for bad in ["", "0", "0-1", "0-1-2-3", "a-1-2", "@0-5000-1", "0--1-2"] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
