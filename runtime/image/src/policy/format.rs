//! The file: parsed once, strictly, into what it requires.
//!
//! Everything that containers-policy.json(5) documents is understood, and a mistake refuses the whole file: a
//! policy that is half read protects nobody. What cannot be fulfilled here is still parsed, and refuses the
//! images that it is for.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::identity::SignedIdentity;
use crate::error::{Error, Result};
use crate::json::{At, Fields};
use crate::signature::{Origin, Subject, from_base64};

/// Largest file of keys, in bytes.
const MAX_KEYS: u64 = 16 << 20;

/// What the file says.
#[derive(Debug, Clone)]
pub(super) struct Content {
    /// For images that no transport's table is about.
    pub(super) default: Vec<Requirement>,
    /// By transport, then by scope.
    pub(super) transports: BTreeMap<String, BTreeMap<String, Vec<Requirement>>>,
}

/// One requirement; all of a list have to be fulfilled.
#[derive(Debug, Clone)]
pub(super) enum Requirement {
    InsecureAcceptAnything,
    Reject,
    SignedBy(SignedBy),
    SigstoreSigned(Box<SigstoreSigned>),
    SignedBaseLayer,
}

/// A signature by GnuPG ("simple signing").
#[derive(Debug, Clone)]
pub(super) struct SignedBy {
    /// `GPGKeys`, or one of the kinds that nobody has implemented.
    pub(super) key_type: String,
    pub(super) keys: Keys,
    pub(super) identity: SignedIdentity,
}

/// A signature as cosign makes them.
#[derive(Debug, Clone)]
pub(super) struct SigstoreSigned {
    pub(super) trust: Trust,
    /// Keys of the transparency log that has to have seen the signature.
    pub(super) rekor: Option<Keys>,
    pub(super) identity: SignedIdentity,
}

/// Whom a sigstore signature has to be by.
#[derive(Debug, Clone)]
pub(super) enum Trust {
    Keys(Keys),
    /// Whoever has a certificate of these authorities for this subject.
    Certified {
        roots: Keys,
        intermediates: Option<Keys>,
        subject: Subject,
    },
}

/// Where keys are.
#[derive(Debug, Clone)]
pub(super) enum Keys {
    Files(Vec<PathBuf>),
    /// In the policy itself, as `keyData`.
    Inline(&'static str, Vec<Vec<u8>>),
}

impl Keys {
    /// The keys with where each is from; `policy` is the file for those that stand in it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Config`] for a file that is too large.
    pub(super) fn read(&self, policy: &Path) -> Result<Vec<Origin>> {
        match self {
            Self::Files(paths) => {
                paths.iter().map(|path| Ok((path.display().to_string(), read_bounded(path)?))).collect()
            }
            Self::Inline(key, all) => {
                let origin = format!("{}: {key}", policy.display());
                Ok(all.iter().map(|data| (origin.clone(), data.clone())).collect())
            }
        }
    }
}

impl fmt::Display for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(paths) => {
                let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                f.write_str(&names.join(", "))
            }
            Self::Inline(key, _) => write!(f, "its {key}"),
        }
    }
}

fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    use std::io::Read as _;
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_KEYS + 1).read_to_end(&mut bytes))
        .map_err(|error| Error::io("read", path, error))?;
    if bytes.len() as u64 > MAX_KEYS {
        let reason = format!("it has more than {MAX_KEYS} bytes: it holds no keys");
        return Err(Error::Config { path: path.to_owned(), reason });
    }
    Ok(bytes)
}

impl Content {
    /// A policy that accepts everything.
    pub(super) fn accept_anything() -> Self {
        Self { default: vec![Requirement::InsecureAcceptAnything], transports: BTreeMap::new() }
    }

    /// Parses a `policy.json`; the error says where in it the mistake is.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let mut fields = At::parse(bytes)?.object()?;
        let default = requirements(fields.need("default")?)?;
        let mut transports = BTreeMap::new();
        for (transport, table) in fields.take("transports").map_or(Ok(Vec::new()), At::entries)? {
            let mut scopes = BTreeMap::new();
            for (scope, list) in table.entries()? {
                check_scope(&transport, &scope).map_err(|reason| list.bad(reason))?;
                scopes.insert(scope, requirements(list)?);
            }
            transports.insert(transport, scopes);
        }
        fields.end()?;
        Ok(Self { default, transports })
    }
}

