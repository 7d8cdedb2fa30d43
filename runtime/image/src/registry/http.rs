//! HTTP with a registry: TLS, time-outs, redirects, tokens.
//!
//! Two agents are used. One talks to the registry itself, with the CAs, client certificate and
//! laxness that are configured for it. The other follows redirects and token realms to other hosts:
//! it never sends the registry's credentials or certificate, and always verifies.

use std::fmt;
use std::io::{self, Read};
use std::sync::OnceLock;
use std::time::Duration;

use serde::Deserialize;
use ureq::http::{Response, Uri};
use ureq::{Agent, Body, Timeout};

use super::certificates;
use super::challenge::{self, Bearer};
use super::retry::Failure;
use crate::auth::Secret;
use crate::error::{Error, Result};
use crate::pull::PullOptions;
use crate::reference::Reference;

/// Most redirects of one request.
const MAX_REDIRECTS: usize = 5;
/// Longest time to make a connection, all addresses together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Longest time for a manifest or token to arrive, once it has begun to.
const DOCUMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// Largest answer of a token server, in bytes.
const MAX_TOKEN: u64 = 64 * 1024;

/// What to ask.
#[derive(Debug)]
pub(super) struct Request<'a> {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) accept: Option<&'a str>,
    /// First byte that is wanted.
    pub(super) offset: u64,
    /// What is asked for, for messages.
    pub(super) shown: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Head,
}

impl fmt::Display for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let method = match self.method {
            Method::Get => "GET",
            Method::Head => "HEAD",
        };
        write!(f, "{method} {}", self.path)
    }
}

/// Connections to one registry and to where it sends us.
pub(super) struct Http {
    /// Host name and port as users write them, for messages.
    registry: String,
    /// Host name and port to connect to.
    host: String,
    stall: Duration,
    own: OnceLock<Agent>,
    foreign: OnceLock<Agent>,
    certificates: certificates::Places,
    verify: bool,
}

impl Http {
    pub(super) fn new(reference: &Reference, options: &PullOptions<'_>, insecure: bool) -> Self {
        let registry = reference.registry().to_owned();
        let host = match registry.as_str() {
            "docker.io" => "registry-1.docker.io".to_owned(),
            other => other.to_owned(),
        };
        let certificates = certificates::Places::new(options, &registry);
        Self::with(registry, host, options, certificates, !insecure)
    }

    /// For the server that has the signatures of a registry's images. It is trusted by the same authorities, and
    /// unless the user says so, never without one.
    pub(super) fn beside(reference: &Reference, host: &str, options: &PullOptions<'_>) -> Self {
        let certificates =
            certificates::Places::new(options, host).and_authorities_of(options, reference.registry());
        let verify = options.tls_verify.unwrap_or(true);
        Self::with(format!("{host} (for signatures)"), host.to_owned(), options, certificates, verify)
    }

    fn with(
        registry: String,
        host: String,
        options: &PullOptions<'_>,
        certificates: certificates::Places,
        verify: bool,
    ) -> Self {
        let stall = options.stall_timeout;
        let (own, foreign) = (OnceLock::new(), OnceLock::new());
        Self { registry, host, stall, own, foreign, certificates, verify }
    }

    /// Sends a request and follows redirects. `authorization` goes to the registry alone.
    pub(super) fn send(
        &self,
        scheme: &str,
        request: &Request<'_>,
        authorization: Option<&str>,
    ) -> Result<Response<Body>, Failure> {
        let mut url: Uri = format!("{scheme}://{}{}", self.host, request.path)
            .parse()
            .map_err(|error| self.protocol(request, format!("{error}")))?;
        for _ in 0..=MAX_REDIRECTS {
            let own = url.authority().is_some_and(|authority| authority.as_str() == self.host)
                && url.scheme_str() == Some(scheme);
            let agent = if own { self.own_agent()? } else { self.foreign_agent()? };
            let authorization = authorization.filter(|_| own);
            let response = call(agent, &url, request, authorization)
                .map_err(|error| self.failure(error, &url, request))?;
            if !response.status().is_redirection() || response.status().as_u16() == 304 {
                return Ok(response);
            }
            url = self.redirected(&url, scheme, request, &response)?;
        }
        Err(self.protocol(request, "it redirects in circles".to_owned()).into())
    }

