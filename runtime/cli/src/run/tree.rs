//! Whole directory trees, walked by descriptors: copied into a fresh volume, or handed to another owner.
//!
//! Both sides may be written by hostile programs while we walk, so no step follows a symbolic link and nothing is
//! named by a path longer than one component.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use anyhow::Context;
use rustix::fs::{
    self, AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid,
};

/// Deeper than any real tree; each level holds a descriptor.
const MAX_DEPTH: usize = 200;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory inside a root file system, links and all resolved there; `None` if there is none.
///
/// # Errors
/// openat2(2)'s, but for "not there" and "not a directory".
pub(crate) fn open_in(root: BorrowedFd<'_>, path: &Path) -> anyhow::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    match fs::openat2(root, path.strip_prefix("/").unwrap_or(path), flags, Mode::empty(), resolve) {
        Ok(directory) => Ok(Some(directory)),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error).with_context(|| format!("opening {} in the image", path.display())),
    }
}

/// Whether a root file system has something other than a directory at a place, links and all resolved there.
///
/// # Errors
/// openat2(2)'s, but for "not there".
pub(crate) fn is_file(root: BorrowedFd<'_>, path: &Path) -> anyhow::Result<bool> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    match fs::openat2(root, path.strip_prefix("/").unwrap_or(path), flags, Mode::empty(), resolve) {
        Ok(found) => Ok(FileType::from_raw_mode(fs::fstat(&found)?.st_mode) != FileType::Directory),
        Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR) => Ok(false),
        Err(error) => Err(error).with_context(|| format!("opening {} in the image", path.display())),
    }
}

/// Opens a directory of the host that we made ourselves.
///
/// # Errors
/// open(2)'s.
pub(crate) fn open(path: &Path) -> anyhow::Result<OwnedFd> {
    fs::openat(CWD, path, DIRECTORY, Mode::empty()).with_context(|| format!("opening {}", path.display()))
}

/// Whether nothing is in it.
///
/// # Errors
/// getdents64(2)'s.
pub(crate) fn is_empty(directory: BorrowedFd<'_>) -> anyhow::Result<bool> {
    let mut entries = Dir::read_from(directory).context("reading a volume")?;
    Ok(!entries.any(|entry| entry.is_ok_and(|entry| !is_dots(entry.file_name()))))
}

/// Whether it belongs to user and group 0.
///
/// # Errors
/// fstat(2)'s.
pub(crate) fn is_roots(directory: BorrowedFd<'_>) -> anyhow::Result<bool> {
    let stat = fs::fstat(directory).context("looking at a volume")?;
    Ok((stat.st_uid, stat.st_gid) == (0, 0))
}

/// Removes everything below the directory.
///
/// # Errors
/// unlinkat(2)'s.
pub(crate) fn clear(directory: BorrowedFd<'_>) -> anyhow::Result<()> {
    for entry in Dir::read_from(directory).context("reading a volume")? {
        let entry = entry.context("reading a volume")?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        if let Ok(below) = fs::openat(directory, name, DIRECTORY, Mode::empty()) {
            clear(below.as_fd())?;
            fs::unlinkat(directory, name, AtFlags::REMOVEDIR)?;
        } else {
            fs::unlinkat(directory, name, AtFlags::empty())?;
        }
    }
    Ok(())
}

/// Copies everything below `from` into `to`: owners, modes, times, links, devices, extended attributes. The
/// directory `to` itself takes the owner and mode of `from`.
///
/// # Errors
/// The operation and the name that failed.
pub(crate) fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> anyhow::Result<()> {
    copy_directory(from, to, 0)?;
    take_attributes(to, &fs::fstat(from)?).context("setting the owner of the volume")
}

fn copy_directory(from: BorrowedFd<'_>, to: BorrowedFd<'_>, depth: usize) -> anyhow::Result<()> {
    anyhow::ensure!(depth < MAX_DEPTH, "directories nested more than {MAX_DEPTH} deep");
    for entry in Dir::read_from(from).context("reading a directory of the image")? {
        let entry = entry.context("reading a directory of the image")?;
        if !is_dots(entry.file_name()) {
            copy_entry(from, to, entry.file_name(), depth)
                .with_context(|| format!("copying {}", entry.file_name().to_string_lossy()))?;
        }
    }
    Ok(())
}

fn copy_entry(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &CStr, depth: usize) -> anyhow::Result<()> {
    let stat = fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => {
            fs::mkdirat(to, name, Mode::RWXU)?;
            let (source, target) = (
                fs::openat(from, name, DIRECTORY, Mode::empty())?,
                fs::openat(to, name, DIRECTORY, Mode::empty())?,
            );
            copy_directory(source.as_fd(), target.as_fd(), depth + 1)?;
            copy_extended(source.as_fd(), target.as_fd())?;
            take_attributes(target.as_fd(), &stat)
        }
        FileType::RegularFile => {
            let nofollow = OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let source = fs::openat(from, name, OFlags::RDONLY | OFlags::NONBLOCK | nofollow, Mode::empty())?;
            let target = fs::openat(
                to,
                name,
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | nofollow,
                Mode::RUSR | Mode::WUSR,
            )?;
            std::io::copy(
                &mut std::fs::File::from(source.try_clone()?),
                &mut std::fs::File::from(target.try_clone()?),
            )?;
            take_attributes(target.as_fd(), &stat)?;
            // After the owner: chown(2) drops security.capability.
            copy_extended(source.as_fd(), target.as_fd())
        }
        FileType::Symlink => {
            fs::symlinkat(fs::readlinkat(from, name, Vec::new())?.as_c_str(), to, name)?;
            Ok(fs::chownat(to, name, Some(owner(&stat)), Some(group(&stat)), AtFlags::SYMLINK_NOFOLLOW)?)
        }
        FileType::Socket => Ok(()),
        kind => {
            fs::mknodat(to, name, kind, mode, stat.st_rdev)?;
            Ok(fs::chownat(to, name, Some(owner(&stat)), Some(group(&stat)), AtFlags::SYMLINK_NOFOLLOW)?)
        }
    }
}

