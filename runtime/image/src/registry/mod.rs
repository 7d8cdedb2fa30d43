//! A client for registries: the pulling half of the
//! [distribution spec](https://github.com/opencontainers/distribution-spec/blob/main/spec.md).
//!
//! `http` makes the connection (TLS, time-outs, redirects), `proxy` chooses the way to a host and
//! `reach` the hosts that a registry may lead to. `challenge` reads what a registry asks with
//! `WWW-Authenticate`, `token` gets what it wants. `blob` keeps a transfer going over broken
//! connections, `retry` says what is tried again and when, `certificates` finds CAs and client
//! certificates, `signatures` gets an image's signatures from where they are configured to be.
//! [`Client`] puts them together as a [`Transport`].

mod blob;
mod certificates;
mod challenge;
mod http;
mod proxy;
mod reach;
pub(crate) mod retry;
mod signatures;
mod tags;
mod token;

use std::io::Read;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock};

use serde::Deserialize;
use ureq::Body;
use ureq::http::Response;

use crate::auth::{self, Secret};
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::fetch::verify_digest;
use crate::manifest::{ACCEPT, Descriptor, MAX_MANIFEST};
use crate::pull::PullOptions;
use crate::reference::Reference;
use crate::registries::Endpoint;
use crate::signature::Signatures;
use crate::transport::{Document, Transport};
use challenge::Challenge;
use http::{Http, Method, Request};
use retry::Retry;

/// Largest description of an error that is read, in bytes.
const MAX_ERROR: u64 = 16 * 1024;

/// A repository of a registry, seen through one endpoint.
pub(crate) struct Client<'a> {
    reference: Reference,
    options: &'a PullOptions<'a>,
    http: Http,
    /// `http` or `https`, once it is known.
    scheme: OnceLock<&'static str>,
    /// Plain HTTP and unverified certificates are allowed.
    insecure: bool,
    /// Value of the `Authorization` header, once the registry has asked for one.
    authorization: Mutex<Option<String>>,
    retries: u32,
}

/// Asks a registry whether it takes `options.credentials`; whether it asked for any.
pub(crate) fn verify_login(registry: &str, options: &PullOptions<'_>) -> Result<bool> {
    let insecure = options.registries.is_insecure(registry)?;
    let endpoint = Endpoint { reference: Reference::of_registry(registry), insecure };
    let client = Client::new(endpoint, options, true);
    let request = Request {
        method: Method::Get,
        path: "/v2/".to_owned(),
        accept: None,
        offset: 0,
        shown: registry.to_owned(),
    };
    match client.send(&request) {
        Ok(_) => Ok(client.lock_authorization().is_some()),
        Err(Error::Unauthorized { detail, .. }) => {
            Err(Error::LoginRefused { registry: registry.to_owned(), detail })
        }
        Err(error) => Err(error),
    }
}

impl<'a> Client<'a> {
    /// Nothing is sent yet. Only the last of several endpoints is tried again when it fails.
    pub(crate) fn new(endpoint: Endpoint, options: &'a PullOptions<'a>, last: bool) -> Self {
        let insecure = options.tls_verify.map_or(endpoint.insecure, |verify| !verify);
        let http = Http::new(&endpoint.reference, options, insecure);
        Self {
            reference: endpoint.reference,
            options,
            http,
            scheme: OnceLock::new(),
            insecure,
            authorization: Mutex::new(None),
            retries: if last { options.retries } else { 0 },
        }
    }

    fn retry(&self) -> Retry {
        Retry::new(self.retries, self.options.retry_delay)
    }

