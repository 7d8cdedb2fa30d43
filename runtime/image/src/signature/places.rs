//! `registries.d`: where the signatures of a registry's images are
//! ([containers-registries.d(5)](https://github.com/containers/image/blob/main/docs/containers-registries.d.5.md)).

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::policy::scopes_of_reference;
use crate::reference::Reference;
use crate::registries::{drop_ins, home, user_directory};

/// Where signatures of one repository are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Places {
    pub(crate) lookaside: Lookaside,
    /// Cosign's signatures, as tags beside the image.
    pub(crate) attachments: bool,
    /// The directories that were read, for messages.
    pub(crate) configured_in: String,
}

/// A store of signatures beside the registry, for one repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Lookaside {
    /// A directory, with the repository's path.
    Directory(PathBuf),
    /// A server.
    Server {
        /// `http` or `https`.
        scheme: String,
        /// Host name and port.
        host: String,
        /// Path of the repository on it.
        path: String,
        /// What follows a `?`, with it.
        query: String,
    },
}

/// One file.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct File {
    default_docker: Option<Section>,
    docker: Option<BTreeMap<String, Section>>,
    #[serde(flatten)]
    other: BTreeMap<String, IgnoredAny>,
}

/// Where signatures of a registry or a part of it are.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Section {
    lookaside: Option<String>,
    /// The older name of `lookaside`.
    sigstore: Option<String>,
    use_sigstore_attachments: Option<bool>,
    /// For writing, which is not done here.
    #[serde(rename = "lookaside-staging")]
    _lookaside_staging: Option<IgnoredAny>,
    #[serde(rename = "sigstore-staging")]
    _sigstore_staging: Option<IgnoredAny>,
    #[serde(flatten)]
    other: BTreeMap<String, IgnoredAny>,
}

/// All files together: a section with the file that it is from.
#[derive(Debug, Default)]
struct Merged {
    default: Option<(Section, PathBuf)>,
    docker: BTreeMap<String, (Section, PathBuf)>,
}