    /// Gets a token for pulling from the repository.
    pub(super) fn token(
        &self,
        bearer: Bearer<'_>,
        reference: &Reference,
        secret: Option<&Secret>,
        plain_http: bool,
    ) -> Result<String, Failure> {
        let realm = self.realm(bearer.realm, plain_http)?;
        let agent = if self.is_own(&realm) { self.own_agent()? } else { self.foreign_agent()? };
        let scope = match bearer.scope {
            Some(scope) => scope.to_owned(),
            None => format!("repository:{}:pull", reference.path()),
        };
        let mut fields = vec![("scope", scope)];
        fields.extend(bearer.service.map(|service| ("service", service.to_owned())));
        let outcome = match secret {
            Some(Secret::Identity(token)) => {
                fields.push(("grant_type", "refresh_token".to_owned()));
                fields.push(("refresh_token", token.clone()));
                fields.push(("client_id", "sampan".to_owned()));
                agent.post(&realm).send_form(fields.iter().map(|(key, value)| (*key, value.as_str())))
            }
            other => {
                let mut get = agent.get(&realm).config().timeout_recv_body(Some(DOCUMENT_TIMEOUT)).build();
                for (key, value) in &fields {
                    get = get.query(key, value);
                }
                if let Some(Secret::Basic(credentials)) = other {
                    get = get.header("authorization", challenge::basic(credentials));
                }
                get.call()
            }
        };
        let request = Request {
            method: Method::Get,
            path: realm.to_string(),
            accept: None,
            offset: 0,
            shown: reference.to_string(),
        };
        let response = outcome.map_err(|error| self.failure(error, &realm, &request))?;
        self.read_token(response, &realm)
    }

