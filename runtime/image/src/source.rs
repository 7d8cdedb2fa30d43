//! Where an image comes from: the transports of containers-transports(5).

use std::fmt;
use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registries::Registries;

/// An image source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A registry (`docker://name`, or a bare name).
    Registry {
        /// References to try in this order; more than one only for a short name without alias.
        candidates: Vec<Reference>,
    },
    /// An OCI image layout directory, `oci:path[:tag]`.
    OciLayout {
        /// The directory.
        path: PathBuf,
        /// Value of `org.opencontainers.image.ref.name`; absent when the layout has one image.
        name: Option<String>,
    },
    /// A tar file of an OCI image layout, `oci-archive:path[:tag]`.
    OciArchive {
        /// The file.
        path: PathBuf,
        /// As in [`Source::OciLayout`].
        name: Option<String>,
    },
    /// A tar file written by `docker save`, `docker-archive:path[:name|:@index]`.
    DockerArchive {
        /// The file.
        path: PathBuf,
        /// Which of its images.
        select: ArchiveSelect,
    },
    /// An image of Podman's store, `containers-storage:[[driver@]root[+run]]name`.
    ContainersStorage(StorageName),
    /// A directory of plain files, `dir:path`.
    Directory {
        /// The directory.
        path: PathBuf,
    },
}

/// An image in a store of Podman and its relatives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StorageName {
    /// The storage driver; absent: the one that is configured, or there.
    pub driver: Option<String>,
    /// The store; absent: the one that is configured.
    pub root: Option<PathBuf>,
    /// Name, `name@digest` or id of the image.
    pub image: String,
}

impl StorageName {
    /// Parses what follows `containers-storage:`. The run directory and options have no meaning for
    /// who only reads.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (store, image) = match text.strip_prefix('[') {
            Some(rest) => rest.split_once(']').ok_or("the \"]\" after the store is missing")?,
            None => ("", text),
        };
        if image.trim_matches('@').is_empty() {
            return Err("a name or id must follow the transport");
        }
        let (driver, root) = match store.split_once('@') {
            Some((driver, root)) => (Some(driver.to_owned()), root),
            None => (None, store),
        };
        let root = root.split(['+', ':']).next().unwrap_or_default();
        if !root.is_empty() && !root.starts_with('/') {
            return Err("the store must be an absolute path");
        }
        let root = Some(PathBuf::from(root)).filter(|root| !root.as_os_str().is_empty());
        Ok(Self { driver: driver.filter(|driver| !driver.is_empty()), root, image: image.to_owned() })
    }
}

impl fmt::Display for StorageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("containers-storage:")?;
        if self.driver.is_some() || self.root.is_some() {
            let driver = self.driver.as_ref().map(|driver| format!("{driver}@")).unwrap_or_default();
            write!(f, "[{driver}{}]", self.root.as_deref().unwrap_or(std::path::Path::new("")).display())?;
        }
        f.write_str(&self.image)
    }
}

/// Chooses an image in a `docker-archive`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArchiveSelect {
    /// The only one.
    Only,
    /// The one with this name among its tags.
    Name(Reference),
    /// The one at this position, from 0.
    Index(usize),
}

impl Source {
    /// Parses a transport and what follows it; a bare name is resolved by `registries.conf`.
    ///
    /// # Errors
    /// [`Error::InvalidReference`], or [`Error::ShortName`] when a short name has no meaning here.
    pub fn parse(text: &str, registries: &Registries) -> Result<Self> {
        let missing_path = || Error::reference(text, "a path must follow the transport");
        let split = |rest: &str| -> Result<(PathBuf, Option<String>)> {
            let (path, name) = match rest.split_once(':') {
                Some((path, name)) => (path, Some(name.to_owned())),
                None => (rest, None),
            };
            if path.is_empty() {
                return Err(missing_path());
            }
            Ok((PathBuf::from(path), name.filter(|name| !name.is_empty())))
        };
        match text.split_once(':') {
            Some(("docker", rest)) if rest.starts_with("//") => {
                Ok(Source::Registry { candidates: vec![Reference::parse(&rest[2..])?] })
            }
            Some(("oci", rest)) => split(rest).map(|(path, name)| Source::OciLayout { path, name }),
            Some(("oci-archive", rest)) => split(rest).map(|(path, name)| Source::OciArchive { path, name }),
            Some(("docker-archive", rest)) => {
                let (path, select) = split(rest)?;
                Ok(Source::DockerArchive { path, select: archive_select(text, select)? })
            }
            Some(("dir", "")) => Err(missing_path()),
            Some(("dir", rest)) => Ok(Source::Directory { path: PathBuf::from(rest) }),
            Some(("containers-storage", rest)) => StorageName::parse(rest)
                .map(Source::ContainersStorage)
                .map_err(|reason| Error::reference(text, reason)),
            Some((transport @ ("docker-daemon" | "ostree" | "sif"), _)) => Err(Error::reference(
                text,
                format!(
                    "the transport {transport}: is not supported; use docker://, oci:, \
                         oci-archive:, docker-archive:, dir: or containers-storage:"
                ),
            )),
            _ => Ok(Source::Registry { candidates: registries.resolve(text)? }),
        }
    }

