//! Certificates that say whose key it is: chains up to an authority of the policy, and the names in them
//! ([RFC 5280](https://www.rfc-editor.org/rfc/rfc5280)).
//!
//! The chain is verified by the library that verifies those of TLS. The names that it does not know (mail
//! addresses, and the extension by which Fulcio says who has vouched for one) are read here, and only from a
//! certificate whose chain has been verified.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::Origin;
use super::der::{self, BOOLEAN, INTEGER, OBJECT, OCTET_STRING, SEQUENCE, UTF8};
use super::public_key::{PublicKey, pems};
use crate::error::{Error, Result};
use crate::json::shown;

/// `id-kp-codeSigning`.
const CODE_SIGNING: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 3];
/// `id-ce-subjectAltName`.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// Fulcio's issuer of identities, 1.3.6.1.4.1.57264.1.1 (bare text) …
const ISSUER: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 1];
/// … and 1.3.6.1.4.1.57264.1.8 (as an ASN.1 string).
const ISSUER_V2: &[u8] = &[0x2b, 6, 1, 4, 1, 0x83, 0xbf, 0x30, 1, 8];
/// `rfc822Name` in alternative names.
const MAIL: u8 = 0x81;
/// Where a certificate has its extensions.
const EXTENSIONS: u8 = 0xa3;
/// Most certificates between that of a key and the authority.
const MAX_CHAIN: usize = 8;

/// Whom a certificate has to be for; what is there has to be in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    /// Mail address.
    pub(crate) email: Option<String>,
    /// Name of a host.
    pub(crate) hostname: Option<String>,
    /// Who has vouched for the mail address, as Fulcio writes it.
    pub(crate) issuer: Option<String>,
}

/// Authorities, and whom they have to vouch for.
#[derive(Debug)]
pub(crate) struct Authority {
    roots: Vec<CertificateDer<'static>>,
    intermediates: Vec<CertificateDer<'static>>,
    subject: Subject,
}

/// A signature's certificate, with what leads from it to an authority; nothing of it is verified.
#[derive(Debug)]
pub(super) struct Certificate {
    leaf: CertificateDer<'static>,
    chain: Vec<CertificateDer<'static>>,
}

/// The parts of a certificate that are read here.
struct Parts<'a> {
    key: &'a [u8],
    /// Object identifier and value.
    extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl Authority {
    /// Reads PEM files of authorities, and of certificates that lead to them.
    ///
    /// # Errors
    /// [`Error::Config`] for what is not a certificate.
    pub(crate) fn new(roots: &[Origin], intermediates: &[Origin], subject: Subject) -> Result<Self> {
        let read = |all: &[Origin]| {
            let one = |(origin, bytes): &Origin| {
                let bad = |reason: String| Error::Config { path: origin.into(), reason };
                let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no PEM file".to_owned()))?;
                let found = certificates(text).map_err(bad)?;
                if found.is_empty() {
                    return Err(bad("it has no \"-----BEGIN CERTIFICATE-----\"".to_owned()));
                }
                for certificate in &found {
                    anchor_from_trusted_cert(certificate)
                        .map_err(|error| bad(format!("a certificate in it is malformed: {error}")))?;
                }
                Ok(found)
            };
            Ok(all.iter().map(one).collect::<Result<Vec<_>>>()?.concat())
        };
        Ok(Self { roots: read(roots)?, intermediates: read(intermediates)?, subject })
    }

    /// The key of a certificate that an authority vouches for, at this time or now.
    pub(super) fn certified(
        &self,
        certificate: &Certificate,
        time: Option<i64>,
    ) -> Result<PublicKey, String> {
        let bad = |error: webpki::Error| format!("its certificate is not accepted: {error}");
        let anchors: Vec<TrustAnchor<'_>> =
            self.roots.iter().map(anchor_from_trusted_cert).collect::<Result<_, _>>().map_err(bad)?;
        let between: Vec<_> = certificate.chain.iter().chain(&self.intermediates).cloned().collect();
        let leaf = EndEntityCert::try_from(&certificate.leaf).map_err(bad)?;
        let provider = rustls::crypto::ring::default_provider();
        let algorithms = provider.signature_verification_algorithms.all;
        let usage = KeyUsage::required_if_present(CODE_SIGNING);
        leaf.verify_for_usage(algorithms, &anchors, &between, moment(time)?, usage, None, None)
            .map_err(bad)?;
        // SECURITY: an authority vouches for many; the names are what makes it one that the policy means.
        let parts = Parts::read(&certificate.leaf).ok_or("its certificate is malformed")?;
        self.check_names(&leaf, &parts)?;
        PublicKey::from_der(parts.key.to_vec())
    }

    fn check_names(&self, leaf: &EndEntityCert<'_>, parts: &Parts<'_>) -> Result<(), String> {
        if let Some(wanted) = &self.subject.issuer {
            let issuer = parts.issuer()?;
            if issuer != *wanted {
                return Err(format!("its certificate is by \"{}\", not by \"{wanted}\"", shown(&issuer)));
            }
        }
        if let Some(wanted) = &self.subject.email {
            let mails = parts.mails().ok_or("the names in its certificate are malformed")?;
            if !mails.contains(&wanted.as_bytes()) {
                let found: Vec<_> = mails.iter().map(|mail| shown(&String::from_utf8_lossy(mail))).collect();
                return Err(format!("its certificate is for [{}], not for {wanted}", found.join(", ")));
            }
        }
        if let Some(wanted) = &self.subject.hostname {
            let name =
                ServerName::try_from(wanted.as_str()).map_err(|_| format!("{wanted} is no host name"))?;
            leaf.verify_is_valid_for_subject_name(&name)
                .map_err(|_| format!("its certificate is not for the host {wanted}"))?;
        }
        Ok(())
    }
}

