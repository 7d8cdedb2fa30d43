//! `--volume`, `--mount` and `--tmpfs`: from text to requests, one type for all three spellings.
//!
//! What a request becomes (a bind of a directory, a volume that has to be made first) is decided in
//! [`super::volumes`]; nothing here touches the file system.

use std::path::{Component, Path, PathBuf};

use anyhow::{Context, bail, ensure};

use super::size;

/// Something that the user wants at a place in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) source: Source,
    /// Absolute, without `..`.
    pub(crate) destination: PathBuf,
    /// fstab-style options, OCI runtime-spec "Mounts".
    pub(crate) options: Vec<String>,
    /// Who may use the files under SELinux: `z` shared, `Z` this container alone.
    pub(crate) relabel: Option<Relabel>,
    /// `U`: hand the files to the container's user.
    pub(crate) chown: bool,
    /// Fill an empty volume with what the image has at the place.
    pub(crate) copy: bool,
}

/// Where the files come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file or directory of the host.
    Bind(PathBuf),
    /// A volume by name.
    Volume(String),
    /// A volume without a name, gone with the container.
    Anonymous,
    /// Memory.
    Tmpfs,
    /// A pseudo-terminal file system of its own.
    DevPts,
    /// Files of an artifact, to be read.
    Artifact(Artifact),
}

/// Which files of an artifact are mounted, and as what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Artifact {
    /// The artifact's name.
    pub(crate) name: String,
    /// Only the file with this digest.
    pub(crate) digest: Option<String>,
    /// Only the file with this title.
    pub(crate) title: Option<String>,
    /// What the file is called in the container, instead of its title.
    pub(crate) file: Option<String>,
}

/// SELinux sharing of a volume's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Relabel {
    Shared,
    Private,
}

impl Request {
    fn new(source: Source, destination: &str) -> anyhow::Result<Self> {
        let destination = destination_path(destination)?;
        Ok(Self { source, destination, options: Vec::new(), relabel: None, chown: false, copy: true })
    }

    /// Whether the container may write there.
    pub(crate) fn is_writable(&self) -> bool {
        !self.options.iter().any(|option| matches!(option.as_str(), "ro" | "rro"))
    }

    fn take(&mut self, option: &str) -> anyhow::Result<()> {
        match option {
            "" | "rw" => {}
            "z" => self.relabel = Some(Relabel::Shared),
            "Z" => self.relabel = Some(Relabel::Private),
            "U" => self.chown = true,
            "copy" => self.copy = true,
            "nocopy" => self.copy = false,
            "ro" | "exec" | "noexec" | "suid" | "nosuid" | "dev" | "nodev" | "bind" | "rbind" | "shared"
            | "rshared" | "slave" | "rslave" | "private" | "rprivate" | "unbindable" | "runbindable" => {
                self.options.push(option.to_owned());
            }
            "O" => bail!("overlay volumes (O) are not available; use :ro, or a named volume"),
            _ if option == "idmap" || option.starts_with("idmap=") => {
                bail!(
                    "id-mapped volumes (idmap) are not available; use U to hand the files to the container's user"
                )
            }
            _ => bail!("there is no volume option \"{option}\""),
        }
        Ok(())
    }
}

/// `--volume [SOURCE:]DESTINATION[:OPTIONS]`
///
/// # Errors
/// A destination that is not absolute, or an unknown option.
pub(crate) fn volume(text: &str) -> anyhow::Result<Request> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, destination, options) = match parts[..] {
        [destination] => (None, destination, ""),
        [source, destination] if destination.starts_with('/') || !source.starts_with('/') => {
            (Some(source), destination, "")
        }
        [destination, options] => (None, destination, options),
        [source, destination, options] => (Some(source), destination, options),
        _ => bail!("write SOURCE:DESTINATION[:OPTIONS], as in /srv/www:/var/www:ro"),
    };
    let source = match source {
        None => Source::Anonymous,
        Some("") => bail!("the source is empty"),
        Some(path) if path.starts_with(['/', '.']) => {
            let path = std::path::absolute(path).context("resolving the source")?;
            Source::Bind(path)
        }
        Some(name) => Source::Volume(volume_name(name)?),
    };
    let mut request = Request::new(source, destination)?;
    for option in options.split(',') {
        request.take(option)?;
    }
    Ok(request)
}

