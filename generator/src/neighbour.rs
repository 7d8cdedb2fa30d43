//! Living beside Podman: its generator may be there as well, and two generators that write the
//! same unit tear each other's files.

use crate::diagnostic::{Diagnostic, Severity, rules};
use std::fs;
use std::path::{Path, PathBuf};

/// Where systemd looks for generators, the first of a name counts (systemd.generator(7)).
const DIRECTORIES: [&str; 5] =
    ["run/systemd", "etc/systemd", "usr/local/lib/systemd", "usr/lib/systemd", "lib/systemd"];

/// Whether Podman's generator is installed below `root` and not masked.
pub(crate) fn is_active(root: &Path, user: bool) -> bool {
    let scope = if user { "user" } else { "system" };
    let generator = format!("{scope}-generators/podman-{scope}-generator");
    let found = DIRECTORIES
        .iter()
        .map(|directory| root.join(directory).join(&generator))
        .find(|path| fs::symlink_metadata(path).is_ok());
    found.is_some_and(|path| !is_masked(&path))
}

/// A generator is masked by an empty file or a link to /dev/null; a dangling link runs nothing.
fn is_masked(path: &Path) -> bool {
    match fs::metadata(path) {
        Ok(metadata) => !metadata.is_file() || metadata.len() == 0,
        Err(_) => true,
    }
}

/// Says that files are left to Podman, if there are any.
pub(crate) fn note(files: &[PathBuf]) -> Option<Diagnostic> {
    let directory = files.first()?.parent()?;
    let count = files.len();
    let reason =
        format!("Podman's own generator is active, so Podman's Quadlet files ({count}) are left to it");
    let help = "put files for sampan into /etc/sampan/systemd, or mask Podman's generator: \
                ln -s /dev/null /etc/systemd/system-generators/podman-system-generator";
    Some(Diagnostic::whole(&rules::PODMAN_ACTIVE, Severity::Warning, directory, reason).help(help))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_that_are_left_are_counted_once() {
        assert_eq!(note(&[]), None);
        let note = note(&["/c/a.container".into(), "/c/b.pod".into()]).unwrap();
        assert_eq!(note.file, Path::new("/c"));
        assert!(note.reason.contains("(2)"), "{}", note.reason);
    }

    #[test]
    fn a_link_to_dev_null_masks() {
        let root = tempfile::tempdir().unwrap();
        assert!(!is_active(root.path(), false));
        let installed = root.path().join("usr/lib/systemd/system-generators");
        fs::create_dir_all(&installed).unwrap();
        fs::write(installed.join("podman-system-generator"), "#!").unwrap();
        assert!(is_active(root.path(), false));
        assert!(!is_active(root.path(), true));
        let mask = root.path().join("etc/systemd/system-generators");
        fs::create_dir_all(&mask).unwrap();
        symlink("/dev/null", mask.join("podman-system-generator")).unwrap();
        assert!(!is_active(root.path(), false));
    }
}
