//! Mount options in the words of mount(8) and of the OCI runtime specification, as the mount API wants them.

use rustix::mount::MountAttrFlags as A;

use crate::error::{Error, Result};
use crate::sys::MountAttr;

/// The options of one mount, sorted by what they apply to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Attributes of the mount itself.
    pub(crate) attributes: MountAttr,
    /// Attributes of the mount and of all mounts below it (`rro`, `rnosuid`, …).
    pub(crate) recursive: MountAttr,
    /// Propagation, and whether it applies to all mounts below.
    pub(crate) propagation: Option<(u64, bool)>,
    /// `bind` (false) or `rbind` (true).
    pub(crate) bind: Option<bool>,
    /// Copy what is in the directory into the new tmpfs.
    pub(crate) copy_up: bool,
    /// Change the mount that is there already.
    pub(crate) remount: bool,
    /// Map the owners of files.
    pub(crate) map: Option<Map>,
    /// A source that is a symbolic link is made anew instead of being followed (crun).
    pub(crate) copy_symlink: bool,
    /// A source that is a symbolic link is mounted itself (crun).
    pub(crate) source_nofollow: bool,
    /// A destination that is a symbolic link is covered itself (crun).
    pub(crate) destination_nofollow: bool,
    /// Flags that hold for a file system everywhere, not for one mount of it.
    pub(crate) superblock: Vec<&'static str>,
    /// What the file system itself understands: a flag, or a key with a value.
    pub(crate) data: Vec<(String, Option<String>)>,
}

/// How the owners of a mount's files are mapped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Map {
    /// The mounts below, too.
    pub(crate) recursive: bool,
    /// The mappings as crun writes them: `uids=0-1000-10;gids=0-1000-10`.
    pub(crate) mappings: Option<String>,
}

