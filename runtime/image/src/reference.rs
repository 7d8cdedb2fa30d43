//! Image names as Docker and Podman write them: `[registry/]path[:tag][@digest]`.
//!
//! [`Name`] is what a user wrote and may lack the registry; [`Reference`] is complete. How a name
//! without a registry becomes references is the business of
//! [`Registries::resolve`](crate::Registries::resolve).

use std::fmt;

use crate::digest::Digest;
use crate::error::{Error, Result};

/// Longest path of a repository, in bytes.
const MAX_PATH: usize = 255;
/// Longest host name with a port (RFC 1035, 2.3.4).
const MAX_REGISTRY: usize = 253 + ":65535".len();
/// What Docker Hub's paths of one component get in front of them.
const LIBRARY: &str = "library/";
/// Longest tag, in bytes.
const MAX_TAG: usize = 128;

/// A complete image reference, for example `docker.io/library/nginx:latest`.
///
/// The grammar is that of the
/// [distribution spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    registry: String,
    path: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Reference {
    /// Parses a name the way Docker does: without a registry it means `docker.io`, without a path
    /// there `library/`, without tag and digest `:latest`.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] when the text breaks the grammar.
    pub fn parse(text: &str) -> Result<Self> {
        let name = Name::parse(text)?;
        let registry = name.registry.clone().unwrap_or_else(|| "docker.io".to_owned());
        Ok(name.at(&registry))
    }

    /// Parses a name that is given here and comes from no registry: without one it is below
    /// `localhost/`, as Podman has it.
    ///
    /// # Errors
    /// [`Error::InvalidReference`] when the text breaks the grammar.
    pub fn parse_local(text: &str) -> Result<Self> {
        let name = Name::parse(text)?;
        let registry = name.registry.clone().unwrap_or_else(|| "localhost".to_owned());
        Ok(name.at(&registry))
    }

    /// A registry itself, without any repository; [`Reference::path`] is empty.
    pub(crate) fn of_registry(registry: &str) -> Self {
        Self { registry: registry.to_owned(), path: String::new(), tag: None, digest: None }
    }

    /// Host name and port of the registry.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// Path of the repository in its registry.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Registry and path: the reference without tag and digest.
    pub fn repository(&self) -> String {
        format!("{}/{}", self.registry, self.path)
    }

    /// The tag, if there is one.
    pub fn tag(&self) -> Option<&str> {
        self.tag.as_deref()
    }

    /// The digest, if there is one.
    pub fn digest(&self) -> Option<&Digest> {
        self.digest.as_ref()
    }

    /// What follows `/manifests/` in a request: the digest if there is one, else the tag.
    pub(crate) fn manifest_selector(&self) -> String {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => digest.to_string(),
            (None, Some(tag)) => tag.clone(),
            (None, None) => "latest".to_owned(),
        }
    }

    /// The same image by digest alone.
    pub(crate) fn with_digest(&self, digest: Digest) -> Self {
        Self { tag: None, digest: Some(digest), ..self.clone() }
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.path)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        if let Some(digest) = &self.digest {
            write!(f, "@{digest}")?;
        }
        Ok(())
    }
}

/// A name as a user wrote it: the registry may be missing ("short name").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    pub(crate) registry: Option<String>,
    pub(crate) path: String,
    pub(crate) tag: Option<String>,
    pub(crate) digest: Option<Digest>,
}

impl Name {
    /// Splits and checks; the first component is a registry when it has a dot, a colon or is
    /// `localhost`.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let fail = |reason: &str| Err(Error::reference(text, reason));
        if text.is_empty() {
            return fail("it is empty");
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => {
                let digest: Digest =
                    digest.parse().map_err(|error| Error::reference(text, format!("{error}")))?;
                (rest, Some(digest))
            }
            None => (text, None),
        };
        let (rest, tag) = match rest.rsplit_once(':') {
            Some((rest, tag)) if !tag.contains('/') => (rest, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag
            && !is_tag(tag)
        {
            return fail("the tag may have letters, digits, \"_\", \".\", \"-\", at most 128 of them");
        }
        let (registry, path) = match rest.split_once('/') {
            Some((first, path)) if is_registry_like(first) => (Some(first), path),
            _ => (None, rest),
        };
        if let Some(registry) = registry
            && !is_registry(registry)
        {
            return fail("the registry is not a valid host name");
        }
        if path.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return fail("the repository must be in lower case");
        }
        if !path.split('/').all(is_component) {
            return fail("the repository path has an empty or malformed component");
        }
        // With what [`Name::at`] may put in front of it, or the complete name would be none.
        let at_hub = registry.is_none_or(|registry| matches!(registry, "docker.io" | "index.docker.io"));
        let added = if at_hub && !path.contains('/') { LIBRARY.len() } else { 0 };
        if path.len() + added > MAX_PATH {
            return fail("the path of the repository has more than 255 characters");
        }
        Ok(Self {
            registry: registry.map(str::to_owned),
            path: path.to_owned(),
            tag: tag.map(str::to_owned),
            digest,
        })
    }