    fn path(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.reference.path())
    }

    /// Sends a request until there is an answer that says yes or no.
    fn send(&self, request: &Request<'_>) -> Result<Response<Body>> {
        self.send_with_retry(request, &mut self.retry())
    }

    /// The same as a part of attempts that were counted before.
    fn send_with_retry(&self, request: &Request<'_>, retry: &mut Retry) -> Result<Response<Body>> {
        loop {
            let outcome = self.send_once(request).and_then(|response| self.check(request, response));
            match outcome {
                Err(failure) => retry.again(failure)?,
                Ok(response) => return Ok(response),
            }
        }
    }

    /// One attempt, with authorization if the registry asks for it.
    fn send_once(&self, request: &Request<'_>) -> Result<Response<Body>, retry::Failure> {
        let used = self.lock_authorization().clone();
        let response = self.send_with(request, used.as_deref())?;
        if response.status().as_u16() != 401 {
            return Ok(response);
        }
        let renewed = {
            let mut current = self.lock_authorization();
            // Another thread may have got a new one meanwhile.
            if *current == used {
                *current = Some(self.authorize(&response)?);
            }
            current.clone()
        };
        self.send_with(request, renewed.as_deref())
    }

    fn lock_authorization(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.authorization.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Sends over HTTPS; where insecure is allowed and that does not work, over plain HTTP.
    fn send_with(
        &self,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, retry::Failure> {
        if let Some(scheme) = self.scheme.get() {
            return self.http.send(scheme, request, authorization);
        }
        let first = self.http.send("https", request, authorization);
        let outcome = match first {
            Err(failure) if self.insecure && failure.may_be_plain_http() => {
                // The first answer is the more telling one if neither works.
                self.http
                    .send("http", request, authorization)
                    .map(|response| ("http", response))
                    .map_err(|second| if second.is_connection() { failure } else { second })
            }
            other => other.map(|response| ("https", response)),
        };
        let (scheme, response) = outcome?;
        // Another thread may have set it, to the same.
        let _ = self.scheme.set(scheme);
        Ok(response)
    }

    /// Answers a 401: the value of the `Authorization` header to send instead.
    fn authorize(&self, response: &Response<Body>) -> Result<String, retry::Failure> {
        let secret = auth::find(&self.reference, self.options)?;
        let headers = response.headers().get_all("www-authenticate");
        let challenges: Vec<_> =
            headers.iter().filter_map(|value| Challenge::parse(value.to_str().ok()?)).collect();
        let unauthorized = |detail: &str| self.unauthorized(detail.to_owned());
        if let Some(bearer) = challenges.iter().find_map(Challenge::bearer) {
            let plain_http = self.scheme.get() == Some(&"http");
            let outcome = self.http.token(bearer, &self.reference, secret.as_ref(), plain_http);
            return outcome.map_err(|failure| {
                failure.map(|error| match error {
                    Error::Unauthorized { detail, .. } => unauthorized(&detail),
                    other => other,
                })
            });
        }
        match secret {
            Some(Secret::Basic(credentials)) if challenges.iter().any(Challenge::is_basic) => {
                Ok(challenge::basic(&credentials))
            }
            Some(_) => {
                Err(unauthorized("it asks for a kind of authentication that is not known here").into())
            }
            None => Err(unauthorized("it asks for credentials, and there are none").into()),
        }
    }

    /// Turns an answer that is not a success into an error.
    fn check(
        &self,
        request: &Request<'_>,
        response: Response<Body>,
    ) -> Result<Response<Body>, retry::Failure> {
        let status = response.status().as_u16();
        if (200..300).contains(&status) {
            return Ok(response);
        }
        let pause = retry::pause_asked_for(&response);
        let said = self.http.read_document(response.into_body(), MAX_ERROR).ok();
        let said = said.and_then(|bytes| registry_errors(&bytes));
        let error = match status {
            401 | 403 => self.unauthorized(said.unwrap_or_else(|| format!("status {status}"))),
            404 => Error::NotFound {
                reference: request.shown.clone(),
                location: self.location(),
                detail: said.unwrap_or_else(|| "status 404".to_owned()),
            },
            _ => Error::Protocol {
                registry: self.reference.registry().to_owned(),
                request: request.to_string(),
                detail: match (status, said) {
                    (429, said) => format!(
                        "too many requests{}; log in or try again later",
                        said.map(|said| format!(" ({said})")).unwrap_or_default()
                    ),
                    (_, Some(said)) => format!("status {status}: {said}"),
                    (_, None) => format!("status {status}"),
                },
            },
        };
        Err(match status {
            408 | 429 | 500..=599 => retry::Failure::passing(error, pause),
            _ => retry::Failure::lasting(error),
        })
    }

    fn unauthorized(&self, detail: String) -> Error {
        Error::Unauthorized {
            registry: self.reference.registry().to_owned(),
            repository: self.reference.path().to_owned(),
            detail,
            auth_file: auth::shown_file(self.options),
        }
    }

    fn manifest_request(&self, method: Method, selector: &str) -> Request<'_> {
        Request {
            method,
            path: self.path(&format!("manifests/{selector}")),
            accept: Some(ACCEPT),
            offset: 0,
            shown: self.reference.to_string(),
        }
    }

    fn get_manifest(&self, selector: &str) -> Result<(Response<()>, Vec<u8>)> {
        let request = self.manifest_request(Method::Get, selector);
        let mut retry = self.retry();
        loop {
            let (head, body) = self.send(&request)?.into_parts();
            match self.http.read_document(body, MAX_MANIFEST) {
                Ok(bytes) if bytes.len() as u64 > MAX_MANIFEST => {
                    let reason = format!("it has more than {MAX_MANIFEST} bytes");
                    return Err(Error::corrupt("manifest", self.location(), reason));
                }
                Ok(bytes) => return Ok((Response::from_parts(head, ()), bytes)),
                Err(error) => {
                    let error = self.http.body_error(error, "manifest", 0, 0);
                    retry.again(retry::Failure::passing(error, None))?;
                }
            }
        }
    }
}

