//! The volumes of a pod on the host: directories, and the files of ConfigMaps and Secrets.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

use anyhow::{Context as _, ensure};

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
        HostType::DirectoryOrCreate => {
            let made = DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(path);
            return made.with_context(|| format!("making {show} (hostPath of the type DirectoryOrCreate)"));
        }
        HostType::FileOrCreate if !path.exists() => {
            let made = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path);
            return made
                .map(drop)
                .with_context(|| format!("making {show} (hostPath of the type FileOrCreate)"));
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
