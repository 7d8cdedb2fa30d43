//! Concessions to older kernels.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount};

use super::Layers;
use super::private::Private;
use crate::error::{Call, Error, Result};

/// mount(2) takes a page of options, its closing zero included.
const OPTIONS_MAX: usize = 4095;

/// Before 6.5 all layers stand in one option, and fsconfig(2) takes only 255 bytes of it: that holds three layers. So
/// it is mount(2) on a path, in a mount namespace that nobody else sees, and the mount is then detached from there.
///
/// # Errors
/// mount(2)'s, or layers with names too long for a page of options.
pub(super) fn overlay_before_6_5(layers: &Layers<'_>) -> Result<OwnedFd> {
    let (directory, names) = relative(layers.lower);
    let options = options(&names, layers);
    if options.len() > OPTIONS_MAX {
        return Err(Error::Unsupported {
            what: format!("an overlay of {} layers", layers.lower.len()),
            reason: format!(
                "their names need {} bytes, and before Linux 6.5 mount(2) takes {OPTIONS_MAX}",
                options.len()
            ),
        });
    }
    let data = CString::new(options).map_err(|_| Error::Invalid {
        what: "lowerdir",
        value: format!("{:?}", layers.lower),
        reason: "a path holds a zero byte".into(),
    })?;
    let private = Private::enter()?;
    let mounted = (|| {
        // Relative names are short: the depth of the store costs nothing.
        rustix::process::chdir(&directory).call(|| format!("chdir({})", directory.display()))?;
        // On top of the writable layer's own directory: a place that is there, and that nobody sees covered.
        mount("overlay", layers.upper, "overlay", MountFlags::empty(), data.as_c_str())
            .call(|| format!("mount(overlay, {}, {data:?})", layers.upper.display()))
    })();
    match mounted {
        Ok(()) => private.leave_with(layers.upper),
        Err(error) => {
            private.leave()?;
            Err(error)
        }
    }
}

/// The folder that all layers are in, and their names there; without a common one, the root and whole paths.
fn relative(lower: &[PathBuf]) -> (PathBuf, Vec<&Path>) {
    let parent = lower[0].parent().unwrap_or(Path::new("/"));
    let names: Option<Vec<&Path>> = lower
        .iter()
        .map(|layer| (layer.parent() == Some(parent)).then(|| layer.file_name().map(Path::new)).flatten())
        .collect();
    match names {
        Some(names) => (parent.to_owned(), names),
        None => (PathBuf::from("/"), lower.iter().map(PathBuf::as_path).collect()),
    }
}

fn options(names: &[&Path], layers: &Layers<'_>) -> Vec<u8> {
    let mut text = b"lowerdir=".to_vec();
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            text.push(b':');
        }
        escape(&mut text, name);
    }
    for (key, path) in [(",upperdir=", layers.upper), (",workdir=", layers.work)] {
        text.extend_from_slice(key.as_bytes());
        escape(&mut text, path);
    }
    if let Some(label) = layers.context {
        // In quotes: the categories of a label stand between commas.
        text.extend_from_slice(b",context=\"");
        text.extend_from_slice(label.as_bytes());
        text.push(b'"');
    }
    if layers.volatile {
        text.extend_from_slice(b",volatile");
    }
    text
}

/// overlayfs takes a backslash before colon, comma and backslash.
fn escape(text: &mut Vec<u8>, path: &Path) {
    for &byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            text.push(b'\\');
        }
        text.push(byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_of_one_folder_have_short_names() {
        let lower = [PathBuf::from("/s/layers/a:b"), PathBuf::from("/s/layers/c,d")];
        let (directory, names) = relative(&lower);
        assert_eq!(directory, Path::new("/s/layers"));
        let layers = Layers {
            lower: &lower,
            upper: Path::new("/u"),
            work: Path::new("/w"),
            volatile: true,
            context: None,
        };
        assert_eq!(options(&names, &layers), br"lowerdir=a\:b:c\,d,upperdir=/u,workdir=/w,volatile");
        let label = Some("system_u:object_r:container_file_t:s0:c1,c2");
        let layers = Layers { context: label, volatile: false, ..layers };
        let text = br#"lowerdir=a\:b:c\,d,upperdir=/u,workdir=/w,context="system_u:object_r:container_file_t:s0:c1,c2""#;
        assert_eq!(options(&names, &layers), text);
        let apart = [PathBuf::from("/a/x"), PathBuf::from("/b/y")];
        assert_eq!(relative(&apart), (PathBuf::from("/"), vec![Path::new("/a/x"), Path::new("/b/y")]));
    }

    #[test]
    fn the_old_interface_makes_the_same_mount() {
        use std::os::fd::AsFd;
        if !rustix::process::geteuid().is_root() {
            eprintln!("SKIP: mount(2) needs root");
            return;
        }
        // A thread of its own would share the process's directory: a child process has both to itself.
        let place = tempfile::Builder::new().tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| place.path().join(name);
        let lower: Vec<PathBuf> =
            (0..60).map(|n| path(&format!("layer-with-a-rather-long-name-{n}"))).collect();
        for directory in lower.iter().chain([&path("u"), &path("w")]) {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("file"), directory.as_os_str().as_bytes()).unwrap();
        }
        std::fs::remove_file(path("u/file")).unwrap();
        std::fs::remove_file(path("w/file")).unwrap();
        let (upper, work) = (path("u"), path("w"));
        let made = std::thread::spawn(move || {
            // CLONE_FS: unshare(CLONE_NEWNS) implies it, so only this thread's directory changes.
            let layers = Layers { lower: &lower, upper: &upper, work: &work, volatile: true, context: None };
            overlay_before_6_5(&layers).map(|mount| (mount, lower[0].clone()))
        });
        let (mount, top) = made.join().unwrap().unwrap();
        let file =
            rustix::fs::openat(mount.as_fd(), "file", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty())
                .unwrap();
        let text = std::io::read_to_string(std::fs::File::from(file)).unwrap();
        assert_eq!(text, top.to_str().unwrap());
        assert!(
            !std::fs::read_to_string("/proc/self/mountinfo")
                .unwrap()
                .contains(place.path().to_str().unwrap())
        );
    }
}
