//! The volumes of a pod: what each is made of, and where a container sees it.
//!
//! The contents of ConfigMaps and Secrets become files of a tmpfs that only root can reach; what a container sees is
//! a bind mount of them, which it can't write to. An `emptyDir` is a directory that goes with the pod.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use super::model::{Container, FilesVolume, HostPath, Volume, VolumeMount};
use super::objects::{Entries, Objects, check, check_label};
use super::quantity;
use super::read::{Source, Text};
use super::yaml::Problem;

/// Mode of files without another, Kubernetes reference, "ConfigMapVolumeSource".
const FILE_MODE: u32 = 0o644;

/// What a volume is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Content {
    /// A path of the host, and what must be there.
    Host(PathBuf, HostType),
    /// A device of the host.
    Device(PathBuf),
    /// An empty directory; in memory, perhaps with a size.
    Empty {
        /// Whether it is memory, not disk.
        memory: bool,
    },
    /// Files with their modes, by their paths below the volume.
    Files(BTreeMap<String, (u32, Vec<u8>)>),
    /// A named volume.
    Claim {
        /// Its name.
        name: String,
        /// Nobody writes to it.
        read_only: bool,
    },
}

/// `hostPath.type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HostType {
    /// Whatever is there.
    Any,
    /// A directory that is made if it is missing.
    DirectoryOrCreate,
    /// A directory.
    Directory,
    /// A file that is made if it is missing.
    FileOrCreate,
    /// A file.
    File,
    /// A socket.
    Socket,
}

/// The volumes of a pod by name.
pub(crate) type Volumes = BTreeMap<String, Content>;

/// Where things of a pod are on the host.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    /// A directory of a tmpfs: files of ConfigMaps and Secrets, memory.
    pub(crate) memory: PathBuf,
    /// A directory on disk.
    pub(crate) disk: PathBuf,
}

impl Places {
    /// The directory of a volume that is ours.
    pub(crate) fn of(&self, volume: &str, content: &Content) -> PathBuf {
        let root = if *content == (Content::Empty { memory: false }) { &self.disk } else { &self.memory };
        root.join("volumes").join(volume)
    }
}

/// Reads the pod's volumes.
///
/// # Errors
/// A volume of a kind that there isn't, or without what it is made of.
pub(crate) fn read(volumes: &[Volume], objects: &Objects, source: &Source<'_>) -> Result<Volumes, Problem> {
    let mut all = Volumes::new();
    for (number, volume) in volumes.iter().enumerate() {
        let path = format!("spec.volumes[{number}]");
        let Some(name) = &volume.name else {
            return Err(source.problem(volume.at, format!("{path} has no name")));
        };
        check_label(name, &format!("{path}.name"), source)?;
        if let Some(content) = content(volume, objects, &path, source)?
            && all.insert(name.value.clone(), content).is_some()
        {
            return Err(source.problem(name.at, format!("a second volume is called {}", name.value)));
        }
    }
    Ok(all)
}