fn take_attributes(target: BorrowedFd<'_>, stat: &Stat) -> anyhow::Result<()> {
    fs::fchown(target, Some(owner(stat)), Some(group(stat)))?;
    // After the owner: chown(2) drops the set-user-ID bit.
    fs::fchmod(target, Mode::from_raw_mode(stat.st_mode))?;
    let time = |seconds, nanoseconds: u64| Timespec { tv_sec: seconds, tv_nsec: nanoseconds as _ };
    let times = Timestamps {
        last_access: time(stat.st_atime, stat.st_atime_nsec),
        last_modification: time(stat.st_mtime, stat.st_mtime_nsec),
    };
    Ok(fs::futimens(target, &times)?)
}

/// `security.capability` and `user.*`; labels are given by policy, and `trusted.*` means something to overlayfs.
fn copy_extended(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> anyhow::Result<()> {
    let mut names = [0u8; 4096];
    let length = match fs::flistxattr(source, &mut names) {
        Ok(length) => length,
        Err(rustix::io::Errno::NOTSUP | rustix::io::Errno::RANGE) => return Ok(()),
        Err(error) => return Err(error).context("listing extended attributes"),
    };
    for name in names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        if name == b"security.capability" || name.starts_with(b"user.") {
            let mut value = [0u8; 4096];
            let length = fs::fgetxattr(source, name, &mut value)?;
            fs::fsetxattr(target, name, &value[..length], fs::XattrFlags::empty())?;
        }
    }
    Ok(())
}

/// Hands the directory and all below it to this user and group (the volume option `U`).
///
/// # Errors
/// The operation and the name that failed.
pub(crate) fn chown(directory: BorrowedFd<'_>, uid: u32, gid: u32) -> anyhow::Result<()> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    fs::fchown(directory, Some(uid), Some(gid)).context("changing the owner of a volume")?;
    walk(directory, 0, &|parent, name| {
        Ok(fs::chownat(parent, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
    })
}

fn walk(
    directory: BorrowedFd<'_>,
    depth: usize,
    visit: &dyn Fn(BorrowedFd<'_>, &CStr) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    anyhow::ensure!(depth < MAX_DEPTH, "directories nested more than {MAX_DEPTH} deep");
    for entry in Dir::read_from(directory).context("reading a volume")? {
        let entry = entry.context("reading a volume")?;
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        visit(directory, name).with_context(|| format!("changing {}", name.to_string_lossy()))?;
        match fs::openat(directory, name, DIRECTORY, Mode::empty()) {
            Ok(below) => walk(below.as_fd(), depth + 1, visit)?,
            Err(
                rustix::io::Errno::NOTDIR
                | rustix::io::Errno::LOOP
                | rustix::io::Errno::NOENT
                | rustix::io::Errno::NXIO,
            ) => {}
            Err(error) => return Err(error).with_context(|| format!("opening {}", name.to_string_lossy())),
        }
    }
    Ok(())
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

fn owner(stat: &Stat) -> Uid {
    Uid::from_raw(stat.st_uid)
}

fn group(stat: &Stat) -> Gid {
    Gid::from_raw(stat.st_gid)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    #[test]
    fn a_copy_has_the_same_files_and_follows_no_link() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::create_dir(from.path().join("d")).unwrap();
        std::fs::write(from.path().join("d/f"), "text").unwrap();
        std::fs::set_permissions(from.path().join("d/f"), PermissionsExt::from_mode(0o4750)).unwrap();
        symlink("/etc", from.path().join("link")).unwrap();
        let (source, target) = (open(from.path()).unwrap(), open(to.path()).unwrap());
        assert!(is_empty(target.as_fd()).unwrap());
        copy(source.as_fd(), target.as_fd()).unwrap();
        let file = to.path().join("d/f");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "text");
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o7777, 0o4750);
        assert_eq!(std::fs::read_link(to.path().join("link")).unwrap(), Path::new("/etc"));
        assert!(!is_empty(target.as_fd()).unwrap());
        clear(target.as_fd()).unwrap();
        assert!(is_empty(target.as_fd()).unwrap() && Path::new("/etc").exists());
    }

    #[test]
    fn a_link_in_the_image_stays_in_the_image() {
        let root = tempfile::tempdir().unwrap();
        symlink("/../../../etc", root.path().join("out")).unwrap();
        let opened = open(root.path()).unwrap();
        assert!(open_in(opened.as_fd(), Path::new("/out")).unwrap().is_none());
    }
}
