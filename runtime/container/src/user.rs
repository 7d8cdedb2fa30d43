//! Who a container runs as: names are looked up in the container's own `/etc/passwd` and `/etc/group`.
//!
//! Those files are the image's, so they are opened inside of the root only, must be regular files, are read
//! without waiting and to a limited size (CVE-2024-9676: a link or FIFO in their place; GO-2026-5475: files
//! without end). A number that is no id is an error, never 0 (CVE-2026-30892, GO-2026-5378).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};

use crate::error::{Call, Error, Result};
use crate::rootfs::{Links, Root};

/// Largest user or group file that is read.
const MAX_SIZE: u64 = 10 << 20;

/// Most groups that a user is looked up in; the kernel allows 65536 (NGROUPS_MAX).
const MAX_GROUPS: usize = 65536;

/// Largest id: -1 means "no change" to system calls.
const MAX_ID: u32 = u32::MAX - 1;

/// A user, resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// User id inside the container.
    pub uid: u32,
    /// Primary group id inside the container.
    pub gid: u32,
    /// Supplementary groups in ascending order, without repetition.
    pub additional_gids: Vec<u32>,
    /// Home directory, `/` if the container knows none.
    pub home: PathBuf,
    /// The name, if the container knows one.
    pub name: Option<String>,
}

/// Resolves `spec` ("", `name`, `uid`, `name:group`, `uid:gid`) and `extra_groups` (names or numbers) inside `root`.
///
/// A user that the container's files list is in the groups that they list him in, unless a group is given, which
/// then is the only one. A number needs no entry; its group is 0 then.
///
/// # Errors
/// [`Error::NoSuchUser`] for an unknown name, [`Error::Invalid`] for anything that is neither name nor id.
pub fn resolve(root: BorrowedFd<'_>, spec: &str, extra_groups: &[String]) -> Result<User> {
    let root = Root::new(root);
    let (who, group) = match spec.split_once(':') {
        Some((who, group)) => (who, Some(group)),
        None => (spec, None),
    };
    let passwd = read(&root, "/etc/passwd")?;
    let entry = match who {
        "" => passwd_entries(&passwd).find(|e| e.uid == 0),
        who => find_user(&passwd, who)?,
    };
    let uid = match (&entry, number(who)) {
        (Some(entry), _) => entry.uid,
        (None, None) if who.is_empty() => 0,
        (None, Some(uid)) => id("user", who, uid)?,
        (None, None) => return Err(no_such("user", who, "/etc/passwd")),
    };
    let groups = read(&root, "/etc/group")?;
    let mut additional = BTreeSet::new();
    let gid = match group {
        Some("") => return Err(invalid("user", spec, "a group must follow the colon")),
        Some(group) => find_group(&groups, group)?,
        None => {
            if let Some(entry) = &entry {
                let member = |g: &Group<'_>| g.members.split(',').any(|m| m == entry.name);
                additional.extend(group_entries(&groups).filter(member).map(|g| g.gid).take(MAX_GROUPS));
            }
            entry.as_ref().map_or(0, |e| e.gid)
        }
    };
    for group in extra_groups {
        additional.insert(find_group(&groups, group)?);
    }
    Ok(User {
        uid,
        gid,
        additional_gids: additional.into_iter().collect(),
        home: entry.as_ref().map_or("/", |e| e.home).into(),
        name: entry.map(|e| e.name.to_owned()),
    })
}

/// The home directory of `uid` according to the files of the *current* root, `/` if they know none.
pub(crate) fn home(uid: u32) -> PathBuf {
    let root = rustix::fs::openat(CWD, c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let passwd = root.ok().and_then(|root| read(&Root::new(root.as_fd()), "/etc/passwd").ok());
    let passwd = passwd.unwrap_or_default();
    let home = passwd_entries(&passwd).find(|e| e.uid == uid).map(|e| e.home);
    home.filter(|h| !h.is_empty()).unwrap_or("/").into()
}

struct Entry<'a> {
    name: &'a str,
    uid: u32,
    gid: u32,
    home: &'a str,
}

struct Group<'a> {
    name: &'a str,
    gid: u32,
    members: &'a str,
}

/// The lines of passwd(5) that make sense; others are skipped, as libc does.
fn passwd_entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let (uid, gid) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
        let home = fields.nth(1).filter(|h| h.starts_with('/')).unwrap_or("/");
        (uid <= MAX_ID && gid <= MAX_ID && !name.is_empty()).then_some(Entry { name, uid, gid, home })
    })
}

fn group_entries(text: &str) -> impl Iterator<Item = Group<'_>> {
    text.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let (name, _) = (fields.next()?, fields.next()?);
        let gid = fields.next()?.parse().ok().filter(|&gid: &u32| gid <= MAX_ID)?;
        Some(Group { name, gid, members: fields.next().unwrap_or_default() })
    })
}

/// A name goes before a number: a user may be called `1000`.
fn find_user<'a>(passwd: &'a str, who: &str) -> Result<Option<Entry<'a>>> {
    if let Some(entry) = passwd_entries(passwd).find(|e| e.name == who) {
        return Ok(Some(entry));
    }
    match number(who) {
        Some(uid) => {
            let uid = id("user", who, uid)?;
            Ok(passwd_entries(passwd).find(|e| e.uid == uid))
        }
        None => Err(no_such("user", who, "/etc/passwd")),
    }
}

