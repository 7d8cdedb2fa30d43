//! The volumes of a pod on the host: directories, and the files of ConfigMaps and Secrets.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};

use anyhow::{Context as _, bail, ensure};
use rustix::fs::{Mode, OFlags, mkdirat, open, openat};
use rustix::io::Errno;

use super::plan::PodPlan;
use super::volumes::{Content, HostType};

/// Kubernetes reference, "HostPathVolumeSource": what is made is like what the kubelet makes.
const DIRECTORY_MODE: u32 = 0o755;
const FILE_MODE: u32 = 0o644;
/// Everybody writes to an emptyDir: the container's user is not known here.
const EMPTY_MODE: u32 = 0o777;
/// New files belong to the directory's group.
const SET_GROUP: u32 = 0o2000;

/// Makes the pod's own volumes, and looks at the host's.
///
/// # Errors
/// A path of the host isn't what it must be; mkdir(2)'s and write(2)'s.
pub(super) fn make(plan: &PodPlan) -> anyhow::Result<()> {
    for (name, content) in &plan.volumes {
        let place = plan.places.of(name, content);
        match content {
            Content::Host(path, kind) => {
                host(path, *kind).with_context(|| format!("volume {name} of the pod {}", plan.name))?;
            }
            Content::Device(_) | Content::Claim { .. } => {}
            Content::Empty { .. } => {
                let mode = if plan.group.is_some() { EMPTY_MODE | SET_GROUP } else { EMPTY_MODE };
                directory(&place, mode, plan.group)?;
            }
            Content::Files(files) => {
                directory(&place, DIRECTORY_MODE, plan.group)?;
                for (path, (mode, bytes)) in files {
                    file(&place.join(path), *mode, bytes, plan.group)?;
                }
            }
        }
    }
    Ok(())
}

/// A directory below ours, which nobody else can change.
fn directory(path: &Path, mode: u32, group: Option<u32>) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("making {}", path.display()))?;
    own(path, mode, group)
}

fn file(path: &Path, mode: u32, bytes: &[u8], group: Option<u32>) -> anyhow::Result<()> {
    if let Some(parent) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(parent);
        made.with_context(|| format!("making {}", parent.display()))?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = file.with_context(|| format!("making {}", path.display()))?;
    file.write_all(bytes).with_context(|| format!("writing {}", path.display()))?;
    // Who is in the group must be able to read it.
    let mode = if group.is_some() { mode | (mode & 0o400) >> 3 } else { mode };
    own(path, mode, group)
}

/// Group and mode, whatever the umask is. The group first: chown(2) takes the set-group-ID bit away.
fn own(path: &Path, mode: u32, group: Option<u32>) -> anyhow::Result<()> {
    if let Some(group) = group {
        chown(path, None, Some(group))
            .with_context(|| format!("giving {} to group {group}", path.display()))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("setting the mode of {}", path.display()))
}

fn host(path: &Path, kind: HostType) -> anyhow::Result<()> {
    let show = path.display();
    match kind {
        HostType::DirectoryOrCreate if !path.exists() => {
            missing(path, true)
                .with_context(|| format!("making {show} (hostPath of the type DirectoryOrCreate)"))?;
        }
        HostType::FileOrCreate if !path.exists() => {
            missing(path, false)
                .with_context(|| format!("making {show} (hostPath of the type FileOrCreate)"))?;
        }
        _ => {}
    }
    let file_type = fs::metadata(path).with_context(|| format!("looking at {show} (hostPath)"))?.file_type();
    let (is_right, wanted) = match kind {
        HostType::Any => (true, "anything"),
        HostType::Directory | HostType::DirectoryOrCreate => (file_type.is_dir(), "a directory"),
        HostType::File | HostType::FileOrCreate => (file_type.is_file(), "a file"),
        HostType::Socket => (file_type.is_socket(), "a socket"),
    };
    ensure!(is_right, "{show} must be {wanted} (hostPath), and is not");
    Ok(())
}

/// Makes a directory or an empty file, and the directories above it that are missing. Step by step from the root,
/// and through no symbolic link: a container that has a directory on the way could have put one there, and root would
/// make what it wants where it wants (CVE-2024-45310).
fn missing(path: &Path, is_directory: bool) -> anyhow::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open("/", flags, Mode::empty()).context("opening /")?;
    let mut so_far = PathBuf::from("/");
    let mut parts = path.components().filter(|part| *part != Component::RootDir).peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { bail!("the path must be absolute and without ..") };
        so_far.push(name);
        if parts.peek().is_none() && !is_directory {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let made = openat(&at, name, flags, Mode::from_raw_mode(FILE_MODE));
            return made.map(drop).with_context(|| format!("making {}", so_far.display()));
        }
        let mut opened = openat(&at, name, flags, Mode::empty());
        if matches!(opened, Err(Errno::NOENT)) {
            match mkdirat(&at, name, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(Errno::EXIST) => opened = openat(&at, name, flags, Mode::empty()),
                Err(error) => return Err(error).with_context(|| format!("making {}", so_far.display())),
            }
        }
        at = match opened {
            Err(Errno::NOTDIR | Errno::LOOP) => bail!(
                "{} is a symbolic link or no directory, and nothing is made behind it: write the path it leads to",
                so_far.display()
            ),
            opened => opened.with_context(|| format!("opening {}", so_far.display()))?,
        };
    }
    Ok(())
}

/// The name of the file with a container's secret variables, in the pod's directory.
pub(super) fn environment_name(container: &str) -> String {
    format!("{container}.env")
}

/// Writes secret variables as `sampan run --env-nul` reads them: each with a NUL byte behind it, which none contains.
///
/// # Errors
/// write(2)'s.
pub(super) fn environment(path: &Path, variables: &[(String, String)]) -> anyhow::Result<()> {
    let text: String = variables.iter().map(|(name, value)| format!("{name}={value}\0")).collect();
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("writing {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// A container that has `/data` could make `/data/logs` a link to `/etc`.
    #[test]
    fn links_are_not_followed_to_what_is_made() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("elsewhere")).unwrap();
        symlink(root.join("elsewhere"), root.join("link")).unwrap();
        symlink(root.join("elsewhere/none"), root.join("dangling")).unwrap();
        for (path, kind) in [
            ("link/a", HostType::DirectoryOrCreate),
            ("link/a/b", HostType::DirectoryOrCreate),
            ("dangling", HostType::DirectoryOrCreate),
            ("link/a", HostType::FileOrCreate),
            ("dangling", HostType::FileOrCreate),
            ("made/../link/a", HostType::DirectoryOrCreate),
        ] {
            assert!(host(&root.join(path), kind).is_err(), "{path} {kind:?}");
        }
        assert_eq!(fs::read_dir(root.join("elsewhere")).unwrap().count(), 0);
        let error = host(&root.join("link/a"), HostType::DirectoryOrCreate).unwrap_err();
        assert!(format!("{error:#}").contains("symbolic link"), "{error:#}");
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        for _ in 0..2 {
            host(&root.join("a/b/c"), HostType::DirectoryOrCreate).unwrap();
            host(&root.join("a/b/file"), HostType::FileOrCreate).unwrap();
        }
        assert!(root.join("a/b/c").is_dir() && root.join("a/b/file").is_file());
        assert!(host(&root.join("a/b/file"), HostType::DirectoryOrCreate).is_err());
        assert!(host(&root.join("a/b"), HostType::FileOrCreate).is_err());
        // A link to what is there already leads nowhere new.
        symlink(root.join("a/b"), root.join("link")).unwrap();
        host(&root.join("link/c"), HostType::DirectoryOrCreate).unwrap();
    }
}
