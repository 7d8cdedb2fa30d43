//! `signedIdentity`: which name a signature has to be for.

use std::fmt;

use crate::digest::Digest;
use crate::json::At;
use crate::reference::{Name, Reference};

/// A name in a signature or a policy: a whole repository, with a tag and a digest only if they were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Identity {
    repository: String,
    tag: Option<String>,
    digest: Option<Digest>,
}

impl Identity {
    /// Completes a name as Docker does, but adds no `:latest`: a signature has to say what it means.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let name = Name::parse(text).map_err(|error| error.to_string())?;
        let whole = name.at(name.registry.as_deref().unwrap_or("docker.io"));
        Ok(Self { repository: whole.repository(), tag: name.tag, digest: name.digest })
    }

    fn is_bare(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }
}

impl From<&Reference> for Identity {
    fn from(reference: &Reference) -> Self {
        Self {
            repository: reference.repository(),
            tag: reference.tag().map(str::to_owned),
            digest: reference.digest().copied(),
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.repository)?;
        self.tag.as_ref().map_or(Ok(()), |tag| write!(f, ":{tag}"))?;
        self.digest.as_ref().map_or(Ok(()), |digest| write!(f, "@{digest}"))
    }
}

/// The rule by which a signature's name is compared with the image's
/// ([containers-policy.json(5)](https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md#signedby)).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) enum SignedIdentity {
    MatchExact,
    #[default]
    MatchRepoDigestOrExact,
    MatchRepository,
    ExactReference(Identity),
    ExactRepository(Identity),
    RemapIdentity {
        prefix: String,
        signed_prefix: String,
    },
}

impl SignedIdentity {
    pub(super) fn parse(at: At) -> Result<Self, String> {
        let mut fields = at.object()?;
        let kind = fields.need("type")?;
        let unknown = kind.bad(
            "it is matchExact, matchRepoDigestOrExact, matchRepository, exactReference, exactRepository or \
             remapIdentity",
        );
        let parsed = match kind.text()?.as_str() {
            "matchExact" => Self::MatchExact,
            "matchRepoDigestOrExact" => Self::MatchRepoDigestOrExact,
            "matchRepository" => Self::MatchRepository,
            "exactReference" => {
                let at = fields.need("dockerReference")?;
                let bare = at.bad("it needs a tag or a digest");
                let identity = name(at)?;
                if identity.is_bare() {
                    return Err(bare);
                }
                Self::ExactReference(identity)
            }
            "exactRepository" => Self::ExactRepository(name(fields.need("dockerRepository")?)?),
            "remapIdentity" => Self::RemapIdentity {
                prefix: prefix(fields.need("prefix")?)?,
                signed_prefix: prefix(fields.need("signedPrefix")?)?,
            },
            _ => return Err(unknown),
        };
        fields.end()?;
        Ok(parsed)
    }

    /// Whether a signature for `signed` is one for the image that the user calls `image`; an image of a
    /// directory has no name.
    pub(super) fn accepts(&self, image: Option<&Reference>, signed: &Identity) -> bool {
        let image = image.map(Identity::from);
        match self {
            Self::MatchExact => image.is_some_and(|image| !signed.is_bare() && image == *signed),
            Self::MatchRepoDigestOrExact => image.is_some_and(|image| tag_or_repository(&image, signed)),
            Self::MatchRepository => image.is_some_and(|image| image.repository == signed.repository),
            Self::ExactReference(identity) => identity == signed,
            Self::ExactRepository(identity) => identity.repository == signed.repository,
            Self::RemapIdentity { prefix, signed_prefix } => image
                .and_then(|image| remapped(&image, prefix, signed_prefix))
                .is_some_and(|image| tag_or_repository(&image, signed)),
        }
    }