    fn read_token(&self, response: Response<Body>, realm: &Uri) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Token {
            token: Option<String>,
            access_token: Option<String>,
        }
        let host = realm.host().unwrap_or_default();
        let refused = |detail: String| Error::Unauthorized {
            registry: self.registry.clone(),
            repository: String::new(),
            detail,
            auth_file: String::new(),
        };
        let status = response.status().as_u16();
        if status != 200 {
            let error = refused(format!("its token server {host} answered with status {status}"));
            let passing = matches!(status, 429 | 500..=599);
            return Err(if passing { Failure::passing(error, None) } else { error.into() });
        }
        let mut bytes = Vec::new();
        response
            .into_body()
            .into_reader()
            .take(MAX_TOKEN)
            .read_to_end(&mut bytes)
            .map_err(|error| self.body_error(error, "token", 0, 0))?;
        // The parser's message could quote the token.
        let token: Token = serde_json::from_slice(&bytes)
            .map_err(|_| refused(format!("its token server {host} gave no valid answer")))?;
        let token = token.token.filter(|token| !token.is_empty()).or(token.access_token);
        let usable = |token: &String| token.bytes().all(|byte| byte.is_ascii_graphic());
        token
            .filter(usable)
            .map(|token| format!("Bearer {token}"))
            .ok_or_else(|| refused(format!("its token server {host} gave no token")).into())
    }

    /// Checks where a registry wants its users' credentials sent to.
    fn realm(&self, realm: &str, plain_http: bool) -> Result<Uri> {
        let bad = |reason: &str| Error::Protocol {
            registry: self.registry.clone(),
            request: "the request for a token".to_owned(),
            detail: format!("{reason} (realm \"{}\")", realm.escape_default()),
        };
        let url: Uri = realm.parse().map_err(|_| bad("its token server is not a valid URL"))?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if plain_http => {}
            _ => return Err(bad("its token server must be reached over HTTPS")),
        }
        self.check_host(&url).map_err(|reason| bad(&reason))?;
        Ok(url)
    }

    fn redirected(
        &self,
        from: &Uri,
        scheme: &str,
        request: &Request<'_>,
        response: &Response<Body>,
    ) -> Result<Uri> {
        let bad = |reason: String| self.protocol(request, reason);
        let location = response.headers().get("location").and_then(|value| value.to_str().ok());
        let location = location.ok_or_else(|| bad("it redirects to nowhere".into()))?;
        let target = match location.strip_prefix('/') {
            Some(_) if !location.starts_with("//") => {
                let authority = from.authority().map_or("", |authority| authority.as_str());
                format!("{}://{authority}{location}", from.scheme_str().unwrap_or(scheme))
            }
            _ => location.to_owned(),
        };
        let url: Uri = target.parse().map_err(|_| bad("it redirects to something that is no URL".into()))?;
        match url.scheme_str() {
            Some("https") => {}
            Some("http") if scheme == "http" => {}
            _ => return Err(bad("it redirects to somewhere without HTTPS".into())),
        }
        self.check_host(&url).map_err(bad)?;
        Ok(url)
    }

    /// A registry may send us to other hosts, but not to this one or to the cloud's metadata
    /// service, unless it is there itself.
    fn check_host(&self, url: &Uri) -> Result<(), String> {
        let authority = url.authority().ok_or("it leads to a URL without host")?;
        if authority.as_str().contains('@') {
            return Err("it leads to a URL with credentials in it".to_owned());
        }
        if is_internal(authority.host()) && !is_internal(host_part(&self.host)) {
            return Err(format!("it leads to the internal address {}", authority.host()));
        }
        Ok(())
    }

    fn is_own(&self, url: &Uri) -> bool {
        url.authority().is_some_and(|authority| host_part(authority.as_str()) == host_part(&self.host))
    }

    fn own_agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.own.get() {
            return Ok(agent);
        }
        let tls = self.certificates.registry_tls(self.verify)?;
        Ok(self.own.get_or_init(|| self.agent(tls)))
    }

    fn foreign_agent(&self) -> Result<&Agent> {
        if let Some(agent) = self.foreign.get() {
            return Ok(agent);
        }
        let tls = self.certificates.foreign_tls(self.verify)?;
        Ok(self.foreign.get_or_init(|| self.agent(tls)))
    }

    fn agent(&self, tls: ureq::tls::TlsConfig) -> Agent {
        Agent::config_builder()
            .tls_config(tls)
            .user_agent(concat!("sampan/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .timeout_resolve(Some(CONNECT_TIMEOUT))
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_send_request(Some(self.stall))
            .timeout_recv_response(Some(self.stall))
            .timeout_per_read(Some(self.stall))
            .build()
            .new_agent()
    }

    /// An error of a transfer that had begun.
    pub(super) fn body_error(&self, error: io::Error, what: &str, received: u64, expected: u64) -> Error {
        let what = what.to_owned();
        let registry = self.registry.clone();
        match error.get_ref().and_then(|inner| inner.downcast_ref::<ureq::Error>()) {
            Some(ureq::Error::Timeout(_)) => Error::Stalled { registry, what, timeout: self.stall },
            _ => Error::Broken { registry, what, received, expected, cause: error.to_string() },
        }
    }

    fn failure(&self, error: ureq::Error, url: &Uri, request: &Request<'_>) -> Failure {
        let registry = if self.is_own(url) {
            self.registry.clone()
        } else {
            format!("{} (to {})", self.registry, url.host().unwrap_or_default())
        };
        let unreachable = |cause: String| Error::Unreachable { registry: registry.clone(), cause };
        match error {
            ureq::Error::Timeout(Timeout::Resolve) => {
                Failure::passing(unreachable("its name could not be resolved in time".into()), None)
            }
            ureq::Error::Timeout(Timeout::Connect) => {
                let cause = format!("no connection within {} s", CONNECT_TIMEOUT.as_secs());
                Failure::passing(unreachable(cause), None)
            }
            ureq::Error::Timeout(_) => {
                let what = request.to_string();
                Failure::passing(Error::Stalled { registry, what, timeout: self.stall }, None)
            }
            ureq::Error::HostNotFound => {
                Failure::passing(unreachable("no such host; check the name and DNS".into()), None)
            }
            ureq::Error::Rustls(error) => tls_failure(&error, unreachable),
            ureq::Error::Io(error) => match error.get_ref().and_then(|inner| inner.downcast_ref()) {
                Some(error) => tls_failure(error, unreachable),
                None => Failure::passing(unreachable(error.to_string()), None).with_plain_http(true),
            },
            error => Failure::passing(unreachable(error.to_string()), None),
        }
    }

    pub(super) fn protocol(&self, request: &Request<'_>, detail: String) -> Error {
        Error::Protocol { registry: self.registry.clone(), request: request.to_string(), detail }
    }
}

fn tls_failure(error: &rustls::Error, unreachable: impl Fn(String) -> Error) -> Failure {
    match error {
        rustls::Error::InvalidMessage(_) => {
            let cause = "it does not speak TLS; if it is meant to be used without, set \
                         \"insecure = true\" for it in registries.conf";
            Failure::lasting(unreachable(cause.to_owned())).with_plain_http(true)
        }
        error => {
            let cause = format!("{error}; if it has a CA of its own, put that into /etc/containers/certs.d");
            Failure::lasting(unreachable(cause))
        }
    }
}

fn call(
    agent: &Agent,
    url: &Uri,
    request: &Request<'_>,
    authorization: Option<&str>,
) -> Result<Response<Body>, ureq::Error> {
    let mut call = match request.method {
        Method::Get => agent.get(url),
        Method::Head => agent.head(url),
    };
    if let Some(accept) = request.accept {
        call = call.header("accept", accept).config().timeout_recv_body(Some(DOCUMENT_TIMEOUT)).build();
    }
    if request.offset > 0 {
        call = call.header("range", format!("bytes={}-", request.offset));
    }
    if let Some(authorization) = authorization {
        call = call.header("authorization", authorization);
    }
    call.call()
}

/// An authority without its port.
fn host_part(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

/// Loopback, link-local (where clouds have their metadata) and unspecified addresses.
fn is_internal(host: &str) -> bool {
    use std::net::{IpAddr, Ipv4Addr};
    let v4 = |address: Ipv4Addr| address.is_loopback() || address.is_link_local() || address.is_unspecified();
    match host.trim_start_matches('[').trim_end_matches(']').parse() {
        Ok(IpAddr::V4(address)) => v4(address),
        Ok(IpAddr::V6(address)) => {
            address.is_loopback()
                || address.is_unspecified()
                || address.is_unicast_link_local()
                || address.to_ipv4_mapped().is_some_and(v4)
        }
        Err(_) => host == "localhost" || host.ends_with(".localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn internal_addresses_are_recognised() {
        for host in [
            "localhost",
            "127.9.9.9",
            "[::1]",
            "169.254.169.254",
            "0.0.0.0",
            "[::ffff:127.0.0.1]",
            "[fe80::1]",
        ] {
            assert!(is_internal(host), "{host}");
        }
        for host in ["quay.io", "10.0.0.1", "[2001:db8::1]", "localhost.example.com"] {
            assert!(!is_internal(host), "{host}");
        }
    }

    #[test]
    fn realms_and_redirects_of_a_public_registry_stay_public() {
        let registries = crate::Registries::empty();
        let policy = crate::Policy::accept_anything();
        let options = PullOptions::new(&registries, &policy);
        let http = Http::new(&Reference::parse("quay.io/a/b").unwrap(), &options, false);
        assert!(http.realm("https://auth.quay.io/token", false).is_ok());
        for realm in [
            "http://auth.quay.io/token",
            "https://169.254.169.254/latest",
            "https://user:x@auth.quay.io/",
            "file:///etc/passwd",
            "//x",
            "",
            "https://[::1]/",
        ] {
            assert!(http.realm(realm, false).is_err(), "{realm}");
        }
    }
}