impl Transport for Client<'_> {
    fn root(&self) -> Result<Document> {
        let (head, bytes) = self.get_manifest(&self.reference.manifest_selector())?;
        let expected = self.reference.digest().copied().or_else(|| content_digest(&head));
        if let Some(expected) = expected {
            verify_digest("manifest", Digest::of(&bytes), expected, &self.location())?;
        }
        Ok(Document { bytes, names: Vec::new() })
    }

    fn manifest(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        self.get_manifest(&descriptor.digest.to_string()).map(|(_, bytes)| bytes)
    }

    fn blob(&self, descriptor: &Descriptor, what: &'static str) -> Result<Box<dyn Read + Send + '_>> {
        blob::open(self, descriptor, what)
    }

    fn location(&self) -> String {
        format!("registry {}", self.reference.registry())
    }

    fn signatures(&self, manifest: &Digest, _instance: bool) -> Result<Signatures> {
        signatures::fetch(self, manifest)
    }

    fn known_digest(&self) -> Result<Option<Digest>> {
        let request = self.manifest_request(Method::Head, &self.reference.manifest_selector());
        self.send(&request).map(|response| content_digest(&response))
    }
}

fn content_digest<T>(response: &Response<T>) -> Option<Digest> {
    Digest::from_str(response.headers().get("docker-content-digest")?.to_str().ok()?).ok()
}

/// The code and message of a registry's error document, cleaned and cut.
fn registry_errors(document: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Document {
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        code: String,
        #[serde(default)]
        message: String,
    }
    let document: Document = serde_json::from_slice(document).ok()?;
    let first = document.errors.first()?;
    let text = format!("{}: {}", first.code, first.message);
    Some(text.chars().filter(|character| !character.is_control()).take(200).collect())
}

/// Reads an answer's headers and documents out of one input, for `fuzzing`: a line with a challenge,
/// one with `Retry-After`, one with a URL, and a document.
pub(crate) fn fuzz(input: &[u8]) {
    let mut parts = input.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (challenge, pause, url, document) = (next(), next(), next(), next());
    let challenge = str::from_utf8(challenge).ok().and_then(Challenge::parse);
    let realm = challenge.as_ref().and_then(|challenge| Some(challenge.bearer()?.realm.to_owned()));
    for url in [realm, str::from_utf8(url).ok().map(str::to_owned)].into_iter().flatten() {
        http::fuzz(&url);
    }
    let pause = str::from_utf8(pause).ok().and_then(|text| retry::pause_in(text, std::time::UNIX_EPOCH));
    assert!(pause.is_none_or(|pause| pause.as_secs() < 1 << 40));
    if let Ok(token) = token::token_in(document) {
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    assert!(registry_errors(document).is_none_or(|said| said.chars().count() <= 200));
}
