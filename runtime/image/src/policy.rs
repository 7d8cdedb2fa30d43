//! `policy.json`: whether an image may be used at all
//! ([containers-policy.json(5)](https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md)).
//!
//! Signatures cannot be verified in this version. A requirement that needs one is therefore never
//! fulfilled: the image is refused, with a message that says so.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::source::Source;

/// Which images are accepted.
#[derive(Debug, Clone)]
pub struct Policy {
    file: PathBuf,
    content: Content,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    default: Vec<Requirement>,
    #[serde(default)]
    transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Requirement {
    InsecureAcceptAnything,
    Reject,
    SignedBy {},
    SigstoreSigned {},
    SignedBaseLayer {},
}

impl Policy {
    /// Reads `etc/containers/policy.json` (else the one in `usr/share`) below `root`, normally `/`.
    /// A host without any accepts every image.
    ///
    /// # Errors
    /// [`Error::Config`] when the file cannot be understood, [`Error::Io`] when it cannot be read.
    pub fn load(root: &Path) -> Result<Self> {
        for directory in ["etc/containers", "usr/share/containers"] {
            let file = root.join(directory).join("policy.json");
            let text = match std::fs::read(&file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(Error::io("read", &file, error)),
            };
            let bad = |reason: String| Error::Config { path: file.clone(), reason };
            let content: Content = serde_json::from_slice(&text).map_err(|error| bad(error.to_string()))?;
            let scopes = content.transports.values().flat_map(BTreeMap::values);
            if scopes.chain([&content.default]).any(Vec::is_empty) {
                return Err(bad(
                    "a list of requirements is empty; write \"reject\" or what is required".into()
                ));
            }
            return Ok(Self { file, content });
        }
        Ok(Self::accept_anything())
    }

    /// Accepts every image.
    pub fn accept_anything() -> Self {
        let default = vec![Requirement::InsecureAcceptAnything];
        Self { file: PathBuf::new(), content: Content { default, transports: BTreeMap::new() } }
    }

    /// Checks a source that is not a registry.
    pub(crate) fn check_local(&self, source: &Source) -> Result<()> {
        let (transport, scopes) = match source {
            Source::Registry { .. } => return Ok(()),
            Source::OciLayout { path, name } => ("oci", path_scopes(path, name.as_deref())),
            Source::OciArchive { path, name } => ("oci-archive", path_scopes(path, name.as_deref())),
            Source::DockerArchive { .. } => ("docker-archive", Vec::new()),
            Source::Directory { path } => ("dir", path_scopes(path, None)),
        };
        self.check(transport, &scopes, &source.to_string())
    }

    /// Checks an image of a registry; the name is the user's, whatever mirror it comes from.
    pub(crate) fn check_reference(&self, reference: &Reference) -> Result<()> {
        self.check("docker", &reference_scopes(reference), &reference.to_string())
    }

    /// The requirements of the most specific scope must all be fulfilled.
    fn check(&self, transport: &str, scopes: &[String], shown: &str) -> Result<()> {
        let requirements = self
            .content
            .transports
            .get(transport)
            .and_then(|table| {
                scopes.iter().map(String::as_str).chain([""]).find_map(|scope| table.get(scope))
            })
            .unwrap_or(&self.content.default);
        let refuse = |reason: &str| Error::Policy {
            reference: shown.to_owned(),
            file: self.file.clone(),
            reason: reason.to_owned(),
        };
        for requirement in requirements {
            let kind = match requirement {
                Requirement::InsecureAcceptAnything => continue,
                Requirement::Reject => return Err(refuse("the policy says \"reject\"")),
                Requirement::SignedBy {} => "signedBy",
                Requirement::SigstoreSigned {} => "sigstoreSigned",
                Requirement::SignedBaseLayer {} => "signedBaseLayer",
            };
            return Err(refuse(&format!(
                "it requires \"{kind}\", and this version cannot verify signatures; verify and copy \
                 the image with skopeo, or accept it unverified with \"insecureAcceptAnything\" for \
                 its scope"
            )));
        }
        Ok(())
    }
}

/// Scopes of a registry's image, the most specific first: the reference, the repository, each
/// namespace above it, the host, and `*.` patterns of its domain.
fn reference_scopes(reference: &Reference) -> Vec<String> {
    let mut scopes = vec![reference.to_string()];
    let mut name = reference.repository();
    while let Some((above, _)) = name.rsplit_once('/') {
        let above = above.to_owned();
        scopes.push(std::mem::replace(&mut name, above));
    }
    scopes.push(name.clone());
    let host = name.rsplit_once(':').map_or(&name[..], |(host, _)| host);
    let mut domain = host;
    while let Some((_, above)) = domain.split_once('.') {
        scopes.push(format!("*.{above}"));
        domain = above;
    }
    scopes
}

/// Scopes of a path, the most specific first: with the image's name, and each directory above it.
fn path_scopes(path: &Path, name: Option<&str>) -> Vec<String> {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let path = path.canonicalize().unwrap_or(path);
    let named = name.map(|name| format!("{}:{name}", path.display()));
    let above = path.ancestors().map(|path| path.display().to_string()).filter(|path| path != "/");
    named.into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> Result<Policy> {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("etc/containers")).unwrap();
        std::fs::write(root.path().join("etc/containers/policy.json"), text).unwrap();
        Policy::load(root.path())
    }

    #[test]
    fn the_most_specific_scope_decides() {
        let policy = policy(
            r#"{"default": [{"type": "reject"}], "transports": {
                "docker": {
                    "": [{"type": "insecureAcceptAnything"}],
                    "q.io": [{"type": "reject"}],
                    "q.io/good": [{"type": "insecureAcceptAnything"}],
                    "q.io/good/x:bad": [{"type": "reject"}],
                    "*.corp.com": [{"type": "reject"}],
                    "s.io": [{"type": "signedBy", "keyType": "GPGKeys", "keyPath": "/k"}]
                },
                "dir": {"/srv/images": [{"type": "insecureAcceptAnything"}]}
            }}"#,
        )
        .unwrap();
        let accepts = |name: &str| policy.check_reference(&Reference::parse(name).unwrap()).is_ok();
        assert!(accepts("docker.io/x"));
        assert!(!accepts("q.io/x"));
        assert!(accepts("q.io/good/x:1"));
        assert!(!accepts("q.io/good/x:bad"));
        assert!(!accepts("a.b.corp.com:5000/x"));
        let message = policy.check_reference(&Reference::parse("s.io/x").unwrap()).unwrap_err().to_string();
        assert!(message.contains("signedBy") && message.contains("cannot verify"), "{message}");
        let local = |path: &str| policy.check_local(&Source::Directory { path: path.into() }).is_ok();
        assert!(local("/srv/images/x"));
        assert!(!local("/srv/other"));
    }

    #[test]
    fn unknown_and_empty_requirements_are_mistakes() {
        for text in [
            "{}",
            r#"{"default": []}"#,
            r#"{"default": [{"type": "maybe"}]}"#,
            r#"{"default": [{"type": "reject"}], "transports": {"docker": {"": []}}}"#,
            r#"{"default": [{"type": "reject"}], "extra": 1}"#,
        ] {
            assert!(matches!(policy(text), Err(Error::Config { .. })), "{text}");
        }
        let root = tempfile::tempdir().unwrap();
        let none = Policy::load(root.path()).unwrap();
        assert!(none.check_reference(&Reference::parse("x").unwrap()).is_ok());
    }
}
