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
    /// What the file system itself understands: a flag, or a key with a value.
    pub(crate) data: Vec<(String, Option<String>)>,
}

enum Meaning {
    Set(A),
    Clear(A),
    RecursiveSet(A),
    RecursiveClear(A),
    Propagation(u64, bool),
    Bind(bool),
    CopyUp,
    Nothing,
}

use Meaning::{Bind, Clear, CopyUp, Nothing, Propagation, RecursiveClear, RecursiveSet, Set};

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
    ("tmpcopyup", CopyUp),
    ("defaults", Nothing),
    ("async", Nothing),
    ("nomand", Nothing),
    ("loud", Nothing),
    ("nolazytime", Nothing),
    ("noiversion", Nothing),
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
                None => options.data.push(own(word)?),
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
            Bind(recursive) => self.bind = Some(recursive),
            CopyUp => self.copy_up = true,
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

fn own(word: &str) -> Result<(String, Option<String>)> {
    if word.contains('\0') {
        return Err(Error::Invalid {
            what: "mounts.options",
            value: word.to_owned(),
            reason: "an option can't contain a zero byte".into(),
        });
    }
    if let "idmap" | "ridmap" = word {
        return Err(Error::Unsupported {
            what: format!("the mount option {word}"),
            reason: "identifiers of single mounts aren't mapped".into(),
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
    attributes.set &= !clears(flag);
    // "atime", "norelatime", "nostrictatime" go back to the kernel's default, which is relatime (0).
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
    fn access_time_is_one_field() {
        let options = parse(&["noatime", "strictatime"]);
        assert_eq!(options.attributes.set, u64::from(A::MOUNT_ATTR_STRICTATIME.bits()));
        assert_eq!(options.attributes.clear, u64::from(A::MOUNT_ATTR__ATIME.bits()));
    }

    #[test]
    fn a_comma_in_quotes_separates_nothing() {
        let options = parse(&["size=1k,context=\"system_u:object_r:container_file_t:s0:c1,c2\""]);
        assert_eq!(options.data.len(), 2);
        assert_eq!(options.data[1].1.as_deref(), Some("system_u:object_r:container_file_t:s0:c1,c2"));
    }

    #[test]
    fn unknown_words_belong_to_the_file_system() {
        let options = parse(&["mode=755", "newinstance", "rbind"]);
        assert_eq!(options.data[0], ("mode".into(), Some("755".into())));
        assert_eq!(options.data[1], ("newinstance".into(), None));
        assert_eq!(options.bind, Some(true));
    }
}