/// Refuses scopes that could never be those of an image, for the transports whose scopes have a form.
fn check_scope(transport: &str, scope: &str) -> Result<(), String> {
    if scope.is_empty() {
        return Ok(());
    }
    match transport {
        "dir" | "oci" | "oci-archive" | "sif" => {
            let clean = scope.starts_with('/')
                && scope.split('/').skip(1).all(|part| !matches!(part, "" | "." | ".."));
            match scope {
                "/" => Err("write \"\" for all paths, not \"/\"".to_owned()),
                _ if clean => Ok(()),
                _ => {
                    Err("it has to be an absolute path, without \".\", \"..\", \"//\" or a \"/\" at the end"
                        .into())
                }
            }
        }
        "docker-archive" | "tarball" => Err(format!("{transport} has no scope but \"\"")),
        _ => Ok(()),
    }
}

fn requirements(at: At) -> Result<Vec<Requirement>, String> {
    let empty = at.bad("the list of requirements is empty; write \"reject\" or what is required");
    let list: Vec<_> = at.list()?.into_iter().map(requirement).collect::<Result<_, _>>()?;
    if list.is_empty() { Err(empty) } else { Ok(list) }
}

fn requirement(at: At) -> Result<Requirement, String> {
    let mut fields = at.object()?;
    let kind = fields.need("type")?;
    let unknown =
        kind.bad("it is insecureAcceptAnything, reject, signedBy, sigstoreSigned or signedBaseLayer");
    let parsed = match kind.text()?.as_str() {
        "insecureAcceptAnything" => Requirement::InsecureAcceptAnything,
        "reject" => Requirement::Reject,
        "signedBy" => Requirement::SignedBy(signed_by(&mut fields)?),
        "sigstoreSigned" => Requirement::SigstoreSigned(Box::new(sigstore_signed(&mut fields)?)),
        "signedBaseLayer" => {
            SignedIdentity::parse(fields.need("baseLayerIdentity")?)?;
            Requirement::SignedBaseLayer
        }
        _ => return Err(unknown),
    };
    fields.end()?;
    Ok(parsed)
}

fn signed_by(fields: &mut Fields) -> Result<SignedBy, String> {
    let at = fields.need("keyType")?;
    let unknown = at.bad("it is GPGKeys");
    let key_type = at.text()?;
    // The others are named by the format, and implemented by nobody.
    if !["GPGKeys", "signedByGPGKeys", "X509Certificates", "signedByX509CAs"].contains(&key_type.as_str()) {
        return Err(unknown);
    }
    let sources = [one_path(fields, "keyPath")?, paths(fields, "keyPaths")?, one_data(fields, "keyData")?];
    let keys = only_one(sources, fields, "keyPath, keyPaths and keyData")?
        .ok_or_else(|| fields.bad("one of keyPath, keyPaths and keyData is needed"))?;
    Ok(SignedBy { key_type, keys, identity: identity(fields)? })
}

fn sigstore_signed(fields: &mut Fields) -> Result<SigstoreSigned, String> {
    const SOURCES: &str = "keyPath, keyPaths, keyData, keyDatas, fulcio and pki";
    let rekor = [
        one_path(fields, "rekorPublicKeyPath")?,
        paths(fields, "rekorPublicKeyPaths")?,
        one_data(fields, "rekorPublicKeyData")?,
        datas(fields, "rekorPublicKeyDatas")?,
    ];
    let rekor = only_one(rekor, fields, "the rekorPublicKey… keys")?;
    let keys = [
        one_path(fields, "keyPath")?,
        paths(fields, "keyPaths")?,
        one_data(fields, "keyData")?,
        datas(fields, "keyDatas")?,
    ];
    let keys = only_one(keys, fields, SOURCES)?;
    let fulcio = fields.take("fulcio").map(fulcio).transpose()?;
    let pki = fields.take("pki").map(pki).transpose()?;
    let trust = match (keys, fulcio, pki) {
        (Some(keys), None, None) => Trust::Keys(keys),
        (None, Some(_), None) if rekor.is_none() => {
            return Err(fields.bad("fulcio needs one of the rekorPublicKey… keys"));
        }
        (None, Some(fulcio), None) => fulcio,
        (None, None, Some(_)) if rekor.is_some() => {
            return Err(fields.bad("pki and the rekorPublicKey… keys exclude each other"));
        }
        (None, None, Some(pki)) => pki,
        (None, None, None) => return Err(fields.bad(format_args!("one of {SOURCES} is needed"))),
        _ => return Err(fields.bad(format_args!("{SOURCES} exclude each other"))),
    };
    Ok(SigstoreSigned { trust, rekor, identity: identity(fields)? })
}

/// Certificates of Fulcio, which are good for minutes: the time counts at which a log has seen the signature.
fn fulcio(at: At) -> Result<Trust, String> {
    let mut fields = at.object()?;
    let sources = [one_path(&mut fields, "caPath")?, one_data(&mut fields, "caData")?];
    let roots = only_one(sources, &fields, "caPath and caData")?
        .ok_or_else(|| fields.bad("one of caPath and caData is needed"))?;
    let issuer = fields.need("oidcIssuer")?.filled()?;
    let email = fields.need("subjectEmail")?.filled()?;
    fields.end()?;
    let subject = Subject { email: Some(email), issuer: Some(issuer), hostname: None };
    Ok(Trust::Certified { roots, intermediates: None, subject })
}

