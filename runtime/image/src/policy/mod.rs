//! `policy.json`: whether an image may be used at all
//! ([containers-policy.json(5)](https://github.com/containers/image/blob/main/docs/containers-policy.json.5.md)).
//!
//! `format` parses the file, `scope` says which part of it is about an image, `identity` compares names. What
//! signatures prove is the business of [`signature`](crate::signature).
//!
//! A [`Required`] is asked twice: before anything is fetched, for what no signature could change, and when the
//! manifest is there, before any layer is. The policy counts when an image comes into the store. What is there
//! already was accepted by the policy of its day; a pull asks again, a start without one does not.

mod format;
mod identity;
mod scope;

use std::io;
use std::path::{Path, PathBuf};

use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::reference::Reference;
use crate::registries::user_directory;
use crate::signature::sigstore::Verifier;
use crate::signature::{Authority, Payload, Signature, Signatures, simple};
use crate::source::Source;
use crate::store::Store;
use crate::transport::Transport;
use format::{Content, Requirement, SignedBy, SigstoreSigned, Trust};
use identity::{Identity, SignedIdentity};
pub(crate) use scope::of_reference as scopes_of_reference;

/// Most signatures whose faults a message tells.
const TOLD: usize = 4;

/// Which images are accepted.
#[derive(Debug, Clone)]
pub struct Policy {
    file: PathBuf,
    content: Content,
}

/// What one image has to fulfil.
#[derive(Debug)]
pub(crate) struct Required<'a> {
    file: &'a Path,
    requirements: &'a [Requirement],
    /// For messages: `the default`, `"q.io/x" of docker`.
    scope: String,
    /// The user's name for the image; one of a directory has none.
    reference: Option<&'a Reference>,
    shown: String,
}

impl Policy {
    /// Reads the policy that counts below `root`, normally `/`: the file that `CONTAINERS_POLICY_JSON` names, else
    /// that of a user other than root, else `etc/containers/policy.json`, else the one in `usr/share`. A host
    /// without any accepts every image.
    ///
    /// # Errors
    /// [`Error::Config`] when the file cannot be understood, [`Error::Io`] when it cannot be read.
    pub fn load(root: &Path) -> Result<Self> {
        if let Some(named) = std::env::var_os("CONTAINERS_POLICY_JSON").filter(|name| !name.is_empty()) {
            return Self::load_file(Path::new(&named));
        }
        let system = ["etc/containers", "usr/share/containers"].map(|directory| root.join(directory));
        for directory in user_directory().into_iter().chain(system) {
            match Self::load_file(&directory.join("policy.json")) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                outcome => return outcome,
            }
        }
        Ok(Self::accept_anything())
    }

    /// Reads this file.
    ///
    /// # Errors
    /// [`Error::Config`] when the file cannot be understood, [`Error::Io`] when it cannot be read.
    pub fn load_file(file: &Path) -> Result<Self> {
        let bytes = std::fs::read(file).map_err(|error| Error::io("read", file, error))?;
        let content =
            Content::parse(&bytes).map_err(|reason| Error::Config { path: file.to_owned(), reason })?;
        Ok(Self { file: file.to_owned(), content })
    }

    /// Accepts every image.
    pub fn accept_anything() -> Self {
        Self { file: PathBuf::new(), content: Content::accept_anything() }
    }

    /// What a source that is not a registry has to fulfil.
    pub(crate) fn for_source(&self, source: &Source) -> Required<'_> {
        let (transport, scopes) = match source {
            // Its references are asked for one by one.
            Source::Registry { .. } => ("docker", Vec::new()),
            Source::OciLayout { path, .. } => ("oci", scope::of_path(path)),
            Source::OciArchive { path, .. } => ("oci-archive", scope::of_path(path)),
            Source::DockerArchive { .. } => ("docker-archive", Vec::new()),
            Source::Directory { path } => ("dir", scope::of_path(path)),
            Source::ContainersStorage(name) => ("containers-storage", scope::of_storage(name)),
        };
        self.required(transport, scopes, None, source.to_string())
    }

    /// What an image of a registry has to fulfil; the name is the user's, whatever mirror it comes from.
    pub(crate) fn for_reference<'a>(&'a self, reference: &'a Reference) -> Required<'a> {
        self.required("docker", scope::of_reference(reference), Some(reference), reference.to_string())
    }

    /// The requirements of the most specific scope; no other ones count.
    fn required<'a>(
        &'a self,
        transport: &str,
        scopes: Vec<String>,
        reference: Option<&'a Reference>,
        shown: String,
    ) -> Required<'a> {
        let table = self.content.transports.get(transport);
        let found =
            scopes.into_iter().chain([String::new()]).find_map(|scope| Some((table?.get(&scope)?, scope)));
        let (requirements, scope) = match found {
            Some((requirements, scope)) if scope.is_empty() => (requirements, format!("{transport} images")),
            Some((requirements, scope)) => (requirements, format!("{transport} images of \"{scope}\"")),
            None => (&self.content.default, "images by default".to_owned()),
        };
        Required { file: &self.file, requirements, scope, reference, shown }
    }
}