/// A volume that the image declares: a place and nothing else. It is never read as `SOURCE:DESTINATION`, or an image
/// could have the host's own files (CVE-2022-23648).
///
/// # Errors
/// The place is not absolute, or leads upwards.
pub(crate) fn declared(place: &str) -> anyhow::Result<Request> {
    Request::new(Source::Anonymous, place)
}

/// `--tmpfs DESTINATION[:OPTIONS]`
///
/// # Errors
/// As [`volume`].
pub(crate) fn tmpfs(text: &str) -> anyhow::Result<Request> {
    let (destination, options) = text.split_once(':').unwrap_or((text, ""));
    let mut request = Request::new(Source::Tmpfs, destination)?;
    request.options = ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        tmpfs_option(&mut request, option)?;
    }
    Ok(request)
}

fn tmpfs_option(request: &mut Request, option: &str) -> anyhow::Result<()> {
    match option.split_once('=').unwrap_or((option, "")) {
        ("size", value) if !value.ends_with('%') => {
            request.options.push(format!("size={}", size::bytes(value)?))
        }
        ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks", _) => {
            request.options.push(option.to_owned())
        }
        ("notmpcopyup", "") => request.options.retain(|known| known != "tmpcopyup"),
        ("tmpcopyup" | "rw", "") => {}
        ("dev" | "suid", "") => request.options.retain(|known| *known != format!("no{option}")),
        ("noatime" | "ro" | "exec" | "noexec" | "nodev" | "nosuid" | "rprivate" | "private", "") => {
            request.options.push(option.to_owned());
        }
        _ => bail!("there is no tmpfs option \"{option}\" (see tmpfs(5): size, mode, uid, gid, nr_inodes)"),
    }
    Ok(())
}

/// `--mount type=TYPE,KEY[=VALUE],…`
///
/// # Errors
/// A type or key that podman-run(1) doesn't know or that is not available here.
pub(crate) fn mount(text: &str) -> anyhow::Result<Request> {
    let fields: Vec<(&str, &str)> =
        text.split(',').map(|field| field.split_once('=').unwrap_or((field, ""))).collect();
    let get =
        |names: &[&str]| fields.iter().rev().find(|(key, _)| names.contains(key)).map(|(_, value)| *value);
    let destination = get(&["destination", "dst", "target"]).context("there is no destination=")?;
    let source = get(&["source", "src"]);
    let source = match get(&["type"]).unwrap_or("volume") {
        "bind" => {
            let source = source.context("a bind mount needs source=")?;
            Source::Bind(std::path::absolute(source).context("resolving the source")?)
        }
        "volume" => source.map_or(Ok(Source::Anonymous), |name| volume_name(name).map(Source::Volume))?,
        "tmpfs" => Source::Tmpfs,
        "devpts" => Source::DevPts,
        "artifact" => Source::Artifact(Artifact {
            name: source
                .filter(|name| !name.is_empty())
                .context("an artifact mount needs source=")?
                .to_owned(),
            digest: get(&["digest"]).map(str::to_owned),
            title: get(&["title"]).map(str::to_owned),
            file: get(&["name"]).map(str::to_owned),
        }),
        other => {
            bail!("mounts of type {other} are not available; known are artifact, bind, volume, tmpfs, devpts")
        }
    };
    let mut request = Request::new(source, destination)?;
    if request.source == Source::Tmpfs {
        request.options = ["nosuid", "nodev", "tmpcopyup"].map(str::to_owned).to_vec();
    }
    for (key, value) in &fields {
        if !["type", "source", "src", "destination", "dst", "target"].contains(key) {
            mount_key(&mut request, key, value)?;
        }
    }
    Ok(request)
}

