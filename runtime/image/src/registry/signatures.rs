//! The signatures of a registry's image: from the lookaside store that `registries.d` names, and, where it says
//! so, those that cosign keeps as tags in the registry itself.

use std::io::Read;
use std::path::Path;
use std::time::{Duration, Instant};

use super::Client;
use super::http::{Http, Method, Request};
use super::retry::{Failure, Retry, pause_asked_for};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fetch;
use crate::manifest::{Document, Manifest};
use crate::signature::sigstore::MEDIA_TYPE;
use crate::signature::{Lookaside, MAX_SIGNATURE, MAX_SIGNATURES, Places, Signature, Signatures, Sigstore};
use crate::transport::Transport as _;

/// Longest time for all signatures of an image: a server that is slow with each of them holds a unit's start no longer.
const MAX_TIME: Duration = Duration::from_secs(300);

/// All signatures of a manifest, none of them verified.
pub(super) fn fetch(client: &Client<'_>, manifest: &Digest) -> Result<Signatures> {
    let started = Instant::now();
    let places = Places::of(&client.reference, client.options.registries.root())?;
    let mut signatures = Signatures::default();
    signatures.places.push(places.lookaside.shown(manifest, "N"));
    let lookaside =
        Lookup { client, lookaside: &places.lookaside, server: server(client, &places.lookaside) };
    for number in 1.. {
        in_time(started, &signatures.places)?;
        let Some(bytes) = lookaside.get(manifest, number)? else { break };
        let place = places.lookaside.shown(manifest, number);
        signatures.push(place, Signature::from_file(bytes)).map_err(|reason| endless(client, &reason))?;
    }
    let tag = format!("sha256-{}.sig", manifest.hex());
    let beside = format!("{}:{tag}", client.reference.repository());
    if places.attachments {
        attachments(client, &tag, &beside, &mut signatures, started)?;
        signatures.places.push(beside);
    } else {
        let off =
            format!("not in {beside}, which needs use-sigstore-attachments in {}", places.configured_in);
        signatures.places.push(off);
    }
    Ok(signatures)
}

fn endless(client: &Client<'_>, reason: &str) -> Error {
    Error::corrupt(format!("signatures of {}", client.reference), client.location(), reason)
}

fn in_time(started: Instant, places: &[String]) -> Result<()> {
    if started.elapsed() < MAX_TIME {
        return Ok(());
    }
    Err(Error::Stalled { registry: places.join(", "), what: "signatures".to_owned(), timeout: MAX_TIME })
}

/// A lookaside store.
struct Lookup<'a> {
    client: &'a Client<'a>,
    lookaside: &'a Lookaside,
    server: Option<Http>,
}

fn server(client: &Client<'_>, lookaside: &Lookaside) -> Option<Http> {
    match lookaside {
        Lookaside::Directory(_) => None,
        Lookaside::Server { host, .. } => Some(Http::beside(&client.reference, host, client.options)),
    }
}

impl Lookup<'_> {
    /// One signature; `None` if there is none of this number, nor of any higher one.
    fn get(&self, manifest: &Digest, number: usize) -> Result<Option<Vec<u8>>> {
        let path = self.lookaside.signature(manifest, number);
        match (&self.server, self.lookaside) {
            (Some(http), Lookaside::Server { scheme, .. }) => self.ask(http, scheme, &path),
            _ => read_file(Path::new(&path)),
        }
    }

    fn ask(&self, http: &Http, scheme: &str, path: &str) -> Result<Option<Vec<u8>>> {
        let request = Request {
            method: Method::Get,
            path: path.to_owned(),
            // Bounds the time of the whole answer, too.
            accept: Some("*/*"),
            offset: 0,
            shown: path.to_owned(),
        };
        let mut retry = Retry::new(self.client.retries, self.client.options.retry_delay);
        loop {
            match ask_once(http, scheme, &request) {
                Ok(answer) => return Ok(answer),
                Err(failure) => retry.again(failure)?,
            }
        }
    }
}

fn ask_once(http: &Http, scheme: &str, request: &Request<'_>) -> Result<Option<Vec<u8>>, Failure> {
    let response = http.send(scheme, request, None)?;
    match response.status().as_u16() {
        404 => return Ok(None),
        200 => {}
        status => {
            let error = http.protocol(request, format!("status {status} instead of a signature or 404"));
            let passing = matches!(status, 408 | 429 | 500..=599);
            let pause = pause_asked_for(&response);
            return Err(if passing { Failure::passing(error, pause) } else { Failure::lasting(error) });
        }
    }
    let mut bytes = Vec::new();
    let read = response.into_body().into_reader().take(MAX_SIGNATURE + 1).read_to_end(&mut bytes);
    read.map_err(|error| {
        Failure::passing(http.body_error(error, "a signature", bytes.len() as u64, 0), None)
    })?;
    if bytes.len() as u64 > MAX_SIGNATURE {
        let detail = format!("a signature of more than {MAX_SIGNATURE} bytes");
        return Err(Failure::lasting(http.protocol(request, detail)));
    }
    Ok(Some(bytes))
}

fn read_file(path: &Path) -> Result<Option<Vec<u8>>> {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::io("open", path, error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_SIGNATURE + 1).read_to_end(&mut bytes).map_err(|error| Error::io("read", path, error))?;
    if bytes.len() as u64 > MAX_SIGNATURE {
        let location = path.display().to_string();
        return Err(Error::corrupt(
            "a signature",
            location,
            format!("it has more than {MAX_SIGNATURE} bytes"),
        ));
    }
    Ok(Some(bytes))
}

/// Cosign's signatures: the layers of an image whose tag is made of the digest.
fn attachments(
    client: &Client<'_>,
    tag: &str,
    place: &str,
    signatures: &mut Signatures,
    started: Instant,
) -> Result<()> {
    let bytes = match client.get_manifest(tag) {
        Ok((_, bytes)) => bytes,
        Err(Error::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    let Document::Manifest(Manifest { layers, .. }) = Document::parse(&bytes, place)? else {
        return Err(Error::corrupt("signatures", place, "it is an index, not the manifest of signatures"));
    };
    if layers.len() > MAX_SIGNATURES {
        let reason = format!("it has {} of them; at most {MAX_SIGNATURES} are read", layers.len());
        return Err(Error::corrupt("signatures", place, reason));
    }
    for (number, layer) in layers.into_iter().enumerate() {
        in_time(started, &[place.to_owned()])?;
        let place = format!("{place}, layer {}", number + 1);
        if layer.media_type != MEDIA_TYPE {
            // Attestations and the like are no signatures, and not fetched.
            let kind: String = layer.media_type.chars().filter(|c| !c.is_control()).take(80).collect();
            let unknown = Signature::Unknown(format!("it is an attachment of another kind ({kind})"));
            signatures.push(place, unknown).map_err(|reason| endless(client, &reason))?;
            continue;
        }
        if layer.size > MAX_SIGNATURE {
            let reason = format!("it has {} bytes; at most {MAX_SIGNATURE} are read", layer.size);
            return Err(Error::corrupt("a signature", place, reason));
        }
        let sigstore = Sigstore {
            media_type: layer.media_type.clone(),
            payload: fetch::small(client, "signature", &layer)?,
            annotations: layer.annotations.clone().unwrap_or_default(),
        };
        let added = signatures.push(place, Signature::Sigstore(sigstore));
        added.map_err(|reason| endless(client, &reason))?;
    }
    Ok(())
}
