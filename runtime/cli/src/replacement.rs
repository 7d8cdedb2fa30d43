//! A file gets a new text in one step, so that neither a full disk nor a generator that reads at the
//! same moment sees half of it.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use anyhow::Context as _;

/// Replaces a file's text; if the path is a link, that of the file it leads to. Mode and owner stay.
///
/// # Errors
/// The folder can't be written to, or the new file not be given to the owner of the old one.
pub(crate) fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let write = || -> anyhow::Result<()> {
        let path = fs::canonicalize(path)?;
        let before = fs::metadata(&path)?;
        let folder = path.parent().unwrap_or(Path::new("/"));
        // The name has no extension of a Quadlet file, so that no generator reads it.
        let mut new = tempfile::Builder::new().prefix(".sampan-new-").tempfile_in(folder)?;
        new.write_all(text.as_bytes())?;
        let after = new.as_file().metadata()?;
        if (after.uid(), after.gid()) != (before.uid(), before.gid()) {
            fchown(new.as_file(), Some(before.uid()), Some(before.gid()))
                .context("give the new file the owner of the old one")?;
        }
        // Behind the owner: a change of that takes set-user-ID away.
        new.as_file().set_permissions(fs::Permissions::from_mode(before.mode() & 0o7777))?;
        new.as_file().sync_all()?;
        new.persist(&path)?;
        Ok(())
    };
    write().with_context(|| format!("replace {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mode_owner_and_links_stay() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a.container"), folder.path().join("b.container"));
        fs::write(&file, "old").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink("a.container", &link).unwrap();
        // Only root can give files away.
        let owner = if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&file, Some(1000), Some(1000)).unwrap();
            (1000, 1000)
        } else {
            let before = fs::metadata(&file).unwrap();
            (before.uid(), before.gid())
        };
        replace(&link, "new").unwrap();
        let after = fs::metadata(&file).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "new");
        assert_eq!((after.mode() & 0o7777, after.uid(), after.gid()), (0o640, owner.0, owner.1));
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