impl Places {
    /// Reads the configuration below `root`, and chooses what counts for a reference (as the endpoint knows it:
    /// a mirror's signatures are configured under the mirror's name).
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Io`].
    pub(crate) fn of(reference: &Reference, root: &Path) -> Result<Self> {
        let directories = directories(root);
        let merged = Merged::load(&directories)?;
        let sections: Vec<_> = scopes_of_reference(reference)
            .iter()
            .filter_map(|scope| merged.docker.get(scope))
            .chain(&merged.default)
            .collect();
        // The most specific section that says something about it, as containers/image has it.
        let url = sections.iter().find_map(|(section, file)| {
            let url = section.lookaside.as_ref().or(section.sigstore.as_ref()).filter(|url| !url.is_empty());
            Some((url?, file))
        });
        let lookaside = match url {
            Some((url, file)) => Lookaside::parse(url, reference)
                .map_err(|reason| Error::Config { path: file.clone(), reason })?,
            None => Lookaside::Directory(built_in(root).join(reference.path())),
        };
        let attachments = sections.iter().find_map(|(section, _)| section.use_sigstore_attachments);
        let configured_in = root.join("etc/containers/registries.d").display().to_string();
        Ok(Self { lookaside, attachments: attachments.unwrap_or(false), configured_in })
    }
}

impl Merged {
    /// Reads the directories, the least important first. A file hides those of the same name before it, and so
    /// does a section; twice within one directory there is no telling which was meant.
    fn load(directories: &[PathBuf]) -> Result<Self> {
        let mut files: BTreeMap<String, PathBuf> = BTreeMap::new();
        for directory in directories {
            for path in drop_ins(directory, "yaml")?.into_iter().filter(|path| path.is_file()) {
                let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
                files.insert(name.unwrap_or_default(), path);
            }
        }
        let mut merged = Self::default();
        for directory in directories {
            for path in files.values().filter(|path| path.parent() == Some(directory)) {
                merged.add(read(path)?, path)?;
            }
        }
        Ok(merged)
    }

    fn add(&mut self, file: File, path: &Path) -> Result<()> {
        let unknown = file.other.keys().map(|key| (String::new(), key.clone()));
        let sections = file
            .docker
            .iter()
            .flatten()
            .chain(file.default_docker.iter().map(|section| (const { &String::new() }, section)));
        let below = sections.flat_map(|(name, section)| {
            section.other.keys().map(move |key| (format!("{name:?}: "), key.clone()))
        });
        for (place, key) in unknown.chain(below).collect::<Vec<_>>() {
            log::warn!("{}: {place}\"{key}\" is not known; it is ignored", path.display());
        }
        let clash = |name: &str, other: &Path| Error::Config {
            path: path.to_owned(),
            reason: format!("it has a section {name}, and so has {}; remove one", other.display()),
        };
        let same = |other: &Path| other.parent() == path.parent();
        if let Some(section) = file.default_docker {
            if let Some((_, other)) = self.default.as_ref().filter(|(_, other)| same(other)) {
                return Err(clash("default-docker", other));
            }
            self.default = Some((section, path.to_owned()));
        }
        for (name, section) in file.docker.into_iter().flatten() {
            if let Some((_, other)) = self.docker.get(&name).filter(|(_, other)| same(other)) {
                return Err(clash(&format!("\"{name}\""), other));
            }
            self.docker.insert(name, (section, path.to_owned()));
        }
        Ok(())
    }
}

/// The directories, the least important first.
fn directories(root: &Path) -> Vec<PathBuf> {
    let user = rustix::process::geteuid();
    let mut all = Vec::new();
    for directory in ["usr/share/containers", "etc/containers"].map(|directory| root.join(directory)) {
        all.push(directory.join("registries.d"));
        if user.is_root() {
            all.push(directory.join("registries.rootful.d"));
        } else {
            let rootless = directory.join("registries.rootless.d");
            all.push(rootless.clone());
            all.push(rootless.join(user.as_raw().to_string()));
        }
    }
    all.extend(user_directory().map(|directory| directory.join("registries.d")));
    all
}

/// Where `skopeo` and others write signatures if nothing is configured.
fn built_in(root: &Path) -> PathBuf {
    let user = home().map(|home| home.join(".local/share/containers/sigstore"));
    user.unwrap_or_else(|| root.join("var/lib/containers/sigstore"))
}

fn read(path: &Path) -> Result<File> {
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", path, error))?;
    // A file of comments alone, as distributions ship it, is none.
    let empty = text.lines().all(|line| matches!(line.trim().chars().next(), None | Some('#')));
    if empty {
        return Ok(File::default());
    }
    serde_saphyr::from_str(&text).map_err(|error| Error::Config {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}

impl Lookaside {
    /// Parses a URL, and adds the repository.
    fn parse(url: &str, reference: &Reference) -> Result<Self, String> {
        let bad = |reason: &str| format!("lookaside \"{url}\": {reason}");
        let (scheme, rest) = url.split_once(':').ok_or_else(|| bad("it is no URL"))?;
        match scheme {
            "file" => {
                let path = match rest.strip_prefix("//") {
                    Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
                    None => rest,
                };
                if !path.starts_with('/') {
                    return Err(bad("the path must be absolute, as file:///srv/signatures"));
                }
                let path = decoded(path).ok_or_else(|| bad("it has a malformed % in it"))?;
                Ok(Self::Directory(PathBuf::from(format!("{path}/{}", reference.path()))))
            }
            "http" | "https" => {
                let rest = rest.strip_prefix("//").ok_or_else(|| bad("it is no URL"))?;
                let (rest, query) = match rest.find(['?', '#']) {
                    Some(at) => (&rest[..at], rest[at..].split('#').next().unwrap_or_default()),
                    None => (rest, ""),
                };
                let (host, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
                if host.is_empty() || !host.bytes().all(|b| b.is_ascii_graphic()) || host.contains('@') {
                    return Err(bad("it needs a host, and no user or password"));
                }
                if !path.bytes().chain(query.bytes()).all(|byte| byte.is_ascii_graphic()) {
                    return Err(bad("it has characters that belong behind a %"));
                }
                Ok(Self::Server {
                    scheme: scheme.to_owned(),
                    host: host.to_owned(),
                    path: format!("{path}/{}", reference.path()),
                    query: query.to_owned(),
                })
            }
            _ => Err(bad("use https://, http:// or file://")),
        }
    }

    /// File or path of a signature of the manifest, from 1.
    pub(crate) fn signature(&self, manifest: &Digest, number: usize) -> String {
        let tail = format!("@sha256={}/signature-{number}", manifest.hex());
        match self {
            Self::Directory(path) => format!("{}{tail}", path.display()),
            Self::Server { path, query, .. } => format!("{path}{tail}{query}"),
        }
    }

    /// The same for messages.
    pub(crate) fn shown(&self, manifest: &Digest, number: impl fmt::Display) -> String {
        let tail = format!("@sha256={}/signature-{number}", manifest.hex());
        match self {
            Self::Directory(path) => format!("{}{tail}", path.display()),
            Self::Server { scheme, host, path, .. } => format!("{scheme}://{host}{path}{tail}"),
        }
    }
}

/// A path with its `%xx` read.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits =
                    std::str::from_utf8(&digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
                u8::from_str_radix(digits, 16).ok().filter(|byte| *byte != 0)?
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(files: &[(&str, &str)], name: &str) -> Result<Places> {
        let root = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = root.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        Places::of(&Reference::parse(name).unwrap(), root.path())
    }

    fn shown(files: &[(&str, &str)], name: &str) -> String {
        let text = places(files, name).unwrap().lookaside.shown(&Digest::of(b""), 1);
        text.split('@').next().unwrap().to_owned()
    }

    #[test]
    fn the_most_specific_section_decides() {
        let files = [
            (
                "etc/containers/registries.d/default.yaml",
                "# a comment\ndefault-docker:\n  lookaside-staging: file:///var/lib/containers/sigstore\n",
            ),
            (
                "etc/containers/registries.d/redhat.yaml",
                "docker:\n  registry.redhat.io:\n    sigstore: https://registry.redhat.io/containers/sigstore\n  \
                 registry.redhat.io/ours:\n    lookaside: file:///srv/a%20b\n    use-sigstore-attachments: true\n  \
                 localhost:5000:\n    lookaside: http://localhost:4242/s?x=1\n  \
                 registry.redhat.io/ours/x:1:\n    use-sigstore-attachments: false\n",
            ),
            ("etc/containers/registries.d/empty.yaml", "# nothing\n"),
            ("etc/containers/registries.d/ignored.conf", "%%"),
        ];
        assert_eq!(
            shown(&files, "registry.redhat.io/ubi9:1"),
            "https://registry.redhat.io/containers/sigstore/ubi9"
        );
        assert_eq!(shown(&files, "registry.redhat.io/ours/x:2"), "/srv/a b/ours/x");
        assert_eq!(shown(&files, "registry.redhat.io/ours/x:1"), "/srv/a b/ours/x", "what it leaves open");
        assert!(places(&files, "registry.redhat.io/ours/x:2").unwrap().attachments);
        assert!(!places(&files, "registry.redhat.io/ours/x:1").unwrap().attachments);
        assert!(!places(&files, "registry.redhat.io/ubi9").unwrap().attachments);
        let server = places(&files, "localhost:5000/a/b").unwrap().lookaside;
        assert!(server.signature(&Digest::of(b""), 3).starts_with("/s/a/b@sha256=e3b0c442"));
        assert!(server.signature(&Digest::of(b""), 3).ends_with("/signature-3?x=1"));
        if rustix::process::geteuid().is_root() {
            assert!(shown(&files, "q.io/x").ends_with("/var/lib/containers/sigstore/x"));
        }
    }

    #[test]
    fn nearer_directories_hide_and_one_directory_has_no_doubt() {
        let vendor = "docker:\n  q.io:\n    lookaside: https://vendor.io\n";
        let own = "docker:\n  q.io:\n    lookaside: https://own.io\n";
        for own_name in ["etc/containers/registries.d/q.yaml", "etc/containers/registries.d/other.yaml"] {
            let files = [("usr/share/containers/registries.d/q.yaml", vendor), (own_name, own)];
            assert_eq!(shown(&files, "q.io/x"), "https://own.io/x");
        }
        let files =
            [("etc/containers/registries.d/a.yaml", vendor), ("etc/containers/registries.d/b.yaml", own)];
        let error = places(&files, "q.io/x").unwrap_err().to_string();
        assert!(error.contains("b.yaml") && error.contains("a.yaml"), "{error}");
    }

    #[test]
    fn mistakes_name_the_file() {
        for text in [
            "docker: [",
            "docker:\n  q.io:\n    lookaside: ftp://x\n",
            "docker:\n  q.io:\n    lookaside: https://user:word@x\n",
            "docker:\n  q.io:\n    lookaside: file://srv\n",
            "docker:\n  q.io:\n    lookaside: file:///a%zz\n",
            "docker:\n  q.io:\n    lookaside: https:///x\n",
            "docker:\n  q.io:\n    lookaside: nothing\n",
            "docker:\n  q.io:\n    use-sigstore-attachments: maybe\n",
            "docker:\n  q.io:\n    lookaside: https://a\n  q.io:\n    lookaside: https://b\n",
        ] {
            let error = places(&[("etc/containers/registries.d/x.yaml", text)], "q.io/x").unwrap_err();
            assert!(matches!(error, Error::Config { .. }), "{text}: {error}");
            assert!(error.to_string().contains("x.yaml"), "{error}");
        }
    }
}