    /// What a signature has to be for, for messages.
    pub(super) fn wanted(&self, image: Option<&Reference>) -> String {
        let Some(image) = image else {
            return match self {
                Self::ExactReference(identity) => identity.to_string(),
                Self::ExactRepository(identity) => identity.repository.clone(),
                _ => "nothing: an image of a directory has no name; use exactReference or exactRepository"
                    .into(),
            };
        };
        match self {
            Self::MatchExact => image.to_string(),
            Self::MatchRepoDigestOrExact if image.tag().is_none() => {
                format!("{} with a tag", image.repository())
            }
            Self::MatchRepoDigestOrExact => image.to_string(),
            Self::MatchRepository => image.repository(),
            Self::ExactReference(identity) => identity.to_string(),
            Self::ExactRepository(identity) => identity.repository.clone(),
            Self::RemapIdentity { prefix, signed_prefix } => {
                remapped(&Identity::from(image), prefix, signed_prefix)
                    .map_or_else(|| format!("{signed_prefix}…"), |identity| identity.to_string())
            }
        }
    }
}

/// With a tag everything has to be equal; by digest (which is compared elsewhere) the repository.
fn tag_or_repository(image: &Identity, signed: &Identity) -> bool {
    if signed.is_bare() {
        return false;
    }
    match (&image.tag, &image.digest) {
        (Some(_), _) => image == signed,
        (None, Some(_)) => image.repository == signed.repository,
        (None, None) => false,
    }
}

/// The name with `prefix` replaced, if it begins with it: whole components, and never the tag.
fn remapped(image: &Identity, prefix: &str, signed_prefix: &str) -> Option<Identity> {
    let Some(rest) = image.repository.strip_prefix(prefix) else { return Some(image.clone()) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Some(image.clone());
    }
    let repository = format!("{signed_prefix}{rest}");
    // A host alone, or a name that Docker would complete, is none.
    let parsed = Identity::parse(&repository).ok()?;
    (parsed.repository == repository && parsed.is_bare()).then(|| Identity { repository, ..image.clone() })
}

fn name(at: At) -> Result<Identity, String> {
    let place = at.clone();
    Identity::parse(&at.text()?).map_err(|error| place.bad(error))
}