/// Certificates of any other authority.
fn pki(at: At) -> Result<Trust, String> {
    let mut fields = at.object()?;
    let roots = [one_path(&mut fields, "caRootsPath")?, one_data(&mut fields, "caRootsData")?];
    let roots = only_one(roots, &fields, "caRootsPath and caRootsData")?
        .ok_or_else(|| fields.bad("one of caRootsPath and caRootsData is needed"))?;
    let more = [one_path(&mut fields, "caIntermediatesPath")?, one_data(&mut fields, "caIntermediatesData")?];
    let intermediates = only_one(more, &fields, "caIntermediatesPath and caIntermediatesData")?;
    let email = fields.take("subjectEmail").map(At::filled).transpose()?;
    let hostname = fields.take("subjectHostname").map(At::filled).transpose()?;
    if email.is_none() && hostname.is_none() {
        return Err(fields.bad("one of subjectEmail and subjectHostname is needed"));
    }
    fields.end()?;
    Ok(Trust::Certified { roots, intermediates, subject: Subject { email, hostname, issuer: None } })
}

fn identity(fields: &mut Fields) -> Result<SignedIdentity, String> {
    fields.take("signedIdentity").map_or(Ok(SignedIdentity::default()), SignedIdentity::parse)
}

/// The one that is there, if no other is.
fn only_one<const N: usize>(
    sources: [Option<Keys>; N],
    fields: &Fields,
    names: &str,
) -> Result<Option<Keys>, String> {
    let mut there = sources.into_iter().flatten();
    match (there.next(), there.next()) {
        (only, None) => Ok(only),
        _ => Err(fields.bad(format_args!("{names} exclude each other"))),
    }
}

fn one_path(fields: &mut Fields, key: &str) -> Result<Option<Keys>, String> {
    let Some(at) = fields.take(key) else { return Ok(None) };
    path(at).map(|path| Some(Keys::Files(vec![path])))
}

fn paths(fields: &mut Fields, key: &str) -> Result<Option<Keys>, String> {
    let Some(at) = fields.take(key) else { return Ok(None) };
    let empty = at.bad("it names no file");
    let paths: Vec<_> = at.list()?.into_iter().map(path).collect::<Result<_, _>>()?;
    if paths.is_empty() { Err(empty) } else { Ok(Some(Keys::Files(paths))) }
}

fn path(at: At) -> Result<PathBuf, String> {
    at.filled().map(PathBuf::from)
}

fn one_data(fields: &mut Fields, key: &'static str) -> Result<Option<Keys>, String> {
    let Some(at) = fields.take(key) else { return Ok(None) };
    data(at).map(|data| Some(Keys::Inline(key, vec![data])))
}

fn datas(fields: &mut Fields, key: &'static str) -> Result<Option<Keys>, String> {
    let Some(at) = fields.take(key) else { return Ok(None) };
    let empty = at.bad("it has no key");
    let all: Vec<_> = at.list()?.into_iter().map(data).collect::<Result<_, _>>()?;
    if all.is_empty() { Err(empty) } else { Ok(Some(Keys::Inline(key, all))) }
}