/// A time of a log, or now.
fn moment(time: Option<i64>) -> Result<UnixTime, String> {
    let since = match time {
        Some(seconds) => {
            let seconds = u64::try_from(seconds).map_err(|_| "its log entry is from before 1970")?;
            Duration::from_secs(seconds)
        }
        None => SystemTime::now().duration_since(UNIX_EPOCH).map_err(|_| "the clock is before 1970")?,
    };
    Ok(UnixTime::since_unix_epoch(since))
}

impl Certificate {
    /// Reads a certificate, and the chain beside it, in PEM.
    pub(super) fn parse(certificate: &str, chain: Option<&str>) -> Result<Self, String> {
        let bad = |reason: String| format!("its certificate: {reason}");
        let mut leaf = certificates(certificate).map_err(bad)?.into_iter();
        let (Some(leaf), None) = (leaf.next(), leaf.next()) else {
            return Err(bad("there has to be one".to_owned()));
        };
        let chain = chain.map_or(Ok(Vec::new()), certificates).map_err(bad)?;
        if chain.len() > MAX_CHAIN {
            return Err(bad(format!("its chain has {} of them; at most {MAX_CHAIN} are read", chain.len())));
        }
        Ok(Self { leaf, chain })
    }

    pub(super) fn der(&self) -> &[u8] {
        &self.leaf
    }
}

fn certificates(text: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificate = |(label, der): (&str, Vec<u8>)| match label {
        "CERTIFICATE" => Ok(CertificateDer::from(der)),
        other => Err(format!("it has a {}, not a CERTIFICATE", shown(other))),
    };
    pems(text)?.into_iter().map(certificate).collect()
}

impl<'a> Parts<'a> {
    /// Walks through `TBSCertificate` (RFC 5280, 4.1).
    fn read(certificate: &'a [u8]) -> Option<Self> {
        let (body, _) = der::element(der::only(certificate, SEQUENCE)?, SEQUENCE)?;
        // The version is tagged, and 3 where there are extensions.
        let (_, rest) = der::element(body, 0xa0)?;
        let (_, rest) = der::element(rest, INTEGER)?;
        // Algorithm, issuer, validity, subject.
        let rest = (0..4).try_fold(rest, |rest, _| der::element(rest, SEQUENCE).map(|(_, rest)| rest))?;
        let (key, mut rest) = der::whole(rest, SEQUENCE)?;
        // Two unique identifiers that nobody has.
        for tag in [0x81, 0x82] {
            if der::tag(rest) == Some(tag) {
                rest = der::element(rest, tag)?.1;
            }
        }
        let mut list = match rest {
            [] => &[][..],
            rest => der::only(der::only(rest, EXTENSIONS)?, SEQUENCE)?,
        };
        let mut extensions = Vec::new();
        while !list.is_empty() {
            let (extension, rest) = der::element(list, SEQUENCE)?;
            let (object, mut value) = der::element(extension, OBJECT)?;
            if der::tag(value) == Some(BOOLEAN) {
                value = der::element(value, BOOLEAN)?.1;
            }
            extensions.push((object, der::only(value, OCTET_STRING)?));
            list = rest;
        }
        Some(Self { key, extensions })
    }

    /// The one extension of this kind; twice is a mistake.
    fn extension(&self, object: &[u8]) -> Result<Option<&'a [u8]>, String> {
        let mut found = self.extensions.iter().filter(|(found, _)| *found == object).map(|(_, value)| *value);
        match (found.next(), found.next()) {
            (only, None) => Ok(only),
            _ => Err("its certificate has an extension twice".to_owned()),
        }
    }

    /// Who has vouched for the mail address. Where both forms are there they have to agree.
    fn issuer(&self) -> Result<String, String> {
        let text = |bytes: &[u8]| {
            String::from_utf8(bytes.to_vec())
                .map_err(|_| "the issuer in its certificate is no text".to_owned())
        };
        let first = self.extension(ISSUER)?.map(text).transpose()?;
        let second = self
            .extension(ISSUER_V2)?
            .map(|value| {
                der::only(value, UTF8).ok_or("the issuer in its certificate is malformed".to_owned())
            })
            .transpose()?
            .map(text)
            .transpose()?;
        match (first, second) {
            (Some(first), Some(second)) if first != second => {
                Err("its certificate says two different issuers".to_owned())
            }
            (first, second) => first.or(second).ok_or_else(|| "its certificate says no issuer".to_owned()),
        }
    }

    /// Mail addresses among the alternative names; `None` if those are malformed.
    fn mails(&self) -> Option<Vec<&'a [u8]>> {
        let Some(names) = self.extension(ALTERNATIVE_NAMES).ok()? else { return Some(Vec::new()) };
        let mut names = der::only(names, SEQUENCE)?;
        let mut mails = Vec::new();
        while let Some(tag) = der::tag(names) {
            let (name, rest) = der::element(names, tag)?;
            mails.extend((tag == MAIL).then_some(name));
            names = rest;
        }
        Some(mails)
    }
}
