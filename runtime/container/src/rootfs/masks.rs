//! Masked and read-only paths.
//!
//! The target is opened once and everything happens to that descriptor; what covers it comes from outside of
//! the container: the host's checked `/dev/null` and an empty, read-only tmpfs (CVE-2025-31133: the image's
//! `/dev/null` was a link, and a writable procfs file lay where the mask should have been). A path that does
//! not exist needs no mask; any other failure ends the start.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::FileType;
use rustix::mount::MountAttrFlags;

use super::mounts::{attach, clone_tree, filesystem};
use super::path::file_type;
use super::{Links, Root, devices};
use crate::error::{Call, Result};
use crate::sys::{self, MountAttr};

/// What covers masked paths; made when first needed, copied for each further path.
#[derive(Debug, Default)]
pub(crate) struct Masks {
    null: Option<OwnedFd>,
    empty: Option<OwnedFd>,
}

/// In `/proc` and `/sys` no path leads through links: there, one means a fake.
fn links(path: &Path) -> Links {
    match path.starts_with("/proc") || path.starts_with("/sys") {
        true => Links::Refuse,
        false => Links::Follow,
    }
}

impl Masks {
    /// Makes `path` empty and unreadable.
    pub(crate) fn mask(&mut self, root: &Root<'_>, path: &Path, label: Option<&str>) -> Result<()> {
        let call = || format!("mask {}", path.display());
        let Some(place) = root.find_path(path, links(path))? else {
            return Ok(());
        };
        if file_type(&place).call(call)? == FileType::Directory {
            if let Some(empty) = &self.empty {
                return attach(&clone_tree(empty, false).call(call)?, &place, path);
            }
            let empty = empty_tmpfs(label, path)?;
            attach(&empty, &place, path)?;
            self.empty = Some(empty);
            return Ok(());
        }
        if self.null.is_none() {
            self.null = Some(devices::null()?);
        }
        if let Some(null) = &self.null {
            attach(&clone_tree(null, false).call(call)?, &place, path)?;
        }
        Ok(())
    }
}

fn empty_tmpfs(label: Option<&str>, path: &Path) -> Result<OwnedFd> {
    let mut data = vec![("mode".to_owned(), Some("0555".to_owned())), ("ro".to_owned(), None)];
    if let Some(label) = label {
        data.push(("context".into(), Some(label.to_owned())));
    }
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    filesystem("tmpfs", "tmpfs", &data, attributes.bits().into(), path)
}

/// Makes `path`, and all that is mounted below it, read-only. The attributes that it has stay.
pub(crate) fn read_only(root: &Root<'_>, path: &Path) -> Result<()> {
    let call = || format!("make {} read-only", path.display());
    let Some(place) = root.find_path(path, links(path))? else {
        return Ok(());
    };
    let copy = clone_tree(&place, true).call(call)?;
    let attributes =
        MountAttr { set: MountAttrFlags::MOUNT_ATTR_RDONLY.bits().into(), ..MountAttr::default() };
    sys::mount_setattr(copy.as_fd(), true, &attributes).call(call)?;
    attach(&copy, &place, path)
}
