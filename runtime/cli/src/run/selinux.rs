//! What SELinux calls a container's processes and files.
//!
//! Only what was asked for: without a word the processes keep the label that systemd gave the service, and files are
//! seen with the labels that they have. With a label for the processes, every file of the image is seen with one that
//! they may use: the overlay is mounted with `context=`, as Podman does it, so that no layer is labelled anew for a
//! container. Labels inside of layers don't exist: unpacking drops what an image says (`security.selinux`), because it
//! is of the machine that built it.

use std::path::Path;

use super::security::Label;

/// The label of the container's processes. `host` is where the host's `/sys` is.
pub(super) fn process_label(label: &Label, host: &Path) -> Option<String> {
    if !is_labelled(label, host) {
        return None;
    }
    let part = |asked: &Option<String>, default: &str| asked.clone().unwrap_or_else(|| default.to_owned());
    Some(format!(
        "{}:{}:{}:{}",
        part(&label.user, "system_u"),
        part(&label.role, "system_r"),
        part(&label.kind, "container_t"),
        part(&label.level, "s0")
    ))
}

/// The label that the container's files are seen with: of the type and level that its processes may use.
pub(super) fn file_label(label: &Label, host: &Path) -> Option<String> {
    if label.file_type.is_none() && !is_labelled(label, host) || label.disabled || !is_enabled(host) {
        return None;
    }
    let kind = label.file_type.as_deref().unwrap_or("container_file_t");
    Some(format!("system_u:object_r:{kind}:{}", label.level.as_deref().unwrap_or("s0")))
}

fn is_labelled(label: &Label, host: &Path) -> bool {
    let is_asked =
        label.user.is_some() || label.role.is_some() || label.kind.is_some() || label.level.is_some();
    is_asked && !label.disabled && is_enabled(host)
}

/// Whether SELinux is there: its file system is where it belongs.
fn is_enabled(host: &Path) -> bool {
    host.join("sys/fs/selinux/enforce").exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(enabled: bool) -> tempfile::TempDir {
        let host = tempfile::tempdir().unwrap();
        if enabled {
            std::fs::create_dir_all(host.path().join("sys/fs/selinux")).unwrap();
            std::fs::write(host.path().join("sys/fs/selinux/enforce"), "1").unwrap();
        }
        host
    }

    fn labels(label: &Label, enabled: bool) -> (Option<String>, Option<String>) {
        let host = host(enabled);
        (process_label(label, host.path()), file_label(label, host.path()))
    }

    #[test]
    fn without_selinux_or_a_word_about_it_there_are_no_labels() {
        let asked = Label { level: Some("s0:c1,c2".into()), ..Label::default() };
        assert_eq!(labels(&asked, false), (None, None));
        assert_eq!(labels(&Label::default(), true), (None, None));
        assert_eq!(labels(&Label { disabled: true, ..asked }, true), (None, None));
    }

    #[test]
    fn files_are_of_the_level_of_the_processes() {
        let label = Label { level: Some("s0:c1,c2".into()), ..Label::default() };
        let process = "system_u:system_r:container_t:s0:c1,c2".to_owned();
        let files = "system_u:object_r:container_file_t:s0:c1,c2".to_owned();
        assert_eq!(labels(&label, true), (Some(process), Some(files)));
        let label = Label { kind: Some("spc_t".into()), ..Label::default() };
        assert_eq!(labels(&label, true).0.as_deref(), Some("system_u:system_r:spc_t:s0"));
    }

    #[test]
    fn the_type_of_files_may_be_said_alone() {
        let label = Label { file_type: Some("container_ro_file_t".into()), ..Label::default() };
        assert_eq!(labels(&label, true), (None, Some("system_u:object_r:container_ro_file_t:s0".to_owned())));
        assert_eq!(labels(&label, false), (None, None));
    }
}