/// A host, a namespace or a repository, in full.
fn prefix(at: At) -> Result<String, String> {
    let place = at.clone();
    let text = at.text()?;
    // A host alone becomes a name by a path.
    let candidate = if text.contains('/') { text.clone() } else { format!("{text}/x") };
    match Name::parse(&candidate) {
        Ok(name) if name.registry.is_some() && name.tag.is_none() && name.digest.is_none() => Ok(text),
        _ => Err(place.bad("it is a host, a namespace or a repository in full, as docker.io/library")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> SignedIdentity {
        SignedIdentity::parse(At::parse(text.as_bytes()).unwrap()).unwrap()
    }

    fn accepts(rule: &SignedIdentity, image: &str, signed: &str) -> bool {
        let image = Reference::parse(image).unwrap();
        Identity::parse(signed).is_ok_and(|signed| rule.accepts(Some(&image), &signed))
    }

    #[test]
    fn names_are_compared_as_the_rule_says() {
        let digest = format!("@{}", Digest::of(b"x"));
        let other = format!("@{}", Digest::of(b"y"));
        let by_digest = format!("q.io/a/b{digest}");
        let exact = rule(r#"{"type":"matchExact"}"#);
        let default = SignedIdentity::default();
        let repository = rule(r#"{"type":"matchRepository"}"#);
        for (image, signed, wanted) in [
            ("q.io/a/b:1", "q.io/a/b:1".to_owned(), [true, true, true]),
            ("q.io/a/b:1", "q.io/a/b:2".to_owned(), [false, false, true]),
            ("q.io/a/b:1", "q.io/a/b".to_owned(), [false, false, true]),
            ("q.io/a/b:1", "q.io/a/c:1".to_owned(), [false, false, false]),
            ("q.io/a/b:1", "evil.io/a/b:1".to_owned(), [false, false, false]),
            ("q.io/a/b:1", format!("q.io/a/b:1{digest}"), [false, false, true]),
            ("q.io/a/b:latest", "q.io/a/b".to_owned(), [false, false, true]),
            ("busybox", "docker.io/library/busybox:latest".to_owned(), [true, true, true]),
            ("docker.io/library/busybox:1", "busybox:1".to_owned(), [true, true, true]),
            (&by_digest, "q.io/a/b:1".to_owned(), [false, true, true]),
            (&by_digest, format!("q.io/a/b{digest}"), [true, true, true]),
            (&by_digest, format!("q.io/a/b{other}"), [false, true, true]),
            (&by_digest, "q.io/a/b".to_owned(), [false, false, true]),
            (&by_digest, "q.io/a/c:1".to_owned(), [false, false, false]),
            ("q.io/a/b:1", "not a name".to_owned(), [false, false, false]),
            ("q.io/a/b:1", String::new(), [false, false, false]),
        ] {
            let got = [&exact, &default, &repository].map(|rule| accepts(rule, image, &signed));
            assert_eq!(got, wanted, "{image} signed as {signed}");
        }
    }

    #[test]
    fn exact_names_stand_for_any_image() {
        let reference = rule(r#"{"type":"exactReference","dockerReference":"busybox:1"}"#);
        assert!(accepts(&reference, "q.io/x:2", "docker.io/library/busybox:1"));
        assert!(!accepts(&reference, "q.io/x:2", "docker.io/library/busybox:2"));
        let repository = rule(r#"{"type":"exactRepository","dockerRepository":"v.io/p"}"#);
        assert!(accepts(&repository, "q.io/x:2", "v.io/p:7"));
        assert!(!accepts(&repository, "q.io/x:2", "q.io/x:2"));
        let signed = Identity::parse("v.io/p:7").unwrap();
        assert!(repository.accepts(None, &signed));
        assert!(!SignedIdentity::MatchRepository.accepts(None, &signed));
        assert!(!SignedIdentity::default().accepts(None, &signed));
    }

    #[test]
    fn prefixes_are_remapped_by_whole_components() {
        let remap = rule(r#"{"type":"remapIdentity","prefix":"m:5000/vendor","signedPrefix":"v.io"}"#);
        assert!(accepts(&remap, "m:5000/vendor/a/b:1", "v.io/a/b:1"));
        assert!(!accepts(&remap, "m:5000/vendor/a/b:1", "v.io/a/b:2"));
        assert!(!accepts(&remap, "m:5000/vendor/a/b:1", "m:5000/vendor/a/b:1"));
        assert!(accepts(&remap, "m:5000/vendors/a:1", "m:5000/vendors/a:1"), "another namespace");
        assert!(!accepts(&remap, "m:5000/vendors/a:1", "v.ios/a:1"));
        assert!(!accepts(&remap, "m:5000/vendor:1", "v.io:1"), "a host is no image");
        let host = rule(r#"{"type":"remapIdentity","prefix":"m:5000","signedPrefix":"v.io/all"}"#);
        assert!(accepts(&host, "m:5000/x:1", "v.io/all/x:1"));
    }

    #[test]
    fn malformed_rules_are_mistakes() {
        for text in [
            "[]",
            r#"{"type":"matchAnything"}"#,
            r#"{"type":"matchExact","x":1}"#,
            r#"{"type":"exactReference","dockerReference":"q.io/x"}"#,
            r#"{"type":"exactReference"}"#,
            r#"{"type":"exactRepository","dockerRepository":"Q/x"}"#,
            r#"{"type":"remapIdentity","prefix":"q.io"}"#,
            r#"{"type":"remapIdentity","prefix":"q.io/x:1","signedPrefix":"q.io"}"#,
            r#"{"type":"remapIdentity","prefix":"busybox/x","signedPrefix":"q.io"}"#,
            r#"{"type":"remapIdentity","prefix":"","signedPrefix":"q.io"}"#,
        ] {
            assert!(SignedIdentity::parse(At::parse(text.as_bytes()).unwrap()).is_err(), "{text}");
        }
    }
}