fn content(
    volume: &Volume,
    objects: &Objects,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<Content>, Problem> {
    let content = match (
        &volume.host_path,
        &volume.empty_dir,
        &volume.config_map,
        &volume.secret,
        &volume.claim,
    ) {
        (Some(host), None, None, None, None) => host_path(host, path, source)?,
        (None, Some(empty), None, None, None) => {
            let memory = match empty.medium.as_deref().map_or("", String::as_str) {
                "" => false,
                "Memory" => true,
                other => {
                    let reason =
                        format!("{path}.emptyDir.medium is \"{other}\": possible is Memory, or none");
                    return Err(source.problem(empty.at, reason));
                }
            };
            if let Some(limit) = &empty.size_limit {
                if quantity::whole(&limit.0).is_none() {
                    let reason = format!("{path}.emptyDir.sizeLimit: \"{}\" is no quantity", limit.0.value);
                    return Err(source.problem(limit.0.at, reason));
                }
                source.note(limit.0.at, format!("{path}.emptyDir.sizeLimit is not enforced"));
            }
            Content::Empty { memory }
        }
        (None, None, Some(files), None, None) => {
            return entries(files, &files.name, &objects.config_maps, "ConfigMap", path, source);
        }
        (None, None, None, Some(files), None) => {
            return entries(files, &files.secret_name, &objects.secrets, "Secret", path, source);
        }
        (None, None, None, None, Some(claim)) => {
            let Some(name) = &claim.name else {
                return Err(
                    source.problem(claim.at, format!("{path}.persistentVolumeClaim has no claimName"))
                );
            };
            check(name, &format!("{path}.persistentVolumeClaim.claimName"), source)?;
            let read_only = claim.read_only.as_deref() == Some(&true);
            Content::Claim { name: name.value.clone(), read_only }
        }
        _ => {
            let reason = format!(
                "{path} must be one of hostPath, emptyDir, configMap, secret and persistentVolumeClaim; others are \
                 not supported"
            );
            return Err(source.problem(volume.at, reason));
        }
    };
    Ok(Some(content))
}

fn host_path(host: &HostPath, path: &str, source: &Source<'_>) -> Result<Content, Problem> {
    let Some(place) = &host.path else {
        return Err(source.problem(host.at, format!("{path}.hostPath has no path")));
    };
    let place_of = PathBuf::from(place.as_str());
    if !place_of.is_absolute() || place_of.components().any(|part| part == Component::ParentDir) {
        let reason = format!("{path}.hostPath.path: \"{}\" must begin with / and have no ..", place.value);
        return Err(source.problem(place.at, reason));
    }
    plain(place, &format!("{path}.hostPath.path"), source)?;
    let kind = match host.kind.as_deref().map_or("", String::as_str) {
        "" => HostType::Any,
        "DirectoryOrCreate" => HostType::DirectoryOrCreate,
        "Directory" => HostType::Directory,
        "FileOrCreate" => HostType::FileOrCreate,
        "File" => HostType::File,
        "Socket" => HostType::Socket,
        "CharDevice" | "BlockDevice" => return Ok(Content::Device(place_of)),
        other => {
            let reason = format!(
                "{path}.hostPath.type: there is no type \"{other}\"; possible are DirectoryOrCreate, Directory, \
                 FileOrCreate, File, Socket, CharDevice and BlockDevice"
            );
            return Err(source.problem(host.at, reason));
        }
    };
    Ok(Content::Host(place_of, kind))
}

/// Paths go into podman-run's `--volume`, whose parts are separated by colons.
fn plain(path: &Text, field: &str, source: &Source<'_>) -> Result<(), Problem> {
    if path.contains(':') || path.chars().any(char::is_control) {
        let reason = format!("{field}: \"{}\" contains a colon or a control character", path.escape_debug());
        return Err(source.problem(path.at, reason));
    }
    Ok(())
}

/// The files of a ConfigMap or a Secret; `None` if it is missing and may be.
fn entries(
    volume: &FilesVolume,
    name: &Option<Text>,
    objects: &BTreeMap<String, Entries>,
    kind: &str,
    path: &str,
    source: &Source<'_>,
) -> Result<Option<Content>, Problem> {
    let Some(name) = name else {
        return Err(source.problem(volume.at, format!("{path} names no {kind}")));
    };
    let is_optional = volume.optional.as_deref() == Some(&true);
    let mode = |mode: &Option<super::read::Number>, default: u32| match mode {
        None => Ok(default),
        Some(mode) => u32::try_from(mode.value).ok().filter(|mode| *mode <= 0o777).ok_or_else(|| {
            source.problem(mode.at, format!("{path}: {} is no mode of a file (0 to 0777)", mode.value))
        }),
    };
    let default_mode = mode(&volume.default_mode, FILE_MODE)?;
    let mut files = BTreeMap::new();
    let Some(object) = objects.get(name.as_str()) else {
        if is_optional {
            return Ok(Some(Content::Files(files)));
        }
        let reason =
            format!("{path}: there is no {kind} {}: add it to the YAML, or write optional: true", name.value);
        return Err(source.problem(name.at, reason));
    };
    if volume.items.is_empty() {
        for (key, value) in object {
            if key.is_empty() || key.contains('/') || key.starts_with("..") || key == "." {
                let reason = format!("{path}: \"{}\" can't be the name of a file", key.escape_debug());
                return Err(source.problem(name.at, reason));
            }
            files.insert(key.clone(), (default_mode, value.clone()));
        }
        return Ok(Some(Content::Files(files)));
    }
    for item in &volume.items {
        let (Some(key), Some(file)) = (&item.key, &item.path) else {
            return Err(source.problem(item.at, format!("{path}: an item has a key and a path")));
        };
        let parts = || Path::new(file.as_str()).components();
        if file.is_empty() || parts().any(|part| !matches!(part, Component::Normal(_))) {
            let reason = format!("{path}: the path \"{}\" must be relative and without ..", file.value);
            return Err(source.problem(file.at, reason));
        }
        match object.get(key.as_str()) {
            Some(value) => {
                files.insert(file.value.clone(), (mode(&item.mode, default_mode)?, value.clone()));
            }
            None if is_optional => {}
            None => {
                let reason = format!("{path}: the {kind} {} has no entry {}", name.value, key.value);
                return Err(source.problem(key.at, reason));
            }
        }
    }
    Ok(Some(Content::Files(files)))
}

/// The words of `sampan run` for a container's volumes.
///
/// # Errors
/// A volume that the pod doesn't have, or a place that can't be one.
pub(crate) fn mounts(
    container: &Container,
    volumes: &Volumes,
    places: &Places,
    path: &str,
    source: &Source<'_>,
) -> Result<Vec<String>, Problem> {
    let mut words = Vec::new();
    for (number, mount) in container.volume_mounts.iter().enumerate() {
        let path = format!("{path}.volumeMounts[{number}]");
        let (Some(name), Some(place)) = (&mount.name, &mount.path) else {
            return Err(source.problem(mount.at, format!("{path} must have a name and a mountPath")));
        };
        let Some(content) = volumes.get(name.as_str()) else {
            let reason = format!("{path}: the pod has no volume {}: add it to spec.volumes", name.value);
            return Err(source.problem(name.at, reason));
        };
        plain(place, &format!("{path}.mountPath"), source)?;
        let place = if place.starts_with('/') { place.value.clone() } else { format!("/{}", place.value) };
        if let Content::Device(device) = content {
            let access = if mount.read_only.as_deref() == Some(&true) { "r" } else { "rw" };
            words.extend(["--device".to_owned(), format!("{}:{place}:{access}", device.display())]);
            continue;
        }
        let from = source_of(mount, name, content, places, &path, source)?;
        let options = options(mount, content, &path, source)?;
        words.extend(["--volume".to_owned(), format!("{from}:{place}:{}", options.join(","))]);
    }
    Ok(words)
}

/// What is mounted: a path of the host, or the name of a volume.
fn source_of(
    mount: &VolumeMount,
    name: &str,
    content: &Content,
    places: &Places,
    path: &str,
    source: &Source<'_>,
) -> Result<String, Problem> {
    if let Some(expression) = &mount.sub_path_expr {
        return Err(
            source.problem(expression.at, format!("{path}.subPathExpr is not supported: use subPath"))
        );
    }
    let sub_path = mount.sub_path.as_ref().filter(|sub_path| !sub_path.is_empty());
    match (content, sub_path) {
        (Content::Claim { name, .. }, None) => Ok(name.clone()),
        (Content::Host(host, _), None) => Ok(host.display().to_string()),
        (_, None) => Ok(places.of(name, content).display().to_string()),
        (Content::Files(files), Some(sub_path)) => {
            let wanted = sub_path.trim_end_matches('/');
            let is_there = files.keys().any(|file| Path::new(file).starts_with(wanted));
            if !is_there || Path::new(wanted).components().any(|part| !matches!(part, Component::Normal(_))) {
                let reason = format!("{path}.subPath: the volume {name} has no file {}", sub_path.value);
                return Err(source.problem(sub_path.at, reason));
            }
            plain(sub_path, &format!("{path}.subPath"), source)?;
            Ok(places.of(name, content).join(wanted).display().to_string())
        }
        // A container could put a symbolic link there and have the host's files mounted at its next start.
        (_, Some(sub_path)) => {
            let reason = format!(
                "{path}.subPath: possible for configMap and secret only; give {} a volume of its own",
                sub_path.value
            );
            Err(source.problem(sub_path.at, reason))
        }
    }
}

fn options(
    mount: &VolumeMount,
    content: &Content,
    path: &str,
    source: &Source<'_>,
) -> Result<Vec<&'static str>, Problem> {
    let is_fixed = matches!(content, Content::Files(_) | Content::Claim { read_only: true, .. });
    let is_read_only = is_fixed || mount.read_only.as_deref() == Some(&true);
    let mut options = vec![if is_read_only { "ro" } else { "rw" }];
    if !matches!(content, Content::Host(..) | Content::Claim { .. }) {
        options.extend(["nosuid", "nodev"]);
    }
    match mount.propagation.as_deref().map_or("", String::as_str) {
        "" | "None" => {}
        "HostToContainer" => options.push("rslave"),
        "Bidirectional" => options.push("rshared"),
        other => {
            let reason = format!(
                "{path}.mountPropagation is \"{other}\": possible are None, HostToContainer and Bidirectional"
            );
            return Err(source.problem(mount.at, reason));
        }
    }
    Ok(options)
}
