//! Changing a mount that is there already (`remount`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::mount::FsPickFlags;

use super::mounts::{messages, set_superblock};
use super::options::Options;
use super::{Links, Root};
use crate::error::{Call, Error, Result};
use crate::sys::{self, MountAttr};

/// Gives the mount at `destination` other attributes, and its file system, unless `bind` says that only this mount of
/// it is meant, other options (mount(8), "remount").
pub(super) fn remount(root: &Root<'_>, destination: &Path, links: Links, options: &Options) -> Result<()> {
    let call = || format!("remount {}", destination.display());
    let place = root.find_path(destination, links)?.ok_or(rustix::io::Errno::NOENT).call(call)?;
    if options.bind.is_none() && !(options.data.is_empty() && options.superblock.is_empty()) {
        reconfigure(&place, destination, options)?;
    }
    let mut one = options.attributes;
    let mut all = options.recursive;
    if let Some((propagation, recursive)) = options.propagation {
        if recursive { &mut all } else { &mut one }.propagation = propagation;
    }
    for (attributes, recursive) in [(all, true), (one, false)] {
        if attributes != MountAttr::default() {
            // It refuses what is no mount, which a directory of the image would be.
            sys::mount_setattr(place.as_fd(), recursive, &attributes).call(call)?;
        }
    }
    Ok(())
}

fn reconfigure(place: &OwnedFd, destination: &Path, options: &Options) -> Result<()> {
    let call = || format!("remount {}", destination.display());
    let flags = FsPickFlags::FSPICK_CLOEXEC | FsPickFlags::FSPICK_EMPTY_PATH;
    let context = rustix::mount::fspick(place, c"", flags).call(call)?;
    let explain = |e: rustix::io::Errno, step: String| Error::Call {
        call: format!("{}{step} ({})", call(), messages(&context)),
        source: e.into(),
    };
    for (key, value) in &options.data {
        match value {
            Some(value) => rustix::mount::fsconfig_set_string(&context, key.as_str(), value.as_str()),
            None => rustix::mount::fsconfig_set_flag(&context, key.as_str()),
        }
        .map_err(|e| explain(e, format!(", option {key:?}")))?;
    }
    set_superblock(&context, &options.superblock)
        .map_err(|(e, flag)| explain(e, format!(", option {flag:?}")))?;
    rustix::mount::fsconfig_reconfigure(&context).map_err(|e| explain(e, String::new()))
}
