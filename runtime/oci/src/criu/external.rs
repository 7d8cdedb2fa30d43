//! What of a container isn't its own: found at a checkpoint, written down beside the images, found again at a
//! restore.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, bail};
use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};
use serde_json::Value;

/// Beside the images: keys of external mounts, and their destinations.
const MOUNTS: &str = "external-mounts.json";

/// Beside the images, as runc writes it: what the three standard streams were.
const DESCRIPTORS: &str = "descriptors.json";

/// What a bind mount of the host's null device makes of a masked file.
const NULL: &str = "/dev/null";

/// Devices that are mounts of the host's where a container can't make any.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// External mounts: destination by key.
pub(super) type Mounts = BTreeMap<String, PathBuf>;

/// A destination as criu is to read it: absolute, without `..`, and without what has a meaning in its options.
fn check(destination: &Path) -> Result<()> {
    let bytes = destination.as_os_str().as_bytes();
    let odd = |b: &u8| b"[]:\\".contains(b) || b.is_ascii_control();
    let plain = destination.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)));
    if !destination.is_absolute() || !plain || bytes.iter().any(odd) {
        bail!(
            "the mount at {destination:?} can't be saved or restored: criu could read its destination as something else"
        );
    }
    Ok(())
}

fn is_bind(mount: &Mount) -> bool {
    let options = mount.options().as_deref().unwrap_or_default();
    mount.typ().as_deref() == Some("bind") || options.iter().any(|o| o == "bind" || o == "rbind")
}

/// The mount points of a process, as the kernel has them.
fn mount_points(pid: i32) -> Result<Vec<PathBuf>> {
    let path = format!("/proc/{pid}/mountinfo");
    let text = fs::read_to_string(&path).with_context(|| format!("read({path})"))?;
    // Spaces and backslashes are written as \040 and \134 there; destinations with the latter are refused.
    let point = |line: &str| line.split(' ').nth(4).map(|point| point.replace("\\040", " ").into());
    Ok(text.lines().filter_map(point).collect())
}

/// The external mounts of a running container: bind mounts, files that are masked, and devices of the host.
pub(super) fn mounts(spec: &Spec, pid: i32) -> Result<Mounts> {
    let points = mount_points(pid)?;
    let mut destinations = Vec::new();
    for mount in spec.mounts().iter().flatten().filter(|m| is_bind(m)) {
        check(mount.destination())?;
        if !points.iter().any(|point| point == mount.destination()) {
            bail!(
                "the container can't be saved: there is no mount at {}; a link there leads elsewhere",
                mount.destination().display()
            );
        }
        destinations.push(mount.destination().clone());
    }
    let masked = spec.linux().as_ref().and_then(|l| l.masked_paths().as_ref()).into_iter().flatten();
    let devices = DEVICES.map(|name| format!("/dev/{name}"));
    for path in masked.cloned().chain(devices).map(PathBuf::from) {
        // Only what is a mount, and of a file: a masked directory is an empty tmpfs, which criu knows.
        let is_mount = points.contains(&path) && !destinations.contains(&path);
        let inside = Path::new(&format!("/proc/{pid}/root")).join(path.strip_prefix("/").unwrap_or(&path));
        if is_mount && fs::symlink_metadata(&inside).is_ok_and(|m| !m.is_dir()) {
            check(&path)?;
            destinations.push(path);
        }
    }
    Ok(destinations.into_iter().enumerate().map(|(index, path)| (format!("m{index}"), path)).collect())
}

/// What is to be mounted for each key at a restore: the sources of the bundle's own configuration.
pub(super) fn sources(spec: &Spec, mounts: &Mounts) -> Result<Vec<(String, PathBuf)>> {
    let mut found = Vec::new();
    for (key, destination) in mounts {
        let generated = key.strip_prefix('m').is_some_and(|n| n.parse::<u16>().is_ok());
        if !generated {
            bail!("{MOUNTS}: {key:?} is no key of this program");
        }
        check(destination)?;
        let mut bound = spec.mounts().iter().flatten().filter(|m| is_bind(m));
        let source = bound.find(|m| m.destination() == destination).map(|m| m.source().clone());
        let masked = || {
            let linux = spec.linux().as_ref();
            let mut masked = linux.and_then(|l| l.masked_paths().as_ref()).into_iter().flatten();
            masked.any(|path| Path::new(path) == destination)
        };
        let source = match source {
            Some(source) => source.with_context(|| format!("the mount at {destination:?} has no source"))?,
            None if masked() => NULL.into(),
            None if DEVICES.iter().any(|name| destination == &Path::new("/dev").join(name)) => {
                destination.clone()
            }
            None => bail!("the images have a mount at {destination:?}, and the configuration has none"),
        };
        found.push((key.clone(), source));
    }
    Ok(found)
}

