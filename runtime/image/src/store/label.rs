//! What SELinux calls the files of layers.
//!
//! A file takes the type of the directory that it is made in. So it is enough that `tmp/`, where layers are unpacked,
//! and `layers/` are of the type that the policy of container-selinux has for what containers may read and never
//! write: everything below is then of that type, and unpacking does nothing for it. Labels that an image brings
//! (`security.selinux` in an archive) are those of the machine that built it and are left out.
//!
//! What a container sees is not this label but the one that its overlay is mounted with (`context=`).

use std::path::Path;

use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Attribute with the label.
const ATTRIBUTE: &str = "security.selinux";
/// The label of what containers read and don't write, closed by a zero as libselinux does.
const READ_ONLY: &[u8] = b"system_u:object_r:container_ro_file_t:s0\0";
/// Directories in which files of layers are made, or appear.
const DIRECTORIES: [&str; 2] = ["tmp", "layers"];

/// Labels the directories of a store, if SELinux is there.
pub(super) fn give(store: &Path) -> Result<()> {
    give_below(Path::new("/"), store, &|path, label| {
        rustix::fs::setxattr(path, ATTRIBUTE, label, XattrFlags::empty())
    })
}

fn give_below(host: &Path, store: &Path, set: &dyn Fn(&Path, &[u8]) -> rustix::io::Result<()>) -> Result<()> {
    if !host.join("sys/fs/selinux/enforce").exists() {
        return Ok(());
    }
    for name in DIRECTORIES {
        let path = store.join(name);
        match set(&path, READ_ONLY) {
            // A file system without labels, a policy without containers, a user who may not: then the labels are
            // what the policy gives by itself, and what that forbids, the kernel says.
            Err(error @ (Errno::OPNOTSUPP | Errno::INVAL | Errno::PERM | Errno::ACCESS)) => {
                log::info!("{} keeps its SELinux label: {error}", path.display());
            }
            result => result.map_err(|error| Error::io("label", &path, error))?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    fn labelled(enabled: bool, answer: rustix::io::Result<()>) -> (Vec<String>, Result<()>) {
        let host = tempfile::tempdir().unwrap();
        if enabled {
            std::fs::create_dir_all(host.path().join("sys/fs/selinux")).unwrap();
            std::fs::write(host.path().join("sys/fs/selinux/enforce"), "1").unwrap();
        }
        let seen = RefCell::new(Vec::new());
        let result = give_below(host.path(), Path::new("/store"), &|path, label| {
            seen.borrow_mut().push(format!("{} {}", path.display(), label.escape_ascii()));
            answer
        });
        (seen.into_inner(), result)
    }

    #[test]
    fn layers_are_made_in_directories_that_containers_may_only_read() {
        let (seen, result) = labelled(true, Ok(()));
        result.unwrap();
        let label = r"system_u:object_r:container_ro_file_t:s0\x00";
        assert_eq!(seen, [format!("/store/tmp {label}"), format!("/store/layers {label}")]);
    }

    #[test]
    fn without_selinux_there_are_no_labels() {
        let (seen, result) = labelled(false, Ok(()));
        assert!(seen.is_empty() && result.is_ok());
    }

    #[test]
    fn a_policy_without_containers_keeps_no_store_from_being_made() {
        for refusal in [Errno::INVAL, Errno::OPNOTSUPP, Errno::PERM, Errno::ACCESS] {
            let (seen, result) = labelled(true, Err(refusal));
            assert!(seen.len() == 2 && result.is_ok(), "{refusal}");
        }
        assert!(labelled(true, Err(Errno::IO)).1.is_err());
    }
}