    /// Whether the text names a transport other than a registry: such a source is read again on
    /// each pull, since its path says nothing about its content.
    pub fn is_local(&self) -> bool {
        !matches!(self, Source::Registry { .. })
    }
}

fn archive_select(text: &str, select: Option<String>) -> Result<ArchiveSelect> {
    let Some(select) = select else { return Ok(ArchiveSelect::Only) };
    match select.strip_prefix('@') {
        Some(index) => index
            .parse()
            .map(ArchiveSelect::Index)
            .map_err(|_| Error::reference(text, "after \"@\" a position (0, 1, …) is expected")),
        None => Reference::parse(&select).map(ArchiveSelect::Name),
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |f: &mut fmt::Formatter<'_>, transport, path: &PathBuf, name: &Option<String>| {
            write!(f, "{transport}:{}", path.display())?;
            name.as_ref().map_or(Ok(()), |name| write!(f, ":{name}"))
        };
        match self {
            Source::Registry { candidates } => match candidates.first() {
                Some(first) => write!(f, "docker://{first}"),
                None => f.write_str("docker://"),
            },
            Source::OciLayout { path, name } => named(f, "oci", path, name),
            Source::OciArchive { path, name } => named(f, "oci-archive", path, name),
            Source::DockerArchive { path, select } => {
                write!(f, "docker-archive:{}", path.display())?;
                match select {
                    ArchiveSelect::Only => Ok(()),
                    ArchiveSelect::Name(name) => write!(f, ":{name}"),
                    ArchiveSelect::Index(index) => write!(f, ":@{index}"),
                }
            }
            Source::ContainersStorage(name) => name.fmt(f),
            Source::Directory { path } => write!(f, "dir:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transports_are_recognised() {
        let registries = Registries::empty();
        for (given, wanted) in [
            ("docker://nginx", "docker://docker.io/library/nginx:latest"),
            ("quay.io/a/b", "docker://quay.io/a/b:latest"),
            ("localhost:5000/b", "docker://localhost:5000/b:latest"),
            ("oci:/srv/layout", "oci:/srv/layout"),
            ("oci:/srv/layout:v1", "oci:/srv/layout:v1"),
            ("oci-archive:/srv/x.tar:v1", "oci-archive:/srv/x.tar:v1"),
            ("docker-archive:/srv/x.tar:@1", "docker-archive:/srv/x.tar:@1"),
            ("docker-archive:x.tar:a/b:c", "docker-archive:x.tar:docker.io/a/b:c"),
            ("dir:/srv/d", "dir:/srv/d"),
            ("containers-storage:localhost/x", "containers-storage:localhost/x"),
            ("containers-storage:[vfs@/srv/s+/run/s:vfs.a=b]x:1", "containers-storage:[vfs@/srv/s]x:1"),
            ("containers-storage:[/srv/s]@abc", "containers-storage:[/srv/s]@abc"),
        ] {
            assert_eq!(Source::parse(given, &registries).unwrap().to_string(), wanted, "{given}");
        }
        for bad in [
            "oci:",
            "dir:",
            "oci-archive::x",
            "docker-archive:x:@y",
            "docker-daemon:x:y",
            "containers-storage:",
            "containers-storage:[/x]",
            "containers-storage:[x]y",
            "containers-storage:[/x",
        ] {
            assert!(Source::parse(bad, &registries).is_err(), "{bad}");
        }
    }
}