enum Meaning {
    Set(A),
    Clear(A),
    RecursiveSet(A),
    RecursiveClear(A),
    Propagation(u64, bool),
    Bind(bool),
    Superblock(&'static str, bool),
    Own(fn(&mut Options)),
    Nothing,
}

use Meaning::{Bind, Clear, Nothing, Own, Propagation, RecursiveClear, RecursiveSet, Set, Superblock};

/// The options that may have a value in the form of crun.
const MAPS: [(&str, bool); 2] = [("idmap", false), ("ridmap", true)];

/// Every option that isn't the file system's own.
const TABLE: &[(&str, Meaning)] = &[
    ("ro", Set(A::MOUNT_ATTR_RDONLY)),
    ("rw", Clear(A::MOUNT_ATTR_RDONLY)),
    ("nosuid", Set(A::MOUNT_ATTR_NOSUID)),
    ("suid", Clear(A::MOUNT_ATTR_NOSUID)),
    ("nodev", Set(A::MOUNT_ATTR_NODEV)),
    ("dev", Clear(A::MOUNT_ATTR_NODEV)),
    ("noexec", Set(A::MOUNT_ATTR_NOEXEC)),
    ("exec", Clear(A::MOUNT_ATTR_NOEXEC)),
    ("nosymfollow", Set(A::MOUNT_ATTR_NOSYMFOLLOW)),
    ("symfollow", Clear(A::MOUNT_ATTR_NOSYMFOLLOW)),
    ("nodiratime", Set(A::MOUNT_ATTR_NODIRATIME)),
    ("diratime", Clear(A::MOUNT_ATTR_NODIRATIME)),
    ("relatime", Set(A::MOUNT_ATTR_RELATIME)),
    ("norelatime", Clear(A::MOUNT_ATTR_RELATIME)),
    ("noatime", Set(A::MOUNT_ATTR_NOATIME)),
    ("atime", Clear(A::MOUNT_ATTR_NOATIME)),
    ("strictatime", Set(A::MOUNT_ATTR_STRICTATIME)),
    ("nostrictatime", Clear(A::MOUNT_ATTR_STRICTATIME)),
    ("rro", RecursiveSet(A::MOUNT_ATTR_RDONLY)),
    ("rrw", RecursiveClear(A::MOUNT_ATTR_RDONLY)),
    ("rnosuid", RecursiveSet(A::MOUNT_ATTR_NOSUID)),
    ("rsuid", RecursiveClear(A::MOUNT_ATTR_NOSUID)),
    ("rnodev", RecursiveSet(A::MOUNT_ATTR_NODEV)),
    ("rdev", RecursiveClear(A::MOUNT_ATTR_NODEV)),
    ("rnoexec", RecursiveSet(A::MOUNT_ATTR_NOEXEC)),
    ("rexec", RecursiveClear(A::MOUNT_ATTR_NOEXEC)),
    ("rnosymfollow", RecursiveSet(A::MOUNT_ATTR_NOSYMFOLLOW)),
    ("rsymfollow", RecursiveClear(A::MOUNT_ATTR_NOSYMFOLLOW)),
    ("rnodiratime", RecursiveSet(A::MOUNT_ATTR_NODIRATIME)),
    ("rdiratime", RecursiveClear(A::MOUNT_ATTR_NODIRATIME)),
    ("rrelatime", RecursiveSet(A::MOUNT_ATTR_RELATIME)),
    ("rnorelatime", RecursiveClear(A::MOUNT_ATTR_RELATIME)),
    ("rnoatime", RecursiveSet(A::MOUNT_ATTR_NOATIME)),
    ("ratime", RecursiveClear(A::MOUNT_ATTR_NOATIME)),
    ("rstrictatime", RecursiveSet(A::MOUNT_ATTR_STRICTATIME)),
    ("rnostrictatime", RecursiveClear(A::MOUNT_ATTR_STRICTATIME)),
    ("private", Propagation(libc::MS_PRIVATE, false)),
    ("rprivate", Propagation(libc::MS_PRIVATE, true)),
    ("slave", Propagation(libc::MS_SLAVE, false)),
    ("rslave", Propagation(libc::MS_SLAVE, true)),
    ("shared", Propagation(libc::MS_SHARED, false)),
    ("rshared", Propagation(libc::MS_SHARED, true)),
    ("unbindable", Propagation(libc::MS_UNBINDABLE, false)),
    ("runbindable", Propagation(libc::MS_UNBINDABLE, true)),
    ("bind", Bind(false)),
    ("rbind", Bind(true)),
    ("tmpcopyup", Own(|options| options.copy_up = true)),
    ("remount", Own(|options| options.remount = true)),
    ("copy-symlink", Own(|options| options.copy_symlink = true)),
    ("src-nofollow", Own(|options| options.source_nofollow = true)),
    ("dest-nofollow", Own(|options| options.destination_nofollow = true)),
    ("idmap", Own(|options| options.map = Some(Map { recursive: false, mappings: None }))),
    ("ridmap", Own(|options| options.map = Some(Map { recursive: true, mappings: None }))),
    ("sync", Superblock("sync", true)),
    ("async", Superblock("sync", false)),
    ("dirsync", Superblock("dirsync", true)),
    ("lazytime", Superblock("lazytime", true)),
    ("nolazytime", Superblock("lazytime", false)),
    ("mand", Superblock("mand", true)),
    ("nomand", Superblock("mand", false)),
    ("iversion", Superblock("iversion", true)),
    ("noiversion", Superblock("iversion", false)),
    ("defaults", Nothing),
    // What a file system says while it is mounted goes to the one who mounts (fsopen(2)), not to the kernel's log.
    ("silent", Nothing),
    ("loud", Nothing),
];

/// The words of the table, for `sampan-runtime features`.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// The propagation of this name, for `linux.rootfsPropagation`.
pub(crate) fn propagation(name: &str) -> Option<(u64, bool)> {
    TABLE.iter().find_map(|(n, meaning)| match meaning {
        Propagation(flag, recursive) if *n == name => Some((*flag, *recursive)),
        _ => None,
    })
}

impl Options {
    pub(crate) fn parse(words: &[String]) -> Result<Self> {
        let mut options = Options::default();
        for word in words.iter().flat_map(|word| split(word)).filter(|w| !w.is_empty()) {
            match TABLE.iter().find(|(name, _)| *name == word) {
                Some((_, meaning)) => options.apply(meaning),
                None => match map(word) {
                    Some(map) => options.map = Some(map),
                    None => options.data.push(own(word)?),
                },
            }
        }
        Ok(options)
    }

    fn apply(&mut self, meaning: &Meaning) {
        match *meaning {
            Set(flag) => set(&mut self.attributes, flag),
            Clear(flag) => clear(&mut self.attributes, flag),
            RecursiveSet(flag) => set(&mut self.recursive, flag),
            RecursiveClear(flag) => clear(&mut self.recursive, flag),
            Propagation(flag, recursive) => self.propagation = Some((flag, recursive)),
            // Of both words together the stronger counts, as with mount(2)'s flags.
            Bind(recursive) => self.bind = Some(recursive || self.bind == Some(true)),
            Superblock(name, on) => {
                self.superblock.retain(|known| *known != name);
                if on {
                    self.superblock.push(name);
                }
            }
            Own(apply) => apply(self),
            Nothing => {}
        }
    }
}

/// Splits `a,b="c,d"` at commas, but not inside of quotes (SELinux contexts contain commas).
fn split(word: &str) -> Vec<&str> {
    let mut quoted = false;
    word.split(move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    })
    .collect()
}

/// `idmap=…` and `ridmap=…`.
fn map(word: &str) -> Option<Map> {
    MAPS.iter().find_map(|(name, recursive)| {
        let mappings = word.strip_prefix(name)?.strip_prefix('=')?;
        Some(Map { recursive: *recursive, mappings: Some(mappings.to_owned()) })
    })
}

fn own(word: &str) -> Result<(String, Option<String>)> {
    if word.contains('\0') {
        return Err(Error::Invalid {
            what: "mounts.options",
            value: word.to_owned(),
            reason: "an option can't contain a zero byte".into(),
        });
    }
    Ok(match word.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.trim_matches('"').to_owned())),
        None => (word.to_owned(), None),
    })
}