fn data(at: At) -> Result<Vec<u8>, String> {
    let place = at.clone();
    let bytes = from_base64(&at.filled()?);
    bytes.map_err(|error| place.bad(format_args!("it is not base 64: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What RHEL 9 and 10 ship, with every transport that real policies have.
    const REAL: &str = r#"{
        "default": [{"type": "insecureAcceptAnything"}],
        "transports": {
            "docker": {
                "registry.access.redhat.com": [{"type": "signedBy", "keyType": "GPGKeys", "keyPaths":
                    ["/etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-release", "/etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-beta"]}],
                "registry.redhat.io": [{"type": "signedBy", "keyType": "GPGKeys",
                    "keyPath": "/etc/pki/rpm-gpg/RPM-GPG-KEY-redhat-release"}],
                "*.example.com": [{"type": "sigstoreSigned", "keyDatas": ["aGVsbG8="],
                    "rekorPublicKeyPath": "/etc/pki/rekor.pub",
                    "signedIdentity": {"type": "matchRepository"}}],
                "q.io/fulcio": [{"type": "sigstoreSigned", "rekorPublicKeyData": "aGVsbG8=", "fulcio":
                    {"caPath": "/ca", "oidcIssuer": "https://i", "subjectEmail": "a@b"}}],
                "q.io/pki": [{"type": "sigstoreSigned", "pki":
                    {"caRootsPath": "/ca", "caIntermediatesData": "aGVsbG8=", "subjectHostname": "h"}}],
                "q.io/base": [{"type": "signedBaseLayer", "baseLayerIdentity": {"type": "matchExact"}}]
            },
            "docker-daemon": {"": [{"type": "insecureAcceptAnything"}]},
            "containers-storage": {"[overlay@/var/lib/containers/storage]": [{"type": "reject"}]},
            "atomic": {"host:5000/ns": [{"type": "signedBy", "keyType": "GPGKeys", "keyData": "aGVs\nbG8="}]},
            "dir": {"/srv/images": [{"type": "reject"}]}, "oci": {"": [{"type": "reject"}]},
            "tarball": {"": [{"type": "reject"}]}, "docker-archive": {"": [{"type": "reject"}]},
            "sif": {"": [{"type": "reject"}]}, "ostree": {"/x": [{"type": "reject"}]}
        }
    }"#;

    #[test]
    fn real_policies_are_read() {
        let content = Content::parse(REAL.as_bytes()).unwrap();
        assert_eq!(content.transports.len(), 10);
        let Requirement::SignedBy(signed) = &content.transports["atomic"]["host:5000/ns"][0] else {
            panic!()
        };
        assert_eq!(
            signed.keys.read(Path::new("/p")).unwrap(),
            [("/p: keyData".to_owned(), b"hello".to_vec())]
        );
    }

    #[test]
    fn mistakes_refuse_the_file_and_say_where() {
        let signed = |rest: &str| format!(r#"{{"default":[{{"type":"signedBy",{rest}}}]}}"#);
        let sigstore = |rest: &str| format!(r#"{{"default":[{{"type":"sigstoreSigned",{rest}}}]}}"#);
        let scope = |transport: &str, scope: &str| {
            format!(
                r#"{{"default":[{{"type":"reject"}}],"transports":{{"{transport}":{{"{scope}":[{{"type":"reject"}}]}}}}}}"#
            )
        };
        for (text, wanted) in [
            ("{}".to_owned(), "\"default\" is missing"),
            (r#"{"default":[]}"#.to_owned(), "default: the list"),
            (r#"{"default":{}}"#.to_owned(), "default: a list"),
            (r#"{"default":null}"#.to_owned(), "default: a list"),
            (r#"{"default":[{"type":"maybe"}]}"#.to_owned(), "default[0].type: it is"),
            (r#"{"default":[["reject"]]}"#.to_owned(), "default[0]: an object"),
            (r#"{"default":[{"type":"reject","x":1}]}"#.to_owned(), "default[0]: \"x\" is not known"),
            (r#"{"default":[{"type":"reject"}],"default":[{"type":"reject"}]}"#.to_owned(), "twice"),
            (r#"{"default":[{"type":"reject"}],"extra":1}"#.to_owned(), "\"extra\" is not known"),
            (signed(r#""keyType":"GPGKeys""#), "one of keyPath"),
            (signed(r#""keyPath":"/k""#), "\"keyType\" is missing"),
            (signed(r#""keyType":"PGP","keyPath":"/k""#), "keyType: it is GPGKeys"),
            (signed(r#""keyType":"GPGKeys","keyPath":"/k","keyPaths":["/k"]"#), "exclude"),
            (signed(r#""keyType":"GPGKeys","keyPath":null,"keyPaths":["/k"]"#), "keyPath: a string"),
            (signed(r#""keyType":"GPGKeys","keyPaths":[]"#), "names no file"),
            (signed(r#""keyType":"GPGKeys","keyData":"%""#), "not base 64"),
            (signed(r#""keyType":"GPGKeys","keyDatas":["aGVsbG8="]"#), "one of keyPath"),
            (
                sigstore(r#""keyPath":"/k","fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}"#),
                "exclude",
            ),
            (sigstore(r#""fulcio":{"caPath":"/c","oidcIssuer":"i","subjectEmail":"e"}"#), "rekorPublicKey"),
            (sigstore(r#""pki":{"caRootsPath":"/c"}"#), "subjectEmail"),
            (sigstore(r#""signedIdentity":{"type":"matchExact"}"#), "one of keyPath"),
            (
                sigstore(r#""keyPath":"/k","rekorPublicKeyPath":"/a","rekorPublicKeyData":"aGVsbG8=""#),
                "exclude",
            ),
            (scope("dir", "/"), "not \\\"/\\\""),
            (scope("dir", "srv"), "absolute"),
            (scope("oci", "/srv/../etc"), "absolute"),
            (scope("docker-archive", "/x"), "no scope"),
        ] {
            let error = Content::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains(&wanted.replace("\\\"", "\"")), "{text}: {error}");
        }
    }
}