fn mount_key(request: &mut Request, key: &str, value: &str) -> anyhow::Result<()> {
    let yes = match value {
        "" | "true" | "1" | "yes" => true,
        "false" | "0" | "no" => false,
        _ => true,
    };
    match (key, &request.source) {
        ("digest" | "title" | "name", Source::Artifact(_)) => {}
        ("ro" | "readonly", Source::Artifact(_)) if yes => {}
        (_, Source::Artifact(_)) => {
            bail!(
                "\"{key}\" does not belong to a mount of an artifact, which is always read-only; known are digest, title, name"
            )
        }
        ("ro" | "readonly", _) if yes => request.options.push("ro".into()),
        ("rw", _) if !yes => request.options.push("ro".into()),
        ("ro" | "readonly" | "rw" | "consistency", _) => {}
        ("U" | "chown", _) => request.chown = yes,
        ("relabel", _) if value == "shared" => request.relabel = Some(Relabel::Shared),
        ("relabel", _) if value == "private" => request.relabel = Some(Relabel::Private),
        ("bind-propagation", Source::Bind(_)) => request.take(value)?,
        ("bind-nonrecursive", Source::Bind(_)) if yes => request.options.push("bind".into()),
        ("tmpfs-size", Source::Tmpfs) => tmpfs_option(request, &format!("size={value}"))?,
        ("tmpfs-mode", Source::Tmpfs) => tmpfs_option(request, &format!("mode={value}"))?,
        (
            "z" | "Z" | "copy" | "nocopy" | "noexec" | "nosuid" | "nodev" | "exec" | "suid" | "dev" | "idmap",
            Source::Bind(_) | Source::Volume(_) | Source::Anonymous,
        ) => {
            request.take(key)?;
        }
        (_, Source::Tmpfs) => {
            let option = if value.is_empty() { key.to_owned() } else { format!("{key}={value}") };
            tmpfs_option(request, &option)?;
        }
        ("uid" | "gid" | "mode" | "ptmxmode" | "max", Source::DevPts) => {
            request.options.push(format!("{key}={value}"))
        }
        _ => bail!("\"{key}\" does not belong to this type of mount"),
    }
    Ok(())
}

fn destination_path(text: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(text);
    ensure!(path.is_absolute(), "the place in the container, \"{text}\", must be an absolute path");
    ensure!(!path.components().any(|part| part == Component::ParentDir), "\"{text}\" contains \"..\"");
    ensure!(path != Path::new("/"), "the whole root can't be replaced; use Rootfs= for that");
    Ok(path.components().collect())
}

fn volume_name(name: &str) -> anyhow::Result<String> {
    let mut letters = name.chars();
    let good = letters.next().is_some_and(|c| c.is_ascii_alphanumeric())
        && letters.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
    ensure!(good, "\"{name}\" is neither an absolute path nor a volume name ([a-zA-Z0-9][a-zA-Z0-9_.-]*)");
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_in_their_four_forms() {
        let request = volume("/srv:/data:ro,Z").unwrap();
        assert_eq!(request.source, Source::Bind("/srv".into()));
        assert_eq!((request.options, request.relabel), (vec!["ro".into()], Some(Relabel::Private)));
        assert_eq!(volume("db:/var/lib/db").unwrap().source, Source::Volume("db".into()));
        assert_eq!(volume("/cache").unwrap().source, Source::Anonymous);
        assert!(!volume("/cache:nocopy").unwrap().copy);
        for wrong in ["a:b", "/a:b/c:ro", "/a:/b:what", "/a:/b/../c", ":/x", "na me:/x", "/a:/", "a:b:c:d"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_image_declares_places_and_no_sources() {
        for place in ["/:/host", "/etc:/x:U", "/data"] {
            let request = declared(place).unwrap();
            assert_eq!((request.source, request.destination), (Source::Anonymous, PathBuf::from(place)));
        }
        for wrong in ["pgdata:/steal", "data", "/a/../../b", "/"] {
            assert!(declared(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mounts_by_type() {
        let request = mount("type=tmpfs,destination=/tmp,tmpfs-size=64M,tmpfs-mode=1777").unwrap();
        assert_eq!(request.options, ["nosuid", "nodev", "tmpcopyup", "size=67108864", "mode=1777"]);
        let request = mount("type=bind,src=/srv,dst=/data,readonly,bind-propagation=rslave").unwrap();
        assert_eq!(request.options, ["ro", "rslave"]);
        assert_eq!(mount("source=v,target=/data").unwrap().source, Source::Volume("v".into()));
        let request = mount("type=artifact,source=quay.io/a/b:1,destination=/models,title=x").unwrap();
        let Source::Artifact(artifact) = request.source else { panic!("an artifact") };
        assert_eq!((artifact.name.as_str(), artifact.title.as_deref()), ("quay.io/a/b:1", Some("x")));
        for wrong in
            ["type=artifact,dst=/x", "type=artifact,source=a,dst=/x,rw", "type=artifact,source=a,dst=/x,U"]
        {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
        for wrong in
            ["type=bind,dst=/x", "type=nosuch,dst=/x", "type=tmpfs", "type=volume,dst=/x,tmpfs-size=1"]
        {
            assert!(mount(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn tmpfs_options() {
        assert_eq!(tmpfs("/run:size=1k,notmpcopyup,dev").unwrap().options, ["nosuid", "size=1024"]);
        assert!(tmpfs("/run:nosuch").is_err());
    }
}