/// Access time is not a set of flags but a field with three values: setting one clears the field.
fn clears(flag: A) -> u64 {
    let times = [A::MOUNT_ATTR_RELATIME, A::MOUNT_ATTR_NOATIME, A::MOUNT_ATTR_STRICTATIME];
    let bits = if times.contains(&flag) { A::MOUNT_ATTR__ATIME } else { flag };
    bits.bits().into()
}

fn set(attributes: &mut MountAttr, flag: A) {
    if clears(flag) == u64::from(A::MOUNT_ATTR__ATIME.bits()) {
        attributes.clear |= clears(flag);
        attributes.set &= !clears(flag);
    } else {
        attributes.clear &= !u64::from(flag.bits());
    }
    attributes.set |= u64::from(flag.bits());
}

fn clear(attributes: &mut MountAttr, flag: A) {
    let field = u64::from(A::MOUNT_ATTR__ATIME.bits());
    if clears(flag) == field {
        // Not this one: what another word has set stays.
        let own = attributes.set & field;
        if flag == A::MOUNT_ATTR_RELATIME || (own != 0 && own != u64::from(flag.bits())) {
            return;
        }
    }
    attributes.set &= !clears(flag);
    // "atime" and "nostrictatime" go back to the kernel's default, which is relatime (0).
    attributes.clear |= clears(flag);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Options {
        Options::parse(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn the_last_word_counts() {
        let ro = u64::from(A::MOUNT_ATTR_RDONLY.bits());
        assert_eq!(parse(&["ro"]).attributes.set, ro);
        assert_eq!(parse(&["ro", "rw"]).attributes.set, 0);
        assert_eq!(parse(&["ro", "rw"]).attributes.clear, ro);
        assert_eq!(parse(&["rw", "ro"]).attributes.clear, 0);
    }

    #[test]
    fn a_recursive_bind_stays_recursive() {
        for words in [&["rbind", "bind"][..], &["bind", "rbind"], &["rbind"]] {
            assert_eq!(parse(words).bind, Some(true), "{words:?}");
        }
        assert_eq!(parse(&["bind"]).bind, Some(false));
    }

    #[test]
    fn access_time_is_one_field() {
        let options = parse(&["noatime", "strictatime"]);
        assert_eq!(options.attributes.set, u64::from(A::MOUNT_ATTR_STRICTATIME.bits()));
        assert_eq!(options.attributes.clear, u64::from(A::MOUNT_ATTR__ATIME.bits()));
    }

    #[test]
    fn one_way_of_access_time_is_not_the_other() {
        let noatime = u64::from(A::MOUNT_ATTR_NOATIME.bits());
        assert_eq!(parse(&["noatime", "norelatime", "nostrictatime"]).attributes.set, noatime);
        assert_eq!(parse(&["noatime", "atime"]).attributes.set, 0);
        assert_eq!(parse(&["norelatime"]).attributes, MountAttr::default());
    }

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let options = parse(&["size=1k,context=\"system_u:object_r:container_file_t:s0:c1,c2\""]);
        assert_eq!(options.data.len(), 2);
        assert_eq!(options.data[1].1.as_deref(), Some("system_u:object_r:container_file_t:s0:c1,c2"));
    }

    #[test]
    fn all_words_of_the_specification_mean_something() {
        let words = "async atime bind defaults dev diratime dirsync exec iversion lazytime loud mand noatime \
                     nodev nodiratime noexec noiversion nolazytime nomand norelatime nostrictatime nosuid \
                     nosymfollow private ratime rbind rdev rdiratime relatime remount rexec rnoatime \
                     rnodiratime rnoexec rnorelatime rnostrictatime rnosuid rnosymfollow ro rprivate rrelatime \
                     rro rrw rshared rslave rstrictatime rsuid rsymfollow runbindable rw shared silent slave \
                     strictatime suid symfollow sync tmpcopyup unbindable idmap ridmap";
        for word in words.split_whitespace() {
            assert!(parse(&[word]).data.is_empty(), "{word} went to the file system");
            assert!(names().any(|name| name == word), "{word} isn't named");
        }
    }

    #[test]
    fn flags_of_the_file_system_are_set_and_cleared() {
        assert_eq!(parse(&["sync", "lazytime", "async"]).superblock, ["lazytime"]);
    }

    #[test]
    fn a_map_may_have_mappings() {
        let map = parse(&["ridmap=uids=0-1-2#3-4-5;gids=0-1-2"]).map.unwrap();
        assert_eq!((map.recursive, map.mappings.as_deref()), (true, Some("uids=0-1-2#3-4-5;gids=0-1-2")));
        assert_eq!(parse(&["idmap"]).map, Some(Map { recursive: false, mappings: None }));
    }

    #[test]
    fn unknown_words_belong_to_the_file_system() {
        let options = parse(&["mode=755", "newinstance", "rbind"]);
        assert_eq!(options.data[0], ("mode".into(), Some("755".into())));
        assert_eq!(options.data[1], ("newinstance".into(), None));
        assert_eq!(options.bind, Some(true));
    }
}