impl Required<'_> {
    /// Refuses what is refused whatever signatures there are; asks nobody.
    pub(crate) fn check_unsigned(&self) -> Result<()> {
        self.requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::InsecureAcceptAnything => Ok(()),
            Requirement::Reject => Err(self.refused(format!("for {} it says \"reject\"", self.scope))),
            // Nobody has implemented it; an image that needs it is refused, as Podman does.
            Requirement::SignedBaseLayer => Err(self.unsupported("signedBaseLayer", "")),
            Requirement::SignedBy(SignedBy { key_type, .. }) if key_type != "GPGKeys" => {
                Err(self.unsupported("signedBy", &format!(" with keyType {key_type}")))
            }
            Requirement::SignedBy(_) | Requirement::SigstoreSigned(_) => Ok(()),
        })
    }

    /// Whether signatures have to be looked for.
    pub(crate) fn needs_signatures(&self) -> bool {
        let needs =
            |one: &Requirement| matches!(one, Requirement::SignedBy(_) | Requirement::SigstoreSigned(_));
        self.requirements.iter().any(needs)
    }

    /// Checks the manifest that is about to be used; `instance` if an index led to it. A signature of the index is
    /// none of the manifest: like Podman, this asks what runs here.
    ///
    /// # Errors
    /// [`Error::Policy`] if a requirement is not fulfilled; any of [`Error`] if that could not be found out.
    pub(crate) fn check(
        &self,
        transport: &dyn Transport,
        manifest: &Digest,
        instance: bool,
        store: &Store,
    ) -> Result<()> {
        self.check_unsigned()?;
        if !self.needs_signatures() {
            return Ok(());
        }
        let signatures = transport.signatures(manifest, instance)?;
        self.requirements.iter().try_for_each(|requirement| match requirement {
            Requirement::SignedBy(signed) => self.signed_by(signed, manifest, &signatures, store),
            Requirement::SigstoreSigned(signed) => self.sigstore_signed(signed, manifest, &signatures),
            Requirement::InsecureAcceptAnything => Ok(()),
            // Decided above; said again, so that no kind is ever passed over.
            Requirement::Reject | Requirement::SignedBaseLayer => self.check_unsigned(),
        })
    }

    fn signed_by(
        &self,
        signed: &SignedBy,
        manifest: &Digest,
        signatures: &Signatures,
        store: &Store,
    ) -> Result<()> {
        let keyring = simple::keyring(&signed.keys.read(self.file)?, store)?;
        let kind = format!("\"signedBy\" with a key of {}", signed.keys);
        self.one_of(signatures, manifest, &signed.identity, &kind, |signature| match signature {
            Signature::Simple(message) => simple::verify(&keyring, message),
            Signature::Sigstore(_) => Ok(Err("it is one of cosign, not of GnuPG".to_owned())),
            Signature::Unknown(reason) => Ok(Err(reason.clone())),
        })
    }

    fn sigstore_signed(
        &self,
        signed: &SigstoreSigned,
        manifest: &Digest,
        signatures: &Signatures,
    ) -> Result<()> {
        let logs = signed.rekor.as_ref().map(|keys| keys.read(self.file)).transpose()?;
        let (verifier, trusted) = match &signed.trust {
            Trust::Keys(keys) => {
                let verifier = Verifier::by_keys(&keys.read(self.file)?, logs.as_deref())?;
                (verifier, format!("a key of {keys}"))
            }
            Trust::Certified { roots, intermediates, subject } => {
                let between = intermediates.as_ref().map(|keys| keys.read(self.file)).transpose()?;
                let authority =
                    Authority::new(&roots.read(self.file)?, &between.unwrap_or_default(), subject.clone())?;
                let verifier = Verifier::by_authority(authority, logs.as_deref())?;
                (verifier, format!("a certificate of {roots}"))
            }
        };
        let kind = format!("\"sigstoreSigned\" with {trusted}");
        self.one_of(signatures, manifest, &signed.identity, &kind, |signature| match signature {
            Signature::Sigstore(sigstore) => Ok(verifier.verify(sigstore)),
            Signature::Simple(_) => Ok(Err("it is one of GnuPG, not of cosign".to_owned())),
            Signature::Unknown(reason) => Ok(Err(reason.clone())),
        })
    }

    /// One signature is enough, if it is by the right key, for this manifest, and for this name.
    fn one_of(
        &self,
        signatures: &Signatures,
        manifest: &Digest,
        identity: &SignedIdentity,
        kind: &str,
        verify: impl Fn(&Signature) -> Result<Result<Payload, String>>,
    ) -> Result<()> {
        let mut faults = Vec::new();
        for located in &signatures.found {
            let claim = verify(&located.signature)?;
            match claim.and_then(|payload| self.compare(&payload, manifest, identity)) {
                Ok(()) => {
                    log::info!("image {}: the signature in {} is accepted", self.shown, located.place);
                    return Ok(());
                }
                Err(fault) => faults.push(format!("{}: {fault}", located.place)),
            }
        }
        Err(self.unsigned(kind, &faults, signatures))
    }

    /// SECURITY: a signature is about one manifest under one name. Both are compared: the digest of the bytes that
    /// are used (not one that a registry claims), and the name that the user wrote.
    fn compare(&self, payload: &Payload, manifest: &Digest, identity: &SignedIdentity) -> Result<(), String> {
        if payload.digest != *manifest {
            return Err(format!("it is for another manifest, {}", payload.digest));
        }
        let said = crate::json::shown(&payload.reference);
        let signed = Identity::parse(&payload.reference)
            .map_err(|error| format!("the name that it is for, \"{said}\", is none: {error}"))?;
        if identity.accepts(self.reference, &signed) {
            return Ok(());
        }
        Err(format!("it is for {said}; the policy wants one for {}", identity.wanted(self.reference)))
    }

    fn unsigned(&self, kind: &str, faults: &[String], signatures: &Signatures) -> Error {
        let places = signatures.places.join("; ");
        let scope = &self.scope;
        let mut reason = format!("for {scope} it requires {kind}");
        if faults.is_empty() {
            reason.push_str(&format!("; there is no signature (looked for in {places})"));
        } else {
            let told = &faults[..faults.len().min(TOLD)];
            reason.push_str(&format!("; no signature is accepted. {}", told.join(". ")));
            if faults.len() > TOLD {
                reason.push_str(&format!(". And {} more", faults.len() - TOLD));
            }
        }
        reason.push_str(
            ". Have the image signed, say in /etc/containers/registries.d where its signatures are, or require \
             something else",
        );
        self.refused(reason)
    }

    fn unsupported(&self, kind: &str, detail: &str) -> Error {
        self.refused(format!(
            "for {} it requires \"{kind}\"{detail}, which cannot be verified here, so that no image fulfils it; \
             use \"signedBy\" with GPGKeys, or \"sigstoreSigned\"",
            self.scope
        ))
    }

    fn refused(&self, reason: String) -> Error {
        Error::Policy { reference: self.shown.clone(), file: self.file.to_owned(), reason }
    }
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
        let accepts = |name: &str| {
            let reference = Reference::parse(name).unwrap();
            let required = policy.for_reference(&reference);
            required.check_unsigned().is_ok() && !required.needs_signatures()
        };
        assert!(accepts("docker.io/x"));
        assert!(!accepts("q.io/x"));
        assert!(accepts("q.io/good/x:1"));
        assert!(!accepts("q.io/good/x:bad"));
        assert!(!accepts("a.b.corp.com:5000/x"));
        assert!(policy.for_reference(&Reference::parse("s.io/x").unwrap()).needs_signatures());
        let local = |path: &str| policy.for_source(&Source::Directory { path: path.into() }).check_unsigned();
        assert!(local("/srv/images/x").is_ok());
        let message = local("/srv/other").unwrap_err().to_string();
        assert!(message.contains("for images by default it says \"reject\""), "{message}");
    }

    #[test]
    fn what_cannot_be_verified_is_refused_before_anything_is_asked() {
        for (requirement, wanted) in [
            (r#"{"type":"signedBaseLayer","baseLayerIdentity":{"type":"matchExact"}}"#, "signedBaseLayer"),
            (r#"{"type":"signedBy","keyType":"signedByGPGKeys","keyPath":"/k"}"#, "signedByGPGKeys"),
        ] {
            // Also beside one that accepts everything: all of them have to hold.
            let policy =
                policy(&format!(r#"{{"default":[{{"type":"insecureAcceptAnything"}},{requirement}]}}"#))
                    .unwrap();
            let reference = Reference::parse("q.io/x").unwrap();
            let error = policy.for_reference(&reference).check_unsigned().unwrap_err();
            assert!(matches!(error, Error::Policy { .. }), "{error}");
            assert!(error.to_string().contains(wanted), "{error}");
        }
    }

    #[test]
    fn a_host_without_policy_accepts_and_one_that_is_named_must_be_there() {
        let root = tempfile::tempdir().unwrap();
        let none = Policy::load(root.path()).unwrap();
        let reference = Reference::parse("x").unwrap();
        assert!(none.for_reference(&reference).check_unsigned().is_ok());
        assert!(Policy::load_file(&root.path().join("policy.json")).is_err());
    }
}