    /// The reference for this name at a registry, with Docker's `library/` and the default tag.
    pub(crate) fn at(&self, registry: &str) -> Reference {
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let path = if registry == "docker.io" && !self.path.contains('/') {
            format!("{LIBRARY}{}", self.path)
        } else {
            self.path.clone()
        };
        let tag = match (&self.tag, &self.digest) {
            (None, None) => Some("latest".to_owned()),
            // A digest says it all: the tag would only suggest that it was looked at.
            (_, Some(_)) => None,
            (tag, None) => tag.clone(),
        };
        Reference { registry: registry.to_owned(), path, tag, digest: self.digest }
    }
}

fn is_registry_like(first: &str) -> bool {
    first.contains(['.', ':', '[']) || first == "localhost"
}

/// Host name, IPv4 address or bracketed IPv6 address, with an optional port.
pub(crate) fn is_registry(text: &str) -> bool {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if address.parse::<std::net::Ipv6Addr>().is_ok() => {
                (None, port.strip_prefix(':').or(port.is_empty().then_some("0")))
            }
            _ => return false,
        },
        None => match text.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(text), Some("0")),
        },
    };
    let label = |label: &str| {
        !label.is_empty()
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    if text.len() > MAX_REGISTRY {
        return false;
    }
    let digits = |port: &str| port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok();
    host.is_none_or(|host| host.split('.').all(label)) && port.is_some_and(digits)
}

/// A registry without its port; an IPv6 address keeps its brackets.
pub(crate) fn host(registry: &str) -> &str {
    match registry.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => registry,
    }
}

/// `[a-z0-9]+` runs joined by `.`, `_`, `__` or any number of `-`.
fn is_component(component: &str) -> bool {
    let alphanumeric = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = component.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    if !alphanumeric(first) || !alphanumeric(last) {
        return false;
    }
    bytes
        .split(alphanumeric)
        .all(|run| matches!(run, b"" | b"." | b"_" | b"__") || run.iter().all(|byte| *byte == b'-'))
}

fn is_tag(tag: &str) -> bool {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    tag.len() <= MAX_TAG
        && tag.bytes().next().is_some_and(word)
        && tag.bytes().all(|byte| word(byte) || byte == b'.' || byte == b'-')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_normalised_like_docker_does() {
        for (given, wanted) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("user/app", "docker.io/user/app:latest"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/nginx", "docker.io/library/nginx:latest"),
            ("quay.io/a/b/c:v1", "quay.io/a/b/c:v1"),
            ("localhost/x", "localhost/x:latest"),
            ("localhost:5000/x", "localhost:5000/x:latest"),
            ("127.0.0.1:5000/x-y__z.w:T_1", "127.0.0.1:5000/x-y__z.w:T_1"),
            ("[::1]:5000/x", "[::1]:5000/x:latest"),
        ] {
            assert_eq!(Reference::parse(given).unwrap().to_string(), wanted, "{given}");
        }
    }

    #[test]
    fn a_digest_replaces_the_tag() {
        let digest = Digest::of(b"x");
        let reference = Reference::parse(&format!("quay.io/a/b:v1@{digest}")).unwrap();
        assert_eq!(reference.to_string(), format!("quay.io/a/b@{digest}"));
        assert_eq!(reference.manifest_selector(), digest.to_string());
    }

    #[test]
    fn malformed_names_are_refused() {
        let long = "a/".repeat(200) + "a";
        for bad in [
            "",
            " ",
            "nginx ",
            "/nginx",
            "nginx/",
            "a//b",
            "../etc",
            "a/../b",
            "NGINX",
            "a:b:c",
            "nginx:",
            "nginx:-x",
            "nginx@sha256:12",
            "a b",
            "a\nb",
            "é",
            "-a",
            "a-",
            "a..b",
            "a___b",
            "ex_ample.com/x",
            "host:port/x",
            "host:99999/x",
            "[::1/x",
            "[zz]:1/x",
            "a/b@",
            "@",
            ":",
            "x:tag\u{0}",
            &long,
        ] {
            assert!(Reference::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn the_longest_names_survive_printing() {
        for (given, accepted) in [
            ("a".repeat(247), true),
            ("a".repeat(248), false),
            (format!("docker.io/{}", "a".repeat(248)), false),
            (format!("quay.io/{}", "a".repeat(255)), true),
            (format!("quay.io/{}", "a".repeat(256)), false),
            (format!("{}/{}", "a.".repeat(126) + "a:65535", "a".repeat(255)), true),
            (format!("{}/x", "a.".repeat(130) + "a"), false),
        ] {
            let parsed = Reference::parse(&given);
            assert_eq!(parsed.is_ok(), accepted, "{given}");
            if let Ok(reference) = parsed {
                assert_eq!(Reference::parse(&reference.to_string()).unwrap(), reference);
            }
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in ".*") {
            let _ = Reference::parse(&text);
        }

        #[test]
        fn what_parses_survives_printing(text in "([a-z]{1,5}(\\.[a-z]{2})?(:[0-9]{1,4})?/)?[a-z0-9._/-]{1,12}(:[A-Za-z0-9_.-]{1,6})?") {
            if let Ok(reference) = Reference::parse(&text) {
                let printed = reference.to_string();
                prop_assert_eq!(&Reference::parse(&printed).unwrap(), &reference);
                prop_assert!(!reference.path().contains(".."));
            }
        }
    }
}