fn find_group(groups: &str, group: &str) -> Result<u32> {
    if let Some(found) = group_entries(groups).find(|g| g.name == group) {
        return Ok(found.gid);
    }
    match number(group) {
        Some(gid) => id("group", group, gid),
        None => Err(no_such("group", group, "/etc/group")),
    }
}

/// The number that `text` is, if it consists of digits; too large ones become one that is out of range.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

fn id(what: &'static str, text: &str, number: u64) -> Result<u32> {
    u32::try_from(number)
        .ok()
        .filter(|&id| id <= MAX_ID)
        .ok_or_else(|| invalid(what, text, "an id is a number from 0 to 4294967294"))
}

fn invalid(what: &'static str, value: &str, reason: &str) -> Error {
    Error::Invalid { what, value: value.to_owned(), reason: reason.to_owned() }
}

fn no_such(kind: &'static str, name: &str, file: &'static str) -> Error {
    Error::NoSuchUser { kind, name: name.to_owned(), file }
}

/// Reads a file of the image. A missing one is empty.
fn read(root: &Root<'_>, path: &str) -> Result<String> {
    let call = || format!("read(rootfs, {path})");
    let odd = |reason: &str| Error::File { path: path.into(), reason: format!("in the image, {reason}") };
    // Looked at before it is opened for reading: opening a device can do things already.
    let reading = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY;
    let mut opened = None;
    for flags in [OFlags::PATH, reading] {
        let Some(file) = root.find(Path::new(path), flags, Links::Follow)? else {
            return Ok(String::new());
        };
        let stat = rustix::fs::fstat(&file).call(call)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            return Err(odd("this is no regular file"));
        }
        opened = Some(file);
    }
    let Some(file) = opened else { return Ok(String::new()) };
    let mut bytes = Vec::new();
    File::from(file).take(MAX_SIZE + 1).read_to_end(&mut bytes).call(call)?;
    if bytes.len() as u64 > MAX_SIZE {
        return Err(odd("this is larger than 10 MiB"));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::OwnedFd;

    use super::*;

    fn image(passwd: &str, group: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        fs::write(dir.path().join("etc/passwd"), passwd).unwrap();
        fs::write(dir.path().join("etc/group"), group).unwrap();
        dir
    }

    fn debian() -> tempfile::TempDir {
        image(
            "root:x:0:0:root:/root:/bin/sh\nbad line\nwww:x:33:33::/var/www:/bin/false\n1000:x:7:8::/seven:\n",
            "root:x:0:\nwww:x:33:\nssl:x:101:www,other\naudio:x:29:www\n",
        )
    }

    fn ask(dir: &tempfile::TempDir, spec: &str, extra: &[&str]) -> Result<User> {
        let root: OwnedFd = fs::File::open(dir.path()).unwrap().into();
        let extra: Vec<_> = extra.iter().map(|g| (*g).to_owned()).collect();
        resolve(root.as_fd(), spec, &extra)
    }

    fn ids(user: User) -> (u32, u32, Vec<u32>) {
        (user.uid, user.gid, user.additional_gids)
    }

    #[test]
    fn every_form() {
        let dir = debian();
        assert_eq!(ids(ask(&dir, "", &[]).unwrap()), (0, 0, vec![]));
        assert_eq!(ids(ask(&dir, "www", &[]).unwrap()), (33, 33, vec![29, 101]));
        assert_eq!(ids(ask(&dir, "33", &[]).unwrap()), (33, 33, vec![29, 101]));
        assert_eq!(ids(ask(&dir, "33:0", &[]).unwrap()), (33, 0, vec![]));
        assert_eq!(ids(ask(&dir, "www:ssl", &["audio", "5"]).unwrap()), (33, 101, vec![5, 29]));
        assert_eq!(ids(ask(&dir, "1", &[]).unwrap()), (1, 0, vec![]));
        assert_eq!(ids(ask(&dir, "1000", &[]).unwrap()), (7, 8, vec![]));
        assert_eq!(ask(&dir, "www", &[]).unwrap().home, Path::new("/var/www"));
        assert_eq!(ask(&dir, "4242", &[]).unwrap().home, Path::new("/"));
    }

    #[test]
    fn nonsense_is_an_error_and_never_root() {
        let dir = debian();
        for spec in [
            "nobody",
            "www:",
            ":",
            "-1",
            "33:nobody",
            "4294967295",
            "18446744073709551616",
            "0x0",
            "33:-1",
            "+0",
            " ",
            "33:4294967295",
        ] {
            assert!(ask(&dir, spec, &[]).is_err(), "{spec:?}");
        }
        assert!(ask(&dir, "", &["nogroup"]).is_err());
    }

    #[test]
    fn links_stay_in_the_image_and_fifos_do_not_block() {
        let dir = image("", "");
        let passwd = dir.path().join("etc/passwd");
        fs::remove_file(&passwd).unwrap();
        std::os::unix::fs::symlink("/../../../../etc/shadow", &passwd).unwrap();
        assert_eq!(ids(ask(&dir, "", &[]).unwrap()), (0, 0, vec![]));
        fs::remove_file(&passwd).unwrap();
        nix::unistd::mkfifo(&passwd, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(ask(&dir, "", &[]).unwrap_err().to_string().contains("no regular file"));
    }

    #[test]
    fn size_is_limited() {
        let dir = image("", "");
        let file = fs::File::create(dir.path().join("etc/passwd")).unwrap();
        file.set_len(MAX_SIZE + 1).unwrap();
        assert!(ask(&dir, "root", &[]).unwrap_err().to_string().contains("larger"));
    }
}