/// Namespaces given by path that criu can leave alone: their kinds in its words, and their paths.
pub(super) fn namespaces(spec: &Spec) -> Vec<(&'static str, PathBuf)> {
    let all = spec.linux().as_ref().and_then(|l| l.namespaces().as_ref()).into_iter().flatten();
    all.filter_map(|namespace| {
        let kind = match namespace.typ() {
            LinuxNamespaceType::Network => "net",
            LinuxNamespaceType::Pid => "pid",
            _ => return None,
        };
        // An empty path is none: callers in Go write it so.
        let path = namespace.path().clone().filter(|path| !path.as_os_str().is_empty());
        path.map(|path| (kind, path))
    })
    .collect()
}

/// The key of a namespace of that kind, as runc has it.
pub(super) fn namespace_key(kind: &str) -> &'static str {
    if kind == "net" { "extRootNetNS" } else { "extRootPidNS" }
}

/// What the standard streams of a process are.
pub(super) fn streams(pid: i32) -> Vec<String> {
    let link = |fd| fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap_or_default();
    (0..3).map(|fd| link(fd).display().to_string()).collect()
}

/// Whether a stream was a pipe; criu takes nothing else in its place.
pub(super) fn is_pipe(stream: &str) -> bool {
    let number = stream.strip_prefix("pipe:[").and_then(|rest| rest.strip_suffix(']'));
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// Writes down what a restore has to know.
pub(super) fn write(images: &Path, mounts: &Mounts, streams: &[String]) -> Result<()> {
    for (name, value) in [(MOUNTS, serde_json::to_value(mounts)?), (DESCRIPTORS, streams.into())] {
        let path = images.join(name);
        fs::write(&path, value.to_string()).with_context(|| format!("write({})", path.display()))?;
    }
    Ok(())
}

/// Reads it.
pub(super) fn read(images: &Path) -> Result<(Mounts, Vec<String>)> {
    let one = |name: &str| -> Result<Value> {
        let path = images.join(name);
        let text = fs::read(&path).with_context(|| format!("read({})", path.display()))?;
        serde_json::from_slice(&text).with_context(|| path.display().to_string())
    };
    let mounts = serde_json::from_value(one(MOUNTS)?).context(MOUNTS)?;
    let streams = serde_json::from_value(one(DESCRIPTORS)?).context(DESCRIPTORS)?;
    Ok((mounts, streams))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec() -> Spec {
        let value = json!({
            "ociVersion": "1.2.0",
            "mounts": [
                {"destination": "/data", "source": "/srv/data", "options": ["rbind"]},
                {"destination": "/tmp", "type": "tmpfs"},
            ],
            "linux": {"maskedPaths": ["/proc/keys"]},
        });
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn odd_destinations_are_refused() {
        for odd in ["/a]:b", "/a[b", "/a:b", "/a\\b", "/a\nb", "a", "/a/../b", "/a\tb"] {
            assert!(check(Path::new(odd)).is_err(), "{odd:?}");
        }
        check(Path::new("/var/lib/a b-c_d.e")).unwrap();
    }

    #[test]
    fn images_choose_no_sources() {
        let ask = |key: &str, destination: &str| {
            sources(&spec(), &Mounts::from([(key.to_owned(), PathBuf::from(destination))]))
        };
        assert_eq!(ask("m0", "/data").unwrap()[0].1, Path::new("/srv/data"));
        assert_eq!(ask("m1", "/proc/keys").unwrap()[0].1, Path::new(NULL));
        assert_eq!(ask("m2", "/dev/zero").unwrap()[0].1, Path::new("/dev/zero"));
        for (key, destination) in [
            ("m0", "/etc"),
            ("m0", "/tmp"),
            ("m0]:/etc", "/data"),
            ("x", "/data"),
            ("m0", "/dev/../etc"),
            ("m0", "/dev/mem"),
            ("m0", "/dev/null/x"),
        ] {
            assert!(ask(key, destination).is_err(), "{key} {destination}");
        }
    }

    #[test]
    fn new_namespaces_are_not_external() {
        let value = json!({
            "ociVersion": "1.2.0",
            "linux": {"namespaces": [{"type": "pid", "path": ""}, {"type": "network", "path": "/run/netns/a"}]},
        });
        let spec: Spec = serde_json::from_value(value).unwrap();
        assert_eq!(namespaces(&spec), [("net", PathBuf::from("/run/netns/a"))]);
    }

    #[test]
    fn pipes_are_told_from_what_looks_alike() {
        assert!(is_pipe("pipe:[123]"));
        for other in ["/dev/null", "pipe:[]", "pipe:[1]:x", "pipe:[1", "/tmp/pipe:[1]"] {
            assert!(!is_pipe(other), "{other}");
        }
    }
}
